/* Words of a shell, for the commands that people are told to type. */
#ifndef COFFER_BASE_SHELL_H
#define COFFER_BASE_SHELL_H

#include "base/error.h"

/* A word as a shell is to read it: as it is, or in quotes; malloc'ed, NULL when out of memory. */
char *shell_quote(const char *word) CHECKED;

/* How `coffer` is called for a pool directory, from anywhere: "coffer -C /srv/pool"; malloc'ed, NULL when out of
 * memory. */
char *shell_command(const char *directory) CHECKED;

#endif
