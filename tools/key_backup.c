/*
 * `coffer key backup`, `drill` and `restore`, and the reading of a backup for `coffer unlock --key`.
 *
 * This process asks the provider for the key, not the daemon, which keeps none; so a KDK never crosses the control
 * socket. Superblocks are read beside a daemon that runs. Only the backup, a key file at `restore --to`, and the dates
 * (key_dates.h) are written, each whole or not at all. What is written is read back and must open every device before
 * it counts. Secrets are in the arena.
 */
#include "tools/key_backup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/shell.h"
#include "crypto/arena.h"
#include "crypto/hierarchy.h"
#include "crypto/provider_key.h"
#include "crypto/provider_tpm.h"
#include "crypto/recovery.h"
#include "engine/pool/key_dates.h"
#include "engine/pool/providers.h"
#include "tools/command.h"
#include "tools/cycle.h"
#include "tools/offline_audit.h"
#include "tools/place.h"

/* ---- passwords and passphrases ---------------------------------------------------------------------------------- */

/* A secret that was read: text in the arena. */
static enum error secret_read(const char *file, const char *prompt, bool confirm, struct provider_secret *secret)
{
    char *text;
    TRY(passphrase_read(file, prompt, confirm, &text, &secret->passphrase_size));
    secret->passphrase = text;
    return ERROR_NONE;
}

static void secret_forget(struct provider_secret *secret)
{
    arena_free((char *)secret->passphrase);
    *secret = (struct provider_secret){0};
}

enum error pool_secret_read(const struct provider_config *provider, const char *file, struct provider_secret *secret)
{
    const struct provider_ops *operations;
    struct tpm_binding binding;
    uint32_t flags = 0;
    *secret = (struct provider_secret){0};
    TRY(provider_find(provider, &operations));
    bool by_tpm = provider->seal != NULL && strcmp(provider->seal, "tpm") == 0;
    if (by_tpm)
        TRY(provider_tpm_look(provider, &flags, &binding));
    if (operations->needs_passphrase || flags & TPM_FLAG_PIN)
        return secret_read(file, by_tpm ? "PIN of the pool: " : "Passphrase of the pool: ", false, secret);
    if (file != NULL)
        return error_explain(ERROR_INVALID, "no passphrase seals the key of this pool: leave out --passphrase-file");
    return ERROR_NONE;
}

void pool_secret_forget(struct provider_secret *secret)
{
    secret_forget(secret);
}

/* ---- reading a backup ------------------------------------------------------------------------------------------- */

static enum error file_decode(const char *path, const struct provider_secret *password, struct key_backup **backup)
{
    void *data;
    size_t size;
    TRY(file_read(path, KEY_BACKUP_FILE_MAX, &data, &size));
    enum error error = key_backup_decode(data, size, password, backup);
    free(data);
    return error == ERROR_NONE ? ERROR_NONE : error_prefix(error, "%s", path);
}

enum error key_backup_file_read(const char *path, const char *password_file, struct key_backup **backup)
{
    struct provider_secret password;
    if (access(path, R_OK) != 0) /* before a person types a password in vain */
        return error_from_errno(errno, "read %s", path);
    TRY(secret_read(password_file, "Password of the backup: ", false, &password));
    enum error error = file_decode(path, &password, backup);
    secret_forget(&password);
    return error;
}

static json_t *backup_json(const struct key_backup *backup, const char *path, const struct key_backup_proof *proof)
{
    char pool[UUID_TEXT_SIZE], id[UUID_TEXT_SIZE], kcv[KCV_TEXT_SIZE];
    uuid_format(backup->pool, pool);
    uuid_format(backup->provider, id);
    kcv_format(backup->kcv, kcv);
    json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:s}", "file", path, "pool", pool, "provider",
                             backup->provider_name, "provider_id", id,
                             "key", backup->is_kek ? "kek" : "kdk", "kek_number", (json_int_t)backup->kek_number, "kcv", kcv);
    if (json != NULL && proof != NULL) {
        json_object_set_new(json, "devices", json_integer((json_int_t)proof->devices));
        json_object_set_new(json, "key_slots", json_integer((json_int_t)proof->slots));
    }
    return json;
}

static enum error print_backup(struct tool *tool, const struct key_backup *backup, const char *path,
                               const struct key_backup_proof *proof)
{
    json_t *json = backup_json(backup, path, proof);
    enum error error = json == NULL ? ERROR_NO_MEMORY : tool_print_json(tool, json);
    json_decref(json);
    return error;
}

