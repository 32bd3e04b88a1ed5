/*
 * Streams that were damaged, cut, put in another order or made by somebody else: nothing of a chunk is given before the
 * chunk is known to be right, and each part says what is wrong with it.
 */
#include "tests/unit/stream_fixture.h"

#include "stream/chunk.h"

#define HEADER sizeof(struct stream_header_format)
#define HEAD   sizeof(struct stream_chunk_format)

static struct stream_chunk_format head_at(const struct bytes *bytes, size_t at)
{
    struct stream_chunk_format head;
    memcpy(&head, bytes->data + at, sizeof head);
    return head;
}

static size_t chunk_size(const struct bytes *bytes, size_t at)
{
    struct stream_chunk_format head = head_at(bytes, at);
    return sizeof head + le32_get(head.size);
}

static size_t chunk_begin(const struct bytes *bytes, unsigned number)
{
    size_t at = HEADER;
    for (unsigned i = 0; i < number; i++)
        at += chunk_size(bytes, at);
    return at;
}

/* Each way in which chunks may stand is wrong of every kind of stream, whole or a difference, under a secret or none. */
struct kind { const struct stream_secret *secret; bool full; };
static const struct kind kinds[] = {{&key_secret, true}, {&key_secret, false}, {&no_secret, true}, {&no_secret, false}};

/* What was applied before the error is a part of the disk, and nothing else. */
static void assert_only_right_data(const uint8_t *copy, const uint8_t *disk)
{
    for (size_t at = 0; at < DISK_SIZE; at += STREAM_BLOCK)
        if (memcmp(copy + at, disk + at, STREAM_BLOCK) != 0)
            assert_true(memory_is_zero(copy + at, STREAM_BLOCK));
}

static void a_flipped_bit_anywhere_is_found(void **context)
{
    uint8_t *disk = malloc(DISK_SIZE), *copy = malloc(DISK_SIZE);
    (void)context;
    disk_fill(disk);
    for (unsigned s = 0; s < 2; s++) {
        const struct stream_secret *secret = s ? &key_secret : &no_secret;
        struct bytes bytes = stream_make(secret, true);
        for (size_t at = 0; at < bytes.size; at += at < 700 ? 7 : at % 997 + 70000) {
            bytes.data[at] ^= (uint8_t)(1 << at % 8);
            memset(copy, 0, DISK_SIZE);
            if (stream_read(&bytes, secret, copy, NULL) == ERROR_NONE)
                fail_msg("byte %zu was changed and nobody saw it", at);
            assert_only_right_data(copy, disk);
            bytes.data[at] ^= (uint8_t)(1 << at % 8);
        }
        for (unsigned number = 0; number < 4; number += 3)
            for (size_t i = 0; i < HEAD; i += 2) {
                size_t at = chunk_begin(&bytes, number) + i;
                bytes.data[at] ^= 1;
                assert_true(stream_read(&bytes, secret, NULL, NULL) != ERROR_NONE);
                bytes.data[at] ^= 1;
            }
        free(bytes.data);
    }
    free(disk);
    free(copy);
}

static void each_part_says_what_is_wrong_with_it(void **context)
{
    (void)context;
    struct bytes bytes = stream_make(&key_secret, true);
    static const struct { size_t at; enum error error; const char *words; } flips[] = {
        {0, ERROR_INVALID, "no stream that"},
        {8, ERROR_NEWER_FORMAT, "has format"},
        {12, ERROR_CORRUPT, "header of the stream is damaged"},
        {30, ERROR_CORRUPT, "header of the stream is damaged"},
        {480, ERROR_CORRUPT, "header of the stream is damaged"},
        {HEADER + 20, ERROR_CORRUPT, "chunk 0 of the stream, at byte 512, is damaged, or of another stream"},
        {HEADER + 40, ERROR_CORRUPT, "chunk 0 of the stream, at byte 512, is damaged, or of another stream"},
    };
    for (size_t i = 0; i < COUNT_OF(flips); i++) {
        bytes.data[flips[i].at] ^= 2;
        assert_refused(stream_read(&bytes, &key_secret, NULL, NULL), flips[i].error, flips[i].words);
        bytes.data[flips[i].at] ^= 2;
    }
    free(bytes.data);
}

static void assert_cut(struct bytes *bytes, const struct kind *kind, size_t size)
{
    bytes->size = size;
    assert_refused(stream_read(bytes, kind->secret, NULL, NULL), ERROR_CLOSED, "is cut off at byte");
}

