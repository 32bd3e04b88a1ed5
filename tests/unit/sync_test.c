/*
 * What a flush answered for survives the loss of everything that no flush covered: several threads write and flush over
 * devices with volatile caches, merges run beside them, the process is killed at some moment, the caches lose what they
 * may lose, and each block then holds what was flushed last or a later write, whole.
 */
#include "tests/unit/group_fixture.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/message.h"
#include "engine/device/kind.h"
#include "engine/device/volatile.h"

#define WRITERS     3
#define BLOCKS_EACH 64
#define CACHE_SIZE  (UINT64_C(64) << 20)

/* Shared with the process that is killed: how many writes of each writer began, and how many are flushed. */
struct progress {
    _Atomic uint64_t begun[WRITERS], flushed[WRITERS];
};
static struct progress *progress;

static const char *cache_path(const struct fixture *f, uint32_t device)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/cache%u", f->folder, device);
    return path;
}

static enum error open_volatile(struct fixture *f, uint32_t index, struct device **device)
{
    return device_open_volatile(f->paths[index], cache_path(f, index), device);
}

static uint64_t seed_of(uint64_t writer, uint64_t i)
{
    return (writer + 1) << 40 | (i + 1);
}

struct writer {
    struct fixture *fixture;
    uint64_t number;
};

static void write_and_flush(void *argument)
{
    struct writer *writer = argument;
    for (uint64_t i = 0;; i++) {
        uint64_t seed = seed_of(writer->number, i);
        atomic_store(&progress->begun[writer->number], i + 1);
        if (fixture_try_write(writer->fixture, COMPONENT, writer->number * BLOCKS_EACH + i % BLOCKS_EACH, &seed, 1,
                              NULL))
            _exit(1);
        if (i % (writer->number + 1) == 0) {
            if (group_sync(writer->fixture->group))
                _exit(2);
            atomic_store(&progress->flushed[writer->number], i + 1);
        }
    }
}

/* Never returns. */
static void run_until_killed(struct fixture *f)
{
    struct thread threads[WRITERS];
    struct writer writers[WRITERS];
    f->open_device = open_volatile;
    fixture_open(f);
    for (uint64_t w = 0; w < WRITERS; w++) {
        writers[w] = (struct writer){f, w};
        if (thread_start(&threads[w], "writer", write_and_flush, &writers[w]))
            _exit(3);
    }
    for (;;)
        if (group_publish(f->group))
            _exit(4);
}

static void kill_after(struct fixture *f, unsigned milliseconds)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        run_until_killed(f);
    usleep(milliseconds * 1000);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* The write, counted from 1, that a block of a writer holds; 0: none. */
static uint64_t found_in(struct fixture *f, uint64_t writer, uint64_t block)
{
    uint8_t found[CHUNK_SIZE], wanted[CHUNK_SIZE] = {0};
    uint64_t seed;
    assert_int_equal(fixture_read(f, COMPONENT, block, found), ERROR_NONE);
    memcpy(&seed, found + CHUNK_SIZE - sizeof seed, sizeof seed);
    if (seed)
        fixture_chunk(seed, wanted);
    assert_memory_equal(found, wanted, CHUNK_SIZE);
    assert_true(seed == 0 || seed >> 40 == writer + 1);
    return seed & ((UINT64_C(1) << 40) - 1);
}

static void expect_flushed(struct fixture *f)
{
    for (uint64_t w = 0; w < WRITERS; w++) {
        uint64_t flushed = atomic_load(&progress->flushed[w]), begun = atomic_load(&progress->begun[w]);
        for (uint64_t block = 0; block < BLOCKS_EACH; block++) {
            uint64_t found = found_in(f, w, w * BLOCKS_EACH + block), least = 0;
            if (flushed > block)
                least = (flushed - 1 - block) / BLOCKS_EACH * BLOCKS_EACH + block + 1;
            if (found < least || found > begun)
                fail_msg("block %llu of writer %llu holds write %llu; flushed was %llu, begun %llu",
                         (unsigned long long)block, (unsigned long long)w, (unsigned long long)found,
                         (unsigned long long)least, (unsigned long long)begun);
        }
    }
}

