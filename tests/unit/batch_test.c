/* Who is lent batches, and who waits for one: nobody who writes stops the catalog, or what gives space back. */
#include "engine/pool/batch.h"
#include "tests/unit/pool_fixture.h"

#define PATIENCE (20 * CLOCK_SECOND)

static _Atomic bool done;

static void create(void *argument)
{
    struct uuid uuid;
    *(enum error *)argument = object_create(pool, "late", GIB, &uuid);
    atomic_store(&done, true);
}

static bool is_done_in_time(void)
{
    for (uint64_t begin = clock_monotonic(); !atomic_load(&done) && clock_monotonic() - begin < PATIENCE;)
        clock_sleep(CLOCK_MILLISECOND);
    return atomic_load(&done);
}

/* As where all of them wait, paced or for space. Whether `call` ends all the same. */
static enum error run_beside_writers(void (*call)(void *argument))
{
    struct batch *held[BATCHES_LENT];
    struct thread thread;
    enum error error;
    atomic_store(&done, false);
    for (unsigned i = 0; i < BATCHES_LENT; i++)
        assert_non_null(held[i] = batch_get(pool, BATCH_WRITES, component_of("early"), NULL));
    assert_fine(thread_start(&thread, "beside", call, &error));
    bool in_time = is_done_in_time();
    for (unsigned i = 0; i < BATCHES_LENT; i++)
        batch_put(held[i]);
    thread_join(&thread);
    assert_true(in_time);
    return error;
}

/* The documents of an object need a batch, and pool->lock meanwhile. */
static void an_object_is_made_while_writers_hold_all_batches(void **context)
{
    (void)context;
    make("early", GIB);
    assert_fine(run_beside_writers(create));
}

static void trim(void *argument)
{
    enum error *error = argument;
    struct volume *volume;
    struct request request = {.type = REQUEST_TRIM, .offset = COFFER_BLOCK, .length = 2 * COFFER_BLOCK};
    *error = volume_open(pool, "early", false, &volume);
    if (*error == ERROR_NONE) {
        volume_execute(volume, &request, 1, fixture_answer, NULL);
        volume_close(volume);
        *error = request.error;
    }
    atomic_store(&done, true);
}

static void blocks_are_trimmed_while_writers_hold_all_batches(void **context)
{
    (void)context;
    make("early", GIB);
    for (unsigned block = 0; block < 4; block++)
        write_block("early", block * COFFER_BLOCK, block + 1);
    assert_fine(run_beside_writers(trim));
    assert_block("early", 0, 1);
    assert_block("early", COFFER_BLOCK, 0);
    assert_block("early", 2 * COFFER_BLOCK, 0);
    assert_block("early", 3 * COFFER_BLOCK, 4);
}

static void shrink(void *argument)
{
    *(enum error *)argument = object_resize(pool, "early", GIB / 2, true);
    atomic_store(&done, true);
}

static void an_object_is_cut_while_writers_hold_all_batches(void **context)
{
    (void)context;
    make("early", GIB);
    assert_fine(run_beside_writers(shrink));
}

/* Until the janitor has freed it. */
static void delete(void *argument)
{
    enum error *error = argument;
    struct object_info info;
    *error = object_delete(pool, "late", true);
    while (*error == ERROR_NONE && object_find(pool, "late", &info) == ERROR_NONE)
        clock_sleep(CLOCK_MILLISECOND);
    atomic_store(&done, true);
}

static void an_object_is_freed_while_writers_hold_all_batches(void **context)
{
    (void)context;
    make("early", GIB);
    make("late", GIB);
    assert_fine(run_beside_writers(delete));
}

/* A client's trim may wait for a latch that a writer holds; so may as many as there are batches for them. */
static void an_object_is_freed_while_clients_hold_all_batches_of_trims(void **context)
{
    struct batch *held[BATCHES_OF_TRIMS];
    struct thread thread;
    enum error error;
    (void)context;
    make("early", GIB);
    make("late", GIB);
    atomic_store(&done, false);
    for (unsigned i = 0; i < BATCHES_OF_TRIMS; i++)
        assert_non_null(held[i] = batch_get(pool, BATCH_TRIMS, component_of("early"), NULL));
    assert_fine(thread_start(&thread, "delete", delete, &error));
    bool in_time = is_done_in_time();
    for (unsigned i = 0; i < BATCHES_OF_TRIMS; i++)
        batch_put(held[i]);
    thread_join(&thread);
    assert_true(in_time);
    assert_fine(error);
}

/* The catalog's is as small as documents are: the largest ones fit. */
static void documents_of_the_greatest_length_are_committed(void **context)
{
    static uint8_t bytes[OBJECT_DOCUMENT_BYTES_MAX], found[COFFER_BLOCK];
    (void)context;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * i >> 7 ^ i);
    mutex_lock(&pool->lock);
    uint64_t slot = pool->slots_end + 7;
    enum error error = catalog_commit(pool, slot, bytes, sizeof bytes, NULL, 0);
    mutex_unlock(&pool->lock);
    assert_fine(error);
    uint64_t block = slot * OBJECT_SLOT_BLOCKS + OBJECT_DOCUMENT_BYTES_MAX / COFFER_BLOCK - 1;
    struct map_entry entry;
    struct view *view;
    uint64_t component;
    const _Atomic uint64_t catalog = COMPONENT_CATALOG;
    assert_fine(view_lookup_target(pool->group, &catalog, &component, &block, &entry, 1, &view));
    struct chunk_read read = {.entry = entry, .out = found};
    enum error failed = chunks_read(pool->group, &read, 1);
    view_put(pool->group, view);
    assert_fine(failed);
    assert_memory_equal(found, bytes + sizeof bytes - COFFER_BLOCK, COFFER_BLOCK);
    mutex_lock(&pool->lock);
    error = catalog_commit(pool, slot, "", 0, NULL, 0);
    mutex_unlock(&pool->lock);
    assert_fine(error);
}

#define POOL_TEST(f) cmocka_unit_test_setup_teardown(f, pool_setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOL_TEST(an_object_is_made_while_writers_hold_all_batches),
        POOL_TEST(blocks_are_trimmed_while_writers_hold_all_batches),
        POOL_TEST(an_object_is_cut_while_writers_hold_all_batches),
        POOL_TEST(an_object_is_freed_while_writers_hold_all_batches),
        POOL_TEST(an_object_is_freed_while_clients_hold_all_batches_of_trims),
        POOL_TEST(documents_of_the_greatest_length_are_committed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
