/*
 * Block status: a hole of any size costs a few inner nodes, whatever the tables say of it; and what is said is what
 * single look-ups say. Nodes are counted where they are asked for (the linker puts the counter before nodes_read).
 */
#include "tests/unit/pool_fixture.h"

#define TIB (UINT64_C(1) << 40)
#define FAR (UINT64_C(41) << 40) /* somewhere in the midst */

static _Thread_local size_t nodes; /* of this thread: a merge reads what it likes */

enum error __real_nodes_read(struct group *group, struct node_read *reads, size_t count);
enum error __wrap_nodes_read(struct group *group, struct node_read *reads, size_t count);
enum error __wrap_nodes_read(struct group *group, struct node_read *reads, size_t count)
{
    nodes += count;
    return __real_nodes_read(group, reads, count);
}

static _Thread_local size_t rounds; /* of reads of nodes from the devices */

void __real_items_read(struct group *group, struct item_read *reads, size_t count, void (*done)(struct item_read *, void *),
                      void *context);
void __wrap_items_read(struct group *group, struct item_read *reads, size_t count, void (*done)(struct item_read *, void *),
                      void *context);
void __wrap_items_read(struct group *group, struct item_read *reads, size_t count, void (*done)(struct item_read *, void *),
                      void *context)
{
    rounds++;
    __real_items_read(group, reads, count, done, context);
}

static struct extent extents[64];

static size_t ask(uint64_t offset, uint64_t length)
{
    struct volume *volume;
    size_t count;
    assert_fine(volume_open(pool, "thin", true, &volume));
    nodes = rounds = 0;
    assert_fine(volume_extents(volume, offset, length, extents, COUNT_OF(extents), &count));
    volume_close(volume);
    return count;
}

static void assert_extent(size_t i, uint64_t length, bool hole)
{
    assert_int_equal(extents[i].length, length);
    assert_int_equal(extents[i].hole, hole);
}

static void trim(uint64_t offset, uint64_t length)
{
    struct volume *volume;
    struct request request = {.type = REQUEST_TRIM, .offset = offset, .length = length};
    assert_fine(volume_open(pool, "thin", false, &volume));
    volume_execute(volume, &request, 1, fixture_answer, NULL);
    assert_fine(request.error);
    volume_close(volume);
}

static void an_empty_object_of_64_tib_is_one_hole(void **context)
{
    (void)context;
    make("thin", 64 * TIB);
    assert_int_equal(ask(0, 64 * TIB), 1);
    assert_extent(0, 64 * TIB, true);
    assert_in_range(nodes, 0, 8);
    assert_fine(group_publish(pool->group));
    assert_int_equal(ask(4096, 64 * TIB - 4096), 1);
    assert_in_range(nodes, 0, 8);
}

/* Recent, then in the tree, then trimmed in the recent table over the tree. */
static void a_block_in_64_tib_is_found_by_a_few_nodes(void **context)
{
    (void)context;
    make("thin", 64 * TIB);
    write_block("thin", FAR, 1);
    write_block("thin", FAR + MIB, 2);
    for (int published = 0; published < 2; published++) {
        assert_int_equal(ask(0, 64 * TIB), 5);
        assert_extent(0, FAR, true);
        assert_extent(1, COFFER_BLOCK, false);
        assert_extent(2, MIB - COFFER_BLOCK, true);
        assert_extent(3, COFFER_BLOCK, false);
        assert_extent(4, 23 * TIB - MIB - COFFER_BLOCK, true);
        assert_in_range(nodes, 0, 40);
        assert_fine(group_publish(pool->group));
    }
    trim(FAR - GIB, 2 * GIB);
    write_block("thin", FAR + 2 * MIB, 3);
    assert_int_equal(ask(0, 64 * TIB), 3);
    assert_extent(0, FAR + 2 * MIB, true);
    assert_extent(1, COFFER_BLOCK, false);
    assert_in_range(nodes, 0, 40);
}

