/*
 * The deep rekey from the command line: begin, look, pause, resume, throttle. What is told of it comes with key.status.
 * A passphrase goes from the arena to the socket and nowhere else.
 */
#include "tools/key_deep.h"

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
#include "tools/key_age.h"
#include "tools/key_proof.h"
#include "tools/progress.h"
#include "tools/table.h"
#include "tools/text.h"

#define LINE_SIZE    512
#define WATCH_PERIOD (CLOCK_SECOND / 2)

/* ---- showing it -------------------------------------------------------------------------------------------------- */

static const json_t *job_of(const json_t *status)
{
    return json_object_get(status, "deep_rekey");
}

static bool is(const json_t *status, const char *state)
{
    return strcmp(answer_word(job_of(status), "state"), state) == 0;
}

static uint64_t bytes_done(const json_t *job)
{
    uint64_t total = answer_figure(job, "bytes_total"), left = answer_figure(job, "bytes_left");
    return total - MIN(left, total);
}

/* "running: 43 %, 1.2 GiB of 2.9 GiB left, 31 MiB/s, 55 s left". */
static const char *progress_text(const json_t *job, char text[LINE_SIZE])
{
    char share[TEXT_SIZE], left[TEXT_SIZE], all[TEXT_SIZE], rate[TEXT_SIZE], duration[TEXT_SIZE], time[2 * TEXT_SIZE] = "",
        speed[2 * TEXT_SIZE] = "";
    double seconds = (double)answer_figure(job, "nanoseconds") / (double)CLOCK_SECOND;
    uint64_t total = answer_figure(job, "bytes_total"), seconds_left = answer_figure(job, "seconds_left");
    if (seconds > 0)
        snprintf(speed, sizeof speed, ", %s/s", text_size((uint64_t)((double)answer_figure(job, "bytes_moved") / seconds), rate));
    if (seconds_left != 0) {
        duration_format(seconds_left * CLOCK_SECOND, duration, sizeof duration);
        snprintf(time, sizeof time, ", %s left", duration);
    }
    snprintf(text, LINE_SIZE, "%s: %s, %s of %s are under old keys%s%s", answer_word(job, "state"),
             text_percent((double)bytes_done(job), (double)total, share), text_size(answer_figure(job, "bytes_left"), left),
             text_size(total, all), speed, time);
    return text;
}

static void add_line(struct table *table, const char *label, const char *text)
{
    table_add(table, NULL, (const char *const[]){label, text});
}

static uint64_t device_bytes(const json_t *rows, const char *device)
{
    uint64_t bytes = 0;
    const json_t *row;
    size_t i;
    json_array_foreach((json_t *)rows, i, row)
        if (strcmp(answer_word(row, "device"), device) == 0)
            bytes += answer_figure(row, "segment_bytes");
    return bytes;
}

/* An old one is there for what was begun under it, and nothing else. */
static void tag_keys_show(struct table *table, const json_t *rows)
{
    char text[LINE_SIZE];
    const json_t *row;
    size_t i;
    json_array_foreach((json_t *)rows, i, row)
    {
        snprintf(text, sizeof text, "slot %" PRIu64 "%s, tags of %" PRIu64 " segments: %.255s", answer_figure(row, "slot"),
                 answer_flag(row, "current") ? "" : " (old)", answer_figure(row, "segments"), answer_word(row, "device"));
        add_line(table, i == 0 ? "Tag keys" : "", text);
    }
}

void key_deep_show(struct table *table, const json_t *status)
{
    const json_t *job = job_of(status), *rows = json_object_get(status, "data_keys"), *row;
    char text[LINE_SIZE], share[TEXT_SIZE], bytes[TEXT_SIZE], age[KEY_AGE_SIZE];
    size_t i;
    json_array_foreach((json_t *)rows, i, row)
    {
        const char *device = answer_word(row, "device");
        uint64_t under = answer_figure(row, "segment_bytes");
        bool aged = json_is_integer(json_object_get(row, "made"));
        snprintf(text, sizeof text, "slot %" PRIu64 "%s, %s, %s in %" PRIu64 " segments: %.255s%s%s", answer_figure(row, "slot"),
                 answer_flag(row, "current") ? "" : " (old)",
                 text_percent((double)under, (double)device_bytes(rows, device), share), text_size(under, bytes),
                 answer_figure(row, "segments"), device, aged ? "; made " : "", aged ? key_age_text(row, "made", age) : "");
        add_line(table, i == 0 ? "Data keys" : "", text);
    }
    tag_keys_show(table, json_object_get(status, "tag_keys"));
    if (job == NULL || (is(status, "none") && answer_figure(job, "bytes_left") == 0))
        return;
    bool under_way = is(status, "running") || is(status, "paused");
    add_line(table, "Deep rekey", under_way ? progress_text(job, text) : answer_word(job, "state"));
    if (under_way && answer_word(job, "waiting")[0] != '\0') {
        snprintf(text, sizeof text, "it cannot go on (%s): the daemon's messages and `coffer health` say why",
                 answer_word(job, "waiting"));
        add_line(table, "Waits", text);
    }
    if (answer_flag(job, "tag_key_stays"))
        add_line(table, "Tag key", "no new one: there is no room beside the old ones, which go as segments of their times are cleaned");
    if (answer_figure(job, "rate") != 0) {
        snprintf(text, sizeof text, "%s/s", text_size(answer_figure(job, "rate"), bytes));
        add_line(table, "Throttle", text);
    }
    if (answer_figure(job, "blocks_lost") != 0) {
        snprintf(text, sizeof text,
                 "%" PRIu64 " blocks of devices could not be read since the last start: `coffer scrub start` tells what they held",
                 answer_figure(job, "blocks_lost"));
        add_line(table, "Damage", text);
    }
}

