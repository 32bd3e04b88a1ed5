/*
 * The merge: folds the frozen table into the trees and publishes the new roots. Only the merge writes trees and counts.
 * merge.c tells the story; update.c rewrites one tree, change.c keeps what that does to counts and places.
 *
 * All of it belongs to the merge thread. What it writes stands behind nothing that is durable until the checkpoint
 * record is: a crash forgets it, and a merge may be repeated after any crash.
 */
#ifndef COFFER_ENGINE_GROUP_MERGE_H
#define COFFER_ENGINE_GROUP_MERGE_H

#include "engine/group/group.h"
#include "engine/group/tree.h"

#define CHANGES_MAX 131072 /* about 3 MiB; when full it is sorted and applied */

struct change {
    struct map_entry entry;
    int32_t delta;    /* of the chunk's count */
    uint8_t birth;    /* enter the place as well (map nodes; births of data come from the table) */
    uint8_t is_node;
};

struct merge {
    struct group *group;
    struct view *view;             /* whose frozen table is merged */
    struct root roots[TABLE_LAST]; /* as they become */
    uint64_t birth;                /* sequence of this merge, a multiple of 256 */
    uint64_t chunks_live, blocks_mapped;
    struct change *changes;
    size_t change_count;
    uint64_t progress;
    uint64_t waited;               /* nanoseconds, for devices that refused to read */
};

/* ---- update.c: one tree ------------------------------------------------------------------------------------------- */

/* Makes the new content of a leaf from the old one (zeros where there was none). `cleared`: a range of holes covers the
 * leaf, it begins as zeros, and what it referred to is dropped. */
typedef enum error leaf_apply(struct merge *merge, void *context, uint64_t number, const uint8_t *old, bool cleared,
                              uint8_t *leaf);
struct tree_update {
    struct tree *tree;
    const uint64_t *numbers; /* of leaves that change, rising */
    size_t count;
    const struct hole_range *ranges; /* of leaves that are dropped (maps), rising and disjoint; NULL */
    size_t range_count;
    leaf_apply *apply;
    /* Maps: a leaf is lost; `count` of its blocks refer to `entry`, which it was, from now on. */
    void (*lost)(void *context, struct map_entry entry, unsigned count);
    void *context;
};
enum error tree_update(struct merge *merge, const struct tree_update *update) CHECKED;

/* ---- merge_read.c: reading what a merge has to have ------------------------------------------------------------------ */

/* Reads one node. What the device refuses is asked for again after a while, and what is damaged once more at once, since
 * a leaf is given up for good; of waiting a merge does a bounded amount. ERROR_CORRUPT: it is damaged, or lies where the
 * device cannot read while it reads elsewhere. Of a device that reads nothing all may come back: that stays ERROR_IO. */
enum error node_read_patiently(struct merge *merge, struct node_read *read) CHECKED;
/* A node of a map is given up. `outcome`: what becomes of its blocks. */
void map_loss_report(const struct merge *merge, uint64_t component, unsigned level, uint64_t number, const char *outcome);

/* ---- change.c: counts and places ------------------------------------------------------------------------------------ */

/* Notes that a reference to a chunk came or went; applies the list where it is full. */
enum error change_note(struct merge *merge, struct map_entry entry, int delta, bool birth, bool is_node) CHECKED;
enum error changes_apply(struct merge *merge) CHECKED;
/* Enters the births of the frozen table into places and fingerprints. */
enum error births_merge(struct merge *merge) CHECKED;

/* ---- map.c: points and ranges into the maps of components -------------------------------------------------------------- */

enum error maps_merge(struct merge *merge) CHECKED;

/* ---- segments_merge.c: the segment table, last -------------------------------------------------------------------------- */

enum error segments_merge(struct merge *merge, struct checkpoint *checkpoint) CHECKED;

/* ---- write.c: appending items ------------------------------------------------------------------------------------------- */

/* Writes a node or page once, or twice (the second into the twin log), and its pointer. `cid`: of a map node, 0 else. */
enum error node_write(struct merge *merge, struct node_identity identity, const uint8_t *node, bool twice, uint64_t cid,
                      struct node_pointer *pointer) CHECKED;

#endif
