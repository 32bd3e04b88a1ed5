/*
 * Who needs what a publish brings waits for the merge that runs, however long that takes; a close does not. The linker puts
 * stops before maps_merge and segments_merge, where a merge has frozen and not yet published, and a clock that can be set
 * forward.
 */
#include "tests/unit/group_fixture.h"

#include "base/clock.h"
#include "base/thread.h"
#include "engine/group/merge.h"

#define HOUR (3600 * CLOCK_SECOND)

static _Atomic bool merge_held, merge_held_early, merge_stands;
static _Atomic uint64_t forward; /* nanoseconds that the clock is ahead */
static _Atomic unsigned looks;   /* of who waits, since the clock was set */
static _Thread_local bool is_waiter;

enum error __real_segments_merge(struct merge *merge, struct checkpoint *checkpoint);
enum error __wrap_segments_merge(struct merge *merge, struct checkpoint *checkpoint);
enum error __real_maps_merge(struct merge *merge);
enum error __wrap_maps_merge(struct merge *merge);
uint64_t __real_clock_monotonic(void);
uint64_t __wrap_clock_monotonic(void);
bool __real_condition_wait_until(struct condition *condition, struct mutex *mutex, uint64_t deadline) REQUIRES(mutex);
bool __wrap_condition_wait_until(struct condition *condition, struct mutex *mutex, uint64_t deadline) REQUIRES(mutex);

static void stand_while(_Atomic bool *held)
{
    while (atomic_load(held)) {
        atomic_store(&merge_stands, true);
        clock_sleep(CLOCK_MILLISECOND);
    }
}

enum error __wrap_segments_merge(struct merge *merge, struct checkpoint *checkpoint)
{
    stand_while(&merge_held);
    return __real_segments_merge(merge, checkpoint);
}

enum error __wrap_maps_merge(struct merge *merge)
{
    stand_while(&merge_held_early);
    return __real_maps_merge(merge);
}

uint64_t __wrap_clock_monotonic(void)
{
    return __real_clock_monotonic() + atomic_load(&forward);
}

bool __wrap_condition_wait_until(struct condition *condition, struct mutex *mutex, uint64_t deadline)
{
    uint64_t ahead = atomic_load(&forward);
    if (is_waiter && ahead)
        atomic_fetch_add(&looks, 1);
    return __real_condition_wait_until(condition, mutex, deadline > ahead ? deadline - ahead : 0);
}

struct waiter {
    struct group *group;
    _Atomic bool done;
    enum error error;
};

static void wait_for_a_publish(void *argument)
{
    struct waiter *waiter = argument;
    is_waiter = true;
    waiter->error = group_publish_needed(waiter->group);
    atomic_store(&waiter->done, true);
}

static void a_merge_that_takes_an_hour_is_waited_for(void **state)
{
    struct fixture *f = *state;
    struct waiter waiter = {.group = f->group};
    struct thread thread;
    fixture_write(f, COMPONENT, 0, 1);
    atomic_store(&merge_held, true);
    assert_int_equal(thread_start(&thread, "waiter", wait_for_a_publish, &waiter), ERROR_NONE);
    while (!atomic_load(&merge_stands))
        clock_sleep(CLOCK_MILLISECOND);
    atomic_store(&forward, HOUR);
    while (atomic_load(&looks) < 2 && !atomic_load(&waiter.done))
        clock_sleep(CLOCK_MILLISECOND);
    atomic_store(&merge_held, false);
    thread_join(&thread);
    assert_string_equal(error_name(waiter.error), "NONE");
    fixture_expect(f, COMPONENT, 0, 1);
}

/* A close of this group waits for its merge: an hour passes, and the merge goes on once nobody waits any more. */
static void let_the_close_give_up(void *argument)
{
    struct group *group = argument;
    while (!atomic_load(&merge_stands) || !atomic_load(&group->closing))
        clock_sleep(CLOCK_MILLISECOND);
    atomic_fetch_add(&forward, HOUR);
    while (!group_is_stopping(group))
        clock_sleep(CLOCK_MILLISECOND);
    atomic_store(&merge_held_early, false);
}

static void a_merge_that_a_close_gave_up_is_dropped(void **state)
{
    struct fixture *f = *state;
    struct thread thread;
    fixture_write(f, COMPONENT, 0, 1);
    uint64_t published = f->group->checkpoint.number;
    atomic_store(&merge_stands, false);
    atomic_store(&merge_held_early, true);
    assert_int_equal(thread_start(&thread, "time", let_the_close_give_up, f->group), ERROR_NONE);
    fixture_close(f);
    thread_join(&thread);
    fixture_open(f);
    assert_int_equal(f->group->checkpoint.number, published + 1); /* that of the open */
    fixture_expect(f, COMPONENT, 0, 1);
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    fixture_expect(f, COMPONENT, 0, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_merge_that_a_close_gave_up_is_dropped, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_merge_that_takes_an_hour_is_waited_for, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
