/*
 * Whatever bit is flipped on the device, the checker finds it, names object, blocks, device and segment, and tells
 * nothing that only follows from it.
 */
#include "tests/unit/check_fixture.h"

/* Closes the pool and flips a bit of the unit that a block of an object lies in. */
static struct spot unit_damage(const char *name, uint64_t block, bool crash)
{
    struct map_entry entry = entry_of(name, block);
    struct spot spot = address_spot(entry_serial(entry), entry_offset(entry));
    close_pool(crash);
    flip(&spot);
    return spot;
}

static void a_damaged_unit_is_named_by_object_and_block(void **context)
{
    (void)context;
    fill();
    struct spot spot = unit_damage("one", 300, false);
    check_finds("object one, blocks 300 to 300: the data is damaged");
    assert_found(spot.path);
    assert_int_equal(found_count, 1);
}

static void a_damaged_shared_unit_names_every_object(void **context)
{
    (void)context;
    fill();
    unit_damage("two", 2, false);
    check_finds("object one, blocks 2 to 2: the data is damaged");
    assert_found("object two, blocks 2 to 2: the data is damaged");
}

static void a_damaged_unit_of_the_journal_is_named(void **context)
{
    (void)context;
    fill();
    write_block("one", 5 * MIB, 77);
    assert_fine(group_sync(pool->group));
    write_block("one", 6 * MIB, 78);
    assert_fine(group_sync(pool->group));
    unit_damage("one", 5 * MIB / COFFER_BLOCK, true);
    check_finds("object one, blocks 1280 to 1280 (in the journal): the data is damaged");
}

static void a_damaged_catalog_does_not_end_the_check(void **context)
{
    (void)context;
    fill();
    uint64_t block = OBJECT_SLOT_BLOCKS;
    struct map_entry document, data = entry_of("two", 3);
    struct view *view;
    assert_fine(view_lookup(pool->group, COMPONENT_CATALOG, &block, &document, 1, &view));
    view_put(pool->group, view);
    struct spot first = address_spot(entry_serial(document), entry_offset(document));
    struct spot second = address_spot(entry_serial(data), entry_offset(data));
    close_pool(false);
    flip(&first);
    flip(&second);
    check_finds("the catalog, slot 1: its document cannot be read");
    assert_found("the catalog, blocks 256 to 256: the data is damaged");
    assert_found("component 2 (of object ");
    assert_found("object two, blocks 3 to 3: the data is damaged");
    assert_int_equal(lost_count, 2);
    assert_string_equal(losses[0].object, "");
    assert_string_equal(losses[1].object, "two");
}

/* Nobody waits until four milliards of blocks are asked one by one. */
static void a_lost_map_over_terabytes_is_told_but_for_what_the_journal_has(void **context)
{
    (void)context;
    fill();
    struct spot roots[2];
    wide_make(roots);
    mutex_lock(&pool->group->lock);
    pool->group->config.by_hand = true; /* what follows stays in the journal, however slow the machine is */
    mutex_unlock(&pool->group->lock);
    write_block("wide", 3 * TIB, 3);
    trim_blocks("wide", 5 * TIB / COFFER_BLOCK, 1000);
    for (unsigned i = 0; i < 1024; i++)
        trim_blocks("wide", (6 * TIB + i * GIB) / COFFER_BLOCK, GIB / COFFER_BLOCK);
    assert_fine(group_sync(pool->group));
    close_pool(true);
    flip(&roots[0]);
    flip(&roots[1]);
    assert_fine(check());
    assert_int_equal(lost_count, 4);
    const uint64_t lost_parts[][2] = {{0, 3 * TIB},
                                      {3 * TIB + COFFER_BLOCK, 5 * TIB},
                                      {5 * TIB + 1000 * COFFER_BLOCK, 6 * TIB},
                                      {7 * TIB, 16 * TIB}};
    for (size_t i = 0; i < COUNT_OF(lost_parts); i++) {
        assert_string_equal(losses[i].object, "wide");
        assert_true(losses[i].offset == lost_parts[i][0]);
        assert_true(losses[i].offset + losses[i].length == lost_parts[i][1]);
    }
}

