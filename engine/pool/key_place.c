/*
 * A pool that was copied has the conf of the other one, and with it the `path =` and the provider id of its key file, so nothing
 * in the file tells whose it is; a key file in the pool directory was copied with it. So one that lies elsewhere is destroyed
 * only where a person named it. Links are followed: what counts is where the bytes are.
 *
 * A new root that replaces such a file is asked for nothing: the change is of the pool's present key, and that it replaces the
 * file is what it is for (next_key.c looks that it holds that key). No state, no locks.
 */
#include "engine/pool/key_place.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"

static bool is_same(const char *path, const char *other)
{
    AUTO_FREE char *real = realpath(path, NULL);
    AUTO_FREE char *real_other = realpath(other, NULL);
    return strcmp(path, other) == 0 || (real && real_other && strcmp(real, real_other) == 0);
}

/* Of what is there. */
static bool is_within(const char *directory, const char *path)
{
    AUTO_FREE char *real = realpath(path, NULL);
    AUTO_FREE char *parent = realpath(directory, NULL);
    size_t length = parent ? strlen(parent) : 0;
    return real && parent && strncmp(real, parent, length) == 0 && real[length] == '/';
}

enum error key_place_check(const char *directory, const struct provider_config *provider, const char *const *named, size_t count)
{
    const char *path = provider->path;
    if (!path || access(path, F_OK) != 0 || is_within(directory, path))
        return ERROR_NONE;
    for (size_t i = 0; i < count; i++)
        if (is_same(path, named[i]))
            return ERROR_NONE;
    return error_explain(ERROR_UNCONFIRMED,
                         "%s is left alone: the key file of provider %s lies outside of %s, and a copy of this pool may need it; "
                         "where none does, name it: --key-file %s",
                         path, provider->name, directory, path);
}

enum error key_place_named_check(const struct pool_conf *conf, const char *const *named, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool known = false;
        for (size_t p = 0; p < conf->provider_count && !known; p++)
            known = conf->providers[p].path && is_same(conf->providers[p].path, named[i]);
        if (!known)
            return error_explain(ERROR_INVALID, "no provider of %s/%s keeps its key in %s", conf->directory, POOL_CONF_NAME, named[i]);
    }
    return ERROR_NONE;
}
