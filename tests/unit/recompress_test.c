/* Old data compressed harder: what is read stays the same, less is stored, and it ends, soon where others wait. */
#include "engine/device/kind.h"
#include "tests/unit/truth_fixture.h"

#define BLOCKS 16384u

static uint64_t stored(void)
{
    struct pool_status status;
    assert_fine(pool_status(pool, &status));
    return status.data_stored_bytes;
}

static bool is_due(void)
{
    mutex_lock(&pool->group->lock);
    bool due = recompress_is_due(pool->group);
    mutex_unlock(&pool->group->lock);
    return due;
}

/* Words of a small book: zstd finds more in them than LZ4. */
static void text_fill(uint8_t *block, uint64_t seed)
{
    static const char *const words[] = {"segment ", "checkpoint ", "unit ", "of ", "the ", "journal ", "is ", "kept "};
    struct dice dice = {seed + 1};
    for (size_t at = 0; at < COFFER_BLOCK;) {
        uint64_t number = dice_throw(&dice);
        const char *word = words[number % COUNT_OF(words)];
        char text[32];
        int length = snprintf(text, sizeof text, "%s%llu ", word, (unsigned long long)(number >> 8) % 1000);
        size_t take = MIN((size_t)length, COFFER_BLOCK - at);
        memcpy(block + at, text, take);
        at += take;
    }
}

/* By batches that are large enough to be stored by LZ4. */
static void texts_write(const char *name)
{
    static uint8_t bytes[256 * COFFER_BLOCK];
    struct volume *volume;
    make(name, BLOCKS * COFFER_BLOCK);
    assert_fine(volume_open(pool, name, false, &volume));
    for (uint64_t block = 0; block < BLOCKS; block += 256) {
        for (uint64_t i = 0; i < 256; i++)
            text_fill(bytes + i * COFFER_BLOCK, block + i);
        assert_fine(truth_run(volume, REQUEST_WRITE, block, 256, bytes));
    }
    volume_close(volume);
    publish();
}

static void texts_expect(const char *name)
{
    struct volume *volume;
    uint8_t expected[COFFER_BLOCK], bytes[COFFER_BLOCK];
    assert_fine(volume_open(pool, name, true, &volume));
    for (uint64_t block = 0; block < BLOCKS; block += 7) {
        text_fill(expected, block);
        assert_fine(block_io(volume, REQUEST_READ, block * COFFER_BLOCK, bytes));
        assert_memory_equal(bytes, expected, COFFER_BLOCK);
    }
    volume_close(volume);
}

/* The merge thread does it by itself; what it wrote is looked into once a publish covers it. */
static void await_end(void)
{
    for (unsigned round = 0; round < 3; round++) {
        publish();
        for (unsigned i = 0; i < 6000 && is_due(); i++)
            clock_sleep(10 * CLOCK_MILLISECOND);
        assert_false(is_due());
    }
}

static int setup(void **context)
{
    atomic_store(&recompress_idle, UINT64_MAX);
    return pool_setup(context);
}

static void what_lz4_stored_takes_less_afterwards(void **context)
{
    (void)context;
    texts_write("disk");
    uint64_t before = stored();
    atomic_store(&recompress_idle, 0);
    await_end();
    publish();
    assert_true(stored() < before * 9 / 10);
    texts_expect("disk");
    /* It says nothing of how long a merge takes that must make space. */
    assert_true(atomic_load(&pool->group->totals.segments_cleaned) > 0);
    assert_int_equal(pool->group->pace.clean_rate, 0);
}

static void it_ends_and_does_not_begin_again(void **context)
{
    (void)context;
    texts_write("disk");
    atomic_store(&recompress_idle, 0);
    await_end();
    publish(); /* what was settled last */
    uint64_t cleaned = atomic_load(&pool->group->totals.segments_cleaned);
    assert_true(cleaned > 0);
    pool_reopen(false); /* the journal's last segment is sealed by that, and has its turn */
    await_end();
    atomic_store(&recompress_idle, UINT64_MAX);
    pool_reopen(false);
    unsigned settled = 0;
    for (uint32_t i = 0; i < pool->group->segments.count; i++)
        settled += pool->group->segments.table[i].settled;
    assert_true(settled > 0);
    atomic_store(&recompress_idle, 0);
    await_end();
    assert_int_equal(atomic_load(&pool->group->totals.segments_cleaned), 0);
    texts_expect("disk");
}

