/* What the threads of the stress test share. */
#ifndef COFFER_TESTS_STRESS_STRESS_H
#define COFFER_TESTS_STRESS_STRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct pool;

struct stress {
    uint64_t seed, steps; /* of each client */
    unsigned clients, exports;
    char nbd_path[128], control_path[128];
    struct pool *pool;
    atomic_uint clients_running; /* whoever works beside them ends after them */
    atomic_ullong requests, bytes, flushes, connections, calls, refused, merges;
};

/* Says what is wrong and ends the program. */
_Noreturn void stress_fail(const char *format, ...) PRINTF(1, 2);

#endif
