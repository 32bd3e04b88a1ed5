/*
 * The janitor: one thread that empties the trash when its time has come, frees what was deleted, and finishes what a
 * crash cut off a shrink. Each is one trim of a whole range; what the range held goes onto the group's release list,
 * and merges take it apart.
 *
 * What it has to do stands in the catalog before it begins and leaves it only when all is done: `deleting` until the
 * slot is emptied in the same commit that marks the component deleted, `cut` until its blocks are gone. The trim comes
 * before that commit in the log. So a crash anywhere only makes it begin anew.
 *
 * A deleted object takes its snapshots with it: they go first, whatever their own documents say, and it goes when none is
 * left. What a component without a map falls back to is not emptied before a merge has given that one a map; who still reads
 * in a view from before that asks nothing that comes afterwards (group/view.h).
 *
 * Locks: pool->lock, but for the trims. What is being freed is nobody else's and stays in place meanwhile; what
 * somebody else is cutting (object.c) is passed by until that is done, even where it was deleted.
 */
#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "engine/group/view.h"
#include "engine/pool/object_table.h"

#define WAIT_MAX    (60 * CLOCK_SECOND) /* the clock may be set meanwhile, also for a moment (steady.h) */
#define WAIT_FAILED (10 * CLOCK_SECOND) /* after what could not be done */

/* ---- freeing -------------------------------------------------------------------------------------------------------
 */

static bool is_stopping(struct group *group, void *context)
{
    const struct pool *pool = context;
    (void)group;
    return atomic_load(&pool->janitor_stopping);
}

/* Nobody comes to fall back to what is being deleted, so those that do have maps afterwards. A merge may take long, or wait
 * for space below without end, and the janitor is the first that a lock or a close stops: it does not wait with it. */
static enum error heirs_settle(struct pool *pool, const struct object *object) REQUIRES(pool->lock)
{
    enum error error = ERROR_NONE;
    mutex_unlock(&pool->lock);
    if (view_has_heirs(pool->group, object->component))
        error = group_publish_unless(pool->group, is_stopping, pool);
    mutex_lock(&pool->lock);
    return error != ERROR_NONE || !atomic_load(&pool->janitor_stopping) ? error : ERROR_INTERRUPTED;
}

static enum error object_free(struct pool *pool, struct object *object) REQUIRES(pool->lock)
{
    TRY(heirs_settle(pool, object));
    mutex_unlock(&pool->lock);
    enum error error = component_trim(pool, object->component, 0, OBJECT_SIZE_MAX / COFFER_BLOCK, NULL);
    mutex_lock(&pool->lock);
    return error != ERROR_NONE ? error : catalog_remove(pool, object);
}

/* ---- what there is to do --------------------------------------------------------------------------------------------
 */

static bool is_expired(const struct pool *pool, const struct object *object, uint64_t now)
{
    return object->deleted != 0 && !object->deleting && object_purge_time(pool, object) <= now;
}

/* A snapshot also with its object. */
static bool is_gone(const struct object *object)
{
    return object->deleting || (object->origin != NULL && object->origin->deleting);
}

static bool has_work(const struct pool *pool, const struct object *object, uint64_t now)
{
    bool free = is_gone(object) && object->snapshots == NULL;
    bool wanted = free || (!object->deleting && (object->cut != 0 || is_expired(pool, object, now)));
    return wanted && !object->cutting && object->open_count == 0 && object->retry_at <= clock_monotonic();
}

static enum error doom_expired(struct pool *pool, struct object *object) REQUIRES(pool->lock)
{
    TRY(version_check_deletable(pool, object));
    return object_doom(pool, object);
}

static enum error work(struct pool *pool, struct object *object) REQUIRES(pool->lock)
{
    if (is_gone(object))
        return object_free(pool, object);
    if (is_expired(pool, object, pool_clock(pool)))
        return doom_expired(pool, object);
    return object_cut(pool, object);
}

static struct object *next_with_work(struct pool *pool)
{
    uint64_t now = pool_clock(pool);
    struct object *object = pool->objects;
    while (object != NULL && !has_work(pool, object, now))
        object = object->next;
    return object;
}

static uint64_t wait_time(struct pool *pool)
{
    uint64_t now = pool_clock(pool), wait = WAIT_MAX;
    for (const struct object *object = pool->objects; object != NULL; object = object->next) {
        uint64_t purge = object->deleted && !object->deleting ? object_purge_time(pool, object) : UINT64_MAX;
        if (purge - now < WAIT_MAX / CLOCK_SECOND)
            wait = MIN(wait, (purge - now) * CLOCK_SECOND);
        if (object->retry_at != 0)
            wait = MIN(wait, WAIT_FAILED);
    }
    return wait;
}

/* ---- the thread
 * ------------------------------------------------------------------------------------------------------ */

static void wait_for(struct pool *pool, uint64_t time) REQUIRES(pool->lock)
{
    if (!atomic_load(&pool->janitor_stopping))
        condition_wait_until(&pool->janitor_wake, &pool->lock, clock_monotonic() + time);
}

/* Told once; one object that cannot be freed does not keep the others waiting. */
static void put_off(struct object *object, enum error error)
{
    char name[VERSION_NAME_MAX + 1];
    if (error != ERROR_INTERRUPTED && error != ERROR_FENCED && object->retry_at == 0)
        message(MESSAGE_WARNING, "'%s' could not be freed: %s; it is tried again", object_text(object, name),
                error_sentence(error));
    object->retry_at = clock_monotonic() + WAIT_FAILED;
}

static void janitor_run(void *argument)
{
    struct pool *pool = argument;
    thread_lower_priority();
    mutex_lock(&pool->lock);
    while (!atomic_load(&pool->janitor_stopping)) {
        struct object *object = next_with_work(pool);
        if (object == NULL) {
            wait_for(pool, wait_time(pool));
            continue;
        }
        enum error error = work(pool, object);
        if (error != ERROR_NONE)
            put_off(object, error);
    }
    mutex_unlock(&pool->lock);
}

enum error janitor_start(struct pool *pool)
{
    ASSERT(!pool->janitor_running);
    atomic_store(&pool->janitor_stopping, false);
    TRY(thread_start(&pool->janitor, "janitor", janitor_run, pool));
    pool->janitor_running = true;
    return ERROR_NONE;
}

void janitor_stop(struct pool *pool)
{
    if (!pool->janitor_running)
        return;
    mutex_lock(&pool->lock);
    atomic_store(&pool->janitor_stopping, true);
    condition_broadcast(&pool->janitor_wake);
    mutex_unlock(&pool->lock);
    thread_join(&pool->janitor);
    pool->janitor_running = false;
}
