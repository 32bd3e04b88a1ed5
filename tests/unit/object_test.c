/* Objects: what is refused changes nothing; each change is there after a clean stop and after a crash. */
#include "tests/unit/pool_fixture.h"

static void assert_absent(const char *name)
{
    struct object_info info;
    assert_refused(object_find(pool, name, &info), ERROR_NOT_FOUND, "no object");
}

static size_t count_of_objects(void)
{
    struct object_info *infos;
    size_t count;
    assert_fine(object_list(pool, &infos, &count));
    free(infos);
    return count;
}

/* ---- refusals ------------------------------------------------------------------------------------------------------
 */

static void names_that_cannot_be_are_refused(void **context)
{
    struct uuid uuid;
    char longest[OBJECT_NAME_MAX + 2] = {0};
    (void)context;
    memset(longest, 'x', OBJECT_NAME_MAX + 1);
    assert_refused(object_create(pool, "", GIB, &uuid), ERROR_INVALID, "empty");
    assert_refused(object_create(pool, "a@b", GIB, &uuid), ERROR_INVALID, "'@'");
    assert_refused(object_create(pool, longest, GIB, &uuid), ERROR_INVALID, "255");
    make("a", GIB);
    assert_refused(object_rename(pool, "a", "b/c"), ERROR_INVALID, "'/'");
    assert_refused(object_rename(pool, "a", "\x1b"), ERROR_INVALID, "control");
    assert_refused(object_rename(pool, "a", "\u202etxt.exe"), ERROR_INVALID, "cannot be seen");
    assert_int_equal(count_of_objects(), 1);
}

static void sizes_that_cannot_be_are_refused(void **context)
{
    struct uuid uuid;
    (void)context;
    assert_refused(object_create(pool, "a", 0, &uuid), ERROR_INVALID, "size 0");
    assert_refused(object_create(pool, "a", 4097, &uuid), ERROR_INVALID, "multiple");
    assert_refused(object_create(pool, "a", OBJECT_SIZE_MAX + COFFER_BLOCK, &uuid), ERROR_TOO_LARGE, "64 TiB");
    assert_refused(object_create(pool, "a", UINT64_MAX - 4095, &uuid), ERROR_TOO_LARGE, "64 TiB");
    make("a", OBJECT_SIZE_MAX);
    make("b", COFFER_BLOCK);
    assert_refused(object_resize(pool, "b", 0, true), ERROR_INVALID, "size 0");
    assert_refused(object_resize(pool, "b", 5000, false), ERROR_INVALID, "multiple");
    assert_refused(object_resize(pool, "b", OBJECT_SIZE_MAX * 2, false), ERROR_TOO_LARGE, "64 TiB");
    assert_int_equal(look("b").size, COFFER_BLOCK);
}

/* Creates that fail use numbers up, and leave nothing that a publish would be for. */
static void an_idle_pool_gives_numbers_of_components_again(void **context)
{
    struct uuid uuid;
    (void)context;
    publish();
    mutex_lock(&pool->group->lock);
    pool->group->component_next = pool->group->component_lease;
    mutex_unlock(&pool->group->lock);
    assert_fine(object_create(pool, "a", GIB, &uuid));
}

static void a_living_name_is_taken(void **context)
{
    struct uuid uuid;
    (void)context;
    make("a", GIB);
    make("b", GIB);
    assert_refused(object_create(pool, "a", GIB, &uuid), ERROR_EXISTS, "'a'");
    assert_refused(object_rename(pool, "b", "a"), ERROR_EXISTS, "'a'");
    assert_fine(object_delete(pool, "a", false));
    assert_fine(object_rename(pool, "b", "a"));
    assert_refused(object_restore(pool, "a", NULL), ERROR_EXISTS, "'a'");
}

