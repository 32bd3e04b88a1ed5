/*
 * An NBD client over a Unix socket with several requests in flight, and calls of the control socket. Each belongs to
 * one thread. What is not as it should be ends the program (stress_fail).
 */
#ifndef COFFER_TESTS_STRESS_WIRE_H
#define COFFER_TESTS_STRESS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/nbd/protocol.h"

#define WIRE_REQUESTS_MAX 16
#define WIRE_BYTES_MAX    (64u << 10) /* of a request's data */

struct wire_call {
    enum command_type type;
    unsigned flags;
    uint64_t offset;
    uint32_t length;
    uint8_t *data; /* of a write: taken from; of a read: filled */
    bool done;
};

int wire_connect(const char *path);
/* The whole handshake; -1 where the export is refused. */
int wire_enter(const char *path, const char *name);
/* Sends all of them at once and waits for all answers, which may come in any order. */
void wire_run(int socket, struct wire_call *calls, size_t count);
/* Politely, or by hanging up. */
void wire_leave(int socket, bool politely);

/* Sends a JSON-RPC call to a control socket and returns whether it succeeded; `parameters` is JSON, or NULL. */
bool wire_control(int socket, const char *method, const char *parameters);

#endif
