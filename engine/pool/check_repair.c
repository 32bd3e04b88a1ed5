/*
 * What a repair can make anew, gathered while the check goes on:
 *
 *   a damaged copy of a page or node that has two     the path to a leaf below it is written again, both copies of it,
 *                                                     in each map that has the node
 *   a lost page of places, or one that was            from the maps, which have the address of every chunk that they
 *                                                     refer to; where that is gone, since the chunk was moved, from
 *                                                     what segments say of themselves (group/moved.h). What nothing
 *                                                     refers to is free
 *   … of fingerprints                                 from the bytes of the chunks
 *   … of counts                                       from all references; only where every one was seen, and the
 *                                                     live bytes of all segments with them: both change together
 *
 * A page with a chunk that is counted, to which nothing refers and of which nobody knows the place, is left as it is: a
 * part of a map that is lost refers to it. Only memory; one thread.
 */
#include "engine/pool/check_repair.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/group/moved.h"

#define POINTS_MAX 4096 /* nodes, and paths, written again in one repair; the next finds the rest */

/* ---- what is written again as it is --------------------------------------------------------------------------------
 */

static void page_note(struct check *check, enum table table, uint64_t number, uint8_t *bytes)
{
    struct check_repair *repair = check->repair;
    if (repair->page_count == repair->page_capacity) {
        size_t capacity = repair->page_capacity ? 2 * repair->page_capacity : 64;
        struct repair_page *grown = realloc(repair->pages, capacity * sizeof *grown);
        if (!grown) {
            free(bytes);
            check->failed = ERROR_NO_MEMORY;
            return;
        }
        repair->pages = grown;
        repair->page_capacity = capacity;
    }
    repair->pages[repair->page_count++] = (struct repair_page){table, number, bytes};
}

static bool is_half(const struct walk_node *node)
{
    return node->bytes && (node->errors[0] || node->errors[1] || node->differ);
}

static bool is_lost(const struct walk_node *node)
{
    const struct map_entry_format *places = (const struct map_entry_format *)node->bytes;
    bool lost = !places;
    for (unsigned i = 0; i < MAP_LEAF_ENTRIES && !lost; i++)
        lost = entry_place_is_unknown(entry_decode(&places[i]));
    return lost;
}

static enum error lost_note(void *context, const struct walk_node *node)
{
    struct check_repair *repair = context;
    if (node->identity.level > 0 || !is_lost(node))
        return ERROR_NONE;
    if (repair->lost_count == repair->lost_capacity) {
        size_t capacity = repair->lost_capacity ? 2 * repair->lost_capacity : 64;
        uint64_t *grown = realloc(repair->lost, capacity * sizeof *grown);
        if (!grown)
            return ERROR_NO_MEMORY;
        repair->lost = grown;
        repair->lost_capacity = capacity;
    }
    repair->lost[repair->lost_count++] = node->identity.number;
    return ERROR_NONE;
}

enum error check_repair_moved(struct check *check)
{
    struct check_repair *repair = check->repair;
    struct tree places = tree_of_table(TABLE_PLACES, view_root(check->group->view, TABLE_PLACES));
    if (!repair)
        return ERROR_NONE;
    TRY(tree_walk(check->group, &places, 0, UINT64_MAX, WALK_ONE_COPY, lost_note, repair));
    if (repair->lost_count == 0)
        return ERROR_NONE;
    TRY(moved_find(check->group, repair->lost, repair->lost_count, &repair->moved));
    check->group->moved = repair->moved;
    return ERROR_NONE;
}

void check_repair_refuse(struct check *check, struct check_chunk *chunk)
{
    struct map_entry found;
    if (!check->repair || !moved_place(check->repair->moved, entry_cid(chunk->place), &found) ||
        !entry_equal(found, chunk->place))
        return;
    chunk->place = (struct map_entry){0};
    check->live_least_all = true;
}

void check_repair_page(struct check *check, const struct walk_node *node)
{
    struct check_repair *repair = check->repair;
    enum table table = (enum table)node->identity.owner;
    unsigned level = node->identity.level;
    if (!repair)
        return;
    if (repair->table != table)
        repair->page_pending = false;
    repair->table = table;
    repair->copies += is_half(node);
    repair->unreachable |= level > 0 && !node->bytes;
    repair->segments |= table == TABLE_SEGMENTS && is_half(node);
    if (table == TABLE_SEGMENTS)
        return;
    repair->page_pending |= is_half(node);
    if (level > 0 || !node->bytes || !repair->page_pending)
        return;
    page_note(check, table, node->identity.number, NULL);
    repair->page_pending = false;
}

