/* What a pool says of itself: who did what with its keys, and what is known to be damaged. */
#ifndef COFFER_TESTS_CRASH_RECORDS_H
#define COFFER_TESTS_CRASH_RECORDS_H

#include "engine/coffer.h"
#include "tests/crash/session.h"

/* At any moment that the pool is open: entries of the audit follow from one another and none of those that were there is
 * missing; of damage nothing is known where nothing was misread. */
void records_judge(struct session *session, struct pool *pool);

#endif
