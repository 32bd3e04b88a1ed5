/*
 * A new K_pool in a pool in use, by a deep rekey (deep_rekey.c):
 *
 *   superblocks  every device gets it, together with its new DEK, in one write
 *   use          the witness is written under it at once; entries of the audit and the file of the scrub are from then on
 *   demand       when the old DEKs are destroyed, in the same write: an older one proves nothing any more but older entries
 *
 * A crash in the first leaves devices that lack it: it is not used until they got it from the others (k_pools.c), the same one and no
 * new one. A crash behind it leaves a witness under the older one, which is taken until the demand. A crash in the last leaves devices
 * that do not demand it yet: the highest demand counts, and witness and file were durable under the new one before.
 *
 * pool->changing is held, but while k_pool_settle() looks. Once a pool is open pool->k_pools is changed here alone.
 */
#include <string.h>

#include "base/memory.h"
#include "base/message.h"
#include "crypto/arena.h"
#include "engine/pool/audit.h"
#include "engine/pool/pool.h"
#include "engine/pool/scrub.h"

static enum error one_more(struct k_pools *k_pools)
{
    uint8_t key[KEY_SIZE];
    TRY(key_generate(key));
    k_pools_add(k_pools, k_pools_highest(k_pools) + 1, key);
    memory_cleanse(key, sizeof key);
    return ERROR_NONE;
}

enum error k_pool_next(struct pool *pool, bool new, struct k_pools **next)
{
    struct k_pools *made = arena_allocate(sizeof *made);
    if (!made)
        return ERROR_NO_MEMORY;
    *made = *pool->k_pools;
    bool room = made->count < POOL_KEYS_MAX;
    enum error error = new && room ? one_more(made) : ERROR_NONE;
    if (error) {
        arena_free(made);
        return error;
    }
    if (new && !room)
        message(MESSAGE_WARNING, "pool %s has had %u keys for its witness and audit, and superblocks have room for no more: this deep "
                                 "rekey makes no other",
                pool->directory, (unsigned)made->count);
    *next = made;
    return ERROR_NONE;
}

static enum error witness_under_current(struct pool *pool)
{
    mutex_lock(&pool->witness_lock);
    bool is = pool->witness->pool_key == pool->k_pools->current;
    enum error error = witness_rekey(pool->witness, pool->k_pools);
    if (!error && !is)
        error = witness_save(pool->witness);
    mutex_unlock(&pool->witness_lock);
    return error;
}

/* Done again it changes nothing: what is under the current one stays so. */
static enum error all_under_current(struct pool *pool)
{
    TRY(witness_under_current(pool));
    TRY(audit_rekey(pool->audit, pool->conf->pool, pool->k_pools));
    mutex_lock(&pool->lock);
    enum error error = pool->scrub ? scrub_rekey(pool->scrub, pool->k_pools) : ERROR_AGAIN; /* about to be locked */
    mutex_unlock(&pool->lock);
    return error;
}

void k_pool_use(struct pool *pool, const struct k_pools *next)
{
    struct k_pools *k_pools = pool->k_pools;
    for (uint32_t i = k_pools->count; i < next->count; i++)
        k_pools_add(k_pools, next->keys[i].number, next->keys[i].key);
    k_pools->current = MAX(k_pools->current, k_pools_common(k_pools, pool->group->keyrings, pool->group->device_count));
    enum error error = all_under_current(pool);
    if (error && error != ERROR_AGAIN)
        message(MESSAGE_WARNING, "pool %s: not all that the new key of the pool is to seal could be sealed under it yet: %s",
                pool->directory, error_sentence(error));
    error_forget();
}

/* A witness that could not be saved is saved with the epoch of the superblocks that demand it, before they are written. */
enum error k_pool_settle(struct pool *pool)
{
    TRY(all_under_current(pool));
    mutex_lock(&pool->lock);
    enum error error = pool->scrub ? scrub_rekey_check(pool->scrub) : ERROR_AGAIN;
    mutex_unlock(&pool->lock);
    return error;
}

void k_pool_demanded(struct pool *pool)
{
    pool->k_pools->demanded = pool->k_pools->current;
    enum error error = audit_rekey(pool->audit, pool->conf->pool, pool->k_pools);
    if (error) /* entries go on as they did; the next open knows what is demanded */
        message(MESSAGE_WARNING, "pool %s: the audit takes entries under a replaced key until the next start: %s", pool->directory,
                error_sentence(error));
    error_forget();
}
