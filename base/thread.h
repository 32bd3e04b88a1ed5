/*
 * Threads, locks and waiting. Every blocking wait of the engine goes through here or through engine/device, so
 * that the simulator can replace this file by coroutines that a seed switches.
 *
 * A mutex has a rank: a thread may take a mutex only if its rank is above that of every mutex it holds, and wait only
 * with the mutex that it took last; both are asserted, in release too. clang's thread-safety analysis checks REQUIRES.
 * Threads start with all signals blocked but those of their own faults: SIGTERM and its like go to the main thread.
 */
#ifndef COFFER_BASE_THREAD_H
#define COFFER_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#if defined(__clang__)
#define THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define THREAD_ATTRIBUTE(x)
#endif
#define CAPABILITY(name) THREAD_ATTRIBUTE(capability(name))
/* For the reader only: in C, clang 14 cannot name a member of the same struct. What it checks are the others: functions
 * say REQUIRES, and lock and unlock must pair. */
#define GUARDED_BY(lock)
#define REQUIRES(lock) THREAD_ATTRIBUTE(requires_capability(lock))
#define ACQUIRE(lock) THREAD_ATTRIBUTE(acquire_capability(lock))
#define RELEASE(lock) THREAD_ATTRIBUTE(release_capability(lock))
#define EXCLUDES(lock) THREAD_ATTRIBUTE(locks_excluded(lock))
#define NO_THREAD_SAFETY_ANALYSIS THREAD_ATTRIBUTE(no_thread_safety_analysis)

/* Ranks, outermost first. A new lock gets a name here. */
enum mutex_rank {
    RANK_SERVER = 10,
    RANK_CONTROL = 15,
    RANK_CATALOG = 20,
    RANK_POOL = 30,   /* the commit section */
    RANK_GROUP = 40,  /* look-ups: recent tables, view, segment table */
    RANK_LOG = 50,    /* an open log's buffers */
    RANK_CACHE = 60,
    RANK_KEYS = 70,
    RANK_DEVICE = 80,
    RANK_LEAF = 90,   /* takes nothing inside */
};

struct CAPABILITY("mutex") mutex {
    pthread_mutex_t os;
    int rank;
};
struct condition {
    pthread_cond_t os;
};

void mutex_init(struct mutex *mutex, enum mutex_rank rank);
void mutex_deinit(struct mutex *mutex);
void mutex_lock(struct mutex *mutex) ACQUIRE(mutex);
void mutex_unlock(struct mutex *mutex) RELEASE(mutex);

void condition_init(struct condition *condition);
void condition_deinit(struct condition *condition);
void condition_wait(struct condition *condition, struct mutex *mutex) REQUIRES(mutex);
/* Waits until `deadline` (clock_monotonic) at most; false when it passed. */
bool condition_wait_until(struct condition *condition, struct mutex *mutex, uint64_t deadline) REQUIRES(mutex);
void condition_signal(struct condition *condition);
void condition_broadcast(struct condition *condition);

struct thread {
    pthread_t os;
    void (*run)(void *argument);
    void *argument;
};
/* `thread` must stay in place until joined; `name` has at most 15 bytes. */
enum error thread_start(struct thread *thread, const char *name, void (*run)(void *), void *argument) CHECKED;
/* One whose end nobody awaits, neither does that of the process: for what cannot be called off (a look-up of a name). */
enum error thread_start_detached(const char *name, void (*run)(void *), void *argument) CHECKED;
void thread_join(struct thread *thread);
/* The calling thread does work that others come to wait for: it has its share of the processors, but takes none from who has it
 * when it wakes up, and gives it up after a fraction of a millisecond. */
void thread_give_way(void);
/* Runs the calling thread at the priority of background work: where processors are short it hardly gets any. */
void thread_lower_priority(void);

#endif
