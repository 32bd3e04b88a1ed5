/*
 * Merges: whatever was committed is found in the trees afterwards, counts are the references there are, live bytes are
 * the shares of the chunks that are alive, and what died is used again.
 */
#include "tests/unit/group_truth.h"

#include <limits.h>

#include "engine/group/tree.h"

#define BLOCKS     2048
#define COMPONENTS 2 /* COMPONENT and the one after it */

static uint64_t model[COMPONENTS][BLOCKS]; /* seeds; 0: a hole */
static uint64_t seed;

static int setup(void **state)
{
    memset(model, 0, sizeof model);
    seed = 3;
    return fixture_setup(state);
}

static void publish(struct fixture *f)
{
    assert_int_equal(group_publish(f->group), ERROR_NONE);
}

static void expect_all(struct fixture *f)
{
    for (unsigned c = 0; c < COMPONENTS; c++)
        for (uint64_t block = 0; block < BLOCKS; block++)
            fixture_expect(f, COMPONENT + c, block, model[c][block]);
}

static int setup_roomy(void **state) /* nothing is cleaned: each piece would collect numbers as well */
{
    *state = fixture_begin(1, ((uint64_t)512 << SEGMENT_SHIFT_MIN) + 2 * AREA_SIZE, true);
    return 0;
}

/* All of it is overwritten time and again: numbers come back about as fast as they go. */
static void numbers_of_what_was_overwritten_are_given_again_however_many_it_was(void **state)
{
    enum { UNITS = 20000, ROUNDS = 20 }; /* a round takes 312 pages of numbers */
    struct fixture *f = *state;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        for (uint64_t unit = 0; unit < UNITS; unit++) {
            uint64_t first = 1 + (round * UNITS + unit) * UNIT_CHUNKS, seeds[UNIT_CHUNKS] = {first, first + 1, first + 2, first + 3};
            assert_int_equal(fixture_try_write(f, COMPONENT, unit * UNIT_CHUNKS, seeds, UNIT_CHUNKS, NULL), ERROR_NONE);
        }
        publish(f); /* which counts what died, */
        publish(f); /* and frees its segments */
        publish(f); /* and collects */
    }
    assert_true(f->group->cids.end < 4 * UNITS * UNIT_CHUNKS);
}

static void expect_true_counts(struct fixture *f)
{
    publish(f);
    truth_expect(f, COMPONENTS);
}

/* ---- histories ----------------------------------------------------------------------------------------------------
 */

static void write_some(struct fixture *f)
{
    unsigned c = (unsigned)fixture_below(&seed, COMPONENTS), count = 1 + (unsigned)fixture_below(&seed, 4);
    uint64_t block = fixture_below(&seed, BLOCKS / 4) * 4, seeds[4];
    for (unsigned i = 0; i < count; i++)
        model[c][block + i] = seeds[i] = 1 + fixture_random(&seed) / 2;
    assert_int_equal(fixture_try_write(f, COMPONENT + c, block, seeds, count, NULL), ERROR_NONE);
}

static void refer_some(struct fixture *f)
{
    unsigned c = (unsigned)fixture_below(&seed, COMPONENTS), from = (unsigned)fixture_below(&seed, COMPONENTS);
    uint64_t block = fixture_below(&seed, BLOCKS), source = fixture_below(&seed, BLOCKS);
    struct map_entry entry = fixture_entry(f, COMPONENT + from, source);
    fixture_refer(f, COMPONENT + c, block, entry);
    model[c][block] = model[from][source];
}

static void trim_some(struct fixture *f)
{
    unsigned c = (unsigned)fixture_below(&seed, COMPONENTS);
    uint64_t first = fixture_below(&seed, BLOCKS), most = UINT64_C(1) << fixture_below(&seed, 11);
    uint64_t end = first + 1 + fixture_below(&seed, MIN(BLOCKS - first, most));
    fixture_holes(f, COMPONENT + c, first, end);
    for (uint64_t block = first; block < end; block++)
        model[c][block] = 0;
}