static void a_range_begins_and_ends_where_it_was_asked_for(void **context)
{
    (void)context;
    make("thin", 64 * TIB);
    write_block("thin", GIB, 1);
    assert_int_equal(ask(GIB - 8192, 12288), 2);
    assert_extent(0, 8192, true);
    assert_extent(1, 4096, false);
    assert_int_equal(ask(GIB, 100), 1);
    assert_extent(0, 4096, false);
    assert_int_equal(ask(64 * TIB - 4096, 4096), 1);
    assert_extent(0, 4096, true);
    assert_int_equal(ask(GIB - 1, 2), 2);
}

static void data_is_looked_at_in_pieces(void **context)
{
    (void)context;
    make("thin", 64 * TIB);
    for (uint64_t i = 0; i < 70; i++)
        write_block("thin", i * MIB, 7);
    size_t count = ask(0, 64 * TIB);
    uint64_t told = 0;
    for (size_t i = 0; i < count; i++)
        told += extents[i].length;
    assert_in_range(told, 4096, EXTENT_DATA_MAX);
    assert_int_equal(count, COUNT_OF(extents));
}

static void reopen(void)
{
    assert_fine(pool_close(pool));
    assert_fine(pool_try_open());
}

/* Each leaf has an inner node of its own. */
static void leaves_that_are_not_in_memory_are_read_together(void **context)
{
    (void)context;
    make("thin", 64 * TIB);
    for (uint64_t i = 0; i < 30; i++)
        write_block("thin", i * 20 * GIB, 1 + i);
    assert_fine(group_publish(pool->group));
    reopen();
    assert_int_equal(ask(0, 64 * TIB), 60);
    assert_in_range(rounds, 1, 12);
    for (uint64_t i = 0; i < 59; i++)
        assert_extent(i, i % 2 == 0 ? COFFER_BLOCK : 20 * GIB - COFFER_BLOCK, i % 2 == 1);
    assert_extent(59, 64 * TIB - 29 * 20 * GIB - COFFER_BLOCK, true);
}

static bool is_hole(const bool *model, uint64_t block)
{
    return !model[block];
}

static void check_against(const bool *model, uint64_t blocks)
{
    for (uint64_t at = 0; at < blocks;) {
        size_t count = ask(at * COFFER_BLOCK, (blocks - at) * COFFER_BLOCK);
        for (size_t i = 0; i < count; i++)
            for (uint64_t n = extents[i].length / COFFER_BLOCK; n > 0; n--, at++)
                assert_int_equal(extents[i].hole, is_hole(model, at));
    }
}

/* Any mixture of what is in the tree, in both tables, and of holes over it. */
static void a_mixture_is_told_as_it_is(void **context)
{
    static bool model[16384]; /* 64 MiB: 64 leaves */
    (void)context;
    memset(model, 0, sizeof model);
    make("thin", COUNT_OF(model) * COFFER_BLOCK);
    uint64_t seed = 88172645463325252u;
    for (unsigned step = 0; step < 120; step++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        uint64_t block = seed % COUNT_OF(model), length = MIN(1 + (seed >> 40) % 1500, COUNT_OF(model) - block);
        if (step % 3 == 2) {
            trim(block * COFFER_BLOCK, length * COFFER_BLOCK);
            memset(model + block, 0, length);
        } else {
            write_block("thin", block * COFFER_BLOCK, 1 + step);
            model[block] = true;
        }
        if (step % 40 == 20)
            assert_fine(group_publish(pool->group));
        if (step % 10 == 9)
            check_against(model, COUNT_OF(model));
    }
}

#define POOL_TEST(name) cmocka_unit_test_setup_teardown(name, pool_setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOL_TEST(an_empty_object_of_64_tib_is_one_hole),
        POOL_TEST(a_block_in_64_tib_is_found_by_a_few_nodes),
        POOL_TEST(a_range_begins_and_ends_where_it_was_asked_for),
        POOL_TEST(data_is_looked_at_in_pieces),
        POOL_TEST(a_mixture_is_told_as_it_is),
        POOL_TEST(leaves_that_are_not_in_memory_are_read_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
