/*
 * What the daemon does by itself now and then: a thread that does each of its chores when that is due, can be told to do all of
 * them now, and ends when asked.
 */
#ifndef COFFER_SERVER_CHORES_H
#define COFFER_SERVER_CHORES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/thread.h"

#define CHORES_MAX  5 /* of a thread: what may wait for each other */
#define CHORE_NEVER UINT64_MAX

struct chore {
    uint64_t (*run)(void *context); /* once; returns in how many nanoseconds again, or CHORE_NEVER */
    uint64_t first;                 /* nanoseconds from the start to the first time */
};

/* One that is all zeros was not started. */
struct chores {
    struct chore list[CHORES_MAX];
    size_t count;
    void *context;
    uint64_t (*clock)(void);
    uint64_t due[CHORES_MAX]; /* the thread's */
    struct thread thread;
    bool running;
    struct mutex lock; /* RANK_LEAF; guards what follows */
    struct condition changed;
    bool stopping GUARDED_BY(lock), woken GUARDED_BY(lock);
};

/* `chores` stays in place until stopped; `name` as thread_start() takes it. The thread ends by itself where no chore is left. */
enum error chores_start(struct chores *chores, const char *name, const struct chore *list, size_t count, void *context) CHECKED;
/* The next three also where it was not started, or that failed. */
void chores_wake(struct chores *chores); /* all that is to come again is due now; any thread, before the end is asked for */
void chores_leave(struct chores *chores); /* asks for the end: no other chore is begun */
void chores_stop(struct chores *chores); /* waits for the chore that is being done; then it is as though it was never started */

/* What start and thread do, for tests: by this clock, and without a thread. */
void chores_init(struct chores *chores, const struct chore *list, size_t count, void *context, uint64_t (*clock)(void));
void chores_deinit(struct chores *chores);
/* Does what is due, each once. Returns when the next is; CHORE_NEVER where none is left. */
uint64_t chores_round(struct chores *chores);

#endif
