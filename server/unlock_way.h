/* Unlocking by what a person kept: a backup of the pool's key, or its recovery key. The provider is not asked. */
#ifndef COFFER_SERVER_UNLOCK_WAY_H
#define COFFER_SERVER_UNLOCK_WAY_H

#include <jansson.h>

#include "crypto/provider.h"
#include "engine/coffer.h"

/* `backup`: a PKCS#12 file in hexadecimal, as `coffer unlock --key` sends it, small and encrypted; `secret` is its password. */
enum error unlock_by_backup(struct pool *pool, const json_t *backup, const struct provider_secret *secret) CHECKED;
/* `secret` is the text of the recovery key, which opens the file recovery.json of the pool directory. */
enum error unlock_by_recovery(struct pool *pool, const struct provider_secret *secret) CHECKED;

#endif
