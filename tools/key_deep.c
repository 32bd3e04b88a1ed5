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
#include "crypto/arena.h"
#include "crypto/provider.h"
#include "tools/answer.h"
#include "tools/client.h"
#include "tools/command.h"
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

void key_deep_show(struct table *table, const json_t *status)
{
    const json_t *job = job_of(status), *rows = json_object_get(status, "data_keys"), *row;
    char text[LINE_SIZE], share[TEXT_SIZE], bytes[TEXT_SIZE];
    size_t i;
    json_array_foreach((json_t *)rows, i, row)
    {
        const char *device = answer_word(row, "device");
        uint64_t under = answer_figure(row, "segment_bytes");
        snprintf(text, sizeof text, "slot %" PRIu64 "%s, %s, %s: %.255s", answer_figure(row, "slot"),
                 answer_flag(row, "current") ? "" : " (old)",
                 text_percent((double)under, (double)device_bytes(rows, device), share), text_size(under, bytes), device);
        add_line(table, i == 0 ? "Data keys" : "", text);
    }
    if (job == NULL || (is(status, "none") && answer_figure(job, "bytes_left") == 0))
        return;
    bool under_way = is(status, "running") || is(status, "paused");
    add_line(table, "Deep rekey", under_way ? progress_text(job, text) : answer_word(job, "state"));
    if (under_way && answer_word(job, "waiting")[0] != '\0') {
        snprintf(text, sizeof text, "it cannot go on (%s): the daemon's messages and `coffer health` say why",
                 answer_word(job, "waiting"));
        add_line(table, "Waits", text);
    }
    if (answer_figure(job, "rate") != 0) {
        snprintf(text, sizeof text, "%s/s", text_size(answer_figure(job, "rate"), bytes));
        add_line(table, "Throttle", text);
    }
    if (answer_figure(job, "blocks_lost") != 0) {
        snprintf(text, sizeof text, "%" PRIu64 " blocks of devices could not be read: `coffer scrub start` tells what they held",
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
    if (tool->json) {
        bool written = json_dumpf(status, tool->out, JSON_COMPACT) == 0 && fputc('\n', tool->out) != EOF;
        return written && fflush(tool->out) == 0 ? ERROR_NONE : error_explain(ERROR_IO, "cannot write the output");
    }
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
    if (!error && is(*status, "running"))
        tool->status = EXIT_FAILED; /* it cannot go on */
    return error;
}

static enum error show(struct tool *tool, struct client *client, json_t *status, bool watches)
{
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
    return ERROR_NONE;
}

/* What the calls need: a passphrase or a PIN, where the key has one. */
struct proof {
    char *passphrase; /* in the arena; NULL: none */
    size_t size;
};

static enum error call(struct client *client, const char *method, const char *more, const struct proof *proof, json_t **status)
{
    if (proof->passphrase != NULL)
        return client_call_with_passphrase(client, method, more, proof->passphrase, proof->size, "changing the key", status);
    char text[LINE_SIZE];
    snprintf(text, sizeof text, "{%s}", more == NULL ? "" : more);
    return client_call(client, method, json_loads(text, 0, NULL), "changing the key", status);
}

/* The new root first: so no new data key is ever wrapped under the old one. */
static enum error calls(struct client *client, const struct arguments *arguments, uint64_t rate, const struct proof *proof,
                        json_t **status)
{
    char more[64];
    bool new_root = argument_given(arguments, "new-root");
    if (new_root || argument_given(arguments, "shallow")) {
        json_t *shallow;
        TRY(call(client, "key.rekey", new_root ? "\"new_root\":true" : NULL, proof, &shallow));
        json_decref(shallow);
    }
    snprintf(more, sizeof more, "\"rate\":%" PRIu64, rate);
    return call(client, "key.rekey_deep", more, proof, status);
}

static enum error proof_take(const json_t *known, const char *file, const char *prompt, bool needed, struct proof *proof)
{
    const char *seal = answer_word(known, "seal");
    bool by_passphrase = strcmp(seal, "passphrase") == 0, by_tpm = strcmp(seal, "tpm") == 0;
    if (file != NULL && !by_passphrase && !by_tpm)
        return error_explain(ERROR_INVALID, "no passphrase seals the key of this pool: leave out --passphrase-file");
    return file != NULL || by_passphrase || needed ? passphrase_read(file, prompt, false, &proof->passphrase, &proof->size)
                                                   : ERROR_NONE;
}

static enum error begin(struct client *client, const struct arguments *arguments, uint64_t rate, json_t **status)
{
    const char *file = argument_value(arguments, "passphrase-file", NULL);
    struct proof proof = {NULL, 0};
    json_t *known;
    TRY(client_call(client, "key.status", NULL, NULL, &known));
    bool usable = answer_flag(known, "encryption") && answer_figure(known, "kek_number") != 0;
    bool by_tpm = strcmp(answer_word(known, "seal"), "tpm") == 0;
    enum error error = usable ? proof_take(known, file, "Passphrase of the pool, as a proof: ", false, &proof) : ERROR_NONE;
    if (error == ERROR_NONE)
        error = calls(client, arguments, rate, &proof, status);
    if (error == ERROR_LOCKED && usable && by_tpm && proof.passphrase == NULL) { /* whether it wants one shows when it is asked */
        error = proof_take(known, NULL, "PIN of the pool, as a proof: ", true, &proof);
        if (error == ERROR_NONE)
            error = calls(client, arguments, rate, &proof, status);
    }
    arena_free(proof.passphrase);
    json_decref(known);
    return error;
}

enum error key_deep_rekey(struct tool *tool, const struct arguments *arguments)
{
    struct client *client;
    json_t *status;
    uint64_t rate;
    TRY(key_deep_rate(argument_value(arguments, "rate", NULL), &rate));
    TRY(client_open(tool, &client));
    enum error error = begin(client, arguments, rate, &status);
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
    .text = "Stops the deep rekey where it is. Old and new data keys both stay in use, and nothing is lost by it. A restart of\n"
            "the daemon, or an unlock, goes on with it.",
    .examples = "  coffer key pause\n",
    .options = no_options,
    .run = run_pause,
};

const struct command command_key_resume = {
    .noun = "key",
    .verb = "resume",
    .arguments = "",
    .summary = "go on with a paused deep rekey",
    .text = "Goes on with a deep rekey that was paused.",
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
            "With other load it takes a quarter of the time at most, whatever the rate.",
    .examples = "  coffer key throttle 100M\n"
                "  coffer key throttle max\n",
    .positional_min = 1,
    .positional_max = 1,
    .options = no_options,
    .run = run_throttle,
};
