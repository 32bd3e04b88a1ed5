/*
 * Branches: what would be if the power went at this very moment, tried in a process of its own, while the world goes on
 * as if nothing had been.
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
 * Forks; the child's devices lose their power as images_choose() decided, it has a pool directory of its own, and runs
 * `run` in place of the life that it was, which may be in the middle of anything. Returns its exit status. The world
 * must be the process's own (world_make_own).
 */
int branch(uint64_t dice, enum branch_kind kind, void (*run)(void *argument), void *argument);

#endif