static void what_is_not_there_is_not_found(void **context)
{
    struct volume *volume;
    (void)context;
    assert_absent("a");
    assert_absent("bad\x01");
    assert_absent("11111111-1111-4111-8111-111111111111");
    assert_refused(object_rename(pool, "a", "b"), ERROR_NOT_FOUND, "'a'");
    assert_refused(object_resize(pool, "a", GIB, true), ERROR_NOT_FOUND, "'a'");
    assert_refused(object_delete(pool, "a", true), ERROR_NOT_FOUND, "'a'");
    assert_refused(object_restore(pool, "a", NULL), ERROR_NOT_FOUND, "'a'");
    assert_refused(object_delete(pool, "0f0e0d0c-0b0a-4908-8706-050403020100", true), ERROR_NOT_FOUND, "the UUID 0f0e");
    assert_refused(volume_open(pool, "a", false, &volume), ERROR_NOT_FOUND, "no object");
}

static void a_full_pool_takes_no_more_objects(void **context)
{
    struct object_document document = {.size = GIB, .state = OBJECT_LIVE, .domain = pool->conf->pool};
    struct uuid uuid;
    (void)context;
    mutex_lock(&pool->lock);
    for (unsigned i = 1; i <= OBJECTS_MAX; i++) {
        document.uuid = uuid_random();
        document.component = 100 + i;
        snprintf(document.name, sizeof document.name, "disk%u", i);
        assert_fine(catalog_enter(pool, i, &document));
    }
    mutex_unlock(&pool->lock);
    assert_refused(object_create(pool, "one more", GIB, &uuid), ERROR_TOO_LARGE, "10000");
    assert_int_equal(count_of_objects(), OBJECTS_MAX);
    pool_reopen(false);
    assert_int_equal(count_of_objects(), 0);
}

static void an_open_object_is_neither_deleted_nor_made_smaller(void **context)
{
    struct volume *volume;
    (void)context;
    make("a", GIB);
    assert_fine(volume_open(pool, "a", false, &volume));
    assert_int_equal(look("a").open_count, 1);
    assert_refused(object_delete(pool, "a", true), ERROR_BUSY, "'a'");
    assert_refused(object_delete(pool, "a", false), ERROR_BUSY, "'a'");
    assert_refused(object_resize(pool, "a", MIB, true), ERROR_BUSY, "'a'");
    assert_refused(pool_lock(pool), ERROR_BUSY, "volumes");
    assert_fine(object_rename(pool, "a", "b"));
    volume_close(volume);
    assert_int_equal(look("b").open_count, 0);
    assert_fine(object_resize(pool, "b", MIB, true));
    assert_fine(object_delete(pool, "b", true));
}

static void a_smaller_size_must_be_meant(void **context)
{
    (void)context;
    make("a", GIB);
    assert_refused(object_resize(pool, "a", MIB, false), ERROR_UNCONFIRMED, "--shrink");
    assert_int_equal(look("a").size, GIB);
    assert_fine(object_resize(pool, "a", GIB, false));
}

static void what_is_in_the_trash_is_not_used(void **context)
{
    struct volume *volume;
    (void)context;
    make("a", GIB);
    assert_fine(object_delete(pool, "a", false));
    assert_refused(volume_open(pool, "a", false, &volume), ERROR_NOT_FOUND, "trash");
    assert_refused(object_rename(pool, "a", "b"), ERROR_NOT_FOUND, "trash");
    assert_refused(object_resize(pool, "a", 2 * GIB, false), ERROR_NOT_FOUND, "trash");
    assert_refused(object_delete(pool, "a", false), ERROR_NOT_FOUND, "trash already");
    make("c", GIB);
    assert_refused(object_restore(pool, "c", NULL), ERROR_NOT_FOUND, "not in the trash");
}

