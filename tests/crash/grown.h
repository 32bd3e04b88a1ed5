/* An object that several threads are busy with at once: it grows while it is written to (grown.c). */
#ifndef COFFER_TESTS_CRASH_GROWN_H
#define COFFER_TESTS_CRASH_GROWN_H

#include "engine/coffer.h"
#include "tests/crash/session.h"

struct grown_run {
    struct session *session;
    struct pool *pool;
};

/* Of one block, in a new pool. */
void grown_create(struct pool *pool);
bool grown_knows(const char *name);

/* Makes it larger, renames it, makes and deletes a snapshot of it; until the session stops. */
void grower_run(void *run);
/* Opens it, writes to its end, reads its snapshot; until the session stops. */
void grown_writer_run(void *run);
/* After a restart. False where the group went out of service. */
bool grown_compare(struct session *session, struct pool *pool);

#endif
