/* Asked when somebody wants to know, not when a client comes: three system calls, none of which waits. No locks, no state. */
#include "server/nbd/peer.h"

#include <sys/stat.h>

void nbd_peer_look(int socket, struct nbd_peer *peer)
{
    struct ucred who = {0};
    struct stat status;
    socklen_t size = sizeof(peer->address), who_size = sizeof(who);
    *peer = (struct nbd_peer){0};
    if (getpeername(socket, (struct sockaddr *)&peer->address, &size) != 0)
        peer->address.ss_family = AF_UNSPEC;
    if (fstat(socket, &status) == 0)
        peer->inode = status.st_ino;
    if (peer->address.ss_family == AF_UNIX && getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &who, &who_size) == 0)
        peer->pid = who.pid;
}
