/*
 * `check --repair`: what has a second copy, or can be made from what else is there, is whole afterwards; what cannot be
 * is left as it was, and named. A repair that is cut off anywhere is begun again.
 */
#include <errno.h>

#include "engine/device/kind.h"
#include "engine/group/follow.h"
#include "tests/unit/check_fixture.h"
#include "tests/unit/truth_fixture.h"

static unsigned passes; /* of the last repair */
static uint64_t last;

static void pass_count(uint64_t done, uint64_t total, void *context)
{
    assert_in_range(done, 0, total);
    *(unsigned *)context += last == 0 || done < last;
    last = done;
}

static const struct check_listener listener = {.progress = pass_count, .context = &passes};

static enum error repair(void)
{
    struct pool_open_options options = {.memory = FIXTURE_MEMORY, .repair_listener = &listener};
    error_forget();
    passes = 0;
    last = 0;
    return pool_repair(fixture_directory, &options, NULL);
}

static void repair_to_clean(void)
{
    assert_fine(repair());
    assert_clean();
}

static void blocks_expect(void)
{
    for (unsigned i = 0; i < 8; i++)
        assert_block("one", i * COFFER_BLOCK, 100 + i);
    assert_block("one", 300 * COFFER_BLOCK, 200);
    for (unsigned i = 0; i < 4; i++)
        assert_block("two", i * COFFER_BLOCK, 100 + i);
}

/* What is whole serves as before, and what is then deleted is freed: nothing false is left in counts. */
static void serves_and_frees(void)
{
    assert_fine(pool_try_open());
    blocks_expect();
    struct uuid uuid = look("one").uuid;
    assert_fine(object_delete(pool, "one", true));
    await_gone(uuid);
    publish();
    publish();
    write_block("two", 9 * COFFER_BLOCK, 55);
    pool_reopen(false);
    assert_block("two", 2 * COFFER_BLOCK, 102);
    assert_block("two", 9 * COFFER_BLOCK, 55);
    close_pool(false);
    assert_clean();
}

/* All copies of a page of the chunk table. */
static void page_flip(enum table table)
{
    struct tree tree = table_tree(table);
    for (unsigned copy = 0; copy < 1 + (table == TABLE_PLACES); copy++) {
        struct spot spot = tree_spot(&tree, 0, copy == 1);
        flip(&spot);
    }
}

static void a_whole_pool_stays_as_it_is(void **context)
{
    (void)context;
    fill();
    close_pool(false);
    repair_to_clean();
    assert_int_equal(passes, 1);
    serves_and_frees();
}

static void a_damaged_copy_of_a_page_is_written_again(void **context)
{
    static const struct {
        enum table table;
        unsigned level;
    } cases[] = {{TABLE_PLACES, 1}, {TABLE_FINGERPRINTS, 1}, {TABLE_COMPONENTS, 0}, {TABLE_SEGMENTS, 0}};
    (void)context;
    fill();
    close_pool(false);
    for (size_t i = 0; i < COUNT_OF(cases) * 2; i++) {
        assert_fine(pool_try_open());
        struct tree tree = table_tree(cases[i / 2].table);
        struct spot spot = tree_spot(&tree, cases[i / 2].level, i % 2);
        close_pool(true);
        flip(&spot);
        check_finds("the other copy is whole");
        repair_to_clean();
        assert_int_equal(passes, 2);
    }
    serves_and_frees();
}

static void a_damaged_copy_of_an_inner_node_is_written_again(void **context)
{
    (void)context;
    fill();
    close_pool(false);
    for (unsigned second = 0; second < 2; second++) {
        assert_fine(pool_try_open());
        struct tree tree = map_tree("one");
        struct spot spot = tree_spot(&tree, 1, second);
        close_pool(true);
        flip(&spot);
        check_finds("the other copy is whole");
        repair_to_clean();
    }
    serves_and_frees();
}

