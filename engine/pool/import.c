/*
 * Imports: an object that a stream is written to, and its adoption.
 *
 * What is written to is an object of its own from the first byte: empty where the stream is whole by itself, else a clone of
 * the base. Its document says of which stream it is and up to which byte it holds what that brings, so an import goes on after
 * any crash, and from any client. Adopting it is one commit in one append: the snapshot takes over its component, and the target
 * goes on from there. A crash leaves the target as it was or as it becomes.
 *
 * A stream that stands on a snapshot is taken only where the target's newest snapshot has that identity and the target holds
 * what that snapshot holds; both are asked again when it is adopted. What the target was becomes a snapshot that is deleted
 * from the beginning, and what was written to an object that is deleted.
 *
 * Locks: pool->lock, held across the commits. Not held while the target is compared with its snapshot, which may have to read
 * all of both maps; the commit then only asks whether the target is at the same revision.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/pool/comparison.h"
#include "engine/pool/name.h"
#include "engine/pool/object_table.h"
#include "engine/pool/operation.h"

/* A begin or a finish in the making. */
struct call {
    const struct import_request *request;
    struct comparison compared;
    struct import_info info;
    struct uuid object;
};

/* ---- the target ------------------------------------------------------------------------------------------------------ */

/* Components rise, so they tell which is the newest. */
static struct object *snapshot_newest(const struct object *object)
{
    struct object *newest = NULL;
    for (struct object *one = object->snapshots; one != NULL; one = one->snapshot_next)
        if (!one->deleting && (newest == NULL || one->component > newest->component))
            newest = one;
    return newest;
}

static struct object *snapshot_by_identity(const struct object *object, struct uuid identity)
{
    for (struct object *one = object->snapshots; one != NULL; one = one->snapshot_next)
        if (!one->deleting && uuid_equal(object_identity(one), identity))
            return one;
    return NULL;
}

static enum error check_base(const struct object *object, const struct import_request *request, struct object **base)
{
    struct object *newest = snapshot_newest(object), *wanted = snapshot_by_identity(object, request->base);
    if (snapshot_by_identity(object, request->identity) != NULL)
        return error_explain(ERROR_EXISTS, "'%s' has what this stream brings already, as '%s@%s'", object->name,
                             object->name, snapshot_by_identity(object, request->identity)->name);
    if (wanted == NULL)
        return error_explain(ERROR_FOREIGN,
                             "the stream goes on from a snapshot that '%s' does not have: it is of another object, or "
                             "what comes before it was not imported",
                             object->name);
    if (wanted != newest)
        return error_explain(ERROR_FOREIGN,
                             "the stream goes on from '%s@%s', but '%s' has a younger snapshot, '%s'", object->name,
                             wanted->name, object->name, newest->name);
    *base = wanted;
    return ERROR_NONE;
}

/* Where the stream is whole there must be no target, and *target is NULL. */
static enum error find_target(struct pool *pool, const struct import_request *request, struct object **target,
                              struct object **base)
{
    struct object *found;
    *target = *base = NULL;
    if (uuid_is_zero(request->base))
        return object_check_name_free(pool, request->object);
    TRY(object_find_living(pool, request->object, &found));
    if (object_is_snapshot(found) || !uuid_is_zero(found->import_stream))
        return error_explain(ERROR_INVALID, "'%s' is no object that can go on", request->object);
    TRY(check_base(found, request, base));
    if (object_table_snapshot(pool->table, found, request->snapshot) != NULL)
        return error_explain(ERROR_EXISTS, "'%s' has a snapshot '%s' already, and it is another one", found->name,
                             request->snapshot);
    TRY(object_check_closed(found, "gone on with"));
    TRY(object_check_whole(found));
    *target = found;
    return ERROR_NONE;
}

/* Under the lock: what was compared is what is there. */
static enum error check_target(struct pool *pool, const struct call *call, struct object **target, struct object **base)
{
    TRY(find_target(pool, call->request, target, base));
    if (*target == NULL)
        return ERROR_NONE;
    if (!comparison_stands(pool, &call->compared, *target, *base))
        return error_explain(ERROR_BUSY, "'%s' was in use while it was compared with '%s': try again", (*target)->name,
                             (*base)->name);
    return ERROR_NONE;
}

/* --keep would make a younger snapshot, and the stream is not taken then. */
static enum error explain_changed(struct pool *pool, const struct call *call)
{
    char text[VERSION_NAME_MAX + 1], uuid[UUID_TEXT_SIZE];
    uuid_format(call->compared.base_uuid, uuid); /* names may hold quotes */
    mutex_lock(&pool->lock);                     /* for the names */
    const struct object *base = object_table_uuid(pool->table, call->compared.base_uuid);
    enum error error =
        base == NULL || base->origin == NULL
            ? error_explain(ERROR_BUSY, "'%s' was in use while it was compared: try again", call->request->object)
            : error_explain(ERROR_FOREIGN,
                            "'%s' was written since '%s', from which the stream goes on: `%s object rollback %s --discard` "
                            "makes it again what it was then; what was written is lost unless it is cloned before",
                            base->origin->name, object_text(base, text), pool->command, uuid);
    mutex_unlock(&pool->lock);
    return error;
}

