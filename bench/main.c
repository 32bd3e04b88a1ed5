/*
 * coffer-bench: one run beside its limits, in one process and one report.
 *
 * The limits are measured before and after nothing else: run first, then the primitives, then the raw device, each with
 * the machine to itself. They take as long as the run asked for, but no more than three seconds each, or its bytes.
 *
 * OpenSSL's allocator is the arena's, as in the daemon, so that keys cost here what they cost there.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/message.h"
#include "bench/baseline.h"
#include "bench/primitives.h"
#include "bench/raw.h"
#include "bench/report.h"
#include "bench/runs.h"
#include "bench/scratch.h"
#include "crypto/arena.h"

#define LIMIT_SECONDS 3

enum exit_status { STATUS_DONE = 0, STATUS_FAILED = 1, STATUS_USAGE = 2 };

struct results {
    struct engine_result engine;
    struct calls_result calls;
    struct measure nbd, primitives;
    struct raw_limits raw, raw_at_read_size;
};

static void signal_taken(int number)
{
    signal(number, SIG_DFL); /* a second one ends at once */
    workload_interrupt();
}

static enum error limits_measure(const struct bench_options *options, const char *directory, struct results *results,
                                 struct report *report)
{
    struct bench_options limited = *options;
    if (options->no_limits)
        return ERROR_NONE;
    if (!limited.seconds || limited.seconds > LIMIT_SECONDS)
        limited.seconds = LIMIT_SECONDS;
    TRY(primitives_run(&limited, &results->primitives));
    report->primitives = &results->primitives;
    if (!directory)
        return ERROR_NONE;
    TRY(raw_run(&limited, directory, &results->raw));
    report->raw = &results->raw;
    /* A block of 4 KiB lies somewhere in a unit, and the unit somewhere on the device: what it is to read so much. */
    uint64_t read_size = report->engine && options->read_percent == 100 ? report_read_size(report->engine) : 0;
    if (read_size <= options->block_size)
        return ERROR_NONE;
    limited.block_size = read_size;
    TRY(raw_run(&limited, directory, &results->raw_at_read_size));
    report->raw_at_read_size = &results->raw_at_read_size;
    return ERROR_NONE;
}

static enum error engine_command(const struct bench_options *options, const struct scratch *scratch,
                                 struct results *results, struct report *report)
{
    char pool[PATH_MAX];
    if (!options->directory)
        TRY(scratch_pool(scratch, options, pool));
    TRY(engine_run(options, options->directory ? options->directory : pool, &results->engine));
    report->run = &results->engine.measure;
    report->engine = &results->engine;
    return limits_measure(options, options->directory ? options->directory : scratch->directory, results, report);
}

static enum error nbd_command(struct bench_options *options, struct results *results, struct report *report)
{
    TRY(nbd_run(options, &results->nbd));
    report->run = &results->nbd;
    return limits_measure(options, options->directory, results, report);
}

static enum error run_command(struct bench_options *options)
{
    AUTO_FREE struct results *results = memory_zeroed(1, sizeof *results);
    struct report report = {.options = options};
    struct scratch scratch = {0};
    if (!results)
        return ERROR_NO_MEMORY;
    enum error error = ERROR_NONE;
    if (options->command == BENCH_CALLS) {
        error = calls_run(options, &results->calls);
        report.calls = &results->calls;
    } else if (options->command == BENCH_NBD) {
        error = nbd_command(options, results, &report);
    } else {
        error = scratch_init(&scratch);
        if (!error && options->command == BENCH_ENGINE)
            error = engine_command(options, &scratch, results, &report);
        else if (!error)
            error =
                limits_measure(options, options->directory ? options->directory : scratch.directory, results, &report);
        scratch_deinit(&scratch);
    }
    return error ? error : report_print(&report);
}

static enum error baseline_command(const struct bench_options *options)
{
    struct baseline baseline;
    TRY(baseline_compute(options->subject, options->level, &baseline));
    const char *format = options->json ? "{\"blocks\": %llu, \"zero_blocks\": %llu, \"unique_blocks\": %llu, "
                                         "\"compressed_bytes\": %llu}\n"
                                       : "%llu blocks, %llu of them zero, %llu unique; %llu bytes compressed\n";
    printf(format, (unsigned long long)baseline.blocks, (unsigned long long)baseline.zero_blocks,
           (unsigned long long)baseline.unique_blocks, (unsigned long long)baseline.compressed_bytes);
    return ERROR_NONE;
}

static enum error command_run(struct bench_options *options)
{
    switch (options->command) {
    case BENCH_HELP:
        options_help();
        return ERROR_NONE;
    case BENCH_VERSION:
        puts("coffer-bench " COFFER_VERSION);
        return ERROR_NONE;
    case BENCH_BASELINE:
        return baseline_command(options);
    default:
        return run_command(options);
    }
}

static int failure(enum error error, enum exit_status status)
{
    fprintf(stderr, "coffer-bench: %s\n", error_sentence(error));
    return status;
}

int main(int count, char **arguments)
{
    struct bench_options options;
    enum error error = arena_start();
    if (error)
        return failure(error, STATUS_FAILED);
    error = options_parse(count, arguments, &options);
    if (error)
        return failure(error, STATUS_USAGE);
    signal(SIGINT, signal_taken);
    signal(SIGTERM, signal_taken);
    signal(SIGPIPE, SIG_IGN);
    error = command_run(&options);
    return error ? failure(error, STATUS_FAILED) : STATUS_DONE;
}
