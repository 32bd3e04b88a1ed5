/*
 * The ledger of known damage is a set of intervals: what is entered, cut, split and joined must be what a plain list of
 * blocks would say, and it never grows beyond its limit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/memory.h"
#include "engine/pool/damage.h"

static struct damages damages;
static struct damage *rows;
static size_t row_count;
static bool more;

static int setup(void **context)
{
    (void)context;
    memset(&damages, 0, sizeof damages);
    damages_init(&damages);
    rows = NULL;
    return 0;
}

static int teardown(void **context)
{
    (void)context;
    free(rows);
    damages_deinit(&damages);
    return 0;
}

static void look(void)
{
    free(rows);
    rows = NULL;
    assert_int_equal(damages_copy(&damages, true, &rows, &row_count, &more), ERROR_NONE);
}

static void add(uint64_t owner, uint64_t first, uint64_t end, uint64_t serial)
{
    damages_add(&damages, &(struct damage){.kind = DAMAGE_BLOCKS,
                                           .fault = DAMAGE_CHANGED,
                                           .owner = owner,
                                           .first = first,
                                           .end = end,
                                           .serial = serial});
}

static void cut(uint64_t owner, uint64_t first, uint64_t end)
{
    damages_cut(&damages, DAMAGE_BLOCKS, owner, 0, first, end);
}

static void end_pass(uint64_t pass)
{
    damages_set_pass(&damages, pass, true, false);
    assert_true(damages_end_pass(&damages, pass));
}

static void an_empty_ledger_takes_cuts(void **context)
{
    (void)context;
    cut(1, 0, UINT64_MAX);
    end_pass(5);
    size_t count;
    assert_null(damages_take_untold(&damages, &count));
    look();
    assert_int_equal(row_count, 0);
    assert_false(more);
}

static void neighbours_of_one_segment_are_one_row(void **context)
{
    (void)context;
    add(7, 10, 11, 3);
    add(7, 12, 13, 3);
    add(7, 11, 12, 3);
    add(7, 13, 14, 4);
    add(8, 14, 15, 4);
    look();
    assert_int_equal(row_count, 3);
    assert_true(rows[0].first == 10 && rows[0].end == 13);
    assert_true(rows[1].first == 13 && rows[1].serial == 4);
    assert_int_equal(rows[2].owner, 8);
}

static void an_overwritten_middle_splits_a_row(void **context)
{
    (void)context;
    add(7, 10, 20, 3);
    cut(7, 13, 15);
    cut(8, 0, 100);
    look();
    assert_int_equal(row_count, 2);
    assert_true(rows[0].first == 10 && rows[0].end == 13);
    assert_true(rows[1].first == 15 && rows[1].end == 20);
    cut(7, 0, 12);
    cut(7, 19, UINT64_MAX);
    look();
    assert_true(rows[0].first == 12 && rows[0].end == 13);
    assert_true(rows[1].first == 15 && rows[1].end == 19);
    cut(7, 0, UINT64_MAX);
    look();
    assert_int_equal(row_count, 0);
}

#define MODEL_BLOCKS 200

/* Against a list of one serial a block. */
static void random_changes_are_what_a_plain_list_says(void **context)
{
    (void)context;
    uint64_t model[MODEL_BLOCKS] = {0}, state = 12345;
    for (unsigned round = 0; round < 5000; round++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        uint64_t first = (state >> 33) % MODEL_BLOCKS, length = (state >> 50) % 9 + 1;
        uint64_t end = MIN(first + length, (uint64_t)MODEL_BLOCKS), serial = (state >> 60) % 4;
        if (serial)
            add(1, first, end, serial);
        else
            cut(1, first, end);
        for (uint64_t i = first; i < end; i++)
            model[i] = serial;
        uint64_t found[MODEL_BLOCKS] = {0};
        look();
        for (size_t i = 0; i < row_count; i++) {
            assert_true(rows[i].first < rows[i].end && rows[i].end <= MODEL_BLOCKS);
            assert_true(i == 0 || rows[i - 1].end <= rows[i].first);
            for (uint64_t b = rows[i].first; b < rows[i].end; b++)
                found[b] = rows[i].serial;
        }
        assert_memory_equal(found, model, sizeof model);
    }
    assert_false(more);
}

