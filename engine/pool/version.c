/*
 * Versions of objects: snapshots, clones, and the way back.
 *
 * Each version is a component of its own. A snapshot keeps the component that the object had; the object's writes go to
 * a new one that begins as it (group/map_merge.c), from the commit on that also holds the documents of both. A clone
 * and a rolled back object are new components that begin as a snapshot's. What nobody needs afterwards (the component
 * of an object that was rolled back, or what a living object was when it was cloned) becomes a snapshot that is being
 * deleted from the beginning, and the janitor frees it.
 *
 * All documents, components and moves of one operation are one commit in one append, so a crash leaves all of it or
 * nothing, and snapshots of several objects are of one moment. In memory an object's component changes within the
 * commit: a write that is answered before the commit is in the snapshot, one that is committed after it is not.
 *
 * Nothing changes a component that others begin as: snapshots are read-only, only the janitor empties what is being
 * deleted, and it publishes first where somebody still falls back to it.
 *
 * Locks: pool->lock, held across the commit.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/group/view.h"
#include "engine/pool/name.h"
#include "engine/pool/object_table.h"

#define LINK_DEPTH_MAX (2 * LINK_DEPTH_DUE)
#define MERGE_PATIENCE (600 * CLOCK_SECOND) /* it waits no longer than this under pool->lock */

/* One operation in the making. */
struct operation {
    struct pool *pool;
    struct catalog_document documents[CATALOG_DOCUMENTS_MAX];
    size_t document_count;
    struct component_change changes[SNAPSHOT_OBJECTS_MAX + 1];
    size_t change_count;
    struct component_move moves[SNAPSHOT_OBJECTS_MAX];
    size_t move_count;
    struct object *entered[SNAPSHOT_OBJECTS_MAX + 1]; /* in memory, to be taken back where it fails */
    size_t entered_count;
};

_Static_assert(2 * SNAPSHOT_OBJECTS_MAX <= CATALOG_DOCUMENTS_MAX, "a document of each object and of each snapshot");

uint64_t pool_clock(const struct pool *pool)
{
    return pool->clock_wall + (clock_monotonic() - pool->clock_since) / CLOCK_SECOND;
}

/* ---- parts of an operation ----------------------------------------------------------------------------------------- */

static enum error document_add(struct operation *operation, uint64_t slot, const struct object_document *document)
{
    void *bytes;
    size_t size;
    TRY(object_document_encode(document, &bytes, &size));
    ASSERT(operation->document_count < CATALOG_DOCUMENTS_MAX);
    operation->documents[operation->document_count++] = (struct catalog_document){slot, bytes, size};
    return ERROR_NONE;
}

/* A document of something new. */
static enum error version_enter(struct operation *operation, const struct object_document *document)
{
    struct pool *pool = operation->pool;
    uint64_t slot;
    TRY(object_take_slot(pool, !uuid_is_zero(document->origin), &slot));
    TRY(catalog_enter(pool, slot, document));
    operation->entered[operation->entered_count++] = pool->table->slots[slot];
    return document_add(operation, slot, document);
}

/* A component of that object which begins as `base`. */
static void heir_add(struct operation *operation, const struct object_document *document, uint64_t base)
{
    operation->changes[operation->change_count++] = (struct component_change){
        .id = document->component,
        .base = base,
        .object = document->uuid,
        .domain = document->domain,
        .state = COMPONENT_LIVE,
    };
}

/* What the object is now becomes a version of its own, as `kept` says, and the object goes on as another, in `moved`. */
static enum error object_move(struct operation *operation, struct object *object, const struct object_document *kept,
                              const struct object_document *moved, uint64_t base)
{
    TRY(version_enter(operation, kept));
    TRY(document_add(operation, object->slot, moved));
    heir_add(operation, moved, base);
    operation->moves[operation->move_count++] = (struct component_move){&object->component, moved->component};
    return ERROR_NONE;
}

static enum error operation_commit(struct operation *operation)
{
    const struct catalog_changes all = {
        operation->documents,    operation->document_count, operation->changes,
        operation->change_count, operation->moves,          operation->move_count,
    };
    TRY(catalog_commit_all(operation->pool, &all));
    for (size_t i = 0; i < operation->document_count; i++)
        operation->pool->slots_end = MAX(operation->pool->slots_end, operation->documents[i].slot + 1);
    return ERROR_NONE;
}

/* Gives back what it holds, and where it failed what it entered. */
static enum error operation_end(struct operation *operation, enum error error)
{
    for (size_t i = 0; i < operation->document_count; i++)
        free((void *)operation->documents[i].bytes);
    for (size_t i = 0; i < operation->entered_count && error; i++)
        catalog_leave(operation->pool, operation->entered[i]);
    condition_signal(&operation->pool->janitor_wake);
    if (operation->move_count || operation->change_count)
        group_links_changed(operation->pool->group);
    return error;
}

