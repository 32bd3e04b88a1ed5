/*
 * A chunk that was moved stands in a cold segment, a node in one of the kind that it came from; each item names its
 * chunks that were alive. Of several items with one chunk the newest counts, by serial and offset: a chunk is moved to the
 * same log each time, so what was written later stands further on. What else may name its number there is older, an
 * earlier chunk that had the number before it was free, since a number is given again only when its place is gone; or it
 * is a copy with the same content, which a cleaning that was given up, or a crash, has left behind.
 *
 * Only what is authentic counts: appends by their tags, and items by theirs. That the bytes are the chunk's is for the
 * caller to prove by its fingerprint (pool/check_units.c).
 *
 * Nothing is written, and no lock held but for a look at the segments.
 */
#include "engine/group/moved.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/order.h"
#include "engine/group/segment_walk.h"

struct moved_page {
    uint64_t number;
    struct map_entry places[MAP_LEAF_ENTRIES]; /* hole: not found */
};

struct moved {
    struct moved_page *pages; /* by rising number */
    size_t count;
};

/* ---- what was found -------------------------------------------------------------------------------------------------- */

static int page_order(const void *a, const void *b)
{
    uint64_t x = ((const struct moved_page *)a)->number, y = ((const struct moved_page *)b)->number;
    return order_of(x, y);
}

static struct map_entry *place_of(const struct moved *moved, uint64_t cid)
{
    struct moved_page *page = NULL, wanted = {.number = cid / MAP_LEAF_ENTRIES};
    if (moved && moved->count)
        page = bsearch(&wanted, moved->pages, moved->count, sizeof *moved->pages, page_order);
    return page ? &page->places[cid % MAP_LEAF_ENTRIES] : NULL;
}

bool moved_place(const struct moved *moved, uint64_t cid, struct map_entry *place)
{
    const struct map_entry *found = place_of(moved, cid);
    if (!found || entry_is_hole(*found))
        return false;
    *place = *found;
    return true;
}

static bool is_newer(struct map_entry entry, struct map_entry known)
{
    uint64_t x = entry_serial(entry), y = entry_serial(known);
    return x != y ? x > y : entry_offset(entry) > entry_offset(known);
}

/* ---- one segment ----------------------------------------------------------------------------------------------------- */

static uint64_t cid_of(const struct item_read *read, unsigned index)
{
    le40 cid;
    memcpy(&cid, read->descriptors + index * sizeof cid, sizeof cid);
    return le40_get(cid);
}

static enum error item_note(void *context, const struct item_read *read)
{
    const struct moved *moved = context;
    bool node = read->kind == ITEM_NODE, proved = false;
    unsigned count = node ? 1 : read->header->count;
    if (!node && read->kind != ITEM_UNIT)
        return ERROR_NONE;
    for (unsigned i = 0; i < count; i++) {
        uint64_t cid = node ? le40_get(((const struct node_descriptor_format *)read->descriptors)->cid) : cid_of(read, i);
        struct map_entry *known = place_of(moved, cid);
        struct map_entry entry = entry_make(cid, read->serial, read->offset, read->length, i, count);
        if (!known || !is_newer(entry, *known))
            continue;
        if (!proved && item_verify(read, (const uint8_t *)read->header))
            return ERROR_NONE;
        proved = true;
        *known = entry;
    }
    return ERROR_NONE;
}

/* ---- all of them ----------------------------------------------------------------------------------------------------- */

/* `bytes`: SEGMENT_WINDOW. */
static enum error segments_search(struct group *group, struct moved *moved, uint8_t *bytes)
{
    for (uint32_t i = 0; i < group->segments.count; i++) {
        mutex_lock(&group->lock);
        const struct segment *segment = &group->segments.table[i];
        bool holds = (segment->state == SLOT_SEALED || segment->state == SLOT_OPEN) && segment->kind != SEGMENT_JOURNAL;
        mutex_unlock(&group->lock);
        enum error error = holds ? segment_items(group, i, bytes, item_note, moved) : ERROR_NONE;
        if (error == ERROR_NO_MEMORY)
            return error;
        if (error)
            error_forget();
    }
    return ERROR_NONE;
}

enum error moved_find(struct group *group, const uint64_t *numbers, size_t count, struct moved **moved)
{
    struct moved *found = memory_zeroed(1, sizeof *found);
    uint8_t *bytes = memory_aligned(SEGMENT_WINDOW);
    enum error error = ERROR_NO_MEMORY;
    if (found)
        found->pages = memory_zeroed(count + 1, sizeof *found->pages);
    if (bytes && found && found->pages) {
        found->count = count;
        for (size_t i = 0; i < count; i++)
            found->pages[i].number = numbers[i];
        error = segments_search(group, found, bytes);
    }
    memory_free_cleansed(bytes);
    if (error)
        moved_destroy(found);
    else
        *moved = found;
    return error;
}

void moved_destroy(struct moved *moved)
{
    if (moved)
        free(moved->pages);
    free(moved);
}
