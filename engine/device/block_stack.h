/*
 * What a file or a block device lies on, layer by layer, as the kernel tells it: whether an NBD device is among the layers,
 * so that what is opened before a pool does not lie on a disk of that pool.
 */
#ifndef COFFER_ENGINE_DEVICE_BLOCK_STACK_H
#define COFFER_ENGINE_DEVICE_BLOCK_STACK_H

#include <stdbool.h>

#define BLOCK_STACK_TEXT 128

struct block_stack_roots {
    const char *mounts;        /* /proc/self/mountinfo */
    const char *block_devices; /* /sys/dev/block */
};
extern const struct block_stack_roots block_stack_system;

enum block_stack_kind {
    BLOCK_STACK_NBD,  /* an NBD device of the kernel, or a partition of one */
    BLOCK_STACK_FUSE, /* a loop device over a file of a FUSE file system, as nbdfuse makes; its name is not to be had */
};

struct block_stack_layer {
    enum block_stack_kind kind;
    char name[BLOCK_STACK_TEXT];    /* nbd0, nbd0p1 */
    char backend[BLOCK_STACK_TEXT]; /* what its client calls the server's side; empty: it does not say */
    int pid;                        /* of the process that set it up; 0: not to be had */
};

/* Called for each such layer. */
typedef void block_stack_visit(const struct block_stack_layer *layer, void *context);

/* Walks down from a file, a directory or a block device that exists. What cannot be read ends the walk there. */
void block_stack_walk(const char *path, const struct block_stack_roots *roots, block_stack_visit *visit, void *context);

#endif
