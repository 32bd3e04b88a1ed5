/*
 * The methods for keys. A passphrase comes as hexadecimal, because a key file may hold any bytes; it is moved to the arena
 * and overwritten in the request before the slow key derivation begins. No locks; a crash loses the answer only.
 */
#include "server/methods_key.h"

#include "base/clock.h"
#include "base/memory.h"
#include "crypto/arena.h"
#include "crypto/provider.h"
#include "server/rpc.h"

enum error passphrase_take(json_t *parameters, char **passphrase, size_t *size)
{
    json_t *digits = json_object_get(parameters, "passphrase_hex");
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
        return error_prefix(error, "passphrase_hex");
    }
    *passphrase = taken;
    return ERROR_NONE;
}

enum error method_key_status(struct methods *methods, json_t *parameters, json_t **result)
{
    struct pool_key_status status;
    char id[UUID_TEXT_SIZE];
    (void)parameters;
    TRY(pool_key_status(methods->pool, &status));
    uuid_format(status.provider_id, id);
    json_t *json = status.encryption ? json_pack("{s:b, s:s, s:s, s:s, s:s, s:I, s:I}", "encryption", true, "provider",
                                                 status.provider, "provider_id", id, "type", status.type, "seal",
                                                 status.seal, "kek_number", (json_int_t)status.kek_number, "key_slots",
                                                 (json_int_t)status.key_slots)
                                     : json_pack("{s:b}", "encryption", false);
    if (json == NULL)
        return ERROR_NO_MEMORY;
    *result = json;
    return ERROR_NONE;
}

enum error method_key_rekey(struct methods *methods, json_t *parameters, json_t **result)
{
    char *passphrase;
    struct pool_rekey_options options = {.new_root = json_is_true(json_object_get(parameters, "new_root"))};
    TRY(passphrase_take(parameters, &passphrase, &options.passphrase_size));
    options.passphrase = passphrase;
    uint64_t since = clock_monotonic();
    enum error error = pool_rekey(methods->pool, &options);
    uint64_t nanoseconds = clock_monotonic() - since;
    arena_free(passphrase);
    TRY(error);
    TRY(method_key_status(methods, NULL, result));
    return json_object_set_new(*result, "nanoseconds", json_integer((json_int_t)nanoseconds)) == 0 ? ERROR_NONE
                                                                                                   : ERROR_NO_MEMORY;
}
