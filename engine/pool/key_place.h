/* Key files outside of the pool directory: which of them a pool that goes, or ends an old key, may destroy. */
#ifndef COFFER_ENGINE_POOL_KEY_PLACE_H
#define COFFER_ENGINE_POOL_KEY_PLACE_H

#include <stddef.h>

#include "engine/pool/conf.h"

/* ERROR_UNCONFIRMED: the key file of that provider lies outside of `directory`, the pool's, and is none of the `count` that were
 * named. ERROR_NONE also where there is none. */
enum error key_place_check(const char *directory, const struct provider_config *provider, const char *const *named,
                           size_t count) CHECKED;
/* ERROR_INVALID: no provider of the conf keeps its key in one of those that were named. */
enum error key_place_named_check(const struct pool_conf *conf, const char *const *named, size_t count) CHECKED;

#endif
