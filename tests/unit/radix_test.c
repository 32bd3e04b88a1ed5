#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/order.h"
#include "base/radix.h"

#define MANY 5000

static uint64_t numbers[MANY], sorted[MANY], scratch[MANY];
static uint64_t state;

static uint64_t next(void)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return state ^ state >> 29;
}

static void assert_sorts_like_qsort(size_t count)
{
    memcpy(sorted, numbers, sizeof sorted);
    qsort(sorted, count, sizeof *sorted, number_order);
    radix_sort(numbers, scratch, count, 0);
    assert_memory_equal(numbers, sorted, sizeof sorted);
}

static void nothing_and_one_number_are_sorted(void **unused)
{
    (void)unused;
    numbers[0] = 7;
    assert_sorts_like_qsort(0);
    assert_sorts_like_qsort(1);
}

static void numbers_of_any_width_are_sorted(void **unused)
{
    (void)unused;
    for (unsigned width = 1; width <= 64; width++) {
        state = width;
        for (size_t i = 0; i < MANY; i++)
            numbers[i] = next() >> (64 - width);
        assert_sorts_like_qsort(MANY);
    }
}

static void numbers_that_differ_in_far_bits_only_are_sorted(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < MANY; i++)
        numbers[i] = (next() & UINT64_C(0x8000000000000001)) | UINT64_C(0x1234567890000);
    assert_sorts_like_qsort(MANY);
}

static void numbers_in_order_and_against_it_are_sorted(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < MANY; i++)
        numbers[i] = i;
    assert_sorts_like_qsort(MANY);
    for (size_t i = 0; i < MANY; i++)
        numbers[i] = MANY - i;
    assert_sorts_like_qsort(MANY);
}

static void what_is_equal_above_the_low_bit_stays_in_its_order(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < MANY; i++)
        numbers[i] = (next() % 50) << 40 | (MANY - i);
    radix_sort(numbers, scratch, MANY, 40);
    for (size_t i = 1; i < MANY; i++) {
        assert_true(numbers[i - 1] >> 40 <= numbers[i] >> 40);
        if (numbers[i - 1] >> 40 == numbers[i] >> 40)
            assert_true((uint32_t)numbers[i - 1] > (uint32_t)numbers[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_and_one_number_are_sorted),
        cmocka_unit_test(numbers_of_any_width_are_sorted),
        cmocka_unit_test(numbers_that_differ_in_far_bits_only_are_sorted),
        cmocka_unit_test(numbers_in_order_and_against_it_are_sorted),
        cmocka_unit_test(what_is_equal_above_the_low_bit_stays_in_its_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