static void lose_and_check(uint32_t devices, enum volatile_crash kind, unsigned rounds)
{
    for (unsigned round = 0; round < rounds; round++) {
        struct fixture *f = fixture_begin(devices, FIXTURE_DEVICE_SIZE, true);
        memset(progress, 0, sizeof *progress);
        fixture_close(f);
        for (uint32_t d = 0; d < devices; d++)
            assert_int_equal(volatile_cache_create(cache_path(f, d), CACHE_SIZE), ERROR_NONE);
        kill_after(f, 60 + 37 * round);
        for (uint32_t d = 0; d < devices; d++)
            assert_int_equal(volatile_crash_apply(f->paths[d], cache_path(f, d), kind, round * 8 + d), ERROR_NONE);
        f->epoch += 10;
        fixture_open(f);
        expect_flushed(f);
        assert_int_equal(group_publish(f->group), ERROR_NONE);
        expect_flushed(f);
        for (uint32_t d = 0; d < devices; d++)
            unlink(cache_path(f, d));
        fixture_end(f);
    }
}

static void what_was_flushed_survives_the_loss_of_all_else(void **state)
{
    (void)state;
    lose_and_check(1, VOLATILE_DROP_ALL, 4);
    lose_and_check(2, VOLATILE_DROP_ALL, 3);
}

static void what_was_flushed_survives_the_loss_of_any_part_of_the_rest(void **state)
{
    (void)state;
    lose_and_check(1, VOLATILE_SUBSET, 2);
    lose_and_check(2, VOLATILE_SUBSET_TORN, 4);
}

static void what_was_flushed_survives_a_kill_alone(void **state)
{
    (void)state;
    lose_and_check(2, VOLATILE_KEEP_ALL, 2);
}

/* ---- a device that knows what is durable ---------------------------------------------------------------------------
 */

/*
 * Writes are done when they are waited for, after a while; flushes take their time as well. Each write notes when it
 * was complete, each flush makes durable what was complete when it began.
 */
struct watched {
    struct device head;
    struct device *below;
    struct mutex mutex;
    uint64_t now, durable;
    uint64_t *completed; /* by block: when its last write was complete; 0: never */
};

static void dawdle(void)
{
    static _Atomic uint64_t calls;
    uint64_t seed = atomic_fetch_add(&calls, 1);
    clock_sleep(fixture_below(&seed, 400) * 1000);
}

static void below_run(struct device_io *io, uint64_t begun)
{
    struct watched *watched = (struct watched *)io->device;
    struct device_io inner = {.device = watched->below,
                              .operation = io->operation,
                              .offset = io->offset,
                              .size = io->size,
                              .buffer = io->buffer,
                              .flags = io->flags};
    enum error error = device_run(&inner, 1);
    mutex_lock(&watched->mutex);
    watched->now++;
    for (uint64_t i = 0; io->operation == DEVICE_WRITE && i < io->size / DEVICE_BLOCK; i++)
        watched->completed[io->offset / DEVICE_BLOCK + i] = watched->now;
    if (io->operation == DEVICE_FLUSH)
        watched->durable = MAX(watched->durable, begun);
    mutex_unlock(&watched->mutex);
    io_complete(io, error, 0);
}

static void watched_wait(struct device_io *io)
{
    struct watched *watched = (struct watched *)io->device;
    mutex_lock(&watched->mutex);
    uint64_t begun = watched->now;
    mutex_unlock(&watched->mutex);
    dawdle();
    below_run(io, begun);
}

static void watched_submit(struct device_io **ios, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ios[i]->operation == DEVICE_READ || ios[i]->operation == DEVICE_DISCARD)
            below_run(ios[i], 0);
}

static void watched_close(struct device *device)
{
    struct watched *watched = (struct watched *)device;
    device_close(watched->below);
    mutex_deinit(&watched->mutex);
    free(watched->completed);
    device_deinit(device);
    free(watched);
}

static const struct device_operations watched_operations = {
    .kind = "watched", .submit = watched_submit, .wait = watched_wait, .close = watched_close};

static enum error open_watched(struct fixture *f, uint32_t index, struct device **device)
{
    struct watched *watched = memory_zeroed(1, sizeof *watched);
    assert_non_null(watched);
    TRY(device_open_file(f->paths[index], 0, &watched->below));
    TRY(device_init(&watched->head, &watched_operations, f->paths[index], watched->below->size, false));
    mutex_init(&watched->mutex, RANK_LEAF);
    watched->completed = memory_zeroed(watched->below->size / DEVICE_BLOCK, sizeof *watched->completed);
    assert_non_null(watched->completed);
    *device = &watched->head;
    return ERROR_NONE;
}

