/*
 * Rewriting trees against a plain array of leaves: leaves that change, ranges that are dropped, trees that grow and
 * shrink; and what a batch of look-ups and a walk over the leaves then find.
 */
#include "tests/unit/group_fixture.h"

#include "engine/group/merge.h"

#define LEAVES 40000 /* three levels */
#define OWNER  TABLE_RELEASES

static uint32_t model[LEAVES]; /* what the first bytes of a leaf say; 0: no leaf */
static uint32_t wanted[LEAVES];
static const uint64_t none[1];
static uint64_t dropped, tops; /* leaves; and nodes that were dropped with all below them */
static struct tree tree;
static uint64_t seed;

static int setup(void **state)
{
    memset(model, 0, sizeof model);
    tree = (struct tree){.kind = ITEM_PAGE, .owner = OWNER};
    seed = 21;
    return fixture_setup(state);
}

static enum error apply(struct merge *merge, void *context, uint64_t number, const uint8_t *old, uint8_t *leaf)
{
    uint32_t before;
    (void)merge;
    (void)context;
    memcpy(&before, old, sizeof before);
    assert_int_equal(before, model[number]);
    memset(leaf, 0, BLOCK_SIZE);
    memcpy(leaf, &wanted[number], sizeof wanted[number]);
    return ERROR_NONE;
}

static void space_give(struct group *group, uint64_t serial, uint32_t length)
{
    uint32_t index = segment_find(&group->segments, serial);
    assert_int_equal(segment_live_add(&group->segments, index, -(int64_t)length * GRAIN_SIZE), ERROR_NONE);
}

/* Takes what is dropped apart at once. */
static enum error drop(struct merge *merge, void *context, const struct node_pointer *pointer, unsigned level,
                       uint64_t number)
{
    struct group *group = merge->group;
    struct node_read read = {.pointer = *pointer, .identity = {ITEM_PAGE, OWNER, number, (uint8_t)level}};
    TRY(nodes_read(group, &read, 1));
    for (unsigned i = 0; i < NODE_FANOUT && level > 0; i++) {
        struct node_pointer child = pointer_decode((const struct node_pointer_format *)cache_bytes(read.block) + i);
        if (!entry_is_hole(child.first))
            assert_int_equal(drop(merge, context, &child, level - 1, number * NODE_FANOUT + i), ERROR_NONE);
    }
    if (level == 0) {
        assert_memory_equal(cache_bytes(read.block), &model[number], sizeof model[0]);
        model[number] = 0;
        dropped++;
    }
    nodes_put(group, &read, 1);
    space_give(group, entry_serial(pointer->first), entry_length(pointer->first));
    space_give(group, pointer->second_serial, entry_length(pointer->first));
    return ERROR_NONE;
}

static enum error drop_top(struct merge *merge, void *context, const struct node_pointer *pointer, unsigned level,
                           uint64_t number)
{
    tops++;
    return drop(merge, context, pointer, level, number);
}

static enum error update(struct fixture *f, const uint64_t *numbers, size_t count, const struct hole_range *ranges,
                         size_t range_count)
{
    struct merge merge = {.group = f->group, .birth = 256};
    struct tree_update update = {.tree = &tree,
                                 .numbers = numbers,
                                 .count = count,
                                 .ranges = ranges,
                                 .range_count = range_count,
                                 .apply = apply,
                                 .drop = drop_top};
    enum error error = tree_update(&merge, &update);
    free(merge.outdated);
    if (!error)
        memcpy(model, wanted, sizeof model);
    return error;
}

static void set(struct fixture *f, uint64_t number, uint32_t value)
{
    memcpy(wanted, model, sizeof wanted);
    wanted[number] = value;
    assert_int_equal(update(f, &number, 1, NULL, 0), ERROR_NONE);
}

static void expect_leaves(struct fixture *f, uint64_t first, uint64_t step)
{
    for (uint64_t at = first; at < LEAVES; at += 200 * step) {
        uint64_t numbers[200];
        struct cache_block *blocks[200];
        size_t count = 0;
        for (uint64_t n = at; n < LEAVES && count < COUNT_OF(numbers); n += step)
            numbers[count++] = n;
        assert_int_equal(tree_leaves(f->group, &tree, numbers, blocks, count), ERROR_NONE);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(blocks[i] != NULL, model[numbers[i]] != 0);
            if (blocks[i])
                assert_memory_equal(cache_bytes(blocks[i]), &model[numbers[i]], sizeof model[0]);
        }
        tree_put(f->group, blocks, count);
    }
}

