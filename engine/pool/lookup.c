/*
 * Looking chunks up: write: split -> fingerprint -> LOOKUP -> compress -> commit.
 *
 * The index names pages of 256 CIDs that may hold a fingerprint. All pages of a batch are loaded first, from the recent
 * tables (births) and the fingerprint table; then every chunk of the batch is looked for in each of them, which finds
 * the neighbours of a chunk that the index knows where it has forgotten them. What is found is compared byte for byte,
 * unless the fingerprint is collision-resistant.
 *
 * What stands where damage is known is no hit, though a cache may still have the chunk: so the same content, written
 * again, is stored anew.
 *
 * Locks: a view is held throughout, so whatever is found can be read; it is given back before the commit, which asks
 * again whether each hit still stands.
 */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/group/item.h"
#include "engine/group/tree.h"
#include "engine/group/view.h"
#include "engine/pool/batch.h"
#include "engine/pool/damage.h"

#define PAGES_MAX 128
#define PAGES_KEPT 8 /* pages with hits of the batch before, which its successor asks as well */
#define TABLE_SLOTS 1024

struct page {
    uint64_t number;
    struct birth *births; /* copied out of the recent tables */
    size_t birth_count;
    struct cache_block *fingerprints;
    struct cache_block *places;
    bool wanted; /* some chunk was found in its fingerprints */
};

struct lookup {
    struct pool *pool;
    struct group *group;
    struct view *view;
    struct log_unsettled *unsettled;
    struct chunk_lookup *chunks;
    size_t count;
    struct page pages[PAGES_MAX];
    size_t page_count;
    uint16_t slots[TABLE_SLOTS]; /* chunk number + 1, by fingerprint */
    uint16_t next[BATCH_BLOCKS]; /* chunks in one slot */
    struct { uint16_t page, index; } found[BATCH_BLOCKS]; /* page + 1 in the fingerprint table; 0: not there */
};

static _Thread_local uint64_t kept[PAGES_KEPT];
static _Thread_local unsigned kept_next;

/* ---- which pages ----------------------------------------------------------------------------------------------------- */

static void page_add(struct lookup *lookup, uint64_t number)
{
    for (size_t i = 0; i < lookup->page_count; i++)
        if (lookup->pages[i].number == number)
            return;
    if (number && lookup->page_count < PAGES_MAX)
        lookup->pages[lookup->page_count++] = (struct page){.number = number};
}

static void pages_ask_index(struct lookup *lookup)
{
    struct group *group = lookup->group;
    for (size_t i = 0; i < lookup->count; i++)
        index_prefetch(group->index, lookup->chunks[i].fingerprint);
    mutex_lock(&group->index_lock);
    for (size_t i = 0; i < lookup->count; i++) {
        uint64_t cids[INDEX_CANDIDATES_MAX];
        size_t n = index_lookup(group->index, lookup->chunks[i].fingerprint, cids);
        for (size_t c = 0; c < n; c++)
            page_add(lookup, (cids[c] & ~INDEX_PAGE_HINT) / CID_PAGE);
    }
    mutex_unlock(&group->index_lock);
    for (unsigned i = 0; i < PAGES_KEPT && lookup->page_count; i++)
        page_add(lookup, kept[i]);
    /* A copy goes on behind the page that it has reached. */
    size_t count = lookup->page_count;
    for (size_t i = 0; i < count && lookup->count >= 16; i++)
        page_add(lookup, lookup->pages[i].number + 1);
}

/* ---- loading ------------------------------------------------------------------------------------------------------------ */

static void births_copy(struct page *page, const struct sheaf *sheaf)
{
    if (!sheaf)
        return;
    struct birth *births = realloc(page->births, (page->birth_count + sheaf->count) * sizeof *births);
    if (!births)
        return; /* a missed duplicate, nothing worse */
    memcpy(births + page->birth_count, sheaf_births(sheaf), sheaf->count * sizeof *births);
    page->births = births;
    page->birth_count += sheaf->count;
}

