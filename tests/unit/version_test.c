/*
 * Versions of objects: what is refused changes nothing; snapshots stay as they were whatever becomes of their object;
 * all of it is there after a clean stop and after a crash. Each test ends with a check of the whole pool.
 */
#include <malloc.h>

#include "tests/unit/pool_fixture.h"

void __real_view_put(struct group *group, struct view *view);
void __wrap_view_put(struct group *group, struct view *view);

/* Runs in the thread that armed it, once, where that one has given back a view and holds nothing. */
static _Thread_local void (*between_views)(void);

void __wrap_view_put(struct group *group, struct view *view)
{
    void (*run)(void) = between_views;
    __real_view_put(group, view);
    between_views = NULL;
    if (run)
        run();
}

static enum error snapshot_try(const char *name, const char *snapshot)
{
    return object_snapshot(pool, &name, 1, snapshot, false, 0);
}

static void snapshot(const char *name, const char *snapshot)
{
    assert_fine(snapshot_try(name, snapshot));
}

static size_t count_of_snapshots(const char *name)
{
    struct snapshot_info *infos;
    size_t count;
    assert_fine(snapshot_list(pool, name, NULL, &infos, &count));
    free(infos);
    return count;
}

static void await_dropped(size_t left)
{
    struct pool_status status = {.snapshots = SIZE_MAX};
    for (unsigned i = 0; i < 6000 && status.snapshots != left; i++) {
        assert_fine(pool_status(pool, &status));
        if (status.snapshots != left)
            clock_sleep(10 * CLOCK_MILLISECOND);
    }
    assert_int_equal(status.snapshots, left);
}

static void clone_as(const char *name, const char *new_name)
{
    struct uuid uuid;
    assert_fine(object_clone(pool, name, new_name, &uuid));
}

/* ---- refusals ------------------------------------------------------------------------------------------------------ */

static void what_cannot_be_a_snapshot_is_refused(void **context)
{
    (void)context;
    const char *same[] = {"a", "a"}, *missing[] = {"a", "nobody"};
    make("a", GIB);
    assert_refused(snapshot_try("nobody", "s"), ERROR_NOT_FOUND, "no object 'nobody'");
    assert_refused(snapshot_try("a", "s@t"), ERROR_INVALID, "'@'");
    assert_refused(snapshot_try("a", ""), ERROR_INVALID, "empty");
    assert_refused(object_snapshot(pool, same, 0, "s", false, 0), ERROR_INVALID, "1 to 32");
    assert_refused(object_snapshot(pool, same, 2, "s", false, 0), ERROR_EXISTS, "already");
    assert_refused(object_snapshot(pool, missing, 2, "s", false, 0), ERROR_NOT_FOUND, "nobody");
    assert_refused(object_snapshot(pool, missing, 1, "s", false, 1), ERROR_INVALID, "to come");
    assert_refused(object_snapshot(pool, missing, 1, "s", false, INT64_MAX), ERROR_INVALID, "100 years");
    assert_int_equal(count_of_snapshots("a"), 0);
    snapshot("a", "s");
    assert_refused(snapshot_try("a", "s"), ERROR_EXISTS, "already");
    assert_refused(snapshot_try("a@s", "t"), ERROR_INVALID, "none of snapshots");
    assert_int_equal(count_of_snapshots(NULL), 1);
}

static void a_snapshot_cannot_be_changed_as_an_object_can(void **context)
{
    struct volume *volume;
    struct object_info info;
    (void)context;
    make("a", GIB);
    snapshot("a", "s");
    assert_refused(volume_open(pool, "a@s", false, &volume), ERROR_READ_ONLY, "only be read");
    assert_refused(object_rename(pool, "a@s", "b"), ERROR_INVALID, "a@s");
    assert_refused(object_resize(pool, "a@s", 2 * GIB, false), ERROR_INVALID, "cannot be resized");
    assert_refused(object_delete(pool, "a@s", true), ERROR_INVALID, "is a snapshot");
    assert_refused(object_restore(pool, "a@s", NULL), ERROR_NOT_FOUND, "never in the trash");
    assert_refused(snapshot_delete(pool, "a"), ERROR_INVALID, "NAME@SNAPSHOT");
    assert_refused(object_find(pool, "a@t", &info), ERROR_NOT_FOUND, "no snapshot 'a@t'");
    assert_refused(object_rollback(pool, "a", NULL, true), ERROR_INVALID, "no snapshot");
    assert_true(look("a@s").snapshot);
    assert_int_equal(look("a").snapshots, 1);
}

