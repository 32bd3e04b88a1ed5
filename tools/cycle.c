/*
 * From a path down to what its file system lies on, as the kernel tells it: the mount of the directory, the block device
 * below, what that one is mapped onto (/sys/dev/block/M:N/slaves, of a partition its disk), the file behind a loop device,
 * and so on from that file. What cannot be read ends the search and counts as harmless: this spares people a mistake, and
 * protects from nobody. Nothing is kept.
 */
#include "tools/cycle.h"

#include <dirent.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/memory.h"

#define DEPTH_MAX 8 /* of loop devices on files on loop devices */

struct search {
    const char *path; /* what the person named */
    const char *mounts, *block_devices;
    int depth;
};

static enum error file_look(struct search *search, const char *path);

static enum error refuse(const struct search *search, const char *what)
{
    return error_explain(ERROR_INVALID,
                         "%s would lie on %s, which may be a disk of this very pool: locked in with what it opens. Name a "
                         "place that is on no such disk",
                         search->path, what);
}

/* The type of the file system that is mounted as `device`; empty where it is not found. */
static void mount_type(const struct search *search, dev_t device, char type[64], char source[PATH_MAX])
{
    FILE *file = fopen(search->mounts, "re");
    AUTO_FREE char *line = NULL;
    size_t size = 0;
    unsigned above, below;
    type[0] = source[0] = '\0';
    while (file != NULL && type[0] == '\0' && getline(&line, &size, file) > 0) {
        const char *behind = strstr(line, " - ");
        if (sscanf(line, "%*u %*u %u:%u", &above, &below) == 2 && makedev(above, below) == device && behind != NULL)
            sscanf(behind, " - %63s %4095s", type, source);
    }
    if (file != NULL)
        fclose(file);
}

/* A line of a file below the folder of a block device. */
static bool attribute_read(const struct search *search, dev_t device, const char *name, char text[PATH_MAX])
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%u:%u/%s", search->block_devices, major(device), minor(device), name);
    FILE *file = fopen(path, "re");
    bool found = file != NULL && fgets(text, PATH_MAX, file) != NULL;
    if (file != NULL)
        fclose(file);
    if (found)
        text[strcspn(text, "\n")] = '\0';
    return found;
}

static enum error block_look(struct search *search, dev_t device);

static enum error number_look(struct search *search, dev_t device, const char *name)
{
    char text[PATH_MAX];
    unsigned above, below;
    if (!attribute_read(search, device, name, text) || sscanf(text, "%u:%u", &above, &below) != 2)
        return ERROR_NONE;
    return block_look(search, makedev(above, below));
}

/* What a mapping (LVM, dm-crypt, RAID) lies on. */
static enum error slaves_look(struct search *search, dev_t device)
{
    char path[PATH_MAX], name[NAME_MAX + 32];
    snprintf(path, sizeof path, "%s/%u:%u/slaves", search->block_devices, major(device), minor(device));
    DIR *slaves = opendir(path);
    enum error error = ERROR_NONE;
    for (struct dirent *entry; slaves != NULL && error == ERROR_NONE && (entry = readdir(slaves)) != NULL;) {
        snprintf(name, sizeof name, "slaves/%s/dev", entry->d_name);
        if (entry->d_name[0] != '.')
            error = number_look(search, device, name);
    }
    if (slaves != NULL)
        closedir(slaves);
    return error;
}

/* nbd0, nbd0p1: the kernel's name of it. */
static bool is_nbd(const struct search *search, dev_t device, char name[PATH_MAX])
{
    char line[PATH_MAX], path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%u:%u/uevent", search->block_devices, major(device), minor(device));
    FILE *file = fopen(path, "re");
    bool found = false;
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL)
        found = sscanf(line, "DEVNAME=%4095s", name) == 1 && strncmp(name, "nbd", 3) == 0;
    if (file != NULL)
        fclose(file);
    return found;
}

static enum error block_look(struct search *search, dev_t device)
{
    char text[PATH_MAX + 32], name[PATH_MAX];
    if (++search->depth > DEPTH_MAX)
        return ERROR_NONE;
    if (is_nbd(search, device, name)) {
        snprintf(text, sizeof text, "the NBD device /dev/%s", name);
        return refuse(search, text);
    }
    TRY(slaves_look(search, device));
    TRY(number_look(search, device, "../dev"));
    return attribute_read(search, device, "loop/backing_file", name) ? file_look(search, name) : ERROR_NONE;
}

static enum error file_look(struct search *search, const char *path)
{
    struct stat status;
    char type[64], source[PATH_MAX];
    if (stat(path, &status) != 0)
        return ERROR_NONE;
    if (S_ISBLK(status.st_mode))
        return block_look(search, status.st_rdev);
    mount_type(search, status.st_dev, type, source);
    if (strncmp(type, "fuse", 4) == 0 && search->depth > 0) /* nbdfuse does not give its name */
        return refuse(search, "a loop device over a FUSE file system, as nbdfuse makes");
    if (source[0] == '/' && major(status.st_dev) == 0 && stat(source, &status) == 0 && S_ISBLK(status.st_mode))
        return block_look(search, status.st_rdev); /* btrfs has numbers of its own */
    return block_look(search, status.st_dev);
}

enum error cycle_check_in(const char *path, const char *mounts, const char *block_devices)
{
    struct search search = {path, mounts, block_devices, 0};
    AUTO_FREE char *copy = strdup(path);
    if (copy == NULL)
        return ERROR_NO_MEMORY;
    return file_look(&search, dirname(copy));
}

enum error cycle_check(const char *path)
{
    return cycle_check_in(path, "/proc/self/mountinfo", "/sys/dev/block");
}
