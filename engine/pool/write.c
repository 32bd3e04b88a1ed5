/*
 * The story of a write, from requests to commits. You are in the write path:
 * WRITE: requests -> batches -> split -> fingerprint -> look up -> compress -> commit -> fill.
 *
 * Requests of one call are packed into batches of blocks that do not overlap, in array order; where one overlaps what
 * the batch holds already, or does not fit, the batch is committed first. So overlapping writes take effect in order,
 * and a request that is larger than a batch takes several commits (a block is never torn; a request may be).
 *
 * A batch that fails by what one of its requests may have brought has entered nothing: each is committed again by itself, in the
 * same order, so that the others do not suffer.
 */
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/pool/batch.h"

#define APART_TIME (10 * CLOCK_SECOND) /* that members of a failed batch have: each may wait for space in vain */

struct packer {
    struct batch *batch;
    struct request *members[BATCH_REQUESTS_MAX + 1]; /* that have something in the batch */
    size_t member_count;
};

static void request_add(struct packer *packer, struct request *request);

/* A part of a block that cannot be read, or a block that is one too many, says nothing of what others bring. */
static bool is_of_one(enum error error)
{
    return error == ERROR_CORRUPT || error == ERROR_IO || error == ERROR_NO_SPACE;
}

static void packer_commit(struct packer *packer)
{
    enum error error = batch_commit(packer->batch);
    size_t count = packer->member_count;
    packer->member_count = 0;
    uint64_t end = error ? clock_monotonic() + APART_TIME : 0;
    for (size_t i = 0; i < count && error; i++) {
        struct request *request = packer->members[i];
        struct packer alone = {.batch = packer->batch};
        if (request->error)
            continue;
        if (count > 1 && is_of_one(error) && clock_monotonic() < end) {
            request_add(&alone, request);
            packer_commit(&alone);
        } else {
            request->error = error;
        }
    }
}

static void member_add(struct packer *packer, struct request *request)
{
    if (packer->member_count == 0 || packer->members[packer->member_count - 1] != request)
        packer->members[packer->member_count++] = request;
}

/* Makes room for blocks [first, end). */
static void make_room(struct packer *packer, uint64_t first, uint64_t end, size_t blocks)
{
    if (!batch_takes(packer->batch, first, end, blocks) || packer->member_count >= BATCH_REQUESTS_MAX)
        packer_commit(packer);
}

static void data_add(struct packer *packer, struct request *request, uint64_t offset, const uint8_t *data, uint64_t length)
{
    while (length && !request->error) {
        uint64_t first = offset / CHUNK_SIZE;
        uint64_t end = MIN((offset + length + CHUNK_SIZE - 1) / CHUNK_SIZE, first + BATCH_BLOCKS);
        uint64_t size = MIN(length, end * CHUNK_SIZE - offset);
        make_room(packer, first, end, (size_t)(end - first));
        member_add(packer, request);
        enum error error = batch_add_data(packer->batch, offset, data, (size_t)size);
        if (error) {
            request->error = error;
            return;
        }
        offset += size;
        data += size;
        length -= size;
    }
}

/* Whole blocks become holes; a part of a block at either end is written as zeros. */
static void zeros_add(struct packer *packer, struct request *request)
{
    static const uint8_t zeros[CHUNK_SIZE];
    uint64_t begin = request->offset, end = request->offset + request->length;
    uint64_t first = (begin + CHUNK_SIZE - 1) / CHUNK_SIZE, last = end / CHUNK_SIZE;
    if (first > last) {
        data_add(packer, request, begin, zeros, request->length);
        return;
    }
    if (begin % CHUNK_SIZE)
        data_add(packer, request, begin, zeros, first * CHUNK_SIZE - begin);
    if (first < last && !request->error) {
        make_room(packer, first, last, 0);
        member_add(packer, request);
        batch_add_hole(packer->batch, first, last);
    }
    if (end % CHUNK_SIZE)
        data_add(packer, request, last * CHUNK_SIZE, zeros, end % CHUNK_SIZE);
}

static void request_add(struct packer *packer, struct request *request)
{
    if (request->type == REQUEST_WRITE)
        data_add(packer, request, request->offset, request->data, request->length);
    else
        zeros_add(packer, request);
}

/* What brings no data, not even parts of blocks, must not wait behind writers that wait for space. */
static enum batch_kind kind_for(struct request **requests, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (requests[i]->type == REQUEST_WRITE || (requests[i]->offset | requests[i]->length) % CHUNK_SIZE)
            return BATCH_WRITES;
    return BATCH_TRIMS;
}

