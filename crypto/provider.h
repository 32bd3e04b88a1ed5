/*
 * Key providers: who keeps the KDK, or the KEK itself, behind one table of operations. Providers are named in
 * coffer.conf ([provider NAME] type = native, seal = file | passphrase | tpm, id = UUID, path = FILE, tcti = TCTI; or
 * type = kmip, id = UUID, servers = HOST:PORT, ..., ca, certificate, key = FILE; tpm-cache = TIME, tcti = TCTI). A disk never
 * chooses a provider: the conf does.
 *
 * A sealed KDK is a small JSON file of the pool directory: version, provider id, seal, KCV of the KDK and, for
 * `passphrase`, the scrypt parameters (RFC 7914) and the KDK wrapped by AES-256-KWP; for `file`, the KDK itself in
 * base64; for `tpm`, what only the TPM that sealed it turns into the KDK (crypto/tpm.h). Costs have a floor and a
 * ceiling: a file outside them is refused before any work.
 */
#ifndef COFFER_CRYPTO_PROVIDER_H
#define COFFER_CRYPTO_PROVIDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "crypto/kdf.h"

#define PROVIDER_NAME_MAX 63
#define PROVIDER_SERVERS_MAX 16
#define PROVIDER_TIMEOUT_DEFAULT 5000u /* milliseconds */
#define PROVIDER_TIMEOUT_MAX     60000u
#define PASSPHRASE_MAX 1024
#define SCRYPT_LOG2_N_FLOOR 14
#define SCRYPT_LOG2_N_DEFAULT 17
#define SCRYPT_LOG2_N_CEILING 22

struct provider_config {
    char name[PROVIDER_NAME_MAX + 1];
    struct uuid id;
    const char *type; /* "native", "kmip" */
    const char *seal; /* "file", "passphrase", "tpm"; NULL of kmip */
    const char *path; /* of the sealed file; NULL of kmip */
    const char *tcti; /* of the seal "tpm", and of the cache: how the TPM is reached; NULL: TPM_TCTI_DEFAULT */
    uint32_t pcrs;    /* where a new key is sealed in a TPM: bit n: only where PCR n has a value that was approved */
    /* Of kmip: */
    const char *const *servers; /* HOST, HOST:PORT or [IPV6]:PORT, at most PROVIDER_SERVERS_MAX; the first that answers */
    size_t server_count;
    const char *ca, *certificate, *key; /* files in PEM */
    unsigned timeout;                   /* milliseconds, of each step */
    bool separate;                      /* the servers do not share their keys: each is given a new one */
    const char *cache;                  /* the file in which the key is cached, sealed in the TPM (key_cache.h); or NULL */
    uint64_t cache_seconds;             /* how long that opens the pool after a server gave the key; 0: nothing is cached */
};

/* Which KEK of a provider. */
struct provider_kek {
    struct uuid pool;
    uint64_t number, salt; /* the salt is the native provider's; else 0 */
};

/* But for active, it unwraps only. Unasked: it came from a backup or a recovery key, and what its server calls it is unknown;
 * cached: it came from the TPM, because no server could be reached. Ended, where none came: each server says that it was destroyed,
 * or has none of that name. */
enum kek_state { KEK_ACTIVE, KEK_DEACTIVATED, KEK_COMPROMISED, KEK_UNASKED, KEK_CACHED, KEK_ENDED };

struct provider_secret { /* what a person supplies, for "tpm" the PIN; NULL where not needed */
    const char *passphrase;
    size_t passphrase_size;
    const uint8_t *key; /* the provider's key itself, from a backup of it (provider_key.h): it is not asked then; or NULL */
};

/* A provider keeps either a KDK (create, open) or KEKs (create_kek, open_kek); the others are NULL. Who needs a KEK calls
 * provider_kek_create() and provider_kek_open(), and need not know. */
