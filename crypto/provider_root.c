/*
 * The file of a new KDK beside that of the old one. Which of the two is meant follows from a KEK's number and from what
 * files there are, so that no order of writes has to be kept but that of the change of keys itself: PATH.N is durable
 * before anything is wrapped under KEK N, and takes the name PATH when nothing is wrapped under another any more.
 *
 * A crash leaves PATH.N beside PATH, or the name already given away; who settles or forgets does it again. An overwritten
 * file may live on in a file system that copies on write, or in the cells of a disk: docs/security.md says so. No locks:
 * the owner of the pool's devices calls, one thread at a time.
 */
#include "crypto/provider_root.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

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
    int size = error ? -1 : snprintf(root->path, sizeof root->path, "%s.%" PRIu64, root->base, number);
    if (size < 0 || (size_t)size >= sizeof root->path)
        return error_explain(ERROR_TOO_LARGE, "the path of provider %s is too long", config->name);
    root->config.path = root->path;
    return ERROR_NONE;
}

enum error provider_root_choose(const struct provider_config *config, uint64_t number, struct provider_root *root)
{
    TRY(provider_root_new(config, number, root));
    if (!exists(root->path))
        root->config.path = config->path;
    return ERROR_NONE;
}

/* What is not there has no bytes to overwrite: -1. */
static int open_old(const char *path)
{
    return open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
}

static enum error overwrite(int descriptor, const char *path)
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

enum error provider_root_settle(const struct provider_config *config, uint64_t number)
{
    struct provider_root root;
    if (config->path == NULL)
        return ERROR_NONE;
    TRY(provider_root_new(config, number, &root));
    if (!exists(root.path))
        return ERROR_NONE;
    int old = open_old(root.base);
    enum error error = file_rename(root.path, root.base);
    if (old < 0)
        return error;
    if (error == ERROR_NONE)
        return overwrite(old, root.base);
    close(old);
    return error;
}

enum error provider_root_forget(const struct provider_config *config, uint64_t number)
{
    struct provider_root root;
    if (config->path == NULL)
        return ERROR_NONE;
    TRY(provider_root_new(config, number, &root));
    if (!exists(root.path))
        return ERROR_NONE;
    int old = open_old(root.path);
    if (old >= 0)
        TRY(overwrite(old, root.path));
    if (unlink(root.path) != 0 && errno != ENOENT)
        return error_from_errno(errno, "remove %s", root.path);
    return ERROR_NONE;
}
