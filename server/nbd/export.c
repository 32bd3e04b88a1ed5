/*
 * Objects as exports, and their snapshots, which are read-only and not listed: an object may have thousands. What lies in
 * the trash or is being freed is none.
 *
 * No state and no locks: the pool has both.
 */
#include "server/nbd/export.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "server/nbd/protocol.h"

static bool is_export(const struct object_info *info)
{
    return info->deleted == 0 && !info->deleting;
}

enum error export_list(struct pool *pool, struct export_name **names, size_t *count)
{
    AUTO_FREE struct object_info *infos = NULL;
    size_t info_count;
    TRY(object_list(pool, &infos, &info_count));
    struct export_name *list = memory_zeroed(MAX(info_count, 1), sizeof(*list));
    if (!list)
        return ERROR_NO_MEMORY;
    size_t listed = 0;
    for (size_t i = 0; i < info_count; i++)
        if (is_export(&infos[i]) && !infos[i].importing)
            memcpy(list[listed++].text, infos[i].name, sizeof(list->text));
    *names = list;
    *count = listed;
    return ERROR_NONE;
}

static enum error export_only(struct pool *pool, char object[VERSION_NAME_MAX + 1])
{
    AUTO_FREE struct export_name *names = NULL;
    size_t count;
    TRY(export_list(pool, &names, &count));
    if (count == 0)
        return error_explain(ERROR_NOT_FOUND,
                             "the pool has no object yet: `%s object create disk1 --size 10G` makes one",
                             pool_command(pool));
    if (count > 1)
        return error_explain(ERROR_NOT_FOUND, "the pool has %zu objects: the name of one is needed as export name",
                             count);
    memcpy(object, names[0].text, sizeof(names->text));
    return ERROR_NONE;
}

static enum error export_name_resolve(struct pool *pool, const char *name, char object[VERSION_NAME_MAX + 1])
{
    if (name[0] == '\0')
        return export_only(pool, object);
    if (strlen(name) > VERSION_NAME_MAX)
        return error_explain(ERROR_NOT_FOUND, "no object has a name of %zu bytes: %d are the most", strlen(name),
                             VERSION_NAME_MAX);
    snprintf(object, VERSION_NAME_MAX + 1, "%s", name);
    return ERROR_NONE;
}

enum error export_find(struct pool *pool, const char *name, struct export *export)
{
    struct object_info info;
    TRY(export_name_resolve(pool, name, export->object));
    char uuid[UUID_TEXT_SIZE];
    TRY(object_find(pool, export->object, &info));
    uuid_format(info.uuid, uuid);
    /* Who imports names it by UUID; a guest that wrote to it would be adopted with the rest. */
    if (info.importing && strcmp(export->object, uuid) != 0)
        return error_explain(ERROR_NOT_FOUND, "the object \"%s\" is being imported", export->object);
    if (!is_export(&info))
        return error_explain(ERROR_NOT_FOUND, "the object \"%s\" is in the trash", export->object);
    export->uuid = info.uuid;
    export->size = info.size;
    export->snapshot = info.snapshot;
    return ERROR_NONE;
}

static enum error origin_find(struct pool *pool, const char *object, struct object_info *info,
                              char origin[OBJECT_NAME_MAX + 1])
{
    TRY(object_find(pool, object, info));
    snprintf(origin, OBJECT_NAME_MAX + 1, "%.*s", (int)strcspn(info->name, "@"), info->name);
    return ERROR_NONE;
}

enum error export_base(struct pool *pool, const char *object, const char *snapshot, char uuid[UUID_TEXT_SIZE])
{
    char origin[OBJECT_NAME_MAX + 1], name[VERSION_NAME_MAX + 1];
    struct object_info info;
    struct snapshot_info base;
    TRY(origin_find(pool, object, &info, origin));
    snprintf(name, sizeof(name), "%s@%s", origin, snapshot);
    enum error error = snapshot_find(pool, name, &base);
    if (error == ERROR_NOT_FOUND)
        error = snapshot_find(pool, snapshot, &base);
    if (error == ERROR_NONE && (base.trashed || strcmp(base.object, origin) != 0))
        error = error_explain(ERROR_NOT_FOUND, "'%s' has no snapshot of that name", origin);
    if (error == ERROR_NONE)
        uuid_format(base.uuid, uuid);
    return error;
}

enum error export_bases(struct pool *pool, const char *object, size_t most, struct snapshot_info **infos, size_t *count)
{
    const struct snapshot_part newest = {.most = most + 1, .newest = true}; /* the object may be one of them */
    char origin[OBJECT_NAME_MAX + 1];
    struct object_info info;
    size_t all, kept = 0;
    TRY(origin_find(pool, object, &info, origin));
    TRY(snapshot_list(pool, origin, &newest, infos, &all));
    for (size_t i = 0; i < all; i++)
        if (!uuid_equal((*infos)[i].uuid, info.uuid))
            (*infos)[kept++] = (*infos)[i];
    *count = kept;
    return ERROR_NONE;
}

uint16_t export_flags(bool read_only, bool structured)
{
    /* A flush covers what was answered on any connection: that is CAN_MULTI_CONN. */
    uint16_t flags = TRANSMISSION_HAS_FLAGS | TRANSMISSION_SEND_FLUSH | TRANSMISSION_SEND_FUA | TRANSMISSION_SEND_TRIM |
                     TRANSMISSION_SEND_WRITE_ZEROES | TRANSMISSION_SEND_FAST_ZERO | TRANSMISSION_SEND_CACHE |
                     TRANSMISSION_CAN_MULTI_CONN;
    if (read_only)
        flags |= TRANSMISSION_READ_ONLY;
    if (structured)
        flags |= TRANSMISSION_SEND_DF;
    return flags;
}
