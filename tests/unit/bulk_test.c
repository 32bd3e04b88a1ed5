#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "base/memory.h"
#include "crypto/bulk.h"

#define BLOCKS 8
#define KEYS   40 /* more than a thread keeps contexts for */

static uint8_t plain[BLOCKS * BULK_UNIT], coded[BLOCKS * BULK_UNIT], work[BLOCKS * BULK_UNIT];
static const uint8_t nonce[TAG_NONCE_SIZE] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

static struct segment_keys keys_make(uint8_t seed)
{
    struct segment_keys keys = {.id = bulk_keys_id(), .encrypted = true};
    for (size_t i = 0; i < XTS_KEY_SIZE; i++)
        keys.xts[i] = (uint8_t)(i * 7 + seed);
    for (size_t i = 0; i < KEY_SIZE; i++)
        keys.tag[i] = (uint8_t)(i + seed);
    return keys;
}

static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(plain); i++)
        plain[i] = (uint8_t)(i * 7);
    return 0;
}

static void equal_key_halves_are_refused_in_both_directions(void **state)
{
    (void)state;
    struct segment_keys keys = keys_make(1);
    memcpy(keys.xts + 32, keys.xts, 32);
    for (int attempt = 0; attempt < 2; attempt++) {
        assert_int_equal(bulk_encrypt(&keys, 0, plain, work, BULK_UNIT), ERROR_BUG);
        assert_int_equal(bulk_decrypt(&keys, 0, plain, work, BULK_UNIT), ERROR_BUG);
    }
}

