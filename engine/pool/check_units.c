/*
 * The bytes: every unit that holds a living or recent chunk of the window is read once, in the order of addresses, its
 * tag checked, decompressed, and the fingerprint of each such chunk made anew with the key of the domain of a component
 * that refers to it. A birth that nobody refers to any more has no domain to ask for; it is only read.
 *
 * Damage is noted by chunk and told by blocks: one more walk of the maps finds all that refer to it.
 */
#include "engine/pool/check_repair.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/order.h"
#include "crypto/arena.h"
#include "crypto/hierarchy.h"
#include "dedup/unit.h"

#define BATCH_UNITS 128

/* Chunks of one unit: a part of the window's order. */
struct unit_check {
    size_t first, count;
};

/* ---- noting damage -------------------------------------------------------------------------------------------- */

static void bad_note(struct check *check, struct map_entry entry, enum check_fault fault)
{
    char place[CHECK_TEXT];
    if (check->bad_count < CHECK_BAD_MAX)
        check->bad[check->bad_count++] = (struct check_bad){entry, fault, false};
    else
        check_find(check, "chunk %" PRIu64 " cannot be trusted: %s", entry_cid(entry),
                   check_place_text(check, entry_serial(entry), entry_offset(entry), place));
}

static enum check_fault fault_of(enum error error)
{
    switch (error) {
    case ERROR_NOT_FOUND:
        return FAULT_GONE;
    case ERROR_IO:
    case ERROR_FENCED:
        return FAULT_UNREADABLE;
    default:
        return FAULT_DAMAGED;
    }
}

/* ---- fingerprints --------------------------------------------------------------------------------------------- */

static enum error domain_key(struct check *check, uint32_t index, const struct fingerprint_key **key)
{
    struct check_domain *domain = &check->domains[index];
    if (!domain->key) {
        domain->key = arena_allocate(sizeof *domain->key);
        if (!domain->key)
            return ERROR_NO_MEMORY;
        domain->key->kind = (enum fingerprint_kind)check->group->superblocks[0].fingerprint;
        TRY(fingerprint_secret_derive(k_pools_first(check->pool->k_pools), domain->id, domain->key->secret));
    }
    *key = domain->key;
    return ERROR_NONE;
}

static enum check_fault fingerprint_judge(struct check *check, struct check_chunk *chunk, const uint8_t *bytes)
{
    static const struct fingerprint none;
    const struct fingerprint_key *key;
    struct fingerprint fingerprint;
    const void *chunks[] = {bytes};
    if (!chunk->owner || (chunk->flags & CHUNK_FINGERPRINT_UNKNOWN && !check->repair))
        return FAULT_NONE;
    const struct check_component *component = &check->components[chunk->owner - 1];
    bool wanted = check->repair && component->id != COMPONENT_CATALOG && !component->gone &&
                  fingerprint_equal(chunk->fingerprint, none);
    if (!wanted && fingerprint_equal(chunk->fingerprint, none))
        return component->id == COMPONENT_CATALOG ? FAULT_NONE : FAULT_ANONYMOUS;
    enum error error = domain_key(check, component->domain, &key);
    if (!error)
        error = fingerprint_compute(key, chunks, 1, &fingerprint);
    if (error) {
        check->failed = error;
        return FAULT_NONE;
    }
    if (wanted) {
        chunk->fingerprint = fingerprint;
        chunk->flags |= CHUNK_FINGERPRINT_MADE;
        return FAULT_NONE;
    }
    return fingerprint_equal(fingerprint, chunk->fingerprint) ? FAULT_NONE : FAULT_FALSE;
}

/* ---- units
 * -------------------------------------------------------------------------------------------------------------------
 */

static enum check_fault chunk_judge(struct check *check, struct check_chunk *chunk, const struct item_read *read,
                                    const uint8_t *bytes)
{
    unsigned index = entry_index(chunk->place);
    le40 cid;
    if (read->header->count != entry_count(chunk->place))
        return FAULT_DAMAGED;
    memcpy(&cid, read->descriptors + index * sizeof cid, sizeof cid);
    if (le40_get(cid) != entry_cid(chunk->place))
        return FAULT_DAMAGED;
    return fingerprint_judge(check, chunk, bytes + (size_t)index * CHUNK_SIZE);
}

static enum error unit_decode(const struct item_read *read, uint8_t *out)
{
    if (read->header->codec > STORED_ZSTD)
        return ERROR_CORRUPT;
    return unit_decompress((enum codec)read->header->codec, read->stored, read->stored_size, out, read->header->count);
}

static void unit_done(struct item_read *read, void *context)
{
    struct check *check = context;
    const struct unit_check *unit = read->owner;
    uint8_t bytes[UNIT_CHUNKS_MAX * CHUNK_SIZE];
    enum error error = read->error ? read->error : unit_decode(read, bytes);
    uint64_t size = 0;
    if (error == ERROR_NO_MEMORY)
        check->failed = error;
    check->report.units++;
    for (size_t i = unit->first; i < unit->first + unit->count; i++) {
        struct check_chunk *chunk = &check->window.chunks[check->window.order[i]];
        enum check_fault fault = error ? fault_of(error) : chunk_judge(check, chunk, read, bytes);
        check->report.chunks++;
        size += entry_share_bytes(chunk->place);
        if (fault) {
            bad_note(check, chunk->place, fault);
            check_repair_refuse(check, chunk);
        }
    }
    check_progress(check, size);
}

