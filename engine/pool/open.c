/*
 * Opening, locking, repairing and closing a pool. opening.c authenticates; then an epoch is reserved; only then is
 * anything written: superblocks that need it, then the group's.
 *
 * A crash at any point before the epoch changes nothing; after it, an epoch is skipped.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "base/shell.h"
#include "crypto/arena.h"
#include "crypto/provider_root.h"
#include "engine/pool/audit.h"
#include "engine/pool/batch.h"
#include "engine/pool/damage.h"
#include "engine/pool/deep_rekey.h"
#include "engine/group/geometry.h"
#include "engine/group/superblock_image.h"
#include "engine/pool/evidence_file.h"
#include "engine/pool/opening.h"
#include "engine/pool/keys.h"
#include "engine/pool/providers.h"

const char *pool_command(const struct pool *pool) { return pool->command; }

const char *pool_directory(const struct pool *pool) { return pool->directory; }

enum error pool_check_unlocked(struct pool *pool)
{
    if (!atomic_load(&pool->locked))
        return ERROR_NONE;
    return error_explain(ERROR_LOCKED, "the pool is locked: type `%s unlock`", pool->command);
}

enum error pool_check_usable(struct pool *pool)
{
    TRY(pool_check_unlocked(pool));
    return group_is_fenced(pool->group) ? ERROR_FENCED : ERROR_NONE;
}

enum error pool_check_look(struct pool *pool)
{
    TRY(pool_check_usable(pool));
    if (!atomic_load(&pool->looks_ended))
        return ERROR_NONE;
    return error_explain(ERROR_CLOSED, "pool %s is being closed", pool->directory);
}

static uint64_t pool_memory(const struct pool *pool)
{
    return pool->options.memory ? pool->options.memory : pool->conf->memory;
}

/* The setting of which a group gets at least this much, also where a server keeps its share of it. */
static uint64_t setting_giving(uint64_t memory)
{
    uint64_t setting = memory;
    while (setting - setting / POOL_MEMORY_SERVER_SHARE - batch_lenders_bytes(setting) < memory)
        setting += UINT64_C(1) << 20;
    return setting;
}

uint64_t pool_memory_lent(const struct pool *pool) { return batch_lenders_bytes(pool_memory(pool)); }

static void memory_share(uint64_t setting, uint64_t index_memory, struct group_config *config)
{
    config->memory = setting - batch_lenders_bytes(setting);
    config->memory_setting = setting_giving;
    config->index_memory = MIN(index_memory, config->memory / (setting < BATCHES_SMALL_MEMORY ? 8 : 4));
}

uint64_t pool_memory_needed(uint64_t setting, uint64_t index_memory, uint32_t segments)
{
    struct group_config config = {0};
    memory_share(setting, index_memory, &config);
    return group_memory_needed(&config, segments);
}

/* What the group would refuse too, but before an epoch is spent on it: a service begins again and again. */
static enum error memory_check(const struct opening *opening)
{
    struct group_config config = {0};
    uint32_t segments = 0;
    for (size_t i = 0; i < opening->count; i++)
        segments += geometry_slots_used(&opening->superblocks[i], opening->superblocks[0].segment_shift);
    memory_share(pool_memory(opening->pool), opening->pool->conf->index_memory, &config);
    return group_memory_check(&config, segments);
}

/* ---- the witness, raised after each publish ------------------------------------------------------------------------------ */

static enum error witness_raise(struct pool *pool, uint64_t checkpoint, uint64_t sequence)
{
    struct group *group = pool->group;
    enum error error = ERROR_NONE;
    mutex_lock(&pool->witness_lock);
    for (uint32_t d = 0; d < group->device_count && !error; d++)
        error = witness_device_raise(pool->witness, &(struct witness_device){
                                                        .id = group->superblocks[d].device,
                                                        .encrypted = group->superblocks[d].encryption,
                                                        .epoch = group->superblocks[d].epoch,
                                                        .checkpoint = checkpoint,
                                                    });
    if (!error)
        error = witness_group_raise(pool->witness, group->superblocks[0].group, true, sequence);
    if (!error)
        error = witness_save(pool->witness);
    mutex_unlock(&pool->witness_lock);
    return error;
}

