/*
 * The file in which the native provider keeps a sealed KDK: a flat JSON object, version 1.
 *
 *   version         1
 *   provider        UUID of the provider
 *   seal            "file", "passphrase" or "tpm"
 *   kcv             KCV of the KDK for the provider's UUID, 16 hexadecimal digits
 *   kdk             seal "file": the KDK, base64
 *   scrypt_log2_n   seal "passphrase": the costs of scrypt (RFC 7914)
 *   scrypt_r
 *   scrypt_p
 *   salt            32 bytes, base64
 *   wrapped         the KDK under the scrypt output by AES-256-KWP, 40 bytes, base64
 *   tpm_flags       seal "tpm": 1 where a PIN is needed, and 2 where it is bound to PCRs
 *   tpm_primary     Name of the storage primary under which the KDK was sealed, 34 bytes, base64
 *   tpm_endorsement Name of the endorsement key of that TPM, 34 bytes, base64; all zero: it was not to be had
 *   tpm_public      the sealed object's TPM2B_PUBLIC, base64
 *   tpm_private     its TPM2B_PRIVATE, encrypted by the TPM, base64
 *   tpm_pcrs        where it is bound: bit n stands for PCR n of the SHA-256 bank
 *   tpm_approver    x and y, 64 bytes, base64, of the key that approves values of PCRs
 *   tpm_reference   16 bytes, base64, that are of this object
 *   tpm_approvals   1 to 8 of 96 bytes, base64: SHA-256 over the values, r and s of the signature
 *   checksum        first 8 bytes, hexadecimal, of SHA-256 over all of the above but the kdk, which has its KCV
 *
 * The checksum tells damage from a wrong passphrase; it protects from accidents only.
 */
#ifndef COFFER_CRYPTO_SEALED_KEY_H
#define COFFER_CRYPTO_SEALED_KEY_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "crypto/hierarchy.h"
#include "crypto/key_wrap.h"
#include "crypto/tpm.h"

#define SEALED_KEY_TEXT_MAX     4096
#define SEALED_KEY_SALT_SIZE    32
#define SEALED_KEY_WRAPPED_SIZE (KEY_SIZE + KEY_WRAP_OVERHEAD)

enum seal { SEAL_FILE = 1, SEAL_PASSPHRASE = 2, SEAL_TPM = 3 };

struct sealed_key {
    enum seal seal;
    struct uuid provider;
    uint8_t kcv[KCV_SIZE];
    uint32_t scrypt_log2_n, scrypt_r, scrypt_p; /* as the file says; who works by them checks them first */
    uint8_t salt[SEALED_KEY_SALT_SIZE];
    uint8_t wrapped[SEALED_KEY_WRAPPED_SIZE];
    uint8_t kdk[KEY_SIZE]; /* seal "file" */
    struct tpm_sealed tpm; /* seal "tpm" */
};

const char *seal_name(enum seal seal);

/* Both may handle a key in the clear: `text` and `sealed` are the caller's to wipe. */
enum error sealed_key_encode(const struct sealed_key *sealed, char text[SEALED_KEY_TEXT_MAX], size_t *size) CHECKED;
/* ERROR_CORRUPT, ERROR_NEWER_FORMAT; the sentence does not name the file: the caller prefixes it. */
enum error sealed_key_decode(const char *text, size_t size, struct sealed_key *sealed) CHECKED;

#endif
