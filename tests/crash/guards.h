/* The time of a pool, which its locks of snapshots go by. */
#ifndef COFFER_TESTS_CRASH_GUARDS_H
#define COFFER_TESTS_CRASH_GUARDS_H

#include "tests/crash/session.h"

/* Before and after each open of the pool. */
void guards_opening(struct session *session);
void guards_opened(struct session *session);
/* So many seconds from what it would be. */
void guards_set_clock(struct session *session, int64_t seconds);

#endif
