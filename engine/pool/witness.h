/*
 * The witness: a small file of the pool directory that knows what no disk can say of itself (SECURITY 5): the epoch
 * handed out last, the active groups, the current key, and below what age nothing is trusted.
 *
 * *Handed out* numbers are saved before they are used, so they may run ahead of every disk. *Seen* facts are raised
 * only after they are durable on the disks. The file is JSON, closed by an HMAC under a key derived from K_pool: until
 * witness_verify() succeeded it can only make an open refuse, and cannot be saved. It must never be restored from a
 * backup: an old witness trusts old disks.
 *
 * Threads: the owner serialises all calls on one witness. Only who holds the exclusive locks of the pool's devices may
 * save it, so no two processes do.
 */
#ifndef COFFER_ENGINE_POOL_WITNESS_H
#define COFFER_ENGINE_POOL_WITNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "crypto/kdf.h"
#include "engine/group/checkpoint.h"
#include "engine/group/superblock.h"
#include "engine/pool/k_pools.h"
#include "engine/pool/witness_key.h"

#define WITNESS_NAME        "witness"
#define WITNESS_GROUPS_MAX  64
#define WITNESS_DEVICES_MAX (WITNESS_GROUPS_MAX * 64)

struct witness_group {
    struct uuid id;
    bool active;
    uint64_t sequence; /* seen: of the last published checkpoint */
};

struct witness_device {
    struct uuid id;
    bool encrypted;      /* seen */
    uint64_t epoch;      /* seen: of its superblock */
    uint64_t checkpoint; /* seen: number of the record durable on it */
};

struct witness {
    char *path;
    struct uuid pool;
    uint64_t epoch;       /* handed out last */
    uint64_t rewriting;   /* the one under which a change of keys writes superblocks; 0: none is under way */
    struct uuid provider; /* of the current key; zero: a plaintext pool */
    uint64_t kek_number;
    struct witness_kcv kek_kcv;  /* of that KEK */
    struct witness_kcv root_kcv; /* of the KDK that it is made of (keys.h); unknown: there is none */
    size_t retained_count;
    struct witness_retained retained[WITNESS_RETAINED_MAX]; /* oldest first */
    struct audit_anchor audit; /* seen: of the audit; count 0: there is none yet */
    bool encryption_floor; /* the pool is encrypted: plaintext is never accepted */
    size_t group_count;
    struct witness_group *groups;
    size_t device_count;
    struct witness_device *devices;
    uint32_t pool_key; /* number of the K_pool that `key` is of; until verified as loaded */
    uint8_t *key; /* of the HMAC, in the arena; NULL: not verified */
    char *loaded; /* the canonical text as loaded, until verified */
    uint8_t loaded_mac[32];
};

/* A witness of a new pool in memory, epoch 1 handed out; saving it makes the file, under the current K_pool. */
enum error witness_create(const char *directory, struct uuid pool, const struct k_pools *k_pools, struct witness **witness) CHECKED;
/* Parsed but unverified. ERROR_NOT_FOUND: the file is lost; ERROR_NEWER_FORMAT, ERROR_CORRUPT; ERROR_FOREIGN: another
 * pool's. */
enum error witness_load(const char *directory, struct uuid pool, struct witness **witness) CHECKED;
void witness_destroy(struct witness *witness); /* NULL is allowed */

/* ERROR_FORGED where the file was not written under one of the K_pools that are taken; ERROR_ROLLED_BACK where it names a later one
 * than any. From then on it is saved under the current one, or a later one that it was saved under. */
enum error witness_verify(struct witness *witness, const struct k_pools *k_pools) CHECKED;
/* Another K_pool is the current one: what is saved from now on is under it. In memory. */
enum error witness_rekey(struct witness *witness, const struct k_pools *k_pools) CHECKED;
/* Makes the file durable. The three below change memory only: call this after them. */
enum error witness_save(struct witness *witness) CHECKED;

/* The same of a new pool: ERROR_EXISTS where there is a file, which stays. */
enum error witness_save_new(const struct witness *witness) CHECKED;

/* The next epoch, above every one handed out or seen; durable in the file when it returns. */
enum error witness_epoch_reserve(struct witness *witness, uint64_t *epoch) CHECKED;
/* The same, for a change of keys, which writes all superblocks: a crash may leave copies of them torn or older. When all
 * are written, ->rewriting is to become 0. */
enum error witness_epoch_for_superblocks(struct witness *witness, uint64_t *epoch) CHECKED;
/* Whether the last writing of a device's superblock may have been cut short. */
bool witness_is_rewriting(const struct witness *witness, struct uuid device);

/* A key that is in force no more; the oldest gives way where there is no room. And one that its provider keeps no more, or,
 * with number 0, all of that provider. In memory, like what follows. */
void witness_retain(struct witness *witness, struct uuid provider, uint64_t kek_number);
void witness_release(struct witness *witness, struct uuid provider, uint64_t kek_number);

/* Raises what was seen of a device or group, never lowers it; enters what was unknown. Call only after it is durable.
 */
enum error witness_device_raise(struct witness *witness, const struct witness_device *seen) CHECKED;
enum error witness_group_raise(struct witness *witness, struct uuid group, bool active, uint64_t sequence) CHECKED;

/*
 * Whether what was found is as new as what was seen: ERROR_ROLLED_BACK names the device (or group), what was seen, what
 * was found, and --accept-rollback. With `accept` it is taken after a warning, and seen is lowered to it. A device that
 * is in plaintext where encryption was seen is ERROR_FORGED, accepted or not. Unknown devices and groups pass.
 * witness_checkpoint_check() takes the newest record found on one device.
 */
enum error witness_superblock_check(struct witness *witness, const char *path, const struct superblock *found,
                                    bool accept) CHECKED;
/* The same for the key: ERROR_ROLLED_BACK where the superblock's keys are wrapped under another one than the witness
 * names, before a change of keys or after one that the witness does not know. Plaintext passes; it has no key. */
enum error witness_key_check(struct witness *witness, const char *path, const struct superblock *found,
                             bool accept) CHECKED;
enum error witness_checkpoint_check(struct witness *witness, const char *path, struct uuid device, uint64_t number,
                                    bool accept) CHECKED;
enum error witness_sequence_check(struct witness *witness, const char *group_name, struct uuid group, uint64_t sequence,
                                  bool accept) CHECKED;

#endif
