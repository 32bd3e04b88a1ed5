/*
 * Who has which roles on the control socket: root and the user that runs the daemon have all, others what [control] of
 * coffer.conf gives them. The conf is looked at anew for every question, so a line that goes takes the role away from
 * connections that are open, too.
 */
#ifndef COFFER_SERVER_ROLES_H
#define COFFER_SERVER_ROLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/thread.h"

#define ROLES_RETRY_SECONDS    60 /* until names are asked for again, and a conf is read again that could not be */
#define ROLES_PATIENCE_SECONDS 5  /* so long somebody may wait for the first answer to a name */

/* The other end of a connection, as the kernel tells: it cannot say who it is itself. */
struct peer {
    uint32_t uid, gid, pid;
    uint32_t *groups; /* supplementary ones, of the moment when it connected; malloc'ed */
    size_t group_count;
};

enum grant_state { GRANT_ASKED_FOR, GRANT_KNOWN, GRANT_UNKNOWN };

struct grant {
    unsigned roles;
    bool group; /* else a user */
    enum grant_state state;
    uint32_t id; /* GRANT_KNOWN */
    char *name;  /* NULL: the conf gives the number */
};

struct lookup;

struct roles {
    const char *directory; /* of the pool; NULL: nobody else is let in */
    struct mutex lock;     /* RANK_CONTROL; guards what follows */
    bool looked;           /* at the conf, at all */
    bool read;             /* it could be read */
    bool told;             /* that it could not */
    struct stat seen;      /* the conf as it was read */
    uint64_t retry;        /* when to ask for names again, or to read again */
    uint64_t patience;     /* until when the names that are asked for now are worth a wait */
    struct lookup *lookup; /* that runs, or was not looked at */
    struct grant *grants;
    size_t grant_count;
};

/* `directory` must outlive the roles. */
void roles_init(struct roles *roles, const char *directory);
void roles_deinit(struct roles *roles);

/* The roles that a peer has now: ROLE_… of server/methods.h. Where the conf cannot be read, others have none. */
unsigned roles_of(struct roles *roles, const struct peer *peer);
/* Whether a name of the conf is being asked for that may give somebody a role in a moment: not for longer than
 * ROLES_PATIENCE_SECONDS. None of these functions waits for it. */
bool roles_pending(struct roles *roles);
/* Whether others than root and the daemon's user are to reach the socket at all. */
bool roles_let_in(struct roles *roles);
/* Root, or the user that runs the daemon. */
bool peer_is_owner(const struct peer *peer);

/* Who is at the other end of a Unix socket; where the kernel does not tell, nobody that a line could mean. */
void peer_take(int descriptor, struct peer *peer);
void peer_forget(struct peer *peer);

#endif
