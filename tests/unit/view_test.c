/* Views that are held: a freeze that needs the table of an old one waits for that, and does not ask all the time. */
#include "base/clock.h"
#include "base/thread.h"
#include "engine/group/merge.h"
#include "engine/group/view.h"
#include "tests/unit/group_fixture.h"

#define LOOK (50 * CLOCK_MILLISECOND) /* more seldom than so, it is asked whether a freeze is possible */

/* Asked by each try of a freeze, and by nothing else. */
static _Atomic unsigned tries;
enum error __real_victims_choose(struct group *group, struct victims *victims);
enum error __wrap_victims_choose(struct group *group, struct victims *victims);

enum error __wrap_victims_choose(struct group *group, struct victims *victims)
{
    atomic_fetch_add(&tries, 1);
    return __real_victims_choose(group, victims);
}

static void publish(void *argument)
{
    assert_int_equal(group_publish(((struct fixture *)argument)->group), ERROR_NONE);
}

/* A view of before a publish, so that the table of that one cannot be emptied; and something to publish. */
static struct view *hold(struct fixture *f)
{
    fixture_write(f, COMPONENT, 0, 1);
    struct view *view = view_take(f->group);
    publish(f);
    fixture_write(f, COMPONENT, 1, 2);
    return view;
}

static void a_freeze_waits_for_an_old_view_without_asking_all_the_time(void **state)
{
    struct fixture *f = *state;
    struct view *view = hold(f);
    struct thread thread;
    atomic_store(&tries, 0);
    uint64_t begin = clock_monotonic();
    assert_int_equal(thread_start(&thread, "publish", publish, f), ERROR_NONE);
    while (atomic_load(&tries) == 0)
        clock_sleep(CLOCK_MILLISECOND);
    clock_sleep(CLOCK_SECOND);
    unsigned made = atomic_load(&tries);
    uint64_t most = 2 + (clock_monotonic() - begin) / LOOK;
    view_put(f->group, view);
    thread_join(&thread); /* it comes to its end */
    assert_true(made <= most);
    fixture_expect(f, COMPONENT, 1, 2);
}

static void await(void *argument)
{
    struct group *group = ((struct fixture *)argument)->group;
    while (views_await(group, UINT64_MAX / 2)) /* for ever, if nobody wakes */
        views_reap(group);
}

/* Without a merge thread in between, which looks now and then. */
static void the_end_of_an_old_view_wakes_who_waits_for_it(void **state)
{
    struct fixture *f = *state;
    struct thread thread;
    fixture_write(f, COMPONENT, 0, 1);
    struct view *view = view_take(f->group);
    publish(f);
    assert_int_equal(thread_start(&thread, "await", await, f), ERROR_NONE);
    clock_sleep(10 * CLOCK_MILLISECOND);
    view_put(f->group, view);
    thread_join(&thread);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_freeze_waits_for_an_old_view_without_asking_all_the_time),
        TEST(the_end_of_an_old_view_wakes_who_waits_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
