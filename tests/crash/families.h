/*
 * Objects with snapshots and clones of each other: each call makes versions come, go, or become what another one is, all
 * of it or nothing, whatever crash comes. A version that is not the object's own never changes.
 */
#ifndef COFFER_TESTS_CRASH_FAMILIES_H
#define COFFER_TESTS_CRASH_FAMILIES_H

#include "tests/crash/session.h"

struct families_run {
    struct session *session;
    struct pool *pool;
};

/* Until the session stops. */
void families_run(void *run);

/* After a restart: what the last call was to make of them came about as a whole or not at all, and every version that is
 * there holds what it may hold. False where the group went out of service before all was read. */
bool families_compare(struct session *session, struct pool *pool);

/* Whether an object of that name may exist. */
bool families_know(const char *name);
/* Whether such a content was ever written there to a family, or to one of which it is a clone (FAMILIES: to any); only where
 * the model keeps that. */
bool families_wrote(const struct session *session, unsigned family, uint64_t block, uint64_t hash);

#endif
