/*
 * One segment of the cleaner: it is read, append by append, and whatever the tables of this merge still count at its place
 * is written again, its stored bytes as they are; a unit of which most is dead is packed anew from what is alive. Units go
 * to the cold log, nodes and their second copies to the logs they came from, so that a pair never meets in one segment
 * (but after a restart perhaps on one device: docs/design.md, 5). Pages of tables are only noted: who rewrites the tree
 * moves them.
 *
 * What is found must be what the segment table counts there, to the byte; where it is, a torn end does not matter. Anything
 * less (damage, a lost page of the chunk table, a pinned segment, a torn end that hides something) and the segment stays
 * as it is: nothing that was noted of it is kept, the copies are garbage that nothing refers to. So a segment is emptied
 * whole or not at all, and the rule holds that an entry whose segment is there is right.
 *
 * The merge thread alone.
 */
#include "engine/group/clean.h"

#include <string.h>

#include "base/memory.h"
#include "base/message.h"
#include "dedup/unit.h"

#define REPACK_LEVEL 1

/* ---- what is alive ------------------------------------------------------------------------------------------------- */

/* Whether the chunk is counted, and stands just here. */
static bool is_alive(const struct counted *named, struct map_entry entry)
{
    return !entry_is_hole(named->place) && entry_equal(named->place, entry);
}

/* ---- noting ---------------------------------------------------------------------------------------------------------- */

static enum error move_note(struct clean *clean, struct map_entry from, struct map_entry to)
{
    if (clean->move_count == clean->move_capacity) {
        size_t capacity = clean->move_capacity ? 2 * clean->move_capacity : 4096;
        struct change *grown = realloc(clean->moves, capacity * sizeof *grown);
        if (!grown)
            return ERROR_NO_MEMORY;
        clean->moves = grown;
        clean->move_capacity = capacity;
    }
    clean->moves[clean->move_count++] = (struct change){.entry = to, .birth = true};
    clean->live_found += entry_share_bytes(from);
    clean->freed += entry_share_bytes(from);
    return ERROR_NONE;
}

static enum error page_note(struct clean *clean, enum table table, unsigned level, uint64_t number)
{
    if (clean->moved_page_count == clean->moved_page_capacity) {
        size_t capacity = clean->moved_page_capacity ? 2 * clean->moved_page_capacity : 256;
        struct moved_page *grown = realloc(clean->moved_pages, capacity * sizeof *grown);
        if (!grown)
            return ERROR_NO_MEMORY;
        clean->moved_pages = grown;
        clean->moved_page_capacity = capacity;
    }
    clean->moved_pages[clean->moved_page_count++] =
        (struct moved_page){(uint8_t)table, level > 0, number * tree_span(level)};
    return ERROR_NONE;
}

/* ---- units ----------------------------------------------------------------------------------------------------------- */

/* A dead chunk's number may soon be another's: the name of one that goes along does not. */
struct live_unit {
    struct map_entry entries[UNIT_CHUNKS_MAX]; /* those that are alive */
    unsigned alive;
    le40 names[UNIT_CHUNKS_MAX]; /* of all; 0: it is dead */
};

static struct log *log_of(const struct clean *clean)
{
    struct group *group = clean->merge->group;
    return clean->kind == SEGMENT_META ? &group->meta : clean->kind == SEGMENT_TWIN ? &group->twin : &group->cold;
}

static uint32_t content_grains(const struct item_content *content)
{
    return (uint32_t)((sizeof(struct item_format) + content->descriptors_size + content->stored_size + GRAIN_SIZE - 1) /
                      GRAIN_SIZE);
}

static enum error content_append(struct clean *clean, const struct item_content *content, struct written *written)
{
    TRY(merge_append(clean->merge->group, log_of(clean), content, written));
    clean->bytes_copied += (uint64_t)content_grains(content) * GRAIN_SIZE;
    return ERROR_NONE;
}