static void a_locked_pool_knows_no_objects(void **context)
{
    struct object_info info, *infos;
    struct volume *volume;
    struct uuid uuid;
    size_t count;
    (void)context;
    make("a", GIB);
    assert_fine(pool_lock(pool));
    assert_int_equal(object_find(pool, "a", &info), ERROR_LOCKED);
    assert_int_equal(object_list(pool, &infos, &count), ERROR_LOCKED);
    assert_int_equal(object_create(pool, "b", GIB, &uuid), ERROR_LOCKED);
    assert_int_equal(object_delete(pool, "a", true), ERROR_LOCKED);
    assert_int_equal(volume_open(pool, "a", true, &volume), ERROR_LOCKED);
    assert_fine(pool_unlock(pool, NULL, 0));
    assert_int_equal(look("a").size, GIB);
}

static void a_pool_out_of_service_still_tells_what_it_has(void **context)
{
    struct uuid uuid;
    (void)context;
    make("a", GIB);
    (void)group_fence(pool->group, ERROR_IO);
    assert_int_equal(look("a").size, GIB);
    assert_int_equal(object_create(pool, "b", GIB, &uuid), ERROR_FENCED);
    assert_int_equal(object_resize(pool, "a", 2 * GIB, false), ERROR_FENCED);
    assert_int_equal(look("a").size, GIB);
    pool_crash();
}

static void a_read_only_pool_is_not_changed(void **context)
{
    struct pool_open_options options = {.memory = FIXTURE_MEMORY, .read_only = true};
    struct volume *volume;
    struct uuid uuid;
    (void)context;
    make("a", GIB);
    write_block("a", 4096, 7);
    assert_fine(pool_close(pool));
    assert_fine(pool_open(fixture_directory, &options, &pool));
    assert_refused(object_create(pool, "b", GIB, &uuid), ERROR_READ_ONLY, "read-only");
    assert_refused(object_rename(pool, "a", "b"), ERROR_READ_ONLY, "read-only");
    assert_refused(object_delete(pool, "a", false), ERROR_READ_ONLY, "read-only");
    assert_refused(volume_open(pool, "a", false, &volume), ERROR_READ_ONLY, "read-only");
    assert_block("a", 4096, 7);
}

/* ---- what is kept
 * ---------------------------------------------------------------------------------------------------- */

static void for_both_ends(void (*check)(bool crash))
{
    check(false);
    check(true);
}

static void check_created(bool crash)
{
    const char *name = crash ? "größe" : "a b";
    struct uuid uuid = make(name, 3 * GIB);
    pool_reopen(crash);
    struct object_info info = look(name);
    assert_true(uuid_equal(info.uuid, uuid));
    assert_int_equal(info.size, 3 * GIB);
    assert_true(info.created != 0 && info.deleted == 0 && info.purge_at == 0 && !info.deleting && info.open_count == 0);
    assert_string_equal(info.name, name);
    assert_string_equal(look(text_of(uuid)).name, name);
}

static void a_new_object_is_there_after_every_end(void **context)
{
    (void)context;
    for_both_ends(check_created);
}

static void check_renamed(bool crash)
{
    struct uuid uuid = make("old", GIB);
    assert_fine(object_rename(pool, text_of(uuid), "new"));
    assert_absent("old");
    pool_reopen(crash);
    assert_absent("old");
    assert_true(uuid_equal(look("new").uuid, uuid));
    assert_fine(object_rename(pool, "new", crash ? "done twice" : "done"));
}

static void a_new_name_is_there_after_every_end(void **context)
{
    (void)context;
    for_both_ends(check_renamed);
}

static void check_grown(bool crash)
{
    const char *name = crash ? "b" : "a";
    struct volume *volume;
    make(name, MIB);
    write_block(name, MIB - COFFER_BLOCK, 3);
    assert_fine(volume_open(pool, name, false, &volume));
    assert_fine(object_resize(pool, name, 2 * GIB, false));
    assert_int_equal(volume_size(volume), 2 * GIB);
    volume_close(volume);
    assert_block(name, MIB, 0);
    assert_block(name, 2 * GIB - COFFER_BLOCK, 0);
    write_block(name, GIB, 4);
    pool_reopen(crash);
    assert_int_equal(look(name).size, 2 * GIB);
    assert_block(name, MIB - COFFER_BLOCK, 3);
    assert_block(name, GIB, 4);
}

