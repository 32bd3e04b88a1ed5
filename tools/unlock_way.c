/*
 * What is sent to the daemon where a person unlocks by a backup or a recovery key. A backup is opened here first, so that a
 * wrong password or file is told before anything is sent; then it is encoded again, without conf and key slots, under the
 * same password: no key crosses the socket but in that file. Secrets are in the arena; nothing is written.
 */
#include "tools/unlock_way.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "crypto/arena.h"
#include "engine/pool/key_backup.h"

#define MEMBER "\"backup_hex\":\""

static char *member_make(const uint8_t *data, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    char *text = memory_zeroed(1, sizeof MEMBER + 2 * size + 1), *end = text;
    if (text == NULL)
        return NULL;
    end = mempcpy(end, MEMBER, sizeof MEMBER - 1);
    for (size_t i = 0; i < size; i++) {
        *end++ = digits[data[i] >> 4];
        *end++ = digits[data[i] & 15];
    }
    *end = '"';
    return text;
}

static enum error send_brief(struct client *client, const struct key_backup *backup, const struct provider_secret *password,
                             json_t **status)
{
    uint8_t *data;
    size_t size;
    TRY(key_backup_encode(backup, true, password, &data, &size));
    AUTO_FREE char *member = member_make(data, size);
    free(data);
    if (member == NULL)
        return ERROR_NO_MEMORY;
    return client_call_with_passphrase(client, "pool.unlock", member, password->passphrase, password->passphrase_size,
                                       "unlocking", status);
}

static enum error file_decode(const char *file, const struct provider_secret *password, struct key_backup **backup)
{
    void *data;
    size_t size;
    TRY(file_read(file, KEY_BACKUP_FILE_MAX, &data, &size));
    enum error error = key_backup_decode(data, size, password, backup);
    free(data);
    return error == ERROR_NONE ? ERROR_NONE : error_prefix(error, "%s", file);
}

enum error unlock_with_backup(struct client *client, const char *file, const char *password_file, json_t **status)
{
    struct key_backup *backup = NULL;
    struct provider_secret password = {0};
    char *text;
    if (access(file, R_OK) != 0)
        return error_from_errno(errno, "read %s", file);
    TRY(passphrase_read(password_file, "Password of the backup: ", false, &text, &password.passphrase_size));
    password.passphrase = text;
    enum error error = file_decode(file, &password, &backup);
    if (error == ERROR_NONE)
        error = send_brief(client, backup, &password, status);
    key_backup_destroy(backup);
    arena_free(text);
    return error;
}

enum error unlock_with_recovery(struct client *client, const char *file, json_t **status)
{
    char *text;
    size_t size;
    TRY(passphrase_read(file, "Recovery key of the pool: ", false, &text, &size));
    enum error error = client_call_with_passphrase(client, "pool.unlock", "\"recovery\":true", text, size, "unlocking", status);
    arena_free(text);
    return error;
}
