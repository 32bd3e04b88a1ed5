/* After a restart: every block of the volumes against the model. What was read is from then on what must stay. False
 * where the group went out of service before all was read. */
#ifndef COFFER_TESTS_CRASH_COMPARE_H
#define COFFER_TESTS_CRASH_COMPARE_H

#include "tests/crash/session.h"

bool volumes_compare(struct session *session, struct volume *const volumes[VOLUMES]);

/* Of volumes that were compared and not changed since: what the pool says that they use is what they hold. */
bool volumes_compare_usage(struct session *session, struct pool *pool);

#endif
