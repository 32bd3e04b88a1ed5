#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/memory.h"
#include "base/size.h"

static void what_is_no_size_is_refused_and_nothing_written(void **state)
{
    (void)state;
    static const char *const texts[] = {"",     " ",    "-1",  "+1",  "x",      "G",   "1X",   "1 G",  " 1",
                                        "1G ",  "1GG",  "1iB", "1Gi", "1.G",    ".5G", "1.5",  "0x10", "1e3",
                                        "1,5G", "1.5B", "1\n", "1Ki", "1.2.3K", "1K1", "1GiBx"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        uint64_t bytes = 42;
        assert_int_equal(size_parse(texts[i], &bytes), ERROR_INVALID);
        assert_true(bytes == 42);
    }
    assert_non_null(strstr(error_sentence(ERROR_INVALID), "\"1GiBx\" is not a size"));
}

static void a_size_beyond_64_bits_is_too_large(void **state)
{
    (void)state;
    static const char *const texts[] = {"18446744073709551616", "16384P", "99999999999999999999999999G",
                                        "18014398509481984K"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        uint64_t bytes = 42;
        assert_int_equal(size_parse(texts[i], &bytes), ERROR_TOO_LARGE);
        assert_true(bytes == 42);
    }
}

static void expect_size(const char *text, uint64_t expected)
{
    uint64_t bytes = ~expected;
    assert_int_equal(size_parse(text, &bytes), ERROR_NONE);
    assert_true(bytes == expected);
}

static void sizes_are_powers_of_1024(void **state)
{
    (void)state;
    expect_size("0", 0);
    expect_size("4096", 4096);
    expect_size("512B", 512);
    expect_size("1K", 1024);
    expect_size("20G", UINT64_C(20) << 30);
    expect_size("20g", UINT64_C(20) << 30);
    expect_size("512MB", UINT64_C(512) << 20);
    expect_size("64TiB", UINT64_C(64) << 40);
    expect_size("1.5G", UINT64_C(3) << 29);
    expect_size("0.25K", 256);
    expect_size("16383P", UINT64_C(16383) << 50);
    expect_size("18446744073709551615", UINT64_MAX);
}

static void what_is_no_duration_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "d", "7 d", "7D", "7days", "-1s", "1.5", "1h30m"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        uint64_t seconds = 42;
        assert_int_equal(duration_parse(texts[i], &seconds), ERROR_INVALID);
        assert_true(seconds == 42);
    }
    uint64_t seconds;
    assert_int_equal(duration_parse("99999999999999999w", &seconds), ERROR_TOO_LARGE);
}

static void durations_are_seconds(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t seconds;
    } cases[] = {{"0", 0}, {"90", 90}, {"30s", 30}, {"90m", 5400}, {"1.5h", 5400}, {"7d", 604800}, {"2w", 1209600}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint64_t seconds = 0;
        assert_int_equal(duration_parse(cases[i].text, &seconds), ERROR_NONE);
        assert_true(seconds == cases[i].seconds);
    }
}

static void a_period_may_be_off(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t seconds;
        const char *written;
    } cases[] = {{"off", 0, "off"},        {"OFF", 0, "off"},      {"0", 0, "off"},       {"0d", 0, "off"},
                 {"1h", 3600, "1 hour"},   {"36h", 129600, "36 hours"}, {"1d", 86400, "1 day"}, {"52w", 31449600, "364 days"},
                 {"90m", 5400, "1 h 30 m"}};
    char text[48];
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint64_t seconds = 42;
        assert_int_equal(period_parse(cases[i].text, &seconds), ERROR_NONE);
        assert_true(seconds == cases[i].seconds);
        assert_string_equal(period_format(seconds, text, sizeof text), cases[i].written);
    }
    static const char *const bad[] = {"7", "1.5", "", "of", "offs", "on", "no"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        uint64_t seconds = 42;
        assert_int_equal(period_parse(bad[i], &seconds), ERROR_INVALID);
        assert_true(seconds == 42);
    }
    assert_true(strlen(period_format(UINT64_MAX, text, sizeof text)) > 0);
}

static void sizes_are_written_with_three_digits(void **state)
{
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {{0, "0 B"},
                 {1023, "1023 B"},
                 {1024, "1 KiB"},
                 {1536, "1.5 KiB"},
                 {1023 << 10, "0.999 MiB"},
                 {999 << 10, "999 KiB"},
                 {UINT64_C(3) << 29, "1.5 GiB"},
                 {UINT64_C(12345) << 20, "12.1 GiB"},
                 {UINT64_MAX, "16 EiB"}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[32];
        assert_string_equal(size_format(cases[i].bytes, text, sizeof text), cases[i].text);
    }
}

static void durations_are_written_with_two_units(void **state)
{
    (void)state;
    static const struct {
        uint64_t nanoseconds;
        const char *text;
    } cases[] = {{0, "0 ns"},
                 {12500, "12.5 us"},
                 {UINT64_C(999999999), "1 s"},
                 {UINT64_C(12500000000), "12.5 s"},
                 {UINT64_C(59970000000), "1 m"},
                 {UINT64_C(60000000000), "1 m"},
                 {UINT64_C(125000000000), "2 m 5 s"},
                 {UINT64_C(3600000000000), "1 h"},
                 {UINT64_C(276000000000000), "3 d 4 h"}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[32];
        assert_string_equal(duration_format(cases[i].nanoseconds, text, sizeof text), cases[i].text);
    }
}

static void a_short_buffer_is_not_overrun(void **state)
{
    (void)state;
    char text[8] = "1234567";
    size_format(UINT64_C(12345) << 20, text, 5);
    assert_string_equal(text, "12.1");
    assert_int_equal(text[5], '6');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_size_is_refused_and_nothing_written),
        cmocka_unit_test(a_size_beyond_64_bits_is_too_large),
        cmocka_unit_test(sizes_are_powers_of_1024),
        cmocka_unit_test(what_is_no_duration_is_refused),
        cmocka_unit_test(durations_are_seconds),
        cmocka_unit_test(a_period_may_be_off),
        cmocka_unit_test(sizes_are_written_with_three_digits),
        cmocka_unit_test(durations_are_written_with_two_units),
        cmocka_unit_test(a_short_buffer_is_not_overrun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
