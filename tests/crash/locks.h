/* The pool is locked and unlocked: all keys are forgotten, and asked for again. */
#ifndef COFFER_TESTS_CRASH_LOCKS_H
#define COFFER_TESTS_CRASH_LOCKS_H

#include "engine/coffer.h"
#include "tests/crash/session.h"

struct locks_run {
    struct session *session;
    struct pool *pool;
};

/* Tells all who work to come back, at some moment; until the session stops. */
void locks_run(void *run);
/* Whether that is why they came back. */
bool locks_wanted(const struct session *session);

/* With volumes open it must be refused. */
void lock_be_refused(struct pool *pool);
/* With none: locks. What a locked pool must not say is asked. */
void lock_pool(struct session *session, struct pool *pool, bool compared);

#endif
