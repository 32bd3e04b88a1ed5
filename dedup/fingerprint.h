/*
 * The fingerprint of a 4 KiB chunk: 128 bits, keyed per pool and dedup domain. `xxh3` is XXH3-128 with a secret
 * (https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md): fast and not collision-resistant, so a hit counts only
 * after its stored bytes were compared. `hmac-sha256` is HMAC-SHA-256 truncated to 128 bits: no comparison needed.
 */
#ifndef COFFER_DEDUP_FINGERPRINT_H
#define COFFER_DEDUP_FINGERPRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"

#define CHUNK_SIZE 4096
#define FINGERPRINT_SIZE 16
#define FINGERPRINT_SECRET_BYTES 192

enum fingerprint_kind { FINGERPRINT_XXH3 = 1, FINGERPRINT_HMAC_SHA256 = 2 };

struct fingerprint { uint8_t bytes[FINGERPRINT_SIZE]; };

struct fingerprint_key {
    enum fingerprint_kind kind;
    uint8_t secret[FINGERPRINT_SECRET_BYTES]; /* hmac-sha256 uses the first 32 bytes */
};

static inline bool fingerprint_equal(struct fingerprint a, struct fingerprint b) { return memcmp(&a, &b, sizeof a) == 0; }

/* Fingerprints of `count` chunks; chunks[i] has CHUNK_SIZE bytes. */
enum error fingerprint_compute(const struct fingerprint_key *key, const void *const *chunks, size_t count,
                               struct fingerprint *out) CHECKED;
/* Wipes and frees what the calling thread keeps of a key (also done when the thread ends). */
void fingerprint_thread_end(void);
/* True where all bytes are zero: such a chunk becomes a hole. */
bool chunk_is_zero(const void *chunk);

#endif
