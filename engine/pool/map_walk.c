/*
 * Slices of a walk over one map. Each takes a view, walks the tree from where the last one stopped, and asks the recent
 * tables for each leaf of which they know anything.
 *
 * Locks: the group's for the recent tables, a leaf at a time; pool->lock, for the object's component with the view: it
 * moves under that. Nothing is changed, so a crash is harmless.
 */
#include "engine/pool/map_walk.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/order.h"
#include "engine/pool/object_table.h"

/* The newest view, and the component that the object has in it. */
static struct view *view_begin(struct map_walk *walk)
{
    if (walk->pool == NULL)
        return view_take(walk->group);
    mutex_lock(&walk->pool->lock);
    const struct object *object = object_table_uuid(walk->pool->table, walk->object);
    if (object != NULL)
        walk->component = object->component;
    struct view *view = view_take(walk->group);
    mutex_unlock(&walk->pool->lock);
    return view;
}

/* ---- what only the recent tables know ------------------------------------------------------------------------- */

static void recent_leaf(void *context, uint64_t number)
{
    struct map_walk *walk = context;
    if (walk->recent_count == walk->recent_capacity) {
        size_t capacity = walk->recent_capacity ? 2 * walk->recent_capacity : 1024;
        uint64_t *grown = realloc(walk->recent, capacity * sizeof *grown);
        if (!grown) {
            walk->out_of_memory = true;
            return;
        }
        walk->recent = grown;
        walk->recent_capacity = capacity;
    }
    walk->recent[walk->recent_count++] = number;
}

static void ranges_take(struct map_walk *walk, const struct recent *recent, uint64_t component)
{
    size_t count, of_component = 0;
    const struct hole_range *ranges = recent_ranges(recent, &count);
    for (size_t i = 0; i < count; i++)
        of_component += ranges[i].component == component;
    struct hole_range *grown = realloc(walk->ranges, (walk->range_count + of_component + 1) * sizeof *grown);
    walk->out_of_memory |= !grown;
    if (!grown)
        return;
    walk->ranges = grown;
    for (size_t i = 0; i < count; i++)
        if (ranges[i].component == component)
            walk->ranges[walk->range_count++] = ranges[i];
}

/* The lock is given back between two parts of a table. */
static void table_take(struct map_walk *walk, const struct recent *recent, uint64_t component)
{
    uint32_t cursor = 0;
    for (bool more = true; more;) {
        mutex_lock(&walk->group->lock);
        more = recent_leaves(recent, component, &cursor, recent_leaf, walk);
        mutex_unlock(&walk->group->lock);
    }
    mutex_lock(&walk->group->lock);
    ranges_take(walk, recent, component);
    mutex_unlock(&walk->group->lock);
}

static int range_order(const void *a, const void *b)
{
    uint64_t x = ((const struct hole_range *)a)->first, y = ((const struct hole_range *)b)->first;
    return order_of(x, y);
}

/* The component, and those that it falls back to. */
static void components_take(struct map_walk *walk, const struct view *view)
{
    struct lineage lineage = lineage_of(view, walk->component);
    for (bool more = true; more;) {
        if (lineage.active)
            table_take(walk, lineage.active, lineage.component);
        if (lineage.frozen)
            table_take(walk, lineage.frozen, lineage.component);
        mutex_lock(&walk->group->lock);
        more = lineage_base(&lineage);
        mutex_unlock(&walk->group->lock);
    }
}

/* Of two tables: sorted, and those that overlap made one. */
static void ranges_join(struct map_walk *walk)
{
    size_t joined = 0;
    if (walk->range_count)
        qsort(walk->ranges, walk->range_count, sizeof *walk->ranges, range_order);
    for (size_t i = 0; i < walk->range_count; i++) {
        struct hole_range *last = joined ? &walk->ranges[joined - 1] : NULL;
        if (last && walk->ranges[i].first <= last->end)
            last->end = MAX(last->end, walk->ranges[i].end);
        else
            walk->ranges[joined++] = walk->ranges[i];
    }
    walk->range_count = joined;
}

static void leaves_join(struct map_walk *walk)
{
    size_t joined = 0;
    if (walk->recent_count)
        qsort(walk->recent, walk->recent_count, sizeof *walk->recent, number_order);
    for (size_t i = 0; i < walk->recent_count; i++)
        if (joined == 0 || walk->recent[joined - 1] != walk->recent[i])
            walk->recent[joined++] = walk->recent[i];
    walk->recent_count = joined;
}

