/* Streams as they are written, read and gone on with; keys first. What is damaged is in stream_damage_test.c. */
#include "tests/unit/stream_fixture.h"

static const struct stream_secret *const secrets[] = {&no_secret, &passphrase_secret, &key_secret};

static void a_wrong_secret_opens_nothing(void **context)
{
    static const uint8_t other_key[KEY_SIZE] = {9};
    static const struct stream_secret wrong = {.passphrase = "wrong", .passphrase_size = 5, .key = other_key};
    (void)context;
    for (unsigned i = 1; i < COUNT_OF(secrets); i++) {
        struct bytes bytes = stream_make(secrets[i], true);
        assert_refused(stream_read(&bytes, &wrong, NULL, NULL), ERROR_WRONG_KEY, "is not that of the stream");
        assert_refused(stream_read(&bytes, &no_secret, NULL, NULL), ERROR_KEY_ABSENT, "is encrypted under a");
        free(bytes.data);
    }
}

/* Whoever stores an encrypted stream could put one of his own in its place, which needs no secret. */
static void a_stream_without_a_secret_does_not_stand_in_for_one_with(void **context)
{
    (void)context;
    struct bytes bytes = stream_make(&no_secret, true);
    for (unsigned i = 1; i < COUNT_OF(secrets); i++)
        assert_refused(stream_read(&bytes, secrets[i], NULL, NULL), ERROR_WRONG_KEY, "nothing tells who wrote it");
    free(bytes.data);
}

static bool holds(const struct bytes *bytes, const void *part, size_t size)
{
    return memmem(bytes->data, bytes->size, part, size) != NULL;
}

static void what_is_encrypted_shows_neither_names_nor_data(void **context)
{
    uint8_t *disk = malloc(DISK_SIZE);
    (void)context;
    disk_fill(disk);
    for (unsigned i = 0; i < COUNT_OF(secrets); i++) {
        struct bytes bytes = stream_make(secrets[i], true);
        assert_int_equal(holds(&bytes, disk + 5000, 64), i == 0);
        assert_int_equal(holds(&bytes, "s2", 3) && holds(&bytes, "disk", 5), i == 0);
        free(bytes.data);
    }
    free(disk);
}

static void two_streams_of_one_disk_have_nothing_in_common(void **context)
{
    (void)context;
    struct bytes one = stream_make(&key_secret, true), other = stream_make(&key_secret, true);
    assert_int_equal(one.size, other.size);
    for (size_t at = 512; at + 64 <= one.size; at += 50000)
        assert_false(holds(&other, one.data + at + 32, 32));
    free(one.data);
    free(other.data);
}

static void what_was_written_is_read(void **context)
{
    uint8_t *disk = malloc(DISK_SIZE), *copy = malloc(DISK_SIZE);
    (void)context;
    disk_fill(disk);
    for (unsigned i = 0; i < 2 * COUNT_OF(secrets); i++) {
        struct stream_reader *reader;
        struct bytes bytes = stream_make(secrets[i / 2], i % 2);
        memset(copy, 0, DISK_SIZE);
        memset(copy + DISK_SIZE - 8192, 'z', 8192);
        assert_fine(stream_read(&bytes, secrets[i / 2], copy, &reader));
        assert_memory_equal(copy, disk, DISK_SIZE);
        assert_int_equal(stream_reader_bytes(reader), bytes.size);
        assert_int_equal(stream_reader_data_bytes(reader), 2301952 + 4096 + (1u << 20));
        assert_int_equal(stream_reader_zero_bytes(reader), 8192);
        assert_in_range(bytes.size, 2300000, 2500000); /* what packs is packed */
        stream_reader_destroy(reader);
        free(bytes.data);
    }
    free(disk);
    free(copy);
}

