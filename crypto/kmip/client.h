/*
 * A conversation with one KMIP server: connected, the version agreed, one operation after another. Nothing is retried
 * here; who has several servers or patience is provider_kmip.c. A client is one thread's.
 */
#ifndef COFFER_CRYPTO_KMIP_CLIENT_H
#define COFFER_CRYPTO_KMIP_CLIENT_H

#include "crypto/kmip/link.h"
#include "crypto/kmip/message.h"

struct kmip_client;

/* Connects and agrees on a version. Errors as kmip_link_open(); ERROR_UNSUPPORTED: no version in common. */
enum error kmip_client_open(struct kmip_tls *tls, const struct kmip_server *server, unsigned timeout,
                            struct kmip_client **client) CHECKED;
void kmip_client_close(struct kmip_client *client); /* NULL is allowed */
struct kmip_version kmip_client_version(const struct kmip_client *client);

/* What the server calls itself, printable. */
enum error kmip_client_query(struct kmip_client *client, char vendor[KMIP_TEXT_MAX + 1]) CHECKED;
/* How many keys of this name there are, counted up to 2, and the id of the first. */
enum error kmip_client_locate(struct kmip_client *client, const char *name, size_t *count,
                              char id[KMIP_ID_MAX + 1]) CHECKED;
/* Makes a key on the server; it is not active yet. */
enum error kmip_client_create(struct kmip_client *client, const char *name, char id[KMIP_ID_MAX + 1]) CHECKED;
/* Gives a key to the server. */
enum error kmip_client_register(struct kmip_client *client, const char *name, const uint8_t key[KEY_SIZE],
                                char id[KMIP_ID_MAX + 1]) CHECKED;
/* Activate, Revoke or Destroy. */
enum error kmip_client_change(struct kmip_client *client, enum kmip_operation operation, const char *id) CHECKED;
/* The attributes of a key that must have this name. */
enum error kmip_client_attributes(struct kmip_client *client, const char *id, const char *name,
                                  struct kmip_attributes *attributes) CHECKED;
/* The key. ERROR_FORGED: what the server has is no key of a pool. */
enum error kmip_client_get(struct kmip_client *client, const char *id, uint8_t key[KEY_SIZE]) CHECKED;

#endif
