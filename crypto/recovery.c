/*
 * Recovery keys: as text, and the file of what they unwrap. The file is no secret, but input: it has one spelling of each
 * value, as a key file has. Keys live in the caller's buffers or are wiped here. No locks; the file is replaced as a
 * whole, so a crash leaves the old recovery key or the new one; the bytes of the old one, which may be revoked, are overwritten.
 */
#include "crypto/recovery.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hex.h"
#include "base/memory.h"
#include "base/random.h"
#include "crypto/flat_json.h"
#include "crypto/overwrite.h"

#define VERSION        1
#define GROUP          4
#define DIGITS         ((RECOVERY_GROUPS - 1) * GROUP) /* of the key: 260 bits, of which the last four are zero */
#define CHECK_BYTES    3                               /* of which 20 bits count */
#define CHECKSUM_BYTES 8
#define BYTES_MAX      40
#define BASE64_MAX     ((BYTES_MAX + 2) / 3 * 4)

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/* ---- text of a recovery key --------------------------------------------------------------------------------------------- */

/* Characters of five bits each from `bytes`, zero bits behind its end. */
static void digits_make(const uint8_t *bytes, size_t size, char *digits, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned value = 0;
        for (size_t bit = 5 * i; bit < 5 * i + 5; bit++)
            value = value << 1 | (bit / 8 < size ? bytes[bit / 8] >> (7 - bit % 8) & 1 : 0);
        digits[i] = alphabet[value];
    }
}

static enum error check_word_make(const uint8_t recovery_key[KEY_SIZE], char word[GROUP])
{
    uint8_t check[CHECK_BYTES];
    TRY(kdf_derive(recovery_key, "coffer1/recovery-check", "", 0, check, sizeof check));
    digits_make(check, sizeof check, word, GROUP);
    return ERROR_NONE;
}

enum error recovery_key_format(const uint8_t recovery_key[KEY_SIZE], char text[RECOVERY_KEY_TEXT])
{
    char digits[DIGITS + GROUP];
    digits_make(recovery_key, KEY_SIZE, digits, DIGITS);
    TRY(check_word_make(recovery_key, digits + DIGITS));
    for (size_t i = 0; i < sizeof digits; i++) {
        text[i / GROUP * (GROUP + 1) + i % GROUP] = digits[i];
        if (i % GROUP == GROUP - 1)
            text[i / GROUP * (GROUP + 1) + GROUP] = i + 1 < sizeof digits ? '-' : '\0';
    }
    memory_cleanse(digits, sizeof digits);
    return ERROR_NONE;
}

static enum error mistyped(const char *how)
{
    return error_explain(ERROR_INVALID, "this is no recovery key: %s", how);
}

static enum error digits_take(const char *text, size_t size, char digits[DIGITS + GROUP])
{
    size_t count = 0;
    for (size_t i = 0; i < size; i++) {
        char c = text[i] >= 'a' && text[i] <= 'z' ? (char)(text[i] - 'a' + 'A') : text[i];
        if (c == '-' || c == ' ' || c == '\n' || c == '\r' || c == '\t')
            continue;
        if (c == '\0' || strchr(alphabet, c) == NULL)
            return mistyped("it has other characters than A to Z and 2 to 7");
        if (count == DIGITS + GROUP)
            return mistyped("it is longer than 14 groups of four characters");
        digits[count++] = c;
    }
    return count == DIGITS + GROUP ? ERROR_NONE : mistyped("it has not 14 groups of four characters");
}

static void bits_take(const char *digits, uint8_t bytes[KEY_SIZE])
{
    memset(bytes, 0, KEY_SIZE);
    for (size_t bit = 0; bit < 8 * KEY_SIZE; bit++) {
        unsigned value = (unsigned)(strchr(alphabet, digits[bit / 5]) - alphabet);
        bytes[bit / 8] |= (uint8_t)((value >> (4 - bit % 5) & 1) << (7 - bit % 8));
    }
}

static enum error check_word_check(const char digits[DIGITS + GROUP], const uint8_t recovery_key[KEY_SIZE])
{
    char word[GROUP], last[DIGITS];
    TRY(check_word_make(recovery_key, word));
    digits_make(recovery_key, KEY_SIZE, last, DIGITS); /* bits behind its end are zero */
    bool fits = memcmp(word, digits + DIGITS, GROUP) == 0 && last[DIGITS - 1] == digits[DIGITS - 1];
    memory_cleanse(last, sizeof last);
    return fits ? ERROR_NONE : mistyped("the last group, its check word, does not fit the others; look for a slip");
}

