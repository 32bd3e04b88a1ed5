/*
 * Views and look-ups in them. You are in the read path: VIEW: recent table -> tree -> unit.
 *
 * A crash forgets views: recovery begins from the published roots, which the one durable checkpoint record names.
 */
#include "engine/group/view.h"

#include <stdlib.h>

#include "base/memory.h"
#include "base/message.h"
#include "engine/group/tree.h"

#define LOOKUP_MAX 256
#define POINTS_PIECE 4096 /* leaves asked for under one hold of the lock */

struct view *view_get(struct group *group)
{
    group->view->references++;
    return group->view;
}

struct view *view_take(struct group *group)
{
    mutex_lock(&group->lock);
    struct view *view = view_get(group);
    mutex_unlock(&group->lock);
    return view;
}

void view_put(struct group *group, struct view *view)
{
    mutex_lock(&group->lock);
    ASSERT(view->references > 0);
    view->references--;
    if (view->references == 0 && view != group->view)
        condition_broadcast(&group->view_gone);
    mutex_unlock(&group->lock);
}

void view_exchange(struct group *group, struct view *view)
{
    view->newer = NULL;
    view->references = 0;
    if (group->view)
        group->view->newer = view;
    else
        group->view_oldest = view;
    group->view = view;
}

/* The oldest view, taken off the list, where nobody needs it any more. */
static struct view *view_take_oldest(struct group *group)
{
    mutex_lock(&group->lock);
    struct view *view = group->view_oldest;
    if (view == group->view || view->references)
        view = NULL;
    else
        group->view_oldest = view->newer;
    mutex_unlock(&group->lock);
    return view;
}

/* Some free slots keep their space: the journal writes faster into them, and a full file system below leaves them. So do
 * all while the cleaner is at work: they are soon written to again. */
static bool is_kept(const struct group *group, size_t kept)
{
    const struct segments *segments = &group->segments;
    return segments->free_allocated + kept < MIN(SLOTS_KEPT, segments->count / 16) ||
           segments_writable(segments) + kept < group_clean_target(group);
}

static void freed_discard(struct group *group, const struct view *view)
{
    size_t kept_count = 0;
    for (size_t i = 0; i < view->freed_count; i++) {
        uint32_t index = view->freed[i];
        mutex_lock(&group->lock);
        uint32_t device = segment_device(&group->segments, index);
        uint64_t offset = segment_offset(&group->segments, index);
        bool kept = is_kept(group, kept_count);
        group->segments.table[index].allocated = kept;
        mutex_unlock(&group->lock);
        kept_count += kept;
        enum error error = kept ? ERROR_NONE : device_discard(group->devices[device], offset, segment_size(&group->segments));
        if (error && error != ERROR_UNSUPPORTED) /* many devices cannot */
            message(MESSAGE_WARNING, "%s: discard failed; the space is used again all the same",
                    group->devices[device]->path);
    }
}

void views_reap(struct group *group)
{
    for (struct view *view; (view = view_take_oldest(group)) != NULL;) {
        freed_discard(group, view);
        if (view->emptied)
            recent_clear(view->emptied);
        mutex_lock(&group->lock);
        for (size_t i = 0; i < view->freed_count; i++)
            segment_free(&group->segments, view->freed[i], group->segments.table[view->freed[i]].allocated);
        group->pace.freeing -= MIN(group->pace.freeing, (uint32_t)view->freed_count);
        if (view->emptied)
            group->table_ready = true;
        mutex_unlock(&group->lock);
        if (view->freed_count || view->emptied)
            group_room_changed(group);
        free(view->freed);
        free(view);
    }
}

bool views_await(struct group *group, uint64_t until)
{
    mutex_lock(&group->lock);
    const struct view *oldest = group->view_oldest;
    bool waits = oldest != group->view;
    if (waits && oldest->references)
        condition_wait_until(&group->view_gone, &group->lock, until);
    mutex_unlock(&group->lock);
    return waits;
}

