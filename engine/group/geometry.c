/* See geometry.h. Numbers from sizes: no I/O, no locks. */
#include "engine/group/geometry.h"

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
