#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/memory.h"

static void a_size_that_overflows_is_out_of_memory(void **state)
{
    (void)state;
    assert_null(memory_zeroed(SIZE_MAX / 2, 3));
    assert_null(memory_zeroed(1, SIZE_MAX));
    assert_null(memory_aligned(SIZE_MAX));
    assert_null(memory_aligned(SIZE_MAX - 4095));
    assert_null(memory_map(SIZE_MAX));
}

static void nothing_is_memory_as_well(void **state)
{
    (void)state;
    AUTO_FREE void *zeroed = memory_zeroed(0, 8);
    AUTO_FREE void *aligned = memory_aligned(0);
    void *map = memory_map(0);
    assert_non_null(zeroed);
    assert_non_null(aligned);
    assert_non_null(map);
    memory_unmap(map, 0);
    memory_unmap(NULL, 4096);
}

static void aligned_memory_lies_on_a_block(void **state)
{
    (void)state;
    for (size_t size = 1; size < 10000; size += 1001) {
        AUTO_FREE uint8_t *memory = memory_aligned(size);
        assert_int_equal((uintptr_t)memory % 4096, 0);
        memset(memory, 1, ROUND_UP(size, 4096));
    }
}

static void zeroed_and_mapped_memory_is_zero(void **state)
{
    (void)state;
    AUTO_FREE uint8_t *zeroed = memory_zeroed(100, 10);
    uint8_t *map = memory_map(1 << 20);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(zeroed[i] | map[i * 1000], 0);
    memory_unmap(map, 1 << 20);
}

static void cleansing_leaves_zeros_and_only_there(void **state)
{
    (void)state;
    uint8_t secret[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    memory_cleanse(secret, 7);
    assert_memory_equal(secret, ((uint8_t[8]){0, 0, 0, 0, 0, 0, 0, 8}), 8);
    memory_cleanse(NULL, 0);
}

static void comparing_sees_a_difference_at_every_place(void **state)
{
    (void)state;
    uint8_t a[33] = {0}, b[33] = {0};
    assert_int_equal(memory_compare_constant_time(a, b, 33), 0);
    for (size_t i = 0; i < 33; i++) {
        b[i] = 0x80;
        assert_int_not_equal(memory_compare_constant_time(a, b, 33), 0);
        assert_int_equal(memory_compare_constant_time(a, b, i), 0);
        b[i] = 0;
    }
}

static void one_byte_that_is_not_zero_is_found_at_every_place(void **state)
{
    (void)state;
    uint8_t bytes[37] = {0};
    assert_true(memory_is_zero(bytes, 0));
    assert_true(memory_is_zero(bytes, sizeof(bytes)));
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = 0x80;
        assert_false(memory_is_zero(bytes, sizeof(bytes)));
        assert_true(memory_is_zero(bytes, i));
        bytes[i] = 0;
    }
}

static void rounding_keeps_multiples(void **state)
{
    (void)state;
    assert_int_equal(ROUND_UP(4096, 4096), 4096);
    assert_int_equal(ROUND_UP(4097, 4096), 8192);
    assert_int_equal(ROUND_DOWN(8191, 4096), 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_size_that_overflows_is_out_of_memory),
        cmocka_unit_test(nothing_is_memory_as_well),
        cmocka_unit_test(aligned_memory_lies_on_a_block),
        cmocka_unit_test(zeroed_and_mapped_memory_is_zero),
        cmocka_unit_test(cleansing_leaves_zeros_and_only_there),
        cmocka_unit_test(comparing_sees_a_difference_at_every_place),
        cmocka_unit_test(one_byte_that_is_not_zero_is_found_at_every_place),
        cmocka_unit_test(rounding_keeps_multiples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
