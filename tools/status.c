/*
 * `coffer status`: the pool, its space and what deduplication and compression saved; a tree of groups and devices.
 *
 * With --watch the same picture is drawn again and again, with rates from the difference of two answers; on a terminal
 * in place, into a pipe one after the other, with --json one object a line. It ends with the daemon or by ^C.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/size.h"
#include "tools/answer.h"
#include "tools/client.h"
#include "tools/command.h"
#include "tools/scrub.h"
#include "tools/table.h"
#include "tools/text.h"

#define LABEL_WIDTH 11 /* of the column before the texts */

static void add_line(struct table *table, const char *label, const char *text)
{
    table_add(table, NULL, (const char *const[]){label, text});
}

/* A line that names a command for this pool. */
static void add_hint(struct tool *tool, struct table *table, const char *label, const char *words, const char *verb)
{
    AUTO_FREE char *text = NULL;
    if (asprintf(&text, "%s `%s %s`", words, tool_self(tool), verb) < 0)
        text = NULL;
    add_line(table, label, text == NULL ? words : text);
}

/* A sentence of the daemon's, which may be long. */
static void add_sentence(struct tool *tool, struct table *table, const char *sentence)
{
    size_t columns = tool_columns(tool), width = columns > 2 * LABEL_WIDTH ? columns - LABEL_WIDTH : 0;
    AUTO_FREE char *text = text_wrap(sentence, width, 0);
    if (sentence[0] != '\0')
        add_line(table, "", text == NULL ? sentence : text);
}

static void add_state(struct tool *tool, struct table *table, const json_t *status)
{
    if (answer_flag(status, "trying"))
        add_line(table, "State", "locked; cofferd is trying the key that it waited for. Before that:");
    else if (answer_flag(status, "awaits_key"))
        add_line(table, "State", "locked until the right key is there, which is looked for every minute");
    else if (answer_flag(status, "locked"))
        add_hint(tool, table, "State", "locked: type", "unlock");
    else if (answer_flag(status, "fenced"))
        add_hint(tool, table, "State", "out of service after a failed write: see", "health");
    else
        add_line(table, "State", answer_flag(status, "read_only") ? "read-only" : "serving");
    add_sentence(tool, table, answer_word(status, "why_locked"));
}

static void add_space(struct tool *tool, struct table *table, const json_t *status)
{
    char used[TEXT_SIZE], capacity[TEXT_SIZE], free_text[TEXT_SIZE], share[TEXT_SIZE], text[4 * TEXT_SIZE];
    snprintf(text, sizeof(text), "%s used of %s (%s), %s free", text_size(answer_figure(status, "used_bytes"), used),
             text_size(answer_figure(status, "capacity_bytes"), capacity),
             text_percent((double)answer_figure(status, "used_bytes"), (double)answer_figure(status, "capacity_bytes"),
                          share),
             text_size(answer_figure(status, "free_bytes"), free_text));
    add_line(table, "Space", text);
    if (answer_figure(status, "reserved_bytes") != 0) {
        snprintf(text, sizeof(text), "%s of the rest are held for disks that have space reserved",
                 text_size(answer_figure(status, "reserved_bytes"), used));
        add_line(table, "", text);
    }
    snprintf(text, sizeof(text), "%s of new data is safe to write, even if none of it compresses or repeats",
             text_size(answer_figure(status, "writable_bytes"), free_text));
    add_line(table, "", text);
    snprintf(text, sizeof(text), "%s to be reclaimed by the cleaner; a reserve of %s is not counted above",
             text_size(answer_figure(status, "reclaimable_bytes"), used),
             text_size(answer_figure(status, "reserve_bytes"), capacity));
    add_line(table, "", text);
    if (answer_flag(status, "below_full"))
        add_hint(tool, table, "", "the file system below is full, writers get \"no space\": see", "health");
}

static void add_reduction(struct table *table, const json_t *status)
{
    char logical[TEXT_SIZE], unique[TEXT_SIZE], stored[TEXT_SIZE], meta[TEXT_SIZE], factors[3][TEXT_SIZE];
    char text[8 * TEXT_SIZE];
    uint64_t logical_bytes = answer_figure(status, "logical_bytes"),
             unique_bytes = answer_figure(status, "unique_bytes");
    uint64_t data = answer_figure(status, "data_stored_bytes"), all = data + answer_figure(status, "meta_stored_bytes");
    snprintf(text, sizeof(text), "%s in disks, %s unique, %s stored and %s of tables",
             text_size(logical_bytes, logical), text_size(unique_bytes, unique), text_size(data, stored),
             text_size(all - data, meta));
    add_line(table, "Data", text);
    snprintf(text, sizeof(text), "%s (deduplication %s, compression %s, tables included)",
             text_factor(logical_bytes, all, factors[0]), text_factor(logical_bytes, unique_bytes, factors[1]),
             text_factor(unique_bytes, data, factors[2]));
    add_line(table, "Reduction", text);
}

