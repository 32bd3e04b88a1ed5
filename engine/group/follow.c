/* Following moved chunks: one look at the segments, then the pages of places of all that moved. Changes nothing, so a
 * crash is harmless; the group's lock for the look only. */
#include "engine/group/follow.h"

#include "base/memory.h"
#include "engine/group/moved.h"
#include "engine/group/tree.h"
#include "engine/group/view.h"

/* Which of them stand in a segment that was left. */
static size_t left_find(struct group *group, const struct map_entry *entries, size_t count, uint16_t *left)
{
    size_t n = 0;
    mutex_lock(&group->lock);
    for (size_t i = 0; i < count; i++)
        if (!entry_is_hole(entries[i]) && segment_is_left(&group->segments, entry_serial(entries[i])))
            left[n++] = (uint16_t)i;
    mutex_unlock(&group->lock);
    return n;
}

/* By its page, or where that is lost by what a repair found. */
static bool place_find(const struct group *group, const struct cache_block *block, uint64_t cid, struct map_entry *place)
{
    if (block) {
        *place = entry_decode((const struct map_entry_format *)cache_bytes(block) + cid % MAP_LEAF_ENTRIES);
        if (!entry_is_hole(*place) && entry_cid(*place) == cid && !entry_place_is_unknown(*place))
            return true;
    }
    return moved_place(group->moved, cid, place);
}

void entries_follow(struct group *group, const struct view *view, struct map_entry *entries, enum error *errors,
                    size_t count)
{
    uint16_t left[FOLLOW_MAX];
    uint64_t pages[FOLLOW_MAX];
    struct cache_block *blocks[FOLLOW_MAX];
    enum error page_errors[FOLLOW_MAX];
    ASSERT(count <= FOLLOW_MAX);
    for (size_t i = 0; i < count; i++)
        errors[i] = ERROR_NONE;
    size_t n = left_find(group, entries, count, left);
    if (n == 0)
        return;
    for (size_t i = 0; i < n; i++)
        pages[i] = entry_cid(entries[left[i]]) / MAP_LEAF_ENTRIES;
    struct tree places = tree_of_table(TABLE_PLACES, view_root(view, TABLE_PLACES));
    tree_leaves_each(group, &places, pages, blocks, page_errors, n);
    for (size_t i = 0; i < n; i++) {
        struct map_entry *entry = &entries[left[i]], place;
        bool found = place_find(group, blocks[i], entry_cid(*entry), &place);
        errors[left[i]] = found ? ERROR_NONE : page_errors[i];
        if (found)
            *entry = place;
    }
    tree_put(group, blocks, n);
}

struct map_entry entry_follow(struct group *group, struct map_entry entry)
{
    enum error error;
    struct view *view = view_take(group);
    entries_follow(group, view, &entry, &error, 1);
    view_put(group, view);
    return entry;
}
