/* Admission: a full group refuses writers and nobody else, and what is freed can be written again. */
#include "base/clock.h"
#include "engine/group/merge.h"
#include "engine/group/view.h"
#include "tests/unit/group_fixture.h"

#define SMALL ((UINT64_C(48) << 22) + 2 * AREA_SIZE)

static int setup(void **state)
{
    *state = fixture_begin(1, SMALL, true);
    return 0;
}

/* Fresh blocks until there is no space; returns how many units of four were taken. */
static uint64_t fill(struct fixture *f, uint64_t from)
{
    for (uint64_t i = from;; i++) {
        uint64_t seeds[4] = {4 * i + 1, 4 * i + 2, 4 * i + 3, 4 * i + 4};
        enum error error = fixture_try_write(f, COMPONENT, 4 * i, seeds, 4, NULL);
        if (error == ERROR_NO_SPACE)
            return i;
        assert_int_equal(error, ERROR_NONE);
    }
}

static void a_full_group_still_reads_frees_flushes_and_reopens(void **state)
{
    struct fixture *f = *state;
    uint64_t units = fill(f, 0);
    assert_true(units > 1000);
    uint64_t more = fill(f, units); /* what the merges that were waited for gave back */
    assert_true(more < units * 5 / 4);
    for (uint64_t i = 0; i < units; i += 37)
        fixture_expect(f, COMPONENT, 4 * i + 2, 4 * i + 3);
    assert_int_equal(group_sync(f->group), ERROR_NONE);
    fixture_holes(f, COMPONENT, 4, 5);
    fixture_expect(f, COMPONENT, 4, 0);
    fixture_close(f);
    fixture_open(f);
    fixture_expect(f, COMPONENT, 4, 0);
    fixture_expect(f, COMPONENT, 5, 6);
    assert_true(fill(f, more) < units * 5 / 4);
    for (uint64_t i = 2; i < units; i += 37)
        fixture_expect(f, COMPONENT, 4 * i + 2, 4 * i + 3);
}

static void a_full_group_survives_a_crash(void **state)
{
    struct fixture *f = *state;
    uint64_t units = fill(f, 0);
    assert_int_equal(group_sync(f->group), ERROR_NONE);
    for (unsigned round = 0; round < 3; round++) {
        fixture_crash(f);
        fixture_open(f);
        for (uint64_t i = 0; i < units; i += 101)
            fixture_expect(f, COMPONENT, 4 * i, 4 * i + 1);
    }
}

static void what_is_freed_can_be_written_again(void **state)
{
    struct fixture *f = *state;
    uint64_t first = fill(f, 0);
    for (unsigned round = 0; round < 3; round++) {
        fixture_holes(f, COMPONENT, 0, UINT64_C(1) << 30);
        /* Data at the second publish; the nodes and pages that those replaced at later ones. */
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(group_publish(f->group), ERROR_NONE);
        assert_int_equal(f->group->checkpoint.chunks_live, 0);
        uint64_t again = fill(f, 0);
        assert_true(again > first / 2);
    }
}

static void overwriting_a_quarter_of_the_space_goes_on_for_ever(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 0; i < 8 * 1024; i++) {
        uint64_t seeds[4] = {4 * i + 1, 4 * i + 2, 4 * i + 3, 4 * i + 4};
        assert_int_equal(fixture_try_write(f, COMPONENT, i % 1024 * 4, seeds, 4, NULL), ERROR_NONE);
    }
    for (uint64_t i = 7 * 1024; i < 8 * 1024; i += 11)
        fixture_expect(f, COMPONENT, i % 1024 * 4, 4 * i + 1);
}

/* Each in a leaf of its own, so that what is kept for the merge grows to all that is free: a merge empties the table. */
static void what_only_the_next_merge_needs_refuses_nobody(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 0; i < 30000; i++)
        fixture_write(f, COMPONENT, i * MAP_LEAF_ENTRIES, i + 1);
    for (uint64_t i = 0; i < 30000; i += 101)
        fixture_expect(f, COMPONENT, i * MAP_LEAF_ENTRIES, i + 1);
}

/* The fewest free segments with which somebody may write. */
static uint64_t least_free(struct fixture *f)
{
    struct group *group = f->group;
    mutex_lock(&group->lock);
    uint32_t total = group->segments.free_total, least = 0;
    for (group->segments.free_total = 0; !group_has_space(group, (struct commit_need){COMMIT_GROWS, NULL}); least++)
        group->segments.free_total++;
    group->segments.free_total = total;
    mutex_unlock(&group->lock);
    return least;
}

