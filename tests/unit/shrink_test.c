/* A shrink whose trim has to wait: everything else goes on, and what comes in between ends as if it had come behind it.
 */
#include "tests/unit/pool_fixture.h"

#define SMALLER (2 * COFFER_BLOCK)
#define ROUNDS  1000 /* of 10 ms, for what must come */

static struct latch held; /* over what is cut off: the trim waits for it, as it would for space */
static struct thread shrinker;
static enum error shrunk;
static _Atomic bool seen;

static void latch_hold(const char *name)
{
    mutex_lock(&pool->lock);
    const struct object *object = catalog_find(pool, name);
    mutex_unlock(&pool->lock);
    mutex_lock(&pool->section.mutex);
    held = (struct latch){pool->latches,     &held, &object->component, object->component, SMALLER / COFFER_BLOCK,
                          GIB / COFFER_BLOCK};
    pool->latches = &held;
    mutex_unlock(&pool->section.mutex);
}

static void latch_let_go(void)
{
    mutex_lock(&pool->section.mutex);
    struct latch **link = &pool->latches;
    while (*link != &held)
        link = &(*link)->next;
    *link = held.next;
    condition_broadcast(&pool->section.changed);
    mutex_unlock(&pool->section.mutex);
}

static void shrink_run(void *unused)
{
    (void)unused;
    shrunk = object_resize(pool, "a", SMALLER, true);
}

/* Who can look while the trim waits sees the new size. */
static void look_run(void *unused)
{
    struct object_info info = {0};
    (void)unused;
    while (info.size != SMALLER) {
        clock_sleep(CLOCK_MILLISECOND);
        (void)!object_find(pool, "a", &info);
    }
    atomic_store(&seen, true);
}

static void end(void)
{
    latch_let_go();
    thread_join(&shrinker);
}

static bool becomes(_Atomic bool *flag)
{
    for (unsigned i = 0; i < ROUNDS && !atomic_load(flag); i++)
        clock_sleep(10 * CLOCK_MILLISECOND);
    return atomic_load(flag);
}

/* A shrink of 'a' whose size is new and whose trim waits until end(). */
static struct uuid begin(void)
{
    struct thread looker;
    struct uuid uuid = make("a", GIB);
    write_block("a", 0, 1);
    write_block("a", SMALLER, 2);
    write_block("a", GIB / 2, 3);
    latch_hold("a");
    atomic_store(&seen, false);
    assert_fine(thread_start(&shrinker, "shrinker", shrink_run, NULL));
    assert_fine(thread_start(&looker, "looker", look_run, NULL));
    bool free = becomes(&seen);
    if (!free)
        end();
    thread_join(&looker);
    if (!free)
        fail_msg("nobody could look at an object while the shrink waited");
    return uuid;
}

static void assert_cut(const char *name)
{
    assert_fine(object_resize(pool, name, GIB, false));
    for (unsigned crash = 0; crash < 2; crash++) {
        assert_block(name, 0, 1);
        assert_block(name, SMALLER, 0);
        assert_block(name, GIB / 2, 0);
        pool_reopen(crash);
    }
}

static unsigned cuts(void)
{
    mutex_lock(&pool->lock);
    unsigned count = pool->group_users;
    condition_signal(&pool->janitor_wake);
    mutex_unlock(&pool->lock);
    return count;
}

/* What must not come has some time for it; this only finds less where the machine is slow. */
static void assert_one_cut_stays(void)
{
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(cuts(), 1);
        clock_sleep(5 * CLOCK_MILLISECOND);
    }
}

static void the_object_does_not_change_its_size_meanwhile(void **context)
{
    (void)context;
    begin();
    assert_refused(object_resize(pool, "a", GIB, false), ERROR_BUSY, "still being freed");
    assert_refused(object_resize(pool, "a", COFFER_BLOCK, true), ERROR_BUSY, "still being freed");
    assert_one_cut_stays();
    end();
    assert_fine(shrunk);
    assert_cut("a");
}

static void others_are_served_meanwhile(void **context)
{
    (void)context;
    begin();
    make("b", GIB);
    write_block("b", 0, 4);
    assert_block("b", 0, 4);
    assert_fine(object_delete(pool, "b", false));
    end();
    assert_fine(shrunk);
    assert_cut("a");
}

static void the_object_is_opened_written_and_renamed_meanwhile(void **context)
{
    (void)context;
    begin();
    assert_block("a", 0, 1);
    write_block("a", COFFER_BLOCK, 5);
    assert_fine(object_rename(pool, "a", "c"));
    end();
    assert_fine(shrunk);
    assert_block("c", COFFER_BLOCK, 5);
    assert_cut("c");
}

