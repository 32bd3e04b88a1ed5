#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "crypto/hierarchy.h"
#include "crypto/key_wrap.h"

/* Answers: the equations of hierarchy.h evaluated by Python's hmac over key 00..1f, pool 10..1f, device 80..8f. */

static uint8_t root[KEY_SIZE], key[KEY_SIZE];
static struct uuid pool, device;
static const uint64_t serial = 0x1122334455667788, salt = 0x99aabbccddeeff00;

static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < KEY_SIZE; i++) {
        root[i] = (uint8_t)i;
        key[i] = (uint8_t)(0xc0 + i);
    }
    for (size_t i = 0; i < sizeof(pool.bytes); i++) {
        pool.bytes[i] = (uint8_t)(0x10 + i);
        device.bytes[i] = (uint8_t)(0x80 + i);
    }
    return 0;
}

static void assert_hex(const uint8_t *bytes, size_t size, const char *hex)
{
    char text[513];
    assert_true(size <= 256);
    for (size_t i = 0; i < size; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    assert_string_equal(text, hex);
}

static void every_key_of_the_hierarchy_is_its_equation(void **state)
{
    (void)state;
    uint8_t out[FINGERPRINT_SECRET_SIZE];
    assert_int_equal(kek_derive(root, pool, 3, 0x0102030405060708, out), ERROR_NONE);
    assert_hex(out, KEY_SIZE, "5b2532621a0cd63d8159fd81e46c19700368fd70986d9b0d85aa02e8cf1566e5");
    assert_int_equal(wrap_key_derive(root, pool, device, out), ERROR_NONE);
    assert_hex(out, KEY_SIZE, "060d5ce690528a2ce8ce21dd01ad939541df3646a8630173ed856a802947e849");
    assert_int_equal(superblock_key_derive(root, pool, device, out), ERROR_NONE);
    assert_hex(out, KEY_SIZE, "9077461c0aa57f6b94460a1b3cafc32b6592a77d06b74ada9e4b6a5e09772625");
    assert_int_equal(segment_xts_key_derive(root, device, serial, salt, out), ERROR_NONE);
    assert_hex(out, 32, "071b6221696441381362c5ffb4910fda63773ace6e13170c303fe39b889b91c0");
    assert_hex(out + 48, 16, "41b9ecb53582c04948897401d450f276");
    assert_int_equal(segment_tag_key_derive(root, device, serial, salt, out), ERROR_NONE);
    assert_hex(out, KEY_SIZE, "02c268fdc634539478681d446c7984b9280037959a5af91bba1a92163b1548d1");
    assert_int_equal(fingerprint_secret_derive(root, pool, out), ERROR_NONE);
    assert_hex(out, 32, "e10b755ac3da2c653139255e0e09c8dd33ff68bb6575cd68e5906a7425697ef9");
    assert_hex(out + 176, 16, "6daf098561fc18591f2c196302ea4455");
    assert_int_equal(floor_key_derive(root, pool, out), ERROR_NONE);
    assert_hex(out, KEY_SIZE, "6ab967a30e89bcbe1365ff7c453d0e09b3713abb5765e3340a1bdb16bc6e09be");
    assert_int_equal(scrub_key_derive(root, pool, out), ERROR_NONE);
    assert_hex(out, KEY_SIZE, "2d80322b556e5799ac0036145d07f09c97ea56a9cc66dd158b85326dbb712497");
    assert_int_equal(kcv_derive(root, pool, out), ERROR_NONE);
    assert_hex(out, KCV_SIZE, "f3c0375a33a3b327");
    char text[KCV_TEXT_SIZE];
    kcv_format(out, text);
    assert_string_equal(text, "f3c0375a33a3b327");
}

static void the_public_key_never_changes(void **state)
{
    (void)state;
    assert_memory_equal(kek_public, "coffer1/plaintext pool/no secret", KEY_SIZE);
}

static void a_wrapped_key_is_the_known_answer(void **state)
{
    (void)state;
    uint8_t wrapped[WRAPPED_KEY_SIZE], unwrapped[KEY_SIZE];
    assert_int_equal(key_wrap(root, KEY_KIND_DEK, 5, device, key, wrapped), ERROR_NONE);
    assert_hex(wrapped, sizeof(wrapped),
               "372bda4dfc4473319cb397f4ef6ca619f5d58e8304e5772c6b0fb1033fab4df1"
               "b6aa819e91ca16a9983357fc9e32d2a2719adf5a1688bb6fd8fb70b6834c45f4");
    assert_int_equal(key_unwrap(root, KEY_KIND_DEK, 5, device, wrapped, unwrapped), ERROR_NONE);
    assert_memory_equal(unwrapped, key, KEY_SIZE);
}

static void every_flipped_bit_of_a_wrapped_key_is_refused(void **state)
{
    (void)state;
    uint8_t wrapped[WRAPPED_KEY_SIZE], unwrapped[KEY_SIZE], untouched[KEY_SIZE];
    memset(unwrapped, 0xee, sizeof(unwrapped));
    memset(untouched, 0xee, sizeof(untouched));
    assert_int_equal(key_wrap(root, KEY_KIND_LOG, 1, device, key, wrapped), ERROR_NONE);
    for (size_t bit = 0; bit < 8 * sizeof(wrapped); bit++) {
        wrapped[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(key_unwrap(root, KEY_KIND_LOG, 1, device, wrapped, unwrapped), ERROR_WRONG_KEY);
        wrapped[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_memory_equal(unwrapped, untouched, KEY_SIZE);
}

static void another_wrapping_key_is_a_wrong_key(void **state)
{
    (void)state;
    uint8_t wrapped[WRAPPED_KEY_SIZE], unwrapped[KEY_SIZE];
    assert_int_equal(key_wrap(root, KEY_KIND_LOG, 1, device, key, wrapped), ERROR_NONE);
    assert_int_equal(key_unwrap(key, KEY_KIND_LOG, 1, device, wrapped, unwrapped), ERROR_WRONG_KEY);
}

static void a_key_moved_to_another_place_is_forged(void **state)
{
    (void)state;
    uint8_t wrapped[WRAPPED_KEY_SIZE], unwrapped[KEY_SIZE] = {0};
    static const uint8_t untouched[KEY_SIZE];
    assert_int_equal(key_wrap(root, KEY_KIND_DEK, 7, device, key, wrapped), ERROR_NONE);
    assert_int_equal(key_unwrap(root, KEY_KIND_POOL, 7, device, wrapped, unwrapped), ERROR_FORGED);
    assert_int_equal(key_unwrap(root, KEY_KIND_DEK, 8, device, wrapped, unwrapped), ERROR_FORGED);
    assert_int_equal(key_unwrap(root, KEY_KIND_DEK, 7, pool, wrapped, unwrapped), ERROR_FORGED);
    assert_memory_equal(unwrapped, untouched, KEY_SIZE);
}

static void reserved_bytes_of_a_slot_must_be_zero(void **state)
{
    (void)state;
    uint8_t text[WRAPPED_KEY_SIZE - KEY_WRAP_OVERHEAD] = {KEY_KIND_DEK, 0, 1, 0, 7}, wrapped[WRAPPED_KEY_SIZE];
    memcpy(text + 8, device.bytes, sizeof(device.bytes));
    uint8_t unwrapped[KEY_SIZE];
    assert_int_equal(bytes_wrap(root, text, sizeof(text), wrapped), ERROR_NONE);
    assert_int_equal(key_unwrap(root, KEY_KIND_DEK, 7, device, wrapped, unwrapped), ERROR_FORGED);
}

static void generated_keys_differ(void **state)
{
    (void)state;
    static const uint8_t zero[KEY_SIZE];
    uint8_t one[KEY_SIZE], other[KEY_SIZE];
    assert_int_equal(key_generate(one), ERROR_NONE);
    assert_int_equal(key_generate(other), ERROR_NONE);
    assert_memory_not_equal(one, other, KEY_SIZE);
    assert_memory_not_equal(one, zero, KEY_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_flipped_bit_of_a_wrapped_key_is_refused),
        cmocka_unit_test(another_wrapping_key_is_a_wrong_key),
        cmocka_unit_test(a_key_moved_to_another_place_is_forged),
        cmocka_unit_test(reserved_bytes_of_a_slot_must_be_zero),
        cmocka_unit_test(the_public_key_never_changes),
        cmocka_unit_test(generated_keys_differ),
        cmocka_unit_test(a_wrapped_key_is_the_known_answer),
        cmocka_unit_test(every_key_of_the_hierarchy_is_its_equation),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
