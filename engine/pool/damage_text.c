/*
 * Known damage for people: a sentence for each row, the list that goes out, and the messages. Names of objects are
 * looked up when they are needed, never kept: they are secret on disk, and the ledger is saved outside of it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/message.h"
#include "engine/pool/damage.h"

static const char *const table_names[] = {
    [TABLE_PLACES] = "chunk table, places", [TABLE_FINGERPRINTS] = "chunk table, fingerprints",
    [TABLE_COUNTS] = "chunk table, counts", [TABLE_COMPONENTS] = "component table",
    [TABLE_SEGMENTS] = "segment table",     [TABLE_RELEASES] = "release list",
};

static const char *const kind_names[DAMAGE_KINDS] = {
    [DAMAGE_BLOCKS] = "data",       [DAMAGE_STORED] = "unit",   [DAMAGE_NODE] = "map",
    [DAMAGE_PAGE] = "table",        [DAMAGE_HEADER] = "header", [DAMAGE_SUPERBLOCK] = "superblock",
    [DAMAGE_RECORD] = "checkpoint",
};

static const struct object *object_of(const struct pool *pool, uint64_t component)
{
    const struct object *object = pool->objects;
    while (object && object->component != component)
        object = object->next;
    return object;
}

#define NAME_TEXT (VERSION_NAME_MAX + 32)

static const char *owner_name(const struct pool *pool, uint64_t component, char text[NAME_TEXT])
{
    const struct object *object = object_of(pool, component);
    char name[VERSION_NAME_MAX + 1];
    if (object)
        snprintf(text, NAME_TEXT, "object %s", object_text(object, name));
    else if (component == COMPONENT_CATALOG)
        snprintf(text, NAME_TEXT, "the catalog");
    else
        snprintf(text, NAME_TEXT, "component %" PRIu64, component);
    return text;
}

static const char *device_path(const struct pool *pool, const struct damage *damage)
{
    return damage->device < pool->group->device_count ? pool->group->devices[damage->device]->path : "?";
}

#define PLACE_TEXT 320

static const char *place_text(const struct pool *pool, const struct damage *damage, char text[PLACE_TEXT])
{
    if (damage->fault == DAMAGE_GONE)
        snprintf(text, PLACE_TEXT, "segment %" PRIu64 " is gone", damage->serial);
    else if (damage->serial == 0)
        snprintf(text, PLACE_TEXT, "where the map begins is lost with a page of the table of objects");
    else
        snprintf(text, PLACE_TEXT, "device %.250s, segment %" PRIu64 ", offset 0x%" PRIx64, device_path(pool, damage),
                 damage->serial, (uint64_t)damage->offset * GRAIN_SIZE);
    return text;
}

static const char *fault_words(const struct damage *damage)
{
    switch (damage->fault) {
    case DAMAGE_UNREADABLE:
        return "cannot be read from the device";
    case DAMAGE_MAP:
        return "are lost with a part of the map";
    default:
        return "are damaged";
    }
}

static void blocks_text(struct pool *pool, const struct damage *damage, char *text)
{
    char name[NAME_TEXT], place[PLACE_TEXT];
    snprintf(text, DAMAGE_TEXT, "%s: %" PRIu64 " bytes at %" PRIu64 " %s (%s)", owner_name(pool, damage->owner, name),
             (damage->end - damage->first) * COFFER_BLOCK, damage->first * COFFER_BLOCK, fault_words(damage),
             place_text(pool, damage, place));
}

static void node_text(struct pool *pool, const struct damage *damage, const char *name, char *text)
{
    char place[PLACE_TEXT];
    snprintf(text, DAMAGE_TEXT, "%s, node %" PRIu64 " of level %u: %s (%s)", name, damage->first, damage->level,
             damage->lost ? "it is damaged, and there is no other copy"
                          : "one of its two copies is damaged, the other is whole: nothing is lost",
             place_text(pool, damage, place));
}

static void stored_text(struct pool *pool, const struct damage *damage, char *text)
{
    char place[PLACE_TEXT];
    snprintf(text, DAMAGE_TEXT, "%" PRIu64 " stored bytes %s (%s); %s", (damage->end - damage->first) * GRAIN_SIZE,
             damage->fault == DAMAGE_UNREADABLE ? "cannot be read" : "are damaged", place_text(pool, damage, place),
             atomic_load(&pool->damages->naming) ? "the scrub looks whose they are"
                                                 : "no object is known to need them");
}

const char *damage_text(struct pool *pool, const struct damage *damage, char text[DAMAGE_TEXT])
{
    char name[NAME_TEXT], place[PLACE_TEXT];
    switch (damage->kind) {
    case DAMAGE_BLOCKS:
        blocks_text(pool, damage, text);
        break;
    case DAMAGE_STORED:
        stored_text(pool, damage, text);
        break;
    case DAMAGE_NODE:
        snprintf(place, sizeof place, "map of %.280s", owner_name(pool, damage->owner, name));
        node_text(pool, damage, place, text);
        break;
    case DAMAGE_PAGE:
        node_text(pool, damage,
                  damage->owner >= 1 && damage->owner <= TABLE_LAST ? table_names[damage->owner] : "a table", text);
        break;
    case DAMAGE_HEADER:
        snprintf(text, DAMAGE_TEXT, "the header of segment %" PRIu64 " is damaged (device %.250s): nothing is lost",
                 damage->owner, device_path(pool, damage));
        break;
    case DAMAGE_SUPERBLOCK:
        snprintf(text, DAMAGE_TEXT,
                 "superblock copy %" PRIu64 " of %d is damaged (device %.250s): a restart of cofferd with an active key "
                 "writes it anew",
                 damage->first + 1, SUPERBLOCK_COPIES, device_path(pool, damage));
        break;
    default:
        snprintf(text, DAMAGE_TEXT, "a copy of the checkpoint record is damaged (device %.250s): later ones replace it",
                 device_path(pool, damage));
        break;
    }
    return text;
}

/* ---- out of the engine ---------------------------------------------------------------------------------------- */

