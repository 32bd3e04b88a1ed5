/*
 * Encoding and decoding of a cached KEK's file, the only code that knows its fields. What was read is encoded again and compared
 * as a whole, so that each value has one spelling and a checksum is never forgotten. No secret is in it that the TPM does not
 * keep; no locks, no state. The file is replaced whole by base/file.h: a crash leaves the one of before or the new one.
 */
#include "crypto/cached_key.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "base/memory.h"
#include "crypto/flat_json.h"

#define VERSION            1
#define BEGINNING          "{\n  \"version\": %d,\n  \"pool\": \"%s\",\n" /* no other file of a pool begins like that */
#define CHECKSUM_BYTES     8
#define BASE64_SIZE(bytes) (((bytes) + 2) / 3 * 4)
#define BASE64_MAX         BASE64_SIZE(TPM_PRIVATE_MAX) /* the longest value */

/* ---- encode ------------------------------------------------------------------------------------------------------- */

static int identity_print(const struct cached_key *cached, char *text, size_t room)
{
    char pool[UUID_TEXT_SIZE], provider[UUID_TEXT_SIZE], kcv[KCV_TEXT_SIZE], id[BASE64_SIZE(KMIP_ID_MAX) + 1];
    uuid_format(cached->pool, pool);
    uuid_format(cached->provider, provider);
    kcv_format(cached->kcv, kcv);
    EVP_EncodeBlock((uint8_t *)id, (const uint8_t *)cached->key_id, (int)strlen(cached->key_id));
    return snprintf(text, room,
                    BEGINNING "  \"provider\": \"%s\",\n  \"name\": \"%s\",\n"
                    "  \"kek_number\": \"%016" PRIx64 "\",\n  \"key_id\": \"%s\",\n  \"fetched\": \"%016" PRIx64 "\",\n"
                    "  \"kcv\": \"%s\",\n",
                    VERSION, pool, provider, cached->name, cached->kek_number, id, cached->fetched, kcv);
}

static int tpm_print(const struct tpm_sealed *tpm, char *text, size_t room)
{
    char primary[BASE64_SIZE(TPM_NAME_SIZE) + 1], endorsement[BASE64_SIZE(TPM_NAME_SIZE) + 1];
    char public[BASE64_SIZE(TPM_PUBLIC_MAX) + 1], private[BASE64_SIZE(TPM_PRIVATE_MAX) + 1];
    ASSERT(tpm->public_size <= TPM_PUBLIC_MAX && tpm->private_size <= TPM_PRIVATE_MAX);
    EVP_EncodeBlock((uint8_t *)primary, tpm->primary, sizeof tpm->primary);
    EVP_EncodeBlock((uint8_t *)endorsement, tpm->endorsement, sizeof tpm->endorsement);
    EVP_EncodeBlock((uint8_t *)public, tpm->public, (int)tpm->public_size);
    EVP_EncodeBlock((uint8_t *)private, tpm->private, (int)tpm->private_size);
    return snprintf(text, room,
                    "  \"tpm_primary\": \"%s\",\n  \"tpm_endorsement\": \"%s\",\n  \"tpm_public\": \"%s\",\n"
                    "  \"tpm_private\": \"%s\",\n",
                    primary, endorsement, public, private);
}

/* All that the mac is over. */
static int body_print(const struct cached_key *cached, char text[CACHED_KEY_TEXT_MAX])
{
    int used = identity_print(cached, text, CACHED_KEY_TEXT_MAX);
    return used + tpm_print(&cached->tpm, text + used, (size_t)(CACHED_KEY_TEXT_MAX - used));
}

enum error cached_key_encode(const struct cached_key *cached, char text[CACHED_KEY_TEXT_MAX], size_t *size)
{
    char mac[BASE64_SIZE(CACHED_KEY_MAC_SIZE) + 1], checksum[HEX_TEXT_SIZE(CHECKSUM_BYTES)];
    uint8_t sum[32];
    int used = body_print(cached, text);
    EVP_EncodeBlock((uint8_t *)mac, cached->mac, sizeof cached->mac);
    used += snprintf(text + used, (size_t)(CACHED_KEY_TEXT_MAX - used), "  \"mac\": \"%s\",\n", mac);
    TRY(hmac_sha256(kek_public, text, (size_t)used, sum));
    hex_format(sum, CHECKSUM_BYTES, checksum);
    used += snprintf(text + used, (size_t)(CACHED_KEY_TEXT_MAX - used), "  \"checksum\": \"%s\"\n}\n", checksum);
    ASSERT(used < CACHED_KEY_TEXT_MAX);
    *size = (size_t)used;
    return ERROR_NONE;
}

/* ---- decode ------------------------------------------------------------------------------------------------------- */

/* 1 to `most` bytes. */
static enum error bytes_take(struct flat_object *object, const char *name, uint8_t *bytes, size_t most, size_t *size)
{
    struct flat_text text;
    uint8_t decoded[BASE64_MAX];
    TRY(flat_text_take(object, name, &text));
    bool valid = text.size >= 4 && text.size <= BASE64_SIZE(most) &&
                 EVP_DecodeBlock(decoded, (const uint8_t *)text.start, (int)text.size) >= 0;
    if (valid) {
        *size = text.size / 4 * 3 - (text.start[text.size - 1] == '=') - (text.start[text.size - 2] == '=');
        valid = *size <= most;
    }
    if (!valid)
        return error_explain(ERROR_CORRUPT, "\"%s\" is not 1 to %zu bytes in base64", name, most);
    memcpy(bytes, decoded, *size);
    return ERROR_NONE;
}

