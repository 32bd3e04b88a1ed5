/*
 * Whatever byte changes on the device of a pool that serves, the scrub finds it and names object and range; and it
 * finds nothing where nothing is wrong, whatever is written, merged and freed meanwhile.
 */
#include "tests/unit/scrub_fixture.h"

static void a_flipped_byte_of_a_unit_names_every_object_and_range(void **context)
{
    (void)context;
    fill();
    struct map_entry entry = entry_of("two", 2);
    struct spot spot = address_spot(entry_serial(entry), entry_offset(entry));
    flip(&spot);
    scrub();
    const struct damage_info *one = damage_with("object one: 4096 bytes at 8192 are damaged (device ");
    assert_string_equal(one->kind, "data");
    assert_string_equal(one->object, "one");
    assert_true(one->offset == 8192 && one->length == COFFER_BLOCK && one->lost && one->by_scrub && one->found);
    assert_string_equal(one->device, pool->group->devices[0]->path);
    assert_int_equal(one->segment, entry_serial(entry));
    assert_int_equal(one->segment_offset, entry_offset(entry) * GRAIN_SIZE);
    damage_with("object two: 4096 bytes at 8192 are damaged (device ");
    assert_int_equal(info_count, 2);
    assert_int_equal(scrub_look().completed_damages, 2);
    assert_int_equal(scrub_look().damaged_bytes, 2 * COFFER_BLOCK);
}

static void neighbouring_blocks_of_a_damaged_segment_are_one_range(void **context)
{
    (void)context;
    fill();
    for (unsigned i = 3; i < 7; i++) {
        struct map_entry entry = entry_of("one", i);
        struct spot spot = address_spot(entry_serial(entry), entry_offset(entry));
        flip(&spot);
    }
    scrub();
    damage_with("object one: 16384 bytes at 12288 are damaged");
    damage_with("object two: 4096 bytes at 12288 are damaged");
    assert_int_equal(info_count, 2);
}

static void damage_that_nobody_refers_to_is_told_as_such(void **context)
{
    (void)context;
    fill();
    struct map_entry entry = entry_of("one", 300);
    struct spot spot = address_spot(entry_serial(entry), entry_offset(entry));
    trim_blocks("one", 300, 1);
    publish();
    flip(&spot);
    scrub();
    assert_string_equal(damage_with("no object is known to need them")->kind, "unit");
    assert_int_equal(info_count, 1);
}

static void a_lost_leaf_is_told_by_the_blocks_that_it_mapped(void **context)
{
    (void)context;
    fill();
    struct tree tree = map_tree("two");
    struct spot spot = root_spot(&tree, false);
    flip(&spot);
    pool_reopen(false); /* no cache has the leaf */
    write_block("two", 5 * COFFER_BLOCK, 77);
    /* The publish at the begin gives the leaf up, for a block of it changed. */
    scrub();
    damage_with("object two: 20480 bytes at 0 are");
    damage_with("object two: 1024000 bytes at 24576 are");
    assert_int_equal(info_count, 2);
    assert_block("two", 5 * COFFER_BLOCK, 77);
}

static void a_leaf_that_no_merge_has_met_is_told_by_its_blocks_too(void **context)
{
    (void)context;
    fill();
    struct tree tree = map_tree("two");
    struct spot spot = root_spot(&tree, false);
    flip(&spot);
    scrub();
    damage_with("object two: 1048576 bytes at 0 are lost with a part of the map (device ");
    assert_int_equal(info_count, 1);
    flip(&spot);
    scrub();
    assert_no_damage();
}

static enum error second_leaf_found(void *context, const struct walk_node *node)
{
    if (node->identity.level == 0 && node->identity.number == 1)
        *(struct node_pointer *)context = node->pointer;
    return ERROR_NONE;
}

/* The second page of the table of components; the catalog's place is in the first. */
static void flip_components(void)
{
    struct tree tree = table_tree(TABLE_COMPONENTS);
    struct node_pointer pointer = {0};
    assert_fine(tree_walk(pool->group, &tree, 0, UINT64_MAX, WALK_ONE_COPY, second_leaf_found, &pointer));
    struct spot first = address_spot(entry_serial(pointer.first), entry_offset(pointer.first));
    flip(&first);
    if (!pointer.second_serial)
        return;
    struct spot second = address_spot(pointer.second_serial, pointer.second_offset);
    flip(&second);
}

static void a_scrub_ends_where_a_page_of_the_table_of_components_is_lost(void **context)
{
    (void)context;
    char name[16];
    fill();
    for (unsigned i = 0; i < BLOCK_SIZE / sizeof(struct component_format); i++) {
        snprintf(name, sizeof name, "late%u", i);
        make(name, GIB);
    }
    write_block(name, 0, 9);
    publish();
    flip_components();
    pool_reopen(false); /* no cache has the page */
    scrub();
    char words[128];
    snprintf(words, sizeof words, "object %s: %llu bytes at 0 are lost with a part of the map", name,
             (unsigned long long)GIB);
    damage_with(words);
    assert_true(damage_with("component table, node 1 of level 0")->lost);
    size_t before = info_count;
    scrub(); /* what is known does not hold up the next one */
    assert_int_equal(info_count, before);
    damage_with(words);
}

