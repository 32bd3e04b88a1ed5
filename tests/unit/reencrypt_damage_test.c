/*
 * Deep rekey upon devices that fail: what comes back was not lost, what cannot be read costs just that, and does not keep the old
 * key; superblocks that cannot be written leave all data readable.
 */
#define BLOCKS 5024 /* 20 MiB in some five segments */

#include "engine/pool/damage.h"
#include "tests/unit/reencrypt_fixture.h"

/* ---- reads ----------------------------------------------------------------------------------------------------------- */

/* A full segment of the first device. */
static uint32_t full_index(void)
{
    const struct segments *segments = &pool->group->segments;
    for (uint32_t i = 0; i < segments->slot_count[0]; i++)
        if (segments->table[i].state == SLOT_SEALED && segments->table[i].live > segment_size(segments) / 2 &&
            segment_has_units(&segments->table[i]))
            return i;
    fail_msg("no segment is full");
    return 0;
}

static uint64_t full_segment(void) { return segment_offset(&pool->group->segments, full_index()); }
static uint64_t full_serial(void) { return pool->group->segments.table[full_index()].serial; }

static void spoil_range(uint64_t first, uint64_t size, int reads)
{
    atomic_store(&bad_block, first);
    atomic_store(&bad_end, first + size);
    bad_total = reads;
    atomic_store(&bad_reads, reads);
}

/* A block in the middle of an append. */
static void spoil(int reads)
{
    spoil_range(full_segment() + segment_size(&pool->group->segments) * 3 / 8, BLOCK_SIZE, reads);
}

/* Rows of the ledger that hold the place, whoever made them. */
static size_t ledger_rows(uint64_t serial, uint64_t block)
{
    AUTO_FREE struct damage *rows = NULL;
    size_t count, found = 0;
    bool more;
    assert_fine(damages_copy(pool->damages, true, &rows, &count, &more));
    for (size_t i = 0; i < count; i++)
        found += rows[i].kind == DAMAGE_STORED && rows[i].owner == serial && rows[i].first <= block * BLOCK_GRAINS &&
                 rows[i].end >= (block + 1) * BLOCK_GRAINS;
    return found;
}

static void a_block_that_cannot_be_read_is_lost_and_no_other(void **context)
{
    (void)context;
    spoil(INT32_MAX);
    uint32_t block = segment_blocks(&pool->group->segments) * 3 / 8;
    uint64_t serial = full_serial();
    assert_int_equal(ledger_rows(serial, block), 0);
    assert_fine(deep(0));
    await_complete();
    assert_int_equal(look_at().blocks_lost, 1);
    assert_one_key(2);
    atomic_store(&bad_reads, 0);
    assert_int_equal(ledger_rows(serial, block), 1);
    reopen(false);
    assert_int_equal(ledger_rows(serial, block), 1);
    unsigned bad = assert_all(0, BLOCKS, 0);
    if (bad < 1 || bad > 8) /* units of four that lie in it */
        fail_msg("%u blocks are lost", bad);
}

/* What fails does so for a while. */
static void assert_nothing_is_lost(void)
{
    assert_fine(deep(0));
    await_complete();
    assert_int_equal(atomic_load(&bad_reads), 0);
    assert_int_equal(look_at().blocks_lost, 0);
    reopen(false);
    assert_int_equal(assert_all(0, BLOCKS, 0), 0);
}

static void a_read_that_fails_for_a_while_loses_nothing(void **context)
{
    (void)context;
    spoil(2); /* the block, twice */
    assert_nothing_is_lost();
}

/* The third look at the first blocks of a segment begins in the outage and ends behind it. */
static void assert_outage_is_survived(bool all)
{
    spoil_range(full_segment(), segment_size(&pool->group->segments), 2 * REENCRYPT_PIECE / BLOCK_SIZE + 40);
    atomic_store(&silent, all);
    assert_nothing_is_lost();
}

static void a_region_that_comes_back_within_the_last_try_loses_nothing(void **context)
{
    (void)context;
    assert_outage_is_survived(false);
}

static void a_device_that_comes_back_within_the_last_try_loses_nothing(void **context)
{
    (void)context;
    assert_outage_is_survived(true);
}

static void a_whole_piece_that_cannot_be_read_does_not_keep_the_old_key(void **context)
{
    bool waited = false;
    (void)context;
    spoil_range(full_segment() + 4 * REENCRYPT_PIECE, REENCRYPT_PIECE, INT32_MAX);
    assert_fine(deep(0));
    for (unsigned i = 0; i < PATIENCE / 4 && look_at().state != DEEP_REKEY_COMPLETE; i++) {
        waited |= look_at().waits == ERROR_IO;
        clock_sleep(10 * CLOCK_MILLISECOND);
    }
    assert_int_equal(look_at().state, DEEP_REKEY_COMPLETE);
    assert_true(waited);
    assert_int_equal(look_at().waits, ERROR_NONE);
    assert_int_equal(look_at().blocks_lost, REENCRYPT_PIECE / BLOCK_SIZE);
    assert_one_key(2);
    atomic_store(&bad_reads, 0);
    reopen(false);
    size_t bad = assert_all(0, BLOCKS, 0);
    if (bad < 1 || bad > REENCRYPT_PIECE / BLOCK_SIZE + 8)
        fail_msg("%zu blocks are lost", bad);
}

