/*
 * What is written again before the device has it takes the place of what it overwrites, and of nothing that anybody else
 * refers to, whenever and by whatever way he came to.
 */
#include "base/thread.h"
#include "engine/pool/batch.h"
#include "tests/unit/pool_fixture.h"

#define BLOCKS_MAX 8
#define WRITES 2000 /* of the race */

/* Content that no codec makes shorter, so that units of as many blocks have one length. */
static void content(uint8_t *block, uint64_t seed)
{
    for (size_t i = 0; i < COFFER_BLOCK; i += sizeof seed) {
        seed = seed * UINT64_C(0x9e3779b97f4a7c15) + (seed >> 29) + 1;
        memcpy(block + i, &seed, sizeof seed);
    }
}

static struct volume *volume; /* of "a"; open all the time, for a close flushes */

static void blocks_run(struct volume *of, enum request_type type, uint64_t block, uint8_t *bytes, unsigned count)
{
    struct request request = {
        .type = type, .offset = block * COFFER_BLOCK, .length = count * COFFER_BLOCK, .data = bytes};
    volume_execute(of, &request, 1, fixture_answer, NULL);
    assert_fine(request.error);
}

static void put(uint64_t block, const uint64_t *seeds, unsigned count)
{
    uint8_t bytes[BLOCKS_MAX * COFFER_BLOCK];
    for (unsigned i = 0; i < count; i++)
        content(bytes + i * COFFER_BLOCK, seeds[i]);
    blocks_run(volume, REQUEST_WRITE, block, bytes, count);
}

static void put_one(uint64_t block, uint64_t seed) { put(block, &seed, 1); }

static void trim_one(uint64_t block) { blocks_run(volume, REQUEST_TRIM, block, NULL, 1); }

static void expect_of(struct volume *of, uint64_t block, uint64_t seed)
{
    uint8_t found[COFFER_BLOCK], expected[COFFER_BLOCK];
    blocks_run(of, REQUEST_READ, block, found, 1);
    content(expected, seed);
    assert_memory_equal(found, expected, COFFER_BLOCK);
}

static void expect(uint64_t block, uint64_t seed) { expect_of(volume, block, seed); }

static void expect_of_snapshot(uint64_t block, uint64_t seed)
{
    struct volume *snapshot;
    assert_fine(volume_open(pool, "a@s", true, &snapshot));
    expect_of(snapshot, block, seed);
    volume_close(snapshot);
}

static uint64_t replaced(void) { return atomic_load(&pool->group->totals.chunks_replaced); }

/* As after a power loss behind a flush, and as the caches have it. */
static void expect_afterwards(uint64_t block, uint64_t seed)
{
    expect(block, seed);
    assert_fine(group_sync(pool->group));
    expect(block, seed);
    volume_close(volume);
    pool_reopen(true);
    assert_fine(volume_open(pool, "a", false, &volume));
    expect(block, seed);
}

static int setup(void **context)
{
    atomic_store(&write_age, CLOCK_SECOND * 3600); /* a buffer that is closed by age has nothing to replace */
    if (pool_setup(context))
        return -1;
    (void)make("a", MIB);
    return volume_open(pool, "a", false, &volume) ? -1 : 0;
}

static int teardown(void **context)
{
    volume_close(volume);
    return pool_teardown(context);
}

#define TEST_HERE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* ---- what may not be replaced --------------------------------------------------------------------------------------------- */

static void what_another_block_refers_to_stays(void **context)
{
    (void)context;
    put_one(0, 1);
    put_one(1, 1); /* a hit */
    put_one(0, 2);
    assert_int_equal(replaced(), 0);
    expect(1, 1);
    expect_afterwards(0, 2);
    expect(1, 1);
}

static void what_a_block_of_the_same_write_refers_to_stays(void **context)
{
    (void)context;
    put_one(0, 1);
    put(0, (uint64_t[]){2, 1}, 2);
    assert_int_equal(replaced(), 0);
    expect(1, 1);
    expect_afterwards(0, 2);
    expect(1, 1);
}

