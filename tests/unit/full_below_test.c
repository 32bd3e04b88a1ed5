/* Two devices on two file systems of which one is full: writes go on while the other has space, and again when both have. */
#include "tests/unit/devices_fixture.h"
#include "tests/unit/failing_devices.h"
#include "tests/unit/fill_fixture.h"

static _Atomic int64_t space[DEVICES]; /* bytes that the file system of each still gives */
static _Atomic unsigned refusals;

static _Atomic int64_t *space_of(const struct device *device)
{
    return &space[strcmp(device->path, paths[0]) != 0];
}

/* What is discarded the file system gives again. */
static inline void submit_failing(struct device_io **ios, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ios[i]->operation == DEVICE_DISCARD)
            atomic_fetch_add(space_of(ios[i]->device), (int64_t)ios[i]->size);
    honest->submit(ios, count);
}

static enum error allocate_some(struct device *device, uint64_t offset, uint64_t size)
{
    _Atomic int64_t *left = space_of(device);
    if (atomic_fetch_sub(left, (int64_t)size) >= (int64_t)size)
        return honest->allocate(device, offset, size);
    atomic_fetch_add(left, (int64_t)size);
    atomic_fetch_add(&refusals, 1);
    return error_explain(ERROR_NO_SPACE, "%s: no space", device->path);
}

static enum error open_limited(const char *path, unsigned flags, void *context, struct device **device)
{
    TRY(open_failing(path, flags, context, device));
    failing.allocate = allocate_some;
    return ERROR_NONE;
}

static void setup_space(uint64_t first, uint64_t second)
{
    atomic_store(&space[0], (int64_t)first);
    atomic_store(&space[1], (int64_t)second);
    atomic_store(&refusals, 0);
    struct pool_open_options options = {.memory = FIXTURE_MEMORY, .open_device = open_limited};
    assert_fine(pool_open(fixture_directory, &options, &pool));
    make("disk", GIB);
}

static int setup(void **context)
{
    (void)context;
    devices_setup(NULL, NULL);
    return 0;
}

static void assert_written(uint64_t from, uint64_t end)
{
    uint8_t expected[COFFER_BLOCK], block[COFFER_BLOCK];
    uint64_t seed = component_of("disk") << 40;
    struct volume *volume;
    assert_fine(volume_open(pool, "disk", true, &volume));
    for (uint64_t i = from; i < end; i++) {
        noise_fill(expected, seed + i);
        assert_fine(block_io(volume, REQUEST_READ, i * COFFER_BLOCK, block));
        assert_memory_equal(block, expected, COFFER_BLOCK);
    }
    volume_close(volume);
}

static bool is_full_below(void)
{
    struct pool_status status;
    assert_fine(pool_status(pool, &status));
    return status.below_full;
}

/* Of the 252 MiB of the second the reserve is to be taken. */
static void the_other_file_system_is_asked_when_one_is_full(void **context)
{
    (void)context;
    setup_space(32 * MIB, FIXTURE_SIZE);
    uint64_t block = 0, done = fill_some("disk", &block, 1, FIXTURE_SIZE / COFFER_BLOCK / 2);
    assert_int_equal(done, FIXTURE_SIZE / COFFER_BLOCK / 2);
    assert_true(atomic_load(&refusals) > 0);
    assert_false(is_full_below());
    assert_written(0, block);
}

static void it_is_told_when_both_are_full_and_writing_goes_on_when_one_is_not(void **context)
{
    (void)context;
    setup_space(32 * MIB, 160 * MIB);
    uint64_t block = 0, before, more = 0;
    (void)fill_some("disk", &block, 1, FIXTURE_SIZE / COFFER_BLOCK);
    before = block;
    assert_true(before >= 64 * MIB / COFFER_BLOCK);
    assert_true(before < 192 * MIB / COFFER_BLOCK);
    assert_true(is_full_below());
    assert_written(0, before);
    atomic_store(&space[0], (int64_t)FIXTURE_SIZE);
    for (unsigned i = 0; i < 100 && more < 64 * MIB / COFFER_BLOCK; i++) {
        more += fill_some("disk", &block, 1, 64 * MIB / COFFER_BLOCK - more);
        clock_sleep(50 * CLOCK_MILLISECOND);
    }
    assert_int_equal(more, 64 * MIB / COFFER_BLOCK);
    assert_false(is_full_below());
    assert_written(0, block);
}

/* What was overwritten comes back, of the device that can be written, although the other has slots that nobody can write. */
static void overwriting_goes_on_where_one_is_full_for_good(void **context)
{
    (void)context;
    setup_space(32 * MIB, FIXTURE_SIZE);
    for (unsigned round = 0; round < 6; round++) {
        uint64_t block = 0, count = 96 * MIB / COFFER_BLOCK;
        struct volume *volume;
        assert_fine(volume_open(pool, "disk", false, &volume));
        for (; block < count; block += FILL_BLOCKS)
            assert_fine(noise_write(volume, (block * 37) % count, 1, FILL_BLOCKS, (uint64_t)(round + 7) << 40 | block));
        volume_close(volume);
    }
    assert_true(atomic_load(&refusals) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_other_file_system_is_asked_when_one_is_full, setup, devices_teardown),
        cmocka_unit_test_setup_teardown(it_is_told_when_both_are_full_and_writing_goes_on_when_one_is_not, setup, devices_teardown),
        cmocka_unit_test_setup_teardown(overwriting_goes_on_where_one_is_full_for_good, setup, devices_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
