/* Block status: what the contexts of a connection say of a range. */
#ifndef COFFER_SERVER_NBD_BLOCK_STATUS_H
#define COFFER_SERVER_NBD_BLOCK_STATUS_H

#include "server/nbd/batch.h"

/* Fills the slot's `status` with a chunk for each context. An answer may be short: the client asks on from its end. */
enum error block_status_read(struct connection *connection, struct slot *slot) CHECKED;

#endif
