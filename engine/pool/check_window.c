/*
 * A window of CIDs: what the chunk table says of each, what the maps say, and whether that is the same.
 *
 * In the published state the trees alone explain every count. The recent tables come afterwards: they may refer to any
 * chunk that was born in them, or that the chunk table knows and whose segment is there (a dead one too, until its
 * segment is freed), and a birth never takes the number of a living chunk.
 *
 * A page of the chunk table that could not be read was told by the tables' walk; its CIDs are unknown here, and are
 * left out of every comparison that would need them. One thread, nothing is written.
 */
#include "engine/pool/check_repair.h"

#include <inttypes.h>
#include <string.h>

#include "base/memory.h"
#include "engine/group/follow.h"


#define INDEX_PART 4u /* of `memory` */

uint64_t check_window_chunks;

uint64_t check_window_size(uint64_t memory)
{
    const struct check_window *window;
    uint64_t fits = memory / INDEX_PART / (sizeof *window->chunks + sizeof *window->order);
    if (check_window_chunks)
        return check_window_chunks;
    return MIN(MAX(fits, CHECK_WINDOW_CHUNKS), (uint64_t)UINT32_MAX) / COUNTS_PER_PAGE * COUNTS_PER_PAGE;
}

static struct check_chunk *chunk_of(struct check *check, uint64_t cid)
{
    struct check_window *window = &check->window;
    return cid >= window->first && cid < window->end ? &window->chunks[cid - window->first] : NULL;
}

/* ---- loading -------------------------------------------------------------------------------------------------- */

static void leaf_forget(struct check *check, const struct walk_node *node, uint64_t per_leaf, uint8_t flag)
{
    uint64_t leaves = tree_span(node->identity.level), first = node->identity.number * leaves * per_leaf;
    uint64_t end = MIN(first + leaves * per_leaf, check->window.end);
    for (uint64_t cid = MAX(first, check->window.first); cid < end; cid++)
        chunk_of(check, cid)->flags |= flag;
}

/* The entry of a page that was lost before and is counted as long as one names it. */
static bool place_is_lost(const struct check *check, struct map_entry place)
{
    const struct segments *segments = &check->group->segments;
    uint32_t index = entry_place_is_unknown(place) ? segment_find(segments, entry_serial(place)) : SEGMENT_NONE;
    return index != SEGMENT_NONE && segments->table[index].kind == SEGMENT_META;
}

static void place_lost(struct check *check, struct check_chunk *chunk, struct map_entry place, bool first)
{
    if (first && !check->repair) /* which takes it away */
        check->live[segment_find(&check->group->segments, entry_serial(place))] += entry_length(place) * GRAIN_SIZE;
    chunk->flags |= CHUNK_PLACE_UNKNOWN;
    check->places_lost++;
}

static enum error places_visit(void *context, const struct walk_node *node)
{
    struct check *check = context;
    const struct map_entry_format *places = (const struct map_entry_format *)node->bytes;
    uint64_t lost = 0;
    if (!node->bytes)
        leaf_forget(check, node, MAP_LEAF_ENTRIES, CHUNK_PLACE_UNKNOWN);
    for (unsigned i = 0; i < MAP_LEAF_ENTRIES && places && node->identity.level == 0; i++) {
        uint64_t cid = node->identity.number * MAP_LEAF_ENTRIES + i;
        struct check_chunk *chunk = chunk_of(check, cid);
        struct map_entry place = entry_decode(&places[i]);
        if (chunk && place_is_lost(check, place)) {
            place_lost(check, chunk, place, lost++ == 0);
            continue;
        }
        if (chunk)
            chunk->place = place;
        if (chunk && !entry_is_hole(place) && entry_cid(place) != cid)
            check_find(check, "chunk table: the place of chunk %" PRIu64 " is that of chunk %" PRIu64, cid,
                       entry_cid(place));
    }
    return ERROR_NONE;
}

