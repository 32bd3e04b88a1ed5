/*
 * The superblocks of a pool in use, written under other keys. Segments are never touched. Each writing takes an epoch of its
 * own, so that a crash between the two ends of a device leaves an older and a newer superblock; which of two KEKs counts, the
 * witness says, and the next open writes what still has both under that one alone (opening.c).
 *
 * pool->changing keeps lock, unlock and other changes of keys away, and the group is in use. superblocks_lock: the scrub reads no
 * superblock that is half written. What changes in the group's superblocks is read under witness_lock (epoch) or
 * superblocks_lock (marks), atomically (the K_log demanded), or by nobody else. The group flushes no device meanwhile
 * (group_flush_hold).
 */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/group/superblock_peer.h"
#include "engine/pool/pool.h"
#include "engine/pool/rewrap.h"

static struct keyring *const *keyrings_of(const struct rewrap *rewrap)
{
    return rewrap->keyrings ? rewrap->keyrings : rewrap->group->keyrings;
}

static enum error epoch_take(struct rewrap *rewrap)
{
    struct pool *pool = rewrap->pool;
    mutex_lock(&pool->witness_lock);
    enum error error = witness_epoch_for_superblocks(pool->witness, &rewrap->epoch);
    mutex_unlock(&pool->witness_lock);
    return error;
}

/* Read from the device, whatever the group remembers. `epoch`: all copies are to have it; 0: any may serve. */
static enum error opens_under(struct rewrap *rewrap, uint32_t d, const uint8_t kek[KEY_SIZE], uint64_t epoch)
{
    struct device *device = rewrap->group->devices[d];
    AUTO_FREE struct superblock_probe *probe = memory_zeroed(1, sizeof *probe);
    struct superblock found;
    struct keyring *keyring;
    unsigned bad;
    if (!probe)
        return ERROR_NO_MEMORY;
    TRY(superblock_probe(device, probe));
    TRY(superblock_open(device, probe, kek, &found, &keyring, &bad));
    const struct keyring *expected = keyrings_of(rewrap)[d];
    bool same = epoch == 0 ? keyring_agrees(keyring, expected) /* a writing that failed may have left more slots, or fewer */
                           : keyring_is_equal(keyring, expected) && found.epoch == epoch;
    superblock_forget(&found);
    keyring_destroy(keyring);
    if (!same)
        return error_explain(ERROR_CORRUPT, "%s: its superblock is not as it was written", device->path);
    return epoch == 0 || bad == 0 ? ERROR_NONE
                                  : error_explain(ERROR_IO, "%s: %u of its %u superblock copies cannot be read back",
                                                  device->path, bad, SUPERBLOCK_COPIES);
}

/* What was written, also where the last copies were not: their marks are those of before. */
static void written_note(struct rewrap *rewrap, uint32_t d, const struct superblock *written, bool whole)
{
    struct superblock *known = &rewrap->group->superblocks[d];
    memcpy(known->marks, written->marks, sizeof known->marks);
    if (!whole)
        return;
    free(known->peers);
    known->peers = written->peers;
    known->peer_count = written->peer_count;
    known->wrapping = written->wrapping;
    known->other = written->other;
    known->pool_key_demanded = written->pool_key_demanded;
    __atomic_store_n(&known->log_key_demanded, written->log_key_demanded, __ATOMIC_RELAXED);
    mutex_lock(&rewrap->pool->witness_lock);
    known->epoch = written->epoch;
    mutex_unlock(&rewrap->pool->witness_lock);
}

/* What all superblocks are written with. `other_kek`: NULL where they are to be under `kek` alone. */
struct writing {
    const struct wrapping *wrapping; /* NULL: each as it is */
    const struct wrapping *other;
    const uint8_t *kek, *other_kek;
    struct group_slots slots;
};