void damage_tell(struct pool *pool)
{
    char text[DAMAGE_TEXT];
    size_t count;
    AUTO_FREE struct damage *untold = damages_take_untold(pool->damages, &count);
    for (size_t i = 0; i < count; i++) {
        mutex_lock(&pool->lock);
        damage_text(pool, &untold[i], text);
        mutex_unlock(&pool->lock);
        message(untold[i].lost ? MESSAGE_ERROR : MESSAGE_WARNING, "%s; found by a %s", text,
                untold[i].by_scrub ? "scrub" : "read");
    }
}

static void info_fill(struct pool *pool, const struct damage *damage, struct damage_info *info)
    REQUIRES(pool->lock)
{
    const struct object *object = object_of(pool, damage->owner);
    bool blocks = damage->kind == DAMAGE_BLOCKS;
    info->kind = kind_names[damage->kind];
    info->lost = damage->lost;
    info->by_scrub = damage->by_scrub;
    info->found = damage->found;
    info->segment = damage->serial;
    info->segment_offset = (uint64_t)damage->offset * GRAIN_SIZE;
    if (blocks) {
        info->offset = damage->first * COFFER_BLOCK;
        info->length = (damage->end - damage->first) * COFFER_BLOCK;
    }
    if (object && (blocks || damage->kind == DAMAGE_NODE)) {
        object_text(object, info->object);
        info->uuid = object->uuid;
    }
    if (damage->fault != DAMAGE_GONE)
        snprintf(info->device, sizeof info->device, "%s", device_path(pool, damage));
    damage_text(pool, damage, info->sentence);
}

static enum error infos_make(struct pool *pool, struct damage_info **infos, size_t *count, bool *more)
    REQUIRES(pool->lock)
{
    AUTO_FREE struct damage *rows = NULL;
    TRY(pool_check_unlocked(pool));
    TRY(damages_copy(pool->damages, false, &rows, count, more));
    *infos = memory_zeroed(*count + 1, sizeof **infos);
    if (!*infos)
        return ERROR_NO_MEMORY;
    for (size_t i = 0; i < *count; i++)
        info_fill(pool, &rows[i], &(*infos)[i]);
    return ERROR_NONE;
}

enum error pool_damages(struct pool *pool, struct damage_info **infos, size_t *count, bool *more)
{
    mutex_lock(&pool->lock);
    enum error error = infos_make(pool, infos, count, more);
    mutex_unlock(&pool->lock);
    return error;
}
