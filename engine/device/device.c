/*
 * Devices of any kind: checks, counting, and handing operations to their kind.
 *
 * Purpose: everything that is the same for all kinds stands here, so that a kind sees only operations that are aligned,
 * inside the device and allowed, and so that a fence holds whatever the kind does.
 *
 * Sentences for people are made in device_wait(), not where an operation completes: that may be another thread, and
 * error_explain() keeps a sentence with the thread that calls it.
 *
 * Locks: none; `fenced` and the counters are atomic.
 */
#include "engine/device/device.h"

#include <string.h>

#include "base/memory.h"
#include "base/message.h"
#include "engine/device/kind.h"

/* Operations handed to a kind at once; more only means one more call. */
enum { BATCH_MAX = 128 };

static const char *operation_name(enum device_operation operation)
{
    static const char *const names[] = {"read", "write", "flush", "discard"};
    return names[operation];
}

const char *os_error_sentence(int os_error)
{
    const char *sentence = strerrordesc_np(os_error);
    return sentence != NULL ? sentence : "unknown error";
}

enum error device_init(struct device *device, const struct device_operations *operations, const char *path,
                       uint64_t size, bool read_only)
{
    char *copy = strdup(path);
    if (copy == NULL)
        return ERROR_NO_MEMORY;
    device->operations = operations;
    device->path = copy;
    device->size = size;
    device->read_only = read_only;
    return ERROR_NONE;
}

void device_deinit(struct device *device)
{
    free(device->path);
    device->path = NULL;
}

void device_close(struct device *device)
{
    if (device != NULL)
        device->operations->close(device);
}

void device_fence(struct device_io *io, int os_error)
{
    if (atomic_exchange(&io->device->fenced, true))
        return;
    message(MESSAGE_ERROR,
            "device %s: %s of %zu bytes at offset %llu failed (%s): taken out of service until it is opened again; "
            "check the disk and its cables",
            io->device->path, operation_name(io->operation), io->size, (unsigned long long)io->offset,
            os_error_sentence(os_error));
}

void io_complete(struct device_io *io, enum error error, int os_error)
{
    io->error = error;
    io->os_error = os_error;
    atomic_store_explicit(&io->state, IO_COMPLETE, memory_order_release);
}

static bool range_is_aligned(const struct device_io *io)
{
    if (io->offset % DEVICE_BLOCK != 0 || io->size % DEVICE_BLOCK != 0)
        return false;
    return io->operation == DEVICE_DISCARD || (uintptr_t)io->buffer % DEVICE_BLOCK == 0;
}

static enum error io_check(const struct device_io *io)
{
    const struct device *device = io->device;
    if (atomic_load(&device->fenced))
        return ERROR_FENCED;
    if (io->operation == DEVICE_FLUSH)
        return ERROR_NONE;
    if (!range_is_aligned(io))
        return ERROR_INVALID;
    if (io->offset > device->size || io->size > device->size - io->offset)
        return ERROR_OUT_OF_RANGE;
    if (device->read_only && io->operation != DEVICE_READ)
        return ERROR_READ_ONLY;
    return ERROR_NONE;
}

static void io_count(const struct device_io *io)
{
    struct device_stats *stats = &io->device->stats;
    switch (io->operation) {
    case DEVICE_READ:
        atomic_fetch_add_explicit(&stats->reads, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&stats->read_bytes, io->size, memory_order_relaxed);
        break;
    case DEVICE_WRITE:
        atomic_fetch_add_explicit(&stats->writes, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&stats->write_bytes, io->size, memory_order_relaxed);
        break;
    case DEVICE_FLUSH:
        atomic_fetch_add_explicit(&stats->flushes, 1, memory_order_relaxed);
        break;
    case DEVICE_DISCARD:
        atomic_fetch_add_explicit(&stats->discards, 1, memory_order_relaxed);
        break;
    }
}

/* Makes an operation pending; false where it is complete already: refused, or nothing to do. */
static bool io_start(struct device_io *io)
{
    io->done = 0;
    io->context = NULL;
    enum error error = io_check(io);
    bool empty = io->operation == DEVICE_FLUSH ? io->device->read_only : io->size == 0;
    if (error != ERROR_NONE || empty) {
        io_complete(io, error, 0);
        return false;
    }
    io_count(io);
    atomic_store_explicit(&io->state, IO_PENDING, memory_order_release);
    return true;
}

