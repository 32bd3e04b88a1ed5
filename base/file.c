/*
 * Small files, read and replaced whole.
 *
 * A new content is written and synced beside the file (PATH.new) and takes its name in one step, then the directory is
 * synced. A crash before that step leaves the old file and perhaps PATH.new, which the next replace removes; a crash
 * after it leaves the new one. No locks: two writers of one path are the callers' business.
 * Contents may be keys: buffers that fail to reach the caller are cleansed.
 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/owner.h"
#include "base/shell.h"

static void close_scope(const int *descriptor)
{
    if (*descriptor >= 0)
        close(*descriptor);
}
#define AUTO_CLOSE __attribute__((cleanup(close_scope)))

enum error file_read_up_to(int descriptor, const char *path, void *data, size_t size, size_t *got)
{
    size_t filled = 0;
    while (filled < size) {
        ssize_t count = read(descriptor, (uint8_t *)data + filled, size - filled);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return error_from_errno(errno, "read %s", path);
        if (count == 0)
            break;
        filled += (size_t)count;
    }
    *got = filled;
    return ERROR_NONE;
}

static enum error check_regular(int descriptor, const char *path, size_t size_max, size_t *size)
{
    struct stat status;
    if (fstat(descriptor, &status) != 0)
        return error_from_errno(errno, "stat %s", path);
    if (!S_ISREG(status.st_mode))
        return error_explain(ERROR_INVALID, "%s is not a regular file", path);
    if ((uintmax_t)status.st_size > size_max)
        return error_explain(ERROR_TOO_LARGE, "%s has %jd bytes, at most %zu are expected", path,
                             (intmax_t)status.st_size, size_max);
    *size = (size_t)status.st_size;
    return ERROR_NONE;
}

/* The file is not to be given to root: whoever it belongs to could not start then. */
static enum error refuse_owner(const char *path, uid_t owner)
{
    AUTO_FREE char *invocation = shell_invocation();
    if (invocation == NULL)
        return ERROR_NO_MEMORY;
    return error_explain(ERROR_ACCESS,
                         "%s belongs to user %u, and %s takes no key that another user could change: run this as that "
                         "user, `sudo -u '#%u' %s`",
                         path, (unsigned)owner, geteuid() == 0 ? "root" : "this user", (unsigned)owner, invocation);
}

static enum error check_private(int descriptor, const char *path)
{
    struct stat status;
    AUTO_FREE char *word = shell_quote(path);
    if (word == NULL)
        return ERROR_NO_MEMORY;
    if (fstat(descriptor, &status) != 0)
        return error_from_errno(errno, "stat %s", path);
    if (status.st_uid != 0 && status.st_uid != geteuid())
        return refuse_owner(path, status.st_uid);
    if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return error_explain(ERROR_ACCESS, "%s is open to others (mode %04o): type `chmod go= %s`", path,
                             (unsigned)(status.st_mode & 07777), word);
    return ERROR_NONE;
}

static enum error read_checked(const char *path, size_t size_max, bool private, void **data, size_t *size)
{
    /* Non-blocking, for a pipe in place of the file would wait for its writer. */
    AUTO_CLOSE int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (descriptor < 0)
        return error_from_errno(errno, "open %s", path);
    size_t expected = 0, got = 0;
    TRY(check_regular(descriptor, path, size_max, &expected));
    if (private)
        TRY(check_private(descriptor, path));

    uint8_t *buffer = memory_zeroed(expected + 1, 1);
    if (buffer == NULL)
        return ERROR_NO_MEMORY;
    enum error error = file_read_up_to(descriptor, path, buffer, expected + 1, &got);
    if (error == ERROR_NONE && got != expected)
        error = error_explain(ERROR_AGAIN, "%s changed while it was read", path);
    if (error != ERROR_NONE) {
        memory_free_cleansed(buffer);
        return error;
    }
    *data = buffer;
    *size = got;
    return ERROR_NONE;
}

