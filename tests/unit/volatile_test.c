/* The volatile device: what reads see, and what each kind of crash leaves after the writer was killed. */
#include "tests/unit/device_fixture.h"

#include <signal.h>

#include "base/message.h"
#include "engine/device/volatile.h"

enum { DISK_BLOCKS = 256, CACHE_BLOCKS = 64 };

static struct device *device;
static unsigned char *buffer;
static char disk[128], cache[128];

static int set_up(void **state)
{
    message_level_set(MESSAGE_ERROR - 1);
    device = NULL;
    buffer = blocks_new(DISK_BLOCKS);
    if (folder_make(state) != 0)
        return -1;
    snprintf(disk, sizeof(disk), "%s", path_of("disk"));
    snprintf(cache, sizeof(cache), "%s", path_of("cache"));
    make_file(disk, DISK_BLOCKS * BLOCK);
    return volatile_cache_create(cache, CACHE_BLOCKS * BLOCK) != ERROR_NONE;
}

static int tear_down(void **state)
{
    device_close(device);
    free(buffer);
    return folder_remove(state);
}

static void open_device(void)
{
    assert_int_equal(device_open_volatile(disk, cache, &device), ERROR_NONE);
}

static void write_value(uint64_t block, size_t count, int value, unsigned flags)
{
    memset(buffer, value, count * BLOCK);
    assert_int_equal(device_write(device, block * BLOCK, buffer, count * BLOCK, flags), ERROR_NONE);
}

static void expect_content(uint64_t block, size_t count, int value)
{
    assert_int_equal(device_read(device, block * BLOCK, buffer, count * BLOCK), ERROR_NONE);
    expect_filled(buffer, count * BLOCK, value);
}

/* The file below, past the cache. */
static void expect_on_disk(uint64_t block, size_t count, int value)
{
    int file = open(disk, O_RDONLY | O_CLOEXEC);
    assert_int_equal(pread(file, buffer, count * BLOCK, (off_t)(block * BLOCK)), count * BLOCK);
    expect_filled(buffer, count * BLOCK, value);
    close(file);
}

