/*
 * Objects: made, found, named, sized, put into the trash and taken out of it. Each change is one document, durable
 * before it is made in memory. What is deleted is freed by the janitor; what a shrink cuts off must be gone before the
 * object may grow over it again.
 *
 * A shrink writes down the new size and, as `cut`, the old one; frees what lies between; then clears `cut`. A crash in
 * between leaves `cut`, the janitor goes on, and until it is done the object cannot be resized. So what is beyond the
 * size always reads as zeros once it is there again.
 *
 * Locks: pool->lock, held across catalog writes, not across the trim of a shrink, which in a full pool may wait for
 * space for half a minute. Meanwhile the object may be opened, named and thrown away like any other: nobody comes to
 * what lies beyond its size, and `cut` refuses to let it grow. Being `cutting` it has one cutter only and stays in
 * memory (the janitor passes by, also where it was deleted), and the pool, counting who uses it, keeps the group open.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/moment.h"
#include "engine/pool/hosts.h"
#include "engine/pool/name.h"
#include "engine/pool/object_table.h"
#include "engine/pool/operation.h"

#define CANDIDATES_SHOWN 8 /* so many fit into a sentence */

/* ---- what is asked before anything
 * ------------------------------------------------------------------------------------ */

enum error object_check_changeable(struct pool *pool)
{
    TRY(pool_check_usable(pool));
    return pool->read_only ? error_explain(ERROR_READ_ONLY, "pool %s is open read-only", pool->directory) : ERROR_NONE;
}

static enum error size_check(uint64_t size)
{
    if (size == 0)
        return error_explain(ERROR_INVALID, "an object cannot have size 0");
    if (size % COFFER_BLOCK != 0)
        return error_explain(ERROR_INVALID, "a size must be a multiple of %d bytes, %llu is not", COFFER_BLOCK,
                             (unsigned long long)size);
    if (size > OBJECT_SIZE_MAX)
        return error_explain(ERROR_TOO_LARGE, "an object has at most %llu TiB",
                             (unsigned long long)(OBJECT_SIZE_MAX >> 40));
    return ERROR_NONE;
}

enum error object_check_closed(const struct object *object, const char *what)
{
    char text[VERSION_NAME_MAX + 1];
    if (object->open_count != 0)
        return error_explain(ERROR_BUSY, "'%s' is in use and cannot be %s: disconnect its clients first",
                             object_text(object, text), what);
    return ERROR_NONE;
}

enum error object_check_imported(const struct object *object, const char *what)
{
    if (!uuid_is_zero(object->import_stream))
        return error_explain(ERROR_BUSY, "'%s' is being imported and cannot be %s before that is done", object->name, what);
    return ERROR_NONE;
}

enum error object_check_name_free(struct pool *pool, const char *name)
{
    if (object_table_living(pool->table, name) != NULL)
        return error_explain(ERROR_EXISTS, "an object named '%s' exists already", name);
    return ERROR_NONE;
}

static enum error store(struct pool *pool, struct object *object, const struct object_document *document)
{
    TRY(catalog_store(pool, object->slot, document));
    object_adopt(pool, object, document);
    return ERROR_NONE;
}

static enum error unlocked(struct pool *pool, enum error error) RELEASE(pool->lock)
{
    mutex_unlock(&pool->lock);
    return error;
}

/* ---- finding
 * ------------------------------------------------------------------------------------------------------------- */

/* Of these: any, a living one, one that can come back. Under pool->lock. */
typedef enum error finder(struct pool *pool, const char *name, struct object **object);

/* Both parts of NAME@SNAPSHOT could be new names. */
static bool snapshot_text_is_fit(const char *text)
{
    char name[OBJECT_NAME_MAX + 1];
    const char *at = strchr(text, '@');
    if (at == NULL || at - text > OBJECT_NAME_MAX)
        return false;
    memcpy(name, text, (size_t)(at - text));
    name[at - text] = '\0';
    return object_name_check_new(name) == ERROR_NONE && object_name_check_new(at + 1) == ERROR_NONE;
}

