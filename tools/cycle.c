/*
 * Whether a new file would lie on a disk of a pool: what lies below its directory is told by engine/device/block_stack.c. An
 * NBD device, and a loop device over FUSE, count whoever serves them. Nothing is kept.
 */
#include "tools/cycle.h"

#include <libgen.h>
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

enum error cycle_check(const char *path)
{
    return cycle_check_in(path, block_stack_system.mounts, block_stack_system.block_devices);
}
