/*
 * Rewriting one tree, copy on write: every node on the way to a changed leaf is written anew, all else stays shared with
 * the tree before. A subtree that a range of holes covers leaves the tree as it is, unread (for the release list); where
 * something changes in it, it begins anew. So a range takes out no more than what hangs beside its two edges.
 *
 * References: a map node's parent, or its component, holds one count of it. A node that is rewritten passes its
 * references to children on to its successor, so only the node itself and the entries that changed are counted.
 *
 * A node that somebody else holds as well (its count says so) is copied instead: it stays as it is, and the copy's
 * references to its children are new ones. What hangs below such a node is held by the other holder too, so below it
 * everything is copied that changes, without asking again. Nodes are asked only in maps of a family.
 *
 * A leaf of a map that cannot be read does not end the merge. The leaf that replaces it refers, for each block, to the
 * lost leaf itself, which therefore stays where it is: a read of such a block asks that address for a unit and fails,
 * until the block is written or trimmed. What the lost leaf referred to keeps its counts: it is never freed too early.
 * Nor does a page of the chunk table (page_loss.c).
 */
#include <string.h>

#include "base/memory.h"
#include "engine/group/merge.h"

struct slice {
    const uint64_t *numbers;
    size_t count;
    const struct hole_range *ranges;
    size_t range_count;
};

/* ---- references of nodes and space of pages ---------------------------------------------------------------------- */

enum error page_space(struct merge *merge, uint64_t serial, uint32_t length, bool of_segment_table, int sign)
{
    struct group *group = merge->group;
    enum error error = ERROR_NONE;
    mutex_lock(&group->lock);
    uint32_t index = segment_find(&group->segments, serial);
    if (index == SEGMENT_NONE)
        error = ERROR_NOT_FOUND;
    else if (of_segment_table)
        group->segments.table[index].pages += (uint32_t)(sign * (int64_t)length * GRAIN_SIZE);
    else
        error = segment_live_add(&group->segments, index, sign * (int64_t)length * GRAIN_SIZE);
    mutex_unlock(&group->lock);
    if (error == ERROR_NOT_FOUND)
        return error_explain(ERROR_CORRUPT, "a page stands in segment %llu, which does not exist",
                             (unsigned long long)serial);
    return error;
}

enum error map_node_note(struct merge *merge, const struct node_pointer *pointer, int sign)
{
    struct map_entry first = pointer->first;
    TRY(change_note(merge, first, sign, sign > 0, true));
    if (!pointer->second_serial)
        return ERROR_NONE;
    return change_note(merge, pointer_second(pointer), sign, sign > 0, true);
}

enum error map_node_hold(struct merge *merge, const struct node_pointer *pointer)
{
    TRY(reference_add(merge, entry_cid(pointer->first)));
    return pointer->second_serial ? reference_add(merge, entry_cid(pointer->first) + 1) : ERROR_NONE;
}

/* A node comes (+1) or goes (-1): counts for map nodes, live bytes for pages, which nothing counts. */
static enum error node_account(struct merge *merge, const struct tree *tree, const struct node_pointer *pointer, int sign)
{
    struct map_entry first = pointer->first;
    if (tree->kind == ITEM_PAGE) {
        bool of_segment_table = tree->owner == TABLE_SEGMENTS;
        TRY(page_space(merge, entry_serial(first), entry_length(first), of_segment_table, sign));
        return pointer->second_serial
                   ? page_space(merge, pointer->second_serial, entry_length(first), of_segment_table, sign)
                   : ERROR_NONE;
    }
    return map_node_note(merge, pointer, sign);
}

/* The node becomes `bytes`, or nothing where they are all zero. `kept`: what it was is referred to as before, by the node
 * above that was copied. `shared`: it is, or somebody else holds it as well. */
