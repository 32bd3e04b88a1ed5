/* Key derivation: KBKDF of NIST SP 800-108 in counter mode with HMAC-SHA-256, and HMAC-SHA-256 itself (RFC 2104). */
#ifndef COFFER_CRYPTO_KDF_H
#define COFFER_CRYPTO_KDF_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define KEY_SIZE 32
#define SCRYPT_R 8
#define SCRYPT_P 1

/* out = KBKDF(key, label, context), `size` bytes (1 to 1024). */
enum error kdf_derive(const uint8_t key[KEY_SIZE], const char *label, const void *context, size_t context_size,
                      void *out, size_t size) CHECKED;

/* mac = HMAC-SHA-256(key, data). */
enum error hmac_sha256(const uint8_t key[KEY_SIZE], const void *data, size_t size, uint8_t mac[32]) CHECKED;

/* key = scrypt(passphrase, salt) of RFC 7914 with N = 2^log2_n, SCRYPT_R, SCRYPT_P. Who was told the cost checks it
 * first: it takes 2^log2_n KiB, and time in proportion. */
enum error scrypt_derive(const char *passphrase, size_t passphrase_size, const void *salt, size_t salt_size,
                         unsigned log2_n, uint8_t key[KEY_SIZE]) CHECKED;

#endif
