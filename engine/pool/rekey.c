/*
 * Shallow rekey: the keys of all devices wrapped under a new KEK while the pool is in use (SECURITY 6).
 *
 *   prove    the present KEK, from its provider and what a person supplied, opens every superblock
 *   1        every superblock is written under both KEKs, read back, and opened by the new one, asked for anew
 *   commit   the witness names the new KEK: from this moment it is the one in force
 *   2        every superblock is written under the new one alone, and read back; a new root takes the old one's place
 *
 * Superblocks alone change, never a byte of a segment. A crash before the commit leaves the old KEK in force, one behind
 * it the new one; until 2 every superblock has what either needs, and the next open writes those that still have both
 * under the one in force (opening.c). A witness that could not be saved may be the new one after all: so both KEKs stay
 * where they are, and that open decides. Superblocks are written by rewrap.c.
 *
 * pool->changing keeps lock, unlock and other rekeys away, and the group is in use. Nothing of the data path waits for
 * any of it, but for the devices.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "base/random.h"
#include "crypto/arena.h"
#include "crypto/provider_root.h"
#include "engine/pool/keys.h"
#include "engine/pool/pool.h"
#include "engine/pool/rewrap.h"

#define NUMBERS_MAX 64 /* that are tried */

struct keks {
    uint8_t present[KEY_SIZE], next[KEY_SIZE], again[KEY_SIZE]; /* again: the next one, as the provider gives it anew */
};

struct rekey {
    struct pool *pool;
    struct group *group;
    struct rewrap superblocks;
    const struct provider_secret *secret;
    bool new_root, at_server; /* the provider keeps KEKs, not a KDK */
    bool made;                /* what next_make() made is to be forgotten where the change fails */
    struct wrapping next;
    struct keks *keks; /* in the arena */
};

/* ---- keys ----------------------------------------------------------------------------------------------------------- */

static enum error present_take(struct rekey *rekey)
{
    enum kek_state state; /* also one that is not to be used any more: to leave it is what this is for */
    return pool_keys_open(rekey->pool->conf, rekey->pool->witness, &rekey->group->superblocks[0], rekey->secret,
                          rekey->keks->present, &state);
}

static struct provider_kek which_next(const struct rekey *rekey)
{
    return (struct provider_kek){rekey->pool->conf->pool, rekey->next.kek_number, rekey->next.kek_salt};
}

static enum error next_take(struct rekey *rekey, uint8_t kek[KEY_SIZE])
{
    struct provider_kek which = which_next(rekey);
    enum kek_state state;
    TRY(provider_kek_open(rekey->pool->conf->provider, rekey->secret, &which, kek, &state));
    return state == KEK_ACTIVE ? ERROR_NONE
                               : error_explain(ERROR_ACCESS, "the new key is not active on its server");
}

static enum error kek_create(struct rekey *rekey, const struct provider_config *provider)
{
    struct provider_kek which = which_next(rekey);
    TRY(provider_kek_create(provider, rekey->secret, &which, rekey->keks->next));
    rekey->next.kek_salt = which.salt;
    rekey->made = true;
    return ERROR_NONE;
}

/* Sealed as the present one is. */
static enum error root_make(struct rekey *rekey)
{
    const struct provider_config *provider = rekey->pool->conf->provider;
    const struct provider_ops *operations;
    struct provider_root root;
    uint8_t kdk[KEY_SIZE];
    TRY(provider_root_new(provider, rekey->next.kek_number, &root));
    TRY(provider_find(provider, &operations));
    if (!operations->create_like)
        return kek_create(rekey, &root.config);
    TRY(operations->create_like(&root.config, provider, rekey->secret, kdk));
    memory_cleanse(kdk, sizeof kdk);
    rekey->made = true;
    return next_take(rekey, rekey->keks->next);
}

/* A key of that name may be there: of a change that a crash ended, or of a pool of which this one is a copy, and that
 * needs it. It is never touched; numbers only have to rise. */
static enum error server_make(struct rekey *rekey)
{
    const struct pool_conf *conf = rekey->pool->conf;
    enum error error = kek_create(rekey, conf->provider);
    for (unsigned tries = 1; error == ERROR_EXISTS && tries < NUMBERS_MAX; tries++) {
        message(MESSAGE_WARNING,
                "pool %s: provider %s has a key of number %" PRIu64 " already, of a change that was cut short or of a copy of "
                "this pool: it is left alone, and the next number taken",
                rekey->pool->directory, conf->provider->name, rekey->next.kek_number);
        rekey->next.kek_number++;
        error = kek_create(rekey, conf->provider);
    }
    return error;
}

