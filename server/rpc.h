/*
 * JSON-RPC 2.0 as the control socket speaks it: one object per line, in UTF-8, no batches, no notifications.
 *
 * Nothing of a line is believed before its length, nesting and types were checked. Parsing needs no state and may be
 * done from any thread. Lines can carry a passphrase: see rpc.c for how its traces are removed.
 */
#ifndef COFFER_SERVER_RPC_H
#define COFFER_SERVER_RPC_H

#include <jansson.h>
#include <stddef.h>

#include "base/error.h"

#define RPC_LINE_MAX  12288 /* bytes of a request: the names of a snapshot of SNAPSHOT_OBJECTS_MAX objects fit */
#define RPC_DEPTH_MAX 4    /* brackets inside each other: requests need three */
#define RPC_ID_MAX    64   /* bytes of an id that is a string: it is sent back */

enum rpc_code {
    RPC_PARSE_ERROR = -32700,
    RPC_INVALID_REQUEST = -32600,
    RPC_UNKNOWN_METHOD = -32601,
    RPC_INVALID_PARAMETERS = -32602,
    RPC_FAILED = -32000, /* the method ran and failed: data.name tells the error of base/error.h */
};

struct rpc_request {
    json_t *document;
    json_t *id;         /* inside document; NULL where none could be read */
    const char *method; /* inside document */
    json_t *parameters; /* inside document; NULL where none were given */
    enum rpc_code code; /* of the failure, where decoding failed */
};

/* Decodes a line (without its newline). `request` is filled on failure too, so that the answer can carry id and code;
 * rpc_request_deinit() is due in any case. */
enum error rpc_request_decode(const char *line, size_t size, struct rpc_request *request) CHECKED;
void rpc_request_deinit(struct rpc_request *request);

/* The line of an answer, with its newline; the caller's (free), NULL when out of memory. `result` stays the caller's;
 * `id` NULL becomes null. The sentence is this thread's for `error`. */
char *rpc_encode_result(json_t *id, json_t *result) CHECKED;
char *rpc_encode_error(json_t *id, enum rpc_code code, enum error error) CHECKED;

/* A string of hexadecimal digits as bytes: *size of them at `out`, which holds `size_max`. */
enum error rpc_decode_hexadecimal(const char *text, size_t length, char *out, size_t size_max, size_t *size) CHECKED;

#endif
