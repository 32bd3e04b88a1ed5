/*
 * The methods for the pool as a whole and its devices.
 *
 * pool_status has the keys of struct pool_status by the same names, so that a figure has one name from the engine to
 * the script that reads it. No locks; a crash loses the answer only.
 */
#include "server/methods.h"

#include <string.h>

#include "base/memory.h"
#include "crypto/arena.h"
#include "server/health.h"
#include "server/key_watch.h"
#include "server/methods_key.h"
#include "server/methods_scrub.h"
#include "server/parameters.h"
#include "server/served.h"
#include "server/unlock_way.h"

static json_t *device_json(const struct device_info *device, const char *group)
{
    char uuid[UUID_TEXT_SIZE];
    uuid_format(device->uuid, uuid);
    return json_pack("{s:s, s:s, s:o, s:I, s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "uuid", uuid, "group", group, "path",
                     text_json(device->path, "?"), "size", (json_int_t)device->size, "fenced", device->fenced, "reads",
                     (json_int_t)device->reads, "read_bytes", (json_int_t)device->read_bytes, "writes",
                     (json_int_t)device->writes, "write_bytes", (json_int_t)device->write_bytes, "flushes",
                     (json_int_t)device->flushes, "discards", (json_int_t)device->discards);
}

static json_t *devices_json(const struct pool_status *status)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < status->device_count; i++) {
        if (json_array_append_new(rows, device_json(&status->devices[i], status->group_name)) != 0) {
            json_decref(rows);
            return NULL;
        }
    }
    return rows;
}

static json_t *groups_json(const struct pool_status *status)
{
    char uuid[UUID_TEXT_SIZE];
    uuid_format(status->group_uuid, uuid);
    return json_pack("[{s:s, s:s, s:b, s:o}]", "uuid", uuid, "name", status->group_name, "fenced", status->fenced,
                     "devices", devices_json(status));
}

static json_t *identity_json(const struct pool_status *status)
{
    char uuid[UUID_TEXT_SIZE];
    bool keyed = status->fingerprint == POOL_FINGERPRINT_HMAC_SHA256;
    uuid_format(status->uuid, uuid);
    return json_pack("{s:s, s:s, s:b, s:b, s:b, s:o, s:b, s:b, s:b, s:b, s:b, s:s, s:o, s:o}", "uuid", uuid, "version",
                     COFFER_VERSION, "locked", status->locked, "awaits_key", status->awaits_key, "trying", status->trying,
                     "why_locked", text_json(status->why_locked, "see the messages of cofferd"), "encryption",
                     status->encryption, "fenced", status->fenced, "below_full", status->below_full, "read_only",
                     status->read_only, "index_full", status->index_full, "fingerprint",
                     keyed ? "hmac-sha256" : "xxh3", "groups", groups_json(status), "nbd", served_json());
}

static enum error add_figures(json_t *json, const struct pool_status *status)
{
    const struct {
        const char *key;
        uint64_t value;
    } figures[] = {
        {"epoch", status->epoch},
        {"raw_bytes", status->raw_bytes},
        {"reserve_bytes", status->reserve_bytes},
        {"capacity_bytes", status->capacity_bytes},
        {"used_bytes", status->used_bytes},
        {"reserved_bytes", status->reserved_bytes},
        {"free_bytes", status->free_bytes},
        {"writable_bytes", status->writable_bytes},
        {"reclaimable_bytes", status->reclaimable_bytes},
        {"live_bytes", status->live_bytes},
        {"chunks_live", status->chunks_live},
        {"blocks_mapped", status->blocks_mapped},
        {"logical_bytes", status->blocks_mapped * COFFER_BLOCK},
        {"unique_bytes", status->chunks_live * COFFER_BLOCK},
        {"data_stored_bytes", status->data_stored_bytes},
        {"meta_stored_bytes", status->meta_stored_bytes},
        {"objects", status->objects},
        {"snapshots", status->snapshots},
        {"objects_trashed", status->objects_trashed},
        {"object_bytes", status->object_bytes},
        {"snapshot_bytes", status->snapshot_bytes},
        {"memory_setting", status->memory_setting},
        {"memory_used", status->memory_used},
        {"user_read_bytes", status->user_read_bytes},
        {"user_write_bytes", status->user_write_bytes},
        {"user_reads", status->user_reads},
        {"user_writes", status->user_writes},
        {"user_flushes", status->user_flushes},
        {"chunks_written", status->chunks_written},
        {"chunks_zero", status->chunks_zero},
        {"chunks_hit", status->chunks_hit},
        {"chunks_false_hit", status->chunks_false_hit},
        {"chunks_random", status->chunks_random},
        {"unit_bytes_in", status->unit_bytes_in},
        {"unit_bytes_out", status->unit_bytes_out},
        {"data_written_bytes", status->data_written_bytes},
        {"meta_written_bytes", status->meta_written_bytes},
        {"checkpoints", status->checkpoints},
        {"checkpoint_last", status->checkpoint_last},
        {"journal_bytes", status->journal_bytes},
        {"replay_bytes", status->replay_bytes},
        {"replay_nanoseconds", status->replay_nanoseconds},
        {"read_errors", status->read_errors},
    };
    for (size_t i = 0; i < COUNT_OF(figures); i++) {
        if (json_object_set_new(json, figures[i].key, json_integer((json_int_t)figures[i].value)) != 0)
            return ERROR_NO_MEMORY;
    }
    return ERROR_NONE;
}

