/*
 * Nodes and pages that a merge wrote anew, and which of the published state nobody asks for any more. Left to age they would take
 * half of the cache, and push out what the next merge reads: each merge writes most of a small pool's pages.
 *
 * They are dropped behind the publish, not before: readers have the old tree until then. A hint: one that is missed ages out,
 * one that is asked for after all is read. The merge thread alone; a crash is harmless.
 */
#include <stdlib.h>

#include "engine/group/merge.h"

#define OUTDATED_MIN 1024u
#define OUTDATED_MAX (64u << 10) /* a mebibyte of them; the rest ages out */

void node_outdated(struct merge *merge, const struct node_pointer *pointer)
{
    if (merge->outdated_count == OUTDATED_MAX)
        return;
    if (merge->outdated_count == merge->outdated_capacity) {
        size_t capacity = merge->outdated_capacity ? 2 * merge->outdated_capacity : OUTDATED_MIN;
        struct cache_key *grown = realloc(merge->outdated, capacity * sizeof *grown);
        if (!grown)
            return;
        merge->outdated = grown;
        merge->outdated_capacity = capacity;
    }
    merge->outdated[merge->outdated_count++] =
        (struct cache_key){entry_serial(pointer->first), entry_offset(pointer->first), 0};
}

void nodes_outdated_drop(struct merge *merge)
{
    for (size_t i = 0; i < merge->outdated_count; i++)
        cache_drop(merge->group->nodes, merge->outdated[i]);
    merge->outdated_count = 0;
}
