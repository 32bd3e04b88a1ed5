/* What is freed in the background: trash in its time, deletions and cuts to their end, whatever comes in between. */
#include "tests/unit/pool_fixture.h"

static void trash_is_kept_for(uint64_t seconds)
{
    mutex_lock(&pool->lock);
    pool->conf->trash = seconds;
    mutex_unlock(&pool->lock);
}

/* Writes a document as if a crash came right behind it: memory does not follow, the janitor is not told. */
static void store_only(const char *name, enum object_state state, uint64_t size, uint64_t cut)
{
    struct object_document document;
    mutex_lock(&pool->lock);
    struct object *object = catalog_find(pool, name);
    object_describe(pool, object, &document);
    document.state = state;
    document.deleted = state == OBJECT_DELETING ? 1 : 0;
    document.size = size;
    document.cut = cut;
    assert_fine(catalog_store(pool, object->slot, &document));
    mutex_unlock(&pool->lock);
}

static void await_cut(const char *name)
{
    uint64_t cut = 1;
    for (unsigned i = 0; i < 6000 && cut != 0; i++) {
        mutex_lock(&pool->lock);
        cut = catalog_find(pool, name)->cut;
        mutex_unlock(&pool->lock);
        if (cut != 0)
            clock_sleep(10 * CLOCK_MILLISECOND);
    }
    assert_int_equal(cut, 0);
}

static uint64_t blocks_mapped(void)
{
    struct pool_status status;
    assert_fine(group_publish(pool->group));
    assert_fine(pool_status(pool, &status));
    return status.blocks_mapped;
}

static void what_is_deleted_for_good_leaves_nothing(void **context)
{
    (void)context;
    uint64_t before = blocks_mapped();
    struct uuid uuid = make("a", OBJECT_SIZE_MAX);
    uint64_t component = component_of("a");
    write_block("a", 0, 1);
    write_block("a", 5 * GIB, 2);
    write_block("a", OBJECT_SIZE_MAX - COFFER_BLOCK, 3);
    assert_true(component_exists(component));
    write_block("a", 4096, 4); /* in the recent table only */
    assert_fine(object_delete(pool, "a", true));
    await_gone(uuid);
    assert_false(component_exists(component));
    assert_int_equal(blocks_mapped(), before);
}

static void what_was_never_written_goes_as_well(void **context)
{
    (void)context;
    struct uuid uuid = make("a", OBJECT_SIZE_MAX);
    uint64_t component = component_of("a");
    assert_fine(object_delete(pool, "a", true));
    await_gone(uuid);
    assert_false(component_exists(component));
    pool_reopen(true);
    await_gone(uuid);
    assert_false(component_exists(component));
}

static void without_a_trash_every_delete_is_for_good(void **context)
{
    (void)context;
    trash_is_kept_for(0);
    struct uuid uuid = make("a", GIB);
    assert_fine(object_delete(pool, "a", false));
    await_gone(uuid);
}

static void the_trash_is_emptied_in_its_time_and_not_before(void **context)
{
    (void)context;
    struct uuid soon = make("soon", GIB), later = make("later", GIB);
    write_block("soon", 0, 1);
    write_block("later", 0, 2);
    trash_is_kept_for(1000);
    assert_fine(object_delete(pool, "later", false));
    assert_fine(object_delete(pool, "soon", false));
    mutex_lock(&pool->lock);
    catalog_find(pool, "soon")->deleted -= 1000;
    condition_signal(&pool->janitor_wake);
    mutex_unlock(&pool->lock);
    await_gone(soon);
    assert_true(uuid_equal(look("later").uuid, later));
    assert_fine(object_restore(pool, "later", NULL));
    assert_block("later", 0, 2);
}

static void the_trash_is_emptied_by_uuid_too(void **context)
{
    (void)context;
    struct uuid uuid = make("a", GIB);
    assert_fine(object_delete(pool, "a", false));
    make("a", MIB);
    assert_fine(object_delete(pool, text_of(uuid), true));
    await_gone(uuid);
    assert_int_equal(look("a").size, MIB);
}