static bool is_deep(struct group *group)
{
    mutex_lock(&group->lock);
    bool deep = recent_link_depth(group->view->active) >= LINK_DEPTH_MAX;
    mutex_unlock(&group->lock);
    return deep;
}

static enum error operation_begin(struct pool *pool, struct operation *operation)
{
    *operation = (struct operation){.pool = pool};
    TRY(object_check_changeable(pool));
    enum error error = ERROR_NONE;
    while (is_deep(pool->group) && error == ERROR_NONE)
        error = group_publish_within(pool->group, MERGE_PATIENCE);
    if (error == ERROR_TIMED_OUT)
        return error_explain(ERROR_NO_SPACE, "the file system below has no space for a merge, which must come first");
    return error;
}

/* The document of a version that keeps what the object has now. */
static struct object_document kept_of(struct pool *pool, const struct object *object, const char *name)
{
    struct object_document kept;
    object_describe(pool, object, &kept);
    kept.uuid = uuid_random();
    kept.origin = object->uuid;
    kept.created = clock_seconds();
    kept.reserve = 0;
    memset(kept.name, 0, sizeof kept.name);
    memcpy(kept.name, name, strlen(name));
    return kept;
}

/* … and that is deleted from the beginning. */
static struct object_document dropped_of(struct pool *pool, const struct object *object, const char *name)
{
    struct object_document dropped = kept_of(pool, object, name);
    dropped.state = OBJECT_DELETING;
    dropped.deleted = dropped.created;
    return dropped;
}

/* What a shrink cut off may still be there, and would come back where the version grows. */
static enum error check_whole(const struct object *object)
{
    if (object->cut != 0)
        return error_explain(ERROR_BUSY, "'%s' was made smaller and what was cut off is still being freed: try again later",
                             object->name);
    return ERROR_NONE;
}

/* ---- what is asked before anything --------------------------------------------------------------------------------- */

static enum error find_snapshot(struct pool *pool, const char *name, struct object **snapshot)
{
    struct object *found;
    TRY(object_find_living(pool, name, &found));
    if (!object_is_snapshot(found))
        return error_explain(ERROR_INVALID, "'%s' is no snapshot: those are called NAME@SNAPSHOT", found->name);
    *snapshot = found;
    return ERROR_NONE;
}

static enum error find_object(struct pool *pool, const char *name, struct object **object)
{
    struct object *found;
    char text[VERSION_NAME_MAX + 1];
    TRY(object_find_living(pool, name, &found));
    if (object_is_snapshot(found))
        return error_explain(ERROR_INVALID, "'%s' is a snapshot: there are none of snapshots",
                             object_text(found, text));
    *object = found;
    return ERROR_NONE;
}

static enum error check_lock(const struct pool *pool, uint64_t locked_until)
{
    if (locked_until != 0 && locked_until <= pool_clock(pool))
        return error_explain(ERROR_INVALID, "a snapshot is locked until a time that is to come");
    return ERROR_NONE;
}

static enum error check_deletable(const struct pool *pool, const struct object *snapshot)
{
    char text[VERSION_NAME_MAX + 1];
    object_text(snapshot, text);
    if (snapshot->hold)
        return error_explain(ERROR_BUSY, "the snapshot '%s' is held: `%s object protect NAME --no-hold` lets it go", text,
                             pool->command);
    if (snapshot->locked_until > pool_clock(pool))
        return error_explain(ERROR_BUSY, "the snapshot '%s' is locked and cannot be deleted before its time", text);
    return object_check_closed(snapshot, "deleted");
}

enum error version_check_deletable(struct pool *pool, const struct object *object)
{
    if (object_is_snapshot(object))
        return check_deletable(pool, object);
    for (const struct object *snapshot = object->snapshots; snapshot != NULL; snapshot = snapshot->snapshot_next)
        if (!snapshot->deleting)
            TRY(check_deletable(pool, snapshot));
    return ERROR_NONE;
}

/* ---- snapshots ----------------------------------------------------------------------------------------------------- */

static enum error snapshot_one(struct operation *operation, const char *name, const char *snapshot, bool hold,
                               uint64_t locked_until)
{
    struct pool *pool = operation->pool;
    struct object_document moved;
    struct object *object;
    TRY(find_object(pool, name, &object));
    TRY(check_whole(object));
    if (object_table_snapshot(pool->table, object, snapshot) != NULL)
        return error_explain(ERROR_EXISTS, "'%s' has a snapshot '%s' already", object->name, snapshot);
    TRY(reserve_renew(pool, object));
    struct object_document kept = kept_of(pool, object, snapshot);
    kept.hold = hold;
    kept.locked_until = locked_until;
    object_describe(pool, object, &moved);
    TRY(object_take_component(pool, &moved.component));
    return object_move(operation, object, &kept, &moved, kept.component);
}

