/*
 * `coffer scrub`: the job that reads all that is stored and checks it, while the pool serves. Every verb shows where it
 * is afterwards; `--watch` stays with it to its end: a bar on a terminal, with --json one object a line.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/size.h"
#include "engine/coffer.h"
#include "tools/answer.h"
#include "tools/client.h"
#include "tools/command.h"
#include "tools/progress.h"
#include "tools/scrub.h"
#include "tools/table.h"
#include "tools/text.h"

#define WATCH_PERIOD (CLOCK_SECOND / 2)

/* ---- showing it ----------------------------------------------------------------------------------------------- */

static void add_line(struct table *table, const char *label, const char *text)
{
    table_add(table, NULL, (const char *const[]){label, text});
}

static bool is_at_work(const json_t *scrub)
{
    const char *state = answer_word(scrub, "state");
    return strcmp(state, "running") == 0 || strcmp(state, "paused") == 0;
}

static bool waits(const json_t *scrub)
{
    return answer_word(scrub, "waiting")[0] != '\0';
}

static const char *duration_text(uint64_t seconds, char text[TEXT_SIZE])
{
    if (seconds == 0)
        snprintf(text, TEXT_SIZE, "less than 1 s");
    else
        duration_format(seconds * CLOCK_SECOND, text, TEXT_SIZE);
    return text;
}

/* "running: 43 %, 1.2 GiB of 2.9 GiB, 31 MiB/s, 55 s left". */
const char *scrub_progress(const json_t *scrub, char text[4 * TEXT_SIZE])
{
    char share[TEXT_SIZE], done[TEXT_SIZE], all[TEXT_SIZE], rate[TEXT_SIZE], duration[TEXT_SIZE],
        left[2 * TEXT_SIZE] = "";
    uint64_t verified = answer_figure(scrub, "bytes_verified"), expected = answer_figure(scrub, "bytes_expected");
    double seconds = (double)MAX(answer_figure(scrub, "nanoseconds"), UINT64_C(1)) / (double)CLOCK_SECOND;
    if (answer_figure(scrub, "seconds_left") != 0)
        snprintf(left, sizeof(left), ", %s left", duration_text(answer_figure(scrub, "seconds_left"), duration));
    snprintf(text, 4 * TEXT_SIZE, "%s: %s, %s of %s, %s/s%s", answer_word(scrub, "state"),
             text_percent((double)verified, (double)expected, share), text_size(verified, done),
             text_size(expected, all), text_size((uint64_t)((double)verified / seconds), rate), left);
    return text;
}

const char *scrub_last(const json_t *scrub, char text[4 * TEXT_SIZE])
{
    char when[TEXT_SIZE], bytes[TEXT_SIZE], duration[TEXT_SIZE];
    uint64_t damages = answer_figure(scrub, "completed_damages");
    if (answer_figure(scrub, "completed") == 0) {
        snprintf(text, 4 * TEXT_SIZE, "none has come to its end");
        return text;
    }
    snprintf(text, 4 * TEXT_SIZE, "%s, %s in %s, ", text_time(answer_figure(scrub, "completed"), when),
             text_size(answer_figure(scrub, "completed_bytes"), bytes),
             duration_text(answer_figure(scrub, "completed_seconds"), duration));
    size_t used = strlen(text);
    if (damages == 0)
        snprintf(text + used, 4 * TEXT_SIZE - used, "nothing damaged");
    else
        snprintf(text + used, 4 * TEXT_SIZE - used, "%" PRIu64 " range%s damaged", damages, damages == 1 ? "" : "s");
    return text;
}

static void print_damage(struct tool *tool, const json_t *scrub)
{
    const json_t *rows = json_object_get(scrub, "damage"), *row;
    size_t i, columns = tool_columns(tool);
    if (json_array_size(rows) == 0)
        return;
    fputs("\nKnown damage\n", tool->out);
    json_array_foreach((json_t *)rows, i, row)
    {
        char when[TEXT_SIZE], line[1024];
        snprintf(line, sizeof(line), "%s; found by a %s %s", answer_word(row, "sentence"),
                 answer_word(row, "found_by"), text_time(answer_figure(row, "found"), when));
        AUTO_FREE char *wrapped = text_wrap(line, columns > 4 ? columns - 2 : columns, 4);
        fprintf(tool->out, "  %s\n", wrapped == NULL ? line : wrapped);
    }
    if (answer_flag(scrub, "damage_more"))
        fputs("  There is more than is kept here.\n", tool->out);
}