static void block_spoil_on_disk(uint64_t offset)
{
    uint8_t noise[BLOCK_SIZE];
    noise_fill(noise, offset);
    int descriptor = open(paths[0], O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(descriptor, noise, sizeof noise, (off_t)offset), sizeof noise);
    assert_int_equal(fsync(descriptor), 0);
    close(descriptor);
}

static void what_is_behind_a_damaged_append_is_read_twice(void **context)
{
    (void)context;
    uint64_t segment = full_segment();
    block_spoil_on_disk(segment + BLOCK_SIZE);
    reopen(false);
    unsigned bad = assert_all(0, BLOCKS, 0);
    assert_true(bad < 8);
    atomic_store(&misread, segment + segment_size(&pool->group->segments) * 3 / 8 + 5);
    assert_fine(deep(0));
    await_complete();
    assert_int_equal(atomic_load(&misread), 0);
    reopen(false);
    assert_int_equal(assert_all(0, BLOCKS, 0), bad);
}

static unsigned tries_made(void)
{
    unsigned most = 0;
    const struct reencrypt *r = &pool->deep_rekey->reencrypt;
    for (size_t i = 0; i < r->trouble_count; i++)
        most = MAX(most, r->troubles[i].tries);
    return most;
}

static void a_device_that_reads_nothing_uses_up_no_tries(void **context)
{
    const int enough = 1 << 20;
    (void)context;
    spoil_range(full_segment(), segment_size(&pool->group->segments), enough);
    atomic_store(&silent, true);
    assert_fine(deep(0));
    for (unsigned i = 0; i < PATIENCE && atomic_load(&bad_reads) > enough - 200; i++)
        clock_sleep(10 * CLOCK_MILLISECOND);
    assert_true(atomic_load(&bad_reads) <= enough - 200);
    assert_fine(pool_deep_rekey_pause(pool));
    clock_sleep(FAST_CLOCK * 500 * CLOCK_MILLISECOND); /* until it rests */
    assert_int_equal(look_at().waits, ERROR_IO);
    assert_int_equal(tries_made(), 0);
    assert_fine(pool_deep_rekey_resume(pool));
    atomic_store(&bad_reads, 0);
    await_complete();
    assert_int_equal(look_at().blocks_lost, 0);
}

/* ---- superblocks ----------------------------------------------------------------------------------------------------- */

static void a_superblock_that_cannot_be_written_leaves_all_data_readable(void **context)
{
    (void)context;
    for (int n = 1; n <= 4 * DEVICES; n++) {
        atomic_store(&countdown, n);
        assert_refused(deep(0), ERROR_IO, "no data key was changed");
        atomic_store(&countdown, 0);
        (void)!pool_close(pool);
        pool = NULL;
        assert_fine(try_open());
        if (look_at().state != DEEP_REKEY_NONE) /* one of them had got the new slot */
            await_complete();
        AUTO_FREE struct key_slot_info *slots = NULL;
        size_t count;
        assert_fine(pool_key_slots(pool, &slots, &count));
        assert_int_equal(count, DEVICES);
        assert_int_equal(slots[0].slot, slots[1].slot);
        assert_int_equal(assert_all(0, BLOCKS, 0), 0);
    }
}

static uint64_t epoch_now(void)
{
    mutex_lock(&pool->witness_lock);
    uint64_t epoch = pool->witness->epoch;
    mutex_unlock(&pool->witness_lock);
    return epoch;
}

/* A try each second would be twenty, less what they take; with pauses that double there are four after the first. */
static void superblocks_that_fail_are_written_ever_less_often(void **context)
{
    (void)context;
    assert_fine(deep(0));
    uint64_t begun = epoch_now();
    atomic_store(&one_copy_bad, true);
    for (unsigned i = 0; i < PATIENCE && epoch_now() == begun; i++)
        clock_sleep(10 * CLOCK_MILLISECOND);
    assert_true(epoch_now() > begun);
    clock_sleep(20 * CLOCK_SECOND);
    uint64_t used = epoch_now();
    assert_true(used <= begun + 6);
    assert_int_equal(look_at().waits, ERROR_IO);
    assert_int_equal(look_at().state, DEEP_REKEY_RUNNING);
    atomic_store(&one_copy_bad, false);
    assert_fine(pool_deep_rekey_pause(pool));
    assert_fine(pool_deep_rekey_resume(pool));
    await_complete();
    assert_one_key(2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_block_that_cannot_be_read_is_lost_and_no_other, setup, teardown),
        cmocka_unit_test_setup_teardown(a_read_that_fails_for_a_while_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_region_that_comes_back_within_the_last_try_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_device_that_comes_back_within_the_last_try_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_device_that_reads_nothing_uses_up_no_tries, setup, teardown),
        cmocka_unit_test_setup_teardown(a_whole_piece_that_cannot_be_read_does_not_keep_the_old_key, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_behind_a_damaged_append_is_read_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(a_superblock_that_cannot_be_written_leaves_all_data_readable, setup, teardown),
        cmocka_unit_test_setup_teardown(superblocks_that_fail_are_written_ever_less_often, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
