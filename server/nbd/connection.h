/*
 * A connection: one client, one volume, and the few threads that take turns at its socket.
 */
#ifndef COFFER_SERVER_NBD_CONNECTION_H
#define COFFER_SERVER_NBD_CONNECTION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/thread.h"
#include "server/nbd/command.h"
#include "server/nbd/handshake.h"
#include "server/nbd/payload.h"
#include "server/nbd/stream.h"
#include "server/nbd/turn.h"

#define CONNECTION_THREADS_MAX 4

/* What all connections of a server share. */
struct connection_terms {
    struct pool *pool;
    struct payload_pool *payload;
    bool read_only;
    uint64_t handshake_nanoseconds; /* the whole handshake at most */
    uint64_t idle_nanoseconds;      /* for a request to come or an answer to go, at most */
};

/* A request of more than a batch's bytes, or than there was memory for, runs in pieces, each a batch of its own, so
 * that no client makes the server hold more than that of it; the pieces run in parallel, and the last one that ends
 * gives the answer. */
struct transfer {
    uint32_t left; /* bytes not yet answered; guarded by the connection's send lock, as the rest */
    _Atomic enum error error; /* written under that lock; once it is set no more pieces begin */
    char sentence[256];
};

struct connection {
    const struct connection_terms *terms;
    unsigned number; /* in messages */
    int socket;
    const char *refusal;
    struct session session; /* written by the handshake, before other threads start */
    atomic_bool ended;      /* no more requests are taken */
    atomic_bool stopped;    /* ended by this side, while the client was there */
    atomic_bool broken;     /* nothing can be answered any more, so nothing is run */
    atomic_bool evicted;    /* broken because others went without memory */
    struct payload_user payload;
    _Atomic uint64_t engine_average; /* nanoseconds that the last batches spent in the engine */

    struct turn receive;                             /* guards the reading half of the stream and what follows */
    uint64_t skip GUARDED_BY(receive);               /* payload bytes of a refused write that are still to come */
    struct transfer *rest GUARDED_BY(receive);       /* NULL: none */
    struct command rest_command GUARDED_BY(receive); /* the part of it that has not begun */
    struct thread threads[CONNECTION_THREADS_MAX - 1] GUARDED_BY(receive); /* beside the first, which joins them */
    unsigned thread_count GUARDED_BY(receive);

    struct mutex send; /* RANK_SERVER; guards the writing half and all transfers */
    struct stream stream;

    struct thread first;
    void (*finished)(struct connection *connection, void *context); /* called last by the first thread */
    void *finished_context;

    struct connection *next; /* the server's list, guarded by its lock */
    bool is_finished;        /* likewise */
};

/* Takes the socket over and starts the handshake in a thread; `refusal` (static) refuses every export. */
enum error connection_start(const struct connection_terms *terms, int socket, unsigned number, const char *refusal,
                            void (*finished)(struct connection *, void *), void *context,
                            struct connection **connection) CHECKED;
/* No more requests are taken; those that run are answered. */
void connection_end(struct connection *connection);
/* Nothing more is read or written. */
void connection_break(struct connection *connection);
/* Has the client gone, or is about to? Then work that is only for it need not be done in full: a block status may be
 * short, and a request to cache is advice. A request takes 28 bytes, so thousands may have come before it left. */
bool connection_is_leaving(const struct connection *connection);
/* Does it still wait for the answers to what it sent? One that ended its side of the socket does not: a kernel that shuts
 * it down sends the same requests again on another. Takes no lock. */
bool connection_awaits(const struct connection *connection);
/* After `finished` was called. */
void connection_destroy(struct connection *connection);

#endif