static void pages_load(struct lookup *lookup)
{
    struct group *group = lookup->group;
    mutex_lock(&group->lock);
    lookup->view = view_get(group);
    *lookup->unsettled = log_unsettled(&group->journal);
    for (size_t i = 0; i < lookup->page_count; i++) {
        struct page *page = &lookup->pages[i];
        births_copy(page, recent_birth_page(lookup->view->active, page->number * CID_PAGE));
        if (lookup->view->frozen)
            births_copy(page, recent_birth_page(lookup->view->frozen, page->number * CID_PAGE));
    }
    mutex_unlock(&group->lock);
    uint64_t numbers[PAGES_MAX];
    struct cache_block *blocks[PAGES_MAX];
    enum error errors[PAGES_MAX];
    for (size_t i = 0; i < lookup->page_count; i++)
        numbers[i] = lookup->pages[i].number;
    struct tree tree = tree_of_table(TABLE_FINGERPRINTS, view_root(lookup->view, TABLE_FINGERPRINTS));
    tree_leaves_each(group, &tree, numbers, blocks, errors, lookup->page_count);
    for (size_t i = 0; i < lookup->page_count; i++)
        lookup->pages[i].fingerprints = blocks[i];
}

/* ---- finding --------------------------------------------------------------------------------------------------------------- */

static uint32_t slot_of(const void *fingerprint)
{
    uint32_t n;
    memcpy(&n, (const uint8_t *)fingerprint + 4, sizeof n);
    return n % TABLE_SLOTS;
}

static void chunks_enter(struct lookup *lookup)
{
    memset(lookup->slots, 0, sizeof lookup->slots);
    for (size_t i = 0; i < lookup->count; i++) {
        uint16_t *slot = &lookup->slots[slot_of(&lookup->chunks[i].fingerprint)];
        lookup->next[i] = *slot;
        *slot = (uint16_t)(i + 1);
    }
}

static void births_find(struct lookup *lookup, const struct page *page)
{
    for (size_t b = 0; b < page->birth_count; b++)
        for (unsigned n = lookup->slots[slot_of(&page->births[b].fingerprint)]; n; n = lookup->next[n - 1])
            if (entry_is_hole(lookup->chunks[n - 1].hit) &&
                fingerprint_equal(lookup->chunks[n - 1].fingerprint, page->births[b].fingerprint))
                lookup->chunks[n - 1].hit = page->births[b].entry;
}

static void fingerprints_find(struct lookup *lookup, struct page *page)
{
    const uint8_t *bytes = cache_bytes(page->fingerprints);
    for (unsigned i = 0; i < CID_PAGE; i++)
        for (unsigned n = lookup->slots[slot_of(bytes + i * FINGERPRINT_SIZE)]; n; n = lookup->next[n - 1])
            if (!lookup->found[n - 1].page &&
                memcmp(&lookup->chunks[n - 1].fingerprint, bytes + i * FINGERPRINT_SIZE, FINGERPRINT_SIZE) == 0) {
                lookup->found[n - 1].page = (uint16_t)(page - lookup->pages + 1);
                lookup->found[n - 1].index = (uint16_t)i;
                page->wanted = true;
            }
}

static void places_load(struct lookup *lookup)
{
    uint64_t numbers[PAGES_MAX];
    size_t which[PAGES_MAX], count = 0;
    struct cache_block *blocks[PAGES_MAX];
    enum error errors[PAGES_MAX];
    for (size_t i = 0; i < lookup->page_count; i++)
        if (lookup->pages[i].wanted) {
            numbers[count] = lookup->pages[i].number;
            which[count++] = i;
        }
    struct tree tree = tree_of_table(TABLE_PLACES, view_root(lookup->view, TABLE_PLACES));
    tree_leaves_each(lookup->group, &tree, numbers, blocks, errors, count);
    for (size_t i = 0; i < count; i++)
        lookup->pages[which[i]].places = blocks[i];
}

static void chunks_find(struct lookup *lookup)
{
    chunks_enter(lookup);
    for (size_t i = 0; i < lookup->page_count; i++) {
        births_find(lookup, &lookup->pages[i]);
        if (lookup->pages[i].fingerprints)
            fingerprints_find(lookup, &lookup->pages[i]);
    }
    places_load(lookup);
    for (size_t i = 0; i < lookup->count; i++) {
        if (!lookup->found[i].page || !entry_is_hole(lookup->chunks[i].hit))
            continue;
        const struct page *page = &lookup->pages[lookup->found[i].page - 1];
        if (page->places)
            lookup->chunks[i].hit =
                entry_decode((const struct map_entry_format *)cache_bytes(page->places) + lookup->found[i].index);
    }
}

