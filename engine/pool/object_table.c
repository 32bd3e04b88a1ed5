/*
 * Two chained hashes and an array. A table is as large as a full pool needs from the beginning (about 200 KiB), so that
 * nothing here can fail. A crash loses nothing: the table is made anew from the catalog.
 */
#include "engine/pool/object_table.h"

#include <string.h>

/* FNV-1a of 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/), folded. */
static size_t chain_of(const void *bytes, size_t size)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
    return (size_t)(hash ^ hash >> 32) % OBJECT_CHAINS;
}

static struct object **name_chain(const struct object_table *table, const char *name)
{
    return (struct object **)&table->names[chain_of(name, strlen(name))];
}

static struct object **uuid_chain(const struct object_table *table, struct uuid uuid)
{
    return (struct object **)&table->uuids[chain_of(uuid.bytes, sizeof uuid.bytes)];
}

void object_table_name(struct object_table *table, struct object *object)
{
    struct object **chain = name_chain(table, object->name);
    object->name_next = *chain;
    *chain = object;
}

void object_table_unname(struct object_table *table, struct object *object)
{
    struct object **link = name_chain(table, object->name);
    while (*link != object)
        link = &(*link)->name_next;
    *link = object->name_next;
}

void object_table_add(struct pool *pool, struct object *object)
{
    struct object_table *table = pool->table;
    struct object **chain = uuid_chain(table, object->uuid);
    ASSERT(object->slot > 0 && object->slot < OBJECT_SLOTS_END && table->slots[object->slot] == NULL);
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
}

void object_table_remove(struct pool *pool, struct object *object)
{
    struct object_table *table = pool->table;
    struct object **link = uuid_chain(table, object->uuid);
    while (*link != object)
        link = &(*link)->uuid_next;
    *link = object->uuid_next;
    object_table_unname(table, object);
    table->slots[object->slot] = NULL;
    *(object->previous != NULL ? &object->previous->next : &pool->objects) = object->next;
    if (object->next != NULL)
        object->next->previous = object->previous;
    table->count--;
}

struct object *object_table_living(const struct object_table *table, const char *name)
{
    struct object *object = *name_chain(table, name);
    while (object != NULL && (!object_is_living(object) || strcmp(object->name, name) != 0))
        object = object->name_next;
    return object;
}

struct object *object_table_dead(const struct object_table *table, const char *name)
{
    struct object *best = NULL;
    for (struct object *object = *name_chain(table, name); object != NULL; object = object->name_next) {
        if (object_is_living(object) || strcmp(object->name, name) != 0)
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

uint64_t object_table_free_slot(const struct object_table *table)
{
    for (uint64_t slot = 1; slot < OBJECT_SLOTS_END; slot++)
        if (table->slots[slot] == NULL && !table->lost[slot])
            return slot;
    return 0;
}
