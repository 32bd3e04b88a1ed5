/* Hexadecimal digits: what is none is refused, with nothing written; what is written comes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/hex.h"
#include "base/memory.h"

static void what_is_no_hexadecimal_is_refused_and_nothing_written(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "0", "00", "000", "00000", "000000", "g000", "000g", "/000", ":000", "@000", "`000", " 000",
                                        "-000", "+000", "0x00", "00 0", "000\n"};
    uint8_t bytes[3] = {1, 2, 3};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        assert_false(hex_parse(texts[i], strlen(texts[i]), bytes, 2));
        assert_false(hex_parse_typed(texts[i], strlen(texts[i]), bytes, 2));
    }
    assert_false(hex_parse("00\0000", 4, bytes, 2)); /* a zero in it */
    assert_false(hex_parse_typed("000\xff", 4, bytes, 2));
    assert_memory_equal(bytes, "\1\2\3", 3);
}

static void upper_case_is_taken_from_a_person_alone(void **state)
{
    (void)state;
    uint8_t bytes[3] = {0};
    assert_false(hex_parse("AbCdEF", 6, bytes, 3));
    assert_false(hex_parse("abcdeF", 6, bytes, 3));
    assert_true(hex_parse_typed("AbCdEF", 6, bytes, 3));
    assert_memory_equal(bytes, "\xab\xcd\xef", 3);
    assert_false(hex_parse_typed("abcdeG", 6, bytes, 3));
}

static void all_bytes_come_back(void **state)
{
    (void)state;
    uint8_t bytes[256], back[256];
    char text[HEX_TEXT_SIZE(sizeof bytes) + 1];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    memset(text, '!', sizeof text);
    hex_format(bytes, sizeof bytes, text);
    assert_int_equal(strlen(text), 512);
    assert_int_equal(text[513], '!');
    assert_memory_equal(text, "000102030405060708090a0b0c0d0e0f10", 34);
    assert_true(hex_parse(text, 512, back, sizeof back));
    assert_memory_equal(back, bytes, sizeof bytes);
}

static void nothing_is_no_digits(void **state)
{
    (void)state;
    char text[2] = "!!";
    hex_format("", 0, text);
    assert_string_equal(text, "");
    assert_true(hex_parse("", 0, text, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_hexadecimal_is_refused_and_nothing_written),
        cmocka_unit_test(upper_case_is_taken_from_a_person_alone),
        cmocka_unit_test(all_bytes_come_back),
        cmocka_unit_test(nothing_is_no_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
