/* Items by address: what does not stand where it was asked for, or was changed, is an error of that item alone. */
#include "tests/unit/group_fixture.h"

static void flush(struct fixture *f)
{
    assert_int_equal(group_sync(f->group), ERROR_NONE);
}

static enum error read_entry(struct fixture *f, struct map_entry entry)
{
    uint8_t bytes[CHUNK_SIZE];
    struct chunk_read read = {.entry = entry, .out = bytes};
    return chunks_read(f->group, &read, 1);
}

struct outcome {
    enum error errors[300];
    uint32_t sizes[300];
    struct item_read *first;
    unsigned calls;
};

static void note(struct item_read *read, void *context)
{
    struct outcome *outcome = context;
    outcome->errors[read - outcome->first] = read->error;
    outcome->sizes[read - outcome->first] = read->error ? 0 : read->stored_size;
    outcome->calls++;
}

static void places_that_do_not_exist_are_errors(void **state)
{
    struct fixture *f = *state;
    struct map_entry entry = fixture_write(f, COMPONENT, 1, 1);
    flush(f);
    uint64_t cid = entry_cid(entry), serial = entry_serial(entry);
    uint32_t offset = entry_offset(entry), length = entry_length(entry);
    const struct map_entry bad[] = {
        entry_make(cid, serial + 1000, offset, length, 0, 1), /* no such segment */
        entry_make(cid, serial, 0, length, 0, 1),             /* in the header */
        entry_make(cid, serial, offset + 1, length, 0, 1),    /* between items */
        entry_make(cid, serial, offset, 2, 0, 1),             /* cut short */
        entry_make(cid, serial, (1 << 27) - 1, length, 0, 1), /* behind the segment */
        entry_make(cid, serial, (4 << 20) / 16 - 1, length, 0, 1),
        entry_make(cid + 1, serial, offset, length, 0, 1), /* another chunk */
        entry_make(cid, serial, offset, length, 0, 2),     /* of another unit */
        entry_make(cid, serial, offset, length, 1, 2),
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        fixture_forget_cached(f);
        assert_int_equal(read_entry(f, bad[i]), ERROR_CORRUPT);
    }
    assert_int_equal(read_entry(f, entry), ERROR_NONE);
}

static void what_a_fenced_group_has_not_written_is_no_damage(void **state)
{
    struct fixture *f = *state;
    struct map_entry entry = fixture_write(f, COMPONENT, 1, 1);
    struct map_entry unwritten = entry_make(entry_cid(entry), entry_serial(entry), entry_offset(entry) + 1, 1, 0, 1);
    flush(f);
    assert_int_equal(read_entry(f, unwritten), ERROR_CORRUPT);
    uint64_t told = atomic_load(&f->group->totals.read_errors);
    assert_int_equal(group_fence(f->group, ERROR_NO_MEMORY), ERROR_FENCED);
    assert_int_equal(read_entry(f, unwritten), ERROR_FENCED);
    assert_int_equal(atomic_load(&f->group->totals.read_errors), told);
}

static void one_changed_bit_is_one_damaged_unit(void **state)
{
    struct fixture *f = *state;
    struct map_entry entries[3];
    for (unsigned i = 0; i < 3; i++)
        entries[i] = fixture_write(f, COMPONENT, i, i + 1);
    flush(f);
    uint64_t at = fixture_offset(f, entry_serial(entries[1]), entry_offset(entries[1]));
    uint64_t end = (uint64_t)entry_length(entries[1]) * GRAIN_SIZE - GRAIN_SIZE;
    const uint64_t spots[] = {0, 17, 25, 33, 40, end / 2, end - 1};
    for (size_t i = 0; i < COUNT_OF(spots); i++) {
        fixture_flip(f, 0, at + spots[i]);
        fixture_forget_cached(f);
        /* XTS spreads a bit over 16 bytes, which may be a neighbour's too; the middle one is damaged in any case. */
        assert_int_equal(read_entry(f, entries[1]), ERROR_CORRUPT);
        fixture_flip(f, 0, at + spots[i]);
        fixture_forget_cached(f);
        for (unsigned n = 0; n < 3; n++)
            assert_int_equal(read_entry(f, entries[n]), ERROR_NONE);
    }
    assert_int_equal(atomic_load(&f->group->totals.read_errors), COUNT_OF(spots));
}

