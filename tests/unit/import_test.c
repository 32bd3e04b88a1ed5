/* Imports as the engine sees them: what is refused, what a crash leaves, what is adopted. Streams are in stream_test.c. */
#include "tests/unit/pool_fixture.h"

static const struct uuid first = {{1, 1}}, second = {{2, 2}}, third = {{3, 3}}, stream_one = {{9, 1}}, stream_two = {{9, 2}};

static struct import_request request_of(struct uuid stream, struct uuid base, const char *snapshot, struct uuid identity)
{
    return (struct import_request){.stream = stream,
                                   .object = "disk",
                                   .base = base,
                                   .size = GIB,
                                   .snapshot = snapshot,
                                   .identity = identity,
                                   .created = 1700000000};
}

static struct import_info begin(const struct import_request *request)
{
    struct import_info info;
    assert_fine(import_begin(pool, request, &info));
    return info;
}

static void finish(const struct import_request *request, struct uuid import)
{
    struct uuid object;
    assert_fine(import_finish(pool, request, import, &object));
    assert_string_equal(look(text_of(object)).name, request->object);
}

static const struct import_request whole = {.object = "disk",
                                            .stream = {{9, 1}},
                                            .size = GIB,
                                            .snapshot = "s1",
                                            .identity = {{1, 1}},
                                            .created = 1700000000};

/* "disk" with the snapshot "s1" of identity `first`, by an import. */
static void import_whole(void)
{
    struct import_info info = begin(&whole);
    write_block(text_of(info.uuid), 0, 1);
    write_block(text_of(info.uuid), GIB / 2, 2);
    finish(&whole, info.uuid);
    await_gone(stream_one); /* nothing has that UUID */
}

static void assert_begin_refused(const struct import_request *request, enum error error, const char *words)
{
    struct import_info info;
    size_t count;
    struct object_info *infos;
    assert_refused(import_begin(pool, request, &info), error, words);
    assert_fine(object_list(pool, &infos, &count));
    for (size_t i = 0; i < count; i++)
        assert_false(infos[i].importing);
    free(infos);
}

static void requests_that_make_no_sense_are_refused(void **context)
{
    (void)context;
    struct import_request bad = whole;
    bad.size = 4097;
    assert_begin_refused(&bad, ERROR_INVALID, "cannot be");
    bad = whole;
    bad.snapshot = "a@b";
    assert_begin_refused(&bad, ERROR_INVALID, "'@'");
    bad = whole;
    bad.object = "a/b";
    assert_begin_refused(&bad, ERROR_INVALID, "'/'");
    bad = whole;
    bad.identity = (struct uuid){{0}};
    assert_begin_refused(&bad, ERROR_INVALID, "cannot be");
}

/* A stream says what it likes, and sentences go to terminals. */
static void a_name_that_misleads_is_not_repeated(void **context)
{
    static const char *const names[] = {"di\u202eksid", "\u65e5\u200d\u672c"};
    (void)context;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char snapshot[64];
        struct object_info info;
        struct import_request next = request_of(stream_two, first, "s2", second);
        next.object = names[i];
        assert_begin_refused(&next, ERROR_NOT_FOUND, "no object of that name");
        assert_null(strstr(error_sentence(ERROR_NOT_FOUND), names[i]));
        next.size = 4097;
        assert_begin_refused(&next, ERROR_INVALID, "cannot be");
        assert_null(strstr(error_sentence(ERROR_INVALID), names[i]));
        snprintf(snapshot, sizeof snapshot, "disk@%s", names[i]);
        assert_refused(object_find(pool, snapshot, &info), ERROR_NOT_FOUND, "no object of that name");
        assert_null(strstr(error_sentence(ERROR_NOT_FOUND), names[i]));
    }
}

static void a_whole_stream_replaces_nothing(void **context)
{
    (void)context;
    make("disk", GIB);
    assert_begin_refused(&whole, ERROR_EXISTS, "exists already");
}