static void published(void *context, uint64_t checkpoint, uint64_t sequence)
{
    struct pool *pool = context;
    if (!pool->group)
        return; /* during the open; raised at its end */
    enum error error = witness_raise(pool, checkpoint, sequence);
    if (error)
        message(MESSAGE_WARNING, "the witness could not be written: %s; until it is, a roll-back of the disks to before "
                                 "now would not be noticed", error_sentence(error));
}

/* ---- opening with a key --------------------------------------------------------------------------------------------------- */

static enum error group_begin(struct opening *opening)
{
    struct pool *pool = opening->pool;
    struct group_config config = {
        .section = &pool->section,
        .epoch = pool->epoch,
        .checkpoint_seen = opening->checkpoint_seen,
        .read_only = pool->read_only,
        .no_index = pool->no_index,
        .recompress = pool->options.repair ? 0 : pool->conf->recompress,
        .by_hand = pool->options.repair,
        .cut_journal = pool->options.repair,
        .evidence = pool->options.evidence,
        .journal_end = pool->options.journal_end,
        .published = published,
        .context = pool,
    };
    memory_share(pool_memory(pool), pool->conf->index_memory, &config);
    memcpy(config.name, opening->conf->name, MIN(sizeof config.name - 1, strlen(opening->conf->name)));
    mutex_lock(&pool->section.mutex);
    pool->section.sequence = pool->epoch << SEQUENCE_EPOCH_SHIFT;
    mutex_unlock(&pool->section.mutex);
    uint32_t count = (uint32_t)opening->count;
    opening->count = 0; /* the group's from here on */
    return group_open(opening->devices, opening->superblocks, opening->keyrings, count, &config, &pool->group);
}

void keys_forget(struct pool *pool)
{
    arena_free(pool->k_pools);
    pool->k_pools = NULL;
    pool->keys_half_written = false;
}

/* All superblocks are whole; witness_raise() saves it. */
static void rewriting_end(struct pool *pool)
{
    mutex_lock(&pool->witness_lock);
    pool->witness->rewriting = 0;
    mutex_unlock(&pool->witness_lock);
}

/* Nothing is wrapped under an older KEK than the one in force any more. */
static void root_settle(const struct opening *opening)
{
    const struct pool *pool = opening->pool;
    if (pool->conf->encryption == POOL_ENCRYPTION_OFF)
        return;
    for (size_t i = 0; i < opening->count; i++)
        if (opening->superblocks[i].wrapping.kek_number != pool->witness->kek_number)
            return;
    enum error error = provider_root_settle(pool->provider, pool->witness->kek_number, pool->directory);
    if (error)
        message(MESSAGE_WARNING, "pool %s: a change of keys cannot be completed: %s", pool->directory, error_sentence(error));
}

/* Of the key that opened everything; saved with the next epoch. */
static enum error kcvs_take(const struct opening *opening)
{
    struct pool *pool = opening->pool;
    struct witness *witness = pool->witness;
    const uint8_t *kept = opening->secret ? opening->secret->key : NULL;
    if (pool->conf->encryption == POOL_ENCRYPTION_OFF || !opening->key->known)
        return ERROR_NONE;
    mutex_lock(&pool->witness_lock);
    enum error error = pool_kcvs_take(pool->provider, kept, opening->key->kek, witness);
    mutex_unlock(&pool->witness_lock);
    return error;
}

static enum error steps(struct opening *opening)
{
    struct pool *pool = opening->pool;
    TRY(opening_authenticate(opening));
    providers_use(pool, pool->witness->provider);
    TRY(kcvs_take(opening));
    atomic_store(&pool->kek_state, (int)opening->key->state);
    pool->epoch = pool->witness->epoch;
    TRY(memory_check(opening));
    if (!pool->read_only) {
        TRY(witness_epoch_reserve(pool->witness, &pool->epoch));
        TRY(opening_mend(opening));
        root_settle(opening);
        providers_mend_line(pool);
    }
    TRY(group_begin(opening));
    steady_stored(&pool->clock, pool->group->checkpoint_found);
    if (!pool->read_only) {
        if (opening->key->state == KEK_ACTIVE) /* else nothing was written anew */
            rewriting_end(pool);
        TRY(witness_raise(pool, pool->group->checkpoint.number, pool->group->checkpoint.sequence));
        TRY(pool_audit_begin(pool));
    }
    if (pool->options.no_catalog)
        return ERROR_NONE;
    TRY(catalog_load(pool));
    if (!pool->objects && pool->slots_end == 0 && !pool->read_only)
        TRY(catalog_create(pool));
    if (pool->read_only)
        return ERROR_NONE;
    TRY(scrub_start(pool));
    if (deep_rekey_is_unfinished(pool->group) && !pool->options.repair)
        TRY(deep_rekey_start(pool, opening->key->kek));
    return janitor_start(pool);
}

