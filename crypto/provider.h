/*
 * Key providers: who keeps the KDK, behind one table of operations. Providers are named in coffer.conf
 * ([provider NAME] type = native, seal = file | passphrase, id = UUID, path = FILE); a TPM seal and a KMIP provider
 * join this table later. A disk never chooses a provider: the conf does.
 *
 * A sealed KDK is a small JSON file of the pool directory: version, provider id, seal, KCV of the KDK and, for
 * `passphrase`, the scrypt parameters (RFC 7914) and the KDK wrapped by AES-256-KWP; for `file`, the KDK itself in
 * base64. Costs have a floor and a ceiling: a file outside them is refused before any work.
 */
#ifndef COFFER_CRYPTO_PROVIDER_H
#define COFFER_CRYPTO_PROVIDER_H

#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "crypto/kdf.h"

#define PROVIDER_NAME_MAX 63
#define PASSPHRASE_MAX 1024
#define SCRYPT_LOG2_N_FLOOR 14
#define SCRYPT_LOG2_N_DEFAULT 17
#define SCRYPT_LOG2_N_CEILING 22

struct provider_config {
    char name[PROVIDER_NAME_MAX + 1];
    struct uuid id;
    const char *type; /* "native" */
    const char *seal; /* "file", "passphrase" */
    const char *path; /* of the sealed file */
};

struct provider_secret { /* what a person supplies; NULL where not needed */
    const char *passphrase;
    size_t passphrase_size;
};

struct provider_ops {
    const char *type;
    const char *seal;
    bool needs_passphrase;
    /* Makes a new KDK and seals it; fails with ERROR_EXISTS where the file exists. */
    enum error (*create)(const struct provider_config *config, const struct provider_secret *secret,
                         uint8_t kdk[KEY_SIZE]);
    /* Unseals. ERROR_WRONG_KEY: wrong passphrase; ERROR_CORRUPT: damaged file; ERROR_FOREIGN: another provider's id;
     * ERROR_ACCESS: others may read the file; ERROR_LOCKED: a passphrase is needed and none was given. */
    enum error (*open)(const struct provider_config *config, const struct provider_secret *secret,
                       uint8_t kdk[KEY_SIZE]);
};

/* The operations for config->type and config->seal; ERROR_UNSUPPORTED names those that exist. */
enum error provider_find(const struct provider_config *config, const struct provider_ops **ops) CHECKED;

/* Reads a passphrase: from the file at `path` ("-": standard input; one trailing newline is dropped), or, where path
 * is NULL, from the systemd credential "coffer.passphrase" ($CREDENTIALS_DIRECTORY), or from the terminal without
 * echo (twice where `confirm`). The result lives in the arena: arena_free(). */
enum error passphrase_read(const char *path, const char *prompt, bool confirm, char **passphrase, size_t *size) CHECKED;

#endif
