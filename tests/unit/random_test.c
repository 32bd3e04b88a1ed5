#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/random.h"

static void no_bytes_are_written_beyond_the_size(void **state)
{
    (void)state;
    uint8_t bytes[16] = {0};
    random_bytes(bytes, 0);
    random_bytes(bytes, 8);
    assert_memory_equal(bytes + 8, ((uint8_t[8]){0}), 8);
}

static void large_requests_are_filled_to_the_end(void **state)
{
    (void)state;
    static uint8_t bytes[1 << 20];
    random_bytes(bytes, sizeof bytes);
    uint8_t any = 0;
    for (size_t i = sizeof bytes - 32; i < sizeof bytes; i++)
        any |= bytes[i];
    assert_int_not_equal(any, 0);
}

static void two_numbers_differ(void **state)
{
    (void)state;
    assert_true(random_u64() != random_u64());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_bytes_are_written_beyond_the_size),
        cmocka_unit_test(large_requests_are_filled_to_the_end),
        cmocka_unit_test(two_numbers_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
