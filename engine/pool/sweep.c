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
    sweep->leaves_left = sweep->leaves_max;
    return ERROR_NONE;
}

/* From *first on to the end: moves *first to the first leaf that is mapped, *stop behind the last of as many as there
 * may be in a piece, and says how many there are. */
static enum error leaves_count(struct sweep *sweep, const struct tree *tree, uint64_t *first, uint64_t end,
                               uint64_t *stop, uint32_t *count)
{
    uint64_t leaf = *first / MAP_LEAF_ENTRIES;
    *count = 0;
    *stop = *first;
    while (*count < sweep->leaves_left) {
        bool found;
        TRY(tree_next_leaf(sweep->pool->group, tree, &leaf, &found));
        if (!found || leaf * MAP_LEAF_ENTRIES >= end)
            break;
        if (*count == 0)
            *first = MAX(*first, leaf * MAP_LEAF_ENTRIES);
        leaf++;
        *count += 1;
        *stop = MIN(end, leaf * MAP_LEAF_ENTRIES);
    }
    return ERROR_NONE;
}

static enum error piece_find(struct sweep *sweep, uint64_t component, uint64_t *first, uint64_t end, uint64_t *stop,
                             uint32_t *count)
{
    struct group *group = sweep->pool->group;
    struct component_format format;
    mutex_lock(&group->lock);
    struct view *view = view_get(group);
    mutex_unlock(&group->lock);
    enum error error = view_component(group, view, component, &format);
    if (error == ERROR_NONE) {
        struct tree tree = {ITEM_NODE, component, {pointer_decode(&format.root), format.height}};
        error = leaves_count(sweep, &tree, first, end, stop, count);
    } else if (error == ERROR_NOT_FOUND) {
        *count = 0;
        error = ERROR_NONE;
    }
    view_put(group, view);
    return error;
}

enum error sweep_component(struct sweep *sweep, uint64_t component, uint64_t first, uint64_t end)
{
    while (first < end) {
        uint64_t stop;
        uint32_t count;
        if (first >= end) /* its leaf stays mapped where the blocks before are */
            return ERROR_NONE;
        if (sweep->stopping != NULL && atomic_load(sweep->stopping))
            return ERROR_INTERRUPTED;
        if (sweep->leaves_left == 0)
            TRY(sweep_publish(sweep));
        TRY(piece_find(sweep, component, &first, end, &stop, &count));
        if (count == 0)
            return ERROR_NONE;
        TRY(component_trim(sweep->pool, component, first, stop, NULL));
        sweep->leaves_left -= count;
        first = stop;
    }
    return ERROR_NONE;
}
