/*
 * The pool directory: what a loss of power leaves of it (files.c).
 */
#ifndef COFFER_TESTS_SIM_FILES_H
#define COFFER_TESTS_SIM_FILES_H

#include "tests/sim/images.h"
#include "tests/sim/world.h"

/* From now on this is done to the pool directory of the session, as it is now: all of it is durable. */
void files_begin(void);
/* Decides what a crash leaves of it, as images_choose() does; returns a hash of that. */
uint64_t files_choose(struct crash_odds odds);
/* Whether a crash may take or tear anything. */
bool files_are_pending(void);
/* The crash. */
void files_crash(void);
/* A directory that is as the crash would leave this one; nothing was decided: as it is. It becomes that of the session. */
void files_branch(const char *directory);
/* With what was kept beside it. */
void files_remove(const char *directory);

#endif
