/* Chores at any time, by a clock of the test's; then a thread that waits, is woken and ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>

#include "base/clock.h"
#include "base/memory.h"
#include "server/chores.h"

#define HOUR (3600 * CLOCK_SECOND)

static uint64_t now, takes; /* the time; and how much of it the next chore takes */
static unsigned rare, often, once;
static uint64_t clock_of_test(void) { return now; }

static uint64_t rare_run(void *context)
{
    assert_ptr_equal(context, &now);
    rare++;
    return 100;
}

static uint64_t often_run(void *context)
{
    (void)context;
    now += takes;
    often++;
    return 10;
}

static uint64_t once_run(void *context)
{
    (void)context;
    once++;
    return CHORE_NEVER;
}

static const struct chore all[] = {{rare_run, 60}, {often_run, 5}, {once_run, 0}};
static struct chores chores;

static int set_up(void **state)
{
    (void)state;
    now = 1000;
    takes = rare = often = once = 0;
    chores_init(&chores, all, COUNT_OF(all), &now, clock_of_test);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    chores_deinit(&chores);
    return 0;
}

static void assert_done(unsigned times_rare, unsigned times_often, unsigned times_once)
{
    assert_int_equal(rare, times_rare);
    assert_int_equal(often, times_often);
    assert_int_equal(once, times_once);
}

static void each_has_a_period_of_its_own(void **state)
{
    (void)state;
    assert_int_equal(chores_round(&chores), 1005);
    assert_done(0, 0, 1);
    now = 1004;
    assert_int_equal(chores_round(&chores), 1005);
    assert_done(0, 0, 1);
    for (now = 1005; now < 1261; now++)
        chores_round(&chores);
    assert_done(3, 26, 1); /* at 1060, 1160, 1260 */
    assert_int_equal(chores_round(&chores), 1265);
}

static void what_was_missed_is_not_made_up_for(void **state)
{
    (void)state;
    now = 5000;
    takes = 95;
    assert_int_equal(chores_round(&chores), 5100); /* the rare one; the other began at 5000 and ended at 5095 */
    assert_done(1, 1, 1);
    now = 5099;
    chores_round(&chores);
    assert_done(1, 1, 1);
    now = 5105;
    assert_int_equal(chores_round(&chores), 5205); /* the rare one, which came first; the other began at 5105 and ended at 5200 */
    assert_done(2, 2, 1);
}

static void who_is_woken_does_all_that_is_left(void **state)
{
    (void)state;
    chores_round(&chores);
    chores.running = true; /* as with a thread */
    chores_wake(&chores);
    now = 1001;
    assert_int_equal(chores_round(&chores), 1011);
    assert_done(1, 1, 1);
    chores_round(&chores);
    assert_done(1, 1, 1);
    chores.running = false;
}

static void nothing_is_begun_once_the_end_is_asked_for(void **state)
{
    (void)state;
    chores.stopping = true;
    now = 9999;
    chores_round(&chores);
    assert_done(0, 0, 0);
}

static void none_is_left_where_each_was_for_once(void **state)
{
    (void)state;
    struct chores few;
    chores_init(&few, &all[2], 1, NULL, clock_of_test);
    assert_int_equal(chores_round(&few), CHORE_NEVER);
    assert_int_equal(chores_round(&few), CHORE_NEVER);
    assert_int_equal(once, 1);
    chores_deinit(&few);
}

/* ---- a thread ------------------------------------------------------------------------------------------------------- */

static struct mutex lock; /* RANK_LEAF */
static struct condition changed;
static unsigned done; /* behind the lock */

static uint64_t count_run(void *context)
{
    (void)context;
    mutex_lock(&lock);
    done++;
    condition_broadcast(&changed);
    mutex_unlock(&lock);
    return HOUR;
}

static void await(unsigned times)
{
    mutex_lock(&lock);
    while (done < times)
        condition_wait(&changed, &lock);
    mutex_unlock(&lock);
}

static void a_thread_waits_is_woken_and_ends(void **state)
{
    (void)state;
    const struct chore hourly = {count_run, 0};
    struct chores thread = {.running = false};
    mutex_init(&lock, RANK_LEAF);
    condition_init(&changed);
    chores_wake(&thread);
    chores_stop(&thread); /* neither needs a thread */
    for (unsigned round = 0; round < 2; round++) {
        done = 0;
        assert_int_equal(chores_start(&thread, "test", &hourly, 1, NULL), ERROR_NONE);
        await(1);
        chores_wake(&thread);
        await(2);
        chores_stop(&thread); /* an hour before the next time */
        assert_int_equal(done, 2);
    }
    mutex_deinit(&lock);
    condition_deinit(&changed);
}

static void a_thread_ends_by_itself_where_nothing_is_left(void **state)
{
    (void)state;
    struct chores thread = {.running = false};
    once = 0;
    assert_int_equal(chores_start(&thread, "test", &all[2], 1, NULL), ERROR_NONE);
    thread_join(&thread.thread);
    assert_int_equal(once, 1);
    chores_deinit(&thread);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_has_a_period_of_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_missed_is_not_made_up_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_woken_does_all_that_is_left, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_begun_once_the_end_is_asked_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(none_is_left_where_each_was_for_once, set_up, tear_down),
        cmocka_unit_test(a_thread_waits_is_woken_and_ends),
        cmocka_unit_test(a_thread_ends_by_itself_where_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
