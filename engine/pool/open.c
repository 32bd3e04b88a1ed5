/*
 * Opening, locking and closing a pool. The order is that of SECURITY 4: the conf names devices and provider; the fixed
 * parts of the superblocks are looked at; the provider gives the KEK; the superblocks are authenticated; the witness is
 * verified and says whether anything is older than it was; an epoch is reserved; only then is anything written.
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
#include "engine/pool/batch.h"
#include "engine/pool/keys.h"
#include "engine/pool/pool.h"

/* What an open has in its hands before it becomes the group's. */
struct opening {
    struct pool *pool;
    const struct pool_conf_group *conf;
    struct device *devices[GROUP_DEVICES_MAX];
    struct superblock superblocks[GROUP_DEVICES_MAX];
    struct keyring *keyrings[GROUP_DEVICES_MAX];
    struct superblock_probe *probes;
    unsigned copies_bad[GROUP_DEVICES_MAX];
    uint64_t checkpoint_seen;
    size_t count;
};

/* In the arena. */
struct opening_key {
    uint8_t kek[KEY_SIZE];
    bool known;
    typeof(((struct superblock *)0)->wrapping) wrapping; /* under which the KEK was asked for */
};

const char *pool_command(const struct pool *pool) { return pool->command; }

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

static uint64_t pool_memory(const struct pool *pool)
{
    return pool->options.memory ? pool->options.memory : pool->conf->memory;
}

static size_t batches_lent(uint64_t memory) { return memory < BATCHES_SMALL_MEMORY ? BATCHES_LENT / 2 : BATCHES_LENT; }

/* The setting of which a group gets at least this much, also where a server keeps its share of it. */
static uint64_t setting_giving(uint64_t memory)
{
    uint64_t setting = memory;
    while (setting - setting / POOL_MEMORY_SERVER_SHARE - batches_lent(setting) * BATCH_BYTES < memory)
        setting += UINT64_C(1) << 20;
    return setting;
}

uint64_t pool_memory_lent(const struct pool *pool) { return batches_lent(pool_memory(pool)) * BATCH_BYTES; }

/* ---- devices and keys -------------------------------------------------------------------------------------------------- */

static enum error device_open(struct pool *pool, const char *path, struct device **device)
{
    unsigned flags = pool->read_only ? DEVICE_OPEN_READ_ONLY : 0;
    if (pool->options.open_device)
        return pool->options.open_device(path, flags, pool->options.open_device_context, device);
    return device_open_file(path, flags, device);
}

static enum error devices_open(struct opening *opening)
{
    for (size_t i = 0; i < opening->conf->device_count; i++) {
        const char *path = opening->conf->devices[i].path;
        TRY(device_open(opening->pool, path, &opening->devices[i]));
        opening->count++;
        TRY(superblock_probe(opening->devices[i], &opening->probes[i]));
    }
    return ERROR_NONE;
}

/* The kind is part of the format: with another one nothing would deduplicate, and what was stored would look damaged. */
static enum error fingerprint_check(const struct opening *opening, size_t i)
{
    static const char *const names[] = {"?", "xxh3", "hmac-sha256"};
    unsigned conf = opening->pool->conf->fingerprint, found = opening->superblocks[i].fingerprint;
    if (conf == found)
        return ERROR_NONE;
    return error_explain(ERROR_INVALID, "%s/%s says (or means, where the line is missing) fingerprint = %s, but the pool was "
                         "made with %s: set it back", opening->pool->directory, POOL_CONF_NAME, names[conf % 3], names[found % 3]);
}

/* The copies of a probe that state the same identity and wrapping as copy `n`; nobody vouched for any of them yet. */
static struct superblock_probe copies_alike(const struct superblock_probe *probe, uint32_t n)
{
    struct superblock_probe alike = *probe;
    const struct superblock *one = &probe->copies[n];
    for (uint32_t i = 0; i < SUPERBLOCK_COPIES; i++) {
        const struct superblock *other = &probe->copies[i];
        alike.plausible[i] = probe->plausible[i] && other->encryption == one->encryption &&
                             uuid_equal(other->pool, one->pool) && uuid_equal(other->device, one->device) &&
                             memcmp(&other->wrapping, &one->wrapping, sizeof one->wrapping) == 0;
    }
    return alike;
}