enum error view_component(struct group *group, const struct view *view, uint64_t id, struct component_format *component)
{
    struct tree table = tree_of_table(TABLE_COMPONENTS, view_root(view, TABLE_COMPONENTS));
    uint64_t per_page = BLOCK_SIZE / sizeof *component, number = id / per_page;
    struct cache_block *block;
    TRY(tree_leaves(group, &table, &number, &block, 1));
    if (!block)
        return ERROR_NOT_FOUND;
    memcpy(component, cache_bytes(block) + id % per_page * sizeof *component, sizeof *component);
    tree_put(group, &block, 1);
    if (component->height >= NODE_LEVELS_MAX || component->state > COMPONENT_DELETED)
        return error_explain(ERROR_CORRUPT, "component %llu has impossible fields", (unsigned long long)id);
    return component->state ? ERROR_NONE : ERROR_NOT_FOUND;
}

/* Halves the span of the tree until only its last leaf is left behind. */
static enum error tree_end(struct group *group, const struct tree *tree, uint64_t *end)
{
    uint64_t low = 0, high = tree_is_empty(tree) ? 0 : tree_span(tree->root.height);
    while (low < high) {
        uint64_t number = low + (high - low) / 2, middle = number;
        bool found;
        TRY(tree_next_leaf(group, tree, &number, &found));
        if (found)
            low = number + 1;
        else
            high = middle;
    }
    *end = low;
    return ERROR_NONE;
}

static enum error map_end(struct group *group, const struct view *view, uint64_t component, uint64_t *end)
{
    struct component_format format;
    enum error error = view_component(group, view, component, &format);
    if (error) {
        *end = 0;
        return error == ERROR_NOT_FOUND ? ERROR_NONE : error;
    }
    struct tree tree = {ITEM_NODE, component, {pointer_decode(&format.root), format.height}};
    TRY(tree_end(group, &tree, end));
    *end *= MAP_LEAF_ENTRIES;
    return ERROR_NONE;
}

enum error view_component_end(struct group *group, uint64_t component, uint64_t *end)
{
    uint64_t mapped = 0;
    mutex_lock(&group->lock);
    struct view *view = view_get(group);
    uint64_t recent = recent_component_end(view->active, component);
    mutex_unlock(&group->lock);
    if (view->frozen)
        recent = MAX(recent, recent_component_end(view->frozen, component));
    enum error error = map_end(group, view, component, &mapped);
    view_put(group, view);
    if (error)
        return error;
    *end = MAX(recent, mapped);
    return ERROR_NONE;
}

/* ---- holes ------------------------------------------------------------------------------------------------------------- */

/* What the recent tables say of leaves: which the next one is, and how far the holes go that begin at `leaf`. The lock is
 * for the active table; a piece at a time, so that it is never held long. */
static uint64_t recent_next(struct group *group, const struct lineage *lineage, uint64_t leaf, uint64_t end,
                            uint64_t (*next_of)(const struct recent *, uint64_t, uint64_t, uint64_t))
{
    uint64_t next = lineage->active ? leaf : end, piece_end = leaf;
    while (next == piece_end && next < end) {
        piece_end = MIN(end, next + POINTS_PIECE);
        mutex_lock(&group->lock);
        next = next_of(lineage->active, lineage->component, next, piece_end);
        mutex_unlock(&group->lock);
    }
    return lineage->frozen ? next_of(lineage->frozen, lineage->component, leaf, next) : next;
}

static bool base_take(struct group *group, struct lineage *lineage)
{
    mutex_lock(&group->lock);
    bool more = lineage_base(lineage);
    mutex_unlock(&group->lock);
    return more;
}

uint64_t view_told_next(struct group *group, const struct view *view, uint64_t component, uint64_t first, uint64_t end)
{
    struct lineage lineage = lineage_of(view, component);
    do
        end = recent_next(group, &lineage, first, end, recent_told_next);
    while (base_take(group, &lineage));
    return end;
}

