/* A thread that changes the volumes and says so to the model. */
#ifndef COFFER_TESTS_CRASH_WORKER_H
#define COFFER_TESTS_CRASH_WORKER_H

#include "base/thread.h"
#include "tests/crash/random.h"
#include "tests/crash/session.h"

struct worker;

/* `shared` guards the cells that all workers write. */
struct worker *worker_create(struct session *session, struct volume *const volumes[VOLUMES], struct mutex *shared,
                             unsigned index);
void worker_run(void *worker);
void worker_destroy(struct worker *worker);

#endif
