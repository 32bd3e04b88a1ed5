/*
 * Cleaning that comes to nothing. Trees are never written over, so all that the cleaner did to them is undone by going
 * back to the roots as they were, and with them to what each segment is counted to have. What was written stands in
 * segments that nothing names; they are garbage like any other.
 *
 * So no error of the cleaner is one of the merge, which goes on as if no segment had been chosen: no memory, a device that
 * does not read, and a page of a table that was lost while it was moved, whose space stays counted (page_loss.c) in a
 * segment from which all chunks went. That segment must not be published as it is: maps name it, and while it is there
 * they are taken at their word, but its chunks are counted elsewhere.
 *
 * The merge thread alone changes what segments have; the group's lock for looking. A crash: nothing was published.
 */
#include <string.h>

#include "base/memory.h"
#include "engine/group/clean.h"

enum error clean_before_keep(const struct merge *merge, struct clean_before *before)
{
    struct segments *segments = &merge->group->segments;
    memcpy(before->roots, merge->roots, sizeof before->roots);
    before->accounts = malloc(segments->count * sizeof *before->accounts);
    if (!before->accounts)
        return ERROR_NO_MEMORY;
    mutex_lock(&merge->group->lock);
    for (uint32_t i = 0; i < segments->count; i++) {
        const struct segment *segment = &segments->table[i];
        before->accounts[i] = (struct clean_account){segment->serial, segment->live, segment->pages};
    }
    mutex_unlock(&merge->group->lock);
    return ERROR_NONE;
}

/* Pages of the segment table that were written meanwhile are gone with its root: all are to be written. A slot that was
 * taken meanwhile has nothing. */
void clean_undo(struct merge *merge, const struct clean_before *before)
{
    struct segments *segments = &merge->group->segments;
    memcpy(merge->roots, before->roots, sizeof merge->roots);
    mutex_lock(&merge->group->lock);
    for (uint32_t i = 0; i < segments->count; i++) {
        const struct clean_account *account = &before->accounts[i];
        bool same = segments->table[i].serial == account->serial;
        segment_live_set(segments, i, same ? account->live : 0);
        segments->table[i].pages = same ? account->pages : 0;
        segment_dirty(segments, i);
    }
    mutex_unlock(&merge->group->lock);
}
