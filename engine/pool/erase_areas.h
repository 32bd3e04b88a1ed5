/* What an erase of a device overwrites, and what it says of the disk; of a whole pool (erase.c) and of one (device_erase.c). */
#ifndef COFFER_ENGINE_POOL_ERASE_AREAS_H
#define COFFER_ENGINE_POOL_ERASE_AREAS_H

#include <stdbool.h>

#include "engine/device/device.h"
#include "engine/group/superblock.h"
#include "engine/pool/erase_note.h"

#define FACT_SIZE 128

/* Overwrites every area in which superblocks and checkpoint records lie, makes that durable, and reads it back. A note stands at the
 * head of both ends, durable before the rest goes: until areas_finish() the device says what it was. *areas: how many there were.
 * ERROR_IO says what to do with a disk that does not hold zeros. */
enum error areas_erase(struct device *device, const struct superblock_probe *probe, const struct erase_note *note,
                       size_t *areas) CHECKED;
/* Discards the whole device but for the notes. False: it did not, which is told, with what that means for the rest. */
#define REST_IS_SEALED "what they hold opens with no key that is left"
#define REST_IS_PLAIN  "they were NOT encrypted, so what they hold can be read: overwrite the whole disk"
bool device_empty(struct device *device, const char *rest);
/* Takes the notes away. */
enum error areas_finish(struct device *device) CHECKED;
/* Whether both ends hold zeros: of a device that carries no superblock. One note of `id`, unless NULL, may be left there. */
enum error areas_are_erased(struct device *device, const struct uuid *id, bool *erased) CHECKED;

/* A line of sysfs, such as the serial number of the disk that a block device is, or is a part of; "" where there is none. */
void disk_fact(const struct device *device, const char *name, char fact[FACT_SIZE]);

#endif
