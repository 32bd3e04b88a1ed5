/*
 * Each level of the walk has one frame: the children of the node above, read in one batch. So memory does not grow with
 * the tree. Nothing is changed, so a crash is harmless. No locks of its own; the caller's view keeps every slot that
 * the tree names.
 */
#include "engine/group/walk.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/group/group.h"
#include "engine/group/node.h"

struct frame {
    struct walk_node nodes[NODE_FANOUT];
    struct item_read reads[NODE_FANOUT];
    uint8_t bytes[NODE_FANOUT][BLOCK_SIZE];
    size_t count;
};

struct walk {
    struct group *group;
    const struct tree *tree;
    uint64_t first, end;
    enum walk_copies copies;
    walk_known *known; /* NULL: none is */
    walk_visit *visit;
    void *context;
    enum error failed; /* of the walk itself, not of a node */
    struct frame *frames[NODE_LEVELS_MAX];
};

struct round {
    struct walk *walk;
    struct frame *frame;
    bool second;
};

/* One copy alone, as node_accept() wants to see it: the twin of a map node is a chunk of its own, with the CID after.
 */
static struct node_read copy_of(const struct walk_node *node, bool second)
{
    struct map_entry first = node->pointer.first;
    struct node_read read = {.pointer = {.first = first}, .identity = node->identity};
    if (second)
        read.pointer.first =
            entry_make(entry_cid(first) + (node->identity.kind == ITEM_NODE), node->pointer.second_serial,
                       node->pointer.second_offset, entry_length(first), 0, 1);
    return read;
}

static void copy_done(struct item_read *read, void *context)
{
    struct round *round = context;
    struct walk_node *node = read->owner;
    uint8_t *bytes = round->frame->bytes[node - round->frame->nodes], copy[BLOCK_SIZE];
    struct node_read wanted = copy_of(node, round->second);
    enum error error = node_accept(&wanted, read, copy);
    node->errors[round->second] = error;
    if (error == ERROR_NO_MEMORY)
        round->walk->failed = error;
    if (error)
        return;
    if (node->bytes) {
        node->differ = memcmp(bytes, copy, BLOCK_SIZE) != 0;
        return;
    }
    memcpy(bytes, copy, BLOCK_SIZE);
    node->bytes = bytes;
}

static void copies_read(struct walk *walk, struct frame *frame, bool second)
{
    size_t count = 0;
    for (size_t i = 0; i < frame->count; i++) {
        struct walk_node *node = &frame->nodes[i];
        if (second && (node->pointer.second_serial == 0 || (node->bytes && walk->copies == WALK_ONE_COPY)))
            continue;
        struct map_entry address = copy_of(node, second).pointer.first;
        frame->reads[count++] = (struct item_read){
            .serial = entry_serial(address),
            .offset = entry_offset(address),
            .length = entry_length(address),
            .kind = node->identity.kind,
            .cid = node->identity.kind == ITEM_NODE ? entry_cid(address) : 0,
            .owner = node,
        };
    }
    if (count)
        items_read(walk->group, frame->reads, count, copy_done, &(struct round){walk, frame, second});
}

static void child_enter(struct walk *walk, struct frame *frame, const struct node_pointer *pointer, unsigned level,
                        uint64_t number, uint64_t parent_birth)
{
    uint64_t span = tree_span(level);
    if (entry_is_hole(pointer->first) || (number + 1) * span <= walk->first || number * span >= walk->end)
        return;
    struct walk_node *node = &frame->nodes[frame->count];
    *node = (struct walk_node){
        .pointer = *pointer,
        .parent_birth = parent_birth,
        .identity = {walk->tree->kind, walk->tree->owner, number, (uint8_t)level},
    };
    frame->count += !walk->known || !walk->known(walk->context, node);
}

static struct frame *frame_take(struct walk *walk, unsigned level)
{
    if (!walk->frames[level])
        walk->frames[level] = malloc(sizeof *walk->frames[level]);
    if (walk->frames[level])
        walk->frames[level]->count = 0;
    return walk->frames[level];
}

static enum error frame_walk(struct walk *walk, unsigned level);

static enum error children_walk(struct walk *walk, const struct walk_node *node)
{
    unsigned level = node->identity.level - 1u;
    struct frame *frame = frame_take(walk, level);
    if (!frame)
        return ERROR_NO_MEMORY;
    const struct node_pointer_format *children = (const void *)node->bytes;
    for (unsigned i = 0; i < NODE_FANOUT; i++) {
        struct node_pointer pointer = pointer_decode(&children[i]);
        child_enter(walk, frame, &pointer, level, node->identity.number * NODE_FANOUT + i,
                    node->pointer.birth);
    }
    return frame_walk(walk, level);
}

static enum error frame_walk(struct walk *walk, unsigned level)
{
    struct frame *frame = walk->frames[level];
    copies_read(walk, frame, false);
    copies_read(walk, frame, true);
    if (walk->failed)
        return walk->failed;
    for (size_t i = 0; i < frame->count; i++) {
        TRY(walk->visit(walk->context, &frame->nodes[i]));
        if (level > 0 && frame->nodes[i].bytes)
            TRY(children_walk(walk, &frame->nodes[i]));
    }
    return ERROR_NONE;
}

static enum error top_walk(struct walk *walk, uint64_t number)
{
    unsigned height = walk->tree->root.height;
    if (height >= NODE_LEVELS_MAX)
        return error_explain(ERROR_CORRUPT, "a tree of %u levels is higher than any that is written", height + 1);
    struct frame *frame = frame_take(walk, height);
    if (!frame)
        return ERROR_NO_MEMORY;
    child_enter(walk, frame, &walk->tree->root.pointer, height, number, UINT64_MAX);
    enum error error = frame_walk(walk, height);
    for (unsigned level = 0; level < NODE_LEVELS_MAX; level++)
        free(walk->frames[level]);
    return error;
}

enum error tree_walk(struct group *group, const struct tree *tree, uint64_t first, uint64_t end,
                     enum walk_copies copies, walk_visit *visit, void *context)
{
    struct walk walk = {group, tree, first, end, copies, NULL, visit, context, ERROR_NONE, {NULL}};
    return top_walk(&walk, 0);
}

enum error subtree_walk(struct group *group, const struct tree *tree, uint64_t number, enum walk_copies copies,
                        walk_visit *visit, void *context)
{
    return subtree_walk_new(group, tree, number, copies, NULL, visit, context);
}

enum error subtree_walk_new(struct group *group, const struct tree *tree, uint64_t number, enum walk_copies copies,
                            walk_known *known, walk_visit *visit, void *context)
{
    struct walk walk = {group, tree, 0, UINT64_MAX, copies, known, visit, context, ERROR_NONE, {NULL}};
    return top_walk(&walk, number);
}