static enum error stored_move(struct clean *clean, const struct item_read *read, const void *descriptors,
                              const struct map_entry *entries, unsigned count)
{
    const struct item_format *header = read->header;
    struct written written;
    struct item_content content = {
        .kind = (enum item_kind)header->kind,
        .codec = header->codec,
        .count = header->count,
        .descriptors = descriptors,
        .descriptors_size = item_descriptors_size(header),
        .stored = read->stored,
        .stored_size = read->stored_size,
    };
    TRY(content_append(clean, &content, &written));
    for (unsigned i = 0; i < count; i++)
        TRY(move_note(clean, entries[i],
                      entry_make(entry_cid(entries[i]), written.serial, written.offset, read->length,
                                 entry_index(entries[i]), entry_count(entries[i]))));
    return ERROR_NONE;
}

/* The chunks that are alive, compressed together: as the unit was, or harder. */
static enum error unit_repack(struct clean *clean, const struct item_read *read, const struct live_unit *unit)
{
    enum codec codec = clean->level ? CODEC_ZSTD : (enum codec)read->header->codec;
    const void *chunks[UNIT_CHUNKS_MAX];
    le40 cids[UNIT_CHUNKS_MAX];
    unsigned count;
    size_t size;
    enum codec used;
    TRY(item_unit_decode(read, clean->chunks, &count));
    for (unsigned i = 0; i < unit->alive; i++) {
        chunks[i] = clean->chunks + (size_t)entry_index(unit->entries[i]) * CHUNK_SIZE;
        cids[i] = le40_make(entry_cid(unit->entries[i]));
    }
    TRY(unit_compress(codec, clean->level ? clean->level : REPACK_LEVEL, chunks, unit->alive, clean->stored,
                      (size_t)UNIT_CHUNKS_MAX * CHUNK_SIZE, &size, &used));
    struct item_content content = {ITEM_UNIT, (uint8_t)used, (uint8_t)unit->alive, cids, unit->alive * sizeof cids[0],
                                   clean->stored, size};
    struct written written;
    TRY(content_append(clean, &content, &written));
    for (unsigned i = 0; i < unit->alive; i++)
        TRY(move_note(clean, unit->entries[i],
                      entry_make(entry_cid(unit->entries[i]), written.serial, written.offset, content_grains(&content), i,
                                 unit->alive)));
    return ERROR_NONE;
}

static enum error unit_clean(struct clean *clean, const struct item_read *read, const struct counted *named)
{
    struct live_unit unit = {.alive = 0};
    unsigned count = read->header->count;
    for (unsigned i = 0; i < count; i++) {
        struct map_entry entry = entry_make(named[i].cid, read->serial, read->offset, read->length, i, count);
        if (!is_alive(&named[i], entry))
            continue;
        unit.entries[unit.alive++] = entry;
        unit.names[i] = le40_make(named[i].cid);
    }
    if (unit.alive == 0)
        return ERROR_NONE;
    TRY(item_verify(read, (const uint8_t *)read->header));
    bool raw = read->header->codec == STORED_RAW, harder = clean->level && read->header->codec == STORED_LZ4;
    if (harder || (unit.alive < count && (raw || 2 * unit.alive <= count)))
        return unit_repack(clean, read, &unit);
    return stored_move(clean, read, unit.names, unit.entries, unit.alive);
}

/* ---- nodes and pages ------------------------------------------------------------------------------------------------------ */

static enum error node_clean(struct clean *clean, const struct item_read *read, const struct counted *named)
{
    struct map_entry entry = entry_make(named->cid, read->serial, read->offset, read->length, 0, 1);
    if (!is_alive(named, entry))
        return ERROR_NONE;
    TRY(item_verify(read, (const uint8_t *)read->header));
    return stored_move(clean, read, read->descriptors, &entry, 1);
}

