/* Where many chunks stand, asked at once, against the entries that writing them gave. */
#include "engine/group/counted.h"

#include "tests/unit/release_fixture.h"

#define CHUNKS 72000u /* more pages of places than are read at once */

static struct map_entry entries[CHUNKS];
static struct counted asked[COUNTED_MAX];
static uint64_t scratch[2 * COUNTED_MAX];

static void chunks_write(struct fixture *f)
{
    for (unsigned i = 0; i < CHUNKS; i += 4) {
        uint64_t seeds[] = {i + 1, i + 2, i + 3, i + 4};
        assert_int_equal(fixture_try_write(f, COMPONENT, i, seeds, 4, &entries[i]), ERROR_NONE);
    }
    publish(f);
}

static struct merge merge_of(struct fixture *f)
{
    struct merge merge = {.group = f->group};
    struct checkpoint checkpoint = published(f);
    memcpy(merge.roots, checkpoint.roots, sizeof merge.roots);
    return merge;
}

static void ask(struct fixture *f, size_t count)
{
    struct merge merge = merge_of(f);
    assert_int_equal(counted_places(&merge, asked, count, scratch), ERROR_NONE);
}

static void chunks_all_over_the_table_have_their_own_places(void **state)
{
    struct fixture *f = *state;
    unsigned which[COUNTED_MAX];
    uint64_t seed = 7;
    chunks_write(f);
    fixture_forget_cached(f);
    for (unsigned i = 0; i < COUNTED_MAX; i++) {
        which[i] = (unsigned)fixture_below(&seed, CHUNKS);
        asked[i] = (struct counted){entry_cid(entries[which[i]]), entries[0]};
    }
    ask(f, COUNTED_MAX);
    for (unsigned i = 0; i < COUNTED_MAX; i++)
        assert_true(entry_equal(asked[i].place, entries[which[i]]));
}

static void what_is_not_counted_or_never_was_has_no_place(void **state)
{
    struct fixture *f = *state;
    chunks_write(f);
    fixture_holes(f, COMPONENT, 0, CHUNKS / 2);
    publish(f);
    for (unsigned i = 0; i < 1000; i++) /* by turns of those that went, and of those that are there */
        asked[i].cid = entry_cid(entries[(i % 2) * CHUNKS / 2 + i]);
    asked[1000].cid = 0;
    asked[1001].cid = CID_MAX;
    ask(f, 1002);
    for (unsigned i = 0; i < 1000; i++)
        assert_true(i % 2 ? entry_equal(asked[i].place, entries[CHUNKS / 2 + i]) : entry_is_hole(asked[i].place));
    assert_true(entry_is_hole(asked[1000].place));
    assert_true(entry_is_hole(asked[1001].place));
}

static void reading_ahead_leaves_nothing_to_read(void **state)
{
    struct fixture *f = *state;
    uint64_t cids[CHUNKS / 256];
    chunks_write(f);
    fixture_forget_cached(f);
    for (unsigned i = 0; i < COUNT_OF(cids); i++)
        cids[i] = (i + 1) * UINT64_C(256);
    struct merge merge = merge_of(f);
    places_read_ahead(&merge, cids, COUNT_OF(cids));
    fixture_refuse_reads(f, 0, f->device_size, 1000);
    for (unsigned i = 0; i < COUNT_OF(cids); i++) {
        struct map_entry place;
        assert_int_equal(change_place(&merge, cids[i], &place), ERROR_NONE);
        assert_int_equal(entry_cid(place), cids[i]);
    }
    assert_int_equal(fixture_refusals_left(), 1000);
    fixture_refuse_no_more();
}

/* With so much space that nothing is moved meanwhile. */
static int setup(void **state)
{
    *state = fixture_begin(1, 2 * FIXTURE_DEVICE_SIZE, true);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(chunks_all_over_the_table_have_their_own_places, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_is_not_counted_or_never_was_has_no_place, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(reading_ahead_leaves_nothing_to_read, setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
