/*
 * Whether what coffer.conf names is also where a key is cached in the TPM: that file is made by itself, replaced and removed.
 *
 * What is looked at is the last part of a name, and whether its directory is the same one, however it is spelled; a link to the
 * file escapes that, but crypto/key_cache.c destroys nothing but a cache. No locks, no state, nothing on disk.
 */
#include "engine/pool/conf_names.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/conf.h"

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

static void directory_of(const char *path, char directory[PATH_MAX])
{
    int length = (int)(last_part(path) - path);
    snprintf(directory, PATH_MAX, "%.*s", length, length == 0 ? "./" : path);
}

static bool is_same_directory(const char *path, const char *other)
{
    char directory[PATH_MAX], other_directory[PATH_MAX];
    struct stat status, other_status;
    directory_of(path, directory);
    directory_of(other, other_directory);
    if (strcmp(directory, other_directory) == 0)
        return true;
    return stat(directory, &status) == 0 && stat(other_directory, &other_status) == 0 && status.st_dev == other_status.st_dev &&
           status.st_ino == other_status.st_ino;
}

static bool is_cache(const char *cache, const char *path)
{
    const char *name = last_part(path), *cache_name = last_part(cache);
    size_t length = strlen(cache_name);
    if (strncmp(name, cache_name, length) != 0 || (name[length] != '\0' && strcmp(name + length, ".new") != 0))
        return false;
    return is_same_directory(path, cache);
}

/* `path` may be NULL. */
static enum error name_check(const struct pool_conf *conf, const char *section, const char *key, const char *path)
{
    for (size_t i = 0; path != NULL && i < conf->provider_count; i++)
        if (conf->providers[i].cache != NULL && is_cache(conf->providers[i].cache, path))
            return conf_complain(conf->source, section, key,
                                 "%s is the file in which the key of provider %s is cached (tpm-cache), or one that is made in its "
                                 "place: give this one another name", path, conf->providers[i].name);
    return ERROR_NONE;
}

static enum error provider_check(const struct pool_conf *conf, const struct provider_config *provider)
{
    char section[PROVIDER_NAME_MAX + sizeof "provider "];
    snprintf(section, sizeof section, "provider %s", provider->name);
    TRY(name_check(conf, section, "path", provider->path));
    TRY(name_check(conf, section, "ca", provider->ca));
    TRY(name_check(conf, section, "certificate", provider->certificate));
    return name_check(conf, section, "key", provider->key);
}

static enum error group_check(const struct pool_conf *conf, const struct pool_conf_group *group)
{
    char section[GROUP_NAME_MAX + sizeof "group "];
    snprintf(section, sizeof section, "group %s", group->name);
    for (size_t i = 0; i < group->device_count; i++)
        TRY(name_check(conf, section, "devices", group->devices[i].path));
    return ERROR_NONE;
}

static enum error server_check(const struct pool_conf *conf)
{
    static const char unix_socket[] = "unix:";
    TRY(name_check(conf, "server", "control", conf->control));
    for (size_t i = 0; i < conf->nbd_count; i++)
        if (strncmp(conf->nbd[i], unix_socket, sizeof unix_socket - 1) == 0)
            TRY(name_check(conf, "server", "nbd", conf->nbd[i] + sizeof unix_socket - 1));
    return ERROR_NONE;
}

enum error conf_names_check(const struct pool_conf *conf)
{
    for (size_t i = 0; i < conf->provider_count; i++)
        TRY(provider_check(conf, &conf->providers[i]));
    for (size_t i = 0; i < conf->group_count; i++)
        TRY(group_check(conf, &conf->groups[i]));
    return server_check(conf);
}
