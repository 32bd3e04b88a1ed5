/* An object that fills the pool until a write finds no space, and gives the space back in one of several ways. */
#ifndef COFFER_TESTS_CRASH_FILLER_H
#define COFFER_TESTS_CRASH_FILLER_H

#include "tests/crash/session.h"

#define FILLER_NAME "filler"

struct filler_run {
    struct session *session;
    struct pool *pool;
};

/* Until the session stops. */
void filler_run(void *run);

/* After a restart: what some of its blocks hold is nothing, or was written to them. False where the group went out of
 * service before all was read. */
bool filler_compare(struct session *session, struct pool *pool);

#endif
