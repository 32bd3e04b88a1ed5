/*
 * Pages of the chunk table that a merge has to change and cannot read: of counts and fingerprints there is one copy, of
 * places there are two. Without the page the merge, and with it the journal, would stand still for good. What takes the place of a lost page must free nothing
 * that is in use and hand out nothing twice; what else it says may be poor, until a repair makes it right
 * (pool/repair.c):
 *
 *   counts        stick at their end: what the page counted is never freed, nor are its CIDs given again. Whether the
 *                 share of such a chunk is in the live bytes of its segment is unknown (a dead one's is not), so each
 *                 merge in which references to it come pins that segment by a grain: it never falls to nothing.
 *   places        name the lost page itself, which stays where it is: so no chunk number of it is free, and none is a
 *                 hit (its segment holds no data). Maps have addresses of their own, so everything can be read.
 *   fingerprints  are none: nothing new is deduplicated against these chunks.
 *
 * The merge thread alone. A crash forgets it, and the next merge does the same.
 */
#include <string.h>

#include "base/memory.h"
#include "base/message.h"
#include "engine/group/merge.h"

static void loss_report(const struct merge *merge, uint64_t first, uint64_t count, const char *what,
                        const char *outcome)
{
    message(MESSAGE_ERROR, "group %s: the %s of chunks %llu to %llu are lost: %s; no data is lost by it",
            group_name(merge->group), what, (unsigned long long)first, (unsigned long long)(first + count - 1),
            outcome);
}

static void counts_lose(const struct merge *merge, uint64_t number, uint8_t *page)
{
    le32 *counts = (le32 *)page;
    for (unsigned i = 0; i < COUNTS_PER_PAGE; i++)
        counts[i] = le32_make(COUNT_STUCK);
    loss_report(merge, number * COUNTS_PER_PAGE, COUNTS_PER_PAGE, "counts", "what they counted is not freed");
}

static void places_lose(const struct merge *merge, struct map_entry lost, uint64_t number, uint8_t *page)
{
    struct map_entry_format *places = (struct map_entry_format *)page;
    for (uint64_t i = 0; i < MAP_LEAF_ENTRIES; i++) {
        uint64_t cid = number * MAP_LEAF_ENTRIES + i;
        entry_encode(cid ? entry_place_unknown(cid, lost) : (struct map_entry){0}, &places[i]);
    }
    loss_report(merge, number * MAP_LEAF_ENTRIES, MAP_LEAF_ENTRIES, "places",
                "nothing is deduplicated against them, and their numbers are not given again");
}

bool page_is_dispensable(const struct tree *tree)
{
    return tree->kind == ITEM_PAGE &&
           (tree->owner == TABLE_PLACES || tree->owner == TABLE_FINGERPRINTS || tree->owner == TABLE_COUNTS);
}

enum error page_lose(struct merge *merge, const struct tree *tree, struct node_pointer *pointer, uint64_t number,
                     uint8_t *page)
{
    switch (tree->owner) {
    case TABLE_COUNTS:
        counts_lose(merge, number, page);
        break;
    case TABLE_PLACES:
        places_lose(merge, pointer->first, number, page);
        if (pointer->second_serial)
            TRY(page_space(merge, pointer->second_serial, entry_length(pointer->first), false, -1));
        *pointer = (struct node_pointer){0}; /* the space of the first copy stays counted, so that its segment stays */
        break;
    default:
        memset(page, 0, BLOCK_SIZE);
        loss_report(merge, number * MAP_LEAF_ENTRIES, MAP_LEAF_ENTRIES, "fingerprints",
                    "nothing is deduplicated against them");
    }
    return ERROR_NONE;
}

enum error stuck_pin(struct merge *merge, struct map_entry entry)
{
    struct segments *segments = &merge->group->segments;
    enum error error = ERROR_NONE;
    mutex_lock(&merge->group->lock);
    uint32_t index = segment_find(segments, entry_serial(entry));
    /* Pins beyond this would leave no room for the shares that may still come (segment_live_add). */
    if (index != SEGMENT_NONE && segments->table[index].live + GRAIN_SIZE <= segment_size(segments))
        error = segment_live_add(segments, index, GRAIN_SIZE);
    mutex_unlock(&merge->group->lock);
    return error;
}
