/*
 * Every crash point: a life is lived once, and before each event of its devices the power goes, in branches: with
 * nothing, all, a random part and torn pieces of what was not flushed. Each is opened and compared with the model, now
 * and then closed and checked, and now and then the power goes once more while that is done. What was seen before, the
 * same bytes under the same promises, is skipped.
 *
 * Where keys change (keks.h), some states are opened with one device away at first, and in some lives one goes away in the midst
 * of a change and comes back.
 */
#ifndef COFFER_TESTS_SIM_POINTS_H
#define COFFER_TESTS_SIM_POINTS_H

#include "tests/sim/world.h"

struct points_tally {
    uint64_t events, states, again, skipped; /* again: crashed a second time, while it was opened and closed */
    uint64_t checks;
    uint64_t keys[KEY_WORKS], deep; /* states by what was being done with keys; and while data is encrypted anew */
    uint64_t absent, departed;      /* states that were opened with a device away; lives in which one went away */
    uint64_t deep_ends;             /* deep rekeys that came to their end */
};

struct points_choice {
    uint64_t events; /* of the working phase, about */
    uint64_t only;   /* this state alone; 0: all */
};

/* Ends the process by fail() where a state is wrong. */
void points_run(const struct points_choice *choice, struct points_tally *tally);

#endif
