/*
 * The release list: what is dropped waits on it, is counted as long as it does, and goes piece by piece, whatever crashes
 * in between.
 */
#include <signal.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "tests/unit/release_fixture.h"

#define SMALL ((UINT64_C(48) << 22) + 2 * AREA_SIZE)

static int setup_small(void **state)
{
    atomic_store(&release_references, 0);
    *state = fixture_begin(1, SMALL, true);
    return 0;
}

/* ---- what waits ------------------------------------------------------------------------------------------------------ */

static void what_is_dropped_waits_and_is_counted(void **state)
{
    struct fixture *f = *state;
    leaves_write(f, COMPONENT, 300, 1);
    fixture_holes(f, COMPONENT, 0, ALL);
    publish(f);
    assert_int_equal(truth_releases(f), 1);
    assert_int_equal(published(f).blocks_mapped, 300);
    truth_expect(f, COMPONENTS);
    for (uint64_t i = 0; i < 300; i++)
        fixture_expect(f, COMPONENT, i * MAP_LEAF_ENTRIES, 0);
    release(f, WHOLE);
    expect_nothing_left(f);
}

static void nothing_is_released_without_a_budget(void **state)
{
    struct fixture *f = *state;
    leaves_write(f, COMPONENT, 300, 1);
    fixture_holes(f, COMPONENT, 0, ALL);
    publish(f);
    uint64_t number = published(f).number;
    publish(f);
    assert_int_equal(published(f).number, number);
    fixture_close(f);
    fixture_open(f);
    fixture_write(f, COMPONENT, 5, 9);
    publish(f);
    assert_int_equal(truth_releases(f), 1);
    assert_int_equal(published(f).blocks_mapped, 301);
    truth_expect(f, COMPONENTS);
}

static void a_trim_of_64_tib_enters_a_few_nodes(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 0; i < 2000; i++) /* on all levels, of the last leaf too */
        fixture_write(f, COMPONENT, i * (ALL / 2000) + i % 7, 1 + i);
    fixture_write(f, COMPONENT, ALL - 1, 5000);
    publish(f);
    fixture_holes(f, COMPONENT, 3 * MAP_LEAF_ENTRIES, ALL);
    publish(f);
    assert_in_range(truth_releases(f), 1, RANGE_DROPS_MAX);
    truth_expect(f, COMPONENTS);
    fixture_expect(f, COMPONENT, 0, 1);
    fixture_expect(f, COMPONENT, ALL - 1, 0);
    release(f, WHOLE);
    assert_int_equal(truth_releases(f), 0);
    assert_int_equal(published(f).blocks_mapped, 1);
    truth_expect(f, COMPONENTS);
}

static void a_deep_backlog_becomes_less_with_each_merge(void **state)
{
    struct fixture *f = *state;
    leaves_write(f, COMPONENT, 3000, 37);
    fixture_holes(f, COMPONENT, 0, ALL);
    publish(f);
    uint64_t before = published(f).blocks_mapped, merges = 0;
    for (; truth_releases(f); merges++) {
        release(f, 200);
        uint64_t mapped = published(f).blocks_mapped;
        assert_true(mapped < before || truth_releases(f));
        assert_true(mapped <= before);
        assert_in_range(truth_releases(f), 0, NODE_LEVELS_MAX * NODE_FANOUT);
        before = mapped;
        if (merges % 8 == 0)
            truth_expect(f, COMPONENTS);
    }
    assert_true(merges > 10);
    expect_nothing_left(f);
}

/* Of each single leaf, so that the list has many pages, and new entries come upon what is left of the old ones. */
static void a_list_of_many_pages_is_worked_through_from_its_end(void **state)
{
    struct fixture *f = *state;
    leaves_write(f, COMPONENT, 1500, 1);
    for (unsigned round = 0; round < 3; round++) {
        for (uint64_t leaf = round; leaf < 1500; leaf += 3)
            fixture_holes(f, COMPONENT, leaf * MAP_LEAF_ENTRIES, (leaf + 1) * MAP_LEAF_ENTRIES);
        publish(f);
        truth_expect(f, COMPONENTS);
        release(f, 200);
        truth_expect(f, COMPONENTS);
    }
    assert_true(truth_releases(f) > 4 * RELEASES_PER_PAGE);
    fixture_crash(f);
    fixture_open(f);
    while (truth_releases(f))
        release(f, 300);
    expect_nothing_left(f);
}

