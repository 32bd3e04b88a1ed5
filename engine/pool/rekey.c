/*
 * Shallow rekey: the keys of all devices wrapped under a new KEK while the pool is in use (SECURITY 6). The new KEK is one of
 * the provider in force, or of another one that the conf names: then that one is in force afterwards (swap).
 *
 *   prove    the present KEK, from its provider and what a person supplied, or of a backup or a recovery key where the
 *            provider has lost it, opens every superblock
 *   1        every superblock is written under both KEKs, read back, and opened by the new one, asked for anew
 *   commit   the witness names the new KEK: from this moment it is the one in force. The line `provider =` follows
 *   2        every superblock is written under the new one alone, and read back; a new root takes the old one's place
 *
 * Superblocks alone change, never a byte of a segment. A crash before the commit leaves the old KEK in force, one behind
 * it the new one; until 2 every superblock has what either needs, and the next open writes those that still have both
 * under the one in force (opening.c). A witness that could not be saved may be the new one after all: so both KEKs stay
 * where they are, and that open decides. Superblocks are written by rewrap.c, the new key is made by next_key.c.
 * Of two providers both are in the conf all the while, and the line says only what the witness says (providers.c).
 *
 * pool->changing keeps lock, unlock and other rekeys away, and the group is in use. Nothing of the data path waits for
 * any of it, but for the devices.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "crypto/arena.h"
#include "crypto/hierarchy.h"
#include "crypto/provider_key.h"
#include "crypto/provider_root.h"
#include "engine/pool/conf_edit.h"
#include "engine/pool/deep_rekey.h"
#include "engine/pool/hosts.h"
#include "engine/pool/keys.h"
#include "engine/pool/next_key.h"
#include "engine/pool/pool.h"
#include "engine/pool/providers.h"
#include "engine/pool/rekey.h"
#include "engine/pool/rewrap.h"

struct keks {
    uint8_t present[KEY_SIZE], next[KEY_SIZE], again[KEY_SIZE]; /* again: the next one, as the provider gives it anew */
};

struct rekey {
    struct pool *pool;
    struct group *group;
    struct rewrap superblocks;
    const struct provider_secret *secret; /* of the present key */
    struct next_key next;
    struct keks *keks; /* in the arena */
};

/* ---- the steps ------------------------------------------------------------------------------------------------------ */

static enum error proved(struct rekey *rekey)
{
    enum kek_state state; /* also one that is not to be used any more: to leave it is what this is for */
    TRY(pool_keys_open(rekey->pool->providers, rekey->pool->witness, &rekey->group->superblocks[0], rekey->secret,
                       rekey->keks->present, &state));
    enum error error = rewrap_open_all(&rekey->superblocks, rekey->keks->present, false);
    return error == ERROR_WRONG_KEY && rekey->secret && rekey->secret->key ? pool_kept_key_outdated() : error;
}

static enum error all_under_both(struct rekey *rekey)
{
    const struct keks *keks = rekey->keks;
    TRY(rewrap_under_both(&rekey->superblocks, keks->present, &rekey->next.wrapping, keks->next));
    TRY(next_key_fetch(&rekey->next, rekey->keks->again));
    return rewrap_open_all(&rekey->superblocks, keks->again, true);
}

/* An earlier change that failed may have left superblocks under both, by what is remembered of whole writings. One that failed in its
 * middle is none: until the next change writes that device, it has old and new copies, which the key in force opens all. */
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
        error = next_key_forget(&rekey->next, rekey->keks->next);
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
        group->superblocks[d].wrapping = rekey->next.wrapping;
    }
}

/* What the old key leaves behind: its own name on a server, or the file of a provider that is in force no more. A new root
 * takes the place of what its provider had. */
