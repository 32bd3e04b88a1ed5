/*
 * The providers that coffer.conf names, and the one of them whose key is in force. The witness names that one; only what the
 * conf names is ever asked.
 */
#ifndef COFFER_ENGINE_POOL_PROVIDERS_H
#define COFFER_ENGINE_POOL_PROVIDERS_H

#include "base/error.h"
#include "engine/pool/conf.h"

struct pool;

/* NULL: the conf names no such one. */
const struct provider_config *provider_of_id(const struct pool_conf *conf, struct uuid id);
/* ERROR_NOT_FOUND names those that there are. */
enum error provider_named(const struct pool_conf *conf, const char *name, const struct provider_config **provider) CHECKED;

/* Reads coffer.conf anew for its providers, into pool->providers; what else it says counts from the next start on.
 * ->changing is held, or nobody has the pool yet; without pool->lock. On an error all is as it was. */
enum error providers_read(struct pool *pool) CHECKED;
/* The provider that is in force from now on. The same holds. */
void providers_use(struct pool *pool, struct uuid id);
/* Whether the line `provider =` names the one in force; writes it where it does not. What fails is a message, and tried again
 * at the next open. */
void providers_mend_line(struct pool *pool);

#endif
