/*
 * The release list where a node on it is shared, damaged, or makes no sense: nothing is freed that somebody else holds,
 * what is lost is leaked, and the group stays in service.
 */
#include <limits.h>

#include "tests/unit/release_fixture.h"

#define LOST 20u /* leaves */

/* ---- shared nodes ----------------------------------------------------------------------------------------------------- */

static void count_falsify(struct fixture *f, uint64_t cid, uint32_t count)
{
    struct cache_block *block;
    le32 *counts = (le32 *)page_of(f, TABLE_COUNTS, cid / COUNTS_PER_PAGE, &block);
    counts[cid % COUNTS_PER_PAGE] = le32_make(count);
    tree_put(f->group, &block, 1);
}

static uint32_t count_of(struct fixture *f, uint64_t cid)
{
    struct view *view = view_take(f->group);
    uint32_t count = truth_table_count(f, view, cid);
    view_put(f->group, view);
    return count;
}

static struct node_pointer root_of(struct fixture *f, uint64_t component, unsigned *height)
{
    struct component_format format;
    assert_int_equal(view_component(f->group, f->group->view, component, &format), ERROR_NONE);
    *height = format.height;
    return pointer_decode(&format.root);
}

static void a_node_that_somebody_else_holds_loses_one_reference(void **state)
{
    struct fixture *f = *state;
    unsigned height;
    struct map_entry data = fixture_write(f, COMPONENT, 5, 1);
    fixture_write(f, COMPONENT, 300, 2);
    publish(f);
    uint64_t cid = entry_cid(root_of(f, COMPONENT, &height).first);
    assert_int_equal(height, 1);
    count_falsify(f, cid, 3);
    count_falsify(f, cid + 1, 3);
    fixture_holes(f, COMPONENT, 0, ALL);
    release(f, WHOLE);
    assert_int_equal(truth_releases(f), 0);
    assert_int_equal(count_of(f, cid), 2);
    assert_int_equal(count_of(f, cid + 1), 2);
    assert_int_equal(count_of(f, entry_cid(data)), 1);
    assert_int_equal(published(f).chunks_live, 2);
}

static void a_count_that_sticks_frees_nothing(void **state)
{
    struct fixture *f = *state;
    unsigned height;
    struct map_entry data = fixture_write(f, COMPONENT, 5, 1);
    publish(f);
    uint64_t cid = entry_cid(root_of(f, COMPONENT, &height).first);
    count_falsify(f, cid, COUNT_STUCK);
    fixture_holes(f, COMPONENT, 0, ALL);
    release(f, WHOLE);
    assert_true(count_of(f, cid) == COUNT_STUCK);
    assert_int_equal(count_of(f, entry_cid(data)), 1);
}

/* The first time it is another's as well, the second time it is not: what this merge did counts. */
static void a_node_that_is_listed_twice_is_freed_once(void **state)
{
    struct fixture *f = *state;
    struct cache_block *block;
    unsigned height;
    fixture_component(f, COMPONENT + 1, COMPONENT_LIVE);
    leaves_write(f, COMPONENT, 300, 1);
    uint64_t cid = entry_cid(root_of(f, COMPONENT, &height).first);
    struct component_format *formats = (struct component_format *)page_of(f, TABLE_COMPONENTS, 0, &block);
    formats[COMPONENT + 1].root = formats[COMPONENT].root;
    formats[COMPONENT + 1].height = formats[COMPONENT].height;
    tree_put(f->group, &block, 1);
    count_falsify(f, cid, 2);
    count_falsify(f, cid + 1, 2);
    fixture_holes(f, COMPONENT, 0, ALL);
    fixture_holes(f, COMPONENT + 1, 0, ALL);
    release(f, WHOLE);
    expect_nothing_left(f);
}

/* ---- damage ------------------------------------------------------------------------------------------------------------- */

static struct release first_release(struct fixture *f)
{
    struct cache_block *block;
    struct release found;
    const struct release_format *formats = (const struct release_format *)page_of(f, TABLE_RELEASES, 0, &block);
    assert_true(release_decode(&formats[0], &found));
    tree_put(f->group, &block, 1);
    return found;
}

static void address_damage(struct fixture *f, uint64_t serial, uint32_t offset)
{
    fixture_flip(f, fixture_device(f, serial), fixture_offset(f, serial, offset) + 60);
}

/* Every block of such a leaf refers to it from then on. That is no reason to release as much more, for which no space is
 * kept. */
