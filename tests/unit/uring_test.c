/* Rings and threads: who submits, who waits, and who is gone. */
#include "tests/unit/device_fixture.h"

#include <sys/resource.h>

#include "base/message.h"
#include "base/thread.h"

enum { DISK_BLOCKS = 2048, THREADS = 4, ROUNDS = 40, BATCH = 16 };

static struct device *device;

static int set_up(void **state)
{
    message_level_set(MESSAGE_ERROR - 1);
    if (folder_make(state) != 0)
        return -1;
    return device_create_file(path_of("disk"), DISK_BLOCKS * BLOCK) != ERROR_NONE ||
           device_open_file(path_of("disk"), 0, &device) != ERROR_NONE;
}

static int tear_down(void **state)
{
    device_close(device);
    return folder_remove(state);
}

static void prepare(struct device_io *io, enum device_operation operation, uint64_t block, void *data)
{
    *io = (struct device_io){.device = device, .operation = operation, .offset = block * BLOCK};
    io->size = BLOCK;
    io->buffer = data;
}

static void number_blocks(unsigned char *blocks, size_t count, uint64_t first)
{
    for (size_t i = 0; i < count; i++)
        memset(blocks + i * BLOCK, (int)((first + i) % 251), BLOCK);
}

static void expect_numbered(const unsigned char *blocks, size_t count, uint64_t first)
{
    for (size_t i = 0; i < count; i++)
        expect_filled(blocks + i * BLOCK, BLOCK, (int)((first + i) % 251));
}

static void run_numbered(enum device_operation operation, unsigned char *blocks, size_t count)
{
    struct device_io *ios = memory_zeroed(count, sizeof(*ios));
    assert_non_null(ios);
    for (size_t i = 0; i < count; i++)
        prepare(&ios[i], operation, i, blocks + i * BLOCK);
    assert_int_equal(device_run(ios, count), ERROR_NONE);
    free(ios);
}

static void a_batch_may_be_larger_than_the_queue(void **state)
{
    (void)state;
    unsigned char *blocks = blocks_new(700);
    number_blocks(blocks, 700, 0);
    run_numbered(DEVICE_WRITE, blocks, 700);
    memset(blocks, 0, 700 * BLOCK);
    run_numbered(DEVICE_READ, blocks, 700);
    expect_numbered(blocks, 700, 0);
    free(blocks);
}

static void more_may_be_submitted_than_a_ring_holds(void **state)
{
    (void)state;
    unsigned char *blocks = blocks_new(DISK_BLOCKS);
    number_blocks(blocks, DISK_BLOCKS, 0);
    struct device_io *ios = memory_zeroed(DISK_BLOCKS, sizeof(*ios));
    for (size_t i = 0; i < DISK_BLOCKS; i++) {
        struct device_io *io = &ios[i];
        prepare(io, DEVICE_WRITE, i, blocks + i * BLOCK);
        device_submit(&io, 1);
    }
    for (size_t i = DISK_BLOCKS; i > 0; i--)
        assert_int_equal(device_wait(&ios[i - 1]), ERROR_NONE);
    memset(blocks, 0, DISK_BLOCKS * BLOCK);
    assert_int_equal(device_read(device, 0, blocks, DISK_BLOCKS * BLOCK), ERROR_NONE);
    expect_numbered(blocks, DISK_BLOCKS, 0);
    free(ios);
    free(blocks);
}

static void a_wait_may_come_after_other_batches_of_the_thread(void **state)
{
    (void)state;
    unsigned char *blocks = blocks_filled(3, 'a');
    struct device_io write, *early = &write;
    prepare(&write, DEVICE_WRITE, 5, blocks);
    device_submit(&early, 1);
    for (int i = 0; i < 10; i++)
        assert_int_equal(device_read(device, 9 * BLOCK, blocks + BLOCK, 2 * BLOCK), ERROR_NONE);
    assert_int_equal(device_wait(early), ERROR_NONE);
    assert_int_equal(device_wait(early), ERROR_NONE);
    assert_int_equal(device_read(device, 5 * BLOCK, blocks + BLOCK, BLOCK), ERROR_NONE);
    expect_filled(blocks + BLOCK, BLOCK, 'a');
    free(blocks);
}

