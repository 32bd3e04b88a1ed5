/* Fingerprints and the check for zeros, against the libraries' other interfaces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <xxhash.h>

#include "base/memory.h"
#include "dedup/fingerprint.h"

#define CHUNKS 5

static uint8_t data[CHUNKS][CHUNK_SIZE];
static const void *chunks[CHUNKS] = {data[0], data[1], data[2], data[3], data[4]};

static void data_fill(void)
{
    uint32_t state = 12345;

    for (size_t i = 0; i < sizeof data; i++) {
        state = state * 1664525 + 1013904223;
        ((uint8_t *)data)[i] = (uint8_t)(state >> 24);
    }
}

static struct fingerprint_key key_make(enum fingerprint_kind kind, uint8_t first)
{
    struct fingerprint_key key = {.kind = kind};

    for (size_t i = 0; i < sizeof key.secret; i++)
        key.secret[i] = (uint8_t)(first + i * 151 + (i * i >> 3));
    return key;
}

static struct fingerprint hmac_reference(const struct fingerprint_key *key, const void *chunk)
{
    struct fingerprint fingerprint;
    uint8_t mac[32];

    assert_non_null(HMAC(EVP_sha256(), key->secret, 32, chunk, CHUNK_SIZE, mac, NULL));
    memcpy(&fingerprint, mac, sizeof fingerprint);
    return fingerprint;
}

static void an_unknown_kind_is_refused(void **state)
{
    struct fingerprint_key key = key_make((enum fingerprint_kind)77, 1);
    struct fingerprint out;

    (void)state;
    assert_int_equal(fingerprint_compute(&key, chunks, 1, &out), ERROR_UNSUPPORTED);
}

static void no_chunks_are_no_fingerprints(void **state)
{
    struct fingerprint_key xxh3 = key_make(FINGERPRINT_XXH3, 1), hmac = key_make(FINGERPRINT_HMAC_SHA256, 1);
    struct fingerprint out = {{42}};

    (void)state;
    assert_int_equal(fingerprint_compute(&xxh3, NULL, 0, &out), ERROR_NONE);
    assert_int_equal(fingerprint_compute(&hmac, NULL, 0, &out), ERROR_NONE);
    assert_int_equal(out.bytes[0], 42);
}

static void xxh3_is_the_canonical_form_of_the_keyed_hash(void **state)
{
    struct fingerprint_key key = key_make(FINGERPRINT_XXH3, 9);
    struct fingerprint out[CHUNKS];

    (void)state;
    assert_int_equal(fingerprint_compute(&key, chunks, CHUNKS, out), ERROR_NONE);
    for (size_t i = 0; i < CHUNKS; i++) {
        XXH3_state_t *streaming = XXH3_createState();
        XXH128_canonical_t expected;

        assert_non_null(streaming);
        XXH3_128bits_reset_withSecret(streaming, key.secret, sizeof key.secret);
        XXH3_128bits_update(streaming, chunks[i], CHUNK_SIZE);
        XXH128_canonicalFromHash(&expected, XXH3_128bits_digest(streaming));
        XXH3_freeState(streaming);
        assert_memory_equal(&out[i], &expected, sizeof expected);
    }
}

static void hmac_is_the_first_half_of_hmac_sha256(void **state)
{
    struct fingerprint_key key = key_make(FINGERPRINT_HMAC_SHA256, 9);
    struct fingerprint out[CHUNKS];

    (void)state;
    assert_int_equal(fingerprint_compute(&key, chunks, CHUNKS, out), ERROR_NONE);
    for (size_t i = 0; i < CHUNKS; i++)
        assert_true(fingerprint_equal(out[i], hmac_reference(&key, chunks[i])));
}

static void a_thread_may_change_between_keys(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 12; round++) {
        struct fingerprint_key key = key_make(FINGERPRINT_HMAC_SHA256, (uint8_t)(round % 3));
        struct fingerprint out[2];

        assert_int_equal(fingerprint_compute(&key, &chunks[round % 4], 2, out), ERROR_NONE);
        assert_true(fingerprint_equal(out[0], hmac_reference(&key, chunks[round % 4])));
        assert_true(fingerprint_equal(out[1], hmac_reference(&key, chunks[round % 4 + 1])));
    }
}

static void another_key_gives_another_fingerprint(void **state)
{
    static const enum fingerprint_kind kinds[] = {FINGERPRINT_XXH3, FINGERPRINT_HMAC_SHA256};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        struct fingerprint_key one = key_make(kinds[i], 1), other = key_make(kinds[i], 2);
        struct fingerprint a, b;

        assert_int_equal(fingerprint_compute(&one, chunks, 1, &a), ERROR_NONE);
        assert_int_equal(fingerprint_compute(&other, chunks, 1, &b), ERROR_NONE);
        assert_false(fingerprint_equal(a, b));
    }
}

static void every_bit_of_a_chunk_counts(void **state)
{
    struct fingerprint_key key = key_make(FINGERPRINT_XXH3, 1);
    uint8_t chunk[CHUNK_SIZE];
    const void *pointer = chunk;
    struct fingerprint before, after;

    (void)state;
    memcpy(chunk, data[0], sizeof chunk);
    assert_int_equal(fingerprint_compute(&key, &pointer, 1, &before), ERROR_NONE);
    for (size_t bit = 0; bit < CHUNK_SIZE * 8; bit += 7) {
        chunk[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(fingerprint_compute(&key, &pointer, 1, &after), ERROR_NONE);
        assert_false(fingerprint_equal(before, after));
        chunk[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void *compute_in_thread(void *argument)
{
    const struct fingerprint_key *key = argument;
    struct fingerprint out[CHUNKS];

    for (unsigned round = 0; round < 20; round++) {
        if (fingerprint_compute(key, chunks, CHUNKS, out) != ERROR_NONE)
            return NULL;
    }
    return fingerprint_equal(out[CHUNKS - 1], hmac_reference(key, chunks[CHUNKS - 1])) ? argument : NULL;
}

static void threads_have_contexts_of_their_own(void **state)
{
    struct fingerprint_key keys[4];
    pthread_t threads[4];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        keys[i] = key_make(FINGERPRINT_HMAC_SHA256, (uint8_t)i);
        assert_int_equal(pthread_create(&threads[i], NULL, compute_in_thread, &keys[i]), 0);
    }
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        void *result;

        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_ptr_equal(result, &keys[i]);
    }
}

static void zeros_are_zero(void **state)
{
    static const uint8_t zeros[CHUNK_SIZE];

    (void)state;
    assert_true(chunk_is_zero(zeros));
}

static void one_bit_anywhere_is_not_zero(void **state)
{
    uint8_t chunk[CHUNK_SIZE] = {0};

    (void)state;
    for (size_t i = 0; i < CHUNK_SIZE; i++) {
        chunk[i] = (uint8_t)(1 << i % 8);
        assert_false(chunk_is_zero(chunk));
        chunk[i] = 0;
    }
}

static void a_repeated_byte_is_not_zero(void **state)
{
    uint8_t chunk[CHUNK_SIZE];

    (void)state;
    memset(chunk, 0x20, sizeof chunk);
    assert_false(chunk_is_zero(chunk));
}

static void an_unaligned_chunk_is_checked_to_its_end(void **state)
{
    uint8_t space[CHUNK_SIZE + 2] = {1};

    (void)state;
    space[CHUNK_SIZE + 1] = 1;
    assert_true(chunk_is_zero(space + 1));
    space[CHUNK_SIZE] = 1;
    assert_false(chunk_is_zero(space + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unknown_kind_is_refused),
        cmocka_unit_test(no_chunks_are_no_fingerprints),
        cmocka_unit_test(xxh3_is_the_canonical_form_of_the_keyed_hash),
        cmocka_unit_test(hmac_is_the_first_half_of_hmac_sha256),
        cmocka_unit_test(a_thread_may_change_between_keys),
        cmocka_unit_test(another_key_gives_another_fingerprint),
        cmocka_unit_test(every_bit_of_a_chunk_counts),
        cmocka_unit_test(threads_have_contexts_of_their_own),
        cmocka_unit_test(zeros_are_zero),
        cmocka_unit_test(one_bit_anywhere_is_not_zero),
        cmocka_unit_test(a_repeated_byte_is_not_zero),
        cmocka_unit_test(an_unaligned_chunk_is_checked_to_its_end),
    };

    data_fill();
    return cmocka_run_group_tests_name("fingerprint", tests, NULL, NULL);
}
