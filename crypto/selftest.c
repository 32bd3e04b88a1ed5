/*
 * Known answers, computed through the same functions that the engine calls. Answers come from the standards where
 * they have one of our shape (IEEE 1619 vector 10 lies in the first 512 bytes of a 4096-byte data unit; NIST's GCM
 * validation vectors; RFC 4231, whose short key is zero-padded by HMAC itself), else from the written equation
 * evaluated apart from OpenSSL's implementation of it. All keys here are public; nothing is kept.
 */
#include "crypto/selftest.h"

#include <string.h>

#include "base/memory.h"
#include "crypto/bulk.h"
#include "crypto/hierarchy.h"
#include "crypto/kdf.h"

static const uint8_t counting[KEY_SIZE] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                           16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};

static const struct segment_keys vector_keys = {
    .encrypted = true,
    .xts = {0x27, 0x18, 0x28, 0x18, 0x28, 0x45, 0x90, 0x45, 0x23, 0x53, 0x60, 0x28, 0x74, 0x71, 0x35, 0x26,
            0x62, 0x49, 0x77, 0x57, 0x24, 0x70, 0x93, 0x69, 0x99, 0x59, 0x57, 0x49, 0x66, 0x96, 0x76, 0x27,
            0x31, 0x41, 0x59, 0x26, 0x53, 0x58, 0x97, 0x93, 0x23, 0x84, 0x62, 0x64, 0x33, 0x83, 0x27, 0x95,
            0x02, 0x88, 0x41, 0x97, 0x16, 0x93, 0x99, 0x37, 0x51, 0x05, 0x82, 0x09, 0x74, 0x94, 0x45, 0x92},
    .tag = {0x78, 0xdc, 0x4e, 0x0a, 0xaf, 0x52, 0xd9, 0x35, 0xc3, 0xc0, 0x1e, 0xea, 0x57, 0x42, 0x8f, 0x00,
            0xca, 0x1f, 0xd4, 0x75, 0xf5, 0xda, 0x86, 0xa4, 0x9c, 0x8d, 0xd7, 0x3d, 0x68, 0xc8, 0xe2, 0x23},
};

static enum error failed(const char *algorithm)
{
    return error_explain(ERROR_BUG, "self-test: %s gives a wrong answer on this machine", algorithm);
}

static enum error xts_check(const struct segment_keys *keys)
{
    static const uint8_t first[16] = {0x1c, 0x3b, 0x3a, 0x10, 0x2f, 0x77, 0x03, 0x86,
                                      0xe4, 0x83, 0x6c, 0x99, 0xe3, 0x70, 0xcf, 0x9b};
    static const uint8_t last[16] = {0xc4, 0xf3, 0x6f, 0xfd, 0xa9, 0xfc, 0xea, 0x70,
                                     0xb9, 0xc6, 0xe6, 0x93, 0xe1, 0x48, 0xc1, 0x51};
    uint8_t plain[BULK_UNIT], work[BULK_UNIT];
    for (size_t i = 0; i < sizeof(plain); i++)
        plain[i] = (uint8_t)i;
    TRY(bulk_encrypt(keys, 0xff, plain, work, sizeof(work)));
    if (memcmp(work, first, sizeof(first)) != 0 || memcmp(work + 512 - sizeof(last), last, sizeof(last)) != 0)
        return failed("AES-256-XTS");
    TRY(bulk_decrypt(keys, 0xff, work, work, sizeof(work)));
    return memcmp(work, plain, sizeof(plain)) == 0 ? ERROR_NONE : failed("AES-256-XTS decryption");
}

static enum error equal_halves_test(struct segment_keys *keys)
{
    uint8_t work[BULK_UNIT] = {0};
    keys->id = bulk_keys_id();
    memcpy(keys->xts + XTS_KEY_SIZE / 2, keys->xts, XTS_KEY_SIZE / 2);
    bool refused = bulk_encrypt(keys, 0, work, work, sizeof(work)) != ERROR_NONE &&
                   bulk_decrypt(keys, 0, work, work, sizeof(work)) != ERROR_NONE;
    error_forget();
    return refused ? ERROR_NONE : failed("the refusal of equal XTS halves");
}