static bool stands_at(const struct node_pointer *pointer, const struct item_read *read)
{
    return (entry_serial(pointer->first) == read->serial && entry_offset(pointer->first) == read->offset) ||
           (pointer->second_serial == read->serial && pointer->second_offset == read->offset);
}

static enum error page_clean(struct clean *clean, const struct item_read *read)
{
    const struct page_descriptor_format *descriptor = (const void *)read->descriptors;
    struct node_pointer pointer;
    if (descriptor->table < TABLE_PLACES || descriptor->table > TABLE_LAST || descriptor->level >= NODE_LEVELS_MAX)
        return ERROR_CORRUPT;
    enum table table = (enum table)descriptor->table;
    struct tree tree = tree_of_table(table, &clean->merge->roots[table - 1]);
    TRY(tree_pointer(clean->merge->group, &tree, descriptor->level, le40_get(descriptor->number), &pointer));
    if (entry_is_hole(pointer.first) || !stands_at(&pointer, read))
        return ERROR_NONE;
    TRY(item_verify(read, (const uint8_t *)read->header));
    *(table == TABLE_SEGMENTS ? &clean->pages_found : &clean->live_found) += (uint64_t)read->length * GRAIN_SIZE;
    clean->bytes_paged += (uint64_t)read->length * GRAIN_SIZE;
    return page_note(clean, table, descriptor->level, le40_get(descriptor->number));
}

/* ---- appends -------------------------------------------------------------------------------------------------------------- */

static unsigned names_count(const struct item_read *read)
{
    return read->header->kind == ITEM_UNIT ? read->header->count : read->header->kind == ITEM_NODE ? 1 : 0;
}

static le40 name_get(const struct item_read *read, unsigned i)
{
    le40 cid;
    if (read->header->kind == ITEM_NODE)
        return ((const struct node_descriptor_format *)(const void *)read->descriptors)->cid;
    memcpy(&cid, read->descriptors + i * sizeof cid, sizeof cid);
    return cid;
}

static enum error item_clean(struct clean *clean, const struct item_read *read, const struct counted *named)
{
    switch (read->header->kind) {
    case ITEM_UNIT:
        return unit_clean(clean, read, named);
    case ITEM_NODE:
        return node_clean(clean, read, named);
    case ITEM_PAGE:
        return page_clean(clean, read);
    default:
        return ERROR_CORRUPT;
    }
}

/* All that is in the queue: tables do not change before the segment is at its end. */
static enum error queue_clean(struct clean *clean)
{
    struct clean_queue *queue = clean->queue;
    const struct counted *named = queue->named;
    size_t count = queue->item_count;
    queue->item_count = 0;
    TRY(counted_places(clean->merge, queue->named, queue->named_count, queue->scratch));
    queue->named_count = 0;
    for (size_t i = 0; i < count; i++) {
        TRY(item_clean(clean, &queue->items[i], named));
        named += names_count(&queue->items[i]);
    }
    return ERROR_NONE;
}

static enum error item_queue(void *context, const struct item_read *read)
{
    struct clean *clean = context;
    struct clean_queue *queue = clean->queue;
    unsigned names = names_count(read);
    if (queue->item_count == CLEAN_ITEMS || queue->named_count + names > COUNTED_MAX)
        TRY(queue_clean(clean));
    queue->items[queue->item_count++] = *read;
    for (unsigned i = 0; i < names; i++)
        queue->named[queue->named_count++].cid = le40_get(name_get(read, i));
    return ERROR_NONE;
}

static enum error window_read(void *context, uint32_t block, const uint8_t **bytes, uint32_t *blocks)
{
    struct clean *clean = context;
    size_t size;
    TRY(queue_clean(clean)); /* what stands in the window before */
    if (clean->level && recompress_is_pressed(clean->merge->group))
        return ERROR_INTERRUPTED;
    if (block == 1) {
        TRY(clean_reader_get(clean->reader, clean->index, &clean->bytes, &size));
    } else {
        struct device_io io = segment_window(clean->merge->group, clean->index, block, clean->bytes);
        size = io.size;
        TRY(device_run(&io, 1));
        TRY(bulk_decrypt(clean->keys, block, clean->bytes, clean->bytes, size));
    }
    *bytes = clean->bytes;
    *blocks = (uint32_t)(size / BLOCK_SIZE);
    return ERROR_NONE;
}

