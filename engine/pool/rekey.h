/* What changes of keys share: one at a time, and none while the pool is locked or unlocked. rekey.c is pool_rekey(). */
#ifndef COFFER_ENGINE_POOL_REKEY_H
#define COFFER_ENGINE_POOL_REKEY_H

#include "base/error.h"

struct pool;

/* Sets pool->changing and keeps the group open. ERROR_LOCKED, ERROR_READ_ONLY, ERROR_BUSY, ERROR_FENCED; ERROR_INVALID: the
 * pool is not encrypted. Without pool->lock. */
enum error key_change_begin(struct pool *pool) CHECKED;
void key_change_end(struct pool *pool);

#endif
