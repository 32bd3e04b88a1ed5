/*
 * Key derivation and HMAC through OpenSSL's EVP_KDF, EVP_PBE and EVP_MAC.
 *
 *   block(i) = HMAC-SHA-256(key, i | label | 0 | context | 8 * size), i and size 4 bytes big-endian, i from 1
 *   KBKDF    = the first `size` bytes of block(1) | block(2) | ...
 *
 * Every call makes a context of its own and frees it, and OpenSSL wipes what it frees: no input key outlives the
 * call that used it, which is what locking a pool relies on. The algorithms are looked up once in the life of the
 * process and are only read afterwards, so any thread may call. Nothing here touches a disk.
 */
#include "crypto/kdf.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <pthread.h>
#include <string.h>

#include "crypto/openssl_error.h"

#define DERIVED_SIZE_MAX 1024
#define SCRYPT_SLACK     (1u << 20) /* OpenSSL counts a little more than the table of 128 * N * r bytes */

static pthread_once_t algorithms_once = PTHREAD_ONCE_INIT;
static EVP_KDF *kbkdf;
static EVP_MAC *hmac;

static void algorithms_fetch(void)
{
    kbkdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_KBKDF, NULL);
    hmac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);
}

static void kdf_context_free_scope(EVP_KDF_CTX **context)
{
    EVP_KDF_CTX_free(*context);
}

static void mac_context_free_scope(EVP_MAC_CTX **context)
{
    EVP_MAC_CTX_free(*context);
}

enum error kdf_derive(const uint8_t key[KEY_SIZE], const char *label, const void *context, size_t context_size,
                      void *out, size_t size)
{
    ASSERT(size >= 1 && size <= DERIVED_SIZE_MAX);
    ASSERT(label[0] != 0);
    pthread_once(&algorithms_once, algorithms_fetch);
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_MODE, (char *)"counter", 0),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_MAC, (char *)OSSL_MAC_NAME_HMAC, 0),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)key, KEY_SIZE),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)label, strlen(label)),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)context, context_size),
        OSSL_PARAM_construct_end(),
    };
    __attribute__((cleanup(kdf_context_free_scope))) EVP_KDF_CTX *kdf = kbkdf == NULL ? NULL : EVP_KDF_CTX_new(kbkdf);
    if (kdf == NULL || EVP_KDF_derive(kdf, out, size, parameters) != 1)
        return error_from_openssl("derive a key");
    return ERROR_NONE;
}

enum error hmac_sha256(const uint8_t key[KEY_SIZE], const void *data, size_t size, uint8_t mac[32])
{
    pthread_once(&algorithms_once, algorithms_fetch);
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_end(),
    };
    size_t mac_size = 0;
    __attribute__((cleanup(mac_context_free_scope))) EVP_MAC_CTX *context = hmac == NULL ? NULL : EVP_MAC_CTX_new(hmac);
    if (context == NULL || EVP_MAC_init(context, key, KEY_SIZE, parameters) != 1 ||
        EVP_MAC_update(context, data, size) != 1 || EVP_MAC_final(context, mac, &mac_size, 32) != 1)
        return error_from_openssl("compute an HMAC");
    ASSERT(mac_size == 32);
    return ERROR_NONE;
}

enum error scrypt_derive(const char *passphrase, size_t passphrase_size, const void *salt, size_t salt_size,
                         unsigned log2_n, uint8_t key[KEY_SIZE])
{
    uint64_t table = UINT64_C(128) * SCRYPT_R << log2_n;
    if (EVP_PBE_scrypt(passphrase, passphrase_size, salt, salt_size, UINT64_C(1) << log2_n, SCRYPT_R, SCRYPT_P,
                       table + SCRYPT_SLACK, key, KEY_SIZE) != 1)
        return error_from_openssl("run scrypt over the passphrase");
    return ERROR_NONE;
}
