/*
 * Chunks of units: through the cache, one read a unit. You are in the read path: recent table -> tree -> CHUNKS: cache,
 * else unit from log buffer or device -> decrypt -> tag -> decompress.
 */
#include <string.h>

#include "base/memory.h"
#include "base/message.h"
#include "dedup/unit.h"
#include "engine/group/group.h"
#include "engine/group/item.h"

#define READS_MAX 256

struct unit_read {
    size_t first, count; /* of the reads that want chunks of it */
};

struct chunks_context {
    struct group *group;
    struct chunk_read **reads;
};

static struct cache_key chunk_key(struct map_entry entry)
{
    return (struct cache_key){entry_serial(entry), entry_offset(entry), entry_index(entry)};
}

static void damage_report(struct group *group, const struct map_entry *entry, enum error error)
{
    atomic_fetch_add(&group->totals.read_errors, 1);
    message(MESSAGE_ERROR, "group %s: unit at serial %llu offset %u (chunk %llu): %s", group_name(group),
            (unsigned long long)entry_serial(*entry), entry_offset(*entry), (unsigned long long)entry_cid(*entry),
            error_sentence(error));
}

enum error item_unit_decode(const struct item_read *read, uint8_t *out, unsigned *count)
{
    *count = read->header->count;
    if (*count < 1 || *count > UNIT_CHUNKS_MAX || read->header->codec > STORED_ZSTD)
        return ERROR_CORRUPT;
    return unit_decompress((enum codec)read->header->codec, read->stored, read->stored_size, out, *count);
}

static bool is_at(const struct item_read *read, unsigned index, uint64_t cid)
{
    le40 found;
    memcpy(&found, read->descriptors + index * sizeof found, sizeof found);
    return le40_get(found) == cid;
}

enum error item_unit_find(const struct item_read *read, unsigned count, struct map_entry entry, unsigned *index)
{
    *index = entry_index(entry);
    if (!read->moved && (*index >= count || count != entry_count(entry)))
        return ERROR_CORRUPT;
    for (unsigned i = 0; i < count && read->moved; i++)
        if (is_at(read, i, entry_cid(entry)))
            *index = i;
    return *index < count && is_at(read, *index, entry_cid(entry)) ? ERROR_NONE : ERROR_CORRUPT;
}

static enum error chunk_take(const struct item_read *read, const uint8_t *bytes, unsigned count, struct chunk_read *chunk,
                             unsigned *index)
{
    TRY(item_unit_find(read, count, chunk->entry, index));
    memcpy(chunk->out, bytes + (size_t)*index * CHUNK_SIZE, CHUNK_SIZE);
    return ERROR_NONE;
}

/* One chunk from inside a unit is a random read: its neighbours are not worth the room. What moved is kept under the
 * name by which it is asked for as well: an address, gone or not, has one content. */
static void unit_cache(struct group *group, const struct item_read *read, const uint8_t *bytes, unsigned count,
                       struct chunk_read *const *chunks, size_t wanted, unsigned last)
{
    bool alone = wanted == 1 && last > 0;
    for (unsigned i = alone ? last : 0; i < (alone ? MIN(last + 1, count) : count); i++)
        cache_add(group->chunks, (struct cache_key){read->serial, read->offset, i}, bytes + (size_t)i * CHUNK_SIZE);
    for (size_t i = 0; i < wanted && read->moved; i++)
        if (!chunks[i]->error)
            cache_add(group->chunks, chunk_key(chunks[i]->entry), chunks[i]->out);
}

/* Of a unit that moved only what was alive may have gone along; the others are asked for again, each by its own name. Of a
 * group that is out of service nothing is told to be damaged: a buffer of its log may never have been written. */
static void unit_done(struct item_read *read, void *context)
{
    struct chunks_context *chunks = context;
    struct unit_read *unit = read->owner;
    uint8_t bytes[UNIT_CHUNKS_MAX * CHUNK_SIZE];
    unsigned count = 0, index = 0;
    enum error error = read->error;
    if (!error)
        error = item_unit_decode(read, bytes, &count);
    for (size_t i = unit->first; i < unit->first + unit->count; i++) {
        struct chunk_read *chunk = chunks->reads[i];
        chunk->error = error ? error : chunk_take(read, bytes, count, chunk, &index);
        if (chunk->error && read->moved && unit->count > 1) {
            chunk->error = ERROR_AGAIN;
            continue;
        }
        if (chunk->error == ERROR_NOT_FOUND)
            chunk->error = ERROR_CORRUPT;
        if (chunk->error && group_is_fenced(chunks->group))
            chunk->error = ERROR_FENCED;
        else if (chunk->error)
            damage_report(chunks->group, &chunk->entry, chunk->error);
    }
    if (!error && read->settled)
        unit_cache(chunks->group, read, bytes, count, chunks->reads + unit->first, unit->count, index);
}

/* Neighbours in `reads` that stand in one unit in one read, or each in its own. */
static void units_read(struct group *group, struct chunk_read **reads, size_t count, bool alone)
{
    struct unit_read units[READS_MAX];
    struct item_read items[READS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        struct map_entry entry = reads[i]->entry;
        if (i > 0 && !alone && entry_same_unit(reads[i - 1]->entry, entry)) {
            units[n - 1].count++;
            continue;
        }
        units[n] = (struct unit_read){i, 1};
        items[n] = (struct item_read){
            .serial = entry_serial(entry),
            .offset = entry_offset(entry),
            .length = entry_length(entry),
            .kind = ITEM_UNIT,
            .cid = entry_cid(entry),
            .owner = &units[n],
        };
        n++;
    }
    items_read(group, items, n, unit_done, &(struct chunks_context){group, reads});
}

static void chunks_read_some(struct group *group, struct chunk_read *reads, size_t count)
{
    struct chunk_read *missing[READS_MAX];
    size_t n = 0, left = 0;
    for (size_t i = 0; i < count; i++) {
        reads[i].error = ERROR_NONE;
        if (!cache_copy(group->chunks, chunk_key(reads[i].entry), reads[i].out))
            missing[n++] = &reads[i];
    }
    units_read(group, missing, n, false);
    for (size_t i = 0; i < n; i++)
        if (missing[i]->error == ERROR_AGAIN)
            missing[left++] = missing[i];
    if (left)
        units_read(group, missing, left, true);
}

enum error chunks_read(struct group *group, struct chunk_read *reads, size_t count)
{
    enum error error = ERROR_NONE;
    for (size_t first = 0; first < count; first += READS_MAX)
        chunks_read_some(group, reads + first, MIN(count - first, READS_MAX));
    for (size_t i = 0; i < count && !error; i++)
        error = reads[i].error;
    return error;
}
