/*
 * Pages of the chunk table that cannot be read when a merge has to change them: the group stays in service, everything
 * can be read, nothing is freed or handed out that may be in use.
 */
#include "engine/group/merge.h"
#include "engine/group/walk.h"
#include "tests/unit/release_fixture.h"

struct wanted {
    uint64_t number;
    struct node_pointer pointer;
};

static enum error page_seek(void *context, const struct walk_node *node)
{
    struct wanted *wanted = context;
    if (node->identity.level == 0 && node->identity.number == wanted->number)
        wanted->pointer = node->pointer;
    return ERROR_NONE;
}

static struct map_entry page_lose_on_device(struct fixture *f, enum table table, uint64_t number)
{
    struct wanted wanted = {.number = number};
    struct tree tree = table_tree(f, table);
    assert_int_equal(tree_walk(f->group, &tree, 0, UINT64_MAX, WALK_ONE_COPY, page_seek, &wanted), ERROR_NONE);
    assert_false(entry_is_hole(wanted.pointer.first));
    struct map_entry at = wanted.pointer.first;
    fixture_flip(f, fixture_device(f, entry_serial(at)), fixture_offset(f, entry_serial(at), entry_offset(at)) + 60);
    uint64_t second = wanted.pointer.second_serial;
    if (second)
        fixture_flip(f, fixture_device(f, second), fixture_offset(f, second, wanted.pointer.second_offset) + 60);
    fixture_forget_cached(f);
    return at;
}

static uint32_t count_of(struct fixture *f, uint64_t cid)
{
    struct cache_block *block;
    const le32 *counts = (const le32 *)page_of(f, TABLE_COUNTS, cid / COUNTS_PER_PAGE, &block);
    uint32_t count = le32_get(counts[cid % COUNTS_PER_PAGE]);
    tree_put(f->group, &block, 1);
    return count;
}

static struct map_entry place_of(struct fixture *f, uint64_t cid)
{
    struct cache_block *block;
    const struct map_entry_format *places =
        (const struct map_entry_format *)page_of(f, TABLE_PLACES, cid / CID_PAGE, &block);
    struct map_entry place = entry_decode(&places[cid % CID_PAGE]);
    tree_put(f->group, &block, 1);
    return place;
}

static void blocks_write(struct fixture *f, uint64_t first, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        fixture_write(f, COMPONENT, first + i, 1 + first + i);
    publish(f);
}

static void blocks_expect(struct fixture *f, uint64_t first, uint64_t count)
{
    assert_false(group_is_fenced(f->group));
    for (uint64_t i = 0; i < count; i++)
        fixture_expect(f, COMPONENT, first + i, 1 + first + i);
}

/* Both ways in which it goes on afterwards. */
static void expect_in_service(struct fixture *f, uint64_t first, uint64_t count)
{
    blocks_expect(f, first, count);
    fixture_crash(f);
    fixture_open(f);
    blocks_expect(f, first, count);
    fixture_close(f);
    fixture_open(f);
    blocks_write(f, first + count, 20);
    blocks_expect(f, first, count + 20);
}

static void a_lost_page_of_counts_ends_no_merge_and_frees_nothing(void **state)
{
    struct fixture *f = *state;
    blocks_write(f, 0, 40);
    struct map_entry replaced = fixture_entry(f, COMPONENT, 0), kept = fixture_entry(f, COMPONENT, 9);
    (void)page_lose_on_device(f, TABLE_COUNTS, entry_cid(kept) / COUNTS_PER_PAGE);
    fixture_write(f, COMPONENT, 0, 77);
    publish(f);
    assert_true(count_of(f, entry_cid(replaced)) == COUNT_STUCK);
    assert_true(count_of(f, entry_cid(kept)) == COUNT_STUCK);
    fixture_expect(f, COMPONENT, 0, 77);
    expect_in_service(f, 1, 39);
}

/* Fills segments, so that those before are sealed, and replaces all that is in them. */
static void segments_fill(struct fixture *f, uint64_t rounds)
{
    for (uint64_t i = 0; i < rounds; i++) {
        for (uint64_t block = 0; block < 1500; block++)
            fixture_write(f, COMPONENT + 1, block, i * 10000 + block + 1);
        publish(f);
    }
    publish(f);
    publish(f);
}

/* As the cleaner leaves a segment whose publish is of the past while a view holds it: what was alive is counted elsewhere. */
static void segment_leave(struct fixture *f, uint64_t serial)
{
    struct segments *segments = &f->group->segments;
    mutex_lock(&f->group->lock);
    uint32_t index = segment_find(segments, serial);
    assert_int_equal(segments->table[index].state, SLOT_SEALED);
    segment_live_set(segments, index, 0);
    segments->table[index].state = SLOT_FREEING;
    mutex_unlock(&f->group->lock);
}

