/*
 * The handshake: from the greeting to an opened volume, fixed newstyle.
 *
 * A client that does not come to an end within the deadline is dropped, whatever it does meanwhile: nothing here may
 * take longer than that, and no option makes the server keep more than OPTION_BYTES_MAX of it.
 */
#ifndef COFFER_SERVER_NBD_HANDSHAKE_H
#define COFFER_SERVER_NBD_HANDSHAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/coffer.h"
#include "server/nbd/protocol.h"

#define OPTION_BYTES_MAX (16u << 10) /* a name and a few hundred contexts; longer ones are refused */

/* What a handshake agreed on. */
struct session {
    struct volume *volume;
    bool read_only;
    bool structured; /* replies */
    bool allocation; /* the context base:allocation was chosen for this export */
    struct volume *bases[CHANGED_CONTEXTS_MAX]; /* snapshots since which changes are told */
    unsigned base_count;
};

/* Closes what a handshake opened. */
void session_close(struct session *session);

struct handshake_terms {
    struct pool *pool;
    bool read_only;
    uint64_t deadline;   /* clock_monotonic */
    const char *refusal; /* not NULL: every export is refused with this sentence */
};

/* On success session->volume is the caller's (session_close). ERROR_CLOSED: the client went away, which is its right;
 * ERROR_TIMED_OUT: the deadline passed; ERROR_PROTOCOL and others keep a sentence. */
enum error handshake_run(const struct handshake_terms *terms, int socket, struct session *session) CHECKED;

#endif
