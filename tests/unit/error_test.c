#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"

static void a_number_outside_the_table_is_a_bug(void **state)
{
    (void)state;
    assert_string_equal(error_name((enum error)ERROR_COUNT), "BUG");
    assert_string_equal(error_name((enum error) - 1), "BUG");
    assert_int_equal(error_class((enum error)9999), ERROR_CLASS_BUG);
}

static void a_sentence_too_long_is_cut_between_characters(void **state)
{
    (void)state;
    char text[3000];
    memset(text, 'a', sizeof text);
    for (size_t i = 1; i + 2 < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
    text[sizeof text - 1] = 0;
    error_explain(ERROR_IO, "%s", text);
    const char *kept = error_sentence(ERROR_IO);
    assert_int_equal(strlen(kept), 1023);
    assert_true(memcmp(kept + 1021, "\xc3\xa9", 2) == 0);
    error_explain(ERROR_IO, "%s", text + 1);
    assert_string_equal(error_sentence(ERROR_IO) + 1020, "\xc3\xa9?");
}

static void garbage_in_a_sentence_becomes_question_marks(void **state)
{
    (void)state;
    error_explain(ERROR_INVALID, "%s", "a\nb\x1b[31m\x7f\xff\xc0\x80\xed\xa0\x80 \xe2\x82\xac \xf0\x9f\x98\x80 \xe2");
    assert_string_equal(error_sentence(ERROR_INVALID), "a?b?[31m?????\?\? \xe2\x82\xac \xf0\x9f\x98\x80 ?");
}

static void a_sentence_belongs_to_one_error(void **state)
{
    (void)state;
    assert_int_equal(error_explain(ERROR_IO, "disk %d burns", 7), ERROR_IO);
    assert_string_equal(error_sentence(ERROR_IO), "disk 7 burns");
    assert_string_equal(error_sentence(ERROR_BUSY), "in use");
    error_forget();
    assert_string_equal(error_sentence(ERROR_IO), "input/output error");
    assert_string_equal(error_sentence(ERROR_NONE), "no error");
}

static void an_explanation_may_quote_the_one_before(void **state)
{
    (void)state;
    error_explain(ERROR_IO, "inner");
    error_explain(ERROR_CORRUPT, "outer of (%s)", error_sentence(ERROR_IO));
    assert_string_equal(error_sentence(ERROR_CORRUPT), "outer of (inner)");
}

static void a_prefix_comes_before_what_was_kept_or_the_table(void **state)
{
    (void)state;
    error_explain(ERROR_IO, "burns");
    assert_int_equal(error_prefix(ERROR_IO, "disk %s", "a"), ERROR_IO);
    assert_string_equal(error_sentence(ERROR_IO), "disk a: burns");
    error_prefix(ERROR_BUSY, "pool");
    assert_string_equal(error_sentence(ERROR_BUSY), "pool: in use");
}

static void errno_is_translated_with_what_was_being_done(void **state)
{
    (void)state;
    assert_int_equal(error_from_errno(ENOENT, "open %s", "/x"), ERROR_NOT_FOUND);
    assert_string_equal(error_sentence(ERROR_NOT_FOUND), "open /x: No such file or directory");
    assert_int_equal(error_from_errno(ENOSPC, "write"), ERROR_NO_SPACE);
    assert_int_equal(error_from_errno(EFBIG, "write"), ERROR_NO_SPACE);
    assert_int_equal(error_from_errno(EIO, "write"), ERROR_IO);
}

static void a_vanished_device_and_an_unknown_errno_fence(void **state)
{
    (void)state;
    assert_int_equal(error_class(error_from_errno(ENXIO, "write")), ERROR_CLASS_FENCE);
    assert_int_equal(error_class(error_from_errno(ENODEV, "write")), ERROR_CLASS_FENCE);
    assert_int_equal(error_class(error_from_errno(54321, "write")), ERROR_CLASS_FENCE);
    assert_string_equal(error_sentence(ERROR_IO), "write: unknown error number");
}

static enum error fail_if(bool fail)
{
    return fail ? ERROR_BUSY : ERROR_NONE;
}

static enum error try_and_mark(bool fail, bool *reached)
{
    TRY(fail_if(fail));
    *reached = true;
    return ERROR_NONE;
}

static void try_returns_at_the_first_error(void **state)
{
    (void)state;
    bool reached = false;
    assert_int_equal(try_and_mark(true, &reached), ERROR_BUSY);
    assert_false(reached);
    assert_int_equal(try_and_mark(false, &reached), ERROR_NONE);
    assert_true(reached);
}

static void a_failed_assertion_stops_the_process(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        close(STDERR_FILENO);
        ASSERT(child != 0);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_number_outside_the_table_is_a_bug),
        cmocka_unit_test(a_sentence_too_long_is_cut_between_characters),
        cmocka_unit_test(garbage_in_a_sentence_becomes_question_marks),
        cmocka_unit_test(a_sentence_belongs_to_one_error),
        cmocka_unit_test(an_explanation_may_quote_the_one_before),
        cmocka_unit_test(a_prefix_comes_before_what_was_kept_or_the_table),
        cmocka_unit_test(errno_is_translated_with_what_was_being_done),
        cmocka_unit_test(a_vanished_device_and_an_unknown_errno_fence),
        cmocka_unit_test(try_returns_at_the_first_error),
        cmocka_unit_test(a_failed_assertion_stops_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
