/*
 * Waiting for the key of a pool that started without one that opens it: a key file on a medium that comes later, say.
 * It is looked for again and again, at growing intervals, until it opens the pool, a person is needed, or somebody
 * unlocks.
 */
#ifndef COFFER_SERVER_KEY_WAIT_H
#define COFFER_SERVER_KEY_WAIT_H

#include <stddef.h>

#include "base/error.h"

struct pool;
struct key_wait;

/* Gives the secret that goes with the key, as pool_unlock() takes it: *passphrase in the arena, or NULL for none. */
typedef enum error key_secret(void *context, char **passphrase, size_t *size);

/* Starts a thread where the pool awaits its key; else *wait is NULL. `pool` and `context` outlive it. */
enum error key_wait_start(struct pool *pool, key_secret *secret, void *context, struct key_wait **wait) CHECKED;
/* Looks no more; NULL is allowed. */
void key_wait_stop(struct key_wait *wait);

#endif