static void what_two_blocks_of_a_write_share_stays(void **context)
{
    (void)context;
    put(0, (uint64_t[]){1, 1}, 2);
    put_one(0, 2);
    assert_int_equal(replaced(), 0);
    expect(1, 1);
    expect_afterwards(0, 2);
    expect(1, 1);
}

static void what_a_snapshot_holds_stays(void **context)
{
    const char *name = "a";
    (void)context;
    put_one(0, 1);
    assert_fine(object_snapshot(pool, &name, 1, "s", false, 0));
    put_one(0, 2);
    assert_int_equal(replaced(), 0);
    put_one(0, 3);
    assert_int_equal(replaced(), 1);
    expect_of_snapshot(0, 1);
    expect_afterwards(0, 3);
    expect_of_snapshot(0, 1);
}

/* Its record stands before that of the trim, which would be replayed behind it. */
static void what_was_trimmed_in_between_is_written_anew(void **context)
{
    (void)context;
    put_one(0, 1);
    trim_one(0);
    put_one(0, 2);
    assert_int_equal(replaced(), 0);
    expect_afterwards(0, 2);
}

static void what_a_flush_covered_is_written_anew(void **context)
{
    (void)context;
    put_one(0, 1);
    assert_fine(group_sync(pool->group));
    put_one(0, 2);
    assert_int_equal(replaced(), 0);
    expect_afterwards(0, 2);
}

static void a_part_of_what_was_written_together_is_written_anew(void **context)
{
    (void)context;
    put(0, (uint64_t[]){1, 2}, 2);
    put_one(0, 3);
    assert_int_equal(replaced(), 0);
    expect(1, 2);
    expect_afterwards(0, 3);
    expect(1, 2);
}

/* Its record stands before that of the block that was written by itself. */
static void what_was_written_anew_in_part_is_not_replaced_as_a_whole(void **context)
{
    (void)context;
    put(0, (uint64_t[]){1, 2}, 2);
    put_one(1, 3);
    put(0, (uint64_t[]){4, 5}, 2);
    assert_int_equal(replaced(), 0);
    expect(1, 5);
    expect_afterwards(0, 4);
    expect(1, 5);
}

/* A third of it is one byte, behind what a codec looks at: so its record has as many bytes as that of another length. */
static void content_of_two_thirds(uint8_t *block, uint64_t seed)
{
    content(block, seed);
    memset(block + COFFER_BLOCK / 8, 7, COFFER_BLOCK / 8 * 3);
}

static void replace_by_another_length(bool shorter)
{
    uint8_t part[COFFER_BLOCK], found[COFFER_BLOCK];
    content_of_two_thirds(part, 3);
    put_one(1, 1);
    if (shorter)
        put_one(0, 2);
    blocks_run(volume, REQUEST_WRITE, 0, part, 1);
    if (!shorter)
        put_one(0, 2);
    put_one(2, 4);
    assert_int_equal(replaced(), 0);
    uint64_t stored = atomic_load(&pool->group->totals.unit_bytes_out);
    assert_in_range(stored, 3 * COFFER_BLOCK + 128 * GRAIN_SIZE, 4 * COFFER_BLOCK - 512); /* one of the four was packed */
    expect(1, 1);
    expect_afterwards(2, 4);
    blocks_run(volume, REQUEST_READ, 0, found, 1);
    if (shorter)
        assert_memory_equal(found, part, sizeof found);
    else
        expect(0, 2);
    expect(1, 1);
}

static void what_is_a_little_shorter_than_before_is_written_anew(void **context)
{
    (void)context;
    replace_by_another_length(true);
}

static void what_is_a_little_longer_than_before_is_written_anew(void **context)
{
    (void)context;
    replace_by_another_length(false);
}

static bool fill_overtaken; /* before the next unit is filled the block is written once more */

enum error __real_log_fill(struct log *log, const struct log_item *item, const struct segment_keys *keys, enum item_kind kind,
                           uint8_t codec, uint8_t count, const void *descriptors, size_t descriptors_size,
                           const void *stored, size_t stored_size);
