/*
 * The method for reports on keys: key.status, and besides each provider of the conf, and what each device holds under which
 * key. No secret is in it: keys are told by number, id and check value. Refused while the pool is locked or its keys are being
 * changed, since then not all of it is known. No locks.
 */
#include "server/methods.h"

#include <stdlib.h>

#include "base/memory.h"
#include "crypto/hierarchy.h"
#include "engine/pool/conf.h"
#include "engine/pool/key_ages.h"
#include "engine/pool/providers.h"
#include "server/parameters.h"

static const char *const kind_names[] = {[KEY_KIND_DEK] = "data", [KEY_KIND_LOG] = "tags", [KEY_KIND_POOL] = "pool"};

/* ---- providers ------------------------------------------------------------------------------------------------------ */

static json_t *servers_json(const struct provider_config *provider)
{
    json_t *array = json_array();
    for (size_t i = 0; i < provider->server_count; i++)
        json_array_append_new(array, text_json(provider->servers[i], "?"));
    return array;
}

static json_t *providers_json(const struct pool_conf *conf)
{
    json_t *array = json_array();
    char id[UUID_TEXT_SIZE];
    for (size_t i = 0; i < conf->provider_count; i++) {
        const struct provider_config *provider = &conf->providers[i];
        uuid_format(provider->id, id);
        json_array_append_new(array, json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:b}", "name", provider->name, "id", id, "type",
                                               provider->type, "seal", text_json(provider->seal, "?"), "path",
                                               text_json(provider->path, "?"), "servers", servers_json(provider), "in_force",
                                               provider == conf->provider));
    }
    return array;
}

/* ---- devices -------------------------------------------------------------------------------------------------------- */

/* Keys that no deep rekey brought are as old as the pool; 0: unknown. */
static uint64_t key_made(struct uuid pool, const struct pool_key_list *list, const struct pool_key *key, const struct key_ages *ages)
{
    static const enum key_age_kind kinds[] = {
        [KEY_KIND_DEK] = KEY_AGE_DATA, [KEY_KIND_LOG] = KEY_AGE_LOG, [KEY_KIND_POOL] = KEY_AGE_POOL};
    struct uuid id = key->kind == KEY_KIND_POOL ? pool : list->devices[key->device].id;
    const struct key_age *age = key->kind < COUNT_OF(kinds) ? key_age_find(ages, kinds[key->kind], id, key->slot) : NULL;
    bool first = key->kind != KEY_KIND_DEK && key->slot == 1;
    return age != NULL ? age->seconds : first ? list->created : 0;
}

static json_t *key_json(struct uuid pool, const struct pool_key_list *list, const struct pool_key *key, const struct key_ages *ages)
{
    char kcv[KCV_TEXT_SIZE];
    uint64_t made = key_made(pool, list, key, ages);
    kcv_format(key->kcv, kcv);
    return json_pack("{s:s, s:I, s:b, s:s, s:o}", "kind", key->kind < COUNT_OF(kind_names) ? kind_names[key->kind] : "?", "slot",
                     (json_int_t)key->slot, "current", key->current, "kcv", kcv, "made",
                     made == 0 ? json_null() : json_integer((json_int_t)made));
}

static json_t *wrapping_json(const struct pool_conf *conf, struct uuid id, uint64_t number)
{
    char text[UUID_TEXT_SIZE];
    const struct provider_config *provider = provider_of_id(conf, id);
    if (uuid_is_zero(id))
        return json_null();
    uuid_format(id, text);
    return json_pack("{s:o, s:s, s:I}", "provider", text_json(provider == NULL ? NULL : provider->name, "?"), "provider_id",
                     text, "kek_number", (json_int_t)number);
}

static json_t *device_json(const struct pool_conf *conf, const struct pool_key_list *list, uint32_t index,
                           const struct key_ages *ages)
{
    const struct pool_key_device *device = &list->devices[index];
    char id[UUID_TEXT_SIZE];
    json_t *keys = json_array();
    uuid_format(device->id, id);
    for (size_t i = 0; i < list->key_count; i++)
        if (list->keys[i].device == index)
            json_array_append_new(keys, key_json(conf->pool, list, &list->keys[i], ages));
    return json_pack("{s:o, s:s, s:I, s:o, s:o, s:o}", "device", text_json(device->path, "?"), "id", id, "superblock_epoch",
                     (json_int_t)device->epoch, "wrapped_under",
                     wrapping_json(conf, device->provider, device->kek_number), "also_under",
                     wrapping_json(conf, device->other_provider, device->other_kek_number), "keys", keys);
}

/* ---- the whole ------------------------------------------------------------------------------------------------------ */

static enum error add(const struct pool_conf *conf, const struct pool_key_list *list, json_t *json)
{
    AUTO_FREE struct key_ages *ages = memory_zeroed(1, sizeof *ages);
    if (ages == NULL)
        return ERROR_NO_MEMORY;
    if (key_ages_load(conf->directory, ages) != ERROR_NONE)
        error_forget();
    json_t *devices = json_array();
    for (size_t i = 0; i < list->device_count; i++)
        json_array_append_new(devices, device_json(conf, list, (uint32_t)i, ages));
    int failed = json_object_set_new(json, "devices", devices);
    failed |= json_object_set_new(json, "providers", providers_json(conf));
    return failed ? ERROR_NO_MEMORY : ERROR_NONE;
}

static enum error report(struct methods *methods, const struct pool_conf *conf, json_t **result)
{
    struct pool_key_list list;
    json_t *json;
    if (conf->provider == NULL)
        return error_explain(ERROR_INVALID, "pool %s is not encrypted: there are no keys to report on", conf->directory);
    TRY(method_key_status(methods, NULL, &json)); /* which notes ages first */
    enum error error = pool_key_list(methods->pool, &list);
    if (error == ERROR_NONE) {
        error = add(conf, &list, json);
        free(list.keys);
        free(list.devices);
    }
    if (error == ERROR_NONE)
        *result = json;
    else
        json_decref(json);
    return error;
}

enum error method_key_report(struct methods *methods, json_t *parameters, json_t **result)
{
    struct pool_conf *conf;
    (void)parameters;
    TRY(pool_conf_read(pool_directory(methods->pool), &conf));
    enum error error = report(methods, conf, result);
    pool_conf_destroy(conf);
    return error;
}
