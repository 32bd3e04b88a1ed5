#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/thread.h"

/* The bugs that are planted here are what clang's analysis would refuse. */

static bool stops(void (*bug)(void))
{
    pid_t child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        close(STDERR_FILENO);
        bug();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void take_inner_then_outer(void) NO_THREAD_SAFETY_ANALYSIS
{
    struct mutex outer, inner;
    mutex_init(&outer, RANK_POOL);
    mutex_init(&inner, RANK_GROUP);
    mutex_lock(&inner);
    mutex_lock(&outer);
}

static void take_two_of_one_rank(void) NO_THREAD_SAFETY_ANALYSIS
{
    struct mutex a, b;
    mutex_init(&a, RANK_LEAF);
    mutex_init(&b, RANK_LEAF);
    mutex_lock(&a);
    mutex_lock(&b);
}

static void take_one_twice(void) NO_THREAD_SAFETY_ANALYSIS
{
    struct mutex a;
    mutex_init(&a, RANK_LEAF);
    mutex_lock(&a);
    mutex_lock(&a);
}

static void give_back_what_was_not_taken(void) NO_THREAD_SAFETY_ANALYSIS
{
    struct mutex a;
    mutex_init(&a, RANK_LEAF);
    mutex_unlock(&a);
}

static void wait_with_an_inner_mutex_held(void) NO_THREAD_SAFETY_ANALYSIS
{
    struct mutex outer, inner;
    struct condition condition;
    mutex_init(&outer, RANK_POOL);
    mutex_init(&inner, RANK_GROUP);
    condition_init(&condition);
    mutex_lock(&outer);
    mutex_lock(&inner);
    condition_wait_until(&condition, &outer, 0);
}

static void locks_taken_against_their_ranks_stop_the_process(void **state)
{
    (void)state;
    assert_true(stops(take_inner_then_outer));
    assert_true(stops(take_two_of_one_rank));
    assert_true(stops(take_one_twice));
    assert_true(stops(give_back_what_was_not_taken));
    assert_true(stops(wait_with_an_inner_mutex_held));
}

static void locks_may_be_given_back_in_any_order(void **state) NO_THREAD_SAFETY_ANALYSIS
{
    (void)state;
    struct mutex a, b, c;
    mutex_init(&a, RANK_POOL);
    mutex_init(&b, RANK_GROUP);
    mutex_init(&c, RANK_LEAF);
    for (int i = 0; i < 100; i++) {
        mutex_lock(&a);
        mutex_lock(&b);
        mutex_unlock(&a);
        mutex_lock(&c);
        mutex_unlock(&b);
        mutex_unlock(&c);
    }
    mutex_deinit(&a);
    mutex_deinit(&b);
    mutex_deinit(&c);
}

struct counter {
    struct mutex mutex;
    struct condition changed;
    unsigned value GUARDED_BY(mutex);
};

static void counter_init(struct counter *counter) NO_THREAD_SAFETY_ANALYSIS
{
    mutex_init(&counter->mutex, RANK_LEAF);
    condition_init(&counter->changed);
    counter->value = 0;
}

static void counter_deinit(struct counter *counter)
{
    condition_deinit(&counter->changed);
    mutex_deinit(&counter->mutex);
}

static void count_to_a_thousand(void *argument)
{
    struct counter *counter = argument;
    for (int i = 0; i < 1000; i++) {
        mutex_lock(&counter->mutex);
        counter->value++;
        condition_broadcast(&counter->changed);
        mutex_unlock(&counter->mutex);
    }
}

static void no_count_is_lost_between_threads(void **state)
{
    (void)state;
    struct counter counter;
    struct thread threads[4];
    counter_init(&counter);
    for (int i = 0; i < 4; i++)
        assert_int_equal(thread_start(&threads[i], "counter", count_to_a_thousand, &counter), ERROR_NONE);
    mutex_lock(&counter.mutex);
    while (counter.value < 4000)
        condition_wait(&counter.changed, &counter.mutex);
    mutex_unlock(&counter.mutex);
    for (int i = 0; i < 4; i++)
        thread_join(&threads[i]);
    counter_deinit(&counter);
}

static void a_wait_ends_at_its_deadline(void **state)
{
    (void)state;
    struct counter counter;
    counter_init(&counter);
    mutex_lock(&counter.mutex);
    assert_false(condition_wait_until(&counter.changed, &counter.mutex, 0));
    uint64_t deadline = clock_monotonic() + 2 * CLOCK_MILLISECOND;
    while (condition_wait_until(&counter.changed, &counter.mutex, deadline))
        continue;
    assert_true(clock_monotonic() >= deadline);
    mutex_unlock(&counter.mutex);
    counter_deinit(&counter);
}

static void a_signal_ends_a_wait_without_end(void **state)
{
    (void)state;
    struct counter counter;
    struct thread thread;
    counter_init(&counter);
    assert_int_equal(thread_start(&thread, "counter", count_to_a_thousand, &counter), ERROR_NONE);
    mutex_lock(&counter.mutex);
    while (counter.value < 1000)
        condition_wait_until(&counter.changed, &counter.mutex, UINT64_MAX);
    mutex_unlock(&counter.mutex);
    thread_join(&thread);
    counter_deinit(&counter);
}

struct observation {
    sigset_t blocked;
    int niceness;
};

static void observe(void *argument)
{
    struct observation *seen = argument;
    pthread_sigmask(SIG_SETMASK, NULL, &seen->blocked);
    thread_lower_priority();
    seen->niceness = getpriority(PRIO_PROCESS, (id_t)gettid());
}

struct priorities {
    int before, way_policy, way_niceness, low_niceness;
};

static void change(void *argument)
{
    struct priorities *seen = argument;
    seen->before = getpriority(PRIO_PROCESS, (id_t)gettid());
    thread_give_way();
    seen->way_policy = sched_getscheduler(0);
    seen->way_niceness = getpriority(PRIO_PROCESS, (id_t)gettid());
    thread_lower_priority();
    seen->low_niceness = getpriority(PRIO_PROCESS, (id_t)gettid());
}

/* What writers wait for is not starved by other programs: it keeps the share that the daemon has. */
static void a_thread_that_gives_way_keeps_its_share(void **state)
{
    (void)state;
    struct priorities seen;
    struct thread thread;
    assert_int_equal(thread_start(&thread, "priorities", change, &seen), ERROR_NONE);
    thread_join(&thread);
    assert_int_equal(seen.way_policy, SCHED_BATCH);
    assert_int_equal(seen.way_niceness, seen.before);
    assert_true(seen.low_niceness >= seen.before);
}

static void threads_leave_requests_to_stop_to_the_main_thread(void **state)
{
    (void)state;
    struct observation seen;
    struct thread thread;
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    assert_int_equal(thread_start(&thread, "observer", observe, &seen), ERROR_NONE);
    thread_join(&thread);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_true(sigismember(&seen.blocked, SIGTERM));
    assert_true(sigismember(&seen.blocked, SIGINT));
    assert_false(sigismember(&seen.blocked, SIGSEGV));
    assert_int_equal(sigismember(&before, SIGTERM), sigismember(&after, SIGTERM));
}

static void a_lowered_priority_is_the_threads_own(void **state)
{
    (void)state;
    struct observation seen;
    struct thread thread;
    int before = getpriority(PRIO_PROCESS, (id_t)gettid());
    assert_int_equal(thread_start(&thread, "background", observe, &seen), ERROR_NONE);
    thread_join(&thread);
    assert_true(seen.niceness >= 10);
    assert_int_equal(getpriority(PRIO_PROCESS, (id_t)gettid()), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(locks_taken_against_their_ranks_stop_the_process),
        cmocka_unit_test(locks_may_be_given_back_in_any_order),
        cmocka_unit_test(no_count_is_lost_between_threads),
        cmocka_unit_test(a_wait_ends_at_its_deadline),
        cmocka_unit_test(a_signal_ends_a_wait_without_end),
        cmocka_unit_test(a_thread_that_gives_way_keeps_its_share),
        cmocka_unit_test(threads_leave_requests_to_stop_to_the_main_thread),
        cmocka_unit_test(a_lowered_priority_is_the_threads_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
