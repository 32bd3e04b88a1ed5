/* The model of the crash tests: what it must catch, it catches; what is allowed, it allows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "tests/crash/model.h"

static struct model_clock now;
static struct cell cell;

static int set_up(void **state)
{
    (void)state;
    now = (struct model_clock){0};
    memset(&cell, 0, sizeof(cell));
    cell_settle(&cell, &now, 1);
    return 0;
}

static struct version *write_answered(uint64_t hash)
{
    struct version *version = cell_begin(&cell, &now, hash);
    version_answer(version, clock_tick(&now), false);
    return version;
}

static void flush(void)
{
    flush_answer(&now, flush_begin(&now));
}

static void a_content_that_was_never_written_is_refused(void **state)
{
    (void)state;
    write_answered(2);
    assert_false(cell_survives(&cell, &now, 3));
}

static void what_is_older_than_the_flushed_is_refused(void **state)
{
    (void)state;
    write_answered(2);
    write_answered(3);
    flush();
    assert_false(cell_survives(&cell, &now, 1));
    assert_false(cell_survives(&cell, &now, 2));
    assert_true(cell_survives(&cell, &now, 3));
}

static void what_was_not_flushed_may_be_lost_or_kept(void **state)
{
    (void)state;
    write_answered(2);
    assert_true(cell_survives(&cell, &now, 1));
    assert_true(cell_survives(&cell, &now, 2));
}

static void a_flush_covers_only_what_was_answered_before_it_began(void **state)
{
    (void)state;
    struct version *version = cell_begin(&cell, &now, 2);
    uint64_t began = flush_begin(&now);
    version_answer(version, clock_tick(&now), false);
    flush_answer(&now, began);
    assert_true(cell_survives(&cell, &now, 1));
}

static void a_write_under_way_may_have_happened(void **state)
{
    (void)state;
    write_answered(2);
    cell_begin(&cell, &now, 3);
    flush();
    assert_true(cell_survives(&cell, &now, 3));
    assert_true(cell_survives(&cell, &now, 2));
    assert_false(cell_survives(&cell, &now, 1));
}

static void writes_that_overlap_in_time_have_no_order(void **state)
{
    (void)state;
    struct version *a = cell_begin(&cell, &now, 2), *b = cell_begin(&cell, &now, 3);
    version_answer(a, clock_tick(&now), false);
    version_answer(b, clock_tick(&now), false);
    flush();
    assert_true(cell_survives(&cell, &now, 2));
    assert_true(cell_survives(&cell, &now, 3));
    assert_false(cell_survives(&cell, &now, 1));
}

static void a_durable_write_stands_without_a_flush(void **state)
{
    (void)state;
    struct version *version = cell_begin(&cell, &now, 2);
    version_answer(version, clock_tick(&now), true);
    assert_false(cell_survives(&cell, &now, 1));
}

static void what_was_read_after_a_restart_stays(void **state)
{
    (void)state;
    write_answered(2);
    write_answered(3);
    cell_settle(&cell, &now, 2);
    assert_true(cell_survives(&cell, &now, 2));
    assert_false(cell_survives(&cell, &now, 3));
    assert_false(cell_survives(&cell, &now, 1));
}

static void a_dropped_write_never_was(void **state)
{
    (void)state;
    version_drop(cell_begin(&cell, &now, 2));
    assert_false(cell_survives(&cell, &now, 2));
}

static void a_failed_write_may_be_there_or_not(void **state)
{
    (void)state;
    version_fail(cell_begin(&cell, &now, 2), clock_tick(&now));
    flush();
    assert_true(cell_survives(&cell, &now, 1));
    assert_true(cell_survives(&cell, &now, 2));
    uint64_t began = clock_tick(&now);
    assert_true(cell_reads(&cell, began, 1));
    assert_true(cell_reads(&cell, began, 2));
    cell_flush(&cell);
    assert_true(cell_survives(&cell, &now, 1));
}

static void a_failed_write_is_gone_once_a_later_one_is_durable(void **state)
{
    (void)state;
    version_fail(cell_begin(&cell, &now, 2), clock_tick(&now));
    write_answered(3);
    assert_false(cell_reads(&cell, clock_tick(&now), 2));
    assert_true(cell_survives(&cell, &now, 2));
    flush();
    assert_false(cell_survives(&cell, &now, 2));
}

static void a_failed_write_that_a_restart_read_stays(void **state)
{
    (void)state;
    version_fail(cell_begin(&cell, &now, 2), clock_tick(&now));
    cell_settle(&cell, &now, 2);
    assert_false(cell_survives(&cell, &now, 1));
    write_answered(3);
    flush();
    assert_false(cell_survives(&cell, &now, 2));
}

static void a_reader_sees_what_was_answered_before(void **state)
{
    (void)state;
    write_answered(2);
    uint64_t began = clock_tick(&now);
    cell_begin(&cell, &now, 3);
    assert_false(cell_reads(&cell, began, 1));
    assert_true(cell_reads(&cell, began, 2));
    assert_true(cell_reads(&cell, began, 3));
}

static void a_full_cell_has_room_again_after_a_flush(void **state)
{
    (void)state;
    for (uint64_t hash = 2; cell_has_room(&cell, &now); hash++)
        write_answered(hash);
    flush();
    assert_true(cell_has_room(&cell, &now));
}

/* As of a snapshot. */
static void a_copy_holds_what_a_reader_saw_and_nothing_older(void **state)
{
    struct cell copy;
    (void)state;
    write_answered(2);
    write_answered(3);
    cell_copy(&copy, &cell, &now);
    write_answered(4);
    flush();
    assert_true(cell_survives(&copy, &now, 3));
    assert_false(cell_survives(&copy, &now, 2));
    assert_false(cell_survives(&copy, &now, 4));
}

