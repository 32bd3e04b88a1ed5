/* Listening sockets. */
#ifndef COFFER_SERVER_NBD_LISTEN_H
#define COFFER_SERVER_NBD_LISTEN_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/error.h"

struct listener {
    int socket;
    bool is_unix; /* with a file of ours at `path` */
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    dev_t device; /* of that file */
    ino_t inode;
};

/* As nbd_listen() says. */
enum error listener_open(const char *address, bool insecure, struct listener *listener) CHECKED;
/* Takes over a socket; ERROR_INVALID where it does not listen, ERROR_ACCESS where it is neither a Unix socket nor
 * allowed by `insecure`. */
enum error listener_adopt(int descriptor, bool insecure, struct listener *listener) CHECKED;
/* Removes the socket's file, if it is still the one that was made. */
void listener_close(struct listener *listener);

#endif