static void an_endless_trash_is_never_emptied(void **context)
{
    (void)context;
    trash_is_kept_for(UINT64_MAX);
    make("a", GIB);
    assert_fine(object_delete(pool, "a", false));
    assert_true(look("a").purge_at == UINT64_MAX);
    trash_is_kept_for(7 * 86400);
}

static void what_is_being_freed_does_not_come_back(void **context)
{
    (void)context;
    struct uuid uuid = make("a", GIB);
    struct volume *volume;
    janitor_stop(pool);
    write_block("a", 0, 1);
    assert_fine(object_delete(pool, "a", true));
    assert_true(look("a").deleting && look("a").purge_at == 0);
    assert_refused(object_restore(pool, text_of(uuid), NULL), ERROR_NOT_FOUND, "being freed");
    assert_refused(object_delete(pool, text_of(uuid), true), ERROR_NOT_FOUND, "already");
    assert_refused(object_rename(pool, "a", "b"), ERROR_NOT_FOUND, "being freed");
    assert_refused(volume_open(pool, "a", true, &volume), ERROR_NOT_FOUND, "being freed");
    make("a", MIB); /* its name is free at once */
    pool_reopen(true);
    await_gone(uuid);
    assert_int_equal(look("a").size, MIB);
}

static void a_deletion_goes_on_after_a_crash(void **context)
{
    (void)context;
    struct uuid uuid = make("a", GIB);
    uint64_t component = component_of("a");
    write_block("a", MIB, 1);
    store_only("a", OBJECT_DELETING, GIB, 0);
    pool_reopen(true);
    await_gone(uuid);
    assert_false(component_exists(component));
}

static void a_creation_that_a_crash_cut_short_is_taken_back(void **context)
{
    (void)context;
    struct uuid uuid = make("a", GIB);
    store_only("a", OBJECT_CREATING, GIB, 0);
    pool_reopen(true);
    await_gone(uuid);
    make("a", GIB);
}

static void what_is_cut_off_reads_as_zeros_when_it_is_there_again(void **context)
{
    (void)context;
    make("a", GIB);
    write_block("a", 0, 1);
    write_block("a", 4096, 2);
    write_block("a", 8192, 3);
    write_block("a", 512 * MIB, 4);
    assert_fine(object_resize(pool, "a", 8192, true));
    assert_int_equal(look("a").size, 8192);
    assert_int_equal(look("a").open_count, 0);
    assert_fine(object_resize(pool, "a", GIB, false));
    for (unsigned i = 0; i < 3; i++) {
        assert_block("a", 0, 1);
        assert_block("a", 4096, 2);
        assert_block("a", 8192, 0);
        assert_block("a", 512 * MIB, 0);
        if (i < 2)
            pool_reopen(i == 0);
    }
}

static void a_shrink_goes_on_after_a_crash(void **context)
{
    (void)context;
    make("a", GIB);
    write_block("a", 4096, 1);
    write_block("a", 8192, 2);
    write_block("a", 700 * MIB, 3);
    store_only("a", OBJECT_LIVE, 8192, GIB);
    pool_reopen(true);
    await_cut("a");
    assert_int_equal(look("a").size, 8192);
    assert_fine(object_resize(pool, "a", GIB, false));
    pool_reopen(true);
    assert_block("a", 4096, 1);
    assert_block("a", 8192, 0);
    assert_block("a", 700 * MIB, 0);
}

