/*
 * Small files, read, replaced and made whole.
 *
 * A replacement is written and synced beside the file (PATH.new) and takes its name in one step, then the directory is
 * synced. A crash before that step leaves the old file and perhaps PATH.new, which the next replace removes; a crash
 * after it leaves the new one. A new file has no name while it is written, so that it takes none that is somebody's, and a
 * crash leaves nothing; on file systems that have no such files its name is random (FILE_UNFINISHED). What is made stands in
 * one open directory, whatever takes that one's name meanwhile. No locks: two writers of one path are the callers' business.
 * Contents may be keys: buffers that fail to reach the caller are cleansed.
 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/owner.h"
#include "base/random.h"
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

/* Of a file that was opened non-blocking, for a pipe in place of the file would wait for its writer. */
static enum error read_whole(int descriptor, const char *path, size_t size_max, void **data, size_t *size)
{
    size_t expected = 0, got = 0;
    TRY(check_regular(descriptor, path, size_max, &expected));
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

#define READ_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

static enum error read_checked(const char *path, size_t size_max, bool private, void **data, size_t *size)
{
    AUTO_CLOSE int descriptor = open(path, READ_FLAGS);
    size_t regular;
    if (descriptor < 0)
        return error_from_errno(errno, "open %s", path);
    TRY(check_regular(descriptor, path, size_max, &regular));
    if (private)
        TRY(check_private(descriptor, path));
    return read_whole(descriptor, path, size_max, data, size);
}

enum error file_read(const char *path, size_t size_max, void **data, size_t *size)
{
    return read_checked(path, size_max, false, data, size);
}

enum error file_read_private(const char *path, size_t size_max, void **data, size_t *size)
{
    return read_checked(path, size_max, true, data, size);
}

/* ---- below an open directory ----------------------------------------------------------------------------------------- */

enum error file_parent_open(int directory, const char *name, const char *path, int *parent, const char **last)
{
    int at = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const char *word = name;
    for (const char *slash; at >= 0 && (slash = strchr(word, '/')) != NULL; word = slash + 1) {
        AUTO_FREE char *step = strndup(word, (size_t)(slash - word));
        int next = step == NULL ? -1 : openat(at, step, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int failed = step == NULL ? ENOMEM : errno;
        close(at);
        errno = failed;
        at = next;
    }
    if (at < 0)
        return error_from_errno(errno, "open the directory of %s (symbolic links are not followed)", path);
    *parent = at;
    *last = word;
    return ERROR_NONE;
}

enum error file_open_below(int directory, const char *name, const char *path, struct stat *status, int *descriptor)
{
    AUTO_CLOSE int parent = -1;
    const char *last;
    TRY(file_parent_open(directory, name, path, &parent, &last));
    int opened = openat(parent, last, READ_FLAGS | O_NOFOLLOW);
    if (opened < 0 && errno == ELOOP)
        return error_explain(ERROR_INVALID, "%s is a symbolic link, which is not followed here", path);
    if (opened < 0)
        return error_from_errno(errno, "open %s", path);
    enum error error = fstat(opened, status) == 0 ? ERROR_NONE : error_from_errno(errno, "stat %s", path);
    if (error == ERROR_NONE && !S_ISREG(status->st_mode))
        error = error_explain(ERROR_INVALID, "%s is not a regular file", path);
    if (error != ERROR_NONE)
        close(opened);
    else
        *descriptor = opened;
    return error;
}

enum error file_read_below(int directory, const char *name, const char *path, size_t size_max, struct stat *status, void **data,
                           size_t *size)
{
    AUTO_CLOSE int descriptor = -1;
    TRY(file_open_below(directory, name, path, status, &descriptor));
    return read_whole(descriptor, path, size_max, data, size);
}

/* ---- replacing ------------------------------------------------------------------------------------------------------- */

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

static enum error content_write(int descriptor, const char *path, const void *data, size_t size)
{
    TRY(write_all(descriptor, path, data, size));
    return fsync(descriptor) == 0 ? ERROR_NONE : error_from_errno(errno, "sync %s", path);
}

/* What an earlier crash left under this name is removed, not reused: it may have another mode or be a link. */
static enum error write_new(const char *path, const char *old_path, const void *data, size_t size)
{
    if (unlink(path) != 0 && errno != ENOENT)
        return error_from_errno(errno, "remove %s", path);
    AUTO_CLOSE int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (descriptor < 0)
        return error_from_errno(errno, "create %s", path);
    TRY(owner_give_as(descriptor, old_path));
    return content_write(descriptor, path, data, size);
}

/* Of its directory, malloc'ed; NULL: no memory. */
static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash == NULL ? 0 : (size_t)(slash - path);
    return slash == NULL ? strdup(".") : strndup(path, MAX(length, (size_t)1));
}

static enum error directory_open(const char *path, int *descriptor)
{
    AUTO_FREE char *directory = directory_of(path);
    if (directory == NULL)
        return ERROR_NO_MEMORY;
    int opened = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (opened < 0)
        return error_from_errno(errno, "open %s, the directory of %s", directory, path);
    *descriptor = opened;
    return ERROR_NONE;
}

enum error file_name_sync(const char *path)
{
    AUTO_FREE char *copy = strdup(path);
    if (copy == NULL)
        return ERROR_NO_MEMORY;
    AUTO_CLOSE int directory = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return directory >= 0 && fsync(directory) == 0 ? ERROR_NONE : error_from_errno(errno, "sync the directory of %s", path);
}

enum error file_remove(const char *path)
{
    if (unlink(path) != 0)
        return errno == ENOENT ? ERROR_NONE : error_from_errno(errno, "remove %s", path);
    return file_name_sync(path);
}

enum error file_rename(const char *from, const char *to)
{
    if (rename(from, to) != 0)
        return error_from_errno(errno, "rename %s", from);
    return file_name_sync(to);
}

enum error file_replace(const char *path, const void *data, size_t size)
{
    AUTO_FREE char *new_path = NULL;
    if (asprintf(&new_path, "%s.new", path) < 0) {
        new_path = NULL;
        return ERROR_NO_MEMORY;
    }
    enum error error = write_new(new_path, path, data, size);
    if (error == ERROR_NONE && rename(new_path, path) != 0)
        error = error_from_errno(errno, "rename %s", new_path);
    if (error != ERROR_NONE) {
        unlink(new_path);
        return error;
    }
    return file_name_sync(path);
}

/* ---- making ---------------------------------------------------------------------------------------------------------- */

/* A file that is to be made: `name` in the open `directory`; `path` is for sentences. */
struct making {
    int directory;
    const char *name, *path;
    const void *data;
    size_t size;
    file_fill *fill; /* instead of `data` */
    void *context;
    bool own;
};

static enum error making_write(const struct making *making, int descriptor)
{
    if (!making->own)
        TRY(owner_give_below(descriptor, making->directory, making->path));
    if (making->fill) {
        TRY(making->fill(descriptor, making->path, making->context));
        return fsync(descriptor) == 0 ? ERROR_NONE : error_from_errno(errno, "sync %s", making->path);
    }
    return content_write(descriptor, making->path, making->data, making->size);
}

static enum error making_failed(const struct making *making)
{
    return error_from_errno(errno, "create %s", making->path);
}

/* *done stays false, and nothing is left, where the file system has no files without a name (vfat, NFS). */
static enum error make_unnamed(const struct making *making, bool *done)
{
    char link[32];
    AUTO_CLOSE int descriptor = openat(making->directory, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600);
    if (descriptor < 0)
        return ERROR_NONE;
    TRY(making_write(making, descriptor));
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    *done = linkat(AT_FDCWD, link, making->directory, making->name, AT_SYMLINK_FOLLOW) == 0;
    return *done || errno != EEXIST ? ERROR_NONE : making_failed(making);
}

static enum error name_take(const struct making *making, const char *unfinished)
{
    if (linkat(making->directory, unfinished, making->directory, making->name, 0) == 0) {
        unlinkat(making->directory, unfinished, 0);
        return ERROR_NONE;
    }
    /* vfat and the like have no links. */
    if (errno != EPERM && errno != EOPNOTSUPP)
        return making_failed(making);
    return renameat2(making->directory, unfinished, making->directory, making->name, RENAME_NOREPLACE) == 0 ? ERROR_NONE
                                                                                                        : making_failed(making);
}

static enum error make_named(const struct making *making)
{
    uint64_t number;
    char unfinished[FILE_UNFINISHED_SIZE];
    random_bytes(&number, sizeof number);
    snprintf(unfinished, sizeof unfinished, FILE_UNFINISHED "%016" PRIx64, number);
    AUTO_CLOSE int descriptor =
        openat(making->directory, unfinished, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (descriptor < 0)
        return making_failed(making);
    enum error error = making_write(making, descriptor);
    if (error == ERROR_NONE)
        error = name_take(making, unfinished);
    if (error != ERROR_NONE)
        unlinkat(making->directory, unfinished, 0);
    return error;
}

static enum error make(const struct making *making)
{
    bool done = false;
    TRY(make_unnamed(making, &done));
    if (!done)
        TRY(make_named(making));
    if (fsync(making->directory) == 0)
        return ERROR_NONE;
    enum error error = error_from_errno(errno, "sync the directory of %s", making->path);
    unlinkat(making->directory, making->name, 0);
    return error;
}

static enum error make_at(struct making making)
{
    AUTO_CLOSE int directory = -1;
    const char *slash = strrchr(making.path, '/');
    TRY(directory_open(making.path, &directory));
    making.directory = directory;
    making.name = slash == NULL ? making.path : slash + 1;
    return make(&making);
}

enum error file_create(const char *path, const void *data, size_t size)
{
    return make_at((struct making){.path = path, .data = data, .size = size});
}

enum error file_create_own(const char *path, const void *data, size_t size)
{
    return make_at((struct making){.path = path, .data = data, .size = size, .own = true});
}

enum error file_create_filled(const char *path, file_fill *fill, void *context, bool own)
{
    return make_at((struct making){.path = path, .fill = fill, .context = context, .own = own});
}

enum error file_create_in(int directory, const char *name, const char *path, const void *data, size_t size)
{
    struct making making = {.directory = directory, .name = name, .path = path, .data = data, .size = size, .own = true};
    return make(&making);
}

enum error file_take_back(const char *path, enum error error)
{
    AUTO_FREE char *sentence = strdup(error_sentence(error));
    unlink(path);
    return sentence == NULL ? error : error_explain(error, "%s; %s was removed again", sentence, path);
}

bool file_is_unfinished(const char *name)
{
    return strncmp(name, FILE_UNFINISHED, strlen(FILE_UNFINISHED)) == 0 && strlen(name) == FILE_UNFINISHED_SIZE - 1;
}

char *file_join(const char *directory, const char *name)
{
    size_t length = strlen(directory);
    bool slash = length > 0 && directory[length - 1] == '/';
    char *path;
    return asprintf(&path, "%s%s%s", directory, slash ? "" : "/", name) < 0 ? NULL : path;
}