static void the_manifest_comes_back_as_it_was(void **context)
{
    (void)context;
    for (int full = 0; full < 2; full++) {
        struct bytes bytes = stream_make(&no_secret, full);
        struct stream_manifest wanted = manifest_make(full);
        const struct stream_manifest *manifest;
        struct stream_reader *reader;
        assert_fine(stream_reader_create(bytes_get, &bytes, &reader));
        assert_int_equal(stream_reader_protection(reader), STREAM_PLAIN);
        assert_fine(stream_reader_unlock(reader, &no_secret, &manifest));
        assert_memory_equal(manifest, &wanted, sizeof wanted);
        stream_reader_destroy(reader);
        free(bytes.data);
    }
}

static struct uuid import_of(struct bytes *bytes, const struct stream_secret *secret)
{
    struct stream_reader *reader;
    (void)!stream_read(bytes, secret, NULL, &reader);
    struct uuid import = stream_reader_import(reader);
    stream_reader_destroy(reader);
    return import;
}

/* An import is found again by it: also where the stream was gone on with, not where another only claims its UUID. */
static void what_tells_an_import_is_of_one_stream(void **context)
{
    struct bytes bytes = stream_make(&key_secret, true);
    struct stream_header_format headers[] = {{.stream = {{7}}}, {.stream = {{7}}, .digest = {1}}};
    struct stream_manifest_format manifests[] = {{.size = le64_make(4096)}, {.size = le64_make(8192)}};
    struct uuid tells[4];
    (void)context;
    struct uuid whole = import_of(&bytes, &key_secret);
    bytes.size = 1300000;
    struct uuid cut = import_of(&bytes, &key_secret);
    assert_true(uuid_equal(whole, cut));
    assert_fine(stream_import_derive(key_bytes, &headers[0], &manifests[0], &tells[0]));
    assert_fine(stream_import_derive(kek_public, &headers[0], &manifests[0], &tells[1]));
    assert_fine(stream_import_derive(key_bytes, &headers[1], &manifests[0], &tells[2]));
    assert_fine(stream_import_derive(key_bytes, &headers[0], &manifests[1], &tells[3]));
    for (unsigned i = 1; i < COUNT_OF(tells); i++)
        assert_false(uuid_equal(tells[0], tells[i]));
    free(bytes.data);
}

static void a_stream_of_nothing_is_a_stream(void **context)
{
    struct bytes bytes = bytes_make();
    struct stream_manifest manifest = manifest_make(false);
    struct stream_writer *writer;
    (void)context;
    assert_fine(stream_writer_create(&no_secret, 0, &manifest, bytes_put, &bytes, &writer));
    assert_fine(stream_writer_finish(writer));
    stream_writer_destroy(writer);
    assert_fine(stream_read(&bytes, &no_secret, NULL, NULL));
    free(bytes.data);
}

static void an_output_that_takes_no_more_ends_the_stream(void **context)
{
    struct stream_manifest manifest = manifest_make(true);
    struct stream_writer *writer;
    uint8_t *disk = malloc(DISK_SIZE);
    (void)context;
    disk_fill(disk);
    struct bytes bytes = bytes_make();
    bytes.room = 100;
    assert_refused(stream_writer_create(&no_secret, 0, &manifest, bytes_put, &bytes, &writer), ERROR_NO_SPACE, "no room");
    bytes.size = 0;
    bytes.room = 1500000;
    assert_fine(stream_writer_create(&no_secret, 0, &manifest, bytes_put, &bytes, &writer));
    assert_refused(ranges_write(writer, disk, 0), ERROR_NO_SPACE, "no room");
    /* Who went on all the same would not seal another content under the number of what did not get out. */
    struct stream_chunk_format head;
    size_t end = bytes.size;
    bytes.room = BYTES_MAX;
    assert_fine(stream_writer_finish(writer));
    memcpy(&head, bytes.data + end, sizeof head);
    assert_int_equal(le64_get(head.number), 3); /* manifest, a chunk, the one that is lost, this one */
    stream_writer_destroy(writer);
    free(bytes.data);
    free(disk);
}