enum error recovery_key_parse(const char *text, size_t size, uint8_t recovery_key[KEY_SIZE])
{
    char digits[DIGITS + GROUP];
    uint8_t found[KEY_SIZE] = {0};
    enum error error = digits_take(text, size, digits);
    if (error == ERROR_NONE) {
        bits_take(digits, found);
        error = check_word_check(digits, found);
    }
    if (error == ERROR_NONE)
        memcpy(recovery_key, found, KEY_SIZE);
    memory_cleanse(digits, sizeof digits);
    memory_cleanse(found, sizeof found);
    return error;
}

/* ---- wrapping ----------------------------------------------------------------------------------------------------------- */

static enum error wrap_key_make(const struct recovery *recovery, const uint8_t recovery_key[KEY_SIZE], uint8_t out[KEY_SIZE])
{
    struct {
        struct uuid pool, provider;
        uint8_t salt[RECOVERY_SALT_SIZE];
    } context = {recovery->pool, recovery->provider, {0}};
    _Static_assert(sizeof context == 64, "no padding is derived from");
    memcpy(context.salt, recovery->salt, sizeof context.salt);
    return kdf_derive(recovery_key, "coffer1/recovery", &context, sizeof context, out, KEY_SIZE);
}

enum error recovery_wrap(struct recovery *recovery, const uint8_t recovery_key[KEY_SIZE], const uint8_t key[KEY_SIZE])
{
    uint8_t wrap_key[KEY_SIZE];
    random_bytes(recovery->salt, sizeof recovery->salt);
    TRY(kcv_derive(key, recovery->provider, recovery->kcv));
    TRY(wrap_key_make(recovery, recovery_key, wrap_key));
    enum error error = bytes_wrap(wrap_key, key, KEY_SIZE, recovery->wrapped);
    memory_cleanse(wrap_key, sizeof wrap_key);
    return error;
}

enum error recovery_unwrap(const struct recovery *recovery, const uint8_t recovery_key[KEY_SIZE], uint8_t key[KEY_SIZE])
{
    uint8_t wrap_key[KEY_SIZE], found[KEY_SIZE], kcv[KCV_SIZE];
    TRY(wrap_key_make(recovery, recovery_key, wrap_key));
    enum error error = bytes_unwrap(wrap_key, recovery->wrapped, sizeof recovery->wrapped, found);
    memory_cleanse(wrap_key, sizeof wrap_key);
    if (error == ERROR_WRONG_KEY)
        return error_explain(error, "this is another recovery key than the one that was made last for this pool");
    TRY(error);
    error = kcv_derive(found, recovery->provider, kcv);
    if (error == ERROR_NONE && memory_compare_constant_time(kcv, recovery->kcv, KCV_SIZE) != 0)
        error = error_explain(ERROR_CORRUPT, "the wrapped key does not fit its check value");
    if (error == ERROR_NONE)
        memcpy(key, found, KEY_SIZE);
    memory_cleanse(found, sizeof found);
    return error;
}

/* ---- the file ----------------------------------------------------------------------------------------------------------- */

/* All but the checksum, which is over this text. */
static int body_print(const struct recovery *recovery, char *text, size_t room)
{
    char pool[UUID_TEXT_SIZE], provider[UUID_TEXT_SIZE], kcv[KCV_TEXT_SIZE], salt[BASE64_MAX + 1], wrapped[BASE64_MAX + 1];
    uuid_format(recovery->pool, pool);
    uuid_format(recovery->provider, provider);
    kcv_format(recovery->kcv, kcv);
    EVP_EncodeBlock((uint8_t *)salt, recovery->salt, sizeof recovery->salt);
    EVP_EncodeBlock((uint8_t *)wrapped, recovery->wrapped, sizeof recovery->wrapped);
    return snprintf(text, room,
                    "{\n  \"version\": %d,\n  \"pool\": \"%s\",\n  \"provider\": \"%s\",\n  \"key\": \"%s\",\n"
                    "  \"kek_number\": \"%016" PRIx64 "\",\n  \"kcv\": \"%s\",\n  \"salt\": \"%s\",\n  \"wrapped\": \"%s\",\n",
                    VERSION, pool, provider, recovery->is_kek ? "kek" : "kdk", recovery->kek_number, kcv, salt, wrapped);
}

