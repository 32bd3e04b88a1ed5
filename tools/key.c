/* `coffer key`: which key is in force, and a new one. The passphrase goes from the arena to the socket and nowhere else. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/size.h"
#include "crypto/arena.h"
#include "crypto/provider.h"
#include "tools/answer.h"
#include "tools/client.h"
#include "tools/command.h"
#include "tools/key_age.h"
#include "tools/key_copies.h"
#include "tools/key_deep.h"
#include "tools/key_proof.h"
#include "tools/table.h"
#include "tools/text.h"

#define LINE_SIZE 256

static void add_line(struct table *table, const char *label, const char *text)
{
    table_add(table, NULL, (const char *const[]){label, text});
}

static void add_retained(struct table *table, const json_t *retained)
{
    char line[LINE_SIZE], age[KEY_AGE_SIZE];
    for (size_t i = 0; i < json_array_size(retained); i++) {
        const json_t *one = json_array_get(retained, i);
        const char *name = answer_word(one, "provider");
        bool aged = json_is_integer(json_object_get(one, "made"));
        snprintf(line, sizeof line, "number %" PRIu64 " of provider %s, retained until `coffer key retire%s%s`%s%s",
                 answer_figure(one, "kek_number"), name[0] == '\0' ? answer_word(one, "provider_id") : name,
                 name[0] == '\0' ? "" : " --destroy ", name, aged ? "; made " : "",
                 aged ? key_age_text(one, "made", age) : "");
        add_line(table, "Old key", line);
    }
}

/* A date of the answer: when, and whether it is of the key in force. */
static void add_date(struct table *table, const char *label, const json_t *date, const char *never)
{
    char time[TEXT_SIZE], line[LINE_SIZE];
    if (!json_is_object(date)) {
        add_line(table, label, never);
        return;
    }
    snprintf(line, sizeof line, "%s%s", text_time(answer_figure(date, "time"), time),
             answer_flag(date, "current") ? "" : ", of another key than the one in force");
    add_line(table, label, line);
}

static void add_due(struct table *table, const char *label, uint64_t due)
{
    char time[TEXT_SIZE];
    if (due != 0)
        add_line(table, label, text_time(due, time));
}

/* By the daemon itself (rekey-every), or when health asks for it (key-period); 0: never, or not known. */
static uint64_t next_key_due(const json_t *status)
{
    uint64_t since = answer_figure(status, "key_since"), every = answer_figure(status, "rekey_every");
    uint64_t period = every != 0 ? every : answer_figure(status, "key_period");
    return since == 0 || period == 0 ? 0 : since + period;
}

static void add_dates(struct table *table, const json_t *status)
{
    char time[KEY_AGE_SIZE];
    if (json_object_get(status, "backup") == NULL)
        return; /* a daemon of before, or a conf that cannot be read */
    if (json_object_get(status, "kek_made") != NULL)
        add_line(table, "Made", key_age_text(status, "kek_made", time));
    add_line(table, "In force since", key_age_text(status, "key_since", time));
    if (json_object_get(status, "root_made") != NULL)
        add_line(table, "Root key made", key_age_text(status, "root_made", time));
    add_date(table, "Last backup", json_object_get(status, "backup"), "never");
    add_date(table, "Last drill", json_object_get(status, "drill"), "never");
    add_date(table, "Recovery key", json_object_get(status, "recovery"), "none");
    add_due(table, "Next drill", answer_figure(status, "drill_due"));
    add_due(table, "Next key", next_key_due(status));
}

/* The key that the TPM keeps of key servers. */
static void add_cache(struct table *table, const json_t *cache)
{
    char fetched[TEXT_SIZE], until[TEXT_SIZE], line[2 * LINE_SIZE];
    if (!json_is_object(cache))
        return;
    if (answer_flag(cache, "present"))
        snprintf(line, sizeof line, "given by a server on %s, opens the pool until %s",
                 text_time(answer_figure(cache, "fetched"), fetched), text_time(answer_figure(cache, "until"), until));
    else
        snprintf(line, sizeof line, "nothing: %.400s", answer_word(cache, "why_not"));
    add_line(table, "Cached in the TPM", line);
    if (answer_flag(cache, "in_use"))
        add_line(table, "Opened by", "that cached key: no key server could be reached");
}