void check_repair_node(struct check *check, uint32_t component, const struct walk_node *node)
{
    struct check_repair *repair = check->repair;
    if (!repair || !is_half(node))
        return;
    repair->copies++;
    if (repair->node_count < POINTS_MAX)
        repair->nodes[repair->node_count++] = (struct repair_node){entry_cid(node->pointer.first), node->identity.number,
                                                                   component, node->identity.level};
}

/* A damaged node, and a map that may have it. */
struct path {
    struct check *check;
    const struct repair_node *node;
    uint64_t component;
};

/* To the first leaf below the node that has an entry, if any can be read there. ERROR_EXISTS: that is all. */
static enum error path_visit(void *context, const struct walk_node *node)
{
    struct path *path = context;
    struct check_repair *repair = path->check->repair;
    const struct map_entry_format *entries = (const struct map_entry_format *)node->bytes;
    if (node->identity.level == path->node->level && entry_cid(node->pointer.first) != path->node->cid)
        return ERROR_EXISTS; /* the map has another one there */
    for (unsigned i = 0; i < MAP_LEAF_ENTRIES && node->identity.level == 0 && entries; i++) {
        struct map_entry entry = entry_decode(&entries[i]);
        if (entry_is_hole(entry))
            continue;
        repair->points[repair->point_count++] =
            (struct repair_point){path->component, node->identity.number * MAP_LEAF_ENTRIES + i, entry};
        return ERROR_EXISTS;
    }
    return ERROR_NONE;
}

static enum error path_find(struct check *check, const struct repair_node *node, const struct check_component *component)
{
    struct tree map = check_map(component);
    struct path path = {check, node, component->id};
    uint64_t span = tree_span(node->level), first = node->number * span;
    if (map.root.height < node->level)
        return ERROR_NONE;
    enum error error = tree_walk(check->group, &map, first, first + span, WALK_ONE_COPY, path_visit, &path);
    return error == ERROR_EXISTS ? ERROR_NONE : error;
}

/* Members of a family share nodes, which are met in one of them. */
enum error check_repair_points(struct check *check)
{
    struct check_repair *repair = check->repair;
    for (size_t n = 0; repair && n < repair->node_count; n++) {
        const struct repair_node *node = &repair->nodes[n];
        bool family = check->components[node->component].format.family;
        for (uint32_t i = 0; i < check->component_count && repair->point_count < POINTS_MAX; i++)
            if (i == node->component || (family && check->components[i].format.family))
                TRY(path_find(check, node, &check->components[i]));
    }
    return ERROR_NONE;
}

/* ---- what is made anew ---------------------------------------------------------------------------------------------
 */

uint32_t check_repair_count(const struct check *check, const struct check_chunk *chunk)
{
    bool unknown = chunk->flags & CHUNK_COUNT_UNKNOWN || chunk->count == COUNT_STUCK;
    return check->repair && unknown ? MIN(chunk->references, COUNT_STUCK) : chunk->count;
}

static bool has_flag(const struct check_chunk *chunks, size_t count, uint8_t flag)
{
    for (size_t i = 0; i < count; i++)
        if (chunks[i].flags & flag)
            return true;
    return false;
}

static bool has_stuck(const struct check_chunk *chunks)
{
    for (size_t i = 0; i < COUNTS_PER_PAGE; i++)
        if (chunks[i].count == COUNT_STUCK && chunks[i].references < COUNT_STUCK / 2)
            return true;
    return has_flag(chunks, COUNTS_PER_PAGE, CHUNK_COUNT_UNKNOWN);
}

/* Empty, to be filled and noted; NULL: the check fails for it. */
static void *page_begin(struct check *check)
{
    void *page = memory_zeroed(1, BLOCK_SIZE);
    if (!page)
        check->failed = ERROR_NO_MEMORY;
    return page;
}

static void counts_make(struct check *check, uint64_t page, const struct check_chunk *chunks)
{
    le32 *counts = page_begin(check);
    if (!counts)
        return;
    for (size_t i = 0; i < COUNTS_PER_PAGE; i++)
        counts[i] = le32_make(check_repair_count(check, &chunks[i]));
    page_note(check, TABLE_COUNTS, page, (uint8_t *)counts);
}

/* Whether the place of every chunk is known that may still be in use. */
static bool places_are_known(const struct check *check, const struct check_chunk *chunks)
{
    for (size_t i = 0; i < MAP_LEAF_ENTRIES; i++)
        if (entry_is_hole(chunks[i].place) && check_repair_count(check, &chunks[i]))
            return false;
    return true;
}

