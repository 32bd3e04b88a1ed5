/*
 * Cleaning in several pieces after one freeze (group_clean_more): each publishes what it emptied, and the record goes on
 * saying where replay begins. The group is opened by hand, so its merge thread does nothing, and each step is the test's.
 */
#include "base/clock.h"
#include "base/message.h"
#include "engine/group/follow.h"
#include "engine/group/merge.h"
#include "tests/unit/group_truth.h"

#define SMALL (((uint64_t)48 << SEGMENT_SHIFT_MIN) + 2 * AREA_SIZE)
#define LARGE (((uint64_t)512 << SEGMENT_SHIFT_MIN) + 2 * AREA_SIZE) /* a piece may move four segments */
#define UNITS 6000u /* half of them are overwritten, which are left in pieces */

static int setup_of(void **state, uint64_t size)
{
    struct fixture *f = fixture_begin(1, size, true);
    fixture_close(f);
    f->by_hand = true;
    fixture_open(f);
    *state = f;
    return 0;
}

static int setup(void **state) { return setup_of(state, SMALL); }
static int setup_large(void **state) { return setup_of(state, LARGE); }

static uint64_t seed_of(uint64_t unit, unsigned round) { return 1 + unit * UNIT_CHUNKS + ((uint64_t)round << 32); }

static void unit_write(struct fixture *f, uint64_t unit, unsigned round)
{
    uint64_t seed = seed_of(unit, round), seeds[UNIT_CHUNKS] = {seed, seed + 1, seed + 2, seed + 3};
    assert_int_equal(fixture_try_write(f, COMPONENT, unit * UNIT_CHUNKS, seeds, UNIT_CHUNKS, NULL), ERROR_NONE);
}

static void unit_expect(struct fixture *f, uint64_t unit, unsigned round)
{
    for (unsigned i = 0; i < UNIT_CHUNKS; i++)
        fixture_expect(f, COMPONENT, unit * UNIT_CHUNKS + i, seed_of(unit, round) + i);
}

static bool is_freeing(struct fixture *f)
{
    const struct segments *segments = &f->group->segments;
    bool freeing = false;
    mutex_lock(&f->group->lock);
    for (uint32_t i = 0; i < segments->count && !freeing; i++)
        freeing = segments->table[i].state == SLOT_FREEING;
    mutex_unlock(&f->group->lock);
    return freeing;
}

/* The merge's thread merges nothing, but frees slots and looks for CIDs, with a view of its own: until it has done with both,
 * slots that a publish gave back are not counted as free. */
static void freed_await(struct fixture *f)
{
    for (unsigned tries = 0; is_freeing(f); tries++) {
        assert_true(tries < 120000);
        views_reap(f->group);
        clock_sleep(CLOCK_MILLISECOND);
    }
}

/* What a freeze lacks is what the merge's thread would see to. */
static void freeze(struct fixture *f)
{
    for (;;) {
        freed_await(f);
        enum error error = group_merge_once(f->group);
        freed_await(f);
        if (error == ERROR_NONE)
            return;
        assert_int_equal(error, ERROR_AGAIN);
        assert_int_equal(log_prepare(&f->group->journal), ERROR_NONE);
        assert_int_equal(log_wait_buffer(&f->group->journal), ERROR_NONE);
    }
}

static void piece(struct fixture *f)
{
    assert_int_equal(group_clean_more(f->group), ERROR_NONE);
    freed_await(f);
}

static uint64_t cleaned(struct fixture *f) { return atomic_load(&f->group->totals.segments_cleaned); }

static bool is_short(struct fixture *f)
{
    mutex_lock(&f->group->lock);
    bool due = clean_is_due(f->group);
    mutex_unlock(&f->group->lock);
    return due;
}

/* All odd units are overwritten, so that each segment is half dead, and space is short; then one freeze empties a piece, and
 * leaves victims. Returns the end of what was written: there odd units are of round 1, even ones of round 0. */
static uint64_t first_piece(struct fixture *f)
{
    uint64_t end = UNITS;
    for (uint64_t unit = 0; unit < UNITS; unit++)
        unit_write(f, unit, unit & 1);
    freeze(f);
    for (uint64_t unit = 1; unit < UNITS; unit += 2)
        unit_write(f, unit, 1);
    freeze(f);
    while (!is_short(f)) {
        for (unsigned i = 0; i < 64; i++, end++)
            unit_write(f, end, end & 1);
        if (end % 512 < 64 && !is_short(f))
            freeze(f);
    }
    assert_int_equal(cleaned(f), 0);
    freeze(f);
    assert_true(cleaned(f) > 0);
    assert_true(f->group->clean_left_count >= 2);
    return end;
}

