/*
 * From the conf and what a person supplies to the KEK of a pool. The conf says which providers there are, the
 * witness which of them has the key in force; a superblock, not yet authenticated, only says which KEK of it, and is refused
 * where it does not agree with them.
 */
#ifndef COFFER_ENGINE_POOL_KEYS_H
#define COFFER_ENGINE_POOL_KEYS_H

#include <stdint.h>

#include "base/error.h"
#include "crypto/provider.h"
#include "engine/group/superblock.h"
#include "engine/pool/conf.h"
#include "engine/pool/witness.h"

struct pool;

/* Whether a probed device is the one that the conf names: pool, group, device, place in the group. ERROR_FOREIGN. */
enum error pool_device_check(const struct pool_conf *conf, const struct pool_conf_group *group, size_t index,
                             const struct superblock_probe *probe) CHECKED;

/* Whether conf and witness allow what a superblock says of its encryption, before any key is asked for. A plaintext
 * pool must be one by both (where the witness is lost, NULL, by the conf alone). ERROR_FOREIGN: another pool, or under
 * another provider; ERROR_FORGED: plaintext where encryption was seen; ERROR_INVALID: the conf says off and the device
 * is encrypted. */
enum error pool_keys_check(const struct pool_conf *conf, const struct witness *witness,
                           const struct superblock *found) CHECKED;

/* The KEK under which the device's superblock says to be, once pool_keys_check() allows it; of a plaintext pool it is
 * kek_public. `secret` may be NULL. ERROR_LOCKED: a passphrase is needed; ERROR_KEY_ABSENT; and the provider's. */
enum error pool_keys_open(const struct pool_conf *conf, const struct witness *witness,
                          const struct superblock *found, const struct provider_secret *secret,
                          uint8_t kek[KEY_SIZE], enum kek_state *state) CHECKED;

/* The same for an open: the key that is cached in the TPM serves where no server can be reached (KEK_CACHED). Who proves that he
 * may change keys is not asked this way. */
enum error pool_keys_open_or_cached(const struct pool_conf *conf, const struct witness *witness,
                                    const struct superblock *found, const struct provider_secret *secret,
                                    uint8_t kek[KEY_SIZE], enum kek_state *state) CHECKED;
/* A server gave the key in force after all, and calls it so. Does nothing where the pool was not opened by the cache. Any thread. */
void pool_kek_answered(struct pool *pool, enum kek_state state);

/* What is said where a key that was kept (provider_secret.key) opens nothing: ERROR_WRONG_KEY. */
enum error pool_kept_key_outdated(void) CHECKED;

/* Enters into the witness the check values of the KEK that is in force, and of the KDK that it is made of, so that another key
 * can be told from it. The witness names them; the provider is theirs. `kept`: the key that was kept (provider_secret.key) and gave
 * the KEK, whatever the provider's file holds; NULL: the provider gave it. */
enum error pool_kcvs_take(const struct provider_config *provider, const uint8_t *kept, const uint8_t kek[KEY_SIZE],
                          struct witness *witness) CHECKED;

#endif