static void places_make(struct check *check, uint64_t page, const struct check_chunk *chunks)
{
    struct map_entry_format *places = page_begin(check);
    if (!places)
        return;
    for (size_t i = 0; i < MAP_LEAF_ENTRIES; i++)
        entry_encode(chunks[i].place, &places[i]);
    page_note(check, TABLE_PLACES, page, (uint8_t *)places);
}

static void fingerprints_make(struct check *check, uint64_t page, const struct check_chunk *chunks)
{
    uint8_t *bytes = page_begin(check);
    if (!bytes)
        return;
    for (size_t i = 0; i < MAP_LEAF_ENTRIES; i++)
        memcpy(bytes + i * FINGERPRINT_SIZE, &chunks[i].fingerprint, FINGERPRINT_SIZE);
    page_note(check, TABLE_FINGERPRINTS, page, bytes);
}

void check_repair_window(struct check *check)
{
    const struct check_window *window = &check->window;
    if (!check->repair || check->maps_incomplete)
        return;
    for (uint64_t cid = window->first; cid + COUNTS_PER_PAGE <= window->end; cid += COUNTS_PER_PAGE) {
        const struct check_chunk *chunks = &window->chunks[cid - window->first];
        if (has_stuck(chunks))
            counts_make(check, cid / COUNTS_PER_PAGE, chunks);
    }
    for (uint64_t cid = window->first; cid + MAP_LEAF_ENTRIES <= window->end; cid += MAP_LEAF_ENTRIES) {
        const struct check_chunk *chunks = &window->chunks[cid - window->first];
        if (has_flag(chunks, MAP_LEAF_ENTRIES, CHUNK_PLACE_UNKNOWN) && places_are_known(check, chunks))
            places_make(check, cid / MAP_LEAF_ENTRIES, chunks);
        if (has_flag(chunks, MAP_LEAF_ENTRIES, CHUNK_FINGERPRINT_UNKNOWN | CHUNK_FINGERPRINT_MADE))
            fingerprints_make(check, cid / MAP_LEAF_ENTRIES, chunks);
    }
}

/* ---- the whole ------------------------------------------------------------------------------------------------------
 */

static int page_order(const void *a, const void *b)
{
    const struct repair_page *x = a, *y = b;
    if (x->table != y->table)
        return x->table < y->table ? -1 : 1;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return (y->bytes != NULL) - (x->bytes != NULL); /* what is made goes before what is left as it is */
}

static void pages_drop(struct check_repair *repair, enum table table)
{
    size_t kept = 0;
    for (size_t i = 0; i < repair->page_count; i++) {
        if (repair->pages[i].table == table && repair->pages[i].bytes)
            free(repair->pages[i].bytes);
        else
            repair->pages[kept++] = repair->pages[i];
    }
    repair->page_count = kept;
}

void check_repair_finish(struct check *check)
{
    struct check_repair *repair = check->repair;
    size_t kept = 0;
    repair->live_known = !check->maps_incomplete && !check->live_least_all && !repair->unreachable;
    if (!repair->live_known)
        pages_drop(repair, TABLE_COUNTS);
    if (repair->unreachable) {
        pages_drop(repair, TABLE_PLACES);
        pages_drop(repair, TABLE_FINGERPRINTS);
    }
    if (repair->page_count)
        qsort(repair->pages, repair->page_count, sizeof *repair->pages, page_order);
    for (size_t i = 0; i < repair->page_count; i++) {
        const struct repair_page *page = &repair->pages[i], *last = kept ? &repair->pages[kept - 1] : NULL;
        bool known = last && last->table == page->table && last->number == page->number;
        repair->made += page->bytes != NULL;
        if (!known)
            repair->pages[kept++] = *page;
    }
    repair->page_count = kept;
}

enum error check_repair_begin(struct check_repair *repair)
{
    *repair = (struct check_repair){
        .nodes = malloc(POINTS_MAX * sizeof *repair->nodes),
        .points = malloc(POINTS_MAX * sizeof *repair->points),
    };
    return repair->nodes && repair->points ? ERROR_NONE : ERROR_NO_MEMORY;
}

void check_repair_forget(struct check_repair *repair)
{
    for (size_t i = 0; i < repair->page_count; i++)
        free(repair->pages[i].bytes);
    free(repair->pages);
    free(repair->nodes);
    free(repair->points);
    free(repair->lost);
    moved_destroy(repair->moved);
}
