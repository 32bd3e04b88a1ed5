/* Walking down trees, a level of a whole batch at a time. Nothing here changes a tree: only the merge does. */
#include "engine/group/tree.h"

#include <string.h>

#include "base/memory.h"
#include "engine/group/group.h"

#define BATCH_MAX 256

struct descent {
    struct node_read read;
    size_t which;
};

static struct node_pointer child_pointer(const struct cache_block *block, unsigned index)
{
    return pointer_decode((const struct node_pointer_format *)cache_bytes(block) + index);
}

/* Moves every descent one level down; those that end leave the array. */
static size_t descend(struct group *group, const struct tree *tree, const uint64_t *numbers, struct cache_block **blocks,
                      enum error *errors, struct descent *descents, size_t count)
{
    struct node_read reads[BATCH_MAX];
    size_t left = 0;
    for (size_t i = 0; i < count; i++)
        reads[i] = descents[i].read;
    (void)nodes_read(group, reads, count); /* each read has its own error */
    for (size_t i = 0; i < count; i++) {
        size_t which = descents[i].which;
        unsigned level = reads[i].identity.level;
        if (reads[i].error) {
            errors[which] = reads[i].error;
        } else if (level == 0) {
            blocks[which] = reads[i].block;
        } else {
            uint64_t number = numbers[which] / tree_span(level - 1);
            struct node_pointer child = child_pointer(reads[i].block, number % NODE_FANOUT);
            nodes_put(group, &reads[i], 1);
            if (entry_is_hole(child.first))
                continue;
            descents[left++] = (struct descent){
                {.pointer = child, .identity = {tree->kind, tree->owner, number, (uint8_t)(level - 1)}}, which};
        }
    }
    return left;
}

void tree_leaves_each(struct group *group, const struct tree *tree, const uint64_t *numbers, struct cache_block **blocks,
                      enum error *errors, size_t count)
{
    struct descent descents[BATCH_MAX];
    size_t left = 0;
    ASSERT(count <= BATCH_MAX);
    for (size_t i = 0; i < count; i++) {
        blocks[i] = NULL;
        errors[i] = ERROR_NONE;
        if (!tree_is_empty(tree) && numbers[i] < tree_span(tree->root.height))
            descents[left++] = (struct descent){
                {.pointer = tree->root.pointer, .identity = {tree->kind, tree->owner, 0, tree->root.height}}, i};
    }
    while (left)
        left = descend(group, tree, numbers, blocks, errors, descents, left);
}

enum error tree_leaves(struct group *group, const struct tree *tree, const uint64_t *numbers, struct cache_block **blocks,
                       size_t count)
{
    enum error errors[BATCH_MAX], error = ERROR_NONE;
    tree_leaves_each(group, tree, numbers, blocks, errors, count);
    for (size_t i = 0; i < count && !error; i++)
        error = errors[i];
    if (error)
        tree_put(group, blocks, count);
    return error;
}

void tree_put(struct group *group, struct cache_block **blocks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (blocks[i]) {
            cache_unpin(group->nodes, blocks[i]);
            blocks[i] = NULL;
        }
}

enum error tree_pointer(struct group *group, const struct tree *tree, unsigned level, uint64_t number,
                        struct node_pointer *pointer)
{
    *pointer = (struct node_pointer){0};
    if (tree_is_empty(tree) || level > tree->root.height || number >= tree_span(tree->root.height - level))
        return ERROR_NONE;
    struct node_pointer at = tree->root.pointer;
    for (unsigned l = tree->root.height; l > level && !entry_is_hole(at.first); l--) {
        struct node_read read = {
            .pointer = at, .identity = {tree->kind, tree->owner, number / tree_span(l - level), (uint8_t)l}};
        TRY(nodes_read(group, &read, 1));
        at = child_pointer(read.block, number / tree_span(l - 1 - level) % NODE_FANOUT);
        nodes_put(group, &read, 1);
    }
    *pointer = at;
    return ERROR_NONE;
}

/* The first leaf >= *number below a node; *number is moved behind the node where it has none. */
static enum error next_below(struct group *group, const struct tree *tree, struct node_pointer pointer, unsigned level,
                             uint64_t node, uint64_t *number, bool *found)
{
    if (level == 0) {
        *found = true;
        *number = node;
        return ERROR_NONE;
    }
    struct node_read read = {.pointer = pointer, .identity = {tree->kind, tree->owner, node, (uint8_t)level}};
    TRY(nodes_read(group, &read, 1));
    uint64_t span = tree_span(level - 1);
    enum error error = ERROR_NONE;
    for (uint64_t child = MAX(*number / span, node * NODE_FANOUT); child < (node + 1) * NODE_FANOUT && !*found && !error;
         child++) {
        struct node_pointer below = child_pointer(read.block, child % NODE_FANOUT);
        if (*number < child * span)
            *number = child * span;
        if (!entry_is_hole(below.first))
            error = next_below(group, tree, below, level - 1, child, number, found);
    }
    nodes_put(group, &read, 1);
    return error;
}

enum error tree_next_leaf(struct group *group, const struct tree *tree, uint64_t *number, bool *found)
{
    *found = false;
    if (tree_is_empty(tree) || *number >= tree_span(tree->root.height))
        return ERROR_NONE;
    return next_below(group, tree, tree->root.pointer, tree->root.height, 0, number, found);
}

/* The children of a level's nodes that cover a part of [first, end), the first `most` of them; *more: there are others. */
static size_t level_below(const struct tree *tree, const struct node_read *reads, size_t count, uint64_t first, uint64_t end,
                          struct node_read *below, size_t most, bool *more)
{
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned level = reads[i].identity.level - 1u;
        uint64_t span = tree_span(level), base = reads[i].identity.number * NODE_FANOUT;
        for (uint64_t child = base; child < base + NODE_FANOUT && !reads[i].error; child++) {
            struct node_pointer pointer = child_pointer(reads[i].block, child % NODE_FANOUT);
            if (entry_is_hole(pointer.first) || (child + 1) * span <= first || child * span >= end)
                continue;
            *more |= left == most;
            if (left < most)
                below[left++] = (struct node_read){
                    .pointer = pointer, .identity = {tree->kind, tree->owner, child, (uint8_t)level}};
        }
    }
    return left;
}

uint64_t tree_read_ahead(struct group *group, const struct tree *tree, uint64_t first, uint64_t end, size_t count)
{
    struct node_read levels[2][BATCH_MAX], *reads = levels[0], *below = levels[1];
    size_t n = !tree_is_empty(tree) && count > 0;
    bool more = false;
    ASSERT(count <= BATCH_MAX);
    reads[0] = (struct node_read){.pointer = tree->root.pointer, .identity = {tree->kind, tree->owner, 0, tree->root.height}};
    for (unsigned level = tree->root.height; n > 0; level--) {
        uint64_t last = reads[n - 1].identity.number;
        (void)nodes_read(group, reads, n); /* each read has its own error */
        size_t left = level > 0 ? level_below(tree, reads, n, first, end, below, count, &more) : 0;
        for (size_t i = 0; i < n; i++)
            if (!reads[i].error)
                nodes_put(group, &reads[i], 1);
        if (level == 0)
            return more ? MIN(last + 1, end) : end;
        struct node_read *now = below;
        below = reads;
        reads = now;
        n = left;
    }
    return end;
}
