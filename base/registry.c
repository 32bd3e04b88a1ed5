/*
 * The list of running pools.
 *
 * A daemon that was killed leaves its link; the next that starts removes links that lead nowhere, and readers try to
 * connect before they believe one. The link is made under another name and renamed, so a reader sees the old or the
 * new one. No locks: the names are the pools' UUIDs, and one daemon at a time serves a pool.
 */
#include "base/registry.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

#define SUFFIX     ".pool"
#define ENTRY_SIZE (UUID_TEXT_SIZE + sizeof(SUFFIX) + 8)

char *registry_directory(void)
{
    const char *named = getenv("COFFER_RUN");
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (named != NULL && named[0] == '/')
        return strdup(named);
    if (geteuid() == 0)
        return strdup("/run/coffer");
    return runtime == NULL || runtime[0] != '/' ? NULL : file_join(runtime, "coffer");
}

char *registry_of_root(void)
{
    return getenv("COFFER_RUN") != NULL || geteuid() == 0 ? NULL : strdup("/run/coffer");
}

bool registry_is_entry(const char *name)
{
    size_t length = strlen(name), suffix = strlen(SUFFIX);
    return length > suffix && strcmp(name + length - suffix, SUFFIX) == 0;
}

static void prune(int directory)
{
    int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = copy < 0 ? NULL : fdopendir(copy);
    struct dirent *entry;
    struct stat target;
    if (entries == NULL) {
        if (copy >= 0)
            close(copy);
        return;
    }
    while ((entry = readdir(entries)) != NULL) {
        if (registry_is_entry(entry->d_name) && fstatat(directory, entry->d_name, &target, 0) != 0 && errno == ENOENT)
            unlinkat(directory, entry->d_name, 0);
    }
    closedir(entries);
}

static int open_directory(bool make)
{
    AUTO_FREE char *path = registry_directory();
    if (path == NULL)
        return -1;
    bool made = make && mkdir(path, 0755) == 0;
    if (make && !made && errno != EEXIST)
        return -1;
    if (made && chmod(path, 0755) != 0) /* whatever the umask: others may learn which pools run */
        return -1;
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void entry_name(struct uuid pool, char name[ENTRY_SIZE])
{
    char uuid[UUID_TEXT_SIZE];
    uuid_format(pool, uuid);
    snprintf(name, ENTRY_SIZE, "%s" SUFFIX, uuid);
}

bool registry_is_entry_of(const char *name, struct uuid pool)
{
    char own[ENTRY_SIZE];
    entry_name(pool, own);
    return strcmp(name, own) == 0;
}

void registry_prepare(void)
{
    int directory = open_directory(true);
    if (directory >= 0)
        close(directory);
}

void registry_add(struct uuid pool, const char *socket_path)
{
    char name[ENTRY_SIZE], fresh[ENTRY_SIZE + 4];
    AUTO_FREE char *absolute = realpath(socket_path, NULL);
    int directory = open_directory(true);
    if (directory >= 0 && absolute != NULL) {
        prune(directory);
        entry_name(pool, name);
        snprintf(fresh, sizeof(fresh), "%s.new", name);
        unlinkat(directory, fresh, 0);
        if (symlinkat(absolute, directory, fresh) == 0 && renameat(directory, fresh, directory, name) != 0)
            unlinkat(directory, fresh, 0);
    }
    if (directory >= 0)
        close(directory);
}

void registry_remove(struct uuid pool)
{
    char name[ENTRY_SIZE];
    int directory = open_directory(false);
    if (directory < 0)
        return;
    entry_name(pool, name);
    unlinkat(directory, name, 0);
    close(directory);
}
