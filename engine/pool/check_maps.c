/*
 * The maps of all components, and what left them and waits on the release list. In the first pass each node is read in
 * all its copies and judged, and what the component says of its blocks is counted again; each pass tells the window
 * what refers to the CIDs in it.
 *
 * Members of a family share nodes. Each node is met once in a pass, and counted once for what it refers to; that
 * another refers to it as well is a reference to the node, and no more. So a thousand snapshots take one walk.
 *
 * A part of a map that cannot be read hides references: the component is incomplete from then on, and what only follows
 * from that is not told.
 */
#include "engine/pool/check_repair.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "engine/group/follow.h"

#define NODES_SEEN_BITS 65536

struct map_walk {
    struct check *check;
    uint32_t component;
    const char *name;
    enum check_source source;
};

enum check_fault check_entry_judge(const struct check *check, struct map_entry entry)
{
    const struct segments *segments = &check->group->segments;
    uint64_t cid = entry_cid(entry), end = (uint64_t)entry_offset(entry) + entry_length(entry);
    if (cid == 0 || cid >= check->cid_end || entry_length(entry) == 0 || entry_index(entry) >= entry_count(entry) ||
        entry_offset(entry) < BLOCK_GRAINS || end > segment_size(segments) / GRAIN_SIZE)
        return FAULT_IMPOSSIBLE;
    return segment_find(segments, entry_serial(entry)) == SEGMENT_NONE ? FAULT_GONE : FAULT_NONE;
}

/* A leaf that was lost before (update.c) left its own address in place of what it referred to, which keeps its counts.
 */
static bool hides_references(const struct check *check, struct map_entry entry)
{
    const struct segments *segments = &check->group->segments;
    uint32_t index = segment_find(segments, entry_serial(entry));
    return index != SEGMENT_NONE && !segment_has_units(&segments->table[index]);
}

/* `entry` as the leaf has it, which is what the component counts, and `place` where the chunk is now. */
static void entry_first(struct check *check, struct map_walk *walk, uint64_t block, struct map_entry entry,
                        struct map_entry place)
{
    struct check_component *component = &check->components[walk->component];
    enum check_fault fault = check_entry_judge(check, place);
    component->blocks++;
    if (entry_serial(entry) >= le64_get(component->format.own)) {
        component->mapped++;
        component->random += entry_is_random(entry);
        component->stored += entry_share_bytes(entry);
    }
    check->report.references++;
    if (check->repair && hides_references(check, place))
        check->maps_incomplete = true;
    check->shared_loss |= fault != FAULT_NONE;
    if (fault)
        check_range_add(check, fault, walk->component, block, place, walk->source);
}

void check_leaf_places(const struct check *check, const struct walk_node *leaf, struct map_entry *places)
{
    enum error errors[MAP_LEAF_ENTRIES];
    for (unsigned i = 0; i < MAP_LEAF_ENTRIES; i++)
        places[i] = entry_decode((const struct map_entry_format *)leaf->bytes + i);
    entries_follow(check->group, check->group->view, places, errors, MAP_LEAF_ENTRIES);
}

static void leaf_visit(struct map_walk *walk, const struct walk_node *node)
{
    struct map_entry places[MAP_LEAF_ENTRIES];
    check_leaf_places(walk->check, node, places);
    for (unsigned i = 0; i < MAP_LEAF_ENTRIES; i++) {
        uint64_t block = node->identity.number * MAP_LEAF_ENTRIES + i;
        struct map_entry entry = entry_decode((const struct map_entry_format *)node->bytes + i);
        if (entry_is_hole(entry))
            continue;
        if (walk->check->first_pass)
            entry_first(walk->check, walk, block, entry, places[i]);
        check_reference_data(walk->check, walk->component, block, places[i], walk->source);
    }
}

static void node_first(struct map_walk *walk, const struct walk_node *node)
{
    struct check *check = walk->check;
    uint64_t cid = entry_cid(node->pointer.first), second = node->pointer.second_serial;
    char text[CHECK_TEXT];
    check->report.nodes += 1 + (second != 0);
    if (check_node_judge(check, walk->name, node)) {
        uint64_t span = tree_span(node->identity.level) * MAP_LEAF_ENTRIES;
        check->maps_incomplete = check->shared_loss = true;
        check->components[walk->component].incomplete = true;
        if (walk->source == SOURCE_MAP)
            check_loss_add(check, walk->component, node->identity.number * span, (node->identity.number + 1) * span);
    }
    if (walk->source == SOURCE_MAP)
        check_repair_node(check, walk->component, node);
    const struct component_format *format = &check->components[walk->component].format;
    check_node_birth(check, walk->name, node, le64_get(format->base) == 0 ? le64_get(format->birth) : 0);
    bool doubled = node->identity.level > 0;
    if (doubled != (second != 0) || second == entry_serial(node->pointer.first) || (doubled && cid % 2))
        check_find(check, "%s, %s is not stored as often, or as far apart, as it has to be", walk->name,
                   check_node_text(node, text));
    if (cid == 0 || cid + doubled >= check->cid_end)
        check_find(check, "%s, %s has the impossible chunk number %" PRIu64, walk->name, check_node_text(node, text),
                   cid);
}

static enum error map_visit(void *context, const struct walk_node *node)
{
    struct map_walk *walk = context;
    if (walk->check->first_pass)
        node_first(walk, node);
    if (!node->bytes) /* also where only a later pass cannot read it: a repair must not count without what it refers to */
        walk->check->maps_incomplete = true;
    check_reference_node(walk->check, walk->component, node);
    if (node->identity.level == 0 && node->bytes)
        leaf_visit(walk, node);
    return ERROR_NONE;
}

