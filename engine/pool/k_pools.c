/*
 * The K_pools that the keyrings of a pool's devices hold, as one table.
 *
 * A new one comes into the superblocks one device after the other, so a crash leaves devices with it and without. It is not sealed
 * with until all have it: whatever device is lost later, another one's slots prove what was sealed. Pure functions over the caller's
 * memory; no locks, nothing on a disk.
 */
#include "engine/pool/k_pools.h"

#include <inttypes.h>
#include <string.h>

#include "base/memory.h"

const uint8_t *k_pools_find(const struct k_pools *k_pools, uint64_t number)
{
    for (uint32_t i = 0; i < k_pools->count; i++)
        if (k_pools->keys[i].number == number)
            return k_pools->keys[i].key;
    return NULL;
}

const uint8_t *k_pools_taken(const struct k_pools *k_pools, uint64_t number)
{
    return number < k_pools->demanded ? NULL : k_pools_find(k_pools, number);
}

enum error k_pools_explain(const struct k_pools *k_pools, const char *path, uint64_t number)
{
    if (number < k_pools->demanded)
        return error_explain(ERROR_FORGED,
                             "%s is sealed under key %" PRIu64 " of the pool, which a deep rekey replaced by key %" PRIu32
                             ": it was forged with the old key, or an older copy was put back",
                             path, number, k_pools->demanded);
    return error_explain(ERROR_FORGED, "%s is sealed under key %" PRIu64 " of the pool, which no device holds: it was changed, or is of "
                                       "another pool", path, number);
}

void k_pools_add(struct k_pools *k_pools, uint32_t number, const uint8_t key[KEY_SIZE])
{
    ASSERT(k_pools->count < POOL_KEYS_MAX && (k_pools->count == 0 || number > k_pools_highest(k_pools)));
    struct k_pool *added = &k_pools->keys[k_pools->count];
    added->number = number;
    memcpy(added->key, key, KEY_SIZE);
    k_pools->count++;
}

/* Between those that are there, by its number. */
static enum error enter(struct k_pools *k_pools, const struct keyring_slot *slot)
{
    const uint8_t *known = k_pools_find(k_pools, slot->number);
    if (known)
        return memory_compare_constant_time(known, slot->key, KEY_SIZE) == 0
                   ? ERROR_NONE
                   : error_explain(ERROR_CORRUPT, "two devices hold different keys of the pool of number %" PRIu32, slot->number);
    if (k_pools->count == POOL_KEYS_MAX)
        return error_explain(ERROR_CORRUPT, "the devices hold more than %d keys of the pool", POOL_KEYS_MAX);
    uint32_t at = k_pools->count++;
    for (; at > 0 && k_pools->keys[at - 1].number > slot->number; at--)
        k_pools->keys[at] = k_pools->keys[at - 1];
    k_pools->keys[at].number = slot->number;
    memcpy(k_pools->keys[at].key, slot->key, KEY_SIZE);
    return ERROR_NONE;
}

uint32_t k_pools_common(const struct k_pools *k_pools, struct keyring *const *keyrings, size_t count)
{
    uint32_t common = 0;
    for (uint32_t i = 0; i < k_pools->count; i++) {
        bool all = true;
        for (size_t d = 0; d < count; d++)
            all = all && keyring_find(keyrings[d], KEY_KIND_POOL, k_pools->keys[i].number);
        if (all)
            common = k_pools->keys[i].number;
    }
    return common == 0 || common < k_pools->demanded ? k_pools_highest(k_pools) : common;
}

enum error k_pools_gather(const struct superblock *superblocks, struct keyring *const *keyrings, size_t count,
                          struct k_pools *k_pools)
{
    *k_pools = (struct k_pools){0};
    for (size_t d = 0; d < count; d++) {
        k_pools->demanded = MAX(k_pools->demanded, superblocks[d].pool_key_demanded);
        for (size_t i = 0; i < keyrings[d]->count; i++)
            if (keyrings[d]->slots[i].kind == KEY_KIND_POOL)
                TRY(enter(k_pools, &keyrings[d]->slots[i]));
    }
    if (k_pools->count == 0)
        return error_explain(ERROR_CORRUPT, "no device has a key of the pool");
    k_pools->current = k_pools_common(k_pools, keyrings, count);
    return ERROR_NONE;
}

enum error k_pools_derive(const struct k_pools *k_pools, struct uuid pool, k_pool_derive *derive, struct k_pools_derived *derived)
{
    struct k_pools *of = &derived->of;
    *of = (struct k_pools){.demanded = k_pools->demanded, .current = k_pools->current, .count = k_pools->count};
    for (uint32_t i = 0; i < k_pools->count; i++) {
        of->keys[i].number = k_pools->keys[i].number;
        TRY(derive(k_pools->keys[i].key, pool, of->keys[i].key));
    }
    return ERROR_NONE;
}