static void an_object_grows_while_it_is_open(void **context)
{
    (void)context;
    for_both_ends(check_grown);
}

static void check_trashed(bool crash)
{
    const char *name = crash ? "b" : "a";
    struct uuid uuid = make(name, GIB);
    write_block(name, 8192, 9);
    assert_fine(object_delete(pool, name, false));
    pool_reopen(crash);
    struct object_info info = look(name);
    assert_true(info.deleted != 0 && !info.deleting);
    assert_int_equal(info.purge_at, info.deleted + pool->conf->trash);
    assert_fine(object_restore(pool, text_of(uuid), NULL));
    pool_reopen(crash);
    info = look(name);
    assert_true(info.deleted == 0 && info.purge_at == 0);
    assert_block(name, 8192, 9);
}

static void the_trash_keeps_what_it_took(void **context)
{
    (void)context;
    for_both_ends(check_trashed);
}

static void a_living_object_hides_the_trashed_ones_of_its_name(void **context)
{
    struct uuid first = make("a", MIB), second, third;
    (void)context;
    assert_fine(object_delete(pool, "a", false));
    second = make("a", 2 * MIB);
    assert_true(uuid_equal(look("a").uuid, second));
    assert_true(uuid_equal(look(text_of(first)).uuid, first));
    assert_fine(object_restore(pool, "a", "b"));
    assert_true(uuid_equal(look("b").uuid, first));
    assert_fine(object_delete(pool, "a", false));
    third = make("a", 3 * MIB);
    pool_reopen(true);
    assert_true(uuid_equal(look("a").uuid, third));
    assert_true(uuid_equal(look(text_of(second)).uuid, second));
}

static void a_name_that_several_in_the_trash_have_is_refused_with_their_uuids(void **context)
{
    struct uuid first = make("a", MIB), second;
    struct object_info info;
    (void)context;
    assert_fine(object_delete(pool, "a", false));
    assert_fine(object_find_trashed(pool, "a", &info));
    assert_true(uuid_equal(info.uuid, first));
    second = make("a", 2 * MIB);
    assert_fine(object_delete(pool, "a", false));
    assert_refused(object_restore(pool, "a", NULL), ERROR_INVALID, text_of(first));
    assert_refused(object_restore(pool, "a", "b"), ERROR_INVALID, text_of(second));
    assert_refused(object_find_trashed(pool, "a", &info), ERROR_INVALID, "(deleted 2");
    assert_refused(object_delete(pool, "a", true), ERROR_INVALID, "2 objects in the trash");
    assert_int_equal(count_of_objects(), 2);
    assert_fine(object_find_trashed(pool, text_of(first), &info));
    assert_fine(object_delete(pool, text_of(second), true));
    assert_fine(object_restore(pool, "a", NULL)); /* what is being freed is no candidate */
    assert_true(uuid_equal(look("a").uuid, first));
}

static void the_sentence_on_many_of_one_name_says_how_many_it_leaves_out(void **context)
{
    (void)context;
    for (unsigned i = 0; i < 11; i++) {
        make("a", MIB);
        assert_fine(object_delete(pool, "a", false));
    }
    assert_refused(object_restore(pool, "a", NULL), ERROR_INVALID, " and 3 more");
}

static void a_name_that_is_a_uuid_is_refused(void **context)
{
    struct uuid uuid = make("a", MIB), other;
    (void)context;
    assert_refused(object_create(pool, text_of(uuid), GIB, &other), ERROR_INVALID, "UUID");
    assert_refused(object_rename(pool, "a", text_of(uuid_random())), ERROR_INVALID, "UUID");
    assert_string_equal(look(text_of(uuid)).name, "a");
    assert_int_equal(count_of_objects(), 1);
}

