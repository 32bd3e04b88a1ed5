/* Answers that a healthy kernel gives rarely: errors, short and interrupted transfers. */
#include "tests/unit/device_fixture.h"

#include <errno.h>

#include "base/message.h"
#include "engine/device/kind.h"
#include "engine/device/transfer.h"

static const struct device_operations no_operations = {.kind = "file"};
static struct file_device made;
static unsigned char *buffer;

static int open_file(void **state)
{
    if (folder_make(state) != 0)
        return -1;
    make_file(path_of("disk"), 8 * BLOCK);
    memset(&made, 0, sizeof(made));
    made.file = open(path_of("disk"), O_RDWR | O_CLOEXEC);
    buffer = blocks_filled(4, 'x');
    message_level_set(MESSAGE_ERROR - 1);
    return device_init(&made.device, &no_operations, path_of("disk"), 8 * BLOCK, false) != ERROR_NONE;
}

static int close_file(void **state)
{
    close(made.file);
    free(buffer);
    device_deinit(&made.device);
    return folder_remove(state);
}

/* An operation as the kernel left it. */
static struct device_io finished(enum device_operation operation, size_t size, int result)
{
    struct device_io io = {.device = &made.device, .operation = operation, .size = size, .buffer = buffer};
    atomic_store(&io.state, IO_PENDING);
    transfer_finish(&io, result);
    assert_true(io_is_complete(&io));
    return io;
}

static void a_failed_write_takes_the_device_out_of_service(void **state)
{
    (void)state;
    assert_int_equal(finished(DEVICE_WRITE, BLOCK, -EIO).error, ERROR_IO);
    assert_true(atomic_load(&made.device.fenced));
    assert_int_equal(device_read(&made.device, 0, buffer, BLOCK), ERROR_FENCED);
}

static void a_failed_flush_takes_the_device_out_of_service(void **state)
{
    (void)state;
    assert_int_equal(finished(DEVICE_FLUSH, 0, -ENOSPC).error, ERROR_IO);
    assert_true(atomic_load(&made.device.fenced));
}

static void a_flush_that_ends_after_a_failed_write_is_none(void **state)
{
    (void)state;
    finished(DEVICE_WRITE, BLOCK, -EIO);
    assert_int_equal(finished(DEVICE_FLUSH, 0, 0).error, ERROR_FENCED);
}

static void a_full_file_system_is_no_failed_device(void **state)
{
    (void)state;
    assert_int_equal(finished(DEVICE_WRITE, BLOCK, -ENOSPC).error, ERROR_NO_SPACE);
    assert_int_equal(finished(DEVICE_WRITE, BLOCK, -EDQUOT).error, ERROR_NO_SPACE);
    assert_false(atomic_load(&made.device.fenced));
}

static void a_block_device_without_space_has_failed(void **state)
{
    (void)state;
    made.block = true;
    assert_int_equal(finished(DEVICE_WRITE, BLOCK, -ENOSPC).error, ERROR_IO);
    assert_true(atomic_load(&made.device.fenced));
}

static void a_failed_read_leaves_the_device_in_service(void **state)
{
    (void)state;
    struct device_io io = finished(DEVICE_READ, BLOCK, -EIO);
    assert_int_equal(device_wait(&io), ERROR_IO);
    expect_sentence(ERROR_IO, "/disk: read of 4096 bytes at offset 0 failed: Input/output error");
    assert_false(atomic_load(&made.device.fenced));
}

static void a_failed_discard_leaves_the_device_in_service(void **state)
{
    (void)state;
    assert_int_equal(finished(DEVICE_DISCARD, BLOCK, -EIO).error, ERROR_IO);
    assert_false(atomic_load(&made.device.fenced));
}

static void a_discard_that_is_not_supported_is_told_apart(void **state)
{
    (void)state;
    static const int answers[] = {EOPNOTSUPP, ENOTTY, ENOSYS, EINVAL};
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        struct device_io told = finished(DEVICE_DISCARD, BLOCK, -answers[i]);
        assert_int_equal(device_wait(&told), ERROR_UNSUPPORTED);
        expect_sentence(ERROR_UNSUPPORTED, "/disk does not discard");
    }
    assert_false(atomic_load(&made.device.fenced));
    made.block = true;
    struct device_io io = {.device = &made.device, .operation = DEVICE_DISCARD, .size = BLOCK};
    assert_false(transfer_can_queue(&io));
    atomic_store(&io.state, IO_PENDING);
    transfer_run(&io);
    assert_int_equal(io.error, ERROR_UNSUPPORTED);
}

