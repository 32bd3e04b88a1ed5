/*
 * The order of SECURITY 4: the conf names devices and providers; the fixed parts of the superblocks are looked at; the
 * provider that the witness names gives the KEK; the superblocks are authenticated, that of a device that lost all its copies
 * by a peer's; the witness is verified and says whether anything is older than it was. Only opening_mend() writes, when all of
 * it is done and an epoch reserved.
 *
 * A crash before that changes nothing. In it, a device has one whole superblock at each moment, see superblock.c; a
 * revived one has either none yet, or a whole one. One thread; no locks but those on the devices.
 */
#include "engine/pool/opening.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/message.h"
#include "crypto/arena.h"
#include "engine/group/geometry.h"
#include "engine/group/superblock_peer.h"
#include "engine/pool/key_needs.h"
#include "engine/pool/keys.h"
#include "engine/pool/providers.h"

/* ---- devices and keys -------------------------------------------------------------------------------------------------- */

static enum error device_open(struct pool *pool, const char *path, struct device **device)
{
    unsigned flags = pool->read_only ? DEVICE_OPEN_READ_ONLY : 0;
    if (pool->options.open_device)
        return pool->options.open_device(path, flags, pool->options.open_device_context, device);
    return device_open_file(path, flags, device);
}

/* What stands only in a cache after a flush that failed may be gone with the next one: that one comes before anything
 * is read and believed. */
static enum error settle(const struct pool *pool, struct device *device)
{
    return pool->read_only ? ERROR_NONE : device_flush(device);
}

