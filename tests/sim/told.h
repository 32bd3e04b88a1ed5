/*
 * Damage that must be told. After most attacks a pool may say nothing and give what is older; after these the newest
 * state is gone, or one bit of what the pool relies on is another, and who looks must hear of it.
 */
#ifndef COFFER_TESTS_SIM_TOLD_H
#define COFFER_TESTS_SIM_TOLD_H

#include <stdbool.h>

/* Draws a case on the images, which are this process's own, and fails the test where nothing is told. False where there
 * is nothing to spoil. */
bool told_run(void);

#endif