static struct spot document_spot(uint64_t slot)
{
    uint64_t block = slot * OBJECT_SLOT_BLOCKS;
    struct map_entry document;
    struct view *view;
    assert_fine(view_lookup(pool->group, COMPONENT_CATALOG, &block, &document, 1, &view));
    view_put(pool->group, view);
    return address_spot(entry_serial(document), entry_offset(document));
}

/* Without it neither of the two could be reached, nor anything else in the pool. */
static void an_object_that_comes_back_when_its_name_is_taken_is_served_under_another(void **context)
{
    (void)context;
    fill();
    struct uuid uuid = look("one").uuid;
    struct spot spot = document_spot(1);
    close_pool(false);
    flip(&spot);
    assert_fine(pool_try_open());
    make("one", GIB);
    write_block("one", 0, 7);
    close_pool(false);
    flip(&spot);
    for (unsigned opens = 0; opens < 2; opens++) {
        assert_fine(pool_try_open());
        struct object_info first = look("one"), second = look("one (slot 3)");
        assert_true(uuid_equal(first.uuid, uuid));
        assert_false(uuid_equal(second.uuid, uuid));
        assert_block("one", 0, 100);
        assert_block("one (slot 3)", 0, 7);
        close_pool(opens == 0);
    }
    assert_fine(pool_try_open());
    assert_fine(object_rename(pool, "one (slot 3)", "four"));
    pool_reopen(false);
    assert_block("one", 0, 100);
    assert_block("four", 0, 7);
    close_pool(false);
    assert_clean();
}

static void a_made_name_that_is_taken_too_gets_a_number(void **context)
{
    (void)context;
    fill();
    struct spot spot = document_spot(1);
    make("one (slot 5)", GIB);
    make("one (slot 5, 2)", GIB);
    close_pool(false);
    flip(&spot);
    assert_fine(pool_try_open());
    make("one", GIB);
    write_block("one", 0, 7);
    close_pool(false);
    flip(&spot);
    assert_fine(pool_try_open());
    assert_block("one", 0, 100);
    assert_block("one (slot 5, 2)", 0, 0);
    assert_block("one (slot 5, 3)", 0, 7);
    close_pool(false);
    assert_clean();
}

/* One copy of each document: where it is gone, the others are served, and nobody gets its slot. */
static void an_object_whose_document_is_lost_is_not_served_and_the_others_are(void **context)
{
    (void)context;
    fill();
    struct uuid uuid = look("one").uuid;
    struct object_info info;
    struct spot spot = document_spot(1);
    close_pool(false);
    flip(&spot);
    assert_fine(pool_try_open());
    assert_refused(object_find(pool, "one", &info), ERROR_NOT_FOUND, "there is no object 'one'");
    assert_block("two", 2 * COFFER_BLOCK, 102);
    make("three", GIB);
    write_block("three", 0, 7);
    pool_reopen(false);
    assert_block("three", 0, 7);
    close_pool(false);
    flip(&spot);
    assert_fine(pool_try_open());
    assert_true(uuid_equal(look("one").uuid, uuid));
    assert_block("one", 0, 100);
    assert_block("three", 0, 7);
}

static void a_lost_leaf_of_the_catalog_costs_one_object_its_name(void **context)
{
    (void)context;
    fill();
    struct component_format format;
    struct view *view = view_take(pool->group);
    assert_fine(view_component(pool->group, view, COMPONENT_CATALOG, &format));
    view_put(pool->group, view);
    struct tree tree = {ITEM_NODE, COMPONENT_CATALOG, {pointer_decode(&format.root), format.height}};
    assert_int_equal(tree.root.height, 1);
    struct node_read read = {.pointer = tree.root.pointer, .identity = {ITEM_NODE, COMPONENT_CATALOG, 0, 1}};
    assert_fine(nodes_read(pool->group, &read, 1));
    struct node_pointer leaf =
        pointer_decode((const struct node_pointer_format *)cache_bytes(read.block) + 2); /* of slot 2 */
    nodes_put(pool->group, &read, 1);
    struct spot spot = address_spot(entry_serial(leaf.first), entry_offset(leaf.first));
    struct object_info info;
    close_pool(false);
    flip(&spot);
    assert_fine(pool_try_open());
    assert_block("one", 0, 100);
    assert_refused(object_find(pool, "two", &info), ERROR_NOT_FOUND, "there is no object 'two'");
    close_pool(false);
    check_finds("the catalog, slot 2: its document cannot be read");
    assert_int_equal(lost_count, 0);
    assert_true(report.losses_unknown);
}