/* A base has a lower number than what begins as it, so going on with the higher of the two meets where both come to. */
uint64_t view_told_apart_next(struct group *group, const struct view *view, uint64_t one, uint64_t other, uint64_t first,
                              uint64_t end)
{
    struct lineage lineages[2] = {lineage_of(view, one), lineage_of(view, other)};
    while (lineages[0].component != lineages[1].component) {
        struct lineage *younger = &lineages[lineages[0].component < lineages[1].component];
        end = recent_next(group, younger, first, end, recent_told_next);
        if (!base_take(group, younger))
            younger->component = 0;
    }
    return end;
}

static uint64_t points_next(struct group *group, const struct view *view, uint64_t component, uint64_t first, uint64_t end)
{
    struct lineage lineage = lineage_of(view, component);
    do
        end = recent_next(group, &lineage, first, end, recent_leaf_next);
    while (base_take(group, &lineage));
    return end;
}

static uint64_t range_end(const struct recent *recent, uint64_t component, uint64_t leaf)
{
    return recent ? recent_range_end(recent, component, leaf) : leaf;
}

static uint64_t holes_end(struct group *group, const struct view *view, uint64_t component, uint64_t leaf)
{
    struct lineage lineage = lineage_of(view, component);
    uint64_t end = leaf;
    do {
        mutex_lock(&group->lock);
        end = MAX(end, range_end(lineage.active, lineage.component, leaf));
        mutex_unlock(&group->lock);
        end = MAX(end, range_end(lineage.frozen, lineage.component, leaf));
    } while (base_take(group, &lineage));
    return end;
}

static enum error leaf_next(struct group *group, const struct view *view, uint64_t component, const struct tree *map,
                            uint64_t *leaf, uint64_t end)
{
    uint64_t points = points_next(group, view, component, *leaf, end), mapped = *leaf;
    for (;;) {
        bool found;
        TRY(tree_next_leaf(group, map, &mapped, &found));
        if (!found || mapped >= points)
            break;
        /* No table has points of this leaf, so a range of holes over it is the last word. */
        uint64_t beyond = holes_end(group, view, component, mapped);
        if (beyond == mapped) {
            *leaf = mapped;
            return ERROR_NONE;
        }
        mapped = beyond;
    }
    *leaf = points;
    return ERROR_NONE;
}

enum error view_leaf_next(struct group *group, const _Atomic uint64_t *target, uint64_t *leaf, uint64_t end)
{
    mutex_lock(&group->lock);
    struct view *view = view_get(group);
    uint64_t component = atomic_load(target);
    mutex_unlock(&group->lock);
    struct tree map = {ITEM_NODE, component, {{{0}}}};
    enum error error = view_map(group, view, component, &map);
    if (!error || error == ERROR_NOT_FOUND) /* one that is not published yet has an empty map */
        error = leaf_next(group, view, component, &map, leaf, end);
    view_put(group, view);
    return error;
}

void view_read_ahead(struct group *group, const _Atomic uint64_t *target, uint64_t *leaf, uint64_t end, size_t count)
{
    struct tree map;
    mutex_lock(&group->lock);
    struct view *view = view_get(group);
    uint64_t component = atomic_load(target);
    mutex_unlock(&group->lock);
    bool mapped = view_map(group, view, component, &map) == ERROR_NONE;
    *leaf = mapped ? tree_read_ahead(group, &map, *leaf, end, count) : end;
    error_forget();
    view_put(group, view);
}

/* ---- look-ups ---------------------------------------------------------------------------------------------------------- */

struct lineage lineage_of(const struct view *view, uint64_t component)
{
    return (struct lineage){component, view->active, view->frozen};
}

bool lineage_base(struct lineage *lineage)
{
    uint64_t *component = &lineage->component;
    if (lineage->active && recent_base(lineage->active, *component, component))
        return true;
    if (!lineage->frozen || !recent_base(lineage->frozen, *component, component))
        return false;
    lineage->active = NULL;
    return true;
}

uint64_t view_ancestor(const struct view *view, uint64_t component)
{
    struct lineage lineage = lineage_of(view, component);
    while (lineage_base(&lineage))
        ;
    return lineage.component;
}

