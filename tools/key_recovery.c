/*
 * `coffer key recovery`: the key that a person keeps on paper.
 *
 * The order is: the pool's key is asked of its provider and opens every device; the recovery key is made, and what it
 * unwraps; FILE is written and read back, or the key is printed; only then recovery.json of the pool directory is replaced and
 * read back, by one at a time. Where a crash or an error comes before, the new key opens nothing, and the old one is still
 * good; where it comes behind, the new one is, and FILE stays: it is said which. Secrets are in the arena, but for what
 * is printed.
 */
#include "tools/key_recovery.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/directory_lock.h"
#include "base/file.h"
#include "base/memory.h"
#include "crypto/arena.h"
#include "crypto/recovery.h"
#include "engine/pool/key_backup.h"
#include "engine/pool/key_dates.h"
#include "tools/command.h"
#include "tools/cycle.h"
#include "tools/key_backup.h"
#include "tools/offline_audit.h"
#include "tools/place.h"

#define PRINT "print"

struct made { /* in the arena */
    uint8_t recovery_key[KEY_SIZE], again[KEY_SIZE];
    char text[RECOVERY_KEY_TEXT + 1], stored[RECOVERY_KEY_TEXT + 1];
};

enum error recovery_parent_check(const char *to)
{
    AUTO_FREE char *copy = strdup(to);
    if (copy == NULL)
        return ERROR_NO_MEMORY;
    return access(dirname(copy), W_OK | X_OK) == 0 ? ERROR_NONE : error_from_errno(errno, "make %s", to);
}

enum error recovery_target_check(const struct tool *tool, const char *directory, const char *to)
{
    if (strcmp(to, PRINT) == 0 && tool->json)
        return error_explain(ERROR_INVALID, "JSON never holds a secret: name a file for the recovery key, or leave out --json");
    if (strcmp(to, PRINT) == 0)
        return ERROR_NONE;
    if (access(to, F_OK) == 0)
        return error_explain(ERROR_EXISTS, "%s exists already: nothing is overwritten, name another file", to);
    TRY(cycle_check(to, directory));
    return recovery_parent_check(to);
}

static enum error wrap(const struct key_backup *backup, struct made *made, struct recovery *recovery)
{
    *recovery = (struct recovery){.pool = backup->pool,
                                  .provider = backup->provider,
                                  .is_kek = backup->is_kek,
                                  .kek_number = backup->kek_number};
    TRY(key_generate(made->recovery_key));
    TRY(recovery_key_format(made->recovery_key, made->text));
    return recovery_wrap(recovery, made->recovery_key, backup->key);
}

/* The key as a person will type it, against the file as it lies there. */
static enum error read_back(const char *directory, const struct key_backup *backup, struct made *made)
{
    struct recovery again;
    TRY(recovery_load(directory, &again));
    TRY(recovery_key_parse(made->text, strlen(made->text), made->recovery_key));
    TRY(recovery_unwrap(&again, made->recovery_key, made->again));
    return memory_compare_constant_time(made->again, backup->key, KEY_SIZE) == 0
               ? ERROR_NONE
               : error_explain(ERROR_CORRUPT, "%s/" RECOVERY_NAME " does not give back the key", directory);
}

/* ---- out of the house ----------------------------------------------------------------------------------------------- */