/* ---- one segment --------------------------------------------------------------------------------------------------------------- */

static enum error segment_read(struct clean *clean)
{
    struct group *group = clean->merge->group;
    TRY(segment_keys_get(group, &clean->identity, &clean->keys));
    struct segment_walk walk = {
        .kind = clean->kind,
        .serial = clean->identity.serial,
        .blocks = segment_blocks(&group->segments),
        .keys = clean->keys,
        .read = window_read,
        .item = item_queue,
        .context = clean,
    };
    clean->queue->item_count = clean->queue->named_count = 0;
    enum error error = segment_walk_items(&walk), last = queue_clean(clean);
    segment_keys_put(group, clean->keys);
    return last && (!error || error == ERROR_CORRUPT) ? last : error; /* a torn end hides no lack of space */
}

static enum error moves_count(struct clean *clean)
{
    struct segments *segments = &clean->merge->group->segments;
    enum error error = ERROR_NONE;
    mutex_lock(&clean->merge->group->lock);
    for (size_t i = clean->moves_before; i < clean->move_count && !error; i++) {
        uint32_t to = segment_find(segments, entry_serial(clean->moves[i].entry));
        error = segment_live_add(segments, to, entry_share_bytes(clean->moves[i].entry));
    }
    if (!error)
        error = segment_live_add(segments, clean->index, -(int64_t)clean->freed);
    mutex_unlock(&clean->merge->group->lock);
    return error;
}

/* The last append may be torn: its header, which the tag is of, is there, and what follows it is anything. Nothing in it
 * is counted; where all that is counted was found before, that was the end. */
static bool is_found_whole(const struct clean *clean, enum error error)
{
    return (!error || error == ERROR_CORRUPT) && clean->live_found == clean->live && clean->pages_found == clean->pages;
}

enum error clean_segment(struct clean *clean, const uint32_t *segments, size_t count, bool *emptied)
{
    struct group *group = clean->merge->group;
    uint32_t index = segments[0];
    clean_reader_aim(clean->reader, segments, count);
    mutex_lock(&group->lock);
    const struct segment *segment = &group->segments.table[index];
    clean->index = index;
    clean->kind = (enum segment_kind)segment->kind;
    clean->identity = segment_identity(&group->segments, index);
    clean->live = segment->live;
    clean->pages = segment->pages;
    mutex_unlock(&group->lock);
    clean->live_found = clean->pages_found = clean->freed = 0;
    clean->moves_before = clean->move_count;
    clean->pages_before = clean->moved_page_count;
    clean->paged_before = clean->bytes_paged;
    enum error error = segment_read(clean);
    *emptied = is_found_whole(clean, error);
    if (*emptied) {
        error_forget();
        return moves_count(clean);
    }
    clean->move_count = clean->moves_before;
    clean->moved_page_count = clean->pages_before;
    clean->bytes_paged = clean->paged_before;
    if (group_is_fenced(group))
        return ERROR_FENCED;
    if (error == ERROR_NO_SPACE || error == ERROR_NO_MEMORY || error == ERROR_INTERRUPTED)
        return ERROR_NONE; /* another time */
    message(MESSAGE_WARNING, "group %s: segment %llu cannot be cleaned: %s", group_name(group),
            (unsigned long long)clean->identity.serial,
            error ? error_sentence(error) : "what is in it is not what is counted");
    mutex_lock(&group->lock);
    segment_stick(&group->segments, index);
    mutex_unlock(&group->lock);
    return ERROR_NONE;
}
