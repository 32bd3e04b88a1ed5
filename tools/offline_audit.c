/* The key that seals the line is taken from the first device, which the pool's key opens; it is wiped at once. */
#include "tools/offline_audit.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "engine/pool/audit_pending.h"
#include "engine/pool/key_backup.h"

static void result_set(struct pool_audit_entry *entry, enum error result)
{
    if (result == ERROR_NONE)
        snprintf(entry->result, sizeof entry->result, "ok");
    else
        snprintf(entry->result, sizeof entry->result, "%s: %.*s", error_name(result), (int)sizeof entry->result / 2,
                 error_sentence(result));
}

static void key_set(struct pool_audit_entry *entry, const struct key_backup *key)
{
    char id[UUID_TEXT_SIZE];
    uuid_format(key->provider, id);
    snprintf(entry->key, sizeof entry->key, "%s/%" PRIu64, id, key->kek_number);
}

/* NULL where it is not to be had: the line is added without. */
static const struct k_pool *seal_key(const struct pool_conf *conf, const struct key_backup *key, struct k_pool *seal)
{
    if (key == NULL || !uuid_equal(key->pool, conf->pool))
        return NULL;
    if (key_backup_audit_key(key, conf, seal) == ERROR_NONE)
        return seal;
    error_forget();
    return NULL;
}

bool offline_audit_in(struct tool *tool, int directory, const struct pool_conf *conf, const struct key_backup *key,
                      const char *operation, const char *target, enum error result)
{
    struct pool_audit_entry entry = {.uid = (uint32_t)getuid(), .pid = (uint32_t)getpid()};
    AUTO_FREE char *sentence = result == ERROR_NONE ? NULL : strdup(error_sentence(result));
    struct k_pool bytes;
    if (conf->provider == NULL || result == ERROR_INVALID)
        return false;
    snprintf(entry.operation, sizeof entry.operation, "%s", operation);
    snprintf(entry.target, sizeof entry.target, "%s%.*s", target == NULL ? "provider " : "", (int)sizeof entry.target / 2,
             target == NULL ? conf->provider->name : target);
    result_set(&entry, result);
    if (key != NULL)
        key_set(&entry, key);
    const struct k_pool *seal = seal_key(conf, key, &bytes);
    enum error error = directory < 0 ? audit_pending_add(conf->directory, seal, &entry)
                                     : audit_pending_add_in(directory, conf->directory, seal, &entry);
    memory_cleanse(&bytes, sizeof bytes);
    if (error != ERROR_NONE && result == ERROR_NONE)
        fprintf(tool->err, "coffer: this could not be recorded for the audit: %s\n", error_sentence(error));
    if (sentence != NULL)
        (void)!error_explain(result, "%s", sentence);
    return error == ERROR_NONE;
}

bool offline_audit(struct tool *tool, const struct pool_conf *conf, const struct key_backup *key, const char *operation,
                   const char *target, enum error result)
{
    return offline_audit_in(tool, -1, conf, key, operation, target, result);
}
