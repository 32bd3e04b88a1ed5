/*
 * Emptying components. The published tree says where anything is mapped, so a sweep goes from leaf to leaf and costs
 * nothing for what was never written; the tree lags behind the sweep's own trims, which is why it only ever moves on.
 *
 * No locks of its own, and none held: each step takes a view and gives it back before the next waits. A crash keeps the
 * pieces that are durable; whoever sweeps has written down beforehand that it must be done, and begins anew.
 */
#include "engine/pool/sweep.h"

#include "base/memory.h"
#include "engine/group/tree.h"
#include "engine/group/view.h"
#include "engine/pool/pool.h"

enum error sweep_publish(struct sweep *sweep)
{
    TRY(group_publish(sweep->pool->group));
    sweep->left = SWEEP_BLOCKS_MAX;
    return ERROR_NONE;
}

/* The first published leaf from *leaf on. */
static enum error leaf_next(struct group *group, uint64_t component, uint64_t *leaf, bool *found)
{
    struct component_format format;
    mutex_lock(&group->lock);
    struct view *view = view_get(group);
    mutex_unlock(&group->lock);
    enum error error = view_component(group, view, component, &format);
    if (error == ERROR_NONE) {
        struct tree tree = {ITEM_NODE, component, {pointer_decode(&format.root), format.height}};
        error = tree_next_leaf(group, &tree, leaf, found);
    } else if (error == ERROR_NOT_FOUND) {
        *found = false;
        error = ERROR_NONE;
    }
    view_put(group, view);
    return error;
}

enum error sweep_component(struct sweep *sweep, uint64_t component, uint64_t first, uint64_t end)
{
    while (first < end) {
        uint64_t leaf = first / MAP_LEAF_ENTRIES;
        bool found;
        TRY(leaf_next(sweep->pool->group, component, &leaf, &found));
        first = MAX(first, leaf * MAP_LEAF_ENTRIES);
        if (!found || first >= end)
            return ERROR_NONE;
        if (sweep->stopping != NULL && atomic_load(sweep->stopping))
            return ERROR_INTERRUPTED;
        if (sweep->left < MAP_LEAF_ENTRIES)
            TRY(sweep_publish(sweep));
        uint64_t stop = MIN(end, ROUND_DOWN(first + sweep->left, MAP_LEAF_ENTRIES));
        TRY(component_trim(sweep->pool, component, first, stop, NULL));
        sweep->left -= stop - first;
        first = stop;
    }
    return ERROR_NONE;
}