/* An export that is cut anywhere, twice, goes on behind its last whole chunk, and is the disk in the end. */
static void a_cut_export_goes_on_behind_its_last_whole_chunk(void **context)
{
    uint8_t *disk = malloc(DISK_SIZE), *copy = malloc(DISK_SIZE);
    (void)context;
    disk_fill(disk);
    for (unsigned i = 0; i < COUNT_OF(secrets); i++) {
        struct bytes bytes = stream_make(secrets[i], true);
        static const size_t cuts[] = {2000000, 1200000};
        for (size_t c = 0; c < COUNT_OF(cuts); c++) {
            struct stream_reader *reader;
            struct stream_writer *writer;
            bytes.size = cuts[c];
            assert_refused(stream_read(&bytes, secrets[i], NULL, &reader), ERROR_CLOSED, "is cut off at byte");
            bytes.size = stream_reader_bytes(reader);
            assert_in_range(bytes.size, 1, cuts[c]);
            assert_fine(stream_writer_resume(reader, bytes_put, &bytes, &writer));
            assert_fine(ranges_write(writer, disk, stream_reader_next_offset(reader)));
            stream_writer_destroy(writer);
            stream_reader_destroy(reader);
        }
        memset(copy, 0, DISK_SIZE);
        assert_fine(stream_read(&bytes, secrets[i], copy, NULL));
        assert_memory_equal(copy, disk, DISK_SIZE);
        free(bytes.data);
    }
    free(disk);
    free(copy);
}

/* Two attempts that went on from the same place wrote the same chunks: nothing of them is equal, and none stands for the
 * other's. */
static void sessions_do_not_mix(void **context)
{
    struct bytes attempts[2] = {bytes_make(), bytes_make()};
    uint8_t *disk = malloc(DISK_SIZE);
    size_t common = 0;
    (void)context;
    disk_fill(disk);
    struct bytes bytes = stream_make(&key_secret, true);
    for (unsigned i = 0; i < 2; i++) {
        struct stream_reader *reader;
        struct stream_writer *writer;
        bytes.size = 1300000;
        assert_refused(stream_read(&bytes, &key_secret, NULL, &reader), ERROR_CLOSED, "is cut off");
        common = stream_reader_bytes(reader);
        assert_fine(bytes_put(&attempts[i], bytes.data, common));
        assert_fine(stream_writer_resume(reader, bytes_put, &attempts[i], &writer));
        assert_fine(ranges_write(writer, disk, stream_reader_next_offset(reader)));
        stream_writer_destroy(writer);
        stream_reader_destroy(reader);
        assert_fine(stream_read(&attempts[i], &key_secret, NULL, NULL));
    }
    size_t session = common + sizeof(struct stream_chunk_format) + STREAM_SALT_SIZE;
    assert_memory_not_equal(attempts[0].data + session + 32, attempts[1].data + session + 32, 1000);
    memcpy(attempts[0].data + session, attempts[1].data + session, attempts[1].size - session);
    assert_refused(stream_read(&attempts[0], &key_secret, NULL, NULL), ERROR_CORRUPT, "or of another stream");
    for (unsigned i = 0; i < 2; i++)
        free(attempts[i].data);
    free(bytes.data);
    free(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_secret_opens_nothing),
        cmocka_unit_test(a_stream_without_a_secret_does_not_stand_in_for_one_with),
        cmocka_unit_test(what_is_encrypted_shows_neither_names_nor_data),
        cmocka_unit_test(two_streams_of_one_disk_have_nothing_in_common),
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(the_manifest_comes_back_as_it_was),
        cmocka_unit_test(what_tells_an_import_is_of_one_stream),
        cmocka_unit_test(a_stream_of_nothing_is_a_stream),
        cmocka_unit_test(an_output_that_takes_no_more_ends_the_stream),
        cmocka_unit_test(a_cut_export_goes_on_behind_its_last_whole_chunk),
        cmocka_unit_test(sessions_do_not_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
