/* docs/stream.md and stream/format.h say the same. */
#include "tests/unit/document_tables.h"

#include "crypto/provider.h"
#include "stream/format.h"

static const struct expected expectations[] = {
    STRUCT(stream_header_format),
    FIELD(stream_header_format, magic),
    FIELD(stream_header_format, version),
    FIELD(stream_header_format, features),
    FIELD(stream_header_format, protection),
    FIELD(stream_header_format, scrypt_log2_n),
    FIELD(stream_header_format, reserved0),
    FIELD(stream_header_format, stream),
    FIELD(stream_header_format, salt),
    FIELD(stream_header_format, kcv),
    FIELD(stream_header_format, reserved1),
    FIELD(stream_header_format, digest),
    STRUCT(stream_chunk_format),
    FIELD(stream_chunk_format, kind),
    FIELD(stream_chunk_format, flags),
    FIELD(stream_chunk_format, reserved),
    FIELD(stream_chunk_format, size),
    FIELD(stream_chunk_format, number),
    FIELD(stream_chunk_format, tag),
    STRUCT(stream_manifest_format),
    FIELD(stream_manifest_format, object),
    FIELD(stream_manifest_format, snapshot),
    FIELD(stream_manifest_format, base),
    FIELD(stream_manifest_format, size),
    FIELD(stream_manifest_format, base_size),
    FIELD(stream_manifest_format, created),
    FIELD(stream_manifest_format, object_name),
    FIELD(stream_manifest_format, snapshot_name),
    FIELD(stream_manifest_format, base_name),
    STRUCT(stream_record_format),
    FIELD(stream_record_format, kind),
    FIELD(stream_record_format, reserved),
    FIELD(stream_record_format, offset),
    FIELD(stream_record_format, length),
    STRUCT(stream_bundle_format),
    FIELD(stream_bundle_format, version),
    FIELD(stream_bundle_format, item_count),
    FIELD(stream_bundle_format, pool),
    FIELD(stream_bundle_format, made),
    STRUCT(stream_item_format),
    FIELD(stream_item_format, kind),
    FIELD(stream_item_format, reserved),
    FIELD(stream_item_format, size),
    FIELD(stream_item_format, name),
};

static void every_field_is_where_the_document_says(void **state)
{
    (void)state;
    assert_fields_are_told(expectations, COUNT_OF(expectations));
}

static void every_table_of_the_document_is_of_a_struct(void **state)
{
    (void)state;
    assert_tables_are_of_structs(expectations, COUNT_OF(expectations));
}

/* The numbers that its sentences name. */
static void limits_are_those_that_the_document_says(void **state)
{
    (void)state;
    assert_int_equal(STREAM_CHUNK_MAX, 1048576);
    assert_true(document_says("of the content as it follows: 1 to 1048576"));
    assert_int_equal(SCRYPT_LOG2_N_FLOOR, 14);
    assert_int_equal(SCRYPT_LOG2_N_CEILING, 22);
    assert_true(document_says("of a passphrase, 14 to 22; else 0"));
    assert_int_equal(STREAM_BLOCK, 4096);
    assert_true(document_says("multiples of 4096, rise"));
}

static void the_version_is_in_the_history(void **state)
{
    (void)state;
    assert_version_is_told("## 7. Version history", STREAM_VERSION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_is_where_the_document_says),
        cmocka_unit_test(every_table_of_the_document_is_of_a_struct),
        cmocka_unit_test(limits_are_those_that_the_document_says),
        cmocka_unit_test(the_version_is_in_the_history),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
