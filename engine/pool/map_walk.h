/*
 * Walking the map of one object from end to end while it is written: every node, and every leaf with what the recent
 * tables say of its blocks.
 *
 * A view that is held keeps the recent table which a merge emptied from being used again, so writers would come to a
 * halt behind a long walk: it goes in slices, each with a view of its own. Of an object that is written meanwhile a
 * walk therefore sees no single moment. Leaves that only the recent tables know are listed when it begins.
 *
 * An object goes on in another component after a snapshot, a clone or a roll-back, and the one before may soon be gone:
 * a walk of the object asks for its component with each view, a walk of the component does not follow.
 */
#ifndef COFFER_ENGINE_POOL_MAP_WALK_H
#define COFFER_ENGINE_POOL_MAP_WALK_H

#include "engine/group/view.h"
#include "engine/group/walk.h"
#include "engine/pool/pool.h"

struct map_leaf {
    uint64_t number;
    struct map_entry entries[MAP_LEAF_ENTRIES]; /* holes where nothing is mapped */
    bool known[MAP_LEAF_ENTRIES];               /* a recent table said so */
    bool lost;                                  /* the tree's leaf cannot be read: what is not known is unknown */
};

struct map_walk {
    /* the caller's */
    struct group *group;
    uint64_t component;
    struct pool *pool;  /* of the object with this UUID: in its component, whichever it is; NULL: in that one */
    struct uuid object;
    enum walk_copies copies;
    size_t slice_leaves; /* that are walked under one view */
    /* A node of the tree, leaves included, before its children and its leaf; `again`: an earlier slice had it. One
     * whose bytes are NULL is left out with all below it. An error ends the walk. */
    enum error (*node)(struct map_walk *walk, const struct walk_node *node, bool again);
    void (*leaf)(struct map_walk *walk, const struct map_leaf *leaf);
    void *context;
    /* private */
    const struct view *view;        /* of the slice */
    uint64_t next;                  /* leaf at which the slice begins */
    size_t leaves;                  /* walked in it */
    uint64_t seen[NODE_LEVELS_MAX]; /* of each level: nodes below this number were given */
    uint64_t *recent;               /* leaves with points in the recent tables, rising */
    size_t recent_count, recent_capacity, recent_next;
    struct hole_range *ranges; /* of holes in them, likewise */
    size_t range_count, range_next;
    bool out_of_memory;
    struct map_leaf current;
};

/* Lists what the recent tables have; what is entered later may be missed. map_walk_forget() is due in any case. */
enum error map_walk_begin(struct map_walk *walk) CHECKED;
/* Goes on from this leaf. */
void map_walk_seek(struct map_walk *walk, uint64_t leaf);
/* Walks a slice; ERROR_AGAIN where there is more (from walk->next on). */
enum error map_walk_slice(struct map_walk *walk) CHECKED;
void map_walk_forget(struct map_walk *walk);

#endif