static void what_is_in_use_is_neither_deleted_nor_rolled_back(void **context)
{
    struct volume *volume, *object;
    (void)context;
    make("a", GIB);
    snapshot("a", "s");
    assert_fine(volume_open(pool, "a@s", true, &volume));
    assert_fine(volume_open(pool, "a", true, &object));
    assert_refused(snapshot_delete(pool, "a@s"), ERROR_BUSY, "in use");
    assert_refused(object_rollback(pool, "a@s", NULL, true), ERROR_BUSY, "'a' is in use");
    volume_close(object);
    assert_refused(object_delete(pool, "a", false), ERROR_BUSY, "'a@s' is in use");
    volume_close(volume);
    assert_fine(snapshot_delete(pool, "a@s"));
}

static void what_is_held_or_locked_stays(void **context)
{
    const char *names[] = {"a"};
    struct snapshot_info info;
    (void)context;
    make("a", GIB);
    write_block("a", 0, 1);
    assert_fine(object_snapshot(pool, names, 1, "held", true, 0));
    assert_fine(object_snapshot(pool, names, 1, "locked", false, pool_clock(pool) + 3600));
    pool_reopen(true);
    assert_refused(snapshot_delete(pool, "a@held"), ERROR_BUSY, "held");
    assert_refused(snapshot_delete(pool, "a@locked"), ERROR_BUSY, "locked");
    assert_refused(object_delete(pool, "a", true), ERROR_BUSY, "a@");
    assert_refused(snapshot_protect(pool, "a@locked", SNAPSHOT_HOLD_KEEP, pool_clock(pool) + 60), ERROR_ACCESS,
                   "never shorter");
    assert_fine(snapshot_protect(pool, "a@locked", SNAPSHOT_HOLD_SET, 0));
    assert_fine(snapshot_protect(pool, "a@locked", SNAPSHOT_HOLD_KEEP, pool_clock(pool) + 7200));
    assert_fine(snapshot_find(pool, "a@locked", &info));
    assert_true(info.hold);
    assert_fine(snapshot_protect(pool, "a@locked", SNAPSHOT_HOLD_CLEAR, 0));
    assert_fine(snapshot_protect(pool, "a@held", SNAPSHOT_HOLD_CLEAR, 0));
    assert_fine(snapshot_find(pool, "a@locked", &info));
    assert_true(info.locked_until >= pool_clock(pool) + 7000);
    assert_fine(snapshot_delete(pool, "a@held"));
    await_dropped(1); /* steady_test: one whose time has come */
}

static void a_trashed_object_with_a_held_snapshot_is_not_freed(void **context)
{
    const char *names[] = {"a"};
    struct volume *volume;
    (void)context;
    make("a", GIB);
    write_block("a", 0, 1);
    assert_fine(object_snapshot(pool, names, 1, "s", true, 0));
    assert_fine(object_delete(pool, "a", false));
    assert_refused(volume_open(pool, "a@s", true, &volume), ERROR_NOT_FOUND, "trash");
    assert_refused(object_rollback(pool, "a@s", NULL, true), ERROR_NOT_FOUND, "trash");
    assert_refused(snapshot_delete(pool, "a@s"), ERROR_NOT_FOUND, "trash");
    mutex_lock(&pool->lock);
    pool->conf->trash = 0;
    condition_signal(&pool->janitor_wake);
    mutex_unlock(&pool->lock);
    clock_sleep(300 * CLOCK_MILLISECOND);
    assert_fine(object_restore(pool, "a", NULL));
    assert_block("a@s", 0, 1);
}

