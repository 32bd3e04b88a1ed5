/*
 * The engine in memory. `lock` guards everything, the bytes of the objects too; the answers are given outside of it.
 */
#include "tests/unit/nbd_engine.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"

#define OBJECTS        512
#define GIVEN_UP_AFTER (10 * CLOCK_MILLISECOND) /* since the call began: as the engine on disks */

struct memory_object {
    char name[VERSION_NAME_MAX + 1];
    uint64_t size;
    uint8_t *data;
    bool in_trash, removed;
};

struct pool {
    struct mutex lock;
    struct condition changed;
    struct memory_object objects[OBJECTS];
    size_t object_count;
    bool locked, empty, solid, held[REQUEST_CACHE + 1];
    unsigned waiting[REQUEST_CACHE + 1], executing;
    enum error errors[REQUEST_CACHE + 1];
    const char *sentence;
    struct nbd_engine_counts counts;
};

struct volume {
    struct pool *pool;
    struct memory_object *object;
};

struct pool *nbd_engine_create(void)
{
    struct pool *pool = memory_zeroed(1, sizeof(*pool));
    ASSERT(pool);
    mutex_init(&pool->lock, RANK_POOL);
    condition_init(&pool->changed);
    return pool;
}

void nbd_engine_destroy(struct pool *pool)
{
    ASSERT(pool->counts.open_volumes == 0);
    for (size_t i = 0; i < pool->object_count; i++)
        memory_unmap(pool->objects[i].data, pool->objects[i].size);
    condition_deinit(&pool->changed);
    mutex_deinit(&pool->lock);
    free(pool);
}

void nbd_engine_add(struct pool *pool, const char *name, uint64_t size, bool in_trash)
{
    ASSERT(pool->object_count < OBJECTS && strlen(name) <= VERSION_NAME_MAX);
    struct memory_object *object = &pool->objects[pool->object_count++];
    memcpy(object->name, name, strlen(name) + 1);
    object->size = size;
    object->in_trash = in_trash;
    object->data = memory_map(size);
    ASSERT(object->data);
}

static struct uuid uuid_of(const struct pool *pool, const struct memory_object *object)
{
    return (struct uuid){{0xab, (uint8_t)(object - pool->objects), (uint8_t)((object - pool->objects) >> 8)}};
}

static bool is_called(const struct pool *pool, const struct memory_object *object, const char *name)
{
    char uuid[UUID_TEXT_SIZE];
    uuid_format(uuid_of(pool, object), uuid);
    return !object->removed && (strcmp(object->name, name) == 0 || strcmp(uuid, name) == 0);
}

static struct memory_object *find(struct pool *pool, const char *name)
{
    for (size_t i = 0; i < pool->object_count; i++)
        if (is_called(pool, &pool->objects[i], name))
            return &pool->objects[i];
    return NULL;
}

void nbd_engine_remove(struct pool *pool, const char *name)
{
    find(pool, name)->removed = true;
}

uint8_t *nbd_engine_data(struct pool *pool, const char *name)
{
    return find(pool, name)->data;
}

void nbd_engine_lock(struct pool *pool, bool locked)
{
    mutex_lock(&pool->lock);
    pool->locked = locked;
    mutex_unlock(&pool->lock);
}

void nbd_engine_explain(struct pool *pool, const char *sentence)
{
    pool->sentence = sentence;
}

void nbd_engine_fail(struct pool *pool, enum request_type type, enum error error)
{
    mutex_lock(&pool->lock);
    pool->errors[type] = error;
    mutex_unlock(&pool->lock);
}

void nbd_engine_solid(struct pool *pool, bool solid)
{
    mutex_lock(&pool->lock);
    pool->solid = solid;
    mutex_unlock(&pool->lock);
}

void nbd_engine_empty(struct pool *pool, bool empty)
{
    pool->empty = empty;
}

static void hold(struct pool *pool, enum request_type type, bool held)
{
    mutex_lock(&pool->lock);
    pool->held[type] = held;
    condition_broadcast(&pool->changed);
    mutex_unlock(&pool->lock);
}

