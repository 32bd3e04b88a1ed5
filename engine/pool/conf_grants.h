/* The section [control] of coffer.conf: who beside root and the daemon's user may use the control socket, and for what. */
#ifndef COFFER_ENGINE_POOL_CONF_GRANTS_H
#define COFFER_ENGINE_POOL_CONF_GRANTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum pool_role { POOL_ROLE_OBSERVE, POOL_ROLE_OPERATE, POOL_ROLE_KEYS, POOL_ROLES };

struct pool_conf_grant {
    enum pool_role role;
    bool group;   /* else a user */
    bool by_name; /* else by `id` */
    uint32_t id;
    char *name; /* as it is written, a number too; which user or group of this host that is, is not asked here */
};

struct pool_conf_grants {
    size_t count;
    struct pool_conf_grant *list;
    char *fault; /* the sentence of a line that is wrong, and then nobody has a role by this conf; NULL: there is none */
};

struct conf;

/* A wrong line is no error but a `fault`: no disk stays away for it. What was taken before a failure is freed as well
 * (conf_grants_free). */
enum error conf_grants_take(const struct conf *conf, struct pool_conf_grants *grants) CHECKED;
void conf_grants_free(struct pool_conf_grants *grants);
/* "observe", "operate" or "keys": the key of the conf and the name of the role. */
const char *pool_role_name(enum pool_role role);

#endif
