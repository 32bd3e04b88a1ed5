#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/endian.h"

static void disk_integers_begin_with_their_lowest_byte(void **state)
{
    (void)state;
    assert_memory_equal(le16_make(0x0102).bytes, "\x02\x01", 2);
    assert_memory_equal(le32_make(0x01020304).bytes, "\x04\x03\x02\x01", 4);
    assert_memory_equal(le40_make(UINT64_C(0x0102030405)).bytes, "\x05\x04\x03\x02\x01", 5);
    assert_memory_equal(le64_make(UINT64_C(0x0102030405060708)).bytes, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
}

static void wire_integers_begin_with_their_highest_byte(void **state)
{
    (void)state;
    assert_memory_equal(be16_make(0x0102).bytes, "\x01\x02", 2);
    assert_memory_equal(be32_make(0x01020304).bytes, "\x01\x02\x03\x04", 4);
    assert_memory_equal(be64_make(UINT64_C(0x0102030405060708)).bytes, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
}

static void what_was_made_is_got_up_to_the_largest(void **state)
{
    (void)state;
    assert_true(le16_get(le16_make(UINT16_MAX - 1)) == UINT16_MAX - 1);
    assert_true(le32_get(le32_make(UINT32_MAX - 1)) == UINT32_MAX - 1);
    assert_true(le40_get(le40_make((UINT64_C(1) << 40) - 2)) == (UINT64_C(1) << 40) - 2);
    assert_true(le64_get(le64_make(UINT64_MAX - 1)) == UINT64_MAX - 1);
    assert_true(be16_get(be16_make(UINT16_MAX - 1)) == UINT16_MAX - 1);
    assert_true(be32_get(be32_make(UINT32_MAX - 1)) == UINT32_MAX - 1);
    assert_true(be64_get(be64_make(UINT64_MAX - 1)) == UINT64_MAX - 1);
}

static void structs_of_them_have_no_padding(void **state)
{
    (void)state;
    struct record {
        le16 a;
        le40 b;
        le64 c;
        be32 d;
    };
    assert_int_equal(sizeof(struct record), 19);
    assert_int_equal(_Alignof(struct record), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disk_integers_begin_with_their_lowest_byte),
        cmocka_unit_test(wire_integers_begin_with_their_highest_byte),
        cmocka_unit_test(what_was_made_is_got_up_to_the_largest),
        cmocka_unit_test(structs_of_them_have_no_padding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