static void wait_waiting(struct pool *pool, enum request_type type, unsigned count)
{
    mutex_lock(&pool->lock);
    while (pool->waiting[type] < count)
        condition_wait(&pool->changed, &pool->lock);
    mutex_unlock(&pool->lock);
}

void nbd_engine_hold_flushes(struct pool *pool, bool held)
{
    hold(pool, REQUEST_FLUSH, held);
}

void nbd_engine_wait_flushes(struct pool *pool, unsigned count)
{
    wait_waiting(pool, REQUEST_FLUSH, count);
}

void nbd_engine_hold_writes(struct pool *pool, bool held)
{
    hold(pool, REQUEST_WRITE, held);
}

void nbd_engine_wait_writes(struct pool *pool, unsigned count)
{
    wait_waiting(pool, REQUEST_WRITE, count);
}

void nbd_engine_hold_caches(struct pool *pool, bool held)
{
    hold(pool, REQUEST_CACHE, held);
}

void nbd_engine_wait_caches(struct pool *pool, unsigned count)
{
    wait_waiting(pool, REQUEST_CACHE, count);
}

struct nbd_engine_counts nbd_engine_counts(struct pool *pool)
{
    mutex_lock(&pool->lock);
    struct nbd_engine_counts counts = pool->counts;
    mutex_unlock(&pool->lock);
    return counts;
}

/* ---- engine/coffer.h ------------------------------------------------------------------------------------------- */

static bool is_snapshot(const struct memory_object *object)
{
    return strchr(object->name, '@') != NULL;
}

static struct object_info info_of(const struct pool *pool, const struct memory_object *object)
{
    struct object_info info = {.uuid = uuid_of(pool, object),
                               .size = object->size,
                               .snapshot = is_snapshot(object),
                               .deleted = object->in_trash ? 1 : 0};
    memcpy(info.name, object->name, sizeof(info.name));
    return info;
}

const char *pool_command(const struct pool *pool)
{
    (void)pool;
    return "coffer -C /srv/pool";
}

static enum error check_unlocked(struct pool *pool)
{
    mutex_lock(&pool->lock);
    bool locked = pool->locked;
    mutex_unlock(&pool->lock);
    return locked ? error_explain(ERROR_LOCKED, "type `%s unlock`", pool_command(pool)) : ERROR_NONE;
}

enum error object_list(struct pool *pool, struct object_info **infos, size_t *count)
{
    TRY(check_unlocked(pool));
    struct object_info *list = memory_zeroed(pool->object_count + 1, sizeof(*list));
    ASSERT(list);
    *count = 0;
    for (size_t i = 0; i < pool->object_count; i++)
        if (!is_snapshot(&pool->objects[i]))
            list[(*count)++] = info_of(pool, &pool->objects[i]);
    *infos = list;
    return ERROR_NONE;
}

static struct snapshot_info snapshot_info_of(const struct pool *pool, const struct memory_object *object)
{
    struct snapshot_info info = {.uuid = uuid_of(pool, object), .size = object->size};
    size_t length = strcspn(object->name, "@");
    memcpy(info.name, object->name, sizeof(info.name));
    snprintf(info.object, sizeof(info.object), "%.*s", (int)length, object->name);
    snprintf(info.snapshot, sizeof(info.snapshot), "%s", object->name + length + 1);
    return info;
}

enum error snapshot_find(struct pool *pool, const char *name, struct snapshot_info *info)
{
    TRY(check_unlocked(pool));
    const struct memory_object *object = find(pool, name);
    if (!object || !is_snapshot(object))
        return error_explain(ERROR_NOT_FOUND, "there is no snapshot \"%s\"", name);
    *info = snapshot_info_of(pool, object);
    return ERROR_NONE;
}

enum error snapshot_list(struct pool *pool, const char *object, const struct snapshot_part *part, struct snapshot_info **infos,
                         size_t *count)
{
    ASSERT(part->after == NULL && part->newest && part->most > 0);
    TRY(check_unlocked(pool));
    struct snapshot_info *list = memory_zeroed(pool->object_count + 1, sizeof(*list));
    ASSERT(list);
    *count = 0;
    for (size_t i = 0; i < pool->object_count; i++) {
        if (!is_snapshot(&pool->objects[i]) || pool->objects[i].removed)
            continue;
        list[*count] = snapshot_info_of(pool, &pool->objects[i]);
        *count += strcmp(list[*count].object, object) == 0;
    }
    size_t most = MIN(*count, part->most);
    memmove(list, list + *count - most, most * sizeof(*list));
    *count = most;
    *infos = list;
    return ERROR_NONE;
}

