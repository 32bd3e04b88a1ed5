/*
 * Bulk encryption and authentication of segments: AES-256-XTS (IEEE 1619, NIST SP 800-38E) in data units of 4096
 * bytes, tweak = block number within the segment, and AES-256-GMAC tags (NIST SP 800-38D) of 16 bytes, nonce = 12
 * bytes. Both halves of an XTS key are compared before encryption and before decryption (OpenSSL 3.0 checks only the
 * first). A plaintext segment (`encrypted` false) is copied instead of encrypted; its tags are made all the same.
 *
 * Threads: any; each thread keeps a bounded set of EVP contexts of the keys that it used last, found by
 * segment_keys.id, so that a key schedule is paid once per thread and segment, not once per call.
 * bulk_thread_end() frees the calling thread's contexts (also done when the thread ends).
 */
#ifndef COFFER_CRYPTO_BULK_H
#define COFFER_CRYPTO_BULK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "crypto/hierarchy.h"

#define BULK_UNIT 4096
#define TAG_SIZE 16
#define TAG_NONCE_SIZE 12

struct segment_keys {
    uint64_t id; /* unique in the life of the process, never 0: bulk_keys_id() */
    bool encrypted;
    uint8_t xts[XTS_KEY_SIZE];
    uint8_t tag[KEY_SIZE];
};

uint64_t bulk_keys_id(void);

/* `size` is a multiple of BULK_UNIT; `first_block` is the block number of `in` within its segment. in == out allowed. */
enum error bulk_encrypt(const struct segment_keys *keys, uint64_t first_block, const void *in, void *out, size_t size) CHECKED;
enum error bulk_decrypt(const struct segment_keys *keys, uint64_t first_block, const void *in, void *out, size_t size) CHECKED;

struct bulk_part { const void *data; size_t size; };
/* The tag over the concatenation of `parts`. */
enum error bulk_tag(const struct segment_keys *keys, const uint8_t nonce[TAG_NONCE_SIZE], const struct bulk_part *parts,
                    size_t count, uint8_t tag[TAG_SIZE]) CHECKED;
/* ERROR_CORRUPT (no sentence kept) where the tag does not fit; compares in constant time. */
enum error bulk_tag_check(const struct segment_keys *keys, const uint8_t nonce[TAG_NONCE_SIZE],
                          const struct bulk_part *parts, size_t count, const uint8_t tag[TAG_SIZE]) CHECKED;
void bulk_thread_end(void);

#endif
