/* The throttle: who commits waits where the cleaner must make the space, and nobody waits while there is enough. */
#include "base/clock.h"
#include "tests/unit/group_fixture.h"

#define SMALL ((UINT64_C(48) << 22) + 2 * AREA_SIZE)
#define BYTES (UINT64_C(1) << 20)
#define RATE  (UINT64_C(16) << 20)

static int setup(void **state)
{
    *state = fixture_begin(1, SMALL, true);
    return 0;
}

/* As if so many segments were left to commits, and the cleaner made RATE. Returns those that there are. */
static uint32_t leave(struct fixture *f, uint64_t segments)
{
    struct group *group = f->group;
    mutex_lock(&group->lock);
    uint32_t before = group->segments.free_total;
    uint64_t room = group_commit_room(group);
    assert_true(room > segments);
    group->segments.free_total -= (uint32_t)(room - segments);
    group->pace = (struct pace){.clean_rate = RATE};
    mutex_unlock(&group->lock);
    return before;
}

static void give_back(struct fixture *f, uint32_t free_total)
{
    mutex_lock(&f->group->lock);
    f->group->segments.free_total = free_total;
    f->group->pace = (struct pace){0};
    mutex_unlock(&f->group->lock);
}

/* Nanoseconds that a commit waits behind one of so many bytes; more by as much as this took. */
static uint64_t price(struct fixture *f, uint64_t bytes)
{
    group_throttle(f->group, bytes);
    uint64_t before = clock_monotonic();
    group_throttle(f->group, 1);
    return clock_monotonic() - before;
}

static uint64_t price_with(struct fixture *f, uint64_t segments, uint32_t emptied)
{
    uint32_t before = leave(f, segments);
    f->group->pace.emptied = emptied;
    uint64_t wait = price(f, BYTES);
    give_back(f, before);
    return wait;
}

static void nobody_waits_while_there_is_much_space(void **state)
{
    struct fixture *f = *state;
    f->group->pace.clean_rate = RATE;
    assert_true(group_commit_room(f->group) >= 2 * group_clean_ahead(f->group));
    assert_true(price(f, UINT64_C(1) << 40) < CLOCK_SECOND / 2);
}

/* As much is free as is to be free ahead, and no less than the last few segments. */
static void commits_get_the_rate_of_the_cleaner_at_the_usual_level(void **state)
{
    struct fixture *f = *state;
    uint64_t ahead = group_clean_ahead(f->group);
    assert_true(ahead < 5);
    assert_true(price_with(f, ahead, 0) >= BYTES * CLOCK_SECOND / RATE);
}

static void the_less_is_left_the_longer_it_takes(void **state)
{
    assert_true(price_with(*state, 1, 0) > 2 * price_with(*state, 4, 0));
}

static void what_a_merge_emptied_counts_as_free_before_it_is_published(void **state)
{
    assert_true(price_with(*state, 1, 0) > 2 * price_with(*state, 1, 6));
}

static void without_any_space_a_commit_waits_a_second_and_not_for_ever(void **state)
{
    struct fixture *f = *state;
    uint32_t before = leave(f, 1);
    uint64_t wait = price(f, UINT64_C(1) << 40);
    give_back(f, before);
    assert_true(wait >= CLOCK_SECOND);
}

/* Of three: the first takes more than the line comes to in a second, the second waits that long. */
static void what_others_took_too_much_is_paid_once(void **state)
{
    struct fixture *f = *state;
    uint32_t before = leave(f, 1);
    (void)price(f, UINT64_C(1) << 40);
    uint64_t begin = clock_monotonic();
    group_throttle(f->group, 1);
    uint64_t wait = clock_monotonic() - begin;
    give_back(f, before);
    assert_true(wait < CLOCK_SECOND / 2);
}

static void what_was_not_stored_is_not_waited_for(void **state)
{
    struct fixture *f = *state;
    uint32_t before = leave(f, 1);
    group_throttle(f->group, UINT64_C(1) << 40);
    group_throttle_return(f->group, UINT64_C(1) << 40);
    uint64_t begin = clock_monotonic();
    group_throttle(f->group, 1);
    assert_true(clock_monotonic() - begin < CLOCK_SECOND / 2);
    give_back(f, before);
}

static void what_stores_nothing_does_not_wait(void **state)
{
    struct fixture *f = *state;
    uint32_t before = leave(f, 1);
    group_throttle(f->group, UINT64_C(1) << 40);
    uint64_t begin = clock_monotonic();
    group_throttle(f->group, 0);
    assert_true(clock_monotonic() - begin < CLOCK_SECOND / 2);
    give_back(f, before);
}

static void the_rate_follows_what_the_cleaner_gains(void **state)
{
    struct fixture *f = *state;
    struct pace *pace = &f->group->pace;
    mutex_lock(&f->group->lock);
    pace->clean_rate = RATE;
    for (unsigned i = 0; i < 64; i++) {
        pace->gained = 4 * RATE;
        pace->time = CLOCK_SECOND;
        group_pace_begin(f->group, true);
    }
    assert_in_range(pace->clean_rate, 4 * RATE * 9 / 10, 4 * RATE);
    group_pace_begin(f->group, true); /* one that gained nothing says nothing */
    assert_in_range(pace->clean_rate, 4 * RATE * 9 / 10, 4 * RATE);
    mutex_unlock(&f->group->lock);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nobody_waits_while_there_is_much_space),
        TEST(commits_get_the_rate_of_the_cleaner_at_the_usual_level),
        TEST(the_less_is_left_the_longer_it_takes),
        TEST(what_a_merge_emptied_counts_as_free_before_it_is_published),
        TEST(without_any_space_a_commit_waits_a_second_and_not_for_ever),
        TEST(what_others_took_too_much_is_paid_once),
        TEST(what_was_not_stored_is_not_waited_for),
        TEST(what_stores_nothing_does_not_wait),
        TEST(the_rate_follows_what_the_cleaner_gains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
