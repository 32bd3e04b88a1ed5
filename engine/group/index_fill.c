/*
 * Filling the dedup index after an open, in the background, from the pages of fingerprints. The index is a hint: until
 * this has come by, duplicates of old chunks are stored once more, nothing worse. Births that replay entered are in the
 * index already.
 *
 * A page does not say which block a chunk came from, so the CID stands in for the block number: CIDs rise by one where
 * blocks were written in order, and what is divisible by 8 among them is as good a sample.
 */
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/group/tree.h"
#include "engine/group/view.h"

#define HURRY_TIME (5 * CLOCK_SECOND) /* at the priority of everybody else: most pools are done by then */
#define PAGES_PER_VIEW 64 /* a view that is held keeps freed segments from use */

static void page_enter(struct group *group, const uint8_t *page, uint64_t number)
{
    static const struct fingerprint zero;
    mutex_lock(&group->index_lock);
    for (unsigned i = 0; i < CID_PAGE; i++) {
        struct fingerprint fingerprint;
        memcpy(&fingerprint, page + (size_t)i * FINGERPRINT_SIZE, FINGERPRINT_SIZE);
        if (!fingerprint_equal(fingerprint, zero))
            index_insert(group->index, fingerprint, number * CID_PAGE + i, number * CID_PAGE + i);
    }
    mutex_unlock(&group->index_lock);
}

/* Some pages under one view; false at the end. */
static bool pages_enter(struct group *group, uint64_t *number)
{
    struct view *view = view_take(group);
    struct tree tree = tree_of_table(TABLE_FINGERPRINTS, view_root(view, TABLE_FINGERPRINTS));
    bool found = true;
    for (unsigned i = 0; i < PAGES_PER_VIEW && found; i++) {
        struct cache_block *block;
        if (tree_next_leaf(group, &tree, number, &found) || !found) {
            found = false; /* an unreadable inner page was reported where it was read */
        } else if (tree_leaves(group, &tree, number, &block, 1) == ERROR_NONE && block) {
            page_enter(group, cache_bytes(block), *number);
            tree_put(group, &block, 1);
        } /* else a page is lost, and the others are not */
        *number += 1;
    }
    view_put(group, view);
    return found;
}

void group_index_thread(void *argument)
{
    struct group *group = argument;
    uint64_t number = 0, begin = clock_monotonic();
    bool lowered = false;
    while (!atomic_load(&group->index_stopping) && pages_enter(group, &number))
        if (!lowered && clock_monotonic() - begin > HURRY_TIME) {
            thread_lower_priority();
            lowered = true;
        }
    atomic_store(&group->index_full, true);
}