static int place_order(const void *a, const void *b, void *context)
{
    const struct check_chunk *chunks = context;
    const struct check_chunk *x = &chunks[*(const uint32_t *)a], *y = &chunks[*(const uint32_t *)b];
    uint64_t xs = entry_serial(x->place), ys = entry_serial(y->place);
    if (xs != ys)
        return xs < ys ? -1 : 1;
    uint32_t xo = entry_offset(x->place), yo = entry_offset(y->place);
    if (xo != yo)
        return xo < yo ? -1 : 1;
    return (int)entry_index(x->place) - (int)entry_index(y->place);
}

static bool is_wanted(const struct check *check, const struct check_chunk *chunk)
{
    if (chunk->flags & CHUNK_IS_NODE || entry_is_hole(chunk->place))
        return false;
    if (!(chunk->flags & CHUNK_RECENT) && !chunk->count && !chunk->references)
        return false;
    /* A counted chunk that nothing refers to may be a node of a map that could not be read. */
    if (!(chunk->flags & (CHUNK_RECENT | CHUNK_IS_DATA)))
        return false;
    return check_entry_judge(check, chunk->place) == FAULT_NONE;
}

static size_t order_make(struct check *check)
{
    struct check_window *window = &check->window;
    size_t count = 0;
    for (uint64_t i = 0; i < window->end - window->first; i++)
        if (is_wanted(check, &window->chunks[i]))
            window->order[count++] = (uint32_t)i;
    qsort_r(window->order, count, sizeof *window->order, place_order, window->chunks);
    return count;
}

static struct item_read unit_read(struct unit_check *unit, struct map_entry entry)
{
    return (struct item_read){
        .serial = entry_serial(entry),
        .offset = entry_offset(entry),
        .length = entry_length(entry),
        .kind = ITEM_UNIT,
        .owner = unit,
    };
}

enum error check_units(struct check *check)
{
    struct unit_check units[BATCH_UNITS];
    AUTO_FREE struct item_read *reads = malloc(BATCH_UNITS * sizeof *reads);
    size_t count = order_make(check), batch = 0;
    if (!reads)
        return ERROR_NO_MEMORY;
    for (size_t i = 0, end; i < count; i = end) {
        struct map_entry entry = check->window.chunks[check->window.order[i]].place;
        for (end = i + 1; end < count; end++)
            if (!entry_same_unit(entry, check->window.chunks[check->window.order[end]].place))
                break;
        units[batch] = (struct unit_check){i, end - i};
        reads[batch] = unit_read(&units[batch], entry);
        if (++batch == BATCH_UNITS || end == count) {
            items_read(check->group, reads, batch, unit_done, check);
            batch = 0;
        }
        if (check->failed)
            return check->failed;
    }
    return ERROR_NONE;
}

/* ---- which blocks --------------------------------------------------------------------------------------------- */

struct naming {
    struct check *check;
    uint32_t component;
};

static int bad_order(const void *a, const void *b)
{
    uint64_t x = entry_cid(((const struct check_bad *)a)->entry), y = entry_cid(((const struct check_bad *)b)->entry);
    return order_of(x, y);
}

static void block_name(struct check *check, uint32_t component, uint64_t block, struct map_entry entry,
                       enum check_source source)
{
    struct check_bad wanted = {.entry = entry};
    struct check_bad *bad = bsearch(&wanted, check->bad, check->bad_count, sizeof *bad, bad_order);
    if (!bad)
        return;
    bad->named = true;
    check_range_add(check, bad->fault, component, block, entry, source);
}

static enum error naming_visit(void *context, const struct walk_node *node)
{
    struct naming *naming = context;
    const struct map_entry_format *entries = (const struct map_entry_format *)node->bytes;
    for (unsigned i = 0; i < MAP_LEAF_ENTRIES && entries && node->identity.level == 0; i++)
        block_name(naming->check, naming->component, node->identity.number * MAP_LEAF_ENTRIES + i,
                   entry_decode(&entries[i]), SOURCE_MAP);
    return ERROR_NONE;
}

static void recent_name(struct check *check, const struct check_recent *recent)
{
    uint32_t component;
    for (size_t i = 0; i < recent->point_count; i++) {
        const struct sheaf *sheaf = recent->points[i];
        if (!check_component_find(check, sheaf->owner, &component))
            continue;
        for (unsigned n = 0; n < sheaf->count; n++)
            block_name(check, component, sheaf->number * SHEAF_ITEMS + sheaf_indices(sheaf)[n], sheaf_entries(sheaf)[n],
                       SOURCE_JOURNAL);
    }
    check_range_end(check);
}

enum error check_bad_name(struct check *check)
{
    if (check->bad_count == 0)
        return ERROR_NONE;
    qsort(check->bad, check->bad_count, sizeof *check->bad, bad_order);
    for (uint32_t i = 0; i < check->component_count; i++) {
        struct tree tree = check_map(&check->components[i]);
        struct naming naming = {check, i};
        TRY(tree_walk(check->group, &tree, 0, UINT64_MAX, WALK_ONE_COPY, naming_visit, &naming));
        check_range_end(check);
    }
    for (size_t i = 0; i < check->recent_count; i++) {
        check->tables_below = (uint32_t)i + 1;
        recent_name(check, &check->recents[i]);
    }
    check->tables_below = 0;
    char place[CHECK_TEXT];
    for (size_t i = 0; i < check->bad_count; i++)
        if (!check->bad[i].named)
            check_find(
                check, "chunk %" PRIu64 ", to which no block refers any more, cannot be trusted: %s",
                entry_cid(check->bad[i].entry),
                check_place_text(check, entry_serial(check->bad[i].entry), entry_offset(check->bad[i].entry), place));
    return ERROR_NONE;
}