static void add_rest(struct table *table, const json_t *status)
{
    char used[TEXT_SIZE], setting[TEXT_SIZE], journal[TEXT_SIZE], when[TEXT_SIZE], text[4 * TEXT_SIZE];
    snprintf(text, sizeof(text), "%" PRIu64 ", %s in size, and %" PRIu64 " in the trash",
             answer_figure(status, "objects"), text_size(answer_figure(status, "object_bytes"), used),
             answer_figure(status, "objects_trashed"));
    add_line(table, "Objects", text);
    snprintf(text, sizeof(text), "%" PRIu64 ", %s in size", answer_figure(status, "snapshots"),
             text_size(answer_figure(status, "snapshot_bytes"), used));
    add_line(table, "Snapshots", text);
    snprintf(text, sizeof(text), "%s of %s", text_size(answer_figure(status, "memory_used"), used),
             text_size(answer_figure(status, "memory_setting"), setting));
    add_line(table, "Memory", text);
    snprintf(text, sizeof(text), "%s, last checkpoint %s", text_size(answer_figure(status, "journal_bytes"), journal),
             text_time(answer_figure(status, "checkpoint_last"), when));
    add_line(table, "Journal", text);
}

static void add_scrub(struct tool *tool, struct table *table, const json_t *status)
{
    const json_t *scrub = json_object_get(status, "scrub");
    const char *state = answer_word(scrub, "state");
    char text[4 * TEXT_SIZE];
    if (!json_is_object(scrub))
        return;
    bool works = strcmp(state, "running") == 0 || strcmp(state, "paused") == 0;
    add_line(table, "Scrub", works ? scrub_progress(scrub, text) : scrub_last(scrub, text));
    if (answer_figure(scrub, "damages") != 0)
        add_hint(tool, table, "", "damage is known: see", "scrub status");
}

static void add_rates(struct table *table, const json_t *status, const json_t *before, double seconds)
{
    static const struct {
        const char *label, *bytes, *count;
    } rates[] = {{"Reads", "user_read_bytes", "user_reads"}, {"Writes", "user_write_bytes", "user_writes"}};
    char size[TEXT_SIZE], text[2 * TEXT_SIZE];
    for (size_t i = 0; before != NULL && i < COUNT_OF(rates); i++) {
        double bytes =
            (double)(answer_figure(status, rates[i].bytes) - answer_figure(before, rates[i].bytes)) / seconds;
        double count =
            (double)(answer_figure(status, rates[i].count) - answer_figure(before, rates[i].count)) / seconds;
        snprintf(text, sizeof(text), "%s/s, %.0f/s", text_size((uint64_t)bytes, size), count);
        add_line(table, rates[i].label, text);
    }
}

static enum error print_summary(struct tool *tool, const json_t *status, const json_t *before, double seconds)
{
    static const struct table_column columns[] = {{NULL, TABLE_LEFT}, {NULL, TABLE_LINES}};
    char text[2 * TEXT_SIZE];
    struct table *table = table_create(columns, COUNT_OF(columns));
    add_line(table, "Pool", answer_word(status, "uuid"));
    add_state(tool, table, status);
    snprintf(text, sizeof(text), "%s, fingerprints %s",
             answer_flag(status, "encryption") ? "encrypted (AES-256-XTS)" : "not encrypted",
             answer_word(status, "fingerprint"));
    add_line(table, "Format", text);
    if (!answer_flag(status, "locked")) {
        add_space(tool, table, status);
        add_reduction(table, status);
        add_rest(table, status);
        add_scrub(tool, table, status);
        add_rates(table, status, before, seconds);
    }
    enum error error = table_print(table, tool->out);
    table_destroy(table);
    return error;
}

static void add_device(struct table *table, struct table_row *parent, const json_t *device)
{
    char size[TEXT_SIZE], read[TEXT_SIZE], written[TEXT_SIZE];
    table_add(table, parent,
              (const char *const[]){answer_word(device, "path"), text_size(answer_figure(device, "size"), size),
                                    text_size(answer_figure(device, "read_bytes"), read),
                                    text_size(answer_figure(device, "write_bytes"), written),
                                    answer_flag(device, "fenced") ? "failed" : "ok"});
}

