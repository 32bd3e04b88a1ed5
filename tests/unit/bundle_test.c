/* Bundles: what goes in comes out; what is cut, changed, newer, or something else is refused, each by its own error. */
#include "stream/bundle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "crypto/provider.h"
#include "stream/chunk.h"

#define DEVICE "3edbdc3d-e1d5-4160-9b35-2ffbac212c2b"
#define LARGE  (2u * STREAM_CHUNK_MAX + 12345)

static const struct stream_secret secret = {.passphrase = "horse", .passphrase_size = 5};
static const struct stream_secret other = {.passphrase = "house", .passphrase_size = 5};

struct made { uint8_t *data; size_t size; };

static struct bundle *bundle_make(void)
{
    struct bundle *bundle = bundle_create((struct uuid){{1, 2, 3}}, 1780000000);
    uint8_t *large = malloc(LARGE);
    assert_true(bundle != NULL && large != NULL);
    for (size_t i = 0; i < LARGE; i++)
        large[i] = (uint8_t)(i * 7 + i / 251);
    assert_int_equal(bundle_add(bundle, BUNDLE_FILE, "coffer.conf", "[pool]\n", 7), ERROR_NONE);
    assert_int_equal(bundle_add(bundle, BUNDLE_FILE, "tls/ca.pem", "", 0), ERROR_NONE);
    assert_int_equal(bundle_add(bundle, BUNDLE_FILE, "audit", large, LARGE), ERROR_NONE);
    assert_int_equal(bundle_add(bundle, BUNDLE_SUPERBLOCK, DEVICE, "COFFER", 6), ERROR_NONE);
    assert_int_equal(bundle_add(bundle, BUNDLE_ABSENT, "key file", "/media/key", 10), ERROR_NONE);
    free(large);
    return bundle;
}

static struct made file_make(void)
{
    struct bundle *bundle = bundle_make();
    struct made made;
    assert_int_equal(bundle_encode(bundle, &secret, SCRYPT_LOG2_N_FLOOR, &made.data, &made.size), ERROR_NONE);
    bundle_destroy(bundle);
    return made;
}

static void refused(const void *data, size_t size, const struct stream_secret *by, enum error wanted)
{
    struct bundle *bundle = NULL;
    assert_int_equal(bundle_decode(data, size, by, &bundle), wanted);
    assert_null(bundle);
}

static void what_goes_in_comes_out(void **state)
{
    (void)state;
    struct bundle *bundle = bundle_make(), *read;
    struct made made = file_make();
    assert_int_equal(bundle_decode(made.data, made.size, &secret, &read), ERROR_NONE);
    assert_true(uuid_equal(read->pool, bundle->pool));
    assert_int_equal(read->made, 1780000000);
    assert_int_equal(read->count, bundle->count);
    for (size_t i = 0; i < read->count; i++) {
        const struct bundle_item *item = bundle_find(read, bundle->items[i].kind, bundle->items[i].name);
        assert_non_null(item);
        assert_int_equal(item->size, bundle->items[i].size);
        assert_memory_equal(item->data, bundle->items[i].data, item->size);
    }
    assert_null(bundle_find(read, BUNDLE_SUPERBLOCK, "audit"));
    bundle_destroy(read);
    bundle_destroy(bundle);
    free(made.data);
}

static void nothing_of_it_is_in_the_clear(void **state)
{
    (void)state;
    struct made made = file_make();
    assert_null(memmem(made.data, made.size, "coffer.conf", 11));
    assert_null(memmem(made.data, made.size, "[pool]", 6));
    free(made.data);
}

static void another_passphrase_is_told(void **state)
{
    (void)state;
    struct made made = file_make();
    refused(made.data, made.size, &other, ERROR_WRONG_KEY);
    free(made.data);
}

/* Also where a chunk ends, which no tag tells. */
static void a_cut_file_is_told(void **state)
{
    (void)state;
    struct made made = file_make();
    size_t chunk = sizeof(struct stream_chunk_format) + STREAM_CHUNK_MAX, head = sizeof(struct stream_header_format);
    const size_t sizes[] = {9, head - 1, head, head + 1, head + chunk - 1, head + chunk, head + 2 * chunk, made.size - 1};
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        refused(made.data, sizes[i], &secret, ERROR_CORRUPT);
    free(made.data);
}

static void every_changed_part_is_told(void **state)
{
    (void)state;
    struct made made = file_make();
    size_t head = sizeof(struct stream_header_format);
    const size_t places[] = {40, 480, head, head + 8, head + 16, head + 40, head + STREAM_CHUNK_MAX + 64, made.size - 1};
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        made.data[places[i]] ^= 1;
        refused(made.data, made.size, &secret, ERROR_CORRUPT);
        made.data[places[i]] ^= 1;
    }
    uint8_t *longer = calloc(1, made.size + 1);
    memcpy(longer, made.data, made.size);
    refused(longer, made.size + 1, &secret, ERROR_CORRUPT);
    free(longer);
    free(made.data);
}

