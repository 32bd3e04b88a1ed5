#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "crypto/kmip/message.h"
#include "crypto/kmip/tags.h"

#define NAME "coffer/11111111-1111-4111-8111-111111111111/kek/1"

static const struct kmip_version v12 = {1, 2}, v20 = {2, 0};

/* ---- an answer, made to order ------------------------------------------------------------------------------------- */

static uint8_t bytes[TTLV_MESSAGE_MAX];
static struct ttlv_writer out;

/* What an answer says beside its payload; a test changes one thing. */
struct frame {
    struct kmip_version version;
    uint32_t root, count, operation, status;
    bool no_operation, no_status, no_payload, no_version;
};

static struct frame right(struct kmip_version version, enum kmip_operation operation)
{
    return (struct frame){.version = version, .root = TAG_RESPONSE_MESSAGE, .count = 1, .operation = operation};
}

static void begin(const struct frame *frame)
{
    memset(bytes, 0, sizeof(bytes));
    out = (struct ttlv_writer){.bytes = bytes, .room = sizeof(bytes)};
    ttlv_begin(&out, frame->root);
    ttlv_begin(&out, TAG_RESPONSE_HEADER);
    if (!frame->no_version) {
        ttlv_begin(&out, TAG_PROTOCOL_VERSION);
        ttlv_put_integer(&out, TAG_PROTOCOL_MAJOR, frame->version.major);
        ttlv_put_integer(&out, TAG_PROTOCOL_MINOR, frame->version.minor);
        ttlv_end(&out);
    }
    ttlv_put_integer(&out, TAG_BATCH_COUNT, frame->count);
    ttlv_end(&out);
    ttlv_begin(&out, TAG_BATCH_ITEM);
    if (!frame->no_operation)
        ttlv_put_enumeration(&out, TAG_OPERATION, frame->operation);
    if (!frame->no_status)
        ttlv_put_enumeration(&out, TAG_RESULT_STATUS, frame->status);
    if (!frame->no_payload)
        ttlv_begin(&out, TAG_RESPONSE_PAYLOAD);
}

static void end(void)
{
    while (out.depth > 0)
        ttlv_end(&out);
    assert_false(out.full);
}

static enum error answer(struct kmip_version version, enum kmip_operation operation, struct ttlv *payload)
{
    end();
    return kmip_answer_read(bytes, out.used, version, operation, payload);
}

static struct ttlv payload_of(struct kmip_version version, enum kmip_operation operation)
{
    struct ttlv payload;
    assert_int_equal(answer(version, operation, &payload), ERROR_NONE);
    return payload;
}

static void begin_right(struct kmip_version version, enum kmip_operation operation)
{
    struct frame frame = right(version, operation);
    begin(&frame);
}

/* ---- frame -------------------------------------------------------------------------------------------------------- */

static enum error frame_refused(struct frame frame)
{
    struct ttlv payload = {.tag = 1};
    begin(&frame);
    enum error error = answer(v12, KMIP_GET, &payload);
    assert_int_equal(payload.tag, 1);
    return error;
}

static void a_frame_that_is_not_of_the_request_is_refused(void **state)
{
    (void)state;
    struct frame frame = right(v12, KMIP_GET);
    frame.root = TAG_REQUEST_MESSAGE;
    assert_int_equal(frame_refused(frame), ERROR_PROTOCOL);
    frame = right(v20, KMIP_GET);
    assert_int_equal(frame_refused(frame), ERROR_PROTOCOL);
    frame = right((struct kmip_version){1, 3}, KMIP_GET);
    assert_int_equal(frame_refused(frame), ERROR_PROTOCOL);
    frame = right(v12, KMIP_LOCATE);
    assert_int_equal(frame_refused(frame), ERROR_PROTOCOL);
    frame = right(v12, KMIP_GET);
    frame.count = 2;
    assert_int_equal(frame_refused(frame), ERROR_PROTOCOL);
    frame = right(v12, KMIP_GET);
    frame.no_version = true;
    assert_int_equal(frame_refused(frame), ERROR_PROTOCOL);
    frame = right(v12, KMIP_GET);
    frame.no_operation = true;
    assert_int_equal(frame_refused(frame), ERROR_PROTOCOL);
    frame = right(v12, KMIP_GET);
    frame.no_status = true;
    assert_int_equal(frame_refused(frame), ERROR_PROTOCOL);
    frame = right(v12, KMIP_GET);
    frame.no_payload = true;
    assert_int_equal(frame_refused(frame), ERROR_PROTOCOL);
    begin_right(v12, KMIP_GET);
    payload_of(v12, KMIP_GET);
}

