/* --help, `coffer help` and the script for bash's completion: all made from the table of commands. */
#ifndef COFFER_TOOLS_HELP_H
#define COFFER_TOOLS_HELP_H

#include <stdbool.h>
#include <stdio.h>

#include "tools/command.h"

void help_print_all(FILE *out);
/* The verbs of a noun; false where there is no such noun, or it has no verbs. */
bool help_print_noun(FILE *out, const char *noun);
void help_print_command(FILE *out, const struct command *command);

#endif
