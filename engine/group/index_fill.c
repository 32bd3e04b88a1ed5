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

/* The next pages that are there, from *number on; false where there are no more behind them. */
static bool pages_find(struct group *group, const struct tree *tree, uint64_t *number, uint64_t *numbers, size_t *count)
{
    bool found = true;
    *count = 0;
    while (*count < PAGES_PER_VIEW && found) {
        if (tree_next_leaf(group, tree, number, &found))
            found = false; /* an unreadable inner page was reported where it was read */
        if (found)
            numbers[(*count)++] = (*number)++;
    }
    return found;
}

/* Some pages under one view, read together; false at the end. A page that is lost is passed over. */
static bool pages_enter(struct group *group, uint64_t *number)
{
    struct view *view = view_take(group);
    struct tree tree = tree_of_table(TABLE_FINGERPRINTS, view_root(view, TABLE_FINGERPRINTS));
    uint64_t numbers[PAGES_PER_VIEW];
    struct cache_block *blocks[PAGES_PER_VIEW];
    enum error errors[PAGES_PER_VIEW];
    size_t count;
    bool more = pages_find(group, &tree, number, numbers, &count);
    tree_leaves_each(group, &tree, numbers, blocks, errors, count);
    for (size_t i = 0; i < count; i++)
        if (blocks[i])
            page_enter(group, cache_bytes(blocks[i]), numbers[i]);
    tree_put(group, blocks, count);
    view_put(group, view);
    return more;
}

void group_index_thread(void *argument)
{
    struct group *group = argument;
    uint64_t number = 0, begin = clock_monotonic();
    bool lowered = false;
    while (!atomic_load(&group->closing) && pages_enter(group, &number))
        if (!lowered && clock_monotonic() - begin > HURRY_TIME) {
            thread_lower_priority();
            lowered = true;
        }
    atomic_store(&group->index_full, true);
}
