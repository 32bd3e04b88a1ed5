/* The word in the messages that writers find no space. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/nbd/no_space.h"

static void it_is_told_once_for_all_that_fail_in_ten_minutes(void **state)
{
    (void)state;
    assert_true(no_space_tell(7 * CLOCK_SECOND));
    assert_false(no_space_tell(7 * CLOCK_SECOND));
    assert_false(no_space_tell(7 * CLOCK_SECOND + NO_SPACE_PAUSE - 1));
    assert_true(no_space_tell(7 * CLOCK_SECOND + NO_SPACE_PAUSE));
    assert_false(no_space_tell(7 * CLOCK_SECOND + NO_SPACE_PAUSE + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_told_once_for_all_that_fail_in_ten_minutes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