static enum error fingerprints_visit(void *context, const struct walk_node *node)
{
    struct check *check = context;
    if (!node->bytes)
        leaf_forget(check, node, MAP_LEAF_ENTRIES, CHUNK_FINGERPRINT_UNKNOWN);
    for (unsigned i = 0; i < MAP_LEAF_ENTRIES && node->bytes && node->identity.level == 0; i++) {
        struct check_chunk *chunk = chunk_of(check, node->identity.number * MAP_LEAF_ENTRIES + i);
        if (chunk)
            memcpy(&chunk->fingerprint, node->bytes + (size_t)i * FINGERPRINT_SIZE, FINGERPRINT_SIZE);
    }
    return ERROR_NONE;
}

static enum error counts_visit(void *context, const struct walk_node *node)
{
    struct check *check = context;
    const le32 *counts = (const le32 *)node->bytes;
    if (!node->bytes)
        leaf_forget(check, node, COUNTS_PER_PAGE, CHUNK_COUNT_UNKNOWN);
    for (unsigned i = 0; i < COUNTS_PER_PAGE && counts && node->identity.level == 0; i++) {
        struct check_chunk *chunk = chunk_of(check, node->identity.number * COUNTS_PER_PAGE + i);
        if (chunk)
            chunk->count = le32_get(counts[i]);
    }
    return ERROR_NONE;
}

static enum error table_load(struct check *check, enum table table, uint64_t per_leaf, walk_visit *visit)
{
    struct tree tree = tree_of_table(table, view_root(check->group->view, table));
    uint64_t first = check->window.first / per_leaf, end = (check->window.end + per_leaf - 1) / per_leaf;
    return tree_walk(check->group, &tree, first, end, WALK_ONE_COPY, visit, check);
}

enum error check_window_load(struct check *check, uint64_t first)
{
    struct check_window *window = &check->window;
    window->first = first;
    window->end = MAX(first, MIN(first + window->size, check->cid_end));
    memset(window->chunks, 0, (window->end - first) * sizeof *window->chunks);
    TRY(table_load(check, TABLE_PLACES, MAP_LEAF_ENTRIES, places_visit));
    TRY(table_load(check, TABLE_FINGERPRINTS, MAP_LEAF_ENTRIES, fingerprints_visit));
    return table_load(check, TABLE_COUNTS, COUNTS_PER_PAGE, counts_visit);
}

/* ---- what the trees refer to ---------------------------------------------------------------------------------- */

/* What is wrong with a reference to a data chunk, beside what the entry says by itself. */
static enum check_fault reference_judge(struct check *check, struct check_chunk *chunk, uint32_t component,
                                        struct map_entry entry)
{
    if (chunk->flags & CHUNK_IS_NODE)
        return FAULT_KIND;
    if (!(chunk->flags & CHUNK_PLACE_UNKNOWN)) {
        if (entry_is_hole(chunk->place))
            return FAULT_UNKNOWN;
        if (!entry_equal(chunk->place, entry))
            return FAULT_MISPLACED;
    }
    /* Of a component that is gone nobody knows the domain. */
    bool mixed = chunk->owner && !check->components[component].gone &&
                 check->components[chunk->owner - 1].domain != check->components[component].domain;
    if (!mixed || chunk->flags & CHUNK_DOMAINS_TOLD)
        return FAULT_NONE;
    chunk->flags |= CHUNK_DOMAINS_TOLD;
    return FAULT_DOMAINS;
}

/* From a map, of a chunk whose page is lost. What a repair finds nowhere stays where it was: in a segment that is gone,
 * which is what the page then says of it, and no reason to leave out all others. */
static void place_learn(const struct check *check, struct check_chunk *chunk, struct map_entry entry)
{
    enum check_fault fault = check_entry_judge(check, entry);
    bool known = !entry_is_hole(chunk->place) && !check_entry_judge(check, chunk->place);
    if (!known && (!fault || (check->repair && fault == FAULT_GONE && entry_is_hole(chunk->place))))
        chunk->place = entry;
}

void check_reference_data(struct check *check, uint32_t component, uint64_t block, struct map_entry entry,
                          enum check_source source)
{
    struct check_chunk *chunk = chunk_of(check, entry_cid(entry));
    if (!chunk)
        return;
    enum check_fault fault = reference_judge(check, chunk, component, entry);
    if (fault && !check_entry_judge(check, entry))
        check_range_add(check, fault, component, block, entry, source);
    if (chunk->flags & CHUNK_PLACE_UNKNOWN)
        place_learn(check, chunk, entry);
    chunk->references++;
    chunk->flags |= CHUNK_IS_DATA;
    if (!chunk->owner && !check->components[component].gone)
        chunk->owner = component + 1;
}

