/*
 * The provider that keeps the KEK of a pool on KMIP servers, as key `coffer/POOL-UUID/kek/NUMBER`.
 *
 * What a server gives is a key only when exactly one has that name, it is AES-256 with usage mask Derive Key, in a state
 * that opens something, and neither short nor all zeros. Active wraps and unwraps; Deactivated and Compromised unwrap.
 */
#ifndef COFFER_CRYPTO_PROVIDER_KMIP_H
#define COFFER_CRYPTO_PROVIDER_KMIP_H

#include "crypto/hierarchy.h"
#include "crypto/kmip/message.h"
#include "crypto/provider.h"

#define KMIP_NAME_SIZE     80
#define KMIP_SENTENCE_SIZE 512

extern const struct provider_ops provider_kmip;

/* The name under which the servers know a KEK. */
void kmip_key_name(const struct provider_kek *which, char name[KMIP_NAME_SIZE]);

/* The key. `*away`, which is set where it fails: no server could be reached, so none has said anything of it. *state is KEK_ENDED
 * where it fails because every server of the conf was asked, and each says that the key is not there, or destroyed. What one server
 * says of a key's end ends the cache of that key. Errors as open_kek()'s. */
enum error provider_kmip_open(const struct provider_config *config, const struct provider_kek *which, uint8_t kek[KEY_SIZE],
                              enum kek_state *state, bool *away) CHECKED;

/* What one server said to everything that an unlock needs of it. */
struct kmip_report {
    const char *server; /* the conf's */
    enum error error;
    char sentence[KMIP_SENTENCE_SIZE]; /* where there is an error */
    bool reached;                      /* TLS and the version were agreed */
    struct kmip_version version;
    char vendor[KMIP_TEXT_MAX + 1]; /* empty where it says nothing, or was not reached */
    char id[KMIP_ID_MAX + 1];       /* of the key, where one was found */
    const char *state;              /* "Active", or NULL */
    bool ended;             /* there is no such key, or it is in a state that ends it */
    bool gone;              /* there is no such key, or it was destroyed */
    bool fetched;
    uint8_t kcv[KCV_SIZE]; /* of the key for the provider's id, where it was fetched */
    bool kept;             /* this key is the one that was kept */
};

/* Asks all servers, side by side; with `fetch` for the key as well, which is wiped again. Fails where nobody can be asked: the
 * certificates. Where two servers hold different keys, that is the later one's error (ERROR_FORGED). */
enum error provider_kmip_test(const struct provider_config *config, const struct provider_kek *which, bool fetch,
                              struct kmip_report reports[PROVIDER_SERVERS_MAX]) CHECKED;
/* The same with `fetch`, and keeps, in `kek`, the caller's to wipe, the key of the first server that gave one without an error. */
enum error provider_kmip_test_keep(const struct provider_config *config, const struct provider_kek *which,
                                   struct kmip_report reports[PROVIDER_SERVERS_MAX], uint8_t kek[KEY_SIZE]) CHECKED;

#endif
