/*
 * A walk sees every node once, a parent before its children, leaves in rising order; it reads the devices, so damage
 * behind the cache is found, and it goes on behind a node that is lost.
 */
#include "tests/unit/group_fixture.h"

#include "engine/group/walk.h"

#define SEEN_MAX 64

struct seen {
    struct walk_node nodes[SEEN_MAX];
    size_t count;
    enum error stop;
};

static enum error see(void *context, const struct walk_node *node)
{
    struct seen *seen = context;
    assert_true(seen->count < SEEN_MAX);
    seen->nodes[seen->count++] = *node;
    return seen->stop;
}

/* Leaves 0, 1, 2 and 200 of a component: height 2. */
static struct tree fill(struct fixture *fixture)
{
    static const uint64_t leaves[] = {0, 1, 2, 200};
    struct component_format format;
    for (size_t i = 0; i < COUNT_OF(leaves); i++)
        fixture_write(fixture, COMPONENT, leaves[i] * MAP_LEAF_ENTRIES, 10 + i);
    assert_int_equal(group_publish(fixture->group), ERROR_NONE);
    assert_int_equal(view_component(fixture->group, fixture->group->view, COMPONENT, &format), ERROR_NONE);
    return (struct tree){ITEM_NODE, COMPONENT, {pointer_decode(&format.root), format.height}};
}

static struct seen walk(struct fixture *fixture, const struct tree *tree, uint64_t first, uint64_t end,
                        enum walk_copies copies)
{
    struct seen seen = {0};
    assert_int_equal(tree_walk(fixture->group, tree, first, end, copies, see, &seen), ERROR_NONE);
    return seen;
}

/* A bit in the stored bytes of a copy. */
static void damage(struct fixture *fixture, const struct walk_node *node, bool second)
{
    struct map_entry entry = node->pointer.first;
    uint64_t serial = second ? node->pointer.second_serial : entry_serial(entry);
    uint32_t offset = second ? node->pointer.second_offset : entry_offset(entry);
    fixture_flip(fixture, fixture_device(fixture, serial), fixture_offset(fixture, serial, offset) + 48);
}

static void a_tree_that_is_too_high_is_refused(void **state)
{
    struct tree tree = {ITEM_NODE, COMPONENT, {{.birth = 0}, NODE_LEVELS_MAX}};
    struct seen seen = {0};
    assert_int_equal(tree_walk(((struct fixture *)*state)->group, &tree, 0, UINT64_MAX, WALK_ONE_COPY, see, &seen),
                     ERROR_CORRUPT);
}

static void a_pointer_to_nowhere_is_told(void **state)
{
    struct tree tree = {ITEM_NODE, COMPONENT, {{.first = entry_make(7, 99999, 300, 4, 0, 1)}, 0}};
    struct seen seen = walk(*state, &tree, 0, UINT64_MAX, WALK_ALL_COPIES);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.nodes[0].errors[0], ERROR_NOT_FOUND);
    assert_null(seen.nodes[0].bytes);
}

static void a_node_of_another_map_is_told(void **state)
{
    struct tree tree = fill(*state);
    tree.owner = COMPONENT - 1; /* which nothing descends from */
    struct seen seen = walk(*state, &tree, 0, UINT64_MAX, WALK_ALL_COPIES);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.nodes[0].errors[0], ERROR_CORRUPT);
    assert_int_equal(seen.nodes[0].errors[1], ERROR_CORRUPT);
}

static void an_empty_tree_has_no_nodes(void **state)
{
    struct tree tree = {ITEM_NODE, COMPONENT, {{.birth = 0}, 0}};
    assert_int_equal(walk(*state, &tree, 0, UINT64_MAX, WALK_ALL_COPIES).count, 0);
}

static void every_node_is_seen_once_parents_first(void **state)
{
    static const struct {
        unsigned level;
        uint64_t number;
    } expected[] = {{2, 0}, {1, 0}, {0, 0}, {0, 1}, {0, 2}, {1, 1}, {0, 200}};
    struct tree tree = fill(*state);
    struct seen seen = walk(*state, &tree, 0, UINT64_MAX, WALK_ALL_COPIES);
    assert_int_equal(seen.count, COUNT_OF(expected));
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        assert_int_equal(seen.nodes[i].identity.level, expected[i].level);
        assert_int_equal(seen.nodes[i].identity.number, expected[i].number);
        assert_true(seen.nodes[i].bytes && !seen.nodes[i].errors[0] && !seen.nodes[i].errors[1]);
        assert_false(seen.nodes[i].differ);
    }
}