static void every_flipped_bit_of_a_tag_is_damage(void **state)
{
    (void)state;
    struct segment_keys keys = keys_make(2);
    struct bulk_part part = {plain, 100};
    uint8_t tag[TAG_SIZE];
    assert_int_equal(bulk_tag(&keys, nonce, &part, 1, tag), ERROR_NONE);
    for (size_t bit = 0; bit < 8 * TAG_SIZE; bit++) {
        tag[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(bulk_tag_check(&keys, nonce, &part, 1, tag), ERROR_CORRUPT);
        tag[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(bulk_tag_check(&keys, nonce, &part, 1, tag), ERROR_NONE);
}

static void a_tag_fits_one_nonce_and_one_length_only(void **state)
{
    (void)state;
    struct segment_keys keys = keys_make(3);
    uint8_t other_nonce[TAG_NONCE_SIZE], tag[TAG_SIZE];
    memcpy(other_nonce, nonce, sizeof(nonce));
    other_nonce[TAG_NONCE_SIZE - 1] ^= 1;
    struct bulk_part part = {work, 64}, longer = {work, 65};
    memset(work, 0, sizeof(work));
    assert_int_equal(bulk_tag(&keys, nonce, &part, 1, tag), ERROR_NONE);
    assert_int_equal(bulk_tag_check(&keys, other_nonce, &part, 1, tag), ERROR_CORRUPT);
    assert_int_equal(bulk_tag_check(&keys, nonce, &longer, 1, tag), ERROR_CORRUPT);
}

static void a_tag_does_not_depend_on_how_the_bytes_are_parted(void **state)
{
    (void)state;
    struct segment_keys keys = keys_make(4);
    struct bulk_part whole = {plain, 4096};
    struct bulk_part parts[] = {{plain, 0}, {plain, 1}, {plain + 1, 30}, {NULL, 0}, {plain + 31, 4065}};
    uint8_t tag[TAG_SIZE];
    assert_int_equal(bulk_tag(&keys, nonce, &whole, 1, tag), ERROR_NONE);
    assert_int_equal(bulk_tag_check(&keys, nonce, parts, COUNT_OF(parts), tag), ERROR_NONE);
}

static void nothing_has_a_tag_too(void **state)
{
    (void)state;
    static const uint8_t answer[TAG_SIZE] = {0x53, 0x0f, 0x8a, 0xfb, 0xc7, 0x45, 0x36, 0xb9,
                                             0xa9, 0x63, 0xb4, 0xf1, 0xc4, 0xcb, 0x73, 0x8b};
    static const uint8_t zero_nonce[TAG_NONCE_SIZE];
    struct segment_keys keys = {.id = bulk_keys_id()};
    uint8_t tag[TAG_SIZE];
    assert_int_equal(bulk_tag(&keys, zero_nonce, NULL, 0, tag), ERROR_NONE);
    assert_memory_equal(tag, answer, TAG_SIZE);
}

static void a_tag_of_a_block_is_the_known_answer(void **state)
{
    (void)state;
    static const uint8_t answer[TAG_SIZE] = {0xfd, 0xa9, 0x66, 0x9a, 0x76, 0xfe, 0x97, 0x8d,
                                             0x10, 0x1e, 0xf3, 0x8f, 0xba, 0x97, 0x9b, 0x8b};
    struct segment_keys keys = keys_make(0);
    struct bulk_part part = {plain, BULK_UNIT};
    uint8_t tag[TAG_SIZE];
    assert_int_equal(bulk_tag(&keys, nonce, &part, 1, tag), ERROR_NONE);
    assert_memory_equal(tag, answer, TAG_SIZE);
}

/* IEEE 1619, vector 10 (key, unit 0xff, bytes 00 to ff), and the unit after it, computed from the standard. */
static void consecutive_blocks_are_the_known_answers(void **state)
{
    (void)state;
    static const uint8_t digits_of_e_and_pi[XTS_KEY_SIZE] = {
        0x27, 0x18, 0x28, 0x18, 0x28, 0x45, 0x90, 0x45, 0x23, 0x53, 0x60, 0x28, 0x74, 0x71, 0x35, 0x26,
        0x62, 0x49, 0x77, 0x57, 0x24, 0x70, 0x93, 0x69, 0x99, 0x59, 0x57, 0x49, 0x66, 0x96, 0x76, 0x27,
        0x31, 0x41, 0x59, 0x26, 0x53, 0x58, 0x97, 0x93, 0x23, 0x84, 0x62, 0x64, 0x33, 0x83, 0x27, 0x95,
        0x02, 0x88, 0x41, 0x97, 0x16, 0x93, 0x99, 0x37, 0x51, 0x05, 0x82, 0x09, 0x74, 0x94, 0x45, 0x92};
    static const uint8_t first[16] = {0x1c, 0x3b, 0x3a, 0x10, 0x2f, 0x77, 0x03, 0x86,
                                      0xe4, 0x83, 0x6c, 0x99, 0xe3, 0x70, 0xcf, 0x9b};
    static const uint8_t last[16] = {0x8e, 0x47, 0xd1, 0x05, 0xa1, 0x3e, 0x45, 0xd6,
                                     0xbe, 0x6e, 0xea, 0x1d, 0x49, 0x6d, 0xbf, 0xd5};
    static const uint8_t next_first[16] = {0xd2, 0x68, 0x12, 0x25, 0x94, 0x8d, 0x7b, 0x02,
                                           0x6a, 0x19, 0xc3, 0xd8, 0xec, 0x02, 0xe6, 0x86};
    struct segment_keys keys = {.id = bulk_keys_id(), .encrypted = true};
    memcpy(keys.xts, digits_of_e_and_pi, XTS_KEY_SIZE);
    for (size_t i = 0; i < 2 * BULK_UNIT; i++)
        work[i] = (uint8_t)i;
    assert_int_equal(bulk_encrypt(&keys, 0xff, work, work, 2 * BULK_UNIT), ERROR_NONE);
    assert_memory_equal(work, first, sizeof(first));
    assert_memory_equal(work + BULK_UNIT - 16, last, sizeof(last));
    assert_memory_equal(work + BULK_UNIT, next_first, sizeof(next_first));
}

static void no_bytes_are_no_error(void **state)
{
    (void)state;
    struct segment_keys keys = keys_make(5);
    assert_int_equal(bulk_encrypt(&keys, 0, plain, work, 0), ERROR_NONE);
    assert_int_equal(bulk_decrypt(&keys, 0, plain, work, 0), ERROR_NONE);
}

static void decryption_undoes_encryption_in_place_and_block_by_block(void **state)
{
    (void)state;
    struct segment_keys keys = keys_make(6);
    const uint64_t far = UINT64_MAX - BLOCKS;
    assert_int_equal(bulk_encrypt(&keys, far, plain, coded, sizeof(plain)), ERROR_NONE);
    assert_memory_not_equal(coded, plain, sizeof(plain));
    memcpy(work, coded, sizeof(coded));
    assert_int_equal(bulk_decrypt(&keys, far, work, work, sizeof(work)), ERROR_NONE);
    assert_memory_equal(work, plain, sizeof(plain));
    for (size_t block = BLOCKS; block-- > 0;) {
        size_t at = block * BULK_UNIT;
        assert_int_equal(bulk_decrypt(&keys, far + block, coded + at, work, BULK_UNIT), ERROR_NONE);
        assert_memory_equal(work, plain + at, BULK_UNIT);
    }
}

static void equal_blocks_at_two_places_look_different(void **state)
{
    (void)state;
    struct segment_keys keys = keys_make(7);
    memset(work, 0, sizeof(work));
    assert_int_equal(bulk_encrypt(&keys, 0, work, work, 2 * BULK_UNIT), ERROR_NONE);
    assert_memory_not_equal(work, work + BULK_UNIT, BULK_UNIT);
}

static void a_plaintext_segment_is_copied_and_tagged_all_the_same(void **state)
{
    (void)state;
    struct segment_keys keys = keys_make(8), encrypted = keys;
    keys.encrypted = false;
    encrypted.id = bulk_keys_id();
    struct bulk_part part = {plain, BULK_UNIT};
    uint8_t tag[TAG_SIZE];
    memset(work, 0, sizeof(work));
    assert_int_equal(bulk_encrypt(&keys, 0, plain, work, sizeof(work)), ERROR_NONE);
    assert_memory_equal(work, plain, sizeof(work));
    assert_int_equal(bulk_decrypt(&keys, 0, work, work, sizeof(work)), ERROR_NONE);
    assert_memory_equal(work, plain, sizeof(work));
    assert_int_equal(bulk_tag(&keys, nonce, &part, 1, tag), ERROR_NONE);
    assert_int_equal(bulk_tag_check(&encrypted, nonce, &part, 1, tag), ERROR_NONE);
}

static void ids_are_never_given_twice(void **state)
{
    (void)state;
    uint64_t last = bulk_keys_id();
    assert_int_not_equal(last, 0);
    for (int i = 0; i < 100; i++) {
        uint64_t next = bulk_keys_id();
        assert_true(next > last);
        last = next;
    }
}

/* Every key is used in all roles, in an order that evicts each set before its next turn. */
static void keys_turn(const struct segment_keys *keys, uint8_t (*blocks)[BULK_UNIT], uint8_t (*tags)[TAG_SIZE],
                      bool make)
{
    uint8_t block[BULK_UNIT];
    struct bulk_part part = {plain, 512};
    for (size_t i = 0; i < KEYS; i++) {
        assert_int_equal(bulk_encrypt(&keys[i], i, plain, block, BULK_UNIT), ERROR_NONE);
        if (make) {
            memcpy(blocks[i], block, BULK_UNIT);
            assert_int_equal(bulk_tag(&keys[i], nonce, &part, 1, tags[i]), ERROR_NONE);
        }
        assert_memory_equal(blocks[i], block, BULK_UNIT);
        assert_int_equal(bulk_tag_check(&keys[i], nonce, &part, 1, tags[i]), ERROR_NONE);
        assert_int_equal(bulk_decrypt(&keys[i], i, block, block, BULK_UNIT), ERROR_NONE);
        assert_memory_equal(block, plain, BULK_UNIT);
    }
}

static struct segment_keys many_keys[KEYS];
static uint8_t many_blocks[KEYS][BULK_UNIT];
static uint8_t many_tags[KEYS][TAG_SIZE];

static void more_keys_than_contexts_never_mix(void **state)
{
    (void)state;
    for (size_t i = 0; i < KEYS; i++)
        many_keys[i] = keys_make((uint8_t)(i + 10));
    keys_turn(many_keys, many_blocks, many_tags, true);
    keys_turn(many_keys, many_blocks, many_tags, false);
}

static void *turn_in_a_thread(void *ends_itself)
{
    keys_turn(many_keys, many_blocks, many_tags, false);
    if (ends_itself != NULL)
        bulk_thread_end();
    return NULL;
}

static void threads_share_keys_but_not_contexts(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, turn_in_a_thread, i % 2 == 0 ? NULL : threads), 0);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void a_thread_goes_on_after_it_forgot_its_contexts(void **state)
{
    (void)state;
    bulk_thread_end();
    bulk_thread_end();
    keys_turn(many_keys, many_blocks, many_tags, false);
    bulk_thread_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_key_halves_are_refused_in_both_directions),
        cmocka_unit_test(every_flipped_bit_of_a_tag_is_damage),
        cmocka_unit_test(a_tag_fits_one_nonce_and_one_length_only),
        cmocka_unit_test(no_bytes_are_no_error),
        cmocka_unit_test(nothing_has_a_tag_too),
        cmocka_unit_test(a_tag_does_not_depend_on_how_the_bytes_are_parted),
        cmocka_unit_test(a_tag_of_a_block_is_the_known_answer),
        cmocka_unit_test(consecutive_blocks_are_the_known_answers),
        cmocka_unit_test(decryption_undoes_encryption_in_place_and_block_by_block),
        cmocka_unit_test(equal_blocks_at_two_places_look_different),
        cmocka_unit_test(a_plaintext_segment_is_copied_and_tagged_all_the_same),
        cmocka_unit_test(ids_are_never_given_twice),
        cmocka_unit_test(more_keys_than_contexts_never_mix),
        cmocka_unit_test(threads_share_keys_but_not_contexts),
        cmocka_unit_test(a_thread_goes_on_after_it_forgot_its_contexts),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
