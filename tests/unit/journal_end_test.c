/*
 * Where replay ends because something there is damaged, and what was flushed lies behind it, the pool is refused: whatever stands
 * between, segments that were prepared and never used, segments without a flush, an earlier open.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "tests/unit/failing_devices.h"
#include "tests/unit/fill_fixture.h"

extern _Atomic uint64_t flush_ahead_bytes;

struct stretch {
    uint64_t offset, size; /* of the device */
};

static struct volume *volume;
static char device_path[256];

static void flush(void)
{
    struct request request = {.type = REQUEST_FLUSH};
    volume_execute(volume, &request, 1, fixture_answer, NULL);
    assert_fine(request.error);
}

static uint64_t journal_end(void)
{
    const struct log *journal = &pool->group->journal;
    mutex_lock(&pool->group->lock);
    uint64_t end = segment_offset(&pool->group->segments, journal->segment) + (uint64_t)journal->block * BLOCK_SIZE;
    mutex_unlock(&pool->group->lock);
    return end;
}

/* Writes something and flushes it; where it went. */
static struct stretch write_some(uint64_t block, uint64_t seed)
{
    flush();
    uint64_t begin = journal_end();
    assert_fine(noise_write(volume, block, 1, 4, seed << 32));
    flush();
    uint64_t end = journal_end();
    assert_true(end > begin && end - begin < 64 * BLOCK_SIZE);
    return (struct stretch){begin, end - begin};
}

static void begin(void)
{
    assert_fine(volume_open(pool, "disk", false, &volume));
    snprintf(device_path, sizeof device_path, "%s", pool->group->devices[0]->path);
}

static void crash(void)
{
    volume_close(volume);
    pool_crash();
}

static void spoil(struct stretch stretch)
{
    int descriptor = open(device_path, O_RDWR | O_CLOEXEC);
    AUTO_FREE uint8_t *noise = memory_aligned(stretch.size);
    assert_true(descriptor >= 0);
    memset(noise, 0x5a, stretch.size);
    assert_int_equal(pwrite(descriptor, noise, stretch.size, (off_t)stretch.offset), stretch.size);
    close(descriptor);
}

static void assert_damage(void)
{
    assert_refused(pool_try_open(), ERROR_CORRUPT, "the journal is damaged");
    pool = NULL;
}

/* The pool crashed and is open again; where the last append before that stands. */
static struct stretch second_life(void)
{
    make("disk", GIB);
    begin();
    (void)write_some(0, 1);
    struct stretch last = write_some(8, 2);
    crash();
    assert_fine(pool_try_open());
    begin();
    return last;
}

static void before_what_a_later_life_wrote(void **context)
{
    (void)context;
    struct stretch last = second_life();
    (void)write_some(16, 3);
    (void)write_some(24, 4);
    crash();
    spoil(last);
    assert_damage();
}

/* Nothing was written then, but who opened the pool may have read what is damaged now. */
static void before_a_later_open(void **context)
{
    (void)context;
    struct stretch last = second_life();
    crash();
    spoil(last);
    assert_damage();
}

static void in_segments_without_a_flush(void **context)
{
    (void)context;
    make("disk", GIB);
    begin();
    uint64_t ahead = atomic_exchange(&flush_ahead_bytes, UINT64_MAX / 2);
    (void)write_some(0, 1);
    struct stretch first = {journal_end(), BLOCK_SIZE};
    for (uint64_t i = 0; i < 24 * MIB / (FILL_BLOCKS * COFFER_BLOCK); i++)
        assert_fine(noise_write(volume, 64 + i * FILL_BLOCKS, 1, FILL_BLOCKS, 100 + i * FILL_BLOCKS));
    (void)write_some(32, 2);
    (void)write_some(40, 3);
    crash();
    atomic_store(&flush_ahead_bytes, ahead);
    spoil(first);
    assert_damage();
}

static enum error read_block(uint64_t number)
{
    uint8_t block[COFFER_BLOCK];
    return block_io(volume, REQUEST_READ, number * COFFER_BLOCK, block);
}

/* The append is whole, but for what one unit stores: no flush covers it, but an open that took it did. */
static void a_unit_before_a_later_open_is_lost_alone(void **context)
{
    (void)context;
    struct stretch last = second_life();
    (void)write_some(16, 3);
    crash();
    spoil((struct stretch){last.offset + 2 * BLOCK_SIZE, BLOCK_SIZE});
    assert_fine(pool_try_open());
    begin();
    assert_fine(read_block(0));
    assert_true(read_block(8) != ERROR_NONE);
    assert_fine(read_block(16));
    volume_close(volume);
    assert_fine(pool_close(pool));
    pool = NULL;
}

