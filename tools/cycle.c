/*
 * Whether a new file would lie in the pool directory, or on a disk of a pool: what lies below its directory is told by engine/device/block_stack.c. An
 * NBD device, and a loop device over FUSE, count whoever serves them. Nothing is kept.
 */
#include "tools/cycle.h"

#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/device/block_stack.h"

struct below {
    bool found;
    char what[BLOCK_STACK_TEXT + 32]; /* the first that was found */
};

static void take(const struct block_stack_layer *layer, void *context)
{
    struct below *below = context;
    if (below->found)
        return;
    below->found = true;
    if (layer->kind == BLOCK_STACK_NBD)
        snprintf(below->what, sizeof below->what, "the NBD device /dev/%s", layer->name);
    else
        snprintf(below->what, sizeof below->what, "a loop device over a FUSE file system, as nbdfuse makes");
}

enum error cycle_check_in(const char *path, const char *mounts, const char *block_devices)
{
    struct below below = {0};
    AUTO_FREE char *copy = strdup(path);
    if (copy == NULL)
        return ERROR_NO_MEMORY;
    block_stack_walk(dirname(copy), &(struct block_stack_roots){mounts, block_devices}, take, &below);
    if (!below.found)
        return ERROR_NONE;
    return error_explain(ERROR_INVALID,
                         "%s would lie on %s, which may be a disk of this very pool: locked in with what it opens. Name a "
                         "place that is on no such disk",
                         path, below.what);
}

/* By no link. Also of what is not there yet, in a directory that is. */
static bool full_name(const char *path, char full[PATH_MAX])
{
    char above[PATH_MAX];
    AUTO_FREE char *parent = strdup(path), *name = strdup(path);
    if (realpath(path, full) != NULL)
        return true;
    return parent != NULL && name != NULL && realpath(dirname(parent), above) != NULL &&
           snprintf(full, PATH_MAX, "%s/%s", above, basename(name)) < PATH_MAX;
}

/* What cannot be looked at is told where it is written. */
static bool lies_in(const char *path, const char *directory)
{
    char root[PATH_MAX], full[PATH_MAX];
    AUTO_FREE char *copy = strdup(path);
    if (copy == NULL || !full_name(directory, root) || !full_name(dirname(copy), full))
        return false;
    size_t size = strlen(root);
    return strncmp(full, root, size) == 0 && (full[size] == '\0' || full[size] == '/');
}

enum error cycle_check(const char *path, const char *directory)
{
    if (lies_in(path, directory))
        return error_explain(ERROR_INVALID, "%s lies in the pool directory, and would be lost or stolen with it: name a file elsewhere",
                             path);
    return cycle_check_in(path, block_stack_system.mounts, block_stack_system.block_devices);
}