static void a_cut_anywhere_is_found(void **context)
{
    (void)context;
    for (const struct kind *kind = kinds; kind < kinds + COUNT_OF(kinds); kind++) {
        struct bytes bytes = stream_make(kind->secret, kind->full);
        size_t size = bytes.size, step = kind->full ? 100003 : 700001;
        for (unsigned number = 0; number < 4; number++)
            assert_cut(&bytes, kind, chunk_begin(&bytes, number));
        for (size_t cut = 0; cut < size; cut += cut < 1000 || cut > size - 200 ? 23 : MIN(step, size - 200 - cut + 1))
            assert_cut(&bytes, kind, cut);
        free(bytes.data);
    }
}

static void what_follows_the_end_is_refused(void **context)
{
    (void)context;
    struct bytes bytes = stream_make(&no_secret, true);
    bytes.data[bytes.size++] = 0;
    assert_refused(stream_read(&bytes, &no_secret, NULL, NULL), ERROR_CORRUPT, "something follows the end");
    free(bytes.data);
}

static void assert_refused_as(struct bytes *bytes, const struct kind *kind, const char *words)
{
    assert_refused(stream_read(bytes, kind->secret, NULL, NULL), ERROR_CORRUPT, words);
}

static void chunks_in_another_order_are_refused(void **context)
{
    (void)context;
    for (const struct kind *kind = kinds; kind < kinds + COUNT_OF(kinds); kind++) {
        struct bytes bytes = stream_make(kind->secret, kind->full), other = bytes_make();
        size_t first = chunk_begin(&bytes, 1), second = chunk_begin(&bytes, 2), third = chunk_begin(&bytes, 3);
        assert_fine(bytes_put(&other, bytes.data, first));
        assert_fine(bytes_put(&other, bytes.data + second, third - second));
        assert_fine(bytes_put(&other, bytes.data + first, second - first));
        assert_fine(bytes_put(&other, bytes.data + third, bytes.size - third));
        assert_refused_as(&other, kind, "where chunk 1 belongs");
        /* Numbered as it stands, it is not what was sealed. */
        le64 numbers[2] = {le64_make(1), le64_make(2)};
        memcpy(other.data + first + 8, &numbers[0], 8);
        memcpy(other.data + first + (third - second) + 8, &numbers[1], 8);
        assert_refused_as(&other, kind, "is damaged, or of another stream");
        free(other.data);
        free(bytes.data);
    }
}

static void a_chunk_left_out_or_told_twice_is_refused(void **context)
{
    (void)context;
    for (const struct kind *kind = kinds; kind < kinds + COUNT_OF(kinds); kind++) {
        struct bytes bytes = stream_make(kind->secret, kind->full), other = bytes_make();
        size_t first = chunk_begin(&bytes, 1), second = chunk_begin(&bytes, 2);
        assert_fine(bytes_put(&other, bytes.data, first));
        assert_fine(bytes_put(&other, bytes.data + second, bytes.size - second));
        assert_refused_as(&other, kind, "chunks are missing");
        other.size = 0;
        assert_fine(bytes_put(&other, bytes.data, second));
        assert_fine(bytes_put(&other, bytes.data + first, bytes.size - first));
        assert_refused_as(&other, kind, "where chunk 2 belongs");
        free(other.data);
        free(bytes.data);
    }
}

/* Also of one of the same disk, as far, under the same secret; and the whole stream behind the manifest of a difference. */
static void a_chunk_of_another_stream_is_refused(void **context)
{
    (void)context;
    for (const struct kind *kind = kinds; kind < kinds + COUNT_OF(kinds); kind++)
        for (unsigned full = 0; full < 2; full++) {
            struct bytes bytes = stream_make(kind->secret, kind->full), other = stream_make(kind->secret, full);
            size_t first = chunk_begin(&bytes, 1), second = chunk_begin(&bytes, 2), from = chunk_begin(&other, 1);
            assert_int_equal(second - first, chunk_begin(&other, 2) - from);
            memcpy(bytes.data + first, other.data + from, second - first);
            assert_refused_as(&bytes, kind, "or of another stream");
            bytes.size = first;
            assert_fine(bytes_put(&bytes, other.data + from, other.size - from));
            assert_refused_as(&bytes, kind, "or of another stream");
            free(other.data);
            free(bytes.data);
        }
}