enum error object_find(struct pool *pool, const char *name, struct object_info *info)
{
    TRY(check_unlocked(pool));
    const struct memory_object *object = find(pool, name);
    mutex_lock(&pool->lock);
    pool->counts.looks++;
    mutex_unlock(&pool->lock);
    if (!object)
        return error_explain(ERROR_NOT_FOUND, "there is no object \"%s\"", name);
    *info = info_of(pool, object);
    return ERROR_NONE;
}

enum error volume_open(struct pool *pool, const char *name, bool read_only, struct volume **volume)
{
    (void)read_only;
    TRY(check_unlocked(pool));
    struct memory_object *object = find(pool, name);
    if (!object || object->in_trash)
        return error_explain(ERROR_NOT_FOUND, "there is no object \"%s\"", name);
    struct volume *new = memory_zeroed(1, sizeof(*new));
    ASSERT(new);
    *new = (struct volume){pool, object};
    mutex_lock(&pool->lock);
    pool->counts.open_volumes++;
    mutex_unlock(&pool->lock);
    *volume = new;
    return ERROR_NONE;
}

void volume_close(struct volume *volume)
{
    mutex_lock(&volume->pool->lock);
    volume->pool->counts.open_volumes--;
    mutex_unlock(&volume->pool->lock);
    free(volume);
}

uint64_t volume_size(const struct volume *volume)
{
    return volume->object->size;
}

static void wait_while_held(struct pool *pool, enum request_type type) REQUIRES(pool->lock)
{
    pool->waiting[type]++;
    condition_broadcast(&pool->changed);
    while (pool->held[type])
        condition_wait(&pool->changed, &pool->lock);
    pool->waiting[type]--;
}

static void run(struct volume *volume, const struct request *request) REQUIRES(volume->pool->lock)
{
    uint8_t *at = volume->object->data + request->offset;
    if (request->type == REQUEST_READ)
        memcpy(request->data, at, request->length);
    if (request->type == REQUEST_WRITE)
        memcpy(at, request->data, request->length);
    if (request->type == REQUEST_ZERO || request->type == REQUEST_TRIM)
        memset(at, 0, request->length);
}

static void count(struct pool *pool, const struct request *request) REQUIRES(pool->lock)
{
    pool->counts.requests++;
    pool->counts.of_type[request->type]++;
    pool->counts.fua += request->flags & REQUEST_FUA;
    pool->counts.cache_bytes += request->type == REQUEST_CACHE ? request->length : 0;
    pool->counts.last = request->type;
}

struct asker {
    request_wanted *wanted;
    void *context;
    uint64_t since;
};

static bool is_wanted(const struct asker *asker)
{
    bool waited = asker->wanted && clock_monotonic() - asker->since >= GIVEN_UP_AFTER;
    return !waited || asker->wanted(asker->context);
}

static void execute(struct volume *volume, struct request *request, const struct asker *asker)
{
    mutex_lock(&volume->pool->lock);
    count(volume->pool, request);
    request->error = volume->pool->errors[request->type];
    wait_while_held(volume->pool, request->type);
    if (request->type == REQUEST_WRITE && !is_wanted(asker)) {
        volume->pool->counts.unwanted++;
        request->error = ERROR_CLOSED;
    }
    if (request->error == ERROR_NONE)
        run(volume, request);
    mutex_unlock(&volume->pool->lock);
    if (request->error == ERROR_CORRUPT && volume->pool->sentence)
        error_explain(ERROR_CORRUPT, "%s", volume->pool->sentence);
    else if (request->error == ERROR_CORRUPT)
        error_explain(ERROR_CORRUPT, "the block at %lu is damaged in every copy", (unsigned long)request->offset);
}

