/*
 * Versions of objects: snapshots, clones, and the way back.
 *
 * Each version is a component of its own. A snapshot keeps the component that the object had; the object's writes go to
 * a new one that begins as it (group/map_merge.c), from the commit on that also holds the documents of both. A clone
 * and a rolled back object are new components that begin as a snapshot's. What nobody needs afterwards (the component
 * of an object that was rolled back, unless it is kept as a snapshot, or what a living object was when it was cloned)
 * becomes a snapshot that is being deleted from the beginning, and the janitor frees it.
 *
 * All documents, components and moves of one operation are one commit in one append, so a crash leaves all of it or
 * nothing, and snapshots of several objects are of one moment. In memory an object's component changes within the
 * commit: a write that is answered before the commit is in the snapshot, one that is committed after it is not.
 *
 * Nothing changes a component that others begin as: snapshots are read-only, only the janitor empties what is being
 * deleted, and it publishes first where somebody still falls back to it.
 *
 * Locks: pool->lock, held across the commit, not while space is waited for (operation.c), nor while an object is compared with
 * its snapshots before it is rolled back.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/moment.h"
#include "engine/pool/comparison.h"
#include "engine/pool/name.h"
#include "engine/pool/object_table.h"
#include "engine/pool/operation.h"

#define KEPT_ASKED_MAX 32 /* snapshots that an object is compared with, which may read nodes of each */

uint64_t pool_clock(struct pool *pool)
{
    return steady_now(&pool->clock);
}

/* ---- what is asked before anything --------------------------------------------------------------------------------- */

/* object_find_living() or, also in the trash, object_find_stored(). */
typedef enum error finder(struct pool *pool, const char *name, struct object **object);

static enum error find_snapshot(struct pool *pool, const char *name, finder *find, struct object **snapshot)
{
    struct object *found;
    TRY(find(pool, name, &found));
    if (!object_is_snapshot(found))
        return error_explain(ERROR_INVALID, "'%s' is no snapshot: those are called NAME@SNAPSHOT", found->name);
    *snapshot = found;
    return ERROR_NONE;
}

static enum error find_object(struct pool *pool, const char *name, finder *find, struct object **object)
{
    struct object *found;
    char text[VERSION_NAME_MAX + 1];
    TRY(find(pool, name, &found));
    if (object_is_snapshot(found))
        return error_explain(ERROR_INVALID, "'%s' is a snapshot: there are none of snapshots",
                             object_text(found, text));
    *object = found;
    return ERROR_NONE;
}

static enum error check_lock(struct pool *pool, uint64_t locked_until)
{
    if (locked_until != 0 && locked_until <= pool_clock(pool))
        return error_explain(ERROR_INVALID, "a snapshot is locked until a time that is to come");
    if (locked_until > pool_clock(pool) + SNAPSHOT_LOCK_MAX)
        return error_explain(ERROR_INVALID, "a snapshot is locked for 100 years at most");
    return ERROR_NONE;
}

static enum error check_deletable(struct pool *pool, const struct object *snapshot)
{
    char text[VERSION_NAME_MAX + 1], uuid[UUID_TEXT_SIZE], until[MOMENT_TEXT_SIZE];
    object_text(snapshot, text);
    uuid_format(snapshot->uuid, uuid); /* names may be those of living objects, and hold quotes */
    if (snapshot->hold)
        return error_explain(ERROR_BUSY, "the snapshot '%s' is held: `%s object protect '%s' --no-hold` lets it go", text,
                             pool->command, uuid);
    if (snapshot->locked_until > pool_clock(pool))
        return error_explain(ERROR_BUSY, "the snapshot '%s' is locked and cannot be deleted before %s", text,
                             moment_second(snapshot->locked_until, until));
    return object_check_closed(snapshot, "deleted");
}

enum error version_check_deletable(struct pool *pool, const struct object *object)
{
    if (object_is_snapshot(object))
        return check_deletable(pool, object);
    TRY(object_check_claimed(pool, object));
    for (const struct object *snapshot = object->snapshots; snapshot != NULL; snapshot = snapshot->snapshot_next)
        if (!snapshot->deleting)
            TRY(check_deletable(pool, snapshot));
    return ERROR_NONE;
}

/* ---- snapshots ----------------------------------------------------------------------------------------------------- */

struct snapshot_call {
    const char *const *names;
    size_t count;
    const char *snapshot;
    bool hold;
    uint64_t locked_until;
};

