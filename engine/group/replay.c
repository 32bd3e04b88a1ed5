/*
 * Replay. An append counts if it stands at the place named by the one before (or by a joint), states that one's tag,
 * and its own tag and the tags of all its units verify. What fails behind the last sequence that a completed flush
 * covers is a torn tail: the end. What fails before it is damage, and never cut off.
 *
 * A crash during replay is harmless: nothing was written, and the next open replays the same.
 */
#include "engine/group/replay.h"

#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "engine/group/item.h"
#include "engine/group/record.h"
#include "engine/group/view.h"

#define WINDOW_BYTES (4u << 20)

/* A decrypted stretch of one segment. */
struct window {
    uint8_t *bytes;
    uint32_t segment; /* SEGMENT_NONE: nothing yet */
    uint32_t first, blocks;
    const struct segment_keys *keys;
    struct segment_identity identity;
};

struct replay {
    struct group *group;
    const struct checkpoint *checkpoint;
    struct window window;
    struct record *record;
    struct place place;
    uint8_t tag[16];
    uint64_t last_sequence, durable_seen;
    uint64_t bytes, appends;
};

/* ---- reading ---------------------------------------------------------------------------------------------------------- */

static enum error segment_enter(struct replay *replay, const struct place *place, uint32_t *index)
{
    struct group *group = replay->group;
    *index = segment_find(&group->segments, place->serial);
    if (*index != SEGMENT_NONE) {
        if (segment_device(&group->segments, *index) != place->device ||
            segment_slot(&group->segments, *index) != place->slot)
            return ERROR_NOT_FOUND;
        group->segments.table[*index].generation = GENERATION_REPLAYED;
        return ERROR_NONE;
    }
    struct segment_header header;
    TRY(segment_header_read(group, place->device, place->slot, place->serial, &header));
    if (header.segment.kind != SEGMENT_JOURNAL)
        return ERROR_NOT_FOUND;
    header.segment.generation = GENERATION_REPLAYED;
    if (segment_adopt(&group->segments, place->device, place->slot, &header.segment))
        return ERROR_NOT_FOUND;
    *index = segment_find(&group->segments, place->serial);
    return ERROR_NONE;
}

static enum error window_fill(struct replay *replay, uint32_t segment, uint32_t first)
{
    struct group *group = replay->group;
    struct window *window = &replay->window;
    if (window->segment != segment) {
        if (window->keys)
            segment_keys_put(group, window->keys);
        window->keys = NULL;
        window->segment = segment;
        window->identity = segment_identity(&group->segments, segment);
        TRY(segment_keys_get(group, &window->identity, &window->keys));
    }
    window->first = first;
    window->blocks = MIN(segment_blocks(&group->segments) - first, WINDOW_BYTES / BLOCK_SIZE);
    size_t size = (size_t)window->blocks * BLOCK_SIZE;
    uint64_t offset = segment_offset(&group->segments, segment) + (uint64_t)first * BLOCK_SIZE;
    struct device *device = group->devices[window->identity.device];
    enum error error = device_read(device, offset, window->bytes, size);
    if (error) {
        window->blocks = 0;
        return error_prefix(error, "group %s: the journal cannot be read at segment %llu of %s", group_name(group),
                            (unsigned long long)window->identity.serial, device->path);
    }
    replay->bytes += size;
    return bulk_decrypt(window->keys, first, window->bytes, window->bytes, size);
}

/* The bytes of `blocks` blocks at a block of a segment. */
static enum error window_get(struct replay *replay, uint32_t segment, uint32_t block, uint32_t blocks, uint8_t **bytes)
{
    struct window *window = &replay->window;
    if (window->segment != segment || block < window->first || block + blocks > window->first + window->blocks)
        TRY(window_fill(replay, segment, block));
    *bytes = window->bytes + (size_t)(block - window->first) * BLOCK_SIZE;
    return block + blocks <= window->first + window->blocks ? ERROR_NONE : ERROR_NOT_FOUND;
}

/* ---- one append --------------------------------------------------------------------------------------------------------- */

static bool header_is_possible(const struct replay *replay, const struct append_format *header, const struct place *place,
                               uint32_t segment_blocks_count)
{
    uint64_t size = (uint64_t)le32_get(header->blocks) * BLOCK_SIZE;
    uint64_t items = le32_get(header->items_size), offset = le32_get(header->records_offset);
    (void)replay;
    return le40_get(header->serial) == place->serial && le32_get(header->offset) == place->offset &&
           header->kind == SEGMENT_JOURNAL && size > 0 &&
           place->offset + (uint64_t)le32_get(header->blocks) <= segment_blocks_count && size <= WINDOW_BYTES &&
           offset == sizeof *header + items && offset + le32_get(header->records_size) <= size;
}

