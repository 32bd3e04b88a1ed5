/*
 * Which keys the devices have before, during and after a deep rekey: a DEK, a K_log and a K_pool more, then those that something
 * needs. (Of K_pools k_pools.h tells.)
 *
 * Always: of a device a new K_log comes together with a new DEK, in one superblock. The numbers of all devices are the same but
 * where a crash came between two superblocks; the next open levels them, and until then each device is under its own, since
 * segments and records name numbers of their device.
 *
 * An old K_log is good for the tags of segments that were begun under it, and kept as long as there is one. So they gather, and
 * each takes room in the superblock of its device and in those of all others (superblock_peer.h). Where there is none for one more
 * the present one stays. Those that a superblock still allows for headers and records are kept in any case.
 *
 * Keyrings are made here and written by deep_rekey.c. No locks but the group's, for the table of segments; no I/O.
 */
#include <string.h>

#include "base/memory.h"
#include "engine/group/superblock_peer.h"
#include "engine/pool/deep_rekey.h"
#include "engine/pool/k_pools.h"

static uint32_t number_of(const struct group *group, uint32_t d, enum key_kind kind)
{
    return keyring_current(group_keyring(group, d), kind)->number;
}

uint32_t deep_rekey_number(const struct group *group, enum key_kind kind)
{
    uint32_t last = 0;
    for (uint32_t d = 0; d < group->device_count; d++)
        last = MAX(last, number_of(group, d, kind));
    return last;
}

bool deep_rekey_keys_are_level(const struct group *group)
{
    static const enum key_kind kinds[] = {KEY_KIND_DEK, KEY_KIND_LOG, KEY_KIND_POOL};
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        for (uint32_t d = 0; d < group->device_count; d++)
            if (number_of(group, d, kinds[i]) != deep_rekey_number(group, kinds[i]))
                return false;
    return true;
}

void deep_rekey_keys_drop(struct group *group, struct keyring **keyrings)
{
    for (uint32_t d = 0; d < group->device_count; d++)
        if (keyrings[d] != group->keyrings[d])
            keyring_destroy(keyrings[d]);
}

/* The next K_pool that a device lacks, if any, into `new`. */
static void k_pool_lacking(const struct k_pools *k_pools, const struct keyring *keyring, struct keyring_new *new)
{
    uint32_t newest = keyring_current(keyring, KEY_KIND_POOL)->number;
    for (uint32_t i = 0; i < k_pools->count && !new->pool_key; i++)
        if (k_pools->keys[i].number > newest) {
            new->pool_key = k_pools->keys[i].number;
            new->k_pool = k_pools->keys[i].key;
        }
}

/* What a device lacks of the keys that all are to have. */
static enum error keyring_add(struct group *group, uint32_t d, const struct keyring_new *numbers, const struct k_pools *k_pools,
                              struct keyring **with)
{
    struct keyring_needs needs = {.data_keys = true};
    struct keyring_new new = {
        .data_key = number_of(group, d, KEY_KIND_DEK) == numbers->data_key ? 0 : numbers->data_key,
        .log_key = number_of(group, d, KEY_KIND_LOG) == numbers->log_key ? 0 : numbers->log_key,
    };
    struct keyring *kept;
    k_pool_lacking(k_pools, group->keyrings[d], &new);
    if (!new.data_key && !new.log_key && !new.pool_key)
        return ERROR_NONE;
    group_log_keys_needed(group, d, superblock_log_key_demanded(&group->superblocks[d]), &needs);
    TRY(keyring_without_old(group->keyrings[d], &needs, &kept));
    enum error error = keyring_with_new(kept, &new, with);
    keyring_destroy(kept);
    return error;
}

static enum error keyrings_add(struct group *group, const struct keyring_new *numbers, const struct k_pools *k_pools,
                               struct keyring **keyrings)
{
    enum error error = ERROR_NONE;
    memcpy(keyrings, group->keyrings, sizeof group->keyrings);
    for (uint32_t d = 0; d < group->device_count && !error; d++)
        error = keyring_add(group, d, numbers, k_pools, &keyrings[d]);
    if (error)
        deep_rekey_keys_drop(group, keyrings);
    return error;
}

enum error deep_rekey_keys_with(struct group *group, const struct keyring_new *numbers, const struct k_pools *k_pools,
                                struct keyring **keyrings)
{
    struct keyring_new here = *numbers;
    uint32_t last = deep_rekey_number(group, KEY_KIND_LOG);
    here.log_key = here.log_key > LOG_KEY_NUMBER_MAX ? last : here.log_key;
    TRY(keyrings_add(group, &here, k_pools, keyrings));
    if (here.log_key == last || group_slots_fit(keyrings, group->device_count))
        return ERROR_NONE;
    deep_rekey_keys_drop(group, keyrings);
    here.log_key = last;
    return keyrings_add(group, &here, k_pools, keyrings);
}

enum error deep_rekey_keys_without(struct group *group, struct keyring **keyrings)
{
    enum error error = ERROR_NONE;
    memcpy(keyrings, group->keyrings, sizeof group->keyrings);
    for (uint32_t d = 0; d < group->device_count && !error; d++) {
        struct keyring_needs needs = {.data_keys = false};
        group_log_keys_needed(group, d, (uint8_t)number_of(group, d, KEY_KIND_LOG), &needs);
        error = keyring_without_old(group->keyrings[d], &needs, &keyrings[d]);
    }
    if (error)
        deep_rekey_keys_drop(group, keyrings);
    return error;
}

bool deep_rekey_log_key_stays(const struct group *group)
{
    for (uint32_t d = 0; d < group->device_count; d++)
        if (number_of(group, d, KEY_KIND_LOG) != superblock_log_key_demanded(&group->superblocks[d]))
            return false;
    return true;
}
