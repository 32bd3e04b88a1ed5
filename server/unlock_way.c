/*
 * The two ways in beside the provider. Both end in the provider's key, in the arena, with which the pool is opened as if the
 * provider had given it: what is opened, verified and refused is the same. They prove as well the present key of a provider
 * that has lost it. Of a backup, what crosses the socket is the
 * encrypted file and its password. No locks; a crash loses the answer only.
 */
#include "server/unlock_way.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "crypto/arena.h"
#include "crypto/recovery.h"
#include "engine/pool/key_backup.h"
#include "server/rpc.h"

#define BACKUP_BYTES_MAX RPC_LINE_MAX

static enum error pool_uuid(struct pool *pool, struct uuid *uuid)
{
    AUTO_FREE struct pool_status *status = memory_zeroed(1, sizeof *status);
    if (status == NULL)
        return ERROR_NO_MEMORY;
    TRY(pool_status(pool, status));
    *uuid = status->uuid;
    return ERROR_NONE;
}

static enum error secret_check(const struct provider_secret *secret, const char *what)
{
    return secret->passphrase != NULL ? ERROR_NONE : error_explain(ERROR_INVALID, "%s is missing (passphrase_hex)", what);
}

static enum error backup_read(const json_t *hexadecimal, const struct provider_secret *password, struct key_backup **backup)
{
    AUTO_FREE char *data = memory_zeroed(1, BACKUP_BYTES_MAX);
    size_t size;
    if (data == NULL)
        return ERROR_NO_MEMORY;
    TRY(rpc_decode_hexadecimal(json_string_value(hexadecimal), json_string_length(hexadecimal), data, BACKUP_BYTES_MAX, &size));
    return key_backup_decode(data, size, password, backup);
}

static enum error by_backup(struct pool *pool, const json_t *hexadecimal, const struct provider_secret *secret,
                            uint8_t key[KEY_SIZE])
{
    struct key_backup *backup;
    struct uuid uuid;
    TRY(secret_check(secret, "the password of the backup"));
    TRY(pool_uuid(pool, &uuid));
    TRY(backup_read(hexadecimal, secret, &backup));
    enum error error = key_backup_check_pool(backup, uuid);
    if (error == ERROR_NONE)
        memcpy(key, backup->key, KEY_SIZE);
    key_backup_destroy(backup);
    return error;
}

/* `recovery_key`: room for it, in the arena. */
static enum error by_recovery(struct pool *pool, const struct provider_secret *secret, uint8_t recovery_key[KEY_SIZE],
                              uint8_t key[KEY_SIZE])
{
    struct recovery recovery;
    struct uuid uuid;
    TRY(secret_check(secret, "the recovery key"));
    TRY(pool_uuid(pool, &uuid));
    TRY(recovery_load(pool_directory(pool), &recovery));
    if (!uuid_equal(recovery.pool, uuid))
        return error_explain(ERROR_FOREIGN, "%s/%s is another pool's", pool_directory(pool), RECOVERY_NAME);
    TRY(recovery_key_parse(secret->passphrase, secret->passphrase_size, recovery_key));
    return recovery_unwrap(&recovery, recovery_key, key);
}

enum error kept_key_take(struct pool *pool, const json_t *parameters, const struct provider_secret *secret, uint8_t **key)
{
    const json_t *backup = json_object_get(parameters, "backup_hex");
    *key = NULL;
    if (backup == NULL && !json_is_true(json_object_get(parameters, "recovery")))
        return ERROR_NONE;
    uint8_t(*keys)[KEY_SIZE] = arena_allocate(2 * sizeof *keys);
    if (keys == NULL)
        return ERROR_NO_MEMORY;
    enum error error =
        backup != NULL ? by_backup(pool, backup, secret, keys[0]) : by_recovery(pool, secret, keys[1], keys[0]);
    memory_cleanse(keys[1], KEY_SIZE);
    if (error != ERROR_NONE)
        arena_free(keys);
    else
        *key = keys[0];
    return error;
}