static void what_keeps_a_trashed_object_is_set_and_taken_back_there(void **context)
{
    char name[UUID_TEXT_SIZE + 2];
    (void)context;
    struct uuid first = make("a", GIB);
    snapshot("a", "s");
    assert_fine(object_delete(pool, "a", false));
    assert_fine(snapshot_protect(pool, "a@s", SNAPSHOT_HOLD_SET, 0));
    assert_int_equal(count_of_snapshots("a"), 1);
    assert_int_equal(count_of_snapshots(NULL), 0);
    assert_true(look("a").kept);
    struct uuid second = make("a", GIB);
    snapshot("a", "s");
    assert_fine(object_delete(pool, "a", false));
    assert_refused(snapshot_protect(pool, "a@s", SNAPSHOT_HOLD_SET, 0), ERROR_INVALID, "by its UUID");
    assert_refused(object_delete(pool, text_of(first), true), ERROR_BUSY, "--no-hold");
    snprintf(name, sizeof name, "%s@s", text_of(first));
    assert_fine(snapshot_protect(pool, name, SNAPSHOT_HOLD_CLEAR, 0));
    assert_fine(object_delete(pool, text_of(first), true));
    await_gone(first);
    assert_fine(object_delete(pool, text_of(second), true));
    await_gone(second);
    assert_refused(snapshot_protect(pool, "a@s", SNAPSHOT_HOLD_SET, 0), ERROR_NOT_FOUND, "a@s");
}

/* What is allocated tells how many rows were made room for. */
static void a_list_of_one_object_is_not_as_large_as_the_pool(void **context)
{
    struct snapshot_info *infos;
    char text[16];
    size_t count;
    (void)context;
    make("a", GIB);
    make("b", GIB);
    snapshot("b", "s");
    for (unsigned i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "s%u", i);
        snapshot("a", text);
    }
    assert_fine(snapshot_list(pool, "b", NULL, &infos, &count));
    assert_int_equal(count, 1);
    assert_in_range(malloc_usable_size(infos), sizeof *infos, 10 * sizeof *infos);
    free(infos);
}

static void assert_part(const char *name, struct snapshot_part part, const char *expected)
{
    struct snapshot_info *infos;
    char names[8 * (VERSION_NAME_MAX + 2)] = "";
    size_t count;
    assert_fine(snapshot_list(pool, name, &part, &infos, &count));
    assert_in_range(count, 0, 7);
    for (size_t i = 0, used = 0; i < count; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? " " : "", infos[i].name);
    free(infos);
    assert_string_equal(names, expected);
}

static void a_list_of_snapshots_is_told_in_parts(void **context)
{
    struct snapshot_part missing = {.after = "a@s5"};
    struct snapshot_info *infos, one;
    size_t count;
    char text[16], uuid[UUID_TEXT_SIZE];
    (void)context;
    make("b", GIB);
    make("a", GIB);
    for (unsigned i = 0; i < 5; i++) {
        snprintf(text, sizeof text, "s%u", i);
        snapshot("a", text);
        snapshot("b", text);
    }
    assert_part("a", (struct snapshot_part){.most = 2}, "a@s0 a@s1");
    assert_part("a", (struct snapshot_part){.after = "a@s1", .most = 2}, "a@s2 a@s3");
    assert_part("a", (struct snapshot_part){.after = "a@s4", .most = 2}, "");
    assert_part("a", (struct snapshot_part){.most = 2, .newest = true}, "a@s3 a@s4");
    assert_fine(snapshot_find(pool, "a@s3", &one));
    uuid_format(one.uuid, uuid);
    assert_part(NULL, (struct snapshot_part){.after = uuid, .most = 3}, "a@s4 b@s0 b@s1");
    assert_part("b", (struct snapshot_part){.after = "a@s4"}, "b@s0 b@s1 b@s2 b@s3 b@s4");
    assert_refused(snapshot_list(pool, "a", &missing, &infos, &count), ERROR_NOT_FOUND, "a@s5");
}

/* More nodes that others hold too are given up in one merge than it looks through without sorting; the checker counts again. */
static void many_snapshots_that_share_most_are_freed(void **context)
{
    enum { SNAPSHOTS = 150, LEAVES = 64 };
    char text[16];
    (void)context;
    make("a", LEAVES * MIB);
    for (unsigned leaf = 0; leaf < LEAVES; leaf++)
        write_block("a", leaf * MIB, leaf + 1);
    for (unsigned i = 0; i < SNAPSHOTS; i++) {
        snprintf(text, sizeof text, "s%u", i);
        snapshot("a", text);
        write_block("a", i % LEAVES * MIB, i + 100);
    }
    assert_fine(object_clone(pool, "a@s7", "b", &(struct uuid){{0}}));
    assert_fine(group_publish(pool->group));
    assert_fine(object_delete(pool, "a", true));
    await_dropped(0);
    assert_block("b", 0, 100);
    assert_block("b", 7 * MIB, 8);
}

