/*
 * Branches: what would be if the power went at this very moment. Afterwards the world goes on as if nothing had been.
 */
#ifndef COFFER_TESTS_SIM_BRANCH_H
#define COFFER_TESTS_SIM_BRANCH_H

#include "tests/sim/world.h"

/* With all that is in it. */
void directory_remove(const char *path);

enum branch_kind {
    BRANCH_CRASHES, /* it may crash again */
    BRANCH_LAST     /* it comes to its end, which costs a third less */
};

/*
 * The devices lose their power as images_choose() decided; with a pool directory of its own `run` is run in an episode,
 * in place of the life that may be in the middle of anything.
 */
void branch(uint64_t dice, enum branch_kind kind, void (*run)(void *argument), void *argument);

#endif
