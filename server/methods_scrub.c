/*
 * The methods of the scrub, and what is known to be damaged. Every one answers with scrub.status as it is then. No
 * locks; a crash loses the answer only: the engine keeps the job.
 */
#include "server/methods_scrub.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "server/parameters.h"

static const char *const state_names[] = {
    [SCRUB_NEVER] = "never",         [SCRUB_RUNNING] = "running",   [SCRUB_PAUSED] = "paused",
    [SCRUB_CANCELLED] = "cancelled", [SCRUB_COMPLETE] = "complete",
};

json_t *scrub_json(const struct scrub_status *status)
{
    const struct {
        const char *key;
        uint64_t value;
    } figures[] = {
        {"rate", status->rate},
        {"started", status->started},
        {"bytes_verified", status->bytes_verified},
        {"bytes_expected", status->bytes_expected},
        {"nanoseconds", status->nanoseconds},
        {"seconds_left", status->seconds_left},
        {"completed", status->completed},
        {"completed_bytes", status->completed_bytes},
        {"completed_seconds", status->completed_seconds},
        {"completed_damages", status->completed_damages},
        {"damages", status->damages},
        {"damaged_bytes", status->damaged_bytes},
    };
    bool waits = status->fenced && (status->state == SCRUB_RUNNING || status->state == SCRUB_PAUSED);
    json_t *json = json_pack("{s:s, s:s, s:s}", "state", state_names[status->state], "step", status->step, "waiting",
                             waits ? "out of service" : "");
    for (size_t i = 0; i < COUNT_OF(figures) && json != NULL; i++) {
        if (json_object_set_new(json, figures[i].key, json_integer((json_int_t)figures[i].value)) == 0)
            continue;
        json_decref(json);
        json = NULL;
    }
    return json;
}

static json_t *damage_json(const struct damage_info *info)
{
    char uuid[UUID_TEXT_SIZE] = "";
    if (info->object[0] != '\0')
        uuid_format(info->uuid, uuid);
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:o, s:I, s:I, s:b, s:s, s:I, s:o}", "kind", info->kind, "object",
                     info->object, "uuid", uuid, "offset", (json_int_t)info->offset, "length", (json_int_t)info->length,
                     "device", text_json(info->device, "?"), "segment", (json_int_t)info->segment, "segment_offset",
                     (json_int_t)info->segment_offset, "lost", info->lost, "found_by",
                     info->by_scrub ? "scrub" : "read", "found", (json_int_t)info->found, "sentence",
                     text_json(info->sentence, "?"));
}

static enum error add_damages(struct methods *methods, json_t *json)
{
    AUTO_FREE struct damage_info *infos = NULL;
    size_t count;
    bool more;
    TRY(pool_damages(methods->pool, &infos, &count, &more));
    json_t *rows = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(rows, damage_json(&infos[i]));
    if (json_array_size(rows) != count) {
        json_decref(rows);
        return ERROR_NO_MEMORY;
    }
    bool added = json_object_set_new(json, "damage", rows) == 0 &&
                 json_object_set_new(json, "damage_more", json_boolean(more)) == 0;
    return added ? ERROR_NONE : ERROR_NO_MEMORY;
}

enum error method_scrub_status(struct methods *methods, json_t *parameters, json_t **result)
{
    struct scrub_status status;
    (void)parameters;
    TRY(pool_scrub_status(methods->pool, &status));
    json_t *json = scrub_json(&status);
    enum error error = json == NULL ? ERROR_NO_MEMORY : add_damages(methods, json);
    if (error != ERROR_NONE) {
        json_decref(json);
        return error;
    }
    *result = json;
    return ERROR_NONE;
}

/* Bytes a second; where it is not given, `fallback`. */
static enum error rate_of(const json_t *parameters, uint64_t fallback, uint64_t *rate)
{
    const json_t *given = json_object_get(parameters, "rate");
    *rate = given == NULL ? fallback : (uint64_t)json_integer_value(given);
    if (given != NULL && json_integer_value(given) < 0)
        return error_explain(ERROR_INVALID, "rate must be bytes a second, or 0 for no limit");
    return ERROR_NONE;
}

enum error method_scrub_start(struct methods *methods, json_t *parameters, json_t **result)
{
    uint64_t rate;
    TRY(rate_of(parameters, SCRUB_RATE_KEEP, &rate));
    TRY(pool_scrub_start(methods->pool, rate));
    return method_scrub_status(methods, NULL, result);
}

enum error method_scrub_pause(struct methods *methods, json_t *parameters, json_t **result)
{
    (void)parameters;
    TRY(pool_scrub_pause(methods->pool));
    return method_scrub_status(methods, NULL, result);
}

enum error method_scrub_resume(struct methods *methods, json_t *parameters, json_t **result)
{
    (void)parameters;
    TRY(pool_scrub_resume(methods->pool));
    return method_scrub_status(methods, NULL, result);
}

enum error method_scrub_cancel(struct methods *methods, json_t *parameters, json_t **result)
{
    (void)parameters;
    TRY(pool_scrub_cancel(methods->pool));
    return method_scrub_status(methods, NULL, result);
}

enum error method_scrub_throttle(struct methods *methods, json_t *parameters, json_t **result)
{
    uint64_t rate;
    TRY(rate_of(parameters, SCRUB_RATE_KEEP, &rate));
    TRY(pool_scrub_throttle(methods->pool, rate));
    return method_scrub_status(methods, NULL, result);
}
