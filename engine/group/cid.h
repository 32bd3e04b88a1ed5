/*
 * The allocator of CIDs. Data gets runs from pages of 256 CIDs, map nodes get singles and aligned pairs from pages of
 * their own. Fresh pages come from the end; pages of which at least half is free again are collected by the merge
 * thread, ahead of the commit section (cids_refill): as many are kept as were begun between two publishes of late, else numbers
 * rise for ever where much is overwritten, and the chunk table with them. A page is in `opened` from its first birth until the freeze that
 * holds its last births is published, and is not collected meanwhile.
 *
 * Locks: under the group's lock. A crash forgets what was handed out and not entered; replay raises `end` above all it
 * saw, and pages that it saw births in are opened.
 */
#ifndef COFFER_ENGINE_GROUP_CID_H
#define COFFER_ENGINE_GROUP_CID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define CID_PAGE 256
#define CID_PAGE_NODES_MIN (CID_PAGE / 16) /* births of nodes in a refilled page, at least: so many pairs are free */
#define CID_REFILLS_LEAST 256u   /* collected pages are kept ready where hardly any were taken: 32,768 CIDs and more */
#define CID_REFILLS_MAX   65536u /* at most: 2.5 MiB, touched where so many births come between two publishes */

struct cid_page {
    uint64_t page;
    uint64_t free[4]; /* bitmap */
};

struct cids {
    uint64_t end;                 /* first page-aligned CID never handed out */
    struct cid_page data, nodes;  /* pages that are being handed out */
    struct cid_page refills[CID_REFILLS_MAX]; /* the first refill_count */
    size_t refill_count;
    size_t begun, refill_wanted;  /* pages begun since the last publish; those to be kept ready */
    uint64_t refill_cursor;       /* page at which the next collection begins */
    uint64_t refill_left;         /* pages that were not looked at since the last publish, which alone frees numbers */
};

void cids_init(struct cids *cids, uint64_t end);
/* A run of `count` (1 to 16) consecutive CIDs of one page; 0 where the space of CIDs is used up. */
uint64_t cids_take_run(struct cids *cids, unsigned count);
/* One CID for a leaf / the even one of a pair for an inner node. */
uint64_t cids_take_node(struct cids *cids, bool pair);
/* Enters a collected page; false where enough are kept. */
bool cids_refill(struct cids *cids, const struct cid_page *page);
/* A checkpoint of this end was published: what died until then may be collected. */
void cids_published(struct cids *cids, uint64_t end);
/* Replay saw this CID. */
void cids_saw(struct cids *cids, uint64_t cid);

#endif