static void a_damaged_leaf_is_named_by_its_blocks(void **context)
{
    (void)context;
    fill();
    struct tree tree = map_tree("two");
    struct spot spot = root_spot(&tree, false);
    close_pool(false);
    flip(&spot);
    check_finds("object two, map of blocks 0 to 255 (level 0), only copy: damaged");
    assert_int_equal(lost_count, 1);
    assert_string_equal(losses[0].object, "two");
    assert_true(losses[0].offset == 0 && losses[0].length == 256 * COFFER_BLOCK);
    assert_found("are counted more often than the readable maps explain");
    assert_int_equal(found_count, 2);
    assert_false(report.losses_unknown);
}

/* The blocks that a merge could not carry over are named, and the counts of what they were. */
static void what_a_lost_leaf_mapped_is_named_after_a_merge(void **context)
{
    (void)context;
    fill();
    struct tree tree = map_tree("two");
    struct spot spot = root_spot(&tree, false);
    close_pool(false);
    flip(&spot);
    assert_fine(pool_try_open());
    write_block("two", 5 * COFFER_BLOCK, 77);
    publish();
    assert_block("two", 5 * COFFER_BLOCK, 77);
    assert_block("one", 0, 100);
    close_pool(false);
    check_finds("object two, blocks 0 to 4: the data is damaged");
    assert_found("object two, blocks 6 to 255: the data is damaged");
    assert_found("has the count 2 and 1 references, one of them by object one");
    assert_found("object two: the component table counts 260 blocks");
}

static void one_damaged_copy_of_an_inner_node_is_found(void **context)
{
    (void)context;
    fill();
    struct tree tree = map_tree("one");
    assert_true(tree.root.height > 0);
    struct spot first = root_spot(&tree, false), second = root_spot(&tree, true);
    close_pool(false);
    flip(&second);
    check_finds("object one, map of blocks 0 to 32767 (level 1), second copy: damaged");
    assert_found("the other copy is whole");
    assert_int_equal(found_count, 1);
    flip(&second);
    flip(&first);
    check_finds("object one, map of blocks 0 to 32767 (level 1), first copy: damaged");
    assert_int_equal(found_count, 1);
    flip(&second);
    check_finds("second copy: damaged");
    flip(&first);
    flip(&second);
    assert_clean();
}

struct wanted_node {
    unsigned level;
    struct node_pointer pointer;
};

static enum error node_found(void *context, const struct walk_node *node)
{
    struct wanted_node *wanted = context;
    if (node->identity.level == wanted->level && entry_is_hole(wanted->pointer.first))
        wanted->pointer = node->pointer;
    return ERROR_NONE;
}

/* The first copy of the first node of a level. */
static struct spot table_spot(enum table table, unsigned level)
{
    struct tree tree = table_tree(table);
    struct wanted_node wanted = {.level = level};
    assert_fine(tree_walk(pool->group, &tree, 0, UINT64_MAX, WALK_ONE_COPY, node_found, &wanted));
    return address_spot(entry_serial(wanted.pointer.first), entry_offset(wanted.pointer.first));
}

/* What only follows from a page that cannot be read is not told as well. */
static void damaged_pages_of_tables_are_named(void **context)
{
    (void)context;
    static const struct {
        enum table table;
        unsigned level;
        const char *words;
    } cases[] = {
        {TABLE_PLACES, 0, "chunk table, places, page 1 of level 0, first copy: damaged"},
        {TABLE_PLACES, 1, "chunk table, places, page 0 of level 1, first copy: damaged"},
        {TABLE_FINGERPRINTS, 0, "chunk table, fingerprints, page 1 of level 0, only copy: damaged"},
        {TABLE_COUNTS, 0, "chunk table, counts, page 0 of level 0, only copy: damaged"},
        {TABLE_COMPONENTS, 0, "component table, page 0 of level 0, first copy: damaged"},
        {TABLE_SEGMENTS, 0, "segment table, page 0 of level 0, first copy: damaged"},
    };
    fill();
    close_pool(false);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_fine(pool_try_open());
        struct spot spot = table_spot(cases[i].table, cases[i].level);
        close_pool(true);
        flip(&spot);
        check_finds(cases[i].words);
        assert_int_equal(found_count, 1);
        flip(&spot);
        assert_clean();
    }
}

