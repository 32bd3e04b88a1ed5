/*
 * Who needs what a publish brings waits for the merge that runs, however long that takes. The linker puts a stop before
 * segments_merge, where a merge has frozen and not yet published, and a clock that can be set forward.
 */
#include "tests/unit/group_fixture.h"

#include "base/clock.h"
#include "base/thread.h"
#include "engine/group/merge.h"

#define HOUR (3600 * CLOCK_SECOND)

static _Atomic bool merge_held, merge_stands;
static _Atomic uint64_t forward; /* nanoseconds that the clock is ahead */
static _Atomic unsigned looks;   /* of who waits, since the clock was set */
static _Thread_local bool is_waiter;

enum error __real_segments_merge(struct merge *merge, struct checkpoint *checkpoint);
enum error __wrap_segments_merge(struct merge *merge, struct checkpoint *checkpoint);
uint64_t __real_clock_monotonic(void);
uint64_t __wrap_clock_monotonic(void);
bool __real_condition_wait_until(struct condition *condition, struct mutex *mutex, uint64_t deadline) REQUIRES(mutex);
bool __wrap_condition_wait_until(struct condition *condition, struct mutex *mutex, uint64_t deadline) REQUIRES(mutex);

enum error __wrap_segments_merge(struct merge *merge, struct checkpoint *checkpoint)
{
    while (atomic_load(&merge_held)) {
        atomic_store(&merge_stands, true);
        clock_sleep(CLOCK_MILLISECOND);
    }
    return __real_segments_merge(merge, checkpoint);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_merge_that_takes_an_hour_is_waited_for, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