static void a_copy_of_what_a_failed_write_left_holds_either(void **state)
{
    struct cell copy;
    (void)state;
    write_answered(2);
    version_fail(cell_begin(&cell, &now, 3), clock_tick(&now));
    cell_copy(&copy, &cell, &now);
    flush();
    assert_true(cell_survives(&copy, &now, 2));
    assert_true(cell_survives(&copy, &now, 3));
    assert_false(cell_survives(&copy, &now, 1));
    cell_settle(&copy, &now, 3);
    assert_false(cell_survives(&copy, &now, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_content_that_was_never_written_is_refused, set_up),
        cmocka_unit_test_setup(what_is_older_than_the_flushed_is_refused, set_up),
        cmocka_unit_test_setup(what_was_not_flushed_may_be_lost_or_kept, set_up),
        cmocka_unit_test_setup(a_copy_holds_what_a_reader_saw_and_nothing_older, set_up),
        cmocka_unit_test_setup(a_copy_of_what_a_failed_write_left_holds_either, set_up),
        cmocka_unit_test_setup(a_flush_covers_only_what_was_answered_before_it_began, set_up),
        cmocka_unit_test_setup(a_write_under_way_may_have_happened, set_up),
        cmocka_unit_test_setup(writes_that_overlap_in_time_have_no_order, set_up),
        cmocka_unit_test_setup(a_durable_write_stands_without_a_flush, set_up),
        cmocka_unit_test_setup(what_was_read_after_a_restart_stays, set_up),
        cmocka_unit_test_setup(a_dropped_write_never_was, set_up),
        cmocka_unit_test_setup(a_failed_write_may_be_there_or_not, set_up),
        cmocka_unit_test_setup(a_failed_write_is_gone_once_a_later_one_is_durable, set_up),
        cmocka_unit_test_setup(a_failed_write_that_a_restart_read_stays, set_up),
        cmocka_unit_test_setup(a_reader_sees_what_was_answered_before, set_up),
        cmocka_unit_test_setup(a_full_cell_has_room_again_after_a_flush, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