static void a_stream_goes_on_only_from_what_its_target_is(void **context)
{
    (void)context;
    struct import_request next = request_of(stream_two, first, "s2", second);
    assert_begin_refused(&next, ERROR_NOT_FOUND, "disk");
    import_whole();
    struct import_request foreign = request_of(stream_two, third, "s2", second);
    assert_begin_refused(&foreign, ERROR_FOREIGN, "does not have");
    struct import_request again = request_of(stream_two, third, "s1", first);
    assert_begin_refused(&again, ERROR_EXISTS, "has what this stream brings already");
    struct import_request same_name = request_of(stream_two, first, "s1", second);
    assert_begin_refused(&same_name, ERROR_EXISTS, "it is another one");
    write_block("disk", MIB, 9);
    assert_begin_refused(&next, ERROR_FOREIGN, "was written since 'disk@s1'");
    assert_fine(object_rollback(pool, "disk@s1", NULL, true));
    assert_fine(object_resize(pool, "disk", 2 * GIB, false));
    assert_begin_refused(&next, ERROR_FOREIGN, "was written since");
    assert_fine(object_rollback(pool, "disk@s1", NULL, true));
    const char *name = "disk";
    assert_fine(object_snapshot(pool, &name, 1, "own", false, 0));
    assert_begin_refused(&next, ERROR_FOREIGN, "has a younger snapshot, 'own'");
    assert_fine(snapshot_delete(pool, "disk@own"));
    struct volume *volume;
    assert_fine(volume_open(pool, "disk", true, &volume));
    assert_begin_refused(&next, ERROR_BUSY, "in use");
    volume_close(volume);
    begin(&next);
}

/* Between begin and finish the target may have been written, or what was written to changed. */
static void what_was_checked_is_checked_again(void **context)
{
    struct uuid object;
    (void)context;
    import_whole();
    struct import_request next = request_of(stream_two, first, "s2", second);
    struct import_info info = begin(&next);
    write_block("disk", MIB, 9);
    assert_refused(import_finish(pool, &next, info.uuid, &object), ERROR_FOREIGN, "was written since");
    assert_fine(object_rollback(pool, "disk@s1", NULL, true));
    struct volume *volume;
    assert_fine(volume_open(pool, text_of(info.uuid), false, &volume));
    assert_refused(import_finish(pool, &next, info.uuid, &object), ERROR_BUSY, "in use");
    struct import_info other;
    assert_refused(import_begin(pool, &next, &other), ERROR_BUSY, "in use");
    volume_close(volume);
    const char *name = text_of(info.uuid);
    assert_fine(object_snapshot(pool, &name, 1, "own", false, 0));
    assert_refused(import_finish(pool, &next, info.uuid, &object), ERROR_INVALID, "was changed while");
    assert_fine(object_delete(pool, text_of(info.uuid), true));
    assert_refused(import_finish(pool, &next, info.uuid, &object), ERROR_NOT_FOUND, "is gone");
    assert_refused(import_mark(pool, info.uuid, 1), ERROR_NOT_FOUND, "is gone");
    assert_block("disk", 0, 1);
    assert_block("disk", MIB, 0);
}

static void a_whole_stream_becomes_an_object_with_its_snapshot(void **context)
{
    struct snapshot_info snapshot;
    (void)context;
    for (int crash = 0; crash < 2; crash++) {
        struct import_request request = whole;
        request.object = crash ? "other" : "disk";
        request.stream.bytes[3] = (uint8_t)crash;
        struct import_info info = begin(&request);
        assert_false(info.found);
        write_block(text_of(info.uuid), 0, 1);
        assert_fine(import_mark(pool, info.uuid, 7));
        pool_reopen(crash);
        assert_true(look(text_of(info.uuid)).importing);
        info = begin(&request);
        assert_true(info.found);
        assert_int_equal(info.position, 7);
        write_block(text_of(info.uuid), GIB / 2, 2);
        finish(&request, info.uuid);
        pool_reopen(crash);
        char name[64];
        snprintf(name, sizeof name, "%s@s1", request.object);
        assert_fine(snapshot_find(pool, name, &snapshot));
        assert_true(uuid_equal(snapshot.identity, first));
        assert_false(uuid_equal(snapshot.uuid, first));
        assert_int_equal(snapshot.created, 1700000000);
        assert_false(look(request.object).importing);
        for (int i = 0; i < 2; i++) {
            assert_block(i ? name : request.object, 0, 1);
            assert_block(i ? name : request.object, GIB / 2, 2);
        }
    }
}

