/* Opening a file or block device so that no other process has it too, and saying who has it where that fails. */
#ifndef COFFER_ENGINE_DEVICE_EXCLUSIVE_H
#define COFFER_ENGINE_DEVICE_EXCLUSIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct opened_file {
    int file;      /* the caller's to close; the lock goes with it */
    bool block;    /* a block device, not a regular file */
    uint64_t size; /* bytes, as they are */
};

/* `flags` are of open(2): O_RDONLY takes a shared lock on a file, O_RDWR an exclusive one; a block device has only
 * exclusive opens. ERROR_IN_USE where another process, a mount or another driver has it, after a wait for a killed
 * process whose last I/O is still under way; ERROR_NOT_FOUND where nothing is there; ERROR_INVALID where it is neither
 * a file nor a block device. O_DIRECT where it is not supported fails with ERROR_UNSUPPORTED. */
enum error exclusive_open(const char *path, int flags, struct opened_file *opened) CHECKED;

/* Opens for reading without a lock, beside whoever has it; errors as above but ERROR_IN_USE. */
enum error exclusive_open_beside(const char *path, int flags, struct opened_file *opened) CHECKED;

/* ERROR_IN_USE where the file or block device is mounted, swap, or held by a driver (device mapper, RAID, loop): what a
 * lock of ours would not always meet. */
enum error exclusive_check_holders(const char *path) CHECKED;

#endif
