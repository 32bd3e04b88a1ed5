/* The native provider: the KDK sealed in a file of the pool directory, which a TPM may have to open. */
#ifndef COFFER_CRYPTO_PROVIDER_NATIVE_H
#define COFFER_CRYPTO_PROVIDER_NATIVE_H

#include "crypto/provider.h"

extern const struct provider_ops provider_native_file;
extern const struct provider_ops provider_native_passphrase;
extern const struct provider_ops provider_native_tpm;

#endif
