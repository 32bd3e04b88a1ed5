/* A backup of a pool's key that lies in its directory goes with that, and one on a disk of that pool opens nothing: what would
 * open it is in it. */
#ifndef COFFER_TOOLS_CYCLE_H
#define COFFER_TOOLS_CYCLE_H

#include "base/error.h"

/*
 * ERROR_INVALID where the new file `path` would lie in the pool directory `directory`, which need not be there yet, or below it,
 * or on a disk that is, or may be, served by a pool: on a file system on an NBD device, on a loop device over a file of a FUSE
 * file system (nbdfuse), or on a mapping over either. Which pool serves it cannot be told, so each counts. A disk of the pool in
 * a guest that serves files back to this machine is not seen.
 */
enum error cycle_check(const char *path, const char *directory) CHECKED;

/* The second of that, with other places for /proc/self/mountinfo and /sys/dev/block; for tests. */
enum error cycle_check_in(const char *path, const char *mounts, const char *block_devices) CHECKED;

#endif
