/*
 * How devices are cut into segments: one size for all segments of a group, and as many slots on each device as lie between its
 * two areas.
 *
 * The version before took segment size and slots of each device from its own size, and the group's from the first device: where
 * that one was much larger than another, slots of the other one lie behind its end.
 */
#ifndef COFFER_ENGINE_GROUP_GEOMETRY_H
#define COFFER_ENGINE_GROUP_GEOMETRY_H

#include <stdint.h>

#include "base/error.h"
#include "engine/device/device.h"
#include "engine/group/superblock.h"

/* The segment size of a group whose devices have these sizes: the smallest with which each device has at most SLOTS_MAX slots,
 * and the checkpoint record can name all segments that hold the segment table. */
uint32_t geometry_shift(const uint64_t *sizes, uint32_t count);
/* Slots of a device of `size` bytes; ERROR_INVALID where they would be too few, saying how large it must be. */
enum error geometry_slots(uint64_t size, uint32_t shift, uint32_t *slots) CHECKED;

#endif
