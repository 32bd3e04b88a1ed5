/*
 * What changed between two versions: what is told is checked against what blocks hold, over any mixture of snapshots,
 * clones, trims and merges; and it costs nodes by what changed, whatever the size. Nodes are counted where they are asked
 * for (the linker puts the counter before nodes_read).
 */
#include "tests/unit/pool_fixture.h"

#define FAR (UINT64_C(41) << 40)

static _Thread_local size_t nodes; /* of this thread: a merge reads what it likes */

enum error __real_nodes_read(struct group *group, struct node_read *reads, size_t count);
enum error __wrap_nodes_read(struct group *group, struct node_read *reads, size_t count);
enum error __wrap_nodes_read(struct group *group, struct node_read *reads, size_t count)
{
    nodes += count;
    return __real_nodes_read(group, reads, count);
}

static struct change_extent extents[64];

static enum error try_ask(const char *name, const char *base, uint64_t offset, uint64_t length, size_t *count)
{
    struct volume *volume, *before;
    assert_fine(volume_open(pool, name, true, &volume));
    assert_fine(volume_open(pool, base, true, &before));
    nodes = 0;
    enum error error = volume_changes(volume, before, offset, length, extents, COUNT_OF(extents), count);
    volume_close(before);
    volume_close(volume);
    return error;
}

static size_t ask(const char *name, const char *base, uint64_t offset, uint64_t length)
{
    size_t count;
    assert_fine(try_ask(name, base, offset, length, &count));
    return count;
}

static void assert_extent(size_t i, uint64_t length, enum change_kind kind)
{
    assert_int_equal(extents[i].length, length);
    assert_int_equal(extents[i].kind, kind);
}

static void snapshot(const char *name, const char *snapshot)
{
    assert_fine(object_snapshot(pool, &name, 1, snapshot, false, 0));
}

static void what_is_no_snapshot_is_no_base(void **context)
{
    size_t count;
    (void)context;
    make("disk", GIB);
    assert_refused(try_ask("disk", "disk", 0, GIB, &count), ERROR_INVALID, "is no snapshot");
}

static void nothing_is_told_behind_the_end(void **context)
{
    size_t count;
    (void)context;
    make("disk", GIB);
    snapshot("disk", "s1");
    assert_refused(try_ask("disk", "disk@s1", GIB, 4096, &count), ERROR_OUT_OF_RANGE, "");
    assert_refused(try_ask("disk", "disk@s1", 0, GIB + 1, &count), ERROR_OUT_OF_RANGE, "");
    assert_refused(try_ask("disk", "disk@s1", 4096, 0, &count), ERROR_OUT_OF_RANGE, "");
}

static void nothing_changed_costs_nothing_whatever_the_size(void **context)
{
    (void)context;
    make("disk", 64 * TIB);
    for (unsigned i = 0; i < 64; i++)
        write_block("disk", i * TIB, 1 + i);
    snapshot("disk", "s1");
    for (int published = 0; published < 2; published++) {
        assert_int_equal(ask("disk", "disk@s1", 0, 64 * TIB), 1);
        assert_extent(0, 64 * TIB, CHANGE_NONE);
        assert_in_range(nodes, 0, 8);
        publish();
    }
}

/* Recent, then published. */
static void a_changed_block_in_64_tib_is_found_by_a_few_nodes(void **context)
{
    (void)context;
    make("disk", 64 * TIB);
    for (unsigned i = 0; i < 64; i++)
        write_block("disk", i * TIB, 1 + i);
    publish();
    snapshot("disk", "s1");
    write_block("disk", FAR, 200);
    snapshot("disk", "s2");
    for (int published = 0; published < 2; published++) {
        assert_int_equal(ask("disk@s2", "disk@s1", 0, 64 * TIB), 3);
        assert_extent(0, FAR, CHANGE_NONE);
        assert_extent(1, COFFER_BLOCK, CHANGE_DATA);
        assert_extent(2, 23 * TIB - COFFER_BLOCK, CHANGE_NONE);
        assert_in_range(nodes, 0, 60);
        publish();
    }
}

static void a_trim_of_everything_tells_only_what_was_there(void **context)
{
    (void)context;
    make("disk", 64 * TIB);
    write_block("disk", FAR, 1);
    snapshot("disk", "s1");
    trim_blocks("disk", 0, 64 * TIB / COFFER_BLOCK);
    for (int published = 0; published < 2; published++) {
        assert_int_equal(ask("disk", "disk@s1", 0, 64 * TIB), 3);
        assert_extent(0, FAR, CHANGE_NONE);
        assert_extent(1, COFFER_BLOCK, CHANGE_ZERO);
        assert_in_range(nodes, 0, 80);
        publish();
    }
}

static void the_same_bytes_written_again_are_no_change(void **context)
{
    (void)context;
    make("disk", GIB);
    write_block("disk", 0, 7);
    publish();
    snapshot("disk", "s1");
    write_block("disk", 0, 7);
    assert_int_equal(ask("disk", "disk@s1", 0, GIB), 1);
    assert_extent(0, GIB, CHANGE_NONE);
}

