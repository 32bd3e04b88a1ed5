/*
 * The end of the journal is read a second time: what was changed on its way from the disk, and not on it, ends nothing. An open
 * that took it for the end would record that, and what was flushed would be gone for good.
 */
#include <pthread.h>

#include "engine/device/kind.h"
#include "engine/group/replay_window.h"
#include "tests/unit/group_fixture.h"

#define EVER 200 /* readings */

enum error __real_bulk_tag_check(const struct segment_keys *keys, const uint8_t nonce[TAG_NONCE_SIZE],
                                 const struct bulk_part *parts, size_t count, const uint8_t tag[TAG_SIZE]) CHECKED;
enum error __wrap_bulk_tag_check(const struct segment_keys *keys, const uint8_t nonce[TAG_NONCE_SIZE],
                                 const struct bulk_part *parts, size_t count, const uint8_t tag[TAG_SIZE]) CHECKED;
static _Atomic size_t no_memory_for; /* tags over so many parts: an append's has two, a unit's one; 0: there is */

enum error __wrap_bulk_tag_check(const struct segment_keys *keys, const uint8_t nonce[TAG_NONCE_SIZE],
                                 const struct bulk_part *parts, size_t count, const uint8_t tag[TAG_SIZE])
{
    return count == no_memory_for ? ERROR_NO_MEMORY : __real_bulk_tag_check(keys, nonce, parts, count, tag);
}

static struct {
    struct device_operations operations;
    const struct device_operations *real;
    uint64_t offset;     /* of the byte that changes on its way */
    unsigned skip, left; /* so many of its readings are right, then so many wrong */
    bool differently;    /* each of them */
    unsigned count;      /* those that were wrong */
    unsigned readings;   /* all of them */
    pthread_mutex_t mutex; /* of what changes: replay's reader and who opens read at once */
} lie = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void lie_tell(const struct device_io *io)
{
    if (io->offset > lie.offset || lie.offset - io->offset >= io->size)
        return;
    pthread_mutex_lock(&lie.mutex);
    lie.readings++;
    if (lie.skip > 0) {
        lie.skip--;
    } else if (lie.left > 0) {
        lie.left--;
        ((uint8_t *)io->buffer)[lie.offset - io->offset] ^= (uint8_t)(lie.differently ? 1 + lie.count : 1);
        lie.count++;
    }
    pthread_mutex_unlock(&lie.mutex);
}

static void lying_submit(struct device_io **ios, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        lie.real->submit(&ios[i], 1);
        if (ios[i]->operation != DEVICE_READ)
            continue;
        lie.real->wait(ios[i]);
        lie_tell(ios[i]);
    }
}

static enum error open_lying(struct fixture *f, uint32_t index, struct device **device)
{
    TRY(device_open_file(f->paths[index], 0, device));
    lie.real = (*device)->operations;
    lie.operations = *lie.real;
    lie.operations.submit = lying_submit;
    lie.operations.run = NULL;
    (*device)->operations = &lie.operations;
    return ERROR_NONE;
}

static void lie_begin(struct fixture *f, uint64_t offset, unsigned skip, unsigned times)
{
    f->open_device = open_lying;
    lie.offset = offset;
    lie.skip = skip;
    lie.left = times;
    lie.differently = false;
    lie.count = lie.readings = 0;
}

static void flush(struct fixture *f)
{
    assert_int_equal(group_sync(f->group), ERROR_NONE);
}

static uint64_t offset_of(struct fixture *f, struct map_entry entry)
{
    return fixture_offset(f, entry_serial(entry), entry_offset(entry));
}

/* Where the append begins that lies across a block of a segment. */
static uint64_t append_across(struct fixture *f, uint64_t serial, uint32_t middle)
{
    AUTO_FREE uint8_t *bytes = memory_aligned(BLOCK_SIZE);
    const struct append_format *append = (const struct append_format *)bytes;
    uint64_t segment = fixture_offset(f, serial, 0);
    for (uint32_t block = 1; block < middle; block += le32_get(append->blocks)) {
        assert_int_equal(device_read(f->group->devices[0], segment + (uint64_t)block * BLOCK_SIZE, bytes, BLOCK_SIZE), ERROR_NONE);
        assert_true(append_is_possible(append, SEGMENT_JOURNAL, serial, block, segment_blocks(&f->group->segments)));
        if (block + le32_get(append->blocks) > middle)
            return segment + (uint64_t)block * BLOCK_SIZE;
    }
    fail_msg("no append lies across block %u", middle);
    return 0;
}

/* Blocks 1 and 2, each flushed, and no more; where the unit of the second stands. */
static uint64_t newest_flushed(struct fixture *f)
{
    fixture_write(f, COMPONENT, 1, 1);
    flush(f);
    uint64_t unit = offset_of(f, fixture_write(f, COMPONENT, 2, 2));
    flush(f);
    return unit;
}