static enum error print_status(struct tool *tool, const json_t *status)
{
    static const struct table_column columns[] = {{NULL, TABLE_LEFT}, {NULL, TABLE_LEFT}};
    char line[LINE_SIZE];
    if (!answer_flag(status, "encryption")) {
        fputs("The pool is not encrypted: it has no key.\n", tool->out);
        return ERROR_NONE;
    }
    struct table *table = table_create(columns, COUNT_OF(columns));
    const char *seal = answer_word(status, "seal");
    snprintf(line, sizeof line, "%s: %s%s%s", answer_word(status, "provider"), answer_word(status, "type"),
             seal[0] == '\0' ? "" : ", sealed by ", seal);
    add_line(table, "Provider", line);
    add_line(table, "Provider id", answer_word(status, "provider_id"));
    uint64_t number = answer_figure(status, "kek_number");
    if (number == 0)
        snprintf(line, sizeof line, "the pool is locked");
    else
        snprintf(line, sizeof line, "number %" PRIu64, number);
    add_line(table, "Key in force", line);
    add_retained(table, json_object_get(status, "retained"));
    if (answer_flag(status, "half_done"))
        add_line(table, "Change of keys", "under way, or cut short: then the next start or rekey ends it");
    add_cache(table, json_object_get(status, "cache"));
    add_dates(table, status);
    key_deep_show(table, status);
    enum error error = table_print(table, tool->out);
    table_destroy(table);
    return error;
}

static enum error run_status(struct tool *tool, const struct arguments *arguments)
{
    json_t *status;
    (void)arguments;
    TRY(client_ask(tool, "key.status", NULL, &status));
    return answer_show(tool, status, print_status);
}

/* ---- rekey ------------------------------------------------------------------------------------------------------- */

enum error key_print_rekeyed(struct tool *tool, const json_t *status)
{
    char time[TEXT_SIZE];
    duration_format(answer_figure(status, "nanoseconds"), time, sizeof time);
    fprintf(tool->out, "Key number %" PRIu64 " of provider %s is in force; it took %s. No stored data changed.\n",
            answer_figure(status, "kek_number"), answer_word(status, "provider"), time);
    if (strcmp(answer_word(status, "type"), "kmip") == 0)
        fputs(KEY_OUTDATED_LINE, tool->out);
    return ERROR_NONE;
}

enum error key_print_rekeyed_root(struct tool *tool, const json_t *status)
{
    TRY(key_print_rekeyed(tool, status));
    fputs("The key file is a new one: copies of the old one open this pool no more. Keep a copy of the new one elsewhere.\n",
          tool->out);
    fputs(KEY_OUTDATED_LINE, tool->out);
    if (strcmp(answer_word(status, "seal"), "tpm") == 0)
        fputs("Nor does the copy under a passphrase (`coffer create --copy`), which holds the old key. Without a new one the data "
              "is lost with this TPM: `coffer key tpm copy --to FILE`.\n",
              tool->out);
    return ERROR_NONE;
}

static enum error rekey(struct client *client, const struct arguments *arguments, json_t **status)
{
    struct key_proof proof;
    enum error error = key_proof_take(client, arguments, &proof);
    if (error == ERROR_NONE)
        error = key_proof_call(client, &proof, "key.rekey", argument_given(arguments, "new-root") ? "\"new_root\":true" : NULL,
                               status);
    key_proof_end(&proof);
    return error;
}

static enum error run_rekey(struct tool *tool, const struct arguments *arguments)
{
    bool new_root = argument_given(arguments, "new-root");
    if (argument_given(arguments, "deep"))
        return key_deep_rekey(tool, arguments);
    if (!argument_given(arguments, "shallow"))
        return error_explain(ERROR_INVALID, "say which: --shallow, a new key for the keys of the devices; or --deep, new keys for "
                                            "all data");
    if (argument_given(arguments, "rate") || argument_given(arguments, "watch"))
        return error_explain(ERROR_INVALID, "--rate and --watch are for --deep: a shallow rekey is done at once");
    struct client *client;
    json_t *status;
    TRY(client_open(tool, &client));
    enum error error = rekey(client, arguments, &status);
    client_close(client);
    return error != ERROR_NONE ? error : answer_show(tool, status, new_root ? key_print_rekeyed_root : key_print_rekeyed);
}

