#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "crypto/key_wrap.h"

/* Answers: RFC 5649's steps over AES blocks, in Python. */

static uint8_t wrap_key[KEY_SIZE], text[KEY_SIZE];

static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < KEY_SIZE; i++) {
        wrap_key[i] = (uint8_t)i;
        text[i] = (uint8_t)(0xc0 + i);
    }
    return 0;
}

static void a_text_shorter_than_expected_is_refused(void **state)
{
    (void)state;
    static const uint8_t of_27_bytes[40] = {0x92, 0x7b, 0xd9, 0x1d, 0x87, 0x1c, 0x06, 0x0e, 0x42, 0x40,
                                            0xa6, 0xa4, 0x6f, 0x05, 0x62, 0x3b, 0x69, 0xbd, 0xb6, 0x0a,
                                            0xa9, 0x81, 0x08, 0xdc, 0x46, 0x8d, 0x25, 0xff, 0xbb, 0x38,
                                            0xf0, 0x92, 0xde, 0x88, 0x9a, 0x66, 0xdd, 0x90, 0x1f, 0x32};
    uint8_t out[KEY_SIZE];
    assert_int_equal(bytes_unwrap(wrap_key, of_27_bytes, sizeof(of_27_bytes), out), ERROR_WRONG_KEY);
}

static void zeros_are_not_a_wrapped_text(void **state)
{
    (void)state;
    static const uint8_t zeros[40];
    uint8_t out[KEY_SIZE] = {0xee};
    assert_int_equal(bytes_unwrap(wrap_key, zeros, sizeof(zeros), out), ERROR_WRONG_KEY);
    assert_int_equal(out[0], 0xee);
}

static void wrapping_is_the_known_answer_and_back(void **state)
{
    (void)state;
    static const uint8_t answer[40] = {0x63, 0x9a, 0x48, 0xdf, 0xd7, 0xcd, 0x63, 0x33, 0x84, 0x20,
                                       0x37, 0x1d, 0x79, 0xca, 0x1a, 0xf7, 0x30, 0xb0, 0x26, 0x96,
                                       0x30, 0xb5, 0x69, 0x17, 0x53, 0x47, 0xa5, 0x97, 0x71, 0x1d,
                                       0x25, 0xd4, 0xce, 0x9c, 0x9b, 0x56, 0x79, 0x93, 0x92, 0xc6};
    uint8_t wrapped[40], out[KEY_SIZE];
    assert_int_equal(bytes_wrap(wrap_key, text, sizeof(text), wrapped), ERROR_NONE);
    assert_memory_equal(wrapped, answer, sizeof(answer));
    assert_int_equal(bytes_unwrap(wrap_key, wrapped, sizeof(wrapped), out), ERROR_NONE);
    assert_memory_equal(out, text, sizeof(text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_shorter_than_expected_is_refused),
        cmocka_unit_test(zeros_are_not_a_wrapped_text),
        cmocka_unit_test(wrapping_is_the_known_answer_and_back),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
