/*
 * Releasing: taking apart, a bounded piece in each merge, what left its map.
 *
 * A merge does not walk what a trim or a deletion drops. The top node of each dropped subtree goes onto the release
 * list (release_list.c) as it is: the reference that its parent, or its component, held becomes the list's, so no count
 * changes. Then, before counts are applied, the merge takes nodes off the list's end: a leaf gives up the references of
 * its entries, an inner node puts its children onto the list in its own place; then the list's reference to the node
 * itself goes. So the list is worked through depth first, and grows by no more than 127 entries a level. A node whose
 * count says that somebody else holds it as well only loses the list's reference: what is below stays the other's.
 *
 * How much is a matter of references, those of blocks and of nodes alike: as many as this merge added on balance, and
 * release_references more. So while anything stays on the list, the references of all maps and of the list together
 * become fewer with each merge; the list never has more than the maps had when it was empty last, and a merge stays as
 * short as what it was asked to write, and 4096 full leaves. What a copy of a shared node refers to as well is no part of
 * the balance: one block that is written may bring hundreds, which would all be released in one merge, and that is more
 * than the space was foreseen for (merge_bytes.c); nor are the blocks that come to refer to a lost leaf (update.c). While
 * much is copied or lost the sum may grow; the list becomes shorter all the same. Where free segments would not suffice
 * for that it takes off less, or nothing (group_release_budget), so that releasing never makes a merge fail for space.
 *
 * The count that decides is the one in the chunk table as this merge has changed it so far, and the changes that it
 * still keeps (change_count), which may be applied in between at any time.
 *
 * What a block referred to is counted as mapped until it is released: in the component, as long as that is in the
 * table (its number never comes again), and in the total. Of a node that is shared nothing is released, and its blocks
 * go on being counted: the total counts each leaf once, whoever holds it, and figures of components count nothing that
 * is shared.
 *
 * What cannot be read after patience is given up: it is told, loses its own reference and with that its place, and what
 * it referred to keeps its counts: leaked, never freed too early. That holds for nodes, and for pages of the list
 * itself, which are written twice. Of a device that reads nothing at all everything may come back, so the merge fails.
 *
 * Crashes: the list is a table like others, and root and end stand in the checkpoint record. Before that is
 * durable everything is as it was, the old list and the nodes on it included: what was taken off it loses its live
 * bytes, but no segment is used again before the record says so, and none that an older view needs before that view is
 * gone. Replay knows nothing of the list. A table that is merged a second time (two tables after a replay, or a crash
 * before the publish) finds what it dropped gone from the map, and drops it no second time; what it had written above a
 * range is dropped and written once more, with a difference of nothing. A CID is free when its count is 0 in a
 * published table, so none of a node on the list is given out.
 *
 * The merge thread alone; no locks of its own.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "engine/group/merge.h"
#include "engine/group/view.h"

_Atomic uint64_t release_references = UINT64_C(1) << 20;

/* Leaves are read together. */
struct batch {
    struct release items[NODE_FANOUT];
    struct node_read reads[NODE_FANOUT];
    size_t count;
};

static enum error statistics_find(struct merge *merge, uint64_t component, struct release_statistics **statistics)
{
    struct component_format format = {0};
    *statistics = release_statistics_last(&merge->releases, component);
    if (*statistics)
        return ERROR_NONE;
    enum error error = view_component(merge->group, merge->view, component, &format);
    if (error && error != ERROR_NOT_FOUND)
        return error;
    TRY(release_statistics_add(&merge->releases, component, le64_get(format.own)));
    *statistics = release_statistics_last(&merge->releases, component);
    return ERROR_NONE;
}

