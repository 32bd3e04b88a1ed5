/* The device that makes data anew: what is read is what was written, wherever chunks stand, and takes a hundredth. */
#include "tests/unit/device_fixture.h"

#include <sys/stat.h>

#include "base/message.h"
#include "bench/regenerated.h"

enum { DISK_BLOCKS = 1024, APPEND_BLOCKS = 256, UNIT_BYTES = 4 * GENERATOR_CHUNK };

static struct generator *generator;
static struct device *device;
static uint8_t *written, *found;
static uint64_t dice;

static uint8_t *blocks_of(size_t count)
{
    uint8_t *bytes = memory_aligned(count * BLOCK);
    assert_non_null(bytes);
    return bytes;
}

static struct generator *made(uint64_t seed)
{
    struct generator_options options = {.seed = seed};
    struct generator *one;
    assert_int_equal(generator_create(&options, &one), ERROR_NONE);
    return one;
}

static void noise(uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)generator_mix(dice++);
}

static void device_open(void)
{
    assert_int_equal(regenerated_open(path_of("disk"), 0, generator, &device), ERROR_NONE);
}

static int set_up(void **state)
{
    message_level_set(MESSAGE_ERROR - 1);
    if (folder_make(state) != 0)
        return -1;
    generator = made(7);
    written = blocks_of(DISK_BLOCKS);
    found = blocks_of(DISK_BLOCKS);
    make_file(path_of("disk"), DISK_BLOCKS * BLOCK);
    device_open();
    return 0;
}

static int tear_down(void **state)
{
    device_close(device);
    generator_destroy(generator);
    free(written);
    free(found);
    return folder_remove(state);
}

/* As an append of the log: a header, units of four chunks behind headers of theirs, records, zeros. */
static void append_make(uint8_t *append, const struct generator *data, uint64_t position)
{
    size_t at = 112, end = APPEND_BLOCKS * BLOCK - 3 * BLOCK;
    memset(append, 0, APPEND_BLOCKS * BLOCK);
    noise(append, at);
    while (at + 52 + UNIT_BYTES <= end) {
        noise(append + at, 52);
        generator_fill(data, 3, position, append + at + 52, 4);
        position += 4;
        at = ROUND_UP(at + 52 + UNIT_BYTES, 16);
    }
    noise(append + at, 5000);
}

static void write_blocks(uint64_t first, size_t count)
{
    assert_int_equal(device_write(device, first * BLOCK, written + first * BLOCK, count * BLOCK, 0), ERROR_NONE);
}

static void expect_all(void)
{
    assert_int_equal(device_read(device, 0, found, DISK_BLOCKS * BLOCK), ERROR_NONE);
    assert_memory_equal(found, written, DISK_BLOCKS * BLOCK);
    for (uint64_t i = 0; i < DISK_BLOCKS; i += 3) {
        assert_int_equal(device_read(device, i * BLOCK, found, BLOCK), ERROR_NONE);
        assert_memory_equal(found, written + i * BLOCK, BLOCK);
    }
}

static void appends_write(void)
{
    memset(written, 0, DISK_BLOCKS * BLOCK);
    append_make(written + 2 * BLOCK, generator, 0);
    append_make(written + 300 * BLOCK, generator, 100000);
    write_blocks(2, APPEND_BLOCKS);
    write_blocks(300, APPEND_BLOCKS);
}

static uint64_t bytes_taken(const char *name)
{
    struct stat status;
    assert_int_equal(stat(path_of(name), &status), 0);
    return (uint64_t)status.st_blocks * 512;
}

static void what_was_never_written_is_zeros(void **state)
{
    (void)state;
    memset(written, 0, DISK_BLOCKS * BLOCK);
    expect_all();
}

static void chunks_between_other_bytes_are_read_as_they_were_written(void **state)
{
    (void)state;
    appends_write();
    expect_all();
    assert_true(bytes_taken("disk") + bytes_taken("disk.table") + bytes_taken("disk.cuts") < 64 * BLOCK);
}

static void all_of_it_is_there_when_the_device_is_opened_again(void **state)
{
    (void)state;
    appends_write();
    device_close(device);
    device_open();
    append_make(written + 600 * BLOCK, generator, 5);
    write_blocks(600, APPEND_BLOCKS);
    expect_all();
}

static void what_is_overwritten_or_discarded_is_forgotten(void **state)
{
    (void)state;
    appends_write();
    noise(written + 10 * BLOCK, 20 * BLOCK);
    write_blocks(10, 20);
    generator_fill(generator, 0, 9, written + 100 * BLOCK, 7);
    write_blocks(100, 7);
    memset(written + 310 * BLOCK, 0, 40 * BLOCK);
    assert_int_equal(device_discard(device, UINT64_C(310) * BLOCK, UINT64_C(40) * BLOCK), ERROR_NONE);
    expect_all();
}

/* As the pages of a table beside units, more than are handed to the file at once; the last is beyond the disk's end. */
static void many_are_read_at_once(void **state)
{
    enum { READS = 200 };
    static struct device_io ios[READS];
    (void)state;
    appends_write();
    noise(written + 600 * BLOCK, 300 * BLOCK);
    write_blocks(600, 300);
    for (size_t i = 0; i < READS; i++) {
        size_t first = i * 5 % (DISK_BLOCKS - 20) + (i % 2 ? 0 : 3);
        ios[i] = (struct device_io){.device = device,
                                    .operation = DEVICE_READ,
                                    .offset = first * BLOCK,
                                    .size = (1 + i % 20) * BLOCK,
                                    .buffer = blocks_of(20)};
    }
    ios[READS - 1].offset = DISK_BLOCKS * BLOCK;
    assert_int_equal(device_run(ios, READS), ERROR_OUT_OF_RANGE);
    for (size_t i = 0; i < READS; i++) {
        if (i < READS - 1) {
            assert_int_equal(ios[i].error, ERROR_NONE);
            assert_memory_equal(ios[i].buffer, written + ios[i].offset, ios[i].size);
        }
        free(ios[i].buffer);
    }
}

static void other_data_is_stored(void **state)
{
    (void)state;
    struct generator *other = made(8);
    memset(written, 0, DISK_BLOCKS * BLOCK);
    append_make(written, other, 0);
    generator_destroy(other);
    generator_fill(generator, 0, 1, written + 500 * BLOCK + 100, 1); /* the second write has its end */
    write_blocks(0, APPEND_BLOCKS);
    write_blocks(500, 1);
    write_blocks(501, 1);
    generator_fill(generator, 0, 2, written + 600 * BLOCK, 1);
    written[600 * BLOCK + 4095] ^= 1; /* all but its last byte */
    write_blocks(600, 1);
    expect_all();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_never_written_is_zeros),
        TEST(chunks_between_other_bytes_are_read_as_they_were_written),
        TEST(all_of_it_is_there_when_the_device_is_opened_again),
        TEST(many_are_read_at_once),
        TEST(what_is_overwritten_or_discarded_is_forgotten),
        TEST(other_data_is_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