static void expect_all(struct fixture *f, uint64_t end)
{
    fixture_forget_cached(f);
    for (uint64_t unit = 0; unit < end; unit++)
        unit_expect(f, unit, unit & 1);
    truth_expect(f, 1);
}

static void left_add(struct fixture *f, uint32_t index)
{
    struct group *group = f->group;
    uint32_t *grown = realloc(group->clean_left, (group->clean_left_count + 1) * sizeof *grown);
    assert_non_null(grown);
    memmove(grown + 1, grown, group->clean_left_count * sizeof *grown);
    grown[0] = index;
    group->clean_left = grown;
    group->clean_left_count++;
}

static uint32_t segment_of_state(struct fixture *f, enum slot_state state, bool victim)
{
    const struct segments *segments = &f->group->segments;
    for (uint32_t i = 0; i < segments->count; i++)
        if (segments->table[i].state == state && segments->table[i].victim == victim)
            return i;
    fail_msg("there is no such segment");
    return SEGMENT_NONE;
}

static unsigned stuck(struct fixture *f)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < f->group->segments.count; i++)
        count += f->group->segments.table[i].stuck;
    return count;
}

/* ---- failures -------------------------------------------------------------------------------------------------------- */

/* What died as a whole since the freeze was given back; its slot is free, or another segment's, which nobody chose. */
static void what_is_another_segment_by_now_is_left_alone(void **state)
{
    struct fixture *f = *state;
    uint64_t end = first_piece(f);
    uint32_t slots[] = {segment_of_state(f, SLOT_FREE, false), segment_of_state(f, SLOT_OPEN, false),
                        segment_of_state(f, SLOT_SEALED, false)};
    uint64_t serials[COUNT_OF(slots)];
    for (size_t i = 0; i < COUNT_OF(slots); i++) {
        serials[i] = f->group->segments.table[slots[i]].serial;
        left_add(f, slots[i]);
    }
    uint64_t before = cleaned(f);
    piece(f);
    assert_true(cleaned(f) > before);
    assert_int_equal(stuck(f), 0);
    for (size_t i = 1; i < COUNT_OF(slots); i++) {
        assert_int_equal(f->group->segments.table[slots[i]].serial, serials[i]);
        assert_in_range(f->group->segments.table[slots[i]].state, SLOT_OPEN, SLOT_SEALED);
    }
    expect_all(f, end);
}

/* Which a device does not read stays; the others are emptied, and what stayed is read as before. */
static void a_segment_that_cannot_be_read_stays_and_the_others_go(void **state)
{
    struct fixture *f = *state;
    uint64_t end = first_piece(f);
    uint32_t bad = f->group->clean_left[0];
    uint64_t serial = f->group->segments.table[bad].serial, before = cleaned(f);
    clean_rest(f->group, 0); /* what was read ahead was read */
    fixture_refuse_reads(f, fixture_offset(f, serial, 0), segment_size(&f->group->segments), 1000);
    piece(f);
    fixture_refuse_no_more();
    assert_int_equal(f->group->segments.table[bad].serial, serial);
    assert_int_equal(stuck(f), 1);
    assert_true(f->group->segments.table[bad].stuck);
    assert_true(cleaned(f) > before);
    expect_all(f, end);
}

/* Nothing is gained where all that was left is gone or cannot be emptied: then nothing is left. */
static void where_nothing_was_left_a_piece_publishes_what_was(void **state)
{
    struct fixture *f = *state;
    uint64_t end = first_piece(f), before = cleaned(f), number = f->group->checkpoint.number;
    f->group->clean_left_count = 0;
    left_add(f, segment_of_state(f, SLOT_FREE, false));
    piece(f);
    assert_int_equal(f->group->clean_left_count, 0);
    assert_int_equal(cleaned(f), before);
    assert_int_equal(f->group->checkpoint.number, number + 1);
    expect_all(f, end);
}

