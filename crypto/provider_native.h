/* The native provider: the KDK sealed in a file of the pool directory, which a TPM may have to open. */
#ifndef COFFER_CRYPTO_PROVIDER_NATIVE_H
#define COFFER_CRYPTO_PROVIDER_NATIVE_H

#include "crypto/provider.h"
#include "crypto/sealed_key.h"

extern const struct provider_ops provider_native_file;
extern const struct provider_ops provider_native_passphrase;
extern const struct provider_ops provider_native_tpm;

/* The file at `path` as it is, checked for owner and mode only. */
enum error native_key_read(const char *path, struct sealed_key *sealed) CHECKED;
/* For its seals: the file, checked for owner, mode, provider and seal; and whether a key is the one of its KCV. */
enum error native_key_load(const struct provider_config *config, enum seal seal, struct sealed_key *sealed) CHECKED;
enum error native_key_check(const struct provider_config *config, const struct sealed_key *sealed,
                            const uint8_t kdk[KEY_SIZE]) CHECKED;
/* ERROR_EXISTS: there is a file. */
enum error native_key_store(const char *path, const struct sealed_key *sealed) CHECKED;
/* What it held before is overwritten: an old seal may be one that was revoked. */
enum error native_key_replace(const char *path, const struct sealed_key *sealed) CHECKED;

#endif
