/* The bench's requests: within the range, each block once where promised, errors told, options checked. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "bench/conf_edit.h"
#include "bench/options.h"
#include "bench/workload.h"

static enum error parsed(struct bench_options *options, const char *line)
{
    static char text[512];
    char *arguments[32], *rest;
    int count = 0;
    strncpy(text, line, sizeof text - 1);
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        arguments[count++] = word;
    arguments[count] = NULL;
    return options_parse(count, arguments, options);
}

static void bad_command_lines_are_refused(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "coffer-bench frobnicate",
        "coffer-bench engine --frobnicate",
        "coffer-bench engine --depth",
        "coffer-bench engine --depth 0",
        "coffer-bench engine --depth -1",
        "coffer-bench engine --depth 1x",
        "coffer-bench engine --depth 99999999999999999999999",
        "coffer-bench engine --threads 65",
        "coffer-bench engine --block-size 0",
        "coffer-bench engine --block-size 1000",
        "coffer-bench engine --block-size 64M",
        "coffer-bench engine --block-size 32M --depth 1024",
        "coffer-bench engine --size 100",
        "coffer-bench engine --size 4096 --threads 2",
        "coffer-bench engine --mix 101",
        "coffer-bench engine --pattern diagonal",
        "coffer-bench engine --codec zstd-20",
        "coffer-bench engine --codec gzip",
        "coffer-bench engine --fingerprint md5",
        "coffer-bench engine extra",
        "coffer-bench nbd",
        "coffer-bench nbd a b",
        "coffer-bench baseline",
    };
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        struct bench_options options;
        assert_int_not_equal(parsed(&options, lines[i]), ERROR_NONE);
    }
}

static void a_full_command_line_is_understood(void **state)
{
    (void)state;
    struct bench_options options;
    assert_int_equal(parsed(&options, "coffer-bench nbd URI --pattern random --mix 70 --block-size 8K --depth 16 "
                                      "--threads 2 --bytes 1G --fsync 32 --codec zstd-3 --fingerprint hmac-sha256"),
                     ERROR_NONE);
    assert_int_equal(options.command, BENCH_NBD);
    assert_string_equal(options.subject, "URI");
    assert_int_equal(options.pattern, PATTERN_RANDOM);
    assert_int_equal(options.read_percent, 70);
    assert_int_equal(options.block_size, 8192);
    assert_int_equal(options.bytes, 1 << 30);
    assert_int_equal(options.seconds, 0);
    assert_int_equal(options.flush_interval, 32);
    assert_int_equal(options.level, 3);
    assert_int_equal(options.fingerprint, POOL_FINGERPRINT_HMAC_SHA256);
    assert_int_equal(options_thread_depth(&options), 8);
}

static void a_batch_keeps_within_the_limits_of_the_engine(void **state)
{
    (void)state;
    struct bench_options options;
    assert_int_equal(parsed(&options, "coffer-bench engine --depth 1024 --threads 1"), ERROR_NONE);
    assert_int_equal(options_batch_requests(&options), BATCH_REQUESTS_MAX);
    assert_int_equal(parsed(&options, "coffer-bench engine --depth 32 --threads 1 --block-size 256K"), ERROR_NONE);
    assert_int_equal(options_batch_requests(&options), 4);
    assert_int_equal(parsed(&options, "coffer-bench engine --depth 2 --threads 2 --block-size 32M"), ERROR_NONE);
    assert_int_equal(options_batch_requests(&options), 1);
}

static void only_an_engine_run_with_reads_prepares_unasked(void **state)
{
    (void)state;
    struct bench_options options;
    assert_int_equal(parsed(&options, "coffer-bench nbd URI --read"), ERROR_NONE);
    assert_int_equal(options_prepare_kind(&options), PREPARE_NONE);
    assert_int_equal(parsed(&options, "coffer-bench engine --write"), ERROR_NONE);
    assert_int_equal(options_prepare_kind(&options), PREPARE_NONE);
    assert_int_equal(parsed(&options, "coffer-bench engine --read"), ERROR_NONE);
    assert_int_equal(options_prepare_kind(&options), PREPARE_SEQUENTIAL);
}

static void a_shuffle_visits_each_block_once(void **state)
{
    (void)state;
    static const uint64_t counts[] = {1, 2, 3, 5, 64, 1000, 1025};
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        uint8_t seen[1025] = {0};
        for (uint64_t index = 0; index < counts[i]; index++) {
            uint64_t place = workload_shuffle(index, counts[i], 42);
            assert_true(place < counts[i]);
            assert_int_equal(seen[place]++, 0);
        }
    }
}

struct recorder {
    uint8_t *writes; /* a count for each 4 KiB of the range; each thread meets its own blocks */
    bool fails;
    unsigned finishes;
};

