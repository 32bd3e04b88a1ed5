/* See geometry.h. Numbers from sizes; only the check of a device's end reads it. No locks. */
#include "engine/group/geometry.h"

#include <string.h>

#include "base/memory.h"
#include "base/size.h"

#define AREAS_SIZE       (2 * AREA_SIZE)
#define TABLE_COPIES     2u
#define TABLE_PAGE_SLOTS (BLOCK_SIZE / sizeof(struct segment_entry_format))
#define TABLE_PAGE_BYTES (BLOCK_SIZE + 64u) /* as an item, since salts do not compress */
/* The table lies in as many as these at most. With more in use than half of what a record can name, each merge writes all of it
 * anew (segment_merge.c); the logs begin in the midst of a segment, end in another, and do not fill them to the last byte. */
#define TABLE_SEGMENTS (TABLE_SEGMENTS_MAX / 2 - 4)

static uint64_t slots_between(uint64_t size, uint32_t shift)
{
    return size < AREAS_SIZE ? 0 : (size - AREAS_SIZE) >> shift;
}

static bool slots_fit(const uint64_t *sizes, uint32_t count, uint32_t shift)
{
    for (uint32_t i = 0; i < count; i++)
        if (slots_between(sizes[i], shift) > SLOTS_MAX)
            return false;
    return true;
}

static bool table_fits(const uint64_t *sizes, uint32_t count, uint32_t shift)
{
    uint64_t pages = 0;
    for (uint32_t i = 0; i < count; i++)
        pages += slots_between(sizes[i], shift) / TABLE_PAGE_SLOTS + 1;
    pages += pages / (NODE_FANOUT - 1) + NODE_LEVELS_MAX; /* and the nodes above them */
    return TABLE_COPIES * pages * TABLE_PAGE_BYTES <= (uint64_t)TABLE_SEGMENTS << shift;
}

enum error geometry_check_largest(uint64_t size)
{
    char has[32], most[32];
    if (slots_between(size, SEGMENT_SHIFT_MAX) <= SLOTS_MAX)
        return ERROR_NONE;
    return error_explain(ERROR_TOO_LARGE, "a device of %s is too large: %s of it could be used; make several of it",
                         size_format(size, has, sizeof has),
                         size_format((uint64_t)SLOTS_MAX << SEGMENT_SHIFT_MAX, most, sizeof most));
}

uint32_t geometry_shift(const uint64_t *sizes, uint32_t count)
{
    uint32_t shift = SEGMENT_SHIFT_MIN;
    while (shift < SEGMENT_SHIFT_MAX && !(slots_fit(sizes, count, shift) && table_fits(sizes, count, shift)))
        shift++;
    return shift;
}

enum error geometry_slots(uint64_t size, uint32_t shift, uint32_t *slots)
{
    uint64_t between = slots_between(size, shift);
    if (between < DEVICE_SLOTS_MIN) {
        char has[32], needs[32], segment[32];
        return error_explain(ERROR_INVALID, "a device of %s is too small: at least %s are needed, %u segments of %s",
                             size_format(size, has, sizeof has),
                             size_format(AREAS_SIZE + ((uint64_t)DEVICE_SLOTS_MIN << shift), needs, sizeof needs),
                             DEVICE_SLOTS_MIN, size_format(UINT64_C(1) << shift, segment, sizeof segment));
    }
    *slots = (uint32_t)MIN(between, (uint64_t)SLOTS_MAX);
    return ERROR_NONE;
}

uint32_t geometry_slots_used(const struct superblock *superblock, uint32_t shift)
{
    return (uint32_t)MIN(slots_between(superblock->device_size, shift), (uint64_t)superblock->slot_count);
}

/* Who could make such a header could destroy the device as well: it need not be authentic to be left alone. */
static bool is_header(const struct segment_format *block, const struct superblock *superblock)
{
    return memcmp(block->magic, SEGMENT_MAGIC, sizeof block->magic) == 0 &&
           memcmp(block->device, superblock->device.bytes, sizeof block->device) == 0;
}

enum error geometry_end_check(struct device *device, const struct superblock *superblock, uint32_t shift)
{
    AUTO_FREE void *block = memory_aligned(BLOCK_SIZE);
    if (block == NULL)
        return ERROR_NO_MEMORY;
    for (uint32_t slot = geometry_slots_used(superblock, shift); slot < superblock->slot_count; slot++) {
        uint64_t offset = AREA_SIZE + ((uint64_t)slot << shift);
        if (offset >= superblock->device_size)
            break; /* nothing can stand there */
        TRY(device_read(device, offset, block, BLOCK_SIZE));
        if (is_header(block, superblock))
            return error_explain(ERROR_UNSUPPORTED,
                                 "%s: a segment was begun in slot %u, which reaches over the end of the device: an earlier "
                                 "version made this group of devices too different in size. What was written there may stand "
                                 "in the place of superblocks, so nothing was changed. Copy the device before you open the pool "
                                 "with the version that wrote it",
                                 device->path, slot);
    }
    return ERROR_NONE;
}