static enum error check_unchanged(struct pool *pool, const struct call *call)
{
    bool changed;
    TRY(comparison_run(pool, &call->compared, &changed));
    return changed ? explain_changed(pool, call) : ERROR_NONE;
}

/* Whether the target holds what its base does, where there is one. Both are open meanwhile, and whoever opens the target for
 * writing or changes it raises its revision. */
static enum error target_compare(struct pool *pool, struct call *call)
{
    struct object *target, *base;
    mutex_lock(&pool->lock);
    enum error error = object_check_changeable(pool);
    if (error == ERROR_NONE)
        error = find_target(pool, call->request, &target, &base);
    bool compares = error == ERROR_NONE && target != NULL;
    if (compares)
        call->compared = comparison_of(pool, target, base);
    mutex_unlock(&pool->lock);
    return compares ? check_unchanged(pool, call) : error;
}

static enum error check_request(const struct import_request *request)
{
    TRY(uuid_is_zero(request->base) ? object_name_check_new(request->object) : object_name_check(request->object));
    TRY(object_name_check_new(request->snapshot));
    if (uuid_is_zero(request->stream) || uuid_is_zero(request->identity) || request->size == 0 ||
        request->size % COFFER_BLOCK != 0 || request->size > OBJECT_SIZE_MAX || request->created > INT64_MAX)
        return error_explain(ERROR_INVALID, "the import asks for what cannot be");
    return ERROR_NONE;
}

/* ---- what is written to ---------------------------------------------------------------------------------------------- */

static struct object *import_find(struct pool *pool, struct uuid stream)
{
    for (struct object *object = pool->objects; object != NULL; object = object->next)
        if (!object_is_snapshot(object) && object_is_living(object) && uuid_equal(object->import_stream, stream))
            return object;
    return NULL;
}

static void import_describe(struct pool *pool, const struct import_request *request, struct object_document *document)
{
    char stream[UUID_TEXT_SIZE];
    uuid_format(request->stream, stream);
    *document = (struct object_document){
        .uuid = uuid_random(),
        .domain = pool->conf->pool,
        .group = pool->conf->groups[0].id,
        .size = request->size,
        .created = clock_seconds(),
        .state = OBJECT_LIVE,
        .import_stream = request->stream,
    };
    snprintf(document->name, sizeof document->name, "%s%s", IMPORT_NAME_PREFIX, stream);
}

/* A clone of the base; it gets its size afterwards, as what is cut off is freed. */
static enum error import_clone(struct operation *operation, const struct object *base, struct object_document *document)
{
    document->size = atomic_load(&base->size);
    document->domain = base->domain;
    TRY(object_take_component(operation->pool, &document->component));
    TRY(operation_enter(operation, document));
    operation_heir(operation, document, base->component);
    return operation_commit(operation);
}

static enum error import_make(struct operation *operation, const struct object *base, struct call *call)
{
    struct pool *pool = operation->pool;
    struct object_document document;
    import_describe(pool, call->request, &document);
    TRY(object_check_name_free(pool, document.name));
    TRY(base == NULL ? object_make(operation, &document) : import_clone(operation, base, &document));
    call->info = (struct import_info){.uuid = document.uuid};
    return ERROR_NONE;
}

static enum error import_take(struct operation *operation, void *context)
{
    struct call *call = context;
    struct object *target, *base, *found = import_find(operation->pool, call->request->stream);
    TRY(check_target(operation->pool, call, &target, &base));
    if (found == NULL)
        return import_make(operation, base, call);
    TRY(object_check_closed(found, "gone on with"));
    call->info = (struct import_info){.uuid = found->uuid, .position = found->import_position, .found = true};
    return ERROR_NONE;
}

enum error import_begin(struct pool *pool, const struct import_request *request, struct import_info *info)
{
    char name[UUID_TEXT_SIZE];
    struct call call = {.request = request};
    TRY(check_request(request));
    TRY(target_compare(pool, &call));
    TRY(operation_run(pool, import_take, &call));
    uuid_format(call.info.uuid, name);
    TRY(object_resize_import(pool, name, request->size, request->stream));
    *info = call.info;
    return ERROR_NONE;
}

/* ---- on the way ------------------------------------------------------------------------------------------------------ */

enum error import_is_gone(void)
{
    return error_explain(ERROR_NOT_FOUND, "the import of this stream is gone: somebody deleted or finished it");
}

static enum error find_import(struct pool *pool, struct uuid uuid, struct object **object)
{
    struct object *found = object_table_uuid(pool->table, uuid);
    if (found == NULL || !object_is_living(found) || uuid_is_zero(found->import_stream))
        return import_is_gone();
    *object = found;
    return ERROR_NONE;
}

