/* Files and block devices as they are opened, and their I/O from end to end. */
#include "tests/unit/device_fixture.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/message.h"

static struct device *device;
static unsigned char *buffer;

static int set_up(void **state)
{
    device = NULL;
    buffer = blocks_filled(4, 'x');
    message_level_set(MESSAGE_ERROR - 1);
    return folder_make(state);
}

static int tear_down(void **state)
{
    device_close(device);
    free(buffer);
    return folder_remove(state);
}

static void open_new_disk(uint64_t size)
{
    assert_int_equal(device_create_file(path_of("disk"), size), ERROR_NONE);
    assert_int_equal(device_open_file(path_of("disk"), 0, &device), ERROR_NONE);
}

static void a_missing_path_is_not_found(void **state)
{
    (void)state;
    assert_int_equal(device_open_file(path_of("nothing"), 0, &device), ERROR_NOT_FOUND);
    expect_sentence(ERROR_NOT_FOUND, path_of("nothing"));
}

static void what_is_no_storage_is_refused(void **state)
{
    (void)state;
    assert_int_equal(device_open_file(folder, 0, &device), ERROR_INVALID);
    assert_int_equal(device_open_file("/dev/null", 0, &device), ERROR_INVALID);
    assert_int_equal(mkfifo(path_of("pipe"), 0600), 0);
    assert_int_equal(device_open_file(path_of("pipe"), 0, &device), ERROR_INVALID);
    expect_sentence(ERROR_INVALID, path_of("pipe"));
}

static void a_file_without_a_whole_block_is_refused(void **state)
{
    (void)state;
    make_file(path_of("disk"), BLOCK - 1);
    assert_int_equal(device_open_file(path_of("disk"), 0, &device), ERROR_INVALID);
    expect_sentence(ERROR_INVALID, path_of("disk"));
}

static void an_existing_file_is_not_created_again(void **state)
{
    (void)state;
    make_file(path_of("disk"), 3 * BLOCK);
    assert_int_equal(device_create_file(path_of("disk"), 8 * BLOCK), ERROR_EXISTS);
    struct stat status;
    assert_int_equal(stat(path_of("disk"), &status), 0);
    assert_int_equal(status.st_size, 3 * BLOCK);
}

static void an_impossible_size_leaves_no_file(void **state)
{
    (void)state;
    assert_int_equal(device_create_file(path_of("disk"), 0), ERROR_INVALID);
    assert_int_equal(device_create_file(path_of("disk"), UINT64_MAX), ERROR_INVALID);
    assert_int_not_equal(device_create_file(path_of("disk"), INT64_MAX), ERROR_NONE);
    assert_int_not_equal(access(path_of("disk"), F_OK), 0);
}

