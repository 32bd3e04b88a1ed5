/* The recent table against a plain map: points, ranges of holes, births, and what it promises of its room. */
#include "tests/unit/group_fixture.h"

#define COMPONENTS 3
#define LEAVES     12
#define BLOCKS     (LEAVES * SHEAF_ITEMS)
#define TABLE      (1u << 20)

static struct recent *recent;
static uint64_t seed;
/* The model: 0 unknown, 1 a hole, else an entry of this CID. */
static uint64_t model[COMPONENTS][BLOCKS];

static int setup(void **state)
{
    (void)state;
    memset(model, 0, sizeof model);
    seed = 7;
    return recent_create(TABLE, &recent) == ERROR_NONE ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    recent_destroy(recent);
    return 0;
}

static struct map_entry entry_of(uint64_t cid)
{
    return cid < 2 ? (struct map_entry){0} : entry_make(cid, 5, 6, 7, 0, 1);
}
static uint64_t component_of(unsigned c)
{
    return c * 1000 + 1;
}

static void expect(unsigned c, uint64_t block)
{
    struct map_entry entry;
    bool known = recent_find(recent, component_of(c), block, &entry);
    assert_int_equal(known, model[c][block] != 0);
    if (known)
        assert_true(entry_equal(entry, entry_of(model[c][block])));
}

static void expect_all(void)
{
    uint64_t points = 0;
    for (unsigned c = 0; c < COMPONENTS; c++)
        for (uint64_t block = 0; block < BLOCKS; block++)
            expect(c, block);
    const struct sheaf **sheaves;
    size_t count;
    assert_int_equal(recent_sorted(recent, false, &sheaves, &count), ERROR_NONE);
    for (size_t i = 0; i < count; i++) {
        points += sheaves[i]->count;
        assert_false(sheaves[i]->births);
        if (i > 0)
            assert_true(sheaves[i - 1]->owner < sheaves[i]->owner ||
                        (sheaves[i - 1]->owner == sheaves[i]->owner && sheaves[i - 1]->number < sheaves[i]->number));
    }
    assert_int_equal(points, recent_points_count(recent));
    free(sheaves);
}

static void expect_ranges_in_order(void)
{
    size_t count;
    const struct hole_range *ranges = recent_ranges(recent, &count);
    for (size_t i = 0; i < count; i++) {
        assert_true(ranges[i].first < ranges[i].end);
        if (i > 0 && ranges[i].component == ranges[i - 1].component)
            assert_true(ranges[i - 1].end < ranges[i].first); /* touching ones are one */
        else if (i > 0)
            assert_true(ranges[i - 1].component < ranges[i].component);
    }
}

static void enter(unsigned c, uint64_t block, uint64_t cid)
{
    recent_enter(recent, component_of(c), block, entry_of(cid));
    model[c][block] = cid;
}

static void enter_holes(unsigned c, uint64_t first, uint64_t end)
{
    recent_enter_holes(recent, component_of(c), first, end);
    for (uint64_t block = first; block < end; block++)
        model[c][block] = 1;
}

static void an_empty_table_knows_nothing(void **state)
{
    (void)state;
    struct birth birth;
    expect_all();
    assert_true(recent_is_empty(recent));
    assert_false(recent_find_birth(recent, 300, &birth));
    assert_null(recent_birth_page(recent, 300));
}

static void a_full_table_says_so_before_an_entry_could_fail(void **state)
{
    (void)state;
    uint64_t entered = 0;
    while (recent_room(recent) >= RECENT_POINT_BYTES_MAX)
        recent_enter(recent, 1 + fixture_below(&seed, 5), fixture_below(&seed, 1 << 14), entry_of(2 + entered++));
    assert_true(entered > TABLE / RECENT_POINT_BYTES_MAX);
    recent_clear(recent);
    assert_true(recent_is_empty(recent));
    assert_true(recent_room(recent) > TABLE / 2);
}

static void the_room_of_one_commit_holds_its_worst(void **state)
{
    (void)state;
    recent_destroy(recent);
    assert_int_equal(recent_create(8 << 20, &recent), ERROR_NONE);
    /* 256 leaves that are half full: the next point in each doubles its sheaf. */
    for (uint64_t leaf = 0; leaf < 256; leaf++)
        for (uint64_t i = 0; i < 128; i++)
            recent_enter(recent, 1, leaf * SHEAF_ITEMS + i, entry_of(9));
    for (uint64_t filler = 0; recent_room(recent) > RECENT_BATCH_ROOM + 8192; filler++)
        recent_enter_birth(recent, entry_of(256 + filler), (struct fingerprint){{1}});
    assert_true(recent_room(recent) >= RECENT_BATCH_ROOM);
    for (uint64_t leaf = 0; leaf < 256; leaf++) {
        recent_enter(recent, 1, leaf * SHEAF_ITEMS + 200, entry_of(9));
        recent_enter_birth(recent, entry_of((UINT64_C(1) << 30) + leaf * 256 / 16), (struct fingerprint){{1}});
    }
}

