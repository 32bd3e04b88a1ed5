/*
 * A repair is the first step of a merge: live bytes are set, pages put, and whatever the merge has to fold comes on top
 * of that. All of it goes into free space and counts when the checkpoint record is durable; a crash before that finds
 * the damage as it was. The segment table is written anew as a whole, in both copies.
 *
 * The merge thread alone; group->repair is set and read under the group's lock.
 */
#include "engine/group/repair.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/group/merge.h"

static void live_set(struct merge *merge, const struct group_repair *repair)
{
    struct segments *segments = &merge->group->segments;
    mutex_lock(&merge->group->lock);
    for (uint32_t i = 0; i < segments->count; i++) {
        if (segments->table[i].state == SLOT_FREE)
            continue;
        if (repair->live)
            segment_live_set(segments, i, (uint32_t)repair->live[i]);
        segment_dirty(segments, i);
    }
    mutex_unlock(&merge->group->lock);
    if (repair->live)
        merge->chunks_live = repair->chunks_live;
}

struct cursor {
    const struct repair_page *next, *end;
    bool made; /* these are put, the others left as they are */
};

static bool is_wanted(const struct cursor *cursor, enum table table, const struct repair_page *page)
{
    return page->table == table && (page->bytes != NULL) == cursor->made;
}

static enum error page_put(struct merge *merge, void *context, uint64_t number, const uint8_t *old, uint8_t *page)
{
    struct cursor *cursor = context;
    (void)merge;
    while (cursor->next->number != number || (cursor->next->bytes != NULL) != cursor->made)
        cursor->next++;
    ASSERT(cursor->next < cursor->end);
    memcpy(page, cursor->made ? cursor->next->bytes : old, BLOCK_SIZE);
    return ERROR_NONE;
}

static enum error table_put(struct merge *merge, const struct group_repair *repair, enum table table, bool made)
{
    if (repair->page_count == 0)
        return ERROR_NONE;
    struct cursor cursor = {repair->pages, repair->pages + repair->page_count, made};
    AUTO_FREE uint64_t *numbers = malloc((repair->page_count + 1) * sizeof *numbers);
    size_t count = 0;
    if (!numbers)
        return ERROR_NO_MEMORY;
    while (cursor.next < cursor.end && cursor.next->table != table)
        cursor.next++;
    for (const struct repair_page *page = cursor.next; page < cursor.end; page++)
        if (is_wanted(&cursor, table, page))
            numbers[count++] = page->number;
    if (count == 0)
        return ERROR_NONE;
    struct tree tree = tree_of_table(table, &merge->roots[table - 1]);
    struct tree_update update = {
        .tree = &tree, .numbers = numbers, .count = count, .whole = made, .apply = page_put, .context = &cursor};
    TRY(tree_update(merge, &update));
    merge->roots[table - 1] = tree.root;
    return ERROR_NONE;
}

enum error repair_merge(struct merge *merge)
{
    mutex_lock(&merge->group->lock);
    const struct group_repair *repair = merge->group->repair;
    mutex_unlock(&merge->group->lock);
    if (!repair)
        return ERROR_NONE;
    live_set(merge, repair);
    for (unsigned table = TABLE_PLACES; table <= TABLE_LAST; table++) {
        TRY(table_put(merge, repair, (enum table)table, true));
        TRY(table_put(merge, repair, (enum table)table, false));
    }
    return ERROR_NONE;
}

static void repair_set(struct group *group, const struct group_repair *repair)
{
    mutex_lock(&group->lock);
    group->repair = repair;
    mutex_unlock(&group->lock);
}

enum error group_repair_publish(struct group *group, const struct group_repair *repair)
{
    ASSERT(group->config.by_hand);
    repair_set(group, repair);
    enum error error = group_publish(group);
    repair_set(group, NULL);
    return error;
}