/* Repeats the name only where it is fit to be shown: it may be a stream's, which says what it likes. */
static enum error not_found(const char *name)
{
    struct uuid uuid;
    if (uuid_parse(name, &uuid) == ERROR_NONE)
        return error_explain(ERROR_NOT_FOUND, "there is no object with the UUID %s", name);
    if (snapshot_text_is_fit(name))
        return error_explain(ERROR_NOT_FOUND, "there is no snapshot '%s'", name);
    if (object_name_check_new(name) != ERROR_NONE)
        return error_explain(ERROR_NOT_FOUND, "there is no object of that name: no new object can have it");
    return error_explain(ERROR_NOT_FOUND, "there is no object '%s'", name);
}

static enum error find(struct pool *pool, const char *name, struct object **object)
{
    struct object *found = catalog_find(pool, name);
    if (found == NULL)
        return not_found(name);
    *object = found;
    return ERROR_NONE;
}

static enum error find_stored(struct pool *pool, const char *name, struct object **object, const struct object **whole)
{
    struct object *found;
    TRY(find(pool, name, &found));
    *whole = found->origin != NULL && !found->deleting ? found->origin : found;
    if ((*whole)->deleting)
        return error_explain(ERROR_NOT_FOUND, "'%s' was deleted and is being freed", (*whole)->name);
    *object = found;
    return ERROR_NONE;
}

enum error object_find_living(struct pool *pool, const char *name, struct object **object)
{
    const struct object *whole;
    struct object *found;
    TRY(find_stored(pool, name, &found, &whole));
    if (whole->deleted)
        return error_explain(ERROR_NOT_FOUND, "'%s' is in the trash: restore it first", whole->name);
    *object = found;
    return ERROR_NONE;
}

/* … that is no snapshot; `what` none can be ("renamed"). */
static enum error find_own(struct pool *pool, const char *name, const char *what, struct object **object)
{
    struct object *found;
    char text[VERSION_NAME_MAX + 1];
    TRY(object_find_living(pool, name, &found));
    if (object_is_snapshot(found))
        return error_explain(ERROR_INVALID, "'%s' is a snapshot and cannot be %s", object_text(found, text), what);
    *object = found;
    return ERROR_NONE;
}

static bool is_restorable(const struct object *object)
{
    return object->deleted != 0 && !object->deleting && !object_is_snapshot(object);
}

/* " UUID (deleted DATE)"; tells how long it is. */
static size_t candidate_print(const struct object *object, char *text, size_t room)
{
    char uuid[UUID_TEXT_SIZE], when[MOMENT_TEXT_SIZE];
    uuid_format(object->uuid, uuid);
    return (size_t)snprintf(text, room, " %s (deleted %s)", uuid, moment_second(object->deleted, when));
}

/* What a person calls by a name must be one thing: a guess could free, or bring back, the wrong one for good. */
static enum error ambiguous(struct pool *pool, const char *name, size_t total)
{
    char list[CANDIDATES_SHOWN * (UUID_TEXT_SIZE + 48)] = "", more[32] = "";
    size_t length = 0, shown = 0;
    for (const struct object *object = pool->objects; object != NULL && shown < CANDIDATES_SHOWN; object = object->next) {
        if (!is_restorable(object) || strcmp(object->name, name) != 0)
            continue;
        length += (size_t)snprintf(list + length, sizeof list - length, "%s", shown++ == 0 ? "" : ",");
        length += candidate_print(object, list + length, sizeof list - length);
    }
    if (total > shown)
        snprintf(more, sizeof more, " and %zu more", total - shown);
    return error_explain(ERROR_INVALID, "%zu objects in the trash have the name '%s': say which by its UUID:%s%s", total,
                         name, list, more);
}

static bool is_uuid_of(const struct object *object, const char *name)
{
    struct uuid uuid;
    return uuid_parse(name, &uuid) == ERROR_NONE && uuid_equal(uuid, object->uuid);
}