static void a_batch_may_name_several_devices(void **state)
{
    (void)state;
    struct device *second;
    unsigned char *blocks = blocks_filled(2, 'm');
    struct device_io ios[3];
    assert_int_equal(device_create_file(path_of("second"), 8 * BLOCK), ERROR_NONE);
    assert_int_equal(device_open_file(path_of("second"), 0, &second), ERROR_NONE);
    prepare(&ios[0], DEVICE_WRITE, 0, blocks);
    prepare(&ios[1], DEVICE_WRITE, 7, blocks + BLOCK);
    ios[1].device = second;
    prepare(&ios[2], DEVICE_WRITE, 8, blocks + BLOCK);
    ios[2].device = second;
    assert_int_equal(device_run(ios, 3), ERROR_OUT_OF_RANGE);
    assert_int_equal(ios[0].error, ERROR_NONE);
    memset(blocks, 0, BLOCK);
    assert_int_equal(device_read(second, 7 * BLOCK, blocks, BLOCK), ERROR_NONE);
    expect_filled(blocks, BLOCK, 'm');
    device_close(second);
    free(blocks);
}

/* ---- several threads ------------------------------------------------------------------------------------------ */

struct exchange {
    struct mutex lock;
    struct condition changed;
    bool submitted GUARDED_BY(&lock);
    unsigned waited GUARDED_BY(&lock);
    struct device_io ios[BATCH];
    unsigned char *blocks;
    bool stay; /* the submitter lives until all have waited */
};

static void exchange_init(struct exchange *exchange, bool stay)
{
    *exchange = (struct exchange){.stay = stay, .blocks = blocks_new(BATCH)};
    number_blocks(exchange->blocks, BATCH, 7);
    mutex_init(&exchange->lock, RANK_LEAF);
    condition_init(&exchange->changed);
}

static void submit_for_others(void *argument)
{
    struct exchange *exchange = argument;
    struct device_io *pointers[BATCH];
    for (size_t i = 0; i < BATCH; i++) {
        prepare(&exchange->ios[i], DEVICE_WRITE, i, exchange->blocks + i * BLOCK);
        exchange->ios[i].flags = DEVICE_DURABLE;
        pointers[i] = &exchange->ios[i];
    }
    device_submit(pointers, BATCH);
    mutex_lock(&exchange->lock);
    exchange->submitted = true;
    condition_broadcast(&exchange->changed);
    while (exchange->stay && exchange->waited < THREADS)
        condition_wait(&exchange->changed, &exchange->lock);
    mutex_unlock(&exchange->lock);
}

static void wait_for_another(void *argument)
{
    struct exchange *exchange = argument;
    mutex_lock(&exchange->lock);
    while (!exchange->submitted)
        condition_wait(&exchange->changed, &exchange->lock);
    mutex_unlock(&exchange->lock);
    for (size_t i = 0; i < BATCH; i++)
        assert_int_equal(device_wait(&exchange->ios[i]), ERROR_NONE);
    mutex_lock(&exchange->lock);
    exchange->waited++;
    condition_broadcast(&exchange->changed);
    mutex_unlock(&exchange->lock);
}

static void exchange_run(bool stay)
{
    struct exchange exchange;
    struct thread submitter, waiters[THREADS];
    exchange_init(&exchange, stay);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(thread_start(&waiters[i], "waiter", wait_for_another, &exchange), ERROR_NONE);
    assert_int_equal(thread_start(&submitter, "submitter", submit_for_others, &exchange), ERROR_NONE);
    for (size_t i = 0; i < THREADS; i++)
        thread_join(&waiters[i]);
    thread_join(&submitter);
    memset(exchange.blocks, 0, BATCH * BLOCK);
    assert_int_equal(device_read(device, 0, exchange.blocks, BATCH * BLOCK), ERROR_NONE);
    expect_numbered(exchange.blocks, BATCH, 7);
    condition_deinit(&exchange.changed);
    mutex_deinit(&exchange.lock);
    free(exchange.blocks);
}

