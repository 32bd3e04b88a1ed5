/* Which devices need a key, for a sentence of one that is gone. */
#ifndef COFFER_ENGINE_POOL_KEY_NEEDS_H
#define COFFER_ENGINE_POOL_KEY_NEEDS_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/pool/conf.h"

#define KEY_NEEDS_SIZE 512 /* with the terminating zero */

/* "/dev/sda, /dev/sdb and 3 more": the devices i of the group for which needs[i], or all where it is NULL. Returns `text`. */
const char *key_needs_name(const struct pool_conf_group *group, const bool *needs, char text[KEY_NEEDS_SIZE]);

#endif
