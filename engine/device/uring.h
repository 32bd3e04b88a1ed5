/* io_uring: one ring a thread for what the thread submits; any thread may wait. Operations must be of file devices. */
#ifndef COFFER_ENGINE_DEVICE_URING_H
#define COFFER_ENGINE_DEVICE_URING_H

#include "engine/device/device.h"

/* The three operations of the file device's table. Where the system has no io_uring (a container may forbid it), the
 * operations are run one by one with plain system calls before the call returns. */
void uring_submit(struct device_io **ios, size_t count);
void uring_wait(struct device_io *io);
void uring_run(struct device_io **ios, size_t count);

#endif
