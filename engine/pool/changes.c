/*
 * What changed between two versions, block by block where their maps differ, and nothing where they do not.
 *
 * Two blocks are the same where they refer to the same chunk. The older version is a snapshot and open, so its chunks
 * live, and a CID names one living chunk: that the other refers to it too means the same bytes, whenever it was asked.
 * The opposite is not promised: equal bytes that were stored twice are told as changed.
 *
 * Locks: none of its own. Each step asks for itself, so of an object that is written meanwhile no single moment is seen.
 * Nothing is changed, so a crash is harmless.
 */
#include "base/memory.h"
#include "engine/group/difference.h"
#include "engine/group/view.h"
#include "engine/pool/pool.h"

struct comparison {
    struct group *group;
    struct volume *volume, *base;
    struct change_extent *extents;
    size_t count, capacity;
    uint64_t block, end; /* what is before `block` was told */
    bool full;
};

static void told(struct comparison *comparison, enum change_kind kind, uint64_t blocks)
{
    struct change_extent *last = comparison->count ? &comparison->extents[comparison->count - 1] : NULL;
    if (blocks == 0 || comparison->full)
        return;
    if (last && last->kind == kind)
        last->length += blocks * COFFER_BLOCK;
    else if (comparison->count < comparison->capacity)
        comparison->extents[comparison->count++] = (struct change_extent){blocks * COFFER_BLOCK, kind};
    else
        comparison->full = true;
    if (!comparison->full)
        comparison->block += blocks;
}

static enum error blocks_find(struct comparison *comparison, const struct volume *volume, const uint64_t *blocks,
                              struct map_entry *entries, size_t count)
{
    struct view *view;
    uint64_t component;
    TRY(view_lookup_target(comparison->group, &volume->object->component, &component, blocks, entries, count, &view));
    view_put(comparison->group, view);
    return ERROR_NONE;
}

static enum change_kind kind_of(struct map_entry now, struct map_entry before)
{
    if (entry_cid(now) == entry_cid(before))
        return CHANGE_NONE;
    return entry_is_hole(now) ? CHANGE_ZERO : CHANGE_DATA;
}

/* The rest of the leaf in which the comparison stands. */
static enum error leaf_compare(struct comparison *comparison)
{
    uint64_t blocks[MAP_LEAF_ENTRIES];
    struct map_entry now[MAP_LEAF_ENTRIES], before[MAP_LEAF_ENTRIES];
    size_t count = (size_t)MIN(comparison->end - comparison->block,
                               MAP_LEAF_ENTRIES - comparison->block % MAP_LEAF_ENTRIES);
    for (size_t i = 0; i < count; i++)
        blocks[i] = comparison->block + i;
    TRY(blocks_find(comparison, comparison->volume, blocks, now, count));
    TRY(blocks_find(comparison, comparison->base, blocks, before, count));
    for (size_t i = 0; i < count && !comparison->full; i++)
        told(comparison, kind_of(now[i], before[i]), 1);
    return ERROR_NONE;
}

/* From a leaf that may differ to the first from there on that either of them has: a trim of any size is one entry of the
 * recent tables, and most of what it covers was a hole before. */
static enum error holes_pass(const struct comparison *comparison, uint64_t *leaf, uint64_t end)
{
    uint64_t mapped = *leaf;
    TRY(view_leaf_next(comparison->group, &comparison->base->object->component, &mapped, end));
    TRY(view_leaf_next(comparison->group, &comparison->volume->object->component, leaf, mapped));
    return ERROR_NONE;
}

/* Tells what is the same up to the next leaf that may differ. *differs: the comparison stands in it; else behind holes,
 * where nothing was asked yet. */
static enum error same_pass(struct comparison *comparison, bool *differs)
{
    uint64_t end = (comparison->end + MAP_LEAF_ENTRIES - 1) / MAP_LEAF_ENTRIES;
    uint64_t leaf = comparison->block / MAP_LEAF_ENTRIES;
    TRY(view_differ_next(comparison->group, &comparison->volume->object->component,
                         &comparison->base->object->component, &leaf, end));
    uint64_t mapped = leaf;
    TRY(holes_pass(comparison, &mapped, end));
    uint64_t next = MIN(MAX(mapped * MAP_LEAF_ENTRIES, comparison->block), comparison->end);
    told(comparison, CHANGE_NONE, next - comparison->block);
    *differs = mapped == leaf;
    return ERROR_NONE;
}

static enum error step(struct comparison *comparison)
{
    bool differs;
    TRY(same_pass(comparison, &differs));
    return differs && !comparison->full && comparison->block < comparison->end ? leaf_compare(comparison) : ERROR_NONE;
}

enum error volume_changes(struct volume *volume, struct volume *base, uint64_t offset, uint64_t length,
                          struct change_extent *extents, size_t capacity, size_t *count)
{
    uint64_t size = atomic_load(&volume->object->size);
    ASSERT(volume->pool == base->pool);
    TRY(pool_check_look(volume->pool));
    if (!object_is_snapshot(base->object))
        return error_explain(ERROR_INVALID, "'%s' is no snapshot: changes are told since one", base->object->name);
    if (capacity == 0 || length == 0 || offset > size || length > size - offset)
        return ERROR_OUT_OF_RANGE;
    struct comparison comparison = {
        .group = volume->pool->group,
        .volume = volume,
        .base = base,
        .extents = extents,
        .capacity = capacity,
        .block = offset / COFFER_BLOCK,
        .end = (offset + length + COFFER_BLOCK - 1) / COFFER_BLOCK,
    };
    for (unsigned steps = 0; steps < CHANGES_LEAVES_MAX && comparison.block < comparison.end && !comparison.full; steps++)
        TRY(step(&comparison));
    *count = comparison.count;
    return ERROR_NONE;
}
