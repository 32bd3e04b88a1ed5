/* The key that a provider keeps, itself: a KDK, or of a provider that keeps KEKs, a KEK. For backups of it. */
#ifndef COFFER_CRYPTO_PROVIDER_KEY_H
#define COFFER_CRYPTO_PROVIDER_KEY_H

#include <stdbool.h>

#include "crypto/provider.h"

/* Whether the provider keeps KEKs and no KDK. */
enum error provider_keeps_keks(const struct provider_config *config, bool *keeps) CHECKED;
/* The key of which the KEK `which` is made, or that KEK itself. Errors as provider_kek_open()'s. */
enum error provider_key_open(const struct provider_config *config, const struct provider_secret *secret,
                             const struct provider_kek *which, uint8_t key[KEY_SIZE]) CHECKED;
/* The KEK `which`, of such a key. */
enum error provider_key_kek(const uint8_t key[KEY_SIZE], bool is_kek, const struct provider_kek *which,
                            uint8_t kek[KEY_SIZE]) CHECKED;
/* Writes a KDK to the new file config->path, sealed as config->seal says: "file" or "passphrase". ERROR_EXISTS;
 * ERROR_UNSUPPORTED of the other seals. */
enum error provider_key_store(const struct provider_config *config, const struct provider_secret *secret,
                              const uint8_t kdk[KEY_SIZE]) CHECKED;

#endif