static void do_something(struct fixture *f)
{
    uint64_t kind = fixture_below(&seed, 10);
    if (kind < 6)
        write_some(f);
    else if (kind < 9)
        refer_some(f);
    else
        trim_some(f);
}

static void nothing_committed_is_nothing_to_publish(void **state)
{
    struct fixture *f = *state;
    publish(f);
    uint64_t number = f->group->checkpoint.number;
    publish(f);
    publish(f);
    assert_int_equal(f->group->checkpoint.number, number);
}

static void a_component_that_was_never_made_has_only_holes(void **state)
{
    struct fixture *f = *state;
    struct component_format format;
    publish(f);
    struct view *view = f->group->view;
    assert_int_equal(view_component(f->group, view, 999, &format), ERROR_NOT_FOUND);
    fixture_expect(f, 999, 12345, 0);
}

static void any_history_is_found_after_each_publish(void **state)
{
    struct fixture *f = *state;
    fixture_component(f, COMPONENT + 1, COMPONENT_LIVE);
    for (unsigned round = 0; round < 8; round++) {
        for (unsigned i = 0; i < 150; i++)
            do_something(f);
        expect_true_counts(f);
        expect_all(f);
    }
    fixture_close(f);
    fixture_open(f);
    expect_all(f);
    expect_true_counts(f);
}

static void a_history_survives_crashes_between_its_merges(void **state)
{
    struct fixture *f = *state;
    fixture_component(f, COMPONENT + 1, COMPONENT_LIVE);
    for (unsigned round = 0; round < 8; round++) {
        for (unsigned i = 0; i < 100; i++)
            do_something(f);
        if (round % 3 == 1)
            publish(f);
        assert_int_equal(group_sync(f->group), ERROR_NONE);
        fixture_crash(f);
        fixture_open(f);
        expect_all(f);
    }
    expect_true_counts(f);
    expect_all(f);
}

static void trees_that_grow_and_shrink_keep_what_they_hold(void **state)
{
    struct fixture *f = *state;
    const uint64_t far[] = {1, 255, 256, 1 << 15, (1 << 22) + 5, UINT64_C(1) << 29, (UINT64_C(1) << 35) - 1};
    for (size_t i = 0; i < COUNT_OF(far); i++) {
        fixture_write(f, COMPONENT, far[i], 100 + i);
        publish(f);
        for (size_t n = 0; n <= i; n++)
            fixture_expect(f, COMPONENT, far[n], 100 + n);
    }
    for (size_t i = COUNT_OF(far); i-- > 1;) {
        fixture_holes(f, COMPONENT, far[i] - 1, far[i] + 1);
        publish(f);
        for (size_t n = 0; n < COUNT_OF(far); n++)
            fixture_expect(f, COMPONENT, far[n], n < i && !(n == 1 && i == 2) ? 100 + n : 0);
    }
}

static void a_range_drops_whole_subtrees(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 0; i < 64; i++)
        fixture_write(f, COMPONENT, i * 40000, 1 + i);
    publish(f);
    assert_int_equal(f->group->checkpoint.blocks_mapped, 64);
    fixture_holes(f, COMPONENT, 0, UINT64_C(1) << 34);
    fixture_write(f, COMPONENT, 40000, 500);
    publish(f);
    assert_int_equal(f->group->checkpoint.blocks_mapped, 1);
    assert_int_equal(f->group->checkpoint.chunks_live, 1);
    for (uint64_t i = 0; i < 64; i++)
        fixture_expect(f, COMPONENT, i * 40000, i == 1 ? 500 : 0);
    fixture_holes(f, COMPONENT, 0, UINT64_C(1) << 34);
    publish(f);
    assert_int_equal(f->group->checkpoint.blocks_mapped, 0);
    assert_int_equal(f->group->checkpoint.chunks_live, 0);
}

