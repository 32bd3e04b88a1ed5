#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/group/patience.h"

/* A group without devices: there is none that reads nothing at all. */
static struct group group;

static const enum error *answers;
static size_t asked, answers_count;

static enum error answer(struct group *asked_group, void *context)
{
    assert_ptr_equal(asked_group, &group);
    assert_ptr_equal(context, &asked);
    assert_true(asked < answers_count);
    return answers[asked++];
}

static enum error read_answers(const enum error *these, size_t count)
{
    uint64_t waited = 20 * CLOCK_SECOND; /* all is waited that may be */
    answers = these;
    answers_count = count;
    asked = 0;
    enum error error = read_patiently(&group, &(struct attempt){answer, &asked}, &waited);
    assert_int_equal(asked, answers_count);
    return error;
}

static void what_is_damaged_is_given_up_after_three_reads(void **unused)
{
    static const enum error these[] = {ERROR_CORRUPT, ERROR_CORRUPT, ERROR_CORRUPT};
    (void)unused;
    assert_int_equal(read_answers(these, COUNT_OF(these)), ERROR_CORRUPT);
}

/* A device gave the bytes of another place twice in a row, and a leaf was given up that stood there whole (simulator,
 * seed 67000025 of 8e86081). */
static void what_was_misread_twice_is_not_given_up(void **unused)
{
    static const enum error these[] = {ERROR_CORRUPT, ERROR_CORRUPT, ERROR_NONE};
    (void)unused;
    assert_int_equal(read_answers(these, COUNT_OF(these)), ERROR_NONE);
}

static void what_was_refused_and_misread_is_not_given_up(void **unused)
{
    static const enum error these[] = {ERROR_IO, ERROR_CORRUPT, ERROR_NONE};
    (void)unused;
    assert_int_equal(read_answers(these, COUNT_OF(these)), ERROR_NONE);
}

static void what_is_refused_where_all_devices_read_is_lost(void **unused)
{
    static const enum error these[] = {ERROR_IO, ERROR_IO, ERROR_IO};
    (void)unused;
    assert_int_equal(read_answers(these, COUNT_OF(these)), ERROR_CORRUPT);
}

static void another_error_is_not_asked_about_again(void **unused)
{
    static const enum error these[] = {ERROR_NO_MEMORY};
    (void)unused;
    assert_int_equal(read_answers(these, COUNT_OF(these)), ERROR_NO_MEMORY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_damaged_is_given_up_after_three_reads),
        cmocka_unit_test(what_was_misread_twice_is_not_given_up),
        cmocka_unit_test(what_was_refused_and_misread_is_not_given_up),
        cmocka_unit_test(what_is_refused_where_all_devices_read_is_lost),
        cmocka_unit_test(another_error_is_not_asked_about_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