/* Its share stays in the live bytes of the segment that it was moved to: in that which it left it is not any more. */
static void a_moved_chunk_dies_whose_place_is_lost_while_a_view_holds_what_it_left(void **state)
{
    struct fixture *f = *state;
    blocks_write(f, 0, 40);
    struct map_entry moved = fixture_entry(f, COMPONENT, 5);
    fixture_crash(f);
    fixture_open(f);
    publish(f);
    segment_leave(f, entry_serial(moved));
    (void)page_lose_on_device(f, TABLE_PLACES, entry_cid(moved) / CID_PAGE);
    uint64_t chunks = f->group->checkpoint.chunks_live;
    fixture_holes(f, COMPONENT, 5, 6);
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    assert_false(group_is_fenced(f->group));
    assert_int_equal(count_of(f, entry_cid(moved)), 0);
    assert_int_equal(f->group->checkpoint.chunks_live, chunks - 1);
}

/* Nobody knows that it was dead, and that its share is not in the live bytes of its segment. */
static void a_dead_chunk_that_is_hit_after_its_count_was_lost_stays(void **state)
{
    struct fixture *f = *state;
    struct map_entry dead = fixture_write(f, COMPONENT, 3, 4);
    fixture_component(f, COMPONENT + 1, COMPONENT_LIVE);
    publish(f);
    fixture_crash(f);
    fixture_open(f);
    struct map_entry other = fixture_write(f, COMPONENT, 9, 10);
    assert_int_not_equal(entry_serial(other), entry_serial(dead));
    fixture_holes(f, COMPONENT, 3, 4);
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    assert_int_equal(count_of(f, entry_cid(dead)), 0);
    (void)page_lose_on_device(f, TABLE_COUNTS, entry_cid(dead) / COUNTS_PER_PAGE);
    fixture_refer(f, COMPONENT, 3, dead);
    segments_fill(f, 4);
    assert_int_not_equal(segment_find(&f->group->segments, entry_serial(dead)), SEGMENT_NONE);
    fixture_forget_cached(f);
    expect_in_service(f, 3, 1);
}

/* Each merge may pin it once more; what comes alive in it then must still be counted. */
static void a_segment_that_was_pinned_often_takes_the_share_of_every_chunk(void **state)
{
    struct fixture *f = *state;
    blocks_write(f, 0, 40);
    struct map_entry stuck = fixture_entry(f, COMPONENT, 0);
    struct merge merge = {.group = f->group};
    struct segments *segments = &f->group->segments;
    uint32_t index = segment_find(segments, entry_serial(stuck));
    uint32_t shares = segments->table[index].live;
    for (uint64_t i = 0; i < 2 * segment_size(segments) / GRAIN_SIZE; i++)
        assert_int_equal(stuck_pin(&merge, stuck), ERROR_NONE);
    mutex_lock(&f->group->lock);
    assert_int_equal(segment_live_add(segments, index, segment_size(segments) - shares), ERROR_NONE);
    assert_int_equal(segment_live_add(segments, index, -(int64_t)segment_size(segments)), ERROR_NONE);
    assert_true(segments->table[index].live > 0);
    mutex_unlock(&f->group->lock);
}

static void a_chunk_that_is_born_into_a_lost_page_of_counts_stays(void **state)
{
    struct fixture *f = *state;
    struct map_entry first = fixture_write(f, COMPONENT, 3, 4);
    fixture_component(f, COMPONENT + 1, COMPONENT_LIVE);
    publish(f);
    (void)page_lose_on_device(f, TABLE_COUNTS, entry_cid(first) / COUNTS_PER_PAGE);
    fixture_crash(f);
    fixture_open(f);
    struct map_entry born = fixture_write(f, COMPONENT, 4, 5);
    assert_int_not_equal(entry_serial(born), entry_serial(first));
    assert_int_equal(entry_cid(born) / COUNTS_PER_PAGE, entry_cid(first) / COUNTS_PER_PAGE);
    segments_fill(f, 4);
    fixture_forget_cached(f);
    expect_in_service(f, 3, 2);
}

/* Its count cannot be asked, so it may be somebody else's as well. */
static void a_node_whose_count_is_lost_is_released_and_frees_nothing(void **state)
{
    struct fixture *f = *state;
    blocks_write(f, 0, 10);
    blocks_write(f, 5000, 10);
    struct map_entry data = fixture_entry(f, COMPONENT, 5);
    (void)page_lose_on_device(f, TABLE_COUNTS, entry_cid(data) / COUNTS_PER_PAGE);
    fixture_holes(f, COMPONENT, 0, 4096);
    release(f, WHOLE);
    assert_int_equal(truth_releases(f), 0);
    fixture_expect(f, COMPONENT, 5, 0);
    expect_in_service(f, 5000, 10);
}