/* ---- is it still there, is it the same ---------------------------------------------------------------------------------- */

bool lookup_still_good(struct pool *pool, struct map_entry hit)
{
    struct group *group = pool->group;
    uint32_t index = segment_find(&group->segments, entry_serial(hit));
    if (index == SEGMENT_NONE)
        return false;
    const struct segment *segment = &group->segments.table[index];
    /* A map node keeps the fingerprint of the chunk that had its CID before; nodes never stand where data does. */
    return segment_has_units(segment) && !segment->victim && (segment->state == SLOT_OPEN || segment->state == SLOT_SEALED) &&
           !damages_holds(pool->damages, entry_serial(hit), entry_offset(hit));
}

static void hits_compare(struct lookup *lookup, uint8_t *compare)
{
    struct chunk_read reads[BATCH_BLOCKS];
    uint16_t which[BATCH_BLOCKS];
    size_t count = 0;
    for (size_t i = 0; i < lookup->count; i++)
        if (!entry_is_hole(lookup->chunks[i].hit)) {
            reads[count] = (struct chunk_read){.entry = lookup->chunks[i].hit, .out = compare + count * CHUNK_SIZE};
            which[count++] = (uint16_t)i;
        }
    enum error first = chunks_read(lookup->group, reads, count);
    (void)first; /* each has its own error */
    for (size_t i = 0; i < count; i++) {
        struct chunk_lookup *chunk = &lookup->chunks[which[i]];
        if (!reads[i].error && memcmp(reads[i].out, chunk->data, CHUNK_SIZE) == 0)
            continue;
        if (!reads[i].error)
            atomic_fetch_add(&lookup->group->totals.chunks_false_hit, 1);
        mutex_lock(&lookup->group->index_lock);
        index_remove(lookup->group->index, chunk->fingerprint, entry_cid(chunk->hit));
        mutex_unlock(&lookup->group->index_lock);
        chunk->hit = (struct map_entry){0};
    }
}

static void hits_drop_victims(struct lookup *lookup)
{
    mutex_lock(&lookup->group->lock);
    for (size_t i = 0; i < lookup->count; i++)
        if (!entry_is_hole(lookup->chunks[i].hit) && !lookup_still_good(lookup->pool, lookup->chunks[i].hit))
            lookup->chunks[i].hit = (struct map_entry){0};
    mutex_unlock(&lookup->group->lock);
}

static void pages_keep(const struct lookup *lookup)
{
    for (size_t i = 0; i < lookup->count; i++) {
        uint64_t page = entry_cid(lookup->chunks[i].hit) / CID_PAGE;
        if (page && page != kept[(kept_next + PAGES_KEPT - 1) % PAGES_KEPT]) {
            kept[kept_next] = page;
            kept_next = (kept_next + 1) % PAGES_KEPT;
        }
    }
}

void lookup_chunks(struct pool *pool, const struct fingerprint_key *key, struct chunk_lookup *chunks, size_t count,
                   uint8_t *compare, struct log_unsettled *unsettled)
{
    struct lookup lookup = {
        .pool = pool, .group = pool->group, .chunks = chunks, .count = count, .unsettled = unsettled};
    ASSERT(count <= BATCH_BLOCKS);
    pages_ask_index(&lookup);
    if (lookup.page_count == 0)
        return;
    pages_load(&lookup);
    chunks_find(&lookup);
    hits_drop_victims(&lookup);
    if (key->kind == FINGERPRINT_XXH3)
        hits_compare(&lookup, compare);
    pages_keep(&lookup);
    for (size_t i = 0; i < lookup.page_count; i++) {
        tree_put(lookup.group, &lookup.pages[i].fingerprints, 1);
        tree_put(lookup.group, &lookup.pages[i].places, 1);
        free(lookup.pages[i].births);
    }
    view_put(lookup.group, lookup.view);
}