static enum error check_only_one(struct pool *pool, const struct object *found, const char *name)
{
    size_t count = 0;
    if (is_uuid_of(found, name))
        return ERROR_NONE;
    for (const struct object *object = pool->objects; object != NULL; object = object->next)
        count += is_restorable(object) && strcmp(object->name, name) == 0;
    return count > 1 ? ambiguous(pool, name, count) : ERROR_NONE;
}

enum error object_find_stored(struct pool *pool, const char *name, struct object **object)
{
    char own[OBJECT_NAME_MAX + 1];
    const struct object *whole;
    struct object *found;
    TRY(find_stored(pool, name, &found, &whole));
    snprintf(own, sizeof own, "%.*s", (int)strcspn(name, "@"), name);
    if (whole->deleted && !is_uuid_of(found, own))
        TRY(check_only_one(pool, whole, own));
    *object = found;
    return ERROR_NONE;
}

/* A living object does not hide the trashed one of its name here. */
static enum error find_trashed(struct pool *pool, const char *name, struct object **object)
{
    struct object *found;
    TRY(find(pool, name, &found));
    if (object_is_snapshot(found))
        return error_explain(ERROR_NOT_FOUND, "a snapshot is never in the trash");
    if (object_is_living(found)) {
        struct object *dead = object_table_dead(pool->table, name);
        found = dead != NULL ? dead : found;
    }
    if (object_is_living(found))
        return error_explain(ERROR_NOT_FOUND, "'%s' is not in the trash", found->name);
    if (found->deleting)
        return error_explain(ERROR_NOT_FOUND, "'%s' was deleted for good and is being freed", found->name);
    TRY(check_only_one(pool, found, name));
    *object = found;
    return ERROR_NONE;
}

/* ---- creating
 * -------------------------------------------------------------------------------------------------------- */

/* A component id is taken below the lease only; a publish renews the lease. */
enum error object_take_component(struct pool *pool, uint64_t *component)
{
    struct group *group = pool->group;
    for (;;) {
        mutex_lock(&group->lock);
        bool leased = group->component_next < group->component_lease;
        uint64_t taken = group->component_next;
        group->component_next += leased;
        mutex_unlock(&group->lock);
        if (leased) {
            *component = taken;
            return ERROR_NONE;
        }
        TRY(group_publish_needed(group));
    }
}

enum error object_take_slot(struct pool *pool, bool snapshot, uint64_t *slot)
{
    struct object_table *table = pool->table;
    if (!snapshot && table->count - table->snapshot_count >= OBJECTS_MAX)
        return error_explain(ERROR_TOO_LARGE,
                             "the pool has %u objects, the trash included, and can have no more: delete some for good",
                             OBJECTS_MAX);
    uint64_t taken = object_table_free_slot(table);
    if (taken == 0)
        return error_explain(ERROR_TOO_LARGE, "the pool has %u objects and snapshots, and can have no more: delete some",
                             OBJECT_SLOTS_END - 1);
    TRY(object_table_reserve(table, taken));
    *slot = taken;
    return ERROR_NONE;
}

enum error object_make(struct operation *operation, struct object_document *document)
{
    TRY(object_take_component(operation->pool, &document->component));
    TRY(operation_enter(operation, document));
    operation_heir(operation, document, 0);
    return operation_commit(operation);
}

struct create_call {
    const char *name;
    uint64_t size, reserve;
    const char *hosts;
    struct uuid *uuid;
};

static enum error create(struct operation *operation, void *context)
{
    const struct create_call *call = context;
    struct pool *pool = operation->pool;
    struct object_document document = {
        .uuid = uuid_random(),
        .domain = pool->conf->pool,
        .group = pool->conf->groups[0].id,
        .size = call->size,
        .reserve = call->reserve,
        .created = clock_seconds(),
        .state = OBJECT_LIVE,
    };
    TRY(object_check_name_free(pool, call->name));
    memcpy(document.name, call->name, strlen(call->name) + 1);
    TRY(hosts_check(pool, call->name, call->hosts));
    if (call->hosts != NULL)
        memcpy(document.hosts, call->hosts, strlen(call->hosts));
    TRY(object_make(operation, &document));
    *call->uuid = document.uuid;
    return ERROR_NONE;
}

