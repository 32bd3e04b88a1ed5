/* What the processes do that are killed, or that look at what a kill left. Each returns in a process of its own. */
#ifndef COFFER_TESTS_CRASH_CHILD_H
#define COFFER_TESTS_CRASH_CHILD_H

#include "tests/crash/session.h"

/* Where the devices of a session and their caches lie. */
void session_device_path(const struct session *session, unsigned index, char out[PATH_SIZE]);
void session_cache_path(const struct session *session, unsigned index, char out[PATH_SIZE]);
uint64_t session_device_bytes(const struct session *session, unsigned index);

/* What each does first; how it opens the pool. */
void child_begin(struct session *session);
struct pool_open_options child_open_options(struct session *session);

/* The pool and the caches of its devices; then its volumes. */
void child_format(struct session *session);
void child_populate(struct session *session);
/* Opens, compares, works until the session stops, closes; again where the group went out of service before. */
void child_work(struct session *session);
/* Opens, compares, closes. */
void child_compare(struct session *session);
/* Opens and compares; the process that has it open ends. */
void child_look(struct session *session);
/* Offline: the checker must find nothing. */
void child_check(struct session *session);

#endif
