/* Small changes to the text of a coffer.conf, which keep its comments and everything else. */
#ifndef COFFER_TOOLS_CONF_EDIT_H
#define COFFER_TOOLS_CONF_EDIT_H

#include "engine/pool/conf.h"

/* The text with the devices of its one group at these paths, in the conf's order; malloc'ed, NULL when out of memory. */
char *conf_with_devices(const char *text, const struct pool_conf_group *group, char *const *paths)
    __attribute__((warn_unused_result));
/* The text with `seal = SEAL` in the section of that provider; likewise. */
char *conf_with_seal(const char *text, const char *provider, const char *seal) __attribute__((warn_unused_result));

#endif