/* The target stays as it is until the end, and then is what the stream brought, its size included. */
static void an_incremental_stream_moves_its_target_on_at_once(void **context)
{
    (void)context;
    import_whole();
    for (unsigned round = 0; round < 2; round++) {
        struct import_request next =
            request_of(round ? stream_one : stream_two, round ? second : first, round ? "s3" : "s2", round ? third : second);
        next.size = round ? MIB : 2 * GIB;
        struct import_info info = begin(&next);
        assert_int_equal(look(text_of(info.uuid)).size, next.size);
        write_block(text_of(info.uuid), 8192, 10 + round);
        pool_reopen(round);
        assert_block("disk", 8192, round ? 10 : 0);
        begin(&next);
        write_block(text_of(info.uuid), 8192, 10 + round);
        finish(&next, info.uuid);
        pool_reopen(round);
        await_gone(info.uuid);
        assert_int_equal(look("disk").size, next.size);
        assert_int_equal(look("disk").snapshots, 2 + round);
        assert_block("disk", 0, 1);
        assert_block("disk", 8192, 10 + round);
        assert_block("disk@s1", 8192, 0);
        assert_block("disk@s1", GIB / 2, 2);
        assert_block("disk@s2", 8192, 10);
    }
}

static void an_import_that_was_given_up_leaves_nothing(void **context)
{
    (void)context;
    import_whole();
    struct import_request next = request_of(stream_two, first, "s2", second);
    struct import_info info = begin(&next);
    write_block(text_of(info.uuid), MIB, 3);
    assert_fine(object_delete(pool, text_of(info.uuid), true));
    await_gone(info.uuid);
    assert_block("disk", MIB, 0);
    info = begin(&next);
    assert_false(info.found);
    assert_block(text_of(info.uuid), MIB, 0);
}

/* The document says what is there: were it cut off, or as it was before, the import would go on behind a gap. */
static void what_is_marked_as_there_stays(void **context)
{
    char name[UUID_TEXT_SIZE], snapshot[UUID_TEXT_SIZE + 8];
    const char *names[] = {name};
    (void)context;
    struct import_info info = begin(&whole);
    uuid_format(info.uuid, name);
    snprintf(snapshot, sizeof snapshot, "%s@own", name);
    assert_fine(object_snapshot(pool, names, 1, "own", false, 0));
    write_block(name, GIB / 2, 2);
    assert_fine(import_mark(pool, info.uuid, GIB));
    assert_refused(import_mark(pool, info.uuid, GIB + 4096), ERROR_INVALID, "not so many bytes");
    assert_refused(object_resize(pool, name, MIB, true), ERROR_BUSY, "is being imported");
    assert_refused(object_resize(pool, name, 2 * GIB, false), ERROR_BUSY, "is being imported");
    assert_refused(object_rollback(pool, snapshot, NULL, true), ERROR_BUSY, "is being imported");
    assert_fine(snapshot_delete(pool, snapshot));
    begin(&whole);
    finish(&whole, info.uuid); /* also while the snapshot is being freed */
    assert_block("disk", GIB / 2, 2);
    assert_fine(object_resize(pool, "disk", 2 * GIB, false));
}