static enum error snapshot_all(struct operation *operation, const char *const *names, size_t count, const char *snapshot,
                               bool hold, uint64_t locked_until)
{
    TRY(check_lock(operation->pool, locked_until));
    for (size_t i = 0; i < count; i++)
        TRY(snapshot_one(operation, names[i], snapshot, hold, locked_until));
    return operation_commit(operation);
}

enum error object_snapshot(struct pool *pool, const char *const *names, size_t count, const char *snapshot, bool hold,
                           uint64_t locked_until)
{
    struct operation *operation = memory_zeroed(1, sizeof *operation);
    if (operation == NULL)
        return ERROR_NO_MEMORY;
    enum error error = object_name_check(snapshot);
    if (error == ERROR_NONE && (count == 0 || count > SNAPSHOT_OBJECTS_MAX))
        error = error_explain(ERROR_INVALID, "a snapshot is made of 1 to %d objects at a time", SNAPSHOT_OBJECTS_MAX);
    if (error == ERROR_NONE) {
        mutex_lock(&pool->lock);
        error = operation_begin(pool, operation);
        if (error == ERROR_NONE)
            error = snapshot_all(operation, names, count, snapshot, hold, locked_until);
        error = operation_end(operation, error);
        mutex_unlock(&pool->lock);
    }
    free(operation);
    return error;
}

static void info_fill(const struct object *object, struct snapshot_info *info)
{
    *info = (struct snapshot_info){
        .uuid = object->uuid,
        .object_uuid = object->origin_uuid,
        .size = atomic_load(&object->size),
        .created = object->created,
        .hold = object->hold,
        .locked_until = object->locked_until,
        .deleting = object->deleting || object->origin->deleting,
        .open_count = object->open_count,
    };
    object_text(object, info->name);
    memcpy(info->object, object->origin->name, sizeof info->object);
    memcpy(info->snapshot, object->name, sizeof info->snapshot);
}

/* Components rise, so they tell which of two is older. */
static int age_order(const void *a, const void *b)
{
    const struct object *x = *(const struct object *const *)a, *y = *(const struct object *const *)b;
    int order = strcmp(x->origin->name, y->origin->name);
    if (order == 0)
        order = memcmp(&x->origin_uuid, &y->origin_uuid, sizeof x->origin_uuid);
    return order != 0 ? order : x->component < y->component ? -1 : x->component > y->component;
}

static enum error list(struct pool *pool, const char *name, struct snapshot_info **infos, size_t *count)
{
    struct object *only = NULL;
    size_t n = 0;
    TRY(pool_check_unlocked(pool));
    if (name != NULL)
        TRY(find_object(pool, name, &only));
    AUTO_FREE const struct object **found = malloc((pool->table->snapshot_count + 1) * sizeof(const struct object *));
    struct snapshot_info *filled = malloc((pool->table->snapshot_count + 1) * sizeof *filled);
    if (found == NULL || filled == NULL) {
        free(filled);
        return ERROR_NO_MEMORY;
    }
    for (const struct object *object = pool->objects; object != NULL; object = object->next)
        if (object_is_snapshot(object) && object_is_living(object) && (only == NULL || object->origin == only))
            found[n++] = object;
    qsort(found, n, sizeof(const struct object *), age_order);
    for (size_t i = 0; i < n; i++)
        info_fill(found[i], &filled[i]);
    *infos = filled;
    *count = n;
    return ERROR_NONE;
}

enum error snapshot_list(struct pool *pool, const char *object, struct snapshot_info **infos, size_t *count)
{
    mutex_lock(&pool->lock);
    enum error error = list(pool, object, infos, count);
    mutex_unlock(&pool->lock);
    return error;
}

enum error snapshot_find(struct pool *pool, const char *name, struct snapshot_info *info)
{
    struct object *snapshot;
    mutex_lock(&pool->lock);
    enum error error = pool_check_unlocked(pool);
    if (error == ERROR_NONE)
        error = find_snapshot(pool, name, &snapshot);
    if (error == ERROR_NONE)
        info_fill(snapshot, info);
    mutex_unlock(&pool->lock);
    return error;
}

static enum error doom(struct pool *pool, const char *name)
{
    struct object *snapshot;
    TRY(object_check_changeable(pool));
    TRY(find_snapshot(pool, name, &snapshot));
    TRY(check_deletable(pool, snapshot));
    return object_doom(pool, snapshot);
}