static void what_lies_behind_the_end_of_the_base_was_zeros(void **context)
{
    (void)context;
    make("disk", GIB);
    write_block("disk", 0, 1);
    snapshot("disk", "s1");
    assert_fine(object_resize(pool, "disk", 2 * GIB, false));
    write_block("disk", GIB + MIB, 2);
    assert_int_equal(ask("disk", "disk@s1", 0, 2 * GIB), 3);
    assert_extent(0, GIB + MIB, CHANGE_NONE);
    assert_extent(1, COFFER_BLOCK, CHANGE_DATA);
    assert_extent(2, GIB - MIB - COFFER_BLOCK, CHANGE_NONE);
}

/* Trees of different heights: the lower one's root stands over the first leaves of the higher. */
static void a_map_that_grew_higher_is_compared_with_what_it_was(void **context)
{
    (void)context;
    make("disk", 64 * TIB);
    write_block("disk", 0, 1);
    publish();
    snapshot("disk", "s1");
    write_block("disk", FAR, 2);
    publish();
    assert_int_equal(ask("disk", "disk@s1", 0, 64 * TIB), 3);
    assert_extent(0, FAR, CHANGE_NONE);
    snapshot("disk", "s2");
    trim_blocks("disk", 0, 1);
    publish();
    assert_int_equal(ask("disk", "disk@s1", 0, 64 * TIB), 4);
    assert_extent(0, COFFER_BLOCK, CHANGE_ZERO);
    assert_extent(1, FAR - COFFER_BLOCK, CHANGE_NONE);
}

static void objects_without_relation_differ_where_they_hold_anything(void **context)
{
    (void)context;
    make("disk", GIB);
    make("other", GIB);
    write_block("disk", MIB, 1);
    write_block("other", 5 * MIB, 2);
    snapshot("other", "s1");
    publish();
    assert_int_equal(ask("disk", "other@s1", 0, GIB), 5);
    assert_extent(1, COFFER_BLOCK, CHANGE_DATA);
    assert_extent(2, 4 * MIB - COFFER_BLOCK, CHANGE_NONE);
    assert_extent(3, COFFER_BLOCK, CHANGE_ZERO);
}

static void a_range_is_told_in_pieces(void **context)
{
    (void)context;
    make("disk", GIB);
    snapshot("disk", "s1");
    for (uint64_t i = 0; i < 80; i++)
        write_block("disk", i * MIB, 7);
    uint64_t at = 0, changed = 0;
    unsigned calls = 0;
    for (; at < GIB; calls++) {
        size_t count = ask("disk", "disk@s1", at, GIB - at);
        assert_true(count > 0);
        for (size_t i = 0; i < count; i++) {
            at += extents[i].length;
            changed += extents[i].kind == CHANGE_DATA ? extents[i].length : 0;
        }
    }
    assert_int_equal(at, GIB);
    assert_int_equal(changed, 80 * COFFER_BLOCK);
    assert_true(calls > 1);
}

/* ---- against a model ----------------------------------------------------------------------------------------------- */

#define BLOCKS   16384 /* 64 MiB: 64 leaves */
#define VERSIONS 12

static uint8_t held[VERSIONS + 1][BLOCKS]; /* fill of each block of each version; the last is the disk itself */
static unsigned versions;

static const char *version_name(unsigned version)
{
    static char names[2][32];
    static unsigned turn;
    turn ^= 1;
    if (version == versions)
        snprintf(names[turn], sizeof names[turn], "disk");
    else
        snprintf(names[turn], sizeof names[turn], "disk@s%u", version);
    return names[turn];
}

/* Each block that differs must be told, as what it is; none that was told as changed may hold the same chunk. */
static void compare(unsigned now, unsigned before)
{
    const uint8_t *a = held[now == versions ? VERSIONS : now], *b = held[before];
    for (uint64_t at = 0; at < BLOCKS;) {
        size_t count = ask(version_name(now), version_name(before), at * COFFER_BLOCK, (BLOCKS - at) * COFFER_BLOCK);
        for (size_t i = 0; i < count; i++)
            for (uint64_t n = extents[i].length / COFFER_BLOCK; n > 0; n--, at++) {
                enum change_kind expected = a[at] == b[at] ? CHANGE_NONE : a[at] ? CHANGE_DATA : CHANGE_ZERO;
                if (extents[i].kind != expected)
                    fail_msg("block %llu of %u since %u: %d told, %d held", (unsigned long long)at, now, before,
                             extents[i].kind, expected);
            }
    }
}

static uint64_t seed;

static uint64_t below(uint64_t end)
{
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return seed % end;
}