static void node_reference(struct check *check, uint32_t component, const struct walk_node *node,
                           struct map_entry address)
{
    struct check_chunk *chunk = chunk_of(check, entry_cid(address));
    char name[CHECK_TEXT], text[CHECK_TEXT];
    if (!chunk)
        return;
    bool known = !(chunk->flags & CHUNK_PLACE_UNKNOWN);
    if (chunk->flags & CHUNK_IS_DATA || (known && !entry_equal(chunk->place, address)))
        check_find(check, "%s, %s: its chunk %" PRIu64 " is %s", check_component_name(check, component, name),
                   check_node_text(node, text), entry_cid(address),
                   chunk->flags & CHUNK_IS_DATA ? "a data chunk as well" : "at another place in the chunk table");
    if (!known && entry_is_hole(chunk->place) && !check_entry_judge(check, address))
        chunk->place = address;
    chunk->references++;
    chunk->flags |= CHUNK_IS_NODE;
    if (!chunk->owner)
        chunk->owner = component + 1;
}

void check_reference_node(struct check *check, uint32_t component, const struct walk_node *node)
{
    const struct node_pointer *pointer = &node->pointer;
    node_reference(check, component, node, entry_follow(check->group, pointer->first));
    if (pointer->second_serial)
        node_reference(check, component, node, entry_follow(check->group, pointer_second(pointer)));
}

/* ---- counts --------------------------------------------------------------------------------------------------- */

static void count_differs(struct check *check, uint64_t cid, const struct check_chunk *chunk)
{
    char name[CHECK_TEXT], place[CHECK_TEXT];
    if (check->maps_incomplete && chunk->count > chunk->references) {
        check->unexplained++;
        return;
    }
    check_place_text(check, entry_serial(chunk->place), entry_offset(chunk->place), place);
    if (chunk->owner)
        check_find(check,
                   "chunk %" PRIu64 " has the count %" PRIu32 " and %" PRIu32 " references, one of them by %s: %s", cid,
                   chunk->count, chunk->references, check_component_name(check, chunk->owner - 1, name), place);
    else
        check_find(check, "chunk %" PRIu64 " has the count %" PRIu32 " and nothing refers to it: %s", cid, chunk->count,
                   place);
}

static void live_count(struct check *check, uint64_t cid, const struct check_chunk *chunk)
{
    const struct segments *segments = &check->group->segments;
    uint32_t index = segment_find(segments, entry_serial(chunk->place));
    check->chunks_live +=
        index == SEGMENT_NONE ? !(chunk->flags & CHUNK_IS_NODE) : segment_has_units(&segments->table[index]);
    if (entry_is_hole(chunk->place)) {
        check->live_least_all |= (chunk->flags & CHUNK_PLACE_UNKNOWN) != 0;
        return;
    }
    if (index != SEGMENT_NONE)
        check->live[index] += entry_share_bytes(chunk->place);
    else if (!chunk->references)
        check_find(check, "chunk %" PRIu64 " has the count %" PRIu32 ", and its segment %" PRIu64 " is gone", cid,
                   chunk->count, entry_serial(chunk->place));
    if (chunk->flags & CHUNK_IS_NODE)
        check_progress(check, entry_share_bytes(chunk->place));
}

/* Whether the share of a chunk whose count sticks is in the live bytes is unknown where nothing refers to it, and
 * references that came pinned its segment. */
static void stuck_count(struct check *check, const struct check_chunk *chunk)
{
    uint32_t index = segment_find(&check->group->segments, entry_serial(chunk->place));
    check->counts_stuck++;
    check->live_least_all |= entry_is_hole(chunk->place) && chunk->flags & CHUNK_PLACE_UNKNOWN;
    if (index == SEGMENT_NONE)
        return;
    check->live_least[index] = true;
    if (chunk->flags & CHUNK_IS_NODE)
        check_progress(check, entry_share_bytes(chunk->place));
}