enum error map_walk_begin(struct map_walk *walk)
{
    struct view *view = view_begin(walk);
    components_take(walk, view);
    view_put(walk->group, view);
    if (walk->out_of_memory)
        return ERROR_NO_MEMORY;
    ranges_join(walk);
    leaves_join(walk);
    return ERROR_NONE;
}

/* Leaves come in rising order. */
static bool is_in_range(struct map_walk *walk, uint64_t leaf)
{
    while (walk->range_next < walk->range_count && walk->ranges[walk->range_next].end <= leaf)
        walk->range_next++;
    return walk->range_next < walk->range_count && walk->ranges[walk->range_next].first <= leaf;
}

/* ---- leaves -------------------------------------------------------------------------------------------------- */

/* `bytes` is the tree's leaf, NULL where it has none. */
static void leaf_give(struct map_walk *walk, uint64_t number, const uint8_t *bytes, bool is_recent)
{
    struct map_leaf *leaf = &walk->current;
    struct map_entry found[MAP_LEAF_ENTRIES];
    uint64_t blocks[MAP_LEAF_ENTRIES];
    leaf->number = number;
    memset(leaf->known, 0, sizeof leaf->known);
    for (unsigned i = 0; i < MAP_LEAF_ENTRIES; i++) {
        blocks[i] = number * MAP_LEAF_ENTRIES + i;
        leaf->entries[i] = bytes ? entry_decode((const struct map_entry_format *)bytes + i) : (struct map_entry){0};
    }
    if (is_recent || is_in_range(walk, number)) {
        mutex_lock(&walk->group->lock);
        view_find_recent(walk->view, walk->component, blocks, found, leaf->known, MAP_LEAF_ENTRIES);
        mutex_unlock(&walk->group->lock);
    }
    for (unsigned i = 0; i < MAP_LEAF_ENTRIES; i++)
        if (leaf->known[i])
            leaf->entries[i] = found[i];
    walk->leaf(walk, leaf);
    walk->leaves++;
}

/* Recent leaves below `end` that the tree does not have; ERROR_AGAIN where the slice is full. */
static enum error recent_give(struct map_walk *walk, uint64_t end)
{
    walk->current.lost = false;
    while (walk->recent_next < walk->recent_count && walk->recent[walk->recent_next] < end) {
        if (walk->leaves >= walk->slice_leaves) {
            walk->next = walk->recent[walk->recent_next];
            return ERROR_AGAIN;
        }
        leaf_give(walk, walk->recent[walk->recent_next++], NULL, true);
    }
    return ERROR_NONE;
}

/* ---- the walk ------------------------------------------------------------------------------------------------ */

static enum error slice_visit(void *context, const struct walk_node *node)
{
    struct map_walk *walk = context;
    uint64_t number = node->identity.number;
    if (node->identity.level > 0) {
        bool again = number < walk->seen[node->identity.level];
        walk->seen[node->identity.level] = MAX(number + 1, walk->seen[node->identity.level]);
        return walk->node(walk, node, again);
    }
    TRY(recent_give(walk, number));
    if (walk->leaves >= walk->slice_leaves) {
        walk->next = number;
        return ERROR_AGAIN;
    }
    TRY(walk->node(walk, node, false));
    bool is_recent = walk->recent_next < walk->recent_count && walk->recent[walk->recent_next] == number;
    walk->recent_next += is_recent;
    walk->current.lost = node->bytes == NULL;
    leaf_give(walk, number, node->bytes, is_recent);
    return ERROR_NONE;
}

static enum error slice_walk(struct map_walk *walk)
{
    struct tree tree;
    enum error error = view_map(walk->group, walk->view, walk->component, &tree);
    if (error && error != ERROR_NOT_FOUND)
        return error;
    if (!error)
        TRY(tree_walk(walk->group, &tree, walk->next, UINT64_MAX, walk->copies, slice_visit, walk));
    return recent_give(walk, UINT64_MAX);
}

void map_walk_seek(struct map_walk *walk, uint64_t leaf)
{
    walk->next = leaf;
    walk->recent_next = walk->range_next = 0;
    for (unsigned level = 0; level < NODE_LEVELS_MAX; level++)
        walk->seen[level] = (leaf + tree_span(level) - 1) / tree_span(level);
    while (walk->recent_next < walk->recent_count && walk->recent[walk->recent_next] < leaf)
        walk->recent_next++;
}

enum error map_walk_slice(struct map_walk *walk)
{
    struct view *view = view_begin(walk);
    walk->view = view;
    walk->leaves = 0;
    enum error error = slice_walk(walk);
    view_put(walk->group, view);
    return error;
}

void map_walk_forget(struct map_walk *walk)
{
    free(walk->recent);
    free(walk->ranges);
    walk->recent = NULL;
    walk->ranges = NULL;
}
