/*
 * All K_pools of a pool, the same on all devices, by number. The first serves fingerprints for ever: with another one nothing that
 * is stored would be found again. The current one seals witness, audit and the file of the scrub. What a deep rekey replaced proves
 * older lines of the audit, and nothing else once the superblocks demand a later one (SECURITY 3).
 *
 * Lies in the arena. The first key never changes while a pool is open and may be read by any thread; the rest belongs to who opens
 * the pool, and then to who holds pool->changing.
 */
#ifndef COFFER_ENGINE_POOL_K_POOLS_H
#define COFFER_ENGINE_POOL_K_POOLS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/group/format.h"
#include "engine/group/keyring.h"
#include "engine/group/superblock.h"

struct k_pool {
    uint32_t number;
    uint8_t key[KEY_SIZE];
};

struct k_pools {
    uint32_t demanded; /* what is sealed under a lower number is not taken, but for older lines of the audit */
    uint32_t current;  /* number of the one to seal with: of those that all devices hold the highest, but not below the one demanded, nor
                        * that of the witness when the pool was opened */
    uint32_t count;
    struct k_pool keys[POOL_KEYS_MAX]; /* by number */
};

/* What the devices' keyrings hold and their superblocks demand, which may differ after a crash. ERROR_CORRUPT: they contradict each
 * other. */
enum error k_pools_gather(const struct superblock *superblocks, struct keyring *const *keyrings, size_t count,
                          struct k_pools *k_pools) CHECKED;
/* Number of the highest that all these keyrings hold, or, below what is demanded, that any holds. */
uint32_t k_pools_common(const struct k_pools *k_pools, struct keyring *const *keyrings, size_t count);

static inline const uint8_t *k_pools_first(const struct k_pools *k_pools) { return k_pools->keys[0].key; }
static inline uint32_t k_pools_highest(const struct k_pools *k_pools) { return k_pools->keys[k_pools->count - 1].number; }
/* NULL where there is none of that number. */
const uint8_t *k_pools_find(const struct k_pools *k_pools, uint64_t number);
static inline const uint8_t *k_pools_current(const struct k_pools *k_pools) { return k_pools_find(k_pools, k_pools->current); }
/* NULL also where a higher one is demanded. */
const uint8_t *k_pools_taken(const struct k_pools *k_pools, uint64_t number);
/* Why k_pools_taken() gave none, of a file: ERROR_FORGED. */
enum error k_pools_explain(const struct k_pools *k_pools, const char *path, uint64_t number) CHECKED;

/* Adds one above all that are there. */
void k_pools_add(struct k_pools *k_pools, uint32_t number, const uint8_t key[KEY_SIZE]);

/* The same with keys derived from them, which are no K_pools. `derived` holds nothing of use where it fails. */
struct k_pools_derived {
    struct k_pools of;
};
typedef enum error k_pool_derive(const uint8_t k_pool[KEY_SIZE], struct uuid pool, uint8_t key[KEY_SIZE]);
enum error k_pools_derive(const struct k_pools *k_pools, struct uuid pool, k_pool_derive *derive,
                           struct k_pools_derived *derived) CHECKED;

/* ---- k_pool_change.c: a new one, in a pool in use, by who holds pool->changing ------------------------------------ */

struct pool;

/* In the arena, the pool's K_pools, and with `new` one more, which no device holds yet; none where there are POOL_KEYS_MAX, which is
 * told. */
enum error k_pool_next(struct pool *pool, bool new, struct k_pools **next) CHECKED;
/* The devices hold `next`: what is sealed from now on is under its newest, the witness at once. What fails of that is told, and
 * tried again by k_pool_settle(). */
void k_pool_use(struct pool *pool, const struct k_pools *next);
/* Whether nothing that a superblock may demand to be under the current one is under another: ERROR_AGAIN where the file of the scrub
 * is on its way, or what a file could not be written for. By the deep rekey's thread, which ends before a lock frees the keys. */
enum error k_pool_settle(struct pool *pool) CHECKED;
/* The superblocks demand the current one. */
void k_pool_demanded(struct pool *pool);

#endif
