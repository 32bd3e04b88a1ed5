#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/memory.h"
#include "crypto/flat_json.h"

static enum error parse(const char *text, struct flat_object *object)
{
    return flat_object_parse(text, strlen(text), object);
}

static void garbage_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        " ",
        "{",
        "}",
        "{}",
        "[]",
        "null",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\" 1}",
        "{\"a\":1,}",
        "{,\"a\":1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1}}",
        "{\"a\":1} x",
        "{\"a\":-1}",
        "{\"a\":01}",
        "{\"a\":1.5}",
        "{\"a\":1e5}",
        "{\"a\":1234567890}",
        "{\"a\":true}",
        "{\"a\":null}",
        "{\"a\":{}}",
        "{\"a\":[1]}",
        "{\"a\":\"b}",
        "{\"a\":\"b\\n\"}",
        "{\"a\":\"b\nc\"}",
        "{\"a\":\"\xc3\xa4\"}",
        "{\"a\":1,\"a\":2}",
        "{a:1}",
        "{'a':1}",
    };
    struct flat_object object = {.count = 99};
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        assert_int_equal(parse(texts[i], &object), ERROR_CORRUPT);
    assert_int_equal(object.count, 99);
}

static void a_zero_byte_is_not_the_end(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":1}\0{\"b\":2}";
    struct flat_object object;
    assert_int_equal(flat_object_parse(text, sizeof(text) - 1, &object), ERROR_CORRUPT);
}

static void the_parser_stops_at_the_size_it_was_told(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":\"bc\",\"d\":12}";
    struct flat_object object;
    for (size_t size = 0; size < sizeof(text) - 1; size++)
        assert_int_equal(flat_object_parse(text, size, &object), ERROR_CORRUPT);
    assert_int_equal(flat_object_parse(text, sizeof(text) - 1, &object), ERROR_NONE);
}

static void more_fields_than_the_limit_are_refused(void **state)
{
    (void)state;
    char text[FLAT_FIELDS_MAX * 8 + 16] = "{";
    for (size_t i = 0; i < FLAT_FIELDS_MAX; i++)
        memcpy(text + 1 + 6 * i, (char[]){'"', (char)('a' + i), '"', ':', '1', ','}, 6);
    struct flat_object object;
    text[strlen(text) - 1] = '}';
    assert_int_equal(parse(text, &object), ERROR_NONE);
    memcpy(text + strlen(text) - 1, ",\"z\":1}", 8);
    assert_int_equal(parse(text, &object), ERROR_CORRUPT);
}

static void a_field_of_the_wrong_type_is_missing(void **state)
{
    (void)state;
    struct flat_object object;
    struct flat_text value;
    uint32_t number;
    assert_int_equal(parse("{\"a\":\"1\",\"b\":2}", &object), ERROR_NONE);
    assert_int_equal(flat_number_take(&object, "a", &number), ERROR_CORRUPT);
    assert_int_equal(flat_text_take(&object, "b", &value), ERROR_CORRUPT);
    assert_int_equal(flat_text_take(&object, "", &value), ERROR_CORRUPT);
}

static void a_field_that_nobody_took_is_unknown(void **state)
{
    (void)state;
    struct flat_object object;
    struct flat_text value;
    uint32_t number;
    assert_int_equal(parse(" {\t\"a\" : \"x y\" ,\r\n \"b\":999999999 } ", &object), ERROR_NONE);
    assert_int_equal(flat_text_take(&object, "a", &value), ERROR_NONE);
    assert_true(flat_text_equal(value, "x y"));
    assert_false(flat_text_equal(value, "x yz"));
    assert_int_equal(flat_object_finish(&object), ERROR_CORRUPT);
    assert_int_equal(flat_number_take(&object, "b", &number), ERROR_NONE);
    assert_int_equal(number, 999999999);
    assert_int_equal(flat_object_finish(&object), ERROR_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(garbage_is_refused),
        cmocka_unit_test(a_zero_byte_is_not_the_end),
        cmocka_unit_test(the_parser_stops_at_the_size_it_was_told),
        cmocka_unit_test(more_fields_than_the_limit_are_refused),
        cmocka_unit_test(a_field_of_the_wrong_type_is_missing),
        cmocka_unit_test(a_field_that_nobody_took_is_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