static void what_is_usable_is_what_gets_used(void **state)
{
    (void)state;
    const size_t room = 64 << 10;
    for (uint64_t i = 0; recent_room(recent) >= room; i++)
        recent_enter(recent, 1, i * SHEAF_ITEMS, entry_of(2));
    assert_true(recent_used(recent) > recent_usable(TABLE, room));
    assert_true(recent_used(recent) <= recent_usable(TABLE, room) + RECENT_POINT_BYTES_MAX);
    assert_int_equal(recent_usable(1000, room), 0);
    assert_false(recent_is_at_limit(recent));
}

static void ranges_at_their_limit_leave_no_room(void **state)
{
    (void)state;
    uint64_t n = 0;
    while (recent_room(recent) > 0) {
        assert_true(n < RECENT_RANGES_MAX);
        recent_enter_holes(recent, 1, n * 2 * SHEAF_ITEMS, (n * 2 + 1) * SHEAF_ITEMS);
        n++;
    }
    for (unsigned i = 0; i < 63; i++, n++)
        recent_enter_holes(recent, 1, n * 2 * SHEAF_ITEMS, (n * 2 + 1) * SHEAF_ITEMS);
    recent_enter_holes(recent, 1, 0, (n * 2 + 1) * SHEAF_ITEMS);
    size_t count;
    (void)recent_ranges(recent, &count);
    assert_int_equal(count, 1);
    recent_clear(recent);
    assert_true(recent_room(recent) > 0);
}

/* Replay asks for each, where the writer asked for a commit. */
static void each_record_of_a_commit_that_was_let_in_fits(void **state)
{
    (void)state;
    for (uint64_t n = 0; n % 64 != 0 || recent_room(recent) > 0; n++) {
        assert_true(recent_takes_record(recent));
        recent_enter_holes(recent, 1, n * 2 * SHEAF_ITEMS, (n * 2 + 1) * SHEAF_ITEMS);
    }
    size_t count;
    (void)recent_ranges(recent, &count);
    assert_int_equal(count, RECENT_RANGES_MAX);
}

static void ranges_that_drop_too_much_leave_no_room(void **state)
{
    (void)state;
    const uint64_t large = UINT64_C(1) << 20; /* leaves */
    uint64_t n = 0;
    while ((n + 1) * RANGE_DROPS_MAX < RECENT_DROPS_MAX) {
        assert_true(recent_room(recent) > 0);
        recent_enter_holes(recent, 1, 2 * n * large * SHEAF_ITEMS, (2 * n + 1) * large * SHEAF_ITEMS);
        n++;
    }
    recent_enter_holes(recent, 1, 5 * SHEAF_ITEMS, large * SHEAF_ITEMS);
    assert_int_equal(recent_drops_max(recent), n * RANGE_DROPS_MAX); /* they were in it already */
    assert_true(recent_room(recent) > 0);
    recent_enter_holes(recent, 2, 0, large * SHEAF_ITEMS);
    assert_int_equal(recent_room(recent), 0);
    recent_enter_holes(recent, 1, 0, 2 * n * large * SHEAF_ITEMS); /* all of them in one */
    assert_int_equal(recent_drops_max(recent), WHOLE_DROPS_MAX + RANGE_DROPS_MAX);
}

/* Else some tens of objects that are deleted would be a merge, and writers wait for it. */
static void ranges_over_whole_objects_drop_little(void **state)
{
    (void)state;
    const uint64_t whole = UINT64_C(1) << 34;
    for (uint64_t component = 1; component <= 1000; component++) {
        assert_true(recent_room(recent) > 0);
        recent_enter_holes(recent, component, 0, whole);
    }
    assert_int_equal(recent_drops_max(recent), 1000 * WHOLE_DROPS_MAX);
}

/* A look at all that the table has would be seconds under the group's lock where many objects are deleted. */
static void a_range_over_an_object_leaves_the_others_points(void **state)
{
    (void)state;
    const uint64_t whole = UINT64_C(1) << 34, far = UINT64_C(1) << 33;
    for (uint64_t component = 1; component <= 50; component++) {
        recent_enter(recent, component, component * 1000, entry_of(7));
        recent_enter(recent, component, far + component, entry_of(8));
    }
    for (uint64_t component = 2; component <= 50; component += 2)
        recent_enter_holes(recent, component, 0, whole);
    assert_int_equal(recent_points_count(recent), 50);
    for (uint64_t component = 1; component <= 50; component++) {
        struct map_entry near, distant;
        assert_true(recent_find(recent, component, component * 1000, &near));
        assert_true(recent_find(recent, component, far + component, &distant));
        assert_int_equal(entry_is_hole(near), component % 2 == 0);
        assert_int_equal(entry_is_hole(distant), component % 2 == 0);
    }
}