static enum error check_snapshot_free(const struct pool *pool, const struct object *object, const char *snapshot)
{
    if (object_table_snapshot(pool->table, object, snapshot) != NULL)
        return error_explain(ERROR_EXISTS, "'%s' has a snapshot '%s' already", object->name, snapshot);
    return ERROR_NONE;
}

static enum error snapshot_one(struct operation *operation, const struct snapshot_call *call, const char *name)
{
    struct pool *pool = operation->pool;
    struct object_document moved;
    struct object *object;
    TRY(find_object(pool, name, object_find_living, &object));
    TRY(object_check_whole(object));
    TRY(check_snapshot_free(pool, object, call->snapshot));
    TRY(operation_renew(operation, object));
    struct object_document kept = document_kept(pool, object, call->snapshot);
    kept.hold = call->hold;
    kept.locked_until = call->locked_until;
    object_describe(pool, object, &moved);
    TRY(object_take_component(pool, &moved.component));
    TRY(operation_enter(operation, &kept));
    return operation_move(operation, object, &moved, kept.component);
}

static enum error snapshot_all(struct operation *operation, void *context)
{
    const struct snapshot_call *call = context;
    TRY(check_lock(operation->pool, call->locked_until));
    for (size_t i = 0; i < call->count; i++)
        TRY(snapshot_one(operation, call, call->names[i]));
    return operation_commit(operation);
}

enum error object_snapshot(struct pool *pool, const char *const *names, size_t count, const char *snapshot, bool hold,
                           uint64_t locked_until)
{
    TRY(object_name_check_new(snapshot));
    if (count == 0 || count > SNAPSHOT_OBJECTS_MAX)
        return error_explain(ERROR_INVALID, "a snapshot is made of 1 to %d objects at a time", SNAPSHOT_OBJECTS_MAX);
    return operation_run(pool, snapshot_all,
                         &(struct snapshot_call){names, count, snapshot, hold, locked_until});
}

