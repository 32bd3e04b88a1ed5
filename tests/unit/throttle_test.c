/* The throttle: who commits pays where the cleaner must make the space, and nobody pays while there is enough. */
#include "base/clock.h"
#include "tests/unit/group_fixture.h"

#define SMALL ((UINT64_C(48) << 22) + 2 * AREA_SIZE)
#define PAID  (UINT64_C(1) << 20)
#define USUAL (2 * CLOCK_SECOND)

static int setup(void **state)
{
    *state = fixture_begin(1, SMALL, true);
    return 0;
}

/* As if so many segments were left to commits, and the last merge that cleaned had taken USUAL. */
static void leave(struct fixture *f, uint64_t segments)
{
    struct group *group = f->group;
    mutex_lock(&group->lock);
    uint64_t room = group_commit_room(group);
    assert_true(room > segments);
    group->segments.free_total -= (uint32_t)(room - segments);
    group->clean_time = USUAL;
    mutex_unlock(&group->lock);
}

static void give_back(struct fixture *f, uint32_t free_total)
{
    mutex_lock(&f->group->lock);
    f->group->segments.free_total = free_total;
    f->group->clean_time = 0;
    mutex_unlock(&f->group->lock);
}

/* Nanoseconds that the next commit has to wait after one that stored PAID bytes; more by as much as this took. */
static uint64_t price(struct fixture *f)
{
    uint64_t before = clock_monotonic();
    f->group->paced_until = 0;
    group_throttle_pay(f->group, PAID);
    assert_true(f->group->paced_until <= clock_monotonic() + CLOCK_SECOND);
    return f->group->paced_until > before ? f->group->paced_until - before : 0;
}

static uint64_t price_with(struct fixture *f, uint64_t segments, uint64_t owed)
{
    uint32_t before = f->group->segments.free_total;
    leave(f, segments);
    f->group->clean_owed = owed;
    uint64_t wait = price(f);
    f->group->clean_owed = 0;
    give_back(f, before);
    return wait;
}

static void nobody_pays_where_nothing_was_ever_cleaned(void **state)
{
    assert_int_equal(price(*state), 0);
}

static void nobody_pays_while_there_is_much_space(void **state)
{
    struct fixture *f = *state;
    f->group->clean_time = USUAL;
    assert_true(group_commit_room(f->group) >= 2 * group_clean_ahead(f->group));
    assert_int_equal(price(f), 0);
}

/* A megabyte of the sixteen that are left is worth a sixteenth of the two seconds in which they have to last. */
static void the_space_that_is_left_lasts_until_the_next_publish(void **state)
{
    assert_true(price_with(*state, 4, 0) >= USUAL / 16);
}

static void the_less_is_left_the_more_is_paid(void **state)
{
    assert_true(price_with(*state, 1, 0) > 2 * price_with(*state, 4, 0));
}

static void what_the_cleaner_will_write_to_is_not_left_to_commits(void **state)
{
    struct fixture *f = *state;
    uint64_t size = segment_size(&f->group->segments);
    assert_true(price_with(f, 4, 3 * size) > 2 * price_with(f, 4, 0));
}

static void without_any_space_a_commit_waits_a_second_and_not_for_ever(void **state)
{
    struct fixture *f = *state;
    assert_true(price_with(f, 1, UINT64_C(1) << 40) >= CLOCK_SECOND);
}

static void a_commit_waits_for_what_others_paid(void **state)
{
    struct fixture *f = *state;
    uint64_t before = clock_monotonic();
    f->group->paced_until = before + 10 * CLOCK_MILLISECOND;
    group_throttle(f->group);
    assert_true(clock_monotonic() >= before + 10 * CLOCK_MILLISECOND);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nobody_pays_where_nothing_was_ever_cleaned),
        TEST(nobody_pays_while_there_is_much_space),
        TEST(the_space_that_is_left_lasts_until_the_next_publish),
        TEST(the_less_is_left_the_more_is_paid),
        TEST(what_the_cleaner_will_write_to_is_not_left_to_commits),
        TEST(without_any_space_a_commit_waits_a_second_and_not_for_ever),
        TEST(a_commit_waits_for_what_others_paid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
