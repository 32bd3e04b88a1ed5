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

/* What runs at a start is named, and each of it is run. */
static void every_algorithm_names_its_publication(void **state)
{
    (void)state;
    size_t count, answers = 0;
    const struct selftest_row *rows = crypto_selftest_rows(&count);
    for (size_t i = 0; i < count; i++) {
        assert_true(rows[i].use[0] != '\0' && rows[i].algorithm[0] != '\0' && rows[i].publication[0] != '\0');
        if (rows[i].run == NULL)
            continue;
        assert_int_equal(rows[i].run(), ERROR_NONE);
        answers++;
    }
    assert_int_equal(answers, 6);
    assert_int_equal(crypto_selftest_all(), ERROR_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(this_machine_gives_the_known_answers_each_time),
                                       cmocka_unit_test(every_algorithm_names_its_publication)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