static void a_range_leaves_out_what_lies_beside_it(void **state)
{
    struct tree tree = fill(*state);
    struct seen seen = walk(*state, &tree, 1, 2, WALK_ONE_COPY);
    assert_int_equal(seen.count, 3);
    assert_int_equal(seen.nodes[2].identity.number, 1);
    assert_int_equal(walk(*state, &tree, UINT64_MAX, UINT64_MAX, WALK_ONE_COPY).count, 0);
}

static void the_visitor_ends_the_walk(void **state)
{
    struct tree tree = fill(*state);
    struct seen seen = {.stop = ERROR_AGAIN};
    assert_int_equal(tree_walk(((struct fixture *)*state)->group, &tree, 0, UINT64_MAX, WALK_ONE_COPY, see, &seen),
                     ERROR_AGAIN);
    assert_int_equal(seen.count, 1);
}

static void a_damaged_first_copy_is_found_behind_the_cache(void **state)
{
    struct tree tree = fill(*state);
    struct seen before = walk(*state, &tree, 0, UINT64_MAX, WALK_ALL_COPIES);
    damage(*state, &before.nodes[1], false);
    struct seen seen = walk(*state, &tree, 0, UINT64_MAX, WALK_ONE_COPY);
    assert_int_equal(seen.nodes[1].errors[0], ERROR_CORRUPT);
    assert_int_equal(seen.nodes[1].errors[1], ERROR_NONE);
    assert_non_null(seen.nodes[1].bytes);
    assert_int_equal(seen.count, before.count);
}

static void a_damaged_second_copy_is_found_where_all_are_asked_for(void **state)
{
    struct tree tree = fill(*state);
    struct seen before = walk(*state, &tree, 0, UINT64_MAX, WALK_ALL_COPIES);
    damage(*state, &before.nodes[0], true);
    struct seen seen = walk(*state, &tree, 0, UINT64_MAX, WALK_ALL_COPIES);
    assert_int_equal(seen.nodes[0].errors[0], ERROR_NONE);
    assert_int_equal(seen.nodes[0].errors[1], ERROR_CORRUPT);
    assert_int_equal(seen.count, before.count);
    assert_int_equal(walk(*state, &tree, 0, UINT64_MAX, WALK_ONE_COPY).nodes[0].errors[1], ERROR_NONE);
}

static void behind_a_lost_node_the_walk_goes_on(void **state)
{
    struct tree tree = fill(*state);
    struct seen before = walk(*state, &tree, 0, UINT64_MAX, WALK_ALL_COPIES);
    damage(*state, &before.nodes[1], false);
    damage(*state, &before.nodes[1], true);
    struct seen seen = walk(*state, &tree, 0, UINT64_MAX, WALK_ALL_COPIES);
    assert_int_equal(seen.count, before.count - 3);
    assert_null(seen.nodes[1].bytes);
    assert_int_equal(seen.nodes[3].identity.number, 200);
}

static void tables_are_walked_as_well(void **state)
{
    struct fixture *fixture = *state;
    fill(fixture);
    for (unsigned table = TABLE_PLACES; table <= TABLE_SEGMENTS; table++) {
        struct tree tree = tree_of_table((enum table)table, view_root(fixture->group->view, (enum table)table));
        struct seen seen = walk(fixture, &tree, 0, UINT64_MAX, WALK_ALL_COPIES);
        assert_true(seen.count > 0);
        for (size_t i = 0; i < seen.count; i++)
            assert_true(seen.nodes[i].bytes && !seen.nodes[i].errors[0] && !seen.nodes[i].errors[1]);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_tree_that_is_too_high_is_refused),
        TEST(a_pointer_to_nowhere_is_told),
        TEST(a_node_of_another_map_is_told),
        TEST(an_empty_tree_has_no_nodes),
        TEST(every_node_is_seen_once_parents_first),
        TEST(a_range_leaves_out_what_lies_beside_it),
        TEST(the_visitor_ends_the_walk),
        TEST(a_damaged_first_copy_is_found_behind_the_cache),
        TEST(a_damaged_second_copy_is_found_where_all_are_asked_for),
        TEST(behind_a_lost_node_the_walk_goes_on),
        TEST(tables_are_walked_as_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
