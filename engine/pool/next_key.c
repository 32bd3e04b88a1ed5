/*
 * Where a provider keeps KEKs (kmip) the next one has a name of its own. Where it keeps a KDK in a file, the next KEK is made
 * of the same KDK, or of a new one, which lies beside in PATH.next-N until the change is complete (crypto/provider_root.h); of
 * a provider that is not in force it is always a new one, whatever file it may have left from another time.
 *
 * A crash leaves a key that wraps nothing: under its number's name on a server, where it is left alone, or in PATH.next-N,
 * which the next change of keys overwrites. No locks but the witness's.
 */
#include "engine/pool/next_key.h"

#include <inttypes.h>
#include <string.h>

#include "base/memory.h"
#include "base/message.h"
#include "base/random.h"
#include "crypto/provider_root.h"
#include "engine/pool/kek_number.h"
#include "engine/pool/pool.h"

#define NUMBERS_MAX 64 /* that are tried */

static struct provider_kek which_next(const struct next_key *next)
{
    return (struct provider_kek){next->pool->conf->pool, next->wrapping.kek_number, next->wrapping.kek_salt};
}

static uint64_t number_in_force(struct pool *pool)
{
    mutex_lock(&pool->witness_lock);
    uint64_t number = pool->witness->kek_number;
    mutex_unlock(&pool->witness_lock);
    return number;
}

/* The file that a new root replaces holds the key in force, or there is none: it may be another pool's stick, or hold the root that
 * a copy of this pool has, where a backup opened the pool. */
static enum error replaced_check(const struct next_key *next)
{
    struct pool *pool = next->pool;
    mutex_lock(&pool->witness_lock);
    struct kek_expected expected = {.provider = next->provider, .number = pool->witness->kek_number, .in_force = true,
                                    .root_kcv = pool->witness->root_kcv};
    mutex_unlock(&pool->witness_lock);
    enum error error = root_check(&expected);
    if (error && error != ERROR_KEY_ABSENT)
        return error_prefix(error, "what lies where provider %s keeps its key is to be moved away", next->provider->name);
    error_forget();
    return ERROR_NONE;
}

enum error next_key_begin(struct next_key *next)
{
    const struct provider_ops *operations;
    TRY(provider_find(next->provider, &operations));
    next->at_server = operations->create_kek != NULL;
    if (next->at_server && next->new_root && next->provider == next->pool->provider)
        return error_explain(ERROR_INVALID,
                             "provider %s has no root key: each of its keys is a new one, leave out the new root",
                             next->provider->name);
    if (next->provider == next->pool->provider)
        return next->new_root ? replaced_check(next) : ERROR_NONE;
    struct provider_kek which = {.pool = next->pool->conf->pool, .number = number_in_force(next->pool) + 1};
    return provider_ready_check(next->provider, &which);
}

enum error next_key_fetch(const struct next_key *next, uint8_t kek[KEY_SIZE])
{
    struct provider_kek which = which_next(next);
    enum kek_state state;
    TRY(provider_kek_open(next->provider, next->secret, &which, kek, &state));
    return state == KEK_ACTIVE ? ERROR_NONE
                               : error_explain(ERROR_ACCESS, "the new key is not active on its server");
}

static enum error kek_create(struct next_key *next, const struct provider_config *provider, uint8_t kek[KEY_SIZE])
{
    struct provider_kek which = which_next(next);
    TRY(provider_kek_create(provider, next->secret, &which, kek));
    next->wrapping.kek_salt = which.salt;
    next->made = true;
    return ERROR_NONE;
}

/* A new root. */
static enum error root_make(struct next_key *next, uint8_t kek[KEY_SIZE])
{
    const struct provider_ops *operations;
    struct provider_root root;
    uint8_t kdk[KEY_SIZE];
    TRY(provider_root_new(next->provider, next->wrapping.kek_number, &root));
    TRY(provider_find(next->provider, &operations));
    if (!next->like || !operations->create_like)
        return kek_create(next, &root.config, kek);
    TRY(provider_file_digest(next->provider->path, next->model)); /* before: what is then read may be a newer one only */
    next->modelled = true;
    TRY(operations->create_like(&root.config, next->provider, next->secret, next->fresh, kdk));
    memory_cleanse(kdk, sizeof kdk);
    next->made = true;
    return next_key_fetch(next, kek);
}

enum error next_key_check_like(const struct next_key *next)
{
    uint8_t now[KEY_FILE_DIGEST_SIZE];
    if (!next->modelled)
        return ERROR_NONE;
    TRY(provider_file_digest(next->provider->path, now));
    return memcmp(now, next->model, sizeof now) == 0
               ? ERROR_NONE
               : error_explain(ERROR_AGAIN, "the key in %s was sealed anew meanwhile, or values of PCRs were approved: try again",
                               next->provider->path);
}

/* A key of that name may be there: of a change that a crash ended, or of a pool of which this one is a copy, and that
 * needs it. It is never touched; numbers only have to rise. */
static enum error server_make(struct next_key *next, uint8_t kek[KEY_SIZE])
{
    enum error error = kek_create(next, next->provider, kek);
    for (unsigned tries = 1; error == ERROR_EXISTS && tries < NUMBERS_MAX; tries++) {
        message(MESSAGE_WARNING,
                "pool %s: provider %s has a key of number %" PRIu64 " already, of a change that was cut short or of a copy of "
                "this pool: it is left alone, and the next number taken",
                next->pool->directory, next->provider->name, next->wrapping.kek_number);
        next->wrapping.kek_number++;
        error = kek_create(next, next->provider, kek);
    }
    return error;
}

/* What changes that did not happen left. */
static enum error left_over_forget(const struct next_key *next)
{
    const struct pool_conf *conf = next->pool->providers;
    for (size_t i = 0; i < conf->provider_count; i++)
        TRY(provider_root_forget(&conf->providers[i], next->wrapping.kek_number));
    return ERROR_NONE;
}

/* One of a change that did not happen may come again, with another salt. */
enum error next_key_make(struct next_key *next, uint8_t kek[KEY_SIZE])
{
    next->wrapping = (struct wrapping){next->provider->id, number_in_force(next->pool) + 1, random_u64()};
    TRY(left_over_forget(next));
    if (next->at_server)
        return server_make(next, kek);
    return next->new_root ? root_make(next, kek) : next_key_fetch(next, kek);
}

enum error next_key_forget(const struct next_key *next, const uint8_t kek[KEY_SIZE])
{
    struct provider_kek which = which_next(next);
    if (!next->made)
        return ERROR_NONE;
    if (!next->at_server)
        return provider_root_forget(next->provider, next->wrapping.kek_number);
    provider_kek_withdraw(next->provider, &which, kek);
    return ERROR_NONE;
}

enum error next_key_settle(const struct next_key *next)
{
    return provider_root_settle(next->provider, next->wrapping.kek_number, next->pool->directory);
}
