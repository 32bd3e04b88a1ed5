/*
 * The header of a stream and the keys that hang on it:
 *
 *   master        = scrypt(passphrase, salt)                                      of a passphrase
 *                 = KBKDF(key of the file, "coffer1/stream-key", salt)            of a key file
 *                 = a public constant                                             of neither: tags find damage, not forgery
 *   KCV           = KBKDF(master, "coffer1/kcv", stream)
 *   session key   = KBKDF(master, "coffer1/stream", digest of the header)         of the first session
 *                 = KBKDF(master, "coffer1/stream-go-on", digest | tag | salt)    of one that goes on behind a chunk with
 *                                                                                 that tag, under a salt of its own
 *   import        = KBKDF(master, "coffer1/stream-import", digest | manifest)     tells an import from others
 *
 * Salts are random, so no key seals two chunks of one number: not of two streams, nor where an export was interrupted
 * and writes that chunk again.
 */
#ifndef COFFER_STREAM_HEADER_H
#define COFFER_STREAM_HEADER_H

#include "stream/format.h"

struct stream_secret {
    const char *passphrase; /* NULL: none */
    size_t passphrase_size;
    const uint8_t *key; /* KEY_SIZE bytes; NULL: none */
};

/* A new one, with its master key. `log2_n` as in provider.h. */
enum error stream_header_make(const struct stream_secret *secret, unsigned log2_n, struct stream_header_format *header,
                              uint8_t master[KEY_SIZE]) CHECKED;
/* The same of a bundle of files, which is always under a passphrase. */
enum error stream_bundle_header_make(const struct stream_secret *secret, unsigned log2_n, struct stream_header_format *header,
                                     uint8_t master[KEY_SIZE]) CHECKED;
/* Whether it is one that can be read: ERROR_INVALID (no stream, or a bundle), ERROR_NEWER_FORMAT, ERROR_CORRUPT,
 * ERROR_UNSUPPORTED. */
enum error stream_header_check(const struct stream_header_format *header) CHECKED;
/* The same of a bundle. */
enum error stream_bundle_header_check(const struct stream_header_format *header) CHECKED;
/* Of a header that was checked. ERROR_KEY_ABSENT says what is needed; ERROR_WRONG_KEY, also where there is a secret and the
 * stream is under none: who has one does not want what anybody may have put in its place. */
enum error stream_master_open(const struct stream_header_format *header, const struct stream_secret *secret,
                              uint8_t master[KEY_SIZE]) CHECKED;

enum error stream_first_key(const uint8_t master[KEY_SIZE], const struct stream_header_format *header,
                            uint8_t key[KEY_SIZE]) CHECKED;
enum error stream_import_derive(const uint8_t master[KEY_SIZE], const struct stream_header_format *header,
                                const struct stream_manifest_format *manifest, struct uuid *import) CHECKED;
enum error stream_next_key(const uint8_t master[KEY_SIZE], const struct stream_header_format *header,
                           const uint8_t tag[STREAM_TAG_SIZE], const uint8_t salt[STREAM_SALT_SIZE],
                           uint8_t key[KEY_SIZE]) CHECKED;

#endif