static void the_largest_range_removes_the_points_in_it_and_no_others(void **state)
{
    (void)state;
    const uint64_t end = UINT64_C(1) << 34;
    struct map_entry found, entry = entry_make(7, 1, 256, 10, 0, 1);
    const uint64_t blocks[] = {0, 5, 300, (UINT64_C(1) << 20) + 3, end - 1};
    for (size_t i = 0; i < COUNT_OF(blocks); i++)
        recent_enter(recent, 1, blocks[i], entry);
    recent_enter(recent, 2, 300, entry);
    recent_enter_holes(recent, 1, 5, end);
    for (size_t i = 1; i < COUNT_OF(blocks); i++) {
        assert_true(recent_find(recent, 1, blocks[i], &found));
        assert_true(entry_is_hole(found));
    }
    assert_true(recent_find(recent, 1, 0, &found) && entry_equal(found, entry));
    assert_true(recent_find(recent, 2, 300, &found) && entry_equal(found, entry));
    assert_int_equal(recent_drops_max(recent), RANGE_DROPS_MAX);
}

/* What a deletion asks for is under locks that all commits take, and others' points may be in all regions of an object. */
static void a_range_over_an_object_asks_only_for_points_that_it_has(void **state)
{
    const uint64_t whole = UINT64_C(1) << 34, region = UINT64_C(1) << 18;
    teardown(state);
    assert_int_equal(recent_create(8u << 20, &recent), ERROR_NONE);
    for (uint64_t block = 0; block < whole; block += region)
        recent_enter(recent, 1, block, entry_of(7));
    recent_enter_holes(recent, 2, 0, whole);
    assert_int_equal(recent_range_asked(recent), 0);
    for (uint64_t block = 0; block < 4 * region; block += region)
        recent_enter(recent, 3, block, entry_of(8));
    recent_enter_holes(recent, 3, 0, whole);
    assert_true(recent_range_asked(recent) <= 4 * region / SHEAF_ITEMS);
    recent_enter_holes(recent, 3, 0, whole);
    assert_true(recent_range_asked(recent) <= 4 * region / SHEAF_ITEMS);
    assert_int_equal(recent_points_count(recent), whole / region);
}

static void more_components_than_are_told_apart_lose_no_point(void **state)
{
    struct map_entry found;
    teardown(state);
    assert_int_equal(recent_create(8u << 20, &recent), ERROR_NONE);
    for (uint64_t component = RECENT_OWNERS_MAX + 3; component > 0; component--)
        recent_enter(recent, component, 5, entry_of(7));
    for (uint64_t component = 1; component < 7; component++)
        recent_enter_holes(recent, component, 0, UINT64_C(1) << 34);
    assert_int_equal(recent_points_count(recent), RECENT_OWNERS_MAX - 3);
    for (uint64_t component = 1; component < 9; component++) {
        assert_true(recent_find(recent, component, 5, &found));
        assert_int_equal(entry_is_hole(found), component < 7);
    }
}

static void components_at_their_limit_leave_no_room(void **state)
{
    (void)state;
    struct component_change change = {.id = 4, .state = COMPONENT_LIVE};
    size_t n = 0, count;
    for (; recent_room(recent) > 0; n++)
        recent_enter_component(recent, &change);
    assert_true(n <= RECENT_COMPONENTS_MAX);
    for (unsigned i = 0; i < 63; i++, n++)
        recent_enter_component(recent, &change);
    (void)recent_components(recent, &count);
    assert_int_equal(count, n);
}

static void a_point_beats_a_range_that_was_entered_before_it(void **state)
{
    (void)state;
    enter_holes(0, 0, 4 * SHEAF_ITEMS);
    enter(0, 300, 77);
    expect_all();
}

static void a_range_removes_the_points_in_it(void **state)
{
    (void)state;
    for (uint64_t block = 100; block < 1200; block += 50)
        enter(0, block, 50 + block);
    enter(1, 300, 5);
    enter_holes(0, 200, 1100);
    expect_all();
}

static void part_of_a_leaf_becomes_points(void **state)
{
    (void)state;
    size_t count;
    enter_holes(2, 10, 200);
    (void)recent_ranges(recent, &count);
    assert_int_equal(count, 0);
    enter_holes(2, 200, 3 * SHEAF_ITEMS + 7);
    (void)recent_ranges(recent, &count);
    assert_int_equal(count, 1);
    expect_all();
}