static enum error entries_release(struct merge *merge, const struct release *release, const uint8_t *leaf)
{
    const struct map_entry_format *entries = (const struct map_entry_format *)leaf;
    struct release_statistics *statistics;
    TRY(statistics_find(merge, release->component, &statistics));
    for (unsigned i = 0; i < MAP_LEAF_ENTRIES; i++) {
        struct map_entry entry = entry_decode(&entries[i]);
        if (entry_is_hole(entry))
            continue;
        statistics_add(&statistics->statistics, entry, -1);
        if (entry_serial(entry) >= statistics->own)
            statistics_add(&statistics->figures, entry, -1);
        TRY(change_note(merge, entry, -1, false, false));
        merge->releases.taken++;
    }
    return ERROR_NONE;
}

/* The list's reference to the node stands for one to each child from now on. The first child comes to lie last. */
static enum error children_enter(struct merge *merge, const struct release *release, const uint8_t *node)
{
    const struct node_pointer_format *children = (const struct node_pointer_format *)node;
    for (unsigned i = NODE_FANOUT; i-- > 0;) {
        struct release child = {
            .node = pointer_decode(&children[i]),
            .component = release->component,
            .number = release->number * NODE_FANOUT + i,
            .level = (uint8_t)(release->level - 1),
        };
        if (!entry_is_hole(child.node.first))
            TRY(releases_enter(merge, &child));
    }
    return ERROR_NONE;
}

static enum error below_release(struct merge *merge, const struct release *release, struct node_read *read)
{
    enum error error = read->block ? ERROR_NONE : node_read_patiently(merge, read);
    if (error == ERROR_CORRUPT && !group_is_fenced(merge->group)) {
        map_loss_report(merge, release->component, release->level, release->number, "it was dropped");
        return ERROR_NONE;
    }
    TRY(error);
    return release->level ? children_enter(merge, release, cache_bytes(read->block))
                          : entries_release(merge, release, cache_bytes(read->block));
}

static enum error node_release(struct merge *merge, const struct release *release, struct node_read *read)
{
    int64_t count;
    TRY(change_count(merge, entry_cid(release->node.first), &count));
    if (count <= 1)
        TRY(below_release(merge, release, read));
    merge->releases.taken += release->node.second_serial ? 2 : 1;
    return map_node_note(merge, &release->node, -1);
}

/* One inner node, or leaves that are on the list's end together, no more than the budget lets. */
static enum error batch_take(struct merge *merge, uint64_t budget, struct batch *batch)
{
    size_t most = (size_t)MIN(budget / (MAP_LEAF_ENTRIES + 1) + 1, NODE_FANOUT);
    TRY(releases_take(merge, batch->items, most, &batch->count));
    for (size_t i = 0; i < batch->count; i++) {
        const struct release *release = &batch->items[i];
        batch->reads[i] = (struct node_read){
            .pointer = release->node,
            .identity = {ITEM_NODE, release->component, release->number, release->level},
        };
    }
    return ERROR_NONE;
}

static enum error batch_release(struct merge *merge, struct batch *batch)
{
    enum error error = ERROR_NONE;
    (void)nodes_read(merge->group, batch->reads, batch->count); /* one that failed is read again where it is needed */
    for (size_t i = 0; i < batch->count && !error; i++)
        error = node_release(merge, &batch->items[i], &batch->reads[i]);
    nodes_put(merge->group, batch->reads, batch->count);
    return error;
}

static uint64_t budget_of(const struct merge *merge)
{
    if (merge->release_budget == 0 || releases_are_empty(&merge->releases))
        return 0;
    return merge->release_budget + (uint64_t)MAX(merge->references, 0);
}

enum error releases_run(struct merge *merge)
{
    const struct releases *releases = &merge->releases;
    uint64_t budget = budget_of(merge);
    if (budget == 0)
        return ERROR_NONE;
    AUTO_FREE struct batch *batch = malloc(sizeof *batch);
    if (!batch)
        return ERROR_NO_MEMORY;
    if (merge->add_count)
        TRY(changes_apply(merge)); /* from here on references only go */
    changes_sort(merge);
    while (releases->taken < budget) {
        TRY(batch_take(merge, budget - releases->taken, batch));
        if (batch->count == 0)
            break;
        TRY(batch_release(merge, batch));
    }
    return ERROR_NONE;
}
