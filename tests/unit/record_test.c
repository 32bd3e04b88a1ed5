/* Records: nothing malformed, cut off or out of range is taken, and what is encoded comes back. */
#include "tests/unit/group_fixture.h"

#define BLOCKS_MAX RECORD_BLOCKS_MAX

static struct record record, back;
static uint8_t bytes[16384];
static uint64_t seed;

static struct byte_writer writer(void)
{
    return (struct byte_writer){bytes, bytes + sizeof bytes, false};
}

static enum error decode(const uint8_t *end, const uint8_t **next)
{
    /* A copy that ends where the record does, so that a sanitizer sees a read beyond it. */
    size_t size = (size_t)(end - bytes);
    uint8_t *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    struct byte_reader in = {copy, copy + size, false};
    enum error error = record_decode(&in, &back);
    *next = bytes + (in.next - copy);
    free(copy);
    return error;
}

static enum error decode_all(const struct byte_writer *out)
{
    const uint8_t *next;
    assert_false(out->overflow);
    enum error error = decode(out->next, &next);
    assert_true(error || next == out->next);
    return error;
}

static void random_write(void)
{
    memset(&record, 0, sizeof record);
    record.component = 1 + fixture_below(&seed, CID_MAX);
    record.block = fixture_below(&seed, BLOCKS_MAX);
    record.mask = 1 + (uint32_t)fixture_below(&seed, 0xffff);
    record.flags = (unsigned)fixture_below(&seed, 4);
    record.offset = (uint32_t)fixture_below(&seed, 1 << 27);
    record.length = 1 + (uint32_t)fixture_below(&seed, (1 << 13) - 1);
    record.chunks = (unsigned)__builtin_popcount(record.mask);
    record.cid = 1 + fixture_below(&seed, CID_MAX - 16);
    for (unsigned i = 0; i < record.chunks; i++)
        record.fingerprints[i].bytes[i] = (uint8_t)(i + 1);
}

static size_t random_entries(struct map_entry *entries)
{
    size_t count = 1 + fixture_below(&seed, 256);
    for (size_t i = 0; i < count; i++)
        entries[i] = fixture_below(&seed, 3) == 0
                         ? (struct map_entry){0}
                         : entry_make(1 + fixture_below(&seed, CID_MAX), 1 + fixture_below(&seed, SERIAL_MAX),
                                      (uint32_t)fixture_below(&seed, 1 << 27), 1 + (uint32_t)fixture_below(&seed, 8191),
                                      (unsigned)fixture_below(&seed, 4), 4);
    return count;
}

static void random_summary(uint64_t count)
{
    memset(&record, 0, sizeof record);
    record.serial = 1 + fixture_below(&seed, SERIAL_MAX);
    record.first_sequence = fixture_random(&seed);
    record.last_sequence = fixture_random(&seed);
    record.flags = (unsigned)fixture_below(&seed, 2);
    record.count = count;
    for (uint64_t i = 0; i < count; i++) {
        struct summary_range *range = &record.ranges[i];
        range->component = 1 + fixture_below(&seed, CID_MAX);
        range->first = fixture_below(&seed, BLOCKS_MAX);
        range->end = range->first + fixture_below(&seed, BLOCKS_MAX - range->first + 1);
    }
}

static void every_prefix_of_a_record_is_refused(void **state)
{
    (void)state;
    const uint8_t *next;
    struct map_entry entries[256];
    struct component_change change = {.id = 7, .state = COMPONENT_LIVE};
    for (unsigned kind = 0; kind < 5; kind++) {
        struct byte_writer out = writer();
        random_write();
        switch (kind) {
        case 0:
            record.flags = 0;
            record_write_encode(&out, &record);
            break;
        case 1:
            record_reference_encode(&out, 3, 4, entries, random_entries(entries));
            break;
        case 2:
            record_holes_encode(&out, 3, 4, 5);
            break;
        case 3:
            record_component_encode(&out, &change);
            break;
        case 4:
            random_summary(3);
            record_summary_encode(&out, &record);
            break;
        }
        assert_int_equal(decode_all(&out), ERROR_NONE);
        assert_int_equal(decode(bytes, &next), ERROR_NOT_FOUND);
        for (const uint8_t *end = bytes + 1; end < out.next; end++)
            assert_int_equal(decode(end, &next), ERROR_CORRUPT);
    }
}