static void an_object_that_goes_into_the_trash_meanwhile_comes_back_cut(void **context)
{
    (void)context;
    begin();
    assert_fine(object_delete(pool, "a", false));
    assert_one_cut_stays();
    end();
    assert_fine(shrunk);
    assert_fine(object_restore(pool, "a", NULL));
    assert_cut("a");
}

static void an_object_that_is_deleted_meanwhile_is_freed_behind_it(void **context)
{
    (void)context;
    struct uuid uuid = begin();
    assert_fine(object_delete(pool, "a", true));
    assert_one_cut_stays();
    assert_true(look(text_of(uuid)).deleting);
    make("a", MIB);
    end();
    assert_fine(shrunk);
    await_gone(uuid);
    assert_int_equal(look("a").size, MIB);
}

static _Atomic bool locked;

static void lock_run(void *error)
{
    *(enum error *)error = pool_lock(pool);
    atomic_store(&locked, true);
}

static void await_refusal(void)
{
    struct object_info info;
    for (unsigned i = 0; i < ROUNDS && object_find(pool, "a", &info) != ERROR_LOCKED; i++)
        clock_sleep(10 * CLOCK_MILLISECOND);
    assert_int_equal(object_find(pool, "a", &info), ERROR_LOCKED);
}

static void a_lock_waits_for_its_end(void **context)
{
    struct thread locker;
    enum error error;
    (void)context;
    begin();
    atomic_store(&locked, false);
    assert_fine(thread_start(&locker, "locker", lock_run, &error));
    await_refusal();
    assert_one_cut_stays();
    assert_false(atomic_load(&locked));
    end();
    thread_join(&locker);
    assert_fine(shrunk);
    assert_fine(error);
    assert_fine(pool_unlock(pool, NULL, 0));
    assert_cut("a");
}

/* A crash while the document waits leaves the object as it was, with all that it held. */
static void nothing_is_cut_off_before_the_new_size_is_written(void **context)
{
    const uint64_t block = GIB / 2 / COFFER_BLOCK;
    struct map_entry entry;
    struct view *view;
    bool there = true;
    (void)context;
    make("a", GIB);
    write_block("a", 0, 1);
    write_block("a", GIB / 2, 3);
    mutex_lock(&pool->lock);
    uint64_t document = catalog_find(pool, "a")->slot * OBJECT_SLOT_BLOCKS;
    uint64_t component = catalog_find(pool, "a")->component;
    mutex_unlock(&pool->lock);
    mutex_lock(&pool->section.mutex);
    held = (struct latch){pool->latches, &held, NULL, COMPONENT_CATALOG, document, document + OBJECT_SLOT_BLOCKS};
    pool->latches = &held;
    mutex_unlock(&pool->section.mutex);
    assert_fine(thread_start(&shrinker, "shrinker", shrink_run, NULL));
    for (unsigned i = 0; i < 20; i++, clock_sleep(5 * CLOCK_MILLISECOND)) {
        assert_fine(view_lookup(pool->group, component, &block, &entry, 1, &view));
        view_put(pool->group, view);
        there &= !entry_is_hole(entry);
    }
    end();
    assert_true(there);
    assert_fine(shrunk);
    assert_cut("a");
}

static void a_cut_that_fails_is_made_after_the_next_open(void **context)
{
    (void)context;
    begin();
    (void)group_fence(pool->group, ERROR_IO);
    end();
    assert_string_equal(error_name(shrunk), "FENCED");
    pool_reopen(true);
    assert_int_equal(look("a").size, SMALLER);
    for (unsigned i = 0; i < ROUNDS && object_resize(pool, "a", COFFER_BLOCK, true) == ERROR_BUSY; i++)
        clock_sleep(10 * CLOCK_MILLISECOND);
    assert_cut("a");
}

#define POOL_TEST(f) cmocka_unit_test_setup_teardown(f, pool_setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOL_TEST(the_object_does_not_change_its_size_meanwhile),
        POOL_TEST(others_are_served_meanwhile),
        POOL_TEST(the_object_is_opened_written_and_renamed_meanwhile),
        POOL_TEST(an_object_that_goes_into_the_trash_meanwhile_comes_back_cut),
        POOL_TEST(an_object_that_is_deleted_meanwhile_is_freed_behind_it),
        POOL_TEST(a_lock_waits_for_its_end),
        POOL_TEST(nothing_is_cut_off_before_the_new_size_is_written),
        POOL_TEST(a_cut_that_fails_is_made_after_the_next_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
