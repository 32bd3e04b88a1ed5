/*
 * Encoding and decoding of a sealed KDK's file, the only code that knows its fields. Decoding accepts exactly one
 * spelling of each value (base64 is encoded again and compared), so that whatever passes is what encode would write.
 * Copies of the KDK live in the caller's buffers or are wiped here. The file is written once, whole, by
 * base/file.h: a crash leaves it there or not.
 */
#include "crypto/sealed_key.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "base/endian.h"
#include "base/hex.h"
#include "base/memory.h"
#include "crypto/flat_json.h"
#include "crypto/openssl_error.h"

#define VERSION            1
#define CHECKSUM_SIZE      8
#define BYTES_MAX          (TPM_APPROVALS_MAX * sizeof(struct tpm_approval)) /* the longest value in base64 */
#define BASE64_SIZE(bytes) (((bytes) + 2) / 3 * 4)
#define BASE64_MAX         BASE64_SIZE(BYTES_MAX)

struct checked_fields {
    le32 version, seal;
    struct uuid provider;
    uint8_t kcv[KCV_SIZE];
    le32 scrypt_log2_n, scrypt_r, scrypt_p;
    uint8_t salt[SEALED_KEY_SALT_SIZE];
    uint8_t wrapped[SEALED_KEY_WRAPPED_SIZE];
};
_Static_assert(sizeof(struct checked_fields) == 8 + 16 + 8 + 12 + 32 + 40, "the checksum covers no padding");

/* Of the seal "tpm", behind those. */
struct checked_tpm_fields {
    struct checked_fields first;
    le32 flags, public_size, private_size;
    uint8_t primary[TPM_NAME_SIZE], endorsement[TPM_NAME_SIZE];
    uint8_t public[TPM_PUBLIC_MAX];
    uint8_t private[TPM_PRIVATE_MAX];
    le32 pcrs, approval_count; /* where it is not bound to PCRs, from here on zero */
    uint8_t approver[TPM_APPROVER_SIZE], reference[TPM_REFERENCE_SIZE];
    struct tpm_approval approvals[TPM_APPROVALS_MAX];
};
_Static_assert(sizeof(struct tpm_approval) == TPM_PCR_SIZE + TPM_APPROVER_SIZE, "an approval is what the file has of it");
_Static_assert(sizeof(struct checked_tpm_fields) ==
                   sizeof(struct checked_fields) + 12 + 2 * TPM_NAME_SIZE + TPM_PUBLIC_MAX + TPM_PRIVATE_MAX + 8 +
                       TPM_APPROVER_SIZE + TPM_REFERENCE_SIZE + TPM_APPROVALS_MAX * sizeof(struct tpm_approval),
               "the checksum covers no padding");

static const char *const seal_names[] = {[SEAL_FILE] = "file", [SEAL_PASSPHRASE] = "passphrase", [SEAL_TPM] = "tpm"};

const char *seal_name(enum seal seal)
{
    return seal_names[seal];
}

static void binding_copy(const struct tpm_binding *binding, struct checked_tpm_fields *all)
{
    all->pcrs = le32_make(binding->pcrs);
    all->approval_count = le32_make(binding->approval_count);
    memcpy(all->approver, binding->approver, sizeof(all->approver));
    memcpy(all->reference, binding->reference, sizeof(all->reference));
    memcpy(all->approvals, binding->approvals, binding->approval_count * sizeof(all->approvals[0]));
}

static enum error checksum_compute(const struct sealed_key *sealed, char text[HEX_TEXT_SIZE(CHECKSUM_SIZE)])
{
    struct checked_tpm_fields all = {
        .flags = le32_make(sealed->tpm.flags),
        .public_size = le32_make(sealed->tpm.public_size),
        .private_size = le32_make(sealed->tpm.private_size),
    };
    all.first = (struct checked_fields){
        .version = le32_make(VERSION),
        .seal = le32_make(sealed->seal),
        .provider = sealed->provider,
        .scrypt_log2_n = le32_make(sealed->scrypt_log2_n),
        .scrypt_r = le32_make(sealed->scrypt_r),
        .scrypt_p = le32_make(sealed->scrypt_p),
    };
    memcpy(all.first.kcv, sealed->kcv, sizeof(all.first.kcv));
    memcpy(all.first.salt, sealed->salt, sizeof(all.first.salt));
    memcpy(all.first.wrapped, sealed->wrapped, sizeof(all.first.wrapped));
    memcpy(all.primary, sealed->tpm.primary, sizeof(all.primary));
    memcpy(all.endorsement, sealed->tpm.endorsement, sizeof(all.endorsement));
    memcpy(all.public, sealed->tpm.public, sealed->tpm.public_size);
    memcpy(all.private, sealed->tpm.private, sealed->tpm.private_size);
    binding_copy(&sealed->tpm.binding, &all);
    uint8_t digest[EVP_MAX_MD_SIZE];
    size_t size = sealed->seal == SEAL_TPM ? sizeof(all) : sizeof(all.first);
    if (EVP_Q_digest(NULL, "SHA256", NULL, &all, size, digest, NULL) != 1)
        return error_from_openssl("compute a checksum");
    hex_format(digest, CHECKSUM_SIZE, text);
    return ERROR_NONE;
}

