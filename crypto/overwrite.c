/*
 * The bytes of an old key file, overwritten in place. A crash leaves them, or zeros, or some of each; who calls again ends it.
 * Where another file takes the name first, a crash in between leaves the old bytes in blocks that have no name, out of reach.
 * No locks, no state.
 */
#include "crypto/overwrite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/message.h"

/* The file that was looked at, whatever has its name by now: its directory may be another user's, who could put a link there. */
static enum error open_to_write(const char *path, int looked_at, const struct stat *status, int *descriptor)
{
    struct stat now;
    bool writable = (status->st_mode & S_IWUSR) != 0 || geteuid() == 0;
    if (!writable && fchmod(looked_at, (status->st_mode & 0777) | S_IWUSR) != 0)
        return error_from_errno(errno, "make %s writable, to overwrite the old key", path);
    int opened = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (opened < 0)
        return error_from_errno(errno, "open %s, to overwrite the old key", path);
    if (fstat(opened, &now) != 0 || now.st_dev != status->st_dev || now.st_ino != status->st_ino) {
        close(opened);
        return error_explain(ERROR_AGAIN, "%s became another file just now", path);
    }
    *descriptor = opened;
    return ERROR_NONE;
}

/* `*descriptor` -1: there is nothing whose bytes could be overwritten, or somebody else's name for it is to keep them. */
enum error overwrite_begin(const char *path, int *descriptor)
{
    struct stat status;
    *descriptor = -1;
    int looked_at = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (looked_at < 0)
        return errno == ENOENT ? ERROR_NONE : error_from_errno(errno, "look at %s", path);
    enum error error = ERROR_NONE;
    if (fstat(looked_at, &status) != 0)
        error = error_from_errno(errno, "look at %s", path);
    else if (!S_ISREG(status.st_mode))
        error = error_explain(ERROR_INVALID, "%s is not a regular file", path);
    else if (status.st_nlink == 1)
        error = open_to_write(path, looked_at, &status, descriptor);
    else
        message(MESSAGE_WARNING, "%s has other names: the old key is left there, destroy it", path);
    close(looked_at);
    return error;
}

enum error overwrite_end(const char *path, int descriptor)
{
    static const uint8_t zeros[4096];
    struct stat status;
    bool done = fstat(descriptor, &status) == 0;
    for (off_t at = 0; done && at < status.st_size; at += (off_t)sizeof zeros)
        done = pwrite(descriptor, zeros, MIN(sizeof zeros, (size_t)(status.st_size - at)), at) > 0;
    done = done && fsync(descriptor) == 0;
    int number = errno;
    close(descriptor);
    return done ? ERROR_NONE : error_from_errno(number, "overwrite the old key in %s", path);
}

enum error overwrite(const char *path)
{
    int descriptor;
    TRY(overwrite_begin(path, &descriptor));
    return descriptor < 0 ? ERROR_NONE : overwrite_end(path, descriptor);
}

enum error overwrite_and_remove(const char *path)
{
    TRY(overwrite(path));
    return file_remove(path);
}

/* Who revokes what the old file held learns where it may be all the same. */
enum error overwrite_behind(const char *path, int descriptor, const void *data, size_t size)
{
    enum error error = file_replace(path, data, size);
    if (descriptor < 0)
        return error;
    if (error) {
        close(descriptor);
        return error;
    }
    error = overwrite_end(path, descriptor);
    if (error)
        message(MESSAGE_WARNING, "%s is a new file, and the blocks of the one before may still hold what it held: %s", path,
                error_sentence(error));
    error_forget();
    return ERROR_NONE;
}

enum error overwrite_replace(const char *path, const void *data, size_t size)
{
    AUTO_FREE char *real = realpath(path, NULL);
    AUTO_FREE char *unfinished = NULL;
    const char *at = real ? real : path;
    struct stat status;
    int before;
    if (asprintf(&unfinished, "%s.new", at) < 0) {
        unfinished = NULL;
        return ERROR_NO_MEMORY;
    }
    if (lstat(unfinished, &status) == 0 && S_ISREG(status.st_mode)) /* else file_replace() removes it, whatever it is */
        TRY(overwrite_and_remove(unfinished));
    TRY(overwrite_begin(at, &before));
    return overwrite_behind(at, before, data, size);
}
