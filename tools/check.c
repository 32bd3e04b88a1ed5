/*
 * `coffer check`: the offline checker of the engine, with its findings as they come and a bar on a terminal.
 *
 * It writes nothing; with --repair the engine writes anew what it can before the check. Findings are printed at
 * once, so that they are seen also where the check is interrupted; --json keeps the first of them, up to a limit that
 * keeps a badly damaged pool from filling memory, and says so. What is lost is kept whole: the engine holds it as well,
 * and what is missing there would not be restored.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/uuid.h"
#include "crypto/arena.h"
#include "crypto/provider.h"
#include "engine/coffer.h"
#include "tools/command.h"
#include "tools/place.h"
#include "tools/progress.h"
#include "tools/table.h"
#include "tools/text.h"

#define FINDINGS_MAX 1000

struct check {
    struct tool *tool;
    struct progress progress;
    json_t *findings, *losses; /* with --json */
    bool repair;
    uint64_t repair_done; /* bytes of the pass of a repair that runs */
    struct pool_repair_report *repaired;
};

static void take_finding(const char *sentence, void *context)
{
    struct check *check = context;
    progress_clear(&check->progress);
    if (!check->tool->json) {
        fprintf(check->tool->out, "%s\n", sentence);
        return;
    }
    if (json_array_size(check->findings) < FINDINGS_MAX)
        json_array_append_new(check->findings, json_string(sentence));
}

/* Objects have no byte without a name: where the catalog has lost it, the UUID stands in. */
static void take_loss(const struct check_loss *loss, void *context)
{
    struct check *check = context;
    char uuid[UUID_TEXT_SIZE];
    uuid_format(loss->uuid, uuid);
    progress_clear(&check->progress);
    if (!check->tool->json) {
        fprintf(check->tool->out, "lost: object %s, %" PRIu64 " bytes from byte %" PRIu64 " on\n",
                loss->object[0] ? loss->object : uuid, loss->length, loss->offset);
        return;
    }
    json_array_append_new(check->losses,
                          json_pack("{s:s*, s:s, s:I, s:I}", "object", loss->object[0] ? loss->object : NULL, "uuid",
                                    uuid, "offset", (json_int_t)loss->offset, "length", (json_int_t)loss->length));
}

static void take_progress(uint64_t done, uint64_t total, void *context)
{
    struct check *check = context;
    progress_update(&check->progress, done, total);
}

/* A pass that mends begins anew behind the one that looked. Behind the end of each there are messages. */
static void take_repair(uint64_t done, uint64_t total, void *context)
{
    struct check *check = context;
    if (done < check->repair_done) {
        progress_clear(&check->progress);
        progress_start(&check->progress, check->tool, "mending");
    }
    check->repair_done = done;
    if (done < total)
        progress_update(&check->progress, done, total);
    else
        progress_clear(&check->progress);
}

static enum error repair_once(struct check *check, const char *directory, const struct pool_open_options *options)
{
    const struct check_listener listener = {.progress = take_repair, .context = check};
    struct pool_open_options mine = *options;
    mine.repair_listener = &listener;
    check->repair_done = 0;
    progress_start(&check->progress, check->tool, "looking for damage");
    enum error error = pool_repair(directory, &mine, check->repaired);
    progress_clear(&check->progress);
    return error;
}

static enum error check_once(struct check *check, const char *directory, const struct pool_open_options *options,
                             struct check_report *report)
{
    if (check->repair)
        TRY(repair_once(check, directory, options));
    progress_start(&check->progress, check->tool, "checking");
    const struct check_listener listener = {take_finding, take_loss, take_progress, check};
    enum error error = pool_check(directory, options, &listener, report);
    progress_clear(&check->progress);
    return error;
}

static enum error check_with_passphrase(struct check *check, const char *directory, const char *file,
                                        struct pool_open_options *options, struct check_report *report)
{
    char *passphrase;
    TRY(passphrase_read(file, "Passphrase of the pool: ", false, &passphrase, &options->passphrase_size));
    options->passphrase = passphrase;
    enum error error = check_once(check, directory, options, report);
    arena_free(passphrase);
    return error;
}

static enum error check_pool(struct check *check, const char *directory, const struct arguments *arguments,
                             struct check_report *report)
{
    struct pool_open_options options = {.read_only = true,
                                        .accept_rollback = argument_given(arguments, "accept-rollback"),
                                        .discard_evidence = argument_given(arguments, "discard-evidence"),
                                        .evidence_directory = argument_value(arguments, "evidence", NULL)};
    const char *file = argument_value(arguments, "passphrase-file", NULL);
    if (file != NULL)
        return check_with_passphrase(check, directory, file, &options, report);
    enum error error = check_once(check, directory, &options, report);
    return error == ERROR_LOCKED ? check_with_passphrase(check, directory, NULL, &options, report) : error;
}

/* What the repair kept; said on the way, too. */
static json_t *evidence_tell(const struct pool_repair_report *repaired)
{
    json_t *files = json_array();
    for (size_t i = 0; i < repaired->kept_count; i++)
        json_array_append_new(files, json_pack("{s:s, s:I, s:I}", "path", repaired->kept[i].path, "bytes",
                                               (json_int_t)repaired->kept[i].bytes, "unread",
                                               (json_int_t)repaired->kept[i].unread));
    return files;
}