/* What happened is done; that nobody will be reminded of it is no failure of it. */
static void record(struct tool *tool, const struct pool_conf *conf, enum key_event event, const struct key_backup *backup)
{
    struct key_name key = {backup->provider, backup->kek_number, {0}};
    memcpy(key.kcv, backup->kcv, KCV_SIZE);
    enum error error = key_dates_record(conf->directory, event, &key);
    if (error != ERROR_NONE)
        fprintf(tool->err, "coffer: the date could not be recorded, so that health will still warn: %s\n", error_sentence(error));
}

/* ---- backup ----------------------------------------------------------------------------------------------------- */

struct backup_task {
    struct tool *tool;
    const struct arguments *arguments;
    struct pool_conf *conf;
    const char *path;
    struct provider_secret pool, password;
    struct key_backup *backup;
    struct key_backup_proof proof;
};

static enum error path_check(const char *path, const struct pool_conf *conf)
{
    if (access(path, F_OK) == 0)
        return error_explain(ERROR_EXISTS, "%s exists already: nothing is overwritten, name another file", path);
    return cycle_check(path, conf->directory);
}

/* Of the file as it lies there, with the password that was typed. */
static enum error read_back(struct backup_task *task)
{
    struct key_backup *again;
    TRY(file_decode(task->path, &task->password, &again));
    enum error error = key_backup_prove(again, task->conf, &task->proof);
    key_backup_destroy(again);
    return error == ERROR_NONE ? ERROR_NONE : error_prefix(error, "the backup was made, and what was read back does not open "
                                                                  "the pool");
}

static enum error backup_store(struct backup_task *task)
{
    uint8_t *data;
    size_t size;
    TRY(key_backup_encode(task->backup, false, &task->password, &data, &size));
    enum error error = file_create_own(task->path, data, size);
    free(data);
    TRY(error);
    error = read_back(task);
    return error == ERROR_NONE ? ERROR_NONE : file_take_back(task->path, error);
}

static enum error backup_run(struct backup_task *task)
{
    TRY(path_check(task->path, task->conf));
    if (task->conf->provider == NULL)
        return error_explain(ERROR_INVALID, "pool %s is not encrypted: it has no key to keep", task->conf->directory);
    TRY(pool_secret_read(task->conf->provider, argument_value(task->arguments, "passphrase-file", NULL), &task->pool));
    TRY(key_backup_make(task->conf, task->pool.passphrase == NULL ? NULL : &task->pool, &task->backup));
    TRY(secret_read(argument_value(task->arguments, "password-file", NULL), "Password for the backup: ", true, &task->password));
    TRY(backup_store(task));
    record(task->tool, task->conf, KEY_BACKED_UP, task->backup);
    return ERROR_NONE;
}

static enum error print_backed_up(struct backup_task *task)
{
    FILE *out = task->tool->out;
    char kcv[KCV_TEXT_SIZE];
    AUTO_FREE char *word = shell_quote(task->path);
    if (task->tool->json)
        return print_backup(task->tool, task->backup, task->path, &task->proof);
    kcv_format(task->backup->kcv, kcv);
    fprintf(out, "The key of provider %s, check value %s, is in %s. What was read back opened %zu key slots of %zu device%s.\n",
            task->backup->provider_name, kcv, task->path, task->proof.slots, task->proof.devices, task->proof.devices == 1 ? "" : "s");
    fprintf(out, task->backup->is_kek ? "It holds key number %" PRIu64 " of the key servers: the next change of keys outdates it.\n"
                                      : "It holds the root key: `key rekey --new-root`, `key provider use` and `key provider reseal`\n"
                                        "outdate it.\n",
            task->backup->kek_number);
    fprintf(out, "Keep it away from the machine, and its password elsewhere. To prove it now and then:\n  %s key drill %s\n",
            tool_self(task->tool), word == NULL ? task->path : word);
    return ERROR_NONE;
}

static enum error run_backup(struct tool *tool, const struct arguments *arguments)
{
    struct backup_task task = {.tool = tool, .arguments = arguments, .path = arguments->positional[0]};
    TRY(place_conf(tool, &task.conf));
    enum error error = backup_run(&task);
    offline_audit(tool, task.conf, task.backup, "key.backup", NULL, error);
    if (error == ERROR_NONE)
        error = print_backed_up(&task);
    key_backup_destroy(task.backup);
    secret_forget(&task.pool);
    secret_forget(&task.password);
    pool_conf_destroy(task.conf);
    return error;
}

/* ---- drill ------------------------------------------------------------------------------------------------------ */

