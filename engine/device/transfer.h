/* What one operation on a file or block device is to the kernel: queued on an io_uring, or as plain system calls. */
#ifndef COFFER_ENGINE_DEVICE_TRANSFER_H
#define COFFER_ENGINE_DEVICE_TRANSFER_H

#include <liburing.h>

#include "engine/device/device.h"

struct file_device {
    struct device device;
    int file;
    bool block; /* a block device, not a regular file */
};

/* Whether the operation can be queued; else transfer_run() is its only way. */
bool transfer_can_queue(const struct device_io *io);

/* Fills a queue entry for a pending operation, user data included. */
void transfer_prepare(struct device_io *io, struct io_uring_sqe *entry);

/* Completes an operation from the result of its queue entry: a count of bytes, or a negative errno. What is missing
 * of a short or interrupted transfer is done here, by transfer_run(), so this may block. */
void transfer_finish(struct device_io *io, int result);

/* Does all that is missing of a pending operation with plain system calls and completes it. */
void transfer_run(struct device_io *io);

#endif