static enum error print_scrub(struct tool *tool, const json_t *scrub)
{
    static const struct table_column columns[] = {{NULL, TABLE_LEFT}, {NULL, TABLE_LEFT}};
    char text[4 * TEXT_SIZE], rate[TEXT_SIZE];
    struct table *table = table_create(columns, COUNT_OF(columns));
    add_line(table, "Scrub", is_at_work(scrub) ? scrub_progress(scrub, text) : answer_word(scrub, "state"));
    if (waits(scrub))
        add_line(table, "Waits", "the pool is out of service: `coffer health` says why; it goes on after a restart");
    if (is_at_work(scrub))
        add_line(table, "At", answer_word(scrub, "step"));
    uint64_t limit = answer_figure(scrub, "rate");
    snprintf(text, sizeof(text), "%s%s", limit == 0 ? "no limit" : text_size(limit, rate), limit == 0 ? "" : "/s");
    add_line(table, "Throttle", text);
    add_line(table, "Last", scrub_last(scrub, text));
    enum error error = table_print(table, tool->out);
    table_destroy(table);
    print_damage(tool, scrub);
    return error;
}

/* Where damage is what was asked for, the exit status says that there is some. */
static bool is_bad(const json_t *scrub)
{
    return json_array_size(json_object_get(scrub, "damage")) != 0 || answer_flag(scrub, "damage_more");
}

static bool is_complete(const json_t *scrub)
{
    return strcmp(answer_word(scrub, "state"), "complete") == 0;
}

/* ---- watching it ---------------------------------------------------------------------------------------------- */

static enum error watch_line(struct tool *tool, struct progress *bar, const json_t *scrub)
{
    if (tool->json)
        return tool_print_json(tool, scrub);
    bar->start = clock_monotonic() - answer_figure(scrub, "nanoseconds"); /* it ran before somebody watched */
    progress_update(bar, answer_figure(scrub, "bytes_verified"), answer_figure(scrub, "bytes_expected"));
    return ERROR_NONE;
}

/* Until it runs no more, or cannot; *scrub is the last answer then, complete only where nobody stopped it. */
static enum error watch_calls(struct tool *tool, struct client *client, struct progress *bar, json_t **scrub)
{
    while (strcmp(answer_word(*scrub, "state"), "running") == 0 && !waits(*scrub)) {
        json_t *next;
        TRY(watch_line(tool, bar, *scrub));
        clock_sleep(WATCH_PERIOD);
        TRY(client_call(client, "scrub.status", NULL, NULL, &next));
        json_decref(*scrub);
        *scrub = next;
    }
    return ERROR_NONE;
}

static enum error run(struct tool *tool, const char *method, json_t *parameters, bool watch)
{
    struct client *client;
    struct progress bar;
    json_t *scrub;
    tool->json_lines = watch;
    enum error error = client_open(tool, &client);
    if (error != ERROR_NONE) {
        json_decref(parameters);
        return error;
    }
    error = client_call(client, method, parameters, NULL, &scrub);
    if (error == ERROR_NONE && watch) {
        progress_start(&bar, tool, "scrub");
        error = watch_calls(tool, client, &bar, &scrub);
        progress_clear(&bar);
        if (error != ERROR_NONE)
            json_decref(scrub);
    }
    client_close(client);
    if (error != ERROR_NONE)
        return error;
    bool asked = watch || strcmp(method, "scrub.status") == 0;
    if ((asked && is_bad(scrub)) || (watch && !is_complete(scrub)))
        tool->status = EXIT_FAILED;
    return answer_show(tool, scrub, print_scrub);
}

/* ---- verbs ---------------------------------------------------------------------------------------------------- */

/* "32M", or "max" for no limit. */
static enum error rate_parameter(const char *text, json_t **parameters)
{
    uint64_t rate = 0;
    if (strcmp(text, "max") != 0 && (size_parse(text, &rate) != ERROR_NONE || rate == 0 || rate > INT64_MAX))
        return error_explain(ERROR_INVALID, "a rate of %s: say bytes a second like 32M, or max", text);
    *parameters = json_pack("{s:I}", "rate", (json_int_t)rate);
    return *parameters == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
}

static enum error run_start(struct tool *tool, const struct arguments *arguments)
{
    json_t *parameters = NULL;
    const char *rate = argument_value(arguments, "rate", NULL);
    if (rate != NULL)
        TRY(rate_parameter(rate, &parameters));
    return run(tool, "scrub.start", parameters, argument_given(arguments, "watch"));
}

