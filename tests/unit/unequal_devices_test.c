/*
 * Devices of different sizes in one group: one segment size for all, no segment behind the end of its device, nearly all of
 * each in use. And what an earlier version made, in which each device had the segment size that its own size calls for.
 */
#include <fcntl.h>
#include <unistd.h>

#include "engine/device/kind.h"
#include "engine/group/geometry.h"
#include "engine/group/superblock_image.h"
#include "tests/unit/pool_fixture.h"

#define TERABYTE UINT64_C(1000000000000)

static char paths[GROUP_DEVICES_MAX][160];
static uint64_t sizes[GROUP_DEVICES_MAX];
static size_t device_count;

static int setup(void **context)
{
    const char *parent = getenv("TMPDIR");
    (void)context;
    snprintf(fixture_root, sizeof fixture_root, "%.40s/coffer-XXXXXX", parent != NULL ? parent : "/tmp");
    assert_non_null(mkdtemp(fixture_root));
    snprintf(fixture_directory, sizeof fixture_directory, "%s/pool", fixture_root);
    device_count = 0;
    return 0;
}

static void device_add(uint64_t size)
{
    size_t i = device_count++;
    sizes[i] = size / COFFER_BLOCK * COFFER_BLOCK;
    snprintf(paths[i], sizeof paths[i], "%s/disk%zu", fixture_root, i);
    assert_fine(device_create_file(paths[i], sizes[i]));
}

static enum error create(void)
{
    const char *given[GROUP_DEVICES_MAX];
    for (size_t i = 0; i < device_count; i++)
        given[i] = paths[i];
    error_forget();
    return pool_create(&(struct pool_create_options){.directory = fixture_directory,
                                                     .device_paths = given,
                                                     .device_count = device_count,
                                                     .fingerprint = POOL_FINGERPRINT_XXH3});
}

static void create_of(uint64_t first, uint64_t second)
{
    device_add(first);
    device_add(second);
    assert_fine(create());
}

/* ---- superblocks ----------------------------------------------------------------------------------------------------- */

static struct superblock superblock_read(size_t i)
{
    struct superblock_probe probe;
    struct device *device;
    assert_fine(device_open_file(paths[i], DEVICE_OPEN_READ_ONLY, &device));
    assert_fine(superblock_probe(device, &probe));
    device_close(device);
    return *superblock_newest(&probe);
}

/* As the version before wrote it: the geometry is that of the device alone, and the JSON does not tell it. */
static void superblock_age(size_t i)
{
    struct superblock_probe probe;
    struct superblock superblock;
    struct keyring *keyring;
    struct device *device;
    unsigned bad;
    assert_fine(device_open_file(paths[i], 0, &device));
    assert_fine(superblock_probe(device, &probe));
    assert_fine(superblock_open(device, &probe, kek_public, &superblock, &keyring, &bad));
    assert_fine(superblock_geometry(sizes[i], &superblock.segment_shift, &superblock.slot_count));
    char *told = strstr(superblock.json, ",\"segment_shift\":");
    if (told)
        memmove(told, strchr(told, '}'), strlen(strchr(told, '}')) + 1);
    assert_fine(superblock_write(device, &superblock, keyring, kek_public));
    keyring_destroy(keyring);
    superblock_forget(&superblock);
    device_close(device);
}

static void create_of_old(uint64_t first, uint64_t second)
{
    create_of(first, second);
    superblock_age(0);
    superblock_age(1);
}

static void superblocks_spoil(size_t i, uint32_t first)
{
    int descriptor = open(paths[i], O_WRONLY | O_CLOEXEC);
    for (uint32_t copy = first; copy < SUPERBLOCK_COPIES; copy++)
        assert_int_equal(pwrite(descriptor, "spoiled", 8, (off_t)superblock_offset(sizes[i], copy)), 8);
    close(descriptor);
}

static void tail_read(size_t i, uint8_t *tail)
{
    int descriptor = open(paths[i], O_RDONLY | O_CLOEXEC);
    assert_int_equal(pread(descriptor, tail, AREA_SIZE, (off_t)(sizes[i] - AREA_SIZE)), AREA_SIZE);
    close(descriptor);
}

/* ---- pools --------------------------------------------------------------------------------------------------------------- */

static void assert_no_segment_reaches_over_an_end(void)
{
    const struct segments *segments = &pool->group->segments;
    for (size_t d = 0; d < device_count; d++)
        for (uint32_t i = 0; i < segments->slot_count[d]; i++)
            assert_true(segment_offset(segments, segments->slot_first[d] + i) + segment_size(segments) <= sizes[d] - AREA_SIZE);
}

/* Nothing that is not there is promised, and of what is there so many percent are used. */
static void assert_capacity(unsigned percent)
{
    struct pool_status status;
    uint64_t all = 0;
    for (size_t d = 0; d < device_count; d++)
        all += sizes[d];
    assert_fine(pool_status(pool, &status));
    assert_true(status.capacity_bytes < all && status.capacity_bytes > all / 100 * percent);
}

