/*
 * Backups of a key. The first byte says how: bit 0: patches to a good file, else a file as it comes. Passwords are not
 * stretched (--wrap): a MAC always fits, and the encrypted part is taken as it lies there, so that what is behind both is
 * reached. Costs are checked before either: a call with more iterations than are allowed ends the target.
 *
 * What is taken can be written, and is then taken as the same.
 */
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"
#include "crypto/pkcs12.h"
#include "tests/fuzz/patches.h"

#define PATCH 1

static uint8_t *good;
static size_t good_size;

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int __wrap_PKCS12_verify_mac(PKCS12 *file, const char *password, int size);
int __real_PKCS12_set_mac(PKCS12 *file, const char *password, int size, unsigned char *salt, int salt_size, int iterations,
                          const EVP_MD *digest);
int __wrap_PKCS12_set_mac(PKCS12 *file, const char *password, int size, unsigned char *salt, int salt_size, int iterations,
                          const EVP_MD *digest);
STACK_OF(PKCS12_SAFEBAG) *__wrap_PKCS12_unpack_p7encdata(PKCS7 *part, const char *password, int size);
PKCS7 *__real_PKCS12_pack_p7encdata(int cipher, const char *password, int size, unsigned char *salt, int salt_size,
                                    int iterations, STACK_OF(PKCS12_SAFEBAG) *bags);
PKCS7 *__wrap_PKCS12_pack_p7encdata(int cipher, const char *password, int size, unsigned char *salt, int salt_size,
                                    int iterations, STACK_OF(PKCS12_SAFEBAG) *bags);

int __wrap_PKCS12_verify_mac(PKCS12 *file, const char *password, int size)
{
    const ASN1_INTEGER *count;
    (void)password, (void)size;
    PKCS12_get0_mac(NULL, NULL, NULL, &count, file);
    ASSERT(count == NULL || (ASN1_INTEGER_get(count) > 0 && ASN1_INTEGER_get(count) <= (long)PKCS12_ITERATIONS_MAX));
    return 1;
}

int __wrap_PKCS12_set_mac(PKCS12 *file, const char *password, int size, unsigned char *salt, int salt_size, int iterations,
                          const EVP_MD *digest)
{
    ASSERT(iterations >= (int)PKCS12_ITERATIONS && salt_size >= PKCS12_SALT_SIZE);
    return __real_PKCS12_set_mac(file, password, size, salt, salt_size, 2, digest);
}

STACK_OF(PKCS12_SAFEBAG) *__wrap_PKCS12_unpack_p7encdata(PKCS7 *part, const char *password, int size)
{
    const ASN1_OCTET_STRING *contents = part->d.encrypted->enc_data->enc_data;
    const unsigned char *at = ASN1_STRING_get0_data(contents);
    (void)password, (void)size;
    return (STACK_OF(PKCS12_SAFEBAG) *)ASN1_item_d2i(NULL, &at, ASN1_STRING_length(contents),
                                                     ASN1_ITEM_rptr(PKCS12_SAFEBAGS));
}

PKCS7 *__wrap_PKCS12_pack_p7encdata(int cipher, const char *password, int size, unsigned char *salt, int salt_size,
                                    int iterations, STACK_OF(PKCS12_SAFEBAG) *bags)
{
    ASSERT(iterations >= (int)PKCS12_ITERATIONS && salt_size >= PKCS12_SALT_SIZE);
    PKCS7 *part = __real_PKCS12_pack_p7encdata(cipher, password, size, salt, salt_size, 1, bags);
    unsigned char *plain = NULL;
    int plain_size = ASN1_item_i2d((ASN1_VALUE *)bags, &plain, ASN1_ITEM_rptr(PKCS12_SAFEBAGS));
    ASSERT(part != NULL && plain_size > 0);
    ASN1_STRING_set0(part->d.encrypted->enc_data->enc_data, plain, plain_size);
    return part;
}

static enum error decode(const uint8_t *data, size_t size, struct pkcs12 *content)
{
    error_forget();
    return pkcs12_decode(data, size, "p", 1, content);
}

static void write_again(const struct pkcs12 *once)
{
    struct pkcs12 twice;
    uint8_t *data;
    size_t size;
    ASSERT(pkcs12_encode(once, "p", 1, &data, &size) == ERROR_NONE);
    ASSERT(decode(data, size, &twice) == ERROR_NONE);
    ASSERT(memcmp(once->key, twice.key, KEY_SIZE) == 0 && memcmp(once->kcv, twice.kcv, KCV_SIZE) == 0);
    ASSERT(strcmp(once->name, twice.name) == 0 && once->text_size == twice.text_size);
    ASSERT(memcmp(once->text, twice.text, once->text_size) == 0);
    pkcs12_forget(&twice);
    free(data);
}

static void run(const uint8_t *data, size_t size)
{
    struct pkcs12 content;
    enum error error = decode(data, size, &content);
    ASSERT(error == ERROR_NONE || strlen(error_sentence(error)) > 0);
    if (error != ERROR_NONE)
        return;
    ASSERT(content.text_size <= PKCS12_TEXT_MAX && content.text[content.text_size] == 0);
    ASSERT(strlen(content.name) <= PKCS12_NAME_MAX && utf8_is_printable(content.name));
    write_again(&content);
    pkcs12_forget(&content);
}

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    static char text[] = "{\"version\": 1}";
    struct pkcs12 content = {.name = "coffer main", .kcv = {1, 2, 3}, .key = {7}, .text = text, .text_size = sizeof text - 1};
    (void)count, (void)arguments;
    ASSERT(pkcs12_encode(&content, "p", 1, &good, &good_size) == ERROR_NONE);
    run(good, good_size);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || (data[0] & PATCH) == 0) {
        run(data + (size > 0), size - (size > 0));
        return 0;
    }
    uint8_t *patched = malloc(good_size);
    ASSERT(patched != NULL);
    memcpy(patched, good, good_size);
    patches_apply(data + 1, size - 1, 1, patched, good_size);
    run(patched, good_size);
    free(patched);
    return 0;
}
