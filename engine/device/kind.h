/*
 * What the kinds of devices share: the life of an operation and the head of a device.
 *
 * An operation is new, pending from device_submit() on, and complete once, by io_complete(), after which the kind must
 * not touch it any more: its owner may free it at once. The state is stored with release and loaded with acquire, so
 * that whoever sees a state sees everything that was written before it.
 */
#ifndef COFFER_ENGINE_DEVICE_KIND_H
#define COFFER_ENGINE_DEVICE_KIND_H

#include <stdatomic.h>

#include "engine/device/device.h"

enum io_state { IO_NEW, IO_PENDING, IO_COMPLETE };

/* Any thread may complete a pending operation between two looks: decide on one. */
static inline enum io_state io_state(const struct device_io *io)
{
    return (enum io_state)atomic_load_explicit(&io->state, memory_order_acquire);
}

static inline bool io_is_complete(const struct device_io *io)
{
    return io_state(io) == IO_COMPLETE;
}

/* Sets error and os_error and hands the operation back to its owner. */
void io_complete(struct device_io *io, enum error error, int os_error);

/* Fills the head of a device; `path` is copied. */
enum error device_init(struct device *device, const struct device_operations *operations, const char *path,
                       uint64_t size, bool read_only) CHECKED;
void device_deinit(struct device *device);

/* Takes the device of a failed write or flush out of service, with one message. */
void device_fence(struct device_io *io, int os_error);

/* The system's sentence for an errno; unlike strerror() it may be called from any thread. */
const char *os_error_sentence(int os_error);

/* Whether libblkid, and Coffer's own magic, find nothing on an open file; `path` is for sentences (probe.c). */
enum error device_signatures_check(const char *path, int file) CHECKED;

/* Whether the ends of an open file of `size` bytes are zeros, too: whether it is empty as device_probe_empty() has it. */
enum error device_emptiness_check(const char *path, int file, uint64_t size) CHECKED;

#endif
