/* `coffer health`, `unlock` and `lock`. The pool is the noun that need not be typed. */
#include <string.h>
#include <stdlib.h>

#include "base/memory.h"
#include "crypto/arena.h"
#include "crypto/provider.h"
#include "tools/answer.h"
#include "tools/client.h"
#include "tools/command.h"
#include "tools/table.h"
#include "tools/text.h"
#include "tools/unlock_way.h"

#define CHECK_WIDTH 27 /* of the columns before the evidence */

static enum error print_health(struct tool *tool, const json_t *checks)
{
    size_t columns_there = tool_columns(tool), width = columns_there > 2 * CHECK_WIDTH ? columns_there - CHECK_WIDTH : 0;
    static const struct table_column columns[] = {
        {"CHECK", TABLE_LEFT}, {"SEVERITY", TABLE_LEFT}, {"EVIDENCE", TABLE_LINES}};
    struct table *table = table_create(columns, COUNT_OF(columns));
    size_t i;
    json_t *check;
    json_array_foreach(checks, i, check)
    {
        AUTO_FREE char *evidence = text_wrap(answer_word(check, "evidence"), width, 0);
        table_add(table, NULL,
                  (const char *const[]){answer_word(check, "id"), answer_word(check, "severity"),
                                        evidence == NULL ? answer_word(check, "evidence") : evidence});
    }
    enum error error = table_print(table, tool->out);
    table_destroy(table);
    return error;
}

static void print_remedies(struct tool *tool, const json_t *checks)
{
    size_t i;
    json_t *check;
    bool first = true;
    json_array_foreach(checks, i, check)
    {
        if (answer_word(check, "command")[0] == '\0')
            continue;
        fprintf(tool->out, "%s  %s: %s\n", first ? "\nWhat helps\n" : "", answer_word(check, "id"),
                answer_word(check, "command"));
        first = false;
    }
}

static bool any_error(const json_t *checks)
{
    size_t i;
    json_t *check;
    json_array_foreach(checks, i, check)
    {
        if (strcmp(answer_word(check, "severity"), "error") == 0)
            return true;
    }
    return false;
}

static enum error run_health(struct tool *tool, const struct arguments *arguments)
{
    (void)arguments;
    json_t *checks;
    TRY(client_ask(tool, "pool.health", NULL, &checks));
    enum error error = tool->json ? tool_print_json(tool, checks) : print_health(tool, checks);
    if (!tool->json)
        print_remedies(tool, checks);
    tool->status = any_error(checks) ? EXIT_FAILED : EXIT_DONE;
    json_decref(checks);
    return error;
}

static enum error print_state(struct tool *tool, const json_t *status, const char *sentence)
{
    if (tool->json)
        return tool_print_json(tool, status);
    fprintf(tool->out, "%s\n", sentence);
    return ERROR_NONE;
}

static enum error unlock_with_passphrase(struct client *client, const char *file, json_t **status)
{
    char *passphrase;
    size_t size;
    TRY(passphrase_read(file, "Passphrase of the pool: ", false, &passphrase, &size));
    enum error error = client_call_with_passphrase(client, "pool.unlock", NULL, passphrase, size, "unlocking", status);
    arena_free(passphrase);
    return error;
}

static enum error unlock_by_kept(struct client *client, const struct arguments *arguments, json_t **status)
{
    struct kept_key kept;
    TRY(kept_key_read(arguments, 0, &kept));
    enum error error =
        client_call_with_passphrase(client, "pool.unlock", kept.member, kept.passphrase, kept.size, "unlocking", status);
    kept_key_forget(&kept);
    return error;
}

