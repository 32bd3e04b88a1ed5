/*
 * Last step of the scrub: what was known before is looked at once more.
 *
 * Rows are known damage that this pass did not meet, and ranges that are lost with their map: those were taken as a
 * whole, so of them goes what was written since. What is good leaves the ledger.
 *
 * A lost node may stand for terabytes, and so may a hole where one was. Both are met once, and all leaves below them
 * are entered or cut at once; then only what recent tables know of these is looked at, until the root of the map is
 * another.
 *
 * A component may be freed behind the view in which it was walked. What was entered of it then names blocks of nobody,
 * and goes here: a component that is gone is as one without a map.
 *
 * Locks: the group's, a leaf at a time. Nothing but the ledger is changed, so a crash repeats it.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/group/verify.h"
#include "engine/pool/scrub.h"

/* Blocks of one leaf, under one view. known: its entry could be had. */
struct confirm {
    uint64_t blocks[MAP_LEAF_ENTRIES];
    struct map_entry entries[MAP_LEAF_ENTRIES];
    bool known[MAP_LEAF_ENTRIES];
    enum error errors[MAP_LEAF_ENTRIES];
    size_t count;
};

/* Leaves that are alike in the tree of this root: below a node that cannot be read, or below a hole. end 0: none. */
struct span {
    struct node_pointer_format root;
    uint64_t first, end;
    bool lost;
    bool fresh; /* looked up just now */
};

struct leaf_look {
    struct confirm *confirm;
    struct span *span;
};

static void span_set(struct span *span, unsigned level, uint64_t number, bool lost)
{
    span->first = number * tree_span(level);
    span->end = span->first + tree_span(level);
    span->lost = lost;
}

/* Whether the leaf hangs below a hole in this node. */
static void hole_look(struct span *span, const struct walk_node *node, uint64_t leaf)
{
    const struct node_pointer_format *children = (const void *)node->bytes;
    unsigned below = node->identity.level - 1u;
    uint64_t child = leaf / tree_span(below);
    if (entry_is_hole(pointer_decode(&children[child % NODE_FANOUT]).first))
        span_set(span, below, child, false);
}

static enum error leaf_look(void *context, const struct walk_node *node)
{
    struct leaf_look *look = context;
    uint64_t leaf = look->confirm->blocks[0] / MAP_LEAF_ENTRIES;
    for (unsigned copy = 0; copy < 2 && !node->bytes; copy++)
        if (scrub_learns_nothing(node->errors[copy]))
            return node->errors[copy];
    look->span->end = 0; /* there is a node */
    if (!node->bytes)
        span_set(look->span, node->identity.level, node->identity.number, true);
    else if (node->identity.level > 0)
        hole_look(look->span, node, leaf);
    for (size_t i = 0; i < look->confirm->count && node->bytes && node->identity.level == 0; i++) {
        const struct map_entry_format *entries = (const struct map_entry_format *)node->bytes;
        if (!look->confirm->known[i])
            look->confirm->entries[i] = entry_decode(&entries[look->confirm->blocks[i] % MAP_LEAF_ENTRIES]);
    }
    return ERROR_NONE;
}

/* Nodes are read from the devices: that a cache still has one that is lost there says nothing good of it. */
static enum error confirm_look_up(struct group *group, const struct view *view, uint64_t component,
                                  struct confirm *confirm, struct span *span)
{
    struct tree tree = {ITEM_NODE, component, {{{0}}}};
    struct node_pointer_format root;
    struct leaf_look look = {confirm, span};
    uint64_t leaf = confirm->blocks[0] / MAP_LEAF_ENTRIES;
    enum error error = view_map(group, view, component, &tree);
    for (size_t i = 0; i < confirm->count; i++)
        if (!confirm->known[i])
            confirm->entries[i] = (struct map_entry){0};
    if (error == ERROR_CORRUPT || error == ERROR_IO) {
        span->end = 0;
        return ERROR_NONE; /* what no recent table knows stays unknown */
    }
    if (error != ERROR_NOT_FOUND) /* one that has no map, or is gone, has holes only */
        TRY(error);
    pointer_encode(&tree.root.pointer, &root);
    span->fresh = leaf < span->first || leaf >= span->end || memcmp(&span->root, &root, sizeof span->root) != 0;
    if (span->fresh) {
        *span = (struct span){root, leaf, UINT64_MAX / MAP_LEAF_ENTRIES, false, true}; /* without a node there */
        TRY(tree_walk(group, &tree, leaf, leaf + 1, WALK_ONE_COPY, leaf_look, &look));
    }
    for (size_t i = 0; i < confirm->count; i++)
        confirm->known[i] |= !span->lost;
    return ERROR_NONE;
}

static struct view *confirm_view(struct group *group, uint64_t component, struct confirm *confirm)
{
    mutex_lock(&group->lock);
    struct view *view = view_get(group);
    view_find_recent(view, component, confirm->blocks, confirm->entries, confirm->known, confirm->count);
    mutex_unlock(&group->lock);
    return view;
}