static enum error node_replace(struct merge *merge, struct tree *tree, unsigned level, uint64_t number,
                               const uint8_t *bytes, bool kept, bool shared, struct node_pointer *pointer)
{
    if (!entry_is_hole(pointer->first) && !shared)
        node_outdated(merge, pointer);
    if (!entry_is_hole(pointer->first) && !kept)
        TRY(node_account(merge, tree, pointer, -1));
    if (memory_is_zero(bytes, BLOCK_SIZE)) {
        *pointer = (struct node_pointer){0};
        return ERROR_NONE;
    }
    uint64_t cid = 0;
    bool twice = node_is_doubled(tree->kind, tree->owner, level);
    if (tree->kind == ITEM_NODE) {
        mutex_lock(&merge->group->lock);
        cid = cids_take_node(&merge->group->cids, twice);
        mutex_unlock(&merge->group->lock);
        if (cid == 0)
            return error_explain(ERROR_NO_SPACE, "no chunk numbers left");
    }
    TRY(node_write(merge, (struct node_identity){tree->kind, tree->owner, number, (uint8_t)level}, bytes, twice, cid, pointer));
    return node_account(merge, tree, pointer, +1);
}

/* Whether this merge can go on without a leaf that could not be read: one of a map, or of the chunk table. */
static bool is_dispensable(const struct merge *merge, const struct tree *tree, enum error error)
{
    return (tree->kind == ITEM_NODE || page_is_dispensable(tree)) && error == ERROR_CORRUPT &&
           !group_is_fenced(merge->group);
}

/* ---- rewriting ------------------------------------------------------------------------------------------------------ */

/* Takes the part of a slice that lies in leaves [first, end); the slice goes on behind it. A range may be in several
 * parts. */
static struct slice slice_take(struct slice *rest, uint64_t first, uint64_t end)
{
    while (rest->range_count && rest->ranges[0].end <= first)
        rest->ranges++, rest->range_count--;
    struct slice part = {rest->numbers, 0, rest->ranges, 0};
    while (part.count < rest->count && rest->numbers[part.count] < end)
        part.count++;
    while (part.range_count < rest->range_count && rest->ranges[part.range_count].first < end)
        part.range_count++;
    rest->numbers += part.count;
    rest->count -= part.count;
    return part;
}

static bool is_covered(struct slice slice, uint64_t first, uint64_t end)
{
    return slice.range_count && slice.ranges[0].first <= first && slice.ranges[0].end >= end;
}

static enum error subtree_drop(struct merge *merge, const struct tree_update *update, struct node_pointer *pointer,
                               unsigned level, uint64_t number, bool kept)
{
    if (!entry_is_hole(pointer->first) && !kept)
        TRY(update->drop(merge, update->context, pointer, level, number));
    *pointer = (struct node_pointer){0};
    return ERROR_NONE;
}

/* The old content of a leaf that cannot be read: each block refers to the leaf itself. The parent's reference becomes
 * one of them, but where the parent stays as it is for others (`kept`). */
static enum error leaf_lose(struct merge *merge, const struct tree_update *update, struct node_pointer *pointer,
                            uint64_t number, bool kept, uint8_t *old)
{
    map_loss_report(merge, update->tree->owner, 0, number, "they cannot be read until they are written or trimmed");
    for (unsigned i = 0; i < MAP_LEAF_ENTRIES; i++)
        entry_encode(pointer->first, (struct map_entry_format *)old + i);
    TRY(change_note(merge, pointer->first, (int)MAP_LEAF_ENTRIES - !kept, false, false));
    merge->references -= MAP_LEAF_ENTRIES; /* nothing is released for them */
    update->lost(update->context, pointer->first, MAP_LEAF_ENTRIES);
    *pointer = (struct node_pointer){0};
    return ERROR_NONE;
}

/* *shared says that the node above is shared; in the end, that this one is. */
static enum error sharing_ask(struct merge *merge, const struct tree_update *update, const struct node_pointer *pointer,
                              bool *shared)
{
    uint32_t count;
    if (*shared || !update->copied || entry_is_hole(pointer->first))
        return ERROR_NONE;
    if (entry_cid(pointer->first) == update->shared_cid)
        count = 2;
    else
        TRY(count_read(merge, entry_cid(pointer->first), &count));
    *shared = count > 1;
    return ERROR_NONE;
}