static void a_deleted_component_leaves_when_its_map_is_empty(void **state)
{
    struct fixture *f = *state;
    struct component_format format;
    fixture_write(f, COMPONENT, 5, 1);
    publish(f);
    fixture_component(f, COMPONENT, COMPONENT_DELETED);
    publish(f);
    assert_int_equal(view_component(f->group, f->group->view, COMPONENT, &format), ERROR_NONE);
    assert_int_equal(format.state, COMPONENT_DELETED);
    fixture_holes(f, COMPONENT, 0, 1 << 20);
    publish(f);
    assert_int_equal(view_component(f->group, f->group->view, COMPONENT, &format), ERROR_NOT_FOUND);
}

static void what_died_is_used_again(void **state)
{
    struct fixture *f = *state;
    /* Three times what the group holds, over the same blocks. */
    for (uint64_t i = 0; i < 12000; i++) {
        uint64_t seeds[4] = {4 * i + 1, 4 * i + 2, 4 * i + 3, 4 * i + 4};
        assert_int_equal(fixture_try_write(f, COMPONENT, i % 512 * 4, seeds, 4, NULL), ERROR_NONE);
        if (i % 2000 == 1999)
            publish(f);
    }
    for (uint64_t i = 11488; i < 12000; i++)
        fixture_expect(f, COMPONENT, i % 512 * 4 + 3, 4 * i + 4);
    publish(f);
    publish(f);
    publish(f);
    assert_true(f->group->segments.free_total > f->group->segments.count / 2);
    assert_int_equal(f->group->checkpoint.chunks_live, 2048);
    assert_true(f->group->cids.end < 60000);
}

/* While a view is held, one freeze is possible: the table before it is not emptied. */
static void a_reader_keeps_what_its_view_names(void **state)
{
    struct fixture *f = *state;
    struct map_entry entry;
    struct view *view;
    uint64_t block = 7;
    uint8_t found[CHUNK_SIZE], wanted[CHUNK_SIZE];
    fixture_write(f, COMPONENT, 7, 1);
    for (uint64_t i = 0; i < 600; i++) /* until the chunk's segment is full */
        assert_int_equal(fixture_try_write(f, COMPONENT, 8, (uint64_t[]){i + 10, i + 11, i + 12, i + 13}, 4, NULL),
                         ERROR_NONE);
    publish(f);
    fixture_holes(f, COMPONENT, 0, 12);
    publish(f);
    fixture_write(f, COMPONENT, 7, 2);
    assert_int_equal(view_lookup(f->group, COMPONENT, &block, &entry, 1, &view), ERROR_NONE);
    view_put(f->group, view);
    publish(f);
    assert_int_equal(view_lookup(f->group, COMPONENT, &block, &entry, 1, &view), ERROR_NONE);
    fixture_holes(f, COMPONENT, 7, 8);
    publish(f);
    fixture_forget_cached(f);
    struct chunk_read read = {.entry = entry, .out = found};
    assert_int_equal(chunks_read(f->group, &read, 1), ERROR_NONE);
    fixture_chunk(2, wanted);
    assert_memory_equal(found, wanted, CHUNK_SIZE);
    view_put(f->group, view);
    fixture_expect(f, COMPONENT, 7, 0);
}

static void a_segment_whose_last_chunk_died_is_given_out_again(void **state)
{
    struct fixture *f = *state;
    struct map_entry entry = fixture_write(f, COMPONENT, 7, 1);
    for (uint64_t i = 0; i < 600; i++)
        assert_int_equal(fixture_try_write(f, COMPONENT, 8, (uint64_t[]){i + 10, i + 11, i + 12, i + 13}, 4, NULL),
                         ERROR_NONE);
    publish(f);
    publish(f);
    assert_int_not_equal(segment_find(&f->group->segments, entry_serial(entry)), SEGMENT_NONE);
    fixture_holes(f, COMPONENT, 7, 8);
    for (unsigned i = 0; i < 3; i++)
        publish(f);
    assert_int_equal(segment_find(&f->group->segments, entry_serial(entry)), SEGMENT_NONE);
}

