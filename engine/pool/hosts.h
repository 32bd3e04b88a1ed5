/*
 * What a disk is for, as a person says: `kms:NAME`, the disk of the machine that is key provider NAME. A pool that such a
 * machine opens cannot start before it, and it not before its disk: so no disk of a pool may be tagged with the provider
 * whose key is in force there.
 */
#ifndef COFFER_ENGINE_POOL_HOSTS_H
#define COFFER_ENGINE_POOL_HOSTS_H

#include "engine/pool/pool.h"

#define HOSTS_KMS "kms:"

/* `kms:NAME`, where a provider could be named NAME. */
bool hosts_is_valid(const char *text);
/* Whether a disk `name` may have that tag now; NULL or empty: none. ERROR_INVALID; ERROR_ACCESS: the pool needs that provider
 * to open; ERROR_BUSY: its keys are being changed. Under pool->lock. */
enum error hosts_check(struct pool *pool, const char *name, const char *text) CHECKED;
/* Before that provider's key is in force: ERROR_UNCONFIRMED where a disk has its tag. Under pool->lock, and ->changing. */
enum error hosts_check_provider(struct pool *pool, const char *provider) CHECKED;

#endif