enum error snapshot_delete(struct pool *pool, const char *name)
{
    mutex_lock(&pool->lock);
    enum error error = doom(pool, name);
    mutex_unlock(&pool->lock);
    return error;
}

static enum error protect(struct pool *pool, const char *name, bool hold, uint64_t locked_until)
{
    struct object *snapshot;
    struct object_document document;
    TRY(object_check_changeable(pool));
    TRY(find_snapshot(pool, name, &snapshot));
    if (locked_until != 0)
        TRY(check_lock(pool, locked_until));
    if (locked_until != 0 && locked_until < snapshot->locked_until)
        return error_explain(ERROR_ACCESS, "a snapshot's lock can be made longer, never shorter");
    object_describe(pool, snapshot, &document);
    document.hold = hold;
    document.locked_until = MAX(snapshot->locked_until, locked_until);
    TRY(catalog_store(pool, snapshot->slot, &document, NULL));
    object_adopt(pool, snapshot, &document);
    return ERROR_NONE;
}

enum error snapshot_protect(struct pool *pool, const char *name, bool hold, uint64_t locked_until)
{
    mutex_lock(&pool->lock);
    enum error error = protect(pool, name, hold, locked_until);
    mutex_unlock(&pool->lock);
    return error;
}

/* ---- the way back -------------------------------------------------------------------------------------------------- */

static enum error rollback(struct operation *operation, const char *name)
{
    struct pool *pool = operation->pool;
    struct object_document moved;
    struct object *snapshot;
    TRY(find_snapshot(pool, name, &snapshot));
    struct object *object = snapshot->origin;
    TRY(object_check_closed(object, "rolled back"));
    TRY(check_whole(object));
    TRY(reserve_renew(pool, object));
    struct object_document dropped = dropped_of(pool, object, "rollback");
    object_describe(pool, object, &moved);
    moved.size = atomic_load(&snapshot->size);
    moved.reserve = MIN(moved.reserve, moved.size);
    TRY(object_take_component(pool, &moved.component));
    TRY(object_move(operation, object, &dropped, &moved, snapshot->component));
    TRY(operation_commit(operation));
    object_adopt(pool, object, &moved);
    return ERROR_NONE;
}

enum error object_rollback(struct pool *pool, const char *name)
{
    struct operation *operation = memory_zeroed(1, sizeof *operation);
    if (operation == NULL)
        return ERROR_NO_MEMORY;
    mutex_lock(&pool->lock);
    enum error error = operation_begin(pool, operation);
    if (error == ERROR_NONE)
        error = rollback(operation, name);
    error = operation_end(operation, error);
    mutex_unlock(&pool->lock);
    free(operation);
    return error;
}

/* ---- clones -------------------------------------------------------------------------------------------------------- */

/* The object goes on as another component, so that what it is now stays as it is until the clone has a map. */
static enum error source_move(struct operation *operation, struct object *object)
{
    struct object_document dropped = dropped_of(operation->pool, object, "clone"), moved;
    object_describe(operation->pool, object, &moved);
    TRY(reserve_renew(operation->pool, object));
    TRY(object_take_component(operation->pool, &moved.component));
    return object_move(operation, object, &dropped, &moved, dropped.component);
}

static enum error clone_make(struct operation *operation, const char *name, const char *new_name, struct uuid *uuid)
{
    struct pool *pool = operation->pool;
    struct object_document made;
    struct object *source;
    TRY(object_find_living(pool, name, &source));
    TRY(object_check_name_free(pool, new_name));
    TRY(check_whole(source));
    uint64_t base = source->component;
    object_describe(pool, source, &made);
    made.uuid = uuid_random();
    made.origin = (struct uuid){{0}};
    made.created = clock_seconds();
    made.hold = false;
    made.locked_until = 0;
    made.reserve = 0;
    memset(made.name, 0, sizeof made.name);
    memcpy(made.name, new_name, strlen(new_name));
    if (!object_is_snapshot(source))
        TRY(source_move(operation, source));
    TRY(object_take_component(pool, &made.component));
    TRY(version_enter(operation, &made));
    heir_add(operation, &made, base);
    TRY(operation_commit(operation));
    *uuid = made.uuid;
    return ERROR_NONE;
}

enum error object_clone(struct pool *pool, const char *name, const char *new_name, struct uuid *uuid)
{
    TRY(object_name_check(new_name));
    struct operation *operation = memory_zeroed(1, sizeof *operation);
    if (operation == NULL)
        return ERROR_NO_MEMORY;
    mutex_lock(&pool->lock);
    enum error error = operation_begin(pool, operation);
    if (error == ERROR_NONE)
        error = clone_make(operation, name, new_name, uuid);
    error = operation_end(operation, error);
    mutex_unlock(&pool->lock);
    free(operation);
    return error;
}
