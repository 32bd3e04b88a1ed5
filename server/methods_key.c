/*
 * The methods for keys. A passphrase comes as hexadecimal, because a key file may hold any bytes; it is moved to the arena
 * and overwritten in the request before the slow key derivation begins. No locks; a crash loses the answer only.
 */
#include "server/methods_key.h"

#include "base/clock.h"
#include "base/memory.h"
#include "crypto/arena.h"
#include "crypto/provider.h"
#include "server/key_age.h"
#include "server/key_cached.h"
#include "server/key_care.h"
#include "server/key_watch.h"
#include "server/parameters.h"
#include "server/rpc.h"
#include "server/unlock_way.h"

static enum error secret_take(json_t *parameters, const char *name, char **passphrase, size_t *size)
{
    json_t *digits = json_object_get(parameters, name);
    *passphrase = NULL;
    *size = 0;
    if (digits == NULL)
        return ERROR_NONE;
    char *taken = arena_allocate(PASSPHRASE_MAX);
    if (taken == NULL)
        return ERROR_NO_MEMORY;
    enum error error = rpc_decode_hexadecimal(json_string_value(digits), json_string_length(digits), taken, PASSPHRASE_MAX, size);
    memory_cleanse((char *)json_string_value(digits), json_string_length(digits));
    if (error != ERROR_NONE) {
        arena_free(taken);
        return error_prefix(error, "%s", name);
    }
    *passphrase = taken;
    return ERROR_NONE;
}

enum error passphrase_take(json_t *parameters, char **passphrase, size_t *size)
{
    return secret_take(parameters, "passphrase_hex", passphrase, size);
}

static json_t *retained_json(const struct pool_key_status *status)
{
    json_t *array = json_array();
    char id[UUID_TEXT_SIZE];
    for (size_t i = 0; i < status->retained_count; i++) {
        const struct pool_key_retained *one = &status->retained[i];
        uuid_format(one->provider_id, id);
        json_array_append_new(array, json_pack("{s:s, s:s, s:I}", "provider", one->provider, "provider_id", id, "kek_number",
                                               (json_int_t)one->kek_number));
    }
    return array;
}

enum error method_key_status(struct methods *methods, json_t *parameters, json_t **result)
{
    struct pool_key_status status;
    char id[UUID_TEXT_SIZE];
    (void)parameters;
    TRY(pool_key_status(methods->pool, &status));
    uuid_format(status.provider_id, id);
    json_t *json = status.encryption ? json_pack("{s:b, s:s, s:s, s:s, s:s, s:I, s:I, s:b, s:o}", "encryption", true,
                                                 "provider", status.provider, "provider_id", id, "type", status.type, "seal",
                                                 status.seal, "kek_number", (json_int_t)status.kek_number, "key_slots",
                                                 (json_int_t)status.key_slots, "half_done", status.half_done, "retained",
                                                 retained_json(&status))
                                     : json_pack("{s:b}", "encryption", false);
    enum error error = json == NULL ? ERROR_NO_MEMORY : deep_rekey_add(methods->pool, json);
    if (error != ERROR_NONE) {
        json_decref(json);
        return error;
    }
    if (status.encryption) {
        key_care_tell(pool_directory(methods->pool), json);
        key_age_tell(methods->pool, json);
        key_cached_tell(methods->pool, json);
    }
    *result = json;
    return ERROR_NONE;
}

enum error key_status_behind(struct methods *methods, const char *done, json_t **result)
{
    enum error error = method_key_status(methods, NULL, result);
    return error == ERROR_NONE ? error : error_prefix(error, "%s, but the state of the keys cannot be told", done);
}

/* The key of before, or what was kept of it, the new one's, and what is to be done; answered with what is in force afterwards. */
static enum error change(struct methods *methods, json_t *parameters, struct pool_rekey_options *options, json_t **result)
{
    char *passphrase, *next = NULL;
    uint8_t *key = NULL;
    TRY(passphrase_take(parameters, &passphrase, &options->passphrase_size));
    enum error error = secret_take(parameters, "new_passphrase_hex", &next, &options->new_passphrase_size);
    options->passphrase = passphrase;
    options->new_passphrase = next;
    uint64_t since = clock_monotonic();
    if (error == ERROR_NONE)
        error = kept_key_take(methods->pool, parameters, &(struct provider_secret){passphrase, options->passphrase_size}, &key);
    options->key = key;
    if (error == ERROR_NONE)
        error = pool_rekey(methods->pool, options);
    uint64_t nanoseconds = clock_monotonic() - since;
    arena_free(key);
    arena_free(passphrase);
    arena_free(next);
    TRY(error);
    key_care_note_change(pool_directory(methods->pool));
    key_watch_wake();
    TRY(key_status_behind(methods, options->dry_run ? "the rehearsal succeeded" : "the new key is in force", result));
    return json_object_set_new(*result, "nanoseconds", json_integer((json_int_t)nanoseconds)) == 0 ? ERROR_NONE
                                                                                                   : ERROR_NO_MEMORY;
}

enum error method_key_rekey(struct methods *methods, json_t *parameters, json_t **result)
{
    struct pool_rekey_options options = {.new_root = flag_get(parameters, "new_root")};
    return change(methods, parameters, &options, result);
}

enum error method_key_use(struct methods *methods, json_t *parameters, json_t **result)
{
    struct pool_rekey_options options = {.provider = text_get(parameters, "provider"),
                                         .dry_run = flag_get(parameters, "dry_run"),
                                         .accept_cycle = flag_get(parameters, "accept_cycle")};
    return change(methods, parameters, &options, result);
}

enum error method_key_retire(struct methods *methods, json_t *parameters, json_t **result)
{
    struct pool_retire_options options = {.provider = text_get(parameters, "provider"),
                                          .destroy = flag_get(parameters, "destroy"),
                                          .key_file = text_get(parameters, "key_file")};
    uint64_t count;
    TRY(number_get(parameters, "number", &options.number));
    TRY(pool_key_retire(methods->pool, &options, &count));
    *result = json_pack("{s:I, s:b}", "keys", (json_int_t)count, "destroyed", options.destroy);
    return *result == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
}
