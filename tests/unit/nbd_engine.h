/*
 * An engine in memory, for tests of the NBD server: the functions of engine/coffer.h that the server calls, and knobs.
 * There is one pool; it is made of plain memory, so that what is in flight can be seen and held.
 */
#ifndef COFFER_TESTS_UNIT_NBD_ENGINE_H
#define COFFER_TESTS_UNIT_NBD_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/coffer.h"

struct pool *nbd_engine_create(void);
void nbd_engine_destroy(struct pool *pool); /* asserts that every volume was closed */

/* One whose name is OBJECT@SNAPSHOT is a snapshot. */
void nbd_engine_add(struct pool *pool, const char *name, uint64_t size, bool in_trash);
/* A snapshot, or another object, is gone for whoever comes. */
void nbd_engine_remove(struct pool *pool, const char *name);
uint8_t *nbd_engine_data(struct pool *pool, const char *name); /* of an object */
void nbd_engine_lock(struct pool *pool, bool locked);
/* What the engine says of what is damaged; NULL: its own words. The text stays the caller's. */
void nbd_engine_explain(struct pool *pool, const char *sentence);
/* Requests of this type fail from now on; ERROR_NONE ends that. */
void nbd_engine_fail(struct pool *pool, enum request_type type, enum error error);
/* Requests touch nothing and are answered at once, and everything is a hole: what is around the engine is seen. */
/* Block status finds data everywhere, a piece a call. */
void nbd_engine_solid(struct pool *pool, bool solid);
void nbd_engine_empty(struct pool *pool, bool empty);
/* Flushes wait inside of the engine while held. */
void nbd_engine_hold_flushes(struct pool *pool, bool hold);
void nbd_engine_wait_flushes(struct pool *pool, unsigned count); /* until so many wait */
/* The same of writes; one that was held for long and is not wanted any more then ends with ERROR_CLOSED. */
void nbd_engine_hold_writes(struct pool *pool, bool hold);
void nbd_engine_wait_writes(struct pool *pool, unsigned count);
/* The same of reading ahead. */
void nbd_engine_hold_caches(struct pool *pool, bool hold);
void nbd_engine_wait_caches(struct pool *pool, unsigned count);

struct nbd_engine_counts {
    unsigned executes, requests, fua, unwanted;
    unsigned of_type[REQUEST_CACHE + 1];
    uint64_t cache_bytes, extent_bytes; /* read ahead, looked at for block status */
    unsigned open_volumes, looks; /* calls of object_find */
    unsigned concurrent_max; /* calls of volume_execute at once */
    size_t batch_max;
    enum request_type last; /* of the last batch */
};
struct nbd_engine_counts nbd_engine_counts(struct pool *pool);

#endif