static enum error print_json(struct check *check, const struct check_report *report)
{
    json_t *json = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:O, s:O, s:o, s:I}", "errors",
                             (json_int_t)report->errors, "chunks", (json_int_t)report->chunks, "units",
                             (json_int_t)report->units, "nodes", (json_int_t)report->nodes, "pages",
                             (json_int_t)report->pages, "segments",
                             (json_int_t)report->segments, "references", (json_int_t)report->references, "bytes_read",
                             (json_int_t)report->bytes_read, "bytes_lost",
                             (json_int_t)report->bytes_lost, "losses_unknown", report->losses_unknown, "findings_more",
                             report->errors > json_array_size(check->findings), "findings", check->findings,
                             "losses", check->losses, "evidence", evidence_tell(check->repaired), "evidence_discarded",
                             (json_int_t)check->repaired->discarded);
    enum error error = json == NULL ? ERROR_NO_MEMORY : tool_print_json(check->tool, json);
    json_decref(json);
    return error;
}

static enum error print_table(struct tool *tool, const struct check_report *report)
{
    static const struct table_column columns[] = {{"CHECKED", TABLE_LEFT}, {"COUNT", TABLE_RIGHT}};
    const struct {
        const char *label;
        uint64_t count;
    } rows[] = {{"chunks", report->chunks}, {"units", report->units},       {"map nodes", report->nodes},
                {"pages", report->pages},   {"segments", report->segments}, {"references", report->references}};
    char text[TEXT_SIZE];
    struct table *table = table_create(columns, COUNT_OF(columns));
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        snprintf(text, sizeof(text), "%" PRIu64, rows[i].count);
        table_add(table, NULL, (const char *const[]){rows[i].label, text});
    }
    table_add(table, NULL, (const char *const[]){"read", text_size(report->bytes_read, text)});
    enum error error = table_print(table, tool->out);
    table_destroy(table);
    return error;
}

static enum error print_report(struct check *check, const char *directory, const struct check_report *report)
{
    if (check->tool->json)
        return print_json(check, report);
    TRY(print_table(check->tool, report));
    if (report->errors == 0)
        fprintf(check->tool->out, "\n%s is clean.\n", directory);
    return ERROR_NONE;
}

/* That nothing is lost is said only where everything that could tell a loss was seen. */
static const char *verdict(const struct check_report *report)
{
    if (report->losses_unknown)
        return "What is lost cannot be told completely.\n"
               "Keep the devices as they are and restore what is missing from a backup.";
    return report->bytes_lost ? "Keep the devices as they are and restore what is lost from a backup."
                              : "No byte of an object is lost.";
}

/* What was found is the verb's result, told on `out`; the exit status and a last sentence say that it is bad. */
static enum error conclude(struct check *check, const char *directory, const struct check_report *report)
{
    TRY(print_report(check, directory, report));
    if (report->errors == 0)
        return ERROR_NONE;
    check->tool->status = EXIT_FAILED;
    if (!check->tool->json)
        fprintf(check->tool->out, "\n%s is damaged: %" PRIu64 " finding%s. %s\n", directory, report->errors,
                report->errors == 1 ? "" : "s", verdict(report));
    return ERROR_NONE;
}

/* What only a repair obeys is not taken, and then forgotten, by a check. */
static enum error options_check(const struct arguments *arguments)
{
    static const char *const names[] = {"evidence", "discard-evidence"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (argument_given(arguments, names[i]) && !argument_given(arguments, "repair"))
            return error_explain(ERROR_INVALID, "--%s goes with --repair: a check alone changes nothing", names[i]);
    if (argument_given(arguments, names[0]) && argument_given(arguments, names[1]))
        return error_explain(ERROR_INVALID, "--evidence DIR keeps what --discard-evidence does not: give one of them");
    return ERROR_NONE;
}

static enum error run_check(struct tool *tool, const struct arguments *arguments)
{
    struct check check = {.tool = tool, .repair = argument_given(arguments, "repair")};
    struct check_report report = {0};
    const char *directory;
    AUTO_FREE struct pool_repair_report *repaired = memory_zeroed(1, sizeof *repaired);
    if (!repaired)
        return ERROR_NO_MEMORY;
    check.repaired = repaired;
    TRY(options_check(arguments));
    TRY(place_directory(tool, arguments->positional[0], &directory));
    check.findings = json_array();
    check.losses = json_array();
    enum error error = check_pool(&check, directory, arguments, &report);
    if (error == ERROR_NONE)
        error = conclude(&check, directory, &report);
    json_decref(check.findings);
    json_decref(check.losses);
    return error;
}

static const struct option_row options[] = {
    {"passphrase-file", "FILE", "read the passphrase from FILE (\"-\": standard input)", false},
    {"repair", NULL, "first write anew what has another copy or can be made again", false},
    {"evidence", "DIR", "keep there, not in the pool directory, what --repair lets go of", false},
    {"discard-evidence", NULL, "do not keep what --repair lets go of", false},
    {"accept-rollback", NULL, "check although devices were rolled back, or the witness is older or lost", false},
    {NULL},
};

const struct command command_check = {
    .noun = "check",
    .arguments = "[DIR]",
    .summary = "read and prove everything, offline",
    .text = "Reads the whole pool while no daemon serves it and proves that every block can be read, every reference\n"
            "is counted, every fingerprint is true and every segment's live bytes are right. Changes nothing. Exit\n"
            "status 1 where it finds damage. With --repair what has a second copy, or can be made from what else is\n"
            "there, is written anew first: superblocks, nodes, pages of tables. A damaged journal ends where it is. Before it\n"
            "writes anything, it keeps the bytes that it is going to let go of, as they lie on the devices, in a file\n"
            "evidence-… of the pool directory, and says how large that is; rm lets go of it. Where there is no room for\n"
            "it the repair is refused.",
    .examples = "  coffer check /srv/pool\n"
                "  coffer check /srv/pool --repair\n"
                "  coffer check /srv/pool --repair --evidence /mnt/usb\n"
                "  coffer --json check /srv/pool | jq .errors\n",
    .positional_max = 1,
    .options = options,
    .run = run_check,
};
