/*
 * The segment table, written last in a merge: what all else that was written did to live bytes is in it. Its own pages
 * are not counted in it; an open walks it and counts them. A page that is written may change the table once more (a
 * segment was opened for it), so dirty pages are written until none is left, which ends because a segment holds many
 * pages.
 */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/group/merge.h"

#define ENTRIES_PER_PAGE (BLOCK_SIZE / sizeof(struct segment_entry_format))

static enum error page_apply(struct merge *merge, void *context, uint64_t number, const uint8_t *old, uint8_t *page)
{
    struct group *group = merge->group;
    struct segments *segments = &group->segments;
    uint32_t device = (uint32_t)(number / segments->pages_of_device);
    uint32_t first = (uint32_t)(number % segments->pages_of_device * ENTRIES_PER_PAGE);
    struct segment_entry_format *entries = (struct segment_entry_format *)page;
    (void)context;
    (void)old;
    memset(page, 0, BLOCK_SIZE);
    mutex_lock(&group->lock);
    for (uint32_t i = 0; i < ENTRIES_PER_PAGE && first + i < segments->slot_count[device]; i++)
        segment_entry_encode(&segments->table[segments->slot_first[device] + first + i], &entries[i]);
    mutex_unlock(&group->lock);
    return ERROR_NONE;
}

static size_t dirty_take(struct group *group, uint64_t *pages, size_t capacity)
{
    struct segments *segments = &group->segments;
    size_t count = 0, all = (size_t)segments->device_count * segments->pages_of_device;
    mutex_lock(&group->lock);
    for (size_t page = 0; page < all && count < capacity; page++)
        if (segments->dirty[page]) {
            segments->dirty[page] = 0;
            pages[count++] = page;
        }
    mutex_unlock(&group->lock);
    return count;
}

/* Segments that hold pages of the table; where there are too many, all pages are written anew, which gathers them. */
static unsigned holders(struct group *group, struct segment_reference *references, unsigned capacity)
{
    struct segments *segments = &group->segments;
    unsigned count = 0;
    mutex_lock(&group->lock);
    for (uint32_t i = 0; i < segments->count; i++) {
        const struct segment *segment = &segments->table[i];
        if (segment->pages == 0)
            continue;
        if (count < capacity)
            references[count] = (struct segment_reference){
                .serial = segment->serial,
                .device = segment_device(segments, i),
                .slot = segment_slot(segments, i),
                .key_slot = segment->key_slot,
                .salt = segment->salt,
                .birth_salt = segment->birth_salt,
                .log_key = segment->log_key,
            };
        count++;
    }
    mutex_unlock(&group->lock);
    return count;
}

static void dirty_all(struct group *group)
{
    struct segments *segments = &group->segments;
    mutex_lock(&group->lock);
    for (uint32_t i = 0; i < segments->count; i += ENTRIES_PER_PAGE / 2)
        segment_dirty(segments, i);
    for (uint32_t d = 0; d < segments->device_count; d++)
        segment_dirty(segments, segments->slot_first[d] + segments->slot_count[d] - 1);
    mutex_unlock(&group->lock);
}

enum error segment_pages_write(struct merge *merge)
{
    struct group *group = merge->group;
    size_t all = (size_t)group->segments.device_count * group->segments.pages_of_device;
    AUTO_FREE uint64_t *pages = malloc(all * sizeof *pages);
    if (!pages)
        return ERROR_NO_MEMORY;
    struct tree tree = tree_of_table(TABLE_SEGMENTS, &merge->roots[TABLE_SEGMENTS - 1]);
    for (size_t count; (count = dirty_take(group, pages, all)) > 0;) {
        struct tree_update update = {.tree = &tree, .numbers = pages, .count = count, .apply = page_apply};
        TRY(tree_update(merge, &update));
    }
    merge->roots[TABLE_SEGMENTS - 1] = tree.root;
    return ERROR_NONE;
}

enum error segments_merge(struct merge *merge, struct checkpoint *checkpoint)
{
    struct group *group = merge->group;
    if (holders(group, checkpoint->table_segments, 0) > TABLE_SEGMENTS_MAX / 2)
        dirty_all(group);
    TRY(segment_pages_write(merge));
    unsigned count = holders(group, checkpoint->table_segments, TABLE_SEGMENTS_MAX);
    if (count > TABLE_SEGMENTS_MAX)
        return error_explain(ERROR_BUG, "the segment table lies in %u segments", count);
    checkpoint->table_segment_count = count;
    return ERROR_NONE;
}