static void a_refusal_says_what_the_server_says_printably(void **state)
{
    (void)state;
    static const struct { uint32_t reason; enum error error; } known[] = {
        {REASON_ITEM_NOT_FOUND, ERROR_NOT_FOUND}, {REASON_OBJECT_DESTROYED, ERROR_NOT_FOUND},
        {REASON_PERMISSION, ERROR_ACCESS},        {REASON_AUTHENTICATION, ERROR_ACCESS},
        {REASON_NOT_SUPPORTED, ERROR_UNSUPPORTED}, {0x100, ERROR_PROTOCOL},
        {0xffffffff, ERROR_PROTOCOL},
    };
    for (size_t i = 0; i < COUNT_OF(known); i++)
        for (int framed_as_1_0 = 0; framed_as_1_0 < 2; framed_as_1_0++) {
            struct frame frame = right(framed_as_1_0 ? (struct kmip_version){1, 0} : v20, KMIP_GET);
            struct ttlv payload;
            frame.status = 1;
            frame.no_payload = true;
            frame.no_operation = framed_as_1_0;
            begin(&frame);
            ttlv_put_enumeration(&out, TAG_RESULT_REASON, known[i].reason);
            ttlv_put_text(&out, TAG_RESULT_MESSAGE, "not\nfor\x1b[31m you");
            assert_int_equal(answer(v20, KMIP_GET, &payload), known[i].error);
            const char *sentence = error_sentence(known[i].error);
            assert_non_null(strstr(sentence, "refuses Get: not?for?[31m you"));
        }
}

static void a_long_message_of_the_server_is_cut(void **state)
{
    (void)state;
    static char words[5000];
    struct frame frame = right(v12, KMIP_GET);
    struct ttlv payload;
    memset(words, 'x', sizeof(words) - 1);
    frame.status = 1;
    frame.no_payload = true;
    begin(&frame);
    ttlv_put_text(&out, TAG_RESULT_MESSAGE, words);
    assert_int_equal(answer(v12, KMIP_GET, &payload), ERROR_PROTOCOL);
    assert_true(strlen(error_sentence(ERROR_PROTOCOL)) < 400);
}

static void every_truncated_or_lengthened_answer_is_refused(void **state)
{
    (void)state;
    struct ttlv payload;
    begin_right(v12, KMIP_LOCATE);
    ttlv_put_text(&out, TAG_UNIQUE_IDENTIFIER, "7");
    end();
    for (size_t size = 0; size < out.used; size++)
        assert_int_equal(kmip_answer_read(bytes, size, v12, KMIP_LOCATE, &payload), ERROR_PROTOCOL);
    assert_int_equal(kmip_answer_read(bytes, out.used + 8, v12, KMIP_LOCATE, &payload), ERROR_PROTOCOL);
}

/* ---- versions, names, ids ----------------------------------------------------------------------------------------- */

static void version_offered(uint32_t major, uint32_t minor)
{
    ttlv_begin(&out, TAG_PROTOCOL_VERSION);
    ttlv_put_integer(&out, TAG_PROTOCOL_MAJOR, major);
    ttlv_put_integer(&out, TAG_PROTOCOL_MINOR, minor);
    ttlv_end(&out);
}

