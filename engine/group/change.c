/*
 * What the rewriting of maps does to counts, places and live bytes. Changes are derived from differences of leaves, kept
 * in a list of fixed size, and applied sorted by CID: each page of counts is then touched once per round.
 *
 * Where a node that others hold as well is copied, all that it refers to gets one more reference (reference_add). Those
 * are many and need no more than a number each; they are applied together with the list, so that what is noted first
 * counts first: a chunk that gets one and loses another never seems to die in between.
 *
 * A chunk whose count goes from 0 to positive adds its share to the live bytes of its segment, and takes it away when it
 * returns to 0. A count that reaches its end sticks, and so do those of a page that was lost (page_loss.c): such a chunk
 * is never freed. Within a round a count may pass 0 and
 * come back; segments are freed only at the publish.
 */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/order.h"
#include "base/radix.h"
#include "engine/group/counted.h"
#include "engine/group/merge.h"
#include "engine/group/view.h"

#define ORDER_BITS 24 /* beside a CID in a number */
#define UNSORTED_MIN   4096
#define UNSORTED_SHARE 16 /* of the list */
#define AHEAD_CHUNKS   512  /* that moved, whose places are read at once, */
#define AHEAD_LOOK     2048 /* of so many changes: writers need the lock */

_Static_assert(CID_MAX >> (64 - ORDER_BITS) == 0, "a CID and the position in a list fit in a number");

enum error change_note(struct merge *merge, struct map_entry entry, int delta, bool birth, bool is_node)
{
    if (merge->change_count == CHANGES_MAX)
        TRY(changes_apply(merge));
    merge->changes[merge->change_count++] =
        (struct change){.entry = entry, .delta = delta, .birth = birth, .is_node = is_node};
    merge->references += delta;
    return ERROR_NONE;
}

/* It stays above 0 anyway, so its place is nobody's concern, and a number is enough. */
enum error reference_add(struct merge *merge, uint64_t cid)
{
    if (!merge->adds)
        merge->adds = malloc(ADDS_MAX * sizeof *merge->adds);
    if (!merge->adds)
        return ERROR_NO_MEMORY;
    if (merge->add_count == ADDS_MAX)
        TRY(changes_apply(merge));
    merge->adds[merge->add_count++] = cid;
    return ERROR_NONE;
}

static int change_order(const void *a, const void *b)
{
    uint64_t x = entry_cid(((const struct change *)a)->entry), y = entry_cid(((const struct change *)b)->entry);
    return order_of(x, y);
}

/* By rising CID. Without memory for it, more slowly. */
static void changes_order(struct change *changes, size_t count)
{
    AUTO_FREE uint64_t *keys = malloc(2 * count * sizeof *keys);
    AUTO_FREE struct change *sorted = malloc(count * sizeof *sorted);
    if (!keys || !sorted || count >> ORDER_BITS) {
        qsort(changes, count, sizeof *changes, change_order);
        return;
    }
    for (size_t i = 0; i < count; i++)
        keys[i] = entry_cid(changes[i].entry) << ORDER_BITS | i;
    radix_sort(keys, keys + count, count, ORDER_BITS);
    for (size_t i = 0; i < count; i++)
        sorted[i] = changes[keys[i] & ((1u << ORDER_BITS) - 1)];
    memcpy(changes, sorted, count * sizeof *changes);
}

static void numbers_order(uint64_t *numbers, size_t count)
{
    AUTO_FREE uint64_t *scratch = malloc(count * sizeof *scratch);
    if (scratch)
        radix_sort(numbers, scratch, count, 0);
    else
        qsort(numbers, count, sizeof *numbers, number_order);
}