static enum error gmac_check(const struct segment_keys *keys)
{
    static const uint8_t nonce[TAG_NONCE_SIZE] = {0xd7, 0x9c, 0xf2, 0x2d, 0x50, 0x4c,
                                                  0xc7, 0x93, 0xc3, 0xfb, 0x6c, 0x8a};
    static const uint8_t data[16] = {0xb9, 0x6b, 0xaa, 0x8c, 0x1c, 0x75, 0xa6, 0x71,
                                     0xbf, 0xb2, 0xd0, 0x8d, 0x06, 0xbe, 0x5f, 0x36};
    uint8_t tag[TAG_SIZE] = {0x3e, 0x5d, 0x48, 0x6a, 0xa2, 0xe3, 0x0b, 0x22,
                             0xe0, 0x40, 0xb8, 0x57, 0x23, 0xa0, 0x6e, 0x76};
    struct bulk_part part = {data, sizeof(data)};
    if (bulk_tag_check(keys, nonce, &part, 1, tag) != ERROR_NONE)
        return failed("AES-256-GMAC");
    tag[TAG_SIZE - 1] ^= 1;
    return bulk_tag_check(keys, nonce, &part, 1, tag) == ERROR_CORRUPT ? ERROR_NONE : failed("the check of a tag");
}

static enum error key_wrap_test(void)
{
    static const uint8_t answer[WRAPPED_KEY_SIZE] = {
        0x37, 0x2b, 0xda, 0x4d, 0xfc, 0x44, 0x73, 0x31, 0x9c, 0xb3, 0x97, 0xf4, 0xef, 0x6c, 0xa6, 0x19,
        0xf5, 0xd5, 0x8e, 0x83, 0x04, 0xe5, 0x77, 0x2c, 0x6b, 0x0f, 0xb1, 0x03, 0x3f, 0xab, 0x4d, 0xf1,
        0xb6, 0xaa, 0x81, 0x9e, 0x91, 0xca, 0x16, 0xa9, 0x98, 0x33, 0x57, 0xfc, 0x9e, 0x32, 0xd2, 0xa2,
        0x71, 0x9a, 0xdf, 0x5a, 0x16, 0x88, 0xbb, 0x6f, 0xd8, 0xfb, 0x70, 0xb6, 0x83, 0x4c, 0x45, 0xf4};
    struct uuid device;
    uint8_t key[KEY_SIZE], wrapped[WRAPPED_KEY_SIZE], unwrapped[KEY_SIZE];
    for (size_t i = 0; i < sizeof(device.bytes); i++)
        device.bytes[i] = (uint8_t)(0x80 + i);
    for (size_t i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)(0xc0 + i);
    TRY(key_wrap(counting, KEY_KIND_DEK, 5, device, key, wrapped));
    if (memcmp(wrapped, answer, sizeof(answer)) != 0)
        return failed("AES-256-KWP");
    if (key_unwrap(counting, KEY_KIND_DEK, 5, device, wrapped, unwrapped) != ERROR_NONE ||
        memcmp(unwrapped, key, sizeof(key)) != 0)
        return failed("AES-256-KWP unwrapping");
    return ERROR_NONE;
}

static enum error kbkdf_test(void)
{
    static const uint8_t answer[64] = {0x58, 0x1a, 0xcb, 0x53, 0x91, 0x8d, 0x1c, 0xff, 0x24, 0x7d, 0xa2, 0xb7, 0x0c,
                                       0x49, 0x4d, 0x49, 0x4a, 0xda, 0x14, 0x57, 0x9d, 0xf2, 0x67, 0xc5, 0xea, 0x5e,
                                       0x76, 0xd3, 0x58, 0xc3, 0xb4, 0x1b, 0x30, 0xf8, 0x9e, 0x3a, 0x21, 0x65, 0x00,
                                       0x61, 0x4c, 0x33, 0x23, 0xf9, 0xc3, 0x6e, 0xf4, 0xbe, 0x37, 0x88, 0x94, 0xce,
                                       0x71, 0x47, 0xd2, 0x7e, 0xfb, 0x62, 0xdf, 0x46, 0x03, 0x02, 0xd6, 0x05};
    uint8_t context[32], derived[sizeof(answer)];
    for (size_t i = 0; i < sizeof(context); i++)
        context[i] = (uint8_t)(0x40 + i);
    TRY(kdf_derive(counting, "coffer1/segment", context, sizeof(context), derived, sizeof(derived)));
    return memcmp(derived, answer, sizeof(answer)) == 0 ? ERROR_NONE : failed("KBKDF");
}