enum error object_create_hosting(struct pool *pool, const char *name, uint64_t size, uint64_t reserve, const char *hosts,
                                 struct uuid *uuid)
{
    uint64_t reserved = reserve == OBJECT_RESERVE_FULL ? size : reserve;
    TRY(object_name_check_new(name));
    TRY(size_check(size));
    TRY(reserve_check(name, reserved, size));
    return operation_run(pool, create, &(struct create_call){name, size, reserved, hosts, uuid});
}

enum error object_create_reserved(struct pool *pool, const char *name, uint64_t size, uint64_t reserve, struct uuid *uuid)
{
    return object_create_hosting(pool, name, size, reserve, NULL, uuid);
}

enum error object_create(struct pool *pool, const char *name, uint64_t size, struct uuid *uuid)
{
    return object_create_reserved(pool, name, size, 0, uuid);
}

/* ---- looking
 * ----------------------------------------------------------------------------------------------------------- */

static void info_fill(struct pool *pool, const struct object *object, struct object_info *info)
{
    bool snapshot = object_is_snapshot(object);
    *info = (struct object_info){
        .uuid = object->uuid,
        .snapshot = snapshot,
        .size = atomic_load(&object->size),
        .created = object->created,
        .deleted = object->deleted,
        .purge_at = object->deleted && !object->deleting ? object_purge_time(pool, object) : 0,
        .deleting = object->deleting,
        .open_count = object->open_count,
        .reserved = object->reserve,
        .reserved_missing = object->reserve ? reserve_missing(pool, object) : 0,
        .hold = object->hold,
        .locked_until = object->locked_until,
        .importing = !uuid_is_zero(object->import_stream),
        .import_position = object->import_position,
    };
    if (snapshot && object->origin != NULL && !object->deleting) { /* it shares the fate of its object */
        info->deleted = object->origin->deleted;
        info->deleting = object->origin->deleting;
        info->purge_at = info->deleted && !info->deleting ? object_purge_time(pool, object->origin) : 0;
    }
    for (const struct object *one = object->snapshots; one != NULL; one = one->snapshot_next) {
        info->snapshots += !one->deleting;
        info->kept |= !one->deleting && (one->hold || one->locked_until > pool_clock(pool));
    }
    object_text(object, info->name);
    if (object->hosts != NULL)
        memcpy(info->hosts, object->hosts, strlen(object->hosts));
}

static enum error look(struct pool *pool, const char *name, finder *finds, struct object_info *info)
{
    struct object *object;
    TRY(pool_check_unlocked(pool));
    TRY(finds(pool, name, &object));
    info_fill(pool, object, info);
    return ERROR_NONE;
}

enum error object_find(struct pool *pool, const char *name, struct object_info *info)
{
    mutex_lock(&pool->lock);
    return unlocked(pool, look(pool, name, find, info));
}

enum error object_find_trashed(struct pool *pool, const char *name, struct object_info *info)
{
    mutex_lock(&pool->lock);
    return unlocked(pool, look(pool, name, find_trashed, info));
}

static int info_order(const void *a, const void *b)
{
    const struct object_info *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order != 0 ? order : memcmp(&x->uuid, &y->uuid, sizeof x->uuid);
}

static enum error list(struct pool *pool, struct object_info **infos, size_t *count)
{
    size_t n = 0;
    TRY(pool_check_unlocked(pool));
    struct object_info *filled = malloc((pool->table->count + 1) * sizeof *filled);
    if (filled == NULL)
        return ERROR_NO_MEMORY;
    for (const struct object *object = pool->objects; object != NULL; object = object->next)
        if (!object_is_snapshot(object))
            info_fill(pool, object, &filled[n++]);
    *infos = filled;
    *count = n;
    return ERROR_NONE;
}