static int passphrase_fields_print(const struct sealed_key *sealed, char *text, size_t room)
{
    char salt[BASE64_MAX + 1], wrapped[BASE64_MAX + 1];
    EVP_EncodeBlock((uint8_t *)salt, sealed->salt, sizeof(sealed->salt));
    EVP_EncodeBlock((uint8_t *)wrapped, sealed->wrapped, sizeof(sealed->wrapped));
    return snprintf(text, room,
                    "  \"scrypt_log2_n\": %u,\n  \"scrypt_r\": %u,\n  \"scrypt_p\": %u,\n"
                    "  \"salt\": \"%s\",\n  \"wrapped\": \"%s\",\n",
                    sealed->scrypt_log2_n, sealed->scrypt_r, sealed->scrypt_p, salt, wrapped);
}

/* Not by printf, which would leave a copy of the key on the ordinary heap or stack. */
static int kdk_field_print(const struct sealed_key *sealed, char *text, size_t room)
{
    static const char before[] = "  \"kdk\": \"", after[] = "\",\n";
    size_t size = sizeof(before) - 1 + BASE64_SIZE(KEY_SIZE) + sizeof(after) - 1;
    ASSERT(room > size);
    memcpy(text, before, sizeof(before) - 1);
    EVP_EncodeBlock((uint8_t *)text + sizeof(before) - 1, sealed->kdk, KEY_SIZE);
    memcpy(text + size - (sizeof(after) - 1), after, sizeof(after));
    return (int)size;
}

static int binding_print(const struct tpm_binding *binding, char *text, size_t room)
{
    char approver[BASE64_MAX + 1], reference[BASE64_MAX + 1], approvals[BASE64_MAX + 1];
    ASSERT(binding->approval_count <= TPM_APPROVALS_MAX);
    EVP_EncodeBlock((uint8_t *)approver, binding->approver, sizeof(binding->approver));
    EVP_EncodeBlock((uint8_t *)reference, binding->reference, sizeof(binding->reference));
    EVP_EncodeBlock((uint8_t *)approvals, (const uint8_t *)binding->approvals,
                    (int)(binding->approval_count * sizeof(binding->approvals[0])));
    return snprintf(text, room,
                    "  \"tpm_pcrs\": %u,\n  \"tpm_approver\": \"%s\",\n  \"tpm_reference\": \"%s\",\n"
                    "  \"tpm_approvals\": \"%s\",\n",
                    binding->pcrs, approver, reference, approvals);
}

static int tpm_fields_print(const struct sealed_key *sealed, char *text, size_t room)
{
    const struct tpm_sealed *tpm = &sealed->tpm;
    ASSERT(tpm->public_size <= TPM_PUBLIC_MAX && tpm->private_size <= TPM_PRIVATE_MAX);
    char primary[BASE64_MAX + 1], endorsement[BASE64_MAX + 1], public[BASE64_MAX + 1], private[BASE64_MAX + 1];
    EVP_EncodeBlock((uint8_t *)primary, tpm->primary, sizeof(tpm->primary));
    EVP_EncodeBlock((uint8_t *)endorsement, tpm->endorsement, sizeof(tpm->endorsement));
    EVP_EncodeBlock((uint8_t *)public, tpm->public, tpm->public_size);
    EVP_EncodeBlock((uint8_t *)private, tpm->private, tpm->private_size);
    int used = snprintf(text, room,
                    "  \"tpm_flags\": %u,\n  \"tpm_primary\": \"%s\",\n  \"tpm_endorsement\": \"%s\",\n"
                    "  \"tpm_public\": \"%s\",\n  \"tpm_private\": \"%s\",\n",
                    tpm->flags, primary, endorsement, public, private);
    if (tpm->flags & TPM_FLAG_PCRS)
        used += binding_print(&tpm->binding, text + used, room - (size_t)used);
    return used;
}

