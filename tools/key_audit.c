/* `coffer key audit`: who did what with the keys, and whether the record of it is whole. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/moment.h"
#include "tools/answer.h"
#include "tools/client.h"
#include "tools/command.h"
#include "tools/key_audit.h"
#include "tools/table.h"
#include "tools/text.h"

#define CELL_SIZE 64

static void entry_row(struct table *table, const json_t *entry)
{
    char number[CELL_SIZE], when[MOMENT_TEXT_SIZE], who[CELL_SIZE];
    snprintf(number, sizeof number, "%" PRIu64, answer_figure(entry, "number"));
    moment_second(answer_figure(entry, "time"), when);
    snprintf(who, sizeof who, "%" PRIu64 "/%" PRIu64, answer_figure(entry, "uid"), answer_figure(entry, "pid"));
    const char *key = answer_word(entry, "key"), *slash = strrchr(key, '/');
    table_add(table, NULL,
              (const char *const[]){number, when, who, answer_word(entry, "operation"), answer_word(entry, "target"),
                                    slash == NULL ? "" : slash + 1, answer_word(entry, "result")});
}

static const struct table_column columns[] = {{"NUMBER", TABLE_RIGHT}, {"TIME", TABLE_LEFT},  {"UID/PID", TABLE_LEFT},
                                              {"WHAT", TABLE_LEFT},    {"OF", TABLE_LEFT},    {"KEY", TABLE_RIGHT},
                                              {"RESULT", TABLE_LEFT}};

static void print_whole(FILE *out, uint64_t entries, uint64_t anchored)
{
    if (entries == 0)
        fputs("There are no entries yet.\n", out);
    else if (entries == 1)
        fputs("The one entry is as it was written; ", out);
    else
        fprintf(out, "All %" PRIu64 " entries are as they were written; ", entries);
    if (entries != 0)
        fprintf(out, "up to number %" PRIu64 " that is known apart from the file as well.\n", anchored);
}

/* The newest entries that follow from one another, whatever is wrong before them. */
static void print_part(FILE *out, uint64_t from, uint64_t to)
{
    if (from != 0 && from == to)
        fprintf(out, "Entry %" PRIu64 ", the last, follows from the one before it.\n", to);
    else if (from != 0)
        fprintf(out, "Entries %" PRIu64 " to %" PRIu64 ", the last ones, are as they were written, each upon the one before.\n", from, to);
}

static enum error print_audit(struct tool *tool, const json_t *audit)
{
    struct table *table = table_create(columns, COUNT_OF(columns));
    const json_t *list = json_object_get(audit, "list");
    for (size_t i = 0; i < json_array_size(list); i++)
        entry_row(table, json_array_get(list, i));
    enum error error = json_array_size(list) == 0 ? ERROR_NONE : table_print(table, tool->out);
    table_destroy(table);
    TRY(error);
    const char *fault = answer_word(audit, "fault");
    uint64_t faults = answer_figure(audit, "faults");
    if (faults == 0)
        print_whole(tool->out, answer_figure(audit, "entries"), answer_figure(audit, "anchored"));
    else {
        fprintf(tool->out, "The audit is not whole: %s%s. Keep the file `audit` of the pool directory as it is for whoever looks "
                           "into it; what is done from now on is recorded behind it.\n",
                fault, faults > 1 ? ", and more" : "");
        print_part(tool->out, answer_figure(audit, "whole_from"), answer_figure(audit, "whole_to"));
    }
    return ERROR_NONE;
}

enum error key_audit_ask(struct client *client, json_t **whole)
{
    json_t *list = json_array();
    for (uint64_t after = 0;;) {
        json_t *answer;
        enum error error = client_call(client, "key.audit", json_pack("{s:I}", "after", (json_int_t)after), NULL, &answer);
        if (error != ERROR_NONE) {
            json_decref(list);
            return error;
        }
        json_t *page = json_object_get(answer, "list");
        size_t count = json_array_size(page);
        bool more = answer_flag(answer, "more") && count != 0;
        after = count == 0 ? 0 : answer_figure(json_array_get(page, count - 1), "number");
        json_array_extend(list, page);
        if (!more) {
            json_object_set_new(answer, "list", list);
            json_object_del(answer, "more");
            *whole = answer;
            return ERROR_NONE;
        }
        json_decref(answer);
    }
}

static enum error run_audit(struct tool *tool, const struct arguments *arguments)
{
    struct client *client;
    json_t *audit;
    (void)arguments;
    TRY(client_open(tool, &client));
    enum error error = key_audit_ask(client, &audit);
    client_close(client);
    TRY(error);
    if (answer_figure(audit, "faults") != 0)
        tool->status = EXIT_FAILED;
    return answer_show(tool, audit, print_audit);
}

static const struct option_row no_options[] = {{NULL}};

const struct command command_key_audit = {
    .noun = "key",
    .verb = "audit",
    .arguments = "",
    .summary = "who did what with the keys, and whether the record is whole",
    .text = "Each start, stop, lock, unlock and change of keys is an entry of the file `audit` in the pool directory: when, by\n"
            "which user and process, with which key in force, and with what result. Entries are sealed one upon the other\n"
            "under a key of the pool; number and seal of the last one stand in the witness and on every device too. So what\n"
            "was changed, taken out, cut off or replaced is found and named, and this command ends with an error.\n"
            "What commands did by themselves, beside the daemon, is marked `offline`, and `unproven` where they had no key to\n"
            "seal it (in JSON also: `offline`, `proved`, and `made`, when it was done). Where the audit is not whole, `whole_from`\n"
            "and `whole_to` say which of its last entries follow from one another: after a restore of a backup that had no room\n"
            "for all.\n"
            "Who holds the pool's keys could write another audit, but not what was copied elsewhere before: copy it to\n"
            "another machine now and then (`coffer --json key audit`). The pool must be unlocked: a locked one has no key to\n"
            "verify it with.",
    .examples = "  coffer key audit\n"
                "  coffer --json key audit\n",
    .options = no_options,
    .run = run_audit,
};
