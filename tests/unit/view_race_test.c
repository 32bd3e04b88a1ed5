/*
 * Readers that still hold a view from before a publish, while what their object fell back to in that view is freed: they
 * go on as if it were there. The linker puts stops before segments_merge, where a merge has frozen and not yet published,
 * and before tree_next_leaf, where a reader has its view and no lock.
 */
#include "tests/unit/pool_fixture.h"

static _Atomic bool merge_held, merge_waits;

enum error __real_segments_merge(struct merge *merge, struct checkpoint *checkpoint);
enum error __wrap_segments_merge(struct merge *merge, struct checkpoint *checkpoint);
enum error __wrap_segments_merge(struct merge *merge, struct checkpoint *checkpoint)
{
    while (atomic_load(&merge_held)) {
        atomic_store(&merge_waits, true);
        clock_sleep(CLOCK_MILLISECOND);
    }
    return __real_segments_merge(merge, checkpoint);
}

static uint64_t versions(void)
{
    struct pool_status status;
    assert_fine(pool_status(pool, &status));
    return status.snapshots;
}

static uint64_t kept; /* versions that stay */

/* The merge goes on, and the janitor after it, until what was dropped is freed. */
static void free_the_base(void)
{
    atomic_store(&merge_held, false);
    for (unsigned i = 0; i < 10000 && versions() != kept; i++)
        clock_sleep(CLOCK_MILLISECOND);
    assert_int_equal(versions(), kept);
}

static _Thread_local uint64_t freed_below; /* the component in whose map the reader stops; 0: in none */

enum error __real_tree_next_leaf(struct group *group, const struct tree *tree, uint64_t *number, bool *found);
enum error __wrap_tree_next_leaf(struct group *group, const struct tree *tree, uint64_t *number, bool *found);
enum error __wrap_tree_next_leaf(struct group *group, const struct tree *tree, uint64_t *number, bool *found)
{
    if (freed_below != 0 && tree->kind == ITEM_NODE && tree->owner == freed_below) {
        freed_below = 0;
        free_the_base();
    }
    return __real_tree_next_leaf(group, tree, number, found);
}

/* "disk" becomes an heir of the component that it had, which nobody needs afterwards; the merge that gives it a map has
 * frozen, and goes no further. Returns that component. */
static uint64_t drop_the_base(void)
{
    struct uuid uuid;
    uint64_t base = component_of("disk");
    kept = versions();
    atomic_store(&merge_waits, false);
    atomic_store(&merge_held, true);
    assert_fine(object_clone(pool, "disk", "copy", &uuid));
    for (unsigned i = 0; i < 10000 && !atomic_load(&merge_waits); i++)
        clock_sleep(CLOCK_MILLISECOND);
    assert_true(atomic_load(&merge_waits));
    assert_true(view_has_heirs(pool->group, base));
    return base;
}

static void block_status_calls_no_data_a_hole_whose_base_is_freed(void **context)
{
    struct volume *volume;
    struct extent extents[4];
    size_t count;
    (void)context;
    make("disk", GIB);
    write_block("disk", MIB, 1);
    publish();
    uint64_t base = drop_the_base();
    assert_fine(volume_open(pool, "disk", true, &volume));
    freed_below = base;
    assert_fine(volume_extents(volume, 0, GIB, extents, COUNT_OF(extents), &count));
    assert_int_equal(freed_below, 0);
    volume_close(volume);
    assert_int_equal(count, 3);
    assert_int_equal(extents[0].length, MIB);
    assert_false(extents[1].hole);
    assert_int_equal(extents[1].length, COFFER_BLOCK);
    assert_block("disk", MIB, 1);
}

