/*
 * The usage of an object is what its map and the recent tables say together: the same before and after a publish, each
 * distinct chunk once, whatever the order in which it came.
 */
#include "engine/pool/map_walk.h"
#include "tests/unit/pool_fixture.h"

static void conf_add(const char *setting)
{
    char path[160];
    snprintf(path, sizeof path, "%s/coffer.conf", fixture_directory);
    FILE *conf = fopen(path, "a");
    assert_non_null(conf);
    fprintf(conf, "\n[pool]\n%s\n", setting);
    assert_int_equal(fclose(conf), 0);
}

static uint64_t random_chunks_of_writes(void)
{
    struct volume *volume;
    struct pool_status status;
    static uint8_t noise[2 * COFFER_BLOCK];
    for (size_t i = 0; i < sizeof noise; i += sizeof(struct uuid))
        memcpy(noise + i, &(struct uuid[]){uuid_random()}, sizeof(struct uuid));
    assert_fine(volume_open(pool, "one", false, &volume));
    assert_fine(block_io(volume, REQUEST_WRITE, 0, noise));
    assert_fine(block_io(volume, REQUEST_WRITE, GIB / 2, noise + COFFER_BLOCK));
    assert_fine(block_io(volume, REQUEST_WRITE, GIB / 4, noise)); /* a duplicate is no new chunk */
    volume_close(volume);
    write_block("one", 4096, 7);
    assert_fine(pool_status(pool, &status));
    return status.chunks_random;
}

static void random_chunks_are_counted_where_compression_was_tried(void **context)
{
    (void)context;
    make("one", GIB);
    assert_int_equal(random_chunks_of_writes(), 2);
    conf_add("compression = none");
    pool_reopen(false);
    assert_int_equal(random_chunks_of_writes(), 0);
}

static void usage_of_nobody_is_refused(void **context)
{
    (void)context;
    struct object_usage usage;
    assert_refused(object_usage(pool, "none", &usage), ERROR_NOT_FOUND, "");
}

static void usage_of_an_empty_object_is_nothing(void **context)
{
    (void)context;
    struct object_usage usage;
    make("one", GIB);
    assert_fine(object_usage(pool, "one", &usage));
    assert_true(usage.logical_bytes == 0 && usage.unique_bytes == 0 && usage.stored_bytes == 0 && usage.map_bytes == 0);
    assert_true(usage.taken != 0);
}

static void usage_counts_what_only_the_recent_tables_know(void **context)
{
    (void)context;
    struct object_usage usage;
    make("one", GIB);
    for (unsigned i = 0; i < 4; i++)
        write_block("one", i * 100 * COFFER_BLOCK, 10 + i % 2);
    assert_fine(object_usage(pool, "one", &usage));
    assert_int_equal(usage.logical_bytes, 4 * COFFER_BLOCK);
    assert_int_equal(usage.unique_bytes, 2 * COFFER_BLOCK);
    assert_int_equal(usage.map_bytes, 0);
}

static void usage_is_the_same_before_and_after_a_publish(void **context)
{
    (void)context;
    struct object_usage before, after;
    struct volume *volume;
    fill();
    write_block("one", 3 * COFFER_BLOCK, 7);
    write_block("one", 9 * MIB, 8);
    write_block("one", 10 * MIB, 8);
    assert_fine(volume_open(pool, "one", false, &volume));
    struct request trim = {.type = REQUEST_TRIM, .offset = MIB, .length = 8 * MIB};
    volume_execute(volume, &trim, 1, fixture_answer, NULL);
    assert_fine(trim.error);
    volume_close(volume);
    assert_fine(object_usage(pool, "one", &before));
    assert_int_equal(before.logical_bytes, 10 * COFFER_BLOCK);
    assert_int_equal(before.unique_bytes, 9 * COFFER_BLOCK);
    publish();
    assert_fine(object_usage(pool, "one", &after));
    assert_int_equal(before.logical_bytes, after.logical_bytes);
    assert_int_equal(before.unique_bytes, after.unique_bytes);
    assert_int_equal(before.stored_bytes, after.stored_bytes);
    assert_int_equal(before.random_bytes, after.random_bytes);
    assert_true(after.map_bytes > 0 && after.stored_bytes > 0);
}

static void usage_of_random_data_is_all_random(void **context)
{
    (void)context;
    struct object_usage usage;
    struct volume *volume;
    uint8_t block[COFFER_BLOCK];
    uint64_t state = 1;
    make("one", GIB);
    assert_fine(volume_open(pool, "one", false, &volume));
    for (unsigned n = 0; n < 3; n++) {
        for (unsigned i = 0; i < COFFER_BLOCK; i++) {
            state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            block[i] = (uint8_t)(state >> 56);
        }
        assert_fine(block_io(volume, REQUEST_WRITE, n * MIB, block));
    }
    volume_close(volume);
    publish();
    assert_fine(object_usage(pool, "one", &usage));
    assert_int_equal(usage.random_bytes, 3 * COFFER_BLOCK);
    assert_true(usage.stored_bytes > usage.random_bytes && usage.stored_bytes < usage.random_bytes + 3 * 256);
}

