/* The checks that every kind of device relies on, seen from a kind that only notes what reaches it. */
#include "tests/unit/device_fixture.h"

#include <sched.h>

#include "base/thread.h"
#include "engine/device/kind.h"

static size_t handed_over[8];
static size_t handed_over_count, waits;
static enum error next_error;

static void note_submit(struct device_io **ios, size_t count)
{
    handed_over[handed_over_count++] = count;
    for (size_t i = 0; i < count; i++)
        io_complete(ios[i], ios[i]->offset == 0 ? next_error : ERROR_NONE, 0);
}

static void note_wait(struct device_io *io)
{
    (void)io;
    waits++;
}

static const struct device_operations first_kind = {.kind = "first", .submit = note_submit, .wait = note_wait};
static const struct device_operations second_kind = {.kind = "second", .submit = note_submit, .wait = note_wait};

static struct device device, other;
static _Alignas(4096) unsigned char buffer[2 * BLOCK];

static int make_devices(void **state)
{
    (void)state;
    memset(&device, 0, sizeof(device));
    memset(&other, 0, sizeof(other));
    handed_over_count = waits = 0;
    next_error = ERROR_NONE;
    return device_init(&device, &first_kind, "/dev/first", 16 * BLOCK, false) != ERROR_NONE ||
           device_init(&other, &second_kind, "/dev/second", 16 * BLOCK, false) != ERROR_NONE;
}

static int drop_devices(void **state)
{
    (void)state;
    device_deinit(&device);
    device_deinit(&other);
    return 0;
}

static void what_is_not_in_whole_blocks_is_refused(void **state)
{
    (void)state;
    assert_int_equal(device_read(&device, 512, buffer, BLOCK), ERROR_INVALID);
    assert_int_equal(device_read(&device, 0, buffer, 100), ERROR_INVALID);
    assert_int_equal(device_write(&device, 0, buffer + 8, BLOCK, 0), ERROR_INVALID);
    assert_int_equal(device_discard(&device, 1, BLOCK), ERROR_INVALID);
    expect_sentence(ERROR_INVALID, "/dev/first");
    assert_int_equal(handed_over_count, 0);
}

static void what_reaches_beyond_the_end_is_refused(void **state)
{
    (void)state;
    assert_int_equal(device_read(&device, 16 * BLOCK, buffer, BLOCK), ERROR_OUT_OF_RANGE);
    assert_int_equal(device_write(&device, 15 * BLOCK, buffer, 2 * BLOCK, 0), ERROR_OUT_OF_RANGE);
    assert_int_equal(device_read(&device, UINT64_MAX - BLOCK + 1, buffer, 2 * BLOCK), ERROR_OUT_OF_RANGE);
    assert_int_equal(device_discard(&device, 0, UINT64_MAX - BLOCK + 1), ERROR_OUT_OF_RANGE);
    expect_sentence(ERROR_OUT_OF_RANGE, "/dev/first");
    assert_int_equal(handed_over_count, 0);
}

static void a_read_only_device_refuses_to_change(void **state)
{
    (void)state;
    device.read_only = true;
    assert_int_equal(device_write(&device, 0, buffer, BLOCK, 0), ERROR_READ_ONLY);
    assert_int_equal(device_discard(&device, 0, BLOCK), ERROR_READ_ONLY);
    assert_int_equal(device_flush(&device), ERROR_NONE);
    assert_int_equal(handed_over_count, 0);
    assert_int_equal(device_read(&device, 0, buffer, BLOCK), ERROR_NONE);
}

static void a_fenced_device_refuses_everything(void **state)
{
    (void)state;
    atomic_store(&device.fenced, true);
    assert_int_equal(device_read(&device, 0, buffer, BLOCK), ERROR_FENCED);
    assert_int_equal(device_write(&device, 0, buffer, BLOCK, 0), ERROR_FENCED);
    assert_int_equal(device_flush(&device), ERROR_FENCED);
    assert_int_equal(device_discard(&device, 0, BLOCK), ERROR_FENCED);
    expect_sentence(ERROR_FENCED, "/dev/first");
    assert_int_equal(handed_over_count, 0);
}

static void a_refused_operation_of_a_batch_leaves_the_others_alone(void **state)
{
    (void)state;
    struct device_io ios[3] = {
        {.device = &device, .operation = DEVICE_READ, .offset = BLOCK, .size = BLOCK, .buffer = buffer},
        {.device = &device, .operation = DEVICE_READ, .offset = 99 * BLOCK, .size = BLOCK, .buffer = buffer},
        {.device = &device, .operation = DEVICE_READ, .offset = 2 * BLOCK, .size = BLOCK, .buffer = buffer},
    };
    assert_int_equal(device_run(ios, 3), ERROR_OUT_OF_RANGE);
    assert_int_equal(ios[0].error, ERROR_NONE);
    assert_int_equal(ios[2].error, ERROR_NONE);
    assert_int_equal(handed_over[0], 2);
}

