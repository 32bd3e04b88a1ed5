/*
 * Encryption and tags of the write and read path:
 *
 *   write: compress units -> BULK_TAG -> BULK_ENCRYPT -> device;   read: device -> BULK_DECRYPT -> BULK_TAG_CHECK
 *
 * Expanding a key costs as much as a quarter of a block, looking up an algorithm more than a block. Each thread
 * therefore keeps the contexts of the SETS_MAX segments that it used last, keyed once, each kind at its first use;
 * what changes per data unit or tag is only the IV. A set is found by segment_keys.id alone, which is why ids are
 * never given twice: the key bytes are not compared again.
 *
 * No locks: the cache belongs to its thread, and the algorithms are looked up once and then only read. Round keys
 * live in contexts that OpenSSL allocates, hence in the arena (arena.h), until the set is given to another segment,
 * the thread ends or bulk_thread_end() is called. Nothing here is on disk.
 */
#include "crypto/bulk.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/endian.h"
#include "base/memory.h"
#include "crypto/openssl_error.h"

/* A thread has a handful of open segments, and a batch reads from a few more; about 3 KiB of locked memory each. */
#define SETS_MAX       16
#define TAG_UPDATE_MAX (1u << 30) /* OpenSSL counts in int */

enum role { ROLE_ENCRYPT, ROLE_DECRYPT, ROLE_TAG, ROLE_COUNT };

struct context_set {
    EVP_CIPHER_CTX *contexts[ROLE_COUNT];
    bool keyed[ROLE_COUNT];
    uint64_t used; /* the cache's turn when it was used last */
};

struct context_cache {
    uint64_t ids[SETS_MAX]; /* apart from the sets, so that a look-up reads two cache lines */
    struct context_set sets[SETS_MAX];
    uint64_t turn;
};

struct xts_tweak {
    le64 block;
    uint8_t zero[8];
};
_Static_assert(sizeof(struct xts_tweak) == 16, "a tweak is one AES block");

static pthread_once_t bulk_once = PTHREAD_ONCE_INIT;
static EVP_CIPHER *xts;
static EVP_CIPHER *gcm;
static pthread_key_t thread_end_key;
static _Thread_local struct context_cache *thread_cache;

static void context_cache_destroy(void *pointer)
{
    struct context_cache *cache = pointer;
    for (size_t i = 0; i < SETS_MAX; i++)
        for (size_t role = 0; role < ROLE_COUNT; role++)
            EVP_CIPHER_CTX_free(cache->sets[i].contexts[role]);
    free(cache);
}

static void thread_ended(void *pointer)
{
    thread_cache = NULL;
    context_cache_destroy(pointer);
}

static void bulk_init(void)
{
    xts = EVP_CIPHER_fetch(NULL, "AES-256-XTS", NULL);
    gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    int failure = pthread_key_create(&thread_end_key, thread_ended);
    ASSERT(failure == 0);
}

static enum error thread_cache_create(void)
{
    pthread_once(&bulk_once, bulk_init);
    struct context_cache *cache = memory_zeroed(1, sizeof(*cache));
    if (cache == NULL || pthread_setspecific(thread_end_key, cache) != 0) {
        free(cache);
        return ERROR_NO_MEMORY;
    }
    thread_cache = cache;
    return ERROR_NONE;
}

void bulk_thread_end(void)
{
    if (thread_cache == NULL)
        return;
    context_cache_destroy(thread_cache);
    thread_cache = NULL;
    pthread_setspecific(thread_end_key, NULL);
}

uint64_t bulk_keys_id(void)
{
    static _Atomic uint64_t last;
    return atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
}

static struct context_set *context_set_find(struct context_cache *cache, uint64_t id)
{
    size_t oldest = 0;
    for (size_t i = 0; i < SETS_MAX; i++) {
        if (cache->ids[i] == id)
            return &cache->sets[i];
        if (cache->sets[i].used < cache->sets[oldest].used)
            oldest = i;
    }
    cache->ids[oldest] = id;
    memset(cache->sets[oldest].keyed, 0, sizeof(cache->sets[oldest].keyed));
    return &cache->sets[oldest];
}

