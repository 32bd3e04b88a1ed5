#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "crypto/arena.h"
#include "crypto/provider.h"

static char directory[64], path[96];
static char *passphrase;
static size_t size;

static int set_up(void **state)
{
    (void)state;
    snprintf(directory, sizeof(directory), "%.40s/coffer-XXXXXX", getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    if (mkdtemp(directory) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/coffer.passphrase", directory);
    unsetenv("CREDENTIALS_DIRECTORY");
    passphrase = NULL;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(passphrase);
    unlink(path);
    return rmdir(directory);
}

static enum error file_case(const void *data, size_t data_size)
{
    arena_free(passphrase);
    passphrase = NULL;
    assert_int_equal(file_replace(path, data, data_size), ERROR_NONE);
    return passphrase_read(path, NULL, false, &passphrase, &size);
}

static void an_empty_file_is_refused(void **state)
{
    (void)state;
    assert_int_equal(file_case("", 0), ERROR_INVALID);
    assert_int_equal(file_case("\n", 1), ERROR_INVALID);
    assert_null(passphrase);
}

static void a_missing_file_or_a_directory_is_refused(void **state)
{
    (void)state;
    assert_int_equal(passphrase_read(path, NULL, false, &passphrase, &size), ERROR_NOT_FOUND);
    assert_int_not_equal(passphrase_read(directory, NULL, false, &passphrase, &size), ERROR_NONE);
}

static void the_longest_passphrase_fits_and_one_byte_more_does_not(void **state)
{
    (void)state;
    char text[PASSPHRASE_MAX + 3];
    memset(text, 'x', sizeof(text));
    assert_int_equal(file_case(text, PASSPHRASE_MAX), ERROR_NONE);
    assert_int_equal(size, PASSPHRASE_MAX);
    assert_int_equal(passphrase[size], 0);
    assert_int_equal(file_case(text, PASSPHRASE_MAX + 1), ERROR_TOO_LARGE);
    assert_int_equal(file_case(text, sizeof(text)), ERROR_TOO_LARGE);
    text[PASSPHRASE_MAX] = '\n';
    assert_int_equal(file_case(text, PASSPHRASE_MAX + 1), ERROR_NONE);
    assert_int_equal(size, PASSPHRASE_MAX);
}

static void one_newline_at_the_end_is_dropped_and_nothing_else(void **state)
{
    (void)state;
    assert_int_equal(file_case("open sesame\n", 12), ERROR_NONE);
    assert_int_equal(size, 11);
    assert_string_equal(passphrase, "open sesame");
    assert_int_equal(file_case(" a\0b\r\n\n", 7), ERROR_NONE);
    assert_int_equal(size, 6);
    assert_memory_equal(passphrase, " a\0b\r\n", 6);
}

static void a_systemd_credential_is_found(void **state)
{
    (void)state;
    assert_int_equal(file_replace(path, "from systemd\n", 13), ERROR_NONE);
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", directory, 1), 0);
    assert_int_equal(passphrase_read(NULL, "", false, &passphrase, &size), ERROR_NONE);
    assert_int_equal(size, 12);
    assert_memory_equal(passphrase, "from systemd", 12);
    unsetenv("CREDENTIALS_DIRECTORY");
}

static void standard_input_is_a_file_named_dash(void **state)
{
    (void)state;
    int saved = dup(STDIN_FILENO);
    assert_int_equal(file_replace(path, "piped\n", 6), ERROR_NONE);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(descriptor >= 0 && dup2(descriptor, STDIN_FILENO) == STDIN_FILENO);
    assert_int_equal(passphrase_read("-", NULL, false, &passphrase, &size), ERROR_NONE);
    assert_int_equal(size, 5);
    close(descriptor);
    if (saved >= 0) {
        dup2(saved, STDIN_FILENO);
        close(saved);
    }
}

/* The child's exit status: the error, or 100 + size; 99 where the terminal was left changed. */
static void child_ask(bool confirm)
{
    struct termios before, after;
    tcgetattr(STDIN_FILENO, &before);
    enum error error = passphrase_read(NULL, "Passphrase: ", confirm, &passphrase, &size);
    tcgetattr(STDIN_FILENO, &after);
    if (before.c_lflag != after.c_lflag)
        _exit(99);
    bool expected = error == ERROR_NONE && memcmp(passphrase, "secret", MIN(size, (size_t)6)) == 0;
    _exit(expected ? 100 + (int)size : (int)error);
}

/* Types each answer after its prompt; what the terminal showed goes to `shown`. */
static int terminal_case(bool confirm, const char *const *answers, char *shown, size_t room)
{
    int terminal;
    pid_t child = forkpty(&terminal, NULL, NULL, NULL);
    assert_true(child >= 0);
    if (child == 0)
        child_ask(confirm);
    size_t used = 0;
    for (;;) {
        ssize_t count = read(terminal, shown + used, room - 1 - used);
        if (count <= 0)
            break;
        used += (size_t)count;
        if (shown[used - 1] == ' ' && *answers != NULL) {
            /* The prompt is out before echo is off; what is typed earlier would be flushed. */
            for (struct termios now; tcgetattr(terminal, &now) == 0 && (now.c_lflag & ECHO) != 0;)
                usleep(1000);
            assert_int_equal(write(terminal, *answers, strlen(*answers)), strlen(*answers));
            answers++;
        }
    }
    shown[used] = 0;
    close(terminal);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void the_terminal_shows_nothing_of_what_is_typed(void **state)
{
    (void)state;
    char shown[256];
    static const char *const answers[] = {"secret\r", "secret\r", NULL};
    assert_int_equal(terminal_case(true, answers, shown, sizeof(shown)), 106);
    assert_non_null(strstr(shown, "Passphrase: "));
    assert_null(strstr(shown, "sec"));
}

static void two_different_answers_are_refused(void **state)
{
    (void)state;
    char shown[256];
    static const char *const answers[] = {"secret\r", "secrets\r", NULL};
    assert_int_equal(terminal_case(true, answers, shown, sizeof(shown)), ERROR_INVALID);
}

static void typing_errors_can_be_taken_back(void **state)
{
    (void)state;
    char shown[256];
    static const char *const answers[] = {"wrong\x15secreX\x7ft\n", NULL};
    assert_int_equal(terminal_case(false, answers, shown, sizeof(shown)), 106);
    static const char *const empty[] = {"a\x7f\x7f\n", NULL};
    assert_int_equal(terminal_case(false, empty, shown, sizeof(shown)), ERROR_INVALID);
}

static void an_interrupt_leaves_the_terminal_as_it_was(void **state)
{
    (void)state;
    char shown[256];
    static const char *const answers[] = {"sec\x03", NULL}, *const end[] = {"\x04", NULL};
    assert_int_equal(terminal_case(false, answers, shown, sizeof(shown)), ERROR_INTERRUPTED);
    assert_int_equal(terminal_case(false, end, shown, sizeof(shown)), ERROR_INTERRUPTED);
}

static void without_a_terminal_the_sentence_says_what_to_give(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        setsid();
        _exit((int)passphrase_read(NULL, "", false, &passphrase, &size));
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), ERROR_NOT_FOUND);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_empty_file_is_refused),
        TEST(a_missing_file_or_a_directory_is_refused),
        TEST(the_longest_passphrase_fits_and_one_byte_more_does_not),
        TEST(one_newline_at_the_end_is_dropped_and_nothing_else),
        TEST(a_systemd_credential_is_found),
        TEST(standard_input_is_a_file_named_dash),
        TEST(without_a_terminal_the_sentence_says_what_to_give),
        TEST(two_different_answers_are_refused),
        TEST(an_interrupt_leaves_the_terminal_as_it_was),
        TEST(typing_errors_can_be_taken_back),
        TEST(the_terminal_shows_nothing_of_what_is_typed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