static enum error run_status(struct tool *tool, const struct arguments *arguments)
{
    return run(tool, "scrub.status", NULL, argument_given(arguments, "watch"));
}

static enum error run_pause(struct tool *tool, const struct arguments *arguments)
{
    (void)arguments;
    return run(tool, "scrub.pause", NULL, false);
}

static enum error run_resume(struct tool *tool, const struct arguments *arguments)
{
    return run(tool, "scrub.resume", NULL, argument_given(arguments, "watch"));
}

static enum error run_cancel(struct tool *tool, const struct arguments *arguments)
{
    (void)arguments;
    return run(tool, "scrub.cancel", NULL, false);
}

static enum error run_throttle(struct tool *tool, const struct arguments *arguments)
{
    json_t *parameters;
    TRY(rate_parameter(arguments->positional[0], &parameters));
    return run(tool, "scrub.throttle", parameters, false);
}

static const struct option_row no_options[] = {{NULL}};
static const struct option_row watch_options[] = {
    {"watch", NULL, "stay with it to its end", false},
    {NULL},
};
static const struct option_row start_options[] = {
    {"rate", "RATE", "bytes a second at most, like 32M; \"max\": no limit (as before; at first 32M)", false},
    {"watch", NULL, "stay with it to its end", false},
    {NULL},
};

const struct command command_scrub_start = {
    .noun = "scrub",
    .verb = "start",
    .arguments = "",
    .summary = "read all that is stored and check it",
    .text = "Starts a scrub: in the background, while the pool serves, every stored byte is read from the devices and\n"
            "checked, tables and both copies of what is stored twice included. It gives way to other load, goes on\n"
            "where it was after a restart, and enters what is damaged into the list of known damage, by object and\n"
            "range. One runs at a time. With --watch exit status 1 unless it came to its end and no damage is known.",
    .examples = "  coffer scrub start\n"
                "  coffer scrub start --rate 200M --watch\n",
    .options = start_options,
    .run = run_start,
};

const struct command command_scrub_status = {
    .noun = "scrub",
    .verb = "status",
    .arguments = "",
    .summary = "where it is, how the last one ended, known damage",
    .text =
        "Shows how far the scrub is, how the last one ended, and all that is known to be damaged: object, range,\n"
        "device. Exit status 1 where anything is, with --watch also unless the scrub is complete. A range leaves the\n"
        "list when it is written anew or discarded, and when a scrub finds it good.",
    .examples = "  coffer scrub status\n"
                "  coffer scrub status --watch\n"
                "  coffer --json scrub status | jq '.damage[] | [.object, .offset, .length]'\n",
    .options = watch_options,
    .run = run_status,
};

const struct command command_scrub_pause = {
    .noun = "scrub",
    .verb = "pause",
    .arguments = "",
    .summary = "stop it where it is",
    .text = "Stops the scrub where it is, also over restarts, until `coffer scrub resume`.",
    .examples = "  coffer scrub pause\n",
    .options = no_options,
    .run = run_pause,
};

const struct command command_scrub_resume = {
    .noun = "scrub",
    .verb = "resume",
    .arguments = "",
    .summary = "go on with a paused one",
    .text = "Goes on with a scrub that was paused.",
    .examples = "  coffer scrub resume --watch\n",
    .options = watch_options,
    .run = run_resume,
};

const struct command command_scrub_cancel = {
    .noun = "scrub",
    .verb = "cancel",
    .arguments = "",
    .summary = "end it before its time",
    .text = "Ends a scrub that runs or is paused. What it found stays in the list; the next one begins anew.",
    .examples = "  coffer scrub cancel\n",
    .options = no_options,
    .run = run_cancel,
};

const struct command command_scrub_throttle = {
    .noun = "scrub",
    .verb = "throttle",
    .arguments = "RATE",
    .summary = "bytes a second that it may read",
    .text =
        "Sets how many bytes a second the scrub reads at most: 64K and more, or \"max\" for no limit. It counts at\n"
        "once, and for later scrubs. With other load it takes a quarter of the time at most, whatever the rate.",
    .examples = "  coffer scrub throttle 100M\n"
                "  coffer scrub throttle max\n",
    .positional_min = 1,
    .positional_max = 1,
    .options = no_options,
    .run = run_throttle,
};