static enum error all_bytes_take(struct flat_object *object, const char *name, uint8_t *bytes, size_t size)
{
    size_t found;
    TRY(bytes_take(object, name, bytes, size, &found));
    return found == size ? ERROR_NONE : error_explain(ERROR_CORRUPT, "\"%s\" is not %zu bytes in base64", name, size);
}

static enum error name_take(struct flat_object *object, char name[PROVIDER_NAME_MAX + 1])
{
    struct flat_text text;
    TRY(flat_text_take(object, "name", &text));
    if (text.size > PROVIDER_NAME_MAX)
        return error_explain(ERROR_CORRUPT, "\"name\" is longer than %d bytes", PROVIDER_NAME_MAX);
    memcpy(name, text.start, text.size);
    name[text.size] = '\0';
    return ERROR_NONE;
}

static enum error id_take(struct flat_object *object, char id[KMIP_ID_MAX + 1])
{
    size_t size;
    TRY(bytes_take(object, "key_id", (uint8_t *)id, KMIP_ID_MAX, &size));
    id[size] = '\0';
    return ERROR_NONE;
}

static enum error tpm_take(struct flat_object *object, struct tpm_sealed *tpm)
{
    size_t size;
    TRY(all_bytes_take(object, "tpm_primary", tpm->primary, sizeof tpm->primary));
    TRY(all_bytes_take(object, "tpm_endorsement", tpm->endorsement, sizeof tpm->endorsement));
    TRY(bytes_take(object, "tpm_public", tpm->public, sizeof tpm->public, &size));
    tpm->public_size = (uint32_t)size;
    TRY(bytes_take(object, "tpm_private", tpm->private, sizeof tpm->private, &size));
    tpm->private_size = (uint32_t)size;
    return ERROR_NONE;
}

static enum error fields_take(struct flat_object *object, struct cached_key *cached)
{
    TRY(flat_uuid_take(object, "pool", &cached->pool));
    TRY(flat_uuid_take(object, "provider", &cached->provider));
    TRY(name_take(object, cached->name));
    TRY(flat_hex_take(object, "kek_number", &cached->kek_number));
    TRY(id_take(object, cached->key_id));
    TRY(flat_hex_take(object, "fetched", &cached->fetched));
    TRY(flat_hex_bytes_take(object, "kcv", cached->kcv, KCV_SIZE));
    TRY(tpm_take(object, &cached->tpm));
    return all_bytes_take(object, "mac", cached->mac, sizeof cached->mac);
}

static enum error text_check(const struct cached_key *cached, const char *text, size_t size)
{
    char again[CACHED_KEY_TEXT_MAX];
    size_t again_size;
    TRY(cached_key_encode(cached, again, &again_size));
    return again_size == size && memcmp(again, text, size) == 0 ? ERROR_NONE
                                                                : error_explain(ERROR_CORRUPT, "the checksum does not fit");
}

enum error cached_key_decode(const char *text, size_t size, struct cached_key *cached)
{
    struct flat_object object;
    struct cached_key found = {0};
    uint32_t version;
    TRY(flat_object_parse(text, size, &object));
    TRY(flat_number_take(&object, "version", &version));
    if (version > VERSION)
        return error_explain(ERROR_NEWER_FORMAT, "written by a newer version of Coffer (format %" PRIu32 ", known is %d)", version,
                             VERSION);
    TRY(fields_take(&object, &found));
    TRY(text_check(&found, text, size));
    *cached = found;
    return ERROR_NONE;
}

bool cached_key_begins(const char *text, size_t size, struct uuid pool)
{
    char beginning[UUID_TEXT_SIZE + sizeof BEGINNING], id[UUID_TEXT_SIZE];
    uuid_format(pool, id);
    int length = snprintf(beginning, sizeof beginning, BEGINNING, VERSION, id);
    return memcmp(text, beginning, MIN(size, (size_t)length)) == 0;
}

/* ---- what vouches for it ------------------------------------------------------------------------------------------ */

static enum error mac_make(const struct cached_key *cached, const uint8_t kek[KEY_SIZE], uint8_t mac[CACHED_KEY_MAC_SIZE])
{
    struct uuid context[2] = {cached->pool, cached->provider};
    uint8_t key[KEY_SIZE];
    char text[CACHED_KEY_TEXT_MAX];
    TRY(kdf_derive(kek, "coffer1/key-cache", context, sizeof context, key, sizeof key));
    enum error error = hmac_sha256(key, text, (size_t)body_print(cached, text), mac);
    memory_cleanse(key, sizeof key);
    return error;
}

enum error cached_key_sign(struct cached_key *cached, const uint8_t kek[KEY_SIZE])
{
    TRY(kcv_derive(kek, cached->provider, cached->kcv));
    return mac_make(cached, kek, cached->mac);
}

enum error cached_key_verify(const struct cached_key *cached, const uint8_t kek[KEY_SIZE])
{
    uint8_t kcv[KCV_SIZE], mac[CACHED_KEY_MAC_SIZE];
    TRY(kcv_derive(kek, cached->provider, kcv));
    TRY(mac_make(cached, kek, mac));
    if (memory_compare_constant_time(kcv, cached->kcv, sizeof kcv) != 0)
        return error_explain(ERROR_FORGED, "the key in it does not fit its check value: it was changed");
    return memory_compare_constant_time(mac, cached->mac, sizeof mac) == 0
               ? ERROR_NONE
               : error_explain(ERROR_FORGED, "what it says of its key was changed");
}
