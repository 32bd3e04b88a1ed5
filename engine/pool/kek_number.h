/* Which of a provider's keys a pool that may be locked is under, as far as its directory says. */
#ifndef COFFER_ENGINE_POOL_KEK_NUMBER_H
#define COFFER_ENGINE_POOL_KEK_NUMBER_H

#include <stdint.h>

#include "base/error.h"
#include "crypto/provider.h"
#include "engine/pool/conf.h"

/* The number in the witness, of which nothing is verified: a false one finds no key, or one that opens nothing. 1 where the
 * witness is lost or names another provider. Errors as witness_load(). Any thread, whatever the pool does. */
enum error pool_kek_number(const struct pool_conf *conf, const struct provider_config *provider, uint64_t *number) CHECKED;

#endif
