/* Figures and words for people. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/shell.h"
#include "tools/text.h"

static void assert_shell(const char *word, const char *wanted)
{
    char *quoted = shell_quote(word);
    assert_string_equal(quoted, wanted);
    free(quoted);
}

static void assert_wrapped(const char *text, size_t width, size_t indent, const char *wanted)
{
    char *wrapped = text_wrap(text, width, indent);
    assert_string_equal(wrapped, wanted);
    free(wrapped);
}

static void lines_break_between_words(void **state)
{
    (void)state;
    assert_wrapped("", 5, 2, "");
    assert_wrapped("a bc def", 0, 2, "a bc def");
    assert_wrapped("a bc def", 4, 0, "a bc\ndef");
    assert_wrapped("a bc def", 3, 2, "a\n  bc\n  def");
    assert_wrapped("unbreakable a", 4, 0, "unbreakable\na");
    assert_wrapped("\u00e4\u00e4 \u00e4", 4, 0, "\u00e4\u00e4 \u00e4"); /* characters count, not bytes */
    assert_wrapped("a  b", 10, 0, "a  b");
}

static void a_shell_word_cannot_break_out(void **state)
{
    (void)state;
    assert_shell("", "''");
    assert_shell("a b", "'a b'");
    assert_shell("$(reboot)", "'$(reboot)'");
    assert_shell("it's", "'it'\\''s'");
    assert_shell("''''", "''\\'''\\'''\\'''\\'''");
    assert_shell("a\nb;c", "'a\nb;c'");
    assert_shell("~root", "'~root'");
}

static void plain_words_stay_plain(void **state)
{
    (void)state;
    assert_shell("/srv/pool-1.2_x", "/srv/pool-1.2_x");
}

static void figures_of_nothing_are_a_dash(void **state)
{
    (void)state;
    char text[TEXT_SIZE];
    assert_string_equal(text_time(0, text), "-");
    assert_string_equal(text_percent(1, 0, text), "-");
    assert_string_equal(text_factor(7, 0, text), "-");
}

static void impossible_times_do_not_fail(void **state)
{
    (void)state;
    char text[TEXT_SIZE];
    assert_string_equal(text_time(UINT64_MAX / 2, text), "-");
    assert_string_equal(text_until(100, 50, text), "0 s");
}

static void figures_are_rounded_for_people(void **state)
{
    (void)state;
    char text[TEXT_SIZE];
    setenv("TZ", "UTC", 1);
    tzset();
    assert_string_equal(text_time(1700000000, text), "2023-11-14 22:13");
    assert_string_equal(text_percent(-1, 8, text), "-12.5 %");
    assert_string_equal(text_factor(274, 100, text), "2.74x");
    assert_string_equal(text_until(0, 7 * 86400 - 2, text), "7 d");
    assert_string_equal(text_until(0, 5 * 3600 + 60, text), "5 h");
    assert_string_equal(text_until(0, 90, text), "2 min");
}

static void a_name_from_outside_shows_what_cannot_be_seen(void **state)
{
    (void)state;
    char text[64], small[16];
    assert_string_equal(text_name("disk \u00e9", text, sizeof text), "disk \u00e9");
    assert_string_equal(text_name("a\u202egnp.\u2066b", text, sizeof text), "a<U+202E>gnp.<U+2066>b");
    assert_string_equal(text_name("di\u200dsk", text, sizeof text), "di<U+200D>sk");
    assert_string_equal(text_name("\u65e5\u200d\u672c", text, sizeof text), "\u65e5<U+200D>\u672c");
    assert_string_equal(text_name("x\ufe0f\u200d\U0001f308", text, sizeof text), "x<U+FE0F><U+200D>\U0001f308");
    assert_string_equal(text_name("\u0645\u200c\u062e", text, sizeof text), "\u0645\u200c\u062e");
    assert_string_equal(text_name("abcdefghijklmnop", small, sizeof small), "abcdef");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_break_between_words),
        cmocka_unit_test(a_shell_word_cannot_break_out),  cmocka_unit_test(plain_words_stay_plain),
        cmocka_unit_test(figures_of_nothing_are_a_dash),  cmocka_unit_test(impossible_times_do_not_fail),
        cmocka_unit_test(figures_are_rounded_for_people),
        cmocka_unit_test(a_name_from_outside_shows_what_cannot_be_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
