/*
 * Whether an object holds anything else than a snapshot, asked before an operation upon it and without pool->lock: both
 * maps may have to be read for it. The operation then only asks whether the object is at the same revision, which each
 * opening for writing and each change of its document raises.
 */
#ifndef COFFER_ENGINE_POOL_COMPARISON_H
#define COFFER_ENGINE_POOL_COMPARISON_H

#include <stdbool.h>

#include "engine/pool/pool.h"

/* What an object and a snapshot were when they were compared. */
struct comparison {
    uint64_t epoch, revision, component, base;
    struct uuid object_uuid, base_uuid;
};

/* Under pool->lock; of a closed object, else what is written meanwhile is not seen. `base` NULL: of the object alone. */
struct comparison comparison_of(const struct pool *pool, const struct object *object, const struct object *base);
/* Without it. Both are open meanwhile, so neither is deleted. Costs what is before the first difference. */
enum error comparison_run(struct pool *pool, const struct comparison *comparison, bool *changed) CHECKED;
/* Under pool->lock: both are as they were. */
bool comparison_stands(const struct pool *pool, const struct comparison *comparison, const struct object *object,
                       const struct object *base);

#endif
