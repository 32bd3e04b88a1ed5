/*
 * The cleaner's reader: what it gives is what stands in the segment that was asked for, whatever it was asked before.
 */
#include "engine/group/clean_read.h"
#include "base/message.h"
#include "crypto/bulk.h"
#include "engine/group/segment_walk.h"
#include "tests/unit/group_fixture.h"

#define SEGMENTS 6

struct reading {
    struct fixture *fixture;
    struct clean_reader *reader;
    uint32_t segments[SEGMENTS];
    uint8_t *expected;
};

static void segments_find(struct reading *r)
{
    struct group *group = r->fixture->group;
    unsigned count = 0;
    mutex_lock(&group->lock);
    for (uint32_t i = 0; i < group->segments.count && count < SEGMENTS; i++)
        if (group->segments.table[i].state == SLOT_SEALED && group->segments.table[i].kind == SEGMENT_JOURNAL)
            r->segments[count++] = i;
    mutex_unlock(&group->lock);
    assert_int_equal(count, SEGMENTS);
}

static int setup(void **state)
{
    struct reading *r = calloc(1, sizeof *r);
    r->fixture = fixture_begin(1, FIXTURE_DEVICE_SIZE, true);
    for (uint64_t unit = 0; unit < 4000; unit++) {
        uint64_t seeds[UNIT_CHUNKS] = {4 * unit + 1, 4 * unit + 2, 4 * unit + 3, 4 * unit + 4};
        assert_int_equal(fixture_try_write(r->fixture, COMPONENT, unit * UNIT_CHUNKS, seeds, UNIT_CHUNKS, NULL), ERROR_NONE);
    }
    assert_int_equal(group_publish(r->fixture->group), ERROR_NONE);
    segments_find(r);
    r->expected = memory_aligned(SEGMENT_WINDOW);
    assert_int_equal(clean_reader_open(r->fixture->group, &r->reader), ERROR_NONE);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct reading *r = *state;
    clean_reader_close(r->reader);
    fixture_end(r->fixture);
    free(r->expected);
    free(r);
    return 0;
}

static size_t read_here(struct reading *r, uint32_t segment)
{
    struct group *group = r->fixture->group;
    const struct segment_keys *keys;
    struct device_io io = segment_window(group, segment, 1, r->expected);
    mutex_lock(&group->lock);
    struct segment_identity identity = segment_identity(&group->segments, segment);
    mutex_unlock(&group->lock);
    assert_int_equal(device_run(&io, 1), ERROR_NONE);
    assert_int_equal(segment_keys_get(group, &identity, &keys), ERROR_NONE);
    assert_int_equal(bulk_decrypt(keys, 1, r->expected, r->expected, io.size), ERROR_NONE);
    segment_keys_put(group, keys);
    return io.size;
}

static uint8_t *expect(struct reading *r, uint32_t segment)
{
    uint8_t *bytes;
    size_t size;
    assert_int_equal(clean_reader_get(r->reader, segment, &bytes, &size), ERROR_NONE);
    assert_int_equal(size, read_here(r, segment));
    assert_memory_equal(bytes, r->expected, size);
    return bytes;
}

static void segments_come_as_they_were_asked_for(void **state)
{
    struct reading *r = *state;
    for (unsigned i = 0; i < SEGMENTS; i++) {
        clean_reader_aim(r->reader, &r->segments[i], SEGMENTS - i);
        expect(r, r->segments[i]);
    }
}

/* The cleaner may have read more of the segment into the same bytes. */
static void what_was_taken_is_read_again(void **state)
{
    struct reading *r = *state;
    for (unsigned i = 0; i < 3; i++) {
        clean_reader_aim(r->reader, r->segments, 1);
        memset(expect(r, r->segments[0]), 0xa5, BLOCK_SIZE);
    }
}

/* While all that was asked for before is still being read, and without having been aimed at. */
static void another_aim_is_another_segment(void **state)
{
    struct reading *r = *state;
    for (unsigned i = 0; i < 20; i++) {
        clean_reader_aim(r->reader, r->segments, 3);
        clean_reader_aim(r->reader, r->segments + 3, 3);
        expect(r, r->segments[3 + i % 3]);
        expect(r, r->segments[i % 3]);
    }
}

static void salt_change(struct reading *r, uint32_t segment)
{
    mutex_lock(&r->fixture->group->lock);
    r->fixture->group->segments.table[segment].salt ^= 1;
    mutex_unlock(&r->fixture->group->lock);
}

/* The slot is another segment's by now. */
static void what_was_read_of_one_is_not_taken_for_another(void **state)
{
    struct reading *r = *state;
    clean_reader_aim(r->reader, r->segments, 2);
    expect(r, r->segments[1]); /* so both were read */
    salt_change(r, r->segments[0]);
    expect(r, r->segments[0]);
    salt_change(r, r->segments[0]);
    clean_reader_aim(r->reader, r->segments, 1);
    expect(r, r->segments[0]);
}

static void a_read_that_fails_is_told_and_tried_again(void **state)
{
    struct reading *r = *state;
    struct segments *segments = &r->fixture->group->segments;
    uint8_t *bytes;
    size_t size;
    fixture_refuse_reads(r->fixture, segment_offset(segments, r->segments[0]), segment_size(segments), 1);
    clean_reader_aim(r->reader, r->segments, 2);
    assert_int_equal(clean_reader_get(r->reader, r->segments[0], &bytes, &size), ERROR_IO);
    assert_string_not_equal(error_sentence(ERROR_IO), "");
    fixture_refuse_no_more();
    expect(r, r->segments[1]);
    clean_reader_aim(r->reader, r->segments, 1);
    expect(r, r->segments[0]);
}

static void it_ends_while_it_reads(void **state)
{
    struct reading *r = *state;
    for (unsigned i = 0; i < 20; i++) {
        clean_reader_aim(r->reader, &r->segments[i % 4], 3);
        clean_reader_close(r->reader);
        assert_int_equal(clean_reader_open(r->fixture->group, &r->reader), ERROR_NONE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(segments_come_as_they_were_asked_for, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_taken_is_read_again, setup, teardown),
        cmocka_unit_test_setup_teardown(another_aim_is_another_segment, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_read_of_one_is_not_taken_for_another, setup, teardown),
        cmocka_unit_test_setup_teardown(a_read_that_fails_is_told_and_tried_again, setup, teardown),
        cmocka_unit_test_setup_teardown(it_ends_while_it_reads, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
