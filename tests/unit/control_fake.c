/* The engine of control_fake.h. Its rules for names and sizes are a few of the real one's, enough to be refused. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/control_fake.h"

#include "base/clock.h"
#include "base/memory.h"

struct fake_offline fake_offline;

struct pool *fake_create(void)
{
    struct pool *pool = calloc(1, sizeof(*pool));
    pthread_mutex_init(&pool->lock, NULL);
    pool->directory = "/nowhere";
    pool->status = (struct pool_status){
        .uuid = uuid_random(),
        .group_uuid = uuid_random(),
        .group_name = "g1",
        .encryption = true,
        .fingerprint = POOL_FINGERPRINT_XXH3,
        .device_count = 2,
        .raw_bytes = UINT64_C(20) << 30,
        .capacity_bytes = UINT64_C(18) << 30,
        .used_bytes = UINT64_C(3) << 30,
        .free_bytes = UINT64_C(15) << 30,
        .blocks_mapped = 1 << 20,
        .chunks_live = 1 << 19,
        .data_stored_bytes = UINT64_C(1) << 30,
        .meta_stored_bytes = UINT64_C(20) << 20,
        .memory_setting = 256 << 20,
        .memory_used = 90 << 20,
    };
    pool->changes_page = FAKE_OBJECTS_MAX;
    for (size_t i = 0; i < pool->status.device_count; i++) {
        pool->status.devices[i] = (struct device_info){.uuid = uuid_random(), .size = UINT64_C(10) << 30, .writes = 17};
        snprintf(pool->status.devices[i].path, sizeof(pool->status.devices[i].path), "/nowhere/disk%zu", i);
    }
    return pool;
}

void fake_destroy(struct pool *pool)
{
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

static struct object_info *add(struct pool *pool, const char *name, uint64_t size)
{
    ASSERT(pool->object_count < FAKE_OBJECTS_MAX);
    struct object_info *object = &pool->objects[pool->object_count++];
    *object = (struct object_info){.uuid = uuid_random(), .size = size, .created = 1700000000};
    snprintf(object->name, sizeof(object->name), "%s", name);
    return object;
}

struct object_info *fake_add(struct pool *pool, const char *name, uint64_t size)
{
    pthread_mutex_lock(&pool->lock);
    struct object_info *object = add(pool, name, size);
    pthread_mutex_unlock(&pool->lock);
    return object;
}

static struct object_info *find(struct pool *pool, const char *name)
{
    struct object_info *trashed = NULL;
    for (size_t i = 0; i < pool->object_count; i++) {
        struct object_info *object = &pool->objects[i];
        char uuid[UUID_TEXT_SIZE];
        uuid_format(object->uuid, uuid);
        if (strcmp(uuid, name) == 0 || (strcmp(object->name, name) == 0 && object->deleted == 0))
            return object;
        if (strcmp(object->name, name) == 0)
            trashed = object;
    }
    return trashed;
}

const char *pool_command(const struct pool *pool)
{
    (void)pool;
    return "coffer -C '/srv/a pool'";
}

const char *pool_directory(const struct pool *pool)
{
    return pool->directory;
}

static enum error locked(void)
{
    return error_explain(ERROR_LOCKED, "the pool is locked: type `coffer -C '/srv/a pool' unlock`");
}

static enum error enter(struct pool *pool, const char *name, struct object_info **object)
{
    pthread_mutex_lock(&pool->lock);
    if (pool->status.locked)
        return locked();
    *object = find(pool, name);
    return *object == NULL ? error_explain(ERROR_NOT_FOUND, "there is no object '%s'", name) : ERROR_NONE;
}

static enum error leave(struct pool *pool, enum error error)
{
    pthread_mutex_unlock(&pool->lock);
    return error;
}

enum error object_create_hosting(struct pool *pool, const char *name, uint64_t size, uint64_t reserve, const char *hosts,
                                 struct uuid *uuid)
{
    struct object_info *object;
    enum error error = enter(pool, name, &object);
    if (error == ERROR_NONE)
        return leave(pool, error_explain(ERROR_EXISTS, "'%s' exists already", name));
    if (error != ERROR_NOT_FOUND)
        return leave(pool, error);
    if (name[0] == '\0' || strpbrk(name, "@/") != NULL)
        return leave(pool, error_explain(ERROR_INVALID, "a name must not hold '@' or '/'"));
    if (size == 0 || size % COFFER_BLOCK != 0)
        return leave(pool, error_explain(ERROR_INVALID, "a size must be a multiple of 4096"));
    object = add(pool, name, size);
    object->reserved = reserve == OBJECT_RESERVE_FULL ? size : reserve;
    snprintf(object->hosts, sizeof(object->hosts), "%s", hosts != NULL ? hosts : "");
    *uuid = object->uuid;
    return leave(pool, ERROR_NONE);
}

enum error object_set_hosts(struct pool *pool, const char *name, const char *hosts)
{
    struct object_info *object;
    enum error error = enter(pool, name, &object);
    if (error == ERROR_NONE)
        snprintf(object->hosts, sizeof(object->hosts), "%s", hosts != NULL ? hosts : "");
    return leave(pool, error);
}

static struct snapshot_info *snapshot_of(struct pool *pool, const char *name);

enum error object_find(struct pool *pool, const char *name, struct object_info *info)
{
    struct object_info *object;
    enum error error = enter(pool, name, &object);
    const struct snapshot_info *snapshot = error == ERROR_NOT_FOUND ? snapshot_of(pool, name) : NULL;
    if (error == ERROR_NONE)
        *info = *object;
    if (snapshot == NULL)
        return leave(pool, error);
    *info = (struct object_info){.uuid = snapshot->uuid,
                                 .snapshot = true,
                                 .size = snapshot->size,
                                 .created = snapshot->created,
                                 .hold = snapshot->hold,
                                 .locked_until = snapshot->locked_until};
    memcpy(info->name, snapshot->name, sizeof(info->name));
    return leave(pool, ERROR_NONE);
}

static bool is_trashed_as(const struct object_info *object, const char *name)
{
    return object->deleted != 0 && !object->deleting && strcmp(object->name, name) == 0;
}

enum error object_find_trashed(struct pool *pool, const char *name, struct object_info *info)
{
    struct object_info *object;
    size_t count = 0;
    enum error error = enter(pool, name, &object);
    for (size_t i = 0; i < pool->object_count; i++)
        count += is_trashed_as(&pool->objects[i], name);
    if (error == ERROR_NONE && count > 1)
        error = error_explain(ERROR_INVALID, "%zu objects in the trash have the name '%s'", count, name);
    if (error == ERROR_NONE)
        *info = *object;
    return leave(pool, error);
}

enum error object_list(struct pool *pool, struct object_info **infos, size_t *count)
{
    pthread_mutex_lock(&pool->lock);
    if (pool->status.locked)
        return leave(pool, locked());
    *infos = calloc(pool->object_count + 1, sizeof(**infos));
    memcpy(*infos, pool->objects, pool->object_count * sizeof(**infos));
    *count = pool->object_count;
    return leave(pool, ERROR_NONE);
}

enum error object_rename(struct pool *pool, const char *name, const char *new_name)
{
    struct object_info *object;
    enum error error = enter(pool, name, &object);
    if (error == ERROR_NONE)
        snprintf(object->name, sizeof(object->name), "%s", new_name);
    return leave(pool, error);
}

enum error object_resize(struct pool *pool, const char *name, uint64_t size, bool shrink)
{
    struct object_info *object;
    enum error error = enter(pool, name, &object);
    if (error == ERROR_NONE && size < object->size && !shrink)
        error = error_explain(ERROR_UNCONFIRMED, "smaller than it is: say --shrink");
    if (error == ERROR_NONE)
        object->size = size;
    return leave(pool, error);
}

enum error object_reserve(struct pool *pool, const char *name, uint64_t bytes)
{
    struct object_info *object;
    enum error error = enter(pool, name, &object);
    if (error == ERROR_NONE)
        object->reserved = bytes == OBJECT_RESERVE_FULL ? object->size : bytes;
    if (error == ERROR_NONE && object->reserved > object->size)
        error = error_explain(ERROR_INVALID, "no more can be reserved");
    return leave(pool, error);
}

enum error object_delete(struct pool *pool, const char *name, bool now)
{
    struct object_info *object;
    enum error error = enter(pool, name, &object);
    if (error == ERROR_NONE && object->open_count > 0)
        error = error_explain(ERROR_BUSY, "'%s' is open", object->name);
    if (error != ERROR_NONE)
        return leave(pool, error);
    object->deleted = clock_seconds();
    object->purge_at = object->deleted + FAKE_TRASH_SECONDS;
    object->deleting = now;
    if (pool->trash_keeps_nothing)
        memset(object, 0, sizeof *object);
    return leave(pool, ERROR_NONE);
}

enum error object_restore(struct pool *pool, const char *name, const char *new_name)
{
    struct object_info *object;
    enum error error = enter(pool, name, &object);
    if (error != ERROR_NONE)
        return leave(pool, error);
    object->deleted = object->purge_at = 0;
    if (new_name != NULL)
        snprintf(object->name, sizeof(object->name), "%s", new_name);
    return leave(pool, ERROR_NONE);
}

/* ---- versions ------------------------------------------------------------------------------------------------------ */