/* ---- damage ------------------------------------------------------------------------------------------------------- */

static uint32_t count_of(struct fixture *f, uint64_t cid)
{
    struct view *view = view_take(f->group);
    uint32_t count = truth_table_count(f, view, cid);
    view_put(f->group, view);
    return count;
}

/* Writes four blocks of leaf 0 and one of leaf 1; returns what the parent of leaf 0 says of it, which no cache has. */
static struct map_entry leaf_make(struct fixture *f)
{
    struct component_format format;
    for (uint64_t block = 0; block < 4; block++)
        fixture_write(f, COMPONENT, block, 10 + block);
    fixture_write(f, COMPONENT, 300, 50);
    publish(f);
    struct view *view = view_take(f->group);
    assert_int_equal(view_component(f->group, view, COMPONENT, &format), ERROR_NONE);
    assert_int_equal(format.height, 1);
    struct node_read root = {.pointer = pointer_decode(&format.root), .identity = {ITEM_NODE, COMPONENT, 0, 1}};
    assert_int_equal(nodes_read(f->group, &root, 1), ERROR_NONE);
    struct map_entry leaf = pointer_decode((const struct node_pointer_format *)cache_bytes(root.block)).first;
    nodes_put(f->group, &root, 1);
    view_put(f->group, view);
    fixture_forget_cached(f);
    return leaf;
}

static void leaf_flip(struct fixture *f, struct map_entry leaf)
{
    fixture_flip(f, fixture_device(f, entry_serial(leaf)), fixture_offset(f, entry_serial(leaf), entry_offset(leaf)) + 60);
}

static struct map_entry leaf_damage(struct fixture *f)
{
    struct map_entry leaf = leaf_make(f);
    leaf_flip(f, leaf);
    return leaf;
}

static void expect_lost(struct fixture *f, uint64_t block)
{
    uint8_t bytes[CHUNK_SIZE];
    assert_int_equal(fixture_read(f, COMPONENT, block, bytes), ERROR_CORRUPT);
}

static void expect_all_of_the_leaf(struct fixture *f)
{
    for (uint64_t block = 0; block < 4; block++)
        fixture_expect(f, COMPONENT, block, 10 + block);
    fixture_expect(f, COMPONENT, 300, 50);
}

static void a_leaf_that_is_read_at_last_is_not_lost(void **state)
{
    struct fixture *f = *state;
    struct map_entry leaf = leaf_make(f);
    fixture_refuse_reads(f, fixture_offset(f, entry_serial(leaf), entry_offset(leaf)), 1, 5);
    fixture_write(f, COMPONENT, 5, 60);
    publish(f);
    assert_true(fixture_refusals_left() <= 0);
    fixture_expect(f, COMPONENT, 5, 60);
    expect_all_of_the_leaf(f);
}

static void a_leaf_where_a_device_cannot_read_is_given_up(void **state)
{
    struct fixture *f = *state;
    struct map_entry leaf = leaf_make(f);
    fixture_refuse_reads(f, fixture_offset(f, entry_serial(leaf), entry_offset(leaf)), 1, INT_MAX);
    fixture_write(f, COMPONENT, 5, 60);
    publish(f);
    fixture_refuse_no_more(); /* other leaves stand in the block as well */
    assert_false(group_is_fenced(f->group));
    fixture_expect(f, COMPONENT, 5, 60);
    fixture_expect(f, COMPONENT, 300, 50);
    expect_lost(f, 0);
}

