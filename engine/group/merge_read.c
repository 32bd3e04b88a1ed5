/*
 * Reading the nodes that a merge has to have. A leaf of a map that cannot be read is given up for good, so the merge is
 * slow to believe that: what a device refuses is asked for again, and given up only where all devices read elsewhere.
 *
 * Only reads, by the merge thread: a crash is harmless. No locks of its own.
 */
#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "engine/group/merge.h"

#define READ_TRIES 5
#define READ_PAUSE (100 * CLOCK_MILLISECOND) /* before the second try; longer before each further one */
#define READ_WAIT_MAX (20 * CLOCK_SECOND)    /* of one merge */

/* Whether all devices read at all. Copies stand on several, and which of them refused is not asked: while one reads
 * nothing, what stands on it may come back with it, and nothing is given up. */
static bool devices_read(struct group *group)
{
    AUTO_FREE void *block = memory_aligned(BLOCK_SIZE);
    for (uint32_t d = 0; d < group->device_count; d++)
        if (!block || device_read(group->devices[d], 0, block, BLOCK_SIZE) != ERROR_NONE)
            return false;
    return true;
}

/* One read, again and again. */
struct attempt {
    enum error (*read)(struct group *group, void *context);
    void *context;
};

static enum error read_patiently(struct merge *merge, const struct attempt *attempt)
{
    struct group *group = merge->group;
    enum error error = attempt->read(group, attempt->context);
    for (unsigned tries = 1; error == ERROR_IO && tries < READ_TRIES && merge->waited < READ_WAIT_MAX; tries++) {
        if (group_is_fenced(group))
            return ERROR_FENCED;
        clock_sleep(tries * READ_PAUSE);
        merge->waited += tries * READ_PAUSE;
        error = attempt->read(group, attempt->context);
    }
    bool elsewhere = error == ERROR_IO && devices_read(group);
    if (error == ERROR_CORRUPT || elsewhere)
        error = attempt->read(group, attempt->context);
    return error == ERROR_IO && elsewhere ? ERROR_CORRUPT : error;
}

static enum error node_attempt(struct group *group, void *context) { return nodes_read(group, context, 1); }

enum error node_read_patiently(struct merge *merge, struct node_read *read)
{
    return read_patiently(merge, &(struct attempt){node_attempt, read});
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

enum error page_read_patiently(struct merge *merge, const struct tree *tree, uint64_t number, struct cache_block **block)
{
    struct leaf_read read = {tree, number, NULL};
    TRY(read_patiently(merge, &(struct attempt){leaf_attempt, &read}));
    *block = read.block;
    return ERROR_NONE;
}

void map_loss_report(const struct merge *merge, uint64_t component, unsigned level, uint64_t number, const char *outcome)
{
    uint64_t blocks = tree_span(level) * MAP_LEAF_ENTRIES;
    message(MESSAGE_ERROR, "group %s: the map of blocks %llu to %llu of component %llu is lost: %s; what it referred to "
                           "is not freed",
            group_name(merge->group), (unsigned long long)(number * blocks),
            (unsigned long long)((number + 1) * blocks - 1), (unsigned long long)component, outcome);
}
