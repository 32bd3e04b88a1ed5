/*
 * From the conf and what a person supplies to the KEK of a pool. The conf chooses the provider; a superblock, not yet
 * authenticated, only says which KEK of it, and is refused where it does not agree with conf and witness.
 */
#ifndef COFFER_ENGINE_POOL_KEYS_H
#define COFFER_ENGINE_POOL_KEYS_H

#include <stdint.h>

#include "base/error.h"
#include "crypto/provider.h"
#include "engine/group/superblock.h"
#include "engine/pool/conf.h"
#include "engine/pool/witness.h"

/* Whether a probed device is the one that the conf names: pool, group, device, place in the group. ERROR_FOREIGN. */
enum error pool_device_check(const struct pool_conf *conf, const struct pool_conf_group *group, size_t index,
                             const struct superblock_probe *probe) CHECKED;

/* The KEK under which the device's superblock says to be. Of a plaintext pool it is kek_public, given only where conf
 * and witness agree that it is one (where the witness is lost, NULL, the conf alone). `secret` may be NULL. ERROR_LOCKED: a passphrase is needed; ERROR_WRONG_KEY;
 * ERROR_FOREIGN: another pool, or under another provider; ERROR_FORGED: plaintext where encryption was seen;
 * ERROR_INVALID: the conf says off and the device is encrypted; and the provider's. */
enum error pool_keys_open(const struct pool_conf *conf, const struct witness *witness,
                          const struct superblock *found, const struct provider_secret *secret,
                          uint8_t kek[KEY_SIZE]) CHECKED;

#endif
