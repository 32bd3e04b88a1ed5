/* Reads that are asked for again: what cannot be read is given up for good, so whoever gives up is slow to believe it. */
#ifndef COFFER_ENGINE_GROUP_PATIENCE_H
#define COFFER_ENGINE_GROUP_PATIENCE_H

#include "engine/group/group.h"

struct attempt {
    enum error (*read)(struct group *group, void *context);
    void *context;
};

/*
 * What a device refuses is asked for five times within a second, what is damaged three times. ERROR_CORRUPT: it is lost,
 * damaged or refused by devices that read elsewhere. ERROR_IO: a device reads nothing at all, so it may come back with
 * it. *waited: nanoseconds that the caller's reads waited so far; from 20 s on nothing waits any more. Under no lock.
 */
enum error read_patiently(struct group *group, const struct attempt *attempt, uint64_t *waited) CHECKED;

#endif
