/*
 * A recovery key: 256 random bits that a person keeps on paper, and the pool's key wrapped by them in a small file.
 *
 *   wrapped = KWP(KBKDF(recovery key, "coffer1/recovery", pool | provider | salt), key)       SP 800-38F, SP 800-108
 *
 * As text it is 13 groups of four characters of base32 (RFC 4648) and one more as a check word, which is derived from the key:
 * KBKDF(recovery key, "coffer1/recovery-check", ""), 20 bits. The file is a flat JSON object:
 *
 *   version      1
 *   pool         UUID
 *   provider     UUID of the provider whose key it is
 *   key          "kdk", or "kek" of a provider that keeps KEKs
 *   kek_number   16 hexadecimal digits: the KEK that was in force
 *   kcv          KCV of the key for the provider's UUID, 16 hexadecimal digits
 *   salt         32 bytes, base64
 *   wrapped      40 bytes, base64
 *   checksum     first 8 bytes, hexadecimal, of an HMAC under a constant over all of the above: tells damage from a wrong key
 */
#ifndef COFFER_CRYPTO_RECOVERY_H
#define COFFER_CRYPTO_RECOVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "crypto/hierarchy.h"
#include "crypto/key_wrap.h"

#define RECOVERY_NAME         "recovery.json" /* in the pool directory */
#define RECOVERY_GROUPS       14
#define RECOVERY_KEY_TEXT     (RECOVERY_GROUPS * 5) /* with a zero byte at its end */
#define RECOVERY_FILE_MAX     2048
#define RECOVERY_SALT_SIZE    32
#define RECOVERY_WRAPPED_SIZE (KEY_SIZE + KEY_WRAP_OVERHEAD)

struct recovery {
    struct uuid pool, provider;
    bool is_kek;
    uint64_t kek_number;
    uint8_t kcv[KCV_SIZE];
    uint8_t salt[RECOVERY_SALT_SIZE];
    uint8_t wrapped[RECOVERY_WRAPPED_SIZE];
};

enum error recovery_key_format(const uint8_t recovery_key[KEY_SIZE], char text[RECOVERY_KEY_TEXT]) CHECKED;
/* Small letters, blanks, line ends and hyphens do not matter. ERROR_INVALID: it is none, or mistyped. */
enum error recovery_key_parse(const char *text, size_t size, uint8_t recovery_key[KEY_SIZE]) CHECKED;

/* Fills salt, wrapped and kcv; pool, provider and the rest are the caller's. */
enum error recovery_wrap(struct recovery *recovery, const uint8_t recovery_key[KEY_SIZE], const uint8_t key[KEY_SIZE]) CHECKED;
/* ERROR_WRONG_KEY: another recovery key. */
enum error recovery_unwrap(const struct recovery *recovery, const uint8_t recovery_key[KEY_SIZE],
                           uint8_t key[KEY_SIZE]) CHECKED;

enum error recovery_encode(const struct recovery *recovery, char text[RECOVERY_FILE_MAX], size_t *size) CHECKED;
/* ERROR_CORRUPT, ERROR_NEWER_FORMAT; the sentence does not name the file. */
enum error recovery_decode(const char *text, size_t size, struct recovery *recovery) CHECKED;

/* The file in a pool directory; storing replaces it as a whole. ERROR_NOT_FOUND: there is none. */
enum error recovery_load(const char *directory, struct recovery *recovery) CHECKED;
enum error recovery_store(const char *directory, const struct recovery *recovery) CHECKED;

#endif