/* A chunk that is not the last does not become it, nor the last one another, by its flag alone. */
static void the_last_chunk_is_the_one_that_was_sealed_as_such(void **context)
{
    (void)context;
    for (const struct kind *kind = kinds; kind < kinds + COUNT_OF(kinds); kind++) {
        struct bytes bytes = stream_make(kind->secret, kind->full);
        size_t first = chunk_begin(&bytes, 1), size = bytes.size;
        bytes.data[first + 1] |= STREAM_LAST;
        bytes.size = chunk_begin(&bytes, 2);
        assert_refused_as(&bytes, kind, "or of another stream");
        bytes.data[first + 1] &= (uint8_t)~STREAM_LAST;
        bytes.size = size;
        assert_fine(stream_read(&bytes, kind->secret, NULL, NULL));
        free(bytes.data);
    }
}

/* ---- made by who has the key: the key of a stream that is not encrypted is public ----------------------------------- */

struct forge {
    struct bytes bytes;
    struct stream_header_format header;
    struct stream_cipher *cipher;
    uint64_t number;
};

static void forge_chunk(struct forge *forge, uint8_t flags, const void *content, size_t size)
{
    struct stream_chunk_format head = {.kind = STREAM_CHUNK_RECORDS,
                                       .flags = flags,
                                       .size = le32_make((uint32_t)size),
                                       .number = le64_make(forge->number++)};
    uint8_t *out = malloc(size);
    assert_fine(stream_chunk_seal(forge->cipher, &head, content, out));
    assert_fine(bytes_put(&forge->bytes, &head, sizeof head));
    assert_fine(bytes_put(&forge->bytes, out, size));
    free(out);
}

static struct forge forge_begin(const struct stream_manifest_format *manifest)
{
    struct forge forge = {.bytes = bytes_make()};
    uint8_t master[KEY_SIZE], key[KEY_SIZE];
    assert_fine(stream_header_make(&no_secret, 0, &forge.header, master));
    assert_fine(stream_first_key(master, &forge.header, key));
    assert_fine(stream_cipher_create(key, false, &forge.cipher));
    assert_fine(bytes_put(&forge.bytes, &forge.header, sizeof forge.header));
    forge_chunk(&forge, 0, manifest, sizeof *manifest);
    return forge;
}

static void forge_end(struct forge *forge, enum error expected, const char *words)
{
    uint8_t *copy = malloc(DISK_SIZE);
    assert_refused(stream_read(&forge->bytes, &no_secret, copy, NULL), expected, words);
    free(copy);
    stream_cipher_destroy(forge->cipher);
    free(forge->bytes.data);
}

static struct stream_manifest_format good_manifest(void)
{
    struct stream_manifest manifest = manifest_make(false);
    struct stream_manifest_format out;
    stream_manifest_encode(&manifest, &out);
    return out;
}

static void a_manifest_that_makes_no_sense_is_refused(void **context)
{
    (void)context;
    for (unsigned i = 0; i < 11; i++) {
        struct stream_manifest_format manifest = good_manifest();
        switch (i) {
        case 0: manifest.size = le64_make(0); break;
        case 1: manifest.size = le64_make(4097); break;
        case 2: manifest.size = le64_make(STREAM_SIZE_MAX + 4096); break;
        case 3: manifest.base = (struct uuid){{0}}; break; /* but it has a name and a size */
        case 4: manifest.base = manifest.snapshot; break;
        case 5: memset(manifest.object_name, 'x', STREAM_NAME_SIZE); break;
        case 6: manifest.snapshot_name[0] = 0; break;
        case 7: manifest.base_name[STREAM_NAME_SIZE - 2] = 'x'; break;
        case 8: memcpy(manifest.object_name, "\x1b[2J", 5); break; /* would clear the terminal */
        case 9: memcpy(manifest.base_name, "s\xc2\x9b", 4); break;
        default: manifest.created = le64_make(UINT64_MAX); break;
        }
        struct forge forge = forge_begin(&manifest);
        forge_end(&forge, ERROR_CORRUPT, "makes no sense");
    }
}

