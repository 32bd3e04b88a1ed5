/* `coffer object export`, `import` and `verify`: what needs no data path. The whole of it is tests/system's. */
#include "tests/unit/stream_fixture.h"
#include "tests/unit/tool_fixture.h"
#include "tools/stream_file.h"

static void stream_write(struct fixture *fixture, const struct stream_secret *secret, size_t left_out)
{
    struct bytes bytes = stream_make(secret, true);
    FILE *file = fopen(fixture->secret, "wb");
    assert_int_equal(fwrite(bytes.data, 1, bytes.size - left_out, file), bytes.size - left_out);
    fclose(file);
    chmod(fixture->secret, 0600);
    free(bytes.data);
}

static void words_that_export_nothing_are_refused(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    fake_add(fixture->pool, "a", 1 << 20);
    assert_int_equal(RUN("object", "snapshot", "a", "--name", "s"), EXIT_DONE);
    assert_int_equal(RUN("object", "snapshot", "a", "--name", "t"), EXIT_DONE);
    assert_int_equal(RUN("object", "export"), EXIT_USAGE);
    assert_int_equal(RUN("object", "export", "a"), EXIT_USAGE);
    assert_said(fixture->err, "say which snapshot: NAME@SNAPSHOT");
    assert_int_equal(RUN("object", "export", "a@", "--output", "/nowhere/x"), EXIT_USAGE);
    assert_int_equal(RUN("object", "export", "a@u", "--output", "/nowhere/x"), EXIT_FAILED);
    assert_said(fixture->err, "there is no snapshot 'a@u'");
    assert_int_equal(RUN("object", "export", "a@s", "--since", "t", "--output", "/nowhere/x"), EXIT_USAGE);
    assert_said(fixture->err, "'a@t' is not older than 'a@s'");
    assert_int_equal(RUN("object", "export", "a@t", "--since", "b@s", "--output", "/nowhere/x"), EXIT_USAGE);
    assert_said(fixture->err, "of another object");
    assert_int_equal(RUN("--json", "object", "export", "a@s"), EXIT_USAGE);
    assert_said(fixture->err, "say --output FILE");
    assert_int_equal(RUN("object", "export", "a@s", "--key-file", "k", "--passphrase-file", "p"), EXIT_USAGE);
    assert_said(fixture->err, "a stream has one of them");
}

static void files_that_are_no_stream_are_refused(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(RUN("object", "verify", "/nowhere/x"), EXIT_FAILED);
    write_file(fixture->secret, "");
    assert_int_equal(RUN("object", "verify", fixture->secret), EXIT_FAILED);
    assert_said(fixture->err, "is cut off at byte 0");
    write_file(fixture->secret, "COFF");
    assert_int_equal(RUN("object", "verify", fixture->secret), EXIT_FAILED);
    assert_said(fixture->err, "is cut off at byte 4");
    write_file(fixture->secret, "hello");
    assert_int_equal(RUN("object", "verify", fixture->secret), EXIT_USAGE);
    assert_said(fixture->err, "no stream that");
    write_file(fixture->secret, "#!/bin/sh\n");
    assert_int_equal(RUN("object", "verify", fixture->secret), EXIT_USAGE);
    assert_said(fixture->err, "no stream that");
    assert_int_equal(RUN("object", "verify", "-", "--passphrase-file", "-"), EXIT_USAGE);
    assert_said(fixture->err, "standard input is the stream");
    assert_int_equal(RUN("object", "import", fixture->secret), EXIT_USAGE);
    stream_write(fixture, &no_secret, 1);
    assert_int_equal(RUN("--json", "object", "verify", fixture->secret), EXIT_FAILED);
    assert_said(fixture->err, "is cut off at byte");
    json_t *json = output(fixture);
    assert_string_equal(json_string_value(json_object_get(json_object_get(json, "error"), "name")), "CORRUPT");
    json_decref(json);
}

static unsigned syncs;

int __wrap_fsync(int descriptor);
int __wrap_fsync(int descriptor)
{
    (void)descriptor;
    syncs++;
    return 0;
}

