/*
 * Space on the smallest group: whatever is written, trimmed and opened again, a merge of what was admitted finds its
 * segments; the writer is told that there is no space, the group is never taken out of service. And coming and going
 * costs nothing that lasts.
 */
#include "tests/unit/group_fixture.h"

#include "engine/group/merge.h"

#define SMALLEST    (((uint64_t)DEVICE_SLOTS_MIN << SEGMENT_SHIFT_MIN) + 2 * AREA_SIZE)
#define BLOCKS      24576
#define FAR_LEAVES  128 /* leaves below one inner node of the lowest level */
#define UNITS       (BLOCKS / UNIT_CHUNKS)

static uint64_t model[BLOCKS]; /* seeds; 0: a hole */
static uint64_t seed, next_seed;
static uint64_t stride; /* between the first blocks of two units */

static struct fixture *begin(uint32_t devices, uint64_t size)
{
    memset(model, 0, sizeof model);
    seed = 11;
    next_seed = 1;
    stride = UNIT_CHUNKS;
    return fixture_begin(devices, size, true);
}

static int setup(void **state)
{
    *state = begin(1, SMALLEST);
    return 0;
}

static int setup_two(void **state)
{
    *state = begin(2, SMALLEST);
    return 0;
}

static int setup_large(void **state)
{
    *state = begin(1, 4 * SMALLEST);
    return 0;
}

static uint64_t block_of(uint64_t unit)
{
    return unit * stride;
}

static void expect_in_service(struct fixture *f)
{
    if (group_is_fenced(f->group))
        fail_msg("the group is out of service");
}

/* ERROR_NONE or ERROR_NO_SPACE. */
static enum error overwrite(struct fixture *f, uint64_t unit)
{
    uint64_t seeds[UNIT_CHUNKS];
    unsigned count = 1 + (unsigned)fixture_below(&seed, UNIT_CHUNKS);
    for (unsigned i = 0; i < count; i++)
        seeds[i] = next_seed++;
    enum error error = fixture_try_write(f, COMPONENT, block_of(unit), seeds, count, NULL);
    expect_in_service(f);
    if (error != ERROR_NO_SPACE)
        assert_int_equal(error, ERROR_NONE);
    for (unsigned i = 0; i < count && !error; i++)
        model[unit * UNIT_CHUNKS + i] = seeds[i];
    return error;
}

static enum error trim(struct fixture *f, uint64_t unit, uint64_t count)
{
    enum error error = fixture_try_holes(f, COMPONENT, block_of(unit), block_of(unit + count));
    expect_in_service(f);
    if (error != ERROR_NO_SPACE)
        assert_int_equal(error, ERROR_NONE);
    else
        return error;
    memset(model + unit * UNIT_CHUNKS, 0, count * UNIT_CHUNKS * sizeof *model);
    return error;
}

static void expect_some(struct fixture *f, uint64_t step)
{
    for (uint64_t i = fixture_below(&seed, step); i < BLOCKS; i += step)
        fixture_expect(f, COMPONENT, block_of(i / UNIT_CHUNKS) + i % UNIT_CHUNKS, model[i]);
}

static void reopen(struct fixture *f, bool crash)
{
    if (crash) {
        assert_int_equal(group_sync(f->group), ERROR_NONE);
        fixture_crash(f);
    } else {
        fixture_close(f);
    }
    fixture_open(f);
    expect_in_service(f);
}

/* Overwrites at random, with a trim where there is no space, `trims` times; or until everything was overwritten
 * twice, where the cleaner keeps up. */
static void churn(struct fixture *f, unsigned trims)
{
    for (uint64_t writes = 0; trims > 0 && writes < 2 * UNITS; writes++) {
        if (overwrite(f, fixture_below(&seed, UNITS)) == ERROR_NONE)
            continue;
        uint64_t count = 1 + fixture_below(&seed, UINT64_C(1) << fixture_below(&seed, 12));
        uint64_t unit = fixture_below(&seed, UNITS - count);
        (void)trim(f, unit, count);
        trims--;
    }
}

/* After all of that, what is trimmed can be written again. */
static void expect_recovery(struct fixture *f)
{
    assert_int_equal(trim(f, 0, UNITS), ERROR_NONE);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(group_publish(f->group), ERROR_NONE);
    for (uint64_t unit = 0; unit < 1000; unit++)
        assert_int_equal(overwrite(f, unit), ERROR_NONE);
    expect_some(f, 7);
}

static void rounds_run(struct fixture *f, unsigned rounds)
{
    for (unsigned round = 0; round < rounds; round++) {
        churn(f, 4);
        if (round % 2)
            assert_int_equal(group_publish(f->group), ERROR_NONE);
        expect_some(f, 211);
        reopen(f, fixture_below(&seed, 2));
    }
    expect_some(f, 7);
}

static void random_overwrites_trims_and_restarts_fence_nothing(void **state)
{
    rounds_run(*state, 2);
}

/* Each unit below an inner node of its own, which is written twice. */
static void scattered_overwrites_trims_and_restarts_fence_nothing(void **state)
{
    stride = FAR_LEAVES * MAP_LEAF_ENTRIES;
    rounds_run(*state, 2);
}

