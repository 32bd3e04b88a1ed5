/*
 * Sealing chunks: AES-256-GCM (NIST SP 800-38D) with the nonce of the STREAM construction (Hoang, Reyhanitabar, Rogaway,
 * Vizár 2015): number of the chunk, 8 bytes big-endian | zero 3 | 1 of the last chunk, else 0. So a chunk opens at its
 * own place only, and a stream ends only where its last chunk is. What stands before a chunk's content, but for the tag,
 * is authenticated too. Where nothing is encrypted the content is authenticated in the clear.
 */
#ifndef COFFER_STREAM_CHUNK_H
#define COFFER_STREAM_CHUNK_H

#include <stdbool.h>

#include "stream/format.h"

struct stream_cipher; /* of one session */

enum error stream_cipher_create(const uint8_t key[KEY_SIZE], bool encrypted, struct stream_cipher **cipher) CHECKED;
void stream_cipher_destroy(struct stream_cipher *cipher); /* NULL is allowed */

/* `head` is filled but for its tag, which is set; its `size` bytes go from `in` to `out` (which may be `in`). */
enum error stream_chunk_seal(struct stream_cipher *cipher, struct stream_chunk_format *head, const void *in,
                             void *out) CHECKED;
/* ERROR_CORRUPT, with no sentence, where the tag does not fit; then what is in `out` means nothing. */
enum error stream_chunk_open(struct stream_cipher *cipher, const struct stream_chunk_format *head, const void *in,
                             void *out) CHECKED;

#endif
