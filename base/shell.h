/* Words of a shell, for the commands that people are told to type. */
#ifndef COFFER_BASE_SHELL_H
#define COFFER_BASE_SHELL_H

#include "base/error.h"

/* A word as a shell is to read it: as it is, or in quotes; malloc'ed, NULL when out of memory. */
char *shell_quote(const char *word) CHECKED;

/* A path as a shell is to read it from anywhere: absolute where it exists, and quoted; malloc'ed, NULL when out of
 * memory. */
char *shell_path(const char *path) CHECKED;

/* How `coffer` is called for a pool directory, from anywhere: "coffer -C /srv/pool"; malloc'ed, NULL when out of
 * memory. */
char *shell_command(const char *directory) CHECKED;

/* How this process was called, quoted: "cofferd '/srv/a pool'"; malloc'ed, NULL when out of memory. Where the system
 * does not tell, or it is longer than a sentence should be, it is the program's name alone. */
char *shell_invocation(void) CHECKED;

#endif