enum error file_read(const char *path, size_t size_max, void **data, size_t *size)
{
    return read_checked(path, size_max, false, data, size);
}

enum error file_read_private(const char *path, size_t size_max, void **data, size_t *size)
{
    return read_checked(path, size_max, true, data, size);
}

static enum error write_all(int descriptor, const char *path, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t count = write(descriptor, data, size);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return error_from_errno(errno, "write %s", path);
        data += count;
        size -= (size_t)count;
    }
    return ERROR_NONE;
}

enum file_use { FILE_REPLACE, FILE_CREATE, FILE_OWN };

/* What an earlier crash left under this name is removed, not reused: it may have another mode or be a link. Only a
 * replacement takes owner and mode of what has the old name: a file that is to be new may find one that lures it. */
static enum error write_new(const char *path, const char *old_path, const void *data, size_t size, enum file_use use)
{
    if (unlink(path) != 0 && errno != ENOENT)
        return error_from_errno(errno, "remove %s", path);
    AUTO_CLOSE int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (descriptor < 0)
        return error_from_errno(errno, "create %s", path);
    if (use != FILE_OWN)
        TRY(use == FILE_REPLACE ? owner_give_as(descriptor, old_path) : owner_give(descriptor, old_path));
    TRY(write_all(descriptor, path, data, size));
    if (fsync(descriptor) != 0)
        return error_from_errno(errno, "sync %s", path);
    return ERROR_NONE;
}

static enum error sync_directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash == NULL ? 0 : (size_t)(slash - path);
    AUTO_FREE char *directory = slash == NULL ? strdup(".") : strndup(path, MAX(length, (size_t)1));
    if (directory == NULL)
        return ERROR_NO_MEMORY;
    AUTO_CLOSE int descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0)
        return error_from_errno(errno, "open %s", directory);
    if (fsync(descriptor) != 0)
        return error_from_errno(errno, "sync %s", directory);
    return ERROR_NONE;
}

static enum error take_name(const char *new_path, const char *path, bool replace)
{
    if (replace)
        return rename(new_path, path) == 0 ? ERROR_NONE : error_from_errno(errno, "rename %s", new_path);
    if (link(new_path, path) == 0) {
        unlink(new_path);
        return ERROR_NONE;
    }
    /* vfat and the like have no links. */
    if (errno != EPERM && errno != EOPNOTSUPP)
        return error_from_errno(errno, "create %s", path);
    return renameat2(AT_FDCWD, new_path, AT_FDCWD, path, RENAME_NOREPLACE) == 0 ? ERROR_NONE
                                                                               : error_from_errno(errno, "create %s", path);
}

static enum error file_write(const char *path, const void *data, size_t size, enum file_use use)
{
    AUTO_FREE char *new_path = NULL;
    if (asprintf(&new_path, "%s.new", path) < 0) {
        new_path = NULL;
        return ERROR_NO_MEMORY;
    }
    enum error error = write_new(new_path, path, data, size, use);
    if (error == ERROR_NONE)
        error = take_name(new_path, path, use == FILE_REPLACE);
    if (error != ERROR_NONE) {
        unlink(new_path);
        return error;
    }
    return sync_directory_of(path);
}

enum error file_rename(const char *from, const char *to)
{
    TRY(take_name(from, to, true));
    return sync_directory_of(to);
}

enum error file_replace(const char *path, const void *data, size_t size)
{
    return file_write(path, data, size, FILE_REPLACE);
}

enum error file_create(const char *path, const void *data, size_t size)
{
    return file_write(path, data, size, FILE_CREATE);
}

enum error file_create_own(const char *path, const void *data, size_t size)
{
    return file_write(path, data, size, FILE_OWN);
}

char *file_join(const char *directory, const char *name)
{
    size_t length = strlen(directory);
    bool slash = length > 0 && directory[length - 1] == '/';
    char *path;
    return asprintf(&path, "%s%s%s", directory, slash ? "" : "/", name) < 0 ? NULL : path;
}