static void unknown_types_are_refused(void **state)
{
    (void)state;
    for (unsigned type = 0; type < 256; type++) {
        struct byte_writer out = writer();
        write_byte(&out, (uint8_t)type);
        for (unsigned i = 0; i < 200; i++)
            write_byte(&out, 1);
        if (type < RECORD_WRITE || type > RECORD_SUMMARY) {
            const uint8_t *next;
            assert_int_equal(decode(out.next, &next), ERROR_CORRUPT);
        }
    }
}

#define WRITE_REFUSED(...)                                                                                             \
    do {                                                                                                               \
        struct byte_writer out = writer();                                                                             \
        random_write();                                                                                                \
        __VA_ARGS__;                                                                                                   \
        record_write_encode(&out, &record);                                                                            \
        assert_int_equal(decode_all(&out), ERROR_CORRUPT);                                                             \
    } while (0)

static void a_unit_out_of_range_is_refused(void **state)
{
    (void)state;
    WRITE_REFUSED(record.component = 0);
    WRITE_REFUSED(record.component = CID_MAX + 1);
    WRITE_REFUSED(record.block = BLOCKS_MAX);
    WRITE_REFUSED(record.block = UINT64_MAX);
    WRITE_REFUSED(record.mask = 0);
    WRITE_REFUSED(record.mask = 1 << 16);
    WRITE_REFUSED(record.flags = 4);
    WRITE_REFUSED(record.offset = 1 << 27);
    WRITE_REFUSED(record.length = 0);
    WRITE_REFUSED(record.length = 1 << 13);
    WRITE_REFUSED(record.cid = 0);
    WRITE_REFUSED(record.cid = CID_MAX + 1);
    WRITE_REFUSED(record.mask = 3, record.chunks = 2, record.cid = CID_MAX);
    WRITE_REFUSED(record.mask = 3, record.chunks = 2, record.cid = UINT64_MAX);
    WRITE_REFUSED(record.mask = 3, record.chunks = 2, record.cid = UINT64_MAX - 1);
}

static void ranges_that_end_nowhere_are_refused(void **state)
{
    (void)state;
    const uint64_t bad[][3] = {{0, 1, 1}, {CID_MAX + 1, 1, 1}, {1, BLOCKS_MAX, 1},         {1, 0, BLOCKS_MAX + 1},
                               {1, 0, 0}, {1, 5, UINT64_MAX},  {1, UINT64_MAX, UINT64_MAX}};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct byte_writer out = writer();
        record_holes_encode(&out, bad[i][0], bad[i][1], bad[i][2]);
        assert_int_equal(decode_all(&out), ERROR_CORRUPT);
    }
    struct byte_writer out = writer();
    record_holes_encode(&out, CID_MAX, 0, BLOCKS_MAX);
    assert_int_equal(decode_all(&out), ERROR_NONE);
    assert_true(back.count == BLOCKS_MAX && back.block == 0);
}

static void references_with_a_false_length_are_refused(void **state)
{
    (void)state;
    struct map_entry entry = entry_make(5, 6, 7, 8, 0, 1);
    uint8_t runs[32];
    size_t size = entry_runs_encode(&entry, 1, runs, sizeof runs);
    const uint64_t counts[] = {0, 2, 257, UINT64_MAX}, sizes[] = {0, size - 1, size + 1, 1 << 20, UINT64_MAX};
    for (size_t i = 0; i < COUNT_OF(counts) + COUNT_OF(sizes); i++) {
        struct byte_writer out = writer();
        write_byte(&out, RECORD_REFERENCE);
        write_varint(&out, 1);
        write_varint(&out, 2);
        write_varint(&out, i < COUNT_OF(counts) ? counts[i] : 1);
        write_varint(&out, i < COUNT_OF(counts) ? size : sizes[i - COUNT_OF(counts)]);
        write_bytes(&out, runs, size);
        write_byte(&out, 0);
        assert_int_equal(decode_all(&out), ERROR_CORRUPT);
    }
}