/* It opens the disks as they lie there; whether it is of the key that the witness names is another matter. */
static void compare_with_witness(struct tool *tool, const struct pool_conf *conf, const struct key_backup *backup, json_t *json)
{
    struct key_present present;
    struct key_name key = {backup->provider, backup->kek_number, {0}};
    memcpy(key.kcv, backup->kcv, KCV_SIZE);
    key_present_look(conf, &present);
    bool in_force = key_present_is(&present, &key);
    if (!present.known)
        return;
    if (json != NULL) {
        json_object_set_new(json, "kek_number_in_force", json_integer((json_int_t)present.key.number));
        json_object_set_new(json, "of_key_in_force", json_boolean(in_force));
    } else if (!in_force) {
        fprintf(tool->out, "But it is of a key of before: the witness names key number %" PRIu64 ", made of another root. The disks were put\n"
                           "back to an older day, or a change of keys is not complete. Make a new backup.\n", present.key.number);
    } else if (present.key.number != backup->kek_number) {
        fprintf(tool->out, "It was made when key number %" PRIu64 " was in force. Now it is number %" PRIu64 ", of the same root key: this backup "
                           "is as good\nas a new one.\n", backup->kek_number, present.key.number);
    }
    if (!in_force)
        tool->status = EXIT_FAILED;
}

static enum error print_drill_json(struct tool *tool, const struct pool_conf *conf, const struct key_backup *backup, const char *path,
                                   const struct key_backup_proof *proof)
{
    json_t *json = backup_json(backup, path, proof);
    if (json == NULL)
        return ERROR_NO_MEMORY;
    compare_with_witness(tool, conf, backup, json);
    enum error error = tool_print_json(tool, json);
    json_decref(json);
    return error;
}

static enum error drill(struct tool *tool, const struct pool_conf *conf, const struct key_backup *backup, const char *path)
{
    struct key_backup_proof proof;
    enum error error = key_backup_prove(backup, conf, &proof);
    offline_audit(tool, conf, backup, "key.drill", NULL, error);
    if (error != ERROR_NONE)
        return error_prefix(error, "%s", path);
    record(tool, conf, KEY_DRILLED, backup);
    if (tool->json)
        return print_drill_json(tool, conf, backup, path, &proof);
    fprintf(tool->out, "%s opens the pool: with it alone, %zu key slots of %zu device%s were unwrapped. Nothing was changed.\n", path,
            proof.slots, proof.devices, proof.devices == 1 ? "" : "s");
    compare_with_witness(tool, conf, backup, NULL);
    return ERROR_NONE;
}

static enum error run_drill(struct tool *tool, const struct arguments *arguments)
{
    struct pool_conf *conf;
    struct key_backup *backup;
    TRY(place_conf(tool, &conf));
    enum error error =
        key_backup_file_read(arguments->positional[0], argument_value(arguments, "password-file", NULL), &backup);
    if (error == ERROR_NONE) {
        error = drill(tool, conf, backup, arguments->positional[0]);
        key_backup_destroy(backup);
    }
    pool_conf_destroy(conf);
    return error;
}

/* ---- restore ---------------------------------------------------------------------------------------------------- */

/* The key that the recovery key in `file`, or that is asked for, unwraps of the pool directory's recovery.json. */
static enum error recovery_open(const struct pool_conf *conf, const char *file, struct key_backup *kept)
{
    struct provider_secret secret;
    struct recovery recovery;
    TRY(recovery_load(conf->directory, &recovery));
    if (!uuid_equal(recovery.pool, conf->pool))
        return error_explain(ERROR_FOREIGN, "%s/" RECOVERY_NAME " is another pool's", conf->directory);
    const struct provider_config *provider = provider_of_id(conf, recovery.provider);
    kept->pool = recovery.pool;
    kept->provider = recovery.provider;
    kept->is_kek = recovery.is_kek;
    kept->kek_number = recovery.kek_number;
    memcpy(kept->kcv, recovery.kcv, KCV_SIZE);
    snprintf(kept->provider_name, sizeof kept->provider_name, "%s", provider == NULL ? "native" : provider->name);
    uint8_t *recovery_key = arena_allocate(KEY_SIZE);
    if (recovery_key == NULL)
        return ERROR_NO_MEMORY;
    enum error error = secret_read(file, "Recovery key of the pool: ", false, &secret);
    if (error == ERROR_NONE) {
        error = recovery_key_parse(secret.passphrase, secret.passphrase_size, recovery_key);
        secret_forget(&secret);
    }
    if (error == ERROR_NONE)
        error = recovery_unwrap(&recovery, recovery_key, kept->key);
    arena_free(recovery_key);
    return error;
}

