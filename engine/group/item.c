/*
 * Items by address. See item.h. Reads of a batch go out together; what does not fit into the thread's scratch buffer
 * goes in further rounds. Nothing here changes anything, so a crash is harmless.
 */
#include "engine/group/item.h"

#include <string.h>

#include "base/memory.h"
#include "dedup/unit.h"
#include "engine/group/follow.h"
#include "engine/group/group.h"
#include "engine/group/view.h"

#define ROUND_ITEMS 128

static bool kind_fits(enum item_kind wanted, uint8_t kind)
{
    return wanted == ITEM_NONE ? kind == ITEM_UNIT || kind == ITEM_NODE : kind == wanted;
}

enum error item_verify(const struct item_read *read, const uint8_t *bytes)
{
    const struct item_format *header = (const struct item_format *)bytes;
    size_t size = (size_t)read->length * GRAIN_SIZE;
    if (size < sizeof *header || le40_get(header->serial) != read->serial || le32_get(header->offset) != read->offset ||
        !kind_fits(read->kind, header->kind))
        return ERROR_CORRUPT;
    size_t descriptors = item_descriptors_size(header);
    size_t body = descriptors + le32_get(header->stored_size);
    if (descriptors == 0 || body > size - sizeof *header)
        return ERROR_CORRUPT;
    uint8_t nonce[TAG_NONCE_SIZE];
    log_nonce(read->offset, header->kind, nonce);
    struct bulk_part part = {bytes + TAG_SIZE, sizeof *header - TAG_SIZE + body};
    return bulk_tag_check(read->keys, nonce, &part, 1, header->tag);
}

size_t item_descriptors_size(const struct item_format *header)
{
    switch (header->kind) {
    case ITEM_UNIT:
        return header->count >= 1 && header->count <= UNIT_CHUNKS_MAX ? header->count * sizeof(le40) : 0;
    case ITEM_NODE:
        return sizeof(struct node_descriptor_format);
    case ITEM_PAGE:
        return sizeof(struct page_descriptor_format);
    default:
        return 0;
    }
}

/* Where the items stand on the devices; under one lock for all. */
static void resolve(struct group *group, struct item_read *reads, size_t count, uint8_t *scratch)
{
    struct segment_identity identities[ROUND_ITEMS];
    mutex_lock(&group->lock);
    for (size_t i = 0; i < count; i++) {
        struct item_read *read = &reads[i];
        if (read->error)
            continue; /* the chunk table could not say where it is now */
        uint32_t index = segment_find(&group->segments, read->serial);
        uint64_t end = (uint64_t)read->offset + read->length;
        if (index == SEGMENT_NONE || read->offset < BLOCK_GRAINS ||
            end > (segment_size(&group->segments) / GRAIN_SIZE)) {
            read->error = ERROR_NOT_FOUND;
            continue;
        }
        identities[i] = segment_identity(&group->segments, index);
        read->device = identities[i].device;
        read->first_block = read->offset / BLOCK_GRAINS;
        uint64_t last_block = (end + BLOCK_GRAINS - 1) / BLOCK_GRAINS;
        read->io = (struct device_io){
            .device = group->devices[read->device],
            .operation = DEVICE_READ,
            .offset = segment_offset(&group->segments, index) + read->first_block * BLOCK_SIZE,
            .size = (size_t)(last_block - read->first_block) * BLOCK_SIZE,
            .buffer = scratch,
        };
        scratch += read->io.size;
    }
    mutex_unlock(&group->lock);
    for (size_t i = 0; i < count; i++)
        if (!reads[i].error)
            reads[i].error = segment_keys_get(group, &identities[i], &reads[i].keys);
}

static void item_finish(struct group *group, struct item_read *read, void (*done)(struct item_read *, void *), void *context)
{
    if (!read->error && !read->from_buffer) {
        read->error = device_wait(&read->io);
        if (!read->error)
            read->error = bulk_decrypt(read->keys, read->first_block, read->io.buffer, read->io.buffer, read->io.size);
    }
    if (!read->error) {
        const uint8_t *bytes = read->io.buffer;
        if (!read->from_buffer)
            bytes += (size_t)(read->offset % BLOCK_GRAINS) * GRAIN_SIZE;
        read->error = item_verify(read, bytes);
        if (!read->error) {
            read->header = (const struct item_format *)bytes;
            read->descriptors = bytes + sizeof *read->header;
            read->stored = read->descriptors + item_descriptors_size(read->header);
            read->stored_size = le32_get(read->header->stored_size);
        }
    }
    done(read, context);
    if (read->keys)
        segment_keys_put(group, read->keys);
}

