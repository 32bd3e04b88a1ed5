/*
 * Two chained hashes and an array that grows with the slots in use; room for a slot is reserved before. A snapshot's name
 * is told apart from that of another object's by the UUID of the object, so that a rename need not touch it. A crash loses
 * nothing: the table is made anew from the catalog.
 */
#include "engine/pool/object_table.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define SLOTS_FIRST 1024

/* FNV-1a of 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/), folded. */
static size_t chain_of(const void *bytes, size_t size)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
    return (size_t)(hash ^ hash >> 32) % OBJECT_CHAINS;
}

/* `origin` is zero for the name of an object. */
static struct object **name_chain(const struct object_table *table, const char *name, struct uuid origin)
{
    size_t chain = chain_of(name, strlen(name)), of_origin = chain_of(origin.bytes, sizeof origin.bytes);
    return (struct object **)&table->names[uuid_is_zero(origin) ? chain : (chain + of_origin) % OBJECT_CHAINS];
}

/* ---- slots ------------------------------------------------------------------------------------------------------ */

enum error object_table_create(struct object_table **out)
{
    struct object_table *table = memory_zeroed(1, sizeof *table);
    if (table == NULL)
        return ERROR_NO_MEMORY;
    table->slot_free = 1;
    if (object_table_reserve(table, 0) != ERROR_NONE) {
        object_table_destroy(table);
        return ERROR_NO_MEMORY;
    }
    *out = table;
    return ERROR_NONE;
}

void object_table_destroy(struct object_table *table)
{
    if (table == NULL)
        return;
    free(table->slots);
    free(table->lost);
    free(table);
}

enum error object_table_reserve(struct object_table *table, uint64_t slot)
{
    size_t wanted = table->slot_count ? table->slot_count : SLOTS_FIRST;
    if (slot < table->slot_count)
        return ERROR_NONE;
    while (wanted <= slot)
        wanted *= 2;
    struct object **slots = memory_zeroed(wanted, sizeof *slots);
    bool *lost = memory_zeroed(wanted, sizeof *lost);
    if (slots == NULL || lost == NULL) {
        free(slots);
        free(lost);
        return ERROR_NO_MEMORY;
    }
    if (table->slot_count) {
        memcpy(slots, table->slots, table->slot_count * sizeof *slots);
        memcpy(lost, table->lost, table->slot_count * sizeof *lost);
    }
    free(table->slots);
    free(table->lost);
    table->slots = slots;
    table->lost = lost;
    table->slot_count = wanted;
    return ERROR_NONE;
}

void object_table_lose(struct object_table *table, uint64_t slot)
{
    ASSERT(slot < table->slot_count);
    table->lost_count += !table->lost[slot];
    table->lost[slot] = true;
}

bool object_table_is_lost(const struct object_table *table, uint64_t slot)
{
    return slot < table->slot_count && table->lost[slot];
}

static struct object **uuid_chain(const struct object_table *table, struct uuid uuid)
{
    return (struct object **)&table->uuids[chain_of(uuid.bytes, sizeof uuid.bytes)];
}

void object_table_name(struct object_table *table, struct object *object)
{
    struct object **chain = name_chain(table, object->name, object->origin_uuid);
    object->name_next = *chain;
    *chain = object;
}

void object_table_unname(struct object_table *table, struct object *object)
{
    struct object **link = name_chain(table, object->name, object->origin_uuid);
    while (*link != object)
        link = &(*link)->name_next;
    *link = object->name_next;
}

void object_table_add(struct pool *pool, struct object *object)
{
    struct object_table *table = pool->table;
    struct object **chain = uuid_chain(table, object->uuid);
    ASSERT(object->slot > 0 && object->slot < table->slot_count && table->slots[object->slot] == NULL);
    table->slots[object->slot] = object;
    object->uuid_next = *chain;
    *chain = object;
    object_table_name(table, object);
    object->next = pool->objects;
    object->previous = NULL;
    if (pool->objects != NULL)
        pool->objects->previous = object;
    pool->objects = object;
    table->count++;
    table->snapshot_count += object_is_snapshot(object);
}

void object_table_link(struct object *snapshot, struct object *origin)
{
    snapshot->origin = origin;
    snapshot->snapshot_next = origin->snapshots;
    origin->snapshots = snapshot;
}

static void unlink_snapshot(struct object *snapshot)
{
    struct object **link = &snapshot->origin->snapshots;
    while (*link != snapshot)
        link = &(*link)->snapshot_next;
    *link = snapshot->snapshot_next;
    snapshot->origin = NULL;
}

void object_table_remove(struct pool *pool, struct object *object)
{
    struct object_table *table = pool->table;
    struct object **link = uuid_chain(table, object->uuid);
    while (*link != object)
        link = &(*link)->uuid_next;
    *link = object->uuid_next;
    object_table_unname(table, object);
    ASSERT(object->snapshots == NULL);
    if (object->origin != NULL)
        unlink_snapshot(object);
    table->slots[object->slot] = NULL;
    table->slot_free = MIN(table->slot_free, object->slot);
    *(object->previous != NULL ? &object->previous->next : &pool->objects) = object->next;
    if (object->next != NULL)
        object->next->previous = object->previous;
    table->snapshot_count -= object_is_snapshot(object);
    table->count--;
}

struct object *object_table_living(const struct object_table *table, const char *name)
{
    struct object *object = *name_chain(table, name, (struct uuid){{0}});
    while (object != NULL && (object_is_snapshot(object) || !object_is_living(object) || strcmp(object->name, name) != 0))
        object = object->name_next;
    return object;
}

struct object *object_table_snapshot(const struct object_table *table, const struct object *object, const char *name)
{
    struct object *snapshot = *name_chain(table, name, object->uuid);
    while (snapshot != NULL &&
           (snapshot->origin != object || snapshot->deleting || strcmp(snapshot->name, name) != 0))
        snapshot = snapshot->name_next;
    return snapshot;
}

struct object *object_table_dead(const struct object_table *table, const char *name)
{
    struct object *best = NULL;
    for (struct object *object = *name_chain(table, name, (struct uuid){{0}}); object != NULL;
         object = object->name_next) {
        if (object_is_snapshot(object) || object_is_living(object) || strcmp(object->name, name) != 0)
            continue;
        bool better = best == NULL || object->deleting < best->deleting ||
                      (object->deleting == best->deleting && object->deleted > best->deleted);
        best = better ? object : best;
    }
    return best;
}

struct object *object_table_uuid(const struct object_table *table, struct uuid uuid)
{
    struct object *object = *uuid_chain(table, uuid);
    while (object != NULL && !uuid_equal(object->uuid, uuid))
        object = object->uuid_next;
    return object;
}

uint64_t object_table_free_slot(struct object_table *table)
{
    while (table->slot_free < table->slot_count &&
           (table->slots[table->slot_free] != NULL || table->lost[table->slot_free]))
        table->slot_free++;
    return table->slot_free < OBJECT_SLOTS_END ? table->slot_free : 0;
}