/* ---- nodes that are shared ------------------------------------------------------------------------------------ */

static size_t pieces_of(const struct check *check)
{
    return (size_t)(check->cid_end / NODES_SEEN_BITS + 1);
}

void check_maps_forget(struct check *check)
{
    for (size_t i = 0; check->seen && i < pieces_of(check); i++)
        free(check->seen[i]);
    free(check->seen);
    check->seen = NULL;
}

/* A pass begins: it has met none. */
static enum error seen_begin(struct check *check)
{
    if (!check->group->checkpoint.families)
        return ERROR_NONE;
    check_maps_forget(check);
    check->seen = memory_zeroed(pieces_of(check), sizeof *check->seen);
    return check->seen ? ERROR_NONE : ERROR_NO_MEMORY;
}

static bool seen_before(struct check *check, uint64_t cid)
{
    uint64_t **piece = &check->seen[cid / NODES_SEEN_BITS], bit = cid % NODES_SEEN_BITS;
    if (!*piece)
        *piece = memory_zeroed(NODES_SEEN_BITS / 64, sizeof **piece);
    if (!*piece) {
        check->failed = ERROR_NO_MEMORY;
        return false;
    }
    bool before = (*piece)[bit / 64] >> (bit % 64) & 1;
    (*piece)[bit / 64] |= UINT64_C(1) << (bit % 64);
    return before;
}

static bool map_known(void *context, const struct walk_node *node)
{
    struct map_walk *walk = context;
    uint64_t cid = entry_cid(node->pointer.first);
    if (!walk->check->seen || cid >= walk->check->cid_end || !seen_before(walk->check, cid))
        return false;
    check_reference_node(walk->check, walk->component, node);
    return true;
}

static enum error lost_visit(void *context, const struct walk_node *node)
{
    const struct map_walk *walk = context;
    uint64_t span = tree_span(node->identity.level) * MAP_LEAF_ENTRIES, first = node->identity.number * span;
    struct map_entry places[MAP_LEAF_ENTRIES];
    if (!node->bytes)
        check_loss_add(walk->check, walk->component, first, first + span);
    if (!node->bytes || node->identity.level > 0)
        return ERROR_NONE;
    check_leaf_places(walk->check, node, places);
    for (unsigned i = 0; i < MAP_LEAF_ENTRIES; i++)
        if (!entry_is_hole(places[i]) && check_entry_judge(walk->check, places[i]))
            check_loss_add(walk->check, walk->component, first + i, first + i + 1);
    return ERROR_NONE;
}

struct tree check_map(const struct check_component *component)
{
    return (struct tree){ITEM_NODE, component->id, {pointer_decode(&component->format.root), component->format.height}};
}

enum error check_maps_losses(struct check *check)
{
    for (uint32_t i = 0; i < check->component_count && check->shared_loss; i++) {
        struct tree tree = check_map(&check->components[i]);
        struct map_walk walk = {.check = check, .component = i};
        if (check->components[i].format.family)
            TRY(tree_walk(check->group, &tree, 0, UINT64_MAX, WALK_ONE_COPY, lost_visit, &walk));
    }
    return check->failed;
}

/* ---- the walks ------------------------------------------------------------------------------------------------- */

static enum walk_copies copies_of(const struct check *check)
{
    return check->first_pass ? WALK_ALL_COPIES : WALK_ONE_COPY;
}

static enum error release_walk(struct check *check, const struct release *release)
{
    struct tree tree = {ITEM_NODE, release->component, {release->node, release->level}};
    uint32_t component;
    char name[CHECK_TEXT], text[CHECK_TEXT];
    if (!check_component_find_any(check, release->component, &component))
        return ERROR_NONE; /* its page was damaged when the tables were read */
    snprintf(name, sizeof name, "release list, of %.400s", check_component_name(check, component, text));
    struct map_walk walk = {check, component, name, SOURCE_RELEASES};
    TRY(subtree_walk_new(check->group, &tree, release->number, copies_of(check), map_known, map_visit, &walk));
    check_range_end(check);
    return ERROR_NONE;
}

static enum error releases_visit(void *context, const struct walk_node *node)
{
    struct check *check = context;
    struct release release;
    if (!node->bytes)
        check->maps_incomplete = true;
    for (unsigned i = 0; i < RELEASES_PER_PAGE && node->identity.level == 0 && node->bytes; i++)
        if (check_release(check, node, i, &release))
            TRY(release_walk(check, &release));
    return ERROR_NONE;
}

enum error check_maps(struct check *check)
{
    struct tree releases = tree_of_table(TABLE_RELEASES, view_root(check->group->view, TABLE_RELEASES));
    TRY(seen_begin(check));
    for (uint32_t i = 0; i < check->component_count; i++) {
        struct tree tree = check_map(&check->components[i]);
        char name[CHECK_TEXT];
        struct map_walk walk = {check, i, check_component_name(check, i, name), SOURCE_MAP};
        TRY(subtree_walk_new(check->group, &tree, 0, copies_of(check), map_known, map_visit, &walk));
        check_range_end(check);
    }
    if (check->first_pass)
        TRY(check_repair_points(check));
    return tree_walk(check->group, &releases, 0, UINT64_MAX, WALK_ONE_COPY, releases_visit, check);
}
