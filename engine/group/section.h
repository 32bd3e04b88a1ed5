/*
 * The commit section of the pool: one mutex that orders commits, freezes and publishes of all groups, and the counter
 * that gives commits their sequences. No I/O and no copying of data happens in it; nobody waits in it but on `changed`
 * (which lets go of the mutex).
 */
#ifndef COFFER_ENGINE_GROUP_SECTION_H
#define COFFER_ENGINE_GROUP_SECTION_H

#include "base/thread.h"

#define SEQUENCE_EPOCH_SHIFT 40

/* What a merge writes as the birth of its nodes: the sequence of its freeze, rounded up to a multiple of 256. */
static inline uint64_t sequence_of_birth(uint64_t sequence)
{
    const uint64_t low = 255;
    return (sequence + low) & ~low;
}

struct section {
    struct mutex mutex;
    struct condition changed;  /* a latch, room, a buffer or a prepared segment may be there now */
    uint64_t sequence GUARDED_BY(mutex); /* last one given: epoch << 40 | counter */
};

#endif
