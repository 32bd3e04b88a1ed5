/*
 * From a path down to what its file system lies on: the mount of the file, the block device below, what that one is mapped
 * onto (/sys/dev/block/M:N/slaves: LVM, dm-crypt, RAID; of a partition its disk), the file behind a loop device, and so on
 * from that file. What cannot be read ends the search and counts as harmless: this spares people a mistake, and protects
 * from nobody. Nothing is kept, nothing is opened but files of the kernel; depth and layers are bounded, since a loop device
 * may lie on itself.
 */
#include "engine/device/block_stack.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/memory.h"

#define DEPTH_MAX  8   /* of mappings on loop devices on files on … */
#define LAYERS_MAX 256 /* of a RAID over many disks, each a mapping */

const struct block_stack_roots block_stack_system = {"/proc/self/mountinfo", "/sys/dev/block"};

struct search {
    const struct block_stack_roots *roots;
    block_stack_visit *visit;
    void *context;
    unsigned layers;
};

static void file_look(struct search *search, const char *path, unsigned depth);

/* Type and source of the file system that is mounted as `device`; empty where it is not found. */
static void mount_find(const struct search *search, dev_t device, char type[64], char source[PATH_MAX])
{
    FILE *file = fopen(search->roots->mounts, "re");
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
static bool attribute_read(const struct search *search, dev_t device, const char *name, char *text, size_t size)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%u:%u/%s", search->roots->block_devices, major(device), minor(device), name);
    FILE *file = fopen(path, "re");
    bool found = file != NULL && fgets(text, (int)size, file) != NULL;
    if (file != NULL)
        fclose(file);
    text[found ? strcspn(text, "\n") : 0] = '\0';
    return found;
}

static void block_look(struct search *search, dev_t device, unsigned depth);

static void number_look(struct search *search, dev_t device, const char *name, unsigned depth)
{
    char text[64];
    unsigned above, below;
    if (attribute_read(search, device, name, text, sizeof text) && sscanf(text, "%u:%u", &above, &below) == 2)
        block_look(search, makedev(above, below), depth);
}

static void slaves_look(struct search *search, dev_t device, unsigned depth)
{
    char path[PATH_MAX], name[NAME_MAX + 32];
    snprintf(path, sizeof path, "%s/%u:%u/slaves", search->roots->block_devices, major(device), minor(device));
    DIR *slaves = opendir(path);
    for (struct dirent *entry; slaves != NULL && (entry = readdir(slaves)) != NULL;) {
        snprintf(name, sizeof name, "slaves/%s/dev", entry->d_name);
        if (entry->d_name[0] != '.')
            number_look(search, device, name, depth);
    }
    if (slaves != NULL)
        closedir(slaves);
}

/* The kernel's name of it. */
static bool is_nbd(const struct search *search, dev_t device, char name[BLOCK_STACK_TEXT])
{
    char line[PATH_MAX], path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%u:%u/uevent", search->roots->block_devices, major(device), minor(device));
    FILE *file = fopen(path, "re");
    bool found = false;
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL)
        found = sscanf(line, "DEVNAME=%127s", name) == 1 && strncmp(name, "nbd", 3) == 0;
    if (file != NULL)
        fclose(file);
    return found;
}

/* Of a partition its disk says who set it up. */
static void nbd_tell(struct search *search, dev_t device, struct block_stack_layer *layer)
{
    char text[64];
    layer->kind = BLOCK_STACK_NBD;
    if (attribute_read(search, device, "pid", text, sizeof text) || attribute_read(search, device, "../pid", text, sizeof text))
        layer->pid = (int)strtol(text, NULL, 10);
    if (!attribute_read(search, device, "backend", layer->backend, sizeof layer->backend) &&
        !attribute_read(search, device, "../backend", layer->backend, sizeof layer->backend))
        layer->backend[0] = '\0';
    search->visit(layer, search->context);
}

static void block_look(struct search *search, dev_t device, unsigned depth)
{
    char file[PATH_MAX];
    struct block_stack_layer layer = {0};
    if (depth > DEPTH_MAX || ++search->layers > LAYERS_MAX)
        return;
    if (is_nbd(search, device, layer.name)) {
        nbd_tell(search, device, &layer);
        return;
    }
    slaves_look(search, device, depth + 1);
    number_look(search, device, "../dev", depth + 1);
    if (attribute_read(search, device, "loop/backing_file", file, sizeof file))
        file_look(search, file, depth + 1);
}

static void file_look(struct search *search, const char *path, unsigned depth)
{
    struct stat status;
    char type[64], source[PATH_MAX];
    if (stat(path, &status) != 0)
        return;
    if (S_ISBLK(status.st_mode)) {
        block_look(search, status.st_rdev, depth);
        return;
    }
    mount_find(search, status.st_dev, type, source);
    if (strncmp(type, "fuse", 4) == 0 && depth > 0) {
        search->visit(&(struct block_stack_layer){.kind = BLOCK_STACK_FUSE}, search->context);
        return;
    }
    if (source[0] == '/' && major(status.st_dev) == 0 && stat(source, &status) == 0 && S_ISBLK(status.st_mode))
        block_look(search, status.st_rdev, depth); /* btrfs has numbers of its own */
    else
        block_look(search, status.st_dev, depth);
}

void block_stack_walk(const char *path, const struct block_stack_roots *roots, block_stack_visit *visit, void *context)
{
    struct search search = {roots, visit, context, 0};
    file_look(&search, path, 0);
}
