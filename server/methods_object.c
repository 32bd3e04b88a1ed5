/*
 * The methods for objects and the trash.
 *
 * The engine finds a trashed object by its name where no living one has it. That is right for looking, and dangerous
 * for acting: `object.delete` with `now` must not free what somebody keeps in the trash, nor `trash.purge` something
 * alive. So whoever deletes, restores or purges looks first where the object is and then acts upon its UUID, under
 * the lock `trash`, which orders these methods among themselves. The lock is not on the path of data; the engine's
 * locks rank below it.
 */
#include "server/methods.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "server/hosts_note.h"
#include "server/parameters.h"

/* Of `reserve`, or with `full` all. */
static enum error reserve_get(json_t *parameters, uint64_t *bytes)
{
    TRY(number_get(parameters, "reserve", bytes));
    if (flag_get(parameters, "full"))
        *bytes = OBJECT_RESERVE_FULL;
    return ERROR_NONE;
}

json_t *object_json(const struct object_info *info)
{
    char uuid[UUID_TEXT_SIZE];
    uuid_format(info->uuid, uuid);
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:b, s:i, s:b, s:I, s:I, s:I, s:b, s:b, s:I, s:b, s:I, s:s}", "uuid",
                     uuid, "name", info->name, "size", (json_int_t)info->size, "created", (json_int_t)info->created,
                     "deleted", (json_int_t)info->deleted, "purge_at", (json_int_t)info->purge_at, "deleting", info->deleting,
                     "open_count", (int)info->open_count, "is_snapshot", info->snapshot, "snapshots",
                     (json_int_t)info->snapshots, "reserved", (json_int_t)info->reserved, "reserved_missing",
                     (json_int_t)info->reserved_missing, "kept", info->kept, "importing", info->importing,
                     "import_position", (json_int_t)info->import_position, "hold", info->hold, "locked_until",
                     (json_int_t)info->locked_until, "hosts", info->hosts);
}

static bool in_trash(const struct object_info *info)
{
    return info->deleted != 0 || info->deleting;
}

static enum error find(struct methods *methods, json_t *parameters, struct object_info *info)
{
    return object_find(methods->pool, text_get(parameters, "name"), info);
}

static enum error find_living(struct methods *methods, json_t *parameters, struct object_info *info)
{
    struct object_info found;
    TRY(find(methods, parameters, &found));
    if (found.deleting)
        return error_explain(ERROR_NOT_FOUND, "'%s' was deleted and is being freed", found.name);
    if (in_trash(&found)) {
        char uuid[UUID_TEXT_SIZE];
        uuid_format(found.uuid, uuid);
        return error_explain(ERROR_NOT_FOUND, "'%s' is in the trash: `%s trash restore %s` brings it back", found.name,
                             pool_command(methods->pool), uuid);
    }
    *info = found;
    return ERROR_NONE;
}

static enum error find_trashed(struct methods *methods, json_t *parameters, struct object_info *info)
{
    struct object_info found;
    TRY(find(methods, parameters, &found));
    if (!in_trash(&found))
        return error_explain(ERROR_NOT_FOUND,
                             "'%s' is not in the trash: name a trashed object by its UUID where a "
                             "living one has its name (`%s trash list`)",
                             found.name, pool_command(methods->pool));
    if (found.deleting)
        return error_explain(ERROR_NOT_FOUND, "'%s' is being freed already", found.name);
    /* Refused where several in the trash have the name. */
    return object_find_trashed(methods->pool, text_get(parameters, "name"), info);
}

static enum error answer_with(struct methods *methods, const char *name, json_t **result)
{
    struct object_info info;
    TRY(object_find(methods->pool, name, &info));
    return answer(object_json(&info), result);
}

enum error object_answer(struct methods *methods, struct uuid uuid, json_t **result)
{
    char name[UUID_TEXT_SIZE];
    uuid_format(uuid, name);
    return answer_with(methods, name, result);
}

enum error method_object_create(struct methods *methods, json_t *parameters, json_t **result)
{
    uint64_t size = 0, reserve = 0;
    struct uuid created;
    TRY(number_get(parameters, "size", &size));
    TRY(reserve_get(parameters, &reserve));
    TRY(object_create_hosting(methods->pool, text_get(parameters, "name"), size, reserve, text_get(parameters, "hosts"),
                              &created));
    TRY(object_answer(methods, created, result));
    hosts_note_add(methods->pool, *result);
    return ERROR_NONE;
}

static enum error list(struct methods *methods, bool trashed, json_t **result)
{
    AUTO_FREE struct object_info *infos = NULL;
    size_t count;
    TRY(object_list(methods->pool, &infos, &count));
    json_t *rows = json_array();
    for (size_t i = 0; i < count; i++) {
        if (in_trash(&infos[i]) == trashed && json_array_append_new(rows, object_json(&infos[i])) != 0) {
            json_decref(rows);
            return ERROR_NO_MEMORY;
        }
    }
    return answer(rows, result);
}

