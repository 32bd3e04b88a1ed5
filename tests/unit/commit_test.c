/*
 * What a batch does in one entry of the commit section, it does in one: nobody comes between asking and entering, or
 * between a latch and the view that it guards. What it found before and has lost by then it does without.
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
static _Thread_local bool waits;          /* this thread's commits find no room, until that is let go of */
static _Thread_local bool hits_go, one_goes; /* of this thread's commits: at each try one of the hits */
static unsigned gone;

enum error __real_group_room(struct group *group, struct commit_need need);
enum error __wrap_group_room(struct group *group, struct commit_need need);
void __real_log_reserve(struct log *log, size_t size, size_t record_size, struct log_item *item);
void __wrap_log_reserve(struct log *log, size_t size, size_t record_size, struct log_item *item);
void __real_mutex_unlock(struct mutex *mutex) NO_THREAD_SAFETY_ANALYSIS;
void __wrap_mutex_unlock(struct mutex *mutex) NO_THREAD_SAFETY_ANALYSIS;

enum error __wrap_group_room(struct group *group, struct commit_need need)
{
    if (waits)
        return ERROR_AGAIN;
    enum error error = __real_group_room(group, need);
    asked = watched && error == ERROR_NONE;
    one_goes = hits_go;
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

/* ---- hits ----------------------------------------------------------------------------------------------------------- */

#define HITS 32 /* more than a commit is tried */

bool __real_lookup_still_good(struct pool *of, struct map_entry hit);
bool __wrap_lookup_still_good(struct pool *of, struct map_entry hit);

/* As asked by a commit: the look-up itself does not come here. */
bool __wrap_lookup_still_good(struct pool *of, struct map_entry hit)
{
    if (!one_goes)
        return __real_lookup_still_good(of, hit);
    one_goes = false;
    gone++;
    return false;
}

static void blocks_io(enum request_type type, uint64_t offset, uint8_t *bytes)
{
    struct volume *volume;
    struct request request = {.type = type, .offset = offset, .length = HITS * COFFER_BLOCK, .data = bytes};
    assert_fine(volume_open(pool, "a", false, &volume));
    volume_execute(volume, &request, 1, fixture_answer, NULL);
    volume_close(volume);
    assert_fine(request.error);
}

static void a_write_whose_duplicates_go_again_and_again_is_stored(void **context)
{
    static uint8_t bytes[HITS * COFFER_BLOCK], found[HITS * COFFER_BLOCK];
    (void)context;
    disk_make();
    for (unsigned i = 0; i < HITS; i++)
        block_fill(bytes + i * COFFER_BLOCK, 1 + i);
    blocks_io(REQUEST_WRITE, 0, bytes);
    gone = 0;
    hits_go = true;
    blocks_io(REQUEST_WRITE, HITS * COFFER_BLOCK, bytes);
    hits_go = false;
    assert_in_range(gone, 2, HITS - 1); /* it is not tried for each of them */
    blocks_io(REQUEST_READ, HITS * COFFER_BLOCK, found);
    assert_memory_equal(found, bytes, sizeof found);
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

/* ---- given up while it waited --------------------------------------------------------------------------------------- */

#define LONG (50 * CLOCK_MILLISECOND) /* for a commit: it counts as having waited */

static _Atomic bool room_lacks, is_waiting, gave_up;

enum error __real_group_wait_room(struct group *group);
enum error __wrap_group_wait_room(struct group *group);
enum error __wrap_group_wait_room(struct group *group)
{
    if (!waits)
        return __real_group_wait_room(group);
    clock_sleep(LONG);
    atomic_store(&is_waiting, true);
    while (atomic_load(&room_lacks))
        clock_sleep(CLOCK_MILLISECOND);
    waits = false;
    return ERROR_NONE;
}

static bool wanted(void *unused)
{
    (void)unused;
    return !atomic_load(&gave_up);
}

struct slow_write {
    request_wanted *wanted;
    enum error error;
};

static void slow_write(void *argument)
{
    struct slow_write *slow = argument;
    static uint8_t blocks[2 * COFFER_BLOCK];
    struct volume *volume;
    struct request requests[] = {{.type = REQUEST_WRITE, .length = COFFER_BLOCK, .data = blocks},
                                 {.type = REQUEST_WRITE, .offset = COFFER_BLOCK, .length = COFFER_BLOCK, .data = blocks}};
    memset(blocks, 1, sizeof blocks);
    assert_fine(volume_open(pool, "a", false, &volume));
    waits = true;
    volume_execute_while(volume, requests, COUNT_OF(requests), fixture_answer, slow->wanted, NULL);
    volume_close(volume);
    assert_int_equal(requests[0].error, requests[1].error);
    slow->error = requests[0].error;
}

/* A write waits for room; whoever sent it writes the same block again, by another way, before there is some. */
static enum error overtake(request_wanted *question, bool gives_up)
{
    struct slow_write slow = {.wanted = question};
    disk_make();
    atomic_store(&is_waiting, false);
    atomic_store(&gave_up, false);
    atomic_store(&room_lacks, true);
    assert_int_equal(thread_start(&other, "slow", slow_write, &slow), ERROR_NONE);
    while (!atomic_load(&is_waiting))
        clock_sleep(CLOCK_MILLISECOND);
    atomic_store(&gave_up, gives_up);
    write_bytes_at(0, COFFER_BLOCK, 2);
    atomic_store(&room_lacks, false);
    thread_join(&other);
    return slow.error;
}

static void assert_bytes(uint64_t block, uint8_t byte)
{
    uint8_t bytes[COFFER_BLOCK];
    struct volume *volume;
    assert_fine(volume_open(pool, "a", true, &volume));
    assert_fine(block_io(volume, REQUEST_READ, block * COFFER_BLOCK, bytes));
    volume_close(volume);
    for (size_t i = 0; i < sizeof bytes; i++)
        assert_int_equal(bytes[i], byte);
}

static void a_write_that_was_given_up_while_it_waited_enters_nothing(void **context)
{
    (void)context;
    assert_int_equal(overtake(wanted, true), ERROR_CLOSED);
    assert_bytes(0, 2);
    assert_bytes(1, 0);
}

static void a_write_that_waited_and_is_still_wanted_is_entered(void **context)
{
    (void)context;
    assert_int_equal(overtake(wanted, false), ERROR_NONE);
    assert_bytes(0, 1);
    assert_bytes(1, 1);
}

static void a_write_of_whom_nobody_can_ask_is_entered(void **context)
{
    (void)context;
    assert_int_equal(overtake(NULL, true), ERROR_NONE);
    assert_bytes(0, 1);
    assert_bytes(1, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pool_setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nobody_comes_between_asking_and_entering),
        TEST(a_write_whose_duplicates_go_again_and_again_is_stored),
        TEST(who_waited_for_a_latch_sees_what_was_written_under_it),
        TEST(a_write_that_was_given_up_while_it_waited_enters_nothing),
        TEST(a_write_that_waited_and_is_still_wanted_is_entered),
        TEST(a_write_of_whom_nobody_can_ask_is_entered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
