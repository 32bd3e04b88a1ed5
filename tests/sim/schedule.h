/*
 * Threads of control as coroutines on one thread of the system, switched where the seed says.
 */
#ifndef COFFER_TESTS_SIM_SCHEDULE_H
#define COFFER_TESTS_SIM_SCHEDULE_H

#include <stdint.h>

/* Makes the calling thread the first coroutine. */
void schedule_start(void);
/* Forgets every coroutine, this one too, with what they hold, and goes on in a first one: for a process that was forked
 * off a running world. */
_Noreturn void schedule_restart(void (*run)(void *argument), void *argument);
/* A place where the seed may let another go on. */
void schedule_point(void);
/* Until schedule_wake() with the same object; `deadline` 0: no matter how long. Wakes may be false: look again. */
void schedule_wait(const char *why, const void *object, uint64_t deadline);
void schedule_wake(const void *object);

#endif