static void a_read_at_the_end_of_the_file_is_an_error(void **state)
{
    (void)state;
    assert_int_equal(finished(DEVICE_READ, BLOCK, 0).error, ERROR_IO);
    assert_int_equal(finished(DEVICE_READ, BLOCK, 100).error, ERROR_IO);
    assert_int_equal(ftruncate(made.file, BLOCK + 512), 0);
    assert_int_equal(finished(DEVICE_READ, 4 * BLOCK, BLOCK).error, ERROR_IO);
    assert_false(atomic_load(&made.device.fenced));
}

static void a_short_read_is_continued(void **state)
{
    (void)state;
    unsigned char *on_disk = blocks_filled(3, 'd');
    put_bytes(path_of("disk"), 0, on_disk, 3 * BLOCK);
    assert_int_equal(finished(DEVICE_READ, 3 * BLOCK, BLOCK).error, ERROR_NONE);
    expect_filled(buffer, BLOCK, 'x');
    expect_filled(buffer + BLOCK, 2 * BLOCK, 'd');
    free(on_disk);
}

static void a_short_write_is_continued(void **state)
{
    (void)state;
    assert_int_equal(finished(DEVICE_WRITE, 3 * BLOCK, 512).error, ERROR_NONE);
    unsigned char *found = blocks_new(3);
    assert_int_equal(pread(made.file, found, 3 * BLOCK, 0), 3 * BLOCK);
    expect_filled(found, 512, 0);
    expect_filled(found + 512, 3 * BLOCK - 512, 'x');
    free(found);
}

static void an_interrupted_operation_is_done_again(void **state)
{
    (void)state;
    assert_int_equal(finished(DEVICE_WRITE, BLOCK, -EINTR).error, ERROR_NONE);
    memset(buffer, 0, BLOCK);
    assert_int_equal(finished(DEVICE_READ, BLOCK, -EAGAIN).error, ERROR_NONE);
    expect_filled(buffer, BLOCK, 'x');
    assert_int_equal(finished(DEVICE_FLUSH, 0, -EINTR).error, ERROR_NONE);
}

static void plain_system_calls_do_every_operation(void **state)
{
    (void)state;
    struct device_io io = {.device = &made.device, .operation = DEVICE_WRITE, .size = BLOCK, .buffer = buffer};
    io.flags = DEVICE_DURABLE;
    io.offset = BLOCK;
    atomic_store(&io.state, IO_PENDING);
    transfer_run(&io);
    assert_int_equal(io.error, ERROR_NONE);
    io.operation = DEVICE_DISCARD;
    io.done = 0;
    transfer_run(&io);
    io.operation = DEVICE_READ;
    io.done = 0;
    transfer_run(&io);
    assert_int_equal(io.error, ERROR_NONE);
    expect_filled(buffer, BLOCK, 0);
    io.operation = DEVICE_FLUSH;
    transfer_run(&io);
    assert_int_equal(io.error, ERROR_NONE);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, open_file, close_file)
    const struct CMUnitTest tests[] = {
        TEST(a_failed_write_takes_the_device_out_of_service),
        TEST(a_failed_flush_takes_the_device_out_of_service),
        TEST(a_flush_that_ends_after_a_failed_write_is_none),
        TEST(a_full_file_system_is_no_failed_device),
        TEST(a_block_device_without_space_has_failed),
        TEST(a_failed_read_leaves_the_device_in_service),
        TEST(a_failed_discard_leaves_the_device_in_service),
        TEST(a_discard_that_is_not_supported_is_told_apart),
        TEST(a_read_at_the_end_of_the_file_is_an_error),
        TEST(a_short_read_is_continued),
        TEST(a_short_write_is_continued),
        TEST(an_interrupted_operation_is_done_again),
        TEST(plain_system_calls_do_every_operation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