static void a_kind_that_was_not_asked_for_is_refused(void **state)
{
    struct fixture *f = *state;
    struct map_entry entry = fixture_write(f, COMPONENT, 1, 1);
    flush(f);
    for (unsigned kind = ITEM_APPEND; kind <= ITEM_PAGE; kind++) {
        struct outcome outcome = {0};
        struct item_read read = {.serial = entry_serial(entry),
                                 .offset = entry_offset(entry),
                                 .length = entry_length(entry),
                                 .kind = (enum item_kind)kind};
        outcome.first = &read;
        items_read(f->group, &read, 1, note, &outcome);
        assert_int_equal(outcome.errors[0], kind == ITEM_UNIT ? ERROR_NONE : ERROR_CORRUPT);
    }
}

static void impossible_headers_have_no_descriptors(void **state)
{
    (void)state;
    struct item_format header = {.kind = ITEM_UNIT};
    assert_int_equal(item_descriptors_size(&header), 0);
    header.count = UNIT_CHUNKS_MAX + 1;
    assert_int_equal(item_descriptors_size(&header), 0);
    header.count = UNIT_CHUNKS_MAX;
    assert_int_equal(item_descriptors_size(&header), 80);
    header.kind = ITEM_APPEND;
    assert_int_equal(item_descriptors_size(&header), 0);
    header.kind = 77;
    assert_int_equal(item_descriptors_size(&header), 0);
}

static void an_item_larger_than_any_is_an_error_and_the_others_are_read(void **state)
{
    struct fixture *f = *state;
    struct map_entry entry = fixture_write(f, COMPONENT, 1, 1);
    struct item_read reads[300];
    struct outcome outcome = {.first = reads};
    flush(f);
    for (unsigned i = 0; i < COUNT_OF(reads); i++)
        reads[i] = (struct item_read){.serial = entry_serial(entry),
                                      .offset = entry_offset(entry),
                                      .length = i % 50 == 7 ? UINT32_MAX : entry_length(entry),
                                      .kind = ITEM_UNIT};
    items_read(f->group, reads, COUNT_OF(reads), note, &outcome);
    assert_int_equal(outcome.calls, COUNT_OF(reads));
    for (unsigned i = 0; i < COUNT_OF(reads); i++)
        assert_int_equal(outcome.errors[i] == ERROR_NONE, i % 50 != 7);
}

static void damage_is_told_per_block_of_a_batch(void **state)
{
    struct fixture *f = *state;
    struct chunk_read reads[600];
    uint8_t *bytes = malloc(COUNT_OF(reads) * CHUNK_SIZE), wanted[CHUNK_SIZE];
    assert_non_null(bytes);
    for (unsigned i = 0; i < COUNT_OF(reads); i += 4) {
        struct map_entry entries[4];
        uint64_t seeds[4] = {i + 1, i + 2, i + 3, i + 4};
        assert_int_equal(fixture_try_write(f, COMPONENT, i, seeds, 4, entries), ERROR_NONE);
        for (unsigned n = 0; n < 4; n++)
            reads[i + n] = (struct chunk_read){.entry = entries[n], .out = bytes + (i + n) * CHUNK_SIZE};
    }
    flush(f);
    struct map_entry damaged = reads[100].entry;
    fixture_flip(f, 0, fixture_offset(f, entry_serial(damaged), entry_offset(damaged)) + 2000);
    assert_int_equal(chunks_read(f->group, reads, COUNT_OF(reads)), ERROR_CORRUPT);
    for (unsigned i = 0; i < COUNT_OF(reads); i++) {
        assert_int_equal(reads[i].error, i / 4 == 25 ? ERROR_CORRUPT : ERROR_NONE);
        fixture_chunk(i + 1, wanted);
        if (i / 4 != 25)
            assert_memory_equal(reads[i].out, wanted, CHUNK_SIZE);
    }
    free(bytes);
}

static void a_plaintext_pool_reads_what_it_wrote(void **state)
{
    struct fixture *f = *state;
    struct map_entry entry = fixture_write(f, COMPONENT, 1, 1);
    flush(f);
    fixture_expect(f, COMPONENT, 1, 1);
    fixture_forget_cached(f);
    fixture_flip(f, 0, fixture_offset(f, entry_serial(entry), entry_offset(entry)) + 100);
    assert_int_equal(read_entry(f, entry), ERROR_CORRUPT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(places_that_do_not_exist_are_errors),
        TEST(what_a_fenced_group_has_not_written_is_no_damage),
        TEST(one_changed_bit_is_one_damaged_unit),
        TEST(a_kind_that_was_not_asked_for_is_refused),
        cmocka_unit_test(impossible_headers_have_no_descriptors),
        TEST(an_item_larger_than_any_is_an_error_and_the_others_are_read),
        TEST(damage_is_told_per_block_of_a_batch),
        cmocka_unit_test_setup_teardown(a_plaintext_pool_reads_what_it_wrote, fixture_setup_plaintext,
                                        fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