static void until_a_shrink_is_done_the_object_does_not_grow(void **context)
{
    (void)context;
    make("a", GIB);
    write_block("a", 512 * MIB, 1);
    store_only("a", OBJECT_LIVE, MIB, GIB);
    pool_reopen(true);
    await_cut("a");
    janitor_stop(pool);
    mutex_lock(&pool->lock);
    catalog_find(pool, "a")->cut = GIB;
    mutex_unlock(&pool->lock);
    assert_refused(object_resize(pool, "a", GIB, false), ERROR_BUSY, "still being freed");
    assert_refused(object_resize(pool, "a", 4096, true), ERROR_BUSY, "still being freed");
    write_block("a", 0, 2); /* what is left works all the while */
    assert_fine(janitor_start(pool));
    await_cut("a");
    assert_fine(object_resize(pool, "a", GIB, false));
    assert_block("a", 512 * MIB, 0);
    assert_block("a", 0, 2);
}

static void a_cut_begins_and_ends_at_its_blocks(void **context)
{
    (void)context;
    make("a", GIB);
    for (unsigned i = 0; i < 6; i++)
        write_block("a", 254 * 4096 + i * 4096, i + 1);
    store_only("a", OBJECT_LIVE, 255 * 4096, 258 * 4096);
    pool_reopen(true);
    await_cut("a");
    assert_fine(object_resize(pool, "a", GIB, false));
    assert_block("a", 254 * 4096, 1);
    for (unsigned i = 1; i < 4; i++)
        assert_block("a", 254 * 4096 + i * 4096, 0);
    assert_block("a", 258 * 4096, 5);
    assert_block("a", 259 * 4096, 6);
}

static uint64_t releases(void)
{
    mutex_lock(&pool->group->lock);
    uint64_t count = pool->group->checkpoint.release_end;
    mutex_unlock(&pool->group->lock);
    return count;
}

/* The map is handed over in a few nodes; what it holds is freed later, also after a restart, and meanwhile all is sound. */
static void a_large_object_is_gone_before_its_blocks_are_free(void **context)
{
    (void)context;
    atomic_store(&release_references, 0);
    uint64_t before = blocks_mapped();
    struct uuid uuid = make("a", OBJECT_SIZE_MAX);
    uint64_t component = component_of("a");
    for (unsigned i = 0; i < 300; i++)
        write_block("a", i * (OBJECT_SIZE_MAX / 512), i + 1);
    assert_fine(group_publish(pool->group));
    assert_fine(object_delete(pool, "a", true));
    await_gone(uuid);
    assert_false(component_exists(component));
    assert_true(blocks_mapped() >= before + 300);
    assert_in_range(releases(), 1, 33); /* the children of its root, and its slot of the catalog */
    make("a", GIB);
    write_block("a", 0, 7);
    for (unsigned i = 0; i < 3; i++) {
        atomic_store(&release_references, 50);
        assert_fine(group_publish(pool->group));
        atomic_store(&release_references, 0);
        assert_fine(group_publish(pool->group));
        assert_true(releases() > 0);
        if (i == 1) {
            pool_close_checked();
            assert_fine(pool_try_open());
        } else {
            pool_reopen(true);
        }
    }
    assert_true(blocks_mapped() > before);
    atomic_store(&release_references, UINT64_C(1) << 20);
    assert_fine(group_publish(pool->group));
    assert_int_equal(releases(), 0);
    assert_int_equal(blocks_mapped(), before + 2); /* the new object, and its document */
    assert_block("a", 0, 7);
}

static void one_request_trims_64_tib(void **context)
{
    struct volume *volume;
    (void)context;
    make("a", OBJECT_SIZE_MAX);
    for (unsigned i = 0; i < 100; i++)
        write_block("a", i * (OBJECT_SIZE_MAX / 128), i + 1);
    assert_fine(group_publish(pool->group));
    write_block("a", 8192, 200);
    struct request request = {.type = REQUEST_TRIM, .offset = 4096, .length = OBJECT_SIZE_MAX - 4096};
    assert_fine(volume_open(pool, "a", false, &volume));
    uint64_t sequence = pool->section.sequence;
    volume_execute(volume, &request, 1, fixture_answer, NULL);
    assert_fine(request.error);
    assert_int_equal(pool->section.sequence, sequence + 1);
    volume_close(volume);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 100; i++)
            assert_block("a", i * (OBJECT_SIZE_MAX / 128), i == 0);
        assert_block("a", 8192, 0);
        pool_reopen(round == 0);
    }
    assert_int_equal(releases(), 0);
}