static void records_that_cannot_be_are_refused(void **context)
{
    static const struct { uint8_t kind; uint64_t offset, length; size_t data; const char *words; } records[] = {
        {STREAM_DATA, 0, 8192, 4096, "less data"},
        {STREAM_DATA, 1, 4096, 4096, "cannot be"},
        {STREAM_DATA, 0, 0, 0, "cannot be"},
        {STREAM_DATA, DISK_SIZE, 4096, 4096, "cannot be"},
        {STREAM_ZERO, DISK_SIZE - 4096, 8192, 0, "cannot be"},
        {STREAM_ZERO, UINT64_MAX - 4095, 8192, 0, "cannot be"},
        {STREAM_ZERO, 0, UINT64_MAX - 4095, 0, "cannot be"},
        {STREAM_END, 0, 4096, 0, "sums up other"},
        {STREAM_END, 0, 0, 1, "says that it is the last"},
        {0, 0, 4096, 0, "no kind"},
        {4, 0, 4096, 0, "no kind"},
        {STREAM_ZERO, 0, 4096, 0, "is missing"},
        {STREAM_ZERO, 0, 4096, 3, "is cut off"},
    };
    (void)context;
    for (size_t i = 0; i < COUNT_OF(records); i++) {
        struct stream_manifest_format manifest = good_manifest();
        struct forge forge = forge_begin(&manifest);
        uint8_t content[sizeof(struct stream_record_format) + 8192] = {0};
        struct stream_record_format record = {.kind = records[i].kind,
                                              .offset = le64_make(records[i].offset),
                                              .length = le64_make(records[i].length)};
        memcpy(content, &record, sizeof record);
        forge_chunk(&forge, STREAM_LAST, content, sizeof record + records[i].data);
        forge_end(&forge, ERROR_CORRUPT, records[i].words);
    }
}

static void ranges_that_go_back_are_refused(void **context)
{
    struct stream_record_format back[2] = {{STREAM_ZERO, {0}, le64_make(8192), le64_make(4096)},
                                           {STREAM_ZERO, {0}, le64_make(8192), le64_make(4096)}};
    struct stream_manifest_format manifest = good_manifest();
    (void)context;
    struct forge forge = forge_begin(&manifest);
    forge_chunk(&forge, STREAM_LAST, back, sizeof back);
    forge_end(&forge, ERROR_CORRUPT, "cannot be");
}

static void what_does_not_unpack_is_refused(void **context)
{
    struct stream_manifest_format manifest = good_manifest();
    (void)context;
    struct forge forge = forge_begin(&manifest);
    forge_chunk(&forge, STREAM_PACKED, "no zstd frame", 13);
    forge_end(&forge, ERROR_CORRUPT, "does not unpack");
}

static void a_stream_that_ends_with_its_manifest_is_refused(void **context)
{
    struct stream_manifest_format manifest = good_manifest();
    (void)context;
    struct forge forge = forge_begin(&manifest);
    forge.bytes.size = HEADER;
    forge.number = 0;
    forge_chunk(&forge, STREAM_LAST, &manifest, sizeof manifest);
    forge_end(&forge, ERROR_CORRUPT, "ends with its first chunk");
}

static void a_cost_that_would_take_all_memory_is_refused(void **context)
{
    struct stream_header_format header;
    uint8_t master[KEY_SIZE];
    (void)context;
    assert_fine(stream_header_make(&passphrase_secret, SCRYPT_LOG2_N_FLOOR, &header, master));
    assert_fine(stream_header_check(&header));
    header.scrypt_log2_n = 40;
    assert_refused(stream_header_check(&header), ERROR_CORRUPT, "is damaged");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flipped_bit_anywhere_is_found),
        cmocka_unit_test(each_part_says_what_is_wrong_with_it),
        cmocka_unit_test(a_cut_anywhere_is_found),
        cmocka_unit_test(what_follows_the_end_is_refused),
        cmocka_unit_test(chunks_in_another_order_are_refused),
        cmocka_unit_test(a_chunk_left_out_or_told_twice_is_refused),
        cmocka_unit_test(a_chunk_of_another_stream_is_refused),
        cmocka_unit_test(the_last_chunk_is_the_one_that_was_sealed_as_such),
        cmocka_unit_test(a_manifest_that_makes_no_sense_is_refused),
        cmocka_unit_test(records_that_cannot_be_are_refused),
        cmocka_unit_test(ranges_that_go_back_are_refused),
        cmocka_unit_test(what_does_not_unpack_is_refused),
        cmocka_unit_test(a_stream_that_ends_with_its_manifest_is_refused),
        cmocka_unit_test(a_cost_that_would_take_all_memory_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