static enum error text_check(const char *to, struct made *made)
{
    size_t size = 0;
    int descriptor = open(to, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return error_from_errno(errno, "read %s again", to);
    enum error error = file_read_up_to(descriptor, to, made->stored, sizeof made->stored, &size);
    close(descriptor);
    TRY(error);
    TRY(recovery_key_parse(made->stored, size, made->again));
    return memory_compare_constant_time(made->again, made->recovery_key, KEY_SIZE) == 0
               ? ERROR_NONE
               : error_explain(ERROR_CORRUPT, "%s does not give back the recovery key", to);
}

static enum error text_store(const char *to, struct made *made)
{
    size_t size = strlen(made->text);
    made->text[size] = '\n';
    enum error error = file_create_own(to, made->text, size + 1);
    made->text[size] = '\0';
    TRY(error);
    error = text_check(to, made);
    if (error != ERROR_NONE)
        unlink(to);
    return error;
}

static enum error text_show(struct tool *tool, const char *text)
{
    fprintf(tool->out, "The recovery key of this pool. It is shown once: write it down, and keep it away from the machine.\n"
                       "It counts as soon as that is said below.\n\n  %.34s\n  %s\n\n", text, text + 35);
    return fflush(tool->out) == 0 && !ferror(tool->out) ? ERROR_NONE : error_explain(ERROR_IO, "cannot write the output");
}

static void tell(struct tool *tool, const struct key_backup *backup, const char *to)
{
    if (tool->json)
        return;
    if (strcmp(to, PRINT) == 0)
        fputs("It is the recovery key of this pool from now on.\n", tool->out);
    else
        fprintf(tool->out, "The recovery key of this pool is in %s. Keep it away from the machine.\n", to);
    fprintf(tool->out, "With %s in the pool directory it opens the pool: `%s unlock --recovery`.\n", RECOVERY_NAME, tool_self(tool));
    fputs(backup->is_kek ? "A change of keys outdates it: make a new one then.\n"
                         : "`key rekey --new-root`, `key provider use` and `key provider reseal` outdate it: make a new one then.\n",
          tool->out);
}

/* ---- in the place of the one before --------------------------------------------------------------------------------- */

static enum error replace_locked(const char *directory, const struct recovery *recovery, const struct key_backup *backup,
                                 struct made *made)
{
    TRY(recovery_store(directory, recovery));
    return read_back(directory, backup, made);
}

/* Whether the file is not the new one, for sure. */
static bool is_as_before(const char *directory, const struct recovery *recovery)
{
    struct recovery now;
    enum error error = recovery_load(directory, &now);
    error_forget();
    return error == ERROR_NOT_FOUND || (error == ERROR_NONE && memcmp(now.wrapped, recovery->wrapped, sizeof now.wrapped) != 0);
}

/* `*before`, where it fails: it changed nothing. */
static enum error replace(const char *directory, const struct recovery *recovery, const struct key_backup *backup,
                          struct made *made, bool *before)
{
    int lock;
    *before = true;
    TRY(directory_lock(directory, &lock));
    enum error error = replace_locked(directory, recovery, backup, made);
    AUTO_FREE char *sentence = error == ERROR_NONE ? NULL : strdup(error_sentence(error));
    *before = error != ERROR_NONE && is_as_before(directory, recovery);
    directory_unlock(lock);
    return sentence == NULL ? error : error_explain(error, "%s", sentence);
}

static enum error store(struct tool *tool, const struct pool_conf *conf, const struct key_backup *backup, const char *to,
                        struct made *made)
{
    bool shown = strcmp(to, PRINT) == 0, before;
    struct recovery recovery;
    TRY(wrap(backup, made, &recovery));
    TRY(shown ? text_show(tool, made->text) : text_store(to, made));
    enum error error = replace(conf->directory, &recovery, backup, made, &before);
    if (error == ERROR_NONE)
        return ERROR_NONE;
    if (!before)
        return error_prefix(error, "keep %s: it may be the recovery key of this pool now; make another one",
                            shown ? "what was shown" : to);
    if (!shown)
        unlink(to);
    return error_prefix(error, "what there was stays as it was, and %s",
                        shown ? "what was shown opens nothing" : "no new file is left");
}

static void record(struct tool *tool, const struct pool_conf *conf, const struct key_backup *backup)
{
    struct key_name key = {backup->provider, backup->kek_number, {0}};
    memcpy(key.kcv, backup->kcv, KCV_SIZE);
    enum error error = key_dates_record(conf->directory, KEY_RECOVERY_MADE, &key);
    if (error != ERROR_NONE)
        fprintf(tool->err, "coffer: the date could not be recorded: %s\n", error_sentence(error));
}

enum error recovery_make(struct tool *tool, const struct pool_conf *conf, const struct provider_secret *secret, const char *to)
{
    struct key_backup *backup;
    TRY(recovery_target_check(tool, conf->directory, to));
    TRY(key_backup_make(conf, secret, &backup));
    struct made *made = arena_allocate(sizeof *made);
    enum error error = made == NULL ? ERROR_NO_MEMORY : store(tool, conf, backup, to, made);
    offline_audit(tool, conf, backup, "key.recovery", NULL, error);
    if (error == ERROR_NONE) {
        record(tool, conf, backup);
        tell(tool, backup, to);
    }
    arena_free(made);
    key_backup_destroy(backup);
    return error;
}

static enum error run_with(struct tool *tool, const struct arguments *arguments, const struct pool_conf *conf, const char *to)
{
    struct provider_secret secret;
    if (conf->provider == NULL)
        return error_explain(ERROR_INVALID, "pool %s is not encrypted: it has no key", conf->directory);
    TRY(recovery_target_check(tool, conf->directory, to));
    TRY(pool_secret_read(conf->provider, argument_value(arguments, "passphrase-file", NULL), &secret));
    enum error error = recovery_make(tool, conf, secret.passphrase == NULL ? NULL : &secret, to);
    pool_secret_forget(&secret);
    if (error != ERROR_NONE || !tool->json)
        return error;
    json_t *json = json_pack("{s:s}", "file", to);
    error = json == NULL ? ERROR_NO_MEMORY : tool_print_json(tool, json);
    json_decref(json);
    return error;
}

static enum error run_recovery(struct tool *tool, const struct arguments *arguments)
{
    const char *to = argument_value(arguments, "to", NULL);
    struct pool_conf *conf;
    if (to == NULL)
        return error_explain(ERROR_INVALID, "say where it is to go: --to print, or --to FILE");
    TRY(place_conf(tool, &conf));
    enum error error = run_with(tool, arguments, conf, to);
    pool_conf_destroy(conf);
    return error;
}

static const struct option_row options[] = {
    {"to", "print|FILE", "show it, or write it to a new file", false},
    {"passphrase-file", "FILE", "read the pool's passphrase or PIN from FILE", false},
    {NULL},
};

const struct command command_key_recovery = {
    .noun = "key",
    .verb = "recovery",
    .arguments = "",
    .summary = "make a recovery key, to be kept on paper",
    .text = "Makes a key of 256 random bits, 14 groups of four characters of which the last finds slips, and writes what it\n"
            "unwraps, the pool's root key, to recovery.json in the pool directory. `coffer unlock --recovery` opens the pool by\n"
            "both together, without provider or TPM. There is one at a time: a new one ends the old one. `key rekey --new-root`,\n"
            "`key provider use` and `key provider reseal` outdate it (where key servers keep the key, any change of keys), and\n"
            "`health` says so. The daemon is not asked.",
    .examples = "  coffer -C /srv/pool key recovery --to print\n"
                "  coffer -C /srv/pool key recovery --to /media/stick/recovery.txt\n",
    .options = options,
    .run = run_recovery,
};
