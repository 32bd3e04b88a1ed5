/*
 * KWP through OpenSSL. A failed unwrap is an answer, not a fault of the library: it leaves OpenSSL's queue empty.
 * Output goes to the caller only when it is whole; what OpenSSL wrote before is wiped. Nothing on disk.
 */
#include "crypto/key_wrap.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/memory.h"
#include "crypto/openssl_error.h"

static void cipher_context_free_scope(EVP_CIPHER_CTX **context)
{
    EVP_CIPHER_CTX_free(*context);
}
#define AUTO_CIPHER_CONTEXT __attribute__((cleanup(cipher_context_free_scope)))

static EVP_CIPHER_CTX *context_create(const uint8_t wrap_key[KEY_SIZE], int encrypt)
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    if (context == NULL)
        return NULL;
    EVP_CIPHER_CTX_set_flags(context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    if (EVP_CipherInit_ex(context, EVP_aes_256_wrap_pad(), NULL, wrap_key, NULL, encrypt) == 1)
        return context;
    EVP_CIPHER_CTX_free(context);
    return NULL;
}

enum error bytes_wrap(const uint8_t wrap_key[KEY_SIZE], const void *text, size_t size, uint8_t *wrapped)
{
    ASSERT(size > 0 && size <= KEY_WRAP_TEXT_MAX && size % 8 == 0);
    AUTO_CIPHER_CONTEXT EVP_CIPHER_CTX *context = context_create(wrap_key, 1);
    int written = 0;
    if (context == NULL || EVP_CipherUpdate(context, wrapped, &written, text, (int)size) != 1)
        return error_from_openssl("wrap a key");
    ASSERT((size_t)written == size + KEY_WRAP_OVERHEAD);
    return ERROR_NONE;
}

enum error bytes_unwrap(const uint8_t wrap_key[KEY_SIZE], const uint8_t *wrapped, size_t wrapped_size, void *text)
{
    size_t size = wrapped_size - KEY_WRAP_OVERHEAD;
    ASSERT(wrapped_size > KEY_WRAP_OVERHEAD && size <= KEY_WRAP_TEXT_MAX && size % 8 == 0);
    AUTO_CIPHER_CONTEXT EVP_CIPHER_CTX *context = context_create(wrap_key, 0);
    if (context == NULL)
        return error_from_openssl("unwrap a key");
    uint8_t room[KEY_WRAP_TEXT_MAX + KEY_WRAP_OVERHEAD]; /* OpenSSL may write one block more than the text */
    int written = 0;
    bool fits = EVP_CipherUpdate(context, room, &written, wrapped, (int)wrapped_size) == 1 && (size_t)written == size;
    if (fits)
        memcpy(text, room, size);
    else
        ERR_clear_error();
    memory_cleanse(room, sizeof(room));
    return fits ? ERROR_NONE : ERROR_WRONG_KEY;
}
