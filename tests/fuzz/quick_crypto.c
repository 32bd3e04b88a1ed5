/*
 * Hashes in the place of HMAC, key derivation and key wrapping, for targets that make them anew for each input and test none
 * of them (tests/fuzz/CMakeLists.txt, WRAP): with OpenSSL's, contexts and their memory are most of an execution. They hold
 * what the tested code relies on: other bytes or another key give another value, and what was wrapped under another key, or
 * was changed, does not unwrap.
 */
#include <string.h>
#include <xxhash.h>

#include "crypto/kdf.h"
#include "crypto/key_wrap.h"

enum error __wrap_hmac_sha256(const uint8_t key[KEY_SIZE], const void *data, size_t size, uint8_t mac[32]);
enum error __wrap_kdf_derive(const uint8_t key[KEY_SIZE], const char *label, const void *context, size_t context_size,
                             void *out, size_t size);
enum error __wrap_bytes_wrap(const uint8_t wrap_key[KEY_SIZE], const void *text, size_t size, uint8_t *wrapped);
enum error __wrap_bytes_unwrap(const uint8_t wrap_key[KEY_SIZE], const uint8_t *wrapped, size_t wrapped_size, void *text);

enum error __wrap_hmac_sha256(const uint8_t key[KEY_SIZE], const void *data, size_t size, uint8_t mac[32])
{
    XXH128_hash_t hash = XXH3_128bits_withSeed(data, size, XXH3_64bits(key, KEY_SIZE));
    memcpy(mac, &hash, sizeof hash);
    memcpy(mac + sizeof hash, &hash, sizeof hash);
    return ERROR_NONE;
}

/* As many bytes as are asked for, each 16 of them of a seed of its own. */
static void bytes_make(uint64_t seed, const void *data, size_t data_size, uint8_t *out, size_t size)
{
    for (size_t at = 0; at < size; at += sizeof(XXH128_hash_t)) {
        XXH128_hash_t hash = XXH3_128bits_withSeed(data, data_size, seed + at);
        memcpy(out + at, &hash, size - at < sizeof hash ? size - at : sizeof hash);
    }
}

enum error __wrap_kdf_derive(const uint8_t key[KEY_SIZE], const char *label, const void *context, size_t context_size,
                             void *out, size_t size)
{
    bytes_make(XXH3_64bits_withSeed(label, strlen(label), XXH3_64bits(key, KEY_SIZE)), context, context_size, out, size);
    return ERROR_NONE;
}

static uint64_t check_of(const uint8_t wrap_key[KEY_SIZE], const void *text, size_t size)
{
    return XXH3_64bits_withSeed(text, size, XXH3_64bits(wrap_key, KEY_SIZE));
}

static void mask(const uint8_t wrap_key[KEY_SIZE], const uint8_t *in, size_t size, uint8_t *out)
{
    uint8_t stream[KEY_WRAP_TEXT_MAX];
    bytes_make(0, wrap_key, KEY_SIZE, stream, size);
    for (size_t i = 0; i < size; i++)
        out[i] = in[i] ^ stream[i];
}

enum error __wrap_bytes_wrap(const uint8_t wrap_key[KEY_SIZE], const void *text, size_t size, uint8_t *wrapped)
{
    uint64_t check = check_of(wrap_key, text, size);
    _Static_assert(KEY_WRAP_OVERHEAD == sizeof check, "the check stands where KWP has its overhead");
    ASSERT(size > 0 && size <= KEY_WRAP_TEXT_MAX && size % 8 == 0);
    memcpy(wrapped, &check, sizeof check);
    mask(wrap_key, text, size, wrapped + sizeof check);
    return ERROR_NONE;
}

enum error __wrap_bytes_unwrap(const uint8_t wrap_key[KEY_SIZE], const uint8_t *wrapped, size_t wrapped_size, void *text)
{
    uint8_t room[KEY_WRAP_TEXT_MAX];
    uint64_t check;
    ASSERT(wrapped_size > sizeof check && wrapped_size - sizeof check <= sizeof room && wrapped_size % 8 == 0);
    mask(wrap_key, wrapped + sizeof check, wrapped_size - sizeof check, room);
    check = check_of(wrap_key, room, wrapped_size - sizeof check);
    if (memcmp(wrapped, &check, sizeof check) != 0)
        return ERROR_WRONG_KEY;
    memcpy(text, room, wrapped_size - sizeof check);
    return ERROR_NONE;
}