/* … and below another one of the level above. */
static void far_scattered_overwrites_trims_and_restarts_fence_nothing(void **state)
{
    stride = (uint64_t)FAR_LEAVES * FAR_LEAVES * MAP_LEAF_ENTRIES;
    rounds_run(*state, 2);
}

static void crashes_of_a_full_group_leave_it_usable(void **state)
{
    struct fixture *f = *state;
    churn(f, 1);
    for (unsigned i = 0; i < 20; i++) {
        reopen(f, true);
        (void)overwrite(f, fixture_below(&seed, UNITS));
    }
    expect_recovery(f);
}

/* ---- what a merge may write ------------------------------------------------------------------------------------------ */

static uint64_t merge_written(struct fixture *f)
{
    return f->group->meta.bytes + f->group->twin.bytes;
}

/* Publishes, and expects that admission foresaw what the merge wrote. */
static void expect_foreseen(struct fixture *f, const char *what)
{
    mutex_lock(&f->group->lock);
    assert_null(f->group->view->frozen);
    uint64_t foreseen = group_merge_bytes(f->group, f->group->view->active, NULL, release_references);
    uint64_t before = merge_written(f);
    mutex_unlock(&f->group->lock);
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    uint64_t written = merge_written(f) - before;
    if (written > foreseen)
        fail_msg("%s: the merge wrote %llu bytes, %llu were foreseen", what, (unsigned long long)written,
                 (unsigned long long)foreseen);
}

/* `count` writes, `apart` blocks from each other, in no order. */
static void write_apart(struct fixture *f, uint64_t count, uint64_t apart)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t one = next_seed++;
        assert_int_equal(fixture_try_write(f, COMPONENT, (i * 7919 % count) * apart, &one, 1, NULL), ERROR_NONE);
    }
}

static void a_merge_writes_no_more_than_was_foreseen(void **state)
{
    struct fixture *f = *state;
    for (unsigned level = 0; level < 4; level++) { /* further apart than objects are large */
        uint64_t apart = level == 0 ? 1 : (uint64_t)MAP_LEAF_ENTRIES << (7 * (level - 1));
        write_apart(f, 1500, apart);
        expect_foreseen(f, "fresh blocks");
        write_apart(f, 1500, apart);
        expect_foreseen(f, "overwritten blocks");
        write_apart(f, 30, 50 * apart);
        expect_foreseen(f, "some of them");
        for (uint64_t i = 0; i < 1500; i += 3)
            fixture_holes(f, COMPONENT, i * apart, (i + 1) * apart);
        expect_foreseen(f, "trims in pieces");
        fixture_holes(f, COMPONENT, 0, 1500 * apart);
        expect_foreseen(f, "one trim of all");
        assert_int_equal(group_publish(f->group), ERROR_NONE);
        assert_int_equal(group_publish(f->group), ERROR_NONE);
    }
}

static void many_references_are_foreseen(void **state)
{
    struct fixture *f = *state;
    fixture_component(f, COMPONENT + 1, COMPONENT_LIVE);
    for (unsigned round = 0; round < 3; round++) {
        for (uint64_t unit = 0; unit < 2000; unit++)
            assert_int_equal(overwrite(f, unit), ERROR_NONE);
        expect_foreseen(f, "units");
        for (uint64_t i = 0; i < 100000; i++) {
            uint64_t from = fixture_below(&seed, 8000);
            struct map_entry entry = model[from] ? fixture_entry(f, COMPONENT, from) : (struct map_entry){0};
            if (!entry_is_hole(entry))
                fixture_refer(f, COMPONENT + 1, i, entry);
        }
        expect_foreseen(f, "references");
    }
}

/* Numbers below `count` in no order. */
static uint64_t *shuffled(uint64_t count)
{
    uint64_t *numbers = calloc(count, sizeof *numbers);
    assert_non_null(numbers);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t j = fixture_below(&seed, i + 1);
        numbers[i] = numbers[j];
        numbers[j] = i;
    }
    return numbers;
}

/* A leaf costs little, the two copies of the full node above it much. */
static void leaves_below_full_inner_nodes_are_foreseen(void **state)
{
    struct fixture *f = *state;
    const uint64_t parents = 500, leaves = parents * NODE_FANOUT, parts = 16;
    struct map_entry entry = fixture_write(f, COMPONENT, 0, 1);
    uint64_t *order = shuffled(leaves);
    for (uint64_t part = 0; part < parts; part++) {
        for (uint64_t i = part; i < leaves; i += parts)
            fixture_refer(f, COMPONENT, order[i] * MAP_LEAF_ENTRIES, entry);
        expect_foreseen(f, "full inner nodes");
    }
    free(order);
    order = shuffled(parents);
    for (uint64_t i = 0; i < parents; i++)
        fixture_refer(f, COMPONENT, order[i] * NODE_FANOUT * MAP_LEAF_ENTRIES + 1, entry);
    free(order);
    expect_foreseen(f, "one leaf below each");
}