/* The append at a place, whole, with its own tag verified; ERROR_NOT_FOUND where there is none. */
static enum error append_read(struct replay *replay, const struct place *place, uint8_t **bytes)
{
    struct group *group = replay->group;
    uint32_t segment;
    if (place->serial == 0 || place->offset == 0 || place->offset >= segment_blocks(&group->segments))
        return ERROR_NOT_FOUND;
    TRY(segment_enter(replay, place, &segment));
    TRY(window_get(replay, segment, place->offset, 1, bytes));
    const struct append_format *header = (const struct append_format *)*bytes;
    if (!header_is_possible(replay, header, place, segment_blocks(&group->segments)))
        return ERROR_NOT_FOUND;
    TRY(window_get(replay, segment, place->offset, le32_get(header->blocks), bytes));
    header = (const struct append_format *)*bytes;
    uint8_t nonce[TAG_NONCE_SIZE];
    log_nonce((uint64_t)place->offset * BLOCK_GRAINS, ITEM_APPEND, nonce);
    struct bulk_part parts[] = {
        {*bytes + TAG_SIZE, sizeof *header - TAG_SIZE},
        {*bytes + le32_get(header->records_offset), le32_get(header->records_size)},
    };
    enum error error = bulk_tag_check(replay->window.keys, nonce, parts, COUNT_OF(parts), header->tag);
    return error == ERROR_CORRUPT ? ERROR_NOT_FOUND : error;
}

/* Whether all units of an append verify. */
static bool units_are_sound(const struct replay *replay, const struct place *place, const uint8_t *bytes)
{
    const struct append_format *append = (const struct append_format *)bytes;
    uint32_t end = le32_get(append->records_offset);
    for (uint32_t at = sizeof *append; at < end;) {
        const struct item_format *item = (const struct item_format *)(bytes + at);
        uint32_t offset = place->offset * BLOCK_GRAINS + at / GRAIN_SIZE;
        if (end - at < sizeof *item || le32_get(item->offset) != offset || le40_get(item->serial) != place->serial)
            return false;
        uint64_t body = item_descriptors_size(item) + (uint64_t)le32_get(item->stored_size);
        uint64_t size = ROUND_UP(sizeof *item + body, GRAIN_SIZE);
        uint8_t nonce[TAG_NONCE_SIZE];
        if (size > end - at)
            return false;
        log_nonce(offset, item->kind, nonce);
        struct bulk_part part = {bytes + at + TAG_SIZE, sizeof *item - TAG_SIZE + (size_t)body};
        if (bulk_tag_check(replay->window.keys, nonce, &part, 1, item->tag))
            return false;
        at += (uint32_t)size;
    }
    return true;
}

/* ---- applying records --------------------------------------------------------------------------------------------------- */

static enum error table_ready(struct group *group)
{
    struct view *view = group->view;
    if (recent_room(view->active) >= RECENT_BATCH_ROOM)
        return ERROR_NONE;
    if (view->frozen)
        return error_explain(ERROR_NO_MEMORY,
                             "group %s: the journal does not fit into the recent tables: open it once with a larger "
                             "`memory` in coffer.conf (the one it was written with, or twice this one)",
                             group_name(group));
    view->frozen = view->active;
    view->active = group->tables[1];
    group->table_ready = false;
    return ERROR_NONE;
}

static void write_apply(struct group *group, uint64_t serial, const struct record *r)
{
    unsigned index = 0;
    for (unsigned bit = 0; bit < UNIT_CHUNKS_MAX; bit++) {
        if (!(r->mask >> bit & 1))
            continue;
        struct map_entry entry = entry_make(r->cid + index, serial, r->offset, r->length, index, r->chunks);
        recent_enter(group->view->active, r->component, r->block + bit, entry);
        recent_enter_birth(group->view->active, entry, r->fingerprints[index]);
        cids_saw(&group->cids, r->cid + index);
        if (!(r->flags & RECORD_UNIT_ANONYMOUS) && !group->config.no_index)
            index_insert(group->index, r->fingerprints[index], r->cid + index, r->cid + index);
        index++;
    }
}

