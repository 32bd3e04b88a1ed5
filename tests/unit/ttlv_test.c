#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/memory.h"
#include "crypto/kmip/ttlv.h"

#define TAG 0x420020u

/* The examples of section 9.1.2 of the KMIP texts. */
static const uint8_t example_integer[] = {0x42, 0, 0x20, 2, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0, 0};
static const uint8_t example_enumeration[] = {0x42, 0, 0x20, 5, 0, 0, 0, 4, 0, 0, 0, 0xff, 0, 0, 0, 0};
static const uint8_t example_text[] = {0x42, 0,   0x20, 7,   0,   0,   0,   11,  'H', 'e', 'l', 'l',
                                       'o',  ' ', 'W',  'o', 'r', 'l', 'd', 0,   0,   0,   0,   0};
static const uint8_t example_bytes[] = {0x42, 0, 0x20, 8, 0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 0, 0};
static const uint8_t example_structure[] = {0x42, 0, 0x20, 1, 0, 0, 0, 0x20, 0x42, 0,    4,    5, 0, 0,
                                            0,    4, 0,    0, 0, 0xfe, 0, 0,   0,    0, 0x42, 0, 5, 2,
                                            0,    0, 0,    4, 0, 0,    0, 0xff, 0,    0, 0,    0};

static enum error check(const void *message, size_t size)
{
    struct ttlv root;
    return ttlv_check(message, size, &root);
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    uint8_t longer[sizeof(example_structure) + 8] = {0};
    memcpy(longer, example_structure, sizeof(example_structure));
    for (size_t size = 0; size < sizeof(example_structure); size++)
        assert_int_equal(check(longer, size), ERROR_PROTOCOL);
    assert_int_equal(check(longer, sizeof(longer)), ERROR_PROTOCOL); /* behind the end there is nothing either */
    assert_int_equal(check(longer, sizeof(example_structure)), ERROR_NONE);
}

static void lengths_that_reach_beyond_their_structure_are_refused(void **state)
{
    (void)state;
    uint8_t changed[sizeof(example_structure)];
    static const uint8_t lengths[] = {1, 8, 9, 32, 231};
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        memcpy(changed, example_structure, sizeof(changed));
        changed[11] = 7; /* the first item becomes a text, */
        changed[15] = 24; /* which ends where the structure does, */
        assert_int_equal(check(changed, sizeof(changed)), ERROR_NONE);
        changed[15] = (uint8_t)(24 + lengths[i]); /* and beyond it */
        assert_int_equal(check(changed, sizeof(changed)), ERROR_PROTOCOL);
    }
    memcpy(changed, example_structure, sizeof(changed));
    changed[11] = 7;
    memset(changed + 12, 0xff, 4); /* 4 GiB */
    assert_int_equal(check(changed, sizeof(changed)), ERROR_PROTOCOL);
    for (unsigned length = 0xfffffff8u; length != 0; length++) { /* whose padded length is small */
        changed[12] = changed[13] = changed[14] = 0xff;
        changed[15] = (uint8_t)length;
        assert_int_equal(check(changed, sizeof(changed)), ERROR_PROTOCOL);
    }
}

static void types_have_their_lengths(void **state)
{
    (void)state;
    static const uint8_t fits[12] = {0, 0, 4, 8, 8, 4, 8, 0, 0, 8, 4, 8}; /* by type; 0: any */
    for (unsigned type = 0; type < 256; type++)
        for (unsigned length = 0; length <= 16; length++) {
            uint8_t message[8 + 8 + 16] = {0x42, 0, 0x20, 1, 0, 0, 0, 8, 0x42, 0, 4, (uint8_t)type, 0, 0, 0, (uint8_t)length};
            size_t padded = (length + 7u) & ~7u;
            message[7] = (uint8_t)(8 + padded);
            bool known = type >= 1 && type <= 11, right = known;
            if (known && fits[type] != 0)
                right = type == TTLV_BIG_INTEGER ? length == 8 || length == 16 : length == fits[type];
            if (type == TTLV_STRUCTURE)
                right = length == 0; /* what would be in it are zeros, which are no items */
            assert_int_equal(check(message, 16 + padded), right ? ERROR_NONE : ERROR_PROTOCOL);
        }
}

static void what_is_no_structure_is_no_message(void **state)
{
    (void)state;
    assert_int_equal(check(example_integer, sizeof(example_integer)), ERROR_PROTOCOL);
    assert_int_equal(check("HTTP/1.1 400 Bad Request", 24), ERROR_PROTOCOL);
    size_t size;
    assert_int_equal(ttlv_message_size((const uint8_t *)"HTTP/1.1", &size), ERROR_PROTOCOL);
}

static void messages_above_64_kib_are_refused_by_their_head(void **state)
{
    (void)state;
    size_t size = 77;
    uint8_t head[8] = {0x42, 0, 0x20, 1, 0, 0, 0xff, 0xf8};
    assert_int_equal(ttlv_message_size(head, &size), ERROR_NONE);
    assert_int_equal(size, TTLV_MESSAGE_MAX);
    head[5] = 1;
    head[6] = head[7] = 0;
    assert_int_equal(ttlv_message_size(head, &size), ERROR_TOO_LARGE);
    memset(head + 4, 0xff, 4);
    assert_int_equal(ttlv_message_size(head, &size), ERROR_TOO_LARGE);
    assert_int_equal(size, TTLV_MESSAGE_MAX);
}

