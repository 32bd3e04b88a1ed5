/*
 * Reading ahead of replay: it reads hardly more than is asked for, finds appends across windows, and what it meets
 * where nobody asks is nobody's trouble.
 */
#include "tests/unit/group_fixture.h"
#include "engine/group/replay_window.h"

#define UNITS_PER_SEGMENT 480 /* about: 4 MiB of units of 4 chunks of which half compresses */

/* Blocks 0 to 4 x units; flushed. */
static void write_units(struct fixture *f, uint64_t units)
{
    for (uint64_t i = 0; i < units; i++) {
        uint64_t seeds[4] = {4 * i + 1, 4 * i + 2, 4 * i + 3, 4 * i + 4};
        assert_int_equal(fixture_try_write(f, COMPONENT, 4 * i, seeds, 4, NULL), ERROR_NONE);
    }
    assert_int_equal(group_sync(f->group), ERROR_NONE);
}

static void expect_units(struct fixture *f, uint64_t units)
{
    for (uint64_t block = 0; block < 4 * units; block += 37)
        fixture_expect(f, COMPONENT, block, block + 1);
    fixture_expect(f, COMPONENT, 4 * units - 1, 4 * units);
}

static void the_reader_reads_hardly_more_than_is_asked_for(void **state)
{
    struct fixture *f = *state;
    write_units(f, 7 * UNITS_PER_SEGMENT);
    fixture_crash(f);
    fixture_open(f);
    uint64_t read = 0;
    for (uint32_t i = 0; i < f->device_count; i++)
        read += atomic_load(&f->group->devices[i]->stats.read_bytes);
    assert_true(f->group->replay_bytes >= 6 * segment_size(&f->group->segments));
    assert_true(read <= f->group->replay_bytes + WINDOWS_BYTES);
    expect_units(f, 7 * UNITS_PER_SEGMENT);
}

static void appends_that_lie_across_windows_are_replayed(void **state)
{
    (void)state;
    struct fixture *f = fixture_begin(1, UINT64_C(1) << 40, true);
    assert_true(segment_size(&f->group->segments) > APPEND_BYTES_MAX);
    write_units(f, 5 * UNITS_PER_SEGMENT);
    fixture_crash(f);
    fixture_open(f);
    expect_units(f, 5 * UNITS_PER_SEGMENT);
    uint64_t read = atomic_load(&f->group->devices[0]->stats.read_bytes);
    assert_true(read <= f->group->replay_bytes + WINDOWS_BYTES);
    fixture_end(f);
}

static void cut_off(struct fixture *f)
{
    assert_int_equal(truncate(f->paths[0], (off_t)f->cut), 0);
}

static void a_block_that_nobody_asks_for_may_be_unreadable(void **state)
{
    struct fixture *f = *state;
    write_units(f, UNITS_PER_SEGMENT / 2);
    struct segments *segments = &f->group->segments;
    f->cut = 0; /* behind the header of the last segment that the journal may name */
    for (uint32_t i = 0; i < segments->count; i++)
        if (segments->table[i].state == SLOT_OPEN || segments->table[i].state == SLOT_RESERVED)
            f->cut = MAX(f->cut, segment_offset(segments, i) + BLOCK_SIZE);
    assert_true(f->cut > BLOCK_SIZE);
    fixture_crash(f);
    f->devices_opened = cut_off;
    fixture_open(f);
    expect_units(f, UNITS_PER_SEGMENT / 2);
}

#define TEST(name)     cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
#define TEST_TWO(name) cmocka_unit_test_setup_teardown(name, fixture_setup_two, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_reader_reads_hardly_more_than_is_asked_for),
        TEST_TWO(the_reader_reads_hardly_more_than_is_asked_for),
        cmocka_unit_test(appends_that_lie_across_windows_are_replayed),
        TEST(a_block_that_nobody_asks_for_may_be_unreadable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