enum error object_list(struct pool *pool, struct object_info **infos, size_t *count)
{
    mutex_lock(&pool->lock);
    TRY(unlocked(pool, list(pool, infos, count)));
    qsort(*infos, *count, sizeof **infos, info_order);
    return ERROR_NONE;
}

/* ---- renaming
 * ------------------------------------------------------------------------------------------------------------ */

static enum error rename_to(struct pool *pool, const char *name, const char *new_name)
{
    struct object *object;
    struct object_document document;
    TRY(object_check_changeable(pool));
    TRY(find_own(pool, name, "renamed", &object));
    if (strcmp(object->name, new_name) == 0)
        return ERROR_NONE;
    TRY(object_check_name_free(pool, new_name));
    object_describe(pool, object, &document);
    memcpy(document.name, new_name, strlen(new_name) + 1);
    return store(pool, object, &document);
}

enum error object_rename(struct pool *pool, const char *name, const char *new_name)
{
    if (strcmp(name, new_name) != 0)
        TRY(object_name_check_new(new_name));
    mutex_lock(&pool->lock);
    return unlocked(pool, rename_to(pool, name, new_name));
}

/* ---- resizing
 * ------------------------------------------------------------------------------------------------------------ */

/* Without the lock; what it needs of the object stays as it is. */
static enum error cut_trim(struct pool *pool, struct object *object) REQUIRES(pool->lock)
{
    uint64_t first = atomic_load(&object->size) / COFFER_BLOCK, end = object->cut / COFFER_BLOCK;
    ASSERT(object->cut != 0 && !object->cutting);
    object->cutting = true;
    pool_group_use(pool);
    enum error error = object_trim(pool, object, first, end);
    pool_group_leave(pool);
    object->cutting = false;
    condition_signal(&pool->janitor_wake); /* it may have passed by */
    return error;
}

enum error object_cut(struct pool *pool, struct object *object)
{
    struct object_document document;
    TRY(cut_trim(pool, object));
    object_describe(pool, object, &document);
    document.cut = 0;
    TRY(store(pool, object, &document));
    object->retry_at = 0;
    return ERROR_NONE;
}

static enum error shrink_to(struct pool *pool, struct object *object, uint64_t size) REQUIRES(pool->lock)
{
    struct object_document document;
    TRY(object_check_closed(object, "made smaller"));
    object_describe(pool, object, &document);
    document.cut = document.size;
    document.size = size;
    document.reserve = MIN(document.reserve, size);
    TRY(store(pool, object, &document));
    enum error error = object_cut(pool, object);
    if (error != ERROR_NONE) {
        condition_signal(&pool->janitor_wake);
        return error_prefix(error, "'%s' has its new size, but what was cut off is not freed yet", object->name);
    }
    return ERROR_NONE;
}

/* What was reserved as a whole stays so. */
static enum error grow_to(struct pool *pool, struct object *object, uint64_t size)
{
    struct object_document document;
    object_describe(pool, object, &document);
    if (document.reserve == document.size) {
        TRY(reserve_hold(pool, object, size, size));
        document.reserve = size;
    }
    document.size = size;
    enum error error = store(pool, object, &document);
    if (error != ERROR_NONE && object->reserve != 0)
        reserve_apply(pool, object);
    return error;
}

static enum error resize(struct pool *pool, const char *name, uint64_t size, bool shrink, struct uuid stream)
    REQUIRES(pool->lock)
{
    struct object *object;
    TRY(object_check_changeable(pool));
    TRY(find_own(pool, name, "resized", &object));
    if (!uuid_equal(object->import_stream, stream))
        return uuid_is_zero(stream) ? object_check_imported(object, "resized") : import_is_gone();
    uint64_t before = atomic_load(&object->size);
    if (object->cut != 0)
        return error_explain(ERROR_BUSY,
                             "'%s' was made smaller and what was cut off is still being freed: try again later",
                             object->name);
    if (size == before)
        return ERROR_NONE;
    if (size < before && !shrink)
        return error_explain(ERROR_UNCONFIRMED,
                             "'%s' has %llu bytes, more than %llu: to cut it off and lose what is there, say --shrink",
                             object->name, (unsigned long long)before, (unsigned long long)size);
    if (size < before)
        return shrink_to(pool, object, size);
    return grow_to(pool, object, size);
}

