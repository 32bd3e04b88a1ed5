/*
 * What one object uses, from a walk over its map: blocks, distinct chunks, what they and the map store. Distinct chunks
 * are counted exactly, by a bitmap over the CIDs; where there are more CIDs than the bitmap has bits, the map is walked
 * once for each stretch of them.
 *
 * A view that is held keeps the recent table which a merge emptied from being used again, so writers would come to a
 * halt behind a long walk: it goes in slices, each with a view of its own. Of an object that is written meanwhile the
 * figures are therefore of no single moment; `taken` is when the walk began. Leaves that only the recent tables know
 * are listed at the begin.
 *
 * Locks: pool->lock to find the object; the group's for the recent tables, a leaf at a time. Nothing is changed, so a
 * crash is harmless.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/group/view.h"
#include "engine/group/walk.h"
#include "engine/pool/pool.h"

#define WINDOW_CIDS  (UINT64_C(1) << 26) /* 8 MiB of bits, 256 GiB of distinct chunks a walk */
#define SLICE_LEAVES 4096                /* that are walked under one view: 1 GiB of blocks */

struct usage_walk {
    struct pool *pool;
    struct group *group;
    uint64_t component;
    const struct view *view; /* of the slice */
    uint64_t next;           /* leaf at which the slice begins */
    size_t leaves;           /* walked in it */
    uint64_t *recent;        /* leaves with points in the recent tables, rising */
    size_t recent_count, recent_capacity, recent_next;
    struct hole_range *ranges; /* of holes in them, likewise */
    size_t range_count, range_next;
    bool out_of_memory;
    bool first_pass;
    uint64_t *bits; /* of the window's CIDs */
    uint64_t window;
    struct object_usage usage;
};

/* ---- what only the recent tables know ------------------------------------------------------------------------- */