static enum error mark(struct pool *pool, struct uuid import, uint64_t position)
{
    struct object *object;
    struct object_document document;
    TRY(object_check_changeable(pool));
    TRY(find_import(pool, import, &object));
    if (position > atomic_load(&object->size))
        return error_explain(ERROR_INVALID, "'%s' has not so many bytes", object->name);
    object_describe(pool, object, &document);
    document.import_position = position;
    TRY(catalog_store(pool, object->slot, &document));
    object_adopt(pool, object, &document);
    return ERROR_NONE;
}

enum error import_mark(struct pool *pool, struct uuid import, uint64_t position)
{
    mutex_lock(&pool->lock);
    enum error error = mark(pool, import, position);
    mutex_unlock(&pool->lock);
    return error;
}

/* ---- adoption -------------------------------------------------------------------------------------------------------- */

/* The snapshot that the stream brings, of what `made` holds. */
static struct object_document document_brought(struct pool *pool, const struct import_request *request,
                                               const struct object *made, struct uuid origin)
{
    struct object_document brought = document_kept(pool, made, request->snapshot);
    brought.origin = origin;
    brought.created = request->created;
    brought.identity = request->identity;
    return brought;
}

static void import_clear(struct object_document *document)
{
    document->import_stream = (struct uuid){{0}};
    document->import_position = 0;
}

/* What was written to is the target from now on. */
static enum error adopt_as_new(struct operation *operation, const struct import_request *request, struct object *made)
{
    struct pool *pool = operation->pool;
    struct object_document brought = document_brought(pool, request, made, made->uuid), moved;
    object_describe(pool, made, &moved);
    import_clear(&moved);
    memset(moved.name, 0, sizeof moved.name);
    memcpy(moved.name, request->object, strlen(request->object));
    TRY(operation_renew(operation, made));
    TRY(operation_enter(operation, &brought));
    TRY(object_take_component(pool, &moved.component));
    TRY(operation_move(operation, made, &moved, brought.component));
    TRY(operation_commit(operation));
    object_adopt(pool, made, &moved);
    return ERROR_NONE;
}

/* The snapshot is a component of the target that begins as what was written to, and so does what the target goes on as: a
 * component cannot begin as one that the same commit makes. What was written to is deleted. */
static enum error adopt_as_next(struct operation *operation, const struct import_request *request, struct object *made,
                                struct object *target)
{
    struct pool *pool = operation->pool;
    struct object_document brought = document_brought(pool, request, made, target->uuid), moved, gone;
    struct object_document dropped = document_dropped(pool, target, "import"), owner = brought;
    object_describe(pool, target, &moved);
    object_describe(pool, made, &gone);
    moved.size = brought.size;
    moved.reserve = MIN(moved.reserve, moved.size);
    gone.state = OBJECT_DELETING;
    gone.deleted = clock_seconds();
    gone.reserve = 0;
    import_clear(&gone);
    TRY(operation_renew(operation, target));
    TRY(object_take_component(pool, &brought.component));
    TRY(object_take_component(pool, &moved.component));
    owner.uuid = target->uuid;
    owner.component = brought.component;
    TRY(operation_enter(operation, &dropped));
    TRY(operation_enter(operation, &brought));
    operation_heir(operation, &owner, made->component);
    TRY(operation_document(operation, made->slot, &gone));
    TRY(operation_move(operation, target, &moved, made->component));
    TRY(operation_commit(operation));
    object_adopt(pool, target, &moved);
    object_adopt(pool, made, &gone);
    return ERROR_NONE;
}

static enum error import_adopt(struct operation *operation, void *context)
{
    struct call *call = context;
    struct pool *pool = operation->pool;
    const struct import_request *request = call->request;
    struct object *made, *target, *base;
    TRY(find_import(pool, call->info.uuid, &made));
    if (!uuid_equal(made->import_stream, request->stream))
        return import_is_gone();
    TRY(object_check_closed(made, "adopted"));
    TRY(object_check_whole(made));
    if (snapshot_newest(made) != NULL || atomic_load(&made->size) != request->size)
        return error_explain(ERROR_INVALID, "'%s' was changed while it was imported: delete it and begin again",
                             made->name);
    TRY(check_target(pool, call, &target, &base));
    TRY(target == NULL ? adopt_as_new(operation, request, made) : adopt_as_next(operation, request, made, target));
    call->object = target == NULL ? made->uuid : target->uuid;
    return ERROR_NONE;
}

enum error import_finish(struct pool *pool, const struct import_request *request, struct uuid import, struct uuid *object)
{
    struct call call = {.request = request, .info.uuid = import};
    TRY(check_request(request));
    TRY(target_compare(pool, &call));
    TRY(operation_run(pool, import_adopt, &call));
    *object = call.object;
    return ERROR_NONE;
}