/* One that came out of the trash has another position than the one that was begun meanwhile. */
static void of_two_imports_of_a_stream_each_is_itself(void **context)
{
    struct uuid object;
    (void)context;
    for (unsigned half = 0; half < 2; half++) { /* whichever comes first in the pool's list */
        struct import_request request = whole;
        request.stream.bytes[3] = (uint8_t)half;
        request.object = half ? "other" : "disk";
        struct import_info trashed = begin(&request);
        assert_fine(object_delete(pool, text_of(trashed.uuid), false));
        struct import_info full = begin(&request);
        assert_false(full.found);
        struct import_info *to = half ? &trashed : &full;
        assert_fine(object_restore(pool, text_of(trashed.uuid), half ? "again" : "once"));
        write_block(text_of(to->uuid), 0, 1);
        assert_fine(import_mark(pool, to->uuid, MIB));
        assert_int_equal(look(text_of(half ? full.uuid : trashed.uuid)).import_position, 0);
        finish(&request, to->uuid);
        assert_block(request.object, 0, 1);
        request.object = "third";
        assert_refused(import_finish(pool, &request, to->uuid, &object), ERROR_NOT_FOUND, "is gone");
        assert_refused(import_mark(pool, to->uuid, MIB), ERROR_NOT_FOUND, "is gone");
    }
}

/* Between begin and resize another client may finish: what was adopted keeps its size. */
static void what_was_adopted_is_no_import_any_more(void **context)
{
    (void)context;
    struct import_info info = begin(&whole);
    finish(&whole, info.uuid);
    assert_fine(object_resize(pool, "disk", 2 * GIB, false));
    assert_refused(object_resize_import(pool, text_of(info.uuid), GIB, whole.stream), ERROR_NOT_FOUND, "is gone");
    assert_int_equal(look("disk").size, 2 * GIB);
}

enum error __wrap_object_resize_import(struct pool *opened, const char *name, uint64_t size, struct uuid stream);
enum error __real_object_resize_import(struct pool *opened, const char *name, uint64_t size, struct uuid stream);
static bool resize_is_lost;

enum error __wrap_object_resize_import(struct pool *opened, const char *name, uint64_t size, struct uuid stream)
{
    return resize_is_lost ? error_explain(ERROR_INTERRUPTED, "lost")
                          : __real_object_resize_import(opened, name, size, stream);
}

/* A crash behind the commit that makes the clone of the base leaves it with the base's size. */
static void a_begin_that_was_cut_short_is_gone_on_with(void **context)
{
    struct uuid object;
    (void)context;
    import_whole();
    for (unsigned crash = 0; crash < 2; crash++) {
        struct import_request next = request_of(crash ? stream_one : stream_two, crash ? second : first, crash ? "s3" : "s2",
                                                crash ? third : second);
        struct import_info info;
        next.size = crash ? MIB : 2 * GIB;
        resize_is_lost = true;
        assert_refused(import_begin(pool, &next, &info), ERROR_INTERRUPTED, "lost");
        resize_is_lost = false;
        pool_reopen(crash);
        info.uuid = (struct uuid){{0}};
        assert_refused(import_finish(pool, &next, info.uuid, &object), ERROR_NOT_FOUND, "is gone");
        info = begin(&next);
        assert_true(info.found);
        assert_int_equal(look(text_of(info.uuid)).size, next.size);
        finish(&next, info.uuid);
        assert_int_equal(look("disk").size, next.size);
    }
}

/* The comparison may have to read all of both maps. */
static unsigned compared;
static void (*meanwhile)(void);

enum error __wrap_volume_changes(struct volume *volume, struct volume *base, uint64_t offset, uint64_t length,
                                 struct change_extent *extents, size_t capacity, size_t *count);
enum error __real_volume_changes(struct volume *volume, struct volume *base, uint64_t offset, uint64_t length,
                                 struct change_extent *extents, size_t capacity, size_t *count);
enum error __wrap_volume_changes(struct volume *volume, struct volume *base, uint64_t offset, uint64_t length,
                                 struct change_extent *extents, size_t capacity, size_t *count)
{
    compared++;
    if (meanwhile)
        meanwhile();
    return __real_volume_changes(volume, base, offset, length, extents, capacity, count);
}

