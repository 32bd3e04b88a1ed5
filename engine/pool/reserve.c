/*
 * Reservations of objects: promises that stand in the catalog (`reserve`), and what the group holds for them
 * (group/reservation.h).
 *
 * A promise that becomes larger, or that begins anew because what the object stores is shared from now on, is given only
 * where it fits beside what is stored and what others were promised. It is held before the document is stored, so nobody takes
 * the space meanwhile, and let go of where that fails. A smaller one is stored first. After a crash the documents say
 * what holds; what is stored counts against it as the component table says.
 *
 * Locks: pool->lock, then the group's.
 */
#include "base/memory.h"
#include "base/size.h"
#include "engine/pool/object_table.h"

static uint64_t blocks_of(uint64_t bytes)
{
    return bytes / COFFER_BLOCK;
}

/* What the object stores, by the trees, with the group's lock taken: nothing was published since. `anew`: none of it counts. */
static struct reservation_figures figures_take(struct pool *pool, const struct object *object, bool anew)
    ACQUIRE(pool->group->lock)
{
    struct reservation_figures figures = {.component = object->component};
    if (!anew)
        figures = reservation_look(pool->group, object->component);
    mutex_lock(&pool->group->lock);
    while (!reservation_is_current(pool->group, &figures)) {
        mutex_unlock(&pool->group->lock);
        figures = reservation_look(pool->group, object->component);
        mutex_lock(&pool->group->lock);
    }
    return figures;
}

/* Holds, if it fits; else tells how much does. */
static bool hold(struct pool *pool, struct object *object, uint64_t blocks, uint64_t object_blocks, bool anew, uint64_t *most)
{
    struct group *group = pool->group;
    struct reservation_figures figures = figures_take(pool, object, anew);
    *most = reservation_most(group, &object->reservation, object_blocks, &figures);
    bool fits = blocks <= *most;
    if (fits)
        reservation_set(group, &object->reservation, blocks, object_blocks, &figures);
    mutex_unlock(&pool->group->lock);
    return fits;
}

/* The first publish counts what died and is still taken for used, the second what the first released. */
static enum error hold_patiently(struct pool *pool, struct object *object, uint64_t blocks, uint64_t object_blocks, bool anew,
                                 uint64_t *most)
{
    for (unsigned tries = 0;; tries++) {
        if (hold(pool, object, blocks, object_blocks, anew, most))
            return ERROR_NONE;
        if (tries == 2)
            return ERROR_NO_SPACE;
        TRY(group_publish_needed(pool->group));
    }
}

void reserve_apply(struct pool *pool, struct object *object)
{
    struct reservation_figures figures = figures_take(pool, object, object->reserve == 0);
    reservation_set(pool->group, &object->reservation, blocks_of(object->reserve), blocks_of(object->size), &figures);
    mutex_unlock(&pool->group->lock);
}

enum error reserve_hold(struct pool *pool, struct object *object, uint64_t reserve, uint64_t size)
{
    char wanted[32], fits[32];
    uint64_t most = 0;
    enum error error = hold_patiently(pool, object, blocks_of(reserve), blocks_of(size), false, &most);
    if (error != ERROR_NO_SPACE)
        return error;
    return error_explain(ERROR_NO_SPACE, "%s cannot be reserved for '%s': beside what is stored and reserved for others %s fit",
                         size_format(reserve, wanted, sizeof wanted), object->name,
                         size_format(most * COFFER_BLOCK, fits, sizeof fits));
}

enum error reserve_renew(struct pool *pool, struct object *object)
{
    char reserved[32], fits[32];
    uint64_t most = 0;
    if (object->reserve == 0)
        return ERROR_NONE;
    enum error error =
        hold_patiently(pool, object, blocks_of(object->reserve), blocks_of(object->size), true, &most);
    if (error != ERROR_NO_SPACE)
        return error;
    return error_explain(ERROR_NO_SPACE,
                         "'%s' has %s reserved, which it may write once more when what it holds is kept, and only %s fit: "
                         "make room, or reserve less (`%s object reserve`)",
                         object->name, size_format(object->reserve, reserved, sizeof reserved),
                         size_format(most * COFFER_BLOCK, fits, sizeof fits), pool->command);
}

uint64_t reserve_missing(struct pool *pool, const struct object *object)
{
    mutex_lock(&pool->group->lock);
    uint64_t held = reservations_held(pool->group, NULL) - reservations_held(pool->group, &object->reservation);
    mutex_unlock(&pool->group->lock);
    return held;
}

enum error reserve_check(const char *name, uint64_t reserve, uint64_t size)
{
    if (reserve % COFFER_BLOCK != 0)
        return error_explain(ERROR_INVALID, "what is reserved must be a multiple of %d bytes, %llu is not", COFFER_BLOCK,
                             (unsigned long long)reserve);
    if (reserve > size)
        return error_explain(ERROR_INVALID, "'%s' has %llu bytes: no more can be reserved for it", name,
                             (unsigned long long)size);
    return ERROR_NONE;
}

static enum error reserve(struct pool *pool, const char *name, uint64_t bytes)
{
    struct object *object;
    struct object_document document;
    char text[VERSION_NAME_MAX + 1];
    TRY(object_check_changeable(pool));
    TRY(object_find_living(pool, name, &object));
    if (object_is_snapshot(object))
        return error_explain(ERROR_INVALID, "'%s' is a snapshot and cannot have anything reserved",
                             object_text(object, text));
    uint64_t wanted = bytes == OBJECT_RESERVE_FULL ? object->size : bytes;
    TRY(reserve_check(object->name, wanted, object->size));
    if (wanted == object->reserve)
        return ERROR_NONE;
    if (wanted > object->reserve)
        TRY(reserve_hold(pool, object, wanted, object->size));
    object_describe(pool, object, &document);
    document.reserve = wanted;
    enum error error = catalog_store(pool, object->slot, &document);
    if (error == ERROR_NONE)
        object_adopt(pool, object, &document);
    else
        reserve_apply(pool, object);
    return error;
}

enum error object_reserve(struct pool *pool, const char *name, uint64_t bytes)
{
    mutex_lock(&pool->lock);
    enum error error = reserve(pool, name, bytes);
    mutex_unlock(&pool->lock);
    return error;
}