/* So that counts are applied while nodes are still being released. */
static void more_references_than_the_list_of_changes_holds_are_released(void **state)
{
    struct fixture *f = *state;
    const uint64_t blocks = CHANGES_MAX + CHANGES_MAX / 8;
    struct map_entry entries[64];
    fixture_component(f, COMPONENT + 1, COMPONENT_LIVE);
    for (uint64_t i = 0; i < COUNT_OF(entries); i++)
        entries[i] = fixture_write(f, COMPONENT + 1, i, 1 + i);
    for (uint64_t block = 0; block < blocks; block++)
        fixture_refer(f, COMPONENT, block, entries[block % COUNT_OF(entries)]);
    publish(f);
    assert_int_equal(published(f).blocks_mapped, blocks + COUNT_OF(entries));
    fixture_holes(f, COMPONENT, 0, ALL);
    uint64_t number = published(f).number;
    release(f, WHOLE);
    assert_in_range(published(f).number, number + 1, number + 2);
    assert_int_equal(truth_releases(f), 0);
    assert_int_equal(published(f).blocks_mapped, COUNT_OF(entries));
    assert_int_equal(published(f).chunks_live, COUNT_OF(entries));
    truth_expect(f, COMPONENTS);
}

static void a_merge_releases_as_much_as_it_adds(void **state)
{
    struct fixture *f = *state;
    fixture_component(f, COMPONENT + 1, COMPONENT_LIVE);
    leaves_write(f, COMPONENT, 1000, 1);
    fixture_holes(f, COMPONENT, 0, ALL);
    publish(f);
    for (uint64_t i = 0; i < 2000; i++)
        fixture_write(f, COMPONENT + 1, i * MAP_LEAF_ENTRIES, 5000 + i);
    release(f, 1);
    assert_int_equal(truth_releases(f), 0);
}

static void a_deleted_component_leaves_before_its_blocks_do(void **state)
{
    struct fixture *f = *state;
    struct component_format format;
    leaves_write(f, COMPONENT, 500, 1);
    fixture_holes(f, COMPONENT, 0, ALL);
    fixture_component(f, COMPONENT, COMPONENT_DELETED);
    publish(f);
    assert_int_equal(view_component(f->group, f->group->view, COMPONENT, &format), ERROR_NOT_FOUND);
    assert_int_equal(published(f).blocks_mapped, 500);
    while (truth_releases(f)) {
        truth_expect(f, COMPONENTS);
        release(f, 200);
    }
    expect_nothing_left(f);
}

static void what_is_written_over_a_dropped_range_stays(void **state)
{
    struct fixture *f = *state;
    leaves_write(f, COMPONENT, 600, 1);
    fixture_holes(f, COMPONENT, 0, ALL);
    for (uint64_t leaf = 0; leaf < 600; leaf += 5)
        fixture_write(f, COMPONENT, leaf * MAP_LEAF_ENTRIES + 1, 7000 + leaf);
    publish(f);
    assert_int_equal(truth_releases(f), 1);
    assert_int_equal(published(f).blocks_mapped, 720);
    release(f, WHOLE);
    assert_int_equal(published(f).blocks_mapped, 120);
    truth_expect(f, COMPONENTS);
    for (uint64_t leaf = 0; leaf < 600; leaf++) {
        fixture_expect(f, COMPONENT, leaf * MAP_LEAF_ENTRIES, 0);
        fixture_expect(f, COMPONENT, leaf * MAP_LEAF_ENTRIES + 1, leaf % 5 ? 0 : 7000 + leaf);
    }
}

