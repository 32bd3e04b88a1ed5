/* The algorithms, as JSON: what `coffer --json selftest` prints. */
#ifndef COFFER_TOOLS_SELFTEST_H
#define COFFER_TOOLS_SELFTEST_H

#include <jansson.h>

#include "base/error.h"

/* Runs the known answers; NULL when out of memory. *error: what they said. */
json_t *selftest_json(enum error *error) __attribute__((warn_unused_result));

#endif
