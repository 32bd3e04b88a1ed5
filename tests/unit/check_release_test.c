/* What the checker says of the release list: it refers to what waits on it, and nothing else does. */
#include "tests/unit/check_fixture.h"

static int setup(void **context)
{
    atomic_store(&release_references, 0);
    return pool_setup(context);
}

static int teardown(void **context)
{
    atomic_store(&release_references, UINT64_C(1) << 20);
    return pool_teardown(context);
}

/* Object one is deleted, part of object two is trimmed, and all of that waits. */
static void drop(void)
{
    struct volume *volume;
    fill();
    write_block("two", 5000 * COFFER_BLOCK, 300);
    publish();
    struct request request = {.type = REQUEST_TRIM, .offset = 4096 * COFFER_BLOCK, .length = GIB / 2};
    assert_fine(volume_open(pool, "two", false, &volume));
    volume_execute(volume, &request, 1, fixture_answer, NULL);
    assert_fine(request.error);
    volume_close(volume);
    struct uuid uuid = look("one").uuid;
    assert_fine(object_delete(pool, "one", true));
    await_gone(uuid);
    publish();
    assert_true(pool->group->checkpoint.release_end >= 2);
}

static struct release listed(uint64_t component)
{
    struct cache_block *block;
    struct release found = {0};
    const struct release_format *formats =
        (const struct release_format *)leaf_bytes(table_tree(TABLE_RELEASES), 0, &block);
    for (uint64_t i = 0; i < pool->group->checkpoint.release_end && found.component != component; i++)
        assert_true(release_decode(&formats[i], &found));
    assert_int_equal(found.component, component);
    tree_put(pool->group, &block, 1);
    return found;
}

static void what_waits_on_the_list_is_no_damage(void **context)
{
    (void)context;
    drop();
    for (unsigned crash = 0; crash < 2; crash++) {
        close_pool(crash);
        assert_clean();
        assert_fine(pool_try_open());
    }
    atomic_store(&release_references, 5);
    while (pool->group->checkpoint.release_end) {
        publish();
        close_pool(true);
        assert_clean();
        assert_fine(pool_try_open());
    }
}

static void a_count_below_the_list_is_compared(void **context)
{
    struct cache_block *block;
    (void)context;
    drop();
    uint64_t cid = entry_cid(listed(component_of("two")).node.first);
    le32 *counts = (le32 *)leaf_bytes(table_tree(TABLE_COUNTS), cid / 1024, &block);
    counts[cid % 1024] = le32_make(2);
    tree_put(pool->group, &block, 1);
    write_block("two", 40 * COFFER_BLOCK, 150);
    publish();
    close_pool(true);
    check_finds("has the count 2 and 1 references, one of them by object two");
    assert_int_equal(found_count, 1);
}

/* The page is written anew with the next entry. */
static void list_falsified(void (*change)(struct release_format *formats), const char *words)
{
    struct cache_block *block;
    struct volume *volume;
    drop();
    change((struct release_format *)leaf_bytes(table_tree(TABLE_RELEASES), 0, &block));
    tree_put(pool->group, &block, 1);
    struct request request = {.type = REQUEST_TRIM, .offset = 0, .length = MIB};
    assert_fine(volume_open(pool, "two", false, &volume));
    volume_execute(volume, &request, 1, fixture_answer, NULL);
    volume_close(volume);
    publish();
    close_pool(true);
    check_finds(words);
}

static void entry_mark(struct release_format *formats)
{
    formats[1].reserved[0] = 1;
}

static void entry_raise(struct release_format *formats)
{
    formats[0].level = NODE_LEVELS_MAX;
}

static void entry_rename(struct release_format *formats)
{
    formats[0].number = le40_make(7);
}

static void an_entry_that_makes_no_sense_is_found(void **context)
{
    (void)context;
    list_falsified(entry_mark, "release list: entry 1 has impossible fields");
}

static void an_entry_of_no_level_is_found(void **context)
{
    (void)context;
    list_falsified(entry_raise, "release list: entry 0 has impossible fields");
}

static void an_entry_that_names_another_node_is_found(void **context)
{
    (void)context;
    list_falsified(entry_rename, "release list, of ");
    assert_found("damaged");
}

static void an_entry_outside_of_the_list_is_found(void **context)
{
    (void)context;
    drop();
    mutex_lock(&pool->group->lock);
    pool->group->checkpoint.release_end--;
    mutex_unlock(&pool->group->lock);
    write_block("two", 40 * COFFER_BLOCK, 150);
    publish();
    close_pool(true);
    check_finds("is outside of the list");
}

static void a_list_that_is_too_short_is_found(void **context)
{
    (void)context;
    drop();
    mutex_lock(&pool->group->lock);
    pool->group->checkpoint.release_end += 2 * RELEASES_PER_PAGE;
    mutex_unlock(&pool->group->lock);
    write_block("two", 40 * COFFER_BLOCK, 150);
    publish();
    close_pool(true);
    check_finds("has impossible fields");
}

static void a_damaged_node_on_the_list_is_told(void **context)
{
    (void)context;
    drop();
    struct node_pointer node = listed(component_of("two")).node;
    struct spot spot = address_spot(entry_serial(node.first), entry_offset(node.first));
    close_pool(true);
    flip(&spot);
    check_finds("release list, of object two, map of blocks 4864 to 5119 (level 0), only copy: damaged");
}

static void a_damaged_page_of_the_list_is_told(void **context)
{
    (void)context;
    drop();
    struct tree tree = table_tree(TABLE_RELEASES);
    struct spot first = root_spot(&tree, false), second = root_spot(&tree, true);
    close_pool(true);
    flip(&first);
    check_finds("release list, page 0 of level 0, first copy: damaged");
    assert_int_equal(found_count, 1);
    flip(&second);
    check_finds("release list, page 0 of level 0, second copy: damaged");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_damaged_node_on_the_list_is_told),
        TEST(a_damaged_page_of_the_list_is_told),
        TEST(an_entry_that_makes_no_sense_is_found),
        TEST(an_entry_of_no_level_is_found),
        TEST(an_entry_that_names_another_node_is_found),
        TEST(an_entry_outside_of_the_list_is_found),
        TEST(a_list_that_is_too_short_is_found),
        TEST(a_count_below_the_list_is_compared),
        TEST(what_waits_on_the_list_is_no_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
