/*
 * Exclusive opens. Two daemons never open one device: a regular file is locked by flock(2), a block device by O_EXCL,
 * which mounts, device mapper and RAID take as well. Both locks belong to the open descriptor and vanish with it, so
 * that nothing is left to clean up after a crash. A process killed in the middle of I/O keeps its descriptors until the
 * kernel has ended that I/O, which is why an open that comes right after a kill waits for a moment.
 *
 * What the kernel tells about mounts and holders is read to name them in the sentence of a refusal, and, for a file
 * behind a loop device, which no lock shows, to refuse at all.
 *
 * Locks inside this process: none.
 */
#include "engine/device/exclusive.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"

/* How long I/O of a killed process may keep its lock; a device that takes longer needs a second try by hand. */
#define EXCLUSIVE_WAIT  (2 * CLOCK_SECOND)
#define EXCLUSIVE_PAUSE (20 * CLOCK_MILLISECOND)

static void close_scope(FILE **stream)
{
    if (*stream != NULL)
        fclose(*stream);
}
#define AUTO_STREAM __attribute__((cleanup(close_scope)))

static enum error examine(const char *path, struct stat *status)
{
    if (stat(path, status) != 0)
        return error_from_errno(errno, "open %s", path);
    if (S_ISREG(status->st_mode) || S_ISBLK(status->st_mode))
        return ERROR_NONE;
    return error_explain(ERROR_INVALID, "%s is neither a regular file nor a block device", path);
}

/* ---- who holds it --------------------------------------------------------------------------------------------- */

/* mountinfo names the device of a mount by number, except for file systems over several devices (btrfs): those are
 * found by their source. */
static bool mount_is_of(const char *line, dev_t number)
{
    unsigned major_number, minor_number;
    if (sscanf(line, "%*u %*u %u:%u", &major_number, &minor_number) == 2 &&
        makedev(major_number, minor_number) == number)
        return true;
    const char *behind = strstr(line, " - ");
    char source[PATH_MAX];
    struct stat status;
    return behind != NULL && sscanf(behind, " - %*s %4095s", source) == 1 && source[0] == '/' &&
           stat(source, &status) == 0 && S_ISBLK(status.st_mode) && status.st_rdev == number;
}

static enum error check_mounts(const char *path, dev_t number)
{
    AUTO_STREAM FILE *mounts = fopen("/proc/self/mountinfo", "re");
    AUTO_FREE char *line = NULL;
    size_t size = 0;
    while (mounts != NULL && getline(&line, &size, mounts) > 0) {
        char where[PATH_MAX];
        if (mount_is_of(line, number) && sscanf(line, "%*u %*u %*s %*s %4095s", where) == 1)
            return error_explain(ERROR_IN_USE, "%s is mounted on %s: unmount it first", path, where);
    }
    return ERROR_NONE;
}

static enum error check_swap(const char *path, dev_t number)
{
    AUTO_STREAM FILE *swaps = fopen("/proc/swaps", "re");
    AUTO_FREE char *line = NULL;
    size_t size = 0;
    while (swaps != NULL && getline(&line, &size, swaps) > 0) {
        char name[PATH_MAX];
        struct stat status;
        if (sscanf(line, "%4095s", name) == 1 && name[0] == '/' && stat(name, &status) == 0 &&
            S_ISBLK(status.st_mode) && status.st_rdev == number)
            return error_explain(ERROR_IN_USE, "%s is swap space: type `swapoff %s` first", path, path);
    }
    return ERROR_NONE;
}

static enum error check_drivers(const char *path, dev_t number)
{
    char name[64];
    snprintf(name, sizeof(name), "/sys/dev/block/%u:%u/holders", major(number), minor(number));
    DIR *holders = opendir(name);
    if (holders == NULL)
        return ERROR_NONE;
    enum error error = ERROR_NONE;
    for (struct dirent *entry = readdir(holders); entry != NULL && error == ERROR_NONE; entry = readdir(holders))
        if (entry->d_name[0] != '.')
            error = error_explain(ERROR_IN_USE, "%s is held by %s (device mapper, RAID or the like): remove that first",
                                  path, entry->d_name);
    closedir(holders);
    return error;
}

/* The partitions of a disk stand as folders in its own: what holds one of them holds the disk. */
static enum error check_partitions(const char *path, dev_t number)
{
    char pattern[64];
    snprintf(pattern, sizeof(pattern), "/sys/dev/block/%u:%u/*/dev", major(number), minor(number));
    glob_t found;
    if (glob(pattern, 0, NULL, &found) != 0)
        return ERROR_NONE;
    enum error error = ERROR_NONE;
    for (size_t i = 0; i < found.gl_pathc && error == ERROR_NONE; i++) {
        AUTO_STREAM FILE *stream = fopen(found.gl_pathv[i], "re");
        unsigned major_number, minor_number;
        if (stream == NULL || fscanf(stream, "%u:%u", &major_number, &minor_number) != 2)
            continue;
        dev_t partition = makedev(major_number, minor_number);
        error = check_mounts(path, partition);
        if (error == ERROR_NONE)
            error = check_swap(path, partition);
        if (error == ERROR_NONE)
            error = check_drivers(path, partition);
        if (error != ERROR_NONE)
            error = error_prefix(error, "a partition");
    }
    globfree(&found);
    return error;
}

