/*
 * One operation on a file or block device: how it is asked of the kernel, and what an answer of the kernel means.
 *
 * Invariants: a write or flush that failed fences its device before it is reported complete, so that no flush
 * submitted later can succeed; a flush that ends after a fence is not a flush. The two errors that leave what was
 * written before intact and can be mended from outside, a full file system and a used-up quota below a sparse file, are
 * ERROR_NO_SPACE instead. "Try again" of the kernel (EINTR, EAGAIN) says that nothing was done and is obeyed; every
 * other error is final.
 *
 * Short transfers are so rare that their rest goes by plain system calls of the thread that found them: that keeps the
 * submission queue of a ring to its own thread (uring.c).
 *
 * Locks: none. A crash here is harmless: the device below is all the state there is.
 */
#include "engine/device/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/memory.h"
#include "engine/device/kind.h"

/* The kernel moves less than 2 GiB in one call. */
#define TRANSFER_MAX ((size_t)1 << 30)
/* A transfer that stops inside a sector has met the end of a file. */
#define SECTOR       512

static const struct file_device *file_of(const struct device_io *io)
{
    return (const struct file_device *)io->device;
}

static bool is_transfer(const struct device_io *io)
{
    return io->operation == DEVICE_READ || io->operation == DEVICE_WRITE;
}

static int write_flags(const struct device_io *io)
{
    return (io->flags & DEVICE_DURABLE) != 0 ? RWF_DSYNC : 0;
}

/* BLKDISCARD is an ioctl, which io_uring cannot queue on every kernel that we run on. */
bool transfer_can_queue(const struct device_io *io)
{
    return io->operation != DEVICE_DISCARD || !file_of(io)->block;
}

void transfer_prepare(struct device_io *io, struct io_uring_sqe *entry)
{
    int file = file_of(io)->file;
    unsigned size = (unsigned)MIN(io->size, TRANSFER_MAX);
    switch (io->operation) {
    case DEVICE_READ:
        io_uring_prep_read(entry, file, io->buffer, size, io->offset);
        break;
    case DEVICE_WRITE:
        io_uring_prep_write(entry, file, io->buffer, size, io->offset);
        entry->rw_flags = write_flags(io);
        break;
    case DEVICE_FLUSH:
        io_uring_prep_fsync(entry, file, IORING_FSYNC_DATASYNC);
        break;
    case DEVICE_DISCARD:
        io_uring_prep_fallocate(entry, file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)io->offset,
                                (off_t)io->size);
        break;
    }
    io_uring_sqe_set_data(entry, io);
}

static bool says_no_space(const struct device_io *io, int os_error)
{
    return !file_of(io)->block && (os_error == ENOSPC || os_error == EDQUOT);
}

static enum error discard_meaning(int os_error)
{
    switch (os_error) {
    case EOPNOTSUPP:
    case ENOTTY:
    case ENOSYS:
    case EINVAL:
        return ERROR_UNSUPPORTED;
    default:
        return ERROR_IO;
    }
}

static enum error failure_meaning(struct device_io *io, int os_error)
{
    switch (io->operation) {
    case DEVICE_READ:
        return os_error == ENOMEM ? ERROR_NO_MEMORY : ERROR_IO;
    case DEVICE_DISCARD:
        return discard_meaning(os_error);
    case DEVICE_WRITE:
        if (says_no_space(io, os_error))
            return ERROR_NO_SPACE;
        break;
    case DEVICE_FLUSH:
        break;
    }
    device_fence(io, os_error);
    return ERROR_IO;
}

static void transfer_conclude(struct device_io *io, int os_error)
{
    enum error error = ERROR_NONE;
    if (os_error != 0)
        error = failure_meaning(io, os_error);
    else if (io->operation == DEVICE_FLUSH && atomic_load(&io->device->fenced))
        error = ERROR_FENCED;
    io_complete(io, error, os_error);
}

/* Takes one step by a system call; the result is one of a queue entry. */
static int transfer_step(const struct device_io *io)
{
    const struct file_device *device = file_of(io);
    struct iovec part = {.iov_base = io->buffer, .iov_len = MIN(io->size - io->done, TRANSFER_MAX)};
    if (io->done > 0)
        part.iov_base = (char *)io->buffer + io->done;
    off_t offset = (off_t)(io->offset + io->done);
    uint64_t range[2] = {io->offset, io->size};
    ssize_t result = 0;
    switch (io->operation) {
    case DEVICE_READ:
        result = preadv2(device->file, &part, 1, offset, 0);
        break;
    case DEVICE_WRITE:
        result = pwritev2(device->file, &part, 1, offset, write_flags(io));
        break;
    case DEVICE_FLUSH:
        result = fdatasync(device->file);
        break;
    case DEVICE_DISCARD:
        if (device->block)
            result = ioctl(device->file, BLKDISCARD, range);
        else
            result = fallocate(device->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, (off_t)io->size);
        break;
    }
    return result < 0 ? -errno : (int)result;
}

/* Notes the result of a step; true where the operation has come to its end and is complete. */
static bool transfer_note(struct device_io *io, int result)
{
    if (result == -EINTR || result == -EAGAIN)
        return false;
    if (result < 0) {
        transfer_conclude(io, -result);
        return true;
    }
    if (!is_transfer(io)) {
        transfer_conclude(io, 0);
        return true;
    }
    io->done += (size_t)result;
    bool at_end_of_file = result == 0 || io->done % SECTOR != 0;
    if (io->done < io->size && !at_end_of_file)
        return false;
    transfer_conclude(io, io->done < io->size ? ENODATA : 0);
    return true;
}

void transfer_run(struct device_io *io)
{
    while (!transfer_note(io, transfer_step(io)))
        ;
}

void transfer_finish(struct device_io *io, int result)
{
    if (!transfer_note(io, result))
        transfer_run(io);
}