static void the_list_is_sorted_by_name_and_whole(void **context)
{
    static const char *const names[] = {"b", "a", "B", "a b", "ä", "aa"};
    static const char *const sorted[] = {"B", "a", "a b", "aa", "b", "ä"};
    struct object_info *infos;
    size_t count;
    (void)context;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        make(names[i], MIB);
    pool_reopen(false);
    assert_fine(object_list(pool, &infos, &count));
    assert_int_equal(count, COUNT_OF(names));
    for (size_t i = 0; i < count; i++)
        assert_string_equal(infos[i].name, sorted[i]);
    free(infos);
}

static void slots_are_used_again(void **context)
{
    (void)context;
    make("stays", MIB);
    for (unsigned i = 0; i < 3; i++) {
        struct uuid uuid = make("goes", MIB);
        assert_int_equal(pool->slots_end, 3);
        assert_fine(object_delete(pool, "goes", true));
        await_gone(uuid);
    }
    pool_reopen(true);
    assert_int_equal(count_of_objects(), 1);
}

static void objects_share_blocks_and_the_catalog_shares_none(void **context)
{
    struct pool_status status;
    (void)context;
    make("a", GIB);
    make("b", GIB);
    write_block("a", 0, 5);
    write_block("b", MIB, 5);
    pool_reopen(true);
    write_block("b", 2 * MIB, 6);
    assert_block("a", 0, 5);
    assert_block("b", MIB, 5);
    write_block("a", 4096, 6);
    assert_fine(pool_status(pool, &status));
    assert_int_equal(status.chunks_hit, 1);
    assert_int_equal(status.objects, 2);
}

/* ---- from several threads ---------------------------------------------------------------------------------------- */

#define WORKERS 4

struct worker {
    struct thread thread;
    unsigned number;
    bool failed;
};

/* Objects of its own; true where all went well. */
static bool work_alone(unsigned number, unsigned round)
{
    char old[32], name[32];
    struct uuid uuid;
    snprintf(old, sizeof old, "old %u.%u", number, round);
    snprintf(name, sizeof name, "new %u.%u", number, round);
    enum error error = object_create(pool, old, 4 * MIB, &uuid);
    if (error == ERROR_NONE)
        error = object_rename(pool, old, name);
    if (error == ERROR_NONE)
        error = object_resize(pool, name, round % 2 ? MIB : 8 * MIB, true);
    if (error == ERROR_NONE && round % 3 == 2)
        error = object_delete(pool, name, true);
    return error == ERROR_NONE;
}

/* One name that all fight for. */
static bool work_together(void)
{
    struct object_info *infos;
    struct uuid uuid;
    size_t count;
    enum error created = object_create(pool, "shared", MIB, &uuid);
    enum error deleted = object_delete(pool, "shared", true);
    if (object_list(pool, &infos, &count) != ERROR_NONE)
        return false;
    free(infos);
    return (created == ERROR_NONE || created == ERROR_EXISTS) && (deleted == ERROR_NONE || deleted == ERROR_NOT_FOUND);
}

static void worker_run(void *argument)
{
    struct worker *worker = argument;
    for (unsigned round = 0; round < 6; round++) {
        worker->failed |= !work_alone(worker->number, round);
        worker->failed |= !work_together();
    }
}

static size_t count_of_living(void)
{
    struct object_info *infos;
    size_t count, living = 0;
    assert_fine(object_list(pool, &infos, &count));
    for (size_t i = 0; i < count; i++)
        living += infos[i].deleted == 0;
    free(infos);
    return living;
}

static void threads_that_change_objects_at_once_leave_a_whole_catalog(void **context)
{
    struct worker workers[WORKERS] = {0};
    (void)context;
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i].number = i;
        assert_fine(thread_start(&workers[i].thread, "worker", worker_run, &workers[i]));
    }
    for (unsigned i = 0; i < WORKERS; i++)
        thread_join(&workers[i].thread);
    for (unsigned i = 0; i < WORKERS; i++)
        assert_false(workers[i].failed);
    assert_int_equal(count_of_living(), WORKERS * 4);
    pool_reopen(true);
    assert_int_equal(count_of_living(), WORKERS * 4);
}

