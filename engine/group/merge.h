/*
 * The merge: folds the frozen table into the trees and publishes the new roots. Only the merge writes trees and counts.
 * merge.c tells the story; update.c rewrites one tree, change.c keeps what that does to counts and places.
 *
 * All of it belongs to the merge thread. What it writes stands behind nothing that is durable until the checkpoint
 * record is: a crash forgets it, and a merge may be repeated after any crash.
 */
#ifndef COFFER_ENGINE_GROUP_MERGE_H
#define COFFER_ENGINE_GROUP_MERGE_H

#include "base/clock.h"
#include "engine/group/group.h"
#include "engine/group/release_list.h"
#include "engine/group/tree.h"

#define CHANGES_MAX 131072 /* about 3 MiB; when full it is sorted and applied */
#define ADDS_MAX    262144 /* 2 MiB, applied together with the changes */

/* Segments that a merge is to empty, best first (clean.c). */
struct victims {
    uint32_t *items;
    size_t count;
    size_t done; /* of them, that were looked at */
    bool harder; /* what is moved is compressed harder (recompress.c) */
    bool asked;  /* by re-encryption: it says nothing of how fast space is gained */
};

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
    size_t changes_sorted;         /* of them, sorted by CID and summed; the rest came later */
    uint64_t *adds;                /* CIDs that got one more reference each; NULL: none yet */
    size_t add_count;
    bool families;                 /* some components share nodes, or did */
    bool family_pending;           /* changes of nodes that are shared may not be applied yet */
    int64_t references;            /* that came, less those that went; without the adds */
    struct releases releases;
    uint64_t release_budget;       /* references that it may release beside those that it adds; 0: none */
    bool folded;                   /* there is no table: it only cleans */
    struct cache_key *outdated;    /* of nodes whose place others took; dropped behind the publish */
    size_t outdated_count, outdated_capacity;
    uint64_t began;                /* clock_monotonic */
    uint64_t gained;               /* bytes, by cleaning for space */
    uint64_t waited;               /* nanoseconds, for devices that refused to read */
};

/* ---- update.c: one tree ------------------------------------------------------------------------------------------- */

/* Makes the new content of a leaf from the old one (zeros where there was none). */
typedef enum error leaf_apply(struct merge *merge, void *context, uint64_t number, const uint8_t *old, uint8_t *leaf);
struct tree_update {
    struct tree *tree;
    const uint64_t *numbers; /* of leaves that change, rising */
    size_t count;
    const struct hole_range *ranges; /* of leaves that are dropped (maps), rising and disjoint; NULL */
    size_t range_count;
    leaf_apply *apply;
    /* A node that a range covers leaves the tree, with all below it: its reference is the callee's. */
    enum error (*drop)(struct merge *merge, void *context, const struct node_pointer *pointer, unsigned level,
                       uint64_t number);
    /* Maps: a leaf is lost; `count` of its blocks refer to `entry`, which it was, from now on. */
    void (*lost)(void *context, struct map_entry entry, unsigned count);
    /* Maps of a family, whose nodes others may hold as well: a leaf stays theirs, and what replaces it refers to all that
     * it refers to as well (before `apply` takes away what changes). NULL: nobody else holds any. Of
     * the counts that are asked nothing may be pending. */
    enum error (*copied)(struct merge *merge, void *context, const uint8_t *old);
    uint64_t shared_cid; /* of a node that others hold for sure, whatever is pending; 0: of none */
    void *context;
    bool whole; /* `apply` does not ask for the old content, which is not read */
    bool inner; /* tables: only the pages above these leaves are written anew; the leaves are not looked at */
};
enum error tree_update(struct merge *merge, const struct tree_update *update) CHECKED;
/* A page of a table comes (+1) or goes (-1) in a segment; `length` in grains. */
enum error page_space(struct merge *merge, uint64_t serial, uint32_t length, bool of_segment_table, int sign) CHECKED;
/* A reference to a map node, and to its second copy, comes (+1, a birth) or goes (-1). */
enum error map_node_note(struct merge *merge, const struct node_pointer *pointer, int sign) CHECKED;
/* One more reference to a map node that somebody else holds as well, and to its second copy. */
enum error map_node_hold(struct merge *merge, const struct node_pointer *pointer) CHECKED;

