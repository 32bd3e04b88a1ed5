/* Bounds are checked before anything is used, and an append's tag before its items. No locks but for the look at where
 * the segment lies; nothing is written. */
#include "engine/group/segment_walk.h"

#include "base/memory.h"
#include "engine/group/append.h"

static enum error items_walk(const struct segment_walk *walk, const struct append_format *append)
{
    const uint8_t *bytes = (const uint8_t *)append;
    uint32_t end = le32_get(append->records_offset), block = le32_get(append->offset), size;
    for (uint32_t at = sizeof *append; at < end; at += size) {
        const struct item_format *header = (const struct item_format *)(bytes + at);
        uint32_t offset = block * BLOCK_GRAINS + at / GRAIN_SIZE;
        if (end - at < sizeof *header || le32_get(header->offset) != offset || le40_get(header->serial) != walk->serial)
            return ERROR_CORRUPT;
        size_t descriptors = item_descriptors_size(header);
        uint64_t body = sizeof *header + descriptors + (uint64_t)le32_get(header->stored_size);
        if (descriptors == 0 || body > end - at)
            return ERROR_CORRUPT;
        size = (uint32_t)ROUND_UP(body, GRAIN_SIZE);
        struct item_read read = {
            .serial = walk->serial,
            .offset = offset,
            .length = size / GRAIN_SIZE,
            .kind = (enum item_kind)header->kind,
            .header = header,
            .descriptors = bytes + at + sizeof *header,
            .stored = bytes + at + sizeof *header + descriptors,
            .stored_size = le32_get(header->stored_size),
            .keys = walk->keys,
        };
        TRY(walk->item(walk->context, &read));
    }
    return ERROR_NONE;
}

enum error segment_walk_items(const struct segment_walk *walk)
{
    uint32_t first = 1, blocks = 0;
    const uint8_t *bytes = NULL;
    for (uint32_t block = 1; block < walk->blocks;) {
        if (block >= first + blocks)
            TRY(walk->read(walk->context, first = block, &bytes, &blocks));
        const struct append_format *append = (const void *)(bytes + (size_t)(block - first) * BLOCK_SIZE);
        if (!append_is_possible(append, walk->kind, walk->serial, block, walk->blocks))
            return ERROR_NONE;
        if (block + le32_get(append->blocks) > first + blocks) {
            if (block == first)
                return ERROR_CORRUPT;
            TRY(walk->read(walk->context, first = block, &bytes, &blocks));
            continue; /* nothing says that it reads the same */
        }
        if (append_check(append, walk->keys))
            return ERROR_NONE;
        TRY(items_walk(walk, append));
        block += le32_get(append->blocks);
    }
    return ERROR_NONE;
}

struct device_io segment_window(struct group *group, uint32_t index, uint32_t block, uint8_t *bytes)
{
    uint32_t left = segment_blocks(&group->segments) - block;
    mutex_lock(&group->lock);
    struct device_io io = {
        .device = group->devices[segment_device(&group->segments, index)],
        .operation = DEVICE_READ,
        .offset = segment_offset(&group->segments, index) + (uint64_t)block * BLOCK_SIZE,
        .size = (size_t)MIN(left, SEGMENT_WINDOW / BLOCK_SIZE) * BLOCK_SIZE,
        .buffer = bytes,
    };
    mutex_unlock(&group->lock);
    return io;
}

/* One segment, for whoever has no windows of its own. */
struct segment_reading {
    struct group *group;
    uint32_t index;
    const struct segment_keys *keys;
    uint8_t *bytes;
    segment_item *item;
    void *context;
};

static enum error window_read(void *context, uint32_t block, const uint8_t **bytes, uint32_t *blocks)
{
    const struct segment_reading *reading = context;
    struct device_io io = segment_window(reading->group, reading->index, block, reading->bytes);
    *bytes = reading->bytes;
    *blocks = (uint32_t)(io.size / BLOCK_SIZE);
    TRY(device_run(&io, 1));
    return bulk_decrypt(reading->keys, block, reading->bytes, reading->bytes, io.size);
}

static enum error item_pass(void *context, const struct item_read *read)
{
    const struct segment_reading *reading = context;
    return reading->item(reading->context, read);
}

enum error segment_items(struct group *group, uint32_t index, uint8_t *bytes, segment_item *item, void *context)
{
    struct segment_reading reading = {group, index, NULL, bytes, item, context};
    mutex_lock(&group->lock);
    struct segment_identity identity = segment_identity(&group->segments, index);
    struct segment_walk walk = {
        .kind = (enum segment_kind)group->segments.table[index].kind,
        .serial = identity.serial,
        .blocks = segment_blocks(&group->segments),
        .read = window_read,
        .item = item_pass,
        .context = &reading,
    };
    mutex_unlock(&group->lock);
    TRY(segment_keys_get(group, &identity, &reading.keys));
    walk.keys = reading.keys;
    enum error error = segment_walk_items(&walk);
    segment_keys_put(group, reading.keys);
    return error;
}