static void the_newest_version_of_both_is_spoken(void **state)
{
    (void)state;
    struct kmip_version version = {9, 9};
    struct ttlv payload;
    begin_right(v12, KMIP_DISCOVER_VERSIONS);
    payload = payload_of(v12, KMIP_DISCOVER_VERSIONS);
    assert_int_equal(kmip_discover_read(&payload, &version), ERROR_UNSUPPORTED);
    begin_right(v12, KMIP_DISCOVER_VERSIONS);
    version_offered(1, 0);
    version_offered(1, 1);
    version_offered(2, 1);
    version_offered(0xffffffff, 0);
    payload = payload_of(v12, KMIP_DISCOVER_VERSIONS);
    assert_int_equal(kmip_discover_read(&payload, &version), ERROR_UNSUPPORTED);
    assert_int_equal(version.major, 9);
    begin_right(v12, KMIP_DISCOVER_VERSIONS);
    version_offered(1, 2);
    version_offered(3, 0);
    version_offered(1, 4);
    version_offered(1, 3);
    payload = payload_of(v12, KMIP_DISCOVER_VERSIONS);
    assert_int_equal(kmip_discover_read(&payload, &version), ERROR_NONE);
    assert_int_equal(version.major * 10 + version.minor, 14);
    begin_right(v12, KMIP_DISCOVER_VERSIONS);
    ttlv_begin(&out, TAG_PROTOCOL_VERSION);
    ttlv_put_integer(&out, TAG_PROTOCOL_MAJOR, 1);
    ttlv_end(&out);
    payload = payload_of(v12, KMIP_DISCOVER_VERSIONS);
    assert_int_equal(kmip_discover_read(&payload, &version), ERROR_PROTOCOL);
}

static enum error located(const char *const *ids, size_t count, size_t *found, char id[KMIP_ID_MAX + 1])
{
    begin_right(v12, KMIP_LOCATE);
    for (size_t i = 0; i < count; i++)
        ttlv_put_text(&out, TAG_UNIQUE_IDENTIFIER, ids[i]);
    struct ttlv payload = payload_of(v12, KMIP_LOCATE);
    return kmip_locate_read(&payload, found, id);
}

static void located_keys_are_counted(void **state)
{
    (void)state;
    char id[KMIP_ID_MAX + 1];
    size_t count = 77;
    assert_int_equal(located(NULL, 0, &count, id), ERROR_NONE);
    assert_int_equal(count, 0);
    assert_int_equal(located((const char *[]){"a-1"}, 1, &count, id), ERROR_NONE);
    assert_int_equal(count, 1);
    assert_string_equal(id, "a-1");
    assert_int_equal(located((const char *[]){"a-1", "a-2", "a-3"}, 3, &count, id), ERROR_NONE);
    assert_int_equal(count, 3);
    begin_right(v12, KMIP_LOCATE);
    ttlv_put_integer(&out, TAG_UNIQUE_IDENTIFIER, 1);
    struct ttlv payload = payload_of(v12, KMIP_LOCATE);
    assert_int_equal(kmip_locate_read(&payload, &count, id), ERROR_PROTOCOL);
}

static void what_is_no_identifier_is_refused(void **state)
{
    (void)state;
    char longest[KMIP_ID_MAX + 2], id[KMIP_ID_MAX + 1] = "old";
    size_t count;
    memset(longest, 'x', sizeof(longest));
    longest[KMIP_ID_MAX + 1] = '\0';
    const char *wrong[] = {"", "two words", "line\nbreak", "\x1b[31m", "\xc3\xa4", longest};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        assert_int_equal(located(&wrong[i], 1, &count, id), ERROR_PROTOCOL);
        assert_string_equal(id, "old");
    }
    longest[KMIP_ID_MAX] = '\0';
    assert_int_equal(located((const char *[]){longest}, 1, &count, id), ERROR_NONE);
    assert_string_equal(id, longest);
}