static void a_device_that_reads_nothing_loses_no_leaf(void **state)
{
    struct fixture *f = *state;
    (void)leaf_make(f);
    fixture_refuse_reads(f, 0, f->group->devices[0]->size, INT_MAX);
    fixture_write(f, COMPONENT, 5, 60);
    assert_int_equal(group_sync(f->group), ERROR_NONE);
    assert_int_not_equal(group_publish(f->group), ERROR_NONE);
    assert_true(group_is_fenced(f->group));
    fixture_crash(f);
    fixture_open(f);
    fixture_expect(f, COMPONENT, 5, 60);
    expect_all_of_the_leaf(f);
}

static void a_lost_leaf_loses_its_own_blocks_only(void **state)
{
    struct fixture *f = *state;
    struct map_entry leaf = leaf_damage(f);
    fixture_write(f, COMPONENT, 5, 60);
    publish(f);
    assert_false(group_is_fenced(f->group));
    for (unsigned opened = 0; opened < 3; opened++) {
        fixture_expect(f, COMPONENT, 5, 60);
        fixture_expect(f, COMPONENT, 300, 50);
        expect_lost(f, 0);
        expect_lost(f, 3);
        expect_lost(f, 255);
        assert_int_equal(count_of(f, entry_cid(leaf)), 255);
        if (opened == 0)
            fixture_close(f);
        else
            fixture_crash(f);
        fixture_open(f);
    }
}

static void a_block_of_a_lost_leaf_can_be_written_again(void **state)
{
    struct fixture *f = *state;
    struct map_entry leaf = leaf_damage(f);
    fixture_write(f, COMPONENT, 0, 60);
    publish(f);
    fixture_write(f, COMPONENT, 1, 61);
    fixture_holes(f, COMPONENT, 2, 4);
    publish(f);
    fixture_expect(f, COMPONENT, 0, 60);
    fixture_expect(f, COMPONENT, 1, 61);
    fixture_expect(f, COMPONENT, 2, 0);
    fixture_expect(f, COMPONENT, 3, 0);
    expect_lost(f, 4);
    assert_int_equal(count_of(f, entry_cid(leaf)), 252);
    for (uint64_t block = 4; block < 256; block++)
        fixture_write(f, COMPONENT, block, 100 + block);
    publish(f);
    assert_int_equal(count_of(f, entry_cid(leaf)), 0);
    for (uint64_t block = 4; block < 256; block++)
        fixture_expect(f, COMPONENT, block, 100 + block);
}

/* What the lost leaf referred to is not freed by that, and counted on. */
static void a_lost_leaf_can_be_written_whole_and_trimmed(void **state)
{
    struct fixture *f = *state;
    struct map_entry leaf = leaf_damage(f);
    uint64_t chunks = f->group->checkpoint.chunks_live, mapped = f->group->checkpoint.blocks_mapped;
    for (uint64_t block = 0; block < 256; block++)
        fixture_write(f, COMPONENT, block, 100 + block);
    publish(f);
    assert_int_equal(count_of(f, entry_cid(leaf)), 0);
    assert_int_equal(f->group->checkpoint.chunks_live, chunks + 256);
    assert_int_equal(f->group->checkpoint.blocks_mapped, mapped + 256);
    fixture_holes(f, COMPONENT, 0, 256);
    publish(f);
    assert_int_equal(f->group->checkpoint.chunks_live, chunks);
    assert_int_equal(f->group->checkpoint.blocks_mapped, mapped);
    for (uint64_t block = 0; block < 256; block++)
        fixture_expect(f, COMPONENT, block, 0);
}

/* An heir's root, which it wrote anew, refers to it as well. */
static struct map_entry leaf_of_two(struct fixture *f)
{
    struct map_entry leaf = leaf_make(f);
    fixture_heir(f, COMPONENT + 1, COMPONENT, COMPONENT_LIVE);
    fixture_write(f, COMPONENT + 1, 300, 51);
    publish(f);
    return leaf;
}