/* One change for each CID: the sum. A birth's entry, being the newest place, wins. */
static size_t changes_sum(struct change *changes, size_t count)
{
    size_t sums = 0;
    for (size_t i = 0; i < count; i++) {
        struct change *last = sums ? &changes[sums - 1] : NULL;
        if (last && entry_cid(last->entry) == entry_cid(changes[i].entry)) {
            last->delta += changes[i].delta;
            if (changes[i].birth) {
                last->birth = 1;
                last->entry = changes[i].entry;
            }
        } else {
            changes[sums++] = changes[i];
        }
    }
    return sums;
}

void changes_sort(struct merge *merge)
{
    if (merge->change_count == 0)
        return;
    changes_order(merge->changes, merge->change_count);
    merge->change_count = merge->changes_sorted = changes_sum(merge->changes, merge->change_count);
}

/* The numbers of the pages that a sorted list touches; births only where asked. */
static size_t pages_of(const struct change *changes, size_t count, size_t per_page, bool births_only, uint64_t *pages)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t page = entry_cid(changes[i].entry) / per_page;
        if (births_only && !changes[i].birth)
            continue;
        if (n == 0 || pages[n - 1] != page)
            pages[n++] = page;
    }
    return n;
}

struct cursor {
    const struct change *next, *end;
};

static enum error places_apply(struct merge *merge, void *context, uint64_t number, const uint8_t *old, uint8_t *page)
{
    struct cursor *cursor = context;
    (void)merge;
    memcpy(page, old, BLOCK_SIZE);
    for (; cursor->next < cursor->end; cursor->next++) {
        uint64_t cid = entry_cid(cursor->next->entry);
        if (cid / MAP_LEAF_ENTRIES > number)
            break;
        if (cursor->next->birth)
            entry_encode(cursor->next->entry, (struct map_entry_format *)page + cid % MAP_LEAF_ENTRIES);
    }
    return ERROR_NONE;
}

enum error change_place(struct merge *merge, uint64_t cid, struct map_entry *place)
{
    struct tree tree = tree_of_table(TABLE_PLACES, &merge->roots[TABLE_PLACES - 1]);
    struct cache_block *block;
    *place = (struct map_entry){0};
    TRY(page_read_patiently(merge, &tree, cid / MAP_LEAF_ENTRIES, &block));
    if (block)
        *place = entry_decode((const struct map_entry_format *)cache_bytes(block) + cid % MAP_LEAF_ENTRIES);
    tree_put(merge->group, &block, 1);
    return ERROR_NONE;
}

/* A count of a page that came from 0, or went there. */
struct live_change {
    struct map_entry entry;
    int8_t sign;
    bool is_node;
};

/* What the cleaner moved is counted where it is now. Where the page that says so is lost, the place stays as it was. */
static enum error counted_place(struct merge *merge, struct map_entry *entry)
{
    struct map_entry place;
    enum error error = change_place(merge, entry_cid(*entry), &place);
    if (error == ERROR_CORRUPT && !group_is_fenced(merge->group))
        return ERROR_NONE;
    TRY(error);
    if (entry_cid(place) == entry_cid(*entry) && !entry_place_is_unknown(place))
        *entry = place;
    return ERROR_NONE;
}

/* Of a chunk that goes, and whose place nobody knows any more, the share stays in the live bytes of a segment: the one that it
 * was moved from has nothing of it, be it gone or held by a view yet. A leaf that is lost is referred to like a chunk of data
 * (update.c), and is none. */
static enum error live_change_apply(struct merge *merge, const struct live_change *change) REQUIRES(merge->group->lock)
{
    struct segments *segments = &merge->group->segments;
    struct map_entry entry = change->entry;
    uint32_t index = segment_find(segments, entry_serial(entry));
    bool is_data = index == SEGMENT_NONE ? !change->is_node : segment_has_units(&segments->table[index]);
    merge->chunks_live += (uint64_t)(int64_t)(is_data ? change->sign : 0);
    if (change->sign < 0 && segment_is_left(segments, entry_serial(entry)))
        return ERROR_NONE;
    if (index != SEGMENT_NONE)
        return segment_live_add(segments, index, change->sign * (int64_t)entry_share_bytes(entry));
    return error_explain(ERROR_CORRUPT, "chunk %llu stands in segment %llu, which does not exist",
                         (unsigned long long)entry_cid(entry), (unsigned long long)entry_serial(entry));
}