static enum error copies_open(struct opening *opening, size_t i, const struct superblock_probe *probe,
                              const struct provider_secret *secret, struct opening_key *key)
{
    const struct superblock *newest = superblock_newest(probe);
    TRY(pool_device_check(opening->pool->conf, opening->conf, i, probe));
    if (!key->known || memcmp(&key->wrapping, &newest->wrapping, sizeof key->wrapping) != 0) {
        key->known = false;
        TRY(pool_keys_open(opening->pool->conf, opening->pool->witness, probe, secret, key->kek));
        memcpy(&key->wrapping, &newest->wrapping, sizeof key->wrapping);
        key->known = true;
    }
    return superblock_open(opening->devices[i], probe, key->kek, &opening->superblocks[i], &opening->keyrings[i],
                           &opening->copies_bad[i]);
}

/* An altered copy may state any epoch, so the newest is only where the search begins: the newest that verifies counts. */
static enum error superblock_search(struct opening *opening, size_t i, const struct provider_secret *secret,
                                    struct opening_key *key)
{
    struct superblock_probe left = opening->probes[i];
    enum error first = ERROR_NONE;
    while (superblock_newest(&left)) {
        struct superblock_probe alike = copies_alike(&left, (uint32_t)(superblock_newest(&left) - left.copies));
        enum error error = copies_open(opening, i, &alike, secret, key);
        if (!error || error == ERROR_LOCKED || error == ERROR_KEY_ABSENT || error == ERROR_IO || error == ERROR_NO_MEMORY) {
            opening->probes[i] = alike;
            return error;
        }
        if (!first)
            first = error_prefix(error, "%s", opening->conf->devices[i].path);
        else
            message(MESSAGE_WARNING, "%s: another copy of the superblock: %s", opening->conf->devices[i].path,
                    error_sentence(error));
        for (uint32_t n = 0; n < SUPERBLOCK_COPIES; n++)
            left.plausible[n] = left.plausible[n] && !alike.plausible[n];
    }
    return first;
}

static enum error superblocks_open(struct opening *opening, const struct provider_secret *secret)
{
    struct opening_key *key = arena_allocate(sizeof *key);
    enum error error = key ? ERROR_NONE : ERROR_NO_MEMORY;
    for (size_t i = 0; i < opening->count && !error; i++) {
        error = superblock_search(opening, i, secret, key);
        if (!error)
            error = fingerprint_check(opening, i);
        if (!error && opening->copies_bad[i])
            message(MESSAGE_WARNING, "%s: %u of %u superblock copies are damaged or altered",
                    opening->conf->devices[i].path, opening->copies_bad[i], SUPERBLOCK_COPIES);
    }
    arena_free(key);
    return error;
}

/* Damaged copies are written again from the good one; only after everything was authenticated. */
static enum error superblocks_mend(struct opening *opening, const struct provider_secret *secret)
{
    uint8_t *kek = arena_allocate(KEY_SIZE);
    enum error error = kek ? ERROR_NONE : ERROR_NO_MEMORY;
    for (size_t i = 0; i < opening->count && !error; i++) {
        if (!opening->copies_bad[i])
            continue;
        error = pool_keys_open(opening->pool->conf, opening->pool->witness, &opening->probes[i], secret, kek);
        if (!error)
            error = superblock_write(opening->devices[i], &opening->superblocks[i], opening->keyrings[i], kek);
    }
    arena_free(kek);
    return error;
}

/* Epochs are saved in the witness before they are used: a disk that knows a later one was written after this witness
 * was copied. To hand its numbers out again would give sequences that replay takes for old. */
