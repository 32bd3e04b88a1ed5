/*
 * Steps of the scrub: the pages of all tables; then all units and nodes, as the table of places names them.
 *
 * CIDs rise in writing order, so a slice of places mostly lies side by side on the devices; it is read in the order of
 * addresses, each unit once. Between the reading of a page of places and that of what it names nothing is held: what
 * was freed meanwhile is left out (scrub.c tells why that is right).
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/group/verify.h"
#include "engine/pool/scrub.h"

#define SLICE_PAGES 16u        /* of places: 4096 chunks; what an interruption repeats */
#define TABLE_PAGES 64u        /* of other tables, under one view */
#define ROUND_BYTES (1u << 20) /* of units, under one view */

struct slice {
    struct scrub *scrub;
    uint64_t first; /* page */
    uint64_t bytes;
    struct map_entry *entries; /* NULL: only the pages are looked at */
    size_t count;
};

static enum error page_visit(void *context, const struct walk_node *node)
{
    struct slice *slice = context;
    uint64_t bytes = 0;
    TRY(scrub_node(slice->scrub, DAMAGE_PAGE, node, &bytes));
    if (node->identity.number * tree_span(node->identity.level) >= slice->first)
        slice->bytes += bytes; /* else an earlier slice had it */
    if (!slice->entries || node->identity.level > 0 || !node->bytes)
        return ERROR_NONE;
    const struct map_entry_format *entries = (const struct map_entry_format *)node->bytes;
    for (unsigned i = 0; i < MAP_LEAF_ENTRIES; i++) {
        struct map_entry entry = entry_decode(&entries[i]);
        if (!entry_is_hole(entry))
            slice->entries[slice->count++] = entry;
    }
    return ERROR_NONE;
}

/* The first page from *number on, or that nobody knows of one behind damage. */
static bool page_next(struct group *group, const struct tree *tree, uint64_t *number)
{
    bool found;
    uint64_t next = *number;
    if (tree_is_empty(tree))
        return false;
    if (tree_next_leaf(group, tree, &next, &found))
        return *number < tree_span(tree->root.height);
    *number = next;
    return found;
}

/* *at: the page to go on from; false where the table has no more. */
static enum error pages_walk(struct slice *slice, enum table table, unsigned pages, uint64_t *at, bool *more)
{
    struct group *group = slice->scrub->pool->group;
    struct view *view = view_take(group);
    struct tree tree = tree_of_table(table, view_root(view, table));
    enum error error = ERROR_NONE;
    *more = page_next(group, &tree, at);
    slice->first = *at;
    if (*more) {
        *at += pages;
        error = tree_walk(group, &tree, slice->first, *at, WALK_ALL_COPIES, page_visit, slice);
    }
    view_put(group, view);
    return error;
}

enum error scrub_tables(struct scrub *scrub, const struct scrub_job *job)
{
    struct slice slice = {.scrub = scrub};
    uint64_t since = clock_monotonic(), at = job->at;
    bool more = false;
    if (job->part >= TABLE_PLACES && job->part <= TABLE_LAST)
        TRY(pages_walk(&slice, (enum table)job->part, TABLE_PAGES, &at, &more));
    if (more)
        scrub_advance(scrub, job, SCRUB_TABLES, job->part, at);
    else if (job->part < TABLE_LAST)
        scrub_advance(scrub, job, SCRUB_TABLES, job->part + 1, 0);
    else
        scrub_advance(scrub, job, SCRUB_CHUNKS, 0, 0);
    return scrub_breathe(scrub, job, slice.bytes, since);
}

/* ---- units and nodes ------------------------------------------------------------------------------------------ */

static int place_order(const void *a, const void *b)
{
    struct map_entry x = *(const struct map_entry *)a, y = *(const struct map_entry *)b;
    if (entry_serial(x) != entry_serial(y))
        return entry_serial(x) < entry_serial(y) ? -1 : 1;
    if (entry_offset(x) != entry_offset(y))
        return entry_offset(x) < entry_offset(y) ? -1 : 1;
    return (int)entry_index(x) - (int)entry_index(y);
}

/* In place of what was lost with a page of places stands the lost page itself, which nobody asks for any more. */
static bool is_there(const struct segments *segments, struct map_entry entry)
{
    uint32_t index = segment_find(segments, entry_serial(entry));
    bool lost = entry_place_is_unknown(entry) && index != SEGMENT_NONE && segments->table[index].kind == SEGMENT_META;
    return index != SEGMENT_NONE && !lost &&
           (segments->table[index].state == SLOT_OPEN || segments->table[index].state == SLOT_SEALED);
}