static void record_apply(struct group *group, uint64_t serial, const struct record *r)
{
    struct recent *active = group->view->active;
    switch (r->type) {
    case RECORD_WRITE:
        write_apply(group, serial, r);
        break;
    case RECORD_REFERENCE:
        for (uint64_t i = 0; i < r->count; i++)
            recent_enter(active, r->component, r->block + i, r->entries[i]);
        break;
    case RECORD_HOLES:
        recent_enter_holes(active, r->component, r->block, r->block + r->count);
        break;
    case RECORD_COMPONENT:
        recent_enter_component(active, &r->change);
        group->component_next = MAX(group->component_next, r->change.id + 1);
        break;
    case RECORD_SUMMARY:
        break;
    }
}

static enum error frame_apply(struct replay *replay, const struct place *place, struct byte_reader *frame)
{
    for (;;) {
        TRY(table_ready(replay->group));
        enum error error = record_decode(frame, replay->record);
        if (error == ERROR_NOT_FOUND)
            return ERROR_NONE;
        if (error)
            return error_explain(ERROR_CORRUPT, "group %s: an authentic append of segment %llu has a malformed record",
                                 group_name(replay->group), (unsigned long long)place->serial);
        record_apply(replay->group, place->serial, replay->record);
    }
}

static enum error append_apply(struct replay *replay, const struct place *place, const uint8_t *bytes)
{
    const struct append_format *append = (const struct append_format *)bytes;
    struct byte_reader in = {bytes + le32_get(append->records_offset),
                             bytes + le32_get(append->records_offset) + le32_get(append->records_size), false};
    while (in.next < in.end) {
        struct frame_format frame;
        const uint8_t *header = read_bytes(&in, sizeof frame);
        if (header)
            memcpy(&frame, header, sizeof frame);
        const uint8_t *body = header ? read_bytes(&in, le32_get(frame.size)) : NULL;
        if (!body)
            return error_explain(ERROR_CORRUPT, "group %s: an authentic append of segment %llu has a malformed frame",
                                 group_name(replay->group), (unsigned long long)place->serial);
        uint64_t sequence = le64_get(frame.sequence);
        if (sequence <= replay->checkpoint->sequence)
            continue;
        struct byte_reader records = {body, body + le32_get(frame.size), false};
        TRY(frame_apply(replay, place, &records));
        replay->last_sequence = MAX(replay->last_sequence, sequence);
    }
    return ERROR_NONE;
}

/* ---- the chain ------------------------------------------------------------------------------------------------------------- */

/* Of two joints with one tag the later counts; a joint goes before the place that a header names. */
static void joint_follow(struct replay *replay)
{
    const struct checkpoint *checkpoint = replay->checkpoint;
    for (unsigned i = checkpoint->joint_count; i-- > 0;)
        if (memcmp(checkpoint->joints[i].tag, replay->tag, sizeof replay->tag) == 0) {
            replay->place = checkpoint->joints[i].next;
            return;
        }
}

/* The highest `durable` that appends from a place to the end of its segment state. */
static enum error durable_in_segment(struct replay *replay, struct place place, uint64_t *durable)
{
    while (place.offset < segment_blocks(&replay->group->segments)) {
        uint8_t *bytes;
        enum error error = append_read(replay, &place, &bytes);
        if (error && error != ERROR_NOT_FOUND)
            return error;
        const struct append_format *append = (const struct append_format *)bytes;
        if (!error)
            *durable = MAX(*durable, le64_get(append->durable));
        place.offset += error ? 1 : le32_get(append->blocks);
    }
    return ERROR_NONE;
}

/* The header of a named segment is unreadable, or not the one named: every slot that the table calls free is asked
 * whether it holds a journal segment younger than that. (Serials rise along the chain, so what is left of older lives is
 * passed over.) */
static enum error durable_anywhere(struct replay *replay, uint64_t named, uint64_t *durable)
{
    struct group *group = replay->group;
    message(MESSAGE_INFO, "group %s: segment %llu, which the journal names, is not there (a crash may have come first); the "
                          "headers of %u free segments are asked for anything younger",
            group_name(group), (unsigned long long)named, group->segments.free_total);
    for (uint32_t i = 0; i < group->segments.count; i++) {
        struct segment_header header;
        if (group->segments.table[i].state != SLOT_FREE)
            continue;
        enum error error = segment_header_read(group, segment_device(&group->segments, i), segment_slot(&group->segments, i),
                                               0, &header);
        if (error && error != ERROR_NOT_FOUND)
            return error;
        if (error || header.segment.kind != SEGMENT_JOURNAL || header.segment.serial <= named)
            continue;
        struct place place = {header.segment.serial, header.device, header.slot, 1};
        TRY(durable_in_segment(replay, place, durable));
    }
    return ERROR_NONE;
}

