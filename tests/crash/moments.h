/* Snapshots of the volumes while all workers write to them. */
#ifndef COFFER_TESTS_CRASH_MOMENTS_H
#define COFFER_TESTS_CRASH_MOMENTS_H

#include "engine/coffer.h"
#include "tests/crash/session.h"

struct moments_run {
    struct session *session;
    struct pool *pool;
    struct volume *const *volumes;
};

/* Makes snapshots of both volumes at one moment, reads and deletes them; until the session stops. */
void moments_run(void *run);
/* Writes a rising number into the dense volume, then into the spread one, and so on; until the session stops. */
void stamps_run(void *run);
/* After a restart. False where the group went out of service. */
bool moments_compare(struct session *session, struct pool *pool, struct volume *const volumes[VOLUMES]);

#endif