/* A crash after a piece: what was committed since the freeze is in no tree, so the record must go on naming the journal. */
static void what_was_committed_since_the_freeze_survives_pieces_and_a_crash(void **state)
{
    struct fixture *f = *state;
    uint64_t end = first_piece(f);
    struct checkpoint before = f->group->checkpoint;
    for (uint64_t unit = 0; unit < 64; unit++)
        unit_write(f, 2 * unit, 2);
    assert_int_equal(group_sync(f->group), ERROR_NONE);
    piece(f);
    const struct checkpoint *now = &f->group->checkpoint;
    assert_int_equal(now->number, before.number + 1);
    assert_int_equal(now->sequence, before.sequence);
    assert_memory_equal(&now->start, &before.start, sizeof now->start);
    assert_memory_equal(now->start_tag, before.start_tag, sizeof now->start_tag);
    fixture_crash(f);
    fixture_open(f);
    for (uint64_t unit = 0; unit < end; unit++)
        unit_expect(f, unit, unit < 128 && unit % 2 == 0 ? 2 : unit & 1);
    freeze(f);
    truth_expect(f, 1);
}

/* ---- pieces -------------------------------------------------------------------------------------------------------------- */

static void each_piece_frees_some_until_nothing_is_left(void **state)
{
    struct fixture *f = *state;
    uint64_t end = first_piece(f);
    unsigned pieces = 0;
    for (; f->group->clean_left_count; pieces++) {
        size_t left = f->group->clean_left_count;
        uint64_t before = cleaned(f), generation = f->group->published_generation;
        uint32_t free_before = f->group->segments.free_total;
        for (size_t i = 0; i < left; i++)
            assert_true(f->group->segments.table[f->group->clean_left[i]].victim); /* so nobody may hit what is in it */
        piece(f);
        assert_true(cleaned(f) > before);
        assert_true(f->group->clean_left_count < left);
        assert_true(f->group->segments.free_total > free_before);
        assert_int_equal(f->group->published_generation, generation);
    }
    assert_true(pieces >= 1);
    expect_all(f, end);
    fixture_close(f);
    fixture_open(f);
    expect_all(f, end);
}

/* What is overwritten, or trimmed, while victims are left is moved nevertheless: its count is as of the freeze. */
static void what_dies_between_two_pieces_is_counted_by_the_next_freeze(void **state)
{
    struct fixture *f = *state;
    uint64_t end = first_piece(f);
    fixture_holes(f, COMPONENT, 0, UNITS / 4 * UNIT_CHUNKS);
    for (uint64_t unit = UNITS / 4; unit < UNITS / 2; unit += 8)
        unit_write(f, unit, 2);
    while (f->group->clean_left_count)
        piece(f);
    freeze(f);
    truth_expect(f, 1);
    fixture_forget_cached(f);
    for (uint64_t unit = 0; unit < UNITS / 4; unit += 5)
        fixture_expect(f, COMPONENT, unit * UNIT_CHUNKS, 0);
    for (uint64_t unit = UNITS / 4; unit < end; unit++)
        unit_expect(f, unit, unit < UNITS / 2 && unit % 8 == UNITS / 4 % 8 ? 2 : unit & 1);
}

/* A publish gives the next ones. In a group so large that one piece would take them all nobody else could begin a segment. */
static void a_piece_ends_while_half_of_the_serials_are_left_to_others(void **state)
{
    struct fixture *f = *state;
    for (uint64_t unit = 0; unit < UNITS; unit++)
        unit_write(f, unit, unit & 1);
    for (uint64_t unit = 1; unit < UNITS; unit += 2)
        unit_write(f, unit, 1);
    freeze(f);
    mutex_lock(&f->group->lock);
    f->group->segments.serial_lease = f->group->segments.serial_next + SERIAL_LEASE / 2;
    mutex_unlock(&f->group->lock);
    atomic_store(&clean_always, true); /* so many as bring two segments */
    freeze(f);
    atomic_store(&clean_always, false);
    assert_true(cleaned(f) > 0);
    assert_true(f->group->clean_left_count > 0);
    expect_all(f, UNITS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
    message_level_set((enum message_level)0);
    const struct CMUnitTest tests[] = {
        TEST(what_is_another_segment_by_now_is_left_alone),
        TEST(a_segment_that_cannot_be_read_stays_and_the_others_go),
        TEST(where_nothing_was_left_a_piece_publishes_what_was),
        TEST(what_was_committed_since_the_freeze_survives_pieces_and_a_crash),
        TEST(each_piece_frees_some_until_nothing_is_left),
        TEST(what_dies_between_two_pieces_is_counted_by_the_next_freeze),
        cmocka_unit_test_setup_teardown(a_piece_ends_while_half_of_the_serials_are_left_to_others, setup_large, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