/* The highest `durable` stated behind the end of the chain: in the rest of its segment and in the one after. */
static enum error durable_behind(struct replay *replay, struct place place, uint64_t *durable)
{
    for (int segments = 0; segments < 2 && place.serial; segments++) {
        struct segment_header header;
        enum error error = segment_header_read(replay->group, place.device, place.slot, place.serial, &header);
        if (error == ERROR_NOT_FOUND)
            return durable_anywhere(replay, place.serial, durable);
        if (error)
            return error;
        TRY(durable_in_segment(replay, place, durable));
        place = header.successor;
    }
    return ERROR_NONE;
}

static enum error damage(struct replay *replay, uint64_t durable)
{
    return error_explain(ERROR_CORRUPT,
                         "group %s: the journal is damaged at segment %llu, block %u: what was flushed between sequence "
                         "%llx and %llx cannot be read. Nothing was changed. Try to read the device again, restore it from "
                         "a copy, or see `coffer check`",
                         group_name(replay->group), (unsigned long long)replay->place.serial, replay->place.offset,
                         (unsigned long long)replay->last_sequence, (unsigned long long)durable);
}

/* One append; ERROR_NOT_FOUND at the end of the chain. */
static enum error step(struct replay *replay)
{
    uint8_t *bytes;
    joint_follow(replay);
    TRY(append_read(replay, &replay->place, &bytes));
    struct append_format append;
    memcpy(&append, bytes, sizeof append);
    if (memcmp(append.previous, replay->tag, sizeof append.previous) != 0)
        return ERROR_NOT_FOUND;
    if (!units_are_sound(replay, &replay->place, bytes)) {
        uint64_t durable = replay->durable_seen;
        TRY(durable_behind(replay, replay->place, &durable));
        if (durable < le64_get(append.last_sequence))
            return ERROR_NOT_FOUND; /* torn: no flush covered it */
        message(MESSAGE_ERROR, "group %s: a unit in segment %llu, append at block %u, is damaged; it is read as an error",
                group_name(replay->group), (unsigned long long)replay->place.serial, replay->place.offset);
        TRY(append_read(replay, &replay->place, &bytes));
    }
    TRY(append_apply(replay, &replay->place, bytes));
    replay->durable_seen = MAX(replay->durable_seen, le64_get(append.durable));
    memcpy(replay->tag, append.tag, sizeof replay->tag);
    replay->place = place_decode(&append.next);
    replay->appends++;
    return ERROR_NONE;
}

static enum error walk(struct replay *replay)
{
    enum error error;
    while ((error = step(replay)) == ERROR_NONE)
        ;
    if (error != ERROR_NOT_FOUND)
        return error;
    uint64_t durable = replay->durable_seen;
    TRY(durable_behind(replay, replay->place, &durable));
    return durable > MAX(replay->last_sequence, replay->checkpoint->sequence) ? damage(replay, durable) : ERROR_NONE;
}

enum error replay_run(struct group *group, const struct checkpoint *checkpoint, struct replay_end *end)
{
    struct replay replay = {
        .group = group,
        .checkpoint = checkpoint,
        .window = {.bytes = memory_aligned(WINDOW_BYTES), .segment = SEGMENT_NONE},
        .record = malloc(sizeof *replay.record),
        .place = checkpoint->start,
        .last_sequence = checkpoint->sequence,
    };
    memcpy(replay.tag, checkpoint->start_tag, sizeof replay.tag);
    uint64_t begin = clock_monotonic();
    enum error error = replay.window.bytes && replay.record ? walk(&replay) : ERROR_NO_MEMORY;
    if (replay.window.keys)
        segment_keys_put(group, replay.window.keys);
    if (replay.window.bytes)
        memory_cleanse(replay.window.bytes, WINDOW_BYTES);
    free(replay.window.bytes);
    free(replay.record);
    if (error)
        return error;
    *end = (struct replay_end){.last_sequence = replay.last_sequence, .bytes = replay.bytes, .appends = replay.appends};
    memcpy(end->tag, replay.tag, sizeof end->tag);
    group->replay_bytes = replay.bytes;
    group->replay_nanoseconds = clock_monotonic() - begin;
    return ERROR_NONE;
}
