/* Keys that change while everything else goes on. */
#ifndef COFFER_TESTS_CRASH_REKEYS_H
#define COFFER_TESTS_CRASH_REKEYS_H

#include "engine/coffer.h"
#include "tests/crash/session.h"

struct rekeys_run {
    struct session *session;
    struct pool *pool;
};

/* A provider more, to which the key may go and come back. After the creation of the pool. */
void rekeys_prepare(const struct session *session);
void rekeys_run(void *run);
/* After a restart: the key in force is one that may be, of the provider whose it may be. */
void rekeys_compare(struct session *session, struct pool *pool);

#endif
