/*
 * The side-by-side walk. A subtree under two pointers to one CID is passed over unread; where the CIDs differ both nodes
 * are read and their children compared, down to the leaf. An address in a map may be stale (follow.h), so addresses are
 * not compared: a node that is alive has one CID, and what is alive at once has different ones.
 *
 * What no tree knows yet is asked of the recent tables: of the components on the way from each version to the first that
 * both fall back to. From there on they are the same.
 *
 * Locks: the group's for the recent tables, a piece at a time. Nothing is changed, so a crash is harmless.
 */
#include "engine/group/difference.h"

#include "base/memory.h"
#include "engine/group/view.h"

/* ---- two trees --------------------------------------------------------------------------------------------------- */

/* A node of each tree over the same leaves. The lower tree's root stands for the nodes that it would have above it. */
struct pair {
    struct node_pointer pointers[2];
    unsigned levels[2];
};

struct search {
    struct group *group;
    const struct tree *trees[2];
    uint64_t leaf, end; /* what is before `leaf` is the same, or was not asked for */
    bool found;
};

static bool is_same(const struct pair *pair)
{
    return entry_cid(pair->pointers[0].first) == entry_cid(pair->pointers[1].first);
}

/* Reads those of the two nodes that are of this level. */
static enum error pair_read(struct search *search, const struct pair *pair, unsigned level, uint64_t number,
                            struct node_read reads[2])
{
    for (unsigned side = 0; side < 2; side++) {
        const struct tree *tree = search->trees[side];
        reads[side] = (struct node_read){.pointer = pair->pointers[side],
                                         .identity = {tree->kind, tree->owner, number, (uint8_t)level}};
        if (entry_is_hole(pair->pointers[side].first) || pair->levels[side] < level)
            continue;
        enum error error = nodes_read(search->group, &reads[side], 1);
        if (error) {
            nodes_put(search->group, reads, side);
            return error;
        }
    }
    return ERROR_NONE;
}

static struct pair pair_child(const struct pair *pair, const struct node_read reads[2], unsigned level, uint64_t child)
{
    struct pair below = {.levels = {level - 1, level - 1}};
    for (unsigned side = 0; side < 2; side++) {
        if (reads[side].block) {
            const struct node_pointer_format *children = (const void *)cache_bytes(reads[side].block);
            below.pointers[side] = pointer_decode(&children[child % NODE_FANOUT]);
        } else if (child == 0) { /* nothing, or the lower tree, which has no nodes but the first */
            below.pointers[side] = pair->pointers[side];
            below.levels[side] = MIN(pair->levels[side], level - 1);
        }
    }
    return below;
}

static enum error differ_below(struct search *search, const struct pair *pair, unsigned level, uint64_t number)
{
    struct node_read reads[2];
    enum error error = ERROR_NONE;
    if (is_same(pair))
        return ERROR_NONE;
    if (level == 0) {
        search->found = true;
        search->leaf = number;
        return ERROR_NONE;
    }
    TRY(pair_read(search, pair, level, number, reads));
    uint64_t span = tree_span(level - 1), child = MAX(search->leaf / span, number * NODE_FANOUT);
    for (; child < (number + 1) * NODE_FANOUT && child * span < search->end && !search->found && !error; child++) {
        struct pair below = pair_child(pair, reads, level, child);
        search->leaf = MAX(search->leaf, child * span);
        error = differ_below(search, &below, level - 1, child);
    }
    nodes_put(search->group, reads, 2);
    return error;
}

enum error trees_differ_next(struct group *group, const struct tree *one, const struct tree *other, uint64_t *leaf,
                             uint64_t end)
{
    struct search search = {.group = group, .trees = {one, other}, .leaf = *leaf, .end = end};
    struct pair roots = {{one->root.pointer, other->root.pointer}, {one->root.height, other->root.height}};
    unsigned level = MAX(one->root.height, other->root.height);
    if (*leaf < MIN(end, tree_span(level)))
        TRY(differ_below(&search, &roots, level, 0));
    *leaf = search.found ? search.leaf : end;
    return ERROR_NONE;
}

/* ---- two versions ------------------------------------------------------------------------------------------------ */

static enum error map_of(struct group *group, const struct view *view, uint64_t component, struct tree *map)
{
    *map = (struct tree){ITEM_NODE, component, {{{0}}}};
    enum error error = view_map(group, view, component, map);
    return error == ERROR_NOT_FOUND ? ERROR_NONE : error; /* one that is not published yet has an empty map */
}

static enum error differ_in(struct group *group, const struct view *view, uint64_t one, uint64_t other, uint64_t *leaf,
                            uint64_t end)
{
    struct tree maps[2];
    uint64_t differs = *leaf;
    TRY(map_of(group, view, one, &maps[0]));
    TRY(map_of(group, view, other, &maps[1]));
    TRY(trees_differ_next(group, &maps[0], &maps[1], &differs, end));
    *leaf = view_told_apart_next(group, view, one, other, *leaf, differs);
    return ERROR_NONE;
}

enum error view_differ_next(struct group *group, const _Atomic uint64_t *one, const _Atomic uint64_t *other,
                            uint64_t *leaf, uint64_t end)
{
    mutex_lock(&group->lock);
    struct view *view = view_get(group);
    uint64_t components[2] = {atomic_load(one), atomic_load(other)};
    mutex_unlock(&group->lock);
    enum error error = differ_in(group, view, components[0], components[1], leaf, end);
    view_put(group, view);
    return error;
}