static void a_batch_returns_its_first_error_in_order(void **state)
{
    (void)state;
    next_error = ERROR_IO;
    struct device_io ios[2] = {
        {.device = &device, .operation = DEVICE_READ, .offset = 0, .size = BLOCK, .buffer = buffer},
        {.device = &device, .operation = DEVICE_READ, .offset = 99 * BLOCK, .size = BLOCK, .buffer = buffer},
    };
    assert_int_equal(device_run(ios, 2), ERROR_IO);
    expect_sentence(ERROR_IO, "read of 4096 bytes at offset 0");
}

static void an_operation_of_no_bytes_is_complete_at_once(void **state)
{
    (void)state;
    assert_int_equal(device_read(&device, 0, buffer, 0), ERROR_NONE);
    assert_int_equal(device_discard(&device, 0, 0), ERROR_NONE);
    assert_int_equal(handed_over_count, 0);
}

static void each_kind_gets_its_own_operations_together(void **state)
{
    (void)state;
    struct device_io ios[4] = {
        {.device = &device, .operation = DEVICE_READ, .size = BLOCK, .buffer = buffer},
        {.device = &device, .operation = DEVICE_READ, .size = BLOCK, .buffer = buffer},
        {.device = &other, .operation = DEVICE_READ, .size = BLOCK, .buffer = buffer},
        {.device = &device, .operation = DEVICE_FLUSH},
    };
    struct device_io *pointers[4] = {&ios[0], &ios[1], &ios[2], &ios[3]};
    device_submit(pointers, 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(device_wait(&ios[i]), ERROR_NONE);
    assert_int_equal(handed_over_count, 3);
    assert_int_equal(handed_over[0], 2);
    assert_int_equal(handed_over[1], 1);
    assert_int_equal(handed_over[2], 1);
    assert_int_equal(waits, 0);
}

static void operations_are_counted_when_they_start(void **state)
{
    (void)state;
    assert_int_equal(device_write(&device, 0, buffer, 2 * BLOCK, 0), ERROR_NONE);
    assert_int_equal(device_read(&device, 0, buffer, BLOCK), ERROR_NONE);
    assert_int_equal(device_flush(&device), ERROR_NONE);
    assert_int_equal(device_discard(&device, 0, BLOCK), ERROR_NONE);
    assert_int_equal(device_read(&device, 512, buffer, BLOCK), ERROR_INVALID);
    assert_int_equal(atomic_load(&device.stats.writes), 1);
    assert_int_equal(atomic_load(&device.stats.write_bytes), 2 * BLOCK);
    assert_int_equal(atomic_load(&device.stats.reads), 1);
    assert_int_equal(atomic_load(&device.stats.read_bytes), BLOCK);
    assert_int_equal(atomic_load(&device.stats.flushes), 1);
    assert_int_equal(atomic_load(&device.stats.discards), 1);
}

/* ---- a kind whose operations another thread completes ---------------------------------------------------------- */

enum { HANDED_ON = 20000 };

static _Atomic(struct device_io *) handed_on;

static void hand_on(struct device_io **ios, size_t count)
{
    assert_int_equal(count, 1);
    atomic_store(&handed_on, ios[0]);
}

static void spin(struct device_io *io)
{
    while (!io_is_complete(io))
        sched_yield();
}

static void complete_what_is_handed_on(void *argument)
{
    (void)argument;
    for (int done = 0, tries = 1; done < HANDED_ON; tries++) {
        struct device_io *io = atomic_exchange(&handed_on, NULL);
        if (io == NULL) {
            if (tries % 10000 == 0)
                sched_yield();
            continue;
        }
        io_complete(io, ERROR_NONE, 0);
        done++;
    }
}

static void an_operation_may_complete_while_its_waiter_looks(void **state)
{
    (void)state;
    const struct device_operations kind = {.kind = "handing", .submit = hand_on, .wait = spin};
    struct thread thread;
    device.operations = &kind;
    assert_int_equal(thread_start(&thread, "completer", complete_what_is_handed_on, NULL), ERROR_NONE);
    for (int i = 0; i < HANDED_ON; i++) {
        struct device_io io = {.device = &device, .operation = DEVICE_FLUSH}, *submitted = &io;
        device_submit(&submitted, 1);
        for (int pause = i % 1000; pause > 0; pause--)
            atomic_signal_fence(memory_order_seq_cst);
        assert_int_equal(device_wait(&io), ERROR_NONE);
    }
    thread_join(&thread);
}

static void closing_no_device_is_allowed(void **state)
{
    (void)state;
    device_close(NULL);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, make_devices, drop_devices)
    const struct CMUnitTest tests[] = {
        TEST(what_is_not_in_whole_blocks_is_refused),
        TEST(what_reaches_beyond_the_end_is_refused),
        TEST(a_read_only_device_refuses_to_change),
        TEST(a_fenced_device_refuses_everything),
        TEST(a_refused_operation_of_a_batch_leaves_the_others_alone),
        TEST(a_batch_returns_its_first_error_in_order),
        TEST(an_operation_of_no_bytes_is_complete_at_once),
        TEST(each_kind_gets_its_own_operations_together),
        TEST(operations_are_counted_when_they_start),
        TEST(an_operation_may_complete_while_its_waiter_looks),
        TEST(closing_no_device_is_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