static int seal_fields_print(const struct sealed_key *sealed, char *text, size_t room)
{
    if (sealed->seal == SEAL_FILE)
        return kdk_field_print(sealed, text, room);
    return sealed->seal == SEAL_TPM ? tpm_fields_print(sealed, text, room) : passphrase_fields_print(sealed, text, room);
}

enum error sealed_key_encode(const struct sealed_key *sealed, char text[SEALED_KEY_TEXT_MAX], size_t *size)
{
    char provider[UUID_TEXT_SIZE], kcv[KCV_TEXT_SIZE], checksum[HEX_TEXT_SIZE(CHECKSUM_SIZE)];
    uuid_format(sealed->provider, provider);
    kcv_format(sealed->kcv, kcv);
    TRY(checksum_compute(sealed, checksum));
    int used = snprintf(text, SEALED_KEY_TEXT_MAX,
                        "{\n  \"version\": %d,\n  \"provider\": \"%s\",\n  \"seal\": \"%s\",\n  \"kcv\": \"%s\",\n",
                        VERSION, provider, seal_name(sealed->seal), kcv);
    used += seal_fields_print(sealed, text + used, (size_t)(SEALED_KEY_TEXT_MAX - used));
    used += snprintf(text + used, (size_t)(SEALED_KEY_TEXT_MAX - used), "  \"checksum\": \"%s\"\n}\n", checksum);
    ASSERT(used < SEALED_KEY_TEXT_MAX);
    *size = (size_t)used;
    return ERROR_NONE;
}

static enum error text_decode(struct flat_text text, const char *name, uint8_t *bytes, size_t size)
{
    uint8_t decoded[BASE64_MAX];
    char again[BASE64_MAX + 1];
    bool valid =
        text.size == BASE64_SIZE(size) && EVP_DecodeBlock(decoded, (const uint8_t *)text.start, (int)text.size) > 0;
    if (valid) {
        EVP_EncodeBlock((uint8_t *)again, decoded, (int)size);
        valid = memory_compare_constant_time(again, text.start, text.size) == 0;
    }
    if (valid)
        memcpy(bytes, decoded, size);
    memory_cleanse(decoded, sizeof(decoded));
    memory_cleanse(again, sizeof(again));
    return valid ? ERROR_NONE : error_explain(ERROR_CORRUPT, "\"%s\" is not %zu bytes in base64", name, size);
}

static enum error bytes_take(struct flat_object *object, const char *name, uint8_t *bytes, size_t size)
{
    struct flat_text text;
    TRY(flat_text_take(object, name, &text));
    return text_decode(text, name, bytes, size);
}

/* What has no fixed size: 1 to `room` bytes. */
static enum error some_bytes_take(struct flat_object *object, const char *name, uint8_t *bytes, size_t room,
                                  uint32_t *size)
{
    struct flat_text text;
    TRY(flat_text_take(object, name, &text));
    size_t padding = 0;
    while (padding < 2 && padding < text.size && text.start[text.size - 1 - padding] == '=')
        padding++;
    if (text.size == 0 || text.size % 4 != 0 || text.size / 4 * 3 - padding > room)
        return error_explain(ERROR_CORRUPT, "\"%s\" is not 1 to %zu bytes in base64", name, room);
    *size = (uint32_t)(text.size / 4 * 3 - padding);
    return text_decode(text, name, bytes, *size);
}

static enum error version_take(struct flat_object *object)
{
    uint32_t version;
    TRY(flat_number_take(object, "version", &version));
    if (version > VERSION)
        return error_explain(ERROR_NEWER_FORMAT, "written by a newer version of Coffer (format %u, known is %u)",
                             version, VERSION);
    return version == VERSION ? ERROR_NONE : error_explain(ERROR_CORRUPT, "there is no format %u", version);
}

static enum error provider_take(struct flat_object *object, struct uuid *provider)
{
    struct flat_text text;
    char string[UUID_TEXT_SIZE] = "";
    TRY(flat_text_take(object, "provider", &text));
    if (text.size == UUID_TEXT_SIZE - 1)
        memcpy(string, text.start, text.size);
    if (uuid_parse(string, provider) != ERROR_NONE)
        return error_explain(ERROR_CORRUPT, "\"provider\" is not a UUID");
    return ERROR_NONE;
}