/* The lock is taken once for a page: writers need it for each of their commits. */
static enum error live_changes_apply(struct merge *merge, struct live_change *changes, unsigned count)
{
    enum error error = ERROR_NONE;
    mutex_lock(&merge->group->lock);
    for (unsigned i = 0; i < count && !error; i++) {
        if (segment_is_left(&merge->group->segments, entry_serial(changes[i].entry))) {
            mutex_unlock(&merge->group->lock);
            error = counted_place(merge, &changes[i].entry);
            mutex_lock(&merge->group->lock);
        }
        if (!error)
            error = live_change_apply(merge, &changes[i]);
    }
    mutex_unlock(&merge->group->lock);
    return error;
}

/* Changes and adds, both by rising CID. */
struct count_cursor {
    struct cursor changes;
    const uint64_t *add, *add_end;
    const struct change *ahead; /* up to which the places of chunks that moved were read */
};

/* What dies was mostly moved where little is overwritten that is new: each of these chunks is asked for its place. */
static void moved_read_ahead(struct merge *merge, struct count_cursor *cursor)
{
    const struct segments *segments = &merge->group->segments;
    uint64_t cids[AHEAD_CHUNKS];
    size_t count = 0;
    if (cursor->changes.next < cursor->ahead)
        return;
    mutex_lock(&merge->group->lock);
    const struct change *end = cursor->changes.next + MIN(cursor->changes.end - cursor->changes.next, AHEAD_LOOK);
    for (cursor->ahead = cursor->changes.next; cursor->ahead < end && count < AHEAD_CHUNKS; cursor->ahead++)
        if (cursor->ahead->delta < 0 && segment_is_left(segments, entry_serial(cursor->ahead->entry)))
            cids[count++] = entry_cid(cursor->ahead->entry);
    mutex_unlock(&merge->group->lock);
    places_read_ahead(merge, cids, count);
}

/* What is next, with the adds of the same CID; false where nothing of the page is left. */
static bool count_change_take(struct count_cursor *cursor, uint64_t page, struct change *change)
{
    uint64_t none = UINT64_MAX, added = cursor->add < cursor->add_end ? *cursor->add : none;
    uint64_t changed = cursor->changes.next < cursor->changes.end ? entry_cid(cursor->changes.next->entry) : none;
    uint64_t cid = MIN(added, changed);
    if (cid == none || cid / COUNTS_PER_PAGE > page)
        return false;
    *change = changed == cid ? *cursor->changes.next++ : (struct change){.entry = entry_make(cid, 0, 0, 0, 0, 1)};
    for (; cursor->add < cursor->add_end && *cursor->add == cid; cursor->add++)
        change->delta++;
    return true;
}

static enum error counts_apply(struct merge *merge, void *context, uint64_t number, const uint8_t *old, uint8_t *page)
{
    struct count_cursor *cursor = context;
    struct live_change live[COUNTS_PER_PAGE];
    unsigned live_count = 0;
    struct change change;
    le32 *counts = (le32 *)page;
    moved_read_ahead(merge, cursor);
    memcpy(page, old, BLOCK_SIZE);
    while (count_change_take(cursor, number, &change)) {
        uint64_t cid = entry_cid(change.entry);
        uint32_t before = le32_get(counts[cid % COUNTS_PER_PAGE]);
        if (before == COUNT_STUCK) {
            if (change.delta > 0 && entry_serial(change.entry))
                TRY(stuck_pin(merge, change.entry));
            continue;
        }
        int64_t after = (int64_t)before + change.delta;
        if (after < 0)
            return error_explain(ERROR_CORRUPT, "the count of chunk %llu would fall to %lld", (unsigned long long)cid,
                                 (long long)after);
        uint32_t count = after >= COUNT_STUCK ? COUNT_STUCK : (uint32_t)after;
        counts[cid % COUNTS_PER_PAGE] = le32_make(count);
        if ((before == 0) != (count == 0))
            live[live_count++] = (struct live_change){change.entry, count ? +1 : -1, change.is_node};
    }
    return live_count ? live_changes_apply(merge, live, live_count) : ERROR_NONE;
}