/* What an open failed for. */
struct obstacle {
    bool is_key; /* the key: it is not there, not in a state to be used, or fits no device */
    bool passes; /* it may go without a person's word to this process */
};

/* Where the key fits a device, what is wrong with another is that one's. */
static bool is_of_key(const struct opening *opening, enum error error)
{
    bool fits = opening->count == 0;
    if (opening->key && opening->key->error)
        return true;
    for (size_t i = 0; i < opening->count; i++)
        fits |= opening->keyrings[i] != NULL;
    return error == ERROR_WRONG_KEY && !fits && opening->pool->conf->encryption != POOL_ENCRYPTION_OFF;
}

/* A passphrase that was not given is a person's to give, and each try of a wrong one costs scrypt's time and memory. */
static bool is_of_passphrase(const struct opening *opening)
{
    enum error error = opening->key ? opening->key->error : ERROR_NONE;
    return error == ERROR_LOCKED || error == ERROR_WRONG_KEY;
}

/*
 * What is wrong with a key file is its state at this moment: it is not there yet, half copied, open to others, the one
 * of another pool or an older one. Its owner mends that; nothing was written. The same goes for what failed before the
 * key was taken. Behind that it is the disks', and those are a person's to judge.
 */
static struct obstacle obstacle_of(const struct opening *opening, enum error error)
{
    bool keyed = opening->key && opening->key->known;
    struct obstacle obstacle = {.is_key = is_of_key(opening, error)};
    if (error == ERROR_IN_USE || error_class(error) == ERROR_CLASS_RETRY)
        obstacle.passes = true;
    else if (obstacle.is_key)
        obstacle.passes = !is_of_passphrase(opening);
    else
        obstacle.passes = !keyed && (error == ERROR_ACCESS || error == ERROR_CORRUPT || error == ERROR_IO);
    return obstacle;
}

/* Another provider may be in force since the start, or its files lie elsewhere. */
static void providers_refresh(struct pool *pool)
{
    enum error error = providers_read(pool);
    if (error)
        message(MESSAGE_WARNING, "pool %s: the key providers are those of before: %s", pool->directory, error_sentence(error));
    error_forget();
}

/* `*obstacle`: where it fails. */
static enum error with_key(struct pool *pool, const struct provider_secret *secret, struct obstacle *obstacle)
{
    struct opening opening;
    enum error error = opening_begin(&opening, pool, secret);
    if (!error)
        error = steps(&opening);
    *obstacle = obstacle_of(&opening, error);
    opening_forget(&opening);
    if (!error) {
        atomic_store(&pool->locked, 0);
        return ERROR_NONE;
    }
    error = error_prefix(error, "pool %s", pool->directory);
    scrub_stop(pool, true);
    deep_rekey_stop(pool);
    audit_end(pool->audit);
    if (pool->group && group_close(pool->group, true)) /* first: it holds what is reserved for objects */
        message(MESSAGE_WARNING, "the group did not close cleanly");
    pool->group = NULL;
    catalog_unload(pool);
    batch_lenders_empty(pool); /* users' plaintext; nobody holds one */
    witness_destroy(pool->witness);
    pool->witness = NULL;
    keys_forget(pool);
    return error;
}

/* ---- the pool ---------------------------------------------------------------------------------------------------------------- */

