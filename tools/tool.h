/*
 * The admin command `coffer`: what its nouns share.
 *
 * Each noun is a file with its verbs as rows of a table of struct command (command.h). A verb prints its result on
 * `out`, or as JSON where --json was given, and returns an error of base/error.h; the caller prints the sentence and
 * makes the exit status of it. One thread.
 */
#ifndef COFFER_TOOLS_TOOL_H
#define COFFER_TOOLS_TOOL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"

enum exit_status { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_REFUSED = 3 };

struct tool {
    FILE *out, *err;
    bool json, help;       /* help: the command is explained and not run */
    bool json_lines;       /* what is watched: one answer behind the other, each a line */
    const char *directory; /* -C: a pool directory or a control socket; NULL where not given */
    char *self;            /* tool_self(); NULL until it is asked for */
    int status;            /* of a verb that succeeded in telling something bad: EXIT_FAILED */
};

/* The whole command, without main's start-up; returns the exit status. */
int tool_run(int argc, char **argv, FILE *out, FILE *err) CHECKED;

enum exit_status tool_exit_status(enum error error);

/* Prints a value as JSON, indented or as a line, with a newline. */
enum error tool_print_json(struct tool *tool, const json_t *value) CHECKED;

/* How this command is to be called again for the same pool: "coffer", or shell_command() of what -C named. */
const char *tool_self(struct tool *tool);

/* How wide the terminal at `out` is; 0 where it is none, and lines may have any length. */
size_t tool_columns(const struct tool *tool);

/* True where progress may be drawn on `err`: a terminal, and no --json. */
bool tool_is_watched(const struct tool *tool);

#endif