/* Each of them has its own map, and all of those have the node. */
static void a_node_of_a_family_is_written_again_for_all_of_it(void **context)
{
    const char *name = "one";
    (void)context;
    fill();
    assert_fine(object_snapshot(pool, &name, 1, "a", false, 0));
    assert_fine(object_snapshot(pool, &name, 1, "b", false, 0));
    publish();
    close_pool(false);
    for (unsigned second = 0; second < 2; second++) {
        assert_fine(pool_try_open());
        struct tree tree = map_tree("one@a");
        struct spot spot = tree_spot(&tree, 1, second);
        close_pool(true);
        flip(&spot);
        check_finds("the other copy is whole");
        repair_to_clean();
    }
    assert_fine(pool_try_open());
    assert_block("one@a", 0, 100);
    assert_block("one@b", 300 * COFFER_BLOCK, 200);
    close_pool(false);
    serves_and_frees();
}

static void lost_pages_of_the_chunk_table_are_made_anew(void **context)
{
    static const enum table tables[] = {TABLE_PLACES, TABLE_FINGERPRINTS, TABLE_COUNTS};
    (void)context;
    fill();
    for (size_t i = 0; i <= COUNT_OF(tables); i++) {
        for (size_t t = 0; t < COUNT_OF(tables); t++)
            if (t == i || i == COUNT_OF(tables))
                page_flip(tables[t]);
        close_pool(true);
        assert_fine(check());
        assert_int_not_equal(found_count, 0);
        assert_int_equal(lost_count, 0);
        repair_to_clean();
        assert_fine(pool_try_open());
    }
    close_pool(false);
    serves_and_frees();
}

/* Merges went on without them, and left what frees nothing. */
static void what_stood_in_for_lost_pages_is_made_right(void **context)
{
    (void)context;
    fill();
    page_flip(TABLE_PLACES);
    page_flip(TABLE_FINGERPRINTS);
    page_flip(TABLE_COUNTS);
    pool_reopen(true);
    write_block("two", 0, 100);
    write_block("two", 40 * COFFER_BLOCK, 70);
    write_block("two", 41 * COFFER_BLOCK, 71);
    publish();
    assert_fine(group_sync(pool->group));
    write_block("two", 42 * COFFER_BLOCK, 72);
    publish();
    close_pool(false);
    check_finds("stick, since a page of them was lost");
    assert_int_equal(lost_count, 0);
    repair_to_clean();
    serves_and_frees();
}

/* What it referred to is not known, so no count may fall; what can be done is done. */
static void with_a_lost_leaf_counts_go_on_to_stick(void **context)
{
    (void)context;
    fill();
    struct tree tree = map_tree("two");
    struct spot spot = root_spot(&tree, false);
    page_flip(TABLE_COUNTS);
    close_pool(true);
    flip(&spot);
    assert_fine(repair());
    assert_fine(check());
    assert_int_equal(lost_count, 1);
    flip(&spot); /* it can be read after all */
    repair_to_clean();
    serves_and_frees();
}

/* The same, where a merge lost the leaf, so that no node is damaged any more. */
static void with_a_leaf_lost_earlier_counts_go_on_to_stick(void **context)
{
    (void)context;
    fill();
    struct tree tree = map_tree("two");
    struct spot spot = root_spot(&tree, false);
    close_pool(true);
    flip(&spot);
    assert_fine(pool_try_open());
    write_block("two", 40 * COFFER_BLOCK, 70);
    publish();
    page_flip(TABLE_COUNTS);
    close_pool(true);
    assert_fine(repair());
    assert_fine(check());
    check_finds("chunk table, counts, page"); /* not made anew */
    assert_fine(pool_try_open());
    for (unsigned i = 0; i < 8; i++)
        assert_block("one", i * COFFER_BLOCK, 100 + i);
    close_pool(true);
}

static void a_damaged_journal_ends_where_it_is(void **context)
{
    (void)context;
    fill();
    write_block("one", 50 * COFFER_BLOCK, 50);
    assert_fine(group_sync(pool->group));
    write_block("one", 51 * COFFER_BLOCK, 51);
    assert_fine(group_sync(pool->group));
    struct map_entry entry = entry_of("one", 51);
    write_block("one", 52 * COFFER_BLOCK, 52);
    assert_fine(group_sync(pool->group));
    write_block("one", 53 * COFFER_BLOCK, 53);
    assert_fine(group_sync(pool->group));
    struct spot spot = address_spot(entry_serial(entry), entry_offset(entry) / BLOCK_GRAINS * BLOCK_GRAINS);
    close_pool(true);
    flip(&spot);
    assert_refused(pool_try_open(), ERROR_CORRUPT, "`coffer check --repair` keeps what precedes");
    pool = NULL;
    repair_to_clean();
    assert_fine(pool_try_open());
    blocks_expect();
    assert_block("one", 50 * COFFER_BLOCK, 50);
    for (unsigned i = 51; i < 54; i++)
        assert_block("one", i * COFFER_BLOCK, 0);
    write_block("one", 51 * COFFER_BLOCK, 61);
    pool_reopen(true);
    pool_reopen(false);
    blocks_expect();
    close_pool(false);
    serves_and_frees();
}

