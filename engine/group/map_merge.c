/*
 * Points and ranges of the frozen table into the maps of their components, component by component, and the component
 * table. Each difference of a leaf is a reference that came or went. What a range covers goes onto the release list.
 *
 * A component that was created on a base begins with the base's map as it is after this merge: bases have lower numbers,
 * so they are folded before their heirs. The heir takes one more reference to the root, and both are of a *family* from
 * then on: nodes of their maps may have several holders, and are asked before they are rewritten (update.c). So that the
 * chunk table knows what happened to shared nodes, all changes of counts are applied before another member of a family is
 * folded that has a map already. A
 * base does not change as long as an heir has no map of its own, so it does not matter how often this is repeated after
 * crashes: what has a map already takes no other.
 *
 * The component table is rewritten as a whole page per 32 components, after all maps: a component's root, its state and
 * what it counts of its blocks.
 */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/order.h"
#include "engine/group/merge.h"
#include "engine/group/view.h"


/* One component in the making. */
struct component_merge {
    uint64_t id;
    bool in_table;                /* before this merge */
    struct component_format format;
    struct statistics statistics; /* differences: all, */
    struct statistics figures;    /* and what counts in its figures: what lies in segments from format.own on */
    uint64_t shared_root;         /* CID of the base's root, with which it began in this merge; 0 */
    const struct sheaf **next, **end;
};

/* All components that this merge touches, by rising id. */
struct component_list {
    struct component_merge *items;
    size_t count, capacity, next;
};

/* ---- one leaf ------------------------------------------------------------------------------------------------------- */

static void figures_count(struct component_merge *component, struct map_entry entry, int sign)
{
    statistics_add(&component->statistics, entry, sign);
    if (entry_serial(entry) >= le64_get(component->format.own))
        statistics_add(&component->figures, entry, sign);
}

static enum error entry_replace(struct merge *merge, struct component_merge *component, struct map_entry before,
                                struct map_entry after)
{
    if (entry_equal(before, after))
        return ERROR_NONE;
    if (!entry_is_hole(after)) {
        figures_count(component, after, +1);
        TRY(change_note(merge, after, +1, false, false));
    }
    if (!entry_is_hole(before)) {
        figures_count(component, before, -1);
        TRY(change_note(merge, before, -1, false, false));
    }
    return ERROR_NONE;
}

static enum error map_leaf_apply(struct merge *merge, void *context, uint64_t number, const uint8_t *old, uint8_t *leaf)
{
    struct component_merge *component = context;
    struct map_entry_format *entries = (struct map_entry_format *)leaf;
    const struct map_entry_format *before = (const struct map_entry_format *)old;
    bool changed[MAP_LEAF_ENTRIES] = {false};
    memcpy(leaf, old, BLOCK_SIZE);
    if (component->next < component->end && (*component->next)->number == number) {
        const struct sheaf *sheaf = *component->next++;
        for (unsigned i = 0; i < sheaf->count; i++) {
            unsigned index = sheaf_indices(sheaf)[i];
            changed[index] = true;
            entry_encode(sheaf_entries(sheaf)[i], &entries[index]);
        }
    }
    for (unsigned i = 0; i < MAP_LEAF_ENTRIES; i++)
        if (changed[i])
            TRY(entry_replace(merge, component, entry_decode(&before[i]), entry_decode(&entries[i])));
    return ERROR_NONE;
}

/* A leaf that others go on holding: the copy refers to the same, and counts in the total as a leaf of its own. What it
 * has was there when the map came to be shared, so it is in no figure. */
static enum error map_leaf_copied(struct merge *merge, void *context, const uint8_t *old)
{
    struct component_merge *component = context;
    const struct map_entry_format *entries = (const struct map_entry_format *)old;
    for (unsigned i = 0; i < MAP_LEAF_ENTRIES; i++) {
        struct map_entry entry = entry_decode(&entries[i]);
        if (entry_is_hole(entry))
            continue;
        statistics_add(&component->statistics, entry, +1);
        TRY(reference_add(merge, entry_cid(entry)));
    }
    return ERROR_NONE;
}

