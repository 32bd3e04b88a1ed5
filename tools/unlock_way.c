/*
 * What is sent to the daemon where a person unlocks by a backup or a recovery key, or proves by it the key that is to be
 * changed. A backup is opened here first, so that a
 * wrong password or file is told before anything is sent; then it is encoded again, without conf and key slots, under the
 * same password: no key crosses the socket but in that file. Secrets are in the arena; nothing is written.
 */
#include "tools/unlock_way.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hex.h"
#include "base/memory.h"
#include "crypto/arena.h"
#include "engine/pool/key_backup.h"

#define MEMBER "\"backup_hex\":\""

static char *member_make(const uint8_t *data, size_t size)
{
    char *text = memory_zeroed(1, sizeof MEMBER + 2 * size + 1);
    if (text == NULL)
        return NULL;
    char *hex = mempcpy(text, MEMBER, sizeof MEMBER - 1);
    hex_format(data, size, hex);
    hex[2 * size] = '"';
    return text;
}

static enum error member_brief(const struct key_backup *backup, const struct provider_secret *password, char **member)
{
    uint8_t *data;
    size_t size;
    TRY(key_backup_encode(backup, true, password, &data, &size));
    *member = member_make(data, size);
    free(data);
    return *member == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
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

static enum error backup_read(const char *file, const char *password_file, struct kept_key *kept)
{
    struct key_backup *backup = NULL;
    if (access(file, R_OK) != 0) /* before a person types a password in vain */
        return error_from_errno(errno, "read %s", file);
    TRY(passphrase_read(password_file, "Password of the backup: ", false, &kept->passphrase, &kept->size));
    struct provider_secret password = {kept->passphrase, kept->size};
    enum error error = file_decode(file, &password, &backup);
    if (error == ERROR_NONE)
        error = member_brief(backup, &password, &kept->member);
    key_backup_destroy(backup);
    return error;
}

static enum error recovery_read(const char *file, struct kept_key *kept)
{
    TRY(passphrase_read(file, "Recovery key of the pool: ", false, &kept->passphrase, &kept->size));
    kept->member = strdup("\"recovery\":true");
    return kept->member == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
}

bool kept_key_is_given(const struct arguments *arguments)
{
    return argument_given(arguments, "key") || argument_given(arguments, "recovery");
}

enum error kept_key_check(const struct arguments *arguments, size_t place)
{
    bool by_key = argument_given(arguments, "key"), by_recovery = argument_given(arguments, "recovery");
    if (by_key + by_recovery + argument_given(arguments, "passphrase-file") > 1)
        return error_explain(ERROR_INVALID, "--key, --recovery or --passphrase-file: one of them");
    if (argument_given(arguments, "password-file") && !by_key)
        return error_explain(ERROR_INVALID, "--password-file is for --key: a pool has a passphrase (--passphrase-file)");
    if (arguments->positional_count > place && !by_recovery)
        return error_explain(ERROR_INVALID, "'%s' is too much: a file is for --recovery", arguments->positional[place]);
    return ERROR_NONE;
}

enum error kept_key_read(const struct arguments *arguments, size_t place, struct kept_key *kept)
{
    enum error error = ERROR_NONE;
    *kept = (struct kept_key){0};
    if (argument_given(arguments, "key"))
        error = backup_read(argument_value(arguments, "key", NULL), argument_value(arguments, "password-file", NULL), kept);
    else if (argument_given(arguments, "recovery"))
        error = recovery_read(arguments->positional_count > place ? arguments->positional[place] : NULL, kept);
    if (error != ERROR_NONE)
        kept_key_forget(kept);
    return error;
}

void kept_key_forget(struct kept_key *kept)
{
    arena_free(kept->passphrase);
    free(kept->member);
    *kept = (struct kept_key){0};
}