/* ---- node_outdated.c: what the cache need not keep --------------------------------------------------------------------- */

/* What is published from now on does not have this node. Where there is no memory to note it it just ages out. */
void node_outdated(struct merge *merge, const struct node_pointer *pointer);
/* Behind the publish. Who has an older view still reads what it needs. */
void nodes_outdated_drop(struct merge *merge);

/* ---- merge_read.c: reading what a merge has to have ------------------------------------------------------------------ */

/* Reads one node. What the device refuses is asked for again after a while, and what is damaged once more at once, since
 * a leaf is given up for good; of waiting a merge does a bounded amount. ERROR_CORRUPT: it is damaged, or lies where the
 * device cannot read while it reads elsewhere. Of a device that reads nothing all may come back: that stays ERROR_IO. */
enum error node_read_patiently(struct merge *merge, struct node_read *read) CHECKED;
/* The same for a page of a table; NULL where it is absent. Put by tree_put(). */
enum error page_read_patiently(struct merge *merge, const struct tree *tree, uint64_t number,
                               struct cache_block **block) CHECKED;
/* A node of a map is given up. `outcome`: what becomes of its blocks. */
void map_loss_report(const struct merge *merge, uint64_t component, unsigned level, uint64_t number, const char *outcome);

/* ---- page_loss.c: pages of the chunk table that are lost -------------------------------------------------------------- */

/* Whether a merge can go on without a leaf of this table. */
bool page_is_dispensable(const struct tree *tree);
/* What takes the place of the content of a lost page; *pointer becomes empty where the page stays counted. */
enum error page_lose(struct merge *merge, const struct tree *tree, struct node_pointer *pointer, uint64_t number,
                     uint8_t *page) CHECKED;
/* References came to a chunk whose count sticks: its segment stays. */
enum error stuck_pin(struct merge *merge, struct map_entry entry) CHECKED;

/* ---- repair.c -------------------------------------------------------------------------------------------------------- */

/* Puts what a repair made, if there is one. */
enum error repair_merge(struct merge *merge) CHECKED;

/* ---- change.c: counts and places ------------------------------------------------------------------------------------ */

/* Notes that a reference to a chunk came or went; applies the list where it is full. */
enum error change_note(struct merge *merge, struct map_entry entry, int delta, bool birth, bool is_node) CHECKED;
enum error changes_apply(struct merge *merge) CHECKED;
/* Notes one more reference to a chunk that somebody else goes on holding until the changes are applied. */
enum error reference_add(struct merge *merge, uint64_t cid) CHECKED;
/* The references of a chunk, where no changes of them are pending. */
enum error count_read(struct merge *merge, uint64_t cid, uint32_t *count) CHECKED;
/* Sorts what is in the list, so that change_count() finds it. */
void changes_sort(struct merge *merge);
/* The references of a chunk with this merge's own changes. Since the last changes_sort() references only went. */
enum error change_count(struct merge *merge, uint64_t cid, int64_t *count) CHECKED;
/* Enters the births of the frozen table into places and fingerprints. */
enum error births_merge(struct merge *merge) CHECKED;
/* Chunks stand elsewhere: sorts `moves` (entries as they are now) and enters them into places. */
enum error moves_apply(struct merge *merge, struct change *moves, size_t count) CHECKED;
/* A counted chunk, as the tables of this merge have it; its place is a hole where it is not known. */
enum error change_place(struct merge *merge, uint64_t cid, struct map_entry *place) CHECKED;

