/* Names of objects: what may not be shown, stored or exported is refused, whatever its bytes; the rest is a name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/memory.h"
#include "engine/coffer.h"
#include "engine/pool/name.h"

static void assert_bad(const char *name, const char *words)
{
    error_forget();
    enum error error = object_name_check(name);
    assert_int_equal(error, ERROR_INVALID);
    if (strstr(error_sentence(error), words) == NULL)
        fail_msg("\"%s\" is not in: %s", words, error_sentence(error));
}

static void an_empty_name_is_none(void **context)
{
    (void)context;
    assert_bad("", "empty");
}

static void a_name_of_256_bytes_is_too_long(void **context)
{
    char name[OBJECT_NAME_MAX + 2] = {0};
    (void)context;
    memset(name, 'n', OBJECT_NAME_MAX);
    assert_int_equal(object_name_check(name), ERROR_NONE);
    name[OBJECT_NAME_MAX] = 'n';
    assert_bad(name, "255");
}

static void at_and_slash_are_kept_for_snapshots_and_paths(void **context)
{
    (void)context;
    assert_bad("disk@monday", "'@'");
    assert_bad("a/b", "'/'");
    assert_bad("/", "'/'");
}

static void control_characters_of_either_range_are_refused(void **context)
{
    static const char *const names[] = {"\x01", "a\nb", "tab\t", "\x1b[2J", "\x7f", "\xc2\x80", "x\xc2\x9f"};
    (void)context;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_bad(names[i], "control");
}

static void assert_bad_only_as_new(const char *name)
{
    assert_int_equal(object_name_check(name), ERROR_NONE);
    error_forget();
    assert_int_equal(object_name_check_new(name), ERROR_INVALID);
    assert_non_null(strstr(error_sentence(ERROR_INVALID), "cannot be seen"));
}

/* Names of older pools may hold them. */
static void what_cannot_be_seen_or_turns_the_text_around_is_refused_in_a_new_name(void **context)
{
    static const char *const names[] = {
        "\u202ebkcab", "disk\u202a",  "disk\u2066x", "a\u2069",    "\u200f",       "a\u200e",
        "a\u061c",     "disk\u200b1", "a\u00ad",     "\ufeffdisk", "a\u2028b",     "a\u2060",
        "\u3164",      "a\ufe0f",     "a\u180e",     "di\u200dsk",  "di\u200csk",   "\u200d\u0645",
        "\u0645\u200c", "\u0645\u200d\u200d\u0645", "\u0645\u200dx", "x\u200d\u0645", "\ufe0f\u2764", "\u2764\ufe0f\ufe0fx",     "a\uffa0",    "a\U000e0041b",
        "\u65e5\u200d\u672c",         /* Han */
        "\u65e5\u200c\u672c",
        "\u65e5\ufe0f",
        "\u65e5\u672c\ufe0fx",
        "\u1ebf\u200c\u1ebf",         /* Vietnamese */
        "\u304b\u200d\u306a",         /* kana */
        "\u30ab\u200c\u30ca",
        "\uac00\u200d\ub098",         /* Hangul */
        "\uac00\ufe0f",
        "\u05d0\u200d\u05d1",         /* Hebrew */
        "\u0e01\u200c\u0e02",         /* Thai */
        "\u0661\u200c\u0662",         /* digits of Arabic, Persian, Devanagari, Sinhala, Myanmar and Khmer */
        "\u06f1\u200d\u06f2",
        "\u0967\u200d\u0968",
        "\u0de6\u200c\u0de7",
        "\u1041\u200d\u1042",
        "\u17e1\u200c\u17e2",
        "\u0964\u200d\u0964",         /* dandas */
        "\u0645\u200c\u65e5",         /* with one of these letters only */
        "\u65e5\u200d\u0915",
        "\u0645\ufe0f",
        "\U0001f4be\u200c\U0001f4be", /* emoji are not parted */
        "\u2764\u200dx",
        "x\u200d\u2764",
        "\u2764\ufe0f\u200d",
        "\u2764\ufe0f\u200dx",
        "\u2764\u200d\ufe0f",
        "\u2764\u200d\u200d\u2764",
        "\u2764\ufe0f\ufe0f",
        "\ufe0f",
        "1\ufe0f",
    };
    (void)context;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_bad_only_as_new(names[i]);
}

static void whatever_is_not_utf_8_is_refused(void **context)
{
    static const char *const names[] = {
        "\x80",             /* continues nothing */
        "\xc3",             /* cut off */
        "\xe2\x82",         /* cut off */
        "\xf0\x9f\x98",     /* cut off */
        "\xc0\xaf",         /* '/' in two bytes */
        "\xe0\x80\xaf",     /* '/' in three */
        "\xf0\x80\x80\xaf", /* '/' in four */
        "\xc1\xbf",         /* 0x7f in two */
        "\xed\xa0\x80",     /* a surrogate */
        "\xf4\x90\x80\x80", /* beyond Unicode */
        "\xf8\x88\x80\x80\x80",
        "\xff",
        "a\xc3(",
    };
    (void)context;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_bad(names[i], "UTF-8");
}

static void a_bad_name_is_not_repeated_in_the_sentence(void **context)
{
    (void)context;
    enum error error = object_name_check("evil\x1b[31m");
    assert_null(strstr(error_sentence(error), "evil"));
}

static void names_in_any_script_are_names(void **context)
{
    static const char *const names[] = {"a",
                                        "disk-1",
                                        "my disk",
                                        "größe",
                                        "диск",
                                        "磁盘",
                                        "\xf0\x9f\x92\xbe",
                                        "\xc2\xa0",
                                        "\xed\x9f\xbf",
                                        "\xef\xbf\xbd",
                                        "\xf4\x8f\xbf\xbf",
                                        ".",
                                        "..",
                                        "-x",
                                        "x:y",
                                        "100%",
                                        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", /* Persian */
                                        "\u0915\u094d\u200d\u0937",                         /* Devanagari */
                                        "\u0d9a\u0dca\u200d\u0dbb",                         /* Sinhala */
                                        "\u0712\u200d\u0712",                               /* Syriac */
                                        "\u08a0\u200c\u08a0",                               /* Arabic, extended */
                                        "\u1780\u17d2\u200d\u1781",                         /* Khmer */
                                        "\u1000\u1039\u200d\u1001",                         /* Myanmar */
                                        "\u1820\u200d\u1821",                               /* Mongolian */
                                        "\u2764\ufe0f 1",
                                        "\u2764\ufe0f",
                                        "\u2764\ufe0fx",
                                        "\U0001f4be\ufe0f",
                                        "\U0001f469\u200d\U0001f680",
                                        "\U0001f469\U0001f3fd\u200d\u2695\ufe0f",
                                        "\u65e5\u672c",
                                        "\U0001f3f3\ufe0f\u200d\U0001f308"};
    (void)context;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_int_equal(object_name_check_new(names[i]), ERROR_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_name_is_none),
        cmocka_unit_test(a_name_of_256_bytes_is_too_long),
        cmocka_unit_test(at_and_slash_are_kept_for_snapshots_and_paths),
        cmocka_unit_test(control_characters_of_either_range_are_refused),
        cmocka_unit_test(what_cannot_be_seen_or_turns_the_text_around_is_refused_in_a_new_name),
        cmocka_unit_test(whatever_is_not_utf_8_is_refused),
        cmocka_unit_test(a_bad_name_is_not_repeated_in_the_sentence),
        cmocka_unit_test(names_in_any_script_are_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
