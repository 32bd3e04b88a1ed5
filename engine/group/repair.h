/*
 * Pages of tables that a repair made anew (pool/repair.c), published by an ordinary merge.
 */
#ifndef COFFER_ENGINE_GROUP_REPAIR_H
#define COFFER_ENGINE_GROUP_REPAIR_H

#include "engine/group/group.h"

struct repair_page {
    enum table table;
    uint64_t number;
    uint8_t *bytes; /* BLOCK_SIZE; NULL: what it has, written anew with the pages above it */
};

struct group_repair {
    const struct repair_page *pages; /* by rising table and number, each once; none of the segment table */
    size_t page_count;
    const uint64_t *live; /* of each segment, by index, with the counts of `pages`; NULL: as they are */
    uint64_t chunks_live; /* with `live` */
};

/* Of a group that was opened `by_hand`, with nothing in its recent tables but what the repair entered. */
enum error group_repair_publish(struct group *group, const struct group_repair *repair) CHECKED;

#endif
