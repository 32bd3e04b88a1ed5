/* Those who work at the pool beside the clients, each in a thread of its own, over the control socket. */
#ifndef COFFER_TESTS_STRESS_OPERATORS_H
#define COFFER_TESTS_STRESS_OPERATORS_H

#include "tests/stress/stress.h"

/* Objects come, are written, resized, renamed, go into the trash and out of it, are deleted. */
void objects_run(void *stress);
/* Exports grow while they are in use. */
void growth_run(void *stress);
/* Everything that can be asked is asked. */
void questions_run(void *stress);
/* Freezes and merges, one after the other, where otherwise they come every half a minute. */
void merges_run(void *stress);

#endif