/* ---- damage
 * ------------------------------------------------------------------------------------------------------------ */

static void store_raw(uint64_t slot, const char *bytes, size_t size)
{
    mutex_lock(&pool->lock);
    assert_fine(catalog_commit(pool, slot, bytes, size, NULL, 0));
    mutex_unlock(&pool->lock);
}

static void assert_open_fails(enum error expected, const char *words)
{
    pool_crash();
    assert_refused(pool_try_open(), expected, words);
    pool = NULL;
}

static void a_key_that_the_witness_does_not_name_stops_the_open(void **context)
{
    struct pool_open_options accept = {.memory = FIXTURE_MEMORY, .accept_rollback = true};
    (void)context;
    make("a", GIB);
    mutex_lock(&pool->witness_lock);
    pool->witness->kek_number++;
    assert_fine(witness_save(pool->witness));
    mutex_unlock(&pool->witness_lock);
    assert_open_fails(ERROR_ROLLED_BACK, "witness names key 2");
    assert_fine(pool_open(fixture_directory, &accept, &pool));
    pool_reopen(false);
    look("a");
}

static void a_malformed_document_stops_the_open_and_is_named(void **context)
{
    (void)context;
    make("a", GIB);
    store_raw(5, "\x05\0\0\0{\"a\":", 9);
    assert_open_fails(ERROR_CORRUPT, "slot 5");
    assert_refused(pool_try_open(), ERROR_CORRUPT, "slot 5");
    pool = NULL;
}

static void a_document_of_impossible_length_stops_the_open(void **context)
{
    (void)context;
    store_raw(9999, "\xff\xff\xff\x7f{}", 6);
    assert_open_fails(ERROR_CORRUPT, "slot 9999");
}

static void two_objects_of_one_name_stop_the_open(void **context)
{
    struct object_document document;
    (void)context;
    make("a", GIB);
    mutex_lock(&pool->lock);
    object_describe(pool, catalog_find(pool, "a"), &document);
    document.uuid = uuid_random();
    assert_fine(catalog_store(pool, 2, &document));
    mutex_unlock(&pool->lock);
    assert_open_fails(ERROR_CORRUPT, "two objects named 'a'");
}

static void a_catalog_without_its_pool_stops_the_open(void **context)
{
    (void)context;
    make("a", GIB);
    store_raw(0, "", 0);
    assert_open_fails(ERROR_CORRUPT, "slot 0");
}

static void the_catalog_of_another_pool_stops_the_open(void **context)
{
    struct pool_document document = {.pool = uuid_random(), .name = "other"};
    void *bytes;
    size_t size;
    (void)context;
    assert_fine(pool_document_encode(&document, &bytes, &size));
    store_raw(0, bytes, size);
    free(bytes);
    assert_open_fails(ERROR_FOREIGN, "another pool");
}

static void a_document_of_many_blocks_is_read_whole(void **context)
{
    char *bytes = malloc(OBJECT_DOCUMENT_BYTES_MAX);
    struct object_document document;
    void *encoded;
    size_t size;
    (void)context;
    make("a", GIB);
    mutex_lock(&pool->lock);
    object_describe(pool, catalog_find(pool, "a"), &document);
    mutex_unlock(&pool->lock);
    assert_fine(object_document_encode(&document, &encoded, &size));
    /* JSON allows blanks: the same document, as long as one can be. */
    memset(bytes, ' ', OBJECT_DOCUMENT_BYTES_MAX);
    le32 length = le32_make(OBJECT_DOCUMENT_BYTES_MAX - DOCUMENT_LENGTH_SIZE);
    memcpy(bytes, &length, sizeof length);
    memcpy(bytes + OBJECT_DOCUMENT_BYTES_MAX - (size - 4), (uint8_t *)encoded + 4, size - 4);
    store_raw(1, bytes, OBJECT_DOCUMENT_BYTES_MAX);
    free(encoded);
    free(bytes);
    pool_reopen(true);
    assert_int_equal(look("a").size, GIB);
    assert_fine(object_resize(pool, "a", 2 * GIB, false));
    pool_reopen(false);
    assert_int_equal(look("a").size, 2 * GIB);
}