static void what_changed_is_told_while_its_base_is_freed(void **context)
{
    struct volume *volume, *before;
    struct change_extent extents[4];
    const char *name = "disk";
    size_t count;
    (void)context;
    make("disk", GIB);
    assert_fine(object_snapshot(pool, &name, 1, "s", false, 0));
    write_block("disk", MIB, 1);
    publish();
    uint64_t base = drop_the_base();
    assert_fine(volume_open(pool, "disk", true, &volume));
    assert_fine(volume_open(pool, "disk@s", true, &before));
    freed_below = base;
    assert_fine(volume_changes(volume, before, 0, GIB, extents, COUNT_OF(extents), &count));
    assert_int_equal(freed_below, 0);
    volume_close(before);
    volume_close(volume);
    assert_int_equal(count, 3);
    assert_int_equal(extents[0].length, MIB);
    assert_int_equal(extents[1].kind, CHANGE_DATA);
    assert_int_equal(extents[1].length, COFFER_BLOCK);
}

/* As walks over a map do, which ask leaf by leaf. */
static void a_view_that_is_held_knows_nothing_of_the_end_of_a_base(void **context)
{
    const uint64_t blocks[] = {MIB / COFFER_BLOCK, 2 * MIB / COFFER_BLOCK};
    struct map_entry entries[2];
    bool known[2];
    (void)context;
    make("disk", GIB);
    write_block("disk", MIB, 1);
    publish();
    write_block("disk", 2 * MIB, 2);
    drop_the_base();
    uint64_t component = component_of("disk");
    struct view *view = view_take(pool->group);
    free_the_base();
    mutex_lock(&pool->group->lock);
    view_find_recent(view, component, blocks, entries, known, COUNT_OF(blocks));
    mutex_unlock(&pool->group->lock);
    assert_false(known[0]); /* the tree has it */
    assert_true(known[1] && !entry_is_hole(entries[1]));
    assert_fine(view_find(pool->group, view, component, blocks, entries, known, COUNT_OF(blocks)));
    assert_false(entry_is_hole(entries[0]));
    assert_int_equal(view_told_next(pool->group, view, component, 0, GIB / COFFER_BLOCK / MAP_LEAF_ENTRIES), 2);
    view_put(pool->group, view);
}

static bool is_asked_for(struct group *group)
{
    mutex_lock(&group->thread_lock);
    bool asked = group->freezes_wanted > group->freezes_published;
    mutex_unlock(&group->thread_lock);
    return asked;
}

#define STOP_PATIENCE 10000 /* ms, after which the janitor is taken to wait for the merge */

static void let_the_merge_go_at_last(void *stopped)
{
    for (unsigned i = 0; i < STOP_PATIENCE && !atomic_load((_Atomic bool *)stopped); i++)
        clock_sleep(CLOCK_MILLISECOND);
    atomic_store(&merge_held, false);
}

/* A merge may wait for space below without end: `lock` and a close must not wait with it. */
static void a_janitor_that_waits_for_a_merge_can_be_stopped(void **context)
{
    _Atomic bool stopped = false;
    struct thread thread;
    (void)context;
    make("disk", GIB);
    write_block("disk", MIB, 1);
    publish();
    drop_the_base();
    while (!is_asked_for(pool->group)) /* by the janitor: there is nobody else */
        clock_sleep(CLOCK_MILLISECOND);
    assert_fine(thread_start(&thread, "time", let_the_merge_go_at_last, &stopped));
    janitor_stop(pool);
    bool held = atomic_load(&merge_held);
    atomic_store(&stopped, true);
    thread_join(&thread);
    assert_true(held);
    pool_reopen(false);
    free_the_base();
    assert_block("disk", MIB, 1);
}

#define POOL_TEST(name) cmocka_unit_test_setup_teardown(name, pool_setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOL_TEST(block_status_calls_no_data_a_hole_whose_base_is_freed),
        POOL_TEST(what_changed_is_told_while_its_base_is_freed),
        POOL_TEST(a_view_that_is_held_knows_nothing_of_the_end_of_a_base),
        POOL_TEST(a_janitor_that_waits_for_a_merge_can_be_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
