/*
 * Opening and closing volumes. While an object is open it can be neither deleted nor made smaller, and the pool neither
 * closed nor locked, so the data path may use both without a lock. Of who only looks the second is waited for instead:
 * whoever may look could else keep the pool from being locked, by one look after the other.
 *
 * The last close of an object makes what was answered durable, as pulling a disk's cable would not; before that a crash
 * may lose what no flush covered. Locks: pool->lock; not held while the flush runs.
 */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/message.h"
#include "engine/pool/object_table.h"

static enum error check_openable(struct pool *pool, const char *name, bool read_only, struct object **object)
{
    struct object *found;
    TRY(pool_check_usable(pool));
    TRY(object_find_living(pool, name, &found));
    if (object_is_snapshot(found) && !read_only)
        return error_explain(ERROR_READ_ONLY, "'%s' is a snapshot: it can only be read", found->name);
    if (pool->read_only && !read_only)
        return error_explain(ERROR_READ_ONLY, "pool %s is open read-only, and so is '%s'", pool->directory,
                             found->name);
    *object = found;
    return ERROR_NONE;
}

/* `*count` of the pool's counts is the one that it is in. */
static enum error open_in(struct pool *pool, unsigned *count, const char *name, bool read_only, struct volume **out)
{
    struct volume *volume = memory_zeroed(1, sizeof *volume);
    if (volume == NULL)
        return ERROR_NO_MEMORY;
    mutex_lock(&pool->lock);
    enum error error = check_openable(pool, name, read_only, &volume->object);
    if (error == ERROR_NONE) {
        volume->object->open_count++;
        volume->object->revision += !read_only;
        (*count)++;
    }
    mutex_unlock(&pool->lock);
    if (error != ERROR_NONE) {
        free(volume);
        return error;
    }
    volume->pool = pool;
    volume->count = count;
    volume->read_only = read_only;
    *out = volume;
    return ERROR_NONE;
}

enum error volume_open(struct pool *pool, const char *name, bool read_only, struct volume **out)
{
    return open_in(pool, &pool->volume_count, name, read_only, out);
}

enum error volume_look(struct pool *pool, const char *name, struct volume **out)
{
    return open_in(pool, &pool->group_users, name, true, out);
}

static void flush(struct pool *pool, const char *name)
{
    enum error error = group_is_fenced(pool->group) ? ERROR_FENCED : group_sync(pool->group);
    if (error != ERROR_NONE)
        message(MESSAGE_ERROR, "'%s' was closed, but its last writes are not durable: %s", name, error_sentence(error));
}

void volume_close(struct volume *volume)
{
    struct pool *pool = volume->pool;
    char name[VERSION_NAME_MAX + 1];
    mutex_lock(&pool->lock);
    ASSERT(volume->object->open_count > 0 && *volume->count > 0);
    bool last = --volume->object->open_count == 0 && !object_is_snapshot(volume->object);
    object_text(volume->object, name);
    mutex_unlock(&pool->lock);
    if (last && !pool->read_only)
        flush(pool, name);
    /* From here on the pool can be locked, and then no thread may have keys or contents of disks. */
    pool_thread_end();
    mutex_lock(&pool->lock);
    (*volume->count)--;
    condition_broadcast(&pool->group_left);
    mutex_unlock(&pool->lock);
    free(volume);
}

uint64_t volume_size(const struct volume *volume)
{
    return atomic_load(&volume->object->size);
}

struct uuid volume_uuid(const struct volume *volume)
{
    return volume->object->uuid;
}
