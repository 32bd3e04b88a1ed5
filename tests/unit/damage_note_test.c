/*
 * The ledger from the side of readers: what a failed read enters, that all other blocks go on, and what takes a range
 * out of it again.
 */
#include "tests/unit/scrub_fixture.h"

static void file_path(char path[160])
{
    snprintf(path, 160, "%s/" SCRUB_FILE, fixture_directory);
}

/* Opens the pool with one damaged block, which no cache has. */
static void damage_block(const char *name, uint64_t block)
{
    struct map_entry entry = entry_of(name, block);
    struct spot spot = address_spot(entry_serial(entry), entry_offset(entry));
    flip(&spot);
    pool_reopen(false);
}

static void a_read_that_fails_names_object_and_range_and_others_go_on(void **context)
{
    (void)context;
    fill();
    damage_block("one", 4);
    assert_int_equal(read_block("one", 4), ERROR_CORRUPT);
    for (unsigned i = 0; i < 8; i++)
        if (i != 4)
            assert_block("one", i * COFFER_BLOCK, 100 + i);
    damages_look();
    const struct damage_info *info = damage_with("object one: 4096 bytes at 16384 are damaged (device ");
    assert_true(!info->by_scrub && info->lost);
    assert_int_equal(info_count, 1);
    assert_int_equal(read_block("one", 4), ERROR_CORRUPT);
    damages_look();
    assert_int_equal(info_count, 1);
}

static void a_range_that_is_overwritten_leaves_the_ledger(void **context)
{
    (void)context;
    fill();
    damage_block("one", 4);
    assert_int_equal(read_block("one", 4), ERROR_CORRUPT);
    write_block("one", 5 * COFFER_BLOCK, 9);
    damages_look();
    assert_int_equal(info_count, 1);
    write_block("one", 4 * COFFER_BLOCK, 9);
    assert_no_damage();
    assert_block("one", 4 * COFFER_BLOCK, 9);
}

static _Atomic bool index_held;

/* Who has committed goes no further meanwhile. */
static void hold_index(void *unused)
{
    (void)unused;
    mutex_lock(&pool->group->index_lock);
    atomic_store(&index_held, true);
    while (atomic_load(&index_held))
        clock_sleep(CLOCK_MILLISECOND);
    mutex_unlock(&pool->group->index_lock);
}

static void overwrite(void *unused)
{
    (void)unused;
    write_block("one", 4 * COFFER_BLOCK, 9);
}

static void what_is_found_of_a_commit_that_still_ends_stays(void **context)
{
    (void)context;
    struct thread holder, writer;
    fill();
    damage_block("one", 4);
    assert_int_equal(read_block("one", 4), ERROR_CORRUPT);
    struct map_entry before = entry_of("one", 4);
    pool->no_index = true; /* the write asks for the index only once it has committed */
    assert_fine(thread_start(&holder, "holder", hold_index, NULL));
    while (!atomic_load(&index_held))
        clock_sleep(CLOCK_MILLISECOND);
    assert_fine(thread_start(&writer, "writer", overwrite, NULL));
    while (entry_equal(entry_of("one", 4), before))
        clock_sleep(CLOCK_MILLISECOND);
    assert_no_damage();
    damage_note_block(pool, component_of("one"), 4, entry_of("one", 4), DAMAGE_CHANGED, false);
    atomic_store(&index_held, false);
    thread_join(&holder);
    thread_join(&writer);
    damages_look();
    damage_with("object one: 4096 bytes at 16384 are damaged");
    assert_int_equal(info_count, 1);
}