static enum error hmac_test(void)
{
    static const uint8_t key[KEY_SIZE] = "Jefe";
    static const char data[] = "what do ya want for nothing?";
    static const uint8_t answer[32] = {0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24,
                                       0x26, 0x08, 0x95, 0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27,
                                       0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43};
    uint8_t mac[32];
    TRY(hmac_sha256(key, data, sizeof(data) - 1, mac));
    return memcmp(mac, answer, sizeof(answer)) == 0 ? ERROR_NONE : failed("HMAC-SHA-256");
}

/* RFC 7914, section 12: the first half of the third answer. */
static enum error scrypt_test(void)
{
    static const uint8_t answer[KEY_SIZE] = {0x70, 0x23, 0xbd, 0xcb, 0x3a, 0xfd, 0x73, 0x48, 0x46, 0x1c, 0x06,
                                             0xcd, 0x81, 0xfd, 0x38, 0xeb, 0xfd, 0xa8, 0xfb, 0xba, 0x90, 0x4f,
                                             0x8e, 0x3e, 0xa9, 0xb5, 0x43, 0xf6, 0x54, 0x5d, 0xa1, 0xf2};
    uint8_t key[KEY_SIZE];
    TRY(scrypt_derive("pleaseletmein", 13, "SodiumChloride", 14, 14, key));
    return memcmp(key, answer, sizeof(answer)) == 0 ? ERROR_NONE : failed("scrypt");
}

static enum error xts_test(void)
{
    struct segment_keys keys = vector_keys;
    keys.id = bulk_keys_id();
    TRY(xts_check(&keys));
    return equal_halves_test(&keys);
}

static enum error gmac_test(void)
{
    struct segment_keys keys = vector_keys;
    keys.id = bulk_keys_id();
    return gmac_check(&keys);
}

static const struct selftest_row rows[] = {
    {"blocks on devices", "AES-256-XTS", "IEEE 1619, SP 800-38E", true, xts_test, false},
    {"tags of units, nodes, appends", "AES-256-GMAC", "SP 800-38D", true, gmac_test, false},
    {"wrapped keys", "AES-256-KWP", "SP 800-38F, RFC 5649", true, key_wrap_test, false},
    {"derived keys", "KBKDF, counter mode, HMAC-SHA-256", "SP 800-108", true, kbkdf_test, false},
    {"superblocks, headers, witness", "HMAC-SHA-256", "FIPS 198-1, FIPS 180-4", true, hmac_test, false},
    {"passphrases", "scrypt", "RFC 7914", false, scrypt_test, true},
    {"backups of keys: password", "PBKDF2, HMAC-SHA-256", "SP 800-132, RFC 8018", true, NULL, false},
    {"backups of keys: contents", "AES-256-CBC", "SP 800-38A, RFC 8018", true, NULL, false},
    {"backups of keys: MAC", "HMAC-SHA-256, key of PKCS#12", "RFC 7292, appendix B", false, NULL, false},
    {"exported streams", "AES-256-GCM", "SP 800-38D", true, NULL, false},
    {"approved PCRs of a TPM", "ECDSA, P-256", "FIPS 186-5", true, NULL, false},
    {"new keys", "CTR_DRBG of OpenSSL", "SP 800-90A", true, NULL, false},
};

const struct selftest_row *crypto_selftest_rows(size_t *count)
{
    *count = COUNT_OF(rows);
    return rows;
}

static enum error run_all(bool slow)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (rows[i].run != NULL && (slow || !rows[i].slow))
            TRY(rows[i].run());
    return ERROR_NONE;
}

enum error crypto_selftest(void)
{
    return run_all(false);
}

enum error crypto_selftest_all(void)
{
    return run_all(true);
}
