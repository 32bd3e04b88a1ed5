/*
 * The file of a new KDK beside that of the old one. Which of the two is meant follows from a KEK's number and from what
 * files there are, so that no order of writes has to be kept but that of the change of keys itself: PATH.next-N is
 * durable before anything is wrapped under KEK N, and takes the name PATH when nothing is wrapped under another any more.
 * The old KDK is overwritten before that, so a crash in between leaves nothing of it, and whoever settles does it again.
 *
 * An overwritten file may live on in a file system that copies on write, or in the cells of a disk: docs/security.md says
 * so. The owner of the pool's devices calls, one thread at a time; the lock of the pool directory is for commands that seal the
 * key in PATH anew (provider_tpm.c).
 */
#include "crypto/provider_root.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/directory_lock.h"
#include "base/file.h"
#include "base/memory.h"
#include "crypto/overwrite.h"
#include "crypto/sealed_key.h"

#define SECTOR ((size_t)512)

static bool exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

/* A link to another disk stays one: the new key lies beside the file itself. */
static enum error base_path(const struct provider_config *config, struct provider_root *root)
{
    char *real = realpath(config->path, NULL);
    int size = snprintf(root->base, sizeof root->base, "%s", real != NULL ? real : config->path);
    free(real);
    return size >= 0 && (size_t)size < sizeof root->base ? ERROR_NONE : ERROR_TOO_LARGE;
}

enum error provider_root_new(const struct provider_config *config, uint64_t number, struct provider_root *root)
{
    root->config = *config;
    enum error error = base_path(config, root);
    int size = error ? -1 : snprintf(root->path, sizeof root->path, "%s.next-%" PRIu64, root->base, number);
    if (size < 0 || (size_t)size >= sizeof root->path)
        return error_explain(ERROR_TOO_LARGE, "the path of provider %s is too long", config->name);
    root->config.path = root->path;
    return ERROR_NONE;
}

/* By what a crash leaves of it: sectors of zeros, of which a key file, a text, has none. */
static bool was_overwritten(const char *path)
{
    void *text;
    size_t size;
    bool zeros = false;
    if (file_read(path, SEALED_KEY_TEXT_MAX, &text, &size) != ERROR_NONE)
        return false;
    for (size_t at = 0; at < size && !zeros; at += SECTOR)
        zeros = memory_is_zero((const uint8_t *)text + at, MIN(SECTOR, size - at));
    memory_free_cleansed(text);
    return zeros;
}

enum error provider_root_choose(const struct provider_config *config, uint64_t number, struct provider_root *root)
{
    TRY(provider_root_new(config, number, root));
    if (!exists(root->path) || was_overwritten(root->path)) /* what is in force was not: a crash brought a name back */
        root->config.path = config->path;
    return ERROR_NONE;
}

/* *waits: there is a PATH.next-number. A provider without a file has none. */
static enum error look(const struct provider_config *config, uint64_t number, struct provider_root *root, bool *waits)
{
    *waits = false;
    if (config->path == NULL)
        return ERROR_NONE;
    TRY(provider_root_new(config, number, root));
    *waits = exists(root->path);
    return ERROR_NONE;
}

/* Nothing vouches for a path of the conf: what lies there may be a file of somebody else, or another pool's only key. */
static enum error check_own(const struct provider_config *config, const char *path)
{
    void *text;
    size_t size;
    struct sealed_key sealed;
    TRY(file_read(path, SEALED_KEY_TEXT_MAX, &text, &size));
    enum error error = sealed_key_decode(text, size, &sealed);
    memory_cleanse(text, size);
    free(text);
    bool own = !error && uuid_equal(sealed.provider, config->id);
    memory_cleanse(&sealed, sizeof sealed);
    if (error)
        return error_prefix(error, "%s is left alone, since it is no key file that can be read", path);
    return own ? ERROR_NONE
               : error_explain(ERROR_FOREIGN, "%s is left alone: it is the key of another provider than %s", path, config->name);
}