/* The component counted what the lost leaf mapped, and nobody knows how much that was: it goes on counting it. */
static void map_leaf_lost(void *context, struct map_entry entry, unsigned count)
{
    struct component_merge *component = context;
    for (unsigned i = 0; i < count; i++)
        figures_count(component, entry, +1);
}

/* What it mapped goes on being counted until it is released. */
static enum error map_node_drop(struct merge *merge, void *context, const struct node_pointer *pointer, unsigned level,
                                uint64_t number)
{
    const struct component_merge *component = context;
    struct release release = {*pointer, component->id, number, (uint8_t)level};
    return releases_enter(merge, &release);
}

/* A merge that is repeated after a crash, by an open with less memory, has only a part of what it had, and the rest
 * comes with the next: so it may have points of a component, and not its deletion, which was published the first time.
 * Nothing would ever refer to a map that was made of them. */
static bool component_is_gone(const struct component_merge *component)
{
    return !component->in_table && component->format.state != COMPONENT_LIVE;
}

/* ---- one component ---------------------------------------------------------------------------------------------------- */

static enum error component_get(struct merge *merge, struct component_list *list, uint64_t id, struct component_merge **out)
{
    if (list->count && list->items[list->count - 1].id == id) {
        *out = &list->items[list->count - 1];
        return ERROR_NONE;
    }
    ASSERT(list->count < list->capacity);
    struct component_merge *component = &list->items[list->count];
    *component = (struct component_merge){.id = id};
    enum error error = view_component(merge->group, merge->view, id, &component->format);
    if (error && error != ERROR_NOT_FOUND)
        return error;
    if (error == ERROR_NOT_FOUND)
        memset(&component->format, 0, sizeof component->format);
    component->in_table = error == ERROR_NONE;
    list->count++;
    *out = component;
    return ERROR_NONE;
}

static void component_change(struct component_merge *component, const struct component_change *change)
{
    struct component_format *format = &component->format;
    memcpy(format->object, change->object.bytes, sizeof format->object);
    memcpy(format->domain, change->domain.bytes, sizeof format->domain);
    if (change->state == COMPONENT_LIVE) {
        format->base = le64_make(change->base);
        format->birth = le64_make(change->birth);
    }
    format->state = change->state;
}

static enum error add(le64 *value, int64_t difference)
{
    int64_t sum;
    if (__builtin_add_overflow((int64_t)le64_get(*value), difference, &sum) || sum < 0)
        return error_explain(ERROR_CORRUPT, "a component would have less than nothing mapped or stored");
    *value = le64_make((uint64_t)sum);
    return ERROR_NONE;
}

static enum error figures_fold(struct component_format *format, const struct statistics *statistics)
{
    TRY(add(&format->mapped, statistics->mapped));
    TRY(add(&format->random, statistics->random));
    return add(&format->stored, statistics->stored);
}

/* All that it maps now is shared, or may be: its figures begin anew, with segments that are not there yet. */
static void family_join(struct merge *merge, struct component_format *format)
{
    mutex_lock(&merge->group->lock);
    format->own = le64_make(merge->group->segments.serial_next);
    mutex_unlock(&merge->group->lock);
    format->family = 1;
    format->mapped = format->random = format->stored = le64_make(0);
}

static int component_order(const void *a, const void *b)
{
    uint64_t x = ((const struct component_merge *)a)->id, y = ((const struct component_merge *)b)->id;
    return order_of(x, y);
}