void check_window_compare(struct check *check)
{
    struct check_window *window = &check->window;
    for (uint64_t cid = window->first; cid < window->end; cid++) {
        const struct check_chunk *chunk = chunk_of(check, cid);
        if (check->repair) {
            if (check_repair_count(check, chunk))
                live_count(check, cid, chunk);
            continue;
        }
        if (chunk->flags & CHUNK_COUNT_UNKNOWN)
            continue;
        if (chunk->count == COUNT_STUCK) {
            stuck_count(check, chunk);
            continue;
        }
        if (chunk->count != chunk->references)
            count_differs(check, cid, chunk);
        if (chunk->count)
            live_count(check, cid, chunk);
    }
}

/* ---- recent tables -------------------------------------------------------------------------------------------- */

static void birth_enter(struct check *check, const struct birth *birth)
{
    uint64_t cid = entry_cid(birth->entry);
    struct check_chunk *chunk = chunk_of(check, cid);
    char place[CHECK_TEXT];
    if (!chunk)
        return;
    if (chunk->count && !(chunk->flags & (CHUNK_PLACE_UNKNOWN | CHUNK_COUNT_UNKNOWN)) &&
        !entry_equal(chunk->place, birth->entry))
        check_find(check, "journal: chunk %" PRIu64 " is born again while it is referred to: %s", cid,
                   check_place_text(check, entry_serial(birth->entry), entry_offset(birth->entry), place));
    if (check_entry_judge(check, birth->entry))
        check_find(check, "journal: chunk %" PRIu64 " is born at an impossible place: %s", cid,
                   check_place_text(check, entry_serial(birth->entry), entry_offset(birth->entry), place));
    chunk->place = birth->entry;
    chunk->fingerprint = birth->fingerprint;
    chunk->flags = (uint8_t)((chunk->flags & ~(CHUNK_PLACE_UNKNOWN | CHUNK_FINGERPRINT_UNKNOWN)) | CHUNK_RECENT);
    if (!chunk->count)
        chunk->owner = 0;
}

static void births_enter(struct check *check, const struct check_recent *recent)
{
    for (size_t i = 0; i < recent->birth_count; i++)
        for (unsigned n = 0; n < recent->births[i]->count; n++)
            birth_enter(check, &sheaf_births(recent->births[i])[n]);
}

static void point_check(struct check *check, uint32_t component, uint64_t block, struct map_entry entry)
{
    struct check_chunk *chunk = chunk_of(check, entry_cid(entry));
    /* A number beyond all windows is told once, by the first. */
    if (!chunk && !(check->first_pass && entry_cid(entry) >= check->cid_end))
        return;
    enum check_fault fault = check_entry_judge(check, entry);
    if (!fault)
        fault = reference_judge(check, chunk, component, entry);
    if (fault)
        check_range_add(check, fault, component, block, entry, SOURCE_JOURNAL);
    if (!chunk)
        return;
    check->report.references++;
    chunk->flags |= CHUNK_RECENT | CHUNK_IS_DATA;
    if (!chunk->owner)
        chunk->owner = component + 1;
}

static void points_check(struct check *check, const struct check_recent *recent)
{
    for (size_t i = 0; i < recent->point_count; i++) {
        const struct sheaf *sheaf = recent->points[i];
        uint32_t component;
        if (!check_component_find(check, sheaf->owner, &component)) {
            if (check->first_pass && !check->maps_incomplete)
                check_find(check, "journal: blocks of component %" PRIu64 ", which does not exist", sheaf->owner);
            continue;
        }
        for (unsigned n = 0; n < sheaf->count; n++)
            if (!entry_is_hole(sheaf_entries(sheaf)[n]))
                point_check(check, component, sheaf->number * SHEAF_ITEMS + sheaf_indices(sheaf)[n],
                            sheaf_entries(sheaf)[n]);
    }
    check_range_end(check);
}

void check_window_recent(struct check *check)
{
    for (size_t i = 0; i < check->recent_count; i++)
        births_enter(check, &check->recents[i]);
    for (size_t i = 0; i < check->recent_count; i++) {
        check->tables_below = (uint32_t)i + 1;
        points_check(check, &check->recents[i]);
    }
    check->tables_below = 0;
}
