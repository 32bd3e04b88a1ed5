/*
 * Reading the nodes that a merge has to have. A leaf of a map that cannot be read is given up for good, so the merge is
 * slow to believe that (patience.h).
 *
 * Only reads, by the merge thread: a crash is harmless. No locks of its own.
 */
#include "base/message.h"
#include "engine/group/merge.h"
#include "engine/group/patience.h"

static enum error node_attempt(struct group *group, void *context)
{
    return nodes_read(group, context, 1);
}

enum error node_read_patiently(struct merge *merge, struct node_read *read)
{
    return read_patiently(merge->group, &(struct attempt){node_attempt, read}, &merge->waited);
}

struct leaf_read {
    const struct tree *tree;
    uint64_t number;
    struct cache_block *block;
};

static enum error leaf_attempt(struct group *group, void *context)
{
    struct leaf_read *read = context;
    return tree_leaves(group, read->tree, &read->number, &read->block, 1);
}

enum error page_read_patiently(struct merge *merge, const struct tree *tree, uint64_t number,
                               struct cache_block **block)
{
    struct leaf_read read = {tree, number, NULL};
    TRY(read_patiently(merge->group, &(struct attempt){leaf_attempt, &read}, &merge->waited));
    *block = read.block;
    return ERROR_NONE;
}

void map_loss_report(const struct merge *merge, uint64_t component, unsigned level, uint64_t number,
                     const char *outcome)
{
    uint64_t blocks = tree_span(level) * MAP_LEAF_ENTRIES;
    message(MESSAGE_ERROR,
            "group %s: the map of blocks %llu to %llu of component %llu is lost: %s; what it referred to "
            "is not freed",
            group_name(merge->group), (unsigned long long)(number * blocks),
            (unsigned long long)((number + 1) * blocks - 1), (unsigned long long)component, outcome);
}
