/* Suggestions for mistyped words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/suggest.h"

static const char *const words[] = {"status", "object", "trash", "unlock", "lock", "help"};

static const char *near(const char *word)
{
    return suggest(word, words, COUNT_OF(words));
}

static void nothing_is_near_to_something_else(void **state)
{
    (void)state;
    assert_null(near("frobnicate"));
    assert_null(near(""));
    assert_null(near("x"));
    assert_null(suggest("status", words, 0));
}

static void a_word_without_end_is_near_to_nothing(void **state)
{
    (void)state;
    char word[5000];
    memset(word, 's', sizeof(word) - 1);
    word[sizeof(word) - 1] = '\0';
    assert_null(near(word));
    assert_int_equal(suggest_distance(word, "s"), SIZE_MAX);
}

static void slips_of_a_finger_are_understood(void **state)
{
    (void)state;
    assert_string_equal(near("stauts"), "status");
    assert_string_equal(near("objetc"), "object");
    assert_string_equal(near("objects"), "object");
    assert_string_equal(near("hlep"), "help");
    assert_string_equal(near("unlok"), "unlock");
}

static void a_beginning_is_enough(void **state)
{
    (void)state;
    assert_string_equal(near("st"), "status");
    assert_string_equal(near("tr"), "trash");
}

static void capitals_are_no_slips(void **state)
{
    (void)state;
    assert_string_equal(near("STATUS"), "status");
    assert_string_equal(near("Stauts"), "status");
    assert_string_equal(near("UN"), "unlock");
    assert_string_equal(suggest("disk1", (const char *const[]){"backup", "DISK1"}, 2), "DISK1");
    assert_int_equal(suggest_distance("aBcD", "AbDc"), 1);
    assert_int_equal(suggest_distance("\xc3\x84", "\xc3\xa4"), 1); /* ASCII only */
    assert_null(near("FROBNICATE"));
}

static void distance_counts_swaps_once(void **state)
{
    (void)state;
    assert_int_equal(suggest_distance("", ""), 0);
    assert_int_equal(suggest_distance("abc", ""), 3);
    assert_int_equal(suggest_distance("abcd", "abdc"), 1);
    assert_int_equal(suggest_distance("kitten", "sitting"), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_near_to_something_else),
        cmocka_unit_test(a_word_without_end_is_near_to_nothing),
        cmocka_unit_test(slips_of_a_finger_are_understood),
        cmocka_unit_test(a_beginning_is_enough),
        cmocka_unit_test(capitals_are_no_slips),
        cmocka_unit_test(distance_counts_swaps_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
