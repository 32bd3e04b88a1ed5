/*
 * Whose new files are. A pool directory may belong to a user of its own, under which the daemon runs; what root makes
 * there (a command typed with sudo, a start by hand) must stay usable by that user. So root gives what it makes to the
 * owner of the directory that it lies in. For everybody else these do nothing: their files are theirs.
 */
#ifndef COFFER_BASE_OWNER_H
#define COFFER_BASE_OWNER_H

#include <sys/socket.h>

#include "base/error.h"

/* Gives the open, new file, whose name is or will be `path`, to the owner of the directory. */
enum error owner_give(int descriptor, const char *path) CHECKED;

/* The same, of an open directory. `path` is for the sentence. */
enum error owner_give_below(int descriptor, int directory, const char *path) CHECKED;

/* Gives it the owner, group and permissions of the regular file that `path` names now; like owner_give() where there is
 * none. Permissions are kept for every user. */
enum error owner_give_as(int descriptor, const char *path) CHECKED;

/* bind(2) of a Unix socket at `path`, made as the owner of the directory and for its owner only (0600); returns 0 or an
 * errno. `address` may reach the place by another spelling. */
int owner_bind(int descriptor, const struct sockaddr *address, socklen_t size, const char *path) CHECKED;

#endif
