/*
 * Loaded before OpenSSL's library, it makes one of its algorithms give a wrong answer, which WRONG_ANSWER names: a machine
 * whose processor or library is broken, for the test that nothing starts on it. Coffer knows of none of this.
 */
#include <dlfcn.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static bool is_wrong(const char *algorithm)
{
    const char *named = getenv("WRONG_ANSWER");
    return named != NULL && strcmp(named, algorithm) == 0;
}

/* ISO C knows no way from an object to a function but this one. */
#define REAL(name, pointer)                              \
    do {                                                 \
        void *found = dlsym(RTLD_NEXT, name);            \
        memcpy(&(pointer), &found, sizeof found);        \
    } while (0)

static void spoil(unsigned char *answer, bool wrong)
{
    if (wrong && answer != NULL)
        answer[0] ^= 1;
}

int EVP_CipherUpdate(EVP_CIPHER_CTX *context, unsigned char *out, int *size, const unsigned char *in, int in_size)
{
    int (*real)(EVP_CIPHER_CTX *, unsigned char *, int *, const unsigned char *, int);
    REAL("EVP_CipherUpdate", real);
    int mode = EVP_CIPHER_CTX_get_mode(context), done = real(context, out, size, in, in_size);
    spoil(out, (mode == EVP_CIPH_XTS_MODE && is_wrong("XTS")) || (mode == EVP_CIPH_WRAP_MODE && is_wrong("KWP")));
    return done;
}

int EVP_CIPHER_CTX_ctrl(EVP_CIPHER_CTX *context, int what, int size, void *bytes)
{
    int (*real)(EVP_CIPHER_CTX *, int, int, void *);
    REAL("EVP_CIPHER_CTX_ctrl", real);
    int done = real(context, what, size, bytes);
    spoil(bytes, what == EVP_CTRL_AEAD_GET_TAG && is_wrong("GMAC"));
    return done;
}

int EVP_KDF_derive(EVP_KDF_CTX *context, unsigned char *key, size_t size, const OSSL_PARAM parameters[])
{
    int (*real)(EVP_KDF_CTX *, unsigned char *, size_t, const OSSL_PARAM[]);
    REAL("EVP_KDF_derive", real);
    int done = real(context, key, size, parameters);
    spoil(key, is_wrong("KBKDF"));
    return done;
}

/* The library computes others by it. */
static bool is_library(const void *caller)
{
    Dl_info place;
    return dladdr(caller, &place) != 0 && strstr(place.dli_fname, "libcrypto") != NULL;
}

int EVP_MAC_final(EVP_MAC_CTX *context, unsigned char *out, size_t *size, size_t room)
{
    int (*real)(EVP_MAC_CTX *, unsigned char *, size_t *, size_t);
    REAL("EVP_MAC_final", real);
    int done = real(context, out, size, room);
    spoil(out, is_wrong("HMAC") && !is_library(__builtin_return_address(0)));
    return done;
}

int EVP_PBE_scrypt(const char *pass, size_t pass_size, const unsigned char *salt, size_t salt_size, uint64_t n, uint64_t r,
                   uint64_t p, uint64_t memory, unsigned char *key, size_t size)
{
    int (*real)(const char *, size_t, const unsigned char *, size_t, uint64_t, uint64_t, uint64_t, uint64_t, unsigned char *,
                size_t);
    REAL("EVP_PBE_scrypt", real);
    int done = real(pass, pass_size, salt, salt_size, n, r, p, memory, key, size);
    spoil(key, is_wrong("scrypt"));
    return done;
}
