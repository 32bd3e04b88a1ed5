/* What other methods show of the scrub. */
#ifndef COFFER_SERVER_METHODS_SCRUB_H
#define COFFER_SERVER_METHODS_SCRUB_H

#include "server/methods.h"

/* The keys of struct scrub_status by the same names; NULL when out of memory. */
json_t *scrub_json(const struct scrub_status *status) __attribute__((warn_unused_result));

#endif