static struct snapshot_info *snapshot_of(struct pool *pool, const char *name)
{
    for (size_t i = 0; i < pool->snapshot_count; i++) {
        char uuid[UUID_TEXT_SIZE];
        uuid_format(pool->snapshots[i].uuid, uuid);
        if (!pool->snapshots[i].deleting &&
            (strcmp(pool->snapshots[i].name, name) == 0 || strcmp(uuid, name) == 0))
            return &pool->snapshots[i];
    }
    return NULL;
}

static enum error snapshot_enter(struct pool *pool, const char *name, struct snapshot_info **snapshot)
{
    pthread_mutex_lock(&pool->lock);
    if (pool->status.locked)
        return locked();
    *snapshot = snapshot_of(pool, name);
    return *snapshot == NULL ? error_explain(ERROR_NOT_FOUND, "there is no snapshot '%s'", name) : ERROR_NONE;
}

enum error object_snapshot(struct pool *pool, const char *const *names, size_t count, const char *snapshot, bool hold,
                           uint64_t locked_until)
{
    for (size_t i = 0; i < count; i++) {
        struct object_info *object;
        enum error error = enter(pool, names[i], &object);
        if (error == ERROR_NONE && pool->snapshot_count == FAKE_OBJECTS_MAX)
            error = error_explain(ERROR_NO_SPACE, "there is no room for another snapshot");
        if (error == ERROR_NONE) {
            struct snapshot_info *made = &pool->snapshots[pool->snapshot_count++];
            *made = (struct snapshot_info){.uuid = {{0xee, (uint8_t)pool->snapshot_count}},
                                           .object_uuid = object->uuid,
                                           .size = object->size,
                                           .created = 1700000000,
                                           .hold = hold,
                                           .locked_until = locked_until};
            snprintf(made->name, sizeof(made->name), "%.200s@%s", object->name, snapshot);
            snprintf(made->object, sizeof(made->object), "%.200s", object->name);
            snprintf(made->snapshot, sizeof(made->snapshot), "%s", snapshot);
        }
        TRY(leave(pool, error));
    }
    return ERROR_NONE;
}

