/* Which key is in force, and which older ones their providers may still keep. Under pool->lock; the witness under its own. */
#include <stdio.h>

#include "base/memory.h"
#include "engine/pool/pool.h"
#include "engine/pool/providers.h"

static void retained_take(struct pool *pool, struct pool_key_status *status) REQUIRES(pool->lock)
{
    _Static_assert(POOL_RETAINED_MAX >= WITNESS_RETAINED_MAX, "all are told");
    mutex_lock(&pool->witness_lock);
    const struct witness *witness = pool->witness;
    status->kek_number = witness->kek_number;
    status->half_done = witness->rewriting != 0;
    for (size_t i = 0; i < witness->retained_count; i++) {
        struct pool_key_retained *one = &status->retained[status->retained_count++];
        const struct provider_config *provider = provider_of_id(pool->providers, witness->retained[i].provider);
        *one = (struct pool_key_retained){.provider_id = witness->retained[i].provider,
                                          .kek_number = witness->retained[i].kek_number};
        snprintf(one->provider, sizeof one->provider, "%s", provider ? provider->name : "");
    }
    mutex_unlock(&pool->witness_lock);
}

enum error pool_key_status(struct pool *pool, struct pool_key_status *status)
{
    *status = (struct pool_key_status){.encryption = pool->conf->encryption != POOL_ENCRYPTION_OFF};
    if (!status->encryption)
        return ERROR_NONE;
    mutex_lock(&pool->lock);
    const struct provider_config *provider = pool->provider;
    snprintf(status->provider, sizeof status->provider, "%s", provider->name);
    snprintf(status->type, sizeof status->type, "%s", provider->type);
    snprintf(status->seal, sizeof status->seal, "%s", provider->seal ? provider->seal : "");
    status->provider_id = provider->id;
    if (pool_check_unlocked(pool) == ERROR_NONE) {
        retained_take(pool, status);
        status->key_slots = group_keyring(pool->group, 0)->count;
    }
    mutex_unlock(&pool->lock);
    error_forget();
    return ERROR_NONE;
}