static enum error last_leaf_found(void *context, const struct walk_node *node)
{
    if (node->identity.level == 0)
        *(struct node_pointer *)context = node->pointer;
    return ERROR_NONE;
}

static void an_object_of_a_lost_page_of_components_is_lost_whole(void **context)
{
    (void)context;
    char name[32] = "";
    for (unsigned i = 0; i < COMPONENTS_PER_PAGE; i++) {
        snprintf(name, sizeof name, "many%u", i);
        make(name, MIB);
    }
    write_block(name, 0, 5);
    publish();
    struct tree tree = table_tree(TABLE_COMPONENTS);
    struct node_pointer leaf = {0};
    assert_fine(tree_walk(pool->group, &tree, 0, UINT64_MAX, WALK_ONE_COPY, last_leaf_found, &leaf));
    struct spot first = address_spot(entry_serial(leaf.first), entry_offset(leaf.first));
    struct spot second = address_spot(leaf.second_serial, leaf.second_offset);
    close_pool(true);
    flip(&first);
    flip(&second);
    check_finds("component table, page 1 of level 0, second copy: damaged");
    assert_true(report.losses_unknown);
    assert_true(lost_count > 0 && report.bytes_lost == lost_count * MIB);
    bool told = false;
    for (size_t i = 0; i < lost_count; i++)
        told |= strcmp(losses[i].object, name) == 0 && losses[i].offset == 0 && losses[i].length == MIB;
    assert_true(told);
}

static void a_damaged_superblock_copy_is_named(void **context)
{
    (void)context;
    uint64_t size = pool->group->superblocks[0].device_size;
    struct spot last = device_spot(superblock_offset(size, 3) + 5000),
                first = device_spot(superblock_offset(size, 0) + 100);
    close_pool(false);
    flip(&last);
    check_finds("superblock copy 4 of 4: it is not as it was written");
    flip(&last);
    flip(&first);
    check_finds("superblock copy 1 of 4: it is damaged");
}

static void a_damaged_checkpoint_record_is_named(void **context)
{
    (void)context;
    fill();
    write_block("one", 0, 1);
    publish();
    write_block("one", 0, 2);
    publish();
    uint64_t number = pool->group->checkpoint.number;
    struct spot spot =
        device_spot(checkpoint_offset(&pool->group->superblocks[0], checkpoint_copy(number, 1)) + 200);
    close_pool(true);
    flip(&spot);
    check_finds("checkpoint record");
    assert_found("it is damaged");
}

static void a_damaged_segment_header_is_named(void **context)
{
    (void)context;
    fill();
    struct map_entry entry = entry_of("one", 0);
    mutex_lock(&pool->group->lock);
    uint64_t offset = segment_offset(&pool->group->segments, segment_find(&pool->group->segments, entry_serial(entry)));
    mutex_unlock(&pool->group->lock);
    struct spot spot = device_spot(offset + 60);
    close_pool(false);
    flip(&spot);
    check_finds("the header of segment");
    assert_int_equal(found_count, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pool_setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_damaged_unit_is_named_by_object_and_block),
        TEST(a_damaged_shared_unit_names_every_object),
        TEST(a_damaged_unit_of_the_journal_is_named),
        TEST(a_damaged_catalog_does_not_end_the_check),
        TEST(an_object_whose_document_is_lost_is_not_served_and_the_others_are),
        TEST(a_lost_map_over_terabytes_is_told_but_for_what_the_journal_has),
        TEST(an_object_that_comes_back_when_its_name_is_taken_is_served_under_another),
        TEST(a_made_name_that_is_taken_too_gets_a_number),
        TEST(a_lost_leaf_of_the_catalog_costs_one_object_its_name),
        TEST(a_damaged_leaf_is_named_by_its_blocks),
        TEST(what_a_lost_leaf_mapped_is_named_after_a_merge),
        TEST(one_damaged_copy_of_an_inner_node_is_found),
        TEST(an_object_of_a_lost_page_of_components_is_lost_whole),
        TEST(damaged_pages_of_tables_are_named),
        TEST(a_damaged_superblock_copy_is_named),
        TEST(a_damaged_checkpoint_record_is_named),
        TEST(a_damaged_segment_header_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
