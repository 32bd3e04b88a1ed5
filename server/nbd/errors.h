/* The one place where errors of Coffer become errors of NBD. */
#ifndef COFFER_SERVER_NBD_ERRORS_H
#define COFFER_SERVER_NBD_ERRORS_H

#include <stdint.h>

#include "base/error.h"
#include "server/nbd/protocol.h"

/* Of a request of type `command`. */
enum wire_error wire_error(enum error error, uint16_t command);

/* Of an option of the handshake: an OPTION_ERROR_ number. */
uint32_t option_error(enum error error);

#endif