static enum error recovery_read(struct tool *tool, const char *file, struct key_backup **backup)
{
    struct pool_conf *conf;
    TRY(place_conf(tool, &conf));
    struct key_backup *kept = arena_allocate(sizeof *kept);
    enum error error = kept == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
    if (error == ERROR_NONE) {
        *kept = (struct key_backup){0};
        error = recovery_open(conf, file, kept);
    }
    pool_conf_destroy(conf);
    if (error != ERROR_NONE)
        key_backup_destroy(kept);
    else
        *backup = kept;
    return error;
}

static enum error restore_to(const struct arguments *arguments, const struct key_backup *backup, const char *path)
{
    struct provider_config config = {.id = backup->provider, .type = "native", .path = path,
                                     .seal = argument_value(arguments, "seal", "file")};
    struct provider_secret secret = {0};
    snprintf(config.name, sizeof config.name, "%s", backup->provider_name);
    if (backup->is_kek)
        return error_explain(ERROR_UNSUPPORTED,
                             "this is a key of key servers, of which no key file is made: `coffer unlock --key` opens the pool "
                             "by it, and then `coffer key rekey --shallow`, with the same --key where the servers have lost "
                             "theirs, makes a new one there");
    if (strcmp(config.seal, "passphrase") == 0)
        TRY(secret_read(argument_value(arguments, "passphrase-file", NULL), "Passphrase for the key file: ", true, &secret));
    enum error error = provider_key_store(&config, &secret, backup->key);
    secret_forget(&secret);
    return error;
}

static enum error restore_check(const struct arguments *arguments, const char *path)
{
    const char *seal = argument_value(arguments, "seal", "file");
    bool by_recovery = argument_given(arguments, "recovery");
    if (path == NULL)
        return error_explain(ERROR_INVALID, "name the key file that is to be made: --to PATH");
    if (arguments->positional_count == 0 && !by_recovery)
        return error_explain(ERROR_INVALID, "name the backup, FILE.p12, or say --recovery");
    if (argument_given(arguments, "password-file") && by_recovery)
        return error_explain(ERROR_INVALID, "--password-file is for a backup: the recovery key has none");
    if (strcmp(seal, "tpm") == 0)
        return error_explain(ERROR_INVALID, "no key is restored into a TPM directly: restore it with --seal passphrase; then "
                                            "`coffer key tpm reseal --copy` that file where the old key file is still there, "
                                            "else say seal = passphrase in coffer.conf");
    if (strcmp(seal, "file") != 0 && strcmp(seal, "passphrase") != 0)
        return error_explain(ERROR_INVALID, "--seal knows no '%s': say file or passphrase", seal);
    if (argument_given(arguments, "passphrase-file") && strcmp(seal, "passphrase") != 0)
        return error_explain(ERROR_INVALID, "--passphrase-file is for --seal passphrase");
    if (access(path, F_OK) == 0)
        return error_explain(ERROR_EXISTS, "%s exists already: nothing is overwritten, move it away or name another file", path);
    return ERROR_NONE;
}

/* Where it is known which directory it is about; a key may be restored where there is none. */
static void restore_audit(struct tool *tool, const struct key_backup *backup, enum error result)
{
    AUTO_FREE char *sentence = result == ERROR_NONE ? NULL : strdup(error_sentence(result));
    struct pool_conf *conf;
    if (place_conf(tool, &conf) == ERROR_NONE) {
        if (uuid_equal(conf->pool, backup->pool))
            offline_audit(tool, conf, backup, "key.restore", NULL, result);
        pool_conf_destroy(conf);
    }
    if (sentence != NULL)
        (void)!error_explain(result, "%s", sentence);
    else
        error_forget();
}

static void print_restored(struct tool *tool, const struct arguments *arguments, const struct key_backup *backup, const char *path)
{
    AUTO_FREE char *absolute = realpath(path, NULL);
    AUTO_FREE char *word = shell_quote(absolute == NULL ? path : absolute);
    const char *name = backup->provider_name;
    char id[UUID_TEXT_SIZE], kcv[KCV_TEXT_SIZE];
    uuid_format(backup->provider, id);
    kcv_format(backup->kcv, kcv);
    fprintf(tool->out, "%s is the key file of provider %s again: id %s, check value %s.\nWhere coffer.conf names another path or seal "
                       "in [provider %s], say this one there, and where it has no such section:\n  %s key provider add %s --type "
                       "native --seal %s --path %s --kcv %s\nThen `coffer unlock` or start cofferd.\n", path, name, id, kcv, name,
            tool_self(tool), name, argument_value(arguments, "seal", "file"), word == NULL ? path : word, kcv);
}

