#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/message.h"
#include "base/message_alias.h"

static char printed[4096];
static int standard_error;
static FILE *capture;

/* Standard error goes into a file of no name until capture_end. */
static void capture_begin(void)
{
    capture = tmpfile();
    standard_error = dup(STDERR_FILENO);
    dup2(fileno(capture), STDERR_FILENO);
}

static void capture_end(void)
{
    dup2(standard_error, STDERR_FILENO);
    close(standard_error);
    rewind(capture);
    size_t length = fread(printed, 1, sizeof printed - 1, capture);
    printed[length] = 0;
    fclose(capture);
}

static void a_message_cannot_forge_lines(void **state)
{
    (void)state;
    capture_begin();
    message(MESSAGE_INFO, "export \"%s\"", "a\n<0>panic\x1b[2J");
    capture_end();
    assert_non_null(strstr(printed, "export \"a?<0>panic?[2J\"\n"));
    assert_ptr_equal(strchr(printed, '\n'), printed + strlen(printed) - 1);
}

static void an_endless_message_is_cut_and_still_a_line(void **state)
{
    (void)state;
    capture_begin();
    message(MESSAGE_INFO, "%5000d", 1);
    capture_end();
    assert_int_equal(strlen(printed), 2048);
    assert_int_equal(printed[2047], '\n');
}

static void messages_above_the_level_are_dropped(void **state)
{
    (void)state;
    capture_begin();
    message(MESSAGE_DEBUG, "too much");
    message_level_set(MESSAGE_WARNING);
    message(MESSAGE_NOTICE, "too much");
    message(MESSAGE_ERROR, "bad");
    message_level_set(MESSAGE_INFO);
    capture_end();
    assert_string_equal(printed, "message_test: error: bad\n");
}

static void a_line_for_the_journal_begins_with_its_priority(void **state)
{
    (void)state;
    capture_begin();
    struct stat status;
    assert_int_equal(fstat(STDERR_FILENO, &status), 0);
    char stream[64];
    snprintf(stream, sizeof stream, "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    message(MESSAGE_WARNING, "warm");
    setenv("JOURNAL_STREAM", "1:1", 1);
    message(MESSAGE_WARNING, "warm");
    unsetenv("JOURNAL_STREAM");
    capture_end();
    assert_string_equal(printed, "<4>warm\nmessage_test: warning: warm\n");
}

static void errno_survives_a_message(void **state)
{
    (void)state;
    capture_begin();
    close(STDERR_FILENO);
    errno = ENOTTY;
    message(MESSAGE_ERROR, "unheard");
    int after = errno;
    capture_end();
    assert_int_equal(after, ENOTTY);
}

static void what_is_opened_by_a_number_is_told_by_its_name(void **state)
{
    char text[20] = "/fd/5/a /fd/51 /fd/5";
    (void)state;
    message_alias_set("/fd/5", "/srv/pool");
    capture_begin();
    message(MESSAGE_INFO, "%s", "/fd/5/disk of /fd/5, not /fd/51");
    capture_end();
    assert_non_null(strstr(printed, ": /srv/pool/disk of /srv/pool, not /fd/51\n"));
    text[19] = '\0';
    message_alias_apply(text, sizeof text);
    assert_string_equal(text, "/srv/pool/a /fd/51 ");
    message_alias_set(NULL, NULL);
    message_alias_apply(text, sizeof text);
    assert_string_equal(text, "/srv/pool/a /fd/51 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_cannot_forge_lines),
        cmocka_unit_test(an_endless_message_is_cut_and_still_a_line),
        cmocka_unit_test(messages_above_the_level_are_dropped),
        cmocka_unit_test(a_line_for_the_journal_begins_with_its_priority),
        cmocka_unit_test(errno_survives_a_message),
        cmocka_unit_test(what_is_opened_by_a_number_is_told_by_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
