/*
 * Memory for the data of requests, one bound for the whole server: blocks that hold the data of a batch each, kept for
 * the next one, and a single larger place for reads that cannot be answered in pieces.
 *
 * Whoever holds a block never waits for another, so that waiting for one ends.
 */
#ifndef COFFER_SERVER_NBD_PAYLOAD_H
#define COFFER_SERVER_NBD_PAYLOAD_H

#include <stddef.h>
#include <stdint.h>

#include "base/thread.h"
#include "engine/coffer.h"

#define PAYLOAD_ALIGNMENT  64 /* a cache line: what the codecs and ciphers like */
/* The data of one batch, each request's rounded up to the alignment. */
#define PAYLOAD_BLOCK_SIZE (BATCH_BYTES_MAX + BATCH_REQUESTS_MAX * PAYLOAD_ALIGNMENT)
#define PAYLOAD_BLOCKS_MIN 8 /* two connections at full parallelism */

struct payload_pool {
    struct mutex lock; /* RANK_LEAF; guards what follows */
    struct condition returned;
    struct payload_block *free GUARDED_BY(lock);
    size_t blocks GUARDED_BY(lock); /* allocated, free or not */
    bool large_taken GUARDED_BY(lock);
    size_t blocks_max;
};

/* `bytes_max` is rounded to blocks, PAYLOAD_BLOCKS_MIN at least; the larger place comes on top while it is used. */
void payload_init(struct payload_pool *pool, size_t bytes_max);
void payload_deinit(struct payload_pool *pool); /* everything was put back */

/* Waits for room. `size` up to PAYLOAD_BLOCK_SIZE gives a block, more (up to REQUEST_BYTES_MAX) the larger place. */
enum error payload_get(struct payload_pool *pool, size_t size, void **payload) CHECKED;
/* `size` as it was asked for. */
void payload_put(struct payload_pool *pool, void *payload, size_t size);

#endif