static void many_deletions_need_no_publishes(void **context)
{
    struct uuid uuids[20];
    char name[16];
    (void)context;
    for (unsigned i = 0; i < COUNT_OF(uuids); i++) {
        snprintf(name, sizeof name, "disk%u", i);
        uuids[i] = make(name, 100 * MIB);
        write_block(name, 0, i + 1);
    }
    janitor_stop(pool);
    for (unsigned i = 0; i < COUNT_OF(uuids); i++)
        assert_fine(object_delete(pool, text_of(uuids[i]), true));
    uint64_t before = atomic_load(&pool->group->totals.checkpoints);
    assert_fine(janitor_start(pool));
    for (unsigned i = 0; i < COUNT_OF(uuids); i++)
        await_gone(uuids[i]);
    assert_in_range(atomic_load(&pool->group->totals.checkpoints), before, before + 5);
    assert_true(pool->objects == NULL);
}

static void a_pool_without_space_still_deletes(void **context)
{
    static uint8_t data[MIB];
    struct volume *volume;
    enum error error = ERROR_NONE;
    (void)context;
    struct uuid uuid = make("a", GIB);
    assert_fine(volume_open(pool, "a", false, &volume));
    for (uint64_t offset = 0; offset < GIB && error == ERROR_NONE; offset += MIB) {
        struct request request = {.type = REQUEST_WRITE, .offset = offset, .length = MIB, .data = data};
        for (size_t i = 0; i < MIB; i += 8) {
            uint64_t word = (offset + i + 1) * UINT64_C(0x9e3779b97f4a7c15);
            word ^= word >> 29;
            word *= UINT64_C(0xbf58476d1ce4e5b9);
            memcpy(data + i, &word, 8);
        }
        volume_execute(volume, &request, 1, fixture_answer, NULL);
        error = request.error;
    }
    volume_close(volume);
    assert_string_equal(error_name(error), "NO_SPACE");
    assert_fine(object_delete(pool, "a", false));
    assert_fine(object_delete(pool, text_of(uuid), true));
    await_gone(uuid);
    make("b", GIB);
    assert_fine(group_publish(pool->group));
    assert_fine(group_publish(pool->group));
    write_block("b", 0, 1);
    assert_block("b", 0, 1);
}

#define POOL_TEST(f) cmocka_unit_test_setup_teardown(f, pool_setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOL_TEST(what_is_deleted_for_good_leaves_nothing),
        POOL_TEST(what_was_never_written_goes_as_well),
        POOL_TEST(without_a_trash_every_delete_is_for_good),
        POOL_TEST(the_trash_is_emptied_in_its_time_and_not_before),
        POOL_TEST(the_trash_is_emptied_by_uuid_too),
        POOL_TEST(an_endless_trash_is_never_emptied),
        POOL_TEST(what_is_being_freed_does_not_come_back),
        POOL_TEST(a_deletion_goes_on_after_a_crash),
        POOL_TEST(a_creation_that_a_crash_cut_short_is_taken_back),
        POOL_TEST(what_is_cut_off_reads_as_zeros_when_it_is_there_again),
        POOL_TEST(a_shrink_goes_on_after_a_crash),
        POOL_TEST(until_a_shrink_is_done_the_object_does_not_grow),
        POOL_TEST(a_cut_begins_and_ends_at_its_blocks),
        POOL_TEST(a_large_object_is_gone_before_its_blocks_are_free),
        POOL_TEST(one_request_trims_64_tib),
        POOL_TEST(many_deletions_need_no_publishes),
        POOL_TEST(a_pool_without_space_still_deletes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