/* Deduplication would find the content where it is damaged: in a cache, or by its fingerprint alone. */
static void the_same_content_written_again_is_stored_anew(void **context)
{
    (void)context;
    fill();
    assert_block("one", 3 * COFFER_BLOCK, 103);
    struct map_entry before = entry_of("one", 3);
    struct spot spot = address_spot(entry_serial(before), entry_offset(before));
    flip(&spot);
    write_block("one", 20 * COFFER_BLOCK, 103); /* nobody knows yet: a hit, from the cache */
    assert_true(entry_same_unit(entry_of("one", 20), before));
    scrub();
    damage_with("object one: 4096 bytes at 12288");
    damage_with("object one: 4096 bytes at 81920");
    damage_with("object two: 4096 bytes at 12288");
    write_block("one", 3 * COFFER_BLOCK, 103);
    assert_false(entry_same_unit(entry_of("one", 3), before));
    write_block("one", 20 * COFFER_BLOCK, 103);
    write_block("two", 3 * COFFER_BLOCK, 103);
    assert_no_damage();
    pool_reopen(false);
    assert_block("one", 3 * COFFER_BLOCK, 103);
    assert_block("one", 20 * COFFER_BLOCK, 103);
    assert_block("two", 3 * COFFER_BLOCK, 103);
}

static void a_range_that_is_trimmed_or_deleted_leaves_the_ledger(void **context)
{
    (void)context;
    struct object_info info;
    fill();
    damage_block("one", 4);
    assert_int_equal(read_block("one", 4), ERROR_CORRUPT);
    trim_blocks("one", 0, 256);
    assert_no_damage();
    write_block("one", 4 * COFFER_BLOCK, 77);
    publish();
    damage_block("one", 4);
    assert_int_equal(read_block("one", 4), ERROR_CORRUPT);
    assert_fine(object_find(pool, "one", &info));
    assert_fine(object_delete(pool, "one", true));
    await_gone(info.uuid);
    assert_no_damage();
}

static void a_write_of_a_part_of_a_damaged_block_fails_and_is_noted(void **context)
{
    (void)context;
    struct volume *volume;
    uint8_t part[512] = {1};
    fill();
    damage_block("one", 4);
    assert_fine(volume_open(pool, "one", false, &volume));
    struct request write = {
        .type = REQUEST_WRITE, .offset = 4 * COFFER_BLOCK + 512, .length = sizeof part, .data = part};
    volume_execute(volume, &write, 1, fixture_answer, NULL);
    volume_close(volume);
    assert_int_equal(write.error, ERROR_CORRUPT);
    damages_look();
    damage_with("object one: 4096 bytes at 16384 are damaged");
    assert_int_equal(info_count, 1);
}

static void writes_beside_one_that_fails_are_done(void **context)
{
    (void)context;
    struct volume *volume;
    uint8_t part[512] = {1}, block[COFFER_BLOCK] = {2};
    fill();
    damage_block("one", 4);
    assert_fine(volume_open(pool, "one", false, &volume));
    struct request writes[] = {
        {.type = REQUEST_WRITE, .offset = 2 * COFFER_BLOCK, .length = sizeof block, .data = block},
        {.type = REQUEST_WRITE, .offset = 4 * COFFER_BLOCK + 512, .length = sizeof part, .data = part},
        {.type = REQUEST_WRITE, .offset = 6 * COFFER_BLOCK + 512, .length = sizeof part, .data = part},
        {.type = REQUEST_TRIM, .offset = 8 * COFFER_BLOCK, .length = COFFER_BLOCK},
    };
    uint8_t read[COFFER_BLOCK];
    volume_execute(volume, writes, COUNT_OF(writes), fixture_answer, NULL);
    assert_fine(writes[0].error);
    assert_int_equal(writes[1].error, ERROR_CORRUPT);
    assert_fine(writes[2].error);
    assert_fine(writes[3].error);
    assert_fine(block_io(volume, REQUEST_READ, 2 * COFFER_BLOCK, read));
    assert_memory_equal(read, block, sizeof block);
    assert_fine(block_io(volume, REQUEST_READ, 6 * COFFER_BLOCK, read));
    assert_memory_equal(read + 512, part, sizeof part);
    assert_fine(block_io(volume, REQUEST_READ, 8 * COFFER_BLOCK, read));
    assert_true(memory_is_zero(read, sizeof read));
    volume_close(volume);
}

