/* Bitmaps of free CIDs in pages. See cid.h. */
#include "engine/group/cid.h"

#include <string.h>

#include "base/memory.h"
#include "engine/group/entry.h"

#define REFILLS_FALL 8u /* of the pages kept ready, fewer after a publish of few: some come between those of a burst */

void cids_init(struct cids *cids, uint64_t end)
{
    static const struct cid_page none;
    cids->data = cids->nodes = none;
    cids->refill_count = 0;
    cids->refill_cursor = 0;
    cids->begun = cids->refill_wanted = 0;
    cids->end = ROUND_UP(MAX(end, CID_PAGE), CID_PAGE);
    cids_published(cids, cids->end);
}

static bool is_free(const struct cid_page *page, unsigned n) { return page->free[n / 64] >> (n % 64) & 1; }
static void take(struct cid_page *page, unsigned n) { page->free[n / 64] &= ~(UINT64_C(1) << (n % 64)); }

/* Position of the first run of `count` free CIDs at a multiple of `grain`, or CID_PAGE. */
static unsigned run_find(const struct cid_page *page, unsigned count, unsigned grain)
{
    if (!(page->free[0] | page->free[1] | page->free[2] | page->free[3]))
        return CID_PAGE;
    for (unsigned first = 0; first + count <= CID_PAGE; first += grain) {
        unsigned n = 0;
        while (n < count && is_free(page, first + n))
            n++;
        if (n == count)
            return first;
    }
    return CID_PAGE;
}

static bool page_fresh(struct cids *cids, struct cid_page *page)
{
    if (cids->end + CID_PAGE > CID_MAX)
        return false;
    page->page = cids->end / CID_PAGE;
    memset(page->free, 0xff, sizeof page->free);
    cids->end += CID_PAGE;
    return true;
}

static uint64_t take_run(struct cids *cids, struct cid_page *page, unsigned count, unsigned grain, bool refill)
{
    for (;;) {
        unsigned first = run_find(page, count, grain);
        if (first < CID_PAGE) {
            for (unsigned n = 0; n < count; n++)
                take(page, first + n);
            return page->page * CID_PAGE + first;
        }
        cids->begun++;
        if (refill && cids->refill_count)
            *page = cids->refills[--cids->refill_count];
        else if (!page_fresh(cids, page))
            return 0;
    }
}

uint64_t cids_take_run(struct cids *cids, unsigned count) { return take_run(cids, &cids->data, count, 1, true); }

uint64_t cids_take_node(struct cids *cids, bool pair)
{
    return take_run(cids, &cids->nodes, pair ? 2 : 1, pair ? 2 : 1, true);
}

bool cids_refill(struct cids *cids, const struct cid_page *page)
{
    if (cids->refill_count == CID_REFILLS_MAX)
        return false;
    cids->refills[cids->refill_count++] = *page;
    return true;
}

void cids_published(struct cids *cids, uint64_t end)
{
    cids->refill_left = end / CID_PAGE;
    size_t before = cids->refill_wanted - cids->refill_wanted / REFILLS_FALL;
    cids->refill_wanted = MIN(MAX(MAX(cids->begun, before), CID_REFILLS_LEAST), CID_REFILLS_MAX);
    cids->begun = 0;
}

void cids_saw(struct cids *cids, uint64_t cid)
{
    if (cid >= cids->end)
        cids->end = ROUND_UP(cid + 1, CID_PAGE);
}
