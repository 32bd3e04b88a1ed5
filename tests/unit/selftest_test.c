#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "crypto/selftest.h"

static void this_machine_gives_the_known_answers_each_time(void **state)
{
    (void)state;
    assert_int_equal(crypto_selftest(), ERROR_NONE);
    assert_int_equal(crypto_selftest(), ERROR_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(this_machine_gives_the_known_answers_each_time)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
