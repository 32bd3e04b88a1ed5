/* A walk in slices of any size gives every leaf and every node once, whether the tree or a recent table knows it. */
#include "tests/unit/pool_fixture.h"

#include "engine/pool/map_walk.h"

struct seen {
    uint64_t leaves[16];
    size_t leaf_count, slices;
    unsigned nodes, lost;
    uint64_t blocks, known;
};

static enum error node_seen(struct map_walk *walk, const struct walk_node *node, bool again)
{
    struct seen *seen = walk->context;
    seen->nodes += !again;
    seen->lost += node->bytes == NULL;
    return ERROR_NONE;
}

static void leaf_seen(struct map_walk *walk, const struct map_leaf *leaf)
{
    struct seen *seen = walk->context;
    assert_true(seen->leaf_count < COUNT_OF(seen->leaves));
    seen->leaves[seen->leaf_count++] = leaf->number;
    for (unsigned i = 0; i < MAP_LEAF_ENTRIES; i++) {
        seen->blocks += !entry_is_hole(leaf->entries[i]);
        seen->known += leaf->known[i];
    }
}

static struct seen walk_from(const char *name, size_t slice_leaves, uint64_t from)
{
    struct seen seen = {0};
    struct map_walk walk = {
        .group = pool->group,
        .component = component_of(name),
        .copies = WALK_ONE_COPY,
        .slice_leaves = slice_leaves,
        .node = node_seen,
        .leaf = leaf_seen,
        .context = &seen,
    };
    enum error error;
    assert_fine(map_walk_begin(&walk));
    map_walk_seek(&walk, from);
    do {
        error = map_walk_slice(&walk);
        seen.slices++;
    } while (error == ERROR_AGAIN);
    assert_fine(error);
    map_walk_forget(&walk);
    return seen;
}

/* Leaves 0, 1, 128 and 300 in the tree; 0, 5 and 129 in the recent tables. */
static void fill_both(void)
{
    const unsigned tree[] = {0, 1, 128, 300}, recent[] = {0, 5, 129};
    make("one", GIB);
    for (unsigned i = 0; i < COUNT_OF(tree); i++)
        write_block("one", tree[i] * MIB, i + 1);
    publish();
    for (unsigned i = 0; i < COUNT_OF(recent); i++)
        write_block("one", recent[i] * MIB + COFFER_BLOCK, i + 10);
}

static void a_walk_of_nothing_ends(void **context)
{
    (void)context;
    make("one", GIB);
    struct seen seen = walk_from("one", 4, 0);
    assert_int_equal(seen.leaf_count + seen.nodes, 0);
}

static void every_slice_size_gives_each_leaf_and_node_once(void **context)
{
    (void)context;
    const uint64_t leaves[] = {0, 1, 5, 128, 129, 300};
    fill_both();
    for (size_t slice = 1; slice < 8; slice++) {
        struct seen seen = walk_from("one", slice, 0);
        assert_int_equal(seen.leaf_count, COUNT_OF(leaves));
        assert_memory_equal(seen.leaves, leaves, sizeof leaves);
        assert_int_equal(seen.nodes, 4 + 3 + 1);
        assert_int_equal(seen.blocks, 7);
        assert_int_equal(seen.known, 3);
        assert_int_equal(seen.slices, slice >= 6 ? 1 : (6 + slice - 1) / slice);
    }
}

static void a_walk_goes_on_from_any_leaf(void **context)
{
    (void)context;
    fill_both();
    struct seen seen = walk_from("one", 2, 128);
    assert_int_equal(seen.leaf_count, 3);
    assert_int_equal(seen.leaves[0], 128);
    assert_int_equal(seen.nodes, 2 + 2); /* leaves 128 and 300, the inner nodes that begin there */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pool_setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_walk_of_nothing_ends),
        TEST(every_slice_size_gives_each_leaf_and_node_once),
        TEST(a_walk_goes_on_from_any_leaf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