struct writer {
    struct thread thread;
    _Atomic bool stop;
};

static void write_on(void *argument)
{
    struct writer *writer = argument;
    for (unsigned i = 0; i < 3000 && !atomic_load(&writer->stop); i++)
        write_block("one", i % 500 * MIB, i);
}

static void usage_of_an_object_that_grows_meanwhile_ends(void **context)
{
    (void)context;
    struct object_usage usage;
    struct writer writer = {0};
    fill();
    assert_fine(thread_start(&writer.thread, "writer", write_on, &writer));
    for (unsigned i = 0; i < 10; i++) {
        assert_fine(object_usage(pool, "one", &usage));
        assert_true(usage.unique_bytes <= usage.logical_bytes);
        publish();
    }
    atomic_store(&writer.stop, true);
    thread_join(&writer.thread);
}

/* ---- a usage that is on its way ------------------------------------------------------------------------------ */

#define ROUNDS 1000 /* of 10 ms, for what must come */

static _Atomic bool holding; /* the next slice of a walk waits while it is set */
static _Atomic bool held;    /* it does */
static _Atomic bool locked;  /* pool_lock() has ended */
static struct thread asker, locker;
static enum error asked, lock_error;
static char asked_sentence[256];

enum error __real_map_walk_slice(struct map_walk *walk);
enum error __wrap_map_walk_slice(struct map_walk *walk);
enum error __wrap_map_walk_slice(struct map_walk *walk)
{
    atomic_store(&held, atomic_load(&holding));
    while (atomic_load(&holding))
        clock_sleep(CLOCK_MILLISECOND);
    return __real_map_walk_slice(walk);
}

static void ask_run(void *unused)
{
    struct object_usage usage;
    (void)unused;
    asked = object_usage(pool, "one", &usage);
    snprintf(asked_sentence, sizeof asked_sentence, "%s", error_sentence(asked));
}

static void lock_run(void *unused)
{
    (void)unused;
    lock_error = pool_lock(pool);
    atomic_store(&locked, true);
}

/* A usage that waits in its first slice. */
static void usage_begin(void)
{
    fill();
    atomic_store(&holding, true);
    atomic_store(&held, false);
    assert_fine(thread_start(&asker, "asker", ask_run, NULL));
    for (unsigned i = 0; i < ROUNDS && !atomic_load(&held); i++)
        clock_sleep(10 * CLOCK_MILLISECOND);
}

static void usage_end(void)
{
    atomic_store(&holding, false);
    thread_join(&asker);
}

static void a_usage_that_is_counted_keeps_nobody_from_locking_the_pool(void **context)
{
    (void)context;
    usage_begin();
    atomic_store(&locked, false);
    assert_fine(thread_start(&locker, "locker", lock_run, NULL));
    for (unsigned i = 0; i < ROUNDS && !atomic_load(&pool->locked) && !atomic_load(&locked); i++)
        clock_sleep(10 * CLOCK_MILLISECOND);
    usage_end();
    thread_join(&locker);
    assert_fine(lock_error);
    assert_string_equal(error_name(asked), "LOCKED");
}

static void a_usage_ends_before_the_pool_is_closed(void **context)
{
    (void)context;
    usage_begin();
    pool_looks_end(pool);
    usage_end();
    assert_string_equal(error_name(asked), "CLOSED");
    assert_non_null(strstr(asked_sentence, "is being closed"));
}

/* A moment later its group is as well; until then what it does not read is damaged for nobody. */
static void usage_from_a_device_out_of_service_is_not_told_as_damage(void **context)
{
    struct object_usage usage;
    (void)context;
    fill();
    pool_reopen(false);
    atomic_store(&pool->group->devices[0]->fenced, true);
    assert_int_equal(object_usage(pool, "one", &usage), ERROR_FENCED);
    pool_reopen(true);
    assert_fine(object_usage(pool, "one", &usage));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pool_setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(random_chunks_are_counted_where_compression_was_tried),
        TEST(usage_of_nobody_is_refused),
        TEST(usage_of_an_empty_object_is_nothing),
        TEST(usage_counts_what_only_the_recent_tables_know),
        TEST(usage_is_the_same_before_and_after_a_publish),
        TEST(usage_of_random_data_is_all_random),
        TEST(usage_of_an_object_that_grows_meanwhile_ends),
        TEST(a_usage_that_is_counted_keeps_nobody_from_locking_the_pool),
        TEST(a_usage_ends_before_the_pool_is_closed),
        TEST(usage_from_a_device_out_of_service_is_not_told_as_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