/* `depth` structures, one in the other. */
static size_t nest(uint8_t *message, unsigned depth)
{
    for (unsigned i = 0; i < depth; i++) {
        uint8_t head[8] = {0x42, 0, 0x20, 1, 0, 0, 0, (uint8_t)(8 * (depth - 1 - i))};
        memcpy(message + (size_t)8 * i, head, sizeof(head));
    }
    return (size_t)8 * depth;
}

static void structures_are_nested_16_deep_at_most(void **state)
{
    (void)state;
    uint8_t message[8 * (TTLV_DEPTH_MAX + 1)];
    for (unsigned depth = 1; depth <= TTLV_DEPTH_MAX; depth++)
        assert_int_equal(check(message, nest(message, depth)), ERROR_NONE);
    assert_int_equal(check(message, nest(message, TTLV_DEPTH_MAX + 1)), ERROR_PROTOCOL);
}

static void a_failed_check_gives_nothing(void **state)
{
    (void)state;
    struct ttlv root = {.tag = 1}, untouched = root;
    assert_int_equal(ttlv_check(example_structure, sizeof(example_structure) - 1, &root), ERROR_PROTOCOL);
    assert_memory_equal(&root, &untouched, sizeof(root));
}

static void items_are_found_by_tag_and_type(void **state)
{
    (void)state;
    struct ttlv root, item = {.tag = 1}, next = {0};
    assert_int_equal(ttlv_check(example_structure, sizeof(example_structure), &root), ERROR_NONE);
    assert_int_equal(root.tag, TAG);
    assert_false(ttlv_find(&root, 0x420004, TTLV_INTEGER, &item)); /* another type */
    assert_false(ttlv_find(&root, 0x420006, TTLV_INTEGER, &item));
    assert_int_equal(item.tag, 1);
    assert_true(ttlv_find(&root, 0x420004, TTLV_ENUMERATION, &item));
    assert_int_equal(ttlv_number(&item), 254);
    assert_true(ttlv_find(&root, 0x420005, TTLV_INTEGER, &item));
    assert_int_equal(ttlv_number(&item), 255);
    assert_true(ttlv_next(&root, &next));
    assert_true(ttlv_next(&root, &next));
    assert_int_equal(next.tag, 0x420005);
    assert_false(ttlv_next(&root, &next));
}

static void text_equals_what_has_its_length(void **state)
{
    (void)state;
    struct ttlv item = {.type = TTLV_TEXT, .value = example_text + 8, .size = 11};
    assert_true(ttlv_text_equal(&item, "Hello World"));
    assert_false(ttlv_text_equal(&item, "Hello Worl"));
    assert_false(ttlv_text_equal(&item, "Hello World!"));
    assert_false(ttlv_text_equal(&item, ""));
}

static void written_items_are_those_of_the_standard(void **state)
{
    (void)state;
    uint8_t bytes[256];
    memset(bytes, 0xee, sizeof(bytes));
    struct ttlv_writer writer = {.bytes = bytes, .room = sizeof(bytes)};
    ttlv_put_integer(&writer, TAG, 8);
    assert_int_equal(writer.used, sizeof(example_integer));
    assert_memory_equal(bytes, example_integer, writer.used);
    writer.used = 0;
    ttlv_put_enumeration(&writer, TAG, 255);
    assert_memory_equal(bytes, example_enumeration, sizeof(example_enumeration));
    writer.used = 0;
    ttlv_put_text(&writer, TAG, "Hello World");
    assert_int_equal(writer.used, sizeof(example_text));
    assert_memory_equal(bytes, example_text, writer.used);
    writer.used = 0;
    ttlv_put_bytes(&writer, TAG, "\1\2\3", 3);
    assert_int_equal(writer.used, sizeof(example_bytes));
    assert_memory_equal(bytes, example_bytes, writer.used);
    writer.used = 0;
    ttlv_begin(&writer, TAG);
    ttlv_put_enumeration(&writer, 0x420004, 254);
    ttlv_put_integer(&writer, 0x420005, 255);
    ttlv_end(&writer);
    assert_int_equal(writer.used, sizeof(example_structure));
    assert_memory_equal(bytes, example_structure, writer.used);
    assert_false(writer.full);
}

static void a_writer_without_room_is_full_and_writes_nothing_beyond(void **state)
{
    (void)state;
    for (size_t room = 0; room < sizeof(example_structure); room++) {
        uint8_t bytes[sizeof(example_structure) + 8];
        memset(bytes, 0xee, sizeof(bytes));
        struct ttlv_writer writer = {.bytes = bytes, .room = room};
        ttlv_begin(&writer, TAG);
        ttlv_put_enumeration(&writer, 0x420004, 254);
        ttlv_put_integer(&writer, 0x420005, 255);
        ttlv_end(&writer);
        assert_true(writer.full);
        for (size_t i = room; i < sizeof(bytes); i++)
            assert_int_equal(bytes[i], 0xee);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(lengths_that_reach_beyond_their_structure_are_refused),
        cmocka_unit_test(types_have_their_lengths),
        cmocka_unit_test(what_is_no_structure_is_no_message),
        cmocka_unit_test(messages_above_64_kib_are_refused_by_their_head),
        cmocka_unit_test(structures_are_nested_16_deep_at_most),
        cmocka_unit_test(a_failed_check_gives_nothing),
        cmocka_unit_test(items_are_found_by_tag_and_type),
        cmocka_unit_test(text_equals_what_has_its_length),
        cmocka_unit_test(written_items_are_those_of_the_standard),
        cmocka_unit_test(a_writer_without_room_is_full_and_writes_nothing_beyond),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