static enum error print(struct tool *tool, const json_t *status)
{
    static const struct table_column columns[] = {{NULL, TABLE_LEFT}, {NULL, TABLE_LEFT}};
    struct table *table = table_create(columns, COUNT_OF(columns));
    key_deep_show(table, status);
    enum error error = table_print(table, tool->out);
    table_destroy(table);
    return error;
}

/* ---- watching it ------------------------------------------------------------------------------------------------- */

static enum error watch_line(struct tool *tool, struct progress *bar, const json_t *status)
{
    const json_t *job = job_of(status);
    if (tool->json)
        return tool_print_json(tool, status);
    bar->start = clock_monotonic() - answer_figure(job, "nanoseconds");
    progress_update(bar, bytes_done(job), answer_figure(job, "bytes_total"));
    return ERROR_NONE;
}

static enum error watch(struct tool *tool, struct client *client, json_t **status)
{
    struct progress bar;
    enum error error = ERROR_NONE;
    progress_start(&bar, tool, "deep rekey");
    while (!error && is(*status, "running") && answer_word(job_of(*status), "waiting")[0] == '\0') {
        json_t *next;
        error = watch_line(tool, &bar, *status);
        clock_sleep(WATCH_PERIOD);
        if (!error)
            error = client_call(client, "key.status", NULL, NULL, &next);
        if (!error) {
            json_decref(*status);
            *status = next;
        }
    }
    progress_clear(&bar);
    if (!error && !is(*status, "complete"))
        tool->status = EXIT_FAILED; /* it cannot go on, or somebody paused it */
    return error;
}

static enum error show(struct tool *tool, struct client *client, json_t *status, bool watches)
{
    tool->json_lines = watches;
    enum error error = watches ? watch(tool, client, &status) : ERROR_NONE;
    client_close(client);
    if (error == ERROR_NONE)
        return answer_show(tool, status, print);
    json_decref(status);
    return error;
}

/* ---- beginning it ------------------------------------------------------------------------------------------------ */

enum error key_deep_rate(const char *text, uint64_t *rate)
{
    *rate = 0;
    if (text == NULL || strcmp(text, "max") == 0)
        return ERROR_NONE;
    if (size_parse(text, rate) != ERROR_NONE || *rate == 0 || *rate > INT64_MAX)
        return error_explain(ERROR_INVALID, "a rate of %s: say bytes a second like 32M, or max", text);
    if (*rate < DEEP_REKEY_RATE_MIN)
        return error_explain(ERROR_INVALID, "a deep rekey at %s would hardly end: say 64K or more, or max", text);
    return ERROR_NONE;
}

static enum error deep_call(struct client *client, uint64_t rate, struct key_proof *proof, json_t **status)
{
    char more[64];
    snprintf(more, sizeof more, "\"rate\":%" PRIu64, rate);
    return key_proof_call(client, proof, "key.rekey_deep", more, status);
}

/* The new key is in force, whatever becomes of the rest. */
static enum error shallow_call(struct tool *tool, struct client *client, bool new_root, struct key_proof *proof, uint64_t *number)
{
    json_t *status;
    TRY(key_proof_call(client, proof, "key.rekey", new_root ? "\"new_root\":true" : NULL, &status));
    *number = answer_figure(status, "kek_number");
    key_proof_renew(proof);
    enum error error = tool->json ? ERROR_NONE : new_root ? key_print_rekeyed_root(tool, status) : key_print_rekeyed(tool, status);
    json_decref(status);
    return error;
}

