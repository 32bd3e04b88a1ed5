/*
 * Collecting CIDs for another life: pages of which at least half are free, found by a cursor over the tables, ahead of
 * the commit section. A CID is free when its count is 0 and its segment is gone; a page with births that are not
 * published is left alone. A crash forgets what was collected, which is only a hint.
 */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/order.h"
#include "engine/group/tree.h"
#include "engine/group/view.h"

#define PAGES_PER_WANTED 4 /* are looked at in a pass for each that is to be kept ready */
#define PAGES_AT_ONCE 256 /* whose counts are read together */
#define COUNT_PAGES_RATIO 4 /* pages of 256 CIDs in a page of counts */

static bool has_births(const struct view *view, uint64_t cid)
{
    return recent_birth_page(view->active, cid) || (view->frozen && recent_birth_page(view->frozen, cid));
}

/* Under the group's lock. */
static unsigned free_find(struct group *group, const le32 *counts, const struct map_entry_format *places, uint64_t page,
                          struct cid_page *out)
{
    unsigned count = 0;
    *out = (struct cid_page){.page = page};
    if (page == group->cids.data.page || page == group->cids.nodes.page || has_births(group->view, page * CID_PAGE))
        return 0;
    for (unsigned i = 0; i < CID_PAGE; i++) {
        struct map_entry place = entry_decode(&places[i]);
        bool gone = entry_is_hole(place) || segment_find(&group->segments, entry_serial(place)) == SEGMENT_NONE;
        if (le32_get(counts[i]) == 0 && gone) {
            out->free[i / 64] |= UINT64_C(1) << (i % 64);
            count++;
        }
    }
    return count;
}

/* A page with few free pairs would be left again after few births, and each costs a merge a page of places. */
static unsigned pairs_count(const struct cid_page *page)
{
    unsigned count = 0;
    for (size_t i = 0; i < COUNT_OF(page->free); i++)
        count += (unsigned)__builtin_popcountll(page->free[i] & page->free[i] >> 1 & UINT64_C(0x5555555555555555));
    return count;
}

/* Of a page of CIDs. What is counted is not free, wherever it is: this spares most pages their places, and the group's lock. */
static unsigned uncounted(const le32 *counts)
{
    unsigned count = 0;
    for (unsigned i = 0; i < CID_PAGE; i++)
        count += le32_get(counts[i]) == 0;
    return count;
}

/* One pass: it looks at no page twice, and what was kept ready when it began is not found again. (It may be taken meanwhile:
 * then it has births.) */
struct pass {
    uint64_t *kept;
    size_t kept_count;
    uint64_t cursor, end, left; /* pages: where it is, of how many, and how many are to be looked at */
};

static enum error pass_begin(struct group *group, struct pass *pass)
{
    const struct cids *cids = &group->cids;
    mutex_lock(&group->lock);
    size_t most = cids->refill_count;
    mutex_unlock(&group->lock);
    *pass = (struct pass){.kept = malloc((most + 1) * sizeof *pass->kept)}; /* only this thread makes it more */
    if (!pass->kept)
        return ERROR_NO_MEMORY;
    mutex_lock(&group->lock);
    pass->cursor = cids->refill_cursor;
    pass->end = MAX(group->checkpoint.cid_end / CID_PAGE, 1);
    pass->left = MIN(MIN(cids->refill_left, pass->end - 1), (uint64_t)cids->refill_wanted * PAGES_PER_WANTED);
    pass->kept_count = MIN(cids->refill_count, most);
    for (size_t i = 0; i < pass->kept_count; i++)
        pass->kept[i] = cids->refills[i].page;
    mutex_unlock(&group->lock);
    qsort(pass->kept, pass->kept_count, sizeof *pass->kept, number_order);
    return ERROR_NONE;
}

static bool is_collected(const struct pass *pass, uint64_t page)
{
    return bsearch(&page, pass->kept, pass->kept_count, sizeof *pass->kept, number_order) != NULL;
}

static bool has_enough(struct group *group)
{
    mutex_lock(&group->lock);
    bool enough = group->cids.refill_count >= group->cids.refill_wanted;
    mutex_unlock(&group->lock);
    return enough || atomic_load(&group->closing);
}

static enum error page_collect(struct group *group, const struct view *view, const struct pass *pass, uint64_t page)
{
    struct tree counts = tree_of_table(TABLE_COUNTS, view_root(view, TABLE_COUNTS));
    struct tree places = tree_of_table(TABLE_PLACES, view_root(view, TABLE_PLACES));
    static const uint8_t zero[BLOCK_SIZE];
    uint64_t count_page = page / COUNT_PAGES_RATIO;
    struct cache_block *count_block, *place_block;
    struct cid_page found;
    TRY(tree_leaves(group, &counts, &count_page, &count_block, 1));
    const le32 *counted = (const le32 *)(count_block ? cache_bytes(count_block) : zero) + page % COUNT_PAGES_RATIO * CID_PAGE;
    bool promises = uncounted(counted) >= CID_PAGE / 2;
    enum error error = promises ? tree_leaves(group, &places, &page, &place_block, 1) : ERROR_NONE;
    if (error || !promises) {
        tree_put(group, &count_block, 1);
        return error;
    }
    const uint8_t *place_bytes = place_block ? cache_bytes(place_block) : zero;
    mutex_lock(&group->lock);
    unsigned free_count = free_find(group, counted, (const struct map_entry_format *)place_bytes, page, &found);
    if (free_count >= CID_PAGE / 2 && pairs_count(&found) >= CID_PAGE_NODES_MIN && !is_collected(pass, page))
        (void)cids_refill(&group->cids, &found);
    mutex_unlock(&group->lock);
    tree_put(group, &count_block, 1);
    tree_put(group, &place_block, 1);
    return ERROR_NONE;
}

static void counts_read_ahead(struct group *group, const struct view *view, uint64_t page, uint64_t end)
{
    struct tree counts = tree_of_table(TABLE_COUNTS, view_root(view, TABLE_COUNTS));
    uint64_t last = MIN(page + PAGES_AT_ONCE, end) - 1;
    (void)tree_read_ahead(group, &counts, page / COUNT_PAGES_RATIO, last / COUNT_PAGES_RATIO + 1, PAGES_AT_ONCE / COUNT_PAGES_RATIO + 1);
}

void cids_collect(struct group *group)
{
    struct pass pass;
    uint64_t looked = 0;
    if (pass_begin(group, &pass)) {
        error_forget();
        return; /* another time */
    }
    mutex_lock(&group->lock);
    struct view *view = view_get(group);
    mutex_unlock(&group->lock);
    for (; looked < pass.left && !has_enough(group); looked++) {
        pass.cursor = pass.cursor + 1 >= pass.end ? 1 : pass.cursor + 1;
        if (looked % PAGES_AT_ONCE == 0)
            counts_read_ahead(group, view, pass.cursor, pass.end);
        if (page_collect(group, view, &pass, pass.cursor))
            break; /* a page that cannot be read is reported where it is needed */
    }
    mutex_lock(&group->lock);
    group->cids.refill_cursor = pass.cursor;
    group->cids.refill_left -= looked;
    mutex_unlock(&group->lock);
    view_put(group, view);
    free(pass.kept);
}
