/* A scrub that is started, paused, resumed, cancelled and throttled while a pool works, and goes on after a crash. */
#ifndef COFFER_TESTS_CRASH_SCRUBS_H
#define COFFER_TESTS_CRASH_SCRUBS_H

#include "tests/crash/session.h"

struct scrubs_run {
    struct session *session;
    struct pool *pool;
};

/* Until the session stops. */
void scrubs_run(void *run);

/* After a restart: it is in a state that an order left it in. */
bool scrubs_compare(struct session *session, struct pool *pool);

#endif
