/*
 * Step of the scrub: the maps of all objects, which tell whose the damage is.
 *
 * The walk looks at every node in all copies and holds every entry against the damage that was found by address: one
 * walk for all of it, however much there is. An entry whose segment is gone is damage by itself. Objects that are made
 * meanwhile refer to what is younger than the scrub, or to chunks that were there before (a duplicate): those are in
 * the index by what a write compared or hashed, and a scrub that runs later names them.
 *
 * What is entered is looked up again afterwards (damage_note.c), so a block that is written at this moment does not
 * stay. Locks: pool->lock for the list of objects; the group's, a leaf at a time.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/group/follow.h"
#include "engine/pool/map_walk.h"
#include "engine/pool/object_table.h"
#include "engine/pool/scrub.h"

#define SLICE_LEAVES   64 /* that are walked under one view: 16 MiB of blocks */
#define CATALOG_BLOCKS ((uint64_t)OBJECT_SLOTS_END * OBJECT_SLOT_BLOCKS)

struct maps {
    struct scrub *scrub;
    struct pool *pool;
    uint64_t component, blocks_end;
    struct damage *stored; /* rows of DAMAGE_STORED, sorted by segment and offset */
    size_t stored_count;
    uint64_t lost_end; /* leaves below it hang under a node that is lost */
    uint64_t bytes;
    enum error failed; /* of a leaf, of which nothing was learned */
};

/* ---- nodes ---------------------------------------------------------------------------------------------------- */

/* What the step before found at a copy's address is this node. */
static void copy_name(const struct maps *maps, struct map_entry address)
{
    struct map_entry place = entry_follow(maps->pool->group, address);
    uint64_t offset = entry_offset(place);
    damages_name(maps->pool->damages, entry_serial(place), offset, offset + entry_length(place));
}

static void node_lose(struct maps *maps, const struct walk_node *node)
{
    uint64_t span = tree_span(node->identity.level), first = node->identity.number * span * MAP_LEAF_ENTRIES;
    struct damage damage = {
        .kind = DAMAGE_BLOCKS,
        .fault = DAMAGE_MAP,
        .lost = true,
        .by_scrub = true,
        .owner = maps->component,
        .first = first,
        .end = MIN(first + span * MAP_LEAF_ENTRIES, maps->blocks_end),
        .serial = entry_serial(node->pointer.first),
        .offset = entry_offset(node->pointer.first),
    };
    maps->lost_end = MAX(maps->lost_end, (node->identity.number + 1) * span);
    if (damage.first >= damage.end)
        return;
    damage_place(maps->pool->group, &damage);
    damages_add(maps->pool->damages, &damage);
}

static enum error map_node(struct map_walk *walk, const struct walk_node *node, bool again)
{
    struct maps *maps = walk->context;
    const struct node_pointer *pointer = &node->pointer;
    if (again)
        return ERROR_NONE;
    TRY(maps->failed);
    TRY(scrub_node(maps->scrub, DAMAGE_NODE, node, &maps->bytes));
    if (node->errors[0])
        copy_name(maps, pointer->first);
    if (node->errors[1])
        copy_name(maps, pointer_second(pointer));
    if (node->bytes)
        return ERROR_NONE;
    damages_cut(maps->pool->damages, DAMAGE_NODE, maps->component, node->identity.level, node->identity.number,
                node->identity.number + 1); /* the blocks tell more */
    node_lose(maps, node);
    return ERROR_NONE;
}

/* ---- entries -------------------------------------------------------------------------------------------------- */

static const struct damage *stored_find(const struct maps *maps, struct map_entry entry)
{
    size_t low = 0, high = maps->stored_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct damage *row = &maps->stored[middle];
        bool before =
            row->owner != entry_serial(entry) ? row->owner < entry_serial(entry) : row->end <= entry_offset(entry);
        if (before)
            low = middle + 1;
        else
            high = middle;
    }
    const struct damage *row = &maps->stored[low];
    bool found = low < maps->stored_count && row->owner == entry_serial(entry) && row->first <= entry_offset(entry);
    return found ? row : NULL;
}

static enum error faults_find(const struct maps *maps, const struct view *view, const struct map_leaf *leaf,
                              uint8_t faults[MAP_LEAF_ENTRIES])
{
    struct group *group = maps->pool->group;
    struct map_entry places[MAP_LEAF_ENTRIES];
    enum error errors[MAP_LEAF_ENTRIES];
    memcpy(places, leaf->entries, sizeof places);
    entries_follow(group, view, places, errors, MAP_LEAF_ENTRIES);
    for (unsigned i = 0; i < MAP_LEAF_ENTRIES; i++)
        if (scrub_learns_nothing(errors[i]))
            return errors[i];
    mutex_lock(&group->lock);
    for (unsigned i = 0; i < MAP_LEAF_ENTRIES; i++) {
        bool gone = !entry_is_hole(places[i]) && !errors[i] &&
                    segment_find(&group->segments, entry_serial(places[i])) == SEGMENT_NONE;
        faults[i] = gone ? DAMAGE_GONE : errors[i] ? (uint8_t)damage_fault_of(errors[i]) : 0;
    }
    mutex_unlock(&group->lock);
    for (unsigned i = 0; i < MAP_LEAF_ENTRIES && maps->stored_count; i++) {
        const struct damage *row = entry_is_hole(places[i]) ? NULL : stored_find(maps, places[i]);
        if (row)
            faults[i] = row->fault;
    }
    return ERROR_NONE;
}

