/*
 * Fingerprints and the check for zeros.
 *
 * XXH3 is written in its canonical (big-endian) form, so that a fingerprint page means the same on every machine.
 * Where the processor family has several vector units the library's dispatcher picks the widest: the values do not
 * depend on it.
 *
 * HMAC needs two compressions of SHA-256 to take a key in, and OpenSSL several allocations more; a batch of one chunk
 * would pay as much for them as for half a chunk. Each thread therefore keeps its context keyed, with a copy of
 * the key to know it by. Both lie in memory of OpenSSL, which is the locked arena where the process set one up, and
 * are wiped when the thread ends or fingerprint_thread_end() is called.
 *
 * No locks: all state belongs to a thread. Nothing here reaches a disk, so there is nothing for a crash to harm.
 */
#include "dedup/fingerprint.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <pthread.h>
#if defined(__x86_64__)
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

#define HMAC_KEY_BYTES    32
#define HMAC_SHA256_BYTES 32

_Static_assert(FINGERPRINT_SECRET_BYTES >= XXH3_SECRET_SIZE_MIN, "XXH3 takes no shorter secret");
_Static_assert(sizeof(XXH128_canonical_t) == FINGERPRINT_SIZE, "a fingerprint is one XXH128");

struct hmac_state {
    EVP_MAC_CTX *context;
    bool keyed;
    uint8_t key[HMAC_KEY_BYTES]; /* what `context` is keyed with, where `keyed` */
};

static _Thread_local struct hmac_state *hmac_of_thread;
static pthread_once_t hmac_once = PTHREAD_ONCE_INIT;
static pthread_key_t hmac_at_thread_end;

static void hmac_state_destroy(void *argument)
{
    struct hmac_state *state = argument;

    hmac_of_thread = NULL;
    EVP_MAC_CTX_free(state->context);
    OPENSSL_clear_free(state, sizeof *state);
}

void fingerprint_thread_end(void)
{
    if (hmac_of_thread == NULL)
        return;
    hmac_state_destroy(hmac_of_thread);
    pthread_setspecific(hmac_at_thread_end, NULL);
}

static void hmac_once_init(void)
{
    ASSERT(pthread_key_create(&hmac_at_thread_end, hmac_state_destroy) == 0);
}

static EVP_MAC_CTX *hmac_context_create(void)
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);
    EVP_MAC_CTX *context = mac != NULL ? EVP_MAC_CTX_new(mac) : NULL;

    EVP_MAC_free(mac);
    return context;
}

static struct hmac_state *hmac_state_get(void)
{
    struct hmac_state *state = hmac_of_thread;

    if (state != NULL)
        return state;
    pthread_once(&hmac_once, hmac_once_init);
    state = OPENSSL_zalloc(sizeof *state);
    if (state == NULL)
        return NULL;
    state->context = hmac_context_create();
    if (state->context == NULL || pthread_setspecific(hmac_at_thread_end, state) != 0) {
        hmac_state_destroy(state);
        return NULL;
    }
    hmac_of_thread = state;
    return state;
}

static bool hmac_state_key(struct hmac_state *state, const uint8_t key[HMAC_KEY_BYTES])
{
    char digest[] = "SHA256";
    OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                               OSSL_PARAM_construct_end()};

    if (state->keyed && CRYPTO_memcmp(state->key, key, HMAC_KEY_BYTES) == 0)
        return true;
    state->keyed = EVP_MAC_init(state->context, key, HMAC_KEY_BYTES, parameters) == 1;
    if (state->keyed)
        memcpy(state->key, key, HMAC_KEY_BYTES);
    return state->keyed;
}

/* A start without key and parameters takes the key that the context has. */
static bool hmac_compute(EVP_MAC_CTX *context, const void *chunk, struct fingerprint *out)
{
    uint8_t mac[HMAC_SHA256_BYTES];
    size_t size;

    if (EVP_MAC_init(context, NULL, 0, NULL) != 1 || EVP_MAC_update(context, chunk, CHUNK_SIZE) != 1 ||
        EVP_MAC_final(context, mac, &size, sizeof mac) != 1 || size != sizeof mac)
        return false;
    memcpy(out->bytes, mac, FINGERPRINT_SIZE);
    return true;
}

static enum error fingerprint_compute_hmac(const uint8_t key[HMAC_KEY_BYTES], const void *const *chunks, size_t count,
                                           struct fingerprint *out)
{
    struct hmac_state *state = hmac_state_get();

    if (state == NULL || !hmac_state_key(state, key))
        return error_explain(ERROR_NO_MEMORY, "no memory for fingerprints by HMAC-SHA-256");
    for (size_t i = 0; i < count; i++) {
        if (!hmac_compute(state->context, chunks[i], &out[i])) {
            state->keyed = false;
            return error_explain(ERROR_NO_MEMORY, "OpenSSL failed to compute an HMAC-SHA-256");
        }
    }
    return ERROR_NONE;
}

static void fingerprint_compute_xxh3(const uint8_t secret[FINGERPRINT_SECRET_BYTES], const void *const *chunks,
                                     size_t count, struct fingerprint *out)
{
    for (size_t i = 0; i < count; i++) {
        XXH128_canonical_t canonical;

        XXH128_canonicalFromHash(&canonical,
                                 XXH3_128bits_withSecret(chunks[i], CHUNK_SIZE, secret, FINGERPRINT_SECRET_BYTES));
        memcpy(out[i].bytes, canonical.digest, FINGERPRINT_SIZE);
    }
}

enum error fingerprint_compute(const struct fingerprint_key *key, const void *const *chunks, size_t count,
                               struct fingerprint *out)
{
    switch (key->kind) {
    case FINGERPRINT_XXH3:
        fingerprint_compute_xxh3(key->secret, chunks, count, out);
        return ERROR_NONE;
    case FINGERPRINT_HMAC_SHA256:
        return fingerprint_compute_hmac(key->secret, chunks, count, out);
    }
    return error_explain(ERROR_UNSUPPORTED, "fingerprint kind %d is not known to this version", (int)key->kind);
}

/* A chunk whose first bytes are zero and that equals itself shifted by as many is zero throughout: the comparison is
 * the C library's, vectorised, and stops at the first difference. Most chunks end at the first word. */
bool chunk_is_zero(const void *chunk)
{
    const uint8_t *bytes = chunk;
    uint64_t words[2];

    memcpy(words, bytes, sizeof words);
    return (words[0] | words[1]) == 0 && memcmp(bytes, bytes + sizeof words, CHUNK_SIZE - sizeof words) == 0;
}
