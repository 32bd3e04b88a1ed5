/* Who is lent batches, and who waits for one: nobody who holds one stops the catalog. */
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

/* As where all of them wait, paced or for space: the documents of an object need a batch, and pool->lock meanwhile. */
static void an_object_is_made_while_writers_hold_all_batches(void **context)
{
    struct batch *held[BATCHES_LENT];
    struct thread thread;
    enum error error;
    (void)context;
    make("early", GIB);
    for (unsigned i = 0; i < BATCHES_LENT; i++)
        assert_non_null(held[i] = batch_get(pool, component_of("early"), NULL));
    assert_fine(thread_start(&thread, "create", create, &error));
    bool in_time = is_done_in_time();
    for (unsigned i = 0; i < BATCHES_LENT; i++)
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
        POOL_TEST(documents_of_the_greatest_length_are_committed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