/* ---- cut off
 * ------------------------------------------------------------------------------------------------------------ */

/* A device whose writes fail from one on: what a crash there leaves. */
static struct {
    struct device_operations operations;
    const struct device_operations *real;
    _Atomic int writes_left;
} cut;

static void cut_submit(struct device_io **ios, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (ios[i]->operation == DEVICE_WRITE && atomic_fetch_sub(&cut.writes_left, 1) <= 0)
            io_complete(ios[i], ERROR_IO, EIO);
        else
            cut.real->submit(&ios[i], 1);
    }
}

static enum error cut_open(const char *path, unsigned flags, void *context, struct device **device)
{
    (void)context;
    TRY(device_open_file(path, flags, device));
    cut.real = (*device)->operations;
    cut.operations = *cut.real;
    cut.operations.submit = cut_submit;
    cut.operations.run = NULL;
    (*device)->operations = &cut.operations;
    return ERROR_NONE;
}

static void a_repair_that_is_cut_off_is_begun_again(void **context)
{
    struct pool_open_options options = {.memory = FIXTURE_MEMORY, .open_device = cut_open};
    bool finished = false;
    unsigned cuts = 0;
    (void)context;
    truth_quiet();
    fill();
    for (int writes = 1; !finished; writes += 3) {
        struct tree tree = map_tree("one");
        struct spot spot = tree_spot(&tree, 1, true);
        page_flip(TABLE_PLACES);
        page_flip(TABLE_COUNTS);
        close_pool(true);
        flip(&spot);
        atomic_store(&cut.writes_left, writes);
        finished = pool_repair(fixture_directory, &options, NULL) == ERROR_NONE;
        cuts += !finished;
        assert_fine(check());
        assert_int_equal(lost_count, 0);
        repair_to_clean();
        assert_fine(pool_try_open());
        blocks_expect();
    }
    assert_true(cuts >= 3);
    close_pool(false);
    serves_and_frees();
}

/* ---- what the cleaner moved ------------------------------------------------------------------------------------------- */

#define PLACES_SPOTS_MAX 1024
#define MOVED_BLOCKS     16384

struct places_spots {
    struct spot spots[PLACES_SPOTS_MAX];
    size_t count;
};

static enum error places_spot_add(void *context, const struct walk_node *node)
{
    struct places_spots *all = context;
    if (node->identity.level > 0)
        return ERROR_NONE;
    assert_true(all->count + 2 <= PLACES_SPOTS_MAX);
    all->spots[all->count++] = address_spot(entry_serial(node->pointer.first), entry_offset(node->pointer.first));
    all->spots[all->count++] = address_spot(node->pointer.second_serial, node->pointer.second_offset);
    return ERROR_NONE;
}

/* Half of what is written is overwritten, and the rest moved, the maps' nodes too. */
static void moved_make(struct truth *truth)
{
    truth_make(truth, "disk", MOVED_BLOCKS);
    truth_write(truth, 0, MOVED_BLOCKS, 1 << 20);
    publish();
    for (uint64_t block = 0; block < MOVED_BLOCKS; block += 32)
        truth_write(truth, block, 16, (2 << 20) + block);
    publish();
    atomic_store(&clean_always, true);
    for (unsigned i = 0; i < 12; i++) {
        write_block("one", i * COFFER_BLOCK, 7 + i);
        publish();
    }
    atomic_store(&clean_always, false);
    assert_true(atomic_load(&pool->group->totals.segments_cleaned) > 3);
}