static enum error leaf_update(struct merge *merge, const struct tree_update *update, struct node_pointer *pointer,
                              uint64_t number, bool kept, const struct cache_block *block)
{
    uint8_t leaf[BLOCK_SIZE], old[BLOCK_SIZE] = {0};
    if (update->inner)
        return ERROR_NONE;
    struct node_read read = {.pointer = *pointer, .identity = {update->tree->kind, update->tree->owner, number, 0}};
    enum error error = ERROR_NONE;
    bool shared = kept;
    TRY(sharing_ask(merge, update, pointer, &shared));
    if (!block && !update->whole && !entry_is_hole(pointer->first)) {
        error = node_read_patiently(merge, &read);
        block = read.block;
    }
    if (block)
        memcpy(old, cache_bytes(block), BLOCK_SIZE);
    nodes_put(merge->group, &read, 1);
    if (error && is_dispensable(merge, update->tree, error))
        error = update->tree->kind == ITEM_NODE ? leaf_lose(merge, update, pointer, number, kept, old)
                                                : page_lose(merge, update->tree, pointer, number, old);
    TRY(error);
    if (shared && !entry_is_hole(pointer->first))
        TRY(update->copied(merge, update->context, old));
    TRY(update->apply(merge, update->context, number, old, leaf));
    atomic_fetch_add(&merge->group->merge_progress, 1);
    return node_replace(merge, update->tree, 0, number, leaf, kept, shared, pointer);
}

/* Leaves below one node that are there and will be rewritten are read together. */
static void leaves_prefetch(struct merge *merge, const struct tree_update *update, const struct node_pointer_format *children,
                            struct slice slice, struct node_read *reads)
{
    struct node_read wanted[NODE_FANOUT];
    size_t count = 0;
    memset(reads, 0, NODE_FANOUT * sizeof *reads);
    for (size_t i = 0; i < slice.count; i++) {
        struct node_pointer child = pointer_decode(&children[slice.numbers[i] % NODE_FANOUT]);
        if (!entry_is_hole(child.first))
            wanted[count++] = (struct node_read){
                .pointer = child, .identity = {update->tree->kind, update->tree->owner, slice.numbers[i], 0}};
    }
    (void)nodes_read(merge->group, wanted, count); /* a leaf that failed is read, and reported, again where it is needed */
    for (size_t i = 0; i < count; i++)
        reads[wanted[i].identity.number % NODE_FANOUT] = wanted[i];
}

static enum error node_update(struct merge *merge, const struct tree_update *update, struct node_pointer *pointer,
                              unsigned level, uint64_t number, bool kept, struct slice slice);

/* `shared`: the node is, so its children stay referred to by what it was. */
static enum error children_update(struct merge *merge, const struct tree_update *update, uint8_t *node, unsigned level,
                                  uint64_t number, bool shared, struct slice slice, struct node_read *leaves)
{
    struct node_pointer_format *children = (struct node_pointer_format *)node;
    uint64_t span = tree_span(level - 1);
    for (unsigned i = 0; i < NODE_FANOUT; i++) {
        uint64_t child = number * NODE_FANOUT + i;
        struct slice part = slice_take(&slice, child * span, (child + 1) * span);
        struct node_pointer pointer = pointer_decode(&children[i]);
        if (part.count == 0 && (part.range_count == 0 || entry_is_hole(pointer.first)))
            continue;
        bool covered = is_covered(part, child * span, (child + 1) * span);
        if (covered)
            TRY(subtree_drop(merge, update, &pointer, level - 1, child, shared));
        if (level > 1 && (part.count || !covered))
            TRY(node_update(merge, update, &pointer, level - 1, child, shared, part));
        else if (level == 1 && part.count)
            TRY(leaf_update(merge, update, &pointer, child, shared, covered ? NULL : leaves[i].block));
        pointer_encode(&pointer, &children[i]);
    }
    return ERROR_NONE;
}

