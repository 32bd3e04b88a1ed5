/*
 * Headers of slots for replay, where nothing leads to the one that is wanted: of all slots, or of those that the table calls
 * free. A group of large disks has a million of them, and one read after the other, each of which waits for a disk to
 * turn, would take hours in which nobody is served. So many are read at a time, of all devices in turn.
 *
 * A crash is harmless: nothing is written. No locks.
 */
#include "base/memory.h"
#include "engine/group/replay_chain.h"

#define HEADERS_AT_ONCE 512u /* as many as one ring has in flight */

struct headers {
    uint32_t count;
    uint32_t indices[HEADERS_AT_ONCE];
    struct device_io ios[HEADERS_AT_ONCE];
    uint8_t *blocks;
};

static void header_add(struct headers *headers, struct group *group, uint32_t index)
{
    uint32_t n = headers->count++;
    headers->indices[n] = index;
    headers->ios[n] = (struct device_io){
        .device = group->devices[segment_device(&group->segments, index)],
        .operation = DEVICE_READ,
        .offset = segment_offset(&group->segments, index),
        .size = BLOCK_SIZE,
        .buffer = headers->blocks + (size_t)n * BLOCK_SIZE,
    };
}

static enum error headers_take(struct headers *headers, struct replay *replay, replay_header_found *found, void *context)
{
    struct group *group = replay->group;
    (void)!device_run(headers->ios, headers->count); /* each says itself what became of it */
    for (uint32_t n = 0; n < headers->count; n++) {
        uint32_t index = headers->indices[n], device = segment_device(&group->segments, index);
        uint32_t slot = segment_slot(&group->segments, index);
        struct segment_header header = {0};
        enum error error = headers->ios[n].error;
        if (!error)
            error = segment_header_decode(group, device, slot, 0, headers->ios[n].buffer, &header);
        TRY(found(replay, index, error, &header, context));
    }
    headers->count = 0;
    return ERROR_NONE;
}

static enum error headers_walk(struct headers *headers, struct replay *replay, bool free_only, replay_header_found *found,
                               void *context)
{
    const struct segments *segments = &replay->group->segments;
    uint32_t slots = 0;
    for (uint32_t d = 0; d < segments->device_count; d++)
        slots = MAX(slots, segments->slot_count[d]);
    for (uint32_t slot = 0; slot < slots; slot++)
        for (uint32_t d = 0; d < segments->device_count; d++) {
            uint32_t index = segments->slot_first[d] + slot;
            if (slot >= segments->slot_count[d] || (free_only && segments->table[index].state != SLOT_FREE))
                continue;
            header_add(headers, replay->group, index);
            if (headers->count == HEADERS_AT_ONCE)
                TRY(headers_take(headers, replay, found, context));
        }
    return headers_take(headers, replay, found, context);
}

enum error replay_headers_read(struct replay *replay, bool free_only, replay_header_found *found, void *context)
{
    AUTO_FREE struct headers *headers = memory_zeroed(1, sizeof *headers);
    AUTO_FREE void *blocks = memory_aligned(HEADERS_AT_ONCE * BLOCK_SIZE);
    if (!headers || !blocks)
        return ERROR_NO_MEMORY;
    headers->blocks = blocks;
    return headers_walk(headers, replay, free_only, found, context);
}