/* Runs `writer` on the device in a process of its own, which is killed when the writer has returned. */
static void run_and_kill(void (*writer)(void))
{
    pid_t child = fork();
    if (child == 0) {
        open_device();
        writer();
        raise(SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void crash(enum volatile_crash kind, uint64_t seed)
{
    assert_int_equal(volatile_crash_apply(disk, cache, kind, seed), ERROR_NONE);
}

/* ---- bad input ------------------------------------------------------------------------------------------------ */

static void a_missing_file_is_not_found(void **state)
{
    (void)state;
    assert_int_equal(device_open_volatile(path_of("nothing"), cache, &device), ERROR_NOT_FOUND);
    assert_int_equal(device_open_volatile(disk, path_of("nothing"), &device), ERROR_NOT_FOUND);
    assert_int_equal(volatile_crash_apply(disk, path_of("nothing"), VOLATILE_DROP_ALL, 1), ERROR_NOT_FOUND);
}

static void garbage_is_no_cache(void **state)
{
    (void)state;
    make_file(path_of("garbage"), 10 * BLOCK);
    assert_int_equal(device_open_volatile(disk, path_of("garbage"), &device), ERROR_CORRUPT);
    make_file(path_of("garbage"), 3);
    assert_int_equal(device_open_volatile(disk, path_of("garbage"), &device), ERROR_CORRUPT);
    uint64_t entries = 1000;
    put_bytes(cache, 16, &entries, sizeof(entries));
    assert_int_equal(device_open_volatile(disk, cache, &device), ERROR_CORRUPT);
    entries = 1;
    put_bytes(cache, 16, &entries, sizeof(entries));
    assert_int_equal(device_open_volatile(disk, cache, &device), ERROR_CORRUPT);
    expect_sentence(ERROR_CORRUPT, cache);
}

static void an_impossible_cache_is_not_created(void **state)
{
    (void)state;
    assert_int_equal(volatile_cache_create(path_of("other"), 100), ERROR_INVALID);
    assert_int_equal(volatile_cache_create(path_of("other"), UINT64_MAX), ERROR_INVALID);
    assert_int_equal(volatile_cache_create(cache, BLOCK), ERROR_EXISTS);
}

static void no_crash_while_the_writer_lives(void **state)
{
    (void)state;
    open_device();
    assert_int_equal(volatile_crash_apply(disk, cache, VOLATILE_DROP_ALL, 1), ERROR_IN_USE);
}

static void a_file_cut_short_fails_reads(void **state)
{
    (void)state;
    open_device();
    assert_int_equal(truncate(disk, 10 * BLOCK), 0);
    assert_int_equal(device_read(device, 9 * BLOCK, buffer, 2 * BLOCK), ERROR_IO);
}

/* ---- reads and flushes ---------------------------------------------------------------------------------------- */

static void reads_see_the_newest_write_and_the_file_sees_none(void **state)
{
    (void)state;
    open_device();
    write_value(3, 4, 'a', 0);
    write_value(4, 1, 'b', 0);
    expect_content(3, 1, 'a');
    expect_content(4, 1, 'b');
    expect_content(5, 2, 'a');
    expect_content(7, 1, 0);
    expect_on_disk(3, 4, 0);
}

static void a_flush_moves_everything_to_the_file(void **state)
{
    (void)state;
    open_device();
    write_value(3, 4, 'a', 0);
    write_value(4, 1, 'b', 0);
    assert_int_equal(device_flush(device), ERROR_NONE);
    expect_on_disk(3, 1, 'a');
    expect_on_disk(4, 1, 'b');
    expect_content(4, 1, 'b');
    write_value(4, 1, 'c', 0);
    expect_content(4, 1, 'c');
    expect_content(5, 1, 'a');
}

static void a_discarded_range_reads_as_zeros(void **state)
{
    (void)state;
    open_device();
    write_value(0, 16, 'a', 0);
    assert_int_equal(device_flush(device), ERROR_NONE);
    assert_int_equal(device_discard(device, 4 * BLOCK, 8 * BLOCK), ERROR_NONE);
    expect_content(4, 8, 0);
    expect_on_disk(4, 8, 'a');
    write_value(5, 1, 'b', 0);
    expect_content(5, 1, 'b');
    assert_int_equal(device_flush(device), ERROR_NONE);
    expect_on_disk(3, 1, 'a');
    expect_on_disk(5, 1, 'b');
    expect_on_disk(6, 6, 0);
}

static void more_than_the_cache_holds_is_moved_early(void **state)
{
    (void)state;
    open_device();
    write_value(0, CACHE_BLOCKS - 1, 'a', 0);
    write_value(100, 2, 'b', 0);
    write_value(0, DISK_BLOCKS, 'c', 0);
    expect_content(0, DISK_BLOCKS, 'c');
    assert_int_equal(device_discard(device, 0, DISK_BLOCKS * BLOCK), ERROR_NONE);
    expect_content(0, DISK_BLOCKS, 0);
    for (size_t i = 0; i < 3 * CACHE_BLOCKS; i++)
        assert_int_equal(device_discard(device, i * BLOCK, BLOCK), ERROR_NONE);
    write_value(9, 1, 'd', 0);
    expect_content(9, 1, 'd');
    expect_content(10, 1, 0);
}

static void a_reopened_device_still_has_its_cache(void **state)
{
    (void)state;
    open_device();
    write_value(3, 1, 'a', 0);
    write_value(3, 1, 'b', 0);
    device_close(device);
    open_device();
    expect_content(3, 1, 'b');
    expect_on_disk(3, 1, 0);
}

/* ---- crashes -------------------------------------------------------------------------------------------------- */

enum { UNFLUSHED = 40 };

static void write_then_flush_then_write(void)
{
    write_value(0, 1, 'f', 0);
    assert_int_equal(device_flush(device), ERROR_NONE);
    write_value(0, 1, 'u', 0);
    for (size_t i = 1; i <= UNFLUSHED; i++)
        write_value(i, 1, 'u', 0);
}

static void a_crash_that_drops_all_keeps_what_was_flushed(void **state)
{
    (void)state;
    run_and_kill(write_then_flush_then_write);
    crash(VOLATILE_DROP_ALL, 1);
    expect_on_disk(0, 1, 'f');
    expect_on_disk(1, UNFLUSHED, 0);
    open_device();
    expect_content(0, 1, 'f');
}

static void a_crash_that_keeps_all_keeps_the_newest(void **state)
{
    (void)state;
    run_and_kill(write_then_flush_then_write);
    crash(VOLATILE_KEEP_ALL, 1);
    expect_on_disk(0, UNFLUSHED + 1, 'u');
}

static size_t count_kept(void)
{
    size_t kept = 0;
    int file = open(disk, O_RDONLY | O_CLOEXEC);
    for (size_t i = 1; i <= UNFLUSHED; i++) {
        assert_int_equal(pread(file, buffer, BLOCK, (off_t)(i * BLOCK)), BLOCK);
        expect_filled(buffer, BLOCK, buffer[0]);
        kept += buffer[0] == 'u';
    }
    close(file);
    return kept;
}

static void a_subset_holds_whole_writes_and_differs_by_seed(void **state)
{
    (void)state;
    size_t partial = 0;
    for (uint64_t seed = 0; seed < 8; seed++) {
        make_file(disk, DISK_BLOCKS * BLOCK);
        run_and_kill(write_then_flush_then_write);
        crash(VOLATILE_SUBSET, seed);
        size_t kept = count_kept();
        partial += kept > 0 && kept < UNFLUSHED;
    }
    assert_true(partial >= 3);
}

static void write_one_large(void)
{
    write_value(0, 32, 't', 0);
}

/* How many sectors of the large write are there; each is whole. */
static size_t count_sectors(void)
{
    size_t kept = 0;
    int file = open(disk, O_RDONLY | O_CLOEXEC);
    assert_int_equal(pread(file, buffer, 32 * BLOCK, 0), 32 * BLOCK);
    close(file);
    for (size_t i = 0; i < 32 * BLOCK; i += 512) {
        expect_filled(buffer + i, 512, buffer[i]);
        kept += buffer[i] == 't';
    }
    return kept;
}

static void a_torn_write_is_torn_between_sectors(void **state)
{
    (void)state;
    size_t torn = 0;
    for (uint64_t seed = 0; seed < 32; seed++) {
        make_file(disk, DISK_BLOCKS * BLOCK);
        run_and_kill(write_one_large);
        crash(VOLATILE_SUBSET_TORN, seed);
        size_t kept = count_sectors();
        torn += kept % 8 != 0;
    }
    assert_true(torn > 0);
}

static void write_durable_among_others(void)
{
    write_value(0, 2, 'o', 0);
    write_value(1, 2, 'd', DEVICE_DURABLE);
    write_value(4, 1, 'o', 0);
    write_value(2, 1, 'n', 0);
}

static void a_durable_write_survives_alone_and_is_not_overwritten_by_older_ones(void **state)
{
    (void)state;
    const enum volatile_crash kinds[] = {VOLATILE_DROP_ALL, VOLATILE_KEEP_ALL, VOLATILE_SUBSET, VOLATILE_SUBSET_TORN};
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        make_file(disk, DISK_BLOCKS * BLOCK);
        run_and_kill(write_durable_among_others);
        crash(kinds[i], i);
        expect_on_disk(1, 1, 'd');
        if (kinds[i] == VOLATILE_DROP_ALL) {
            expect_on_disk(0, 1, 0);
            expect_on_disk(2, 1, 'd');
            expect_on_disk(4, 1, 0);
        }
    }
}

static void the_same_seed_decides_the_same(void **state)
{
    (void)state;
    unsigned char *first = blocks_new(32);
    for (int run = 0; run < 2; run++) {
        make_file(disk, DISK_BLOCKS * BLOCK);
        run_and_kill(write_one_large);
        crash(VOLATILE_SUBSET_TORN, 77);
        count_sectors();
        if (run == 0)
            memcpy(first, buffer, 32 * BLOCK);
    }
    assert_memory_equal(first, buffer, 32 * BLOCK);
    free(first);
}

static void devices_are_decided_apart(void **state)
{
    (void)state;
    char disks[2][128], caches[2][128];
    for (int i = 0; i < 2; i++) {
        snprintf(disks[i], sizeof(disks[i]), "%s/disk%d", folder, i);
        snprintf(caches[i], sizeof(caches[i]), "%s/cache%d", folder, i);
        assert_int_equal(volatile_cache_create(caches[i], CACHE_BLOCKS * BLOCK), ERROR_NONE);
    }
    bool differ = false;
    for (uint64_t seed = 0; seed < 6; seed++) {
        size_t kept[2];
        for (int i = 0; i < 2; i++) {
            make_file(disks[i], DISK_BLOCKS * BLOCK);
            memcpy(disk, disks[i], sizeof(disk));
            memcpy(cache, caches[i], sizeof(cache));
            run_and_kill(write_then_flush_then_write);
            crash(VOLATILE_SUBSET, seed);
            kept[i] = count_kept();
        }
        differ |= kept[0] != kept[1];
    }
    assert_true(differ);
}

static void write_forever(void)
{
    for (unsigned round = 1;; round++) {
        for (uint64_t block = 0; block < 8; block++)
            write_value(block, 1, (int)(round % 200), 0);
        if (round % 3 == 0)
            assert_int_equal(device_flush(device), ERROR_NONE);
    }
}

static void a_kill_at_any_moment_leaves_whole_blocks(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 10; i++) {
        pid_t child = fork();
        if (child == 0) {
            open_device();
            write_forever();
        }
        usleep(2000 + 700 * i);
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        crash(i % 2 == 0 ? VOLATILE_DROP_ALL : VOLATILE_SUBSET, i);
        open_device();
        for (uint64_t block = 0; block < 8; block++) {
            assert_int_equal(device_read(device, block * BLOCK, buffer, BLOCK), ERROR_NONE);
            expect_filled(buffer, BLOCK, buffer[0]);
        }
        device_close(device);
        device = NULL;
    }
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_missing_file_is_not_found),
        TEST(garbage_is_no_cache),
        TEST(an_impossible_cache_is_not_created),
        TEST(no_crash_while_the_writer_lives),
        TEST(a_file_cut_short_fails_reads),
        TEST(reads_see_the_newest_write_and_the_file_sees_none),
        TEST(a_flush_moves_everything_to_the_file),
        TEST(a_discarded_range_reads_as_zeros),
        TEST(more_than_the_cache_holds_is_moved_early),
        TEST(a_reopened_device_still_has_its_cache),
        TEST(a_crash_that_drops_all_keeps_what_was_flushed),
        TEST(a_crash_that_keeps_all_keeps_the_newest),
        TEST(a_subset_holds_whole_writes_and_differs_by_seed),
        TEST(a_torn_write_is_torn_between_sectors),
        TEST(a_durable_write_survives_alone_and_is_not_overwritten_by_older_ones),
        TEST(the_same_seed_decides_the_same),
        TEST(devices_are_decided_apart),
        TEST(a_kill_at_any_moment_leaves_whole_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
