/* One life: an episode that opens the pool, works on it and closes it, unless its power goes before. */
#ifndef COFFER_TESTS_SIM_LIFE_H
#define COFFER_TESTS_SIM_LIFE_H

#include "tests/sim/world.h"

extern const char *const phase_names[PHASES];

/* Nothing has happened in it yet. */
void life_begin(void);
/* No power loss and no fault in it, and it works until it is told to stop. */
void life_plan_none(void);
/* Runs it. True where the power went. */
bool life_run(void (*run)(struct session *session));
/* No power loss in this one. */
void life_run_to_end(void (*run)(struct session *session));
/* Draws where the life shall stop working, and where the power goes: at some moment of its opening, of its work, or of
 * its end; or only when it is over; before operation `until` of all lives in any case. */
void life_plan(uint64_t operations, uint64_t until);

#endif
