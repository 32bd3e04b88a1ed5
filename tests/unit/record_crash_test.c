/*
 * Checkpoint records of several devices: whatever a crash leaves of those that are being written, each device keeps the
 * one that the witness saw on it, or a later one; else its owner would be told that it was rolled back.
 */
#include "tests/unit/group_fixture.h"

#include <errno.h>
#include <fcntl.h>

#include "base/message.h"
#include "engine/device/kind.h"

#define TORN_DEVICE 1
#define SECTOR      512

/* The power goes while the record of one device is on its way: no flush covers what is torn. */
static struct {
    struct device_operations operations;
    const struct device_operations *real;
    uint64_t device_size;
    const char *path;
    bool at_work, torn;
} tearing;

static bool is_record(const struct device_io *io)
{
    struct superblock superblock = {.device_size = tearing.device_size};
    for (uint32_t copy = 0; copy < CHECKPOINT_COPIES; copy++)
        if (io->operation == DEVICE_WRITE && io->offset == checkpoint_offset(&superblock, copy))
            return true;
    return false;
}

static void write_torn(const struct device_io *io)
{
    int file = open(tearing.path, O_WRONLY | O_CLOEXEC);
    assert_true(file >= 0);
    assert_int_equal(pwrite(file, io->buffer, SECTOR, (off_t)io->offset), SECTOR);
    close(file);
    tearing.torn = true;
}

static void tearing_submit(struct device_io **ios, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (tearing.at_work && is_record(ios[i])) {
            write_torn(ios[i]);
            io_complete(ios[i], ERROR_NONE, 0);
        } else if (tearing.torn && ios[i]->operation == DEVICE_FLUSH) {
            io_complete(ios[i], ERROR_IO, EIO);
        } else {
            tearing.real->submit(&ios[i], 1);
        }
    }
}

static enum error open_tearing(struct fixture *f, uint32_t index, struct device **device)
{
    TRY(device_open_file(f->paths[index], 0, device));
    if (index != TORN_DEVICE)
        return ERROR_NONE;
    tearing.real = (*device)->operations;
    tearing.operations = *tearing.real;
    tearing.operations.submit = tearing_submit;
    tearing.operations.run = NULL;
    tearing.device_size = f->superblocks[index].device_size;
    tearing.path = f->paths[index];
    tearing.torn = false;
    (*device)->operations = &tearing.operations;
    return ERROR_NONE;
}

static uint64_t record_number(const struct fixture *f, uint32_t index)
{
    struct checkpoint checkpoint = {0};
    struct device *device;
    assert_int_equal(device_open_file(f->paths[index], DEVICE_OPEN_READ_ONLY, &device), ERROR_NONE);
    enum error error = checkpoint_read(device, &f->superblocks[index], f->keyrings[index], &checkpoint);
    device_close(device);
    return error ? 0 : checkpoint.number;
}

static void a_device_keeps_the_record_that_was_seen_whatever_crashes_leave(void **state)
{
    struct fixture *f = *state;
    message_level_set(MESSAGE_ERROR - 1);
    fixture_write(f, COMPONENT, 7, 1);
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    uint64_t seen = f->group->checkpoint.number;
    f->open_device = open_tearing;
    tearing.at_work = true;
    fixture_crash(f);
    for (unsigned crashes = 0; crashes < 4; crashes++) {
        assert_int_not_equal(fixture_try_open(f), ERROR_NONE);
        assert_in_range(record_number(f, TORN_DEVICE), seen, UINT64_MAX);
    }
    tearing.at_work = false;
    fixture_open(f);
    fixture_expect(f, COMPONENT, 7, 1);
    fixture_crash(f);
    assert_int_equal(record_number(f, 0), record_number(f, TORN_DEVICE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_device_keeps_the_record_that_was_seen_whatever_crashes_leave,
                                        fixture_setup_two, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