/* A kind that cannot do both in one goes the two steps. */
static void kind_run(struct device_io **ios, size_t count)
{
    const struct device_operations *operations = ios[0]->device->operations;
    if (operations->run != NULL) {
        operations->run(ios, count);
        return;
    }
    operations->submit(ios, count);
    for (size_t i = 0; i < count; i++)
        if (!io_is_complete(ios[i]))
            operations->wait(ios[i]);
}

static void kind_submit(struct device_io **ios, size_t count)
{
    ios[0]->device->operations->submit(ios, count);
}

struct batch {
    struct device_io *ios[BATCH_MAX];
    size_t count;
    void (*hand_over)(struct device_io **ios, size_t count);
};

static void batch_hand_over(struct batch *batch)
{
    if (batch->count > 0)
        batch->hand_over(batch->ios, batch->count);
    batch->count = 0;
}

static void batch_add(struct batch *batch, struct device_io *io)
{
    if (!io_start(io))
        return;
    bool other_kind = batch->count > 0 && batch->ios[0]->device->operations != io->device->operations;
    if (other_kind || batch->count == BATCH_MAX)
        batch_hand_over(batch);
    batch->ios[batch->count++] = io;
}

void device_submit(struct device_io *ios[], size_t count)
{
    struct batch batch;
    batch.count = 0;
    batch.hand_over = kind_submit;
    for (size_t i = 0; i < count; i++)
        batch_add(&batch, ios[i]);
    batch_hand_over(&batch);
}

static enum error io_explain(const struct device_io *io)
{
    const char *path = io->device->path, *name = operation_name(io->operation);
    unsigned long long offset = io->offset;
    switch (io->error) {
    case ERROR_FENCED:
        return error_explain(io->error,
                             "device %s is out of service after a failed write: close the pool, check the "
                             "disk, open it again",
                             path);
    case ERROR_READ_ONLY:
        return error_explain(io->error, "device %s is open read-only: no %s", path, name);
    case ERROR_UNSUPPORTED:
        return error_explain(io->error, "device %s does not %s", path, name);
    case ERROR_NO_SPACE:
        return error_explain(io->error, "the file system that holds %s is full: make room there", path);
    case ERROR_INVALID:
        return error_explain(io->error, "device %s: %s of %zu bytes at offset %llu is not in blocks of %d", path, name,
                             io->size, offset, DEVICE_BLOCK);
    case ERROR_OUT_OF_RANGE:
        return error_explain(io->error, "device %s: %s of %zu bytes at offset %llu is beyond its end at %llu", path,
                             name, io->size, offset, (unsigned long long)io->device->size);
    default:
        return error_explain(io->error, "device %s: %s of %zu bytes at offset %llu failed: %s", path, name, io->size,
                             offset, os_error_sentence(io->os_error));
    }
}

enum error device_wait(struct device_io *io)
{
    enum io_state state = io_state(io);
    ASSERT(state != IO_NEW);
    if (state == IO_PENDING)
        io->device->operations->wait(io);
    return io->error == ERROR_NONE ? ERROR_NONE : io_explain(io);
}

enum error device_run(struct device_io *ios, size_t count)
{
    struct batch batch;
    batch.count = 0;
    batch.hand_over = kind_run;
    for (size_t i = 0; i < count; i++)
        batch_add(&batch, &ios[i]);
    batch_hand_over(&batch);
    for (size_t i = 0; i < count; i++)
        if (ios[i].error != ERROR_NONE)
            return io_explain(&ios[i]);
    return ERROR_NONE;
}

enum error device_read(struct device *device, uint64_t offset, void *buffer, size_t size)
{
    struct device_io io = {.device = device, .operation = DEVICE_READ, .offset = offset, .size = size};
    io.buffer = buffer;
    return device_run(&io, 1);
}

enum error device_write(struct device *device, uint64_t offset, void *buffer, size_t size, unsigned flags)
{
    struct device_io io = {.device = device, .operation = DEVICE_WRITE, .offset = offset, .size = size};
    io.buffer = buffer;
    io.flags = flags;
    return device_run(&io, 1);
}

enum error device_flush(struct device *device)
{
    struct device_io io = {.device = device, .operation = DEVICE_FLUSH};
    return device_run(&io, 1);
}

enum error device_discard(struct device *device, uint64_t offset, uint64_t size)
{
    struct device_io io = {.device = device, .operation = DEVICE_DISCARD, .offset = offset, .size = size};
    return device_run(&io, 1);
}

enum error device_allocate(struct device *device, uint64_t offset, uint64_t size)
{
    ASSERT(offset % DEVICE_BLOCK == 0 && size % DEVICE_BLOCK == 0);
    return device->operations->allocate ? device->operations->allocate(device, offset, size) : ERROR_NONE;
}
