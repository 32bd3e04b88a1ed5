/*
 * The report. Both outputs are made from one JSON object, so that they cannot tell different things: people get its
 * figures as a table, programs get it as it is. Keys are stable; times are nanoseconds, sizes bytes.
 */
#include "bench/report.h"

#include <stdio.h>
#include <sys/resource.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/size.h"

#define TEXT 32

static const char *const kind_names[OPERATION_KINDS] = {"read", "write", "flush"};

double measure_rate(const struct measure *measure)
{
    uint64_t bytes = measure->bytes[OPERATION_READ] + measure->bytes[OPERATION_WRITE];
    return (double)bytes * CLOCK_SECOND / (double)measure->nanoseconds;
}

/* Requests a second, which is the same figure where the blocks are of one size. */
static double measure_requests(const struct measure *measure)
{
    uint64_t requests = measure->counts[OPERATION_READ] + measure->counts[OPERATION_WRITE];
    return (double)requests * CLOCK_SECOND / (double)measure->nanoseconds;
}

static json_t *integer(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *latencies_json(const struct histogram *histogram)
{
    json_t *object = json_object();
    json_object_set_new(object, "p50", integer(histogram_percentile(histogram, 50000)));
    json_object_set_new(object, "p99", integer(histogram_percentile(histogram, 99000)));
    json_object_set_new(object, "p99.9", integer(histogram_percentile(histogram, 99900)));
    json_object_set_new(object, "max", integer(histogram->value_max));
    return object;
}

static json_t *measure_json(const struct measure *measure)
{
    json_t *object = json_object();
    double seconds = (double)measure->nanoseconds / CLOCK_SECOND;
    json_object_set_new(object, "nanoseconds", integer(measure->nanoseconds));
    json_object_set_new(object, "bytes_per_second", json_real(measure_rate(measure)));
    for (unsigned kind = 0; kind < OPERATION_KINDS; kind++) {
        if (!measure->counts[kind])
            continue;
        json_t *part = json_object();
        json_object_set_new(part, "count", integer(measure->counts[kind]));
        json_object_set_new(part, "bytes", integer(measure->bytes[kind]));
        json_object_set_new(part, "per_second", json_real((double)measure->counts[kind] / seconds));
        json_object_set_new(part, "bytes_per_second", json_real((double)measure->bytes[kind] / seconds));
        json_object_set_new(part, "latency", latencies_json(&measure->latencies[kind]));
        json_object_set_new(object, kind_names[kind], part);
    }
    return object;
}

struct traffic {
    uint64_t reads, read_bytes, writes, write_bytes, flushes;
};

static struct traffic traffic_of(const struct pool_status *status)
{
    struct traffic sum = {0};
    for (size_t i = 0; i < status->device_count; i++) {
        sum.reads += status->devices[i].reads;
        sum.read_bytes += status->devices[i].read_bytes;
        sum.writes += status->devices[i].writes;
        sum.write_bytes += status->devices[i].write_bytes;
        sum.flushes += status->devices[i].flushes;
    }
    return sum;
}

uint64_t report_read_size(const struct engine_result *engine)
{
    struct traffic before = traffic_of(&engine->before), after = traffic_of(&engine->after);
    uint64_t reads = after.reads - before.reads, bytes = after.read_bytes - before.read_bytes;
    return reads ? ROUND_UP(bytes / reads, 4096) : 0;
}

static void share_set(json_t *object, const char *key, uint64_t part, uint64_t whole)
{
    if (whole)
        json_object_set_new(object, key, json_real((double)part / (double)whole));
}

static json_t *devices_json(const struct engine_result *engine)
{
    struct traffic before = traffic_of(&engine->before), after = traffic_of(&engine->after);
    const struct measure *measure = &engine->measure;
    json_t *object = json_object();
    json_object_set_new(object, "reads", integer(after.reads - before.reads));
    json_object_set_new(object, "read_bytes", integer(after.read_bytes - before.read_bytes));
    json_object_set_new(object, "writes", integer(after.writes - before.writes));
    json_object_set_new(object, "write_bytes", integer(after.write_bytes - before.write_bytes));
    json_object_set_new(object, "flushes", integer(after.flushes - before.flushes));
    json_object_set_new(object, "longest_wait", json_pack("{s:I, s:I, s:I}", "read", (json_int_t)engine->longest.read, "write",
                                                          (json_int_t)engine->longest.write, "flush",
                                                          (json_int_t)engine->longest.flush));
    share_set(object, "reads_per_read_request", after.reads - before.reads, measure->counts[OPERATION_READ]);
    share_set(object, "bytes_read_per_byte_read", after.read_bytes - before.read_bytes, measure->bytes[OPERATION_READ]);
    share_set(object, "bytes_written_per_byte_written", after.write_bytes - before.write_bytes,
              measure->bytes[OPERATION_WRITE]);
    return object;
}

static json_t *pool_json(const struct engine_result *engine)
{
    const struct pool_status *before = &engine->before, *after = &engine->after;
    json_t *object = json_object();
    json_object_set_new(object, "memory_setting", integer(after->memory_setting));
    json_object_set_new(object, "memory_used", integer(after->memory_used));
    json_object_set_new(object, "chunks_written", integer(after->chunks_written - before->chunks_written));
    json_object_set_new(object, "chunks_hit", integer(after->chunks_hit - before->chunks_hit));
    json_object_set_new(object, "chunks_false_hit", integer(after->chunks_false_hit - before->chunks_false_hit));
    json_object_set_new(object, "unit_bytes_in", integer(after->unit_bytes_in - before->unit_bytes_in));
    json_object_set_new(object, "unit_bytes_out", integer(after->unit_bytes_out - before->unit_bytes_out));
    json_object_set_new(object, "data_written_bytes", integer(after->data_written_bytes - before->data_written_bytes));
    json_object_set_new(object, "meta_written_bytes", integer(after->meta_written_bytes - before->meta_written_bytes));
    json_object_set_new(object, "checkpoints", integer(after->checkpoints - before->checkpoints));
    json_object_set_new(object, "used_bytes", integer(after->used_bytes));
    json_object_set_new(object, "live_bytes", integer(after->live_bytes));
    json_object_set_new(object, "data_stored_bytes", integer(after->data_stored_bytes));
    json_object_set_new(object, "meta_stored_bytes", integer(after->meta_stored_bytes));
    return object;
}

static json_t *asked_json(const struct bench_options *options)
{
    char codec[CODEC_TEXT_SIZE];
    json_t *object = json_object();
    options_codec_format(options->codec, options->level, codec);
    json_object_set_new(object, "pattern", json_string(options_pattern_name(options->pattern)));
    json_object_set_new(object, "read_percent", integer(options->read_percent));
    json_object_set_new(object, "block_size", integer(options->block_size));
    json_object_set_new(object, "depth", integer(options->depth));
    json_object_set_new(object, "threads", integer(options->threads));
    json_object_set_new(object, "size", integer(options->size));
    json_object_set_new(object, "fsync", integer(options->flush_interval));
    json_object_set_new(object, "compress_percent", integer(options->compress_percent));
    json_object_set_new(object, "duplicate_percent", integer(options->duplicate_percent));
    json_object_set_new(object, "seed", integer(options->seed));
    json_object_set_new(object, "fingerprint", json_string(options_fingerprint_name(options->fingerprint)));
    json_object_set_new(object, "codec", json_string(codec));
    json_object_set_new(object, "index", json_boolean(!options->no_index));
    json_object_set_new(object, "encryption", json_boolean(!options->no_encryption));
    return object;
}

static void limit_set(json_t *limits, const struct report *report, const char *name, const struct measure *measure)
{
    json_t *object = measure_json(measure);
    if (report->run)
        json_object_set_new(object, "ratio", json_real(measure_requests(report->run) / measure_requests(measure)));
    json_object_set_new(limits, name, object);
}

static json_t *calls_json(const struct calls_result *result)
{
    json_t *object = json_object();
    json_object_set_new(object, "opening", integer(result->opening));
    json_object_set_new(object, "index_filling", integer(result->index_filling));
    json_object_set_new(object, "closing", integer(result->closing));
    for (size_t i = 0; i < CALLS; i++)
        json_object_set_new(object, call_name(i), latencies_json(&result->times[i]));
    return object;
}

static json_t *report_json(const struct report *report)
{
    json_t *object = json_object(), *limits = json_object();
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        json_object_set_new(object, "resident_bytes_max", integer((uint64_t)usage.ru_maxrss * 1024));
    if (report->calls)
        json_object_set_new(object, "calls", calls_json(report->calls));
    json_object_set_new(object, "asked", asked_json(report->options));
    if (report->run)
        json_object_set_new(object, "run", measure_json(report->run));
    if (report->engine) {
        json_object_set_new(object, "devices", devices_json(report->engine));
        json_object_set_new(object, "pool", pool_json(report->engine));
    }
    if (report->primitives)
        limit_set(limits, report, "primitives", report->primitives);
    if (report->raw && report->raw->measured) {
        limit_set(limits, report, "raw_device", &report->raw->batched);
        limit_set(limits, report, "raw_device_full_depth", &report->raw->full);
    }
    if (report->raw_at_read_size && report->raw_at_read_size->measured)
        limit_set(limits, report, "raw_device_read_size", &report->raw_at_read_size->batched);
    json_object_set_new(object, "limits", limits);
    return object;
}

static const char *rate_text(double bytes, char text[TEXT])
{
    return size_format((uint64_t)bytes, text, TEXT);
}

static const char *time_text(const json_t *latency, const char *key, char text[TEXT])
{
    uint64_t value = (uint64_t)json_integer_value(json_object_get(latency, key));
    snprintf(text, TEXT, "%.1f", (double)value / 1000);
    return text;
}

static void kinds_print(const char *label, const json_t *measure)
{
    for (unsigned kind = 0; kind < OPERATION_KINDS; kind++) {
        const json_t *part = json_object_get(measure, kind_names[kind]);
        const json_t *latency = json_object_get(part, "latency");
        char rate[TEXT], p50[TEXT], p99[TEXT], p999[TEXT], largest[TEXT];
        if (!part)
            continue;
        printf("%-24s %-6s %12s/s %10.0f/s %10s %10s %10s %10s\n", label, kind_names[kind],
               rate_text(json_real_value(json_object_get(part, "bytes_per_second")), rate),
               json_real_value(json_object_get(part, "per_second")), time_text(latency, "p50", p50),
               time_text(latency, "p99", p99), time_text(latency, "p99.9", p999), time_text(latency, "max", largest));
    }
}

static void ratios_print(json_t *limits)
{
    const char *name;
    json_t *limit;
    json_object_foreach(limits, name, limit)
    {
        const json_t *ratio = json_object_get(limit, "ratio");
        if (ratio)
            printf("%.1f %% of %s\n", json_real_value(ratio) * 100, name);
    }
}

static void figure_print(const json_t *object, const char *key, const char *sentence)
{
    const json_t *figure = json_object_get(object, key);
    if (figure)
        printf("%.3f %s\n", json_real_value(figure), sentence);
}

static void calls_print(const struct calls_result *result, json_t *calls)
{
    char p50[TEXT], p99[TEXT], largest[TEXT];
    printf("open %.3f s, then %.3f s until the index is full; close %.3f s\n", (double)result->opening / CLOCK_SECOND,
           (double)result->index_filling / CLOCK_SECOND, (double)result->closing / CLOCK_SECOND);
    printf("%-24s %10s %10s %10s\n", "", "p50 us", "p99 us", "max us");
    for (size_t i = 0; i < CALLS; i++) {
        const json_t *latency = json_object_get(calls, call_name(i));
        printf("%-24s %10s %10s %10s\n", call_name(i), time_text(latency, "p50", p50), time_text(latency, "p99", p99),
               time_text(latency, "max", largest));
    }
}

static void text_print(const struct report *report, json_t *object)
{
    const struct bench_options *options = report->options;
    json_t *limits = json_object_get(object, "limits"), *limit;
    const json_t *devices = json_object_get(object, "devices");
    char block[TEXT], codec[CODEC_TEXT_SIZE];
    const char *name;
    options_codec_format(options->codec, options->level, codec);
    printf("%s, %u %% reads, blocks of %s, depth %lu on %lu threads; %u %% compressible, %u %% duplicate; %s, %s%s%s\n",
           options_pattern_name(options->pattern), options->read_percent,
           size_format(options->block_size, block, sizeof block), (unsigned long)options->depth,
           (unsigned long)options->threads, options->compress_percent, options->duplicate_percent,
           options_fingerprint_name(options->fingerprint), codec, options->no_encryption ? "" : ", AES-256-XTS",
           options->no_index ? ", no index" : "");
    printf("%-24s %-6s %14s %12s %10s %10s %10s %10s\n", "", "", "bytes", "requests", "p50 us", "p99 us", "p99.9 us",
           "max us");
    if (report->run)
        kinds_print(options->command == BENCH_NBD ? "nbd" : "engine", json_object_get(object, "run"));
    json_object_foreach(limits, name, limit) kinds_print(name, limit);
    ratios_print(limits);
    figure_print(devices, "reads_per_read_request", "device reads per read request");
    figure_print(devices, "bytes_read_per_byte_read", "device bytes read per byte read");
    figure_print(devices, "bytes_written_per_byte_written", "device bytes written per byte written");
}

enum error report_print(const struct report *report)
{
    json_t *object = report_json(report);
    if (!object)
        return ERROR_NO_MEMORY;
    if (report->options->json) {
        json_dumpf(object, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        putchar('\n');
    } else if (report->calls) {
        calls_print(report->calls, json_object_get(object, "calls"));
    } else {
        text_print(report, object);
    }
    json_decref(object);
    if (fflush(stdout) == EOF || ferror(stdout))
        return error_explain(ERROR_IO, "the report could not be written to the output");
    return ERROR_NONE;
}
