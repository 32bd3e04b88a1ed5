/* What other methods take of secrets. */
#ifndef COFFER_SERVER_METHODS_KEY_H
#define COFFER_SERVER_METHODS_KEY_H

#include "server/methods.h"

/* The passphrase of a request, in the arena (arena_free), and overwritten there; NULL where none was given. */
enum error passphrase_take(json_t *parameters, char **passphrase, size_t *size) CHECKED;

/* What is under which data key, and the deep rekey, into the answer of key.status. Nothing where the pool is locked, or is
 * meanwhile. */
enum error deep_rekey_add(struct pool *pool, json_t *key_status) CHECKED;

/* key.status as the answer of what was done: an error says that it was. */
enum error key_status_behind(struct methods *methods, const char *done, json_t **result) CHECKED;

#endif