/* Not everything is durable: who stops a daemon must hear of it. */
static void the_close_of_a_pool_out_of_service_says_so(void **context)
{
    (void)context;
    make("one", GIB);
    write_block("one", 0, 1);
    assert_int_equal(group_fence(pool->group, ERROR_IO), ERROR_FENCED);
    assert_refused(pool_close(pool), ERROR_FENCED, "out of service");
    pool = NULL;
    assert_fine(pool_try_open());
    assert_block("one", 0, 1); /* the close of its volume flushed it */
}

/* And so must who locks it, which is locked all the same. */
static void the_lock_of_a_pool_out_of_service_says_so(void **context)
{
    (void)context;
    make("one", GIB);
    write_block("one", 0, 1);
    assert_int_equal(group_fence(pool->group, ERROR_IO), ERROR_FENCED);
    assert_refused(pool_lock(pool), ERROR_FENCED, "the pool is locked, but the disk group was out of service");
    assert_refused(pool_lock(pool), ERROR_LOCKED, "locked");
    assert_fine(pool_unlock(pool, NULL, 0));
    assert_block("one", 0, 1);
}

#define POOL_TEST(f) cmocka_unit_test_setup_teardown(f, pool_setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOL_TEST(names_that_cannot_be_are_refused),
        POOL_TEST(sizes_that_cannot_be_are_refused),
        POOL_TEST(an_idle_pool_gives_numbers_of_components_again),
        POOL_TEST(a_living_name_is_taken),
        POOL_TEST(what_is_not_there_is_not_found),
        POOL_TEST(a_full_pool_takes_no_more_objects),
        POOL_TEST(an_open_object_is_neither_deleted_nor_made_smaller),
        POOL_TEST(a_smaller_size_must_be_meant),
        POOL_TEST(what_is_in_the_trash_is_not_used),
        POOL_TEST(a_locked_pool_knows_no_objects),
        POOL_TEST(a_pool_out_of_service_still_tells_what_it_has),
        POOL_TEST(a_read_only_pool_is_not_changed),
        POOL_TEST(a_new_object_is_there_after_every_end),
        POOL_TEST(a_new_name_is_there_after_every_end),
        POOL_TEST(an_object_grows_while_it_is_open),
        POOL_TEST(the_trash_keeps_what_it_took),
        POOL_TEST(a_living_object_hides_the_trashed_ones_of_its_name),
        POOL_TEST(a_name_that_several_in_the_trash_have_is_refused_with_their_uuids),
        POOL_TEST(the_sentence_on_many_of_one_name_says_how_many_it_leaves_out),
        POOL_TEST(a_name_that_is_a_uuid_is_refused),
        POOL_TEST(the_list_is_sorted_by_name_and_whole),
        POOL_TEST(slots_are_used_again),
        POOL_TEST(objects_share_blocks_and_the_catalog_shares_none),
        POOL_TEST(threads_that_change_objects_at_once_leave_a_whole_catalog),
        POOL_TEST(a_key_that_the_witness_does_not_name_stops_the_open),
        POOL_TEST(a_malformed_document_stops_the_open_and_is_named),
        POOL_TEST(a_document_of_impossible_length_stops_the_open),
        POOL_TEST(two_objects_of_one_name_stop_the_open),
        POOL_TEST(a_catalog_without_its_pool_stops_the_open),
        POOL_TEST(the_catalog_of_another_pool_stops_the_open),
        POOL_TEST(a_document_of_many_blocks_is_read_whole),
        POOL_TEST(the_close_of_a_pool_out_of_service_says_so),
        POOL_TEST(the_lock_of_a_pool_out_of_service_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
