/* Emptying components in bounded pieces, so that no merge is ever asked to drop more than one piece at once. */
#ifndef COFFER_ENGINE_POOL_SWEEP_H
#define COFFER_ENGINE_POOL_SWEEP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define SWEEP_LEAVES_MAX 4096 /* of maps, trimmed between two publishes: what 4 GiB of blocks have */

struct pool;

struct sweep {
    struct pool *pool;
    const _Atomic bool *stopping;     /* NULL: goes on to its end */
    uint32_t leaves_max, leaves_left; /* between two publishes; before the next one */
};

static inline struct sweep sweep_of(struct pool *pool, const _Atomic bool *stopping)
{
    return (struct sweep){pool, stopping, SWEEP_LEAVES_MAX, SWEEP_LEAVES_MAX};
}

/* Brings everything that was committed before into the published trees. Under no lock. */
enum error sweep_publish(struct sweep *sweep) CHECKED;

/*
 * Makes blocks first to end of a component holes. What is mapped there must be in the published trees, and nobody may
 * write there: whole since the last sweep_publish(). Durable with the next commit that is. Under no lock.
 * ERROR_INTERRUPTED: stopped between two pieces.
 */
enum error sweep_component(struct sweep *sweep, uint64_t component, uint64_t first, uint64_t end) CHECKED;

#endif
