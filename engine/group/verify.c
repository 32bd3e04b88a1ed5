/*
 * Verifying what stands at addresses. You are beside the read path: VERIFY: log buffer or device -> decrypt -> tag ->
 * descriptors -> decompress. What is still in a log buffer is taken from there: it is on no device yet.
 *
 * Nothing is changed and nothing is told: the caller knows what a fault means. No locks of its own; the caller's view
 * keeps every slot that its entries name. A crash is harmless.
 */
#include "engine/group/verify.h"

#include "base/memory.h"
#include "dedup/unit.h"
#include "engine/group/group.h"
#include "engine/group/node.h"

struct stored { /* a unit or a node, and the chunks that are asked for in it */
    struct chunk_verify *chunks;
    size_t count;
};

static enum error stored_decode(const struct item_read *read, const struct stored *stored, unsigned *count)
{
    uint8_t bytes[UNIT_CHUNKS_MAX * CHUNK_SIZE];
    if (read->error)
        return read->error;
    if (read->header->kind == ITEM_UNIT)
        return item_unit_decode(read, bytes, count);
    *count = 0;
    return node_decode_any(read, entry_cid(stored->chunks[0].entry), bytes);
}

static enum error chunk_judge(const struct item_read *read, unsigned count, const struct chunk_verify *chunk)
{
    unsigned index;
    if (read->header->kind == ITEM_UNIT)
        return item_unit_find(read, count, chunk->entry, &index);
    return entry_count(chunk->entry) == 1 ? ERROR_NONE : ERROR_CORRUPT;
}

/* Of a unit that moved only what was alive may have gone along; the others are asked for again, each by its own name. */
static void stored_done(struct item_read *read, void *context)
{
    const struct stored *stored = read->owner;
    unsigned count = 0;
    enum error error = stored_decode(read, stored, &count);
    (void)context;
    for (size_t i = 0; i < stored->count; i++) {
        struct chunk_verify *chunk = &stored->chunks[i];
        chunk->error = error ? error : chunk_judge(read, count, chunk);
        if (chunk->error && read->moved && stored->count > 1)
            chunk->error = ERROR_AGAIN;
        chunk->stored_size = i == 0 ? read->length * GRAIN_SIZE : 0;
    }
}

/* All, neighbours that stand in one unit in one read; or those that are to be asked for again, each in its own. */
static void stored_verify(struct group *group, enum item_kind kind, struct chunk_verify *chunks, size_t count, bool again)
{
    struct stored stored[VERIFY_MAX];
    struct item_read reads[VERIFY_MAX];
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        struct map_entry entry = chunks[i].entry;
        if (again && chunks[i].error != ERROR_AGAIN)
            continue;
        if (n && !again && entry_same_unit(stored[n - 1].chunks[0].entry, entry)) {
            stored[n - 1].count++;
            continue;
        }
        stored[n] = (struct stored){&chunks[i], 1};
        reads[n] = (struct item_read){
            .serial = entry_serial(entry),
            .offset = entry_offset(entry),
            .length = entry_length(entry),
            .kind = kind,
            .cid = entry_cid(entry),
            .owner = &stored[n],
        };
        n++;
    }
    items_read(group, reads, n, stored_done, NULL);
}

void chunks_verify(struct group *group, enum item_kind kind, struct chunk_verify *chunks, size_t count)
{
    ASSERT(count <= VERIFY_MAX);
    stored_verify(group, kind, chunks, count, false);
    stored_verify(group, kind, chunks, count, true);
}
