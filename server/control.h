/*
 * The control socket of cofferd: a Unix socket on which `coffer` asks and orders, in JSON-RPC 2.0, one object per line
 * (server/rpc.h), the methods of server/methods.h.
 *
 * Who may: the user root and the user that runs the daemon, with all roles, and whom [control] of coffer.conf gives one
 * (server/roles.h); the kernel tells who the peer is (SO_PEERCRED, SO_PEERGROUPS), and others are answered with an error and
 * dropped. The mode is 0600, or 0666 while the conf lets others in.
 */
#ifndef COFFER_SERVER_CONTROL_H
#define COFFER_SERVER_CONTROL_H

#include "base/error.h"

#define CONTROL_CONNECTIONS_MAX 16 /* people and scripts; each has a thread and RPC_LINE_MAX of the arena */
#define CONTROL_OTHERS_MAX      12 /* of them: root and the user that runs the daemon always find a place */
#define CONTROL_USER_MAX        3  /* of one of those others: nobody holds the places of all */
#define CONTROL_LINE_SECONDS    10 /* from the first byte of a request to its last */

struct pool;
struct control;

/* Listens at `path`, which is usually control.sock of the pool directory. A socket that a dead daemon left is
 * replaced; ERROR_BUSY where a living one answers, ERROR_EXISTS where something else is in the way. `pool` must stay
 * open until control_stop(). Also enters the pool into the list of running ones (base/registry.h). */
enum error control_start(struct pool *pool, const char *path, struct control **control) CHECKED;

/* Accepts no more, lets requests that run come to their end and be answered, removes the socket. Who does not take his answer
 * holds it up for a few seconds. NULL is allowed. */
void control_stop(struct control *control);

#endif
