#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "base/utf8.h"

static void what_is_no_character_is_none(void **state)
{
    static const char *const texts[] = {"\x80",         "\xc3",         "\xe2\x82",         "\xf0\x9f\x98",
                                        "\xc0\xaf",     "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xed\xa0\x80",
                                        "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xff"};
    uint32_t code;
    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        assert_int_equal(utf8_decode(texts[i], &code), 0);
        assert_false(utf8_is_printable(texts[i]));
    }
}

static void control_characters_are_not_shown(void **state)
{
    static const char *const texts[] = {"a\x1b[2J", "\x7f", "line\n", "x\xc2\x80", "\xc2\x9f"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        assert_false(utf8_is_printable(texts[i]));
    assert_true(utf8_is_printable("") && utf8_is_printable("a \xc2\xa0 \xe2\x82\xac \xf0\x9f\x98\x80"));
}

static void characters_have_their_code_points(void **state)
{
    static const struct { const char *text; size_t size; uint32_t code; } characters[] = {
        {"a", 1, 0x61}, {"\xc2\x80", 2, 0x80}, {"\xe2\x82\xac", 3, 0x20ac}, {"\xf4\x8f\xbf\xbf", 4, 0x10ffff}};
    uint32_t code;
    (void)state;
    for (size_t i = 0; i < COUNT_OF(characters); i++) {
        assert_int_equal(utf8_decode(characters[i].text, &code), characters[i].size);
        assert_int_equal(code, characters[i].code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_character_is_none),
        cmocka_unit_test(control_characters_are_not_shown),
        cmocka_unit_test(characters_have_their_code_points),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