static void an_answer_about_another_key_is_forged(void **state)
{
    (void)state;
    char id[KMIP_ID_MAX + 1];
    begin_right(v12, KMIP_ACTIVATE);
    ttlv_put_text(&out, TAG_UNIQUE_IDENTIFIER, "7");
    struct ttlv payload = payload_of(v12, KMIP_ACTIVATE);
    assert_int_equal(kmip_id_read(&payload, "70", id), ERROR_FORGED);
    assert_int_equal(kmip_id_read(&payload, "", id), ERROR_FORGED);
    assert_int_equal(kmip_id_read(&payload, "7", id), ERROR_NONE);
    assert_int_equal(kmip_id_read(&payload, NULL, id), ERROR_NONE);
    begin_right(v12, KMIP_ACTIVATE);
    payload = payload_of(v12, KMIP_ACTIVATE);
    assert_int_equal(kmip_id_read(&payload, NULL, id), ERROR_PROTOCOL);
}

static void a_server_that_says_nothing_of_itself_is_nameless(void **state)
{
    (void)state;
    char vendor[KMIP_TEXT_MAX + 1] = "old";
    begin_right(v12, KMIP_QUERY);
    struct ttlv payload = payload_of(v12, KMIP_QUERY);
    kmip_query_read(&payload, vendor);
    assert_string_equal(vendor, "");
    begin_right(v12, KMIP_QUERY);
    ttlv_put_text(&out, TAG_VENDOR_IDENTIFICATION, "Keys\tof Old");
    payload = payload_of(v12, KMIP_QUERY);
    kmip_query_read(&payload, vendor);
    assert_string_equal(vendor, "Keys?of Old");
}

/* ---- the key ------------------------------------------------------------------------------------------------------ */

struct key_answer {
    const char *id;
    uint32_t object_type, format, algorithm, length, size;
    uint8_t material[64];
    bool wrapped, compressed, no_format, no_algorithm, no_length, no_material, material_is_text, no_block;
};

static struct key_answer right_key(void)
{
    struct key_answer key = {.id = "7", .object_type = OBJECT_SYMMETRIC_KEY, .format = FORMAT_RAW,
                             .algorithm = ALGORITHM_AES, .length = 256, .size = KEY_SIZE};
    for (size_t i = 0; i < sizeof(key.material); i++)
        key.material[i] = (uint8_t)(i + 1);
    return key;
}

static void block_put(const struct key_answer *key)
{
    ttlv_begin(&out, TAG_KEY_BLOCK);
    if (!key->no_format)
        ttlv_put_enumeration(&out, TAG_KEY_FORMAT, key->format);
    if (key->compressed)
        ttlv_put_enumeration(&out, TAG_KEY_COMPRESSION, 1);
    ttlv_begin(&out, TAG_KEY_VALUE);
    if (key->material_is_text)
        ttlv_put_text(&out, TAG_KEY_MATERIAL, "abcdefghijklmnopqrstuvwxyzabcdef");
    else if (!key->no_material)
        ttlv_put_bytes(&out, TAG_KEY_MATERIAL, key->material, key->size);
    ttlv_end(&out);
    if (!key->no_algorithm)
        ttlv_put_enumeration(&out, TAG_ALGORITHM, key->algorithm);
    if (!key->no_length)
        ttlv_put_integer(&out, TAG_LENGTH, key->length);
    if (key->wrapped) {
        ttlv_begin(&out, TAG_KEY_WRAPPING_DATA);
        ttlv_end(&out);
    }
    ttlv_end(&out);
}

