/*
 * Threads, locks and waiting on POSIX threads; the simulator links its own file in this one's place.
 *
 * Each thread keeps a list of the mutexes that it holds. Taking one whose rank is not above all of them stops the
 * process, in release as well: that is a deadlock which only has not happened yet, and the check costs a few compares.
 * For the same reason a thread may wait only with the mutex that it took last: waking takes it again.
 * No locks of its own: the list belongs to the thread.
 */
#include "base/thread.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"

#define HELD_MAX        16 /* more than there are ranks */
#define NAME_LENGTH_MAX 15 /* the kernel's */
#define BACKGROUND_NICE 10
/* Of the kernel's scheduler, 6.12 and later, which else gives all of them some milliseconds: who has the shorter slice is let in sooner
 * when it wakes up. */
#define SLICE            (CLOCK_MILLISECOND / 10)
#define BACKGROUND_SLICE (CLOCK_MILLISECOND / 2)

static _Thread_local const struct mutex *held[HELD_MAX];
static _Thread_local size_t held_count;

/* The ranks held rise along the list, so its end is their maximum. */
static void held_push(const struct mutex *mutex)
{
    ASSERT(held_count < HELD_MAX);
    ASSERT(held_count == 0 || held[held_count - 1]->rank < mutex->rank);
    held[held_count++] = mutex;
}

static void held_remove(const struct mutex *mutex)
{
    size_t index = held_count;
    while (index > 0 && held[index - 1] != mutex)
        index--;
    ASSERT(index > 0);
    for (; index < held_count; index++)
        held[index - 1] = held[index];
    held_count--;
}

static void must(int result)
{
    ASSERT(result == 0);
}

void mutex_init(struct mutex *mutex, enum mutex_rank rank)
{
    mutex->rank = (int)rank;
    must(pthread_mutex_init(&mutex->os, NULL));
}

void mutex_deinit(struct mutex *mutex)
{
    must(pthread_mutex_destroy(&mutex->os));
}

void mutex_lock(struct mutex *mutex) NO_THREAD_SAFETY_ANALYSIS
{
    held_push(mutex);
    must(pthread_mutex_lock(&mutex->os));
}

void mutex_unlock(struct mutex *mutex) NO_THREAD_SAFETY_ANALYSIS
{
    held_remove(mutex);
    must(pthread_mutex_unlock(&mutex->os));
}

void condition_init(struct condition *condition)
{
    pthread_condattr_t attributes;
    must(pthread_condattr_init(&attributes));
    must(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC));
    must(pthread_cond_init(&condition->os, &attributes));
    must(pthread_condattr_destroy(&attributes));
}

void condition_deinit(struct condition *condition)
{
    must(pthread_cond_destroy(&condition->os));
}

static void must_be_innermost(const struct mutex *mutex)
{
    ASSERT(held_count > 0 && held[held_count - 1] == mutex);
}

void condition_wait(struct condition *condition, struct mutex *mutex)
{
    must_be_innermost(mutex);
    must(pthread_cond_wait(&condition->os, &mutex->os));
}

bool condition_wait_until(struct condition *condition, struct mutex *mutex, uint64_t deadline)
{
    must_be_innermost(mutex);
    deadline = MIN(deadline, (uint64_t)INT64_MAX);
    struct timespec time = {.tv_sec = (time_t)(deadline / CLOCK_SECOND), .tv_nsec = (long)(deadline % CLOCK_SECOND)};
    int result = pthread_cond_timedwait(&condition->os, &mutex->os, &time);
    ASSERT(result == 0 || result == ETIMEDOUT);
    return result == 0;
}

void condition_signal(struct condition *condition)
{
    must(pthread_cond_signal(&condition->os));
}

void condition_broadcast(struct condition *condition)
{
    must(pthread_cond_broadcast(&condition->os));
}

/* sched_setattr(2) as it was first; libc has it not yet. */
struct schedule {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};
_Static_assert(sizeof(struct schedule) == 48, "SCHED_ATTR_SIZE_VER0");

/* On Linux the "process" whose niceness is set is the thread. A refusal costs speed, not correctness. Kernels before 6.12 pass over the
 * slice. */
static void schedule_as(uint32_t policy, int nice, uint64_t slice)
{
    struct schedule schedule = {.size = sizeof schedule, .policy = policy, .nice = nice, .runtime = slice};
    if (syscall(SYS_sched_setattr, 0, &schedule, 0) != 0)
        (void)!setpriority(PRIO_PROCESS, (id_t)gettid(), nice);
}

static void *thread_main(void *argument)
{
    struct thread *thread = argument;
    if (sched_getscheduler(0) == SCHED_OTHER) /* else somebody has chosen */
        schedule_as(SCHED_OTHER, getpriority(PRIO_PROCESS, 0), SLICE);
    thread->run(thread->argument);
    ASSERT(held_count == 0);
    return NULL;
}

/* Signals that ask the process for something go to the thread that waits for them, never to one of these; those that
 * a thread raises by a fault of its own stay open. */
static void signals_of_threads(sigset_t *signals)
{
    static const int own_faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    must(sigfillset(signals));
    for (size_t i = 0; i < COUNT_OF(own_faults); i++)
        must(sigdelset(signals, own_faults[i]));
}

enum error thread_start(struct thread *thread, const char *name, void (*run)(void *), void *argument)
{
    ASSERT(strlen(name) <= NAME_LENGTH_MAX);
    thread->run = run;
    thread->argument = argument;

    sigset_t blocked, before;
    signals_of_threads(&blocked);
    must(pthread_sigmask(SIG_BLOCK, &blocked, &before));
    int result = pthread_create(&thread->os, NULL, thread_main, thread);
    must(pthread_sigmask(SIG_SETMASK, &before, NULL));
    if (result != 0)
        return error_from_errno(result, "start of the thread \"%s\"", name);
    pthread_setname_np(thread->os, name);
    return ERROR_NONE;
}

static void *detached_main(void *argument)
{
    struct thread thread = *(struct thread *)argument;
    free(argument);
    return thread_main(&thread);
}

enum error thread_start_detached(const char *name, void (*run)(void *), void *argument)
{
    struct thread *thread = memory_zeroed(1, sizeof *thread);
    if (!thread)
        return ERROR_NO_MEMORY;
    thread->run = run;
    thread->argument = argument;
    sigset_t blocked, before;
    pthread_attr_t detached;
    pthread_t os;
    signals_of_threads(&blocked);
    must(pthread_attr_init(&detached));
    must(pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED));
    must(pthread_sigmask(SIG_BLOCK, &blocked, &before));
    int result = pthread_create(&os, &detached, detached_main, thread);
    must(pthread_sigmask(SIG_SETMASK, &before, NULL));
    must(pthread_attr_destroy(&detached));
    if (result == 0)
        return ERROR_NONE;
    free(thread);
    return error_from_errno(result, "start of the thread \"%s\"", name);
}

void thread_join(struct thread *thread)
{
    must(pthread_join(thread->os, NULL));
}

/* A batch thread does not take the processor from who has it when it wakes up. */
void thread_give_way(void)
{
    schedule_as(SCHED_BATCH, getpriority(PRIO_PROCESS, 0), BACKGROUND_SLICE);
}

void thread_lower_priority(void)
{
    schedule_as(SCHED_BATCH, BACKGROUND_NICE, BACKGROUND_SLICE);
}