static void recorder_loop(struct workload *workload)
{
    struct recorder *recorder = workload->driver;
    size_t stride;
    AUTO_FREE uint8_t *buffer = workload_buffers(workload->options, 1, &stride);
    struct operation operation = {.data = buffer};
    while (workload_next(workload, &operation)) {
        ASSERT(operation.offset + operation.length <= workload->options->size);
        if (operation.kind == OPERATION_WRITE)
            for (uint64_t block = 0; block < operation.length / 4096; block++)
                __atomic_fetch_add(&recorder->writes[operation.offset / 4096 + block], 1, __ATOMIC_RELAXED);
        workload_done(workload, &operation, recorder->fails ? ERROR_NO_SPACE : ERROR_NONE);
    }
}

static enum error recorder_finish(void *driver)
{
    struct recorder *recorder = driver;
    recorder->finishes++;
    return ERROR_NONE;
}

static const struct driver recorder_driver = {recorder_loop, recorder_finish};

static void every_block_is_written_once(const char *line)
{
    struct bench_options options;
    struct measure measure;
    uint8_t writes[256] = {0};
    struct recorder recorder = {writes, false, 0};
    assert_int_equal(parsed(&options, line), ERROR_NONE);
    assert_int_equal(workload_run(&options, 0, &recorder_driver, &recorder, &measure), ERROR_NONE);
    for (size_t i = 0; i < COUNT_OF(writes); i++)
        assert_int_equal(writes[i], 1);
    assert_int_equal(measure.bytes[OPERATION_WRITE], sizeof writes * 4096);
    assert_int_equal(measure.latencies[OPERATION_WRITE].count, measure.counts[OPERATION_WRITE]);
    assert_int_equal(recorder.finishes, 1);
}

static void sequential_threads_write_each_block_once(void **state)
{
    (void)state;
    every_block_is_written_once("coffer-bench engine --size 1M --bytes 1M --threads 2");
}

static void shuffled_threads_write_each_block_once(void **state)
{
    (void)state;
    every_block_is_written_once("coffer-bench engine --size 1M --bytes 1M --threads 2 --pattern shuffled");
}

static void random_requests_stay_within_the_range(void **state)
{
    (void)state;
    struct bench_options options;
    struct measure measure;
    uint8_t writes[25] = {0};
    struct recorder recorder = {writes, false, 0};
    assert_int_equal(
        parsed(&options, "coffer-bench engine --size 100K --bytes 1M --threads 2 --pattern random --mix 50"),
        ERROR_NONE);
    assert_int_equal(workload_run(&options, 0, &recorder_driver, &recorder, &measure), ERROR_NONE);
    assert_int_equal(measure.counts[OPERATION_READ] + measure.counts[OPERATION_WRITE], 256);
    assert_in_range(measure.counts[OPERATION_READ], 64, 192);
}

static void the_first_ranks_come_as_often_as_zipf_says(void **state)
{
    (void)state;
    struct zipf zipf;
    uint64_t counts[3] = {0}, draws = 1 << 16;
    double sum = 0;
    zipf_init(&zipf, 1000);
    for (unsigned i = 1; i <= 1000; i++)
        sum += pow(i, -0.99);
    for (uint64_t i = 0; i < draws; i++) {
        uint64_t rank = zipf_draw(&zipf, (double)i / (double)draws);
        assert_in_range(rank, 0, 999);
        if (rank < 3)
            counts[rank]++;
    }
    for (unsigned i = 0; i < 2; i++)
        assert_in_range(counts[i], (uint64_t)((double)draws / pow(i + 1, 0.99) / sum) - 2,
                        (uint64_t)((double)draws / pow(i + 1, 0.99) / sum) + 2);
    assert_true(counts[2] < counts[1] && counts[2] > counts[1] / 3);
}