static void expect_walk(struct fixture *f)
{
    uint64_t number = 0, expected = 0;
    bool found;
    do {
        while (expected < LEAVES && !model[expected])
            expected++;
        assert_int_equal(tree_next_leaf(f->group, &tree, &number, &found), ERROR_NONE);
        assert_int_equal(found, expected < LEAVES);
        if (found)
            assert_int_equal(number, expected);
        number++;
        expected++;
    } while (found);
}

static void an_empty_tree_has_no_leaves(void **state)
{
    struct fixture *f = *state;
    expect_leaves(f, 0, 131);
    expect_walk(f);
    assert_int_equal(update(f, none, 0, NULL, 0), ERROR_NONE);
    assert_int_equal(update(f, none, 0, &(struct hole_range){0, 0, LEAVES}, 1), ERROR_NONE);
    assert_true(tree_is_empty(&tree));
}

static void a_node_that_cannot_be_read_fails_the_update_and_the_look_up(void **state)
{
    struct fixture *f = *state;
    uint64_t number = 300;
    struct cache_block *block;
    set(f, 5, 1);
    set(f, 300, 2);
    struct root root = tree.root;
    tree.root.pointer.first.high ^= UINT64_C(1) << 20; /* another offset */
    tree.root.pointer.second_offset ^= 16;
    assert_int_equal(tree_leaves(f->group, &tree, &number, &block, 1), ERROR_CORRUPT);
    assert_null(block);
    assert_int_equal(update(f, &number, 1, NULL, 0), ERROR_CORRUPT);
    bool found;
    assert_int_equal(tree_next_leaf(f->group, &tree, &number, &found), ERROR_CORRUPT);
    tree.root = root;
    expect_leaves(f, 0, 1);
}

static void leaves_beyond_the_tree_are_absent(void **state)
{
    struct fixture *f = *state;
    uint64_t far[] = {LEAVES, UINT64_C(1) << 40, UINT64_MAX, 3};
    struct cache_block *blocks[COUNT_OF(far)];
    set(f, 3, 9);
    assert_int_equal(tree_leaves(f->group, &tree, far, blocks, COUNT_OF(far)), ERROR_NONE);
    assert_true(!blocks[0] && !blocks[1] && !blocks[2] && blocks[3]);
    tree_put(f->group, blocks, COUNT_OF(far));
}

static void a_tree_is_as_high_as_it_must_be(void **state)
{
    struct fixture *f = *state;
    set(f, 0, 1);
    assert_int_equal(tree.root.height, 0);
    set(f, 1, 2);
    assert_int_equal(tree.root.height, 1);
    set(f, 127, 3);
    assert_int_equal(tree.root.height, 1);
    set(f, 128, 4);
    assert_int_equal(tree.root.height, 2);
    set(f, 128 * 128, 5);
    assert_int_equal(tree.root.height, 3);
    expect_leaves(f, 0, 1);
    expect_walk(f);
    memset(wanted, 0, sizeof wanted);
    assert_int_equal(update(f, none, 0, &(struct hole_range){0, 0, UINT64_C(1) << 40}, 1), ERROR_NONE);
    assert_true(tree_is_empty(&tree));
    assert_int_equal(tree.root.height, 0);
    expect_leaves(f, 0, 97);
}

static void each_leaf_of_a_range_is_dropped_once(void **state)
{
    struct fixture *f = *state;
    uint64_t numbers[500];
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        wanted[numbers[i] = i * 70] = (uint32_t)i + 1;
    assert_int_equal(update(f, numbers, COUNT_OF(numbers), NULL, 0), ERROR_NONE);
    dropped = tops = 0;
    for (uint64_t leaf = 100; leaf < 30000; leaf++)
        wanted[leaf] = 0;
    assert_int_equal(update(f, none, 0, &(struct hole_range){0, 100, 30000}, 1), ERROR_NONE);
    assert_int_equal(dropped, 427);
    assert_in_range(tops, 2, RANGE_DROPS_MAX);
    expect_leaves(f, 0, 1);
    expect_walk(f);
}