/* ---- snapshots ----------------------------------------------------------------------------------------------------- */

static void a_snapshot_stays_as_it_was(void **context)
{
    (void)context;
    make("a", GIB);
    write_block("a", 0, 1);
    write_block("a", 5 * MIB, 2);
    publish();
    write_block("a", 4096, 3);
    snapshot("a", "s");
    write_block("a", 0, 4);
    trim_blocks("a", 0, 300);
    write_block("a", 8192, 5);
    assert_fine(object_resize(pool, "a", 2 * GIB, false));
    for (int i = 0; i < 4; i++) {
        assert_int_equal(look("a@s").size, GIB);
        assert_block("a@s", 0, 1);
        assert_block("a@s", 4096, 3);
        assert_block("a@s", 5 * MIB, 2);
        assert_block("a@s", 8192, 0);
        assert_block("a", 0, 0);
        assert_block("a", 8192, 5);
        assert_block("a", 5 * MIB, 2);
        if (i < 3)
            pool_reopen(i % 2 == 0);
    }
}

static void snapshots_are_counted_with_their_size(void **context)
{
    struct pool_status status;
    (void)context;
    make("a", GIB);
    snapshot("a", "s");
    assert_fine(object_resize(pool, "a", 2 * GIB, false));
    snapshot("a", "t");
    make("b", MIB);
    assert_fine(object_delete(pool, "b", false));
    assert_fine(pool_status(pool, &status));
    assert_int_equal(status.object_bytes, 2 * GIB);
    assert_int_equal(status.snapshots, 2);
    assert_int_equal(status.snapshot_bytes, 3 * GIB);
}

static void snapshots_follow_a_new_name_and_the_trash(void **context)
{
    (void)context;
    make("a", GIB);
    write_block("a", 0, 1);
    snapshot("a", "s");
    assert_fine(object_rename(pool, "a", "b"));
    assert_block("b@s", 0, 1);
    assert_fine(object_delete(pool, "b", false));
    make("b", GIB);
    struct object_info info;
    assert_refused(object_find(pool, "b@s", &info), ERROR_NOT_FOUND, "b@s");
    assert_fine(object_restore(pool, "b", "c"));
    assert_block("c@s", 0, 1);
    pool_reopen(true);
    assert_block("c@s", 0, 1);
}

static void several_objects_are_taken_at_one_moment(void **context)
{
    const char *names[SNAPSHOT_OBJECTS_MAX];
    char text[SNAPSHOT_OBJECTS_MAX][16];
    (void)context;
    for (unsigned i = 0; i < SNAPSHOT_OBJECTS_MAX; i++) {
        snprintf(text[i], sizeof text[i], "disk%u", i);
        names[i] = text[i];
        make(text[i], GIB);
        write_block(text[i], 0, i + 1);
    }
    assert_fine(object_snapshot(pool, names, SNAPSHOT_OBJECTS_MAX, "s", false, 0));
    pool_reopen(true);
    for (unsigned i = 0; i < SNAPSHOT_OBJECTS_MAX; i++) {
        snprintf(text[0], sizeof text[0], "disk%u@s", i);
        assert_block(text[0], 0, i + 1);
    }
}

/* The first object is always written before the second: no snapshot shows the second ahead. */
static _Atomic bool racing;
static void racer(void *argument)
{
    struct volume *volumes[2];
    uint8_t block[COFFER_BLOCK] = {0}, part[512];
    (void)argument;
    assert_fine(volume_open(pool, "a", false, &volumes[0]));
    assert_fine(volume_open(pool, "b", false, &volumes[1]));
    for (uint32_t n = 1; atomic_load(&racing); n++)
        for (unsigned v = 0; v < 2; v++) {
            memcpy(block, &n, sizeof n);
            assert_fine(block_io(volumes[v], REQUEST_WRITE, 0, block));
            struct request request = {.type = REQUEST_WRITE, .offset = 8192 + 512 * (n % 8), .length = 512, .data = part};
            memset(part, (int)(n % 251), sizeof part);
            volume_execute(volumes[v], &request, 1, fixture_answer, NULL);
            assert_fine(request.error);
        }
    volume_close(volumes[0]);
    volume_close(volumes[1]);
}