static void leaves_that_are_lost_let_no_more_be_released(void **state)
{
    struct fixture *f = *state;
    unsigned height;
    fixture_component(f, COMPONENT + 1, COMPONENT_LIVE);
    leaves_write(f, COMPONENT + 1, LOST, 1);
    leaves_write(f, COMPONENT, 100, 1);
    fixture_holes(f, COMPONENT, 0, ALL);
    publish(f);
    release(f, 1); /* the root */
    uint64_t listed = truth_releases(f);
    assert_true(listed > 80);
    struct node_read root = {.pointer = root_of(f, COMPONENT + 1, &height), .identity = {ITEM_NODE, COMPONENT + 1, 0, 1}};
    assert_int_equal(height, 1);
    assert_int_equal(nodes_read(f->group, &root, 1), ERROR_NONE);
    for (unsigned i = 0; i < LOST; i++) {
        struct map_entry leaf = pointer_decode((const struct node_pointer_format *)cache_bytes(root.block) + i).first;
        address_damage(f, entry_serial(leaf), entry_offset(leaf));
        fixture_write(f, COMPONENT + 1, i * MAP_LEAF_ENTRIES + 1, 900 + i);
    }
    nodes_put(f->group, &root, 1);
    fixture_forget_cached(f);
    release(f, 1);
    assert_true(truth_releases(f) + 20 > listed);
}

static void pointer_damage(struct fixture *f, const struct node_pointer *pointer)
{
    address_damage(f, entry_serial(pointer->first), entry_offset(pointer->first));
    if (pointer->second_serial)
        address_damage(f, pointer->second_serial, pointer->second_offset);
    fixture_forget_cached(f);
}

static void expect_in_service(struct fixture *f)
{
    assert_false(group_is_fenced(f->group));
    fixture_write(f, COMPONENT, 77, 777);
    release(f, WHOLE);
    assert_int_equal(truth_releases(f), 0);
    fixture_crash(f);
    fixture_open(f);
    publish(f);
    fixture_expect(f, COMPONENT, 77, 777);
}

static void a_listed_leaf_that_cannot_be_read_leaks_what_it_had(void **state)
{
    struct fixture *f = *state;
    struct map_entry lost = fixture_write(f, COMPONENT, 5, 1);
    fixture_write(f, COMPONENT, 300, 2);
    publish(f);
    fixture_holes(f, COMPONENT, 0, MAP_LEAF_ENTRIES);
    publish(f);
    struct release listed = first_release(f);
    assert_int_equal(listed.level, 0);
    pointer_damage(f, &listed.node);
    fixture_holes(f, COMPONENT, 0, ALL);
    release(f, WHOLE);
    assert_int_equal(count_of(f, entry_cid(listed.node.first)), 0);
    assert_int_equal(count_of(f, entry_cid(lost)), 1);
    assert_int_equal(published(f).chunks_live, 1);
    assert_int_equal(published(f).blocks_mapped, 1);
    expect_in_service(f);
}

static void a_listed_inner_node_that_cannot_be_read_leaks_what_it_had(void **state)
{
    struct fixture *f = *state;
    fixture_component(f, COMPONENT + 1, COMPONENT_LIVE);
    leaves_write(f, COMPONENT, 300, 1);
    fixture_write(f, COMPONENT + 1, 5, 900);
    fixture_holes(f, COMPONENT, 0, ALL);
    publish(f);
    struct release listed = first_release(f);
    assert_int_equal(listed.level, 2);
    pointer_damage(f, &listed.node);
    release(f, WHOLE);
    assert_int_equal(count_of(f, entry_cid(listed.node.first)), 0);
    assert_int_equal(count_of(f, entry_cid(listed.node.first) + 1), 0);
    assert_int_equal(published(f).blocks_mapped, 301);
    expect_in_service(f);
}

static void one_copy_of_a_listed_inner_node_is_enough(void **state)
{
    struct fixture *f = *state;
    leaves_write(f, COMPONENT, 300, 1);
    fixture_holes(f, COMPONENT, 0, ALL);
    publish(f);
    struct release listed = first_release(f);
    address_damage(f, entry_serial(listed.node.first), entry_offset(listed.node.first));
    fixture_forget_cached(f);
    release(f, WHOLE);
    expect_nothing_left(f);
}

/* What is entered by the merge that finds that out is released all the same. */
static void a_page_of_the_list_that_cannot_be_read_leaks_what_it_had(void **state)
{
    struct fixture *f = *state;
    for (unsigned releasing = 0; releasing < 2; releasing++) {
        leaves_write(f, COMPONENT, 300, 1);
        uint64_t mapped = published(f).blocks_mapped;
        fixture_holes(f, COMPONENT, 0, ALL);
        publish(f);
        struct node_pointer root = published(f).roots[TABLE_RELEASES - 1].pointer;
        assert_int_not_equal(root.second_serial, 0);
        pointer_damage(f, &root);
        leaves_write(f, COMPONENT, 200, 1);
        if (releasing)
            release(f, WHOLE);
        fixture_holes(f, COMPONENT, 0, ALL);
        publish(f);
        assert_int_equal(truth_releases(f), 1);
        release(f, WHOLE);
        assert_int_equal(published(f).blocks_mapped, mapped);
        expect_in_service(f);
        fixture_holes(f, COMPONENT, 0, ALL);
        release(f, WHOLE);
    }
}

