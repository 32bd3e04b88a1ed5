/*
 * A connection to a KMIP server: TLS 1.2 or later with certificates on both sides, one message out and one back.
 *
 * Every step has a time limit of its own (connecting to each address, handshake, each answer as a whole), and all of a
 * connection together four of them, so that a server that trickles holds nobody up. To resolve its name is such a step, too. A
 * link is one thread's.
 */
#ifndef COFFER_CRYPTO_KMIP_LINK_H
#define COFFER_CRYPTO_KMIP_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define KMIP_PORT     "5696"
#define KMIP_HOST_MAX 255

struct kmip_tls; /* certificates and key of this side, and whom it trusts */
struct kmip_link;
struct addrinfo;

/* A server's address: HOST, HOST:PORT or [IPv6]:PORT. ERROR_INVALID. */
struct kmip_server {
    char host[KMIP_HOST_MAX + 1], port[6];
};
enum error kmip_server_parse(const char *text, struct kmip_server *server) CHECKED;

/* Where it is (freeaddrinfo), until `deadline` (clock_monotonic). ERROR_KEY_ABSENT: its name is not known, or the resolver says
 * nothing in time: it is left to a thread of its own then. */
enum error kmip_server_find(const struct kmip_server *server, uint64_t deadline, struct addrinfo **list) CHECKED;

/* Paths of PEM files. `key` must be its owner's alone. ERROR_NOT_FOUND, ERROR_ACCESS, ERROR_INVALID say which file. */
enum error kmip_tls_create(const char *ca, const char *certificate, const char *key, struct kmip_tls **tls) CHECKED;
void kmip_tls_destroy(struct kmip_tls *tls); /* NULL is allowed */

/* Connects, and knows the server by its certificate. ERROR_KEY_ABSENT: it cannot be reached in time; ERROR_ACCESS: one
 * side does not trust the other. `timeout` in milliseconds; `tls` outlives the link. */
enum error kmip_link_open(struct kmip_tls *tls, const struct kmip_server *server, unsigned timeout,
                          struct kmip_link **link) CHECKED;
/* Sends a request and reads the answer, whole, into `answer` of TTLV_MESSAGE_MAX bytes. ERROR_KEY_ABSENT: the server is
 * gone or too slow; ERROR_ACCESS; ERROR_PROTOCOL, ERROR_TOO_LARGE. After an error the link is good for closing only. */
enum error kmip_link_exchange(struct kmip_link *link, const void *request, size_t size, uint8_t *answer,
                              size_t *answer_size) CHECKED;
void kmip_link_close(struct kmip_link *link); /* NULL is allowed */

/* The process ends: each link or look-up that waits, and each later one, fails at once (ERROR_KEY_ABSENT). Any thread. */
void kmip_links_abandon(void);
bool kmip_links_are_abandoned(void);

#endif
