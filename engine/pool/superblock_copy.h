/* One copy of a device's superblock as it lies there, to be kept elsewhere: identity, wrapped key slots, conf. */
#ifndef COFFER_ENGINE_POOL_SUPERBLOCK_COPY_H
#define COFFER_ENGINE_POOL_SUPERBLOCK_COPY_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"

struct superblock_copy {
    struct uuid pool, device; /* as it states; nobody vouched for it */
    uint8_t *bytes;           /* malloc'ed */
    size_t size;
};

/* Reads the plausible copy of the highest epoch, beside a daemon that may have the device. Errors as superblock_probe(). */
enum error superblock_copy_read(const char *path, struct superblock_copy *copy) CHECKED;

#endif
