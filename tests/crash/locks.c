/*
 * A lock is like a close: with an answer that all is well, what was answered before is durable. What is behind it is like an
 * open, so everything is compared then (child.c).
 *
 * One thread, besides which nobody works when the pool is locked. A kill leaves nothing that a close would not.
 */
#include "tests/crash/locks.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "tests/crash/random.h"

#define PAUSE_MAX (10 * CLOCK_SECOND)
#define STEP      (50 * CLOCK_MILLISECOND)
#define BUSY_MAX  4000

void locks_run(void *argument)
{
    const struct locks_run *run = argument;
    struct session *session = run->session;
    struct dice dice = {session->settings.seed * 49979687 + session->round + atomic_load(&session->clock.now)};
    uint64_t left = dice_small(&dice, PAUSE_MAX);
    while (left > 0 && !atomic_load(&session->stop) && !atomic_load(&session->over)) {
        uint64_t step = MIN(left, STEP);
        clock_sleep(step);
        left -= step;
    }
    if (atomic_load(&session->stop) || atomic_load(&session->over))
        return;
    atomic_store(&session->locking, true);
    atomic_store(&session->over, true);
}

bool locks_wanted(const struct session *session)
{
    return atomic_load(&session->locking) && !atomic_load(&session->stop);
}

void lock_be_refused(struct pool *pool)
{
    enum error error = pool_lock(pool);
    if (error != ERROR_BUSY)
        fail("a pool of which volumes are open is locked: %s", error_name(error));
}

/* It has no keys, and so says nothing of what needs them. */
static void locked_judge(struct pool *pool)
{
    struct pool_status *status = session_take(sizeof(*status));
    struct object_info *infos;
    struct volume *volume;
    size_t count;
    enum error error = pool_status(pool, status);
    if (error != ERROR_NONE || !status->locked)
        fail("a pool that was locked says that it is %s: %s", status->locked ? "locked" : "open", error_name(error));
    free(status);
    if (object_list(pool, &infos, &count) != ERROR_LOCKED ||
        volume_open(pool, volume_names[0], false, &volume) != ERROR_LOCKED || pool_lock(pool) != ERROR_LOCKED)
        fail("a locked pool does not say so");
}

void lock_pool(struct session *session, struct pool *pool, bool compared)
{
    uint64_t began = flush_begin(&session->clock);
    enum error error = pool_lock(pool);
    /* A deep rekey writes superblocks at its begin and end. */
    for (unsigned n = 0; n < BUSY_MAX && error == ERROR_BUSY && session_works(session, WORK_REKEYS); n++) {
        clock_sleep(STEP);
        error = pool_lock(pool);
    }
    if (error == ERROR_BUSY)
        fail("a pool that nobody uses cannot be locked: %s", error_sentence(error));
    if (succeeds(session, error, "lock of the pool") && compared)
        flush_answer(&session->clock, began);
    locked_judge(pool);
    atomic_fetch_add(&session->done[DONE_LOCKS], 1);
    atomic_fetch_add(&session->calls, 1);
}