static enum error witness_age_check(struct pool *pool, uint64_t epoch)
{
    if (epoch <= pool->witness->epoch)
        return ERROR_NONE;
    if (!pool->options.accept_rollback)
        return error_explain(ERROR_ROLLED_BACK,
                             "the witness (%s/%s) is older than the disks: it was restored from a copy, which is never "
                             "right. If you know why, open with --accept-rollback",
                             pool->directory, WITNESS_NAME);
    if (!pool->witness_is_new)
        message(MESSAGE_WARNING, "pool %s: the witness is older than the disks; taken as it is (--accept-rollback)",
                pool->directory);
    pool->witness->epoch = epoch;
    return ERROR_NONE;
}

static enum error ages_check(struct opening *opening)
{
    struct pool *pool = opening->pool;
    bool accept = pool->options.accept_rollback;
    uint64_t sequence = 0, epoch = 0;
    for (size_t i = 0; i < opening->count; i++) {
        const char *path = opening->conf->devices[i].path;
        struct checkpoint checkpoint;
        TRY(witness_superblock_check(pool->witness, path, &opening->superblocks[i], accept));
        TRY(witness_key_check(pool->witness, path, &opening->superblocks[i], accept));
        TRY(checkpoint_read(opening->devices[i], &opening->superblocks[i], opening->keyrings[i], &checkpoint));
        TRY(witness_checkpoint_check(pool->witness, path, opening->superblocks[i].device, checkpoint.number, accept));
        sequence = MAX(sequence, checkpoint.sequence);
        epoch = MAX(epoch, checkpoint.epoch);
        opening->checkpoint_seen = MAX(opening->checkpoint_seen, checkpoint.number);
    }
    TRY(witness_age_check(pool, epoch));
    return witness_sequence_check(pool->witness, opening->conf->name, opening->conf->id, sequence, accept);
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

static enum error k_pool_take(struct opening *opening)
{
    const struct keyring_slot *slot = keyring_current(opening->keyrings[0], KEY_KIND_POOL);
    if (!slot)
        return error_explain(ERROR_CORRUPT, "%s has no key of the pool", opening->conf->devices[0].path);
    opening->pool->k_pool = arena_allocate(KEY_SIZE);
    if (!opening->pool->k_pool)
        return ERROR_NO_MEMORY;
    memcpy(opening->pool->k_pool, slot->key, KEY_SIZE);
    return ERROR_NONE;
}

/* Without a witness nothing says how old the disks may be. All devices that the conf names are here, so what they hold
 * is whole; that it is the newest must be typed out. */
static enum error witness_anew(struct opening *opening)
{
    struct pool *pool = opening->pool;
    TRY(witness_create(pool->directory, pool->conf->pool, pool->k_pool, &pool->witness));
    pool->witness->encryption_floor = opening->superblocks[0].encryption;
    if (opening->superblocks[0].encryption) {
        pool->witness->provider = opening->superblocks[0].wrapping.provider;
        pool->witness->kek_number = opening->superblocks[0].wrapping.kek_number;
    }
    message(MESSAGE_WARNING, pool->read_only ? "pool %s: done without the lost witness (--accept-rollback)"
                                             : "pool %s: a new witness is made (--accept-rollback)", pool->directory);
    pool->witness_is_new = true;
    return ERROR_NONE;
}

static enum error witness_take(struct opening *opening)
{
    struct pool *pool = opening->pool;
    return pool->witness ? witness_verify(pool->witness, pool->k_pool) : witness_anew(opening);
}

static enum error group_begin(struct opening *opening)
{
    struct pool *pool = opening->pool;
    uint64_t setting = pool_memory(pool);
    uint64_t memory = setting - pool_memory_lent(pool);
    struct group_config config = {
        .section = &pool->section,
        .memory = memory,
        .memory_setting = setting_giving,
        .index_memory = MIN(pool->conf->index_memory, setting < BATCHES_SMALL_MEMORY ? memory / 8 : memory / 4),
        .epoch = pool->epoch,
        .checkpoint_seen = opening->checkpoint_seen,
        .read_only = pool->read_only,
        .no_index = pool->no_index,
        .published = published,
        .context = pool,
    };
    memcpy(config.name, opening->conf->name, MIN(sizeof config.name - 1, strlen(opening->conf->name)));
    mutex_lock(&pool->section.mutex);
    pool->section.sequence = pool->epoch << SEQUENCE_EPOCH_SHIFT;
    mutex_unlock(&pool->section.mutex);
    uint32_t count = (uint32_t)opening->count;
    opening->count = 0; /* the group's from here on */
    return group_open(opening->devices, opening->superblocks, opening->keyrings, count, &config, &pool->group);
}

static void opening_forget(struct opening *opening)
{
    for (size_t i = 0; i < opening->count; i++) {
        device_close(opening->devices[i]);
        keyring_destroy(opening->keyrings[i]);
        free(opening->superblocks[i].json);
    }
    free(opening->probes);
}

static void keys_forget(struct pool *pool)
{
    arena_free(pool->k_pool);
    pool->k_pool = NULL;
}

static enum error witness_read(struct pool *pool)
{
    enum error error = witness_load(pool->directory, pool->conf->pool, &pool->witness);
    return error == ERROR_NOT_FOUND && pool->options.accept_rollback ? ERROR_NONE /* witness_anew() */ : error;
}

static enum error steps(struct opening *opening, const struct provider_secret *secret)
{
    struct pool *pool = opening->pool;
    TRY(devices_open(opening));
    TRY(witness_read(pool)); /* under the lock of the devices: nobody else writes it now */
    TRY(superblocks_open(opening, secret));
    TRY(k_pool_take(opening));
    TRY(witness_take(opening));
    TRY(ages_check(opening));
    pool->epoch = pool->witness->epoch;
    if (!pool->read_only) {
        TRY(witness_epoch_reserve(pool->witness, &pool->epoch));
        TRY(superblocks_mend(opening, secret));
    }
    TRY(group_begin(opening));
    if (!pool->read_only)
        TRY(witness_raise(pool, pool->group->checkpoint.number, pool->group->checkpoint.sequence));
    if (!pool->options.no_catalog)
        TRY(catalog_load(pool));
    if (!pool->objects && pool->slots_end == 0 && !pool->read_only)
        TRY(catalog_create(pool));
    return pool->read_only ? ERROR_NONE : janitor_start(pool);
}

static enum error with_key(struct pool *pool, const struct provider_secret *secret)
{
    struct opening opening = {.pool = pool, .conf = &pool->conf->groups[0]};
    if (pool->conf->group_count != 1)
        return error_explain(ERROR_UNSUPPORTED, "coffer.conf names %zu groups; this version serves one",
                             pool->conf->group_count);
    opening.probes = memory_zeroed(GROUP_DEVICES_MAX, sizeof *opening.probes);
    if (!opening.probes)
        return ERROR_NO_MEMORY;
    enum error error = steps(&opening, secret);
    opening_forget(&opening);
    if (!error) {
        atomic_store(&pool->locked, 0);
        return ERROR_NONE;
    }
    error = error_prefix(error, "pool %s", pool->directory);
    catalog_unload(pool);
    if (pool->group && group_close(pool->group, true))
        message(MESSAGE_WARNING, "the group did not close cleanly");
    pool->group = NULL;
    lender_empty(pool->batch_lender);
    witness_destroy(pool->witness);
    pool->witness = NULL;
    keys_forget(pool);
    return error;
}

/* ---- the pool ---------------------------------------------------------------------------------------------------------------- */

static void pool_free(struct pool *pool)
{
    pool_conf_destroy(pool->conf);
    lender_destroy(pool->batch_lender);
    mutex_deinit(&pool->witness_lock);
    mutex_deinit(&pool->section.mutex);
    condition_deinit(&pool->section.changed);
    mutex_deinit(&pool->lock);
    condition_deinit(&pool->janitor_wake);
    free(pool->directory);
    free(pool->command);
    free(pool);
}

static enum error pool_allocate(const char *directory, const struct pool_open_options *options, struct pool **out)
{
    struct pool *pool = memory_zeroed(1, sizeof *pool);
    if (!pool)
        return ERROR_NO_MEMORY;
    mutex_init(&pool->witness_lock, RANK_LEAF);
    mutex_init(&pool->section.mutex, RANK_POOL);
    condition_init(&pool->section.changed);
    mutex_init(&pool->lock, RANK_CATALOG);
    condition_init(&pool->janitor_wake);
    pool->options = *options;
    pool->options.passphrase = NULL;
    pool->read_only = options->read_only;
    pool->no_index = options->no_index;
    atomic_store(&pool->locked, 1);
    pool->directory = strdup(directory);
    pool->command = shell_command(directory);
    enum error error = pool->directory && pool->command ? pool_conf_read(directory, &pool->conf) : ERROR_NO_MEMORY;
    if (!error)
        error = lender_create(batches_lent(pool_memory(pool)), batch_make, batch_destroy, &pool->batch_lender);
    if (error) {
        pool_free(pool);
        return error;
    }
    *out = pool;
    return ERROR_NONE;
}

enum error pool_open(const char *directory, const struct pool_open_options *options, struct pool **out)
{
    struct pool *pool;
    struct provider_secret secret = {options->passphrase, options->passphrase_size};
    TRY(pool_allocate(directory, options, &pool));
    enum error error = with_key(pool, options->passphrase ? &secret : NULL);
    if ((error == ERROR_LOCKED || error == ERROR_KEY_ABSENT) && options->start_locked) {
        message(MESSAGE_NOTICE, "the pool starts locked: %s", error_sentence(error));
        pool->awaits_key = error == ERROR_KEY_ABSENT;
        error = ERROR_NONE;
    }
    if (error) {
        pool_free(pool);
        return error;
    }
    *out = pool;
    return ERROR_NONE;
}

/* One unlock or lock at a time; ERROR_BUSY for whoever comes meanwhile. */
static enum error change_begin(struct pool *pool, bool to_locked, bool if_awaited)
{
    enum error error = ERROR_NONE;
    mutex_lock(&pool->lock);
    bool locked = atomic_load(&pool->locked);
    if (pool->changing)
        error = error_explain(ERROR_BUSY, "pool %s is being locked or unlocked right now", pool->directory);
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
        if (to_locked)
            atomic_store(&pool->locked, 1);
    }
    mutex_unlock(&pool->lock);
    return error;
}

