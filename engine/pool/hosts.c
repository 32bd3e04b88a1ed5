/*
 * The tag `hosts` of an object: given at its creation or later, stored in its document, refused where it would close a circle.
 *
 * The two checks exclude each other by pool->changing: a tag waits for a change of keys to end (ERROR_BUSY), and a change of
 * keys looks at the tags when it has begun. A tag is one document like any change of an object, durable before it is made
 * in memory. All under pool->lock.
 */
#include "engine/pool/hosts.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/pool/object_table.h"

_Static_assert(OBJECT_HOSTS_MAX == sizeof HOSTS_KMS - 1 + PROVIDER_NAME_MAX, "a tag of any provider fits");

bool hosts_is_valid(const char *text)
{
    size_t prefix = strlen(HOSTS_KMS);
    return strncmp(text, HOSTS_KMS, prefix) == 0 && pool_conf_name_is_valid(text + prefix, PROVIDER_NAME_MAX);
}

enum error hosts_check(struct pool *pool, const char *name, const char *text)
{
    if (text == NULL || text[0] == '\0')
        return ERROR_NONE;
    if (!hosts_is_valid(text))
        return error_explain(ERROR_INVALID, "a disk cannot host '%.64s': say kms:NAME, where NAME is a key provider, or none", text);
    if (pool->changing)
        return error_explain(ERROR_BUSY, "the keys of pool %s are being changed right now: tag '%s' when that is done",
                             pool->directory, name);
    if (pool->provider == NULL || strcmp(pool->provider->name, text + strlen(HOSTS_KMS)) != 0)
        return ERROR_NONE;
    return error_explain(ERROR_ACCESS,
                         "'%s' cannot be the disk of key provider %s, whose key opens this very pool: after a power loss the "
                         "pool could not start without that key server, nor the key server without its disk. Keep that disk "
                         "outside of this pool, or let another provider open it first (`%s key provider use NAME`)",
                         name, pool->provider->name, pool->command);
}

enum error hosts_check_provider(struct pool *pool, const char *provider)
{
    if (pool->table == NULL)
        return ERROR_NONE;
    for (const struct object *object = pool->objects; object != NULL; object = object->next)
        if (object->hosts != NULL && object_is_living(object) && strcmp(object->hosts + strlen(HOSTS_KMS), provider) == 0)
            return error_explain(ERROR_UNCONFIRMED,
                                 "'%s' is the disk of key provider %s (--hosts): with its key in force, after a power loss the "
                                 "pool could not start without that key server, nor the key server without its disk. Move that "
                                 "disk elsewhere first, or say --accept-cycle",
                                 object->name, provider);
    return ERROR_NONE;
}

static enum error set(struct pool *pool, const char *name, const char *text)
{
    struct object *object;
    struct object_document document;
    TRY(object_check_changeable(pool));
    TRY(object_find_living(pool, name, &object));
    if (object_is_snapshot(object))
        return error_explain(ERROR_INVALID, "'%s' is a snapshot: it is the disk of nothing", name);
    TRY(hosts_check(pool, object->name, text));
    AUTO_FREE char *hosts = text == NULL ? NULL : strdup(text);
    if (text != NULL && hosts == NULL)
        return ERROR_NO_MEMORY;
    object_describe(pool, object, &document);
    memset(document.hosts, 0, sizeof document.hosts);
    if (hosts != NULL)
        memcpy(document.hosts, hosts, strlen(hosts));
    TRY(catalog_store(pool, object->slot, &document));
    free(object->hosts);
    object->hosts = hosts;
    hosts = NULL;
    object->revision++;
    return ERROR_NONE;
}

enum error object_set_hosts(struct pool *pool, const char *name, const char *hosts)
{
    mutex_lock(&pool->lock);
    enum error error = set(pool, name, hosts == NULL || hosts[0] == '\0' ? NULL : hosts);
    mutex_unlock(&pool->lock);
    return error;
}