static void old_key_note(const struct rekey *rekey, struct witness *witness)
{
    const struct next_key *next = &rekey->next;
    bool same = uuid_equal(witness->provider, next->wrapping.provider);
    if (!next->at_server)
        witness_release(witness, next->wrapping.provider, 0);
    if (!same || next->at_server)
        witness_retain(witness, witness->provider, witness->kek_number);
}

/* As it was where it cannot be saved. */
static enum error witness_commit(const struct rekey *rekey, struct witness *witness)
{
    AUTO_FREE struct witness *before = memory_zeroed(1, sizeof *before);
    if (!before)
        return ERROR_NO_MEMORY;
    *before = *witness; /* none of what it owns changes here */
    old_key_note(rekey, witness);
    witness->provider = rekey->next.wrapping.provider;
    witness->kek_number = rekey->next.wrapping.kek_number;
    enum error error = pool_kcvs_take(rekey->next.provider, NULL, rekey->keks->next, witness);
    if (!error)
        error = witness_save(witness);
    if (error)
        *witness = *before;
    return error;
}

static enum error check_named(const struct rekey *rekey)
{
    const struct pool *pool = rekey->pool;
    struct pool_conf *conf;
    TRY(pool_conf_read(pool->directory, &conf));
    bool named = provider_of_id(conf, rekey->next.wrapping.provider) != NULL;
    pool_conf_destroy(conf);
    return named ? ERROR_NONE
                 : error_explain(ERROR_NOT_FOUND, "%s/%s does not name provider %s any more", pool->directory, POOL_CONF_NAME,
                                 rekey->next.provider->name);
}

/* `*decided`: the error is of before the witness was written, so nothing changed. */
static enum error commit_named(struct rekey *rekey, bool *decided)
{
    struct pool *pool = rekey->pool;
    *decided = true;
    TRY(check_named(rekey));
    TRY(next_key_check_like(&rekey->next));
    *decided = false;
    mutex_lock(&pool->witness_lock);
    enum error error = witness_commit(rekey, pool->witness);
    mutex_unlock(&pool->witness_lock);
    return error;
}

/* Neither the conf nor the file of the key in force can be changed meanwhile. */
static enum error commit(struct rekey *rekey, bool *decided)
{
    struct pool *pool = rekey->pool;
    int lock;
    *decided = true;
    TRY(conf_edit_begin(pool->directory, &lock));
    enum error error = commit_named(rekey, decided);
    conf_edit_end(lock);
    TRY(error);
    next_in_force(rekey);
    deep_rekey_kek_changed(pool, rekey->keks->next);
    providers_use(pool, rekey->next.wrapping.provider);
    atomic_store(&pool->kek_state, KEK_ACTIVE);
    return ERROR_NONE;
}

static enum error finish(struct rekey *rekey)
{
    TRY(rewrap_under_one(&rekey->superblocks, &rekey->next.wrapping, rekey->keks->next));
    return next_key_settle(&rekey->next);
}

static enum error as_it_was(struct rekey *rekey, enum error error)
{
    enum error first = error_prefix(error, "the keys are as they were");
    AUTO_FREE char *sentence = strdup(error_sentence(first));
    undo(rekey);
    return sentence ? error_explain(first, "%s", sentence) : first;
}

static enum error run(struct rekey *rekey)
{
    struct pool *pool = rekey->pool;
    TRY(proved(rekey));
    TRY(next_key_begin(&rekey->next));
    TRY(left_over_end(rekey));
    TRY(provider_root_settle(pool->provider, rekey->group->superblocks[0].wrapping.kek_number, pool->directory));
    bool decided = true;
    enum error error = next_key_make(&rekey->next, rekey->keks->next);
    if (!error)
        error = all_under_both(rekey);
    if (!error)
        error = commit(rekey, &decided);
    if (error && decided)
        return as_it_was(rekey, error);
    if (error)
        return error_prefix(error, "whether the keys were changed is decided at the next start, which needs the "
                                   "passphrase or key file of before, or the new one: keep both");
    providers_mend_line(pool);
    error = finish(rekey);
    return error ? error_prefix(error, "the new key is in force; the next start ends the change") : ERROR_NONE;
}