/* Half a merge cannot be taken back: what it writes must be there whenever it begins. */
static void who_writes_leaves_what_the_merge_of_the_tables_needs(void **state)
{
    struct fixture *f = *state;
    uint64_t before = least_free(f), blocks = 0;
    for (; blocks < 6000; blocks++) /* each with a leaf and inner nodes of its own */
        fixture_write(f, COMPONENT, blocks * MAP_LEAF_ENTRIES * NODE_FANOUT, blocks + 1);
    assert_true(least_free(f) > before);
}

/* As if commits might take none, and so many were missing besides; returns how many were there. */
static uint32_t leave_none(struct fixture *f, uint32_t missing)
{
    mutex_lock(&f->group->lock);
    uint32_t room = (uint32_t)group_commit_room(f->group) + missing;
    f->group->segments.free_total -= room;
    mutex_unlock(&f->group->lock);
    return room;
}

static void give_back(struct fixture *f, uint32_t segments)
{
    mutex_lock(&f->group->lock);
    f->group->segments.free_total += segments;
    mutex_unlock(&f->group->lock);
}

struct waiter {
    struct fixture *fixture;
    enum error error;
    _Atomic bool done;
};

static void await_space(void *argument)
{
    struct waiter *waiter = argument;
    waiter->error = group_wait_space(waiter->fixture->group, (struct commit_need){COMMIT_GROWS, NULL});
    atomic_store(&waiter->done, true);
}

static void write_units(struct fixture *f, uint64_t units)
{
    for (uint64_t i = 0; i < units; i++) {
        uint64_t seeds[4] = {4 * i + 1, 4 * i + 2, 4 * i + 3, 4 * i + 4};
        assert_int_equal(fixture_try_write(f, COMPONENT, 4 * i, seeds, 4, NULL), ERROR_NONE);
    }
    assert_int_equal(group_publish(f->group), ERROR_NONE);
}

/* There is nothing to publish, and what was published is free as soon as a reader is done. */
static void who_waits_for_space_waits_for_views_that_hold_it(void **state)
{
    struct fixture *f = *state;
    struct waiter waiter = {.fixture = f};
    struct thread thread;
    write_units(f, 2000);
    fixture_holes(f, COMPONENT, 0, 8000);
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    struct view *view = view_take(f->group);
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    mutex_lock(&f->group->lock);
    assert_true(f->group->pace.freeing > 2);
    mutex_unlock(&f->group->lock);
    uint32_t taken = leave_none(f, 0);
    assert_int_equal(thread_start(&thread, "waiter", await_space, &waiter), ERROR_NONE);
    clock_sleep(100 * CLOCK_MILLISECOND);
    view_put(f->group, view);
    thread_join(&thread);
    give_back(f, taken);
    assert_int_equal(waiter.error, ERROR_NONE);
}

/* Bytes that are not alive in segments that are covered. */
static uint64_t slack(struct fixture *f)
{
    uint64_t size = segment_size(&f->group->segments), bytes = 0;
    mutex_lock(&f->group->lock);
    for (uint32_t i = 0; i < f->group->segments.count; i++) {
        const struct segment *segment = &f->group->segments.table[i];
        if (segment->state == SLOT_SEALED && segment->generation <= f->group->published_generation)
            bytes += size - segment->live - segment->pages;
    }
    mutex_unlock(&f->group->lock);
    return bytes;
}

/* Of each of the segments little is dead, of all together a little more than one. */
static void who_waits_for_space_waits_for_a_single_segment_too(void **state)
{
    struct fixture *f = *state;
    struct waiter waiter = {.fixture = f};
    uint64_t size = segment_size(&f->group->segments), units = 2400, step = 40;
    write_units(f, units);
    for (uint64_t i = 0; slack(f) < size * 5 / 4; i++) {
        assert_true(i < step);
        for (uint64_t unit = i; unit < units; unit += step)
            fixture_holes(f, COMPONENT, 4 * unit, 4 * unit + 4);
        assert_int_equal(group_publish(f->group), ERROR_NONE);
    }
    assert_true(slack(f) < 2 * size);
    uint32_t taken = leave_none(f, 0);
    await_space(&waiter);
    give_back(f, taken);
    assert_int_equal(waiter.error, ERROR_NONE);
    for (uint64_t unit = step - 1; unit < units; unit += step)
        fixture_expect(f, COMPONENT, 4 * unit, 4 * unit + 1);
}

