/*
 * Headers and keys of streams. The order of checks is magic, version, digest, fields; costs are looked at before scrypt
 * runs, and the KCV before any chunk. Pure but for random salts.
 */
#include "stream/header.h"

#include <openssl/evp.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "crypto/openssl_error.h"
#include "crypto/provider.h"

static enum error digest_make(const struct stream_header_format *header, uint8_t digest[STREAM_DIGEST_SIZE])
{
    if (EVP_Q_digest(NULL, "SHA256", NULL, header, offsetof(struct stream_header_format, digest), digest, NULL) != 1)
        return error_from_openssl("compute a digest");
    return ERROR_NONE;
}

static enum error master_derive(const struct stream_header_format *header, const struct stream_secret *secret,
                                uint8_t master[KEY_SIZE])
{
    switch (header->protection) {
    case STREAM_PASSPHRASE:
        return scrypt_derive(secret->passphrase, secret->passphrase_size, header->salt, STREAM_SALT_SIZE,
                             header->scrypt_log2_n, master);
    case STREAM_KEY_FILE:
        return kdf_derive(secret->key, "coffer1/stream-key", header->salt, STREAM_SALT_SIZE, master, KEY_SIZE);
    default:
        memcpy(master, kek_public, KEY_SIZE);
        return ERROR_NONE;
    }
}

static enum error header_make(const struct stream_secret *secret, unsigned log2_n, uint32_t features,
                              struct stream_header_format *header, uint8_t master[KEY_SIZE])
{
    *header = (struct stream_header_format){
        .version = le32_make(STREAM_VERSION),
        .features = le32_make(features),
        .protection = secret->passphrase ? STREAM_PASSPHRASE : secret->key ? STREAM_KEY_FILE : STREAM_PLAIN,
        .scrypt_log2_n = (uint8_t)(secret->passphrase ? log2_n : 0),
        .stream = uuid_random(),
    };
    memcpy(header->magic, STREAM_MAGIC, sizeof header->magic);
    random_bytes(header->salt, STREAM_SALT_SIZE);
    TRY(master_derive(header, secret, master));
    TRY(kcv_derive(master, header->stream, header->kcv));
    return digest_make(header, header->digest);
}

enum error stream_header_make(const struct stream_secret *secret, unsigned log2_n, struct stream_header_format *header,
                              uint8_t master[KEY_SIZE])
{
    return header_make(secret, log2_n, 0, header, master);
}

enum error stream_bundle_header_make(const struct stream_secret *secret, unsigned log2_n, struct stream_header_format *header,
                                     uint8_t master[KEY_SIZE])
{
    return header_make(secret, log2_n, STREAM_OF_FILES, header, master);
}

static enum error features_check(const struct stream_header_format *header, uint32_t wanted)
{
    uint32_t features = le32_get(header->features);
    if (features & ~(uint32_t)STREAM_OF_FILES)
        return error_explain(ERROR_NEWER_FORMAT, "the stream needs what this version of Coffer does not know");
    if (features == wanted)
        return ERROR_NONE;
    return wanted ? error_explain(ERROR_INVALID, "this is a stream that `object export` wrote, and no backup of a pool directory")
                  : error_explain(ERROR_INVALID, "this is a backup of a pool directory (`coffer restore`), and no stream of an object");
}

static enum error fields_check(const struct stream_header_format *header)
{
    bool passphrase = header->protection == STREAM_PASSPHRASE;
    if (header->protection > STREAM_KEY_FILE || !memory_is_zero(header->reserved0, sizeof header->reserved0) ||
        !memory_is_zero(header->reserved1, sizeof header->reserved1) || (!passphrase && header->scrypt_log2_n))
        return error_explain(ERROR_CORRUPT, "the header of the stream says what none can say");
    if (passphrase &&
        (header->scrypt_log2_n < SCRYPT_LOG2_N_FLOOR || header->scrypt_log2_n > SCRYPT_LOG2_N_CEILING))
        return error_explain(ERROR_UNSUPPORTED, "the stream wants scrypt with N = 2^%u: 2^%d to 2^%d are accepted",
                             header->scrypt_log2_n, SCRYPT_LOG2_N_FLOOR, SCRYPT_LOG2_N_CEILING);
    return ERROR_NONE;
}