static void chunks_in_another_order_are_told(void **state)
{
    (void)state;
    struct made made = file_make();
    size_t chunk = sizeof(struct stream_chunk_format) + STREAM_CHUNK_MAX, head = sizeof(struct stream_header_format);
    uint8_t *changed = malloc(made.size);
    memcpy(changed, made.data, made.size);
    memcpy(changed + head, made.data + head + chunk, chunk);
    memcpy(changed + head + chunk, made.data + head, chunk);
    refused(changed, made.size, &secret, ERROR_CORRUPT);
    free(changed);
    free(made.data);
}

static void something_else_is_told(void **state)
{
    (void)state;
    struct stream_header_format header;
    uint8_t master[KEY_SIZE];
    refused("", 0, &secret, ERROR_CORRUPT);
    refused("PK", 2, &secret, ERROR_INVALID);
    refused("something of another program, and long enough to be a header of this one", 60, &secret, ERROR_INVALID);
    assert_int_equal(stream_header_make(&secret, SCRYPT_LOG2_N_FLOOR, &header, master), ERROR_NONE);
    refused(&header, sizeof header, &secret, ERROR_INVALID); /* a stream of an object */
    assert_int_equal(stream_bundle_header_make(&secret, SCRYPT_LOG2_N_FLOOR, &header, master), ERROR_NONE);
    assert_int_equal(stream_header_check(&header), ERROR_INVALID); /* and the other way round */
    assert_int_equal(stream_bundle_header_make(&(struct stream_secret){0}, 0, &header, master), ERROR_NONE);
    refused(&header, sizeof header, &secret, ERROR_CORRUPT); /* under no passphrase: anybody's */
}

static void a_newer_version_is_told(void **state)
{
    (void)state;
    struct stream_header_format header;
    struct stream_bundle_format content = {.version = le32_make(STREAM_BUNDLE_VERSION + 1)};
    struct stream_chunk_format head = {.kind = STREAM_CHUNK_RECORDS, .flags = STREAM_LAST, .size = le32_make(sizeof content)};
    uint8_t master[KEY_SIZE], key[KEY_SIZE], file[sizeof header + sizeof head + sizeof content];
    struct stream_cipher *cipher;
    assert_int_equal(stream_bundle_header_make(&secret, SCRYPT_LOG2_N_FLOOR, &header, master), ERROR_NONE);
    assert_int_equal(stream_first_key(master, &header, key), ERROR_NONE);
    assert_int_equal(stream_cipher_create(key, true, &cipher), ERROR_NONE);
    assert_int_equal(stream_chunk_seal(cipher, &head, &content, file + sizeof header + sizeof head), ERROR_NONE);
    memcpy(file, &header, sizeof header);
    memcpy(file + sizeof header, &head, sizeof head);
    stream_cipher_destroy(cipher);
    refused(file, sizeof file, &secret, ERROR_NEWER_FORMAT);
    header.version = le32_make(STREAM_VERSION + 1);
    memcpy(file, &header, sizeof header);
    refused(file, sizeof file, &secret, ERROR_NEWER_FORMAT);
}

static void names_that_lead_elsewhere_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"", "/etc/passwd", "..", "../x", "a/..", "a/../b", "a//b", "a/", ".", "./a", "a\nb"};
    struct bundle *bundle = bundle_make();
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_int_equal(bundle_add(bundle, BUNDLE_FILE, names[i], "", 0), ERROR_INVALID);
    assert_int_equal(bundle_add(bundle, BUNDLE_FILE, "audit", "", 0), ERROR_INVALID);
    assert_int_equal(bundle_add(bundle, BUNDLE_SUPERBLOCK, "audit", "", 0), ERROR_INVALID);
    assert_int_equal(bundle_add(bundle, BUNDLE_FILE, "large", "", BUNDLE_BYTES_MAX), ERROR_TOO_LARGE);
    assert_int_equal(bundle_add(bundle, BUNDLE_FILE, "a/..b", "", 0), ERROR_NONE);
    bundle_destroy(bundle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_in_comes_out),
        cmocka_unit_test(nothing_of_it_is_in_the_clear),
        cmocka_unit_test(another_passphrase_is_told),
        cmocka_unit_test(a_cut_file_is_told),
        cmocka_unit_test(every_changed_part_is_told),
        cmocka_unit_test(chunks_in_another_order_are_told),
        cmocka_unit_test(something_else_is_told),
        cmocka_unit_test(a_newer_version_is_told),
        cmocka_unit_test(names_that_lead_elsewhere_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
