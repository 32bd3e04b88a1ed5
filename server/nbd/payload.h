/*
 * Memory for the data of requests, one bound for the whole server: blocks that hold the data of a batch each, kept for
 * the next one, and a single larger place for reads that cannot be answered in pieces.
 *
 * A client that is slow holds a block while it is waited for, so blocks alone would let a few clients stop all others.
 * Three rules prevent that:
 *
 *   own memory    each connection has a little of its own, in which every small request and every piece of a large one
 *                 fits: it is used where no block is to be had, and nobody else can take it
 *   fair shares   who holds a block gets another only while more than half of them are left for those who hold none
 *   eviction      while somebody goes without, a client that is waited for longer than the pool's patience is dropped
 *
 * Whoever holds a lease never waits for another, and every wait has an end.
 */
#ifndef COFFER_SERVER_NBD_PAYLOAD_H
#define COFFER_SERVER_NBD_PAYLOAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/thread.h"
#include "engine/coffer.h"

#define PAYLOAD_ALIGNMENT  64 /* a cache line: what the codecs and ciphers like */
/* The data of one batch, each request's rounded up to the alignment. */
#define PAYLOAD_BLOCK_SIZE (BATCH_BYTES_MAX + BATCH_REQUESTS_MAX * PAYLOAD_ALIGNMENT)
#define PAYLOAD_BLOCKS_MIN 8           /* two connections at full parallelism */
#define PAYLOAD_OWN_SIZE   (64u << 10) /* as a connection's buffer; 16 MiB of all connections, where all are in need */

struct payload_pool {
    struct mutex lock; /* RANK_LEAF; guards what follows */
    struct condition returned;
    struct payload_block *free GUARDED_BY(lock);
    size_t taken GUARDED_BY(lock); /* blocks given out */
    bool large_taken GUARDED_BY(lock);
    struct payload_lease *leases GUARDED_BY(lock); /* of blocks and of the larger place */
    unsigned users GUARDED_BY(lock);
    size_t blocks_max;
    uint64_t wait_max, patience; /* nanoseconds */
};

/* A connection as the pool sees it. */
struct payload_user {
    struct payload_pool *pool;
    void (*evict)(void *context); /* must make a wait for the client end at once; called under the pool's lock */
    void *context;
    size_t held; /* blocks; guarded by the pool's lock, as the rest */
    bool own_taken;
    bool went_without; /* waited for a block in vain, and has had none since */
    void *own; /* NULL until it was needed */
};

enum payload_place { PAYLOAD_NONE, PAYLOAD_OWN, PAYLOAD_BLOCK, PAYLOAD_LARGE };

/* Memory given out; stays in place until it is put back. Zeroed it is none. */
struct payload_lease {
    enum payload_place place;
    uint8_t *data;
    size_t size;
    struct payload_user *user;
    _Atomic uint64_t stalled; /* since when its client is waited for; 0: it is not */
    struct payload_lease *previous, *next;
};

/* `bytes_max` is rounded to blocks, PAYLOAD_BLOCKS_MIN at least; the larger place and the connections' own come on top
 * while they are used. `wait_max` ends a wait for memory, `patience` is what a client may let others wait. */
void payload_init(struct payload_pool *pool, size_t bytes_max, uint64_t wait_max, uint64_t patience);
void payload_deinit(struct payload_pool *pool); /* every user has left */

void payload_join(struct payload_pool *pool, struct payload_user *user, void (*evict)(void *), void *context);
/* Wipes the user's own memory and, with the last user, all of the pool's. Its leases were put back. */
void payload_leave(struct payload_user *user);

/* Memory for a request of `size` bytes, up to REQUEST_BYTES_MAX. Where the request may go in `pieces`, a lease smaller
 * than it may come, of PAYLOAD_OWN_SIZE at least. ERROR_NO_MEMORY, with a sentence, where none became free in time. */
enum error payload_get(struct payload_user *user, size_t size, bool pieces, struct payload_lease *lease) CHECKED;
void payload_put(struct payload_lease *lease); /* of none: nothing happens */

/* Between these the thread waits for the client. */
void payload_stall_begin(struct payload_lease *lease);
void payload_stall_end(struct payload_lease *lease);

#endif