static void one_damaged_copy_of_a_node_loses_nothing(void **context)
{
    (void)context;
    fill();
    struct tree tree = map_tree("one");
    struct spot first = root_spot(&tree, false), second = root_spot(&tree, true);
    flip(&second);
    scrub();
    const struct damage_info *info =
        damage_with("map of object one, node 0 of level 1: one of its two copies is damaged, the other is whole");
    assert_false(info->lost);
    assert_int_equal(info_count, 1);
    flip(&second);
    flip(&first);
    scrub();
    damage_with("map of object one, node 0 of level 1: one of its two copies is damaged");
    assert_int_equal(info_count, 1);
    flip(&second);
    scrub();
    damage_with("object one: 134217728 bytes at 0 are lost with a part of the map");
    assert_int_equal(info_count, 1);
    flip(&first);
    flip(&second);
    scrub();
    assert_no_damage();
}

/* Sixteen million leaves are below it: they are not asked one by one. */
static void a_lost_node_over_terabytes_is_told_at_once(void **context)
{
    (void)context;
    fill();
    struct spot roots[2];
    wide_make(roots);
    flip(&roots[0]);
    flip(&roots[1]);
    scrub();
    damage_with("object wide: 17592186044416 bytes at 0 are lost with a part of the map");
    assert_int_equal(info_count, 1);
    scrub(); /* and looked at again */
    damage_with("object wide: 17592186044416 bytes at 0 are lost with a part of the map");
    assert_int_equal(info_count, 1);
    flip(&roots[0]);
    flip(&roots[1]);
    scrub();
    assert_no_damage();
    assert_block("wide", 0, 1);
}

/* Nothing is below an empty tree, to the end of all numbers: nobody looks for it there while a view is held. */
static void a_row_of_an_object_that_was_discarded_whole_goes(void **context)
{
    (void)context;
    fill();
    make("empty", 16 * TIB);
    publish();
    damages_add(pool->damages, &(struct damage){.kind = DAMAGE_BLOCKS,
                                                .fault = DAMAGE_MAP,
                                                .lost = true,
                                                .owner = component_of("empty"),
                                                .end = 16 * TIB / COFFER_BLOCK});
    scrub();
    assert_no_damage();
}

/* Entered by a look at a view that was older than its end. */
static void a_row_of_a_component_that_is_gone_goes(void **context)
{
    (void)context;
    fill();
    damages_add(pool->damages,
                &(struct damage){.kind = DAMAGE_BLOCKS, .fault = DAMAGE_MAP, .lost = true, .owner = 999, .end = 1000});
    scrub();
    assert_no_damage();
}

static void a_flipped_byte_of_a_page_names_the_table(void **context)
{
    (void)context;
    static const struct {
        enum table table;
        unsigned level;
        const char *words;
        bool lost;
    } cases[] = {
        {TABLE_PLACES, 0, "chunk table, places, node 1 of level 0: one of its two copies", false},
        {TABLE_PLACES, 1, "chunk table, places, node 0 of level 1: one of its two copies", false},
        {TABLE_FINGERPRINTS, 0, "chunk table, fingerprints, node 1 of level 0: it is damaged", true},
        {TABLE_COUNTS, 0, "chunk table, counts, node 0 of level 0: it is damaged", true},
        {TABLE_COMPONENTS, 0, "component table, node 0 of level 0: one of its two copies", false},
        {TABLE_SEGMENTS, 0, "segment table, node 0 of level 0: one of its two copies", false},
    };
    fill();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct spot spot = page_spot(cases[i].table, cases[i].level);
        flip(&spot);
        scrub();
        assert_int_equal(damage_with(cases[i].words)->lost, cases[i].lost);
        assert_int_equal(info_count, 1);
        flip(&spot);
        scrub();
        assert_no_damage();
    }
}

static void forget_nodes(void)
{
    if (pool->group->index_running)
        thread_join(&pool->group->index_thread);
    pool->group->index_running = false;
    cache_destroy(pool->group->nodes);
    assert_fine(cache_create(MIB, &pool->group->nodes));
}

/* Nobody asks for the lost page any more, and what it named is not to be found. */
static void places_that_a_merge_gave_up_are_no_damage(void **context)
{
    (void)context;
    fill();
    struct map_entry known = entry_of("one", 4);
    struct node_pointer page = page_pointer(TABLE_PLACES, 0);
    struct spot first = address_spot(entry_serial(page.first), entry_offset(page.first));
    struct spot second = address_spot(page.second_serial, page.second_offset);
    flip(&first);
    flip(&second);
    forget_nodes();
    write_block("one", 20 * COFFER_BLOCK, 50);
    assert_int_equal(entry_cid(entry_of("one", 20)) / MAP_LEAF_ENTRIES, entry_cid(known) / MAP_LEAF_ENTRIES);
    publish();
    struct cache_block *block;
    uint64_t number = entry_cid(known) / MAP_LEAF_ENTRIES;
    struct tree tree = table_tree(TABLE_PLACES);
    assert_fine(tree_leaves(pool->group, &tree, &number, &block, 1));
    const struct map_entry_format *places = (const struct map_entry_format *)cache_bytes(block);
    assert_true(entry_place_is_unknown(entry_decode(&places[entry_cid(known) % MAP_LEAF_ENTRIES])));
    tree_put(pool->group, &block, 1);
    scrub();
    assert_no_damage();
}

