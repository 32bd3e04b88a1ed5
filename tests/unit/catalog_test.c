/* Loading the catalog from a device that does not always read. */
#include "base/random.h"
#include "engine/group/item.h"
#include "tests/unit/check_fixture.h"

static unsigned refusals; /* of the next reads of chunks */

enum error __real_chunks_read(struct group *group, struct chunk_read *reads, size_t count);
enum error __wrap_chunks_read(struct group *group, struct chunk_read *reads, size_t count);

enum error __wrap_chunks_read(struct group *group, struct chunk_read *reads, size_t count)
{
    if (refusals == 0 || count == 0)
        return __real_chunks_read(group, reads, count);
    refusals--;
    for (size_t i = 0; i < count; i++)
        reads[i].error = ERROR_IO;
    return ERROR_IO;
}

static unsigned syncs_failing;

enum error __real_group_sync(struct group *group);
enum error __wrap_group_sync(struct group *group);

enum error __wrap_group_sync(struct group *group)
{
    if (syncs_failing == 0)
        return __real_group_sync(group);
    syncs_failing--;
    return error_explain(ERROR_NO_MEMORY, "no memory to go on in another segment");
}

/* An object that is not served is a disk less for its users: one refused read must not do that. */
static void an_object_whose_document_a_device_refuses_for_a_moment_is_served(void **context)
{
    struct object_info info;
    struct uuid uuid;
    (void)context;
    assert_fine(object_create(pool, "one", MIB, &uuid));
    assert_fine(object_create(pool, "two", MIB, &uuid));
    assert_fine(pool_close(pool));
    for (unsigned times = 1; times <= 4; times++) {
        refusals = times;
        assert_fine(pool_try_open());
        assert_int_equal(refusals, 0);
        assert_fine(object_find(pool, "one", &info));
        assert_fine(object_find(pool, "two", &info));
        assert_fine(pool_close(pool));
    }
    assert_fine(pool_try_open());
}

static struct spot document_spot(const char *name)
{
    mutex_lock(&pool->lock);
    uint64_t block = catalog_find(pool, name)->slot * OBJECT_SLOT_BLOCKS;
    mutex_unlock(&pool->lock);
    struct map_entry entry;
    struct view *view;
    assert_fine(view_lookup(pool->group, COMPONENT_CATALOG, &block, &entry, 1, &view));
    view_put(pool->group, view);
    return address_spot(entry_serial(entry), entry_offset(entry));
}

static void empty_the_trash(void)
{
    mutex_lock(&pool->lock);
    pool->conf->trash = 0;
    condition_signal(&pool->janitor_wake);
    mutex_unlock(&pool->lock);
    clock_sleep(300 * CLOCK_MILLISECOND);
}

/* Where the journal is replayed, only the recent tables know its component. */
static void an_object_stays_while_a_snapshot_that_cannot_be_read_may_be_held(void **context)
{
    const char *names[] = {"one", "two"}, *snapshots[] = {"one@s", "two@s"};
    (void)context;
    for (unsigned crash = 0; crash < 2; crash++) {
        const char *name = names[crash];
        make(name, GIB);
        make("other", GIB);
        write_block(name, 0, 1);
        assert_fine(object_snapshot(pool, &name, 1, "s", true, 0));
        for (unsigned i = 0; i < 2; i++) { /* so that a flush is known to have covered it */
            write_block("other", i * COFFER_BLOCK, 2 + i);
            assert_fine(group_sync(pool->group));
        }
        struct spot spot = document_spot(snapshots[crash]);
        close_pool(crash);
        flip(&spot);
        assert_fine(pool_try_open());
        assert_int_equal(look(name).snapshots, 0);
        assert_refused(object_delete(pool, name, true), ERROR_BUSY, "cannot be read");
        assert_fine(object_delete(pool, name, false));
        assert_fine(object_delete(pool, "other", true));
        empty_the_trash();
        assert_fine(object_restore(pool, name, NULL));
        close_pool(crash);
        flip(&spot);
        assert_fine(pool_try_open());
        assert_block(snapshots[crash], 0, 1);
    }
}

static struct uuid snapshot_uuid(const char *name)
{
    struct snapshot_info info;
    assert_fine(snapshot_find(pool, name, &info));
    return info.uuid;
}

static void snapshot_again(const char *name, uint32_t seed)
{
    write_block(name, 0, seed);
    assert_fine(object_snapshot(pool, &name, 1, "s", false, 0));
}