/* Both copies of all pages of places. */
static void places_flip(void)
{
    struct places_spots *all = memory_zeroed(1, sizeof *all);
    struct tree tree = table_tree(TABLE_PLACES);
    assert_fine(tree_walk(pool->group, &tree, 0, UINT64_MAX, WALK_ONE_COPY, places_spot_add, all));
    assert_true(all->count > 20);
    close_pool(true);
    for (size_t i = 0; i < all->count; i++)
        flip(&all->spots[i]);
    free(all);
}

static void moved_repair(struct truth *truth)
{
    assert_fine(check());
    assert_true(report.errors > 0);
    repair_to_clean();
    assert_fine(pool_try_open());
    assert_int_equal(truth_read(truth), 0);
    truth_write(truth, 100, 200, 3 << 20);
    publish();
    assert_int_equal(truth_read(truth), 0);
    close_pool(false);
    assert_clean();
}

static void what_moved_is_found_again_without_any_place(void **context)
{
    struct truth truth;
    (void)context;
    make("one", GIB);
    moved_make(&truth);
    places_flip();
    moved_repair(&truth);
    truth_free(&truth);
}

static enum error first_leaf_find(void *context, const struct walk_node *node)
{
    struct spot *spot = context;
    if (node->identity.level == 0 && node->identity.number == 0) {
        struct map_entry place = entry_follow(pool->group, node->pointer.first);
        *spot = address_spot(entry_serial(place), entry_offset(place));
    }
    return ERROR_NONE;
}

/* With a snapshot: what is lost of one leaf is judged in all maps that share it. */
static void what_moved_is_not_lost_with_a_leaf_of_a_family(void **context)
{
    struct truth truth;
    struct spot spot = {0};
    const char *name = "disk";
    (void)context;
    make("one", GIB);
    moved_make(&truth);
    assert_fine(object_snapshot(pool, &name, 1, "s", false, 0));
    publish();
    publish();
    struct tree tree = map_tree("disk");
    assert_fine(tree_walk(pool->group, &tree, 0, UINT64_MAX, WALK_ONE_COPY, first_leaf_find, &spot));
    close_pool(false);
    flip(&spot);
    assert_fine(check());
    assert_int_equal(lost_count, 2);
    for (size_t i = 0; i < lost_count; i++) {
        assert_int_equal(losses[i].offset, 0);
        assert_int_equal(losses[i].length, MAP_LEAF_ENTRIES * COFFER_BLOCK);
    }
    truth_free(&truth);
}

static void what_is_damaged_where_it_was_moved_to_is_not_taken(void **context)
{
    struct truth truth;
    (void)context;
    make("one", GIB);
    moved_make(&truth);
    struct map_entry named = entry_of("disk", 16), moved = entry_follow(pool->group, named);
    assert_int_not_equal(entry_serial(moved), entry_serial(named));
    struct spot spot = address_spot(entry_serial(moved), entry_offset(moved));
    places_flip();
    flip(&spot);
    truth_quiet();
    assert_fine(repair());
    assert_fine(check());
    assert_true(report.errors > 0);
    assert_fine(pool_try_open());
    uint64_t bad = truth_read(&truth);
    assert_int_equal(bad, UNIT_CHUNKS);
    for (uint64_t block = 16; block < 16 + UNIT_CHUNKS; block++)
        assert_true(truth.bad[block]);
    truth_write(&truth, 16, UNIT_CHUNKS, 4 << 20);
    publish();
    publish();
    assert_int_equal(truth_read(&truth), 0);
    close_pool(false);
    assert_clean();
    truth_free(&truth);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pool_setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_whole_pool_stays_as_it_is),
        TEST(a_damaged_copy_of_a_page_is_written_again),
        TEST(a_damaged_copy_of_an_inner_node_is_written_again),
        TEST(a_node_of_a_family_is_written_again_for_all_of_it),
        TEST(lost_pages_of_the_chunk_table_are_made_anew),
        TEST(what_stood_in_for_lost_pages_is_made_right),
        TEST(with_a_lost_leaf_counts_go_on_to_stick),
        TEST(with_a_leaf_lost_earlier_counts_go_on_to_stick),
        TEST(what_moved_is_found_again_without_any_place),
        TEST(what_moved_is_not_lost_with_a_leaf_of_a_family),
        TEST(what_is_damaged_where_it_was_moved_to_is_not_taken),
        TEST(a_damaged_journal_ends_where_it_is),
        TEST(a_repair_that_is_cut_off_is_begun_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