/* ---- the verbs --------------------------------------------------------------------------------------------------- */

static const struct option_row no_options[] = {{NULL}};
static const struct option_row rekey_options[] = {
    {"shallow", NULL, "a new key encryption key; no stored data changes", false},
    {"deep", NULL, "new data keys: all that is stored is encrypted anew", false},
    {"new-root", NULL, "a new root key as well, sealed as the present one is", false},
    {"rate", "RATE", "of --deep: bytes a second at most, like 100M; \"max\": no limit (the default)", false},
    {"watch", NULL, "of --deep: stay with it to its end", false},
    {"passphrase-file", "FILE", "read the passphrase or the PIN from FILE (\"-\": standard input)", false},
    {"key", "FILE.p12", "the proof is a backup of the key (`coffer key backup`)", false},
    {"password-file", "FILE", "of --key: read the backup's password from FILE", false},
    {"recovery", NULL, "the proof is the recovery key, which is asked for or in FILE", false},
    {"new-passphrase-file", "FILE", "of --key, --recovery with --new-root: the new passphrase or PIN is in FILE", false},
    {NULL},
};

const struct command command_key_status = {
    .noun = "key",
    .verb = "status",
    .arguments = "",
    .summary = "which provider and which key are in force",
    .text = "Shows the provider of the pool's root key, the number of the key encryption key in force and since when it is, the\n"
            "old keys that their providers keep until they are retired (`key retire`), when the key was backed up (key backup)\n"
            "and a backup proved (key drill) last, when that and a new key are due, how much of each device is under which data\n"
            "key and how old that is, and how far a deep rekey is. For an auditor: `key report`.",
    .examples = "  coffer key status\n"
                "  coffer --json key status\n",
    .options = no_options,
    .run = run_status,
};

const struct command command_key_rekey = {
    .noun = "key",
    .verb = "rekey",
    .arguments = "[--recovery [FILE]]",
    .summary = "a new key, while the pool is in use",
    .text =
        "--shallow wraps the data keys of all devices under a new key encryption key, made from the same root key. The\n"
        "pool stays in use, no stored data changes, and a crash at any moment leaves the old key in force or the new one.\n"
        "The present key is asked for as a proof. Where its provider has lost it, a backup (--key) or the recovery key\n"
        "(--recovery) is the proof instead: a pool that was opened by one gets a key that is there again. A key in a file\n"
        "or in the TPM takes --new-root then.\n"
        "Whoever has the root key (the key file, or the passphrase and the key file) and an old image of a superblock keeps\n"
        "the data keys. --new-root makes a new root key as well, so that the old one opens nothing that is on the devices\n"
        "from then on; the data keys stay the same, so it does not help against somebody who read them already. Of a key in\n"
        "the TPM, the copy under a passphrase (create --copy) is outdated by a new root: make a new one (key tpm copy), or\n"
        "the data is lost with that TPM. What was approved of PCRs is revoked, but what they are now. Backups (key backup)\n"
        "and the recovery key are outdated by a new root, and by every new key of key servers.\n"
        "\n"
        "--deep makes new data keys: all that is written from then on is under them, and what is stored is encrypted anew in\n"
        "the background, segment by segment, in place. It gives way to other load, needs a few free segments at a time, and\n"
        "goes on after a restart; `coffer key status` shows how much is still under the old keys. When nothing is, they are\n"
        "destroyed, and old copies of the devices open nothing that is on them from then on. With them come new tag keys, for\n"
        "headers, records and what is begun from then on; the old ones stay for the tags of what was begun before; and a new key\n"
        "of witness and audit. The key of fingerprints, which protects no secret of the data by itself, stays. --deep may be\n"
        "given together with --shallow or --new-root, which come first. After a suspected compromise it is --deep --new-root.\n"
        "With --watch exit status 1 unless it came to its end.",
    .examples = "  coffer key rekey --shallow\n"
                "  coffer key rekey --shallow --new-root\n"
                "  coffer key rekey --deep --new-root --watch\n"
                "  coffer key rekey --shallow --passphrase-file /run/secrets/pool\n"
                "  coffer key rekey --shallow --new-root --key pool.p12\n",
    .positional_max = 1,
    .options = rekey_options,
    .run = run_rekey,
};
