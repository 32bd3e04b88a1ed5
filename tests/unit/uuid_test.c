#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/memory.h"
#include "base/uuid.h"

static void what_is_no_uuid_is_refused_and_nothing_written(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "-",
                                        "00112233",
                                        "00112233-4455-6677-8899-aabbccddeef",
                                        "00112233-4455-6677-8899-aabbccddeeff0",
                                        "00112233-4455-6677-8899-aabbccddeeff ",
                                        "00112233445566778899aabbccddeeff",
                                        "0011223-34455-6677-8899-aabbccddeeff",
                                        "00112233-4455-6677-8899-aabbccddeefg",
                                        "{00112233-4455-6677-8899-aabbccddeeff}"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct uuid uuid = {{42}};
        assert_int_equal(uuid_parse(texts[i], &uuid), ERROR_INVALID);
        assert_int_equal(uuid.bytes[0], 42);
    }
}

static void text_and_uuid_are_the_same_both_ways(void **state)
{
    (void)state;
    char text[UUID_TEXT_SIZE];
    struct uuid uuid;
    assert_int_equal(uuid_parse("00112233-4455-6677-8899-AABBCCDDEEFF", &uuid), ERROR_NONE);
    assert_int_equal(uuid.bytes[15], 0xff);
    uuid_format(uuid, text);
    assert_string_equal(text, "00112233-4455-6677-8899-aabbccddeeff");
}

static void random_uuids_differ_and_say_version_4(void **state)
{
    (void)state;
    struct uuid a = uuid_random(), b = uuid_random();
    assert_false(uuid_equal(a, b));
    assert_true(uuid_equal(a, a));
    assert_int_equal(a.bytes[6] >> 4, 4);
    assert_int_equal(a.bytes[8] >> 6, 2);
}

static void only_zeros_are_zero(void **state)
{
    (void)state;
    struct uuid uuid = {{0}};
    assert_true(uuid_is_zero(uuid));
    uuid.bytes[15] = 1;
    assert_false(uuid_is_zero(uuid));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_uuid_is_refused_and_nothing_written),
        cmocka_unit_test(text_and_uuid_are_the_same_both_ways),
        cmocka_unit_test(random_uuids_differ_and_say_version_4),
        cmocka_unit_test(only_zeros_are_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