static enum error seal_take(struct flat_object *object, enum seal *seal)
{
    struct flat_text text;
    TRY(flat_text_take(object, "seal", &text));
    for (enum seal known = SEAL_FILE; known <= SEAL_TPM; known++)
        if (flat_text_equal(text, seal_name(known))) {
            *seal = known;
            return ERROR_NONE;
        }
    return error_explain(ERROR_CORRUPT, "\"seal\" is neither file nor passphrase nor tpm");
}

static enum error binding_take(struct flat_object *object, struct tpm_binding *binding)
{
    uint32_t size;
    TRY(flat_number_take(object, "tpm_pcrs", &binding->pcrs));
    if (binding->pcrs == 0 || binding->pcrs >> TPM_PCRS != 0)
        return error_explain(ERROR_CORRUPT, "\"tpm_pcrs\" names no PCRs");
    TRY(bytes_take(object, "tpm_approver", binding->approver, sizeof(binding->approver)));
    TRY(bytes_take(object, "tpm_reference", binding->reference, sizeof(binding->reference)));
    TRY(some_bytes_take(object, "tpm_approvals", (uint8_t *)binding->approvals, sizeof(binding->approvals), &size));
    binding->approval_count = size / sizeof(binding->approvals[0]);
    return size % sizeof(binding->approvals[0]) == 0
               ? ERROR_NONE
               : error_explain(ERROR_CORRUPT, "\"tpm_approvals\" is cut off");
}

static enum error tpm_fields_take(struct flat_object *object, struct tpm_sealed *tpm)
{
    TRY(flat_number_take(object, "tpm_flags", &tpm->flags));
    TRY(bytes_take(object, "tpm_primary", tpm->primary, sizeof(tpm->primary)));
    TRY(bytes_take(object, "tpm_endorsement", tpm->endorsement, sizeof(tpm->endorsement)));
    TRY(some_bytes_take(object, "tpm_public", tpm->public, sizeof(tpm->public), &tpm->public_size));
    TRY(some_bytes_take(object, "tpm_private", tpm->private, sizeof(tpm->private), &tpm->private_size));
    return tpm->flags & TPM_FLAG_PCRS ? binding_take(object, &tpm->binding) : ERROR_NONE;
}

static enum error passphrase_fields_take(struct flat_object *object, struct sealed_key *sealed)
{
    TRY(flat_number_take(object, "scrypt_log2_n", &sealed->scrypt_log2_n));
    TRY(flat_number_take(object, "scrypt_r", &sealed->scrypt_r));
    TRY(flat_number_take(object, "scrypt_p", &sealed->scrypt_p));
    TRY(bytes_take(object, "salt", sealed->salt, sizeof(sealed->salt)));
    return bytes_take(object, "wrapped", sealed->wrapped, sizeof(sealed->wrapped));
}

static enum error seal_fields_take(struct flat_object *object, struct sealed_key *sealed)
{
    if (sealed->seal == SEAL_FILE)
        return bytes_take(object, "kdk", sealed->kdk, KEY_SIZE);
    return sealed->seal == SEAL_TPM ? tpm_fields_take(object, &sealed->tpm) : passphrase_fields_take(object, sealed);
}

static enum error checksum_check(struct flat_object *object, const struct sealed_key *sealed)
{
    struct flat_text text;
    char expected[HEX_TEXT_SIZE(CHECKSUM_SIZE)];
    TRY(flat_text_take(object, "checksum", &text));
    TRY(checksum_compute(sealed, expected));
    return flat_text_equal(text, expected) ? ERROR_NONE : error_explain(ERROR_CORRUPT, "the checksum does not fit");
}

static enum error fields_take(struct flat_object *object, struct sealed_key *sealed)
{
    TRY(version_take(object));
    TRY(provider_take(object, &sealed->provider));
    TRY(seal_take(object, &sealed->seal));
    TRY(flat_hex_bytes_take(object, "kcv", sealed->kcv, KCV_SIZE));
    TRY(seal_fields_take(object, sealed));
    TRY(checksum_check(object, sealed));
    return flat_object_finish(object);
}

enum error sealed_key_decode(const char *text, size_t size, struct sealed_key *sealed)
{
    struct flat_object object;
    TRY(flat_object_parse(text, size, &object));
    struct sealed_key found = {0};
    enum error error = fields_take(&object, &found);
    if (error == ERROR_NONE)
        *sealed = found;
    memory_cleanse(&found, sizeof(found));
    return error;
}
