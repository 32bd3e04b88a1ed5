/*
 * A client that says anything, for tests of the NBD server: over a raw socket, so that it can break every rule. What it
 * expects and does not get fails the test; it waits a few seconds at most.
 */
#ifndef COFFER_TESTS_UNIT_NBD_CLIENT_H
#define COFFER_TESTS_UNIT_NBD_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/nbd/nbd.h"
#include "server/nbd/protocol.h"

#define CLIENT_REPLY_MAX (1u << 20)

/* A server on the engine in memory, with the objects "disk" (8 MiB) and "other" (1 MiB). */
struct nbd_fixture {
    struct pool *pool;
    struct nbd_server *server;
};
void fixture_start(struct nbd_fixture *fixture, const struct nbd_options *options);
void fixture_stop(struct nbd_fixture *fixture);
int fixture_setup(void **state); /* for cmocka: *state is a fixture with the default options */
int fixture_teardown(void **state);

#define DISK_SIZE (8u << 20)

/* A connected socket whose other end the server has. */
int client_connect(struct nbd_server *server);
void client_send(int client, const void *data, size_t size);
void client_receive(int client, void *data, size_t size);
/* The server hangs up, having sent nothing more. */
void client_expect_end(int client);
bool client_is_silent(int client); /* nothing to read at once */

/* ---- handshake ---- */

void client_greet(int client, uint32_t flags);
void client_option(int client, uint32_t option, const void *data, size_t size);
/* The next reply to `option`; its data, with a zero byte behind, is valid until the next call. */
uint32_t client_option_reply(int client, uint32_t option, const uint8_t **data, size_t *size);
void client_expect_option(int client, uint32_t option, uint32_t type);
/* INFO or GO with no further questions. */
void client_ask_export(int client, uint32_t option, const char *name);
void client_ask_contexts(int client, uint32_t option, const char *name, const char *query);
/* The whole way into the transmission phase. */
int client_enter(struct nbd_server *server, const char *name, bool structured);

/* ---- transmission ---- */

void client_request(int client, unsigned type, unsigned flags, uint64_t cookie, uint64_t offset, uint32_t length);
/* Expects a simple reply with this error. */
void client_expect_simple(int client, uint64_t cookie, uint32_t error);
struct client_chunk {
    uint16_t flags, type;
    uint64_t cookie;
    uint32_t length;
    uint8_t *data; /* valid until the next call */
};
struct client_chunk client_chunk(int client);
/* Expects an error chunk; returns its sentence, valid until the next call. */
const char *client_expect_error(int client, uint64_t cookie, uint32_t error);
/* A write of 4 KiB comes back by a read: the connection is alive and in step. */
void client_expect_alive(int client, bool structured);

#endif
