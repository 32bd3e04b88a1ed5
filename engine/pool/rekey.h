/* What changes of keys share: one at a time, and none while the pool is locked or unlocked. rekey.c is pool_rekey(). */
#ifndef COFFER_ENGINE_POOL_REKEY_H
#define COFFER_ENGINE_POOL_REKEY_H

#include "base/error.h"

struct pool;
struct pool_rekey_options;

/* Sets pool->changing and keeps the group open. ERROR_LOCKED, ERROR_READ_ONLY, ERROR_BUSY, ERROR_FENCED; ERROR_INVALID: the
 * pool is not encrypted. Without pool->lock. */
enum error key_change_begin(struct pool *pool) CHECKED;
void key_change_end(struct pool *pool);
/* For the audit: by what the present key was proved, where its provider did not; else NULL. */
const char *key_proof_name(const struct pool_rekey_options *options);

#endif