static void components_without_id_or_state_are_refused(void **state)
{
    (void)state;
    const struct component_change bad[] = {{.id = 0, .state = 1},
                                           {.id = CID_MAX + 1, .state = 1},
                                           {.id = 1, .state = 0},
                                           {.id = 1, .state = 3},
                                           {.id = 1, .state = 1, .base = CID_MAX + 1}};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct byte_writer out = writer();
        record_component_encode(&out, &bad[i]);
        assert_int_equal(decode_all(&out), ERROR_CORRUPT);
    }
}

#define SUMMARY_REFUSED(...)                                                                                           \
    do {                                                                                                               \
        struct byte_writer out = writer();                                                                             \
        random_summary(2);                                                                                             \
        __VA_ARGS__;                                                                                                   \
        record_summary_encode(&out, &record);                                                                          \
        assert_int_equal(decode_all(&out), ERROR_CORRUPT);                                                             \
    } while (0)

static void summaries_out_of_range_are_refused(void **state)
{
    (void)state;
    SUMMARY_REFUSED(record.serial = 0);
    SUMMARY_REFUSED(record.serial = SERIAL_MAX + 1);
    SUMMARY_REFUSED(record.flags = 2);
    SUMMARY_REFUSED(record.count = 3); /* the third is all zero */
    SUMMARY_REFUSED(record.ranges[1].component = 0);
    SUMMARY_REFUSED(record.ranges[1].component = CID_MAX + 1);
    SUMMARY_REFUSED(record.ranges[1].first = BLOCKS_MAX, record.ranges[1].end = BLOCKS_MAX);
    SUMMARY_REFUSED(record.ranges[1].end = BLOCKS_MAX + 1);
    SUMMARY_REFUSED(record.ranges[1].first = 5, record.ranges[1].end = 4);
    struct byte_writer out = writer();
    const uint64_t fields[] = {1, 2, 3, 0, SUMMARY_RANGES_MAX + 1};
    write_byte(&out, RECORD_SUMMARY);
    for (size_t i = 0; i < COUNT_OF(fields); i++)
        write_varint(&out, fields[i]);
    for (unsigned i = 0; i < 3 * (SUMMARY_RANGES_MAX + 1); i++)
        write_byte(&out, 1);
    assert_int_equal(decode_all(&out), ERROR_CORRUPT);
}

static void summaries_come_back(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        struct byte_writer out = writer();
        random_summary(i % 5 ? fixture_below(&seed, SUMMARY_RANGES_MAX + 1) : SUMMARY_RANGES_MAX);
        record_summary_encode(&out, &record);
        assert_int_equal(decode_all(&out), ERROR_NONE);
        assert_true(back.type == RECORD_SUMMARY && back.serial == record.serial && back.flags == record.flags &&
                    back.first_sequence == record.first_sequence && back.last_sequence == record.last_sequence &&
                    back.count == record.count);
        assert_memory_equal(back.ranges, record.ranges, record.count * sizeof record.ranges[0]);
    }
}

static void units_come_back(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2000; i++) {
        struct byte_writer out = writer();
        random_write();
        record_write_encode(&out, &record);
        assert_true((size_t)(out.next - bytes) <= RECORD_WRITE_BYTES_MAX);
        assert_int_equal(decode_all(&out), ERROR_NONE);
        if (record.flags & RECORD_UNIT_ANONYMOUS)
            memset(record.fingerprints, 0, sizeof record.fingerprints);
        assert_true(back.type == RECORD_WRITE && back.component == record.component && back.block == record.block &&
                    back.mask == record.mask && back.flags == record.flags && back.offset == record.offset &&
                    back.length == record.length && back.cid == record.cid && back.chunks == record.chunks);
        assert_memory_equal(back.fingerprints, record.fingerprints, sizeof record.fingerprints);
    }
}