static enum error check_block_holders(const char *path, dev_t number)
{
    TRY(check_mounts(path, number));
    TRY(check_swap(path, number));
    TRY(check_drivers(path, number));
    return check_partitions(path, number);
}

/* The kernel shows the file behind a loop device by its path only. */
static enum error check_loops(const char *path, const struct stat *status)
{
    glob_t found;
    if (glob("/sys/block/loop*/loop/backing_file", 0, NULL, &found) != 0)
        return ERROR_NONE;
    enum error error = ERROR_NONE;
    for (size_t i = 0; i < found.gl_pathc && error == ERROR_NONE; i++) {
        AUTO_STREAM FILE *stream = fopen(found.gl_pathv[i], "re");
        char backing[PATH_MAX], loop[32];
        struct stat other;
        if (stream == NULL || fgets(backing, sizeof(backing), stream) == NULL)
            continue;
        backing[strcspn(backing, "\n")] = '\0';
        if (stat(backing, &other) != 0 || other.st_dev != status->st_dev || other.st_ino != status->st_ino ||
            sscanf(found.gl_pathv[i], "/sys/block/%31[^/]", loop) != 1)
            continue;
        error =
            error_explain(ERROR_IN_USE, "%s is attached to /dev/%s: type `losetup -d /dev/%s` first", path, loop, loop);
    }
    globfree(&found);
    return error;
}

enum error exclusive_check_holders(const char *path)
{
    struct stat status;
    TRY(examine(path, &status));
    if (S_ISBLK(status.st_mode))
        return check_block_holders(path, status.st_rdev);
    return check_loops(path, &status);
}

static enum error explain_in_use(const char *path, const struct stat *status)
{
    if (S_ISBLK(status->st_mode))
        TRY(check_block_holders(path, status->st_rdev));
    return error_explain(ERROR_IN_USE, "%s is in use by another process (`fuser -v %s` names it): stop that first",
                         path, path);
}

/* ---- opening -------------------------------------------------------------------------------------------------- */

/* One attempt: 0 or an errno, EBUSY and EWOULDBLOCK where somebody has it. */
static int attempt(const char *path, int flags, bool block, int *file)
{
    int opened = open(path, flags | O_CLOEXEC | (block ? O_EXCL : 0));
    if (opened < 0)
        return errno;
    int lock = (flags & O_ACCMODE) == O_RDONLY ? LOCK_SH : LOCK_EX;
    if (!block && flock(opened, lock | LOCK_NB) != 0) {
        int number = errno;
        close(opened);
        return number;
    }
    *file = opened;
    return 0;
}

static int attempt_patiently(const char *path, int flags, bool block, int *file)
{
    uint64_t deadline = clock_monotonic() + EXCLUSIVE_WAIT;
    for (;;) {
        int number = attempt(path, flags, block, file);
        bool taken = number == EBUSY || number == EWOULDBLOCK;
        if ((!taken && number != EINTR) || clock_monotonic() >= deadline)
            return number;
        clock_sleep(EXCLUSIVE_PAUSE);
    }
}

static int measure(struct opened_file *opened)
{
    struct stat status;
    if (opened->block)
        return ioctl(opened->file, BLKGETSIZE64, &opened->size) == 0 ? 0 : errno;
    if (fstat(opened->file, &status) != 0)
        return errno;
    opened->size = (uint64_t)status.st_size;
    return 0;
}

enum error exclusive_open(const char *path, int flags, struct opened_file *opened)
{
    struct stat status;
    TRY(examine(path, &status));
    struct opened_file found = {.block = S_ISBLK(status.st_mode)};
    int number = attempt_patiently(path, flags, found.block, &found.file);
    if (number == EBUSY || number == EWOULDBLOCK)
        return explain_in_use(path, &status);
    if (number == EINVAL && (flags & O_DIRECT) != 0)
        return ERROR_UNSUPPORTED;
    if (number != 0)
        return error_from_errno(number, "open %s", path);
    number = measure(&found);
    if (number != 0) {
        close(found.file);
        return error_from_errno(number, "measure %s", path);
    }
    *opened = found;
    return ERROR_NONE;
}

enum error exclusive_open_beside(const char *path, int flags, struct opened_file *opened)
{
    struct stat status;
    TRY(examine(path, &status));
    struct opened_file found = {.block = S_ISBLK(status.st_mode)};
    found.file = open(path, flags | O_RDONLY | O_CLOEXEC);
    if (found.file < 0)
        return errno == EINVAL && (flags & O_DIRECT) != 0 ? ERROR_UNSUPPORTED : error_from_errno(errno, "open %s", path);
    int number = measure(&found);
    if (number != 0) {
        close(found.file);
        return error_from_errno(number, "measure %s", path);
    }
    *opened = found;
    return ERROR_NONE;
}