static enum error taken(struct key_answer key)
{
    uint8_t found[KEY_SIZE], untouched[KEY_SIZE];
    memset(found, 0xee, sizeof(found));
    memset(untouched, 0xee, sizeof(untouched));
    begin_right(v12, KMIP_GET);
    ttlv_put_enumeration(&out, TAG_OBJECT_TYPE, key.object_type);
    ttlv_put_text(&out, TAG_UNIQUE_IDENTIFIER, key.id);
    ttlv_begin(&out, TAG_SYMMETRIC_KEY);
    if (!key.no_block)
        block_put(&key);
    struct ttlv payload = payload_of(v12, KMIP_GET);
    enum error error = kmip_get_read(&payload, "7", found);
    assert_memory_equal(found, error == ERROR_NONE ? key.material : untouched, KEY_SIZE);
    return error;
}

#define WRONG(field, value) (key = right_key(), key.field = (value), taken(key))

static void a_key_that_is_not_as_it_was_made_is_forged(void **state)
{
    (void)state;
    struct key_answer key;
    assert_int_equal(WRONG(id, "8"), ERROR_FORGED);
    assert_int_equal(WRONG(object_type, 7), ERROR_FORGED); /* secret data */
    assert_int_equal(WRONG(format, 2), ERROR_FORGED);
    assert_int_equal(WRONG(no_format, true), ERROR_FORGED);
    assert_int_equal(WRONG(wrapped, true), ERROR_FORGED);
    assert_int_equal(WRONG(compressed, true), ERROR_FORGED);
    assert_int_equal(WRONG(algorithm, 2), ERROR_FORGED); /* 3DES */
    assert_int_equal(WRONG(no_algorithm, true), ERROR_FORGED);
    assert_int_equal(WRONG(length, 128), ERROR_FORGED);
    assert_int_equal(WRONG(length, 512), ERROR_FORGED);
    assert_int_equal(WRONG(no_length, true), ERROR_FORGED);
    assert_int_equal(WRONG(size, 31), ERROR_FORGED);
    assert_int_equal(WRONG(size, 33), ERROR_FORGED);
    assert_int_equal(WRONG(size, 16), ERROR_FORGED);
    assert_int_equal(WRONG(size, 0), ERROR_FORGED);
    assert_int_equal(WRONG(no_material, true), ERROR_PROTOCOL);
    assert_int_equal(WRONG(material_is_text, true), ERROR_PROTOCOL);
    assert_int_equal(WRONG(no_block, true), ERROR_PROTOCOL);
    key = right_key();
    memset(key.material, 0, sizeof(key.material));
    assert_int_equal(taken(key), ERROR_FORGED);
    assert_non_null(strstr(error_sentence(ERROR_FORGED), "zeros"));
    key.material[KEY_SIZE - 1] = 1;
    assert_int_equal(taken(key), ERROR_NONE);
    assert_int_equal(taken(right_key()), ERROR_NONE);
}

static void no_sentence_shows_a_byte_of_a_key(void **state)
{
    (void)state;
    struct key_answer key = right_key();
    memcpy(key.material, "SECRETSECRETSECRETSECRETSECRET!!", KEY_SIZE);
    key.size = 33;
    assert_int_equal(taken(key), ERROR_FORGED);
    assert_null(strstr(error_sentence(ERROR_FORGED), "SECRET"));
}

/* ---- attributes --------------------------------------------------------------------------------------------------- */

struct attribute_set {
    uint32_t state, algorithm, length, mask;
    const char *name;
    unsigned left_out, twice; /* HAS bits: 1 state, 2 algorithm, 4 length, 8 mask */
    bool wrong_type;
};

static struct attribute_set right_set(void)
{
    return (struct attribute_set){KMIP_ACTIVE, ALGORITHM_AES, 256, MASK_DERIVE_KEY, NAME};
}

static void attribute_put(struct kmip_version version, const char *words, uint32_t tag, bool enumeration, uint32_t value)
{
    if (version.major < 2) {
        ttlv_begin(&out, TAG_ATTRIBUTE);
        ttlv_put_text(&out, TAG_ATTRIBUTE_NAME, words);
        tag = TAG_ATTRIBUTE_VALUE;
    }
    if (enumeration)
        ttlv_put_enumeration(&out, tag, value);
    else
        ttlv_put_integer(&out, tag, value);
    if (version.major < 2)
        ttlv_end(&out);
}