static void a_reader_keeps_a_dropped_map_while_it_is_taken_apart(void **state)
{
    struct fixture *f = *state;
    uint64_t block = 7;
    struct map_entry entry;
    struct view *view;
    uint8_t found[CHUNK_SIZE], wanted[CHUNK_SIZE];
    fixture_write(f, COMPONENT, 7, 1);
    for (uint64_t i = 0; i < 600; i++) /* until the chunk's segment is full */
        assert_int_equal(fixture_try_write(f, COMPONENT, 8, (uint64_t[]){i + 10, i + 11, i + 12, i + 13}, 4, NULL),
                         ERROR_NONE);
    publish(f);
    assert_int_equal(view_lookup(f->group, COMPONENT, &block, &entry, 1, &view), ERROR_NONE);
    fixture_holes(f, COMPONENT, 0, ALL);
    atomic_store(&release_references, WHOLE);
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    fixture_forget_cached(f);
    struct chunk_read read = {.entry = entry, .out = found};
    assert_int_equal(chunks_read(f->group, &read, 1), ERROR_NONE);
    fixture_chunk(1, wanted);
    assert_memory_equal(found, wanted, CHUNK_SIZE);
    view_put(f->group, view);
    publish(f);
    expect_nothing_left(f);
}

/* ---- crashes ---------------------------------------------------------------------------------------------------------- */

#define BLOCKS 4096
static uint64_t model[COMPONENTS][BLOCKS]; /* seeds of what stands in every 64th leaf's n-th block; 0: a hole */
static uint64_t seed;

static uint64_t block_of(uint64_t n)
{
    return n / 16 * 64 * MAP_LEAF_ENTRIES + n % 16;
}

static void do_something(struct fixture *f)
{
    unsigned c = (unsigned)fixture_below(&seed, COMPONENTS);
    uint64_t n = fixture_below(&seed, BLOCKS), length = MIN(BLOCKS - n, UINT64_C(16) << fixture_below(&seed, 8));
    if (fixture_below(&seed, 40)) {
        model[c][n] = 1 + fixture_random(&seed) / 2;
        fixture_write(f, COMPONENT + c, block_of(n), model[c][n]);
        return;
    }
    n = n / 16 * 16;
    fixture_holes(f, COMPONENT + c, block_of(n), block_of(n + length));
    for (uint64_t i = n; i < BLOCKS && block_of(i) < block_of(n + length); i++)
        model[c][i] = 0;
}

static void expect_model(struct fixture *f)
{
    for (unsigned c = 0; c < COMPONENTS; c++)
        for (uint64_t n = fixture_below(&seed, 5); n < BLOCKS; n += 5)
            fixture_expect(f, COMPONENT + c, block_of(n), model[c][n]);
}

static void any_history_with_crashes_is_released_to_its_end(void **state)
{
    struct fixture *f = *state;
    memset(model, 0, sizeof model);
    seed = 17;
    fixture_component(f, COMPONENT + 1, COMPONENT_LIVE);
    for (unsigned round = 0; round < 16; round++) {
        for (unsigned i = 0; i < 250; i++)
            do_something(f);
        if (round % 3)
            release(f, fixture_below(&seed, 300));
        if (round % 4 == 3) {
            atomic_store(&release_references, fixture_below(&seed, 100)); /* the merge thread may be at it */
            assert_int_equal(group_sync(f->group), ERROR_NONE);
            fixture_crash(f);
            fixture_open(f);
            atomic_store(&release_references, 0);
        }
        publish(f);
        truth_expect(f, COMPONENTS);
        expect_model(f);
    }
    while (truth_releases(f))
        release(f, 500);
    truth_expect(f, COMPONENTS);
    expect_model(f);
}

static void die(void *context, uint64_t checkpoint, uint64_t sequence)
{
    (void)context, (void)checkpoint, (void)sequence;
    kill(getpid(), SIGKILL);
}