static void flipped_superblocks_records_and_headers_are_found(void **context)
{
    (void)context;
    fill();
    struct group *group = pool->group;
    const struct superblock *super = &group->superblocks[0];
    struct map_entry entry = entry_of("one", 0);
    scrub(); /* nothing is published any more */
    uint64_t number = group->checkpoint.number;
    struct spot header = address_spot(entry_serial(entry), 0);
    struct spot spots[] = {
        device_spot(superblock_offset(super->device_size, 3) + 5000),
        device_spot(superblock_offset(super->device_size, 0) + 20), /* a MAC's own byte */
        device_spot(checkpoint_offset(super, checkpoint_copy(number, 1)) + 200),
        header,
    };
    const char *words[] = {"superblock copy 4 of 4 is damaged", "superblock copy 1 of 4 is damaged",
                           "a copy of the checkpoint record is damaged", "the header of segment"};
    for (size_t i = 0; i < COUNT_OF(spots); i++) {
        flip(&spots[i]);
        scrub();
        assert_false(damage_with(words[i])->lost);
        assert_int_equal(info_count, 1);
        flip(&spots[i]);
        scrub();
        assert_no_damage();
    }
}

static void a_good_pool_is_found_good_and_its_bytes_are_counted(void **context)
{
    (void)context;
    fill();
    write_block("one", 9 * MIB, 5);
    scrub();
    assert_no_damage();
    struct scrub_status status = scrub_look();
    assert_true(status.completed != 0 && status.completed_bytes == status.bytes_verified);
    assert_true(status.bytes_verified > 4 * SUPERBLOCK_SIZE + 10 * 1024);
    assert_int_equal(status.bytes_expected, status.bytes_verified);
    assert_string_equal(status.step, "");
}

struct worker {
    struct thread thread;
    _Atomic bool stop;
    unsigned rounds;
};

/* Writes, trims, publishes, makes and deletes: segments are filled, die and are used again. */
static void work_on(void *argument)
{
    struct worker *worker = argument;
    static uint8_t noise[64 * COFFER_BLOCK];
    for (; !atomic_load(&worker->stop); worker->rounds++) {
        char name[32];
        struct volume *volume;
        snprintf(name, sizeof name, "w%u", worker->rounds);
        make(name, GIB);
        assert_fine(volume_open(pool, name, false, &volume));
        for (unsigned i = 0; i < 40; i++) {
            noise_fill(noise, sizeof noise);
            struct request write = {
                .type = REQUEST_WRITE, .offset = i * sizeof noise, .length = sizeof noise, .data = noise};
            volume_execute(volume, &write, 1, fixture_answer, NULL);
            assert_fine(write.error);
        }
        volume_close(volume);
        publish();
        assert_fine(object_delete(pool, name, true));
        publish();
    }
}

static void nothing_is_found_while_segments_are_written_freed_and_used_again(void **context)
{
    (void)context;
    struct worker worker = {0};
    fill();
    assert_fine(thread_start(&worker.thread, "worker", work_on, &worker));
    for (unsigned i = 0; i < 8; i++)
        scrub();
    atomic_store(&worker.stop, true);
    thread_join(&worker.thread);
    assert_no_damage();
    scrub();
    assert_no_damage();
    assert_true(worker.rounds > 0);
}

#define SPOILT(name) cmocka_unit_test_setup_teardown(name, pool_setup, scrub_teardown)
#define TEST(name)   cmocka_unit_test_setup_teardown(name, pool_setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SPOILT(a_flipped_byte_of_a_unit_names_every_object_and_range),
        SPOILT(neighbouring_blocks_of_a_damaged_segment_are_one_range),
        SPOILT(damage_that_nobody_refers_to_is_told_as_such),
        TEST(a_row_of_an_object_that_was_discarded_whole_goes),
        TEST(a_row_of_a_component_that_is_gone_goes),
        SPOILT(a_lost_node_over_terabytes_is_told_at_once),
        SPOILT(a_lost_leaf_is_told_by_the_blocks_that_it_mapped),
        SPOILT(a_leaf_that_no_merge_has_met_is_told_by_its_blocks_too),
        SPOILT(a_scrub_ends_where_a_page_of_the_table_of_components_is_lost),
        SPOILT(one_damaged_copy_of_a_node_loses_nothing),
        SPOILT(a_flipped_byte_of_a_page_names_the_table),
        SPOILT(places_that_a_merge_gave_up_are_no_damage),
        SPOILT(flipped_superblocks_records_and_headers_are_found),
        TEST(a_good_pool_is_found_good_and_its_bytes_are_counted),
        TEST(nothing_is_found_while_segments_are_written_freed_and_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