static void assert_serves(unsigned percent)
{
    assert_fine(pool_try_open());
    assert_no_segment_reaches_over_an_end();
    assert_capacity(percent);
    make("disk", GIB);
    for (unsigned i = 1; i < 64; i++)
        write_block("disk", (uint64_t)i * COFFER_BLOCK, i);
    pool_reopen(false);
    for (unsigned i = 1; i < 64; i++)
        assert_block("disk", (uint64_t)i * COFFER_BLOCK, i);
    pool_close_checked();
}

static void assert_repaired(void)
{
    struct pool_open_options options = {.memory = FIXTURE_MEMORY};
    assert_fine(pool_repair(fixture_directory, &options, NULL));
}

/* ---- made now ------------------------------------------------------------------------------------------------------------ */

static void devices_of_different_sizes_are_used_nearly_whole_whatever_their_order(void **context)
{
    static const uint64_t pairs[][2] = {{TERABYTE, TERABYTE / 2}, {TERABYTE / 2, TERABYTE}, {8 * TIB, 100 * GIB}};
    (void)context;
    for (size_t n = 0; n < COUNT_OF(pairs); n++) {
        create_of(pairs[n][0], pairs[n][1]);
        for (size_t i = 0; i < device_count; i++) {
            struct superblock found = superblock_read(i);
            assert_int_equal(found.segment_shift, superblock_read(0).segment_shift);
            uint64_t used = 2 * AREA_SIZE + ((uint64_t)found.slot_count << found.segment_shift);
            assert_true(used <= sizes[i] && sizes[i] - used < UINT64_C(1) << found.segment_shift);
        }
        assert_int_equal(nftw(fixture_root, fixture_remove, 8, FTW_DEPTH | FTW_PHYS), 0);
        setup(NULL);
    }
}

static void a_group_of_different_sizes_serves_and_tells_its_capacity(void **context)
{
    (void)context;
    create_of(600 * GIB, 500 * GIB);
    assert_serves(80);
}

/* What is written to all of them leaves the superblocks behind them whole. */
static void each_slot_of_the_small_device_can_be_written(void **context)
{
    (void)context;
    create_of(600 * GIB, 300 * MIB);
    assert_fine(pool_try_open());
    assert_no_segment_reaches_over_an_end();
    uint32_t index = segment_take_slot(&pool->group->segments, 1);
    AUTO_FREE void *bytes = memory_aligned(segment_size(&pool->group->segments));
    memset(bytes, 0x55, segment_size(&pool->group->segments));
    for (; index != SEGMENT_NONE; index = segment_take_slot(&pool->group->segments, 1)) {
        uint64_t offset = segment_offset(&pool->group->segments, index);
        assert_fine(device_write(pool->group->devices[1], offset, bytes, segment_size(&pool->group->segments), 0));
    }
    pool_crash();
    assert_serves(80);
}

static void a_device_with_too_few_of_the_groups_segments_is_refused(void **context)
{
    (void)context;
    device_add(600 * GIB);
    device_add(130 * MIB);
    enum error error = create();
    assert_refused(error, ERROR_INVALID, paths[1]);
    assert_refused(error, ERROR_INVALID, "at least 258 MiB");
}

static void a_device_that_would_be_used_in_part_is_refused(void **context)
{
    const uint64_t most = UINT64_C(128) << 40, slack = GIB - COFFER_BLOCK;
    (void)context;
    assert_fine(geometry_check_largest(most + 2 * AREA_SIZE + slack));
    device_count = 1;
    snprintf(paths[0], sizeof paths[0], "%s/disk", fixture_root);
    if (device_create_file(paths[0], most + 2 * AREA_SIZE + GIB) != ERROR_NONE)
        skip(); /* not every file system has files of that size */
    assert_refused(create(), ERROR_TOO_LARGE, "128 TiB");
}

/* All pages twice, none of which compresses, in half of the segments that a record names: so they are not all written anew
 * each time. */
static void the_segment_table_of_many_large_devices_fits_into_what_may_hold_it(void **context)
{
    uint64_t pages = 0;
    (void)context;
    for (size_t i = 0; i < GROUP_DEVICES_MAX; i++)
        device_add(500 * GIB);
    assert_fine(create());
    for (size_t i = 0; i < device_count; i++)
        pages += superblock_read(i).slot_count / 128 + 1;
    assert_true(2 * pages * (BLOCK_SIZE + 64) <= (uint64_t)TABLE_SEGMENTS_MAX / 2 << superblock_read(0).segment_shift);
}

/* What the conf says, less what a server keeps. */
static enum error open_as_a_server(void)
{
    struct pool_conf *conf;
    assert_fine(pool_conf_read(fixture_directory, &conf));
    uint64_t memory = conf->memory;
    pool_conf_destroy(conf);
    struct pool_open_options options = {.memory = memory - memory / POOL_MEMORY_SERVER_SHARE};
    error_forget();
    return pool_open(fixture_directory, &options, &pool);
}