static void look_at_disk(void)
{
    assert_int_equal(look("disk").size, GIB);
    assert_refused(object_delete(pool, "disk", false), ERROR_BUSY, "in use");
    assert_refused(object_rollback(pool, "disk@s1", NULL, true), ERROR_BUSY, "in use");
}

static void open_disk(void)
{
    struct volume *volume;
    assert_fine(volume_open(pool, "disk", false, &volume));
    volume_close(volume);
}

static void resize_disk(void)
{
    assert_fine(object_resize(pool, "disk", 2 * GIB, false));
    assert_refused(object_resize(pool, "disk", GIB, true), ERROR_BUSY, "in use");
}

/* Others go on meanwhile, and what they do with the target is seen. */
static void the_pool_goes_on_while_a_target_is_compared(void **context)
{
    struct uuid object;
    (void)context;
    import_whole();
    struct import_request next = request_of(stream_two, first, "s2", second);
    struct import_info info = begin(&next);
    compared = 0;
    meanwhile = open_disk;
    assert_refused(import_finish(pool, &next, info.uuid, &object), ERROR_BUSY, "was in use while");
    meanwhile = resize_disk;
    assert_refused(import_finish(pool, &next, info.uuid, &object), ERROR_BUSY, "was in use while");
    meanwhile = NULL;
    assert_refused(import_finish(pool, &next, info.uuid, &object), ERROR_FOREIGN, "was written since 'disk@s1'");
    assert_fine(object_rollback(pool, "disk@s1", NULL, true));
    meanwhile = look_at_disk;
    finish(&next, info.uuid);
    meanwhile = NULL;
    assert_in_range(compared, 3, 100);
}

/* A roll-back that may lose something compares as well. */
static void the_pool_goes_on_while_a_roll_back_compares(void **context)
{
    (void)context;
    import_whole();
    meanwhile = open_disk;
    assert_refused(object_rollback(pool, "disk@s1", NULL, false), ERROR_BUSY, "was in use while");
    meanwhile = look_at_disk;
    assert_fine(object_rollback(pool, "disk@s1", NULL, false));
    meanwhile = NULL;
}

/* A snapshot or clone of what is being imported is not an import. */
static void nothing_inherits_that_it_is_being_imported(void **context)
{
    struct uuid clone;
    (void)context;
    struct import_info info = begin(&whole);
    assert_fine(object_clone(pool, text_of(info.uuid), "clone", &clone));
    assert_false(look("clone").importing);
    assert_true(look(text_of(info.uuid)).importing);
    struct import_request next = request_of(stream_two, first, "s2", second);
    next.object = look(text_of(info.uuid)).name;
    char name[OBJECT_NAME_MAX + 1];
    snprintf(name, sizeof name, "%.200s", next.object);
    next.object = name;
    assert_refused(import_begin(pool, &next, &info), ERROR_INVALID, "no object that can go on");
}

#define POOL_TEST(name) cmocka_unit_test_setup_teardown(name, pool_setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOL_TEST(requests_that_make_no_sense_are_refused),
        POOL_TEST(a_name_that_misleads_is_not_repeated),
        POOL_TEST(a_whole_stream_replaces_nothing),
        POOL_TEST(a_stream_goes_on_only_from_what_its_target_is),
        POOL_TEST(what_was_checked_is_checked_again),
        POOL_TEST(a_whole_stream_becomes_an_object_with_its_snapshot),
        POOL_TEST(an_incremental_stream_moves_its_target_on_at_once),
        POOL_TEST(an_import_that_was_given_up_leaves_nothing),
        POOL_TEST(what_is_marked_as_there_stays),
        POOL_TEST(of_two_imports_of_a_stream_each_is_itself),
        POOL_TEST(what_was_adopted_is_no_import_any_more),
        POOL_TEST(a_begin_that_was_cut_short_is_gone_on_with),
        POOL_TEST(the_pool_goes_on_while_a_target_is_compared),
        POOL_TEST(the_pool_goes_on_while_a_roll_back_compares),
        POOL_TEST(nothing_inherits_that_it_is_being_imported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