static void name_put(struct kmip_version version, const char *name)
{
    if (version.major < 2) {
        ttlv_begin(&out, TAG_ATTRIBUTE);
        ttlv_put_text(&out, TAG_ATTRIBUTE_NAME, "Name");
    }
    ttlv_begin(&out, version.major < 2 ? TAG_ATTRIBUTE_VALUE : TAG_NAME);
    ttlv_put_text(&out, TAG_NAME_VALUE, name);
    ttlv_put_enumeration(&out, TAG_NAME_TYPE, NAME_TEXT);
    ttlv_end(&out);
    if (version.major < 2)
        ttlv_end(&out);
}

static enum error set_read(struct kmip_version version, struct attribute_set set, struct kmip_attributes *attributes)
{
    const struct { const char *words; uint32_t tag; bool enumeration; uint32_t value; } rows[] = {
        {"State", TAG_STATE, !set.wrong_type, set.state},
        {"Cryptographic Algorithm", TAG_ALGORITHM, true, set.algorithm},
        {"Cryptographic Length", TAG_LENGTH, false, set.length},
        {"Cryptographic Usage Mask", TAG_USAGE_MASK, false, set.mask},
    };
    begin_right(version, KMIP_GET_ATTRIBUTES);
    ttlv_put_text(&out, TAG_UNIQUE_IDENTIFIER, "7");
    if (version.major >= 2)
        ttlv_begin(&out, TAG_ATTRIBUTES);
    attribute_put(version, "Lease Time", 0x420049, false, 3600); /* what nobody asked for */
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        for (unsigned n = 0; n < ((set.left_out >> i & 1) ? 0u : (set.twice >> i & 1) ? 2u : 1u); n++)
            attribute_put(version, rows[i].words, rows[i].tag, rows[i].enumeration, rows[i].value);
    name_put(version, "another");
    if (set.name != NULL)
        name_put(version, set.name);
    struct ttlv payload = payload_of(version, KMIP_GET_ATTRIBUTES);
    return kmip_get_attributes_read(&payload, version, "7", NAME, attributes);
}

static enum error set_judged(struct kmip_version version, struct attribute_set set)
{
    struct kmip_attributes attributes;
    assert_int_equal(set_read(version, set, &attributes), ERROR_NONE);
    return kmip_attributes_check(&attributes);
}

static void attributes_that_are_missing_or_twice_are_refused(void **state)
{
    (void)state;
    for (int newer = 0; newer < 2; newer++) {
        struct kmip_version version = newer ? v20 : v12;
        struct kmip_attributes attributes = {.state = 77};
        for (unsigned bit = 1; bit <= 8; bit *= 2) {
            struct attribute_set set = right_set();
            set.left_out = bit;
            assert_int_equal(set_read(version, set, &attributes), ERROR_PROTOCOL);
            set.left_out = 0;
            set.twice = bit;
            assert_int_equal(set_read(version, set, &attributes), ERROR_PROTOCOL);
        }
        struct attribute_set set = right_set();
        set.wrong_type = true;
        assert_int_equal(set_read(version, set, &attributes), ERROR_PROTOCOL);
        assert_int_equal(attributes.state, 77);
    }
}