enum error snapshot_list(struct pool *pool, const char *object, const struct snapshot_part *part, struct snapshot_info **infos,
                         size_t *count)
{
    pthread_mutex_lock(&pool->lock);
    if (pool->snapshots_repeated > 0) {
        *count = MIN(pool->snapshots_repeated, part->most);
        *infos = calloc(*count, sizeof(**infos));
        for (size_t i = 0; i < *count; i++)
            (*infos)[i] = pool->snapshots[0];
        return leave(pool, ERROR_NONE);
    }
    const struct snapshot_info *after = part->after != NULL ? snapshot_of(pool, part->after) : NULL;
    if (part->after != NULL && (after == NULL || pool->lists_cut_off > 0)) {
        pool->lists_cut_off -= after != NULL;
        return leave(pool, error_explain(ERROR_NOT_FOUND, "there is no '%s'", part->after));
    }
    size_t first = after != NULL ? (size_t)(after - pool->snapshots) + 1 : 0, all = 0;
    *infos = calloc(pool->snapshot_count + 1, sizeof(**infos));
    *count = 0;
    for (size_t i = first; i < pool->snapshot_count; i++) {
        char uuid[UUID_TEXT_SIZE];
        uuid_format(pool->snapshots[i].object_uuid, uuid);
        bool listed = object == NULL || strcmp(pool->snapshots[i].object, object) == 0 || strcmp(uuid, object) == 0;
        if (!pool->snapshots[i].deleting && listed && (part->newest || all < part->most))
            (*infos)[all++] = pool->snapshots[i];
    }
    *count = MIN(all, part->most);
    memmove(*infos, *infos + all - *count, *count * sizeof(**infos));
    if (pool->lists_page > 0 && !part->newest)
        *count = MIN(*count, pool->lists_page);
    return leave(pool, ERROR_NONE);
}