static enum error confirm_verify(struct group *group, struct confirm *confirm, uint64_t *bytes)
{
    AUTO_FREE struct chunk_verify *chunks = malloc(MAP_LEAF_ENTRIES * sizeof *chunks);
    uint16_t which[MAP_LEAF_ENTRIES];
    size_t count = 0;
    if (!chunks)
        return ERROR_NO_MEMORY;
    for (size_t i = 0; i < confirm->count; i++) {
        confirm->errors[i] = confirm->known[i] ? ERROR_NONE : ERROR_CORRUPT;
        if (!confirm->known[i] || entry_is_hole(confirm->entries[i]))
            continue;
        which[count] = (uint16_t)i;
        chunks[count++] = (struct chunk_verify){.entry = confirm->entries[i]};
    }
    chunks_verify(group, ITEM_UNIT, chunks, count);
    for (size_t i = 0; i < count; i++) {
        if (scrub_learns_nothing(chunks[i].error))
            return chunks[i].error;
        confirm->errors[which[i]] = chunks[i].error;
        *bytes += chunks[i].stored_size;
    }
    return ERROR_NONE;
}

static void lost_enter(struct pool *pool, const struct damage *row, uint64_t first, uint64_t end)
{
    struct damage still = *row;
    still.fault = DAMAGE_MAP;
    still.first = first;
    still.end = end;
    damages_add(pool->damages, &still);
}

/* `entered`: what is not known is in the ledger already. */
static void confirm_enter(struct pool *pool, const struct damage *row, const struct confirm *confirm, bool entered)
{
    for (size_t i = 0; i < confirm->count; i++) {
        uint64_t block = confirm->blocks[i];
        if (!confirm->errors[i]) {
            damage_overwritten(pool, row->owner, block, block + 1);
        } else if (confirm->known[i]) {
            damage_note_block(pool, row->owner, block, confirm->entries[i], damage_fault_of(confirm->errors[i]),
                              row->by_scrub);
        } else if (!entered) {
            lost_enter(pool, row, block, block + 1);
        }
    }
}

static enum error row_confirm(struct scrub *scrub, const struct scrub_job *job, const struct damage *row)
{
    struct group *group = scrub->pool->group;
    AUTO_FREE struct confirm *confirm = malloc(sizeof *confirm);
    struct span span = {.end = 0};
    uint64_t settled = row->first; /* up to there, what hangs below such a node is entered or cut */
    if (!confirm)
        return ERROR_NO_MEMORY;
    for (uint64_t block = row->first; block < row->end;) {
        uint64_t since = clock_monotonic(), bytes = 0,
                 end = MIN(row->end, (block / MAP_LEAF_ENTRIES + 1) * MAP_LEAF_ENTRIES);
        for (confirm->count = 0; block < end; block++)
            confirm->blocks[confirm->count++] = block;
        struct view *view = confirm_view(group, row->owner, confirm);
        enum error error = confirm_look_up(group, view, row->owner, confirm, &span);
        if (!error)
            error = confirm_verify(group, confirm, &bytes);
        uint64_t next = end / MAP_LEAF_ENTRIES, alike_end = MIN(row->end, span.end * MAP_LEAF_ENTRIES);
        uint64_t stop = MIN(span.end, (row->end - 1) / MAP_LEAF_ENTRIES + 1); /* an empty tree is alike to its end */
        if (stop > next)
            next = view_told_next(group, view, row->owner, next, stop);
        view_put(group, view);
        TRY(error);
        if (span.fresh)
            settled = MIN(settled, confirm->blocks[0]); /* it was settled by another tree */
        if (settled < alike_end) {
            block = confirm->blocks[0]; /* looked at again: a commit since that view did not cut it out of this row */
            if (span.lost)
                lost_enter(scrub->pool, row, block, alike_end);
            else
                damage_overwritten(scrub->pool, row->owner, block, alike_end);
            settled = alike_end;
            continue;
        }
        confirm_enter(scrub->pool, row, confirm, block <= settled);
        block = MAX(block, MIN(row->end, next * MAP_LEAF_ENTRIES)); /* what is skipped is settled */
        TRY(scrub_breathe(scrub, job, bytes, since));
    }
    return ERROR_NONE;
}

/* A range that is lost with its map was taken as a whole, so of that what was written since goes. */
enum error scrub_confirm(struct scrub *scrub, const struct scrub_job *job)
{
    AUTO_FREE struct damage *rows = NULL;
    size_t count;
    bool more;
    TRY(damages_copy(scrub->pool->damages, false, &rows, &count, &more));
    for (size_t i = 0; i < count; i++)
        if (rows[i].kind == DAMAGE_BLOCKS && (rows[i].pass < job->pass || rows[i].fault == DAMAGE_MAP))
            TRY(row_confirm(scrub, job, &rows[i]));
    return ERROR_NONE;
}