static uint32_t number_in(const char *name)
{
    struct volume *volume;
    uint8_t block[COFFER_BLOCK];
    uint32_t number;
    assert_fine(volume_open(pool, name, true, &volume));
    assert_fine(block_io(volume, REQUEST_READ, 0, block));
    memcpy(&number, block, sizeof number);
    assert_fine(block_io(volume, REQUEST_READ, 8192, block));
    for (unsigned p = 0; p < 8; p++)
        for (unsigned i = 1; i < 512; i++)
            assert_int_equal(block[p * 512 + i], block[p * 512]);
    volume_close(volume);
    return number;
}

static void writers_never_get_between_the_objects_of_one_snapshot(void **context)
{
    const char *names[] = {"a", "b"};
    struct thread thread;
    char text[32], first[40], second[40];
    (void)context;
    make("a", GIB);
    make("b", GIB);
    atomic_store(&racing, true);
    assert_fine(thread_start(&thread, "racer", racer, NULL));
    for (unsigned i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "s%u", i);
        assert_fine(object_snapshot(pool, names, 2, text, false, 0));
    }
    atomic_store(&racing, false);
    thread_join(&thread);
    for (unsigned i = 0; i < 100; i++) {
        snprintf(first, sizeof first, "a@s%u", i);
        snprintf(second, sizeof second, "b@s%u", i);
        uint32_t a = number_in(first), b = number_in(second);
        assert_true(a == b || a == b + 1);
    }
}

static void snapshots_go_in_any_order(void **context)
{
    static const char *const order[] = {"a@s2", "a@s0", "a@s3", "a@s1"};
    char text[16];
    (void)context;
    make("a", GIB);
    for (unsigned i = 0; i < 4; i++) {
        write_block("a", i * 4096, 10 + i);
        write_block("a", 100 * MIB + i * 4096, 20 + i);
        snprintf(text, sizeof text, "s%u", i);
        snapshot("a", text);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_fine(snapshot_delete(pool, order[i]));
        await_dropped(3 - i);
        if (i == 1)
            pool_reopen(true);
        assert_block("a", 3 * 4096, 13);
        assert_block("a", 100 * MIB, 20);
    }
    publish();
    assert_int_equal(count_of_snapshots("a"), 0);
}

static void an_object_that_is_deleted_takes_its_snapshots_with_it(void **context)
{
    (void)context;
    struct uuid uuid = make("a", GIB);
    write_block("a", 0, 1);
    snapshot("a", "s");
    write_block("a", 0, 2);
    snapshot("a", "t");
    assert_fine(object_delete(pool, "a", true));
    pool_crash();
    assert_fine(pool_try_open());
    await_gone(uuid);
    await_dropped(0);
}

static void a_thousand_snapshots_read_as_the_first(void **context)
{
    char text[16];
    (void)context;
    make("a", GIB);
    for (unsigned i = 0; i < 1000; i++) {
        write_block("a", (i % 64) * 4096, i + 1);
        snprintf(text, sizeof text, "s%u", i);
        snapshot("a", text);
    }
    pool_reopen(false);
    assert_int_equal(count_of_snapshots("a"), 1000);
    assert_block("a@s0", 0, 1);
    assert_block("a@s0", 4096, 0);
    assert_block("a@s999", 4096, 962);
    assert_block("a@s500", (500 % 64) * 4096, 501);
}

/* ---- rollback and clones ---------------------------------------------------------------------------------------------- */

static void an_object_goes_back_to_its_snapshot(void **context)
{
    (void)context;
    make("a", GIB);
    write_block("a", 0, 1);
    snapshot("a", "s");
    write_block("a", 0, 2);
    write_block("a", 4096, 3);
    assert_fine(object_resize(pool, "a", 2 * GIB, false));
    snapshot("a", "t");
    assert_fine(object_rollback(pool, "a@s", NULL, true));
    assert_int_equal(look("a").size, GIB);
    assert_block("a", 0, 1);
    assert_block("a", 4096, 0);
    write_block("a", 0, 4);
    pool_reopen(true);
    assert_block("a", 0, 4);
    assert_block("a@s", 0, 1);
    assert_block("a@t", 4096, 3);
    assert_fine(object_rollback(pool, "a@t", NULL, true));
    assert_block("a", 4096, 3);
    await_dropped(2);
}

