/* Varints over bounded memory: what is cut off, too long or too large is told, and nothing beyond the end is touched.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "base/random.h"
#include "base/varint.h"

static const uint64_t numbers[] = {0,          1,          0x7f,       0x80,           0x3fff,     0x4000,
                                   UINT32_MAX, 1ull << 56, 1ull << 63, UINT64_MAX - 1, UINT64_MAX, 300};

static void a_number_that_is_cut_off_is_an_overrun(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        uint8_t bytes[VARINT_BYTES_MAX];
        struct byte_writer out = {bytes, bytes + sizeof bytes, false};
        write_varint(&out, numbers[i]);
        for (const uint8_t *end = bytes; end < out.next; end++) {
            struct byte_reader in = {bytes, end, false};
            assert_int_equal(read_varint(&in), 0);
            assert_true(in.overrun && in.next == end);
        }
    }
}

static void a_number_above_64_bits_is_an_overrun(void **state)
{
    (void)state;
    uint8_t large[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2};
    uint8_t endless[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0x80, 0};
    struct byte_reader a = {large, large + sizeof large, false}, b = {endless, endless + sizeof endless, false};
    assert_int_equal(read_varint(&a), 0);
    assert_int_equal(read_varint(&b), 0);
    assert_true(a.overrun && b.overrun);
}

static void an_overrun_stays(void **state)
{
    (void)state;
    uint8_t bytes[] = {1, 2, 3};
    struct byte_reader in = {bytes, bytes + sizeof bytes, false};
    assert_null(read_bytes(&in, 4));
    assert_true(in.overrun);
    assert_int_equal(read_varint(&in), 0);
    assert_int_equal(read_byte(&in), 0);
    assert_true(in.overrun);
}

static void what_does_not_fit_is_an_overflow(void **state)
{
    (void)state;
    uint8_t bytes[4] = {9, 9, 9, 9};
    struct byte_writer out = {bytes, bytes + 2, false};
    write_bytes(&out, "abc", 3);
    assert_true(out.overflow && out.next == bytes && bytes[0] == 9);
    out.overflow = false;
    write_varint(&out, UINT32_MAX);
    assert_true(out.overflow && bytes[2] == 9);
}

static void numbers_come_back_in_at_most_ten_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        uint8_t bytes[VARINT_BYTES_MAX];
        struct byte_writer out = {bytes, bytes + sizeof bytes, false};
        write_varint(&out, numbers[i]);
        assert_false(out.overflow);
        struct byte_reader in = {bytes, out.next, false};
        assert_true(read_varint(&in) == numbers[i] && !in.overrun && in.next == in.end);
    }
}

static void zigzag_keeps_small_differences_small(void **state)
{
    (void)state;
    const int64_t differences[] = {0, -1, 1, -2, 63, -64, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < COUNT_OF(differences); i++)
        assert_true(zigzag_decode(zigzag_encode(differences[i])) == differences[i]);
    assert_true(zigzag_encode(-1) == 1 && zigzag_encode(1) == 2 && zigzag_encode(-64) == 127);
}

static void random_bytes_never_lead_beyond_their_end(void **state)
{
    (void)state;
    for (int round = 0; round < 2000; round++) {
        uint8_t bytes[16];
        random_bytes(bytes, sizeof bytes);
        struct byte_reader in = {bytes, bytes + round % (int)sizeof bytes, false};
        while (!in.overrun && in.next < in.end)
            (void)read_varint(&in);
        assert_true(in.next <= in.end);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_number_that_is_cut_off_is_an_overrun),
        cmocka_unit_test(a_number_above_64_bits_is_an_overrun),
        cmocka_unit_test(an_overrun_stays),
        cmocka_unit_test(what_does_not_fit_is_an_overflow),
        cmocka_unit_test(numbers_come_back_in_at_most_ten_bytes),
        cmocka_unit_test(zigzag_keeps_small_differences_small),
        cmocka_unit_test(random_bytes_never_lead_beyond_their_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