/* Its parent is the heir's own already, so the parent's reference goes. */
static void a_lost_leaf_that_others_hold_is_counted_right(void **state)
{
    struct fixture *f = *state;
    struct map_entry leaf = leaf_of_two(f);
    assert_int_equal(count_of(f, entry_cid(leaf)), 2);
    leaf_flip(f, leaf);
    fixture_forget_cached(f);
    fixture_write(f, COMPONENT + 1, 5, 60);
    publish(f);
    assert_false(group_is_fenced(f->group));
    fixture_expect(f, COMPONENT + 1, 5, 60);
    assert_int_equal(count_of(f, entry_cid(leaf)), 1 + 255);
    fixture_write(f, COMPONENT, 5, 61);
    publish(f);
    assert_int_equal(count_of(f, entry_cid(leaf)), 255 + 255);
}

/* It never was one of them, whoever lets go of it last. */
static void a_lost_leaf_that_others_held_takes_no_chunk_with_it(void **state)
{
    struct fixture *f = *state;
    struct map_entry leaf = leaf_of_two(f);
    uint64_t chunks = f->group->checkpoint.chunks_live;
    leaf_flip(f, leaf);
    fixture_forget_cached(f);
    for (unsigned c = COMPONENTS; c-- > 0;) {
        fixture_write(f, COMPONENT + c, 5, 60 + c);
        publish(f);
        assert_int_equal(f->group->checkpoint.chunks_live, ++chunks);
    }
    for (unsigned c = 0; c < COMPONENTS; c++)
        for (uint64_t block = 0; block < 256; block++)
            fixture_write(f, COMPONENT + c, block, 1000 * (c + 1) + block);
    publish(f);
    assert_int_equal(count_of(f, entry_cid(leaf)), 0);
    assert_int_equal(f->group->checkpoint.chunks_live, chunks + 2 * 255);
}

static void a_lost_leaf_can_be_dropped(void **state)
{
    struct fixture *f = *state;
    struct map_entry leaf = leaf_damage(f);
    uint64_t chunks = f->group->checkpoint.chunks_live;
    fixture_holes(f, COMPONENT, 0, 1024);
    publish(f);
    assert_false(group_is_fenced(f->group));
    for (uint64_t block = 0; block < 301; block++)
        fixture_expect(f, COMPONENT, block, 0);
    assert_int_equal(count_of(f, entry_cid(leaf)), 0);
    assert_int_equal(f->group->checkpoint.chunks_live, chunks - 1); /* of leaf 1 */
    fixture_crash(f);
    fixture_open(f);
    fixture_expect(f, COMPONENT, 0, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(numbers_of_what_was_overwritten_are_given_again_however_many_it_was, setup_roomy, fixture_teardown),
        TEST(nothing_committed_is_nothing_to_publish),
        TEST(a_component_that_was_never_made_has_only_holes),
        TEST(any_history_is_found_after_each_publish),
        TEST(a_history_survives_crashes_between_its_merges),
        TEST(trees_that_grow_and_shrink_keep_what_they_hold),
        TEST(a_range_drops_whole_subtrees),
        TEST(a_deleted_component_leaves_when_its_map_is_empty),
        TEST(what_died_is_used_again),
        TEST(a_reader_keeps_what_its_view_names),
        TEST(a_leaf_that_is_read_at_last_is_not_lost),
        TEST(a_leaf_where_a_device_cannot_read_is_given_up),
        TEST(a_device_that_reads_nothing_loses_no_leaf),
        TEST(a_lost_leaf_loses_its_own_blocks_only),
        TEST(a_block_of_a_lost_leaf_can_be_written_again),
        TEST(a_lost_leaf_can_be_written_whole_and_trimmed),
        TEST(a_lost_leaf_that_others_hold_is_counted_right),
        TEST(a_lost_leaf_that_others_held_takes_no_chunk_with_it),
        TEST(a_lost_leaf_can_be_dropped),
        TEST(a_segment_whose_last_chunk_died_is_given_out_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
