/*
 * pool->conf never changes while the pool is in memory, because all threads use it; what may change are the providers: a copy
 * of their own of the conf is read anew at each unlock and change of keys, so that one that was added meanwhile can be used.
 *
 * The line `provider =` follows the witness. It is written behind the commit of a change of keys, and by the next open where
 * a crash came between the two; so the witness decides which provider is asked, and the conf which ones may be.
 *
 * pool->providers and pool->provider are replaced under pool->lock, by whoever holds pool->changing, who may read them without.
 */
#include "engine/pool/providers.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/message.h"
#include "engine/pool/conf_edit.h"
#include "engine/pool/pool.h"

const struct provider_config *provider_of_id(const struct pool_conf *conf, struct uuid id)
{
    for (size_t i = 0; i < conf->provider_count; i++)
        if (uuid_equal(conf->providers[i].id, id))
            return &conf->providers[i];
    return NULL;
}

enum error provider_named(const struct pool_conf *conf, const char *name, const struct provider_config **provider)
{
    char names[512] = "";
    for (size_t i = 0; i < conf->provider_count; i++) {
        size_t used = strlen(names);
        if (strcmp(conf->providers[i].name, name) == 0) {
            *provider = &conf->providers[i];
            return ERROR_NONE;
        }
        snprintf(names + used, sizeof names - used, "%s%s", used == 0 ? "" : ", ", conf->providers[i].name);
    }
    return error_explain(ERROR_NOT_FOUND, "%s/%s has no [provider %.64s]; it has %s", conf->directory, POOL_CONF_NAME, name,
                         names[0] == '\0' ? "none" : names);
}

static const struct provider_config *in_force(const struct pool_conf *conf, const struct provider_config *before)
{
    const struct provider_config *same = before ? provider_of_id(conf, before->id) : NULL;
    return same ? same : conf->provider;
}

enum error providers_read(struct pool *pool)
{
    struct pool_conf *read, *old = pool->providers;
    TRY(pool_conf_read(pool->directory, &read));
    bool fits = uuid_equal(read->pool, pool->conf->pool) &&
                (read->encryption == POOL_ENCRYPTION_OFF) == (pool->conf->encryption == POOL_ENCRYPTION_OFF);
    if (!fits) {
        pool_conf_destroy(read);
        return error_explain(ERROR_INVALID,
                             "%s/%s became one of another pool, or says something else of encryption: set it back",
                             pool->directory, POOL_CONF_NAME);
    }
    if (!atomic_load(&pool->locked) && pool->provider && !provider_of_id(read, pool->provider->id)) {
        pool_conf_destroy(read);
        return error_explain(ERROR_NOT_FOUND,
                             "%s/%s does not name provider %s any more, whose key is in force: put its section back",
                             pool->directory, POOL_CONF_NAME, pool->provider->name);
    }
    mutex_lock(&pool->lock);
    pool->provider = in_force(read, pool->provider);
    pool->providers = read;
    mutex_unlock(&pool->lock);
    if (old != pool->conf)
        pool_conf_destroy(old);
    return ERROR_NONE;
}

void providers_use(struct pool *pool, struct uuid id)
{
    const struct provider_config *provider = provider_of_id(pool->providers, id);
    if (!provider)
        return;
    mutex_lock(&pool->lock);
    pool->provider = provider;
    mutex_unlock(&pool->lock);
}

/* As the file is now, whatever was read. */
static enum error line_write(const struct pool *pool)
{
    int lock;
    TRY(conf_edit_begin(pool->directory, &lock));
    enum error error = conf_edit_use(pool->directory, pool->provider->name);
    conf_edit_end(lock);
    return error;
}

void providers_mend_line(struct pool *pool)
{
    if (!pool->provider || pool->provider == pool->providers->provider)
        return;
    enum error error = line_write(pool);
    if (error)
        message(MESSAGE_WARNING, "pool %s: the key in force is one of provider %s, and %s/%s should say provider = %s: %s",
                pool->directory, pool->provider->name, pool->directory, POOL_CONF_NAME, pool->provider->name,
                error_sentence(error));
    error_forget();
}
