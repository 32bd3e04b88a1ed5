/* See comparison.h. Nothing here is changed, and nothing survives a crash. */
#include "engine/pool/comparison.h"

#include <string.h>

#include "base/memory.h"
#include "engine/pool/object_table.h"

struct comparison comparison_of(const struct pool *pool, const struct object *object, const struct object *base)
{
    struct comparison comparison = {.epoch = pool->epoch,
                                    .revision = object->revision,
                                    .component = atomic_load(&object->component),
                                    .object_uuid = object->uuid};
    if (base != NULL) {
        comparison.base = atomic_load(&base->component);
        comparison.base_uuid = base->uuid;
    }
    return comparison;
}

bool comparison_stands(const struct pool *pool, const struct comparison *comparison, const struct object *object,
                       const struct object *base)
{
    struct comparison now = comparison_of(pool, object, base);
    return memcmp(&now, comparison, sizeof now) == 0;
}

static enum error open_both(struct pool *pool, const struct comparison *comparison, struct volume *volumes[2])
{
    char name[UUID_TEXT_SIZE];
    uuid_format(comparison->base_uuid, name);
    TRY(volume_look(pool, name, &volumes[1]));
    uuid_format(comparison->object_uuid, name);
    enum error error = volume_look(pool, name, &volumes[0]);
    if (error != ERROR_NONE)
        volume_close(volumes[1]);
    return error;
}

static enum error is_changed(struct volume *now, struct volume *then, bool *changed)
{
    uint64_t size = volume_size(now);
    *changed = size != volume_size(then);
    for (uint64_t at = 0; at < size && !*changed;) {
        struct change_extent extents[2];
        size_t count;
        TRY(volume_changes(now, then, at, size - at, extents, COUNT_OF(extents), &count));
        for (size_t i = 0; i < count; i++) {
            at += extents[i].length;
            *changed |= extents[i].kind != CHANGE_NONE;
        }
    }
    return ERROR_NONE;
}

enum error comparison_run(struct pool *pool, const struct comparison *comparison, bool *changed)
{
    struct volume *volumes[2];
    TRY(open_both(pool, comparison, volumes));
    enum error error = is_changed(volumes[0], volumes[1], changed);
    volume_close(volumes[0]);
    volume_close(volumes[1]);
    return error;
}
