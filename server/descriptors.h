/* How many descriptors the daemon may have open, and how many NBD connections it therefore serves. */
#ifndef COFFER_SERVER_DESCRIPTORS_H
#define COFFER_SERVER_DESCRIPTORS_H

#include <stdint.h>

/* What everything but NBD connections may have open at once: devices, the control socket's connections, files of the pool
 * directory, the engine's own threads, and clients that are being told that there are too many. */
#define DESCRIPTORS_KEPT 192

/* Takes as many as this process may have by its hard limit; returns how many those are. */
uint64_t descriptors_take(void);
/* NBD connections that so many descriptors are enough for: 1 to NBD_CONNECTIONS_DEFAULT. */
unsigned descriptors_connections(uint64_t descriptors);

#endif