void pool_free(struct pool *pool)
{
    if (pool->providers != pool->conf)
        pool_conf_destroy(pool->providers);
    pool_conf_destroy(pool->conf);
    batch_lenders_destroy(pool);
    mutex_deinit(&pool->witness_lock);
    mutex_deinit(&pool->superblocks_lock);
    mutex_deinit(&pool->section.mutex);
    condition_deinit(&pool->section.changed);
    mutex_deinit(&pool->lock);
    steady_deinit(&pool->clock);
    condition_deinit(&pool->janitor_wake);
    condition_deinit(&pool->tried_awaited);
    condition_deinit(&pool->group_left);
    damages_deinit(pool->damages);
    free(pool->damages);
    audit_destroy(pool->audit);
    free(pool->directory);
    free(pool->command);
    free(pool->why_locked);
    free(pool);
}

enum error pool_allocate(const char *directory, const struct pool_open_options *options, struct pool **out)
{
    struct pool *pool = memory_zeroed(1, sizeof *pool);
    struct damages *damages = pool ? memory_zeroed(1, sizeof *damages) : NULL;
    struct audit *audit = damages ? audit_create(directory) : NULL;
    if (!audit) {
        free(damages);
        free(pool);
        return ERROR_NO_MEMORY;
    }
    pool->damages = damages;
    pool->audit = audit;
    mutex_init(&pool->witness_lock, RANK_LEAF);
    mutex_init(&pool->superblocks_lock, RANK_KEYS);
    mutex_init(&pool->section.mutex, RANK_POOL);
    condition_init(&pool->section.changed);
    mutex_init(&pool->lock, RANK_CATALOG);
    condition_init(&pool->janitor_wake);
    condition_init(&pool->group_left);
    condition_init(&pool->tried_awaited);
    damages_init(pool->damages);
    pool->options = *options;
    pool->options.passphrase = NULL;
    pool->options.key = NULL;
    steady_init(&pool->clock);
    pool->read_only = options->read_only;
    pool->no_index = options->no_index;
    atomic_store(&pool->locked, 1);
    pool->directory = strdup(directory);
    pool->command = shell_command(directory);
    enum error error = pool->directory && pool->command ? pool_conf_read(directory, &pool->conf) : ERROR_NO_MEMORY;
    pool->providers = pool->conf;
    pool->provider = pool->conf ? pool->conf->provider : NULL;
    if (!error)
        error = batch_lenders_create(pool, pool_memory(pool));
    if (error) {
        pool_free(pool);
        return error;
    }
    *out = pool;
    return ERROR_NONE;
}

/* So that status and health can say it. NULL: nothing is to be said. */
static void why_locked_set(struct pool *pool, const char *sentence) REQUIRES(pool->lock)
{
    free(pool->why_locked);
    pool->why_locked = sentence ? strdup(sentence) : NULL;
}

static void start_locked(struct pool *pool, const struct obstacle *obstacle, enum error error)
{
    bool expected = error == ERROR_LOCKED || error == ERROR_KEY_ABSENT;
    message(expected ? MESSAGE_NOTICE : MESSAGE_ERROR, "the pool starts locked: %s", error_sentence(error));
    mutex_lock(&pool->lock);
    pool->awaits_key = obstacle->passes;
    why_locked_set(pool, error_sentence(error));
    mutex_unlock(&pool->lock);
}

enum error pool_open(const char *directory, const struct pool_open_options *options, struct pool **out)
{
    struct pool *pool;
    struct provider_secret secret = {options->passphrase, options->passphrase_size, options->key};
    TRY(pool_allocate(directory, options, &pool));
    struct obstacle obstacle;
    enum error error = with_key(pool, options->passphrase || options->key ? &secret : NULL, &obstacle);
    if (error && obstacle.is_key && options->start_locked) {
        start_locked(pool, &obstacle, error);
        error = ERROR_NONE;
    }
    if (error) {
        pool_free(pool);
        return error;
    }
    if (!atomic_load(&pool->locked))
        pool_audit(pool, options->repair ? "pool.repair" : "pool.open", ERROR_NONE);
    *out = pool;
    return ERROR_NONE;
}

/* A whole copy that is older is no damage, and its wrappings may be those that a change of keys did away with. What an altered one
 * states of its age nobody vouches for. */
static bool is_older(const struct opening *opening, uint32_t i, uint32_t copy)
{
    const struct superblock_probe *probe = &opening->probes[i];
    const struct superblock *newest = &opening->superblocks[i];
    bool verified = !opening->lost[i].error && !memory_is_zero(newest->marks[copy], sizeof newest->marks[copy]);
    return verified && probe->plausible[copy] && probe->copies[copy].epoch < newest->epoch;
}