static void change_something(void)
{
    uint64_t first = below(BLOCKS), wanted = 1 + below(1500), count = MIN(wanted, BLOCKS - first);
    if (below(3) == 0) {
        trim_blocks("disk", first, count);
        memset(held[VERSIONS] + first, 0, count);
        return;
    }
    for (uint64_t i = first; i < MIN(first + 6, BLOCKS); i++) {
        uint8_t fill = (uint8_t)(1 + below(250));
        write_block("disk", i * COFFER_BLOCK, fill);
        held[VERSIONS][i] = fill;
    }
}

static void go_back(void)
{
    char name[32];
    unsigned version = (unsigned)below(versions);
    snprintf(name, sizeof name, "disk@s%u", version);
    assert_fine(object_rollback(pool, name, NULL, true));
    memcpy(held[VERSIONS], held[version], BLOCKS);
}

static void take_version(void)
{
    char name[32];
    snprintf(name, sizeof name, "s%u", versions);
    snapshot("disk", name);
    memcpy(held[versions++], held[VERSIONS], BLOCKS);
}

/* Every fill is stored once before, so that equal blocks are one chunk. */
static void all_fills_write(void)
{
    make("fills", MIB);
    for (unsigned fill = 1; fill <= 250; fill++)
        write_block("fills", fill * COFFER_BLOCK, fill);
    publish();
}

static void any_versions_differ_as_their_blocks_do(void **context)
{
    (void)context;
    seed = 88172645463325252u;
    versions = 0;
    memset(held, 0, sizeof held);
    all_fills_write();
    make("disk", (uint64_t)BLOCKS * COFFER_BLOCK);
    for (unsigned round = 0; round < VERSIONS; round++) {
        for (unsigned i = 0; i < 5; i++)
            change_something();
        take_version();
        if (round % 3 == 1)
            publish();
        if (round % 4 == 3)
            go_back();
        change_something();
        compare(versions, versions - 1);
        compare(versions, (unsigned)below(versions));
        compare((unsigned)below(versions), (unsigned)below(versions));
    }
    publish();
    for (unsigned i = 0; i < 6; i++)
        compare((unsigned)below(versions + 1), (unsigned)below(versions));
}

/* ---- who only looks ------------------------------------------------------------------------------------------- */

#define ROUNDS 1000 /* of 10 ms, for what must come */

static struct thread locker;
static enum error lock_error;
static _Atomic bool lock_ended;

static void lock_run(void *unused)
{
    (void)unused;
    lock_error = pool_lock(pool);
    atomic_store(&lock_ended, true);
}

/* Locking ends when both are closed. */
static void lock_begin(void)
{
    atomic_store(&lock_ended, false);
    assert_fine(thread_start(&locker, "locker", lock_run, NULL));
    for (unsigned i = 0; i < ROUNDS && !atomic_load(&pool->locked) && !atomic_load(&lock_ended); i++)
        clock_sleep(10 * CLOCK_MILLISECOND);
}

static void who_compares_keeps_nobody_from_locking_the_pool(void **context)
{
    struct volume *now, *before, *late;
    size_t count;
    (void)context;
    make("disk", GIB);
    snapshot("disk", "s1");
    assert_fine(volume_look(pool, "disk", &now));
    assert_fine(volume_look(pool, "disk@s1", &before));
    lock_begin();
    enum error error = volume_changes(now, before, 0, GIB, extents, COUNT_OF(extents), &count);
    enum error too_late = volume_look(pool, "disk", &late);
    bool waited = !atomic_load(&lock_ended);
    volume_close(before);
    volume_close(now);
    thread_join(&locker);
    assert_fine(lock_error);
    assert_true(waited);
    assert_string_equal(error_name(error), "LOCKED");
    assert_string_equal(error_name(too_late), "LOCKED");
}

static void who_compares_ends_before_the_pool_is_closed(void **context)
{
    size_t count;
    (void)context;
    make("disk", GIB);
    snapshot("disk", "s1");
    pool_looks_end(pool);
    assert_refused(try_ask("disk", "disk@s1", 0, GIB, &count), ERROR_CLOSED, "is being closed");
}

#define POOL_TEST(name) cmocka_unit_test_setup_teardown(name, pool_setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOL_TEST(what_is_no_snapshot_is_no_base),
        POOL_TEST(nothing_is_told_behind_the_end),
        POOL_TEST(nothing_changed_costs_nothing_whatever_the_size),
        POOL_TEST(a_changed_block_in_64_tib_is_found_by_a_few_nodes),
        POOL_TEST(a_trim_of_everything_tells_only_what_was_there),
        POOL_TEST(the_same_bytes_written_again_are_no_change),
        POOL_TEST(what_lies_behind_the_end_of_the_base_was_zeros),
        POOL_TEST(a_map_that_grew_higher_is_compared_with_what_it_was),
        POOL_TEST(objects_without_relation_differ_where_they_hold_anything),
        POOL_TEST(a_range_is_told_in_pieces),
        POOL_TEST(who_compares_keeps_nobody_from_locking_the_pool),
        POOL_TEST(who_compares_ends_before_the_pool_is_closed),
        POOL_TEST(any_versions_differ_as_their_blocks_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
