/* The words behind a command's name: options and positional arguments, by a table of the options that it knows. */
#ifndef COFFER_TOOLS_ARGUMENTS_H
#define COFFER_TOOLS_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "tools/tool.h"

#define OPTIONS_MAX   28 /* rows of a command's table, the global ones included */
#define ARGUMENTS_MAX 80 /* positional arguments, and values of one option: more than a group can have devices */

struct option_row {
    const char *name;
    const char *value; /* what the value is called in the help; NULL: the option takes none */
    const char *help;
    bool many; /* may be given more than once */
};

struct arguments {
    const struct option_row *rows;
    size_t counts[OPTIONS_MAX];
    const char *values[OPTIONS_MAX][ARGUMENTS_MAX];
    const char *positional[ARGUMENTS_MAX];
    size_t positional_count;
};

/*
 * Reads argv[1] up to argv[argc - 1] (argv[0] is skipped), options and words in any order, "--" ends the options. The
 * global options (-C, --json, --help) may stand among them and change `tool`. With `words_end`, stops at the first
 * word and tells its index: so the global options before the noun are read, and those before the verb. Pointers stay those
 * of argv.
 */
enum error arguments_parse(struct tool *tool, int argc, char **argv, const struct option_row *rows, int *words_end,
                           struct arguments *arguments) CHECKED;

bool argument_given(const struct arguments *arguments, const char *option);
/* The value of an option, or `fallback` where it was not given. */
const char *argument_value(const struct arguments *arguments, const char *option, const char *fallback);
const char *const *argument_values(const struct arguments *arguments, const char *option, size_t *count);
/* The value as a size. ERROR_INVALID where it was not given or is no size. */
enum error argument_size(const struct arguments *arguments, const char *option, uint64_t *bytes) CHECKED;

/* The value as a time, in seconds since 1970: a date, a date and a time of day (local time), or a duration from now on. 0
 * where it was not given; ERROR_INVALID where it is none, or not to come. */
enum error argument_date(const struct arguments *arguments, const char *option, uint64_t *seconds) CHECKED;

#endif
