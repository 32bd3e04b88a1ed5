/*
 * Trees: sparse arrays of fixed-size entries. One code for two uses: tables (pages addressed in their parents) and maps
 * of components (nodes are counted chunks with CIDs). A leaf is 4096 bytes, an inner node has NODE_FANOUT pointers; the
 * height is the level of the root, 0 where the root is a leaf.
 */
#ifndef COFFER_ENGINE_GROUP_TREE_H
#define COFFER_ENGINE_GROUP_TREE_H

#include "engine/group/checkpoint.h"
#include "engine/group/item.h"

struct group;

struct tree {
    enum item_kind kind; /* ITEM_NODE: a component's map; ITEM_PAGE: a table */
    uint64_t owner;      /* component or table */
    struct root root;
};

static inline struct tree tree_of_table(enum table table, const struct root *root)
{
    return (struct tree){ITEM_PAGE, table, *root};
}

/* Leaves that one node of a level covers. */
static inline uint64_t tree_span(unsigned level) { return UINT64_C(1) << (7 * level); }
static inline bool tree_is_empty(const struct tree *tree) { return entry_is_hole(tree->root.pointer.first); }

/* The leaves of these numbers (at most 256, any order): pinned blocks, or NULL where a leaf is absent. Unpin each by
 * tree_put(). On error nothing stays pinned. */
enum error tree_leaves(struct group *group, const struct tree *tree, const uint64_t *numbers, struct cache_block **blocks,
                       size_t count) CHECKED;
/* The same, but a leaf that cannot be read gives its own error and the others are answered. */
void tree_leaves_each(struct group *group, const struct tree *tree, const uint64_t *numbers, struct cache_block **blocks,
                      enum error *errors, size_t count);
void tree_put(struct group *group, struct cache_block **blocks, size_t count);

/* The pointer to the node of a level and number; a hole where there is none. */
enum error tree_pointer(struct group *group, const struct tree *tree, unsigned level, uint64_t number,
                        struct node_pointer *pointer) CHECKED;

/* The first number >= *number that has a leaf; false where there is none. */
enum error tree_next_leaf(struct group *group, const struct tree *tree, uint64_t *number, bool *found) CHECKED;

/* Reads the first `count` leaves (at most 256) of [first, end), and the nodes above them, into the cache: each level at once,
 * where tree_next_leaf() and single look-ups wait for one node after the other. What cannot be read is passed over. The
 * first leaf that it did not come to; `end` where there is none. */
uint64_t tree_read_ahead(struct group *group, const struct tree *tree, uint64_t first, uint64_t end, size_t count);

#endif
