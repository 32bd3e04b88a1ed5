/* Reading options and words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "tools/arguments.h"

static const struct option_row rows[] = {
    {"size", "SIZE", "", false},
    {"now", NULL, "", false},
    {"overwrite", "DEV", "", true},
    {NULL},
};

struct fixture {
    struct tool tool;
    struct arguments arguments;
};

static int set_up(void **state)
{
    *state = calloc(1, sizeof(struct fixture));
    return 0;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

/* getopt permutes, so each call has an argv of its own. */
static enum error parse(struct fixture *fixture, const char *const *words, size_t count, int *words_end)
{
    static char *argv[300];
    argv[0] = (char *)"coffer";
    for (size_t i = 0; i < count; i++)
        argv[i + 1] = (char *)words[i];
    argv[count + 1] = NULL;
    return arguments_parse(&fixture->tool, (int)count + 1, argv, rows, words_end, &fixture->arguments);
}

#define PARSE(state, ...)                                                                                              \
    parse(*(state), (const char *const[]){__VA_ARGS__}, COUNT_OF(((const char *const[]){__VA_ARGS__})), NULL)

static void assert_sentence(const char *part)
{
    assert_non_null(strstr(error_sentence(ERROR_INVALID), part));
}

static void unknown_options_are_refused_with_the_nearest(void **state)
{
    assert_int_equal(PARSE(state, "--sise", "3"), ERROR_INVALID);
    assert_sentence("'--size'");
    assert_int_equal(PARSE(state, "--sise=3"), ERROR_INVALID);
    assert_sentence("'--sise'; did you mean '--size'");
    assert_int_equal(PARSE(state, "--frobnicate"), ERROR_INVALID);
    assert_sentence("'--frobnicate'");
    assert_int_equal(PARSE(state, "-x"), ERROR_INVALID);
    assert_sentence("'-x'");
}

static void missing_and_needless_values_are_refused(void **state)
{
    assert_int_equal(PARSE(state, "--size"), ERROR_INVALID);
    assert_sentence("needs a value");
    assert_int_equal(PARSE(state, "--now=yes"), ERROR_INVALID);
    assert_sentence("takes no value");
    assert_int_equal(PARSE(state, "-C"), ERROR_INVALID);
    assert_int_equal(PARSE(state, "-C", ""), ERROR_INVALID);
}

static void an_option_twice_is_refused_unless_it_may(void **state)
{
    struct fixture *fixture = *state;
    size_t count;
    assert_int_equal(PARSE(state, "--size", "1", "--size", "2"), ERROR_INVALID);
    assert_sentence("twice");
    assert_int_equal(PARSE(state, "--overwrite", "a", "--overwrite=b"), ERROR_NONE);
    const char *const *values = argument_values(&fixture->arguments, "overwrite", &count);
    assert_int_equal(count, 2);
    assert_string_equal(values[1], "b");
}

static void two_pools_are_refused(void **state)
{
    assert_int_equal(PARSE(state, "-C", "/pool", "--directory", "/pool"), ERROR_NONE);
    assert_int_equal(PARSE(state, "-C", "/other"), ERROR_INVALID);
    assert_sentence("/pool");
    assert_sentence("/other");
}

static void more_words_than_fit_are_refused(void **state)
{
    const char *words[ARGUMENTS_MAX + 1];
    for (size_t i = 0; i < COUNT_OF(words); i++)
        words[i] = "x";
    assert_int_equal(parse(*state, words, COUNT_OF(words), NULL), ERROR_INVALID);
    assert_int_equal(parse(*state, words, COUNT_OF(words) - 1, NULL), ERROR_NONE);
}

static void an_endless_option_is_refused(void **state)
{
    char word[5000];
    memset(word, 'x', sizeof(word));
    memcpy(word, "--", 2);
    word[sizeof(word) - 1] = '\0';
    assert_int_equal(PARSE(state, word), ERROR_INVALID);
}

static void sizes_are_checked(void **state)
{
    struct fixture *fixture = *state;
    uint64_t size;
    assert_int_equal(PARSE(state, "a"), ERROR_NONE);
    assert_int_equal(argument_size(&fixture->arguments, "size", &size), ERROR_INVALID);
    assert_int_equal(PARSE(state, "--size", "20X"), ERROR_NONE);
    assert_int_equal(argument_size(&fixture->arguments, "size", &size), ERROR_INVALID);
    assert_sentence("20X");
    assert_int_equal(PARSE(state, "--size", "20G"), ERROR_NONE);
    assert_int_equal(argument_size(&fixture->arguments, "size", &size), ERROR_NONE);
    assert_int_equal(size, UINT64_C(20) << 30);
}

static void words_and_options_may_be_mixed(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(PARSE(state, "a", "--now", "b", "--json", "-C", "/pool", "--", "--size"), ERROR_NONE);
    assert_int_equal(fixture->arguments.positional_count, 3);
    assert_string_equal(fixture->arguments.positional[2], "--size");
    assert_true(argument_given(&fixture->arguments, "now"));
    assert_false(argument_given(&fixture->arguments, "size"));
    assert_true(fixture->tool.json);
    assert_string_equal(fixture->tool.directory, "/pool");
}

static void a_beginning_of_an_option_is_enough(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(PARSE(state, "--si", "4K"), ERROR_NONE);
    assert_string_equal(argument_value(&fixture->arguments, "size", NULL), "4K");
}

static void global_options_end_at_the_first_word(void **state)
{
    struct fixture *fixture = *state;
    int end;
    const char *words[] = {"--json", "-C", "/pool", "object", "--unknown"};
    assert_int_equal(parse(fixture, words, COUNT_OF(words), &end), ERROR_NONE);
    assert_int_equal(end, 4);
    assert_true(fixture->tool.json);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(unknown_options_are_refused_with_the_nearest),
        TEST(missing_and_needless_values_are_refused),
        TEST(an_option_twice_is_refused_unless_it_may),
        TEST(two_pools_are_refused),
        TEST(more_words_than_fit_are_refused),
        TEST(an_endless_option_is_refused),
        TEST(sizes_are_checked),
        TEST(words_and_options_may_be_mixed),
        TEST(a_beginning_of_an_option_is_enough),
        TEST(global_options_end_at_the_first_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