/* ---- clean.c: emptying segments ---------------------------------------------------------------------------------------- */

/* Every merge cleans, whatever space there is: for tests, which then see moved chunks everywhere. */
extern _Atomic bool clean_always;

#define CLEAN_WORK 64 /* of a segment, in leaves, for the throttle */

/* Whether space is short and emptying segments would make some. Under the group's lock. */
bool clean_is_due(const struct group *group);
/* … and there is room for a merge of no table that empties some. Under the group's lock. */
bool clean_may_go_on(const struct group *group);
/* What the next merge is to empty, if space is short. By the merge thread, just before its freeze, under no lock. */
enum error victims_choose(struct group *group, struct victims *victims) CHECKED;
/* recompress.c: whether nobody writes, and segments are left that were not looked into. Under the group's lock. */
bool recompress_is_due(const struct group *group);
/* Where it is due, there is memory, and nothing else is to be emptied: segments that are worth it. By the merge thread,
 * under no lock. */
void recompress_choose(struct group *group, struct victims *victims);
/* Whether somebody commits, waits for the merge, or closes the group / whether somebody waits, or writers soon will. */
bool recompress_is_disturbed(struct group *group);
bool recompress_is_pressed(struct group *group);
/* Nanoseconds without a commit before it begins; another time for tests. */
#define RECOMPRESS_IDLE (5 * CLOCK_SECOND)
extern _Atomic uint64_t recompress_idle;

/* They are read while a table is folded in. By who merges. */
void victims_aim(struct group *group, const struct victims *victims);
/* What the cleaner keeps for its next piece is given back, where it was not used for so long. By who merges. */
void clean_rest(struct group *group, uint64_t patience);
/* Moves what is alive in some of them, as far as there is space for it and as much as is to be published at once; counts are
 * final. */
enum error victims_clean(struct merge *merge, struct victims *victims) CHECKED;

/* ---- release.c: what is on the release list ------------------------------------------------------------------------------ */

/* References that a merge takes off the list beside those that it adds; smaller where a test wants many merges, 0 where
 * it wants none. */
extern _Atomic uint64_t release_references;

enum error releases_run(struct merge *merge) CHECKED;

static inline void statistics_add(struct statistics *statistics, struct map_entry entry, int sign)
{
    statistics->mapped += sign;
    statistics->random += entry_is_random(entry) ? sign : 0;
    statistics->stored += sign * (int64_t)entry_share_bytes(entry);
}

/* ---- map_merge.c: points and ranges into the maps of components -------------------------------------------------------------- */

enum error maps_merge(struct merge *merge) CHECKED;

/* ---- segments_merge.c: the segment table, last -------------------------------------------------------------------------- */

enum error segments_merge(struct merge *merge, struct checkpoint *checkpoint) CHECKED;
/* The pages that are dirty now, so that none of them stands where it stood. */
enum error segment_pages_write(struct merge *merge) CHECKED;

/* ---- node_write.c: appending items ---------------------------------------------------------------------------------------- */

struct item_content {
    enum item_kind kind;
    uint8_t codec, count;
    const void *descriptors;
    size_t descriptors_size;
    const void *stored;
    size_t stored_size;
};
struct written {
    uint64_t serial;
    uint32_t offset; /* grains */
};
/* As log_prepare(), for a log that only the merge writes; the merge's thread waits where the file system below is full. */
enum error merge_prepare(struct log *log) CHECKED;
/* Appends an item to a log that only the merge writes. ERROR_NO_SPACE: no segment is free. */
enum error merge_append(struct group *group, struct log *log, const struct item_content *content,
                        struct written *written) CHECKED;

/* Writes a node or page once, or twice (the second into the twin log), and its pointer. `cid`: of a map node, 0 else. */
enum error node_write(struct merge *merge, struct node_identity identity, const uint8_t *node, bool twice, uint64_t cid,
                      struct node_pointer *pointer) CHECKED;

#endif
