/* The cache of nodes: what a merge wrote anew is there, what it took the place of is not, unless somebody still holds it. */
#include "engine/group/tree.h"
#include "tests/unit/group_fixture.h"

#define SNAPSHOT COMPONENT
#define HEIR     (COMPONENT + 1)

static void publish(struct fixture *f)
{
    assert_int_equal(group_publish(f->group), ERROR_NONE);
}

/* Of a map of one leaf. */
static struct map_entry leaf_of(struct fixture *f, uint64_t component)
{
    struct component_format format;
    struct view *view = view_take(f->group);
    assert_int_equal(view_component(f->group, view, component, &format), ERROR_NONE);
    view_put(f->group, view);
    assert_int_equal(format.height, 0);
    return pointer_decode(&format.root).first;
}

/* Of the places of chunks, that in which this one is. */
static struct map_entry page_of(struct fixture *f, struct map_entry chunk)
{
    struct view *view = view_take(f->group);
    struct tree tree = tree_of_table(TABLE_PLACES, &view->roots[TABLE_PLACES - 1]);
    struct node_pointer pointer;
    assert_int_equal(tree_pointer(f->group, &tree, 0, entry_cid(chunk) / MAP_LEAF_ENTRIES, &pointer), ERROR_NONE);
    view_put(f->group, view);
    return pointer.first;
}

static bool is_cached(struct fixture *f, struct map_entry node)
{
    struct cache_block *block = cache_find(f->group->nodes, (struct cache_key){entry_serial(node), entry_offset(node), 0});
    if (block)
        cache_unpin(f->group->nodes, block);
    return block != NULL;
}

static void what_was_written_anew_leaves_the_cache(void **state)
{
    struct fixture *f = *state;
    struct map_entry chunk = fixture_write(f, COMPONENT, 3, 33);
    publish(f);
    struct map_entry leaf = leaf_of(f, COMPONENT), page = page_of(f, chunk);
    struct map_entry next = fixture_write(f, COMPONENT, 4, 44);
    assert_int_equal(entry_cid(chunk) / MAP_LEAF_ENTRIES, entry_cid(next) / MAP_LEAF_ENTRIES);
    assert_true(is_cached(f, leaf) && is_cached(f, page));
    publish(f);
    assert_false(is_cached(f, leaf) || is_cached(f, page));
    assert_true(is_cached(f, leaf_of(f, COMPONENT)) && is_cached(f, page_of(f, chunk)));
    fixture_expect(f, COMPONENT, 3, 33);
    fixture_expect(f, COMPONENT, 4, 44);
}

static void a_leaf_that_a_snapshot_holds_stays(void **state)
{
    struct fixture *f = *state;
    fixture_write(f, SNAPSHOT, 3, 33);
    publish(f);
    fixture_heir(f, HEIR, SNAPSHOT, COMPONENT_LIVE);
    publish(f);
    struct map_entry shared = leaf_of(f, SNAPSHOT);
    fixture_write(f, HEIR, 3, 44);
    publish(f);
    assert_false(entry_equal(leaf_of(f, HEIR), shared));
    assert_true(entry_equal(leaf_of(f, SNAPSHOT), shared) && is_cached(f, shared));
    fixture_expect(f, SNAPSHOT, 3, 33);
    fixture_expect(f, HEIR, 3, 44);
}

static void a_view_that_is_older_reads_what_left_the_cache(void **state)
{
    struct fixture *f = *state;
    fixture_write(f, COMPONENT, 3, 33);
    publish(f);
    struct map_entry before = fixture_entry(f, COMPONENT, 3), after, found;
    struct view *view = view_take(f->group);
    fixture_write(f, COMPONENT, 3, 44);
    publish(f);
    after = fixture_entry(f, COMPONENT, 3);
    assert_false(entry_equal(before, after));
    struct tree places = tree_of_table(TABLE_PLACES, &view->roots[TABLE_PLACES - 1]);
    struct cache_block *page;
    uint64_t number = entry_cid(before) / MAP_LEAF_ENTRIES;
    assert_int_equal(tree_leaves(f->group, &places, &number, &page, 1), ERROR_NONE);
    found = entry_decode((const struct map_entry_format *)cache_bytes(page) + entry_cid(before) % MAP_LEAF_ENTRIES);
    assert_true(entry_equal(found, before));
    tree_put(f->group, &page, 1);
    view_put(f->group, view);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_written_anew_leaves_the_cache),
        TEST(a_leaf_that_a_snapshot_holds_stays),
        TEST(a_view_that_is_older_reads_what_left_the_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
