/*
 * Streams that become snapshots of families (families.h): begun, written, marked, finished, left, in any order with what else
 * happens to their targets. Nothing of an import is seen in its target before it is finished, all of it afterwards.
 */
#ifndef COFFER_TESTS_CRASH_IMPORTS_H
#define COFFER_TESTS_CRASH_IMPORTS_H

#include "tests/crash/session.h"

/* Whether an object of that name may be what an import writes to. */
bool imports_know(const char *name);

#endif
