/* Moments as text: local time is that of the zone, summer time included; what no calendar has is "?". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "base/moment.h"

static char text[MOMENT_TEXT_SIZE];

static int set_up(void **state)
{
    (void)state;
    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    tzset();
    return 0;
}

static void local_time_is_that_of_the_zone(void **state)
{
    (void)state;
    assert_string_equal(moment_day(0, text), "1970-01-01");
    assert_string_equal(moment_minute(0, text), "1970-01-01 01:00");
    assert_string_equal(moment_second(1700000000, text), "2023-11-14 23:13:20");
    assert_string_equal(moment_minute(1700000000, text), "2023-11-14 23:13");
    assert_string_equal(moment_second(1720000000, text), "2024-07-03 11:46:40"); /* in summer */
    assert_string_equal(moment_day(1704063599, text), "2023-12-31");
    assert_string_equal(moment_day(1704063600, text), "2024-01-01");
}

static void utc_is_of_no_zone(void **state)
{
    (void)state;
    assert_string_equal(moment_utc(0, text), "1970-01-01T00:00:00Z");
    assert_string_equal(moment_utc(1720000000, text), "2024-07-03T09:46:40Z");
}

static void far_times_are_told_as_far_as_a_calendar_goes(void **state)
{
    (void)state;
    static const char *(*const all[])(uint64_t, char *) = {moment_day, moment_minute, moment_second, moment_utc};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        memset(text, '!', sizeof text);
        assert_string_equal(all[i](UINT64_MAX, text), "?"); /* no second before 1970 either */
        assert_string_equal(all[i](INT64_MAX, text), "?");
        assert_non_null(strstr(all[i](UINT64_C(67767976233446399), text), "2147483647-")); /* the last year: all of it has room */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(local_time_is_that_of_the_zone, set_up),
        cmocka_unit_test_setup(utc_is_of_no_zone, set_up),
        cmocka_unit_test_setup(far_times_are_told_as_far_as_a_calendar_goes, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