/* ---- a rehearsal ----------------------------------------------------------------------------------------------------- */

/* Everything but to write it: each data key wrapped under the new key, and unwrapped by that key as it was fetched anew. */
static enum error slot_rehearse(const struct rekey *rekey, const struct keyring_slot *slot, struct uuid device)
{
    uint8_t wrap_key[KEY_SIZE], wrapped[WRAPPED_KEY_SIZE], back[KEY_SIZE];
    struct uuid pool = rekey->pool->conf->pool;
    enum error error = wrap_key_derive(rekey->keks->next, pool, device, wrap_key);
    if (!error)
        error = key_wrap(wrap_key, slot->kind, slot->number, device, slot->key, wrapped);
    if (!error)
        error = wrap_key_derive(rekey->keks->again, pool, device, wrap_key);
    if (!error)
        error = key_unwrap(wrap_key, slot->kind, slot->number, device, wrapped, back);
    if (!error && memory_compare_constant_time(back, slot->key, KEY_SIZE) != 0)
        error = error_explain(ERROR_CORRUPT, "a key that was wrapped does not come back as it was");
    memory_cleanse(wrap_key, sizeof wrap_key);
    memory_cleanse(back, sizeof back);
    return error;
}

static enum error rehearse_all(struct rekey *rekey)
{
    const struct group *group = rekey->group;
    TRY(next_key_make(&rekey->next, rekey->keks->next));
    TRY(next_key_fetch(&rekey->next, rekey->keks->again));
    for (uint32_t d = 0; d < group->device_count; d++)
        for (size_t s = 0; s < group->keyrings[d]->count; s++)
            TRY(slot_rehearse(rekey, &group->keyrings[d]->slots[s], group->superblocks[d].device));
    return ERROR_NONE;
}

/* It forgets what failed changes left, and of one that is not decided the next start may need it. */
static enum error check_decided(const struct rekey *rekey)
{
    if (!rewrap_is_half_done(rekey->group))
        return ERROR_NONE;
    return error_explain(ERROR_BUSY,
                         "a change of keys of pool %s is not complete: the next `key rekey --shallow`, or the next start, ends it, "
                         "and a rehearsal may follow",
                         rekey->pool->directory);
}