static void a_trim_of_the_largest_object_is_one_range(void **state)
{
    (void)state;
    size_t count;
    const uint64_t end = UINT64_C(1) << 34; /* 64 TiB */
    for (uint64_t block = 0; block < end; block += end / 97)
        recent_enter(recent, 1, block, entry_of(4));
    recent_enter_holes(recent, 1, 0, end);
    assert_int_equal(recent_points_count(recent), 0);
    (void)recent_ranges(recent, &count);
    assert_int_equal(count, 1);
    struct map_entry entry = entry_of(9);
    assert_true(recent_find(recent, 1, end - 1, &entry) && entry_is_hole(entry));
    assert_false(recent_find(recent, 1, end, &entry));
}

static void births_stay_though_nobody_refers_to_them(void **state)
{
    (void)state;
    struct birth birth;
    for (uint64_t cid = 256; cid < 1000; cid += 3)
        recent_enter_birth(recent, entry_of(cid), (struct fingerprint){{(uint8_t)cid}});
    recent_enter_holes(recent, 1, 0, 1 << 20);
    for (uint64_t cid = 256; cid < 1000; cid++) {
        assert_int_equal(recent_find_birth(recent, cid, &birth), (cid - 256) % 3 == 0);
        if ((cid - 256) % 3 == 0)
            assert_true(entry_cid(birth.entry) == cid && birth.fingerprint.bytes[0] == (uint8_t)cid);
    }
    assert_int_equal(recent_birth_pages_count(recent), 3);
    assert_int_equal(recent_points_count(recent), 0);
    const struct sheaf **sheaves;
    size_t count;
    assert_int_equal(recent_sorted(recent, true, &sheaves, &count), ERROR_NONE);
    assert_int_equal(count, 3);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(sheaves[i]->number, 1 + i);
    free(sheaves);
}

static void component_changes_keep_their_order(void **state)
{
    (void)state;
    size_t count;
    for (uint64_t id = 1; id <= 5; id++)
        recent_enter_component(recent, &(struct component_change){.id = 6 - id, .state = COMPONENT_LIVE});
    const struct component_change *changes = recent_components(recent, &count);
    for (uint64_t id = 1; id <= 5; id++)
        assert_int_equal(changes[id - 1].id, 6 - id);
    assert_int_equal(count, 5);
    assert_false(recent_is_empty(recent));
}

static void a_component_counts_by_its_ranges_as_well(void **state)
{
    (void)state;
    enter_holes(0, 0, 512);
    enter_holes(0, 768, 1024);
    assert_int_equal(recent_owners_count(recent), 1);
    enter(1, 3, 5);
    enter_holes(1, 512, 1024);
    enter_holes(2, 512, 1024);
    assert_int_equal(recent_owners_count(recent), 3);
}

static void enter_some_holes(unsigned c, uint64_t first)
{
    uint64_t most = UINT64_C(1) << fixture_below(&seed, 12);
    enter_holes(c, first, first + 1 + fixture_below(&seed, MIN(BLOCKS - first, most)));
}

static void any_history_equals_a_plain_map(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 6; round++) {
        memset(model, 0, sizeof model);
        recent_clear(recent);
        for (unsigned i = 0; i < 3000 && recent_room(recent) > 40000; i++) {
            unsigned c = (unsigned)fixture_below(&seed, COMPONENTS), kind = (unsigned)fixture_below(&seed, 100);
            uint64_t block = fixture_below(&seed, BLOCKS);
            if (kind < 92)
                enter(c, block, 1 + fixture_below(&seed, 1000));
            else
                enter_some_holes(c, block);
            if (i % 100 == 0)
                expect_ranges_in_order();
        }
        expect_all();
        expect_ranges_in_order();
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_empty_table_knows_nothing),
        TEST(a_full_table_says_so_before_an_entry_could_fail),
        TEST(the_room_of_one_commit_holds_its_worst),
        TEST(what_is_usable_is_what_gets_used),
        TEST(ranges_at_their_limit_leave_no_room),
        TEST(each_record_of_a_commit_that_was_let_in_fits),
        TEST(ranges_that_drop_too_much_leave_no_room),
        TEST(ranges_over_whole_objects_drop_little),
        TEST(a_range_over_an_object_leaves_the_others_points),
        TEST(the_largest_range_removes_the_points_in_it_and_no_others),
        TEST(a_range_over_an_object_asks_only_for_points_that_it_has),
        TEST(more_components_than_are_told_apart_lose_no_point),
        TEST(components_at_their_limit_leave_no_room),
        TEST(a_point_beats_a_range_that_was_entered_before_it),
        TEST(a_range_removes_the_points_in_it),
        TEST(part_of_a_leaf_becomes_points),
        TEST(a_trim_of_the_largest_object_is_one_range),
        TEST(births_stay_though_nobody_refers_to_them),
        TEST(component_changes_keep_their_order),
        TEST(a_component_counts_by_its_ranges_as_well),
        TEST(any_history_equals_a_plain_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
