/*
 * The methods for snapshots and clones. A snapshot's name is NAME@SNAPSHOT, as everywhere.
 *
 * What is looked up first is acted upon by its UUID: names may be others' by then. Else the engine finds and changes under one
 * lock. No locks of its own; a crash leaves all of what a method does or nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "server/methods.h"
#include "server/parameters.h"

#define LOSS_EXTENTS     512
#define SNAPSHOTS_ANSWERED_MAX 10000 /* 4 KiB of memory each, while they are told */
#define LOSS_NANOSECONDS (2 * CLOCK_SECOND) /* a person waits for it */

static json_t *snapshot_json(const struct snapshot_info *info)
{
    char uuid[UUID_TEXT_SIZE], identity[UUID_TEXT_SIZE], object[UUID_TEXT_SIZE];
    uuid_format(info->uuid, uuid);
    uuid_format(info->identity, identity);
    uuid_format(info->object_uuid, object);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:b, s:I, s:b, s:b, s:i}", "uuid", uuid, "identity", identity,
                     "name", info->name, "object", info->object, "object_uuid", object, "snapshot", info->snapshot, "size",
                     (json_int_t)info->size, "created", (json_int_t)info->created, "hold", info->hold, "locked_until",
                     (json_int_t)info->locked_until, "trashed", info->trashed, "deleting", info->deleting, "open_count",
                     (int)info->open_count);
}

static enum error snapshot_answer(struct methods *methods, const char *name, json_t **result)
{
    struct snapshot_info info;
    TRY(snapshot_find(methods->pool, name, &info));
    return answer(snapshot_json(&info), result);
}

static enum error names_get(json_t *list, const char *names[SNAPSHOT_OBJECTS_MAX], size_t *count)
{
    size_t i;
    json_t *name;
    if (json_array_size(list) == 0 || json_array_size(list) > SNAPSHOT_OBJECTS_MAX)
        return error_explain(ERROR_INVALID, "a snapshot is made of 1 to %d objects at a time", SNAPSHOT_OBJECTS_MAX);
    json_array_foreach(list, i, name)
    {
        if (!json_is_string(name))
            return error_explain(ERROR_INVALID, "names must be a list of strings");
        names[i] = json_string_value(name);
    }
    *count = json_array_size(list);
    return ERROR_NONE;
}

/* Of the objects named, as they are found now: a snapshot may be gone again. */
static enum error made_answer(struct methods *methods, const char *const *names, size_t count, const char *snapshot,
                              json_t **result)
{
    char name[VERSION_NAME_MAX + 1];
    json_t *rows = json_array(), *row;
    enum error error = ERROR_NONE;
    for (size_t i = 0; i < count && error == ERROR_NONE; i++) {
        snprintf(name, sizeof(name), "%s@%s", names[i], snapshot);
        error = snapshot_answer(methods, name, &row);
        if (error == ERROR_NONE && json_array_append_new(rows, row) != 0)
            error = ERROR_NO_MEMORY;
    }
    if (error == ERROR_NONE)
        return answer(rows, result);
    json_decref(rows);
    return error;
}

enum error method_object_snapshot(struct methods *methods, json_t *parameters, json_t **result)
{
    const char *names[SNAPSHOT_OBJECTS_MAX], *snapshot = text_get(parameters, "snapshot");
    size_t count;
    uint64_t until;
    TRY(names_get(json_object_get(parameters, "names"), names, &count));
    TRY(number_get(parameters, "locked_until", &until));
    TRY(object_snapshot(methods->pool, names, count, snapshot, flag_get(parameters, "hold"), until));
    return made_answer(methods, names, count, snapshot, result);
}

/* With `count` so many at most, or fewer; behind the last one there is an empty list. */
enum error method_snapshot_list(struct methods *methods, json_t *parameters, json_t **result)
{
    AUTO_FREE struct snapshot_info *infos = NULL;
    struct snapshot_part part = {.after = text_get(parameters, "after")};
    uint64_t most;
    size_t count;
    TRY(number_get(parameters, "count", &most));
    part.most = most == 0 ? SNAPSHOTS_ANSWERED_MAX + 1 : MIN(most, SNAPSHOTS_ANSWERED_MAX);
    TRY(snapshot_list(methods->pool, text_get(parameters, "object"), &part, &infos, &count));
    if (count > SNAPSHOTS_ANSWERED_MAX)
        return error_explain(ERROR_TOO_LARGE,
                             "there are more than %d snapshots: ask for some at a time, by `count`, and for those behind the "
                             "last of them, by `after`, until there are no more",
                             SNAPSHOTS_ANSWERED_MAX);
    json_t *rows = json_array();
    for (size_t i = 0; i < count; i++) {
        if (json_array_append_new(rows, snapshot_json(&infos[i])) != 0) {
            json_decref(rows);
            return ERROR_NO_MEMORY;
        }
    }
    return answer(rows, result);
}

enum error method_snapshot_delete(struct methods *methods, json_t *parameters, json_t **result)
{
    struct snapshot_info info;
    char uuid[UUID_TEXT_SIZE];
    TRY(snapshot_find(methods->pool, text_get(parameters, "name"), &info));
    uuid_format(info.uuid, uuid);
    TRY(snapshot_delete(methods->pool, uuid));
    info.deleting = true;
    return answer(snapshot_json(&info), result);
}