/* However much is written into it at the same time. */
static void a_tree_that_a_range_covers_is_dropped_as_one(void **state)
{
    struct fixture *f = *state;
    uint64_t numbers[500];
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        wanted[numbers[i] = i * 70] = (uint32_t)i + 1;
    assert_int_equal(update(f, numbers, COUNT_OF(numbers), NULL, 0), ERROR_NONE);
    dropped = tops = 0;
    memset(wanted, 0, sizeof wanted);
    for (size_t i = 0; i < 100; i++)
        wanted[numbers[i] = i * 210] = (uint32_t)i + 1000;
    assert_int_equal(update(f, numbers, 100, &(struct hole_range){0, 0, UINT64_C(1) << 40}, 1), ERROR_NONE);
    assert_int_equal(dropped, 500);
    assert_int_equal(tops, 1);
    expect_leaves(f, 0, 1);
    expect_walk(f);
}

/* The live bytes of all pages of the tree; every one of them is counted as long as it is part of it. */
static uint64_t tree_bytes(struct fixture *f, struct node_pointer pointer, unsigned level, uint64_t number)
{
    struct node_read read = {.pointer = pointer, .identity = {ITEM_PAGE, OWNER, number, (uint8_t)level}};
    uint64_t bytes = (uint64_t)entry_length(pointer.first) * GRAIN_SIZE * (pointer.second_serial ? 2 : 1);
    assert_int_equal(nodes_read(f->group, &read, 1), ERROR_NONE);
    for (unsigned i = 0; i < NODE_FANOUT && level > 0; i++) {
        struct node_pointer child = pointer_decode((const struct node_pointer_format *)cache_bytes(read.block) + i);
        if (!entry_is_hole(child.first))
            bytes += tree_bytes(f, child, level - 1, number * NODE_FANOUT + i);
    }
    nodes_put(f->group, &read, 1);
    return bytes;
}

static uint64_t live_bytes(struct fixture *f)
{
    uint64_t live = 0;
    for (uint32_t i = 0; i < f->group->segments.count; i++)
        live += f->group->segments.table[i].live;
    return live;
}

static void change_some(struct fixture *f)
{
    static uint64_t numbers[LEAVES];
    struct hole_range ranges[4];
    size_t count = 0, range_count = 0;
    memcpy(wanted, model, sizeof wanted);
    for (uint64_t end = 0, n = fixture_below(&seed, 5); range_count < n && end < LEAVES - 2; range_count++) {
        uint64_t first = end + 1 + fixture_below(&seed, (LEAVES - end - 1) / 2);
        end = first + 1 + fixture_below(&seed, 1 + (LEAVES - first - 1) / 4);
        end = MIN(end, (uint64_t)LEAVES);
        ranges[range_count] = (struct hole_range){0, first, end};
        memset(wanted + first, 0, (end - first) * sizeof wanted[0]);
    }
    uint64_t dense = fixture_below(&seed, 3) * 10;
    for (uint64_t leaf = fixture_below(&seed, 200); leaf < LEAVES;
         leaf += 1 + fixture_below(&seed, dense ? 600 : 4000)) {
        numbers[count++] = leaf;
        wanted[leaf] = fixture_below(&seed, 4) ? (uint32_t)fixture_random(&seed) : 0;
    }
    assert_int_equal(update(f, numbers, count, ranges, range_count), ERROR_NONE);
}

static void any_history_equals_a_plain_array(void **state)
{
    struct fixture *f = *state;
    for (unsigned round = 0; round < 25; round++) {
        change_some(f);
        expect_leaves(f, fixture_below(&seed, 13), 13);
        if (round % 5 == 4) {
            expect_leaves(f, 0, 1);
            expect_walk(f);
        }
        assert_int_equal(live_bytes(f),
                         tree_is_empty(&tree) ? 0 : tree_bytes(f, tree.root.pointer, tree.root.height, 0));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_empty_tree_has_no_leaves),          TEST(a_node_that_cannot_be_read_fails_the_update_and_the_look_up),
        TEST(leaves_beyond_the_tree_are_absent),    TEST(a_tree_is_as_high_as_it_must_be),
        TEST(each_leaf_of_a_range_is_dropped_once), TEST(a_tree_that_a_range_covers_is_dropped_as_one),
        TEST(any_history_equals_a_plain_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
