#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"

static void monotonic_time_never_goes_back(void **state)
{
    (void)state;
    uint64_t before = clock_monotonic();
    for (int i = 0; i < 1000; i++) {
        uint64_t now = clock_monotonic();
        assert_true(now >= before);
        before = now;
    }
}

static void a_sleep_lasts_at_least_as_long_as_asked(void **state)
{
    (void)state;
    uint64_t before = clock_monotonic();
    clock_sleep(2 * CLOCK_MILLISECOND);
    assert_true(clock_monotonic() - before >= 2 * CLOCK_MILLISECOND);
}

static void a_sleep_of_nothing_returns(void **state)
{
    (void)state;
    clock_sleep(0);
}

static void real_time_is_after_this_was_written(void **state)
{
    (void)state;
    assert_true(clock_seconds() > 1700000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(monotonic_time_never_goes_back),
        cmocka_unit_test(a_sleep_lasts_at_least_as_long_as_asked),
        cmocka_unit_test(a_sleep_of_nothing_returns),
        cmocka_unit_test(real_time_is_after_this_was_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