/* The number is above every one that was in force; one of a change that did not happen may come again, with another salt. */
static enum error next_make(struct rekey *rekey)
{
    struct pool *pool = rekey->pool;
    mutex_lock(&pool->witness_lock);
    rekey->next = (struct wrapping){pool->witness->provider, pool->witness->kek_number + 1, random_u64()};
    mutex_unlock(&pool->witness_lock);
    if (rekey->at_server)
        return server_make(rekey);
    TRY(provider_root_forget(pool->conf->provider, rekey->next.kek_number));
    return rekey->new_root ? root_make(rekey) : next_take(rekey, rekey->keks->next);
}

/* The change did not happen. */
static enum error next_forget(struct rekey *rekey)
{
    struct provider_kek which = which_next(rekey);
    if (!rekey->made)
        return ERROR_NONE;
    if (!rekey->at_server)
        return provider_root_forget(rekey->pool->conf->provider, rekey->next.kek_number);
    provider_kek_withdraw(rekey->pool->conf->provider, &which);
    return ERROR_NONE;
}

/* ---- the steps ------------------------------------------------------------------------------------------------------ */

static enum error proved(struct rekey *rekey)
{
    TRY(present_take(rekey));
    return rewrap_open_all(&rekey->superblocks, rekey->keks->present, false);
}

static enum error all_under_both(struct rekey *rekey)
{
    const struct keks *keks = rekey->keks;
    TRY(rewrap_under_both(&rekey->superblocks, keks->present, &rekey->next, keks->next));
    TRY(next_take(rekey, rekey->keks->again));
    return rewrap_open_all(&rekey->superblocks, keks->again, true);
}

/* An earlier change that failed may have left superblocks under both. */
static enum error left_over_end(struct rekey *rekey)
{
    struct wrapping present = rekey->group->superblocks[0].wrapping;
    return rewrap_is_half_done(rekey->group) ? rewrap_under_one(&rekey->superblocks, &present, rekey->keks->present)
                                             : ERROR_NONE;
}

/* Where it cannot be undone now, the next open does it. */
static void undo(struct rekey *rekey)
{
    struct pool *pool = rekey->pool;
    enum error error = left_over_end(rekey);
    if (!error)
        error = next_forget(rekey);
    if (error)
        message(MESSAGE_WARNING, "pool %s: the change of keys that failed is undone at the next start: %s", pool->directory,
                error_sentence(error));
}

/* Whatever fails from here on: what is under both has the new KEK as its own, and the old one as the other. */
static void next_in_force(struct rekey *rekey)
{
    struct group *group = rekey->group;
    for (uint32_t d = 0; d < group->device_count; d++) {
        group->superblocks[d].other = group->superblocks[d].wrapping;
        group->superblocks[d].wrapping = rekey->next;
    }
}

static enum error commit(struct rekey *rekey)
{
    struct pool *pool = rekey->pool;
    struct witness *witness = pool->witness;
    mutex_lock(&pool->witness_lock);
    struct uuid provider = witness->provider;
    uint64_t number = witness->kek_number;
    witness->provider = rekey->next.provider;
    witness->kek_number = rekey->next.kek_number;
    enum error error = witness_save(witness);
    if (error) {
        witness->provider = provider;
        witness->kek_number = number;
    }
    mutex_unlock(&pool->witness_lock);
    if (!error)
        next_in_force(rekey);
    return error;
}

static enum error finish(struct rekey *rekey)
{
    TRY(rewrap_under_one(&rekey->superblocks, &rekey->next, rekey->keks->next));
    return provider_root_settle(rekey->pool->conf->provider, rekey->next.kek_number);
}

