/* Documents of the catalog: garbage of every kind is named and refused, and what is written is what is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/endian.h"
#include "base/memory.h"
#include "engine/pool/document.h"

#define U1         "11111111-1111-4111-8111-111111111111"
#define U2         "22222222-2222-4222-8222-222222222222"
#define U3         "33333333-3333-4333-8333-333333333333"
#define COMPONENTS "\"components\":[{\"group\":\"" U3 "\",\"component\":7,\"state\":\"active\"}]"
#define GOOD_SIZE  "\"size\":8192"
#define GOOD_STATE "\"created\":100,\"deleted\":0,\"state\":\"live\""
#define OBJECT(uuid, name, size, state, more)                                                                          \
    "{\"uuid\":\"" uuid "\",\"name\":\"" name "\"," size "," state ",\"domain\":\"" U2 "\"," COMPONENTS more "}"
#define GOOD OBJECT(U1, "disk", GOOD_SIZE, GOOD_STATE, "")

static size_t frame(const char *text, uint8_t *bytes)
{
    size_t length = strlen(text);
    le32 prefix = le32_make((uint32_t)length);
    memcpy(bytes, &prefix, sizeof prefix);
    memcpy(bytes + sizeof prefix, text, length);
    return sizeof prefix + length;
}

static enum error decode(const char *text, struct object_document *document)
{
    uint8_t *bytes = malloc(strlen(text) + 4);
    size_t size = frame(text, bytes);
    enum error error = object_document_decode(bytes, size, document);
    free(bytes);
    return error;
}

static void assert_bad(const char *text, const char *words)
{
    struct object_document document;
    error_forget();
    enum error error = decode(text, &document);
    if (error != ERROR_CORRUPT)
        fail_msg("taken: %s", text);
    if (strstr(error_sentence(error), words) == NULL)
        fail_msg("\"%s\" is not in: %s", words, error_sentence(error));
}

static void impossible_lengths_are_refused_before_anything_is_read(void **context)
{
    static const uint32_t lengths[] = {0, OBJECT_DOCUMENT_BYTES_MAX - 3, 0x7fffffff, UINT32_MAX};
    struct object_document document;
    size_t whole;
    (void)context;
    assert_int_equal(document_size("abc", 3, &whole), ERROR_CORRUPT);
    assert_int_equal(object_document_decode("", 0, &document), ERROR_CORRUPT);
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        le32 prefix = le32_make(lengths[i]);
        assert_int_equal(document_size(&prefix, 4, &whole), ERROR_CORRUPT);
        assert_int_equal(object_document_decode(&prefix, 4, &document), ERROR_CORRUPT);
    }
}

static void a_document_that_is_cut_off_anywhere_is_refused(void **context)
{
    struct object_document document;
    uint8_t bytes[1024];
    size_t size = frame(GOOD, bytes);
    (void)context;
    for (size_t i = 0; i < size; i++)
        assert_int_equal(object_document_decode(bytes, i, &document), ERROR_CORRUPT);
    assert_int_equal(object_document_decode(bytes, size, &document), ERROR_NONE);
}

static void bytes_behind_the_document_do_not_matter(void **context)
{
    struct object_document document;
    uint8_t bytes[1024];
    size_t size = frame(GOOD, bytes);
    (void)context;
    memset(bytes + size, 0xff, sizeof bytes - size);
    assert_int_equal(object_document_decode(bytes, sizeof bytes, &document), ERROR_NONE);
}

static void what_is_not_one_json_object_is_refused(void **context)
{
    (void)context;
    assert_bad("\xff\xfe", "not JSON");
    assert_bad(GOOD GOOD, "not JSON");
    assert_bad("[" GOOD "]", "not an object's");
    assert_bad("{}", "uuid");
    assert_bad("{\"uuid\":\"" U1 "\",\"uuid\":\"" U1 "\"}", "not JSON");
}

static void a_deep_nest_does_not_exhaust_the_stack(void **context)
{
    size_t depth = OBJECT_DOCUMENT_BYTES_MAX - 4;
    char *text = malloc(depth + 1);
    (void)context;
    memset(text, '[', depth);
    text[depth] = 0;
    assert_bad(text, "not JSON");
    free(text);
}

static void missing_unknown_and_mistyped_members_are_refused(void **context)
{
    (void)context;
    assert_bad(OBJECT(U1, "disk", GOOD_SIZE, "\"created\":1,\"deleted\":0", ""), "state");
    assert_bad(OBJECT(U1, "disk", GOOD_SIZE, GOOD_STATE, ",\"policy\":\"gold\""), "policy");
    assert_bad(OBJECT(U1, "disk", "\"size\":\"8192\"", GOOD_STATE, ""), "not an object's");
    assert_bad(OBJECT(U1, "disk", "\"size\":8192.0", GOOD_STATE, ""), "not an object's");
    assert_bad(OBJECT(U1, "disk", "\"size\":null", GOOD_STATE, ""), "not an object's");
    assert_bad(OBJECT(U1, "disk", GOOD_SIZE, GOOD_STATE, ",\"cut\":true"), "not an object's");
}

static void identities_must_be_uuids(void **context)
{
    (void)context;
    assert_bad(OBJECT("no", "disk", GOOD_SIZE, GOOD_STATE, ""), "`uuid`");
    assert_bad(OBJECT("11111111-1111-4111-8111-11111111111g", "disk", GOOD_SIZE, GOOD_STATE, ""), "`uuid`");
}

static void a_name_that_no_object_may_have_is_refused(void **context)
{
    (void)context;
    assert_bad(OBJECT(U1, "", GOOD_SIZE, GOOD_STATE, ""), "`name`");
    assert_bad(OBJECT(U1, "a@b", GOOD_SIZE, GOOD_STATE, ""), "`name`");
    assert_bad(OBJECT(U1, "a\\u001bb", GOOD_SIZE, GOOD_STATE, ""), "`name`");
    assert_bad(OBJECT(U1, "a\\u0000b", GOOD_SIZE, GOOD_STATE, ""), "not JSON");
    assert_bad(OBJECT(U1, "\xc3", GOOD_SIZE, GOOD_STATE, ""), "not JSON");
}

static void sizes_are_blocks_within_the_limit(void **context)
{
    (void)context;
    assert_bad(OBJECT(U1, "disk", "\"size\":0", GOOD_STATE, ""), "`size`");
    assert_bad(OBJECT(U1, "disk", "\"size\":-4096", GOOD_STATE, ""), "`size`");
    assert_bad(OBJECT(U1, "disk", "\"size\":4097", GOOD_STATE, ""), "`size`");
    assert_bad(OBJECT(U1, "disk", "\"size\":70368744181760", GOOD_STATE, ""), "`size`");
    assert_bad(OBJECT(U1, "disk", "\"size\":99999999999999999999", GOOD_STATE, ""), "not JSON");
}

#define SNAPSHOT(state, more) OBJECT(U1, "monday", GOOD_SIZE, state, ",\"origin\":\"" U3 "\"" more)

static void what_no_snapshot_can_be_is_refused(void **context)
{
    struct object_document document;
    (void)context;
    assert_bad(OBJECT(U1, "disk", GOOD_SIZE, GOOD_STATE, ",\"hold\":true"), "only a snapshot");
    assert_bad(OBJECT(U1, "disk", GOOD_SIZE, GOOD_STATE, ",\"locked_until\":5"), "only a snapshot");
    assert_bad(OBJECT(U1, "disk", GOOD_SIZE, GOOD_STATE, ",\"origin\":7"), "not an object's");
    assert_bad(OBJECT(U1, "disk", GOOD_SIZE, GOOD_STATE, ",\"origin\":\"nobody\""), "`origin`");
    assert_bad(SNAPSHOT(GOOD_STATE, ",\"hold\":1"), "not an object's");
    assert_bad(SNAPSHOT(GOOD_STATE, ",\"locked_until\":-1"), "`locked_until`");
    assert_bad(SNAPSHOT(GOOD_STATE, ",\"cut\":12288"), "none can be");
    assert_bad(SNAPSHOT("\"created\":1,\"deleted\":2,\"state\":\"trashed\"", ""), "none can be");
    assert_bad(SNAPSHOT(GOOD_STATE, ",\"identity\":\"nobody\""), "`identity`");
    assert_bad(SNAPSHOT(GOOD_STATE, ",\"identity\":\"00000000-0000-0000-0000-000000000000\""), "none can be");
    assert_bad(OBJECT(U1, "disk", GOOD_SIZE, GOOD_STATE, ",\"identity\":\"" U3 "\""), "identity of a snapshot");
    assert_int_equal(decode(SNAPSHOT(GOOD_STATE, ",\"hold\":true"), &document), ERROR_NONE);
    assert_true(document.hold);
}

#define IMPORT(text) OBJECT(U1, "disk", GOOD_SIZE, GOOD_STATE, ",\"import\":" text)

static void a_disk_can_host_a_key_provider_and_nothing_else(void **context)
{
    struct object_document document;
    (void)context;
    assert_int_equal(decode(OBJECT(U1, "disk", GOOD_SIZE, GOOD_STATE, ",\"hosts\":\"kms:corp\""), &document), ERROR_NONE);
    assert_string_equal(document.hosts, "kms:corp");
    assert_bad(OBJECT(U1, "disk", GOOD_SIZE, GOOD_STATE, ",\"hosts\":\"\""), "`hosts`");
    assert_bad(OBJECT(U1, "disk", GOOD_SIZE, GOOD_STATE, ",\"hosts\":\"kms:\""), "`hosts`");
    assert_bad(OBJECT(U1, "disk", GOOD_SIZE, GOOD_STATE, ",\"hosts\":\"dns:corp\""), "`hosts`");
    assert_bad(OBJECT(U1, "disk", GOOD_SIZE, GOOD_STATE, ",\"hosts\":\"kms:a b\""), "`hosts`");
    assert_bad(OBJECT(U1, "disk", GOOD_SIZE, GOOD_STATE, ",\"hosts\":7"), "not an object's");
    assert_bad(OBJECT(U1, "disk", GOOD_SIZE, GOOD_STATE,
                      ",\"hosts\":\"kms:0123456789012345678901234567890123456789012345678901234567890123\""),
               "`hosts`");
    assert_bad(SNAPSHOT(GOOD_STATE, ",\"hosts\":\"kms:corp\""), "`hosts`");
}

static void what_no_import_can_be_is_refused(void **context)
{
    struct object_document document;
    (void)context;
    assert_bad(IMPORT("7"), "not an object's");
    assert_bad(IMPORT("{\"stream\":\"" U3 "\"}"), "not an object's");
    assert_bad(IMPORT("{\"stream\":\"" U3 "\",\"position\":1,\"x\":2}"), "x");
    assert_bad(IMPORT("{\"stream\":\"nobody\",\"position\":1}"), "`stream`");
    assert_bad(IMPORT("{\"stream\":\"00000000-0000-0000-0000-000000000000\",\"position\":1}"), "cannot be");
    assert_bad(IMPORT("{\"stream\":\"" U3 "\",\"position\":-1}"), "`position`");
    assert_bad(SNAPSHOT(GOOD_STATE, ",\"import\":{\"stream\":\"" U3 "\",\"position\":1}"), "cannot be");
    assert_int_equal(decode(IMPORT("{\"stream\":\"" U3 "\",\"position\":9}"), &document), ERROR_NONE);
    assert_int_equal(document.import_position, 9);
}

static void a_cut_lies_beyond_the_size(void **context)
{
    struct object_document document;
    (void)context;
    assert_bad(OBJECT(U1, "disk", GOOD_SIZE, GOOD_STATE, ",\"cut\":8192"), "`cut`");
    assert_bad(OBJECT(U1, "disk", GOOD_SIZE, GOOD_STATE, ",\"cut\":12289"), "`cut`");
    assert_bad(OBJECT(U1, "disk", GOOD_SIZE, GOOD_STATE, ",\"cut\":-1"), "`cut`");
    assert_int_equal(decode(OBJECT(U1, "disk", GOOD_SIZE, GOOD_STATE, ",\"cut\":12288"), &document), ERROR_NONE);
    assert_int_equal(document.cut, 12288);
}

static void a_reservation_lies_within_the_size_of_a_living_object(void **context)
{
    struct object_document document;
    (void)context;
    assert_bad(OBJECT(U1, "disk", GOOD_SIZE, GOOD_STATE, ",\"reserve\":12288"), "`reserve`");
    assert_bad(OBJECT(U1, "disk", GOOD_SIZE, GOOD_STATE, ",\"reserve\":4097"), "`reserve`");
    assert_bad(OBJECT(U1, "disk", GOOD_SIZE, GOOD_STATE, ",\"reserve\":-4096"), "`reserve`");
    assert_bad(OBJECT(U1, "disk", GOOD_SIZE, GOOD_STATE, ",\"reserve\":true"), "not an object's");
    assert_bad(OBJECT(U1, "disk", GOOD_SIZE, "\"created\":1,\"deleted\":2,\"state\":\"trashed\"", ",\"reserve\":4096"),
               "`reserve`");
    assert_bad(SNAPSHOT(GOOD_STATE, ",\"reserve\":4096"), "none can be");
    assert_int_equal(decode(OBJECT(U1, "disk", GOOD_SIZE, GOOD_STATE, ",\"reserve\":4096"), &document), ERROR_NONE);
    assert_int_equal(document.reserve, 4096);
}

static void states_agree_with_their_times(void **context)
{
    (void)context;
    assert_bad(OBJECT(U1, "disk", GOOD_SIZE, "\"created\":1,\"deleted\":5,\"state\":\"live\"", ""), "disagree");
    assert_bad(OBJECT(U1, "disk", GOOD_SIZE, "\"created\":1,\"deleted\":5,\"state\":\"creating\"", ""), "disagree");
    assert_bad(OBJECT(U1, "disk", GOOD_SIZE, "\"created\":1,\"deleted\":0,\"state\":\"trashed\"", ""), "disagree");
    assert_bad(OBJECT(U1, "disk", GOOD_SIZE, "\"created\":1,\"deleted\":0,\"state\":\"deleting\"", ""), "disagree");
    assert_bad(OBJECT(U1, "disk", GOOD_SIZE, "\"created\":1,\"deleted\":0,\"state\":\"asleep\"", ""), "`state`");
    assert_bad(OBJECT(U1, "disk", GOOD_SIZE, "\"created\":-1,\"deleted\":0,\"state\":\"live\"", ""), "`created`");
}

#define PLACED(components)                                                                                             \
    "{\"uuid\":\"" U1 "\",\"name\":\"disk\"," GOOD_SIZE "," GOOD_STATE ",\"domain\":\"" U2                             \
    "\",\"components\":" components "}"

static void an_object_has_one_active_component_that_is_not_the_catalog(void **context)
{
    (void)context;
    assert_bad(PLACED("[]"), "not an object's");
    assert_bad(PLACED("[7]"), "not an object's");
    assert_bad(PLACED("[{\"group\":\"" U3 "\",\"component\":7,\"state\":\"active\"},"
                      "{\"group\":\"" U2 "\",\"component\":8,\"state\":\"active\"}]"),
               "not an object's");
    assert_bad(PLACED("[{\"group\":\"" U3 "\",\"component\":1,\"state\":\"active\"}]"), "`component`");
    assert_bad(PLACED("[{\"group\":\"" U3 "\",\"component\":1099511627776,\"state\":\"active\"}]"), "`component`");
    assert_bad(PLACED("[{\"group\":\"" U3 "\",\"component\":7,\"state\":\"stale\"}]"), "state");
    assert_bad(PLACED("[{\"group\":\"" U3 "\",\"component\":7,\"state\":\"active\",\"x\":1}]"), "x");
}

static void nothing_is_written_where_decoding_fails(void **context)
{
    struct object_document document, before;
    (void)context;
    memset(&document, 0x5a, sizeof document);
    before = document;
    assert_int_equal(decode(PLACED("[]"), &document), ERROR_CORRUPT);
    assert_memory_equal(&document, &before, sizeof document);
}

static void a_pool_of_a_newer_format_says_so(void **context)
{
    struct pool_document document;
    uint8_t bytes[512];
    (void)context;
    size_t size = frame("{\"format\":2,\"what\":\"ever\"}", bytes);
    assert_int_equal(pool_document_decode(bytes, size, &document), ERROR_NEWER_FORMAT);
    size = frame("{\"format\":1,\"pool\":\"x\",\"created\":1,\"name\":\"p\"}", bytes);
    assert_int_equal(pool_document_decode(bytes, size, &document), ERROR_CORRUPT);
    size = frame("{\"format\":0,\"pool\":\"" U1 "\",\"created\":1,\"name\":\"p\"}", bytes);
    assert_int_equal(pool_document_decode(bytes, size, &document), ERROR_CORRUPT);
    size = frame(GOOD, bytes);
    assert_int_equal(pool_document_decode(bytes, size, &document), ERROR_CORRUPT);
}

static void assert_same(const struct object_document *a)
{
    struct object_document b;
    void *bytes;
    size_t size, whole;
    assert_int_equal(object_document_encode(a, &bytes, &size), ERROR_NONE);
    assert_int_equal(document_size(bytes, size, &whole), ERROR_NONE);
    assert_int_equal(whole, size);
    assert_int_equal(object_document_decode(bytes, size, &b), ERROR_NONE);
    free(bytes);
    assert_true(uuid_equal(a->uuid, b.uuid) && uuid_equal(a->domain, b.domain) && uuid_equal(a->group, b.group));
    assert_string_equal(a->name, b.name);
    assert_true(a->size == b.size && a->cut == b.cut && a->created == b.created && a->deleted == b.deleted);
    assert_true(a->state == b.state && a->component == b.component);
    assert_string_equal(a->hosts, b.hosts);
    assert_true(uuid_equal(a->identity, b.identity) && uuid_equal(a->import_stream, b.import_stream));
    assert_int_equal(a->import_position, b.import_position);
    assert_true(uuid_equal(a->origin, b.origin) && a->hold == b.hold && a->locked_until == b.locked_until);
    assert_int_equal(a->reserve, b.reserve);
}

static void what_is_encoded_decodes_to_the_same(void **context)
{
    struct object_document document = {
        .uuid = uuid_random(), .domain = uuid_random(), .group = uuid_random(), .size = 4096, .component = 2};
    (void)context;
    memset(document.name, '"', OBJECT_NAME_MAX);
    assert_same(&document);
    document.state = OBJECT_TRASHED;
    document.created = document.deleted = INT64_MAX;
    document.component = (UINT64_C(1) << 40) - 1;
    document.cut = OBJECT_SIZE_MAX;
    document.import_stream = uuid_random();
    document.import_position = INT64_MAX;
    assert_same(&document);
    document.cut = 0;
    document.size = OBJECT_SIZE_MAX;
    document.state = OBJECT_LIVE;
    document.deleted = 0;
    document.reserve = OBJECT_SIZE_MAX;
    snprintf(document.hosts, sizeof document.hosts, "kms:%063d", 7);
    assert_same(&document);
    document.reserve = 0;
    document.deleted = document.created;
    document.state = OBJECT_DELETING;
    snprintf(document.name, sizeof document.name, "größe \\ %%s");
    assert_same(&document);
}

static void snapshots_too(void **context)
{
    struct object_document document = {.uuid = uuid_random(), .domain = uuid_random(), .group = uuid_random(),
                                       .origin = uuid_random(), .size = 4096, .component = 2,
                                       .state = OBJECT_LIVE,    .name = "monday"};
    (void)context;
    assert_same(&document);
    document.hold = true;
    document.locked_until = INT64_MAX;
    document.identity = uuid_random();
    assert_same(&document);
}

static void the_pool_too(void **context)
{
    struct pool_document a = {.pool = uuid_random(), .created = 1700000000, .name = "vault"}, b;
    void *bytes;
    size_t size;
    (void)context;
    assert_int_equal(pool_document_encode(&a, &bytes, &size), ERROR_NONE);
    assert_int_equal(pool_document_decode(bytes, size, &b), ERROR_NONE);
    free(bytes);
    assert_true(uuid_equal(a.pool, b.pool) && a.created == b.created);
    assert_string_equal(a.name, b.name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(impossible_lengths_are_refused_before_anything_is_read),
        cmocka_unit_test(a_document_that_is_cut_off_anywhere_is_refused),
        cmocka_unit_test(bytes_behind_the_document_do_not_matter),
        cmocka_unit_test(what_is_not_one_json_object_is_refused),
        cmocka_unit_test(a_deep_nest_does_not_exhaust_the_stack),
        cmocka_unit_test(missing_unknown_and_mistyped_members_are_refused),
        cmocka_unit_test(identities_must_be_uuids),
        cmocka_unit_test(a_name_that_no_object_may_have_is_refused),
        cmocka_unit_test(sizes_are_blocks_within_the_limit),
        cmocka_unit_test(what_no_snapshot_can_be_is_refused),
        cmocka_unit_test(a_disk_can_host_a_key_provider_and_nothing_else),
        cmocka_unit_test(what_no_import_can_be_is_refused),
        cmocka_unit_test(a_cut_lies_beyond_the_size),
        cmocka_unit_test(a_reservation_lies_within_the_size_of_a_living_object),
        cmocka_unit_test(states_agree_with_their_times),
        cmocka_unit_test(an_object_has_one_active_component_that_is_not_the_catalog),
        cmocka_unit_test(nothing_is_written_where_decoding_fails),
        cmocka_unit_test(a_pool_of_a_newer_format_says_so),
        cmocka_unit_test(what_is_encoded_decodes_to_the_same),
        cmocka_unit_test(snapshots_too),
        cmocka_unit_test(the_pool_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