enum error snapshot_find(struct pool *pool, const char *name, struct snapshot_info *info)
{
    struct snapshot_info *snapshot;
    enum error error = snapshot_enter(pool, name, &snapshot);
    if (error == ERROR_NONE)
        *info = *snapshot;
    return leave(pool, error);
}

enum error snapshot_delete(struct pool *pool, const char *name)
{
    struct snapshot_info *snapshot;
    enum error error = snapshot_enter(pool, name, &snapshot);
    if (error == ERROR_NONE && snapshot->hold)
        error = error_explain(ERROR_BUSY, "the snapshot '%s' is held", snapshot->name);
    if (error == ERROR_NONE)
        snapshot->deleting = true;
    return leave(pool, error);
}

enum error snapshot_protect(struct pool *pool, const char *name, enum snapshot_hold hold, uint64_t locked_until)
{
    struct snapshot_info *snapshot;
    enum error error = snapshot_enter(pool, name, &snapshot);
    if (error == ERROR_NONE) {
        snapshot->hold = hold == SNAPSHOT_HOLD_KEEP ? snapshot->hold : hold == SNAPSHOT_HOLD_SET;
        snapshot->locked_until = MAX(snapshot->locked_until, locked_until);
    }
    return leave(pool, error);
}

/* It holds what no snapshot has where something was changed. */
enum error object_rollback(struct pool *pool, const char *name, const char *keep, bool discard)
{
    struct snapshot_info *snapshot;
    enum error error = snapshot_enter(pool, name, &snapshot);
    pool->rolled_back = error == ERROR_NONE ? snapshot->object_uuid : (struct uuid){{0}};
    if (error == ERROR_NONE && keep == NULL && !discard && pool->change_count > 0)
        error = error_explain(ERROR_UNCONFIRMED, "'%s' holds what none of its snapshots has", snapshot->object);
    return leave(pool, error);
}

enum error object_clone(struct pool *pool, const char *name, const char *new_name, struct uuid *uuid)
{
    struct object_info *object;
    struct snapshot_info *snapshot = NULL;
    enum error error = enter(pool, name, &object);
    if (error == ERROR_NOT_FOUND && (snapshot = snapshot_of(pool, name)) != NULL)
        error = ERROR_NONE;
    if (error == ERROR_NONE)
        *uuid = add(pool, new_name, snapshot != NULL ? snapshot->size : object->size)->uuid;
    return leave(pool, error);
}

/* ---- imports ------------------------------------------------------------------------------------------------------- */

enum error import_begin(struct pool *pool, const struct import_request *request, struct import_info *info)
{
    struct object_info *object;
    enum error error = enter(pool, request->object, &object);
    if (error == ERROR_NONE && uuid_is_zero(request->base))
        return leave(pool, error_explain(ERROR_EXISTS, "'%s' exists already", request->object));
    if (error != ERROR_NONE && error != ERROR_NOT_FOUND)
        return leave(pool, error);
    object = find(pool, IMPORT_NAME_PREFIX "x");
    bool found = object != NULL && uuid_equal(pool->import.stream, request->stream);
    pool->import = *request;
    snprintf(pool->import_object, sizeof(pool->import_object), "%s", request->object);
    snprintf(pool->import_snapshot, sizeof(pool->import_snapshot), "%s", request->snapshot);
    if (!found) {
        pool->import_position = 0;
        object = add(pool, IMPORT_NAME_PREFIX "x", request->size);
        object->importing = true;
    }
    *info = (struct import_info){object->uuid, pool->import_position, found};
    return leave(pool, ERROR_NONE);
}

