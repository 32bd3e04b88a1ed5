/*
 * A key and what belongs to it in a PKCS#12 file (RFC 7292) under a password: two secret bags in one encrypted part, the
 * key (with a name and the key's check value as its id) and a text. Encrypted by PBES2 (PBKDF2 with HMAC-SHA-256,
 * AES-256-CBC; RFC 8018), closed by a MAC (HMAC-SHA-256); `openssl pkcs12 -info` reads it. What kinds of bags these are say
 * two object identifiers made of UUIDs (2.25.*, ITU-T X.667).
 *
 * A file is input: its size, its form and its costs are checked before a password is stretched, and nothing is taken from
 * it before the MAC fits.
 */
#ifndef COFFER_CRYPTO_PKCS12_H
#define COFFER_CRYPTO_PKCS12_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "crypto/hierarchy.h"

#define PKCS12_FILE_MAX       (1u << 20)
#define PKCS12_TEXT_MAX       (512u << 10)
#define PKCS12_NAME_MAX       255
#define PKCS12_SALT_SIZE      16
#define PKCS12_ITERATIONS     600000u   /* of what is written, for the cipher's key */
#define PKCS12_MAC_ITERATIONS 1200000u  /* … and the MAC's, each of which is half the work */
#define PKCS12_ITERATIONS_MAX 10000000u /* of what is read */

struct pkcs12 {
    char name[PKCS12_NAME_MAX + 1]; /* UTF-8 */
    uint8_t kcv[KCV_SIZE];
    uint8_t key[KEY_SIZE];
    char *text;                     /* malloc'ed where it was read, and zero-terminated: pkcs12_forget() */
    size_t text_size;
};

/* *data is malloc'ed. The password has 1 to PASSPHRASE_MAX bytes. Takes about a second, by design. */
enum error pkcs12_encode(const struct pkcs12 *content, const char *password, size_t password_size, uint8_t **data,
                         size_t *size) CHECKED;

/* `content` is to lie in the arena. ERROR_CORRUPT: no whole PKCS#12 file; ERROR_UNSUPPORTED: it asks for more work than
 * PKCS12_ITERATIONS_MAX; ERROR_FOREIGN: whole, but not of this form; ERROR_WRONG_KEY: the password is another. The sentence does
 * not name the file: the caller prefixes it. */
enum error pkcs12_decode(const void *data, size_t size, const char *password, size_t password_size,
                         struct pkcs12 *content) CHECKED;

/* Frees the text that pkcs12_decode() made, and wipes the key. */
void pkcs12_forget(struct pkcs12 *content);

#endif