static void a_created_file_is_sparse_and_private(void **state)
{
    (void)state;
    assert_int_equal(device_create_file(path_of("disk"), UINT64_C(1) << 40), ERROR_NONE);
    struct stat status;
    assert_int_equal(stat(path_of("disk"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_true(status.st_blocks < 1000);
}

static void a_second_open_is_refused(void **state)
{
    (void)state;
    open_new_disk(8 * BLOCK);
    struct device *second;
    assert_int_equal(device_open_file(path_of("disk"), 0, &second), ERROR_IN_USE);
    expect_sentence(ERROR_IN_USE, path_of("disk"));
}

static void readers_share_a_file(void **state)
{
    (void)state;
    make_file(path_of("disk"), 8 * BLOCK);
    struct device *second;
    assert_int_equal(device_open_file(path_of("disk"), DEVICE_OPEN_READ_ONLY, &device), ERROR_NONE);
    assert_int_equal(device_open_file(path_of("disk"), DEVICE_OPEN_READ_ONLY, &second), ERROR_NONE);
    assert_int_equal(device_read(second, 0, buffer, BLOCK), ERROR_NONE);
    expect_filled(buffer, BLOCK, 0);
    assert_int_equal(device_write(second, 0, buffer, BLOCK, 0), ERROR_READ_ONLY);
    device_close(second);
}

static void a_block_at_the_end_that_is_not_whole_is_left_out(void **state)
{
    (void)state;
    make_file(path_of("disk"), 3 * BLOCK + 100);
    assert_int_equal(device_open_file(path_of("disk"), 0, &device), ERROR_NONE);
    assert_int_equal(device->size, 3 * BLOCK);
}

static void a_file_cut_short_while_open_fails_reads(void **state)
{
    (void)state;
    open_new_disk(8 * BLOCK);
    assert_int_equal(truncate(path_of("disk"), 2 * BLOCK + 512), 0);
    assert_int_equal(device_read(device, 0, buffer, 2 * BLOCK), ERROR_NONE);
    assert_int_equal(device_read(device, 0, buffer, 4 * BLOCK), ERROR_IO);
    assert_int_equal(device_read(device, 4 * BLOCK, buffer, BLOCK), ERROR_IO);
    assert_false(atomic_load(&device->fenced));
}

static void a_write_that_the_kernel_refuses_fences(void **state)
{
    (void)state;
    open_new_disk(8 * BLOCK);
    struct rlimit before, small = {.rlim_cur = 2 * BLOCK};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    enum error error = device_write(device, 4 * BLOCK, buffer, BLOCK, 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(error, ERROR_IO);
    assert_int_equal(device_write(device, 0, buffer, BLOCK, 0), ERROR_FENCED);
    assert_int_equal(device_flush(device), ERROR_FENCED);
    assert_int_equal(device_read(device, 0, buffer, BLOCK), ERROR_FENCED);
}

static void a_full_file_system_below_is_no_space_and_can_be_mended(void **state)
{
    (void)state;
    if (mount("coffer-test", folder, "tmpfs", 0, "size=64k") != 0)
        skip();
    open_new_disk(256 * BLOCK);
    enum error error = ERROR_NONE;
    uint64_t offset = 0;
    for (; error == ERROR_NONE && offset < device->size; offset += BLOCK)
        error = device_write(device, offset, buffer, BLOCK, 0);
    assert_int_equal(error, ERROR_NO_SPACE);
    expect_sentence(ERROR_NO_SPACE, path_of("disk"));
    assert_int_equal(device_read(device, 0, buffer, BLOCK), ERROR_NONE);
    expect_filled(buffer, BLOCK, 'x');
    assert_int_equal(device_discard(device, 0, 8 * BLOCK), ERROR_NONE);
    assert_int_equal(device_write(device, offset - BLOCK, buffer, BLOCK, 0), ERROR_NONE);
    device_close(device);
    device = NULL;
    assert_int_equal(umount2(folder, MNT_DETACH), 0);
}

static void what_was_written_is_read_after_a_reopen(void **state)
{
    (void)state;
    open_new_disk(64 * BLOCK);
    assert_int_equal(device_write(device, 8 * BLOCK, buffer, 4 * BLOCK, 0), ERROR_NONE);
    assert_int_equal(device_write(device, 63 * BLOCK, buffer, BLOCK, DEVICE_DURABLE), ERROR_NONE);
    assert_int_equal(device_flush(device), ERROR_NONE);
    device_close(device);
    assert_int_equal(device_open_file(path_of("disk"), 0, &device), ERROR_NONE);
    memset(buffer, 0, 4 * BLOCK);
    assert_int_equal(device_read(device, 8 * BLOCK, buffer, 4 * BLOCK), ERROR_NONE);
    expect_filled(buffer, 4 * BLOCK, 'x');
    assert_int_equal(device_read(device, 62 * BLOCK, buffer, 2 * BLOCK), ERROR_NONE);
    expect_filled(buffer, BLOCK, 0);
    expect_filled(buffer + BLOCK, BLOCK, 'x');
}

static void a_discard_gives_the_space_back(void **state)
{
    (void)state;
    open_new_disk(1024 * BLOCK);
    unsigned char *much = blocks_filled(1024, 'y');
    assert_int_equal(device_write(device, 0, much, 1024 * BLOCK, 0), ERROR_NONE);
    assert_int_equal(device_flush(device), ERROR_NONE);
    assert_int_equal(device_discard(device, 0, 1000 * BLOCK), ERROR_NONE);
    struct stat status;
    assert_int_equal(stat(path_of("disk"), &status), 0);
    assert_true(status.st_blocks < 100 * (BLOCK / 512));
    assert_int_equal(device_read(device, 1000 * BLOCK, much, 24 * BLOCK), ERROR_NONE);
    expect_filled(much, 24 * BLOCK, 'y');
    free(much);
}

static void a_file_system_without_direct_io_serves_as_well(void **state)
{
    (void)state;
    make_file("/dev/shm/coffer-file-device-test", 8 * BLOCK);
    enum error error = device_open_file("/dev/shm/coffer-file-device-test", 0, &device);
    unlink("/dev/shm/coffer-file-device-test");
    assert_int_equal(error, ERROR_NONE);
    assert_int_equal(device_write(device, BLOCK, buffer, BLOCK, DEVICE_DURABLE), ERROR_NONE);
    assert_int_equal(device_flush(device), ERROR_NONE);
    memset(buffer, 0, 2 * BLOCK);
    assert_int_equal(device_read(device, 0, buffer, 2 * BLOCK), ERROR_NONE);
    expect_filled(buffer + BLOCK, BLOCK, 'x');
}

static void a_block_device_is_exclusive_and_keeps_what_was_written(void **state)
{
    (void)state;
    char loop[64];
    make_file(path_of("disk"), 1024 * BLOCK);
    if (!loop_attach(path_of("disk"), loop, sizeof(loop)))
        skip();
    enum error error = device_open_file(loop, 0, &device);
    if (error == ERROR_NONE) {
        struct device *second;
        assert_int_equal(device->size, 1024 * BLOCK);
        assert_int_equal(device_open_file(loop, 0, &second), ERROR_IN_USE);
        assert_int_equal(device_write(device, 0, buffer, 4 * BLOCK, DEVICE_DURABLE), ERROR_NONE);
        assert_int_equal(device_flush(device), ERROR_NONE);
        enum error discarded = device_discard(device, BLOCK, BLOCK); /* as the file system below can */
        assert_true(discarded == ERROR_NONE || discarded == ERROR_UNSUPPORTED);
        memset(buffer, 0, 4 * BLOCK);
        assert_int_equal(device_read(device, 0, buffer, 4 * BLOCK), ERROR_NONE);
        expect_filled(buffer, BLOCK, 'x');
        device_close(device);
        device = NULL;
    }
    loop_detach(loop);
    assert_int_equal(error, ERROR_NONE);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_missing_path_is_not_found),
        TEST(what_is_no_storage_is_refused),
        TEST(a_file_without_a_whole_block_is_refused),
        TEST(an_existing_file_is_not_created_again),
        TEST(an_impossible_size_leaves_no_file),
        TEST(a_created_file_is_sparse_and_private),
        TEST(a_second_open_is_refused),
        TEST(readers_share_a_file),
        TEST(a_block_at_the_end_that_is_not_whole_is_left_out),
        TEST(a_file_cut_short_while_open_fails_reads),
        TEST(a_write_that_the_kernel_refuses_fences),
        TEST(a_full_file_system_below_is_no_space_and_can_be_mended),
        TEST(what_was_written_is_read_after_a_reopen),
        TEST(a_discard_gives_the_space_back),
        TEST(a_file_system_without_direct_io_serves_as_well),
        TEST(a_block_device_is_exclusive_and_keeps_what_was_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