enum error __wrap_log_fill(struct log *log, const struct log_item *item, const struct segment_keys *keys, enum item_kind kind,
                           uint8_t codec, uint8_t count, const void *descriptors, size_t descriptors_size,
                           const void *stored, size_t stored_size);

enum error __wrap_log_fill(struct log *log, const struct log_item *item, const struct segment_keys *keys, enum item_kind kind,
                           uint8_t codec, uint8_t count, const void *descriptors, size_t descriptors_size,
                           const void *stored, size_t stored_size)
{
    if (fill_overtaken) {
        fill_overtaken = false;
        put_one(0, 3);
    }
    return __real_log_fill(log, item, keys, kind, codec, count, descriptors, descriptors_size, stored, stored_size);
}

static void what_is_not_filled_yet_is_not_replaced(void **context)
{
    (void)context;
    put_one(0, 1);
    fill_overtaken = true;
    put_one(0, 2); /* which replaces, and is overtaken by 3 */
    assert_false(fill_overtaken);
    assert_int_equal(replaced(), 1);
    expect_afterwards(0, 3);
}

static void what_is_shorter_than_before_is_written_anew(void **context)
{
    uint8_t same[COFFER_BLOCK], found[COFFER_BLOCK];
    (void)context;
    put_one(0, 1);
    memset(same, 7, sizeof same);
    blocks_run(volume, REQUEST_WRITE, 0, same, 1);
    assert_int_equal(replaced(), 0);
    blocks_run(volume, REQUEST_READ, 0, found, 1);
    assert_memory_equal(found, same, sizeof same);
}

static bool overtaken, and_written; /* the next look-up is followed by another write to block 0, before its commit; and by a flush */

void __real_lookup_chunks(struct pool *of, const struct fingerprint_key *key, struct chunk_lookup *chunks, size_t count,
                          uint8_t *compare, struct log_unsettled *unsettled);
void __wrap_lookup_chunks(struct pool *of, const struct fingerprint_key *key, struct chunk_lookup *chunks, size_t count,
                          uint8_t *compare, struct log_unsettled *unsettled);

void __wrap_lookup_chunks(struct pool *of, const struct fingerprint_key *key, struct chunk_lookup *chunks, size_t count,
                          uint8_t *compare, struct log_unsettled *unsettled)
{
    __real_lookup_chunks(of, key, chunks, count, compare, unsettled);
    if (!overtaken)
        return;
    overtaken = false;
    assert_false(entry_is_hole(chunks[0].hit));
    put_one(0, 2);
    assert_int_equal(replaced(), 1);
    if (and_written)
        assert_fine(group_sync(pool->group));
}

static void overtake(bool written)
{
    put_one(0, 1);
    overtaken = true;
    and_written = written;
    put_one(1, 1);
    assert_false(overtaken);
    expect(1, 1);
    expect_afterwards(0, 2);
    expect(1, 1);
}

static void a_duplicate_that_was_replaced_before_the_commit_is_none(void **context)
{
    (void)context;
    overtake(false);
}

/* The buffer that it stood in is open no more when the commit asks. */
static void a_duplicate_that_was_replaced_and_written_before_the_commit_is_none(void **context)
{
    (void)context;
    overtake(true);
}

/* ---- what is ---------------------------------------------------------------------------------------------------------------- */

static void what_is_written_again_takes_the_place_of_what_it_overwrites(void **context)
{
    (void)context;
    put_one(0, 1);
    uint64_t end = pool->group->journal.open->items_end;
    for (unsigned i = 2; i <= 9; i++)
        put_one(0, i);
    assert_int_equal(replaced(), 8);
    assert_int_equal(pool->group->journal.open->items_end, end);
    expect_afterwards(0, 9);
}

static void blocks_that_were_written_together_are_replaced_together(void **context)
{
    (void)context;
    put(0, (uint64_t[]){1, 2, 3, 4}, 4);
    put(0, (uint64_t[]){5, 6, 7, 8}, 4);
    assert_int_equal(replaced(), 4);
    expect_afterwards(0, 5);
    for (unsigned i = 1; i < 4; i++)
        expect(i, 5 + i);
}