static void map_leaf(struct map_walk *walk, const struct map_leaf *leaf)
{
    struct maps *maps = walk->context;
    uint8_t faults[MAP_LEAF_ENTRIES];
    if (!maps->failed)
        maps->failed = faults_find(maps, walk->view, leaf, faults);
    if (maps->failed)
        return;
    for (unsigned i = 0; i < MAP_LEAF_ENTRIES; i++) {
        uint64_t block = leaf->number * MAP_LEAF_ENTRIES + i;
        struct map_entry entry = leaf->entries[i];
        if (leaf->known[i] && !faults[i] && leaf->number < maps->lost_end)
            damage_overwritten(maps->pool, maps->component, block, block + 1);
        if (!faults[i])
            continue;
        damage_note_block(maps->pool, maps->component, block, entry, (enum damage_fault)faults[i], true);
    }
}

/* ---- objects -------------------------------------------------------------------------------------------------- */

/* The next component from `first` on that somebody can read, and how many blocks it has. */
static bool component_next(struct pool *pool, uint64_t first, uint64_t *component, uint64_t *blocks)
{
    bool found = first <= COMPONENT_CATALOG;
    *component = COMPONENT_CATALOG;
    *blocks = CATALOG_BLOCKS;
    mutex_lock(&pool->lock);
    for (const struct object *object = found ? NULL : pool->objects; object; object = object->next) {
        if (object->component < first || object->deleting || (found && object->component >= *component))
            continue;
        found = true;
        *component = object->component;
        *blocks = atomic_load(&object->size) / COFFER_BLOCK;
    }
    mutex_unlock(&pool->lock);
    return found;
}

static enum error stored_take(struct maps *maps)
{
    size_t count;
    bool more;
    TRY(damages_copy(maps->pool->damages, true, &maps->stored, &count, &more));
    for (size_t i = 0; i < count; i++)
        if (maps->stored[i].kind == DAMAGE_STORED)
            maps->stored[maps->stored_count++] = maps->stored[i];
    return ERROR_NONE;
}

static enum error slices_walk(struct maps *maps, struct map_walk *walk, const struct scrub_job *job)
{
    enum error error = ERROR_AGAIN;
    while (error == ERROR_AGAIN) {
        uint64_t since = clock_monotonic();
        maps->bytes = 0;
        error = map_walk_slice(walk);
        TRY(maps->failed);
        if (error && error != ERROR_AGAIN)
            return error;
        if (error)
            scrub_advance(maps->scrub, job, SCRUB_MAPS, maps->component, walk->next);
        else
            scrub_advance(maps->scrub, job, SCRUB_MAPS, maps->component + 1, 0);
        TRY(scrub_breathe(maps->scrub, job, maps->bytes, since));
    }
    return ERROR_NONE;
}

static enum error map_scrub(struct maps *maps, const struct scrub_job *job)
{
    struct map_walk walk = {
        .group = maps->pool->group,
        .component = maps->component,
        .copies = WALK_ALL_COPIES,
        .slice_leaves = SLICE_LEAVES,
        .node = map_node,
        .leaf = map_leaf,
        .context = maps,
    };
    enum error error = stored_take(maps);
    if (!error)
        error = map_walk_begin(&walk);
    map_walk_seek(&walk, maps->component == job->part ? job->at : 0);
    if (!error)
        error = slices_walk(maps, &walk, job);
    map_walk_forget(&walk);
    free(maps->stored);
    return error;
}

/* Where its map begins cannot be read from the table of components: all of the map is lost, and the scrub goes on. */
static enum error component_lose(struct maps *maps, const struct scrub_job *job)
{
    if (maps->blocks_end > 0)
        damages_add(maps->pool->damages, &(struct damage){
                                             .kind = DAMAGE_BLOCKS,
                                             .fault = DAMAGE_MAP,
                                             .lost = true,
                                             .by_scrub = true,
                                             .owner = maps->component,
                                             .end = maps->blocks_end,
                                         });
    scrub_advance(maps->scrub, job, SCRUB_MAPS, maps->component + 1, 0);
    return scrub_breathe(maps->scrub, job, 0, clock_monotonic());
}

enum error scrub_maps(struct scrub *scrub, const struct scrub_job *job)
{
    struct maps maps = {.scrub = scrub, .pool = scrub->pool};
    if (component_next(scrub->pool, job->part, &maps.component, &maps.blocks_end)) {
        enum error error = map_scrub(&maps, job);
        return error == ERROR_CORRUPT || error == ERROR_IO ? component_lose(&maps, job) : error;
    }
    scrub_advance(scrub, job, SCRUB_CONFIRM, 0, 0);
    return ERROR_NONE;
}
