/*
 * The end of keys that were in force: revoked and destroyed on their servers, or their file overwritten.
 *
 * Which those are the witness knows. Every device is there while the pool is open, and with no change of keys under way or cut
 * short every superblock is under the one key in force, so nothing needs an older one. The witness forgets a key when its
 * provider has it no more; a crash before that leaves it listed, and to end it again is well.
 *
 * pool->changing keeps changes of keys away; the witness under its lock.
 */
#include <inttypes.h>

#include "base/memory.h"
#include "base/message.h"
#include "crypto/provider_look.h"
#include "engine/pool/key_place.h"
#include "engine/pool/pool.h"
#include "engine/pool/providers.h"
#include "engine/pool/rekey.h"

struct retirement {
    struct pool *pool;
    const struct pool_retire_options *options;
    const struct provider_config *provider; /* NULL: any */
    size_t count;
    struct witness_retained keys[WITNESS_RETAINED_MAX + 1];
};

static bool is_meant(const struct retirement *retirement, const struct witness_retained *key)
{
    return (!retirement->provider || uuid_equal(retirement->provider->id, key->provider)) &&
           (retirement->options->number == 0 || retirement->options->number == key->kek_number);
}

/* A list that an accepted roll-back made old may name it. Of a provider that keeps one KDK in a file every number is that one. */
static bool is_in_force(const struct retirement *retirement, const struct witness *witness, const struct witness_retained *key)
{
    const struct provider_config *provider = provider_of_id(retirement->pool->providers, key->provider);
    bool one_for_all = provider && provider->server_count == 0;
    return uuid_equal(key->provider, witness->provider) && (one_for_all || key->kek_number == witness->kek_number);
}

/* One that no list has, because an older version changed it: its name on the servers is known all the same. */
static void unlisted_add(struct retirement *retirement)
{
    const struct provider_config *provider = retirement->provider ? retirement->provider : retirement->pool->provider;
    if (retirement->count == 0 && retirement->options->number != 0 && provider->server_count != 0)
        retirement->keys[retirement->count++] = (struct witness_retained){provider->id, retirement->options->number};
}

static enum error not_found(const struct retirement *retirement)
{
    return error_explain(ERROR_NOT_FOUND, "no such old key is known of pool %s: `%s key status` lists those that there are",
                         retirement->pool->directory, retirement->pool->command);
}

static enum error choose(struct retirement *retirement)
{
    struct pool *pool = retirement->pool;
    uint64_t number = retirement->options->number;
    mutex_lock(&pool->witness_lock);
    uint64_t in_force = pool->witness->kek_number, rewriting = pool->witness->rewriting;
    for (size_t i = 0; i < pool->witness->retained_count; i++)
        if (is_meant(retirement, &pool->witness->retained[i]) &&
            !is_in_force(retirement, pool->witness, &pool->witness->retained[i]))
            retirement->keys[retirement->count++] = pool->witness->retained[i];
    mutex_unlock(&pool->witness_lock);
    if (rewriting != 0)
        return error_explain(ERROR_BUSY,
                             "a change of keys of pool %s is not complete, devices may need the old key: the next `key "
                             "rekey --shallow`, or the next start, ends it",
                             pool->directory);
    if (number == in_force)
        return error_explain(ERROR_BUSY, "key %" PRIu64 " is the one in force: it is not retired before another one is",
                             number);
    if (number > in_force)
        return not_found(retirement);
    unlisted_add(retirement);
    return retirement->count == 0 ? not_found(retirement) : ERROR_NONE;
}

static enum error end_one(struct retirement *retirement, const struct witness_retained *key)
{
    struct pool *pool = retirement->pool;
    const struct provider_config *provider = provider_of_id(pool->providers, key->provider);
    char id[UUID_TEXT_SIZE];
    uuid_format(key->provider, id);
    if (!provider)
        return error_explain(ERROR_NOT_FOUND,
                             "key %" PRIu64 " is one of the provider of id %s, which %s/%s names no more: add it "
                             "again, or end the key there yourself",
                             key->kek_number, id, pool->directory, POOL_CONF_NAME);
    struct provider_kek which = {.pool = pool->conf->pool, .number = key->kek_number};
    if (retirement->options->destroy)
        TRY(key_place_check(pool->directory, provider, &retirement->options->key_file, retirement->options->key_file != NULL));
    TRY(provider_key_end(provider, &which, retirement->options->destroy));
    message(MESSAGE_NOTICE, "pool %s: key %" PRIu64 " of provider %s is %s", pool->directory, key->kek_number, provider->name,
            retirement->options->destroy ? "destroyed" : "revoked");
    if (!retirement->options->destroy)
        return ERROR_NONE;
    mutex_lock(&pool->witness_lock);
    witness_release(pool->witness, key->provider, key->kek_number);
    enum error error = witness_save(pool->witness);
    mutex_unlock(&pool->witness_lock);
    return error;
}

static enum error retire(struct retirement *retirement, uint64_t *count)
{
    TRY(providers_read(retirement->pool));
    if (retirement->options->provider)
        TRY(provider_named(retirement->pool->providers, retirement->options->provider, &retirement->provider));
    TRY(choose(retirement));
    for (*count = 0; *count < retirement->count; (*count)++)
        TRY(end_one(retirement, &retirement->keys[*count]));
    return ERROR_NONE;
}

enum error pool_key_retire(struct pool *pool, const struct pool_retire_options *options, uint64_t *count)
{
    AUTO_FREE struct retirement *retirement = memory_zeroed(1, sizeof *retirement);
    if (!retirement)
        return ERROR_NO_MEMORY;
    *retirement = (struct retirement){.pool = pool, .options = options};
    *count = 0;
    TRY(key_change_begin(pool));
    enum error error = retire(retirement, count);
    pool_audit(pool, options->destroy ? "key.destroy" : "key.revoke", error);
    pool_audit_anchor(pool);
    key_change_end(pool);
    return error;
}