static void a_crash_in_between_loses_nothing(void **context)
{
    (void)context;
    texts_write("disk");
    for (unsigned round = 0; round < 3; round++) {
        atomic_store(&recompress_idle, 0);
        for (unsigned i = 0; i < 500 && atomic_load(&pool->group->totals.segments_cleaned) == 0 && is_due(); i++)
            clock_sleep(10 * CLOCK_MILLISECOND);
        pool_reopen(true);
        texts_expect("disk");
    }
}

static void switched_off_it_leaves_all_as_it_is(void **context)
{
    (void)context;
    pool->group->config.recompress = 0;
    texts_write("disk");
    uint64_t before = stored();
    atomic_store(&recompress_idle, 0);
    assert_false(is_due());
    publish();
    assert_true(stored() >= before * 99 / 100);
}

static void a_full_pool_is_left_alone(void **context)
{
    (void)context;
    texts_write("disk");
    atomic_store(&recompress_idle, 0);
    mutex_lock(&pool->group->lock);
    uint32_t free_total = pool->group->segments.free_total;
    pool->group->segments.free_total = 3;
    bool due = recompress_is_due(pool->group);
    pool->group->segments.free_total = free_total;
    mutex_unlock(&pool->group->lock);
    assert_false(due);
}

/* ---- ending with others ---------------------------------------------------------------------------------------------- */

/* From the first large read, or the first large write behind it, somebody waits for the merge. */
static struct {
    struct device_operations operations;
    const struct device_operations *real;
    enum device_operation at;
    _Atomic bool read, waits;
} watch;

static void watching_submit(struct device_io **ios, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool large = ios[i]->size >= COFFER_BLOCK * 64;
        if (large && ios[i]->operation == DEVICE_READ)
            watch.read = true;
        if (large && watch.read && ios[i]->operation == watch.at && !atomic_exchange(&watch.waits, true)) {
            atomic_store(&recompress_idle, UINT64_MAX); /* this was the last round */
            mutex_lock(&pool->group->thread_lock);
            pool->group->freezes_wanted++;
            mutex_unlock(&pool->group->thread_lock);
        }
    }
    watch.real->submit(ios, count);
}

static uint64_t cleaned_with_somebody_waiting_from(enum device_operation at)
{
    struct group *group = pool->group;
    struct device *device = group->devices[0];
    texts_write("disk");
    watch.real = device->operations;
    watch.operations = *device->operations;
    watch.operations.submit = watching_submit;
    watch.operations.run = NULL;
    watch.at = at;
    watch.read = watch.waits = false;
    device->operations = &watch.operations;
    atomic_store(&recompress_idle, 0);
    for (unsigned i = 0; i < 6000 && is_due(); i++)
        clock_sleep(10 * CLOCK_MILLISECOND);
    publish();
    assert_true(watch.waits);
    device->operations = watch.real;
    texts_expect("disk");
    return atomic_load(&group->totals.segments_cleaned);
}

static void a_round_that_is_read_for_ends_where_somebody_waits_for_the_merge(void **context)
{
    (void)context;
    assert_int_equal(cleaned_with_somebody_waiting_from(DEVICE_READ), 0);
}

static void a_round_that_moves_ends_where_somebody_waits_for_the_merge(void **context)
{
    (void)context;
    assert_in_range(cleaned_with_somebody_waiting_from(DEVICE_WRITE), 0, 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_lz4_stored_takes_less_afterwards),
        TEST(it_ends_and_does_not_begin_again),
        TEST(a_crash_in_between_loses_nothing),
        TEST(switched_off_it_leaves_all_as_it_is),
        TEST(a_full_pool_is_left_alone),
        TEST(a_round_that_is_read_for_ends_where_somebody_waits_for_the_merge),
        TEST(a_round_that_moves_ends_where_somebody_waits_for_the_merge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
