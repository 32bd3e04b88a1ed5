/*
 * The methods of the deep rekey. Every one answers with key.status as it is then, of which `deep_rekey`, `data_keys` and `tag_keys`
 * are made here. The passphrase is treated as in methods_key.c. No locks; a crash loses the answer only: the engine keeps the job.
 */
#include "server/methods_key.h"

#include <stdlib.h>

#include "base/memory.h"
#include "crypto/arena.h"
#include "server/parameters.h"

static const char *const state_names[] = {
    [DEEP_REKEY_NONE] = "none",
    [DEEP_REKEY_RUNNING] = "running",
    [DEEP_REKEY_PAUSED] = "paused",
    [DEEP_REKEY_COMPLETE] = "complete",
};

static json_t *job_json(const struct deep_rekey_status *status)
{
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "state", state_names[status->state], "waiting",
                     status->waits == ERROR_NONE ? "" : error_name(status->waits), "rate", (json_int_t)status->rate, "started",
                     (json_int_t)status->started, "bytes_moved", (json_int_t)status->bytes_moved, "nanoseconds",
                     (json_int_t)status->nanoseconds, "bytes_left", (json_int_t)status->bytes_left, "bytes_total",
                     (json_int_t)status->bytes_total, "seconds_left", (json_int_t)status->seconds_left, "blocks_lost",
                     (json_int_t)status->blocks_lost, "tag_key_stays", status->log_key_stays);
}

static json_t *slot_json(const struct key_slot_info *info)
{
    return json_pack("{s:o, s:I, s:b, s:I, s:I, s:I}", "device", text_json(info->device, "?"), "slot",
                     (json_int_t)info->slot, "current", info->current, "segments", (json_int_t)info->segments, "segment_bytes",
                     (json_int_t)info->segment_bytes, "live_bytes", (json_int_t)info->live_bytes);
}

static enum error add_keys(struct pool *pool, enum error (*tell)(struct pool *, struct key_slot_info **, size_t *), const char *name,
                           json_t *facts)
{
    AUTO_FREE struct key_slot_info *infos = NULL;
    size_t count;
    TRY(tell(pool, &infos, &count));
    json_t *rows = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(rows, slot_json(&infos[i]));
    if (json_array_size(rows) == count)
        return json_object_set_new(facts, name, rows) == 0 ? ERROR_NONE : ERROR_NO_MEMORY;
    json_decref(rows);
    return ERROR_NO_MEMORY;
}

static enum error facts_make(struct pool *pool, json_t *facts)
{
    struct deep_rekey_status status;
    TRY(pool_deep_rekey_status(pool, &status));
    TRY(add_keys(pool, pool_key_slots, "data_keys", facts));
    TRY(add_keys(pool, pool_log_keys, "tag_keys", facts));
    return json_object_set_new(facts, "deep_rekey", job_json(&status)) == 0 ? ERROR_NONE : ERROR_NO_MEMORY;
}

/* All of it or nothing: the pool may be locked between two looks. */
enum error deep_rekey_add(struct pool *pool, json_t *key_status)
{
    json_t *facts = json_object();
    enum error error = facts == NULL ? ERROR_NO_MEMORY : facts_make(pool, facts);
    if (error == ERROR_NONE && json_object_update(key_status, facts) != 0)
        error = ERROR_NO_MEMORY;
    json_decref(facts);
    return error == ERROR_LOCKED ? ERROR_NONE : error;
}

/* Bytes a second; 0, or left out: no limit. */
static enum error rate_of(const json_t *parameters, uint64_t *rate)
{
    const json_t *given = json_object_get(parameters, "rate");
    *rate = (uint64_t)json_integer_value(given);
    return given == NULL || json_integer_value(given) >= 0
               ? ERROR_NONE
               : error_explain(ERROR_INVALID, "rate must be bytes a second, or 0 for no limit");
}

enum error method_key_rekey_deep(struct methods *methods, json_t *parameters, json_t **result)
{
    char *passphrase;
    struct pool_rekey_options options = {0};
    uint64_t rate;
    TRY(rate_of(parameters, &rate));
    TRY(passphrase_take(parameters, &passphrase, &options.passphrase_size));
    options.passphrase = passphrase;
    enum error error = pool_deep_rekey(methods->pool, &options, rate);
    arena_free(passphrase);
    TRY(error);
    return key_status_behind(methods, "the deep rekey runs", result);
}

enum error method_key_pause(struct methods *methods, json_t *parameters, json_t **result)
{
    (void)parameters;
    TRY(pool_deep_rekey_pause(methods->pool));
    return key_status_behind(methods, "the deep rekey pauses", result);
}

enum error method_key_resume(struct methods *methods, json_t *parameters, json_t **result)
{
    (void)parameters;
    TRY(pool_deep_rekey_resume(methods->pool));
    return key_status_behind(methods, "the deep rekey goes on", result);
}

enum error method_key_throttle(struct methods *methods, json_t *parameters, json_t **result)
{
    uint64_t rate;
    TRY(rate_of(parameters, &rate));
    TRY(pool_deep_rekey_throttle(methods->pool, rate));
    return key_status_behind(methods, "the deep rekey has another rate", result);
}
