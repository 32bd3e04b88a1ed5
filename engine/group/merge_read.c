/*
 * Reading the nodes that a merge has to have. A leaf of a map that cannot be read is given up for good, so the merge is
 * slow to believe that: what a device refuses is asked for again, and given up only where the device reads elsewhere.
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

/* Whether the device of a segment reads at all: its header, good or not. */
static bool device_reads(struct group *group, uint64_t serial)
{
    struct segment_header header;
    mutex_lock(&group->lock);
    uint32_t index = segment_find(&group->segments, serial);
    uint32_t device = index == SEGMENT_NONE ? 0 : segment_device(&group->segments, index);
    uint32_t slot = index == SEGMENT_NONE ? 0 : segment_slot(&group->segments, index);
    mutex_unlock(&group->lock);
    enum error error = index == SEGMENT_NONE ? ERROR_IO : segment_header_read(group, device, slot, serial, &header);
    return error == ERROR_NONE || error == ERROR_NOT_FOUND;
}

/* One read, again and again; `serial` is of the segment where it goes. */
struct attempt {
    enum error (*read)(struct group *group, void *context);
    void *context;
    uint64_t serial;
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
    bool elsewhere = error == ERROR_IO && device_reads(group, attempt->serial);
    if (error == ERROR_CORRUPT || elsewhere)
        error = attempt->read(group, attempt->context);
    return error == ERROR_IO && elsewhere ? ERROR_CORRUPT : error;
}

static enum error node_attempt(struct group *group, void *context) { return nodes_read(group, context, 1); }

enum error node_read_patiently(struct merge *merge, struct node_read *read)
{
    return read_patiently(merge, &(struct attempt){node_attempt, read, entry_serial(read->pointer.first)});
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
    TRY(read_patiently(merge, &(struct attempt){leaf_attempt, &read, entry_serial(tree->root.pointer.first)}));
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
