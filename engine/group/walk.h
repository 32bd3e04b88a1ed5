/*
 * Walking a whole tree, depth first, leaves in rising order, for what has to see every node: the checker and the usage
 * of an object. Nodes are read from the devices, not from the cache of nodes: a copy that is damaged since it was
 * cached is found, and a long walk displaces nothing. A node that cannot be read is told and left out with all below
 * it.
 */
#ifndef COFFER_ENGINE_GROUP_WALK_H
#define COFFER_ENGINE_GROUP_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/group/tree.h"

enum walk_copies {
    WALK_ONE_COPY,   /* the second only where the first cannot be read */
    WALK_ALL_COPIES, /* both, and they are compared */
};

struct walk_node {
    struct node_pointer pointer;
    uint64_t parent_birth; /* of the pointer to its parent; UINT64_MAX at the root */
    struct node_identity identity;
    const uint8_t *bytes; /* BLOCK_SIZE; NULL: no copy that was asked for can be read */
    enum error errors[2]; /* of the first and the second copy; NOT_FOUND: its segment is gone. NONE where not read */
    bool differ;          /* both were read and are not the same */
};

/* An error that it returns ends the walk. `node` is valid in there only. */
typedef enum error walk_visit(void *context, const struct walk_node *node);

/* Leaves [first, end) of the tree and all nodes above them, a node before its children. The caller holds a view. Needs
 * about 0.6 MiB for each level. */
enum error tree_walk(struct group *group, const struct tree *tree, uint64_t first, uint64_t end,
                     enum walk_copies copies, walk_visit *visit, void *context) CHECKED;
/* The same of what hangs below one node: `tree` has it for its root, `number` is its number in its level. */
enum error subtree_walk(struct group *group, const struct tree *tree, uint64_t number, enum walk_copies copies,
                        walk_visit *visit, void *context) CHECKED;

/* Whether a node, of which only pointer and identity are known yet, is to be passed over with all below it. */
typedef bool walk_known(void *context, const struct walk_node *node);
/* As subtree_walk(), but asks of each node whether it is known already, before it is read. */
enum error subtree_walk_new(struct group *group, const struct tree *tree, uint64_t number, enum walk_copies copies,
                            walk_known *known, walk_visit *visit, void *context) CHECKED;

#endif