static void what_finds_no_room_is_said(void **context)
{
    (void)context;
    for (uint64_t i = 0; i < DAMAGES_MAX; i++)
        add(1, 2 * i, 2 * i + 1, 3);
    look();
    assert_false(more);
    add(1, 2 * DAMAGES_MAX, 2 * DAMAGES_MAX + 1, 3);
    look();
    assert_true(more);
    assert_int_equal(row_count, DAMAGES_MAX);
    damages_set_pass(&damages, 2, true, false);
    look();
    assert_true(more);
    damages_set_pass(&damages, 3, true, true);
    look();
    assert_false(more);
}

/* One long row of each kind, and no room beside them. */
static void fill_up(void)
{
    damages_set_pass(&damages, 1, true, true);
    add(1, 0, 100, 3);
    damages_add(&damages, &(struct damage){.kind = DAMAGE_STORED, .fault = DAMAGE_CHANGED, .owner = 9, .end = 100});
    for (uint64_t i = 0; i < DAMAGES_MAX - 2; i++)
        add(2, 2 * i, 2 * i + 1, 3);
    look();
    assert_int_equal(row_count, DAMAGES_MAX);
    assert_false(more);
}

static void assert_long_rows(void)
{
    look();
    assert_int_equal(row_count, DAMAGES_MAX);
    assert_true(rows[0].first == 0 && rows[0].end == 100);
    for (uint32_t at = 0; at < 100; at++)
        assert_true(damages_holds(&damages, 9, at));
}

static void a_full_ledger_keeps_a_row_of_which_a_part_is_found_again(void **context)
{
    (void)context;
    const uint64_t parts[][2] = {{0, 1}, {50, 51}, {99, 100}, {90, 110}};
    fill_up();
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        add(1, parts[i][0], parts[i][1], 4);
        damages_add(
            &damages,
            &(struct damage){
                .kind = DAMAGE_STORED, .fault = DAMAGE_CHANGED, .owner = 9, .first = parts[i][0], .end = parts[i][1]});
        damages_name(&damages, 9, parts[i][0], parts[i][1]);
        assert_long_rows();
        assert_true(more);
    }
    damages_set_pass(&damages, 2, true, true);
    add(1, 7, 8, 3);
    end_pass(2);
    look();
    assert_int_equal(row_count, 1);
    assert_int_equal(rows[0].end, 100);
}

static void a_full_ledger_keeps_what_lies_behind_an_overwritten_middle(void **context)
{
    (void)context;
    fill_up();
    cut(1, 40, 50);
    damages_cut(&damages, DAMAGE_STORED, 9, 0, 40, 50);
    assert_long_rows();
    assert_true(more);
    cut(2, 0, 1); /* room for one */
    cut(1, 40, 50);
    look();
    assert_int_equal(row_count, DAMAGES_MAX);
    assert_true(rows[0].end == 40 && rows[1].first == 50 && rows[1].end == 100);
}

static void what_was_not_saved_in_full_may_hold_every_address(void **context)
{
    (void)context;
    damages_set_more(&damages);
    assert_true(damages_holds(&damages, 10, 3));
    damages_set_pass(&damages, 1, true, true);
    end_pass(1);
    assert_false(damages_holds(&damages, 10, 3));
}

static void stored_add(uint64_t serial, uint64_t first, uint64_t end)
{
    damages_add(
        &damages,
        &(struct damage){.kind = DAMAGE_STORED, .fault = DAMAGE_CHANGED, .owner = serial, .first = first, .end = end});
}

