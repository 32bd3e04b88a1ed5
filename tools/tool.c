/*
 * From the command line to a verb and from its error to the exit status.
 *
 * The sentence of an error is printed here and nowhere else. With --json it is printed as an object on `out` too, so
 * that a program finds the error where it looks for the answer. No locks; nothing is kept.
 */
#include "tools/tool.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/shell.h"
#include "tools/arguments.h"
#include "tools/command.h"
#include "tools/help.h"
#include "tools/text.h"

enum exit_status tool_exit_status(enum error error)
{
    switch (error) {
    case ERROR_NONE:
        return EXIT_DONE;
    case ERROR_INVALID:
    case ERROR_OUT_OF_RANGE:
    case ERROR_TOO_LARGE:
        return EXIT_USAGE;
    case ERROR_BUSY:
        return EXIT_REFUSED;
    default:
        return error_class(error) == ERROR_CLASS_REFUSED ? EXIT_REFUSED : EXIT_FAILED;
    }
}

enum error tool_print_json(struct tool *tool, const json_t *value)
{
    size_t flags = tool->json_lines ? JSON_COMPACT : JSON_INDENT(2);
    if (json_dumpf(value, tool->out, flags) != 0 || fputc('\n', tool->out) == EOF || (tool->json_lines && fflush(tool->out) != 0))
        return error_explain(ERROR_IO, "cannot write the output");
    return ERROR_NONE;
}

const char *tool_self(struct tool *tool)
{
    if (tool->self == NULL && tool->directory != NULL)
        tool->self = shell_command(tool->directory);
    return tool->self == NULL ? "coffer" : tool->self;
}

size_t tool_columns(const struct tool *tool)
{
    struct winsize size;
    int descriptor = fileno(tool->out);
    return descriptor >= 0 && ioctl(descriptor, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

bool tool_is_watched(const struct tool *tool)
{
    return !tool->json && isatty(fileno(tool->err));
}

static void print_error(struct tool *tool, enum error error)
{
    fprintf(tool->err, "coffer: %s\n", error_sentence(error));
    if (!tool->json)
        return;
    json_t *sentence = json_string(error_sentence(error));
    json_t *json = json_pack("{s:{s:s, s:o}}", "error", "name", error_name(error), "sentence",
                             sentence == NULL ? json_string(error_name(error)) : sentence);
    if (json != NULL)
        json_dumpf(json, tool->out, JSON_INDENT(2));
    fputc('\n', tool->out);
    json_decref(json);
}

/* The words that a slip of usage ends with: where to read more. */
static enum error point_to_help(const struct command *command, enum error error)
{
    char sentence[1024];
    snprintf(sentence, sizeof(sentence), "%s", error_sentence(error));
    const char *verb = command->verb == NULL ? "" : command->verb;
    return error_explain(error, "%s (see `coffer %s%s%s --help`)", sentence, command->noun, *verb == '\0' ? "" : " ",
                         verb);
}

static enum error check_count(const struct command *command, const struct arguments *arguments)
{
    if (arguments->positional_count < command->positional_min)
        return error_explain(ERROR_INVALID, "something is missing: %s", command->arguments);
    if (arguments->positional_count > command->positional_max)
        return error_explain(ERROR_INVALID, "'%s' is too much", arguments->positional[command->positional_max]);
    return ERROR_NONE;
}

static enum error run_command(struct tool *tool, const struct command *command, int argc, char **argv)
{
    AUTO_FREE struct arguments *arguments = memory_zeroed(1, sizeof(*arguments));
    if (arguments == NULL)
        return ERROR_NO_MEMORY;
    enum error error = arguments_parse(tool, argc, argv, command->options, NULL, arguments);
    if (error == ERROR_NONE && tool->help) {
        help_print_command(tool->out, command);
        return ERROR_NONE;
    }
    if (error == ERROR_NONE)
        error = check_count(command, arguments);
    if (error != ERROR_NONE)
        return point_to_help(command, error);
    return command->run(tool, arguments);
}

/* The options for every command may stand between noun and verb, too. */
static enum error options_between(struct tool *tool, int argc, char **argv, int *verb)
{
    static const struct option_row none[] = {{NULL}};
    AUTO_FREE struct arguments *arguments = memory_zeroed(1, sizeof(*arguments));
    return arguments == NULL ? ERROR_NO_MEMORY : arguments_parse(tool, argc, argv, none, verb, arguments);
}

static enum error run_words(struct tool *tool, int argc, char **argv)
{
    const struct command *command;
    int verb = 1, used;
    if (command_has_verbs(argv[0]))
        TRY(options_between(tool, argc, argv, &verb));
    if (tool->help && verb == argc && help_print_noun(tool->out, argv[0]))
        return ERROR_NONE;
    argv[verb - 1] = argv[0];
    argc -= verb - 1;
    argv += verb - 1;
    TRY(command_find(argc, argv, &command, &used));
    return run_command(tool, command, argc - used + 1, argv + used - 1);
}

static enum error run_line(struct tool *tool, int argc, char **argv)
{
    static const struct option_row globals[] = {{"version", NULL, "", true}, {NULL}};
    AUTO_FREE struct arguments *arguments = memory_zeroed(1, sizeof(*arguments));
    int words = argc;
    if (arguments == NULL)
        return ERROR_NO_MEMORY;
    TRY(arguments_parse(tool, argc, argv, globals, &words, arguments));
    if (argument_given(arguments, "version"))
        return command_version.run(tool, arguments);
    if (tool->help && words == argc) {
        help_print_all(tool->out);
        return ERROR_NONE;
    }
    if (words == argc)
        return error_explain(ERROR_INVALID, "say what to do; `coffer help` lists the commands");
    return run_words(tool, argc - words, argv + words);
}

int tool_run(int argc, char **argv, FILE *out, FILE *err)
{
    struct tool tool = {.out = out, .err = err};
    error_forget();
    enum error error = run_line(&tool, argc, argv);
    if (error == ERROR_NONE && (fflush(out) != 0 || ferror(out)))
        error = error_explain(ERROR_IO, "cannot write the output");
    free(tool.self);
    if (error == ERROR_NONE)
        return tool.status;
    print_error(&tool, error);
    fflush(out);
    return (int)tool_exit_status(error);
}