static void enter(struct pool *pool, size_t size)
{
    mutex_lock(&pool->lock);
    pool->executing++;
    pool->counts.executes++;
    pool->counts.concurrent_max = MAX(pool->counts.concurrent_max, pool->executing);
    pool->counts.batch_max = MAX(pool->counts.batch_max, size);
    mutex_unlock(&pool->lock);
}

static void leave(struct pool *pool)
{
    mutex_lock(&pool->lock);
    pool->executing--;
    mutex_unlock(&pool->lock);
}

void volume_execute_while(struct volume *volume, struct request *requests, size_t size, request_answer *answer,
                          request_wanted *wanted, void *context)
{
    struct asker asker = {wanted, context, clock_monotonic()};
    ASSERT(size > 0 && size <= BATCH_REQUESTS_MAX);
    enter(volume->pool, size);
    for (size_t i = 0; i < size; i++) {
        if (!volume->pool->empty)
            execute(volume, &requests[i], &asker);
        else
            requests[i].error = ERROR_NONE;
        answer(&requests[i], context);
    }
    leave(volume->pool);
}

void volume_execute(struct volume *volume, struct request *requests, size_t size, request_answer *answer, void *context)
{
    volume_execute_while(volume, requests, size, answer, NULL, context);
}

static bool is_hole(const uint8_t *block)
{
    static const uint8_t zeros[COFFER_BLOCK];
    return memcmp(block, zeros, sizeof(zeros)) == 0;
}

enum error volume_extents(struct volume *volume, uint64_t offset, uint64_t length, struct extent *extents,
                          size_t capacity, size_t *extent_count)
{
    uint64_t at = ROUND_DOWN(offset, COFFER_BLOCK), end = ROUND_UP(offset + length, COFFER_BLOCK);
    size_t found = 0;
    mutex_lock(&volume->pool->lock);
    if (volume->pool->empty || volume->pool->solid) {
        uint64_t answered = volume->pool->empty ? end - at : MIN(end - at, EXTENT_DATA_MAX);
        volume->pool->counts.extent_bytes += answered;
        extents[found++] = (struct extent){answered, volume->pool->empty};
        at = end;
    }
    end = MIN(end, at + EXTENT_DATA_MAX);
    for (; at < end; at += COFFER_BLOCK) {
        bool hole = is_hole(volume->object->data + at);
        if (found > 0 && extents[found - 1].hole == hole) {
            extents[found - 1].length += COFFER_BLOCK;
            continue;
        }
        if (found == capacity)
            break;
        extents[found++] = (struct extent){COFFER_BLOCK, hole};
    }
    mutex_unlock(&volume->pool->lock);
    *extent_count = found;
    return ERROR_NONE;
}

/* Block by block, of two objects of one size. */
enum error volume_changes(struct volume *volume, struct volume *base, uint64_t offset, uint64_t length,
                          struct change_extent *extents, size_t capacity, size_t *extent_count)
{
    uint64_t at = ROUND_DOWN(offset, COFFER_BLOCK), end = ROUND_UP(offset + length, COFFER_BLOCK);
    size_t found = 0;
    mutex_lock(&volume->pool->lock);
    enum error error = volume->pool->errors[REQUEST_READ];
    if (volume->pool->empty && !error) {
        extents[found++] = (struct change_extent){end - at, CHANGE_NONE};
        at = end;
    }
    for (; at < end && !error; at += COFFER_BLOCK) {
        const uint8_t *now = volume->object->data + at, *before = base->object->data + at;
        enum change_kind kind = memcmp(now, before, COFFER_BLOCK) == 0 ? CHANGE_NONE
                                : is_hole(now)                         ? CHANGE_ZERO
                                                                       : CHANGE_DATA;
        if (found > 0 && extents[found - 1].kind == kind) {
            extents[found - 1].length += COFFER_BLOCK;
            continue;
        }
        if (found == capacity)
            break;
        extents[found++] = (struct change_extent){COFFER_BLOCK, kind};
    }
    mutex_unlock(&volume->pool->lock);
    *extent_count = found;
    return error ? error_explain(error, "the map of the disk cannot be read") : ERROR_NONE;
}
