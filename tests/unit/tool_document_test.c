/*
 * Every `coffer …` that docs/operating.md tells people to type is a command: it is read as `coffer` itself reads it. What
 * is left out there ("…") or stands in brackets is passed over; words may be missing, since not each mention is whole.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "tools/command.h"

#define WORDS_MAX 32

/* The words of one mention, argv[0] included; `line` is cut up. */
static int words_split(char *line, char **words)
{
    int count = 0;
    char *rest = NULL;
    for (char *word = strtok_r(line, " \n", &rest); word != NULL; word = strtok_r(NULL, " \n", &rest)) {
        if (strcmp(word, "…") == 0 || word[0] == '[')
            continue;
        assert_true(count < WORDS_MAX);
        words[count++] = word;
    }
    return count;
}

static enum error line_read(struct tool *tool, int count, char **words, struct arguments *arguments)
{
    static const struct option_row none[] = {{NULL}};
    const struct command *command;
    int first = count, used;
    TRY(arguments_parse(tool, count, words, none, &first, arguments));
    TRY(command_find(count - first, words + first, &command, &used));
    *arguments = (struct arguments){0};
    TRY(arguments_parse(tool, count - first - used + 1, words + first + used - 1, command->options, NULL, arguments));
    if (arguments->positional_count > command->positional_max)
        return error_explain(ERROR_INVALID, "'%s' is too much", arguments->positional[command->positional_max]);
    return ERROR_NONE;
}

static void mention_check(const char *text, size_t size)
{
    AUTO_FREE char *shown = strndup(text, size);
    AUTO_FREE char *line = strndup(text, size);
    AUTO_FREE struct arguments *arguments = memory_zeroed(1, sizeof(*arguments));
    struct tool tool = {0};
    char *words[WORDS_MAX + 1] = {0};
    assert_true(shown != NULL && line != NULL && arguments != NULL);
    int count = words_split(line, words);
    enum error error = line_read(&tool, count, words, arguments);
    if (error != ERROR_NONE)
        fail_msg("`%s`: %s", shown, error_sentence(error));
}

static char *document_read(void)
{
    FILE *file = fopen(OPERATING_DOCUMENT, "r");
    char *text = NULL;
    size_t room = 0;
    assert_non_null(file);
    assert_true(getdelim(&text, &room, '\0', file) > 0);
    fclose(file);
    return text;
}

static void what_people_are_told_to_type_is_a_command(void **state)
{
    (void)state;
    AUTO_FREE char *text = document_read();
    unsigned count = 0;
    for (char *at = text; (at = strstr(at, "`coffer ")) != NULL; count++) {
        size_t size = strcspn(++at, "`");
        mention_check(at, size);
        at += size;
    }
    assert_true(count > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_people_are_told_to_type_is_a_command)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