enum error method_object_list(struct methods *methods, json_t *parameters, json_t **result)
{
    (void)parameters;
    return list(methods, false, result);
}

enum error method_trash_list(struct methods *methods, json_t *parameters, json_t **result)
{
    (void)parameters;
    return list(methods, true, result);
}

enum error method_object_show(struct methods *methods, json_t *parameters, json_t **result)
{
    return answer_with(methods, text_get(parameters, "name"), result);
}

enum error method_object_usage(struct methods *methods, json_t *parameters, json_t **result)
{
    struct object_usage usage;
    TRY(object_usage(methods->pool, text_get(parameters, "name"), &usage));
    return answer(json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "logical_bytes", (json_int_t)usage.logical_bytes,
                            "unique_bytes", (json_int_t)usage.unique_bytes, "stored_bytes",
                            (json_int_t)usage.stored_bytes, "random_bytes", (json_int_t)usage.random_bytes, "map_bytes",
                            (json_int_t)usage.map_bytes, "taken", (json_int_t)usage.taken),
                  result);
}

enum error method_object_rename(struct methods *methods, json_t *parameters, json_t **result)
{
    struct object_info info;
    char uuid[UUID_TEXT_SIZE];
    TRY(find_living(methods, parameters, &info));
    uuid_format(info.uuid, uuid);
    TRY(object_rename(methods->pool, uuid, text_get(parameters, "new_name")));
    return answer_with(methods, uuid, result);
}

enum error method_object_resize(struct methods *methods, json_t *parameters, json_t **result)
{
    uint64_t size = 0;
    struct object_info info;
    char uuid[UUID_TEXT_SIZE];
    TRY(number_get(parameters, "size", &size));
    TRY(find_living(methods, parameters, &info));
    uuid_format(info.uuid, uuid);
    TRY(object_resize(methods->pool, uuid, size, flag_get(parameters, "shrink")));
    return answer_with(methods, uuid, result);
}

enum error method_object_reserve(struct methods *methods, json_t *parameters, json_t **result)
{
    uint64_t reserve = 0;
    struct object_info info;
    char uuid[UUID_TEXT_SIZE];
    TRY(reserve_get(parameters, &reserve));
    TRY(find_living(methods, parameters, &info));
    uuid_format(info.uuid, uuid);
    TRY(object_reserve(methods->pool, uuid, reserve));
    return answer_with(methods, uuid, result);
}

enum error method_object_set(struct methods *methods, json_t *parameters, json_t **result)
{
    struct object_info info;
    char uuid[UUID_TEXT_SIZE];
    TRY(find_living(methods, parameters, &info));
    uuid_format(info.uuid, uuid);
    TRY(object_set_hosts(methods->pool, uuid, text_get(parameters, "hosts")));
    TRY(answer_with(methods, uuid, result));
    hosts_note_add(methods->pool, *result);
    return ERROR_NONE;
}

/* With `now`, and where the trash keeps nothing, the object may be gone before it could be looked up again: then the answer is made
 * from what was found. */
static enum error delete_found(struct methods *methods, struct object_info *info, bool now, json_t **result)
{
    char name[UUID_TEXT_SIZE];
    uuid_format(info->uuid, name);
    TRY(object_delete(methods->pool, name, now));
    enum error error = now ? ERROR_NOT_FOUND : answer_with(methods, name, result);
    if (error != ERROR_NOT_FOUND)
        return error;
    error_forget();
    info->deleting = true;
    return answer(object_json(info), result);
}

enum error method_object_delete(struct methods *methods, json_t *parameters, json_t **result)
{
    struct object_info info;
    mutex_lock(&methods->trash);
    enum error error = find_living(methods, parameters, &info);
    if (error == ERROR_NONE)
        error = delete_found(methods, &info, flag_get(parameters, "now"), result);
    mutex_unlock(&methods->trash);
    return error;
}

enum error method_trash_purge(struct methods *methods, json_t *parameters, json_t **result)
{
    struct object_info info;
    mutex_lock(&methods->trash);
    enum error error = find_trashed(methods, parameters, &info);
    if (error == ERROR_NONE)
        error = delete_found(methods, &info, true, result);
    mutex_unlock(&methods->trash);
    return error;
}

static enum error restore_found(struct methods *methods, const struct object_info *info, const char *new_name,
                                json_t **result)
{
    char name[UUID_TEXT_SIZE];
    uuid_format(info->uuid, name);
    TRY(object_restore(methods->pool, name, new_name));
    return answer_with(methods, name, result);
}

enum error method_trash_restore(struct methods *methods, json_t *parameters, json_t **result)
{
    struct object_info info;
    mutex_lock(&methods->trash);
    enum error error = find_trashed(methods, parameters, &info);
    if (error == ERROR_NONE)
        error = restore_found(methods, &info, text_get(parameters, "new_name"), result);
    mutex_unlock(&methods->trash);
    return error;
}
