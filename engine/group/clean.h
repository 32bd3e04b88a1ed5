/*
 * What the parts of the cleaner share: clean.c chooses segments, and enters what moved; clean_segment.c reads one
 * segment and copies what is alive in it; clean_undo.c goes back to what was before.
 */
#ifndef COFFER_ENGINE_GROUP_CLEAN_H
#define COFFER_ENGINE_GROUP_CLEAN_H

#include "engine/group/clean_read.h"
#include "engine/group/counted.h"
#include "engine/group/merge.h"
#include "engine/group/segment_walk.h"

/* A page of a table that stands in the segment. */
struct moved_page {
    uint8_t table;
    bool inner;
    uint64_t leaf; /* that lies below it, or the page itself */
};

/* Items of the window that are yet to be looked at, and the chunks that they name, in that order. */
#define CLEAN_ITEMS 1024u
struct clean_queue {
    struct item_read items[CLEAN_ITEMS];
    struct counted named[COUNTED_MAX];
    size_t item_count, named_count;
    uint64_t scratch[2 * COUNTED_MAX];
};

struct clean {
    struct merge *merge;
    struct clean_reader *reader;
    uint8_t *bytes;  /* of the segment, as much as was read at once; the reader's */
    uint8_t *chunks; /* of one unit */
    uint8_t *stored;
    struct clean_queue *queue;
    int level; /* of zstd, for what LZ4 compressed; 0: units are copied as they are */

    /* the segment */
    uint32_t index;
    enum segment_kind kind;
    struct segment_identity identity;
    const struct segment_keys *keys;
    uint64_t live, pages; /* bytes that it should have */
    uint64_t live_found, pages_found;
    size_t moves_before;  /* of earlier segments */
    size_t pages_before;
    uint64_t paged_before;
    uint64_t freed;       /* of live_found, what moves now; pages of tables follow */

    /* of all segments so far */
    struct change *moves;
    size_t move_count, move_capacity;
    struct moved_page *moved_pages;
    size_t moved_page_count, moved_page_capacity;
    uint64_t bytes_copied;
    uint64_t bytes_paged; /* of the pages: their trees write as many elsewhere */
    uint32_t *emptied; /* segments */
    size_t emptied_count;
};

/* Copies what is alive in the first of these segments and notes where to; meanwhile those after it are read. Sets *emptied
 * where that was all that is counted there; else nothing was noted. An error is the merge's. */
enum error clean_segment(struct clean *clean, const uint32_t *segments, size_t count, bool *emptied) CHECKED;

/* What is as it was again where the cleaning comes to nothing. */
struct clean_account {
    uint64_t serial;
    uint32_t live, pages;
};
struct clean_before {
    struct root roots[TABLE_LAST];
    struct clean_account *accounts; /* of each slot; free() it */
};
enum error clean_before_keep(const struct merge *merge, struct clean_before *before) CHECKED;
void clean_undo(struct merge *merge, const struct clean_before *before);

#endif