/* One that a crash ends when the older of two tables was published. */
static void open_and_die(struct fixture *f, uint64_t memory)
{
    int status;
    f->memory = memory;
    pid_t child = fork();
    if (child == 0) {
        f->published = die;
        _exit(fixture_try_open(f) ? 1 : 2);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    f->epoch++;
}

/* Where replay fills both tables the older is merged, and published with the old start: a crash right behind it has both
 * merged once more. */
static void a_merge_that_is_repeated_drops_nothing_twice(void **state)
{
    struct fixture *f = *state;
    leaves_write(f, COMPONENT, 2000, 1);
    fixture_close(f);
    f->memory = UINT64_C(256) << 20;
    fixture_open(f);
    fixture_holes(f, COMPONENT, 100 * MAP_LEAF_ENTRIES, 1900 * MAP_LEAF_ENTRIES);
    fixture_write(f, COMPONENT, 500 * MAP_LEAF_ENTRIES, 9000);
    for (uint64_t leaf = 3000; leaf < 7500; leaf++) /* fills the tables */
        fixture_holes(f, COMPONENT, leaf * MAP_LEAF_ENTRIES, leaf * MAP_LEAF_ENTRIES + 255);
    fixture_write(f, COMPONENT, 7, 9001);
    assert_int_equal(group_sync(f->group), ERROR_NONE);
    fixture_crash(f);
    atomic_store(&release_references, 100);
    for (unsigned round = 0; round < 2; round++)
        open_and_die(f, UINT64_C(108) << 20);
    atomic_store(&release_references, 0);
    fixture_open(f);
    publish(f);
    truth_expect(f, COMPONENTS);
    release(f, WHOLE);
    truth_expect(f, COMPONENTS);
    assert_int_equal(truth_releases(f), 0);
    for (uint64_t leaf = 0; leaf < 2000; leaf++) {
        uint64_t kept = leaf < 100 || leaf >= 1900 ? 1 + leaf : 0;
        fixture_expect(f, COMPONENT, leaf * MAP_LEAF_ENTRIES, leaf == 500 ? 9000 : kept);
    }
    fixture_expect(f, COMPONENT, 7, 9001);
}

/* Points of no meaning, until the table holds so many bytes. */
static void table_fill(struct fixture *f, uint64_t *leaf, uint64_t bytes)
{
    for (; recent_used(f->group->view->active) < bytes; ++*leaf)
        fixture_holes(f, COMPONENT, *leaf * MAP_LEAF_ENTRIES, *leaf * MAP_LEAF_ENTRIES + 255);
}

/* With less memory the older table ends before the deletion, of which the merge before, with more, knew. */
static void a_merge_repeated_with_less_memory_makes_no_map_of_a_deleted_component(void **state)
{
    struct fixture *f = *state;
    const uint64_t less = UINT64_C(88) << 20, more = UINT64_C(108) << 20;
    uint64_t leaf = 3000;
    fixture_component(f, COMPONENT + 1, COMPONENT_LIVE);
    leaves_write(f, COMPONENT + 1, 20, 1);
    fixture_close(f);
    f->memory = UINT64_C(256) << 20;
    fixture_open(f);
    for (uint64_t i = 10; i < 30; i++)
        fixture_write(f, COMPONENT + 1, i * MAP_LEAF_ENTRIES, 100 + i);
    table_fill(f, &leaf, less / 8 + (1 << 20));
    fixture_holes(f, COMPONENT + 1, 0, ALL);
    fixture_component(f, COMPONENT + 1, COMPONENT_DELETED);
    assert_true(recent_used(f->group->view->active) < recent_usable(more / 8, RECENT_RECORD_ROOM));
    table_fill(f, &leaf, more / 8 + (1 << 20));
    fixture_write(f, COMPONENT, 7, 9001);
    assert_int_equal(group_sync(f->group), ERROR_NONE);
    fixture_crash(f);
    open_and_die(f, more);
    open_and_die(f, less);
    fixture_open(f);
    publish(f);
    truth_expect(f, COMPONENTS);
    release(f, WHOLE);
    truth_expect(f, COMPONENTS);
    fixture_expect(f, COMPONENT, 7, 9001);
    assert_int_equal(published(f).blocks_mapped, 1);
}

/* ---- space ---------------------------------------------------------------------------------------------------------------- */

/* Fresh units until there is no space; returns how many were taken. */
static uint64_t fill(struct fixture *f)
{
    for (uint64_t i = 0;; i++) {
        uint64_t seeds[4] = {4 * i + 1, 4 * i + 2, 4 * i + 3, 4 * i + 4};
        enum error error = fixture_try_write(f, COMPONENT, 4 * i, seeds, 4, NULL);
        if (error == ERROR_NO_SPACE)
            return i;
        assert_int_equal(error, ERROR_NONE);
    }
}

/* Nothing but the merge thread; this only ends early where it is done. */
static void await_released(struct fixture *f, uint32_t segments)
{
    bool done = false;
    for (unsigned i = 0; i < 6000 && !done; i++) {
        mutex_lock(&f->group->lock);
        done = f->group->checkpoint.release_end == 0 && f->group->segments.free_total >= segments;
        mutex_unlock(&f->group->lock);
        if (!done)
            clock_sleep(10 * CLOCK_MILLISECOND);
    }
    assert_true(done);
}

static void a_trim_in_a_full_group_gives_back_space_by_itself(void **state)
{
    struct fixture *f = *state;
    for (unsigned round = 0; round < 2; round++) {
        uint64_t units = fill(f);
        assert_true(units > 1000);
        fixture_holes(f, COMPONENT, 0, ALL);
        publish(f);
        assert_int_not_equal(truth_releases(f), 0);
        atomic_store(&release_references, 3000); /* several merges */
        await_released(f, f->group->segments.count * 6 / 10);
        atomic_store(&release_references, 0);
        publish(f);
        expect_nothing_left(f);
    }
}

static void a_writer_waits_for_what_is_being_released(void **state)
{
    struct fixture *f = *state;
    uint64_t units = fill(f);
    atomic_store(&release_references, 3000);
    fixture_holes(f, COMPONENT, 0, ALL);
    for (uint64_t i = 0; i < units / 2; i++) {
        uint64_t seeds[4] = {4 * i + 9, 4 * i + 8, 4 * i + 7, 4 * i + 6};
        assert_int_equal(fixture_try_write(f, COMPONENT, 4 * i, seeds, 4, NULL), ERROR_NONE);
    }
}

static void a_full_group_with_a_backlog_survives_crashes(void **state)
{
    struct fixture *f = *state;
    uint64_t units = fill(f);
    fixture_holes(f, COMPONENT, 0, 4 * units / 2);
    publish(f);
    for (unsigned round = 0; round < 12; round++) {
        atomic_store(&release_references, 300);
        assert_int_equal(group_publish(f->group), ERROR_NONE);
        fixture_crash(f);
        fixture_open(f);
        assert_false(group_is_fenced(f->group));
    }
    atomic_store(&release_references, 3000);
    await_released(f, 0);
    atomic_store(&release_references, 0);
    publish(f);
    truth_expect(f, COMPONENTS);
    for (uint64_t i = 0; i < units; i += 19)
        fixture_expect(f, COMPONENT, 4 * i, 4 * i < 4 * units / 2 ? 0 : 4 * i + 1);
}

#define TEST(name)       cmocka_unit_test_setup_teardown(name, release_setup, release_teardown)
#define TEST_SMALL(name) cmocka_unit_test_setup_teardown(name, setup_small, release_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_released_without_a_budget),
        TEST(what_is_dropped_waits_and_is_counted),
        TEST(a_trim_of_64_tib_enters_a_few_nodes),
        TEST(a_deep_backlog_becomes_less_with_each_merge),
        TEST(a_list_of_many_pages_is_worked_through_from_its_end),
        TEST(more_references_than_the_list_of_changes_holds_are_released),
        TEST(a_merge_releases_as_much_as_it_adds),
        TEST(a_deleted_component_leaves_before_its_blocks_do),
        TEST(what_is_written_over_a_dropped_range_stays),
        TEST(a_reader_keeps_a_dropped_map_while_it_is_taken_apart),
        TEST(any_history_with_crashes_is_released_to_its_end),
        TEST(a_merge_that_is_repeated_drops_nothing_twice),
        TEST(a_merge_repeated_with_less_memory_makes_no_map_of_a_deleted_component),
        TEST_SMALL(a_trim_in_a_full_group_gives_back_space_by_itself),
        TEST_SMALL(a_writer_waits_for_what_is_being_released),
        TEST_SMALL(a_full_group_with_a_backlog_survives_crashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