/* Of each device that has a damaged copy of its superblock, what stands in the places of all. */
static enum error copies_keep(struct opening *opening, struct pool_repair_report *report)
{
    struct evidence evidence = {0};
    const struct evidence_source source = {opening->pool->directory, opening->devices, opening->superblocks};
    for (uint32_t i = 0; i < opening->count; i++)
        for (uint32_t copy = 0; copy < SUPERBLOCK_COPIES && opening->copies_bad[i]; copy++)
            if (!is_older(opening, i, copy))
                evidence_add(&evidence, i, superblock_offset(opening->superblocks[i].device_size, copy), SUPERBLOCK_SIZE,
                             "superblock");
    enum error error = evidence_save(&evidence, &source, &opening->pool->options, report);
    evidence_forget(&evidence);
    return error;
}

static enum error repair(struct opening *opening, struct pool_repair_report *report)
{
    opening->repairs = true;
    TRY(opening_authenticate(opening));
    if (opening_is_whole(opening))
        return ERROR_NONE;
    TRY(copies_keep(opening, report));
    TRY(witness_epoch_reserve(opening->pool->witness, &opening->pool->epoch));
    return opening_mend(opening);
}

enum error pool_repair_superblocks(const char *directory, const struct pool_open_options *options,
                                   struct pool_repair_report *report)
{
    struct pool_open_options mine = *options;
    struct provider_secret secret = {options->passphrase, options->passphrase_size};
    struct pool *pool;
    struct opening opening;
    mine.read_only = false;
    TRY(pool_allocate(directory, &mine, &pool));
    enum error error = opening_begin(&opening, pool, options->passphrase ? &secret : NULL);
    if (!error)
        error = repair(&opening, report);
    opening_forget(&opening);
    if (error)
        error = error_prefix(error, "pool %s", directory);
    witness_destroy(pool->witness);
    keys_forget(pool);
    pool_free(pool);
    return error;
}

_Atomic uint64_t unlock_patience = UNLOCK_PATIENCE;

/* A person waits for what the daemon tries by itself: he cannot know of it. But it may replay a long journal, and each who
 * waits holds a control connection. */
static void tried_await(struct pool *pool) REQUIRES(pool->lock)
{
    uint64_t until = clock_monotonic() + atomic_load(&unlock_patience);
    while (pool->trying_awaited && clock_monotonic() < until)
        condition_wait_until(&pool->tried_awaited, &pool->lock, until);
}

/* One unlock or lock at a time; ERROR_BUSY for whoever comes meanwhile. */
static enum error change_begin(struct pool *pool, bool to_locked, bool if_awaited)
{
    enum error error = ERROR_NONE;
    mutex_lock(&pool->lock);
    if (!if_awaited)
        tried_await(pool);
    bool locked = atomic_load(&pool->locked);
    if (pool->trying_awaited)
        error = error_explain(ERROR_BUSY,
                              "pool %s: cofferd is trying the key that it waited for; `%s status` tells when the pool is open, "
                              "or why not",
                              pool->directory, pool->command);
    else if (pool->changing)
        error = error_explain(ERROR_BUSY, "pool %s is being locked or unlocked, or its keys are being changed, right now",
                              pool->directory);
    else if (locked && to_locked)
        error = error_explain(ERROR_LOCKED, "pool %s is locked already", pool->directory);
    else if (!locked && !to_locked)
        error = error_explain(ERROR_EXISTS, "pool %s is open already", pool->directory);
    else if (if_awaited && !pool->awaits_key)
        error = error_explain(ERROR_EXISTS, "pool %s was unlocked meanwhile", pool->directory);
    else if (to_locked && pool->volume_count)
        error = error_explain(ERROR_BUSY, "%u volumes of pool %s are open: disconnect their clients first",
                              pool->volume_count, pool->directory);
    if (!error) {
        pool->changing = true;
        pool->trying_awaited = if_awaited;
        if (to_locked)
            atomic_store(&pool->locked, 1);
    }
    mutex_unlock(&pool->lock);
    return error;
}