static void references_come_back(void **state)
{
    (void)state;
    struct map_entry entries[256];
    for (unsigned i = 0; i < 300; i++) {
        struct byte_writer out = writer();
        size_t count = random_entries(entries);
        record_reference_encode(&out, 9, 1000 + i, entries, count);
        assert_true((size_t)(out.next - bytes) <= RECORD_REFERENCE_BYTES_MAX);
        assert_int_equal(decode_all(&out), ERROR_NONE);
        assert_true(back.type == RECORD_REFERENCE && back.component == 9 && back.block == 1000 + i &&
                    back.count == count);
        for (size_t n = 0; n < count; n++)
            assert_true(entry_equal(back.entries[n], entries[n]));
    }
}

static void components_come_back(void **state)
{
    (void)state;
    struct component_change change = {.id = CID_MAX,
                                      .object = uuid_random(),
                                      .domain = uuid_random(),
                                      .base = 12,
                                      .birth = UINT64_MAX,
                                      .state = COMPONENT_DELETED};
    struct byte_writer out = writer();
    record_component_encode(&out, &change);
    assert_true((size_t)(out.next - bytes) <= RECORD_SMALL_BYTES_MAX);
    assert_int_equal(decode_all(&out), ERROR_NONE);
    assert_true(back.change.id == CID_MAX && back.change.base == 12 && back.change.birth == UINT64_MAX &&
                back.change.state == COMPONENT_DELETED && uuid_equal(back.change.object, change.object) &&
                uuid_equal(back.change.domain, change.domain));
}

static bool in_range(void)
{
    bool component = back.component >= 1 && back.component <= CID_MAX;
    switch (back.type) {
    case RECORD_WRITE:
        return component && back.block < BLOCKS_MAX && back.mask >= 1 && back.mask <= 0xffff && back.flags < 4 &&
               back.offset < 1 << 27 && back.length >= 1 && back.length < 1 << 13 && back.cid >= 1 &&
               back.cid <= CID_MAX && back.cid + back.chunks - 1 <= CID_MAX &&
               back.chunks == (unsigned)__builtin_popcount(back.mask);
    case RECORD_REFERENCE:
        return component && back.block < BLOCKS_MAX && back.count >= 1 && back.count <= 256;
    case RECORD_HOLES:
        return component && back.count >= 1 && back.block + back.count <= BLOCKS_MAX;
    case RECORD_COMPONENT:
        return back.change.id >= 1 && back.change.id <= CID_MAX;
    case RECORD_SUMMARY:
        for (uint64_t i = 0; i < back.count && i < SUMMARY_RANGES_MAX; i++)
            if (back.ranges[i].component < 1 || back.ranges[i].component > CID_MAX ||
                back.ranges[i].first > back.ranges[i].end || back.ranges[i].end > BLOCKS_MAX)
                return false;
        return back.count <= SUMMARY_RANGES_MAX;
    default:
        return false;
    }
}

static void garbage_is_never_taken_out_of_range(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 200000; round++) {
        const uint8_t *next;
        size_t size = 1 + fixture_below(&seed, 120);
        bytes[0] = (uint8_t)(1 + fixture_below(&seed, 5));
        for (size_t i = 1; i < size; i++) /* small numbers often, so that some get far */
            bytes[i] = (uint8_t)(fixture_random(&seed) >> fixture_below(&seed, 60));
        if (decode(bytes + size, &next) == ERROR_NONE)
            assert_true(in_range());
    }
}

static int setup(void **state)
{
    (void)state;
    seed = 42;
    return 0;
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_prefix_of_a_record_is_refused),
        TEST(unknown_types_are_refused),
        TEST(a_unit_out_of_range_is_refused),
        TEST(ranges_that_end_nowhere_are_refused),
        TEST(references_with_a_false_length_are_refused),
        TEST(components_without_id_or_state_are_refused),
        TEST(summaries_out_of_range_are_refused),
        TEST(summaries_come_back),
        TEST(units_come_back),
        TEST(references_come_back),
        TEST(components_come_back),
        TEST(garbage_is_never_taken_out_of_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