/* struct pool_status is tens of kilobytes: it lives on the heap. */
static enum error status_read(struct methods *methods, struct pool_status **status)
{
    struct pool_status *read = memory_zeroed(1, sizeof(*read));
    if (read == NULL)
        return ERROR_NO_MEMORY;
    enum error error = pool_status(methods->pool, read);
    if (error != ERROR_NONE) {
        free(read);
        return error;
    }
    *status = read;
    return ERROR_NONE;
}

/* null while the pool is locked or only read. */
static enum error add_scrub(json_t *json, struct methods *methods)
{
    struct scrub_status scrub;
    bool known = pool_scrub_status(methods->pool, &scrub) == ERROR_NONE;
    error_forget();
    return json_object_set_new(json, "scrub", known ? scrub_json(&scrub) : json_null()) == 0 ? ERROR_NONE
                                                                                            : ERROR_NO_MEMORY;
}

enum error method_pool_status(struct methods *methods, json_t *parameters, json_t **result)
{
    (void)parameters;
    AUTO_FREE struct pool_status *status = NULL;
    TRY(status_read(methods, &status));
    json_t *json = identity_json(status);
    if (json == NULL || add_figures(json, status) != ERROR_NONE || add_scrub(json, methods) != ERROR_NONE) {
        json_decref(json);
        return ERROR_NO_MEMORY;
    }
    *result = json;
    return ERROR_NONE;
}

enum error method_device_list(struct methods *methods, json_t *parameters, json_t **result)
{
    (void)parameters;
    AUTO_FREE struct pool_status *status = NULL;
    TRY(status_read(methods, &status));
    json_t *rows = devices_json(status);
    if (rows == NULL)
        return ERROR_NO_MEMORY;
    *result = rows;
    return ERROR_NONE;
}

enum error method_pool_health(struct methods *methods, json_t *parameters, json_t **result)
{
    (void)parameters;
    AUTO_FREE struct pool_status *status = NULL;
    TRY(status_read(methods, &status));
    AUTO_FREE struct health_facts *facts = memory_zeroed(1, sizeof(*facts));
    if (facts == NULL)
        return ERROR_NO_MEMORY;
    facts->status = status;
    facts->self = pool_command(methods->pool);
    AUTO_FREE struct damage_info *damages = NULL;
    facts->scrubs = pool_scrub_status(methods->pool, &facts->scrub) == ERROR_NONE;
    if (pool_damages(methods->pool, &damages, &facts->damage_count, &facts->damage_more) != ERROR_NONE)
        facts->damage_count = 0;
    facts->damages = damages;
    pool_audit_state(methods->pool, &facts->audit);
    error_forget();
    health_facts_gather(facts, pool_directory(methods->pool));
    key_age_see(methods->pool, &facts->age);
    if (pool_deep_rekey_status(methods->pool, &facts->deep) != ERROR_NONE)
        error_forget();
    kms_cycle_look(methods->pool, &facts->cycle);
    json_t *rows = health_json(facts);
    if (rows == NULL)
        return ERROR_NO_MEMORY;
    *result = rows;
    return ERROR_NONE;
}

enum error method_pool_unlock(struct methods *methods, json_t *parameters, json_t **result)
{
    char *passphrase;
    size_t size;
    uint8_t *key;
    TRY(passphrase_take(parameters, &passphrase, &size));
    enum error error = kept_key_take(methods->pool, parameters, &(struct provider_secret){passphrase, size}, &key);
    if (error == ERROR_NONE)
        error = key != NULL ? pool_unlock_by_key(methods->pool, key) : pool_unlock(methods->pool, passphrase, size);
    arena_free(key);
    arena_free(passphrase);
    key_watch_wake(); /* also where it was open already: somebody cares for the key */
    TRY(error);
    return method_pool_status(methods, NULL, result);
}

enum error method_pool_lock(struct methods *methods, json_t *parameters, json_t **result)
{
    (void)parameters;
    TRY(pool_lock(methods->pool));
    return method_pool_status(methods, NULL, result);
}
