/*
 * Stable names of block devices: /dev/sdb is another disk after a restart, /dev/disk/by-id/... is not. A name that was
 * given from /dev/disk is kept, because somebody chose it. Reads directories only; no state.
 */
#include "engine/pool/stable_path.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"

#define CHOSEN "/dev/disk/"

static bool is_same_device(const char *path, dev_t number)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISBLK(status.st_mode) && status.st_rdev == number;
}

/* The first link by name in `directory` to the device; NULL where there is none. */
static char *link_find(const char *directory, dev_t number)
{
    DIR *stream = opendir(directory);
    char *best = NULL;
    if (stream == NULL)
        return NULL;
    for (struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream)) {
        char *path = entry->d_name[0] == '.' ? NULL : file_join(directory, entry->d_name);
        if (path != NULL && is_same_device(path, number) && (best == NULL || strcmp(path, best) < 0)) {
            free(best);
            best = path;
        } else {
            free(path);
        }
    }
    closedir(stream);
    return best;
}

static char *block_name(const char *path, dev_t number)
{
    static const char *const directories[] = {CHOSEN "by-id", CHOSEN "by-path"};
    if (strncmp(path, CHOSEN, strlen(CHOSEN)) == 0)
        return strdup(path);
    char *found = NULL;
    for (size_t i = 0; i < COUNT_OF(directories) && found == NULL; i++)
        found = link_find(directories[i], number);
    return found;
}

enum error stable_path(const char *path, char **stable)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return error_from_errno(errno, "device %s", path);
    char *found = S_ISBLK(status.st_mode) ? block_name(path, status.st_rdev) : NULL;
    if (found == NULL)
        found = realpath(path, NULL);
    if (found == NULL)
        return error_from_errno(errno, "device %s", path);
    *stable = found;
    return ERROR_NONE;
}