void write_execute(struct volume *volume, struct request **requests, size_t count, const struct asker *asker)
{
    struct object *object = volume->object;
    enum batch_kind kind = kind_for(requests, count);
    struct packer packer = {.batch = batch_get(volume->pool, kind, object->component, object->key)};
    if (packer.batch) {
        packer.batch->target = &object->component;
        packer.batch->reservation = &object->reservation;
        packer.batch->asker = asker;
    }
    for (size_t i = 0; i < count; i++) {
        if (!packer.batch)
            requests[i]->error = ERROR_NO_MEMORY;
        else
            request_add(&packer, requests[i]);
    }
    if (!packer.batch)
        return;
    packer_commit(&packer);
    batch_put(packer.batch);
}

/* ---- the catalog and components -------------------------------------------------------------------------------------- */

static size_t document_blocks(const struct catalog_document *document)
{
    return (document->size + CHUNK_SIZE - 1) / CHUNK_SIZE;
}

/* `padded` has whole blocks for each. The batch is the caller's to put. */
static enum error catalog_fill(struct batch *batch, const struct catalog_changes *changes, uint8_t *padded)
{
    batch->whole = true;
    batch->changes = changes->changes;
    batch->change_count = changes->change_count;
    batch->moves = changes->moves;
    batch->move_count = changes->move_count;
    batch->frees = changes->frees;
    batch->at_once = changes->at_once;
    for (size_t i = 0; i < changes->document_count; i++) {
        const struct catalog_document *document = &changes->documents[i];
        uint64_t first = document->slot * OBJECT_SLOT_BLOCKS;
        size_t blocks = document_blocks(document);
        memcpy(padded, document->bytes, document->size);
        TRY(batch_add_data(batch, first * CHUNK_SIZE, padded, blocks * CHUNK_SIZE));
        batch_add_hole(batch, first + blocks, first + OBJECT_SLOT_BLOCKS);
        padded += blocks * CHUNK_SIZE;
    }
    return batch_commit(batch);
}

enum error catalog_commit_all(struct pool *pool, const struct catalog_changes *changes)
{
    size_t blocks = 0;
    for (size_t i = 0; i < changes->document_count; i++)
        blocks += document_blocks(&changes->documents[i]);
    ASSERT(blocks * CHUNK_SIZE <= OBJECT_DOCUMENT_BYTES_MAX && changes->document_count <= CATALOG_DOCUMENTS_MAX &&
           changes->change_count <= SNAPSHOT_OBJECTS_MAX + 1);
    AUTO_FREE uint8_t *padded = memory_zeroed(blocks + 1, CHUNK_SIZE);
    struct batch *batch = padded ? batch_get(pool, BATCH_DOCUMENTS, COMPONENT_CATALOG, NULL) : NULL;
    if (!batch)
        return ERROR_NO_MEMORY;
    enum error error = catalog_fill(batch, changes, padded);
    batch_put(batch);
    if (error)
        return error;
    error = group_sync(pool->group);
    /* It is entered and will be durable: nobody may go on with what was before. */
    return error ? group_fence(pool->group, error) : ERROR_NONE;
}

enum error catalog_commit(struct pool *pool, uint64_t slot, const void *document, size_t size,
                          const struct component_change *changes, size_t change_count)
{
    struct catalog_document one = {slot, document, size};
    return catalog_commit_all(pool, &(struct catalog_changes){.documents = &one,
                                                              .document_count = 1,
                                                              .changes = changes,
                                                              .change_count = change_count});
}

enum error object_trim(struct pool *pool, struct object *object, uint64_t first, uint64_t end)
{
    struct batch *batch = batch_get(pool, BATCH_REMAINS, object->component, NULL);
    if (!batch)
        return ERROR_NO_MEMORY;
    batch->target = &object->component;
    batch_add_hole(batch, first, end);
    enum error error = batch_commit(batch);
    batch_put(batch);
    return error;
}

enum error component_trim(struct pool *pool, uint64_t component, uint64_t first, uint64_t end,
                          const struct component_change *last)
{
    struct batch *batch = batch_get(pool, BATCH_REMAINS, component, NULL);
    if (!batch)
        return ERROR_NO_MEMORY;
    if (first < end)
        batch_add_hole(batch, first, end);
    batch->changes = last;
    batch->change_count = last ? 1 : 0;
    enum error error = batch_commit(batch);
    batch_put(batch);
    return error;
}