/* Nor for what is to be replaced or destroyed, but what a crash left of that goes on. */
static enum error check_expendable(const struct provider_config *config, const char *path)
{
    enum error error = check_own(config, path);
    if (error != ERROR_NOT_FOUND && (error != ERROR_CORRUPT || !was_overwritten(path)))
        return error;
    error_forget();
    return ERROR_NONE;
}

/* The old one is not touched before the new one was seen. */
static enum error replace(const struct provider_root *root)
{
    TRY(check_own(&root->config, root->path));
    enum error error = check_expendable(&root->config, root->base);
    if (error)
        return error_prefix(error, "the new root key stays in %s until that file is moved away", root->path);
    TRY(overwrite(root->base));
    return file_rename(root->path, root->base);
}

enum error provider_root_settle(const struct provider_config *config, uint64_t number, const char *directory)
{
    struct provider_root root;
    bool waits;
    int lock;
    TRY(look(config, number, &root, &waits));
    if (!waits)
        return ERROR_NONE;
    if (was_overwritten(root.path))
        return provider_root_forget(config, number);
    TRY(directory_lock(directory, &lock));
    enum error error = replace(&root);
    directory_unlock(lock);
    return error;
}

/* Half a file is one of this pool's that a crash cut short, as its name says; a whole one says whose it is. */
enum error provider_root_forget(const struct provider_config *config, uint64_t number)
{
    struct provider_root root;
    bool waits;
    TRY(look(config, number, &root, &waits));
    if (!waits)
        return ERROR_NONE;
    enum error error = check_own(config, root.path);
    error_forget();
    return error == ERROR_FOREIGN || error == ERROR_TOO_LARGE || error == ERROR_NEWER_FORMAT ? ERROR_NONE
                                                                                               : overwrite_and_remove(root.path);
}

static enum error destroy(const struct provider_config *config, const char *path)
{
    TRY(check_expendable(config, path));
    return overwrite_and_remove(path);
}

/* Whether it is NAME.next-N, or NAME.next-N.new, of who sealed that one anew and was cut short. */
static bool is_next(const char *entry, const char *name)
{
    static const char next[] = ".next-";
    size_t length = strlen(name);
    if (strncmp(entry, name, length) != 0 || strncmp(entry + length, next, sizeof next - 1) != 0)
        return false;
    const char *number = entry + length + sizeof next - 1, *end = number + strspn(number, "0123456789");
    return end != number && (*end == '\0' || strcmp(end, ".new") == 0);
}

/* There may be several of them; `entry` is a name in the directory `directory`. */
static enum error next_destroy(const struct provider_config *config, const char *directory, const char *entry, const char *name)
{
    if (!is_next(entry, name))
        return ERROR_NONE;
    AUTO_FREE char *path = file_join(directory, entry);
    return path ? destroy(config, path) : ERROR_NO_MEMORY;
}

enum error provider_root_destroy(const struct provider_config *config)
{
    struct provider_root root;
    TRY(provider_root_new(config, 0, &root));
    AUTO_FREE char *directory = strdup(root.base);
    char *slash = directory ? strrchr(directory, '/') : NULL;
    if (!directory)
        return ERROR_NO_MEMORY;
    const char *name = slash ? root.base + (slash - directory) + 1 : root.base;
    if (slash)
        *slash = '\0';
    const char *parent = !slash ? "." : directory[0] == '\0' ? "/" : directory;
    DIR *listing = opendir(parent);
    if (!listing)
        return error_from_errno(errno, "look into %s", parent);
    enum error error = ERROR_NONE;
    for (const struct dirent *entry; !error && (entry = readdir(listing)) != NULL;)
        error = next_destroy(config, parent, entry->d_name, name);
    closedir(listing);
    TRY(error);
    TRY(destroy(config, root.base));
    AUTO_FREE char *unfinished = NULL; /* of who sealed it anew, and was cut short */
    if (asprintf(&unfinished, "%s.new", root.base) < 0) {
        unfinished = NULL;
        return ERROR_NO_MEMORY;
    }
    return destroy(config, unfinished);
}
