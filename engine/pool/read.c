/*
 * Reads of a batch. You are in the read path: READ: recent table -> tree -> unit -> answer.
 *
 * All blocks of all reads of a round are looked up under one view and fetched together, in the component that the object
 * has in that view. A block that cannot be read fails the requests that want it, and no others; it is noted in the
 * ledger of known damage, from where it is told.
 */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/group/item.h"
#include "engine/group/view.h"
#include "engine/pool/damage.h"

#define ROUND_BLOCKS 256

/* Blocks of one round, from several requests. */
struct round {
    struct pool *pool;
    const _Atomic uint64_t *target; /* where the component stands: a snapshot or a clone moves it between two rounds */
    uint64_t component;             /* of the last look-up */
    size_t count;
    uint64_t blocks[ROUND_BLOCKS];
    struct map_entry entries[ROUND_BLOCKS]; /* holes where nothing is mapped, or the map could not be asked */
    struct request *requests[ROUND_BLOCKS];
    uint8_t *out[ROUND_BLOCKS];     /* where the whole block goes */
    uint8_t *partial[ROUND_BLOCKS]; /* … a bounce buffer, of which a part is copied to `data` */
    uint8_t *data[ROUND_BLOCKS];
    uint16_t begin[ROUND_BLOCKS], length[ROUND_BLOCKS];
};

/* Blocks [begin, end) of the round; the error is of the look-up, each block that was found has its own in `errors`. */
static enum error blocks_fetch(struct round *round, size_t begin, size_t end, enum error *errors)
{
    struct map_entry *entries = round->entries;
    struct chunk_read reads[ROUND_BLOCKS];
    uint16_t which[ROUND_BLOCKS];
    struct group *group = round->pool->group;
    struct view *view;
    size_t count = 0;
    TRY(view_lookup_target(group, round->target, &round->component, round->blocks + begin, entries + begin, end - begin,
                           &view));
    for (size_t i = begin; i < end; i++) {
        errors[i] = ERROR_NONE;
        if (entry_is_hole(entries[i])) {
            memset(round->out[i], 0, CHUNK_SIZE);
            continue;
        }
        reads[count] = (struct chunk_read){.entry = entries[i], .out = round->out[i]};
        which[count++] = (uint16_t)i;
    }
    enum error first = chunks_read(group, reads, count);
    (void)first; /* each has its own */
    for (size_t i = 0; i < count; i++)
        errors[which[i]] = reads[i].error;
    view_put(group, view);
    return ERROR_NONE;
}

/* Which blocks a recent table knows: they can be read without the tree. */
static void recent_look(struct round *round, bool known[ROUND_BLOCKS])
{
    struct map_entry entries[ROUND_BLOCKS];
    struct group *group = round->pool->group;
    mutex_lock(&group->lock);
    struct view *view = view_get(group);
    round->component = atomic_load(round->target);
    view_find_recent(view, round->component, round->blocks, entries, known, round->count);
    mutex_unlock(&group->lock);
    view_put(group, view);
}

/* Where a node of the map cannot be read, the blocks are asked for one by one: only those below it fail. Of a leaf that
 * is lost one is enough: others that no recent table knew before have none but the tree to tell where they are. */
static void round_fetch(struct round *round, enum error *errors)
{
    bool known[ROUND_BLOCKS];
    uint64_t lost_leaf = UINT64_MAX;
    enum error lost = ERROR_NONE;
    if (blocks_fetch(round, 0, round->count, errors) == ERROR_NONE)
        return;
    recent_look(round, known);
    for (size_t i = 0; i < round->count; i++) {
        uint64_t leaf = round->blocks[i] / MAP_LEAF_ENTRIES;
        enum error error = leaf == lost_leaf && !known[i] ? lost : blocks_fetch(round, i, i + 1, errors);
        if (!error)
            continue;
        errors[i] = error;
        round->entries[i] = (struct map_entry){0};
        if (error == ERROR_CORRUPT || error == ERROR_IO) {
            lost_leaf = leaf;
            lost = error;
        }
    }
}

static void damage_note(const struct round *round, const enum error *errors)
{
    for (size_t i = 0; i < round->count; i++)
        if (errors[i]) {
            damage_note_read(round->pool, round->component, round->blocks, round->entries, errors, round->count);
            return;
        }
}

static void round_run(struct round *round)
{
    enum error errors[ROUND_BLOCKS];
    if (round->count == 0)
        return;
    bool fenced = group_is_fenced(round->pool->group);
    if (!fenced) {
        round_fetch(round, errors);
        damage_note(round, errors);
    }
    for (size_t i = 0; i < round->count; i++) {
        enum error own = fenced ? ERROR_FENCED : errors[i];
        if (own && !round->requests[i]->error)
            round->requests[i]->error = own;
        if (!own && round->partial[i] && round->data[i])
            memcpy(round->data[i], round->partial[i] + round->begin[i], round->length[i]);
        memory_free_cleansed(round->partial[i]);
    }
    round->count = 0;
}

static void round_add(struct round *round, struct request *request, uint64_t offset, uint8_t *data, size_t length)
{
    if (round->count == ROUND_BLOCKS)
        round_run(round);
    size_t i = round->count;
    round->blocks[i] = offset / CHUNK_SIZE;
    round->requests[i] = request;
    round->begin[i] = (uint16_t)(offset % CHUNK_SIZE);
    round->length[i] = (uint16_t)length;
    round->data[i] = data;
    round->partial[i] = NULL;
    if (length < CHUNK_SIZE || !data) {
        round->partial[i] = malloc(CHUNK_SIZE);
        if (!round->partial[i]) {
            request->error = ERROR_NO_MEMORY;
            return;
        }
    }
    round->out[i] = round->partial[i] ? round->partial[i] : data;
    round->count++;
}

void read_execute(struct volume *volume, struct request **requests, size_t count)
{
    struct round round = {.pool = volume->pool, .target = &volume->object->component};
    for (size_t r = 0; r < count; r++) {
        struct request *request = requests[r];
        uint8_t *data = request->type == REQUEST_READ ? request->data : NULL;
        for (uint64_t done = 0; done < request->length;) {
            uint64_t offset = request->offset + done;
            size_t length = (size_t)MIN(request->length - done, CHUNK_SIZE - offset % CHUNK_SIZE);
            round_add(&round, request, offset, data ? data + done : NULL, length);
            done += length;
        }
    }
    round_run(&round);
}

enum error component_read(struct pool *pool, uint64_t component, uint64_t first, size_t count, void *out)
{
    const _Atomic uint64_t fixed = component;
    struct round round = {.pool = pool, .target = &fixed};
    struct request request = {.type = REQUEST_READ};
    for (size_t i = 0; i < count; i++)
        round_add(&round, &request, (first + i) * CHUNK_SIZE, (uint8_t *)out + i * CHUNK_SIZE, CHUNK_SIZE);
    round_run(&round);
    return request.error;
}