/* Reads of this block fail. */
static uint64_t unreadable;

/* Single blocks that were read together, at most: of all that an open reads headers alone are many of those. */
static _Atomic size_t together;

static inline void submit_failing(struct device_io **ios, size_t count)
{
    if (ios[0]->operation == DEVICE_READ && ios[0]->size == BLOCK_SIZE)
        together = MAX(together, count);
    for (size_t i = 0; i < count; i++)
        if (ios[i]->operation == DEVICE_READ && ios[i]->offset <= unreadable && unreadable - ios[i]->offset < ios[i]->size)
            io_complete(ios[i], ERROR_IO, EIO);
        else
            honest->submit(&ios[i], 1);
}

static const struct pool_open_options unreadable_options = {.memory = FIXTURE_MEMORY, .open_device = open_failing};

static enum error open_unreadable(void)
{
    error_forget();
    return pool_open(fixture_directory, &unreadable_options, &pool);
}

/* The header of the segment that the journal's newest names, which nothing was written to yet. */
static struct stretch next_header(void)
{
    const struct log *journal = &pool->group->journal;
    struct segment_header header;
    const struct segments *segments = &pool->group->segments;
    mutex_lock(&pool->group->lock);
    uint32_t device = segment_device(segments, journal->segment), slot = segment_slot(segments, journal->segment);
    mutex_unlock(&pool->group->lock);
    assert_fine(segment_header_read(pool->group, device, slot, 0, &header));
    return (struct stretch){segment_offset(segments, segments->slot_first[header.successor.device] + header.successor.slot),
                            BLOCK_SIZE};
}

static uint64_t free_slot(void)
{
    const struct segments *segments = &pool->group->segments;
    uint32_t last = segments->count - 1;
    mutex_lock(&pool->group->lock);
    assert_int_equal(segments->table[last].state, SLOT_FREE);
    mutex_unlock(&pool->group->lock);
    return segment_offset(segments, last);
}

/* As a crash leaves it that came before the header of the next segment was written: any free slot may hold a younger one. */
static void a_free_slot_that_cannot_be_read_is_named_and_passed_over_by_a_repair(void **context)
{
    char slot[280];
    (void)context;
    make("disk", GIB);
    begin();
    (void)write_some(0, 1);
    (void)write_some(8, 2);
    struct stretch next = next_header();
    unreadable = free_slot();
    snprintf(slot, sizeof slot, "slot %u of %s", pool->group->segments.count - 1, device_path);
    crash();
    spoil(next);
    assert_refused(open_unreadable(), ERROR_IO, slot);
    assert_refused(open_unreadable(), ERROR_IO, "`coffer check --repair` passes over it");
    assert_int_equal(pool_check(fixture_directory, &unreadable_options, &(struct check_listener){.found = fixture_found},
                                &(struct check_report){0}),
                     ERROR_IO);
    assert_fine(pool_repair(fixture_directory, &unreadable_options, NULL));
    assert_fine(open_unreadable());
    begin();
    assert_fine(read_block(0));
    assert_fine(read_block(8));
    (void)write_some(16, 3);
    crash();
    assert_fine(open_unreadable()); /* the journal is not where it was */
    begin();
    assert_fine(read_block(16));
    volume_close(volume);
}

/* One after the other those of a large group would take hours. */
static void the_headers_of_free_slots_are_read_together(void **context)
{
    (void)context;
    make("disk", GIB);
    begin();
    (void)write_some(0, 1);
    struct stretch next = next_header();
    uint32_t free_slots = pool->group->segments.free_total;
    unreadable = UINT64_MAX;
    crash();
    spoil(next);
    together = 0;
    assert_fine(open_unreadable());
    assert_true(together >= free_slots / 2);
    begin();
    assert_fine(read_block(0));
    volume_close(volume);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(before_what_a_later_life_wrote, pool_setup, pool_teardown),
        cmocka_unit_test_setup_teardown(before_a_later_open, pool_setup, pool_teardown),
        cmocka_unit_test_setup_teardown(the_headers_of_free_slots_are_read_together, pool_setup, pool_teardown),
        cmocka_unit_test_setup_teardown(a_unit_before_a_later_open_is_lost_alone, pool_setup, pool_teardown),
        cmocka_unit_test_setup_teardown(in_segments_without_a_flush, pool_setup, pool_teardown),
        cmocka_unit_test_setup_teardown(a_free_slot_that_cannot_be_read_is_named_and_passed_over_by_a_repair, pool_setup,
                                        pool_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
