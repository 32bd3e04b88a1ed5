/*
 * The equations of hierarchy.h, one function each, and the wrapping of key slots.
 *
 * Each context is a packed struct of fixed width, so that two different inputs can never be the same bytes. KWP
 * authenticates only that the wrapping key fits: a slot's text therefore holds what the key is for, and that is
 * compared after unwrapping; otherwise whoever writes to the disk could move a wrapped key to another place.
 * Plain wrapped text and intermediate results are wiped on every path. No locks, no state, nothing on disk.
 */
#include "crypto/hierarchy.h"

#include <openssl/rand.h>
#include <string.h>

#include "base/endian.h"
#include "base/hex.h"
#include "base/memory.h"
#include "crypto/key_wrap.h"
#include "crypto/openssl_error.h"

struct kek_context {
    struct uuid pool;
    le64 number;
    le64 salt;
};
struct device_context {
    struct uuid pool;
    struct uuid device;
};
struct segment_context {
    struct uuid device;
    le64 serial;
    le64 salt;
};
struct slot_text {
    uint8_t kind;
    uint8_t zero[3];
    le32 slot;
    struct uuid device;
    uint8_t key[KEY_SIZE];
};
_Static_assert(sizeof(struct kek_context) == 32, "a derivation context has no padding");
_Static_assert(sizeof(struct device_context) == 32, "a derivation context has no padding");
_Static_assert(sizeof(struct segment_context) == 32, "a derivation context has no padding");
_Static_assert(sizeof(struct slot_text) == 56, "the text of a key slot has no padding");
_Static_assert(WRAPPED_KEY_SIZE == sizeof(struct slot_text) + KEY_WRAP_OVERHEAD, "KWP adds one block");

const uint8_t kek_public[KEY_SIZE] = "coffer1/plaintext pool/no secret";

enum error kek_derive(const uint8_t kdk[KEY_SIZE], struct uuid pool, uint64_t number, uint64_t salt,
                      uint8_t kek[KEY_SIZE])
{
    struct kek_context context = {.pool = pool, .number = le64_make(number), .salt = le64_make(salt)};
    return kdf_derive(kdk, "coffer1/kek", &context, sizeof(context), kek, KEY_SIZE);
}

enum error wrap_key_derive(const uint8_t kek[KEY_SIZE], struct uuid pool, struct uuid device, uint8_t key[KEY_SIZE])
{
    struct device_context context = {.pool = pool, .device = device};
    return kdf_derive(kek, "coffer1/wrap", &context, sizeof(context), key, KEY_SIZE);
}

enum error superblock_key_derive(const uint8_t kek[KEY_SIZE], struct uuid pool, struct uuid device,
                                 uint8_t key[KEY_SIZE])
{
    struct device_context context = {.pool = pool, .device = device};
    return kdf_derive(kek, "coffer1/superblock", &context, sizeof(context), key, KEY_SIZE);
}

enum error segment_xts_key_derive(const uint8_t dek[KEY_SIZE], struct uuid device, uint64_t serial, uint64_t salt,
                                  uint8_t key[XTS_KEY_SIZE])
{
    struct segment_context context = {.device = device, .serial = le64_make(serial), .salt = le64_make(salt)};
    return kdf_derive(dek, "coffer1/segment", &context, sizeof(context), key, XTS_KEY_SIZE);
}

enum error segment_tag_key_derive(const uint8_t k_log[KEY_SIZE], struct uuid device, uint64_t serial,
                                  uint64_t birth_salt, uint8_t key[KEY_SIZE])
{
    struct segment_context context = {.device = device, .serial = le64_make(serial), .salt = le64_make(birth_salt)};
    return kdf_derive(k_log, "coffer1/tag", &context, sizeof(context), key, KEY_SIZE);
}

enum error fingerprint_secret_derive(const uint8_t k_pool[KEY_SIZE], struct uuid domain,
                                     uint8_t secret[FINGERPRINT_SECRET_SIZE])
{
    return kdf_derive(k_pool, "coffer1/fingerprint", &domain, sizeof(domain), secret, FINGERPRINT_SECRET_SIZE);
}

enum error floor_key_derive(const uint8_t k_pool[KEY_SIZE], struct uuid pool, uint8_t key[KEY_SIZE])
{
    return kdf_derive(k_pool, "coffer1/floor", &pool, sizeof(pool), key, KEY_SIZE);
}

enum error audit_key_derive(const uint8_t k_pool[KEY_SIZE], struct uuid pool, uint8_t key[KEY_SIZE])
{
    return kdf_derive(k_pool, "coffer1/audit", &pool, sizeof(pool), key, KEY_SIZE);
}

enum error scrub_key_derive(const uint8_t k_pool[KEY_SIZE], struct uuid pool, uint8_t key[KEY_SIZE])
{
    return kdf_derive(k_pool, "coffer1/scrub", &pool, sizeof(pool), key, KEY_SIZE);
}

enum error kcv_derive(const uint8_t key[KEY_SIZE], struct uuid id, uint8_t kcv[KCV_SIZE])
{
    return kdf_derive(key, "coffer1/kcv", &id, sizeof(id), kcv, KCV_SIZE);
}

void kcv_format(const uint8_t kcv[KCV_SIZE], char text[KCV_TEXT_SIZE])
{
    hex_format(kcv, KCV_SIZE, text);
}

enum error key_generate(uint8_t key[KEY_SIZE])
{
    uint8_t fresh[KEY_SIZE];
    enum error error = ERROR_NONE;
    if (RAND_priv_bytes(fresh, sizeof(fresh)) == 1)
        memcpy(key, fresh, KEY_SIZE);
    else
        error = error_from_openssl("generate a key");
    memory_cleanse(fresh, sizeof(fresh));
    return error;
}

enum error key_wrap(const uint8_t wrap_key[KEY_SIZE], enum key_kind kind, uint32_t slot, struct uuid device,
                    const uint8_t key[KEY_SIZE], uint8_t wrapped[WRAPPED_KEY_SIZE])
{
    struct slot_text text = {.kind = (uint8_t)kind, .slot = le32_make(slot), .device = device};
    memcpy(text.key, key, KEY_SIZE);
    enum error error = bytes_wrap(wrap_key, &text, sizeof(text), wrapped);
    memory_cleanse(&text, sizeof(text));
    return error;
}

static enum error slot_text_check(const struct slot_text *text, enum key_kind kind, uint32_t slot, struct uuid device)
{
    static const uint8_t zero[sizeof(text->zero)];
    if (text->kind != kind || le32_get(text->slot) != slot || !uuid_equal(text->device, device) ||
        memcmp(text->zero, zero, sizeof(zero)) != 0)
        return error_explain(ERROR_FORGED, "key slot %u holds a key that was wrapped for another place", slot);
    return ERROR_NONE;
}

enum error key_unwrap(const uint8_t wrap_key[KEY_SIZE], enum key_kind kind, uint32_t slot, struct uuid device,
                      const uint8_t wrapped[WRAPPED_KEY_SIZE], uint8_t key[KEY_SIZE])
{
    struct slot_text text;
    enum error error = bytes_unwrap(wrap_key, wrapped, WRAPPED_KEY_SIZE, &text);
    if (error == ERROR_NONE)
        error = slot_text_check(&text, kind, slot, device);
    if (error == ERROR_NONE)
        memcpy(key, text.key, KEY_SIZE);
    memory_cleanse(&text, sizeof(text));
    return error;
}
