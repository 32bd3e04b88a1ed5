/* The keys of control_fake.h: a passphrase that is compared, and a count of changes. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/control_fake.h"

static enum error leave(struct pool *pool, enum error error)
{
    pthread_mutex_unlock(&pool->lock);
    return error;
}

enum error pool_unlock(struct pool *pool, const char *passphrase, size_t size)
{
    pthread_mutex_lock(&pool->lock);
    const char *wanted = pool->passphrase;
    if (wanted != NULL && passphrase == NULL)
        return leave(pool, error_explain(ERROR_LOCKED, "the pool is locked: type `coffer -C '/srv/a pool' unlock`"));
    if (wanted != NULL && (size != strlen(wanted) || memcmp(passphrase, wanted, size) != 0))
        return leave(pool, ERROR_WRONG_KEY);
    pool->status.locked = false;
    return leave(pool, ERROR_NONE);
}

enum error pool_lock(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->status.locked = true;
    return leave(pool, ERROR_NONE);
}

enum error pool_rekey(struct pool *pool, const struct pool_rekey_options *options)
{
    pthread_mutex_lock(&pool->lock);
    const char *wanted = pool->passphrase;
    if (pool->status.locked || (wanted != NULL && options->passphrase == NULL))
        return leave(pool, error_explain(ERROR_LOCKED, "the pool is locked: type `coffer -C '/srv/a pool' unlock`"));
    if (wanted != NULL && (options->passphrase_size != strlen(wanted) ||
                           memcmp(options->passphrase, wanted, options->passphrase_size) != 0))
        return leave(pool, ERROR_WRONG_KEY);
    pool->kek_number++;
    pool->roots += options->new_root;
    return leave(pool, ERROR_NONE);
}

enum error pool_key_status(struct pool *pool, struct pool_key_status *status)
{
    pthread_mutex_lock(&pool->lock);
    *status = (struct pool_key_status){.encryption = pool->status.encryption,
                                       .provider = "native",
                                       .type = "native",
                                       .kek_number = pool->status.locked ? 0 : 1 + pool->kek_number,
                                       .key_slots = 3};
    snprintf(status->seal, sizeof(status->seal), "%s", pool->seal != NULL         ? pool->seal
                                                          : pool->passphrase != NULL ? "passphrase"
                                                                                     : "file");
    return leave(pool, ERROR_NONE);
}