static void a_pool_of_many_large_devices_opens_with_the_memory_of_its_conf(void **context)
{
    (void)context;
    for (size_t i = 0; i < GROUP_DEVICES_MAX; i++)
        device_add(480 * GIB);
    assert_fine(create());
    assert_fine(open_as_a_server());
    assert_fine(pool_close(pool));
}

static void an_open_that_lacks_memory_takes_no_epoch(void **context)
{
    struct pool_open_options options = {.memory = FIXTURE_MEMORY};
    (void)context;
    for (size_t i = 0; i < GROUP_DEVICES_MAX; i++)
        device_add(480 * GIB);
    assert_fine(create());
    assert_fine(open_as_a_server());
    uint64_t epoch = pool->epoch;
    assert_fine(pool_close(pool));
    for (unsigned i = 0; i < 3; i++)
        assert_refused(pool_open(fixture_directory, &options, &pool), ERROR_NO_MEMORY, "`memory` is too small");
    assert_fine(open_as_a_server());
    assert_int_equal(pool->epoch, epoch + 1);
    assert_fine(pool_close(pool));
}

static void a_lost_superblock_comes_back_with_the_groups_segment_size(void **context)
{
    (void)context;
    create_of(600 * GIB, 500 * GIB);
    assert_fine(pool_try_open());
    assert_fine(pool_close(pool));
    struct superblock before = superblock_read(1);
    superblocks_spoil(1, 0);
    assert_repaired();
    assert_int_equal(superblock_read(1).segment_shift, before.segment_shift);
    assert_int_equal(superblock_read(1).slot_count, before.slot_count);
    assert_serves(80);
}

/* ---- made before ----------------------------------------------------------------------------------------------------------- */

static void an_old_group_that_begins_with_its_small_device_goes_on_as_it_was(void **context)
{
    (void)context;
    create_of_old(500 * GIB, 600 * GIB);
    struct superblock before = superblock_read(1);
    assert_serves(60);
    assert_int_equal(superblock_read(1).segment_shift, before.segment_shift);
    assert_int_equal(superblock_read(1).slot_count, before.slot_count);
}

static void an_old_lost_superblock_comes_back_as_it_was(void **context)
{
    (void)context;
    create_of_old(500 * GIB, 600 * GIB);
    assert_fine(pool_try_open());
    assert_fine(pool_close(pool));
    for (size_t i = 0; i < device_count; i++) {
        struct superblock before = superblock_read(i);
        superblocks_spoil(i, 0);
        assert_repaired();
        assert_int_equal(superblock_read(i).segment_shift, before.segment_shift);
        assert_int_equal(superblock_read(i).slot_count, before.slot_count);
    }
    assert_serves(60);
}

static void an_old_groups_slots_behind_the_end_of_a_device_are_not_used(void **context)
{
    (void)context;
    create_of_old(600 * GIB, 500 * GIB);
    assert_serves(80);
}

/* One was begun in the slot that the tail area lies in, and went on over the superblocks there. */
static void an_old_groups_segment_behind_the_end_keeps_it_closed_and_is_left_as_it_is(void **context)
{
    static uint8_t before[AREA_SIZE], after[AREA_SIZE];
    struct pool_open_options options = {.memory = FIXTURE_MEMORY};
    (void)context;
    create_of_old(600 * GIB, 500 * GIB);
    assert_fine(pool_try_open());
    struct segment_header header = {.segment = {.serial = 77, .kind = SEGMENT_TWIN, .log_key = 1}, .device = 1, .slot = 63999};
    assert_fine(segment_header_write(pool->group, &header));
    assert_fine(pool_close(pool));
    superblocks_spoil(1, 2);
    tail_read(1, before);
    assert_refused(pool_try_open(), ERROR_UNSUPPORTED, "slot 63999");
    assert_refused(pool_repair(fixture_directory, &options, NULL), ERROR_UNSUPPORTED, "slot 63999");
    tail_read(1, after);
    assert_memory_equal(before, after, sizeof before);
    pool = NULL;
}

static int teardown(void **context)
{
    (void)context;
    return nftw(fixture_root, fixture_remove, 8, FTW_DEPTH | FTW_PHYS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(devices_of_different_sizes_are_used_nearly_whole_whatever_their_order),
        TEST(a_group_of_different_sizes_serves_and_tells_its_capacity),
        TEST(each_slot_of_the_small_device_can_be_written),
        TEST(a_device_with_too_few_of_the_groups_segments_is_refused),
        TEST(a_device_that_would_be_used_in_part_is_refused),
        TEST(the_segment_table_of_many_large_devices_fits_into_what_may_hold_it),
        TEST(a_pool_of_many_large_devices_opens_with_the_memory_of_its_conf),
        TEST(an_open_that_lacks_memory_takes_no_epoch),
        TEST(a_lost_superblock_comes_back_with_the_groups_segment_size),
        TEST(an_old_group_that_begins_with_its_small_device_goes_on_as_it_was),
        TEST(an_old_lost_superblock_comes_back_as_it_was),
        TEST(an_old_groups_slots_behind_the_end_of_a_device_are_not_used),
        TEST(an_old_groups_segment_behind_the_end_keeps_it_closed_and_is_left_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