static bool is_import(struct pool *pool, struct uuid import)
{
    const struct object_info *found = find(pool, IMPORT_NAME_PREFIX "x");
    return found != NULL && uuid_equal(found->uuid, import);
}

enum error import_mark(struct pool *pool, struct uuid import, uint64_t position)
{
    pthread_mutex_lock(&pool->lock);
    if (!is_import(pool, import))
        return leave(pool, error_explain(ERROR_NOT_FOUND, "the import of this stream is gone"));
    pool->import_position = position;
    return leave(pool, ERROR_NONE);
}

enum error import_finish(struct pool *pool, const struct import_request *request, struct uuid import, struct uuid *object)
{
    struct object_info *found;
    enum error error = enter(pool, IMPORT_NAME_PREFIX "x", &found);
    if (error == ERROR_NONE && !is_import(pool, import))
        error = error_explain(ERROR_NOT_FOUND, "the import of this stream is gone");
    if (error == ERROR_NONE) {
        snprintf(found->name, sizeof(found->name), "%s", request->object);
        found->importing = false;
        *object = found->uuid;
        pool->imports_finished++;
    }
    return leave(pool, error);
}

/* ---- volumes: opened to be compared -------------------------------------------------------------------------------- */

struct volume {
    struct pool *pool;
    struct uuid uuid;
    uint64_t size;
    bool snapshot;
};

/* There is no volume_open(): who asks at the control socket is to keep nobody from locking the pool. */
static void names_swap(struct pool *pool)
{
    struct object_info *objects = pool->objects, object = objects[0];
    struct snapshot_info *snapshots = pool->snapshots, snapshot = snapshots[0];
    memcpy(objects[0].name, objects[1].name, sizeof object.name);
    memcpy(objects[1].name, object.name, sizeof object.name);
    memcpy(snapshots[0].name, snapshots[1].name, sizeof snapshot.name);
    memcpy(snapshots[1].name, snapshot.name, sizeof snapshot.name);
    pool->swaps_names = false;
}

enum error volume_look(struct pool *pool, const char *name, struct volume **volume)
{
    struct object_info *object;
    enum error error = enter(pool, name, &object);
    if (pool->swaps_names)
        names_swap(pool);
    const struct snapshot_info *snapshot = error == ERROR_NOT_FOUND ? snapshot_of(pool, name) : NULL;
    if (error != ERROR_NONE && snapshot == NULL)
        return leave(pool, error);
    *volume = malloc(sizeof(**volume));
    **volume = snapshot != NULL ? (struct volume){pool, snapshot->uuid, snapshot->size, true}
                                : (struct volume){pool, object->uuid, object->size, false};
    snprintf(pool->opened, sizeof(pool->opened), "%s", name);
    pool->volumes++;
    return leave(pool, ERROR_NONE);
}

void volume_close(struct volume *volume)
{
    pthread_mutex_lock(&volume->pool->lock);
    volume->pool->volumes--;
    pthread_mutex_unlock(&volume->pool->lock);
    free(volume);
}

uint64_t volume_size(const struct volume *volume)
{
    return volume->size;
}

struct uuid volume_uuid(const struct volume *volume)
{
    return volume->uuid;
}

enum error volume_changes(struct volume *volume, struct volume *base, uint64_t offset, uint64_t length,
                          struct change_extent *extents, size_t capacity, size_t *count)
{
    const struct pool *pool = volume->pool;
    uint64_t at = 0;
    clock_sleep(pool->changes_delay_ms * CLOCK_MILLISECOND);
    *count = 0;
    if (!base->snapshot)
        return error_explain(ERROR_INVALID, "no snapshot: changes are told since one");
    for (size_t i = 0; i <= pool->change_count && *count < capacity && *count < pool->changes_page; i++) {
        struct change_extent extent = {volume->size - at, CHANGE_NONE};
        if (i < pool->change_count)
            extent = pool->changes[i];
        if (at + extent.length > offset) {
            extent.length -= at < offset ? offset - at : 0;
            extents[(*count)++] = extent;
        }
        at += i < pool->change_count ? pool->changes[i].length : extent.length;
    }
    (void)length;
    return ERROR_NONE;
}