/* All segments are nearly full of what is alive, and each overwrite takes a little of one. */
static void a_group_that_is_full_in_order_takes_overwrites_in_no_order(void **state)
{
    struct fixture *f = *state;
    uint64_t units = 0, seeds[UNIT_CHUNKS];
    for (enum error error = ERROR_NONE; !error; units += !error) {
        for (unsigned i = 0; i < UNIT_CHUNKS; i++)
            seeds[i] = next_seed++;
        error = fixture_try_write(f, COMPONENT, units * UNIT_CHUNKS, seeds, UNIT_CHUNKS, NULL);
    }
    f->overwrites = true;
    uint64_t *order = shuffled(units);
    for (uint64_t n = 0; n < units; n++) {
        for (unsigned i = 0; i < UNIT_CHUNKS; i++)
            seeds[i] = next_seed++;
        enum error error = fixture_try_write(f, COMPONENT, order[n] * UNIT_CHUNKS, seeds, UNIT_CHUNKS, NULL);
        if (error)
            fail_msg("overwrite %llu of %llu units: %s", (unsigned long long)n, (unsigned long long)units,
                     error_sentence(error));
    }
    free(order);
}

/* With counts over many pages a whole release would write more than there is; a merge makes it a small one. */
static void a_range_to_release_stops_neither_writers_nor_the_cleaner(void **state)
{
    struct fixture *f = *state;
    for (uint64_t unit = 0; unit < 2000; unit++)
        assert_int_equal(overwrite(f, unit), ERROR_NONE);
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    mutex_lock(&f->group->lock);
    cids_saw(&f->group->cids, UINT64_C(1) << 24);
    mutex_unlock(&f->group->lock);
    assert_int_equal(trim(f, 500, 1500), ERROR_NONE);
    for (uint64_t unit = 0; unit < 500; unit++) {
        mutex_lock(&f->group->lock);
        uint64_t room = group_clean_room(f->group);
        mutex_unlock(&f->group->lock);
        assert_true(room > 0);
        assert_int_equal(overwrite(f, unit), ERROR_NONE);
    }
    expect_some(f, 7);
}

/* What the keeper writes after some idle time. */
static void state_durable(struct fixture *f)
{
    mutex_lock(&f->group->lock);
    assert_true(log_is_ready(&f->group->journal));
    uint64_t ticket = log_close(&f->group->journal, true);
    mutex_unlock(&f->group->lock);
    assert_int_equal(log_advance(&f->group->journal), ERROR_NONE);
    assert_int_equal(log_wait(&f->group->journal, ticket), ERROR_NONE);
}

static void idle_crashes_of_a_full_group_leave_it_usable(void **state)
{
    struct fixture *f = *state;
    churn(f, 1);
    for (unsigned i = 0; i < 20; i++) {
        state_durable(f);
        reopen(f, true);
    }
    expect_recovery(f);
}

/* How many fresh units a group takes that was opened and closed so often after its first writes. */
static uint64_t filled_after(unsigned cycles)
{
    struct fixture *f = begin(1, SMALLEST);
    enum error error = ERROR_NONE;
    uint64_t unit = 0;
    for (; unit < 100; unit++)
        assert_int_equal(overwrite(f, unit), ERROR_NONE);
    for (unsigned i = 0; i < cycles; i++)
        reopen(f, false);
    for (; !error; unit++) {
        uint64_t seeds[UNIT_CHUNKS] = {4 * unit + 1, 4 * unit + 2, 4 * unit + 3, 4 * unit + 4};
        error = fixture_try_write(f, COMPONENT, block_of(unit), seeds, UNIT_CHUNKS, NULL);
    }
    assert_int_equal(error, ERROR_NO_SPACE);
    expect_in_service(f);
    fixture_end(f);
    return unit;
}

static void coming_and_going_costs_no_space(void **state)
{
    (void)state;
    uint64_t few = filled_after(3), many = filled_after(200);
    assert_true(few > 1000);
    assert_true(many >= few * 19 / 20);
}

#define TEST(name, begin) cmocka_unit_test_setup_teardown(name, begin, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_merge_writes_no_more_than_was_foreseen, setup_large),
        TEST(leaves_below_full_inner_nodes_are_foreseen, setup_large),
        TEST(many_references_are_foreseen, setup_large),
        TEST(a_group_that_is_full_in_order_takes_overwrites_in_no_order, setup_large),
        TEST(a_range_to_release_stops_neither_writers_nor_the_cleaner, setup),
        TEST(random_overwrites_trims_and_restarts_fence_nothing, setup),
        TEST(random_overwrites_trims_and_restarts_fence_nothing, setup_two),
        TEST(scattered_overwrites_trims_and_restarts_fence_nothing, setup),
        TEST(scattered_overwrites_trims_and_restarts_fence_nothing, setup_two),
        TEST(far_scattered_overwrites_trims_and_restarts_fence_nothing, setup),
        TEST(crashes_of_a_full_group_leave_it_usable, setup),
        TEST(idle_crashes_of_a_full_group_leave_it_usable, setup),
        cmocka_unit_test(coming_and_going_costs_no_space),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
