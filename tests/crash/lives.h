/* Objects that come and go: created, written, resized, renamed, thrown away, brought back, deleted. */
#ifndef COFFER_TESTS_CRASH_LIVES_H
#define COFFER_TESTS_CRASH_LIVES_H

#include "tests/crash/session.h"

struct lives_run {
    struct session *session;
    struct pool *pool;
};

/* Where block `blocks` of a life's model stands in its object: what an object of so many has for its size. */
uint64_t life_bytes(const struct session *session, const struct life *life, uint64_t blocks);

/* Until the session stops. */
void lives_run(void *run);

/* The clock that can be set is about to be, or was. */
void lives_note_time(struct session *session);

/* Everything that was committed goes into the trees now. False where the group went out of service, as below. */
bool lives_merge(struct session *session, struct pool *pool);

/* After a restart: every object is one that the model knows, in a state that the crash may have left, with contents
 * that it may have left. */
bool lives_compare(struct session *session, struct pool *pool);

#endif