static enum error print_tree(struct tool *tool, const json_t *status)
{
    static const struct table_column columns[] = {{"GROUP", TABLE_TREE},
                                                  {"SIZE", TABLE_RIGHT},
                                                  {"READ", TABLE_RIGHT},
                                                  {"WRITTEN", TABLE_RIGHT},
                                                  {"STATE", TABLE_LEFT}};
    struct table *table = table_create(columns, COUNT_OF(columns));
    size_t i, j;
    json_t *group, *device;
    json_array_foreach(json_object_get(status, "groups"), i, group)
    {
        const char *state = answer_flag(group, "fenced")    ? "out of service"
                            : answer_flag(status, "locked") ? "locked"
                                                            : "ok";
        struct table_row *row =
            table_add(table, NULL, (const char *const[]){answer_word(group, "name"), NULL, NULL, NULL, state});
        json_array_foreach(json_object_get(group, "devices"), j, device) add_device(table, row, device);
    }
    enum error error = table_print(table, tool->out);
    table_destroy(table);
    return error;
}

static enum error print_status(struct tool *tool, const json_t *status, const json_t *before, double seconds)
{
    if (tool->json)
        return tool_print_json(tool, status);
    TRY(print_summary(tool, status, before, seconds));
    fputc('\n', tool->out);
    return print_tree(tool, status);
}

static enum error print_watched(struct tool *tool, const json_t *status, const json_t *before, double seconds)
{
    if (tool->json)
        return tool_print_json(tool, status);
    bool terminal = isatty(fileno(tool->out));
    char now[TEXT_SIZE];
    fprintf(tool->out, "%s%s\n", terminal ? "\033[H\033[J" : "\n", text_time((uint64_t)time(NULL), now));
    TRY(print_status(tool, status, before, seconds));
    return fflush(tool->out) == 0 ? ERROR_NONE : error_explain(ERROR_IO, "cannot write the output");
}

static enum error watch_calls(struct tool *tool, struct client *client, uint64_t interval, json_t **before)
{
    uint64_t last = clock_monotonic();
    for (;;) {
        json_t *status;
        TRY(client_call(client, "pool.status", NULL, NULL, &status));
        uint64_t now = clock_monotonic();
        enum error error = print_watched(tool, status, *before, (double)MAX(now - last, 1) / (double)CLOCK_SECOND);
        json_decref(*before);
        *before = status;
        last = now;
        TRY(error);
        clock_sleep(interval * CLOCK_SECOND);
    }
}

static enum error watch(struct tool *tool, uint64_t interval)
{
    struct client *client;
    json_t *before = NULL;
    TRY(client_open(tool, &client));
    tool->json_lines = true;
    enum error error = watch_calls(tool, client, interval, &before);
    json_decref(before);
    client_close(client);
    return error;
}

static enum error run_status(struct tool *tool, const struct arguments *arguments)
{
    uint64_t interval = 2;
    json_t *status = NULL;
    const char *seconds = argument_value(arguments, "interval", NULL);
    if (seconds != NULL && (duration_parse(seconds, &interval) != ERROR_NONE || interval == 0 || interval > 86400))
        return error_explain(ERROR_INVALID, "--interval %s: say 1 s to 1 d", seconds);
    if (argument_given(arguments, "watch") || seconds != NULL)
        return watch(tool, interval);
    TRY(client_ask(tool, "pool.status", NULL, &status));
    enum error error = print_status(tool, status, NULL, 1);
    json_decref(status);
    return error;
}

static const struct option_row options[] = {
    {"watch", NULL, "draw it again and again, with rates", false},
    {"interval", "SECONDS", "how often with --watch (2)", false},
    {NULL},
};

const struct command command_status = {
    .noun = "status",
    .arguments = "",
    .summary = "pool, space, reduction, groups and devices",
    .text = "Shows how full the pool is, what deduplication and compression saved, and its groups and devices.\n"
            "Space is what is alive, of what users can have: the reserve that keeps a full pool working lies outside of it.\n"
            "What is safe to write fits for sure, if nobody else writes; data that compresses or repeats takes less. Reads\n"
            "and writes of devices count since the daemon started.",
    .examples = "  coffer status\n"
                "  coffer status --watch --interval 5\n"
                "  coffer --json status | jq .free_bytes\n",
    .options = options,
    .run = run_status,
};
