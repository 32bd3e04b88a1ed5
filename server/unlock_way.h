/* What a person kept of the pool's key: a backup, or the recovery key. It unlocks, and proves the key that is to be changed. */
#ifndef COFFER_SERVER_UNLOCK_WAY_H
#define COFFER_SERVER_UNLOCK_WAY_H

#include <jansson.h>

#include "crypto/provider.h"
#include "engine/coffer.h"

/* The provider's key of what is in a request, in the arena (arena_free); NULL where it has neither. `backup_hex`: a PKCS#12
 * file, small and encrypted, whose password `secret` is. `recovery` true: `secret` is the text of the recovery key, which
 * opens the file recovery.json of the pool directory. */
enum error kept_key_take(struct pool *pool, const json_t *parameters, const struct provider_secret *secret, uint8_t **key) CHECKED;

#endif
