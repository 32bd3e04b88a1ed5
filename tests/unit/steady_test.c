/*
 * What is promised until a date, while the system's clock leaps: the trash, and locks of snapshots. The linker puts in clocks
 * that can be set, and that can be let run on by days.
 */
#include "tests/unit/pool_fixture.h"

#define HOUR 3600
#define DAY  86400
#define YEAR (INT64_C(365) * DAY)

static _Atomic int64_t passed; /* seconds, for both clocks */
static _Atomic int64_t leap;   /* … of the one that can be set */

uint64_t __real_clock_monotonic(void);
uint64_t __wrap_clock_monotonic(void);
uint64_t __real_clock_realtime(void);
uint64_t __wrap_clock_realtime(void);
bool __real_condition_wait_until(struct condition *condition, struct mutex *mutex, uint64_t deadline) REQUIRES(mutex);
bool __wrap_condition_wait_until(struct condition *condition, struct mutex *mutex, uint64_t deadline) REQUIRES(mutex);

static uint64_t later(uint64_t time, int64_t seconds)
{
    return (uint64_t)((int64_t)time + seconds * (int64_t)CLOCK_SECOND);
}

uint64_t __wrap_clock_monotonic(void)
{
    return later(__real_clock_monotonic(), atomic_load(&passed));
}

uint64_t __wrap_clock_realtime(void)
{
    return later(__real_clock_realtime(), atomic_load(&passed) + atomic_load(&leap));
}

bool __wrap_condition_wait_until(struct condition *condition, struct mutex *mutex, uint64_t deadline)
{
    return __real_condition_wait_until(condition, mutex, later(deadline, -atomic_load(&passed)));
}

static int setup(void **context)
{
    atomic_store(&passed, 0);
    atomic_store(&leap, 0);
    return pool_setup(context);
}

/* It has looked at all objects since. */
static void janitor_looks(void)
{
    struct uuid uuid = make("looked at", MIB);
    assert_fine(object_delete(pool, "looked at", true));
    await_gone(uuid);
}

/* The janitor looks every minute; here four times a day. */
static void days_pass(unsigned days)
{
    for (unsigned i = 0; i < 4 * days; i++) {
        atomic_fetch_add(&passed, 6 * HOUR);
        janitor_looks();
    }
}

static void reopen_while_the_clock_is(int64_t ahead)
{
    assert_fine(pool_close(pool));
    pool = NULL;
    atomic_store(&leap, ahead);
    assert_fine(pool_try_open());
}

static void lock(const char *name, const char *snapshot, uint64_t until)
{
    assert_fine(object_snapshot(pool, &name, 1, snapshot, false, until));
}

static void a_clock_that_leaps_for_a_moment_empties_no_trash(void **context)
{
    (void)context;
    make("web", MIB);
    assert_fine(object_delete(pool, "web", false));
    days_pass(3);
    atomic_store(&leap, YEAR);
    janitor_looks();
    atomic_store(&leap, 0);
    janitor_looks();
    assert_fine(object_restore(pool, "web", NULL));
}

static void the_trash_is_emptied_in_its_time(void **context)
{
    (void)context;
    struct uuid uuid = make("web", MIB);
    assert_fine(object_delete(pool, "web", false));
    days_pass(8);
    await_gone(uuid);
}

static void a_start_with_a_clock_that_is_ahead_empties_no_trash(void **context)
{
    (void)context;
    make("web", MIB);
    assert_fine(object_delete(pool, "web", false));
    reopen_while_the_clock_is(YEAR);
    janitor_looks();
    atomic_store(&leap, 0);
    janitor_looks();
    assert_fine(object_restore(pool, "web", NULL));
}

static void what_is_deleted_while_the_clock_is_behind_stays_for_its_time(void **context)
{
    (void)context;
    make("web", MIB);
    reopen_while_the_clock_is(-2 * YEAR);
    assert_fine(object_delete(pool, "web", false));
    atomic_store(&leap, 0);
    days_pass(6);
    reopen_while_the_clock_is(0);
    janitor_looks();
    assert_fine(object_restore(pool, "web", NULL));
}

static void what_went_by_while_the_pool_was_closed_counts_after_a_day(void **context)
{
    (void)context;
    struct uuid uuid = make("web", MIB);
    assert_fine(object_delete(pool, "web", false));
    assert_fine(pool_close(pool));
    pool = NULL;
    atomic_fetch_add(&passed, 30 * DAY);
    assert_fine(pool_try_open());
    janitor_looks();
    assert_true(uuid_equal(look(text_of(uuid)).uuid, uuid));
    days_pass(3);
    await_gone(uuid);
}

static void a_lock_does_not_end_before_its_time_and_ends_after_it(void **context)
{
    (void)context;
    make("a", MIB);
    reopen_while_the_clock_is(-2 * YEAR);
    uint64_t until = clock_seconds() + 2 * YEAR + HOUR;
    lock("a", "locked", until);
    atomic_store(&leap, 2 * YEAR);
    assert_refused(snapshot_delete(pool, "a@locked"), ERROR_BUSY, "locked");
    reopen_while_the_clock_is(0);
    assert_refused(snapshot_delete(pool, "a@locked"), ERROR_BUSY, "locked");
    days_pass(3);
    assert_fine(snapshot_delete(pool, "a@locked"));
}

static void a_clock_that_was_behind_at_the_start_is_followed_once_it_is_right(void **context)
{
    (void)context;
    reopen_while_the_clock_is(-2 * YEAR);
    atomic_store(&leap, 0);
    assert_true(pool_clock(pool) < clock_seconds() - YEAR);
    days_pass(3);
    assert_in_range(pool_clock(pool), clock_seconds() - 2, clock_seconds());
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_clock_that_leaps_for_a_moment_empties_no_trash),
        TEST(the_trash_is_emptied_in_its_time),
        TEST(a_start_with_a_clock_that_is_ahead_empties_no_trash),
        TEST(what_is_deleted_while_the_clock_is_behind_stays_for_its_time),
        TEST(what_went_by_while_the_pool_was_closed_counts_after_a_day),
        TEST(a_lock_does_not_end_before_its_time_and_ends_after_it),
        TEST(a_clock_that_was_behind_at_the_start_is_followed_once_it_is_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
