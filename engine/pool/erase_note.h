/* The note that stands where superblocks stood while a device is erased (erase.c, device_erase.c): what it was, and when that began. */
#ifndef COFFER_ENGINE_POOL_ERASE_NOTE_H
#define COFFER_ENGINE_POOL_ERASE_NOTE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "engine/device/device.h"
#include "engine/group/format.h"
#include "engine/group/superblock.h"

struct erase_note {
    bool known, encrypted; /* known: a superblock stated what follows, but for `ends` and `begun` */
    struct uuid pool, device, provider;
    uint64_t kek_number;
    uint32_t device_count;
    uint32_t end_count;
    uint64_t ends[SUPERBLOCK_COPIES]; /* sizes that copies stated, at most the device's */
    uint64_t begun;                   /* seconds since 1970 */
};

/* As it stands at `offset` of a device of `size` bytes. */
enum error erase_note_encode(const struct erase_note *note, uint64_t offset, uint64_t size, struct erase_note_format *format) CHECKED;
/* ERROR_NOT_FOUND: it is none, or one of another place, another size, or another version. */
enum error erase_note_decode(const struct erase_note_format *format, uint64_t offset, uint64_t size, struct erase_note *note) CHECKED;

/* The same at the head of both areas; else ERROR_NOT_FOUND. */
enum error erase_note_find(struct device *device, struct erase_note *note) CHECKED;

/* What a whole superblock states, beside the ends that the note names already: what a crash leaves must name them all. ERROR_CORRUPT:
 * they are more than any erase leaves. */
enum error erase_note_state(const struct device *device, const struct superblock_probe *probe, struct erase_note *note) CHECKED;
/* ERROR_FOREIGN: the disk with the notes was put to another use since. */
enum error erase_note_check_unused(const struct device *device) CHECKED;

#endif
