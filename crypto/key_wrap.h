/* AES-256 key wrap with padding (KWP, RFC 5649, NIST SP 800-38F) of short texts whose size is a multiple of 8. */
#ifndef COFFER_CRYPTO_KEY_WRAP_H
#define COFFER_CRYPTO_KEY_WRAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "crypto/kdf.h"

#define KEY_WRAP_OVERHEAD 8
#define KEY_WRAP_TEXT_MAX 256

/* `wrapped` has room for size + KEY_WRAP_OVERHEAD bytes. */
enum error bytes_wrap(const uint8_t wrap_key[KEY_SIZE], const void *text, size_t size, uint8_t *wrapped) CHECKED;
/* `text` has room for wrapped_size - KEY_WRAP_OVERHEAD bytes, all of which the text must fill. ERROR_WRONG_KEY where
 * the integrity check fails: another key, or damage. */
enum error bytes_unwrap(const uint8_t wrap_key[KEY_SIZE], const uint8_t *wrapped, size_t wrapped_size,
                        void *text) CHECKED;

#endif