static void attributes_of_another_kind_of_key_are_forged(void **state)
{
    (void)state;
    for (int newer = 0; newer < 2; newer++) {
        struct kmip_version version = newer ? v20 : v12;
        struct attribute_set set = right_set();
        assert_int_equal(set_judged(version, set), ERROR_NONE);
        set.mask = 0xffffffff;
        assert_int_equal(set_judged(version, set), ERROR_NONE);
        set.mask = 0xffffffff & ~MASK_DERIVE_KEY;
        assert_int_equal(set_judged(version, set), ERROR_FORGED);
        set = right_set();
        set.algorithm = 2;
        assert_int_equal(set_judged(version, set), ERROR_FORGED);
        set = right_set();
        set.length = 128;
        assert_int_equal(set_judged(version, set), ERROR_FORGED);
        set = right_set();
        set.name = NULL;
        assert_int_equal(set_judged(version, set), ERROR_FORGED);
        set.name = NAME "1";
        assert_int_equal(set_judged(version, set), ERROR_FORGED);
    }
}

static void malformed_attributes_are_refused(void **state)
{
    (void)state;
    struct kmip_attributes attributes;
    for (int what = 0; what < 3; what++) {
        begin_right(v12, KMIP_GET_ATTRIBUTES);
        ttlv_put_text(&out, TAG_UNIQUE_IDENTIFIER, "7");
        ttlv_begin(&out, TAG_ATTRIBUTE);
        if (what != 0)
            ttlv_put_text(&out, TAG_ATTRIBUTE_NAME, what == 1 ? "State" : "Name");
        if (what == 2)
            ttlv_put_text(&out, TAG_ATTRIBUTE_VALUE, NAME);
        struct ttlv payload = payload_of(v12, KMIP_GET_ATTRIBUTES);
        assert_int_equal(kmip_get_attributes_read(&payload, v12, "7", NAME, &attributes), ERROR_PROTOCOL);
    }
    begin_right(v20, KMIP_GET_ATTRIBUTES);
    ttlv_put_text(&out, TAG_UNIQUE_IDENTIFIER, "7");
    struct ttlv payload = payload_of(v20, KMIP_GET_ATTRIBUTES);
    assert_int_equal(kmip_get_attributes_read(&payload, v20, "7", NAME, &attributes), ERROR_PROTOCOL);
    assert_int_equal(kmip_get_attributes_read(&payload, v20, "8", NAME, &attributes), ERROR_FORGED);
}

/* ---- requests ----------------------------------------------------------------------------------------------------- */

/* One request of each operation. */
static void request(struct ttlv_writer *writer, struct kmip_version version, enum kmip_operation operation)
{
    static const uint8_t key[KEY_SIZE] = {1};
    switch (operation) {
    case KMIP_DISCOVER_VERSIONS:
        kmip_discover_write(writer, version);
        break;
    case KMIP_QUERY:
        kmip_query_write(writer, version);
        break;
    case KMIP_LOCATE:
        kmip_locate_write(writer, version, NAME);
        break;
    case KMIP_CREATE:
        kmip_create_write(writer, version, NAME);
        break;
    case KMIP_REGISTER:
        kmip_register_write(writer, version, NAME, key);
        break;
    case KMIP_GET:
        kmip_get_write(writer, version, "7");
        break;
    case KMIP_GET_ATTRIBUTES:
        kmip_get_attributes_write(writer, version, "7");
        break;
    default:
        kmip_change_write(writer, version, operation, "7");
        break;
    }
}

static void every_request_is_a_whole_message_and_fits_its_buffer(void **state)
{
    (void)state;
    static const enum kmip_operation operations[] = {KMIP_CREATE,   KMIP_REGISTER,       KMIP_LOCATE, KMIP_GET,
                                                     KMIP_ACTIVATE, KMIP_GET_ATTRIBUTES, KMIP_REVOKE, KMIP_DESTROY,
                                                     KMIP_QUERY,    KMIP_DISCOVER_VERSIONS};
    for (size_t v = 0; v < kmip_version_count; v++)
        for (size_t i = 0; i < COUNT_OF(operations); i++) {
            uint8_t room[KMIP_REQUEST_MAX];
            struct ttlv_writer writer = {.bytes = room, .room = sizeof(room)};
            struct ttlv root, batch, operation;
            request(&writer, kmip_versions[v], operations[i]);
            assert_false(writer.full);
            assert_int_equal(writer.depth, 0);
            assert_int_equal(ttlv_check(room, writer.used, &root), ERROR_NONE);
            assert_int_equal(root.tag, TAG_REQUEST_MESSAGE);
            assert_true(ttlv_find(&root, TAG_BATCH_ITEM, TTLV_STRUCTURE, &batch));
            assert_true(ttlv_find(&batch, TAG_OPERATION, TTLV_ENUMERATION, &operation));
            assert_int_equal(ttlv_number(&operation), operations[i]);
            assert_string_not_equal(kmip_operation_name(operations[i]), "?");
        }
    assert_string_equal(kmip_operation_name((enum kmip_operation)0x99), "?");
}