static struct release_format sound_entry(void)
{
    struct release_format entry;
    struct release release = {.node = {.first = entry_make(700, 3, 256, 20, 0, 1)}, .component = 5, .number = 9};
    release_encode(&release, &entry);
    return entry;
}

/* The two copies of an inner node have CIDs 2k and 2k + 1; a pointer names 2k. */
static struct node_pointer_format pair_with_cid(uint64_t cid)
{
    struct node_pointer pointer = {.first = entry_make(cid, 3, 256, 20, 0, 1), .second_serial = 4, .second_offset = 256};
    struct node_pointer_format format;
    pointer_encode(&pointer, &format);
    return format;
}

#define REFUSED(change)                                   \
    do {                                                  \
        struct release_format entry = sound_entry();      \
        change;                                           \
        assert_false(release_decode(&entry, &release));   \
    } while (0)

static void an_entry_that_makes_no_sense_is_refused(void **state)
{
    struct release release;
    struct release_format sound = sound_entry();
    (void)state;
    assert_true(release_decode(&sound, &release));
    assert_int_equal(release.component, 5);
    assert_int_equal(release.number, 9);
    sound.level = 1;
    sound.node = pair_with_cid(700);
    assert_true(release_decode(&sound, &release));
    REFUSED(memset(&entry, 0, sizeof entry));
    REFUSED(entry.used = 2);
    REFUSED((entry.level = 1, entry.node = pair_with_cid(701)));
    REFUSED(entry.reserved[3] = 1);
    REFUSED(entry.component = le40_make(0));
    REFUSED(entry.level = NODE_LEVELS_MAX);
    REFUSED(entry.level = 1); /* without a second copy */
    REFUSED(entry.number = le40_make(UINT64_C(1) << 27));
    REFUSED(entry_encode((struct map_entry){0}, &entry.node.first));
    REFUSED(entry_encode(entry_make(700, 3, 256, 20, 1, 2), &entry.node.first));
    REFUSED(entry_encode(entry_make(700, 3, 256, 0, 0, 1), &entry.node.first));
    REFUSED(entry.node.second[0] = 1); /* of a leaf */
}

static void a_list_that_makes_no_sense_is_given_up(void **state)
{
    struct fixture *f = *state;
    struct cache_block *block;
    leaves_write(f, COMPONENT, 300, 1);
    fixture_holes(f, COMPONENT, 0, ALL);
    publish(f);
    struct release_format *formats = (struct release_format *)page_of(f, TABLE_RELEASES, 0, &block);
    formats[0].used = 7;
    tree_put(f->group, &block, 1);
    release(f, WHOLE);
    assert_int_equal(published(f).blocks_mapped, 300);
    expect_in_service(f);
}

static void a_device_that_reads_nothing_loses_nothing_of_the_list(void **state)
{
    struct fixture *f = *state;
    leaves_write(f, COMPONENT, 300, 1);
    fixture_holes(f, COMPONENT, 0, ALL);
    publish(f);
    fixture_forget_cached(f);
    fixture_refuse_reads(f, 0, f->group->devices[0]->size, INT_MAX);
    atomic_store(&release_references, WHOLE);
    assert_int_not_equal(group_publish(f->group), ERROR_NONE);
    assert_true(group_is_fenced(f->group));
    atomic_store(&release_references, 0);
    fixture_crash(f);
    fixture_open(f);
    truth_expect(f, COMPONENTS);
    release(f, WHOLE);
    expect_nothing_left(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, release_setup, release_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_entry_that_makes_no_sense_is_refused),
        TEST(a_list_that_makes_no_sense_is_given_up),
        TEST(leaves_that_are_lost_let_no_more_be_released),
        TEST(a_listed_leaf_that_cannot_be_read_leaks_what_it_had),
        TEST(a_listed_inner_node_that_cannot_be_read_leaks_what_it_had),
        TEST(one_copy_of_a_listed_inner_node_is_enough),
        TEST(a_page_of_the_list_that_cannot_be_read_leaks_what_it_had),
        TEST(a_device_that_reads_nothing_loses_nothing_of_the_list),
        TEST(a_node_that_somebody_else_holds_loses_one_reference),
        TEST(a_count_that_sticks_frees_nothing),
        TEST(a_node_that_is_listed_twice_is_freed_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