static void a_roll_back_loses_what_no_snapshot_has_only_when_told(void **context)
{
    (void)context;
    make("a", GIB);
    write_block("a", 0, 1);
    snapshot("a", "s");
    write_block("a", 0, 2);
    snapshot("a", "t");
    assert_fine(object_rollback(pool, "a@s", NULL, false)); /* t has it */
    assert_fine(object_rollback(pool, "a@t", NULL, false)); /* s has it */
    assert_block("a", 0, 2);
    write_block("a", 4096, 3);
    assert_refused(object_rollback(pool, "a@s", NULL, false), ERROR_UNCONFIRMED, "none of its snapshots");
    assert_refused(object_rollback(pool, "a@s", "t", false), ERROR_EXISTS, "'t' already");
    assert_refused(object_rollback(pool, "a@s", "x@y", false), ERROR_INVALID, "'@'");
    assert_block("a", 4096, 3);
    assert_fine(object_rollback(pool, "a@s", "kept", false));
    pool_reopen(true);
    assert_block("a", 0, 1);
    assert_block("a", 4096, 0);
    assert_block("a@kept", 4096, 3);
    assert_int_equal(count_of_snapshots("a"), 3);
    assert_fine(object_resize(pool, "a", 2 * GIB, false));
    assert_refused(object_rollback(pool, "a@s", NULL, false), ERROR_UNCONFIRMED, "--discard");
    assert_fine(object_rollback(pool, "a@s", NULL, true));
    assert_int_equal(look("a").size, GIB);
}

static void a_clone_of_a_snapshot_lives_without_it(void **context)
{
    (void)context;
    struct uuid uuid = make("a", GIB);
    write_block("a", 0, 1);
    write_block("a", 4096, 2);
    snapshot("a", "s");
    clone_as("a@s", "b");
    write_block("b", 0, 3);
    assert_fine(snapshot_delete(pool, "a@s"));
    assert_fine(object_delete(pool, "a", true));
    await_gone(uuid);
    assert_block("b", 0, 3);
    assert_block("b", 4096, 2);
    pool_reopen(true);
    assert_block("b", 4096, 2);
}

static void a_clone_of_an_object_is_of_that_moment(void **context)
{
    (void)context;
    make("a", GIB);
    write_block("a", 0, 1);
    clone_as("a", "b");
    write_block("a", 0, 2);
    write_block("b", 4096, 3);
    assert_block("b", 0, 1);
    assert_block("a", 4096, 0);
    await_dropped(0);
    pool_reopen(true);
    assert_block("a", 0, 2);
    assert_block("b", 0, 1);
    assert_block("b", 4096, 3);
    struct uuid uuid;
    assert_refused(object_clone(pool, "a", "b", &uuid), ERROR_EXISTS, "'b'");
    assert_refused(object_clone(pool, "a", "b@c", &uuid), ERROR_INVALID, "'@'");
}

static void clones_of_clones_read_as_the_first(void **context)
{
    char name[16], next[16];
    (void)context;
    make("c0", GIB);
    write_block("c0", 0, 1);
    for (unsigned i = 0; i < 150; i++) {
        snprintf(name, sizeof name, "c%u", i);
        snprintf(next, sizeof next, "c%u", i + 1);
        clone_as(name, next);
    }
    assert_block("c150", 0, 1);
    write_block("c150", 0, 2);
    assert_block("c149", 0, 1);
    await_dropped(0);
}

static void extents_and_usage_look_through_the_base(void **context)
{
    struct volume *volume;
    struct extent extents[4];
    struct object_usage usage;
    size_t count;
    (void)context;
    make("a", GIB);
    write_block("a", 0, 1);
    publish();
    write_block("a", 64 * MIB, 2);
    snapshot("a", "s");
    for (int i = 0; i < 2; i++) {
        assert_fine(volume_open(pool, "a", true, &volume));
        assert_fine(volume_extents(volume, 0, GIB, extents, COUNT_OF(extents), &count));
        volume_close(volume);
        assert_int_equal(count, 4);
        assert_int_equal(extents[1].length, 64 * MIB - COFFER_BLOCK);
        assert_fine(object_usage(pool, "a", &usage));
        assert_int_equal(usage.logical_bytes, 2 * COFFER_BLOCK);
        assert_fine(object_usage(pool, "a@s", &usage));
        assert_int_equal(usage.logical_bytes, 2 * COFFER_BLOCK);
        publish();
    }
}

