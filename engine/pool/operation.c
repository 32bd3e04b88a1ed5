/*
 * Operations that make objects and versions (object.c, version.c, import.c). A crash leaves all of one or nothing, since
 * it is one commit in one append.
 *
 * Locks: pool->lock, held across the commit, which does not wait for space: in a full pool that may take half a minute,
 * in which nobody could look at an object or open one. So the operation is taken back, space is waited for without the
 * lock, and it begins anew with what there is then; nor is the lock held while links are waited for before it begins.
 */
#include "engine/pool/operation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/group/view.h"
#include "engine/pool/object_table.h"

#define SENTENCE_SIZE  1024
#define LINK_DEPTH_MAX (4 * LINK_DEPTH_DUE)

enum error operation_document(struct operation *operation, uint64_t slot, const struct object_document *document)
{
    void *bytes;
    size_t size;
    TRY(object_document_encode(document, &bytes, &size));
    ASSERT(operation->document_count < CATALOG_DOCUMENTS_MAX);
    operation->documents[operation->document_count++] = (struct catalog_document){slot, bytes, size};
    return ERROR_NONE;
}

enum error operation_enter(struct operation *operation, const struct object_document *document)
{
    struct pool *pool = operation->pool;
    uint64_t slot;
    struct object_document bare = *document;
    bare.reserve = 0;
    TRY(object_take_slot(pool, !uuid_is_zero(document->origin), &slot));
    TRY(catalog_enter(pool, slot, &bare));
    struct object *object = pool->table->slots[slot];
    operation->entered[operation->entered_count++] = object;
    if (document->reserve != 0)
        TRY(reserve_hold(pool, object, document->reserve, document->size));
    object->reserve = document->reserve;
    return operation_document(operation, slot, document);
}

enum error operation_renew(struct operation *operation, struct object *object)
{
    if (object->reserve == 0)
        return ERROR_NONE;
    TRY(reserve_renew(operation->pool, object));
    ASSERT(operation->renewed_count < SNAPSHOT_OBJECTS_MAX);
    operation->renewed[operation->renewed_count++] = object;
    return ERROR_NONE;
}

void operation_heir(struct operation *operation, const struct object_document *document, uint64_t base)
{
    operation->changes[operation->change_count++] = (struct component_change){
        .id = document->component,
        .base = base,
        .object = document->uuid,
        .domain = document->domain,
        .state = COMPONENT_LIVE,
    };
}

enum error operation_move(struct operation *operation, struct object *object, const struct object_document *moved,
                          uint64_t base)
{
    TRY(operation_document(operation, object->slot, moved));
    operation_heir(operation, moved, base);
    operation->moves[operation->move_count++] = (struct component_move){&object->component, moved->component};
    return ERROR_NONE;
}

enum error operation_commit(struct operation *operation)
{
    const struct catalog_changes all = {
        .documents = operation->documents,
        .document_count = operation->document_count,
        .changes = operation->changes,
        .change_count = operation->change_count,
        .moves = operation->moves,
        .move_count = operation->move_count,
        .frees = operation->frees,
        .at_once = true,
    };
    enum error error = catalog_commit_all(operation->pool, &all);
    operation->no_room = error == ERROR_NO_SPACE;
    TRY(error);
    for (size_t i = 0; i < operation->document_count; i++)
        operation->pool->slots_end = MAX(operation->pool->slots_end, operation->documents[i].slot + 1);
    return ERROR_NONE;
}

/* They go on as they are, so what they store counts against their promises again. The sentence of the error stays. */
static void renewals_take_back(struct pool *pool, struct operation *operation, enum error error) REQUIRES(pool->lock)
{
    char sentence[SENTENCE_SIZE];
    snprintf(sentence, sizeof sentence, "%s", error_sentence(error));
    for (size_t i = 0; i < operation->renewed_count; i++)
        reserve_apply(pool, operation->renewed[i]);
    if (operation->renewed_count)
        (void)error_explain(error, "%s", sentence);
}

/* Gives back what the operation holds, and where it failed what it entered. Returns `error`. */
static enum error end(struct pool *pool, struct operation *operation, enum error error) REQUIRES(pool->lock)
{
    for (size_t i = 0; i < operation->document_count; i++)
        free((void *)operation->documents[i].bytes);
    bool dropped = false;
    for (size_t i = 0; i < operation->entered_count; i++) {
        dropped |= operation->entered[i]->deleting;
        if (error)
            catalog_leave(pool, operation->entered[i]);
    }
    if (dropped) /* it looks at all objects: not at each snapshot */
        condition_signal(&pool->janitor_wake);
    if (operation->move_count || operation->change_count)
        group_links_changed(pool->group);
    if (error)
        renewals_take_back(pool, operation, error);
    return error;
}

/* Waits for something of the group, without the lock. */
static enum error await(struct pool *pool, enum error (*wait)(struct group *group, bool frees), bool frees) REQUIRES(pool->lock)
{
    pool_group_use(pool);
    enum error error = wait(pool->group, frees);
    pool_group_leave(pool);
    return error ? error : object_check_changeable(pool);
}

static enum error links_wait(struct group *group, bool frees)
{
    (void)frees;
    return group_links_await(group, LINK_DEPTH_MAX);
}

static enum error room_wait(struct group *group, bool frees)
{
    return group_wait_space(group, (struct commit_need){.class = frees ? COMMIT_FREES : COMMIT_GROWS});
}

static enum error run_once(struct pool *pool, struct operation *operation, operation_steps *steps, void *context)
    REQUIRES(pool->lock)
{
    *operation = (struct operation){.pool = pool};
    enum error error = object_check_changeable(pool);
    if (error == ERROR_NONE)
        error = await(pool, links_wait, false);
    if (error == ERROR_NONE)
        error = steps(operation, context);
    return end(pool, operation, error);
}

enum error operation_run(struct pool *pool, operation_steps *steps, void *context)
{
    AUTO_FREE struct operation *operation = malloc(sizeof *operation);
    if (operation == NULL)
        return ERROR_NO_MEMORY;
    mutex_lock(&pool->lock);
    enum error error = run_once(pool, operation, steps, context);
    while (operation->no_room && (error = await(pool, room_wait, operation->frees)) == ERROR_NONE)
        error = run_once(pool, operation, steps, context);
    if (operation->no_room && error == ERROR_NO_SPACE)
        error_explain(error, "%s: `%s health` tells how to make room", error_sentence(error), pool->command);
    mutex_unlock(&pool->lock);
    return error;
}

struct object_document document_kept(struct pool *pool, const struct object *object, const char *name)
{
    struct object_document kept;
    object_describe(pool, object, &kept);
    kept.uuid = uuid_random();
    kept.origin = object->uuid;
    kept.created = clock_seconds();
    kept.reserve = 0;
    kept.import_stream = (struct uuid){{0}};
    kept.import_position = 0;
    memset(kept.hosts, 0, sizeof kept.hosts);
    memset(kept.name, 0, sizeof kept.name);
    memcpy(kept.name, name, strlen(name));
    return kept;
}

struct object_document document_dropped(struct pool *pool, const struct object *object, const char *name)
{
    struct object_document dropped = document_kept(pool, object, name);
    dropped.state = OBJECT_DELETING;
    dropped.deleted = dropped.created;
    return dropped;
}

enum error object_check_whole(const struct object *object)
{
    if (object->cut != 0)
        return error_explain(ERROR_BUSY, "'%s' was made smaller and what was cut off is still being freed: try again later",
                             object->name);
    return ERROR_NONE;
}