static bool buffers_read(struct group *group, struct item_read *read)
{
    size_t size = (size_t)read->length * GRAIN_SIZE;
    struct log *logs[] = {&group->journal, &group->meta, &group->twin, &group->cold};
    for (size_t i = 0; i < COUNT_OF(logs); i++)
        if (logs[i]->buffer_count &&
            log_read(logs[i], read->serial, read->offset, size, read->io.buffer, &read->settled))
            return true;
    return false;
}

static void round_run(struct group *group, struct item_read *reads, size_t count, uint8_t *scratch,
                      void (*done)(struct item_read *, void *), void *context)
{
    struct device_io *ios[ROUND_ITEMS];
    size_t submitted = 0;
    resolve(group, reads, count, scratch);
    for (size_t i = 0; i < count; i++) {
        if (reads[i].error)
            continue;
        reads[i].from_buffer = buffers_read(group, &reads[i]);
        if (!reads[i].from_buffer)
            ios[submitted++] = &reads[i].io;
    }
    if (submitted)
        device_submit(ios, submitted);
    for (size_t i = 0; i < count; i++)
        item_finish(group, &reads[i], done, context);
}

/* What the cleaner moved is read where it is now, at most FOLLOW_MAX of them. */
static void moved_follow(struct group *group, const struct view *view, struct item_read *const *moved, size_t count)
{
    struct map_entry entries[FOLLOW_MAX];
    enum error errors[FOLLOW_MAX];
    for (size_t i = 0; i < count; i++)
        entries[i] = entry_make(moved[i]->cid, moved[i]->serial, moved[i]->offset, moved[i]->length, 0, 1);
    entries_follow(group, view, entries, errors, count);
    for (size_t i = 0; i < count; i++) {
        struct item_read *read = moved[i];
        read->moved = entry_serial(entries[i]) != read->serial || entry_offset(entries[i]) != read->offset;
        read->serial = entry_serial(entries[i]);
        read->offset = entry_offset(entries[i]);
        read->length = entry_length(entries[i]);
        read->error = errors[i];
    }
}

/* Before anything is lent: it reads pages of the chunk table. Returns a view that keeps what it found; NULL: all stands
 * where the caller said. */
static struct view *reads_follow(struct group *group, struct item_read *reads, size_t count)
{
    struct item_read *moved[FOLLOW_MAX];
    struct view *view = NULL;
    for (size_t next = 0; next < count;) {
        size_t n = 0;
        mutex_lock(&group->lock);
        for (; next < count && n < FOLLOW_MAX; next++)
            if (reads[next].cid && segment_is_left(&group->segments, reads[next].serial))
                moved[n++] = &reads[next];
        if (n && !view)
            view = view_get(group);
        mutex_unlock(&group->lock);
        if (n)
            moved_follow(group, view, moved, n);
    }
    return view;
}

void items_read(struct group *group, struct item_read *reads, size_t count, void (*done)(struct item_read *read, void *context),
                void *context)
{
    for (size_t i = 0; i < count; i++) {
        reads[i].keys = NULL;
        reads[i].error = ERROR_NONE;
        reads[i].moved = false;
        reads[i].settled = true;
    }
    struct view *view = reads_follow(group, reads, count);
    uint8_t *scratch = count ? lender_take(group->scratch) : NULL;
    for (size_t first = 0; first < count;) {
        size_t end = first, bytes = 0;
        while (scratch && end < count && end - first < ROUND_ITEMS) {
            size_t size = ((size_t)reads[end].length / BLOCK_GRAINS + 2) * BLOCK_SIZE;
            if (bytes + size > SCRATCH_BYTES)
                break;
            bytes += size;
            end++;
        }
        if (end == first) {
            reads[first].error = scratch ? ERROR_CORRUPT : ERROR_NO_MEMORY;
            done(&reads[first++], context);
            continue;
        }
        round_run(group, reads + first, end - first, scratch, done, context);
        first = end;
    }
    if (scratch)
        lender_give(group->scratch, scratch);
    if (view)
        view_put(group, view);
}