static void a_range_of_one_block_has_one_rank(void **state)
{
    (void)state;
    struct zipf zipf;
    zipf_init(&zipf, 1);
    assert_int_equal(zipf_draw(&zipf, 0), 0);
    assert_int_equal(zipf_draw(&zipf, 0.999999), 0);
}

static void reads_alone_need_no_closing_flush(void **state)
{
    (void)state;
    struct bench_options options;
    struct measure measure;
    struct recorder recorder = {0};
    assert_int_equal(parsed(&options, "coffer-bench engine --read --size 1M --bytes 1M --threads 1"), ERROR_NONE);
    assert_int_equal(workload_run(&options, 0, &recorder_driver, &recorder, &measure), ERROR_NONE);
    assert_int_equal(recorder.finishes, 0);
}

static void a_flush_comes_after_every_n_writes(void **state)
{
    (void)state;
    struct bench_options options;
    struct measure measure;
    uint8_t writes[256] = {0};
    struct recorder recorder = {writes, false, 0};
    assert_int_equal(parsed(&options, "coffer-bench engine --size 1M --bytes 1M --threads 1 --fsync 32"), ERROR_NONE);
    assert_int_equal(workload_run(&options, 0, &recorder_driver, &recorder, &measure), ERROR_NONE);
    assert_int_equal(measure.counts[OPERATION_FLUSH], 7);
}

static void the_first_error_ends_a_run_and_is_told(void **state)
{
    (void)state;
    struct bench_options options;
    struct measure measure;
    uint8_t writes[256] = {0};
    struct recorder recorder = {writes, true, 0};
    assert_int_equal(parsed(&options, "coffer-bench engine --size 1M --bytes 1M --threads 2"), ERROR_NONE);
    assert_int_equal(workload_run(&options, 0, &recorder_driver, &recorder, &measure), ERROR_NO_SPACE);
    assert_int_equal(measure.counts[OPERATION_WRITE], 0);
}

static void a_setting_replaces_every_earlier_one_of_its_section_only(void **state)
{
    (void)state;
    AUTO_FREE char *changed = conf_with("; a pool\n[server]\nmemory = 1\n[pool]\nmemory = 2\nmemory-extra = 3\n"
                                        " memory=4",
                                        "memory", "5");
    assert_string_equal(changed, "; a pool\n[server]\nmemory = 1\n[pool]\nmemory = 5\nmemory-extra = 3\n");
}

static void a_setting_makes_the_section_that_it_needs(void **state)
{
    (void)state;
    AUTO_FREE char *empty = conf_with("", "memory", "5");
    AUTO_FREE char *cut = conf_with("[pool]", "memory", "5");
    assert_string_equal(empty, "\n[pool]\nmemory = 5\n");
    assert_string_equal(cut, "[pool]\nmemory = 5\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_command_lines_are_refused),
        cmocka_unit_test(a_full_command_line_is_understood),
        cmocka_unit_test(a_batch_keeps_within_the_limits_of_the_engine),
        cmocka_unit_test(only_an_engine_run_with_reads_prepares_unasked),
        cmocka_unit_test(a_shuffle_visits_each_block_once),
        cmocka_unit_test(sequential_threads_write_each_block_once),
        cmocka_unit_test(shuffled_threads_write_each_block_once),
        cmocka_unit_test(random_requests_stay_within_the_range),
        cmocka_unit_test(the_first_ranks_come_as_often_as_zipf_says),
        cmocka_unit_test(a_range_of_one_block_has_one_rank),
        cmocka_unit_test(reads_alone_need_no_closing_flush),
        cmocka_unit_test(a_flush_comes_after_every_n_writes),
        cmocka_unit_test(the_first_error_ends_a_run_and_is_told),
        cmocka_unit_test(a_setting_replaces_every_earlier_one_of_its_section_only),
        cmocka_unit_test(a_setting_makes_the_section_that_it_needs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