/* A key sealed in a file needs no passphrase, so the daemon tries without one first. */
static enum error unlock(struct client *client, const struct arguments *arguments, json_t **status)
{
    const char *file = argument_value(arguments, "passphrase-file", NULL);
    if (kept_key_is_given(arguments))
        return unlock_by_kept(client, arguments, status);
    if (file != NULL)
        return unlock_with_passphrase(client, file, status);
    enum error error = client_call(client, "pool.unlock", NULL, "unlocking", status);
    return error == ERROR_LOCKED ? unlock_with_passphrase(client, NULL, status) : error;
}

static enum error unlock_if_locked(struct tool *tool, struct client *client, const struct arguments *arguments)
{
    json_t *status;
    TRY(client_call(client, "pool.status", NULL, NULL, &status));
    bool locked = answer_flag(status, "locked");
    if (locked) {
        json_decref(status);
        enum error error = unlock(client, arguments, &status);
        if (error == ERROR_EXISTS) /* the daemon found the key meanwhile */
            error = client_call(client, "pool.status", NULL, NULL, &status);
        TRY(error);
    }
    enum error error = print_state(tool, status, locked ? "The pool is unlocked." : "The pool is not locked.");
    json_decref(status);
    return error;
}

static enum error run_unlock(struct tool *tool, const struct arguments *arguments)
{
    struct client *client;
    TRY(kept_key_check(arguments, 0));
    TRY(client_open(tool, &client));
    enum error error = unlock_if_locked(tool, client, arguments);
    client_close(client);
    return error;
}

static enum error run_lock(struct tool *tool, const struct arguments *arguments)
{
    (void)arguments;
    json_t *status;
    TRY(client_ask(tool, "pool.lock", NULL, &status));
    AUTO_FREE char *sentence = NULL;
    if (asprintf(&sentence, "The pool is locked: its keys are forgotten until `%s unlock`.", tool_self(tool)) < 0)
        sentence = NULL;
    enum error error = print_state(tool, status, sentence == NULL ? "The pool is locked." : sentence);
    json_decref(status);
    return error;
}

static const struct option_row no_options[] = {{NULL}};
static const struct option_row unlock_options[] = {
    {"passphrase-file", "FILE", "read the passphrase from FILE (\"-\": standard input)", false},
    {"key", "FILE.p12", "by a backup of the key (`coffer key backup`)", false},
    {"password-file", "FILE", "read the backup's password from FILE", false},
    {"recovery", NULL, "by the recovery key, which is asked for or in FILE", false},
    {NULL},
};

const struct command command_health = {
    .noun = "health",
    .arguments = "",
    .summary = "every check, with evidence and what mends it",
    .text = "Runs every check and shows its severity, the evidence and, where something is to be mended, the command.\n"
            "Exit status 1 where a check has the severity \"error\".",
    .examples = "  coffer health\n"
                "  coffer --json health | jq '.[] | select(.severity == \"error\")'\n",
    .options = no_options,
    .run = run_health,
};

const struct command command_unlock = {
    .noun = "unlock",
    .arguments = "[--recovery [FILE]]",
    .summary = "give the daemon its key",
    .text =
        "Unlocks a pool that cofferd serves locked. A key sealed in a file or in the TPM is just read; a passphrase or\n"
        "a PIN is asked for without echo, or read from a file or the systemd credential coffer.passphrase. It never\n"
        "stands on a command line or in the environment. --key and --recovery open the pool without its provider, by what\n"
        "was kept of its key; only the daemon's memory changes, and `coffer key restore` brings a lost key file back.",
    .examples = "  coffer unlock\n"
                "  coffer unlock --passphrase-file /run/secrets/pool\n"
                "  coffer unlock --key /media/stick/pool.p12\n"
                "  coffer unlock --recovery\n",
    .positional_max = 1,
    .options = unlock_options,
    .run = run_unlock,
};

const struct command command_lock = {
    .noun = "lock",
    .arguments = "",
    .summary = "forget every key",
    .text = "Flushes and makes the daemon forget every key. Refused while a disk is open: detach the clients first.",
    .examples = "  coffer lock\n",
    .options = no_options,
    .run = run_lock,
};