enum error object_usage(struct pool *pool, const char *name, struct object_usage *usage)
{
    struct object_info *object;
    clock_sleep(pool->usage_delay_ms * CLOCK_MILLISECOND);
    enum error error = enter(pool, name, &object);
    if (error == ERROR_NONE)
        error = pool->usage_error;
    if (error == ERROR_NONE)
        *usage = (struct object_usage){.logical_bytes = 1000000,
                                       .unique_bytes = 800000,
                                       .stored_bytes = 400000,
                                       .random_bytes = 40000,
                                       .map_bytes = 8192,
                                       .taken = 1700000000};
    return leave(pool, error);
}

enum error pool_status(struct pool *pool, struct pool_status *status)
{
    pthread_mutex_lock(&pool->lock);
    *status = pool->status;
    status->objects = pool->object_count;
    return leave(pool, ERROR_NONE);
}

enum error pool_create(const struct pool_create_options *options)
{
    struct fake_offline *fake = &fake_offline;
    fake->creates++;
    fake->created = *options;
    snprintf(fake->directory, sizeof(fake->directory), "%s", options->directory);
    snprintf(fake->group, sizeof(fake->group), "%s", options->group_name == NULL ? "" : options->group_name);
    if (options->device_count > 0)
        snprintf(fake->device, sizeof(fake->device), "%s", options->device_paths[options->device_count - 1]);
    if (options->overwrite_count > 0)
        snprintf(fake->overwrite, sizeof(fake->overwrite), "%s", options->overwrite[0]);
    if (options->passphrase != NULL)
        snprintf(fake->passphrase, sizeof(fake->passphrase), "%.*s", (int)options->passphrase_size,
                 options->passphrase);
    snprintf(fake->tcti, sizeof(fake->tcti), "%s", options->tcti == NULL ? "" : options->tcti);
    snprintf(fake->copy, sizeof(fake->copy), "%s", options->copy == NULL ? "" : options->copy);
    snprintf(fake->copy_passphrase, sizeof(fake->copy_passphrase), "%.*s", (int)options->copy_passphrase_size,
             options->copy_passphrase == NULL ? "" : options->copy_passphrase);
    return fake->create_error;
}

enum error pool_repair(const char *directory, const struct pool_open_options *options, struct pool_repair_report *report)
{
    (void)directory;
    *report = fake_offline.repaired;
    fake_offline.discarded = options->discard_evidence;
    snprintf(fake_offline.evidence, sizeof fake_offline.evidence, "%s",
             options->evidence_directory ? options->evidence_directory : "");
    if (fake_offline.wanted_passphrase != NULL && options->passphrase == NULL)
        return ERROR_LOCKED;
    fake_offline.repairs++;
    return fake_offline.repair_error;
}

enum error pool_check(const char *directory, const struct pool_open_options *options,
                      const struct check_listener *listener, struct check_report *report)
{
    const char *wanted = fake_offline.wanted_passphrase;
    fake_offline.checks++;
    snprintf(fake_offline.directory, sizeof(fake_offline.directory), "%s", directory);
    if (fake_offline.check_error != ERROR_NONE)
        return fake_offline.check_error;
    if (wanted != NULL && options->passphrase == NULL)
        return ERROR_LOCKED;
    if (wanted != NULL && strncmp(options->passphrase, wanted, options->passphrase_size) != 0)
        return ERROR_WRONG_KEY;
    for (size_t i = 0; i < fake_offline.findings; i++)
        listener->found("chunk 7 has 2 references and is counted 1", listener->context);
    listener->progress(1 << 30, 1 << 30, listener->context);
    *report = (struct check_report){.chunks = 10, .bytes_read = 1 << 30, .errors = fake_offline.findings,
                                     .losses_unknown = fake_offline.losses_unknown};
    for (unsigned i = 0; i < fake_offline.losses; i++) {
        struct check_loss loss = {.object = "disk2", .offset = UINT64_C(8192) * i, .length = 4096};
        listener->lost(&loss, listener->context);
    }
    if (fake_offline.loses) {
        struct check_loss loss = {.object = "disk1", .offset = 8192, .length = 4096};
        listener->lost(&loss, listener->context);
        loss = (struct check_loss){.uuid = {{0xab}}, .length = 1 << 20};
        listener->lost(&loss, listener->context);
        report->bytes_lost = 4096 + (1 << 20);
    }
    return ERROR_NONE;
}

