/*
 * What readers find, as rows of the ledger.
 *
 * A row is entered first and asked for again afterwards: is the block still mapped as it was when it failed? A commit
 * maps its blocks and cuts them out of the ledger under one hold of the group's lock. So of a read and an overwriting
 * that cross each other, the later of the two takes the row out, whatever the order; what is entered is damaged now, and
 * no commit takes out what was found damaged of its own blocks.
 *
 * All of this is on the way of a read that failed, so it may read nodes once more. Locks: the group's, for the place;
 * no view is held between steps. A crash forgets rows that were not saved: the next read finds them again.
 */
#include <string.h>

#include "base/memory.h"
#include "engine/group/follow.h"
#include "engine/group/view.h"
#include "engine/group/walk.h"
#include "engine/pool/damage.h"

enum damage_fault damage_fault_of(enum error error)
{
    return error == ERROR_IO ? DAMAGE_UNREADABLE : error == ERROR_NOT_FOUND ? DAMAGE_GONE : DAMAGE_CHANGED;
}

void damage_place(struct group *group, struct damage *damage)
{
    mutex_lock(&group->lock);
    uint32_t index = segment_find(&group->segments, damage->serial);
    if (index != SEGMENT_NONE) {
        damage->device = segment_device(&group->segments, index);
        damage->slot = segment_slot(&group->segments, index);
    } else if (damage->fault != DAMAGE_MAP) {
        damage->fault = DAMAGE_GONE;
    }
    mutex_unlock(&group->lock);
}

/* Whether the block is still mapped by this entry. */
static bool is_mapped_so(struct pool *pool, uint64_t component, uint64_t block, struct map_entry entry)
{
    struct map_entry now;
    struct view *view;
    if (view_lookup(pool->group, component, &block, &now, 1, &view))
        return false;
    view_put(pool->group, view);
    return entry_equal(entry, now) && !entry_is_hole(now);
}

static void row_enter(struct pool *pool, struct map_entry entry, struct damage *damage)
{
    damage_place(pool->group, damage);
    damages_add(pool->damages, damage);
    if (!is_mapped_so(pool, damage->owner, damage->first, entry))
        damage_overwritten(pool, damage->owner, damage->first, damage->end);
}

/* Until a scrub verifies them, nothing new refers to these bytes. */
static void stored_enter(struct pool *pool, struct map_entry entry, enum damage_fault fault, bool by_scrub)
{
    struct damage damage = {
        .kind = DAMAGE_STORED,
        .fault = (uint8_t)fault,
        .lost = true,
        .by_scrub = by_scrub,
        .named = true,
        .owner = entry_serial(entry),
        .first = entry_offset(entry),
        .end = (uint64_t)entry_offset(entry) + MAX(entry_length(entry), 1),
        .serial = entry_serial(entry),
        .offset = entry_offset(entry),
    };
    damage_place(pool->group, &damage);
    if (damage.fault != DAMAGE_GONE)
        damages_add(pool->damages, &damage);
}

void damage_note_block(struct pool *pool, uint64_t component, uint64_t block, struct map_entry entry,
                       enum damage_fault fault, bool by_scrub)
{
    struct map_entry place = entry_follow(pool->group, entry);
    stored_enter(pool, place, fault, by_scrub);
    row_enter(pool, entry,
              &(struct damage){
                  .kind = DAMAGE_BLOCKS,
                  .fault = (uint8_t)fault,
                  .lost = true,
                  .by_scrub = by_scrub,
                  .owner = component,
                  .first = block,
                  .end = block + 1,
                  .serial = entry_serial(place),
                  .offset = entry_offset(place),
              });
}

/* ---- where the map cannot be read ----------------------------------------------------------------------------- */

static enum error lost_node_visit(void *context, const struct walk_node *node)
{
    struct damage *damage = context;
    if (node->bytes)
        return ERROR_NONE;
    damage->serial = entry_serial(node->pointer.first);
    damage->offset = entry_offset(node->pointer.first);
    return ERROR_EXISTS;
}

/* The node that keeps a leaf from being read; false where there is none (any more). */
static bool lost_node_find(struct pool *pool, uint64_t component, uint64_t leaf, struct damage *damage)
{
    struct tree tree;
    struct view *view = view_take(pool->group);
    enum error error = view_map(pool->group, view, component, &tree);
    if (!error)
        error = tree_walk(pool->group, &tree, leaf, leaf + 1, WALK_ONE_COPY, lost_node_visit, damage);
    view_put(pool->group, view);
    return error == ERROR_EXISTS;
}

/* Rows for runs of neighbours. */
static void runs_enter(struct pool *pool, struct damage *row, const uint64_t *blocks, size_t count)
{
    for (size_t i = 0, end; i < count; i = end) {
        for (end = i + 1; end < count && blocks[end] == blocks[end - 1] + 1;)
            end++;
        row->first = blocks[i];
        row->end = blocks[end - 1] + 1;
        damage_place(pool->group, row);
        damages_add(pool->damages, row);
    }
}

/* Of blocks that were entered go those whose map can be asked by now: all, or what a recent table knows. */
static void found_leave(struct pool *pool, uint64_t component, const uint64_t *blocks, size_t count)
{
    struct map_entry entries[MAP_LEAF_ENTRIES];
    bool known[MAP_LEAF_ENTRIES];
    mutex_lock(&pool->group->lock);
    struct view *view = view_get(pool->group);
    view_find_recent(view, component, blocks, entries, known, count);
    mutex_unlock(&pool->group->lock);
    enum error error = view_find(pool->group, view, component, blocks, entries, known, count);
    view_put(pool->group, view);
    for (size_t i = 0; i < count; i++)
        if (!error || known[i])
            damage_overwritten(pool, component, blocks[i], blocks[i] + 1);
}

/* Blocks of one leaf. The map is asked once for all of them, and not at all where they are known as lost with it: a
 * client that reads on and on in a lost region costs no more than its own reads. */
static void map_loss_note(struct pool *pool, uint64_t component, const uint64_t *blocks, size_t count)
{
    struct damage damage = {.kind = DAMAGE_BLOCKS, .fault = DAMAGE_MAP, .lost = true, .owner = component};
    damage.first = blocks[0];
    damage.end = blocks[count - 1] + 1;
    if (damages_know(pool->damages, &damage) || !lost_node_find(pool, component, blocks[0] / MAP_LEAF_ENTRIES, &damage))
        return;
    runs_enter(pool, &damage, blocks, count);
    found_leave(pool, component, blocks, count);
}

void damage_note_read(struct pool *pool, uint64_t component, const uint64_t *blocks, const struct map_entry *entries,
                      const enum error *errors, size_t count)
{
    for (size_t i = 0, end; i < count; i = end) {
        end = i + 1;
        if (errors[i] != ERROR_CORRUPT && errors[i] != ERROR_IO)
            continue;
        if (!entry_is_hole(entries[i])) {
            damage_note_block(pool, component, blocks[i], entries[i], damage_fault_of(errors[i]), false);
            continue;
        }
        while (end < count && errors[end] == errors[i] && entry_is_hole(entries[end]) &&
               blocks[end] / MAP_LEAF_ENTRIES == blocks[i] / MAP_LEAF_ENTRIES && end - i < MAP_LEAF_ENTRIES)
            end++;
        map_loss_note(pool, component, &blocks[i], end - i);
    }
}