/* Nothing of it is lost now, and nothing to who opens next. */
static void expect_both(struct fixture *f)
{
    for (unsigned opens = 0; opens < 2; opens++) {
        fixture_open(f);
        fixture_expect(f, COMPONENT, 1, 1);
        fixture_expect(f, COMPONENT, 2, 2);
        fixture_crash(f);
    }
    fixture_open(f);
}

static void a_header_that_is_misread_once_is_not_the_end(void **state)
{
    struct fixture *f = *state;
    uint64_t unit = newest_flushed(f);
    const unsigned spots[] = {0, 16, 40, 80}; /* its tag, and what is under it */
    for (unsigned i = 0; i < COUNT_OF(spots); i++) {
        fixture_crash(f);
        lie_begin(f, unit / BLOCK_SIZE * BLOCK_SIZE + spots[i], 0, 1);
        expect_both(f);
        assert_int_equal(lie.count, 1);
    }
}

static void a_unit_that_is_misread_once_is_not_torn(void **state)
{
    struct fixture *f = *state;
    uint64_t unit = newest_flushed(f);
    fixture_crash(f);
    lie_begin(f, unit + 200, 0, 1);
    expect_both(f);
    assert_int_equal(lie.count, 1);
}

/* Writes until the journal goes on in a segment that no publish knows, and flushes where asked for. How many blocks that
 * were, of which only the last stands there. */
static uint64_t write_into_next_segment(struct fixture *f, bool flushes, uint64_t *header)
{
    struct map_entry entry = fixture_write(f, COMPONENT, 0, 1);
    uint64_t blocks = 1;
    for (uint64_t serial = entry_serial(entry); entry_serial(entry) == serial; blocks++)
        entry = fixture_write(f, COMPONENT, blocks, blocks + 1);
    *header = fixture_offset(f, entry_serial(entry), 0);
    if (flushes)
        flush(f);
    return blocks;
}

/* It is read ahead, and, where that was not authentic, once more. */
static void a_segments_header_that_is_misread_is_not_the_end(void **state)
{
    struct fixture *f = *state;
    uint64_t header, blocks = write_into_next_segment(f, true, &header);
    for (unsigned times = 3; times >= 2; times--) {
        fixture_crash(f);
        lie_begin(f, header, 0, times);
        lie.differently = true;
        fixture_open(f);
        assert_int_equal(lie.count, times);
        fixture_expect(f, COMPONENT, blocks - 1, blocks);
    }
    fixture_crash(f);
    fixture_open(f);
    fixture_expect(f, COMPONENT, blocks - 1, blocks);
}

static void a_segments_header_that_never_reads_twice_the_same_is_refused(void **state)
{
    struct fixture *f = *state;
    uint64_t header, blocks = write_into_next_segment(f, true, &header);
    fixture_crash(f);
    lie_begin(f, header, 0, EVER);
    lie.differently = true;
    assert_int_equal(fixture_try_open(f), ERROR_IO);
    assert_non_null(strstr(error_sentence(ERROR_IO), "other bytes each time"));
    lie.left = 0;
    fixture_open(f);
    fixture_expect(f, COMPONENT, blocks - 1, blocks);
}

/* The block where it would stand; `serial` 0: zeros, else the header of another segment that was there before. */
static void header_replace(struct fixture *f, uint64_t offset, uint64_t serial)
{
    struct group *group = f->group;
    AUTO_FREE struct segment_format *block = memory_aligned(BLOCK_SIZE);
    struct segment_header header;
    uint32_t slot = (uint32_t)((offset - AREA_SIZE) / segment_size(&group->segments));
    memset(block, 0, BLOCK_SIZE);
    if (serial) {
        assert_int_equal(segment_header_read(group, 0, slot, 0, &header), ERROR_NONE);
        header.segment.serial = serial;
        assert_int_equal(segment_header_encode(group, &header, block), ERROR_NONE);
    }
    assert_int_equal(device_write(group->devices[0], offset, block, BLOCK_SIZE, 0), ERROR_NONE);
}

/* What reads the same is believed with the second reading: it is read ahead, then twice, then by who looks what lies behind the
 * end, alone and among all that are free. */
static void a_segments_header_that_was_never_written_is_the_end(void **state)
{
    struct fixture *f = *state;
    for (uint64_t serial = 0; serial < 2; serial++) {
        uint64_t header, blocks = write_into_next_segment(f, false, &header);
        header_replace(f, header, serial);
        fixture_crash(f);
        lie_begin(f, header, 0, 0);
        fixture_open(f);
        assert_in_range(lie.readings, 1, 5);
        fixture_expect(f, COMPONENT, blocks - 3, blocks - 2);
    }
}

