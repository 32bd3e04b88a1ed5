/*
 * Reads superblocks without their key: what the fixed part says is all that is looked at, and it is checked again in what was
 * read. A daemon may be writing meanwhile; who needs a copy that is whole reads until two are alike. Nothing is written.
 */
#include "engine/pool/superblock_copy.h"

#include <stdlib.h>

#include "base/memory.h"
#include "engine/device/device.h"
#include "engine/group/superblock.h"
#include "engine/group/superblock_image.h"

static enum error copy_take(struct device *device, struct superblock_copy *copy)
{
    AUTO_FREE struct superblock_probe *probe = memory_zeroed(1, sizeof *probe);
    AUTO_FREE uint8_t *image = memory_aligned(SUPERBLOCK_SIZE);
    struct superblock read;
    if (probe == NULL || image == NULL)
        return ERROR_NO_MEMORY;
    TRY(superblock_probe(device, probe));
    const struct superblock *newest = superblock_newest(probe);
    uint32_t index = (uint32_t)(newest - probe->copies);
    uint64_t offset = superblock_offset(newest->device_size, index);
    TRY(device_read(device, offset, image, SUPERBLOCK_SIZE));
    if (superblock_fixed_decode((const struct superblock_format *)image, index, offset, &read) != ERROR_NONE)
        return error_explain(ERROR_CORRUPT, "the superblock of %s changed while it was read", device->path);
    *copy = (struct superblock_copy){read.pool, read.device, image, SUPERBLOCK_SIZE};
    image = NULL;
    return ERROR_NONE;
}

enum error superblock_copy_read(const char *path, struct superblock_copy *copy)
{
    struct device *device;
    TRY(device_open_file(path, DEVICE_OPEN_BESIDE, &device));
    enum error error = copy_take(device, copy);
    device_close(device);
    return error;
}
