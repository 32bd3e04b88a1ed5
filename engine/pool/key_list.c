/*
 * The keys of a pool by name, and what wraps them on each device: for ages and reports. Check values are derived, no key leaves.
 * Under pool->lock, and while nobody changes keys: then superblocks and keyrings stay as they are.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/pool/pool.h"

static size_t keys_of(const struct group *group)
{
    size_t count = 0;
    for (uint32_t d = 0; d < group->device_count; d++)
        count += group->keyrings[d]->count;
    return count;
}

static enum error keys_take(const struct group *group, struct pool_key_list *list)
{
    for (uint32_t d = 0; d < group->device_count; d++)
        for (size_t s = 0; s < group->keyrings[d]->count; s++) {
            const struct keyring_slot *slot = &group->keyrings[d]->slots[s];
            struct pool_key *key = &list->keys[list->key_count++];
            *key = (struct pool_key){.device = d, .kind = (unsigned)slot->kind, .slot = slot->number, .current = slot->current};
            TRY(kcv_derive(slot->key, group->superblocks[d].device, key->kcv));
        }
    return ERROR_NONE;
}

static void devices_take(const struct group *group, struct pool_key_list *list)
{
    for (uint32_t d = 0; d < group->device_count; d++) {
        const struct superblock *superblock = &group->superblocks[d];
        struct pool_key_device *device = &list->devices[list->device_count++];
        *device = (struct pool_key_device){.id = superblock->device,
                                           .epoch = superblock->epoch,
                                           .provider = superblock->wrapping.provider,
                                           .kek_number = superblock->wrapping.kek_number,
                                           .other_provider = superblock->other.provider,
                                           .other_kek_number = superblock->other.kek_number};
        snprintf(device->path, sizeof device->path, "%s", group->devices[d]->path);
    }
}

static enum error list_take(struct pool *pool, struct pool_key_list *list) REQUIRES(pool->lock)
{
    TRY(pool_check_unlocked(pool));
    if (pool->changing)
        return error_explain(ERROR_BUSY, "the keys of pool %s are being changed right now: ask again when that is done",
                             pool->directory);
    list->created = pool->created;
    list->keys = memory_zeroed(keys_of(pool->group) + 1, sizeof *list->keys);
    list->devices = memory_zeroed((size_t)pool->group->device_count + 1, sizeof *list->devices);
    if (list->keys == NULL || list->devices == NULL)
        return ERROR_NO_MEMORY;
    devices_take(pool->group, list);
    return keys_take(pool->group, list);
}

enum error pool_key_list(struct pool *pool, struct pool_key_list *list)
{
    *list = (struct pool_key_list){0};
    mutex_lock(&pool->lock);
    enum error error = list_take(pool, list);
    mutex_unlock(&pool->lock);
    if (error != ERROR_NONE) {
        free(list->keys);
        free(list->devices);
        *list = (struct pool_key_list){0};
    }
    return error;
}