static enum error table_update(struct merge *merge, enum table table, const uint64_t *pages, size_t count, leaf_apply *apply,
                               void *context)
{
    struct tree tree = tree_of_table(table, &merge->roots[table - 1]);
    struct tree_update update = {.tree = &tree, .numbers = pages, .count = count, .apply = apply, .context = context};
    TRY(tree_update(merge, &update));
    merge->roots[table - 1] = tree.root;
    return ERROR_NONE;
}

/* Adds the pages of the adds to those of the changes. */
static size_t pages_of_adds(const struct merge *merge, uint64_t *pages, size_t n)
{
    size_t joined = 0;
    if (merge->add_count == 0)
        return n;
    for (size_t i = 0; i < merge->add_count; i++) {
        uint64_t page = merge->adds[i] / COUNTS_PER_PAGE;
        if (i == 0 || merge->adds[i - 1] / COUNTS_PER_PAGE != page)
            pages[n++] = page;
    }
    numbers_order(pages, n);
    for (size_t i = 0; i < n; i++)
        if (joined == 0 || pages[joined - 1] != pages[i])
            pages[joined++] = pages[i];
    return joined;
}

enum error changes_apply(struct merge *merge)
{
    struct change *changes = merge->changes;
    if (merge->change_count == 0 && merge->add_count == 0)
        return ERROR_NONE;
    changes_sort(merge);
    if (merge->add_count)
        numbers_order(merge->adds, merge->add_count);
    size_t count = merge->change_count;
    AUTO_FREE uint64_t *pages = malloc((count + merge->add_count) * sizeof *pages);
    if (!pages)
        return ERROR_NO_MEMORY;
    struct cursor places = {changes, changes + count};
    struct count_cursor counts = {places, merge->adds, merge->adds, changes}; /* there is no array before the first one */
    if (merge->add_count)
        counts.add_end += merge->add_count;
    size_t n = pages_of(changes, count, MAP_LEAF_ENTRIES, true, pages);
    if (n)
        TRY(table_update(merge, TABLE_PLACES, pages, n, places_apply, &places));
    n = pages_of_adds(merge, pages, pages_of(changes, count, COUNTS_PER_PAGE, false, pages));
    TRY(table_update(merge, TABLE_COUNTS, pages, n, counts_apply, &counts));
    merge->change_count = merge->changes_sorted = merge->add_count = 0;
    merge->family_pending = false;
    return ERROR_NONE;
}

enum error moves_apply(struct merge *merge, struct change *moves, size_t count)
{
    if (count == 0)
        return ERROR_NONE;
    AUTO_FREE uint64_t *pages = malloc(count * sizeof *pages);
    if (!pages)
        return ERROR_NO_MEMORY;
    changes_order(moves, count);
    struct cursor places = {moves, moves + count};
    size_t n = pages_of(moves, count, MAP_LEAF_ENTRIES, true, pages);
    return table_update(merge, TABLE_PLACES, pages, n, places_apply, &places);
}