static void a_lost_page_of_places_ends_no_merge_and_gives_no_number_again(void **state)
{
    struct fixture *f = *state;
    blocks_write(f, 0, 40);
    struct map_entry old = fixture_entry(f, COMPONENT, 9);
    fixture_holes(f, COMPONENT, 20, 40);
    publish(f);
    struct map_entry page = page_lose_on_device(f, TABLE_PLACES, entry_cid(old) / CID_PAGE);
    struct map_entry born = fixture_write(f, COMPONENT, 20, 21);
    assert_int_equal(entry_cid(born) / CID_PAGE, entry_cid(old) / CID_PAGE);
    publish(f);
    assert_true(entry_equal(place_of(f, entry_cid(born)), born));
    struct map_entry place = place_of(f, entry_cid(old));
    assert_true(entry_place_is_unknown(place) && entry_same_unit(place, page));
    fixture_component(f, COMPONENT + 1, COMPONENT_LIVE);
    segments_fill(f, 4);
    cids_collect(f->group);
    for (size_t i = 0; i < f->group->cids.refill_count; i++)
        assert_int_not_equal(f->group->cids.refills[i].page, entry_cid(old) / CID_PAGE);
    fixture_forget_cached(f);
    expect_in_service(f, 0, 21);
}

static void a_lost_page_of_fingerprints_ends_no_merge(void **state)
{
    struct fixture *f = *state;
    blocks_write(f, 0, 20);
    struct map_entry old = fixture_entry(f, COMPONENT, 9);
    (void)page_lose_on_device(f, TABLE_FINGERPRINTS, entry_cid(old) / CID_PAGE);
    struct map_entry born = fixture_write(f, COMPONENT, 20, 21);
    publish(f);
    struct cache_block *block;
    const uint8_t *page = page_of(f, TABLE_FINGERPRINTS, entry_cid(old) / CID_PAGE, &block);
    assert_true(memory_is_zero(page + entry_cid(old) % CID_PAGE * FINGERPRINT_SIZE, FINGERPRINT_SIZE));
    assert_false(memory_is_zero(page + entry_cid(born) % CID_PAGE * FINGERPRINT_SIZE, FINGERPRINT_SIZE));
    tree_put(f->group, &block, 1);
    expect_in_service(f, 0, 21);
}

/* As it is where a crash came between: the journal has births for pages that are lost on the device. */
static void a_journal_whose_pages_were_lost_meanwhile_is_replayed_and_merged(void **state)
{
    struct fixture *f = *state;
    blocks_write(f, 0, 20);
    struct map_entry old = fixture_entry(f, COMPONENT, 9);
    for (uint64_t block = 20; block < 30; block++)
        fixture_write(f, COMPONENT, block, block + 1);
    assert_int_equal(group_sync(f->group), ERROR_NONE);
    (void)page_lose_on_device(f, TABLE_COUNTS, entry_cid(old) / COUNTS_PER_PAGE);
    (void)page_lose_on_device(f, TABLE_PLACES, entry_cid(old) / CID_PAGE);
    (void)page_lose_on_device(f, TABLE_FINGERPRINTS, entry_cid(old) / CID_PAGE);
    fixture_crash(f);
    fixture_open(f);
    publish(f);
    expect_in_service(f, 0, 30);
}

static void a_device_that_reads_nothing_loses_no_page(void **state)
{
    struct fixture *f = *state;
    blocks_write(f, 0, 20);
    fixture_forget_cached(f);
    fixture_write(f, COMPONENT, 0, 1);
    fixture_refuse_reads(f, 0, f->group->devices[0]->size, 1 << 30);
    assert_int_not_equal(group_publish(f->group), ERROR_NONE);
    assert_true(group_is_fenced(f->group));
    fixture_crash(f);
    fixture_open(f);
    publish(f);
    truth_expect(f, COMPONENTS);
    expect_in_service(f, 0, 20);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, release_setup, release_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_lost_page_of_counts_ends_no_merge_and_frees_nothing),
        TEST(a_dead_chunk_that_is_hit_after_its_count_was_lost_stays),
        TEST(a_moved_chunk_dies_whose_place_is_lost_while_a_view_holds_what_it_left),
        TEST(a_segment_that_was_pinned_often_takes_the_share_of_every_chunk),
        TEST(a_chunk_that_is_born_into_a_lost_page_of_counts_stays),
        TEST(a_node_whose_count_is_lost_is_released_and_frees_nothing),
        TEST(a_lost_page_of_places_ends_no_merge_and_gives_no_number_again),
        TEST(a_lost_page_of_fingerprints_ends_no_merge),
        TEST(a_journal_whose_pages_were_lost_meanwhile_is_replayed_and_merged),
        TEST(a_device_that_reads_nothing_loses_no_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