enum error object_resize(struct pool *pool, const char *name, uint64_t size, bool shrink)
{
    TRY(size_check(size));
    mutex_lock(&pool->lock);
    return unlocked(pool, resize(pool, name, size, shrink, (struct uuid){{0}}));
}

enum error object_resize_import(struct pool *pool, const char *name, uint64_t size, struct uuid stream)
{
    mutex_lock(&pool->lock);
    return unlocked(pool, resize(pool, name, size, true, stream));
}

/* ---- the trash
 * -------------------------------------------------------------------------------------------------------------- */

uint64_t object_purge_time(const struct pool *pool, const struct object *object)
{
    uint64_t forever = UINT64_MAX - object->deleted;
    return object->deleted + MIN(pool->conf->trash, forever);
}

enum error object_doom(struct pool *pool, struct object *object)
{
    struct object_document document;
    object_describe(pool, object, &document);
    document.state = OBJECT_DELETING;
    document.reserve = 0;
    if (document.deleted == 0)
        document.deleted = steady_date(&pool->clock);
    TRY(store(pool, object, &document));
    condition_signal(&pool->janitor_wake);
    return ERROR_NONE;
}

static enum error discard(struct pool *pool, struct object *object)
{
    struct object_document document;
    object_describe(pool, object, &document);
    document.state = OBJECT_TRASHED;
    document.reserve = 0;
    document.deleted = steady_date(&pool->clock);
    TRY(store(pool, object, &document));
    condition_signal(&pool->janitor_wake);
    return ERROR_NONE;
}

static enum error throw_away(struct pool *pool, const char *name, bool now)
{
    struct object *object;
    TRY(object_check_changeable(pool));
    TRY(find(pool, name, &object));
    if (is_restorable(object))
        TRY(check_only_one(pool, object, name));
    if (object->deleting)
        return error_explain(ERROR_NOT_FOUND, "'%s' was deleted and is being freed already", object->name);
    if (object_is_snapshot(object))
        return error_explain(ERROR_INVALID, "'%s' is a snapshot: those are deleted as such", name);
    TRY(object_check_closed(object, "deleted"));
    for (const struct object *snapshot = object->snapshots; snapshot != NULL; snapshot = snapshot->snapshot_next)
        TRY(object_check_closed(snapshot, "deleted"));
    if (now || pool->conf->trash == 0)
        TRY(version_check_deletable(pool, object));
    if (now || (pool->conf->trash == 0 && object->deleted == 0))
        return object_doom(pool, object);
    if (object->deleted)
        return error_explain(ERROR_NOT_FOUND, "'%s' is in the trash already", object->name);
    return discard(pool, object);
}

enum error object_delete(struct pool *pool, const char *name, bool now)
{
    mutex_lock(&pool->lock);
    return unlocked(pool, throw_away(pool, name, now));
}

static enum error restore(struct pool *pool, const char *name, const char *new_name)
{
    struct object *object;
    struct object_document document;
    TRY(object_check_changeable(pool));
    TRY(find_trashed(pool, name, &object));
    object_describe(pool, object, &document);
    if (new_name != NULL)
        memcpy(document.name, new_name, strlen(new_name) + 1);
    TRY(object_check_name_free(pool, document.name));
    document.state = OBJECT_LIVE;
    document.deleted = 0;
    return store(pool, object, &document);
}

enum error object_restore(struct pool *pool, const char *name, const char *new_name)
{
    if (new_name != NULL)
        TRY(object_name_check_new(new_name));
    mutex_lock(&pool->lock);
    return unlocked(pool, restore(pool, name, new_name));
}