/* A page that is lost counts as what will take its place. */
enum error count_read(struct merge *merge, uint64_t cid, uint32_t *count)
{
    struct tree tree = tree_of_table(TABLE_COUNTS, &merge->roots[TABLE_COUNTS - 1]);
    struct cache_block *block;
    enum error error = page_read_patiently(merge, &tree, cid / COUNTS_PER_PAGE, &block);
    if (error == ERROR_CORRUPT && !group_is_fenced(merge->group)) {
        *count = COUNT_STUCK;
        return ERROR_NONE;
    }
    TRY(error);
    *count = block ? le32_get(((const le32 *)cache_bytes(block))[cid % COUNTS_PER_PAGE]) : 0;
    tree_put(merge->group, &block, 1);
    return ERROR_NONE;
}

/* What was noted after the sorting can only make a count less, so it is asked where there is more than one. Once that is a
 * good part of all, walking through it for node after node costs more than sorting. */
enum error change_count(struct merge *merge, uint64_t cid, int64_t *count)
{
    uint32_t before;
    TRY(count_read(merge, cid, &before));
    size_t unsorted = merge->change_count - merge->changes_sorted;
    if (before > 1 && unsorted > MAX((size_t)UNSORTED_MIN, merge->change_count / UNSORTED_SHARE))
        changes_sort(merge);
    struct change wanted = {.entry = entry_make(cid, 0, 0, 0, 0, 1)};
    const struct change *sorted =
        bsearch(&wanted, merge->changes, merge->changes_sorted, sizeof *merge->changes, change_order);
    *count = before;
    if (before == COUNT_STUCK)
        return ERROR_NONE;
    *count += sorted ? sorted->delta : 0;
    for (size_t i = merge->changes_sorted; i < merge->change_count && *count > 1; i++)
        if (entry_cid(merge->changes[i].entry) == cid)
            *count += merge->changes[i].delta;
    return ERROR_NONE;
}

/* ---- births of data chunks ------------------------------------------------------------------------------------------- */

struct births {
    const struct sheaf **sheaves;
    size_t next, count;
};

/* The births of the page, which begins as it was. */
static const struct sheaf *births_next(struct births *births, uint64_t number, const uint8_t *old, uint8_t *page)
{
    const struct sheaf *sheaf = births->sheaves[births->next++];
    ASSERT(sheaf->number == number);
    memcpy(page, old, BLOCK_SIZE);
    return sheaf;
}

static enum error birth_places_apply(struct merge *merge, void *context, uint64_t number, const uint8_t *old, uint8_t *page)
{
    const struct sheaf *sheaf = births_next(context, number, old, page);
    (void)merge;
    for (unsigned i = 0; i < sheaf->count; i++)
        entry_encode(sheaf_births(sheaf)[i].entry, (struct map_entry_format *)page + sheaf_indices(sheaf)[i]);
    return ERROR_NONE;
}

static enum error birth_fingerprints_apply(struct merge *merge, void *context, uint64_t number, const uint8_t *old, uint8_t *page)
{
    const struct sheaf *sheaf = births_next(context, number, old, page);
    (void)merge;
    for (unsigned i = 0; i < sheaf->count; i++)
        memcpy(page + (size_t)sheaf_indices(sheaf)[i] * FINGERPRINT_SIZE, &sheaf_births(sheaf)[i].fingerprint,
               FINGERPRINT_SIZE);
    return ERROR_NONE;
}

enum error births_merge(struct merge *merge)
{
    const struct sheaf **sheaves;
    size_t count;
    TRY(recent_sorted(merge->view->frozen, true, &sheaves, &count));
    uint64_t *pages = malloc((count + 1) * sizeof *pages);
    enum error error = pages ? ERROR_NONE : ERROR_NO_MEMORY;
    for (size_t i = 0; i < count && !error; i++)
        pages[i] = sheaves[i]->number;
    struct births places = {sheaves, 0, count}, fingerprints = places;
    if (!error && count)
        error = table_update(merge, TABLE_PLACES, pages, count, birth_places_apply, &places);
    if (!error && count)
        error = table_update(merge, TABLE_FINGERPRINTS, pages, count, birth_fingerprints_apply, &fingerprints);
    free(pages);
    free(sheaves);
    return error;
}
