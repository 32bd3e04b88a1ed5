/*
 * The evil disk: between two lives somebody who has the devices, and images that he took of them before, but not the
 * keys, exchanges, replays, splices, rolls back, edits and rots what is on them. Nothing forged is ever taken for data:
 * the pool is refused, or what can be read was once written to that very block (tests/crash/survey.h).
 */
#ifndef COFFER_TESTS_SIM_EVIL_H
#define COFFER_TESTS_SIM_EVIL_H

#include "tests/sim/world.h"

struct evil_tally {
    uint64_t cases, edits; /* edits: changes of devices */
    uint64_t refused, refused_closing, opened, told;
    uint64_t read, unreadable, older; /* blocks */
    uint64_t repairs, cut_short;
};

/* Keeps images of the devices as they are now, for the attacker. */
void evil_remember(void);
/* So many cases, each in a branch, on devices as they are now. */
void evil_run(uint64_t cases, uint64_t only, struct evil_tally *tally);

#endif