/* Two wrong readings are the end only where they are the same. */
static void what_reads_differently_each_time_is_read_until_it_does_not(void **state)
{
    struct fixture *f = *state;
    uint64_t unit = newest_flushed(f);
    const uint64_t spots[] = {unit / BLOCK_SIZE * BLOCK_SIZE, unit + 200};
    for (unsigned i = 0; i < COUNT_OF(spots); i++) {
        fixture_crash(f);
        lie_begin(f, spots[i], 0, 3);
        lie.differently = true;
        expect_both(f);
        assert_int_equal(lie.count, 3);
    }
}

static void what_never_reads_twice_the_same_is_refused(void **state)
{
    struct fixture *f = *state;
    uint64_t unit = newest_flushed(f);
    fixture_crash(f);
    lie_begin(f, unit / BLOCK_SIZE * BLOCK_SIZE, 0, EVER);
    lie.differently = true;
    assert_int_equal(fixture_try_open(f), ERROR_IO);
    assert_non_null(strstr(error_sentence(ERROR_IO), "other bytes each time"));
    assert_non_null(strstr(error_sentence(ERROR_IO), f->paths[0]));
    lie.left = 0;
    expect_both(f);
}

static void a_tag_that_cannot_be_compared_ends_nothing(void **state)
{
    struct fixture *f = *state;
    (void)newest_flushed(f);
    fixture_crash(f);
    for (size_t parts = 1; parts <= 2; parts++) {
        no_memory_for = parts;
        enum error error = fixture_try_open(f);
        no_memory_for = 0;
        if (!error)
            fixture_crash(f);
        assert_int_equal(error, ERROR_NO_MEMORY);
    }
    expect_both(f);
}

/* Where segments are larger than a window the header of an append at its end is read with what precedes, and again with the rest.
 * Of a pool in plaintext, so that any number can be read. */
static void lengths_that_are_misread_the_second_time_are_bounded_again(void **state)
{
    (void)state;
    struct fixture *f = fixture_begin(1, UINT64_C(1) << 40, false);
    uint64_t serial = entry_serial(fixture_write(f, COMPONENT, 0, 1)), end = 0;
    flush(f);
    uint64_t blocks = 1;
    for (; end < (5u << 20) / GRAIN_SIZE; blocks++)
        end = entry_offset(fixture_write(f, COMPONENT, blocks, blocks + 1));
    flush(f);
    uint64_t crossing = append_across(f, serial, WINDOW_BLOCKS);
    const size_t lengths[] = {offsetof(struct append_format, records_offset), offsetof(struct append_format, records_size),
                              offsetof(struct append_format, blocks)};
    for (unsigned i = 0; i < COUNT_OF(lengths); i++) {
        fixture_crash(f);
        lie_begin(f, crossing + lengths[i] + 3, 1, 1); /* the highest byte: 16 MiB */
        fixture_open(f);
        assert_int_equal(lie.count, 1);
        fixture_expect(f, COMPONENT, blocks - 1, blocks);
    }
    fixture_end(f);
}

/* Behind a unit that is damaged on the disk it goes on; the reading behind the look for a flush is one more. */
static void a_damaged_unit_that_is_misread_at_last_is_damage_of_that_unit(void **state)
{
    struct fixture *f = *state;
    uint8_t bytes[CHUNK_SIZE];
    uint64_t serial = 0, first = 0;
    for (unsigned segments = 0, i = 1; segments < 3; i++) { /* so that the look behind goes to another window */
        struct map_entry entry = fixture_write(f, COMPONENT, i, i);
        if (!first)
            flush(f);
        first = first ? first : offset_of(f, entry);
        segments += entry_serial(entry) != serial;
        serial = entry_serial(entry);
    }
    flush(f);
    fixture_write(f, COMPONENT, 0, 1000);
    flush(f);
    fixture_crash(f);
    fixture_flip(f, 0, first + 200);
    for (unsigned skip = 0; skip < 5; skip++) {
        lie_begin(f, first / BLOCK_SIZE * BLOCK_SIZE + 40, skip, 1);
        fixture_open(f);
        assert_int_equal(fixture_read(f, COMPONENT, 1, bytes), ERROR_CORRUPT);
        fixture_expect(f, COMPONENT, 2, 2);
        fixture_expect(f, COMPONENT, 0, 1000);
        fixture_crash(f);
    }
    lie.left = 0;
    fixture_open(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_header_that_is_misread_once_is_not_the_end),
        TEST(a_unit_that_is_misread_once_is_not_torn),
        TEST(a_segments_header_that_is_misread_is_not_the_end),
        TEST(a_segments_header_that_never_reads_twice_the_same_is_refused),
        TEST(a_segments_header_that_was_never_written_is_the_end),
        TEST(what_reads_differently_each_time_is_read_until_it_does_not),
        TEST(what_never_reads_twice_the_same_is_refused),
        TEST(a_tag_that_cannot_be_compared_ends_nothing),
        cmocka_unit_test(lengths_that_are_misread_the_second_time_are_bounded_again),
        TEST(a_damaged_unit_that_is_misread_at_last_is_damage_of_that_unit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