static enum error header_check(const struct stream_header_format *header, uint32_t wanted)
{
    uint8_t digest[STREAM_DIGEST_SIZE];
    if (memcmp(header->magic, STREAM_MAGIC, sizeof header->magic) != 0)
        return error_explain(ERROR_INVALID, "this is no %s wrote",
                             wanted ? "backup of a pool directory that `coffer backup`" : "stream that `object export`");
    if (le32_get(header->version) > STREAM_VERSION)
        return error_explain(ERROR_NEWER_FORMAT, "the stream has format %u, this version of Coffer knows %d",
                             le32_get(header->version), STREAM_VERSION);
    TRY(digest_make(header, digest));
    if (memcmp(digest, header->digest, STREAM_DIGEST_SIZE) != 0 || le32_get(header->version) != STREAM_VERSION)
        return error_explain(ERROR_CORRUPT, "the header of the stream is damaged");
    TRY(features_check(header, wanted));
    return fields_check(header);
}

enum error stream_header_check(const struct stream_header_format *header)
{
    return header_check(header, 0);
}

enum error stream_bundle_header_check(const struct stream_header_format *header)
{
    return header_check(header, STREAM_OF_FILES);
}

enum error stream_master_open(const struct stream_header_format *header, const struct stream_secret *secret,
                              uint8_t master[KEY_SIZE])
{
    uint8_t kcv[KCV_SIZE];
    bool passphrase = header->protection == STREAM_PASSPHRASE;
    if (passphrase && secret->passphrase == NULL)
        return error_explain(ERROR_KEY_ABSENT, "the stream is encrypted under a passphrase: say --passphrase-file");
    if (header->protection == STREAM_KEY_FILE && secret->key == NULL)
        return error_explain(ERROR_KEY_ABSENT, "the stream is encrypted under a key file: say --key-file");
    if (header->protection == STREAM_PLAIN && (secret->passphrase != NULL || secret->key != NULL))
        return error_explain(ERROR_WRONG_KEY, "the stream is not encrypted, so nothing tells who wrote it: leave out the "
                                              "passphrase or key to take it all the same");
    TRY(master_derive(header, secret, master));
    TRY(kcv_derive(master, header->stream, kcv));
    if (memory_compare_constant_time(kcv, header->kcv, KCV_SIZE) != 0)
        return error_explain(ERROR_WRONG_KEY, "the %s is not that of the stream", passphrase ? "passphrase" : "key");
    return ERROR_NONE;
}

enum error stream_first_key(const uint8_t master[KEY_SIZE], const struct stream_header_format *header,
                            uint8_t key[KEY_SIZE])
{
    return kdf_derive(master, "coffer1/stream", header->digest, STREAM_DIGEST_SIZE, key, KEY_SIZE);
}

enum error stream_import_derive(const uint8_t master[KEY_SIZE], const struct stream_header_format *header,
                                const struct stream_manifest_format *manifest, struct uuid *import)
{
    uint8_t context[STREAM_DIGEST_SIZE + sizeof(*manifest)];
    memcpy(context, header->digest, STREAM_DIGEST_SIZE);
    memcpy(context + STREAM_DIGEST_SIZE, manifest, sizeof(*manifest));
    return kdf_derive(master, "coffer1/stream-import", context, sizeof context, import->bytes, sizeof import->bytes);
}

enum error stream_next_key(const uint8_t master[KEY_SIZE], const struct stream_header_format *header,
                           const uint8_t tag[STREAM_TAG_SIZE], const uint8_t salt[STREAM_SALT_SIZE],
                           uint8_t key[KEY_SIZE])
{
    uint8_t context[STREAM_DIGEST_SIZE + STREAM_TAG_SIZE + STREAM_SALT_SIZE];
    memcpy(context, header->digest, STREAM_DIGEST_SIZE);
    memcpy(context + STREAM_DIGEST_SIZE, tag, STREAM_TAG_SIZE);
    memcpy(context + STREAM_DIGEST_SIZE + STREAM_TAG_SIZE, salt, STREAM_SALT_SIZE);
    return kdf_derive(master, "coffer1/stream-go-on", context, sizeof context, key, KEY_SIZE);
}
