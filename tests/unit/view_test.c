/*
 * Views that are held: a freeze that needs the table of an old one waits for that, and does not ask all the time. And what they
 * leave: space that is discarded, where the device can.
 */
#include "base/clock.h"
#include "base/message.h"
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

/* ---- discards ------------------------------------------------------------------------------------------------------- */

#define SEGMENTS 12 /* more than keep their space in a group of 64 */

static enum error discard_answer; /* of all; ERROR_NONE: of the device */
static _Atomic unsigned discards, told;
enum error __real_device_discard(struct device *device, uint64_t offset, uint64_t size);
enum error __wrap_device_discard(struct device *device, uint64_t offset, uint64_t size);
void __wrap_message(enum message_level level, const char *format, ...) PRINTF(2, 3);

enum error __wrap_device_discard(struct device *device, uint64_t offset, uint64_t size)
{
    atomic_fetch_add(&discards, 1);
    return discard_answer ? error_explain(discard_answer, "as the test wants it") : __real_device_discard(device, offset, size);
}

void __wrap_message(enum message_level level, const char *format, ...)
{
    if (level <= MESSAGE_WARNING && strstr(format, "discard failed"))
        atomic_fetch_add(&told, 1);
}

static unsigned free_slots(struct fixture *f)
{
    mutex_lock(&f->group->lock);
    unsigned count = segments_writable(&f->group->segments);
    mutex_unlock(&f->group->lock);
    return count;
}

/* Writes so much, and frees it all. */
static void come_and_go(struct fixture *f)
{
    uint64_t block = 0;
    unsigned before = free_slots(f);
    for (uint64_t seed = 1; free_slots(f) + SEGMENTS > before; block++)
        fixture_write(f, COMPONENT, block, seed++);
    publish(f);
    fixture_holes(f, COMPONENT, 0, block);
    for (unsigned i = 0; i < 3; i++)
        publish(f);
    views_reap(f->group);
    assert_true(free_slots(f) + SEGMENTS > before);
}

static void that_a_device_does_not_discard_is_nothing_to_tell(void **state)
{
    static const enum error answers[] = {ERROR_NONE, ERROR_UNSUPPORTED, ERROR_IO};
    struct fixture *f = *state;
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        discard_answer = answers[i];
        atomic_store(&discards, 0);
        atomic_store(&told, 0);
        come_and_go(f);
        assert_true(atomic_load(&discards) > 0);
        assert_int_equal(atomic_load(&told) > 0, answers[i] == ERROR_IO);
    }
    discard_answer = ERROR_NONE;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_freeze_waits_for_an_old_view_without_asking_all_the_time),
        TEST(the_end_of_an_old_view_wakes_who_waits_for_it),
        TEST(that_a_device_does_not_discard_is_nothing_to_tell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