/* Rekeying a context that another segment had used keeps its memory and its algorithm. */
static enum error context_key(EVP_CIPHER_CTX **context, enum role role, const struct segment_keys *keys)
{
    if (role != ROLE_TAG &&
        memory_compare_constant_time(keys->xts, keys->xts + XTS_KEY_SIZE / 2, XTS_KEY_SIZE / 2) == 0)
        return error_explain(ERROR_BUG, "the two halves of an XTS key are equal");
    const EVP_CIPHER *algorithm = role == ROLE_TAG ? gcm : xts;
    if (*context == NULL) {
        EVP_CIPHER_CTX *fresh = algorithm == NULL ? NULL : EVP_CIPHER_CTX_new();
        if (fresh == NULL || EVP_CipherInit_ex(fresh, algorithm, NULL, NULL, NULL, role != ROLE_DECRYPT) != 1) {
            EVP_CIPHER_CTX_free(fresh);
            return error_from_openssl("prepare a cipher");
        }
        *context = fresh;
    }
    if (EVP_CipherInit_ex(*context, NULL, NULL, role == ROLE_TAG ? keys->tag : keys->xts, NULL, -1) != 1)
        return error_from_openssl("set a segment's key");
    return ERROR_NONE;
}

static enum error context_get(const struct segment_keys *keys, enum role role, EVP_CIPHER_CTX **context)
{
    ASSERT(keys->id != 0);
    if (thread_cache == NULL)
        TRY(thread_cache_create());
    struct context_set *set = context_set_find(thread_cache, keys->id);
    set->used = ++thread_cache->turn;
    if (!set->keyed[role])
        TRY(context_key(&set->contexts[role], role, keys));
    set->keyed[role] = true;
    *context = set->contexts[role];
    return ERROR_NONE;
}

static enum error units_transform(const struct segment_keys *keys, enum role role, uint64_t first_block,
                                  const uint8_t *in, uint8_t *out, size_t size)
{
    ASSERT(size % BULK_UNIT == 0);
    if (!keys->encrypted) {
        if (in != out)
            memcpy(out, in, size);
        return ERROR_NONE;
    }
    EVP_CIPHER_CTX *context;
    TRY(context_get(keys, role, &context));
    struct xts_tweak tweak = {0};
    for (size_t done = 0; done < size; done += BULK_UNIT) {
        int written = 0;
        tweak.block = le64_make(first_block + done / BULK_UNIT);
        if (EVP_CipherInit_ex(context, NULL, NULL, NULL, (const uint8_t *)&tweak, -1) != 1 ||
            EVP_CipherUpdate(context, out + done, &written, in + done, BULK_UNIT) != 1 || written != BULK_UNIT)
            return error_from_openssl(role == ROLE_ENCRYPT ? "encrypt a block" : "decrypt a block");
    }
    return ERROR_NONE;
}

/* compress -> bulk_tag -> BULK_ENCRYPT -> device */
enum error bulk_encrypt(const struct segment_keys *keys, uint64_t first_block, const void *in, void *out, size_t size)
{
    return units_transform(keys, ROLE_ENCRYPT, first_block, in, out, size);
}

/* device -> BULK_DECRYPT -> bulk_tag_check -> decompress */
enum error bulk_decrypt(const struct segment_keys *keys, uint64_t first_block, const void *in, void *out, size_t size)
{
    return units_transform(keys, ROLE_DECRYPT, first_block, in, out, size);
}

/* GMAC is GCM with nothing to encrypt: the parts go in as additional data. */
static bool part_add(EVP_CIPHER_CTX *context, struct bulk_part part)
{
    const uint8_t *data = part.data;
    for (size_t left = part.size; left > 0;) {
        size_t step = MIN(left, TAG_UPDATE_MAX);
        int written;
        if (EVP_EncryptUpdate(context, NULL, &written, data, (int)step) != 1)
            return false;
        data += step;
        left -= step;
    }
    return true;
}

/* compress -> BULK_TAG -> bulk_encrypt -> device */
enum error bulk_tag(const struct segment_keys *keys, const uint8_t nonce[TAG_NONCE_SIZE], const struct bulk_part *parts,
                    size_t count, uint8_t tag[TAG_SIZE])
{
    EVP_CIPHER_CTX *context;
    TRY(context_get(keys, ROLE_TAG, &context));
    bool made = EVP_EncryptInit_ex(context, NULL, NULL, NULL, nonce) == 1;
    for (size_t i = 0; i < count && made; i++)
        made = part_add(context, parts[i]);
    uint8_t nothing[TAG_SIZE];
    int written;
    if (!made || EVP_EncryptFinal_ex(context, nothing, &written) != 1 ||
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, tag) != 1)
        return error_from_openssl("make a tag");
    return ERROR_NONE;
}

/* device -> bulk_decrypt -> BULK_TAG_CHECK -> decompress */
enum error bulk_tag_check(const struct segment_keys *keys, const uint8_t nonce[TAG_NONCE_SIZE],
                          const struct bulk_part *parts, size_t count, const uint8_t tag[TAG_SIZE])
{
    uint8_t expected[TAG_SIZE];
    TRY(bulk_tag(keys, nonce, parts, count, expected));
    return memory_compare_constant_time(expected, tag, TAG_SIZE) == 0 ? ERROR_NONE : ERROR_CORRUPT;
}