static bool is_durable(struct fixture *f, struct map_entry entry)
{
    struct group *group = f->group;
    mutex_lock(&group->lock);
    uint32_t segment = segment_find(&group->segments, entry_serial(entry));
    struct watched *watched = (struct watched *)group->devices[segment_device(&group->segments, segment)];
    uint64_t block =
        (segment_offset(&group->segments, segment) + (uint64_t)entry_offset(entry) * GRAIN_SIZE) / DEVICE_BLOCK;
    mutex_unlock(&group->lock);
    mutex_lock(&watched->mutex);
    uint64_t completed = watched->completed[block];
    bool durable = completed != 0 && completed <= watched->durable;
    mutex_unlock(&watched->mutex);
    return durable;
}

static _Atomic unsigned failures, syncs;

static void write_and_ask(void *argument)
{
    struct writer *writer = argument;
    for (uint64_t i = 0; i < 250; i++) {
        uint64_t seed = seed_of(writer->number, i);
        struct map_entry entry;
        if (fixture_try_write(writer->fixture, COMPONENT, writer->number * BLOCKS_EACH + i % BLOCKS_EACH, &seed, 1,
                              &entry) ||
            group_sync(writer->fixture->group) || !is_durable(writer->fixture, entry))
            atomic_fetch_add(&failures, 1);
        atomic_fetch_add(&syncs, 1);
    }
}

static void a_flush_that_began_before_a_write_was_complete_does_not_answer_for_it(void **state)
{
    (void)state;
    struct fixture *f = fixture_begin(1, FIXTURE_DEVICE_SIZE, true);
    struct thread threads[WRITERS];
    struct writer writers[WRITERS];
    fixture_close(f);
    f->open_device = open_watched;
    fixture_open(f);
    for (uint64_t w = 0; w < WRITERS; w++) {
        writers[w] = (struct writer){f, w};
        assert_int_equal(thread_start(&threads[w], "writer", write_and_ask, &writers[w]), ERROR_NONE);
    }
    while (atomic_load(&syncs) < WRITERS * 250)
        assert_int_equal(group_publish(f->group), ERROR_NONE);
    for (uint64_t w = 0; w < WRITERS; w++)
        thread_join(&threads[w]);
    assert_int_equal(atomic_load(&failures), 0);
    fixture_end(f);
}

/* ---- what nobody asked for ------------------------------------------------------------------------------------------ */

#define WRITES_MAX 16384 /* 64 MiB: far more than is left unflushed */

static void expect_durable_up_to(struct fixture *f, const struct map_entry *entries, const uint64_t *sequences,
                                 size_t count, uint64_t durable)
{
    for (size_t i = 0; i < count && sequences[i] <= durable; i++)
        assert_true(is_durable(f, entries[i]));
}

static void devices_are_flushed_ahead_and_what_is_called_durable_then_is(void **state)
{
    (void)state;
    static struct map_entry entries[WRITES_MAX];
    static uint64_t sequences[WRITES_MAX];
    struct fixture *f = fixture_begin(1, FIXTURE_DEVICE_SIZE, true);
    fixture_close(f);
    f->open_device = open_watched;
    fixture_open(f);
    mutex_lock(&f->group->lock);
    f->group->synced_at = clock_monotonic() + 3600 * CLOCK_SECOND; /* not by age */
    mutex_unlock(&f->group->lock);
    uint64_t before = group_durable(f->group), durable = before;
    size_t count = 0;
    for (unsigned raised = 0; raised < 3 && count < WRITES_MAX; count++) {
        uint64_t seed = count + 1, now;
        assert_int_equal(fixture_try_write(f, COMPONENT, count % BLOCKS_EACH, &seed, 1, &entries[count]), ERROR_NONE);
        sequences[count] = f->group->section->sequence;
        if ((now = group_durable(f->group)) > durable) {
            raised++;
            durable = now;
            expect_durable_up_to(f, entries, sequences, count + 1, durable);
        }
    }
    assert_true(durable > before);
    fixture_end(f);
}

static int setup(void **state)
{
    (void)state;
    progress = mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return progress == MAP_FAILED ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    return munmap(progress, sizeof *progress);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flush_that_began_before_a_write_was_complete_does_not_answer_for_it),
        cmocka_unit_test(devices_are_flushed_ahead_and_what_is_called_durable_then_is),
        cmocka_unit_test(what_was_flushed_survives_the_loss_of_all_else),
        cmocka_unit_test(what_was_flushed_survives_the_loss_of_any_part_of_the_rest),
        cmocka_unit_test(what_was_flushed_survives_a_kill_alone),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