static enum error device_write_under(struct rewrap *rewrap, uint32_t d, const struct writing *writing,
                                     struct superblock *superblock)
{
    struct device *device = rewrap->group->devices[d];
    const struct keyring *keyring = keyrings_of(rewrap)[d];
    TRY(superblock_peers_take(&writing->slots, superblock));
    return writing->other_kek ? superblock_write_both(device, superblock, keyring, writing->kek, writing->other_kek)
                              : superblock_write(device, superblock, keyring, writing->kek);
}

static enum error device_rewrite(struct rewrap *rewrap, uint32_t d, const struct writing *writing)
{
    struct superblock superblock = rewrap->group->superblocks[d];
    superblock.peers = NULL;
    superblock.peer_count = 0;
    if (writing->wrapping)
        superblock.wrapping = *writing->wrapping;
    superblock.other = *writing->other;
    superblock.epoch = rewrap->epoch;
    if (rewrap->demands_newest) {
        superblock.log_key_demanded = (uint8_t)keyring_current(keyrings_of(rewrap)[d], KEY_KIND_LOG)->number;
        superblock.pool_key_demanded = (uint8_t)rewrap->pool->k_pools->current;
    }
    group_flush_hold(rewrap->group);
    mutex_lock(&rewrap->pool->superblocks_lock);
    enum error error = device_write_under(rewrap, d, writing, &superblock);
    written_note(rewrap, d, &superblock, error == ERROR_NONE);
    mutex_unlock(&rewrap->pool->superblocks_lock);
    group_flush_release(rewrap->group);
    if (error)
        free(superblock.peers);
    return error;
}

/* Key slots of the whole group are wrapped once, not for each device that holds them. */
static enum error all_rewrite(struct rewrap *rewrap, struct writing *writing)
{
    const struct group *group = rewrap->group;
    TRY(group_slots_make(group->superblocks, keyrings_of(rewrap), group->device_count, writing->kek, writing->other_kek,
                         &writing->slots));
    enum error error = epoch_take(rewrap);
    for (uint32_t d = 0; d < group->device_count && !error; d++)
        error = device_rewrite(rewrap, d, writing);
    group_slots_free(&writing->slots);
    return error;
}

enum error rewrap_under_both(struct rewrap *rewrap, const uint8_t kek[KEY_SIZE], const struct wrapping *next,
                             const uint8_t next_kek[KEY_SIZE])
{
    return all_rewrite(rewrap, &(struct writing){.kek = kek, .other = next, .other_kek = next_kek});
}

enum error rewrap_open_all(struct rewrap *rewrap, const uint8_t kek[KEY_SIZE], bool as_written)
{
    for (uint32_t d = 0; d < rewrap->group->device_count; d++)
        TRY(opens_under(rewrap, d, kek, as_written ? rewrap->epoch : 0));
    return ERROR_NONE;
}

/* All superblocks are whole and durable. */
static enum error written_end(struct rewrap *rewrap)
{
    struct pool *pool = rewrap->pool;
    const struct group *group = rewrap->group;
    enum error error = ERROR_NONE;
    mutex_lock(&pool->witness_lock);
    for (uint32_t d = 0; d < group->device_count && !error; d++)
        error = witness_device_raise(pool->witness, &(struct witness_device){.id = group->superblocks[d].device,
                                                                             .encrypted = true,
                                                                             .epoch = group->superblocks[d].epoch});
    if (!error) {
        pool->witness->rewriting = 0;
        error = witness_save(pool->witness);
    }
    mutex_unlock(&pool->witness_lock);
    return error;
}

enum error rewrap_under_one(struct rewrap *rewrap, const struct wrapping *wrapping, const uint8_t kek[KEY_SIZE])
{
    static const struct wrapping none;
    TRY(all_rewrite(rewrap, &(struct writing){.wrapping = wrapping, .kek = kek, .other = &none}));
    TRY(rewrap_open_all(rewrap, kek, true));
    return written_end(rewrap);
}

bool rewrap_is_half_done(const struct group *group)
{
    for (uint32_t d = 0; d < group->device_count; d++)
        if (!uuid_is_zero(group->superblocks[d].other.provider))
            return true;
    return false;
}