/* Else one command would take the one, another the other. */
static void a_snapshot_that_comes_back_when_its_name_is_taken_is_served_beside_it(void **context)
{
    (void)context;
    make("one", GIB);
    snapshot_again("one", 1);
    struct uuid first = snapshot_uuid("one@s");
    struct spot spot = document_spot("one@s");
    close_pool(false);
    flip(&spot);
    assert_fine(pool_try_open());
    assert_int_equal(look("one").snapshots, 0);
    snapshot_again("one", 2);
    struct uuid second = snapshot_uuid("one@s");
    close_pool(false);
    flip(&spot);
    for (unsigned opens = 0; opens < 2; opens++) {
        assert_fine(pool_try_open());
        assert_int_equal(look("one").snapshots, 2);
        assert_true(uuid_equal(snapshot_uuid("one@s"), first));
        assert_true(uuid_equal(snapshot_uuid("one@s (slot 3)"), second));
        assert_block("one@s", 0, 1);
        assert_block("one@s (slot 3)", 0, 2);
        close_pool(opens == 0);
    }
    assert_fine(pool_try_open());
    assert_fine(snapshot_delete(pool, "one@s"));
    pool_reopen(false);
    assert_true(uuid_equal(snapshot_uuid("one@s"), second));
    assert_int_equal(look("one").snapshots, 1);
}

/* What was entered becomes durable with whatever is flushed next: nobody may go on as if it had not been. */
static void a_deletion_that_was_entered_and_not_synced_takes_the_group_out_of_service(void **context)
{
    (void)context;
    make("one", GIB);
    write_block("one", 0, 1);
    syncs_failing = 1;
    assert_int_not_equal(object_delete(pool, "one", true), ERROR_NONE);
    assert_true(group_is_fenced(pool->group));
    close_pool(true);
    assert_fine(pool_try_open());
}

static uint64_t left_in_buffer(void)
{
    const struct log_buffer *open = pool->group->journal.open;
    return open == NULL ? UINT64_MAX : open->capacity - open->items_end - open->summary_size - open->records_size;
}

static uint64_t left(void)
{
    mutex_lock(&pool->group->lock);
    uint64_t bytes = left_in_buffer();
    mutex_unlock(&pool->group->lock);
    return bytes;
}

static uint64_t sequence(void)
{
    mutex_lock(&pool->section.mutex);
    uint64_t number = pool->section.sequence;
    mutex_unlock(&pool->section.mutex);
    return number;
}

/* A part of it in the next append would have a sequence of its own, and be lost alone in a crash. */
static void documents_that_change_together_lie_in_one_append_where_a_buffer_ends(void **context)
{
    enum { OBJECTS = 24 };
    char names[OBJECTS][16];
    const char *pointers[OBJECTS];
    uint64_t tickets, before;
    uint8_t noise[COFFER_BLOCK];
    struct volume *volume;
    (void)context;
    for (unsigned i = 0; i < OBJECTS; i++) {
        snprintf(names[i], sizeof names[i], "object-%u", i);
        pointers[i] = names[i];
        make(names[i], GIB);
    }
    make("other", GIB);
    assert_fine(volume_open(pool, "other", false, &volume));
    for (uint64_t block = 0; left() > 2 * COFFER_BLOCK; block++) {
        random_bytes(noise, sizeof noise);
        assert_fine(block_io(volume, REQUEST_WRITE, block * COFFER_BLOCK, noise));
    }
    before = sequence();
    tickets = pool->group->journal.tickets;
    assert_fine(object_snapshot(pool, pointers, OBJECTS, "s", false, 0));
    assert_true(pool->group->journal.tickets > tickets);
    assert_int_equal(sequence(), before + 1);
    volume_close(volume);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_object_whose_document_a_device_refuses_for_a_moment_is_served, pool_setup,
                                        pool_teardown),
        cmocka_unit_test_setup_teardown(an_object_stays_while_a_snapshot_that_cannot_be_read_may_be_held, pool_setup,
                                        pool_teardown),
        cmocka_unit_test_setup_teardown(a_snapshot_that_comes_back_when_its_name_is_taken_is_served_beside_it, pool_setup,
                                        pool_teardown),
        cmocka_unit_test_setup_teardown(documents_that_change_together_lie_in_one_append_where_a_buffer_ends, pool_setup,
                                        pool_teardown),
        cmocka_unit_test_setup_teardown(a_deletion_that_was_entered_and_not_synced_takes_the_group_out_of_service, pool_setup,
                                        pool_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
