/*
 * How devices are cut into segments: one size for all segments of a group, and as many slots on each device as lie between its
 * two areas.
 *
 * The version before took segment size and slots of each device from its own size, and the group's from the first device: where
 * that one was much larger than another, slots of the other one lie behind its end. Such groups are opened all the same:
 * those slots are not used. Where one of them was, the group stays closed, since what it holds may stand in the place of the tail
 * area.
 *
 * That version made groups of devices with more than SLOTS_MAX of the largest segments as well: what is behind those is not
 * used.
 */
#ifndef COFFER_ENGINE_GROUP_GEOMETRY_H
#define COFFER_ENGINE_GROUP_GEOMETRY_H

#include <stdint.h>

#include "base/error.h"
#include "engine/device/device.h"
#include "engine/group/superblock.h"

/* ERROR_TOO_LARGE where a device of `size` bytes would be used in part only, even with the largest segments. */
enum error geometry_check_largest(uint64_t size) CHECKED;
/* The segment size of a group whose devices have these sizes: the smallest with which each device has at most SLOTS_MAX slots,
 * and the checkpoint record can name all segments that hold the segment table; else the largest. */
uint32_t geometry_shift(const uint64_t *sizes, uint32_t count);
/* Slots of a device of `size` bytes; ERROR_INVALID where they would be too few, saying how large it must be. */
enum error geometry_slots(uint64_t size, uint32_t shift, uint32_t *slots) CHECKED;

/* Of its slots those that do not reach into the tail area, where segments are as large as the group's: all of them, but for what
 * is said above. */
uint32_t geometry_slots_used(const struct superblock *superblock, uint32_t shift);
/* ERROR_UNSUPPORTED where a segment was begun in another one; ERROR_IO. Only reads. */
enum error geometry_end_check(struct device *device, const struct superblock *superblock, uint32_t shift) CHECKED;

#endif
