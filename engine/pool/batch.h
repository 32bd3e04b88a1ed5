/*
 * One batch of a write in the making: at most BATCH_BLOCKS blocks and BATCH_RANGES ranges of holes of one component,
 * none of which overlap, so that one commit can carry them in any order.
 *
 * A batch is lent to one thread at a time, of its kind (enum batch_kind) as many as batch.c says: BATCHES_LENT for writes,
 * with 1 MiB for compressed units and 1 MiB for comparing each. Who writes may hold one while it waits for space, so
 * whom such a writer must not stop has others: the catalog, whose commits hold pool->lock, one as small as documents are;
 * trims, which give back what the writer waits for, some without any room for data. A client's trim may still wait for a
 * latch, which a writer may hold; what frees deleted objects and cuts shrunk ones meets none, and has one of its own.
 */
#ifndef COFFER_ENGINE_POOL_BATCH_H
#define COFFER_ENGINE_POOL_BATCH_H

#include "engine/group/record.h"
#include "engine/pool/pool.h"

#define BATCH_BLOCKS 256
#define BATCHES_LENT 6
#define BATCHES_OF_TRIMS 4 /* so many of clients may wait for latches before others wait for these */
#define BATCHES_SMALL_MEMORY (UINT64_C(128) << 20) /* below it, half of them */
#define BATCH_RANGES 128

struct batch_block {
    uint64_t block;
    const uint8_t *data;     /* 4096 bytes: the caller's, or `partial` */
    uint8_t *partial;        /* where the caller gave less than a block; NULL otherwise */
    uint16_t begin, end;     /* what of the block the caller gave, where partial */
    const uint8_t *source;
    struct fingerprint fingerprint;
    struct map_entry entry;  /* what the block will refer to; hole: nothing */
    int16_t alias;           /* the same content as this earlier block of the batch, or -1 */
    int16_t unit;            /* number of its new unit, or -1 */
    bool zero, hit;
};

struct batch_unit {
    uint16_t first, count;   /* of `order` */
    uint32_t mask;           /* blocks relative to the first */
    uint32_t stored_size;
    enum codec codec;
    uint8_t *stored;         /* in batch->output */
    uint64_t cid;
    bool replaces;           /* it takes the item that its blocks have in the open buffer, and its CIDs */
    struct log_item item;
    struct segment_identity identity;
};

struct batch {
    struct pool *pool;
    enum batch_kind kind;
    const _Atomic uint64_t *target; /* where the component is asked again at the commit; NULL: it stays as it is */
    uint64_t component;
    const struct fingerprint_key *key; /* NULL: no dedup, no fingerprints (the catalog) */
    struct batch_block blocks[BATCH_BLOCKS];
    size_t count;
    struct block_range ranges[BATCH_RANGES];
    size_t range_count;
    size_t partial_count;
    bool whole;              /* the commit must lie in one append */
    bool frees, at_once;     /* as in catalog_changes */
    const struct asker *asker; /* whose it is; NULL: the engine's own */
    struct commit_need need; /* what it needs space for; set by commit_run() */
    size_t fresh;            /* of its blocks those that are not mapped yet, as far as it was asked; likewise */
    struct reservation *reservation; /* of the object; NULL: it can have none */
    const struct component_change *changes;
    size_t change_count;
    const struct component_move *moves; /* made in the commit */
    size_t move_count;
    struct batch_unit units[BATCH_BLOCKS];
    size_t unit_count;
    uint16_t order[BATCH_BLOCKS]; /* blocks that go into units, unit by unit */
    struct latch latch[BATCH_BLOCKS + BATCH_RANGES];
    size_t latch_count;
    struct view *view;       /* of the latching, for the reads of partial blocks */
    struct log_unsettled unsettled; /* when its hits were looked for */
    uint8_t *output;         /* BATCH_BLOCKS chunks; for documents OBJECT_DOCUMENT_BYTES_MAX; NULL: takes ranges only */
    uint8_t *compare;        /* BATCH_BLOCKS chunks, for lookup.c; NULL: nothing is looked up */
};

/* pool->batch_lenders, and what all that they lend takes of a setting of `memory`. After an error all the same to be destroyed. */
enum error batch_lenders_create(struct pool *pool, uint64_t memory) CHECKED;
void batch_lenders_empty(struct pool *pool);
void batch_lenders_destroy(struct pool *pool);
uint64_t batch_lenders_bytes(uint64_t memory);
/* An empty batch, after a wait where all of its kind are lent; NULL when out of memory. Put each. */
struct batch *batch_get(struct pool *pool, enum batch_kind kind, uint64_t component, const struct fingerprint_key *key);
void batch_put(struct batch *batch);
/* Whether blocks [first, end) overlap what the batch holds, or do not fit in. */
bool batch_takes(const struct batch *batch, uint64_t first, uint64_t end, size_t blocks);
/* Adds `size` bytes at `offset` of the object (any alignment; batch_takes() said yes). ERROR_NO_MEMORY for partials. */
enum error batch_add_data(struct batch *batch, uint64_t offset, const uint8_t *data, size_t size) CHECKED;
void batch_add_hole(struct batch *batch, uint64_t first, uint64_t end);
/* Commits what the batch holds and empties it. */
enum error batch_commit(struct batch *batch) CHECKED;

/* commit.c */
enum error commit_run(struct batch *batch) CHECKED;

/* latch.c: under the section's mutex */
/* The component that the object writes to now. */
void batch_aim(struct batch *batch);
bool latch_conflicts(const struct pool *pool, const struct batch *batch);
/* Latches all that the batch changes and takes its view, in one entry, all or none. */
void latch_take(struct batch *batch);
void latch_release(struct batch *batch);

#endif