/* The component begins as its base is, which stands before it in the list. */
static enum error component_adopt(struct merge *merge, struct component_list *list, struct component_merge *component)
{
    struct component_merge wanted = {.id = le64_get(component->format.base)};
    struct component_merge *base = bsearch(&wanted, list->items, list->count - 1, sizeof *list->items, component_order);
    if (!base || component_is_gone(base))
        return error_explain(ERROR_CORRUPT, "component %llu falls back to component %llu, which does not exist",
                             (unsigned long long)component->id, (unsigned long long)wanted.id);
    component->format.root = base->format.root;
    component->format.height = base->format.height;
    family_join(merge, &component->format);
    family_join(merge, &base->format);
    merge->families = merge->family_pending = true;
    struct node_pointer root = pointer_decode(&component->format.root);
    component->shared_root = entry_cid(root.first);
    return entry_is_hole(root.first) ? ERROR_NONE : map_node_hold(merge, &root);
}

/* What others did to shared nodes must be known before. Of a map that was taken over just now the root is shared with the
 * base, and so is all below it: nothing is asked. */
static enum error family_begin(struct merge *merge, const struct component_merge *component)
{
    return merge->family_pending && !component->shared_root ? changes_apply(merge) : ERROR_NONE;
}

static enum error component_fold(struct merge *merge, struct component_merge *component, const struct sheaf **sheaves,
                                 size_t count, const struct hole_range *ranges, size_t range_count)
{
    struct component_format *format = &component->format;
    struct tree tree = {ITEM_NODE, component->id, {pointer_decode(&format->root), format->height}};
    AUTO_FREE uint64_t *numbers = malloc((count + 1) * sizeof *numbers);
    if (!numbers)
        return ERROR_NO_MEMORY;
    for (size_t i = 0; i < count; i++)
        numbers[i] = sheaves[i]->number;
    if (format->family && (count || range_count))
        TRY(family_begin(merge, component));
    component->next = sheaves;
    component->end = sheaves + count;
    struct tree_update update = {&tree, numbers, count, ranges, range_count, map_leaf_apply, map_node_drop, map_leaf_lost,
                                 format->family ? map_leaf_copied : NULL, component->shared_root, component, false};
    TRY(tree_update(merge, &update));
    merge->family_pending |= format->family != 0; /* a list that was full was applied in the middle of it */
    pointer_encode(&tree.root.pointer, &format->root);
    format->height = tree.root.height;
    merge->blocks_mapped += (uint64_t)component->statistics.mapped;
    return figures_fold(format, &component->figures);
}

/* A deleted component whose map is empty leaves the table, also where the release list still has parts of the map. */
static enum error component_page_apply(struct merge *merge, void *context, uint64_t number, const uint8_t *old, uint8_t *page)
{
    struct component_list *list = context;
    (void)merge;
    memcpy(page, old, BLOCK_SIZE);
    for (; list->next < list->count && list->items[list->next].id / COMPONENTS_PER_PAGE == number; list->next++) {
        struct component_merge *component = &list->items[list->next];
        uint8_t *at = page + component->id % COMPONENTS_PER_PAGE * sizeof component->format;
        bool gone = component->format.state == COMPONENT_DELETED &&
                    entry_is_hole(pointer_decode(&component->format.root).first);
        if (gone)
            memset(at, 0, sizeof component->format);
        else
            memcpy(at, &component->format, sizeof component->format);
    }
    return ERROR_NONE;
}

static enum error component_table_update(struct merge *merge, struct component_list *list)
{
    AUTO_FREE uint64_t *pages = malloc((list->count + 1) * sizeof *pages);
    size_t n = 0;
    if (!pages)
        return ERROR_NO_MEMORY;
    for (size_t i = 0; i < list->count; i++) {
        uint64_t page = list->items[i].id / COMPONENTS_PER_PAGE;
        if (n == 0 || pages[n - 1] != page)
            pages[n++] = page;
    }
    if (n == 0)
        return ERROR_NONE;
    struct tree tree = tree_of_table(TABLE_COMPONENTS, &merge->roots[TABLE_COMPONENTS - 1]);
    struct tree_update update = {.tree = &tree, .numbers = pages, .count = n, .apply = component_page_apply, .context = list};
    TRY(tree_update(merge, &update));
    merge->roots[TABLE_COMPONENTS - 1] = tree.root;
    return ERROR_NONE;
}