static enum error run_restore(struct tool *tool, const struct arguments *arguments)
{
    const char *path = argument_value(arguments, "to", NULL);
    struct key_backup *backup;
    TRY(restore_check(arguments, path));
    const char *file = arguments->positional_count > 0 ? arguments->positional[0] : NULL;
    TRY(argument_given(arguments, "recovery")
            ? recovery_read(tool, file, &backup)
            : key_backup_file_read(file, argument_value(arguments, "password-file", NULL), &backup));
    enum error error = restore_to(arguments, backup, path);
    restore_audit(tool, backup, error);
    if (error == ERROR_NONE && tool->json)
        error = print_backup(tool, backup, path, NULL);
    else if (error == ERROR_NONE)
        print_restored(tool, arguments, backup, path);
    key_backup_destroy(backup);
    return error;
}

/* ---- the verbs -------------------------------------------------------------------------------------------------- */

#define PASSWORD_ROW {"password-file", "FILE", "read the backup's password from FILE (\"-\": standard input)", false}

static const struct option_row backup_options[] = {
    PASSWORD_ROW,
    {"passphrase-file", "FILE", "read the pool's passphrase or PIN from FILE", false},
    {NULL},
};
static const struct option_row drill_options[] = {PASSWORD_ROW, {NULL}};
static const struct option_row restore_options[] = {
    PASSWORD_ROW,
    {"recovery", NULL, "by the recovery key, which is asked for or in FILE, and the pool directory's recovery.json", false},
    {"to", "PATH", "the key file to be made", false},
    {"seal", "HOW", "file (default) or passphrase", false},
    {"passphrase-file", "FILE", "read the new passphrase from FILE", false},
    {NULL},
};

const struct command command_key_backup = {
    .noun = "key",
    .verb = "backup",
    .arguments = "FILE.p12",
    .summary = "keep the pool's key in a file under a password",
    .text = "Makes a PKCS#12 file with the pool's root key, coffer.conf and the wrapped key slots of all devices, encrypted\n"
            "under a password. With it alone the disks open again when the key file, the TPM or the pool directory is\n"
            "lost. Of a pool whose key lies on key servers it holds the key in force, which the next change of keys\n"
            "outdates; of others `key rekey --new-root`, `key provider use` and `key provider reseal` do. FILE must not\n"
            "exist, nor lie on a disk that a pool serves. It is read back and opens every device before it counts. The\n"
            "daemon may run; it is not asked. `openssl pkcs12 -info` reads the file.\n"
            "Who has FILE and its password reads what the disks hold until a `key rekey --deep --new-root` is through, also\n"
            "where FILE is outdated, and after `coffer erase`: destroy old ones.",
    .examples = "  coffer -C /srv/pool key backup /media/stick/pool.p12\n"
                "  coffer -C /srv/pool key backup pool.p12 --password-file /run/secrets/backup\n",
    .positional_min = 1,
    .positional_max = 1,
    .options = backup_options,
    .run = run_backup,
};

const struct command command_key_drill = {
    .noun = "key",
    .verb = "drill",
    .arguments = "FILE.p12",
    .summary = "prove that a backup of the key opens the pool",
    .text = "Unwraps every key slot of every device, and those in the backup, with the backup alone. Changes nothing and asks\n"
            "neither provider nor daemon. Says as well where the witness names a key of another root (status 1), or a newer\n"
            "number of the same one. The date is recorded: `health` warns when the last drill is 180 days old.",
    .examples = "  coffer -C /srv/pool key drill /media/stick/pool.p12\n",
    .positional_min = 1,
    .positional_max = 1,
    .options = drill_options,
    .run = run_drill,
};

const struct command command_key_restore = {
    .noun = "key",
    .verb = "restore",
    .arguments = "FILE.p12 | --recovery [FILE]",
    .summary = "make a key file again, of a backup or by the recovery key",
    .text = "Writes the key in the backup, or the one that the recovery key unwraps, to a new key file, as it is or under a\n"
            "passphrase. Nothing is overwritten, and no daemon is asked. A key in a TPM that is gone: restore it under a\n"
            "passphrase, then `coffer key tpm reseal --copy` that file.",
    .examples = "  coffer key restore pool.p12 --to /srv/pool/native.key\n"
                "  coffer -C /srv/pool key restore --recovery --to /srv/pool/native.key\n"
                "  coffer key restore pool.p12 --to /root/copy.key --seal passphrase\n",
    .positional_max = 1,
    .options = restore_options,
    .run = run_restore,
};