static void a_read_below_a_lost_leaf_is_named_with_its_node(void **context)
{
    (void)context;
    fill();
    struct tree tree = map_tree("two");
    struct spot spot = root_spot(&tree, false);
    flip(&spot);
    pool_reopen(false);
    assert_int_equal(read_block("two", 1), ERROR_CORRUPT);
    assert_int_equal(read_block("two", 2), ERROR_CORRUPT);
    assert_block("one", COFFER_BLOCK, 101);
    damages_look();
    for (unsigned i = 0; i < 1200 && info_count != 1; i++) { /* one row once both are told */
        clock_sleep(10 * CLOCK_MILLISECOND);
        damages_look();
    }
    damage_with("object two: 8192 bytes at 4096 are lost with a part of the map (device ");
    assert_int_equal(info_count, 1);
}

static void read_lost_mebibyte(const char *name)
{
    static uint8_t bytes[256 * COFFER_BLOCK];
    struct volume *volume;
    struct request request = {.type = REQUEST_READ, .length = sizeof bytes, .data = bytes};
    assert_fine(volume_open(pool, name, true, &volume));
    volume_execute(volume, &request, 1, fixture_answer, NULL);
    volume_close(volume);
    assert_int_equal(request.error, ERROR_CORRUPT);
}

static void a_long_read_below_a_lost_leaf_asks_for_it_a_few_times_only(void **context)
{
    (void)context;
    fill();
    struct tree tree = map_tree("two");
    struct spot spot = root_spot(&tree, false);
    flip(&spot);
    pool_reopen(false);
    _Atomic uint64_t *errors = &pool->group->totals.read_errors;
    uint64_t before = atomic_load(errors);
    read_lost_mebibyte("two");
    uint64_t first = atomic_load(errors) - before;
    assert_true(first > 0 && first <= 8);
    damages_look();
    damage_with("object two: 1048576 bytes at 0 are lost with a part of the map (device ");
    assert_int_equal(info_count, 1);
    read_lost_mebibyte("two"); /* known by now */
    assert_true(atomic_load(errors) - before < 2 * first);
    write_block("two", 5 * COFFER_BLOCK, 9);
    damages_look();
    assert_int_equal(info_count, 2);
}

static void what_a_read_found_is_kept_over_a_kill_and_leaves_when_a_scrub_finds_it_good(void **context)
{
    (void)context;
    fill();
    struct map_entry entry = entry_of("one", 4);
    struct spot spot = address_spot(entry_serial(entry), entry_offset(entry));
    damage_block("one", 4);
    assert_int_equal(read_block("one", 4), ERROR_CORRUPT);
    char path[160];
    file_path(path);
    for (unsigned i = 0; i < 1200 && access(path, F_OK) != 0; i++)
        clock_sleep(10 * CLOCK_MILLISECOND); /* the ledger is saved by itself */
    assert_int_equal(access(path, F_OK), 0);
    pool_reopen(true);
    damages_look();
    damage_with("object one: 4096 bytes at 16384 are damaged");
    assert_int_equal(scrub_look().state, SCRUB_NEVER);
    scrub();
    assert_false(damage_with("object one: 4096 bytes at 16384 are damaged")->by_scrub);
    assert_int_equal(info_count, 1);
    flip(&spot);
    scrub();
    assert_no_damage();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pool_setup, scrub_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_read_that_fails_names_object_and_range_and_others_go_on),
        TEST(a_range_that_is_overwritten_leaves_the_ledger),
        TEST(what_is_found_of_a_commit_that_still_ends_stays),
        TEST(the_same_content_written_again_is_stored_anew),
        TEST(a_range_that_is_trimmed_or_deleted_leaves_the_ledger),
        TEST(a_write_of_a_part_of_a_damaged_block_fails_and_is_noted),
        TEST(writes_beside_one_that_fails_are_done),
        TEST(a_read_below_a_lost_leaf_is_named_with_its_node),
        TEST(a_long_read_below_a_lost_leaf_asks_for_it_a_few_times_only),
        TEST(what_a_read_found_is_kept_over_a_kill_and_leaves_when_a_scrub_finds_it_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