static void any_number_of_threads_may_wait_for_another(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++)
        exchange_run(true);
}

static void a_thread_may_end_before_its_operations(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++)
        exchange_run(false);
}

static void nobody_needs_to_wait_before_a_thread_ends(void **state)
{
    (void)state;
    struct exchange exchange;
    struct thread submitter;
    exchange_init(&exchange, false);
    assert_int_equal(thread_start(&submitter, "submitter", submit_for_others, &exchange), ERROR_NONE);
    thread_join(&submitter);
    for (size_t i = 0; i < BATCH; i++)
        assert_int_equal(device_wait(&exchange.ios[i]), ERROR_NONE);
    condition_deinit(&exchange.changed);
    mutex_deinit(&exchange.lock);
    free(exchange.blocks);
}

static void write_and_check(void *argument)
{
    uint64_t first = *(uint64_t *)argument;
    unsigned char *blocks = blocks_new(BATCH);
    struct device_io ios[BATCH];
    for (uint64_t round = 0; round < ROUNDS; round++) {
        number_blocks(blocks, BATCH, first + round);
        for (size_t i = 0; i < BATCH; i++)
            prepare(&ios[i], DEVICE_WRITE, first + i, blocks + i * BLOCK);
        assert_int_equal(device_run(ios, BATCH), ERROR_NONE);
        memset(blocks, 0, BATCH * BLOCK);
        for (size_t i = 0; i < BATCH; i++)
            ios[i].operation = DEVICE_READ;
        assert_int_equal(device_run(ios, BATCH), ERROR_NONE);
        expect_numbered(blocks, BATCH, first + round);
        if (round % 16 == 0)
            assert_int_equal(device_flush(device), ERROR_NONE);
    }
    free(blocks);
}

static void threads_do_not_disturb_each_other(void **state)
{
    (void)state;
    struct thread threads[THREADS];
    uint64_t firsts[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        firsts[i] = i * 100;
        assert_int_equal(thread_start(&threads[i], "writer", write_and_check, &firsts[i]), ERROR_NONE);
    }
    for (size_t i = 0; i < THREADS; i++)
        thread_join(&threads[i]);
}

static void without_a_ring_operations_still_work(void **state)
{
    (void)state;
    struct rlimit before, none = {.rlim_cur = 3};
    struct thread thread;
    uint64_t first = 0;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    enum error error = thread_start(&thread, "writer", write_and_check, &first);
    if (error == ERROR_NONE)
        thread_join(&thread);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(error, ERROR_NONE);
}

static void a_child_process_has_rings_of_its_own(void **state)
{
    (void)state;
    unsigned char *blocks = blocks_filled(2, 'p');
    assert_int_equal(device_write(device, 0, blocks, BLOCK, 0), ERROR_NONE);
    pid_t child = fork();
    if (child == 0)
        _exit(device_write(device, BLOCK, blocks, BLOCK, 0) != ERROR_NONE);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    memset(blocks, 0, 2 * BLOCK);
    assert_int_equal(device_read(device, 0, blocks, 2 * BLOCK), ERROR_NONE);
    expect_filled(blocks, 2 * BLOCK, 'p');
    free(blocks);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_batch_may_be_larger_than_the_queue),
        TEST(more_may_be_submitted_than_a_ring_holds),
        TEST(a_wait_may_come_after_other_batches_of_the_thread),
        TEST(a_batch_may_name_several_devices),
        TEST(any_number_of_threads_may_wait_for_another),
        TEST(a_thread_may_end_before_its_operations),
        TEST(nobody_needs_to_wait_before_a_thread_ends),
        TEST(threads_do_not_disturb_each_other),
        TEST(without_a_ring_operations_still_work),
        TEST(a_child_process_has_rings_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
