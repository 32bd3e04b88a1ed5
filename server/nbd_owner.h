/* Whose disk an NBD device of this machine is: one of this daemon's, or another server's. */
#ifndef COFFER_SERVER_NBD_OWNER_H
#define COFFER_SERVER_NBD_OWNER_H

#include <stddef.h>

#include "server/nbd/peer.h"

enum nbd_owner { NBD_OWNER_UNKNOWN, NBD_OWNER_THIS, NBD_OWNER_OTHER };

/* `pid`: of the process that set the device up, as the kernel keeps it; 0: not known. `peers`: of this daemon's clients. */
enum nbd_owner nbd_owner_find(int pid, const char *proc, const struct nbd_peer *peers, size_t count);

#endif
