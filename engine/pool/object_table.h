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

#define OBJECT_SLOTS_END (1u << 20)        /* slot 0 is the pool's; snapshots have slots as well */
#define OBJECT_CHAINS    8192              /* chains stay about one long */

struct object_table {
    size_t count, snapshot_count; /* the latter of the former */
    size_t slot_count;            /* that there is room for */
    uint64_t slot_free;           /* all below it are taken, or lost */
    struct object **slots;
    uint64_t waited; /* nanoseconds, for devices that refused a slot */
    bool *lost;      /* the slot's document cannot be read; nobody else gets it */
    size_t lost_count;
    struct object *names[OBJECT_CHAINS], *uuids[OBJECT_CHAINS];
};

/* A snapshot lives with its object. */
static inline bool object_is_living(const struct object *object)
{
    const struct object *origin = object->origin;
    return !object->deleting && object->deleted == 0 &&
           (object_is_snapshot(object) ? origin && !origin->deleting && origin->deleted == 0 : true);
}

enum error object_table_create(struct object_table **table) CHECKED;
void object_table_destroy(struct object_table *table);
/* Room for what comes to have this slot. */
enum error object_table_reserve(struct object_table *table, uint64_t slot) CHECKED;
/* The document of a slot that there is room for cannot be read. */
void object_table_lose(struct object_table *table, uint64_t slot);
bool object_table_is_lost(const struct object_table *table, uint64_t slot);

/* Enters an object into the table and into pool->objects; its slot must be reserved, and that, its name and UUID free. */
void object_table_add(struct pool *pool, struct object *object);
void object_table_remove(struct pool *pool, struct object *object);
/* Before and after an object's name changes. */
void object_table_unname(struct object_table *table, struct object *object);
void object_table_name(struct object_table *table, struct object *object);

/* A snapshot goes into the list of its object, which `origin` names. */
void object_table_link(struct object *snapshot, struct object *origin);
/* The living snapshot of that name; NULL. */
struct object *object_table_snapshot(const struct object_table *table, const struct object *object, const char *name);
/* Objects, no snapshots: */
struct object *object_table_living(const struct object_table *table, const char *name);
/* Of that name in the trash, the one deleted last; else one that is being freed; NULL. */
struct object *object_table_dead(const struct object_table *table, const char *name);
struct object *object_table_uuid(const struct object_table *table, struct uuid uuid);
/* The lowest free slot; 0 where there is none. */
uint64_t object_table_free_slot(struct object_table *table);

#endif
