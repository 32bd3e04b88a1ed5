/*
 * What one object uses, from a walk over its map: blocks, distinct chunks, what they and the map store. Distinct chunks
 * are counted exactly, by a bitmap over the CIDs; where there are more CIDs than the bitmap has bits, the map is walked
 * once for each stretch of them.
 *
 * Of an object that is written meanwhile the figures are of no single moment (map_walk.h); `taken` is when the walk
 * began. It may take hours, and who only looks must keep nobody from locking or closing the pool: then it ends.
 *
 * Locks: pool->lock to find the object, and its component (map_walk.h). Nothing is changed, so a crash is harmless.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/pool/map_walk.h"

#define WINDOW_CIDS  (UINT64_C(1) << 26) /* 8 MiB of bits, 256 GiB of distinct chunks a walk */
#define SLICE_LEAVES 4096                /* that are walked under one view: 1 GiB of blocks */

struct usage_walk {
    struct pool *pool;
    struct map_walk map;
    bool first_pass;
    uint64_t *bits; /* of the window's CIDs */
    uint64_t window;
    struct object_usage usage;
};

/* ---- counting ------------------------------------------------------------------------------------------------- */

static void entry_count_in(struct usage_walk *walk, struct map_entry entry)
{
    struct object_usage *usage = &walk->usage;
    uint64_t cid = entry_cid(entry);
    if (walk->first_pass)
        usage->logical_bytes += CHUNK_SIZE;
    if (cid < walk->window || cid - walk->window >= WINDOW_CIDS)
        return;
    uint64_t bit = cid - walk->window, mask = UINT64_C(1) << (bit % 64);
    if (walk->bits[bit / 64] & mask)
        return;
    walk->bits[bit / 64] |= mask;
    usage->unique_bytes += CHUNK_SIZE;
    usage->stored_bytes += entry_share_bytes(entry);
    if (entry_length(entry) * GRAIN_SIZE >= entry_count(entry) * CHUNK_SIZE)
        usage->random_bytes += CHUNK_SIZE;
}

static void leaf_count_in(struct map_walk *map, const struct map_leaf *leaf)
{
    for (unsigned i = 0; i < MAP_LEAF_ENTRIES; i++)
        if (!entry_is_hole(leaf->entries[i]))
            entry_count_in(map->context, leaf->entries[i]);
}

/* What a device refuses to read now may be whole; and what was not written when the group went out of service is not there,
 * and lost to nobody. */
static enum error unreadable(const struct usage_walk *walk, const struct walk_node *node)
{
    for (size_t i = 0; i < COUNT_OF(node->errors); i++) /* a device is out of service a moment before its group */
        if (node->errors[i] == ERROR_FENCED)
            return ERROR_FENCED;
    if (node->errors[0] == ERROR_IO || node->errors[1] == ERROR_IO)
        return error_explain(ERROR_IO, "a device does not read a part of its map: see the messages, then try again");
    return error_explain(ERROR_CORRUPT, "its map cannot be read: stop cofferd, then type `%s check`",
                         pool_command(walk->pool));
}

static enum error node_count_in(struct map_walk *map, const struct walk_node *node, bool again)
{
    struct usage_walk *walk = map->context;
    uint64_t bytes = (uint64_t)entry_length(node->pointer.first) * GRAIN_SIZE;
    TRY(pool_check_look(walk->pool));
    if (!node->bytes)
        return unreadable(walk, node);
    if (walk->first_pass && !again)
        walk->usage.map_bytes += node->pointer.second_serial ? 2 * bytes : bytes;
    return ERROR_NONE;
}

/* ---- the walk ------------------------------------------------------------------------------------------------- */

static enum error map_count_in(struct usage_walk *walk)
{
    enum error error = ERROR_AGAIN;
    map_walk_seek(&walk->map, 0);
    while (error == ERROR_AGAIN) {
        error = map_walk_slice(&walk->map);
        if (!error || error == ERROR_AGAIN)
            TRY(pool_check_look(walk->pool));
    }
    return error;
}

static uint64_t cid_end(struct group *group)
{
    mutex_lock(&group->lock);
    uint64_t end = group->cids.end;
    mutex_unlock(&group->lock);
    return end;
}

static enum error usage_take(struct usage_walk *walk)
{
    TRY(map_walk_begin(&walk->map));
    walk->first_pass = true;
    for (; walk->first_pass || walk->window < cid_end(walk->map.group); walk->window += WINDOW_CIDS) {
        if (!walk->first_pass)
            memset(walk->bits, 0, WINDOW_CIDS / 8);
        TRY(map_count_in(walk));
        walk->first_pass = false;
    }
    return ERROR_NONE;
}

/* The group stays open meanwhile. Who locks the pool waits for a node at most, not for the walk. */
static enum error object_hold(struct pool *pool, const char *name, struct uuid *uuid)
{
    mutex_lock(&pool->lock);
    enum error error = pool_check_look(pool);
    const struct object *object = error ? NULL : catalog_find(pool, name);
    if (object) {
        *uuid = object->uuid;
        pool_group_use(pool);
        return ERROR_NONE;
    }
    mutex_unlock(&pool->lock);
    return error ? error : error_explain(ERROR_NOT_FOUND, "there is no object of that name");
}

static void object_let_go(struct pool *pool)
{
    pool_thread_end(); /* from here on the pool can be locked, and then no thread may have keys or contents of disks */
    pool_group_leave(pool);
    mutex_unlock(&pool->lock);
}

enum error object_usage(struct pool *pool, const char *name, struct object_usage *usage)
{
    struct usage_walk walk = {.pool = pool};
    struct uuid uuid;
    TRY(object_hold(pool, name, &uuid));
    walk.map = (struct map_walk){
        .group = pool->group,
        .pool = pool,
        .object = uuid,
        .copies = WALK_ONE_COPY,
        .slice_leaves = SLICE_LEAVES,
        .node = node_count_in,
        .leaf = leaf_count_in,
        .context = &walk,
    };
    walk.usage.taken = clock_realtime() / CLOCK_SECOND;
    walk.bits = memory_map(WINDOW_CIDS / 8);
    enum error error = walk.bits ? usage_take(&walk) : ERROR_NO_MEMORY;
    object_let_go(pool);
    if (walk.bits)
        memory_unmap(walk.bits, WINDOW_CIDS / 8);
    map_walk_forget(&walk.map);
    if (error)
        return error_prefix(error, "usage of '%s'", name);
    *usage = walk.usage;
    return ERROR_NONE;
}
