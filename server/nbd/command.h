/* A command of a client: a request header of the transmission phase, decoded and checked. */
#ifndef COFFER_SERVER_NBD_COMMAND_H
#define COFFER_SERVER_NBD_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "server/nbd/handshake.h"
#include "server/nbd/protocol.h"

struct command {
    uint16_t flags;
    uint16_t type;
    be64 cookie; /* the client's, given back as it came */
    uint64_t offset;
    uint32_t length;
};

/* ERROR_PROTOCOL where `data` does not begin with a request's magic: nothing behind it can be understood. */
enum error command_decode(const uint8_t data[sizeof(struct wire_request)], struct command *command) CHECKED;

/* May the command run? What is wrong is one sentence; whether a payload follows depends on the type alone. */
enum error command_check(const struct command *command, const struct session *session, uint64_t export_size) CHECKED;

/* Read and write: `length` bytes of data go over the socket. */
bool command_has_data(const struct command *command);
/* FUA, where it has a meaning. */
bool command_is_fua(const struct command *command);
/* FUA or flush: the answer waits for a disk. */
bool command_is_durable(const struct command *command);

#endif