/* ---- all of them ------------------------------------------------------------------------------------------------------- */

struct frozen {
    const struct sheaf **sheaves;
    size_t sheaf_count, sheaf_next;
    const struct hole_range *ranges;
    size_t range_count, range_next;
    struct component_change *changes; /* sorted by id, later ones behind */
    size_t change_count, change_next;
    uint64_t *bases; /* that components are created on, rising */
    size_t base_count, base_next;
};

static uint64_t next_id(const struct frozen *frozen)
{
    uint64_t id = UINT64_MAX;
    if (frozen->sheaf_next < frozen->sheaf_count)
        id = MIN(id, frozen->sheaves[frozen->sheaf_next]->owner);
    if (frozen->range_next < frozen->range_count)
        id = MIN(id, frozen->ranges[frozen->range_next].component);
    if (frozen->change_next < frozen->change_count)
        id = MIN(id, frozen->changes[frozen->change_next].id);
    if (frozen->base_next < frozen->base_count)
        id = MIN(id, frozen->bases[frozen->base_next]);
    return id;
}

static enum error component_merge_next(struct merge *merge, struct frozen *frozen, struct component_list *list, uint64_t id)
{
    struct component_merge *component;
    TRY(component_get(merge, list, id, &component));
    size_t sheaf = frozen->sheaf_next, range = frozen->range_next;
    while (frozen->sheaf_next < frozen->sheaf_count && frozen->sheaves[frozen->sheaf_next]->owner == id)
        frozen->sheaf_next++;
    while (frozen->range_next < frozen->range_count && frozen->ranges[frozen->range_next].component == id)
        frozen->range_next++;
    while (frozen->change_next < frozen->change_count && frozen->changes[frozen->change_next].id == id)
        component_change(component, &frozen->changes[frozen->change_next++]);
    while (frozen->base_next < frozen->base_count && frozen->bases[frozen->base_next] == id)
        frozen->base_next++;
    if (component_is_gone(component))
        return ERROR_NONE;
    if (!component->in_table && le64_get(component->format.base))
        TRY(component_adopt(merge, list, component));
    return component_fold(merge, component, frozen->sheaves + sheaf, frozen->sheaf_next - sheaf, frozen->ranges + range,
                          frozen->range_next - range);
}

