/*
 * Regular files and block devices as devices: opening and closing. The I/O is in uring.c and transfer.c.
 *
 * I/O is direct (O_DIRECT), so that blocks are not cached twice and a write error belongs to the write that met it.
 * Only where the file system refuses that (tmpfs, some network file systems) is the page cache used, with a warning.
 * Files are sparse; space is allocated a segment at a time, before it is written, so that a full file system below is
 * met where it can be answered.
 *
 * Locks: none here; the lock on the file itself is exclusive.c's. A crash leaves nothing behind but the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/owner.h"
#include "base/message.h"
#include "engine/device/exclusive.h"
#include "engine/device/kind.h"
#include "engine/device/transfer.h"
#include "engine/device/uring.h"

static void file_device_close(struct device *device)
{
    struct file_device *file_device = (struct file_device *)device;
    close(file_device->file);
    device_deinit(device);
    free(file_device);
}

static enum error file_device_allocate(struct device *device, uint64_t offset, uint64_t size)
{
    const struct file_device *file_device = (const struct file_device *)device;
    int result;
    if (file_device->block)
        return ERROR_NONE;
    do
        result = fallocate(file_device->file, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size);
    while (result < 0 && errno == EINTR);
    if (result == 0 || errno == EOPNOTSUPP || errno == ENOSYS)
        return ERROR_NONE;
    if (errno == ENOSPC || errno == EDQUOT)
        return error_explain(ERROR_NO_SPACE, "the file system that holds %s is full", device->path);
    return error_from_errno(errno, "allocate %llu bytes of %s", (unsigned long long)size, device->path);
}

static const struct device_operations file_device_operations = {
    .kind = "file",
    .submit = uring_submit,
    .wait = uring_wait,
    .run = uring_run,
    .close = file_device_close,
    .allocate = file_device_allocate,
};

/* Some file systems take the flag at the open and refuse the I/O. */
static bool direct_io_works(int file)
{
    AUTO_FREE void *block = memory_aligned(DEVICE_BLOCK);
    return block == NULL || pread(file, block, DEVICE_BLOCK, 0) >= 0 || errno != EINVAL;
}

typedef enum error opener(const char *path, int flags, struct opened_file *opened);

static enum error open_direct(opener *open_it, const char *path, int flags, struct opened_file *opened)
{
    TRY(open_it(path, flags | O_DIRECT, opened));
    if (direct_io_works(opened->file))
        return ERROR_NONE;
    close(opened->file);
    return ERROR_UNSUPPORTED;
}

static enum error open_somehow(opener *open_it, const char *path, int flags, struct opened_file *opened)
{
    enum error error = open_direct(open_it, path, flags, opened);
    if (error != ERROR_UNSUPPORTED)
        return error;
    TRY(open_it(path, flags, opened));
    if (open_it == exclusive_open_beside)
        return ERROR_NONE;
    message(MESSAGE_WARNING, "%s: its file system has no direct I/O; blocks are cached twice, and slower", path);
    return ERROR_NONE;
}

static enum error check_geometry(const char *path, const struct opened_file *opened)
{
    int sector = 0;
    if (opened->size < DEVICE_BLOCK)
        return error_explain(ERROR_INVALID, "%s is empty (%llu bytes): it cannot be a device", path,
                             (unsigned long long)opened->size);
    if (opened->block && ioctl(opened->file, BLKSSZGET, &sector) == 0 && sector > DEVICE_BLOCK)
        return error_explain(ERROR_UNSUPPORTED, "%s has sectors of %d bytes; at most %d are supported", path, sector,
                             DEVICE_BLOCK);
    return ERROR_NONE;
}

static enum error file_device_make(const char *path, const struct opened_file *opened, bool read_only,
                                   struct device **device)
{
    TRY(check_geometry(path, opened));
    struct file_device *made = memory_zeroed(1, sizeof(*made));
    if (made == NULL)
        return ERROR_NO_MEMORY;
    made->file = opened->file;
    made->block = opened->block;
    uint64_t size = ROUND_DOWN(opened->size, DEVICE_BLOCK);
    enum error error = device_init(&made->device, &file_device_operations, path, size, read_only);
    if (error != ERROR_NONE) {
        free(made);
        return error;
    }
    *device = &made->device;
    return ERROR_NONE;
}

enum error device_open_file(const char *path, unsigned flags, struct device **device)
{
    bool beside = (flags & DEVICE_OPEN_BESIDE) != 0, read_only = beside || (flags & DEVICE_OPEN_READ_ONLY) != 0;
    struct opened_file opened;
    TRY(open_somehow(beside ? exclusive_open_beside : exclusive_open, path, read_only ? O_RDONLY : O_RDWR, &opened));
    enum error error = file_device_make(path, &opened, read_only, device);
    if (error != ERROR_NONE)
        close(opened.file);
    return error;
}

enum error device_file_status(const struct device *device, struct stat *status)
{
    const struct file_device *file_device = (const struct file_device *)device;
    return fstat(file_device->file, status) == 0 ? ERROR_NONE : error_from_errno(errno, "look at %s", device->path);
}

/* libblkid reads pieces of any size: by another opening of the same file, without direct I/O. */
static enum error open_again(const struct device *device, int *file)
{
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", ((const struct file_device *)device)->file);
    *file = open(link, O_RDONLY | O_CLOEXEC);
    return *file < 0 ? error_from_errno(errno, "open %s again", device->path) : ERROR_NONE;
}

enum error device_check_empty(const struct device *device)
{
    int file;
    TRY(open_again(device, &file));
    enum error error = device_emptiness_check(device->path, file, device->size);
    close(file);
    return error;
}

enum error device_check_signatures(const struct device *device)
{
    int file;
    TRY(open_again(device, &file));
    enum error error = device_signatures_check(device->path, file);
    close(file);
    return error;
}

/* The name of a new file is durable only when its directory is. */
static int sync_directory_of(const char *path)
{
    AUTO_FREE char *directory = strdup(path);
    if (directory == NULL)
        return ENOMEM;
    char *slash = strrchr(directory, '/');
    if (slash != NULL)
        slash[slash == directory ? 1 : 0] = '\0';
    int file = open(slash != NULL ? directory : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file < 0)
        return errno;
    int number = fsync(file) == 0 ? 0 : errno;
    close(file);
    return number;
}

enum error device_create_file(const char *path, uint64_t size)
{
    if (size < DEVICE_BLOCK || size > INT64_MAX)
        return error_explain(ERROR_INVALID, "%s: a device cannot have %llu bytes", path, (unsigned long long)size);
    int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0)
        return error_from_errno(errno, "create %s", path);
    enum error error = owner_give(file, path);
    if (error != ERROR_NONE) {
        close(file);
        unlink(path);
        return error;
    }
    int number = 0;
    if (ftruncate(file, (off_t)size) != 0 || fsync(file) != 0)
        number = errno;
    close(file);
    if (number == 0)
        number = sync_directory_of(path);
    if (number == 0)
        return ERROR_NONE;
    unlink(path);
    return error_from_errno(number, "create %s with %llu bytes", path, (unsigned long long)size);
}