/* What is not listed must be no hit either. */
static void a_full_ledger_holds_every_address_until_a_scrub_went_through(void **context)
{
    (void)context;
    fill_up();
    stored_add(9, 40, 50);
    assert_false(damages_holds(&damages, 10, 0));
    stored_add(10, 3, 4);
    assert_true(damages_holds(&damages, 10, 3));
    assert_true(damages_holds(&damages, 11, 0));
    end_pass(1);
    assert_true(damages_holds(&damages, 10, 3));
    damages_set_pass(&damages, 2, true, true);
    assert_true(damages_holds(&damages, 10, 3));
    stored_add(10, 3, 4); /* this pass finds nothing else, but it finds no room either */
    end_pass(2);
    assert_true(damages_holds(&damages, 11, 0));
    damages_set_pass(&damages, 3, true, true);
    stored_add(10, 3, 4);
    end_pass(3);
    assert_true(damages_holds(&damages, 10, 3));
    assert_false(damages_holds(&damages, 11, 0));
}

static void each_row_is_told_once(void **context)
{
    (void)context;
    size_t count;
    add(1, 5, 6, 3);
    free(damages_take_untold(&damages, &count));
    assert_int_equal(count, 1);
    add(1, 5, 6, 3);
    assert_null(damages_take_untold(&damages, &count));
    add(1, 6, 7, 3);
    free(damages_take_untold(&damages, &count));
    assert_int_equal(count, 1);
    look();
    assert_int_equal(row_count, 1); /* told, they are one */
    assert_true(rows[0].first == 5 && rows[0].end == 7);
}

static void a_pass_drops_what_it_did_not_find_again(void **context)
{
    (void)context;
    add(1, 5, 10, 3);
    damages_set_pass(&damages, 1, true, true);
    add(1, 7, 8, 3);
    look();
    assert_int_equal(row_count, 3);
    end_pass(1);
    look();
    assert_int_equal(row_count, 1);
    assert_true(rows[0].first == 7 && rows[0].end == 8);
}

static void a_pass_that_another_one_followed_ends_nothing(void **context)
{
    (void)context;
    add(1, 5, 10, 3);
    damages_set_pass(&damages, 2, true, true);
    assert_false(damages_end_pass(&damages, 1));
    assert_true(damages.naming);
    add(1, 20, 21, 3);
    assert_true(damages_end_pass(&damages, 2));
    assert_false(damages.naming);
    look();
    assert_int_equal(row_count, 1);
    assert_true(rows[0].first == 20 && rows[0].pass == 2);
}

static void stored_bytes_are_named_by_pieces(void **context)
{
    (void)context;
    damages_add(&damages,
                &(struct damage){.kind = DAMAGE_STORED, .fault = 1, .owner = 9, .first = 100, .end = 400, .serial = 9});
    damages_name(&damages, 9, 200, 300);
    damages_name(&damages, 9, 200, 300);
    damages_name(&damages, 8, 0, 1000);
    look();
    assert_int_equal(row_count, 3);
    assert_true(rows[1].named && rows[1].first == 200 && rows[1].end == 300);
    assert_false(rows[0].named || rows[2].named);
    for (uint32_t offset = 100; offset < 400; offset += 100)
        assert_true(damages_holds(&damages, 9, offset));
    assert_false(damages_holds(&damages, 9, 99) || damages_holds(&damages, 9, 400) || damages_holds(&damages, 8, 200));
    free(rows);
    assert_int_equal(damages_copy(&damages, false, &rows, &row_count, &more), ERROR_NONE);
    assert_int_equal(row_count, 2); /* what is named is shown by other rows */
    end_pass(1);
    assert_false(damages_holds(&damages, 9, 200));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_empty_ledger_takes_cuts),
        TEST(neighbours_of_one_segment_are_one_row),
        TEST(an_overwritten_middle_splits_a_row),
        TEST(random_changes_are_what_a_plain_list_says),
        TEST(what_finds_no_room_is_said),
        TEST(a_full_ledger_keeps_a_row_of_which_a_part_is_found_again),
        TEST(what_was_not_saved_in_full_may_hold_every_address),
        TEST(a_full_ledger_holds_every_address_until_a_scrub_went_through),
        TEST(a_full_ledger_keeps_what_lies_behind_an_overwritten_middle),
        TEST(each_row_is_told_once),
        TEST(a_pass_drops_what_it_did_not_find_again),
        TEST(a_pass_that_another_one_followed_ends_nothing),
        TEST(stored_bytes_are_named_by_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