struct provider_ops {
    const char *type;
    const char *seal;
    bool needs_passphrase;
    /* Whether create() can do its work: changes nothing. NULL: it can. */
    enum error (*check)(const struct provider_config *config);
    /* Makes a new KDK and seals it; fails with ERROR_EXISTS where the file exists. */
    enum error (*create)(const struct provider_config *config, const struct provider_secret *secret,
                         uint8_t kdk[KEY_SIZE]);
    /* As create(), sealed as the key of `present` is, whose file may say more than its conf; NULL: create() does just that.
     * `secret` is of use where that one has one, and with `fresh` in any case. ERROR_LOCKED: it has one, and none was given. */
    enum error (*create_like)(const struct provider_config *config, const struct provider_config *present,
                              const struct provider_secret *secret, bool fresh, uint8_t kdk[KEY_SIZE]);
    /* Unseals. ERROR_WRONG_KEY: wrong passphrase; ERROR_CORRUPT: damaged file; ERROR_FOREIGN: another provider's id;
     * ERROR_ACCESS: others may read the file; ERROR_LOCKED: a passphrase is needed and none was given; of a TPM those of
     * tpm_unseal(). */
    enum error (*open)(const struct provider_config *config, const struct provider_secret *secret,
                       uint8_t kdk[KEY_SIZE]);
    /* Makes a new KEK, which every server gave back over a new connection. ERROR_EXISTS where there is one. */
    enum error (*create_kek)(const struct provider_config *config, const struct provider_kek *which,
                             uint8_t kek[KEY_SIZE]);
    /* ERROR_KEY_ABSENT: no server that can be reached has it; ERROR_ACCESS: one side does not trust the other, or the key
     * is in a state in which it opens nothing; ERROR_FORGED: another key stands in its place. */
    enum error (*open_kek)(const struct provider_config *config, const struct provider_kek *which,
                           uint8_t kek[KEY_SIZE], enum kek_state *state);
    /* Takes back what create_kek() just made: nothing that is to stay was wrapped with it. A key of that name that is another
     * one stays. What fails is told. */
    void (*withdraw_kek)(const struct provider_config *config, const struct provider_kek *which, const uint8_t kek[KEY_SIZE]);
    /* Ends one that was in force: revokes it, and with `destroy` destroys it. Where it is not there, that is well. */
    enum error (*end_kek)(const struct provider_config *config, const struct provider_kek *which, bool destroy);
};

/* The operations for config->type and config->seal; ERROR_UNSUPPORTED names those that exist. */
enum error provider_find(const struct provider_config *config, const struct provider_ops **ops) CHECKED;

/* Makes a new key, and of it the KEK `which`; sets which->salt. Errors as the operations'. */
enum error provider_kek_create(const struct provider_config *config, const struct provider_secret *secret,
                               struct provider_kek *which, uint8_t kek[KEY_SIZE]) CHECKED;
/* Takes back what provider_kek_create() just made, before anything that is to stay was wrapped with it. */
void provider_kek_withdraw(const struct provider_config *config, const struct provider_kek *which, const uint8_t kek[KEY_SIZE]);
/* The KEK. ERROR_KEY_ABSENT: the key is not there; errors as the operations'. */
enum error provider_kek_open(const struct provider_config *config, const struct provider_secret *secret,
                             const struct provider_kek *which, uint8_t kek[KEY_SIZE], enum kek_state *state) CHECKED;
/* The same for an open of the pool: where a provider has servers, and none of them can be reached, the key that is cached in the
 * TPM serves, if there is one and it is not too old; *state is KEK_CACHED then, and it is told. */
enum error provider_kek_open_or_cached(const struct provider_config *config, const struct provider_secret *secret,
                                       const struct provider_kek *which, uint8_t kek[KEY_SIZE], enum kek_state *state) CHECKED;
/* Writes a KDK to a new file, sealed by a passphrase, whatever seals it otherwise: with `seal = passphrase` and this
 * path the same provider opens by it. ERROR_EXISTS. */
enum error provider_copy_create(const struct provider_config *config, const char *path,
                                const struct provider_secret *secret, const uint8_t kdk[KEY_SIZE]) CHECKED;

/* Reads a passphrase: from the file at `path` ("-": standard input; one trailing newline is dropped), or, where path
 * is NULL, from the systemd credential "coffer.passphrase" ($CREDENTIALS_DIRECTORY), or from the terminal without
 * echo (twice where `confirm`). The result lives in the arena: arena_free(). */
enum error passphrase_read(const char *path, const char *prompt, bool confirm, char **passphrase, size_t *size) CHECKED;

#endif
