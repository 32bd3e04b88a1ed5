/*
 * Every key of Coffer, as equations (shared design: SECURITY 2 and 3). Contexts are fixed-width binary: UUIDs 16
 * bytes, numbers, serials and salts 8 bytes little-endian.
 *
 *   KEK(n)           = KBKDF(KDK, "coffer1/kek", pool | n | salt)
 *   K_wrap(device)   = KBKDF(KEK, "coffer1/wrap", pool | device)
 *   K_super(device)  = KBKDF(KEK, "coffer1/superblock", pool | device)
 *   key slots          DEK, K_log, K_pool: random, wrapped by AES-256-KWP (RFC 5649) as kind | slot | device | key
 *   XTS keys         = KBKDF(DEK, "coffer1/segment", device | serial | salt), 64 bytes
 *   tag key          = KBKDF(K_log, "coffer1/tag", device | serial | birth salt)
 *   fingerprint key  = KBKDF(K_pool, "coffer1/fingerprint", domain); "coffer1/floor", "coffer1/scrub",
 *                      "coffer1/audit" likewise, of the pool
 *   KCV(key)         = KBKDF(key, "coffer1/kcv", id), 8 bytes: shown and compared, never a hash of a key
 */
#ifndef COFFER_CRYPTO_HIERARCHY_H
#define COFFER_CRYPTO_HIERARCHY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "crypto/kdf.h"

enum key_kind { KEY_KIND_DEK = 1, KEY_KIND_LOG = 2, KEY_KIND_POOL = 3 };

#define WRAPPED_KEY_SIZE 64 /* KWP of kind 1 | zero 3 | slot 4 | device 16 | key 32 = 56 bytes, plus 8 */
#define KCV_SIZE 8
#define KCV_TEXT_SIZE (2 * KCV_SIZE + 1)
#define XTS_KEY_SIZE 64
#define FINGERPRINT_SECRET_SIZE 192

enum error kek_derive(const uint8_t kdk[KEY_SIZE], struct uuid pool, uint64_t number, uint64_t salt,
                      uint8_t kek[KEY_SIZE]) CHECKED;
enum error wrap_key_derive(const uint8_t kek[KEY_SIZE], struct uuid pool, struct uuid device, uint8_t key[KEY_SIZE]) CHECKED;
enum error superblock_key_derive(const uint8_t kek[KEY_SIZE], struct uuid pool, struct uuid device,
                                 uint8_t key[KEY_SIZE]) CHECKED;
enum error segment_xts_key_derive(const uint8_t dek[KEY_SIZE], struct uuid device, uint64_t serial, uint64_t salt,
                                  uint8_t key[XTS_KEY_SIZE]) CHECKED;
enum error segment_tag_key_derive(const uint8_t k_log[KEY_SIZE], struct uuid device, uint64_t serial,
                                  uint64_t birth_salt, uint8_t key[KEY_SIZE]) CHECKED;
enum error fingerprint_secret_derive(const uint8_t k_pool[KEY_SIZE], struct uuid domain,
                                     uint8_t secret[FINGERPRINT_SECRET_SIZE]) CHECKED;
enum error floor_key_derive(const uint8_t k_pool[KEY_SIZE], struct uuid pool, uint8_t key[KEY_SIZE]) CHECKED;
enum error audit_key_derive(const uint8_t k_pool[KEY_SIZE], struct uuid pool, uint8_t key[KEY_SIZE]) CHECKED;
enum error scrub_key_derive(const uint8_t k_pool[KEY_SIZE], struct uuid pool, uint8_t key[KEY_SIZE]) CHECKED;
enum error kcv_derive(const uint8_t key[KEY_SIZE], struct uuid id, uint8_t kcv[KCV_SIZE]) CHECKED;
/* As people read it: small hexadecimal digits. */
void kcv_format(const uint8_t kcv[KCV_SIZE], char text[KCV_TEXT_SIZE]);

/* The KEK of a plaintext pool: a public constant, so that its tags find damage, not forgery. */
extern const uint8_t kek_public[KEY_SIZE];

/* Random key material, from OpenSSL's private generator. */
enum error key_generate(uint8_t key[KEY_SIZE]) CHECKED;

/* Wraps a key for slot `slot` of `device`; unwrap compares kind, slot and device and fails with ERROR_FORGED where
 * they differ, ERROR_WRONG_KEY where KWP's own check fails. */
enum error key_wrap(const uint8_t wrap_key[KEY_SIZE], enum key_kind kind, uint32_t slot, struct uuid device,
                    const uint8_t key[KEY_SIZE], uint8_t wrapped[WRAPPED_KEY_SIZE]) CHECKED;
enum error key_unwrap(const uint8_t wrap_key[KEY_SIZE], enum key_kind kind, uint32_t slot, struct uuid device,
                      const uint8_t wrapped[WRAPPED_KEY_SIZE], uint8_t key[KEY_SIZE]) CHECKED;

#endif
