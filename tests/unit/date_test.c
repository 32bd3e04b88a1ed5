/* Dates that are typed: what is none is refused, what is one means that moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/memory.h"
#include "tools/date.h"

#define NOW UINT64_C(1700000000) /* 2023-11-14T22:13:20Z */

static int set_up(void **state)
{
    (void)state;
    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    tzset();
    return 0;
}

static void assert_no_date(const char *text, const char *part)
{
    uint64_t seconds = 17;
    if (date_parse(text, NOW, &seconds) != ERROR_INVALID)
        fail_msg("'%s' was taken for a date", text);
    if (strstr(error_sentence(ERROR_INVALID), part) == NULL)
        fail_msg("'%s' is not in: %s", part, error_sentence(ERROR_INVALID));
    assert_int_equal(seconds, 17);
}

static void assert_date(const char *text, uint64_t expected)
{
    uint64_t seconds = 0;
    if (date_parse(text, NOW, &seconds) != ERROR_NONE)
        fail_msg("%s", error_sentence(ERROR_INVALID));
    assert_int_equal(seconds, expected);
}

static void what_is_no_date_is_refused(void **state)
{
    static const char *const none[] = {"",
                                       "soon",
                                       "2030",
                                       "+2030",
                                       "1893456000",
                                       "2030-02-31",
                                       "2030-13-01",
                                       "2030-00-10",
                                       "2030-1-1",
                                       " 2030-01-01",
                                       "2030-01-01 ",
                                       "2030-01-01 24:00",
                                       "2030-01-01 12:60",
                                       "2030-01-01 12:00:60",
                                       "2030-01-01T12",
                                       "2030-01-01 12:00 CET",
                                       "31.12.2030",
                                       "2030/12/31",
                                       "+30",
                                       "+-30d",
                                       "++30d",
                                       "+30y",
                                       "-30d",
                                       "Z",
                                       " UTC",
                                       "+99999999999999999999d"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(none); i++)
        assert_no_date(none[i], "is no date: write 2030-12-31");
}

static void what_is_past_is_refused(void **state)
{
    (void)state;
    assert_no_date("2023-11-14", "is past");
    assert_no_date("2023-11-14T22:13:20Z", "is past");
    assert_no_date("0001-01-01", "is no date");
    assert_no_date("+0s", "is past");
}

static void dates_mean_their_moment(void **state)
{
    (void)state;
    assert_date("2030-01-01", 1893452400);
    assert_date("2030-01-01 00:00", 1893452400);
    assert_date("2030-01-01T00:00:05", 1893452405);
    assert_date("2030-07-01 00:00:00", 1909087200);
    assert_date("2030-01-01Z", 1893456000);
    assert_date("2030-01-01T00:00Z", 1893456000);
    assert_date("2030-01-01 00:00:00 UTC", 1893456000);
    assert_date("2028-02-29", 1835391600);
    assert_date("2023-11-14T22:13:21Z", NOW + 1);
}

static void times_from_now_need_their_unit(void **state)
{
    (void)state;
    assert_date("+30d", NOW + 30 * 86400);
    assert_date("30d", NOW + 30 * 86400);
    assert_date("+1.5h", NOW + 5400);
    assert_date("2w", NOW + 14 * 86400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_date_is_refused),
        cmocka_unit_test(what_is_past_is_refused),
        cmocka_unit_test(dates_mean_their_moment),
        cmocka_unit_test(times_from_now_need_their_unit),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
