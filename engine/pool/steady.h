/*
 * The time by which promises end: that of the trash, and of locks of snapshots. It is the system's time, but a leap forward
 * counts only behind a whole day in which the system's clock was not set back; a leap back counts at once.
 *
 * Locks: its own, inside of which it takes nothing.
 */
#ifndef COFFER_ENGINE_POOL_STEADY_H
#define COFFER_ENGINE_POOL_STEADY_H

#include <stdint.h>

#include "base/thread.h"

struct steady {
    struct mutex mutex; /* RANK_LEAF */
    /* Nanoseconds by which the system's clock was ahead of the monotonic one: the least since `since`, and in the period before,
     * which was a day or longer. */
    int64_t least[2] GUARDED_BY(mutex);
    uint64_t since GUARDED_BY(mutex);
    uint64_t begin;  /* clock_monotonic() */
    uint64_t stored; /* seconds; a time that has surely been, 0: none is known */
};

void steady_init(struct steady *steady);
void steady_deinit(struct steady *steady);
/* Takes note of a time that was stored when the pool was used last, seconds since 1970. What the system's clock was ahead of
 * it at steady_init(), but for an hour, is a leap as well. While nobody asks for steady_date(). */
void steady_stored(struct steady *steady, uint64_t seconds);
/* Seconds since 1970. To be asked every minute: what the system's clock says between is not seen. */
uint64_t steady_now(struct steady *steady);
/* The date of what happens now: the system's, but not before what was stored. */
uint64_t steady_date(const struct steady *steady);

#endif
