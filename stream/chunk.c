/* One context of OpenSSL for each session, keyed once; only the nonce changes. Round keys live in the arena, which stands
 * in for OpenSSL's allocator. Pure. */
#include "stream/chunk.h"

#include <openssl/evp.h>
#include <string.h>

#include "base/memory.h"
#include "crypto/openssl_error.h"

#define NONCE_SIZE 12

struct stream_cipher {
    EVP_CIPHER_CTX *context;
    bool encrypted;
};

void stream_cipher_destroy(struct stream_cipher *cipher)
{
    if (cipher == NULL)
        return;
    EVP_CIPHER_CTX_free(cipher->context);
    free(cipher);
}

enum error stream_cipher_create(const uint8_t key[KEY_SIZE], bool encrypted, struct stream_cipher **cipher)
{
    struct stream_cipher *made = memory_zeroed(1, sizeof *made);
    if (made == NULL)
        return ERROR_NO_MEMORY;
    made->encrypted = encrypted;
    made->context = EVP_CIPHER_CTX_new();
    if (made->context == NULL || EVP_CipherInit_ex(made->context, EVP_aes_256_gcm(), NULL, key, NULL, 1) != 1) {
        stream_cipher_destroy(made);
        return error_from_openssl("set a stream's key");
    }
    *cipher = made;
    return ERROR_NONE;
}

static void nonce_make(const struct stream_chunk_format *head, uint8_t nonce[NONCE_SIZE])
{
    be64 number = be64_make(le64_get(head->number));
    memset(nonce, 0, NONCE_SIZE);
    memcpy(nonce, &number, sizeof number);
    nonce[NONCE_SIZE - 1] = head->flags & STREAM_LAST;
}

/* All but the tag; of a session's chunk, and where nothing is encrypted, the content is only authenticated. */
static bool transform(struct stream_cipher *cipher, const struct stream_chunk_format *head, bool seal, const void *in,
                      void *out)
{
    uint8_t nonce[NONCE_SIZE], end[STREAM_TAG_SIZE];
    int size = (int)le32_get(head->size), done;
    bool hidden = cipher->encrypted && head->kind == STREAM_CHUNK_RECORDS;
    nonce_make(head, nonce);
    if (EVP_CipherInit_ex(cipher->context, NULL, NULL, NULL, nonce, seal) != 1 ||
        EVP_CipherUpdate(cipher->context, NULL, &done, (const uint8_t *)head,
                         (int)offsetof(struct stream_chunk_format, tag)) != 1 ||
        EVP_CipherUpdate(cipher->context, hidden ? out : NULL, &done, in, size) != 1)
        return false;
    if (!hidden && out != in)
        memcpy(out, in, (size_t)size);
    if (!seal && EVP_CIPHER_CTX_ctrl(cipher->context, EVP_CTRL_AEAD_SET_TAG, STREAM_TAG_SIZE, (void *)head->tag) != 1)
        return false;
    return EVP_CipherFinal_ex(cipher->context, end, &done) == 1;
}

enum error stream_chunk_seal(struct stream_cipher *cipher, struct stream_chunk_format *head, const void *in, void *out)
{
    if (!transform(cipher, head, true, in, out) ||
        EVP_CIPHER_CTX_ctrl(cipher->context, EVP_CTRL_AEAD_GET_TAG, STREAM_TAG_SIZE, head->tag) != 1)
        return error_from_openssl("seal a chunk");
    return ERROR_NONE;
}

enum error stream_chunk_open(struct stream_cipher *cipher, const struct stream_chunk_format *head, const void *in,
                             void *out)
{
    if (transform(cipher, head, false, in, out))
        return ERROR_NONE;
    return ERROR_CORRUPT;
}