static void recent_leaf(void *context, uint64_t number)
{
    struct usage_walk *walk = context;
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

static void ranges_take(struct usage_walk *walk, const struct recent *recent)
{
    size_t count, of_component = 0;
    const struct hole_range *ranges = recent_ranges(recent, &count);
    for (size_t i = 0; i < count; i++)
        of_component += ranges[i].component == walk->component;
    struct hole_range *grown = realloc(walk->ranges, (walk->range_count + of_component + 1) * sizeof *grown);
    walk->out_of_memory |= !grown;
    if (!grown)
        return;
    walk->ranges = grown;
    for (size_t i = 0; i < count; i++)
        if (ranges[i].component == walk->component)
            walk->ranges[walk->range_count++] = ranges[i];
}

/* The lock is given back between two parts of a table. */
static void table_take(struct usage_walk *walk, const struct recent *recent)
{
    uint32_t cursor = 0;
    for (bool more = true; more;) {
        mutex_lock(&walk->group->lock);
        more = recent_leaves(recent, walk->component, &cursor, recent_leaf, walk);
        mutex_unlock(&walk->group->lock);
    }
    mutex_lock(&walk->group->lock);
    ranges_take(walk, recent);
    mutex_unlock(&walk->group->lock);
}

static int number_order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static int range_order(const void *a, const void *b)
{
    uint64_t x = ((const struct hole_range *)a)->first, y = ((const struct hole_range *)b)->first;
    return x < y ? -1 : x > y;
}

/* Of two tables: sorted, and those that overlap made one. */
static void ranges_join(struct usage_walk *walk)
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

static void leaves_join(struct usage_walk *walk)
{
    size_t joined = 0;
    if (walk->recent_count)
        qsort(walk->recent, walk->recent_count, sizeof *walk->recent, number_order);
    for (size_t i = 0; i < walk->recent_count; i++)
        if (joined == 0 || walk->recent[joined - 1] != walk->recent[i])
            walk->recent[joined++] = walk->recent[i];
    walk->recent_count = joined;
}

static enum error recent_take(struct usage_walk *walk)
{
    struct view *view = view_take(walk->group);
    table_take(walk, view->active);
    if (view->frozen)
        table_take(walk, view->frozen);
    view_put(walk->group, view);
    if (walk->out_of_memory)
        return ERROR_NO_MEMORY;
    ranges_join(walk);
    leaves_join(walk);
    return ERROR_NONE;
}

/* Leaves come in rising order. */
static bool is_in_range(struct usage_walk *walk, uint64_t leaf)
{
    while (walk->range_next < walk->range_count && walk->ranges[walk->range_next].end <= leaf)
        walk->range_next++;
    return walk->range_next < walk->range_count && walk->ranges[walk->range_next].first <= leaf;
}

/* ---- counting ------------------------------------------------------------------------------------------------- */

static void entry_count_in(struct usage_walk *walk, struct map_entry entry)
{
    struct object_usage *usage = &walk->usage;
    uint64_t cid = entry_cid(entry);
    if (walk->first_pass)
        usage->logical_bytes += CHUNK_SIZE;
    if (cid < walk->window || cid - walk->window >= WINDOW_CIDS)
        return;
    uint64_t bit = cid - walk->window, mask = UINT64_C(1) << (bit % 64);
    if (walk->bits[bit / 64] & mask)
        return;
    walk->bits[bit / 64] |= mask;
    usage->unique_bytes += CHUNK_SIZE;
    usage->stored_bytes += entry_share_bytes(entry);
    if (entry_length(entry) * GRAIN_SIZE >= entry_count(entry) * CHUNK_SIZE)
        usage->random_bytes += CHUNK_SIZE;
}

/* `bytes` is the tree's leaf, NULL where it has none. */
static void leaf_count_in(struct usage_walk *walk, uint64_t number, const uint8_t *bytes, bool is_recent)
{
    struct map_entry entries[MAP_LEAF_ENTRIES], found[MAP_LEAF_ENTRIES];
    uint64_t blocks[MAP_LEAF_ENTRIES];
    bool known[MAP_LEAF_ENTRIES] = {false};
    for (unsigned i = 0; i < MAP_LEAF_ENTRIES; i++) {
        blocks[i] = number * MAP_LEAF_ENTRIES + i;
        entries[i] = bytes ? entry_decode((const struct map_entry_format *)bytes + i) : (struct map_entry){0};
    }
    if (is_recent || is_in_range(walk, number)) {
        mutex_lock(&walk->group->lock);
        view_find_recent(walk->view, walk->component, blocks, found, known, MAP_LEAF_ENTRIES);
        mutex_unlock(&walk->group->lock);
    }
    for (unsigned i = 0; i < MAP_LEAF_ENTRIES; i++) {
        struct map_entry entry = known[i] ? found[i] : entries[i];
        if (!entry_is_hole(entry))
            entry_count_in(walk, entry);
    }
    walk->leaves++;
}

/* Recent leaves below `end` that the tree does not have; ERROR_AGAIN where the slice is full. */
static enum error recent_count_in(struct usage_walk *walk, uint64_t end)
{
    while (walk->recent_next < walk->recent_count && walk->recent[walk->recent_next] < end) {
        if (walk->leaves >= SLICE_LEAVES)
            return ERROR_AGAIN;
        leaf_count_in(walk, walk->recent[walk->recent_next++], NULL, true);
    }
    return ERROR_NONE;
}

/* ---- the walk ------------------------------------------------------------------------------------------------- */

/* A node that begins before the slice was counted by the slice before. */
static void node_count_in(struct usage_walk *walk, const struct walk_node *node)
{
    uint64_t bytes = (uint64_t)entry_length(node->pointer.first) * GRAIN_SIZE;
    if (walk->first_pass && node->identity.number * tree_span(node->identity.level) >= walk->next)
        walk->usage.map_bytes += node->pointer.second_serial ? 2 * bytes : bytes;
}

/* What a device refuses to read now may be whole. */
static enum error unreadable(const struct usage_walk *walk, const struct walk_node *node)
{
    if (node->errors[0] == ERROR_IO || node->errors[1] == ERROR_IO)
        return error_explain(ERROR_IO, "a device does not read a part of its map: see the messages, then try again");
    return error_explain(ERROR_CORRUPT, "its map cannot be read: stop cofferd, then type `%s check`",
                         pool_command(walk->pool));
}

static enum error usage_visit(void *context, const struct walk_node *node)
{
    struct usage_walk *walk = context;
    uint64_t number = node->identity.number;
    if (!node->bytes)
        return unreadable(walk, node);
    if (node->identity.level > 0) {
        node_count_in(walk, node);
        return ERROR_NONE;
    }
    enum error error = walk->leaves >= SLICE_LEAVES ? ERROR_AGAIN : recent_count_in(walk, number);
    if (error) {
        walk->next = number;
        return error;
    }
    node_count_in(walk, node);
    bool is_recent = walk->recent_next < walk->recent_count && walk->recent[walk->recent_next] == number;
    walk->recent_next += is_recent;
    leaf_count_in(walk, number, node->bytes, is_recent);
    return ERROR_NONE;
}

static enum error slice_walk(struct usage_walk *walk)
{
    struct component_format format;
    enum error error = view_component(walk->group, walk->view, walk->component, &format);
    if (error && error != ERROR_NOT_FOUND)
        return error;
    if (!error) {
        struct tree tree = {ITEM_NODE, walk->component, {pointer_decode(&format.root), format.height}};
        TRY(tree_walk(walk->group, &tree, walk->next, UINT64_MAX, WALK_ONE_COPY, usage_visit, walk));
    }
    walk->next = UINT64_MAX;
    return recent_count_in(walk, UINT64_MAX);
}

static enum error map_walk(struct usage_walk *walk)
{
    enum error error = ERROR_AGAIN;
    walk->next = 0;
    walk->recent_next = walk->range_next = 0;
    while (error == ERROR_AGAIN) {
        struct view *view = view_take(walk->group);
        walk->view = view;
        walk->leaves = 0;
        error = slice_walk(walk);
        view_put(walk->group, view);
        if (!error || error == ERROR_AGAIN)
            TRY(pool_check_usable(walk->pool));
    }
    return error;
}

static uint64_t cid_end(struct group *group)
{
    mutex_lock(&group->lock);
    uint64_t end = group->cids.end;
    mutex_unlock(&group->lock);
    return end;
}

static enum error usage_take(struct usage_walk *walk)
{
    TRY(recent_take(walk));
    walk->first_pass = true;
    for (; walk->first_pass || walk->window < cid_end(walk->group); walk->window += WINDOW_CIDS) {
        if (!walk->first_pass)
            memset(walk->bits, 0, WINDOW_CIDS / 8);
        TRY(map_walk(walk));
        walk->first_pass = false;
    }
    return ERROR_NONE;
}

/* The group stays open meanwhile: the pool counts a volume. */
static enum error object_hold(struct pool *pool, const char *name, uint64_t *component)
{
    mutex_lock(&pool->lock);
    enum error error = pool_check_usable(pool);
    const struct object *object = error ? NULL : catalog_find(pool, name);
    if (object) {
        *component = object->component;
        pool->volume_count++;
    }
    mutex_unlock(&pool->lock);
    if (!error && !object)
        return error_explain(ERROR_NOT_FOUND, "there is no object of that name");
    return error;
}

enum error object_usage(struct pool *pool, const char *name, struct object_usage *usage)
{
    struct usage_walk walk = {.pool = pool};
    TRY(object_hold(pool, name, &walk.component));
    walk.group = pool->group;
    walk.usage.taken = clock_seconds();
    walk.bits = memory_map(WINDOW_CIDS / 8);
    enum error error = walk.bits ? usage_take(&walk) : ERROR_NO_MEMORY;
    mutex_lock(&pool->lock);
    pool->volume_count--;
    mutex_unlock(&pool->lock);
    if (walk.bits)
        memory_unmap(walk.bits, WINDOW_CIDS / 8);
    free(walk.recent);
    free(walk.ranges);
    if (error)
        return error_prefix(error, "usage of '%s'", name);
    *usage = walk.usage;
    return ERROR_NONE;
}