/* The new root first: so no new data key is ever wrapped under the old one. */
static enum error calls(struct tool *tool, struct client *client, const struct arguments *arguments, uint64_t rate,
                        struct key_proof *proof, json_t **status)
{
    uint64_t number;
    bool new_root = argument_given(arguments, "new-root");
    if (!new_root && !argument_given(arguments, "shallow"))
        return deep_call(client, rate, proof, status);
    if (is(proof->known, "running") || is(proof->known, "paused"))
        return error_explain(ERROR_BUSY, "a deep rekey is under way already, and nothing was changed: `%s key status` shows it",
                             tool_self(tool));
    TRY(shallow_call(tool, client, new_root, proof, &number));
    enum error error = deep_call(client, rate, proof, status);
    return error == ERROR_NONE
               ? ERROR_NONE
               : error_prefix(error, "the new key %" PRIu64 " is in force; the deep rekey did not begin", number);
}

static enum error begin(struct tool *tool, struct client *client, const struct arguments *arguments, uint64_t rate,
                        json_t **status)
{
    struct key_proof proof;
    if (kept_key_is_given(arguments) && !argument_given(arguments, "new-root") && !argument_given(arguments, "shallow"))
        return error_explain(ERROR_INVALID, "--key and --recovery are for a new key: say --new-root or --shallow beside --deep");
    enum error error = key_proof_take(client, arguments, &proof);
    if (error == ERROR_NONE)
        error = calls(tool, client, arguments, rate, &proof, status);
    key_proof_end(&proof);
    return error;
}

enum error key_deep_rekey(struct tool *tool, const struct arguments *arguments)
{
    struct client *client;
    json_t *status;
    uint64_t rate;
    TRY(key_deep_rate(argument_value(arguments, "rate", NULL), &rate));
    TRY(client_open(tool, &client));
    enum error error = begin(tool, client, arguments, rate, &status);
    if (error == ERROR_NONE)
        return show(tool, client, status, argument_given(arguments, "watch"));
    client_close(client);
    return error;
}

/* ---- orders ------------------------------------------------------------------------------------------------------ */

static enum error order(struct tool *tool, const char *method, json_t *parameters, bool watches)
{
    struct client *client;
    json_t *status;
    enum error error = client_open(tool, &client);
    if (error != ERROR_NONE) {
        json_decref(parameters);
        return error;
    }
    error = client_call(client, method, parameters, NULL, &status);
    if (error == ERROR_NONE)
        return show(tool, client, status, watches);
    client_close(client);
    return error;
}

static enum error run_pause(struct tool *tool, const struct arguments *arguments)
{
    (void)arguments;
    return order(tool, "key.pause", NULL, false);
}

static enum error run_resume(struct tool *tool, const struct arguments *arguments)
{
    return order(tool, "key.resume", NULL, argument_given(arguments, "watch"));
}

static enum error run_throttle(struct tool *tool, const struct arguments *arguments)
{
    uint64_t rate;
    TRY(key_deep_rate(arguments->positional[0], &rate));
    return order(tool, "key.throttle", json_pack("{s:I}", "rate", (json_int_t)rate), false);
}

static const struct option_row no_options[] = {{NULL}};
static const struct option_row watch_options[] = {
    {"watch", NULL, "stay with it to its end", false},
    {NULL},
};

const struct command command_key_pause = {
    .noun = "key",
    .verb = "pause",
    .arguments = "",
    .summary = "stop a deep rekey where it is",
    .text = "Stops the deep rekey where it is. Old and new data keys both stay in use, and nothing is lost by it. It stays so\n"
            "over a restart of the daemon, a lock and a crash, until `coffer key resume`.",
    .examples = "  coffer key pause\n",
    .options = no_options,
    .run = run_pause,
};

const struct command command_key_resume = {
    .noun = "key",
    .verb = "resume",
    .arguments = "",
    .summary = "go on with a paused deep rekey",
    .text = "Goes on with a deep rekey that was paused. With --watch exit status 1 unless it came to its end.",
    .examples = "  coffer key resume --watch\n",
    .options = watch_options,
    .run = run_resume,
};

const struct command command_key_throttle = {
    .noun = "key",
    .verb = "throttle",
    .arguments = "RATE",
    .summary = "bytes a second that a deep rekey may move",
    .text = "Sets how many bytes a second the deep rekey that is under way moves at most: 64K and more, or \"max\" for no limit.\n"
            "With other load it takes a quarter of the time at most, whatever the rate. A restart keeps the rate.",
    .examples = "  coffer key throttle 100M\n"
                "  coffer key throttle max\n",
    .positional_min = 1,
    .positional_max = 1,
    .options = no_options,
    .run = run_throttle,
};