static void change_end(struct pool *pool, bool awaits_key)
{
    mutex_lock(&pool->lock);
    pool->changing = pool->trying_awaited = false;
    condition_broadcast(&pool->tried_awaited);
    pool->awaits_key &= awaits_key;
    if (!atomic_load(&pool->locked))
        why_locked_set(pool, NULL);
    mutex_unlock(&pool->lock);
}

static enum error unlock(struct pool *pool, const char *operation, const struct provider_secret *secret)
{
    struct obstacle obstacle;
    TRY(change_begin(pool, false, false));
    providers_refresh(pool);
    enum error error = with_key(pool, secret, &obstacle);
    pool_audit(pool, operation, error);
    change_end(pool, error != ERROR_NONE); /* a person's wrong passphrase says nothing of the key that is awaited */
    return error;
}

enum error pool_unlock(struct pool *pool, const char *passphrase, size_t passphrase_size)
{
    struct provider_secret secret = {passphrase, passphrase_size};
    return unlock(pool, "pool.unlock", passphrase ? &secret : NULL);
}

enum error pool_unlock_by_key(struct pool *pool, const uint8_t *key)
{
    struct provider_secret secret = {.key = key};
    return unlock(pool, "pool.unlock_by_key", &secret);
}

enum error pool_unlock_awaited(struct pool *pool, const char *passphrase, size_t passphrase_size, bool *again)
{
    struct provider_secret secret = {passphrase, passphrase_size};
    enum error error = change_begin(pool, false, true);
    struct obstacle obstacle;
    *again = error == ERROR_BUSY;
    TRY(error);
    providers_refresh(pool);
    error = with_key(pool, passphrase ? &secret : NULL, &obstacle);
    *again = error && obstacle.passes;
    if (!error)
        pool_audit(pool, "pool.open", ERROR_NONE);
    if (error) {
        mutex_lock(&pool->lock);
        why_locked_set(pool, error_sentence(error));
        mutex_unlock(&pool->lock);
    }
    change_end(pool, *again);
    return error;
}

void pool_group_use(struct pool *pool)
{
    pool->group_users++;
    mutex_unlock(&pool->lock);
}

void pool_group_leave(struct pool *pool)
{
    mutex_lock(&pool->lock);
    pool->group_users--;
    condition_broadcast(&pool->group_left);
}

/* What began before the pool was locked uses the group; in a full one it may wait for space. */
static void group_users_await(struct pool *pool)
{
    mutex_lock(&pool->lock);
    while (pool->group_users != 0)
        condition_wait(&pool->group_left, &pool->lock);
    mutex_unlock(&pool->lock);
}

/* Everything that needs the key ends; what is durable stays so. */
static enum error key_drop(struct pool *pool, const char *operation)
{
    janitor_stop(pool);
    group_users_await(pool);
    scrub_stop(pool, false);
    deep_rekey_stop(pool);
    pool_audit(pool, operation, ERROR_NONE);
    audit_end(pool->audit);
    enum error error = group_close(pool->group, group_is_fenced(pool->group));
    pool->group = NULL;
    catalog_unload(pool);
    batch_lenders_empty(pool); /* no volume is open, so nobody holds one */
    witness_destroy(pool->witness);
    pool->witness = NULL;
    keys_forget(pool);
    return error;
}

/* Of a group that was out of service, too, what no flush covered is gone. */
static enum error key_drop_told(struct pool *pool, const char *operation)
{
    bool fenced = group_is_fenced(pool->group);
    enum error error = key_drop(pool, operation);
    if (error || !fenced)
        return error;
    return error_explain(ERROR_FENCED, "the disk group was out of service: what no flush covered may be lost");
}

enum error pool_lock(struct pool *pool)
{
    TRY(change_begin(pool, true, false));
    enum error error = key_drop_told(pool, "pool.lock");
    change_end(pool, true);
    return error ? error_explain(error, "the pool is locked, but %s", error_sentence(error)) : ERROR_NONE;
}

void pool_looks_end(struct pool *pool) { atomic_store(&pool->looks_ended, true); }

enum error pool_close(struct pool *pool)
{
    ASSERT(pool->volume_count == 0);
    enum error error = atomic_load(&pool->locked) ? ERROR_NONE : key_drop_told(pool, "pool.close");
    pool_free(pool);
    return error;
}