/* As many crashes in a full group leave it: each open begins segments of which little comes to be alive. */
static void a_segment_of_room_is_enough_for_segments_that_are_nearly_empty(void **state)
{
    struct fixture *f = *state;
    const uint64_t units = 3000, step = 50;
    write_units(f, units);
    for (uint64_t unit = 0; unit < units; unit += step)
        fixture_holes(f, COMPONENT, 4 * unit + 4, 4 * (unit + step));
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    uint32_t taken = leave_none(f, 7);
    mutex_lock(&f->group->lock);
    assert_int_equal(group_clean_room(f->group), 1);
    mutex_unlock(&f->group->lock);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(group_publish(f->group), ERROR_NONE);
    give_back(f, taken);
    assert_true(atomic_load(&f->group->totals.segments_cleaned) > 2);
    for (uint64_t unit = 0; unit < units; unit += step)
        fixture_expect(f, COMPONENT, 4 * unit + 1, 4 * unit + 2);
}

/* Two segments, for what is reserved; and trims may take two more. */
static void what_was_promised_may_take_more_segments_than_others(void **state)
{
    struct fixture *f = *state;
    static const _Atomic uint64_t component = COMPONENT;
    struct reservation promised = {.component = &component, .blocks = 1};
    struct commit_need needs[] = {{COMMIT_GROWS, NULL}, {COMMIT_GROWS, &promised}, {COMMIT_FREES, NULL}};
    uint64_t least[COUNT_OF(needs)];
    mutex_lock(&f->group->lock);
    uint32_t total = f->group->segments.free_total;
    for (size_t i = 0; i < COUNT_OF(needs); i++)
        for (f->group->segments.free_total = 0; !group_has_space(f->group, needs[i]);)
            least[i] = ++f->group->segments.free_total;
    f->group->segments.free_total = total;
    mutex_unlock(&f->group->lock);
    assert_int_equal(least[1], least[0] - 2);
    assert_int_equal(least[2], least[0] - 4);
}

static void a_fenced_group_answers_nothing(void **state)
{
    struct fixture *f = *state;
    uint64_t one = 1;
    fixture_write(f, COMPONENT, 1, 1);
    assert_int_equal(group_fence(f->group, ERROR_IO), ERROR_FENCED);
    assert_int_equal(fixture_try_write(f, COMPONENT, 1, &one, 1, NULL), ERROR_FENCED);
    assert_int_equal(group_sync(f->group), ERROR_FENCED);
    assert_int_equal(group_publish(f->group), ERROR_FENCED);
    assert_int_equal(group_wait_room(f->group), ERROR_FENCED);
}

static void free_add(struct fixture *f, int64_t segments)
{
    mutex_lock(&f->group->lock);
    f->group->segments.free_total = (uint32_t)(f->group->segments.free_total + segments);
    mutex_unlock(&f->group->lock);
}

/* Here no table can be folded in, since a reader has the one that the next would be; what a piece of the cleaner frees
 * meanwhile, or another reader gives back, is enough to go on with. */
static void who_waits_for_space_takes_what_comes_before_the_publish(void **state)
{
    struct fixture *f = *state;
    struct waiter waiter = {.fixture = f};
    struct thread thread;
    fixture_write(f, COMPONENT, 1, 1);
    struct view *view = view_take(f->group);
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    fixture_write(f, COMPONENT, 2, 2);
    mutex_lock(&f->group->lock);
    int64_t taken = (int64_t)group_commit_room(f->group);
    mutex_unlock(&f->group->lock);
    free_add(f, -taken);
    assert_int_equal(thread_start(&thread, "waiter", await_space, &waiter), ERROR_NONE);
    clock_sleep(100 * CLOCK_MILLISECOND);
    bool early = atomic_load(&waiter.done);
    free_add(f, taken);
    for (unsigned i = 0; i < 10000 && !atomic_load(&waiter.done); i++)
        clock_sleep(CLOCK_MILLISECOND);
    bool done = atomic_load(&waiter.done);
    view_put(f->group, view);
    thread_join(&thread);
    assert_false(early);
    assert_true(done);
    assert_int_equal(waiter.error, ERROR_NONE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_full_group_still_reads_frees_flushes_and_reopens),
        TEST(a_full_group_survives_a_crash),
        TEST(what_is_freed_can_be_written_again),
        TEST(overwriting_a_quarter_of_the_space_goes_on_for_ever),
        TEST(what_only_the_next_merge_needs_refuses_nobody),
        TEST(who_writes_leaves_what_the_merge_of_the_tables_needs),
        TEST(who_waits_for_space_waits_for_views_that_hold_it),
        TEST(who_waits_for_space_waits_for_a_single_segment_too),
        TEST(a_segment_of_room_is_enough_for_segments_that_are_nearly_empty),
        TEST(what_was_promised_may_take_more_segments_than_others),
        TEST(who_waits_for_space_takes_what_comes_before_the_publish),
        TEST(a_fenced_group_answers_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
