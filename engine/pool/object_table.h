/*
 * The objects of a pool by name, by UUID and by catalog slot, so that ten thousand of them are found, entered and
 * listed without walks. Names of living objects are unique; trashed ones keep theirs, so a name may have several.
 *
 * Locks: the caller's (pool->lock). The table owns nothing: objects are the catalog's.
 */
#ifndef COFFER_ENGINE_POOL_OBJECT_TABLE_H
#define COFFER_ENGINE_POOL_OBJECT_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/pool/pool.h"

#define OBJECT_SLOTS_END (OBJECTS_MAX + 1) /* slot 0 is the pool's */
#define OBJECT_CHAINS    8192              /* chains stay about one long */

struct object_table {
    size_t count;
    struct object *slots[OBJECT_SLOTS_END];
    uint64_t waited; /* nanoseconds, for devices that refused a slot */
    bool lost[OBJECT_SLOTS_END]; /* the slot's document cannot be read; nobody else gets it */
    struct object *names[OBJECT_CHAINS], *uuids[OBJECT_CHAINS];
};

static inline bool object_is_living(const struct object *object)
{
    return !object->deleting && object->deleted == 0;
}

/* Enters an object into the table and into pool->objects; its slot, name and UUID must be free. */
void object_table_add(struct pool *pool, struct object *object);
void object_table_remove(struct pool *pool, struct object *object);
/* Before and after an object's name changes. */
void object_table_unname(struct object_table *table, struct object *object);
void object_table_name(struct object_table *table, struct object *object);

struct object *object_table_living(const struct object_table *table, const char *name);
/* Of that name in the trash, the one deleted last; else one that is being freed; NULL. */
struct object *object_table_dead(const struct object_table *table, const char *name);
struct object *object_table_uuid(const struct object_table *table, struct uuid uuid);
/* The lowest free slot; 0 where there is none. */
uint64_t object_table_free_slot(const struct object_table *table);

#endif