bool view_has_heirs(struct group *group, uint64_t component)
{
    mutex_lock(&group->lock);
    const struct view *view = group->view;
    bool has =
        recent_has_heirs(view->active, component) || (view->frozen && recent_has_heirs(view->frozen, component));
    mutex_unlock(&group->lock);
    return has;
}

static bool lineage_find(const struct lineage *lineage, uint64_t block, struct map_entry *entry)
{
    return (lineage->active && recent_find(lineage->active, lineage->component, block, entry)) ||
           (lineage->frozen && recent_find(lineage->frozen, lineage->component, block, entry));
}

void view_find_recent(const struct view *view, uint64_t component, const uint64_t *blocks, struct map_entry *entries,
                      bool *known, size_t count)
{
    struct lineage lineage = lineage_of(view, component);
    for (size_t i = 0; i < count; i++)
        known[i] = lineage_find(&lineage, blocks[i], &entries[i]);
    while (lineage_base(&lineage))
        for (size_t i = 0; i < count; i++)
            known[i] = known[i] || lineage_find(&lineage, blocks[i], &entries[i]);
}

enum error view_map(struct group *group, const struct view *view, uint64_t component, struct tree *map)
{
    struct component_format format;
    mutex_lock(&group->lock);
    uint64_t ancestor = view_ancestor(view, component);
    mutex_unlock(&group->lock);
    TRY(view_component(group, view, ancestor, &format));
    *map = (struct tree){ITEM_NODE, ancestor, {pointer_decode(&format.root), format.height}};
    return ERROR_NONE;
}

enum error view_find(struct group *group, const struct view *view, uint64_t component, const uint64_t *blocks,
                     struct map_entry *entries, const bool *known, size_t count)
{
    struct tree tree;
    uint64_t leaves[LOOKUP_MAX];
    uint16_t leaf_of[LOOKUP_MAX];
    struct cache_block *nodes[LOOKUP_MAX];
    size_t leaf_count = 0;
    ASSERT(count <= LOOKUP_MAX);
    for (size_t i = 0; i < count; i++) {
        if (known[i])
            continue;
        uint64_t leaf = blocks[i] / MAP_LEAF_ENTRIES;
        entries[i] = (struct map_entry){0};
        if (leaf_count == 0 || leaves[leaf_count - 1] != leaf)
            leaves[leaf_count++] = leaf;
        leaf_of[i] = (uint16_t)(leaf_count - 1);
    }
    if (leaf_count == 0)
        return ERROR_NONE;
    enum error error = view_map(group, view, component, &tree);
    if (error == ERROR_NOT_FOUND)
        return ERROR_NONE;
    if (error)
        return error;
    TRY(tree_leaves(group, &tree, leaves, nodes, leaf_count));
    for (size_t i = 0; i < count; i++)
        if (!known[i] && nodes[leaf_of[i]])
            entries[i] = entry_decode((const struct map_entry_format *)cache_bytes(nodes[leaf_of[i]]) +
                                      blocks[i] % MAP_LEAF_ENTRIES);
    tree_put(group, nodes, leaf_count);
    return ERROR_NONE;
}

enum error view_lookup_target(struct group *group, const _Atomic uint64_t *target, uint64_t *component,
                              const uint64_t *blocks, struct map_entry *entries, size_t count, struct view **out)
{
    bool known[LOOKUP_MAX];
    mutex_lock(&group->lock);
    struct view *view = view_get(group);
    *component = atomic_load(target);
    view_find_recent(view, *component, blocks, entries, known, count);
    mutex_unlock(&group->lock);
    enum error error = view_find(group, view, *component, blocks, entries, known, count);
    if (error)
        view_put(group, view);
    else
        *out = view;
    return error;
}

enum error view_lookup(struct group *group, uint64_t component, const uint64_t *blocks, struct map_entry *entries,
                       size_t count, struct view **view)
{
    const _Atomic uint64_t fixed = component;
    return view_lookup_target(group, &fixed, &component, blocks, entries, count, view);
}