/* As the OASIS test cases have it (KMIP 1.2, Get), with the header's own maximum. */
static void a_request_is_the_known_answer(void **state)
{
    (void)state;
    static const uint8_t known[] = {
        0x42, 0, 0x78, 1, 0, 0, 0, 0x90, 0x42, 0, 0x77, 1, 0, 0, 0, 0x48,
        0x42, 0, 0x69, 1, 0, 0, 0, 0x20, 0x42, 0, 0x6a, 2, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0,
        0x42, 0, 0x6b, 2, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 0,
        0x42, 0, 0x50, 2, 0, 0, 0, 4, 0, 1, 0, 0, 0, 0, 0, 0,
        0x42, 0, 0x0d, 2, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0,
        0x42, 0, 0x0f, 1, 0, 0, 0, 0x38, 0x42, 0, 0x5c, 5, 0, 0, 0, 4, 0, 0, 0, 0x0a, 0, 0, 0, 0,
        0x42, 0, 0x79, 1, 0, 0, 0, 0x20, 0x42, 0, 0x94, 7, 0, 0, 0, 1, '7', 0, 0, 0, 0, 0, 0, 0,
        0x42, 0, 0x42, 5, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0,
    };
    uint8_t room[KMIP_REQUEST_MAX];
    struct ttlv_writer writer = {.bytes = room, .room = sizeof(room)};
    kmip_get_write(&writer, v12, "7");
    assert_int_equal(writer.used, sizeof(known));
    assert_memory_equal(room, known, sizeof(known));
}

static void states_have_names(void **state)
{
    (void)state;
    assert_string_equal(kmip_state_name(KMIP_ACTIVE), "Active");
    assert_string_equal(kmip_state_name(KMIP_DESTROYED_COMPROMISED), "Destroyed Compromised");
    assert_string_equal(kmip_state_name(0), "unknown");
    assert_string_equal(kmip_state_name(7), "unknown");
    assert_string_equal(kmip_state_name(0xffffffff), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_that_is_not_of_the_request_is_refused),
        cmocka_unit_test(a_refusal_says_what_the_server_says_printably),
        cmocka_unit_test(a_long_message_of_the_server_is_cut),
        cmocka_unit_test(every_truncated_or_lengthened_answer_is_refused),
        cmocka_unit_test(the_newest_version_of_both_is_spoken),
        cmocka_unit_test(located_keys_are_counted),
        cmocka_unit_test(what_is_no_identifier_is_refused),
        cmocka_unit_test(an_answer_about_another_key_is_forged),
        cmocka_unit_test(a_server_that_says_nothing_of_itself_is_nameless),
        cmocka_unit_test(a_key_that_is_not_as_it_was_made_is_forged),
        cmocka_unit_test(no_sentence_shows_a_byte_of_a_key),
        cmocka_unit_test(attributes_that_are_missing_or_twice_are_refused),
        cmocka_unit_test(attributes_of_another_kind_of_key_are_forged),
        cmocka_unit_test(malformed_attributes_are_refused),
        cmocka_unit_test(every_request_is_a_whole_message_and_fits_its_buffer),
        cmocka_unit_test(a_request_is_the_known_answer),
        cmocka_unit_test(states_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
