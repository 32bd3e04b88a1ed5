/*
 * Threads of control as coroutines on one thread of the system, switched where the seed says.
 */
#ifndef COFFER_TESTS_SIM_SCHEDULE_H
#define COFFER_TESTS_SIM_SCHEDULE_H

#include <stdint.h>
#include <ucontext.h>

/* Forgets every coroutine, this one too, with what they hold, and goes on in a first one: for an episode. Returns when
 * somebody goes to `base`. */
void schedule_restart(ucontext_t *base, void (*run)(void *argument), void *argument);
/* A place where the seed may let another go on. */
void schedule_point(void);
/* Until schedule_wake() with the same object; `deadline` 0: no matter how long. Wakes may be false: look again. */
void schedule_wait(const char *why, const void *object, uint64_t deadline);
void schedule_wake(const void *object);

#endif