static int change_order(const void *a, const void *b)
{
    const struct component_change *x = a, *y = b;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* ---- what was released ----------------------------------------------------------------------------------------------------- */

static int statistics_order(const void *a, const void *b)
{
    uint64_t x = ((const struct release_statistics *)a)->component, y = ((const struct release_statistics *)b)->component;
    return order_of(x, y);
}

static void statistics_sum(struct statistics *sum, const struct statistics *one)
{
    sum->mapped += one->mapped;
    sum->random += one->random;
    sum->stored += one->stored;
}

/* One for each component: the sum. */
static size_t released_sum(struct release_statistics *all, size_t count)
{
    size_t sums = 0;
    qsort(all, count, sizeof *all, statistics_order);
    for (size_t i = 0; i < count; i++) {
        if (sums == 0 || all[sums - 1].component != all[i].component) {
            all[sums++] = all[i];
            continue;
        }
        statistics_sum(&all[sums - 1].statistics, &all[i].statistics);
        statistics_sum(&all[sums - 1].figures, &all[i].figures);
    }
    return sums;
}

/* `known` components of the list are sorted; what is found in the table comes behind them. One that was deleted is not
 * there: nobody counts its blocks any more, but for the total. */
static enum error released_fold(struct merge *merge, struct component_list *list, size_t known,
                                const struct release_statistics *released)
{
    struct component_merge wanted = {.id = released->component, .in_table = true}, *component = NULL;
    merge->blocks_mapped += (uint64_t)released->statistics.mapped;
    if (known)
        component = bsearch(&wanted, list->items, known, sizeof *list->items, component_order);
    if (!component) {
        enum error error = view_component(merge->group, merge->view, released->component, &wanted.format);
        if (error)
            return error == ERROR_NOT_FOUND ? ERROR_NONE : error;
        component = &list->items[list->count++];
        *component = wanted;
    }
    bool counts = component->in_table && le64_get(component->format.own) == released->own;
    return counts ? figures_fold(&component->format, &released->figures) : ERROR_NONE;
}

static enum error releases_fold(struct merge *merge, struct component_list *list)
{
    size_t known = list->count, sums = 0;
    TRY(releases_run(merge));
    struct release_statistics *all = merge->releases.statistics;
    if (merge->releases.statistics_count)
        sums = released_sum(all, merge->releases.statistics_count);
    struct component_merge *grown = realloc(list->items, (known + sums + 1) * sizeof *grown);
    if (!grown)
        return ERROR_NO_MEMORY;
    list->items = grown;
    for (size_t i = 0; i < sums; i++)
        TRY(released_fold(merge, list, known, &all[i]));
    qsort(list->items, list->count, sizeof *list->items, component_order);
    return ERROR_NONE;
}

static enum error frozen_merge(struct merge *merge, struct frozen *frozen, struct component_list *list)
{
    for (uint64_t id; (id = next_id(frozen)) != UINT64_MAX;)
        TRY(component_merge_next(merge, frozen, list, id));
    TRY(releases_fold(merge, list));
    return component_table_update(merge, list);
}

static size_t components_count_max(const struct frozen *frozen)
{
    size_t count = frozen->change_count + frozen->base_count + frozen->range_count;
    for (size_t i = 0; i < frozen->sheaf_count; i++)
        count += i == 0 || frozen->sheaves[i]->owner != frozen->sheaves[i - 1]->owner;
    return count;
}

static enum error changes_take(struct frozen *frozen, const struct component_change *changes)
{
    frozen->changes = malloc((frozen->change_count + 1) * sizeof *frozen->changes);
    frozen->bases = malloc((frozen->change_count + 1) * sizeof *frozen->bases);
    if (!frozen->changes || !frozen->bases)
        return ERROR_NO_MEMORY;
    memcpy(frozen->changes, changes, frozen->change_count * sizeof *frozen->changes);
    for (size_t i = 0; i < frozen->change_count; i++) {
        frozen->changes[i].order = (uint32_t)i;
        if (changes[i].state == COMPONENT_LIVE && changes[i].base && !changes[i].published)
            frozen->bases[frozen->base_count++] = changes[i].base;
    }
    qsort(frozen->changes, frozen->change_count, sizeof *frozen->changes, change_order);
    qsort(frozen->bases, frozen->base_count, sizeof *frozen->bases, number_order);
    return ERROR_NONE;
}

enum error maps_merge(struct merge *merge)
{
    struct recent *recent = merge->view->frozen;
    struct frozen frozen = {0};
    struct component_list list = {0};
    const struct component_change *changes = recent_components(recent, &frozen.change_count);
    frozen.ranges = recent_ranges(recent, &frozen.range_count);
    TRY(recent_sorted(recent, false, &frozen.sheaves, &frozen.sheaf_count));
    enum error error = changes_take(&frozen, changes);
    list.capacity = components_count_max(&frozen);
    list.items = malloc((list.capacity + 1) * sizeof *list.items);
    if (!error)
        error = list.items ? frozen_merge(merge, &frozen, &list) : ERROR_NO_MEMORY;
    free(frozen.sheaves);
    free(frozen.changes);
    free(frozen.bases);
    free(list.items);
    return error;
}