static enum error rehearse(struct rekey *rekey)
{
    TRY(proved(rekey));
    TRY(check_decided(rekey));
    TRY(next_key_begin(&rekey->next));
    enum error error = rehearse_all(rekey);
    AUTO_FREE char *sentence = error ? strdup(error_sentence(error)) : NULL;
    enum error forgotten = next_key_forget(&rekey->next, rekey->keks->next);
    return sentence ? error_explain(error, "%s", sentence) : error ? error : forgotten;
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

static void tell(const struct rekey *rekey, uint64_t since)
{
    message(MESSAGE_NOTICE, "pool %s: key %" PRIu64 " of provider %s is in force%s, after %" PRIu64 " ms",
            rekey->pool->directory, rekey->next.wrapping.kek_number, rekey->next.provider->name,
            rekey->next.new_root && !rekey->next.at_server ? ", made of a new root" : "",
            (clock_monotonic() - since) / CLOCK_MILLISECOND);
}

static const struct provider_secret *secret_or_none(const struct provider_secret *secret)
{
    return secret->passphrase || secret->key ? secret : NULL;
}

/* The provider itself has to give the next key, which it cannot make of a root that it has lost. */
static enum error check_kept(const struct pool *pool, const struct next_key *next)
{
    bool keeps_keks;
    TRY(provider_keeps_keks(next->provider, &keeps_keks));
    if (keeps_keks || next->new_root)
        return ERROR_NONE;
    return error_explain(ERROR_INVALID,
                         "with a backup or a recovery key as the proof, provider %s needs a new root key: `%s key rekey --shallow "
                         "--new-root`",
                         next->provider->name, pool->command);
}

/* A key file that is gone says nothing of how its key was sealed: then the conf does. */
static bool is_like(const struct next_key *next, bool by_kept)
{
    return !by_kept || (next->provider->path && access(next->provider->path, F_OK) == 0);
}

static enum error check_hosts(struct pool *pool, const struct pool_rekey_options *options)
{
    if (options->provider == NULL || options->accept_cycle)
        return ERROR_NONE;
    mutex_lock(&pool->lock);
    enum error error = hosts_check_provider(pool, options->provider);
    mutex_unlock(&pool->lock);
    return error;
}

/* Which provider makes the next key, and how it is sealed. */
static enum error choose(struct pool *pool, const struct pool_rekey_options *options, struct next_key *next)
{
    TRY(providers_read(pool));
    next->provider = pool->provider;
    if (options->provider)
        TRY(provider_named(pool->providers, options->provider, &next->provider));
    bool same = next->provider == pool->provider;
    if (same && options->provider)
        return error_explain(ERROR_EXISTS, "the key in force is one of provider %s already", next->provider->name);
    TRY(check_hosts(pool, options));
    next->new_root = options->new_root || !same;
    next->fresh = next->secret != NULL;
    next->like = same && is_like(next, options->key != NULL);
    return options->key ? check_kept(pool, next) : ERROR_NONE;
}

static enum error rekey_with(struct rekey *rekey, const struct pool_rekey_options *options)
{
    const struct provider_secret secret = {options->passphrase, options->passphrase_size, options->key},
                                 next = {options->new_passphrase, options->new_passphrase_size};
    uint64_t since = clock_monotonic();
    rekey->secret = secret_or_none(&secret);
    rekey->next.pool = rekey->pool;
    rekey->next.secret = secret_or_none(&next);
    TRY(choose(rekey->pool, options, &rekey->next));
    if (!rekey->next.secret && !options->key && rekey->next.provider == rekey->pool->provider)
        rekey->next.secret = rekey->secret;
    if (options->dry_run)
        return rehearse(rekey);
    TRY(run(rekey));
    tell(rekey, since);
    return ERROR_NONE;
}

static enum error rekey_in_use(struct pool *pool, const struct pool_rekey_options *options)
{
    struct rekey rekey = {.pool = pool,
                          .group = pool->group,
                          .superblocks = {.pool = pool, .group = pool->group},
                          .keks = arena_allocate(sizeof *rekey.keks)};
    if (!rekey.keks)
        return ERROR_NO_MEMORY;
    enum error error = rekey_with(&rekey, options);
    arena_free(rekey.keks);
    return error;
}

enum error key_change_begin(struct pool *pool)
{
    mutex_lock(&pool->lock);
    enum error error = begin(pool);
    if (error) {
        mutex_unlock(&pool->lock);
        return error;
    }
    pool_group_use(pool);
    return ERROR_NONE;
}

void key_change_end(struct pool *pool)
{
    pool_group_leave(pool);
    pool->changing = false;
    mutex_unlock(&pool->lock);
}

/* In the audit. */
static const char *operation_name(const struct pool_rekey_options *options)
{
    if (options->dry_run)
        return "key.use-rehearsal";
    if (options->provider)
        return "key.use";
    if (options->new_passphrase)
        return "key.reseal";
    return options->new_root ? "key.rekey-root" : "key.rekey";
}

const char *key_proof_name(const struct pool_rekey_options *options)
{
    return options->key ? "a backup or recovery key" : NULL;
}

enum error pool_rekey(struct pool *pool, const struct pool_rekey_options *options)
{
    TRY(key_change_begin(pool));
    enum error error = rekey_in_use(pool, options);
    pool_audit_by(pool, operation_name(options), key_proof_name(options), error);
    pool_audit_anchor(pool);
    key_change_end(pool);
    return error;
}