/* A copy refers to what it has in common with the node that it was made of. */
static enum error children_hold(struct merge *merge, const uint8_t *before, const uint8_t *after)
{
    const struct node_pointer_format *old = (const void *)before, *copy = (const void *)after;
    for (unsigned i = 0; i < NODE_FANOUT; i++) {
        struct node_pointer pointer = pointer_decode(&copy[i]);
        if (!entry_is_hole(pointer.first) && memcmp(&old[i], &copy[i], sizeof old[i]) == 0)
            TRY(map_node_hold(merge, &pointer));
    }
    return ERROR_NONE;
}

static enum error node_update(struct merge *merge, const struct tree_update *update, struct node_pointer *pointer,
                              unsigned level, uint64_t number, bool kept, struct slice slice)
{
    if (level == 0)
        return leaf_update(merge, update, pointer, number, kept, NULL);
    uint8_t node[BLOCK_SIZE] = {0}, before[BLOCK_SIZE];
    struct node_read leaves[NODE_FANOUT];
    bool shared = kept;
    TRY(sharing_ask(merge, update, pointer, &shared));
    if (!entry_is_hole(pointer->first)) {
        struct node_read read = {.pointer = *pointer,
                                 .identity = {update->tree->kind, update->tree->owner, number, (uint8_t)level}};
        TRY(node_read_patiently(merge, &read));
        memcpy(node, cache_bytes(read.block), BLOCK_SIZE);
        nodes_put(merge->group, &read, 1);
    }
    if (level == 1 && (update->whole || update->inner))
        memset(leaves, 0, sizeof leaves);
    else if (level == 1)
        leaves_prefetch(merge, update, (struct node_pointer_format *)node, slice, leaves);
    memcpy(before, node, BLOCK_SIZE);
    enum error error = children_update(merge, update, node, level, number, shared, slice, leaves);
    if (level == 1)
        nodes_put(merge->group, leaves, NODE_FANOUT);
    if (!error && shared)
        error = children_hold(merge, before, node);
    return error ? error : node_replace(merge, update->tree, level, number, node, kept, shared, pointer);
}

/* The tree grows at its root until the last changed leaf has a place in it. */
static enum error tree_grow(struct merge *merge, struct tree *tree, uint64_t last)
{
    while (last >= tree_span(tree->root.height)) {
        if (!tree_is_empty(tree)) {
            uint8_t node[BLOCK_SIZE] = {0};
            struct node_pointer old = tree->root.pointer;
            pointer_encode(&old, (struct node_pointer_format *)node);
            struct node_pointer root = {0};
            TRY(node_replace(merge, tree, tree->root.height + 1u, 0, node, false, false, &root));
            tree->root.pointer = root;
        }
        tree->root.height++;
        ASSERT(tree->root.height < NODE_LEVELS_MAX);
    }
    return ERROR_NONE;
}

enum error tree_update(struct merge *merge, const struct tree_update *update)
{
    struct tree *tree = update->tree;
    struct slice all = {update->numbers, update->count, update->ranges, update->range_count};
    if (is_covered(all, 0, tree_span(tree->root.height))) {
        TRY(subtree_drop(merge, update, &tree->root.pointer, tree->root.height, 0, false));
        tree->root.height = 0;
    }
    if (update->count)
        TRY(tree_grow(merge, tree, update->numbers[update->count - 1]));
    else if (tree_is_empty(tree) || update->range_count == 0)
        return ERROR_NONE;
    struct slice slice = slice_take(&all, 0, tree_span(tree->root.height));
    TRY(node_update(merge, update, &tree->root.pointer, tree->root.height, 0, false, slice));
    if (tree_is_empty(tree))
        tree->root.height = 0;
    return ERROR_NONE;
}