static void change_end(struct pool *pool, bool unlocked)
{
    mutex_lock(&pool->lock);
    pool->changing = false;
    pool->awaits_key &= !unlocked;
    mutex_unlock(&pool->lock);
}

static enum error unlock(struct pool *pool, const char *passphrase, size_t passphrase_size, bool if_awaited)
{
    struct provider_secret secret = {passphrase, passphrase_size};
    TRY(change_begin(pool, false, if_awaited));
    enum error error = with_key(pool, passphrase ? &secret : NULL);
    change_end(pool, !error);
    return error;
}

enum error pool_unlock(struct pool *pool, const char *passphrase, size_t passphrase_size)
{
    return unlock(pool, passphrase, passphrase_size, false);
}

enum error pool_unlock_awaited(struct pool *pool, const char *passphrase, size_t passphrase_size)
{
    return unlock(pool, passphrase, passphrase_size, true);
}

/* Everything that needs the key ends; what is durable stays so. */
static enum error key_drop(struct pool *pool)
{
    janitor_stop(pool);
    enum error error = group_close(pool->group, group_is_fenced(pool->group));
    pool->group = NULL;
    catalog_unload(pool);
    lender_empty(pool->batch_lender); /* users' plaintext; no volume is open, so nobody holds one */
    witness_destroy(pool->witness);
    pool->witness = NULL;
    keys_forget(pool);
    return error;
}

enum error pool_lock(struct pool *pool)
{
    TRY(change_begin(pool, true, false));
    enum error error = key_drop(pool);
    change_end(pool, false);
    return error;
}

enum error pool_close(struct pool *pool)
{
    ASSERT(pool->volume_count == 0);
    enum error error = atomic_load(&pool->locked) ? ERROR_NONE : key_drop(pool);
    pool_free(pool);
    return error;
}
