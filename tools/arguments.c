/*
 * Reading the command line by getopt_long, which knows abbreviations, "--name=value" and words between options; the
 * sentences are ours, because getopt's do not suggest anything. No locks, no state that stays, nothing written.
 */
#include "tools/arguments.h"

#include <getopt.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "base/size.h"
#include "base/suggest.h"
#include "tools/date.h"

enum { GLOBAL_DIRECTORY = 'C', GLOBAL_HELP = 'h', GLOBAL_JSON = 'j', FIRST_ROW = 256 };

#define GLOBAL_COUNT 3

static size_t row_count(const struct option_row *rows)
{
    size_t count = 0;
    while (rows[count].name != NULL)
        count++;
    ASSERT(count + GLOBAL_COUNT <= OPTIONS_MAX);
    return count;
}

static void fill_long_options(const struct option_row *rows, size_t count, struct option *options)
{
    for (size_t i = 0; i < count; i++)
        options[i] = (struct option){rows[i].name, rows[i].value == NULL ? no_argument : required_argument, NULL,
                                     FIRST_ROW + (int)i};
    options[count] = (struct option){"json", no_argument, NULL, GLOBAL_JSON};
    options[count + 1] = (struct option){"help", no_argument, NULL, GLOBAL_HELP};
    options[count + 2] = (struct option){"directory", required_argument, NULL, GLOBAL_DIRECTORY};
    options[count + 3] = (struct option){0};
}

static enum error complain_unknown(const char *word, const struct option *options)
{
    const char *names[OPTIONS_MAX + 1];
    size_t count = 0, length = strcspn(word, "=");
    char name[64];
    for (; options[count].name != NULL; count++)
        names[count] = options[count].name;
    if (strncmp(word, "--", 2) != 0)
        return error_explain(ERROR_INVALID, "there is no option '%s'", word);
    snprintf(name, sizeof(name), "%.*s", (int)length - 2, word + 2);
    const char *near = suggest(name, names, count);
    if (near == NULL)
        return error_explain(ERROR_INVALID, "there is no option '%.*s'", (int)length, word);
    return error_explain(ERROR_INVALID, "there is no option '%.*s'; did you mean '--%s'?", (int)length, word, near);
}

/* Why getopt returned '?' or ':' for `word`; optopt is 0 where the name of a long option is unknown. */
static enum error complain(int returned, const char *word, const struct option *options)
{
    if (returned == ':')
        return error_explain(ERROR_INVALID, "the option '%s' needs a value", word);
    for (const struct option *option = options; option->name != NULL; option++) {
        if (optopt == option->val && optopt >= FIRST_ROW)
            return error_explain(ERROR_INVALID, "the option '--%s' takes no value", option->name);
    }
    return complain_unknown(word, options);
}

static enum error take_row(struct arguments *arguments, size_t row, const char *value)
{
    size_t *count = &arguments->counts[row];
    const char *name = arguments->rows[row].name;
    if (*count > 0 && !arguments->rows[row].many)
        return error_explain(ERROR_INVALID, "the option '--%s' was given twice", name);
    if (*count == ARGUMENTS_MAX)
        return error_explain(ERROR_INVALID, "the option '--%s' was given more than %d times", name, ARGUMENTS_MAX);
    arguments->values[row][(*count)++] = value;
    return ERROR_NONE;
}

static enum error take_directory(struct tool *tool, const char *directory)
{
    if (directory[0] == '\0')
        return error_explain(ERROR_INVALID, "-C needs the name of a pool directory");
    if (tool->directory != NULL && strcmp(tool->directory, directory) != 0)
        return error_explain(ERROR_INVALID, "-C names two pools, %s and %s", tool->directory, directory);
    tool->directory = directory;
    return ERROR_NONE;
}

static enum error take_option(struct tool *tool, int option, struct arguments *arguments)
{
    switch (option) {
    case GLOBAL_DIRECTORY:
        return take_directory(tool, optarg);
    case GLOBAL_JSON:
        tool->json = true;
        return ERROR_NONE;
    case GLOBAL_HELP:
        tool->help = true;
        return ERROR_NONE;
    default:
        return take_row(arguments, (size_t)(option - FIRST_ROW), optarg);
    }
}

static enum error take_words(int argc, char **argv, struct arguments *arguments)
{
    if (argc - optind > ARGUMENTS_MAX)
        return error_explain(ERROR_INVALID, "more than %d arguments", ARGUMENTS_MAX);
    for (int i = optind; i < argc; i++)
        arguments->positional[arguments->positional_count++] = argv[i];
    return ERROR_NONE;
}

/* Behind a mistake as well: how it is told counts whatever stands where. */
static bool wants_json(int argc, char **argv)
{
    bool wants = false;
    for (int i = 1; i < argc && !wants && strcmp(argv[i], "--") != 0; i++)
        wants = strcmp(argv[i], "--json") == 0;
    return wants;
}

enum error arguments_parse(struct tool *tool, int argc, char **argv, const struct option_row *rows, int *words_end,
                           struct arguments *arguments)
{
    struct option options[OPTIONS_MAX + 1];
    int option;
    fill_long_options(rows, row_count(rows), options);
    *arguments = (struct arguments){.rows = rows};
    tool->json = tool->json || wants_json(argc, argv);
    optind = 0; /* glibc: start over */
    opterr = 0;
    while ((option = getopt_long(argc, argv, words_end != NULL ? "+:C:h" : ":C:h", options, NULL)) != -1) {
        if (option == '?' || option == ':')
            return complain(option, argv[optind - 1], options);
        TRY(take_option(tool, option, arguments));
    }
    if (words_end == NULL)
        return take_words(argc, argv, arguments);
    *words_end = optind;
    return ERROR_NONE;
}

static size_t row_find(const struct arguments *arguments, const char *option)
{
    size_t row = 0;
    while (arguments->rows[row].name != NULL && strcmp(arguments->rows[row].name, option) != 0)
        row++;
    ASSERT(arguments->rows[row].name != NULL);
    return row;
}

bool argument_given(const struct arguments *arguments, const char *option)
{
    return arguments->counts[row_find(arguments, option)] > 0;
}

const char *argument_value(const struct arguments *arguments, const char *option, const char *fallback)
{
    size_t row = row_find(arguments, option);
    return arguments->counts[row] == 0 ? fallback : arguments->values[row][0];
}

const char *const *argument_values(const struct arguments *arguments, const char *option, size_t *count)
{
    size_t row = row_find(arguments, option);
    *count = arguments->counts[row];
    return arguments->values[row];
}

enum error argument_size(const struct arguments *arguments, const char *option, uint64_t *bytes)
{
    const char *text = argument_value(arguments, option, NULL);
    if (text == NULL)
        return error_explain(ERROR_INVALID, "say the size: --%s 20G", option);
    if (size_parse(text, bytes) != ERROR_NONE)
        return error_explain(ERROR_INVALID, "--%s %s is not a size: write 20G, 512M or a number of bytes", option,
                             text);
    return ERROR_NONE;
}

enum error argument_date(const struct arguments *arguments, const char *option, uint64_t *seconds)
{
    const char *text = argument_value(arguments, option, NULL);
    *seconds = 0;
    if (text == NULL)
        return ERROR_NONE;
    enum error error = date_parse(text, (uint64_t)time(NULL), seconds);
    return error == ERROR_NONE ? error : error_prefix(error, "--%s", option);
}
