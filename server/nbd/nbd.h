/*
 * The NBD server: serves the objects of a pool to NBD clients, over Unix sockets and TCP.
 *
 * Protocol: fixed newstyle with structured replies and base:allocation, as the NBD project's doc/proto.md has it, and
 * contexts coffer:changed:SNAPSHOT. Every object is an export under its name (and under its UUID); an empty name means
 * the only object there is.
 *
 * Threads: every function may be called from any thread; none from two at once for one server.
 */
#ifndef COFFER_SERVER_NBD_NBD_H
#define COFFER_SERVER_NBD_NBD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "server/nbd/peer.h"

struct pool;
struct nbd_server;

/* Each limit's default is used where it is 0. */
struct nbd_options {
    bool read_only;                 /* every export */
    bool insecure;                  /* TCP without TLS is allowed, which it is not otherwise, even on loopback */
    size_t payload_bytes_max;       /* data of running requests; NBD_PAYLOAD_BYTES_DEFAULT */
    unsigned connections_max;       /* NBD_CONNECTIONS_DEFAULT; further clients are told so in the handshake */
    uint64_t handshake_nanoseconds; /* NBD_HANDSHAKE_DEFAULT: from the greeting to the opened export */
    uint64_t idle_nanoseconds;      /* NBD_IDLE_DEFAULT: for a request to come whole, or for answers to be taken */
};

#define NBD_PAYLOAD_BYTES_DEFAULT (16u << 20) /* 16 batches at once: more threads than the engine has use for */
#define NBD_CONNECTIONS_DEFAULT   256         /* four threads and a buffer each: bounds memory, far above any use */
#define NBD_HANDSHAKE_DEFAULT     UINT64_C(10000000000)
#define NBD_IDLE_DEFAULT          UINT64_C(60000000000)

/* The pool must stay open until nbd_stop(). */
enum error nbd_start(struct pool *pool, const struct nbd_options *options, struct nbd_server **server) CHECKED;

/* Listens at "unix:PATH" or "tcp:HOST:PORT" ("tcp:[HOST]:PORT" for IPv6). A socket file that nobody listens at any more
 * is replaced; ERROR_IN_USE: somebody does; ERROR_EXISTS: PATH is no socket; ERROR_ACCESS: TCP without `insecure`;
 * ERROR_INVALID: no such form. Unix sockets have mode 0600 and go away with the server. */
enum error nbd_listen(struct nbd_server *server, const char *address) CHECKED;
/* Takes over a socket that listens already (systemd's socket activation). */
enum error nbd_listen_descriptor(struct nbd_server *server, int descriptor) CHECKED;
/* Takes over the socket of a client that is connected already. */
enum error nbd_adopt(struct nbd_server *server, int descriptor) CHECKED;
/* The other ends of the clients that are connected now, at most so many; tells how many. Costs nothing before it is asked. */
size_t nbd_peers(struct nbd_server *server, struct nbd_peer *peers, size_t max);
/* Returns when no client is connected, or `interrupt` can be read (-1: nothing interrupts). */
void nbd_wait(struct nbd_server *server, int interrupt);

/* Accepts nobody any more, lets the running batches end and answers them, closes the connections and the volumes. A
 * client that does not take its answers holds this up for a few seconds at most. */
void nbd_stop(struct nbd_server *server);

#endif
