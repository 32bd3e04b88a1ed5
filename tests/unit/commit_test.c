/*
 * What a batch does in one entry of the commit section, it does in one: nobody comes between asking and entering, or
 * between a latch and the view that it guards.
 */
#include "engine/pool/batch.h"
#include "tests/unit/pool_fixture.h"

#define HALF (COFFER_BLOCK / 2)

static void write_bytes_at(uint64_t offset, uint32_t length, uint8_t byte)
{
    static _Thread_local uint8_t bytes[COFFER_BLOCK];
    struct volume *volume;
    struct request write = {.type = REQUEST_WRITE, .offset = offset, .length = length, .data = bytes};
    memset(bytes, byte, length);
    assert_fine(volume_open(pool, "a", false, &volume));
    volume_execute(volume, &write, 1, fixture_answer, NULL);
    volume_close(volume);
    assert_fine(write.error);
}

static void disk_make(void)
{
    struct uuid uuid;
    assert_fine(object_create(pool, "a", MIB, &uuid));
}

/* ---- asking and entering ------------------------------------------------------------------------------------------ */

static _Thread_local bool watched, asked; /* this thread is; it was told that there is room, and entered nothing yet */
static bool left;                         /* the section, in between */

enum error __real_group_room(struct group *group, struct commit_need need);
enum error __wrap_group_room(struct group *group, struct commit_need need);
void __real_log_reserve(struct log *log, size_t size, size_t record_size, struct log_item *item);
void __wrap_log_reserve(struct log *log, size_t size, size_t record_size, struct log_item *item);
void __real_mutex_unlock(struct mutex *mutex) NO_THREAD_SAFETY_ANALYSIS;
void __wrap_mutex_unlock(struct mutex *mutex) NO_THREAD_SAFETY_ANALYSIS;

enum error __wrap_group_room(struct group *group, struct commit_need need)
{
    enum error error = __real_group_room(group, need);
    asked = watched && error == ERROR_NONE;
    return error;
}

void __wrap_log_reserve(struct log *log, size_t size, size_t record_size, struct log_item *item)
{
    asked = false;
    __real_log_reserve(log, size, record_size, item);
}

void __wrap_mutex_unlock(struct mutex *mutex)
{
    if (asked && mutex == &pool->section.mutex)
        left = true;
    __real_mutex_unlock(mutex);
}

/* What was asked (room, hits, numbers) holds no longer once somebody else was in. */
static void nobody_comes_between_asking_and_entering(void **context)
{
    (void)context;
    disk_make();
    watched = true;
    write_bytes_at(0, COFFER_BLOCK, 1);            /* a new chunk */
    write_bytes_at(COFFER_BLOCK, COFFER_BLOCK, 1); /* a hit */
    write_bytes_at(COFFER_BLOCK, COFFER_BLOCK, 0); /* a hole */
    watched = false;
    assert_false(asked);
    assert_false(left);
}

/* ---- latch and view ------------------------------------------------------------------------------------------------- */

static _Atomic bool armed;    /* the next read of what surrounds a part lets the other writer come */
static _Atomic bool is_there; /* who met the latch, and did before whatever it does before */
static struct thread other;

enum error __real_chunks_read(struct group *group, struct chunk_read *reads, size_t count);
enum error __wrap_chunks_read(struct group *group, struct chunk_read *reads, size_t count);
bool __real_latch_conflicts(const struct pool *of, const struct batch *batch);
bool __wrap_latch_conflicts(const struct pool *of, const struct batch *batch);

bool __wrap_latch_conflicts(const struct pool *of, const struct batch *batch)
{
    bool conflicts = __real_latch_conflicts(of, batch);
    if (conflicts)
        atomic_store(&is_there, true);
    return conflicts;
}

static void second_half_write(void *unused)
{
    (void)unused;
    write_bytes_at(HALF, HALF, 3);
}

enum error __wrap_chunks_read(struct group *group, struct chunk_read *reads, size_t count)
{
    if (atomic_exchange(&armed, false)) {
        assert_int_equal(thread_start(&other, "other", second_half_write, NULL), ERROR_NONE);
        while (!atomic_load(&is_there))
            clock_sleep(CLOCK_MILLISECOND);
    }
    return __real_chunks_read(group, reads, count);
}

/* Who waits for a latch takes its view when it has it: one from before would not know what the other wrote. */
static void who_waited_for_a_latch_sees_what_was_written_under_it(void **context)
{
    uint8_t bytes[COFFER_BLOCK];
    struct volume *volume;
    struct request read = {.type = REQUEST_READ, .length = sizeof bytes, .data = bytes};
    (void)context;
    disk_make();
    write_bytes_at(0, COFFER_BLOCK, 1);
    atomic_store(&armed, true);
    write_bytes_at(0, HALF, 2);
    thread_join(&other);
    assert_false(atomic_load(&armed));
    assert_fine(volume_open(pool, "a", true, &volume));
    volume_execute(volume, &read, 1, fixture_answer, NULL);
    volume_close(volume);
    assert_fine(read.error);
    for (size_t i = 0; i < sizeof bytes; i++)
        assert_int_equal(bytes[i], i < HALF ? 2 : 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pool_setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nobody_comes_between_asking_and_entering),
        TEST(who_waited_for_a_latch_sees_what_was_written_under_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