static void info_fill(const struct object *object, struct snapshot_info *info)
{
    *info = (struct snapshot_info){
        .uuid = object->uuid,
        .identity = object_identity(object),
        .object_uuid = object->origin_uuid,
        .size = atomic_load(&object->size),
        .created = object->created,
        .hold = object->hold,
        .locked_until = object->locked_until,
        .trashed = object->origin->deleted != 0,
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
    int order = x->origin == y->origin ? 0 : strcmp(x->origin->name, y->origin->name);
    if (order == 0 && x->origin != y->origin)
        order = memcmp(&x->origin_uuid, &y->origin_uuid, sizeof x->origin_uuid);
    return order != 0 ? order : x->component < y->component ? -1 : x->component > y->component;
}

/* Of one object, or of all that live. `found` NULL: only counts. */
static size_t snapshots_gather(const struct pool *pool, const struct object *only, const struct object **found)
{
    const struct object *object = only != NULL ? only->snapshots : pool->objects;
    size_t n = 0;
    for (; object != NULL; object = only != NULL ? object->snapshot_next : object->next) {
        bool listed = only != NULL ? !object->deleting : object_is_snapshot(object) && object_is_living(object);
        if (listed && found != NULL)
            found[n] = object;
        n += listed;
    }
    return n;
}

/* Of `count` in their order: where the part begins, and how many it has. */
static enum error part_find(struct pool *pool, const struct snapshot_part *part, const struct object **found, size_t count,
                            size_t *begin, size_t *length)
{
    struct object *after = NULL;
    *begin = 0;
    if (part->after != NULL)
        TRY(find_snapshot(pool, part->after, object_find_stored, &after));
    const struct object *const behind = after;
    while (after != NULL && *begin < count && age_order(&found[*begin], &behind) <= 0)
        (*begin)++;
    *length = part->most == 0 ? count - *begin : MIN(part->most, count - *begin);
    if (part->newest)
        *begin = count - *length;
    return ERROR_NONE;
}

static enum error list(struct pool *pool, const char *name, const struct snapshot_part *part, struct snapshot_info **infos,
                       size_t *count)
{
    static const struct snapshot_part all;
    struct object *only = NULL;
    size_t begin, length;
    TRY(pool_check_unlocked(pool));
    if (name != NULL)
        TRY(find_object(pool, name, object_find_stored, &only));
    size_t n = snapshots_gather(pool, only, NULL);
    AUTO_FREE const struct object **found = malloc((n + 1) * sizeof(const struct object *));
    if (found == NULL)
        return ERROR_NO_MEMORY;
    snapshots_gather(pool, only, found);
    qsort(found, n, sizeof(const struct object *), age_order);
    TRY(part_find(pool, part != NULL ? part : &all, found, n, &begin, &length));
    struct snapshot_info *filled = malloc((length + 1) * sizeof *filled);
    if (filled == NULL)
        return ERROR_NO_MEMORY;
    for (size_t i = 0; i < length; i++)
        info_fill(found[begin + i], &filled[i]);
    *infos = filled;
    *count = length;
    return ERROR_NONE;
}

enum error snapshot_list(struct pool *pool, const char *object, const struct snapshot_part *part, struct snapshot_info **infos,
                         size_t *count)
{
    mutex_lock(&pool->lock);
    enum error error = list(pool, object, part, infos, count);
    mutex_unlock(&pool->lock);
    return error;
}

enum error snapshot_find(struct pool *pool, const char *name, struct snapshot_info *info)
{
    struct object *snapshot;
    mutex_lock(&pool->lock);
    enum error error = pool_check_unlocked(pool);
    if (error == ERROR_NONE)
        error = find_snapshot(pool, name, object_find_stored, &snapshot);
    if (error == ERROR_NONE)
        info_fill(snapshot, info);
    mutex_unlock(&pool->lock);
    return error;
}

static enum error doom(struct pool *pool, const char *name)
{
    struct object *snapshot;
    TRY(object_check_changeable(pool));
    TRY(find_snapshot(pool, name, object_find_living, &snapshot));
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

static enum error protect(struct pool *pool, const char *name, enum snapshot_hold hold, uint64_t locked_until)
{
    struct object *snapshot;
    struct object_document document;
    TRY(object_check_changeable(pool));
    TRY(find_snapshot(pool, name, object_find_stored, &snapshot));
    if (locked_until != 0)
        TRY(check_lock(pool, locked_until));
    if (locked_until != 0 && locked_until < snapshot->locked_until)
        return error_explain(ERROR_ACCESS, "a snapshot's lock can be made longer, never shorter");
    object_describe(pool, snapshot, &document);
    if (hold != SNAPSHOT_HOLD_KEEP)
        document.hold = hold == SNAPSHOT_HOLD_SET;
    document.locked_until = MAX(snapshot->locked_until, locked_until);
    TRY(catalog_store(pool, snapshot->slot, &document));
    object_adopt(pool, snapshot, &document);
    return ERROR_NONE;
}

enum error snapshot_protect(struct pool *pool, const char *name, enum snapshot_hold hold, uint64_t locked_until)
{
    mutex_lock(&pool->lock);
    enum error error = protect(pool, name, hold, locked_until);
    mutex_unlock(&pool->lock);
    return error;
}

/* ---- the way back -------------------------------------------------------------------------------------------------- */

struct rollback_call {
    const char *name, *keep;
    bool discard;
    bool compared;         /* with its newest snapshots, of which one may have all that the object holds: */
    struct comparison was; /* … with that one, or else of the object alone */
};

static enum error check_object(struct object *object)
{
    TRY(object_check_imported(object, "rolled back"));
    TRY(object_check_closed(object, "rolled back"));
    return object_check_whole(object);
}

/* What the object is to be compared with. */
static size_t comparisons_list(const struct pool *pool, const struct object *object, struct comparison *list)
{
    size_t count = 0;
    for (const struct object *one = object->snapshots; one != NULL && count < KEPT_ASKED_MAX; one = one->snapshot_next)
        if (!one->deleting)
            list[count++] = comparison_of(pool, object, one);
    return count;
}

/* Where that cannot be read none has all. */
static void comparisons_run(struct pool *pool, const struct comparison *list, size_t count, struct comparison *was)
{
    bool changed = true;
    for (size_t i = 0; i < count && changed; i++) {
        if (comparison_run(pool, &list[i], &changed) != ERROR_NONE)
            changed = true;
        if (!changed)
            *was = list[i];
    }
    error_forget();
}

/* Without the lock, but to look what there is. */
static enum error rollback_compare(struct pool *pool, struct rollback_call *call)
{
    struct comparison list[KEPT_ASKED_MAX];
    size_t count = 0;
    struct object *snapshot;
    mutex_lock(&pool->lock);
    enum error error = object_check_changeable(pool);
    if (error == ERROR_NONE)
        error = find_snapshot(pool, call->name, object_find_living, &snapshot);
    if (error == ERROR_NONE)
        error = check_object(snapshot->origin);
    if (error == ERROR_NONE) {
        call->was = comparison_of(pool, snapshot->origin, NULL);
        count = comparisons_list(pool, snapshot->origin, list);
    }
    mutex_unlock(&pool->lock);
    TRY(error);
    comparisons_run(pool, list, count, &call->was);
    call->compared = true;
    return ERROR_NONE;
}

static enum error check_loss(struct pool *pool, struct object *object, const struct rollback_call *call)
{
    if (call->keep != NULL)
        return check_snapshot_free(pool, object, call->keep);
    if (call->discard)
        return ERROR_NONE;
    bool kept = !uuid_is_zero(call->was.base_uuid);
    const struct object *base = kept ? object_table_uuid(pool->table, call->was.base_uuid) : NULL;
    ASSERT(call->compared);
    if ((kept && (base == NULL || base->deleting)) || !comparison_stands(pool, &call->was, object, base))
        return error_explain(ERROR_BUSY, "'%s' was in use while it was compared with its snapshots: try again", object->name);
    if (kept)
        return ERROR_NONE;
    return error_explain(ERROR_UNCONFIRMED,
                         "'%s' holds what none of its snapshots has: say --keep SNAPSHOT to make one of it first, or "
                         "--discard to lose it",
                         object->name);
}

static enum error rollback(struct operation *operation, void *context)
{
    const struct rollback_call *call = context;
    struct pool *pool = operation->pool;
    struct object_document moved;
    struct object *snapshot;
    operation->frees = call->keep == NULL; /* what the object was; what comes in its place is there already */
    TRY(find_snapshot(pool, call->name, object_find_living, &snapshot));
    struct object *object = snapshot->origin;
    TRY(check_object(object));
    TRY(check_loss(pool, object, call));
    TRY(operation_renew(operation, object));
    struct object_document left =
        call->keep != NULL ? document_kept(pool, object, call->keep) : document_dropped(pool, object, "rollback");
    object_describe(pool, object, &moved);
    moved.size = atomic_load(&snapshot->size);
    moved.reserve = MIN(moved.reserve, moved.size);
    TRY(object_take_component(pool, &moved.component));
    TRY(operation_enter(operation, &left));
    TRY(operation_move(operation, object, &moved, snapshot->component));
    TRY(operation_commit(operation));
    object_adopt(pool, object, &moved);
    return ERROR_NONE;
}

enum error object_rollback(struct pool *pool, const char *name, const char *keep, bool discard)
{
    if (keep != NULL)
        TRY(object_name_check_new(keep));
    struct rollback_call call = {.name = name, .keep = keep, .discard = discard};
    if (keep == NULL && !discard)
        TRY(rollback_compare(pool, &call));
    return operation_run(pool, rollback, &call);
}

/* ---- clones -------------------------------------------------------------------------------------------------------- */

/* The object goes on as another component, so that what it is now stays as it is until the clone has a map. */
static enum error source_move(struct operation *operation, struct object *object)
{
    struct object_document dropped = document_dropped(operation->pool, object, "clone"), moved;
    object_describe(operation->pool, object, &moved);
    TRY(operation_renew(operation, object));
    TRY(object_take_component(operation->pool, &moved.component));
    TRY(operation_enter(operation, &dropped));
    return operation_move(operation, object, &moved, dropped.component);
}

struct clone_call {
    const char *name, *new_name;
    struct uuid *uuid;
};

static enum error clone_make(struct operation *operation, void *context)
{
    const struct clone_call *call = context;
    struct pool *pool = operation->pool;
    struct object_document made;
    struct object *source;
    TRY(object_find_living(pool, call->name, &source));
    TRY(object_check_name_free(pool, call->new_name));
    TRY(object_check_whole(source));
    uint64_t base = source->component;
    object_describe(pool, source, &made);
    made.uuid = uuid_random();
    made.origin = (struct uuid){{0}};
    made.created = clock_seconds();
    made.hold = false;
    made.locked_until = 0;
    made.reserve = 0;
    made.identity = made.import_stream = (struct uuid){{0}};
    made.import_position = 0;
    memset(made.hosts, 0, sizeof made.hosts); /* a copy of a key server's disk starts nothing */
    memset(made.name, 0, sizeof made.name);
    memcpy(made.name, call->new_name, strlen(call->new_name));
    if (!object_is_snapshot(source))
        TRY(source_move(operation, source));
    TRY(object_take_component(pool, &made.component));
    TRY(operation_enter(operation, &made));
    operation_heir(operation, &made, base);
    TRY(operation_commit(operation));
    *call->uuid = made.uuid;
    return ERROR_NONE;
}

enum error object_clone(struct pool *pool, const char *name, const char *new_name, struct uuid *uuid)
{
    TRY(object_name_check_new(new_name));
    return operation_run(pool, clone_make, &(struct clone_call){name, new_name, uuid});
}
