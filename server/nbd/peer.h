/* Who is at the other end of a client's socket, as the kernel knows it. */
#ifndef COFFER_SERVER_NBD_PEER_H
#define COFFER_SERVER_NBD_PEER_H

#include <stdint.h>
#include <sys/socket.h>

struct nbd_peer {
    int pid;                         /* of who connected to a Unix socket; 0: not known */
    uint64_t inode;                  /* of this side's socket */
    struct sockaddr_storage address; /* ss_family AF_UNIX: only that */
};

void nbd_peer_look(int socket, struct nbd_peer *peer);

#endif
