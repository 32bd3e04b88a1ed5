/*
 * The methods for snapshots and clones. A snapshot's name is NAME@SNAPSHOT, as everywhere.
 *
 * Nothing here is looked up first and acted upon later: the engine finds and changes under one lock. No locks of its own; a
 * crash leaves all of what a method does or nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "server/methods.h"
#include "server/parameters.h"

static json_t *snapshot_json(const struct snapshot_info *info)
{
    char uuid[UUID_TEXT_SIZE], identity[UUID_TEXT_SIZE], object[UUID_TEXT_SIZE];
    uuid_format(info->uuid, uuid);
    uuid_format(info->identity, identity);
    uuid_format(info->object_uuid, object);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:b, s:I, s:b, s:i}", "uuid", uuid, "identity", identity,
                     "name", info->name, "object", info->object, "object_uuid", object, "snapshot", info->snapshot, "size",
                     (json_int_t)info->size, "created", (json_int_t)info->created, "hold", info->hold, "locked_until",
                     (json_int_t)info->locked_until, "deleting", info->deleting, "open_count", (int)info->open_count);
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

enum error method_snapshot_list(struct methods *methods, json_t *parameters, json_t **result)
{
    AUTO_FREE struct snapshot_info *infos = NULL;
    size_t count;
    TRY(snapshot_list(methods->pool, text_get(parameters, "object"), &infos, &count));
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

enum error method_object_rollback(struct methods *methods, json_t *parameters, json_t **result)
{
    const char *name = text_get(parameters, "name");
    struct snapshot_info info;
    TRY(snapshot_find(methods->pool, name, &info));
    TRY(object_rollback(methods->pool, name));
    return object_answer(methods, info.object_uuid, result);
}

enum error method_object_clone(struct methods *methods, json_t *parameters, json_t **result)
{
    struct uuid uuid;
    TRY(object_clone(methods->pool, text_get(parameters, "name"), text_get(parameters, "new_name"), &uuid));
    return object_answer(methods, uuid, result);
}
