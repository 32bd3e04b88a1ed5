#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/memory.h"
#include "crypto/kdf.h"

static const uint8_t zero_key[KEY_SIZE];

/* The equation of SP 800-108, from HMAC alone. */
static void equation(const uint8_t *key, const char *label, const void *context, size_t context_size, uint8_t *out,
                     size_t size)
{
    uint8_t input[256];
    for (size_t done = 0, i = 1; done < size; done += 32, i++) {
        size_t used = 0;
        for (int shift = 24; shift >= 0; shift -= 8)
            input[used++] = (uint8_t)(i >> shift);
        memcpy(input + used, label, strlen(label) + 1);
        used += strlen(label) + 1;
        memcpy(input + used, context, context_size);
        used += context_size;
        for (int shift = 24; shift >= 0; shift -= 8)
            input[used++] = (uint8_t)(size * 8 >> shift);
        uint8_t mac[32];
        assert_int_equal(hmac_sha256(key, input, used, mac), ERROR_NONE);
        memcpy(out + done, mac, MIN(size - done, sizeof(mac)));
    }
}

static void hmac_gives_the_answers_of_rfc_4231(void **state)
{
    (void)state;
    static const uint8_t case_1_key[KEY_SIZE] = {11, 11, 11, 11, 11, 11, 11, 11, 11, 11,
                                                 11, 11, 11, 11, 11, 11, 11, 11, 11, 11};
    static const uint8_t case_1[32] = {0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53, 0x5c, 0xa8, 0xaf,
                                       0xce, 0xaf, 0x0b, 0xf1, 0x2b, 0x88, 0x1d, 0xc2, 0x00, 0xc9, 0x83,
                                       0x3d, 0xa7, 0x26, 0xe9, 0x37, 0x6c, 0x2e, 0x32, 0xcf, 0xf7};
    static const uint8_t case_2_key[KEY_SIZE] = "Jefe";
    static const uint8_t case_2[32] = {0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24,
                                       0x26, 0x08, 0x95, 0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27,
                                       0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43};
    uint8_t mac[32];
    assert_int_equal(hmac_sha256(case_1_key, "Hi There", 8, mac), ERROR_NONE);
    assert_memory_equal(mac, case_1, 32);
    assert_int_equal(hmac_sha256(case_2_key, "what do ya want for nothing?", 28, mac), ERROR_NONE);
    assert_memory_equal(mac, case_2, 32);
}

static void hmac_of_nothing_is_defined(void **state)
{
    (void)state;
    static const uint8_t answer[32] = {0xb6, 0x13, 0x67, 0x9a, 0x08, 0x14, 0xd9, 0xec, 0x77, 0x2f, 0x95,
                                       0xd7, 0x78, 0xc3, 0x5f, 0xc5, 0xff, 0x16, 0x97, 0xc4, 0x93, 0x71,
                                       0x56, 0x53, 0xc6, 0xc7, 0x12, 0x14, 0x42, 0x92, 0xc5, 0xad};
    uint8_t mac[32];
    assert_int_equal(hmac_sha256(zero_key, "", 0, mac), ERROR_NONE);
    assert_memory_equal(mac, answer, 32);
}

static void derivation_is_the_equation_at_every_size(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 8, 31, 32, 33, 64, 192, 1023, 1024};
    uint8_t key[KEY_SIZE], context[48], expected[1024], derived[1024];
    for (size_t i = 0; i < sizeof(context); i++)
        key[i % KEY_SIZE] = context[i] = (uint8_t)(i * 37 + 1);
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        equation(key, "coffer1/segment", context, sizeof(context), expected, sizes[i]);
        assert_int_equal(kdf_derive(key, "coffer1/segment", context, sizeof(context), derived, sizes[i]), ERROR_NONE);
        assert_memory_equal(derived, expected, sizes[i]);
    }
}

static void an_empty_context_is_a_context(void **state)
{
    (void)state;
    uint8_t expected[32], derived[32];
    equation(zero_key, "coffer1/test", "", 0, expected, sizeof(expected));
    assert_int_equal(kdf_derive(zero_key, "coffer1/test", "", 0, derived, sizeof(derived)), ERROR_NONE);
    assert_memory_equal(derived, expected, sizeof(expected));
}

static void the_border_of_label_and_context_counts(void **state)
{
    (void)state;
    uint8_t one[32], other[32];
    assert_int_equal(kdf_derive(zero_key, "ab", "c", 1, one, sizeof(one)), ERROR_NONE);
    assert_int_equal(kdf_derive(zero_key, "a", "bc", 2, other, sizeof(other)), ERROR_NONE);
    assert_memory_not_equal(one, other, sizeof(one));
}

static void nothing_is_written_behind_the_size_asked_for(void **state)
{
    (void)state;
    uint8_t derived[40];
    memset(derived, 0xee, sizeof(derived));
    assert_int_equal(kdf_derive(zero_key, "coffer1/kcv", "c", 1, derived, 8), ERROR_NONE);
    for (size_t i = 8; i < sizeof(derived); i++)
        assert_int_equal(derived[i], 0xee);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hmac_of_nothing_is_defined),
        cmocka_unit_test(nothing_is_written_behind_the_size_asked_for),
        cmocka_unit_test(an_empty_context_is_a_context),
        cmocka_unit_test(the_border_of_label_and_context_counts),
        cmocka_unit_test(hmac_gives_the_answers_of_rfc_4231),
        cmocka_unit_test(derivation_is_the_equation_at_every_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