static void the_component_goes(void)
{
    uint64_t component = component_of("a");
    clone_as("a", "b");
    await_dropped(0);
    assert_false(component_exists(component));
}

static void a_read_in_two_rounds_follows_the_object(void **context)
{
    static uint8_t written[2 * MIB], back[2 * MIB];
    struct request write = {.type = REQUEST_WRITE, .length = sizeof written, .data = written};
    struct request read = {.type = REQUEST_READ, .length = sizeof back, .data = back};
    struct volume *volume;
    (void)context;
    for (unsigned i = 0; i < sizeof written / COFFER_BLOCK; i++)
        block_fill(written + i * COFFER_BLOCK, i + 1);
    make("a", GIB);
    assert_fine(volume_open(pool, "a", false, &volume));
    volume_execute(volume, &write, 1, fixture_answer, NULL);
    assert_fine(write.error);
    between_views = the_component_goes;
    volume_execute(volume, &read, 1, fixture_answer, NULL);
    volume_close(volume);
    assert_fine(read.error);
    assert_null(between_views);
    assert_memory_equal(back, written, sizeof back);
}

static void extents_of_several_leaves_follow_the_object(void **context)
{
    struct volume *volume;
    struct extent extents[4];
    size_t count;
    (void)context;
    make("a", GIB);
    write_block("a", 0, 1);
    write_block("a", 64 * MIB, 2);
    assert_fine(volume_open(pool, "a", true, &volume));
    between_views = the_component_goes;
    assert_fine(volume_extents(volume, 0, GIB, extents, COUNT_OF(extents), &count));
    volume_close(volume);
    assert_int_equal(count, 4);
    assert_int_equal(extents[1].length, 64 * MIB - COFFER_BLOCK);
}

static void a_usage_follows_the_object(void **context)
{
    struct object_usage usage;
    (void)context;
    make("a", GIB);
    write_block("a", 0, 1);
    write_block("a", 64 * MIB, 2);
    between_views = the_component_goes;
    assert_fine(object_usage(pool, "a", &usage));
    assert_null(between_views);
    assert_int_equal(usage.logical_bytes, 2 * COFFER_BLOCK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pool_setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_cannot_be_a_snapshot_is_refused),
        TEST(a_snapshot_cannot_be_changed_as_an_object_can),
        TEST(what_is_in_use_is_neither_deleted_nor_rolled_back),
        TEST(what_is_held_or_locked_stays),
        TEST(a_trashed_object_with_a_held_snapshot_is_not_freed),
        TEST(what_keeps_a_trashed_object_is_set_and_taken_back_there),
        TEST(a_list_of_one_object_is_not_as_large_as_the_pool),
        TEST(a_list_of_snapshots_is_told_in_parts),
        TEST(many_snapshots_that_share_most_are_freed),
        TEST(a_snapshot_stays_as_it_was),
        TEST(snapshots_are_counted_with_their_size),
        TEST(snapshots_follow_a_new_name_and_the_trash),
        TEST(several_objects_are_taken_at_one_moment),
        TEST(writers_never_get_between_the_objects_of_one_snapshot),
        TEST(snapshots_go_in_any_order),
        TEST(an_object_that_is_deleted_takes_its_snapshots_with_it),
        TEST(a_thousand_snapshots_read_as_the_first),
        TEST(an_object_goes_back_to_its_snapshot),
        TEST(a_roll_back_loses_what_no_snapshot_has_only_when_told),
        TEST(a_clone_of_a_snapshot_lives_without_it),
        TEST(a_clone_of_an_object_is_of_that_moment),
        TEST(clones_of_clones_read_as_the_first),
        TEST(extents_and_usage_look_through_the_base),
        TEST(a_read_in_two_rounds_follows_the_object),
        TEST(extents_of_several_leaves_follow_the_object),
        TEST(a_usage_follows_the_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