/* An export that was killed may have made the file and not come to sync its directory. */
static void a_file_that_was_there_is_synced_with_its_directory(void **state)
{
    struct fixture *fixture = *state;
    struct stream_file file;
    write_file(fixture->secret, "");
    for (int again = 1; again >= 0; again--) {
        assert_fine(stream_file_create(fixture->secret, again, &file));
        syncs = 0;
        assert_fine(stream_file_sync(&file));
        assert_int_equal(syncs, 2);
        stream_file_close(&file);
        unlink(fixture->secret);
    }
}

static void a_stream_is_verified_without_a_pool(void **state)
{
    struct fixture *fixture = *state;
    stream_write(fixture, &no_secret, 0);
    assert_int_equal(RUN("object", "verify", fixture->secret), EXIT_DONE);
    assert_said(fixture->out, "'disk@s2', 6 MiB, made 2023-11-1");
    assert_said(fixture->out, "nothing tells who wrote it");
    assert_int_equal(RUN("--json", "object", "verify", fixture->secret), EXIT_DONE);
    json_t *json = output(fixture);
    assert_int_equal(json_integer_value(json_object_get(json, "zero_bytes")), 8192);
    assert_string_equal(json_string_value(json_object_get(json, "encryption")), "none");
    assert_null(json_object_get(json, "base"));
    json_decref(json);
}

static void a_key_file_has_32_bytes_that_are_nobody_elses(void **state)
{
    struct fixture *fixture = *state;
    stream_write(fixture, &key_secret, 0);
    assert_int_equal(RUN("object", "verify", fixture->secret), EXIT_REFUSED);
    assert_said(fixture->err, "say --key-file");
    write_file(fixture->conf, "0102030000000000000000000000000000000000000000000000000000000000\n");
    assert_int_equal(RUN("object", "verify", fixture->secret, "--key-file", fixture->conf), EXIT_DONE);
    write_file(fixture->conf, "010203000000000000000000000000000000000000000000000000000000000g\n");
    assert_int_equal(RUN("object", "verify", fixture->secret, "--key-file", fixture->conf), EXIT_USAGE);
    assert_said(fixture->err, "is no key");
    write_file(fixture->conf, "0202030000000000000000000000000000000000000000000000000000000000");
    assert_int_equal(RUN("object", "verify", fixture->secret, "--key-file", fixture->conf), EXIT_REFUSED);
    assert_said(fixture->err, "is not that of the stream");
    chmod(fixture->conf, 0644);
    assert_int_equal(RUN("object", "verify", fixture->secret, "--key-file", fixture->conf), EXIT_REFUSED);
}

static void a_target_that_is_there_is_told_before_anything_is_written(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    fake_add(fixture->pool, "disk", 1 << 20);
    stream_write(fixture, &no_secret, 0);
    assert_int_equal(RUN("object", "import", fixture->secret), EXIT_FAILED);
    assert_said(fixture->err, "'disk' exists already; NAME and --snapshot NAME give what is imported other names");
    assert_said(fixture->err, "The stream is not encrypted: nothing tells who wrote it.");
    assert_int_equal(RUN("object", "import", fixture->secret, "other"), EXIT_REFUSED); /* nobody serves NBD here */
    assert_said(fixture->err, "'other' is as it was");
    assert_said(fixture->err, "object delete import-x --now` gives it up");
    assert_int_equal(fixture->pool->imports_finished, 0);
}

/* Its own may be one that is there, or that no snapshot may have. */
static void a_snapshot_is_imported_by_another_name(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    stream_write(fixture, &no_secret, 0);
    assert_int_equal(RUN("object", "import", fixture->secret, "other"), EXIT_REFUSED); /* nobody serves NBD here */
    assert_string_equal(fixture->pool->import_snapshot, "s2");
    assert_int_equal(RUN("object", "import", fixture->secret, "other", "--snapshot", "monday"), EXIT_REFUSED);
    assert_string_equal(fixture->pool->import_snapshot, "monday");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(words_that_export_nothing_are_refused),
        TEST(files_that_are_no_stream_are_refused),
        TEST(a_file_that_was_there_is_synced_with_its_directory),
        TEST(a_stream_is_verified_without_a_pool),
        TEST(a_key_file_has_32_bytes_that_are_nobody_elses),
        TEST(a_target_that_is_there_is_told_before_anything_is_written),
        TEST(a_snapshot_is_imported_by_another_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
