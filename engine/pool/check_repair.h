/* What a repair can make anew, as the check finds it. See check_repair.c; repair.c publishes it. */
#ifndef COFFER_ENGINE_POOL_CHECK_REPAIR_H
#define COFFER_ENGINE_POOL_CHECK_REPAIR_H

#include "engine/group/repair.h"
#include "engine/pool/check.h"

/* An inner node of a map of which one copy is damaged. */
struct repair_node {
    uint64_t cid, number;
    uint32_t component; /* in which it was met: index */
    uint8_t level;
};

/* A block whose entry is entered again as it is, so that the nodes above it are written anew. */
struct repair_point {
    uint64_t component, block;
    struct map_entry entry;
};

struct check_repair {
    struct repair_page *pages; /* after check_repair_finish(): by table and number, each once */
    size_t page_count, page_capacity;
    struct repair_node *nodes;
    size_t node_count;
    struct repair_point *points; /* of all maps that have them */
    size_t point_count;
    uint64_t *lost;                  /* numbers of pages of places that are lost, rising */
    size_t lost_count, lost_capacity;
    struct moved *moved;             /* where what they told of is */
    uint64_t copies, made;           /* damaged copies that were found; pages that are made anew */
    bool segments;                   /* a copy of a page of the segment table is damaged */
    bool unreachable;                /* an inner page of a table has no copy left */
    bool live_known;                 /* check->live is what the segments hold */
    enum table table;                /* at hand */
    bool page_pending;               /* a damaged one was passed, and no leaf behind it yet */
};

enum error check_repair_begin(struct check_repair *repair) CHECKED;
void check_repair_forget(struct check_repair *repair);
/* Each of these does nothing where nothing is to be repaired: a page of a table; a node of a map; all nodes that were met. */
void check_repair_page(struct check *check, const struct walk_node *node);
void check_repair_node(struct check *check, uint32_t component, const struct walk_node *node);
enum error check_repair_points(struct check *check) CHECKED;
/* Before anything else, the catalog included: finds what moved of the chunks whose places are lost. */
enum error check_repair_moved(struct check *check) CHECKED;
/* A unit at a place that was only found is not the chunk's, or cannot be read: the place is none. */
void check_repair_refuse(struct check *check, struct check_chunk *chunk);
/* A window whose references, places and bytes were looked at. */
void check_repair_window(struct check *check);
/* Behind the last window: what cannot be made whole is dropped. */
void check_repair_finish(struct check *check);
/* The count that a chunk will have. */
uint32_t check_repair_count(const struct check *check, const struct check_chunk *chunk);

#endif
