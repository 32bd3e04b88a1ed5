/* After a restart: every block of the volumes against the model. What was read is from then on what must stay. */
#ifndef COFFER_TESTS_CRASH_COMPARE_H
#define COFFER_TESTS_CRASH_COMPARE_H

#include "tests/crash/session.h"

void volumes_compare(struct session *session, struct volume *const volumes[VOLUMES]);

#endif