enum error recovery_encode(const struct recovery *recovery, char text[RECOVERY_FILE_MAX], size_t *size)
{
    uint8_t mac[32];
    char checksum[HEX_TEXT_SIZE(CHECKSUM_BYTES)];
    int used = body_print(recovery, text, RECOVERY_FILE_MAX);
    TRY(hmac_sha256(kek_public, text, (size_t)used, mac));
    hex_format(mac, CHECKSUM_BYTES, checksum);
    used += snprintf(text + used, (size_t)(RECOVERY_FILE_MAX - used), "  \"checksum\": \"%s\"\n}\n", checksum);
    ASSERT(used < RECOVERY_FILE_MAX);
    *size = (size_t)used;
    return ERROR_NONE;
}

static enum error bytes_take(struct flat_object *object, const char *name, uint8_t *bytes, size_t size)
{
    struct flat_text text;
    uint8_t decoded[BASE64_MAX];
    TRY(flat_text_take(object, name, &text));
    if (text.size != (size + 2) / 3 * 4 || EVP_DecodeBlock(decoded, (const uint8_t *)text.start, (int)text.size) < 0)
        return error_explain(ERROR_CORRUPT, "\"%s\" is not %zu bytes in base64", name, size);
    memcpy(bytes, decoded, size);
    return ERROR_NONE;
}

static enum error fields_take(struct flat_object *object, struct recovery *recovery)
{
    struct flat_text key;
    TRY(flat_uuid_take(object, "pool", &recovery->pool));
    TRY(flat_uuid_take(object, "provider", &recovery->provider));
    TRY(flat_text_take(object, "key", &key));
    recovery->is_kek = flat_text_equal(key, "kek");
    TRY(flat_hex_take(object, "kek_number", &recovery->kek_number));
    TRY(flat_hex_bytes_take(object, "kcv", recovery->kcv, KCV_SIZE));
    TRY(bytes_take(object, "salt", recovery->salt, sizeof recovery->salt));
    return bytes_take(object, "wrapped", recovery->wrapped, sizeof recovery->wrapped);
}

/* What was read is what would be written: that compares every value, and the checksum. */
static enum error text_check(const struct recovery *recovery, const char *text, size_t size)
{
    char again[RECOVERY_FILE_MAX];
    size_t again_size;
    TRY(recovery_encode(recovery, again, &again_size));
    return again_size == size && memcmp(again, text, size) == 0 ? ERROR_NONE
                                                                : error_explain(ERROR_CORRUPT, "the checksum does not fit");
}

enum error recovery_decode(const char *text, size_t size, struct recovery *recovery)
{
    struct flat_object object;
    struct recovery found = {0};
    uint32_t version;
    TRY(flat_object_parse(text, size, &object));
    TRY(flat_number_take(&object, "version", &version));
    if (version > VERSION)
        return error_explain(ERROR_NEWER_FORMAT, "written by a newer version of Coffer (format %" PRIu32 ", known is %d)", version,
                             VERSION);
    TRY(fields_take(&object, &found));
    TRY(text_check(&found, text, size));
    *recovery = found;
    return ERROR_NONE;
}

enum error recovery_load(const char *directory, struct recovery *recovery)
{
    AUTO_FREE char *path = file_join(directory, RECOVERY_NAME);
    AUTO_FREE void *text = NULL;
    size_t size;
    if (path == NULL)
        return ERROR_NO_MEMORY;
    enum error error = file_read(path, RECOVERY_FILE_MAX, &text, &size);
    if (error == ERROR_NOT_FOUND)
        return error_explain(error, "there is no %s: no recovery key was made for this pool, or the file is lost", path);
    TRY(error);
    error = recovery_decode(text, size, recovery);
    return error == ERROR_NONE ? ERROR_NONE : error_prefix(error, "%s is damaged", path);
}

enum error recovery_store(const char *directory, const struct recovery *recovery)
{
    AUTO_FREE char *path = file_join(directory, RECOVERY_NAME);
    char text[RECOVERY_FILE_MAX];
    size_t size;
    if (path == NULL)
        return ERROR_NO_MEMORY;
    TRY(recovery_encode(recovery, text, &size));
    return overwrite_replace(path, text, size);
}