/* Without `hold` it stays as it is. */
enum error method_snapshot_protect(struct methods *methods, json_t *parameters, json_t **result)
{
    const char *name = text_get(parameters, "name");
    json_t *given = json_object_get(parameters, "hold");
    enum snapshot_hold hold = json_is_true(given) ? SNAPSHOT_HOLD_SET : SNAPSHOT_HOLD_CLEAR;
    uint64_t until;
    TRY(number_get(parameters, "locked_until", &until));
    TRY(snapshot_protect(methods->pool, name, given == NULL ? SNAPSHOT_HOLD_KEEP : hold, until));
    return snapshot_answer(methods, name, result);
}

/* ---- objects ------------------------------------------------------------------------------------------------------- */

/* What a roll-back loses: in so many bytes the object is not what it was in its newest snapshot. */
struct loss {
    char since[VERSION_NAME_MAX + 1];
    uint64_t bytes;
    bool more; /* they were not all looked at */
};

static enum error loss_sum(struct volume *volume, struct volume *base, struct loss *loss)
{
    struct change_extent extents[LOSS_EXTENTS];
    uint64_t size = volume_size(volume), begin = clock_monotonic();
    size_t count;
    for (uint64_t at = 0; at < size && clock_monotonic() - begin < LOSS_NANOSECONDS;) {
        TRY(volume_changes(volume, base, at, size - at, extents, COUNT_OF(extents), &count));
        for (size_t i = 0; i < count; at += extents[i++].length)
            loss->bytes += extents[i].kind == CHANGE_NONE ? 0 : extents[i].length;
        loss->more = at < size;
    }
    return ERROR_NONE;
}

static enum error loss_measure_since(struct methods *methods, const char *object, const struct snapshot_info *newest,
                                     struct loss *loss)
{
    struct volume *volume, *base;
    char uuid[UUID_TEXT_SIZE];
    uuid_format(newest->uuid, uuid);
    TRY(volume_look(methods->pool, object, &volume));
    enum error error = volume_look(methods->pool, uuid, &base);
    if (error == ERROR_NONE) {
        error = loss_sum(volume, base, loss);
        volume_close(base);
    }
    volume_close(volume);
    return error;
}

/* Before it is lost. A figure for people: where it cannot be had, the roll-back is made all the same. */
static void loss_measure(struct methods *methods, struct uuid object, struct loss *loss)
{
    AUTO_FREE struct snapshot_info *infos = NULL;
    const struct snapshot_part newest = {.most = 1, .newest = true};
    char uuid[UUID_TEXT_SIZE];
    size_t count = 0;
    uuid_format(object, uuid);
    loss->more = true;
    if (snapshot_list(methods->pool, uuid, &newest, &infos, &count) == ERROR_NONE && count > 0) {
        memcpy(loss->since, infos[0].name, sizeof loss->since);
        (void)!loss_measure_since(methods, uuid, &infos[0], loss);
    }
    error_forget();
}

/* To the object as it is then: what of it was lost, or under which name it was kept. */
static enum error loss_answer(json_t *object, const char *keep, const struct loss *loss)
{
    char kept[VERSION_NAME_MAX + 1];
    int failed = 0;
    snprintf(kept, sizeof(kept), "%s@%s", json_string_value(json_object_get(object, "name")), keep != NULL ? keep : "");
    if (keep != NULL)
        failed |= json_object_set_new(object, "kept_as", json_string(kept));
    if (loss->since[0] != '\0') {
        failed |= json_object_set_new(object, "lost_since", json_string(loss->since));
        failed |= json_object_set_new(object, "lost_bytes", json_integer((json_int_t)loss->bytes));
        failed |= json_object_set_new(object, "lost_more", json_boolean(loss->more));
    }
    return failed ? ERROR_NO_MEMORY : ERROR_NONE;
}

enum error method_object_rollback(struct methods *methods, json_t *parameters, json_t **result)
{
    const char *name = text_get(parameters, "name"), *keep = text_get(parameters, "keep");
    bool discard = flag_get(parameters, "discard");
    char uuid[UUID_TEXT_SIZE];
    struct snapshot_info info;
    struct loss loss = {0};
    json_t *object;
    if (discard && keep != NULL)
        return error_explain(ERROR_INVALID, "what the object holds is kept or discarded: say one of them");
    TRY(snapshot_find(methods->pool, name, &info));
    if (discard)
        loss_measure(methods, info.object_uuid, &loss);
    uuid_format(info.uuid, uuid);
    TRY(object_rollback(methods->pool, uuid, keep, discard));
    TRY(object_answer(methods, info.object_uuid, &object));
    enum error error = loss_answer(object, keep, &loss);
    if (error == ERROR_NONE)
        *result = object;
    else
        json_decref(object);
    return error;
}

enum error method_object_clone(struct methods *methods, json_t *parameters, json_t **result)
{
    struct uuid uuid;
    TRY(object_clone(methods->pool, text_get(parameters, "name"), text_get(parameters, "new_name"), &uuid));
    return object_answer(methods, uuid, result);
}