static void a_write_that_is_new_in_part_replaces_the_rest(void **context)
{
    (void)context;
    put(0, (uint64_t[]){1, 2, 3, 4}, 4);
    put(0, (uint64_t[]){5, 6, 7, 8, 9, 10, 11, 12}, 8);
    assert_int_equal(replaced(), 4);
    expect_afterwards(0, 5);
    for (unsigned i = 1; i < 8; i++)
        expect(i, 5 + i);
}

/* The cache would know it by its address, which has other content now. */
static void what_was_read_in_between_is_not_told_again(void **context)
{
    (void)context;
    put_one(0, 1);
    expect(0, 1);
    put_one(0, 2);
    assert_int_equal(replaced(), 1);
    expect_afterwards(0, 2);
}

static void what_took_its_place_is_found_as_a_duplicate_and_the_old_is_not(void **context)
{
    (void)context;
    put_one(0, 1);
    put_one(0, 2);
    put_one(1, 1);
    put_one(2, 2);
    assert_int_equal(atomic_load(&pool->group->totals.chunks_hit), 1);
    expect_afterwards(0, 2);
    expect(1, 1);
    expect(2, 2);
}

static _Atomic bool ended;

static void write_on(void *context)
{
    (void)context;
    for (uint64_t i = 0; i < WRITES; i++)
        put_one(0, i);
    atomic_store(&ended, true);
}

static void a_reader_meets_one_content_or_the_other(void **context)
{
    struct thread thread;
    uint8_t found[COFFER_BLOCK], expected[COFFER_BLOCK];
    uint64_t last = 0, seed;
    (void)context;
    put_one(0, 0);
    atomic_store(&ended, false);
    assert_fine(thread_start(&thread, "writer", write_on, NULL));
    while (!atomic_load(&ended)) {
        blocks_run(volume, REQUEST_READ, 0, found, 1);
        for (seed = last; seed < WRITES; seed++) {
            content(expected, seed);
            if (memcmp(expected, found, sizeof found) == 0)
                break;
        }
        assert_true(seed < WRITES); /* none of them, or one that was overwritten */
        last = seed;
    }
    thread_join(&thread);
    assert_true(replaced() > 0);
    expect_afterwards(0, WRITES - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_HERE(what_another_block_refers_to_stays),
        TEST_HERE(what_a_block_of_the_same_write_refers_to_stays),
        TEST_HERE(what_two_blocks_of_a_write_share_stays),
        TEST_HERE(what_a_snapshot_holds_stays),
        TEST_HERE(what_was_trimmed_in_between_is_written_anew),
        TEST_HERE(what_a_flush_covered_is_written_anew),
        TEST_HERE(a_part_of_what_was_written_together_is_written_anew),
        TEST_HERE(what_was_written_anew_in_part_is_not_replaced_as_a_whole),
        TEST_HERE(what_is_a_little_shorter_than_before_is_written_anew),
        TEST_HERE(what_is_a_little_longer_than_before_is_written_anew),
        TEST_HERE(what_is_not_filled_yet_is_not_replaced),
        TEST_HERE(what_is_shorter_than_before_is_written_anew),
        TEST_HERE(a_duplicate_that_was_replaced_before_the_commit_is_none),
        TEST_HERE(a_duplicate_that_was_replaced_and_written_before_the_commit_is_none),
        TEST_HERE(what_is_written_again_takes_the_place_of_what_it_overwrites),
        TEST_HERE(blocks_that_were_written_together_are_replaced_together),
        TEST_HERE(a_write_that_is_new_in_part_replaces_the_rest),
        TEST_HERE(what_was_read_in_between_is_not_told_again),
        TEST_HERE(what_took_its_place_is_found_as_a_duplicate_and_the_old_is_not),
        TEST_HERE(a_reader_meets_one_content_or_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