/* The next ones that are there, and a view that keeps them so. Returns how many entries were used up. */
static size_t round_take(struct group *group, const struct map_entry *entries, size_t count,
                         struct chunk_verify *chunks, size_t *taken, struct view **view)
{
    uint64_t bytes = 0;
    size_t i = 0;
    *taken = 0;
    mutex_lock(&group->lock);
    *view = view_get(group);
    for (; i < count && *taken < VERIFY_MAX && bytes < ROUND_BYTES; i++) {
        if (!is_there(&group->segments, entries[i]))
            continue;
        chunks[(*taken)++] = (struct chunk_verify){.entry = entries[i]};
        if (i == 0 || !entry_same_unit(entries[i - 1], entries[i]))
            bytes += (uint64_t)entry_length(entries[i]) * GRAIN_SIZE;
    }
    mutex_unlock(&group->lock);
    return i;
}

static void stored_note(struct scrub *scrub, struct map_entry entry, enum error error)
{
    struct damage damage = {
        .kind = DAMAGE_STORED,
        .fault = (uint8_t)damage_fault_of(error == ERROR_IO ? ERROR_IO : ERROR_CORRUPT),
        .lost = true,
        .by_scrub = true,
        .owner = entry_serial(entry),
        .first = entry_offset(entry),
        .end = (uint64_t)entry_offset(entry) + MAX(entry_length(entry), 1),
        .serial = entry_serial(entry),
        .offset = entry_offset(entry),
    };
    if (!error) {
        damages_cut(scrub->pool->damages, DAMAGE_STORED, damage.owner, 0, damage.first, damage.end);
        return;
    }
    damage_place(scrub->pool->group, &damage);
    damages_add(scrub->pool->damages, &damage);
}

/* Units of several chunks are noted once, by the first fault. */
static enum error round_judge(struct scrub *scrub, const struct chunk_verify *chunks, size_t count, uint64_t *bytes)
{
    for (size_t i = 0, end; i < count; i = end) {
        enum error error = ERROR_NONE;
        for (end = i; end < count && entry_same_unit(chunks[i].entry, chunks[end].entry); end++) {
            error = error ? error : chunks[end].error;
            *bytes += chunks[end].stored_size;
        }
        if (scrub_learns_nothing(error))
            return error;
        stored_note(scrub, chunks[i].entry, error);
    }
    return ERROR_NONE;
}

static enum error entries_verify(struct scrub *scrub, const struct scrub_job *job, const struct map_entry *entries,
                                 size_t count)
{
    AUTO_FREE struct chunk_verify *chunks = malloc(VERIFY_MAX * sizeof *chunks);
    if (!chunks)
        return ERROR_NO_MEMORY;
    for (size_t done = 0; done < count;) {
        uint64_t since = clock_monotonic(), bytes = 0;
        struct view *view;
        size_t taken;
        done += round_take(scrub->pool->group, entries + done, count - done, chunks, &taken, &view);
        chunks_verify(scrub->pool->group, ITEM_NONE, chunks, taken);
        view_put(scrub->pool->group, view);
        TRY(round_judge(scrub, chunks, taken, &bytes));
        TRY(scrub_breathe(scrub, job, bytes, since));
    }
    return ERROR_NONE;
}

static void pages_expect(struct scrub *scrub)
{
    struct group *group = scrub->pool->group;
    mutex_lock(&group->lock);
    uint64_t end = group->cids.end;
    mutex_unlock(&group->lock);
    mutex_lock(&scrub->mutex);
    scrub->chunk_pages = end / MAP_LEAF_ENTRIES + 1;
    mutex_unlock(&scrub->mutex);
}

enum error scrub_chunks(struct scrub *scrub, const struct scrub_job *job)
{
    uint64_t since = clock_monotonic(), at = job->at;
    AUTO_FREE struct map_entry *entries = malloc(SLICE_PAGES * MAP_LEAF_ENTRIES * sizeof *entries);
    struct slice slice = {.scrub = scrub, .entries = entries};
    bool more;
    if (!entries)
        return ERROR_NO_MEMORY;
    pages_expect(scrub);
    TRY(pages_walk(&slice, TABLE_PLACES, SLICE_PAGES, &at, &more));
    TRY(scrub_breathe(scrub, job, slice.bytes, since));
    qsort(entries, slice.count, sizeof *entries, place_order);
    TRY(entries_verify(scrub, job, entries, slice.count));
    if (more)
        scrub_advance(scrub, job, SCRUB_CHUNKS, 0, at);
    else
        scrub_advance(scrub, job, SCRUB_MAPS, 0, 0);
    return ERROR_NONE;
}
