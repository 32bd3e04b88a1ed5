/* A setting of a pool's conf, for pools that a bench makes. */
#ifndef COFFER_BENCH_CONF_EDIT_H
#define COFFER_BENCH_CONF_EDIT_H

#include "base/error.h"

/* Returns the text of `conf` (malloc'ed) with `key` of section [pool] set to `value`, wherever and however often it was
 * set before; NULL when out of memory. */
char *conf_with(const char *conf, const char *key, const char *value) CHECKED;

#endif