static enum error devices_open(struct opening *opening)
{
    for (size_t i = 0; i < opening->conf->device_count; i++) {
        const char *path = opening->conf->devices[i].path;
        TRY(device_open(opening->pool, path, &opening->devices[i]));
        opening->count++;
        TRY(settle(opening->pool, opening->devices[i]));
        enum error error = superblock_probe(opening->devices[i], &opening->probes[i]);
        if (error == ERROR_NOT_FOUND || error == ERROR_CORRUPT)
            error = opening_lose(opening, i, error);
        TRY(error);
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
    return error_explain(ERROR_INVALID,
                         "%s/%s says (or means, where the line is missing) fingerprint = %s, but the pool was made "
                         "with %s: set it back",
                         opening->pool->directory, POOL_CONF_NAME, names[conf % 3], names[found % 3]);
}

static bool is_under(const struct wrapping *wrapping, const struct opening_key *key)
{
    return uuid_equal(wrapping->provider, key->wrapping.provider) && wrapping->kek_number == key->wrapping.kek_number;
}

/* A key that came to its end takes with it all that is under it, and that is not one device alone. */
static enum error key_ended(const struct opening *opening, enum error error)
{
    bool needs[GROUP_DEVICES_MAX] = {false};
    char names[KEY_NEEDS_SIZE];
    for (size_t i = 0; i < opening->count; i++) {
        const struct superblock *found = superblock_newest(&opening->probes[i]);
        needs[i] = found && (is_under(&found->wrapping, opening->key) || is_under(&found->other, opening->key));
    }
    return error_prefix(error, "no server gives the key of %s, which only a backup or the recovery key can replace (`coffer unlock "
                               "--help`)", key_needs_name(opening->conf, needs, names));
}

/* "key N of provider NAME"; a pool without encryption has none. */
static enum error of_key(const struct opening *opening, enum error error)
{
    const struct opening_key *key = opening->key;
    const struct provider_config *provider = provider_of_id(opening->pool->providers, key->wrapping.provider);
    if (error != ERROR_WRONG_KEY || !provider)
        return error;
    return error_prefix(error, "key %" PRIu64 " of provider %s%s", key->wrapping.kek_number, provider->name,
                        key->other ? " is another than the one in force, an older one or another pool's" : "");
}

/* `*judged`: the device is the conf's and the KEK is there, so an error is one of the copies. */
static enum error copies_open(struct opening *opening, size_t i, const struct superblock_probe *probe, bool *judged)
{
    *judged = false;
    TRY(pool_device_check(opening->pool->conf, opening->conf, i, probe));
    enum error error = opening_key_take(opening, superblock_newest(probe));
    if (error && error == opening->key->error && error == ERROR_FOREIGN)
        return error; /* the key file is wrong, whatever the device */
    if (error && error == opening->key->error && opening->key->state == KEK_ENDED)
        return key_ended(opening, error);
    if (error)
        return error_prefix(error, "%s", opening->conf->devices[i].path); /* the other sentences name it */
    *judged = true;
    error = superblock_open(opening->devices[i], probe, opening->key->kek, &opening->superblocks[i], &opening->keyrings[i],
                            &opening->copies_bad[i]);
    if (error == ERROR_WRONG_KEY && opening->secret && opening->secret->key)
        return pool_kept_key_outdated();
    return of_key(opening, error);
}

/* What ends a search: no copy could do better. */
static bool is_for_all(enum error error)
{
    return error == ERROR_LOCKED || error == ERROR_NO_MEMORY;
}

/* The copy may be good: it cannot be read, or nobody gives the key that it names. */
static bool is_unjudged(enum error error)
{
    return error == ERROR_KEY_ABSENT || error == ERROR_IO;
}

static enum error tell(enum error error, enum error *told, char **sentence)
{
    free(*sentence);
    *told = error;
    *sentence = strdup(error_sentence(error));
    return *sentence ? ERROR_NONE : ERROR_NO_MEMORY;
}

/* An altered copy may state any epoch and any key, so the newest is only where the search begins: the newest that verifies
 * counts, and what one says keeps nobody from looking at the others. `*judged`: of the device that the conf names, and under
 * its KEK, no copy verifies. Else what is told is of a copy that may be good, where there is one, or of the first. */
static enum error superblock_search(struct opening *opening, size_t i, bool *judged)
{
    struct superblock_probe left = opening->probes[i];
    AUTO_FREE char *sentence = NULL;
    enum error told = ERROR_NONE;
    *judged = true;
    while (superblock_newest(&left)) {
        struct superblock_probe alike = superblock_copies_alike(&left, superblock_newest(&left));
        bool of_copies;
        enum error error = copies_open(opening, i, &alike, &of_copies);
        if (!error || is_for_all(error))
            return error;
        *judged = *judged && of_copies && (error == ERROR_FORGED || error == ERROR_WRONG_KEY);
        if (told)
            message(MESSAGE_WARNING, "%s: another copy of the superblock: %s", opening->conf->devices[i].path,
                    error_sentence(error));
        if (!told || (is_unjudged(error) && !is_unjudged(told)))
            TRY(tell(error, &told, &sentence));
        for (uint32_t n = 0; n < SUPERBLOCK_COPIES; n++)
            left.plausible[n] = left.plausible[n] && !alike.plausible[n];
    }
    return error_explain(told, "%s", sentence);
}

static enum error superblocks_open(struct opening *opening)
{
    for (size_t i = 0; i < opening->count; i++) {
        bool judged;
        if (opening->lost[i].error)
            continue;
        enum error error = superblock_search(opening, i, &judged);
        if (error && judged)
            error = opening_lose(opening, i, error);
        else if (!error)
            error = fingerprint_check(opening, i);
        TRY(error);
        if (opening->copies_bad[i])
            message(MESSAGE_WARNING, "%s: %u of %u superblock copies are damaged or altered",
                    opening->conf->devices[i].path, opening->copies_bad[i], SUPERBLOCK_COPIES);
    }
    return opening_revive(opening);
}

/* Slots that an earlier version counted behind the end of a device are of no use; before anything is written to the superblocks
 * there it is made sure that they never were. */
static enum error ends_check(const struct opening *opening)
{
    uint32_t shift = opening->superblocks[0].segment_shift;
    for (size_t i = 0; i < opening->count; i++) {
        const struct superblock *superblock = &opening->superblocks[i];
        uint32_t behind = superblock->slot_count - geometry_slots_used(superblock, shift);
        TRY(geometry_end_check(opening->devices[i], superblock, shift));
        if (behind > 0)
            message(MESSAGE_NOTICE, "%s: %" PRIu32 " slots that an earlier version counted lie behind its end, and are not used",
                    opening->devices[i]->path, behind);
    }
    return ERROR_NONE;
}

static enum error peers_verify(struct opening *opening)
{
    for (uint32_t i = 0; i < opening->count; i++) {
        bool equal;
        TRY(opening_key_take(opening, &opening->superblocks[i]));
        TRY(superblock_peers_verify(opening->superblocks, opening->keyrings, (uint32_t)opening->count, i,
                                    opening->key->kek, &equal));
        opening->peers_bad[i] = !equal;
    }
    return ERROR_NONE;
}

/* A change of keys (rekey.c) did not come to its end. By the witness it happened or did not, and the KEK at hand is the
 * one in force. */
static bool is_rotating(const struct superblock *superblock)
{
    return !uuid_is_zero(superblock->other.provider);
}

/* Under another than the one in force, which was accepted. */
static bool is_under_other(const struct opening *opening, size_t i)
{
    const struct superblock *in_force = opening_key_in_force(opening), *own = &opening->superblocks[i];
    return in_force && own->encryption && memcmp(&own->wrapping, &in_force->wrapping, sizeof own->wrapping) != 0;
}

static bool is_to_be_mended(const struct opening *opening, size_t i)
{
    return opening->copies_bad[i] || opening->peers_bad[i] || is_rotating(&opening->superblocks[i]) || is_under_other(opening, i);
}

static enum error superblock_mend(struct opening *opening, uint32_t i)
{
    struct superblock *superblock = &opening->superblocks[i];
    bool rotates = is_rotating(superblock), other = is_under_other(opening, i);
    if (other)
        superblock->wrapping = opening_key_in_force(opening)->wrapping;
    TRY(opening_key_take(opening, superblock));
    TRY(superblock_peers_make(opening->superblocks, opening->keyrings, (uint32_t)opening->count, i, opening->key->kek,
                              superblock));
    superblock->epoch = opening->pool->epoch;
    enum error error = superblock_write(opening->devices[i], superblock, opening->keyrings[i], opening->key->kek);
    if (error)
        return error_prefix(error,
                            "%s: its superblock cannot be written anew, and a device that refuses a write is not "
                            "taken into service: copy it to another one",
                            opening->devices[i]->path);
    message(MESSAGE_NOTICE, "%s: its superblock was written anew%s", opening->devices[i]->path,
            opening->lost[i].error ? ", from what another device holds: no copy of it was left"
            : rotates                ? ", under the key that is in force alone: a change of keys had not come to its end"
            : other                  ? ", under the key that is in force"
            : opening->copies_bad[i] ? ""
                                     : ": it did not hold the key slots of the other devices as they are");
    return ERROR_NONE;
}

bool opening_is_whole(const struct opening *opening)
{
    for (size_t i = 0; i < opening->count; i++)
        if (is_to_be_mended(opening, i))
            return false;
    return true;
}

static const char *why_not_active(const struct opening *opening)
{
    if (opening->key->state == KEK_CACHED)
        return "came from the cache in the TPM, since no server could be reached";
    return opening->key->state == KEK_UNASKED ? "came from a backup or a recovery key, and its server was not asked"
                                              : "is no longer active on its server";
}

/* With a key that the server calls deactivated or compromised, or may call so, nothing is wrapped anew. Copies that are whole serve on. */
static enum error mend_without_key(const struct opening *opening)
{
    if (opening->repairs)
        return error_explain(ERROR_ACCESS,
                             "the key of provider %s %s: superblocks cannot be written anew under it",
                             opening->pool->provider->name, why_not_active(opening));
    if (!opening_is_whole(opening))
        message(MESSAGE_WARNING, "superblocks are not written anew: the key of provider %s %s", opening->pool->provider->name,
                why_not_active(opening));
    return ERROR_NONE;
}

/* Every rewriting takes the epoch of this open, so that a crash between the two ends leaves an older and a newer
 * superblock, each whole, and not two different ones of one age. */
enum error opening_mend(struct opening *opening)
{
    if (opening->key->state != KEK_ACTIVE)
        return mend_without_key(opening);
    for (uint32_t i = 0; i < opening->count; i++)
        if (is_to_be_mended(opening, i))
            TRY(superblock_mend(opening, i));
    return ERROR_NONE;
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

/* What is older than what was seen only since a device could not be read is no roll-back, and nothing to be accepted. */
static enum error checkpoint_check(struct opening *opening, const char *path, struct uuid device,
                                   const struct checkpoint *checkpoint)
{
    bool accept = opening->pool->options.accept_rollback && !checkpoint->unread;
    enum error error = witness_checkpoint_check(opening->pool->witness, path, device, checkpoint->number, accept);
    if (error != ERROR_ROLLED_BACK || !checkpoint->unread)
        return error;
    return error_explain(ERROR_IO,
                         "%s: its newest checkpoint record cannot be read, and what can is older than what was "
                         "seen: check the disk and its cables",
                         path);
}

static enum error ages_check(struct opening *opening)
{
    struct pool *pool = opening->pool;
    bool accept = pool->options.accept_rollback;
    uint64_t sequence = 0, epoch = 0;
    if (accept)
        TRY(opening_key_accept(opening));
    for (size_t i = 0; i < opening->count; i++) {
        const char *path = opening->conf->devices[i].path;
        struct checkpoint checkpoint;
        /* One that was made from a peer is as old as that one, which is judged itself; its checkpoint is its own. */
        if (!opening->lost[i].error)
            TRY(witness_superblock_check(pool->witness, path, &opening->superblocks[i], accept));
        if (!accept)
            TRY(witness_key_check(pool->witness, path, &opening->superblocks[i], false));
        TRY(checkpoint_read(opening->devices[i], &opening->superblocks[i], opening->keyrings[i], &checkpoint));
        TRY(checkpoint_check(opening, path, opening->superblocks[i].device, &checkpoint));
        sequence = MAX(sequence, checkpoint.sequence);
        epoch = MAX(epoch, MAX(checkpoint.epoch, opening->superblocks[i].epoch));
        opening->checkpoint_seen = MAX(opening->checkpoint_seen, checkpoint.number);
    }
    TRY(witness_age_check(pool, epoch));
    return witness_sequence_check(pool->witness, opening->conf->name, opening->conf->id, sequence, accept);
}

/* ---- the witness ------------------------------------------------------------------------------------------------------- */

static enum error k_pools_take(struct opening *opening)
{
    struct pool *pool = opening->pool;
    pool->k_pools = arena_allocate(sizeof *pool->k_pools);
    if (!pool->k_pools)
        return ERROR_NO_MEMORY;
    return k_pools_gather(opening->superblocks, opening->keyrings, opening->count, pool->k_pools);
}

/* Without a witness nothing says how old the disks may be. All devices that the conf names are here, so what they hold
 * is whole; that it is the newest must be typed out. */
static enum error witness_anew(struct opening *opening)
{
    struct pool *pool = opening->pool;
    TRY(witness_create(pool->directory, pool->conf->pool, pool->k_pools, &pool->witness));
    const struct superblock *newest = opening_key_newest(opening);
    pool->witness->encryption_floor = newest->encryption;
    if (newest->encryption) {
        pool->witness->provider = newest->wrapping.provider;
        pool->witness->kek_number = newest->wrapping.kek_number;
    }
    message(MESSAGE_WARNING, pool->read_only ? "pool %s: done without the lost witness (--accept-rollback)"
                                             : "pool %s: a new witness is made (--accept-rollback)", pool->directory);
    pool->witness_is_new = true;
    return ERROR_NONE;
}

/* One that is sealed under a later key than the devices have cannot be judged: it is as good as lost. */
static enum error witness_take(struct opening *opening)
{
    struct pool *pool = opening->pool;
    enum error error = pool->witness ? witness_verify(pool->witness, pool->k_pools) : ERROR_NOT_FOUND;
    /* Under a key that a deep rekey replaced it is an older one, or forged: nothing of it is believed. */
    bool replaced = error == ERROR_FORGED && pool->witness->pool_key < pool->k_pools->demanded;
    if ((error == ERROR_ROLLED_BACK || replaced) && pool->options.accept_rollback) {
        message(MESSAGE_WARNING, "%s: accepted as asked for", error_sentence(error));
        witness_destroy(pool->witness);
        pool->witness = NULL;
    }
    if (!pool->witness)
        return witness_anew(opening);
    TRY(error);
    pool->k_pools->current = MAX(pool->k_pools->current, pool->witness->pool_key); /* devices without it get it */
    return ERROR_NONE;
}

static enum error witness_read(struct pool *pool)
{
    enum error error = witness_load(pool->directory, pool->conf->pool, &pool->witness);
    return error == ERROR_NOT_FOUND && pool->options.accept_rollback ? ERROR_NONE /* witness_anew() */ : error;
}

/* ---- the whole --------------------------------------------------------------------------------------------------------- */

enum error opening_begin(struct opening *opening, struct pool *pool, const struct provider_secret *secret)
{
    *opening = (struct opening){.pool = pool, .secret = secret, .conf = &pool->conf->groups[0]};
    if (pool->conf->group_count != 1)
        return error_explain(ERROR_UNSUPPORTED, "coffer.conf names %zu groups; this version serves one",
                             pool->conf->group_count);
    opening->probes = memory_zeroed(GROUP_DEVICES_MAX, sizeof *opening->probes);
    opening->key = arena_allocate(sizeof *opening->key);
    return opening->probes && opening->key ? ERROR_NONE : ERROR_NO_MEMORY;
}

enum error opening_authenticate(struct opening *opening)
{
    TRY(devices_open(opening));
    TRY(witness_read(opening->pool)); /* under the lock of the devices: nobody else writes it now */
    TRY(superblocks_open(opening));
    TRY(ends_check(opening));
    TRY(peers_verify(opening));
    TRY(k_pools_take(opening));
    TRY(witness_take(opening));
    return ages_check(opening);
}

void opening_forget(struct opening *opening)
{
    for (size_t i = 0; i < opening->count; i++) {
        device_close(opening->devices[i]);
        keyring_destroy(opening->keyrings[i]);
        superblock_forget(&opening->superblocks[i]);
    }
    for (size_t i = 0; i < GROUP_DEVICES_MAX; i++)
        free(opening->lost[i].sentence);
    arena_free(opening->key);
    free(opening->probes);
}
