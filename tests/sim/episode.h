/*
 * Episodes: an engine that lives and ends within this process, as if in a fork of it. What it and everything else here
 * keeps in variables and on the heap is afterwards as it was before; only what was mapped by world_map() stays changed.
 * An episode may begin within another one, whose engine stands still meanwhile.
 */
#ifndef COFFER_TESTS_SIM_EPISODE_H
#define COFFER_TESTS_SIM_EPISODE_H

#include <stddef.h>

#include "base/error.h"

enum { EPISODE_ENDED, EPISODE_CRASHED };

/* Once, in the process that runs them, before the first. */
void episodes_begin(void);
/* Runs it as the first coroutine; how it ended. */
int episode_run(void (*run)(void *argument), void *argument);
/* Ends the innermost one, from wherever. */
_Noreturn void episode_leave(int status);
/* 0: none. */
unsigned episode_level(void);
/* What is said of the next one that begins where the process fails in it. */
void episode_name(const char *format, ...) PRINTF(1, 2);

/* A stack for coroutine `index` of the innermost episode. */
void *episode_stack(size_t index, size_t *size);

#endif