static enum error run(struct rekey *rekey)
{
    struct pool *pool = rekey->pool;
    const struct provider_ops *operations;
    TRY(provider_find(pool->conf->provider, &operations));
    rekey->at_server = operations->create_kek != NULL;
    if (rekey->at_server && rekey->new_root)
        return error_explain(ERROR_INVALID, "provider %s has no root key: each of its keys is a new one, leave out the new root",
                             pool->conf->provider->name);
    TRY(proved(rekey));
    TRY(left_over_end(rekey));
    TRY(provider_root_settle(pool->conf->provider, rekey->group->superblocks[0].wrapping.kek_number));
    enum error error = next_make(rekey);
    if (!error)
        error = all_under_both(rekey);
    if (error) {
        enum error first = error_prefix(error, "the keys are as they were");
        AUTO_FREE char *sentence = strdup(error_sentence(first));
        undo(rekey);
        return sentence ? error_explain(first, "%s", sentence) : first;
    }
    error = commit(rekey);
    if (error)
        return error_prefix(error, "whether the keys were changed is decided at the next start, which needs the same "
                                   "passphrase or key file as this one");
    atomic_store(&pool->kek_state, KEK_ACTIVE);
    error = finish(rekey);
    return error ? error_prefix(error, "the new key is in force; the next start ends the change") : ERROR_NONE;
}

/* ---- the whole ------------------------------------------------------------------------------------------------------ */

static enum error begin(struct pool *pool) REQUIRES(pool->lock)
{
    TRY(pool_check_usable(pool));
    if (pool->read_only)
        return error_explain(ERROR_READ_ONLY, "pool %s is open for reading only", pool->directory);
    if (pool->conf->encryption == POOL_ENCRYPTION_OFF)
        return error_explain(ERROR_INVALID, "pool %s is not encrypted: it has no key to change", pool->directory);
    if (pool->changing)
        return error_explain(ERROR_BUSY, "pool %s is being locked, or its keys are being changed, right now", pool->directory);
    pool->changing = true;
    return ERROR_NONE;
}

static enum error rekey_in_use(struct pool *pool, const struct pool_rekey_options *options)
{
    struct provider_secret secret = {options->passphrase, options->passphrase_size};
    struct rekey rekey = {.pool = pool,
                          .group = pool->group,
                          .superblocks = {.pool = pool, .group = pool->group},
                          .secret = options->passphrase ? &secret : NULL,
                          .new_root = options->new_root,
                          .keks = arena_allocate(sizeof *rekey.keks)};
    if (!rekey.keks)
        return ERROR_NO_MEMORY;
    uint64_t since = clock_monotonic();
    enum error error = run(&rekey);
    arena_free(rekey.keks);
    if (!error)
        message(MESSAGE_NOTICE, "pool %s: key %" PRIu64 " of provider %s is in force%s, after %" PRIu64 " ms",
                pool->directory, rekey.next.kek_number, pool->conf->provider->name,
                options->new_root ? ", made of a new root" : "",
                (clock_monotonic() - since) / CLOCK_MILLISECOND);
    return error;
}

enum error pool_rekey(struct pool *pool, const struct pool_rekey_options *options)
{
    mutex_lock(&pool->lock);
    enum error error = begin(pool);
    if (error) {
        mutex_unlock(&pool->lock);
        return error;
    }
    pool_group_use(pool);
    error = rekey_in_use(pool, options);
    pool_audit(pool, options->new_root ? "key.rekey-root" : "key.rekey", error);
    pool_group_leave(pool);
    pool->changing = false;
    mutex_unlock(&pool->lock);
    return error;
}

enum error pool_key_status(struct pool *pool, struct pool_key_status *status)
{
    *status = (struct pool_key_status){.encryption = pool->conf->encryption != POOL_ENCRYPTION_OFF};
    if (!status->encryption)
        return ERROR_NONE;
    const struct provider_config *provider = pool->conf->provider;
    snprintf(status->provider, sizeof status->provider, "%s", provider->name);
    snprintf(status->type, sizeof status->type, "%s", provider->type);
    snprintf(status->seal, sizeof status->seal, "%s", provider->seal ? provider->seal : "");
    status->provider_id = provider->id;
    mutex_lock(&pool->lock);
    enum error error = pool_check_unlocked(pool);
    if (!error) {
        mutex_lock(&pool->witness_lock);
        status->kek_number = pool->witness->kek_number;
        mutex_unlock(&pool->witness_lock);
        status->key_slots = pool->group->keyrings[0]->count;
    }
    mutex_unlock(&pool->lock);
    error_forget();
    return ERROR_NONE;
}