/* ---- the scrub: it runs until it is looked at for the third time -------------------------------------------------- */

static enum error scrub_enter(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    return pool->status.locked ? locked() : ERROR_NONE;
}

enum error pool_scrub_start(struct pool *pool, uint64_t rate)
{
    enum error error = scrub_enter(pool);
    if (error == ERROR_NONE && pool->scrub.state == SCRUB_RUNNING)
        error = error_explain(ERROR_BUSY, "a scrub runs already: `coffer scrub status` shows it");
    if (error == ERROR_NONE) {
        pool->scrub.state = SCRUB_RUNNING;
        pool->scrub.step = "data";
        pool->scrub.bytes_expected = UINT64_C(4) << 30;
        if (rate != SCRUB_RATE_KEEP)
            pool->scrub.rate = rate;
    }
    return leave(pool, error);
}

static enum error scrub_change(struct pool *pool, enum scrub_state from, enum scrub_state to)
{
    enum error error = scrub_enter(pool);
    if (error == ERROR_NONE && pool->scrub.state != from)
        error = error_explain(ERROR_NOT_FOUND, "no scrub runs");
    if (error == ERROR_NONE)
        pool->scrub.state = to;
    return leave(pool, error);
}

enum error pool_scrub_pause(struct pool *pool)
{
    return scrub_change(pool, SCRUB_RUNNING, SCRUB_PAUSED);
}

enum error pool_scrub_resume(struct pool *pool)
{
    return scrub_change(pool, SCRUB_PAUSED, SCRUB_RUNNING);
}

enum error pool_scrub_cancel(struct pool *pool)
{
    return scrub_change(pool, SCRUB_RUNNING, SCRUB_CANCELLED);
}

enum error pool_scrub_throttle(struct pool *pool, uint64_t rate)
{
    enum error error = scrub_enter(pool);
    if (error == ERROR_NONE)
        pool->scrub.rate = rate;
    return leave(pool, error);
}

enum error pool_scrub_status(struct pool *pool, struct scrub_status *status)
{
    enum error error = scrub_enter(pool);
    if (error != ERROR_NONE)
        return leave(pool, error);
    if (pool->scrub.step == NULL)
        pool->scrub.step = "";
    pool->scrub.damages = pool->damage_count;
    *status = pool->scrub;
    if (pool->stopped && pool->scrub.state == SCRUB_RUNNING)
        pool->scrub.state = SCRUB_CANCELLED;
    if (pool->scrub.state == SCRUB_RUNNING) {
        pool->scrub.bytes_verified += UINT64_C(2) << 30;
        pool->scrub.nanoseconds += 10 * CLOCK_SECOND;
        if (pool->scrub.bytes_verified >= pool->scrub.bytes_expected) {
            pool->scrub.state = SCRUB_COMPLETE;
            pool->scrub.completed = 1700000000;
            pool->scrub.completed_bytes = pool->scrub.bytes_verified;
        }
    }
    return leave(pool, ERROR_NONE);
}

enum error pool_damages(struct pool *pool, struct damage_info **infos, size_t *count, bool *more)
{
    enum error error = scrub_enter(pool);
    if (error != ERROR_NONE)
        return leave(pool, error);
    *infos = calloc(pool->damage_count + 1, sizeof(**infos));
    memcpy(*infos, pool->damages, pool->damage_count * sizeof(**infos));
    *count = pool->damage_count;
    *more = pool->damage_more;
    return leave(pool, ERROR_NONE);
}
