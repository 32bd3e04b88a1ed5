/* Objects lent to threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/lender.h"
#include "base/memory.h"
#include "base/thread.h"

static unsigned alive;
static bool out_of_memory;

static void *make(void)
{
    if (out_of_memory)
        return NULL;
    alive++;
    return malloc(16);
}

static void destroy(void *object)
{
    alive--;
    free(object);
}

static struct lender *lender_of(size_t count)
{
    struct lender *lender;
    assert_int_equal(lender_create(count, make, destroy, &lender), ERROR_NONE);
    return lender;
}

static void out_of_memory_with_nothing_lent_is_null(void **state)
{
    (void)state;
    struct lender *lender = lender_of(2);
    out_of_memory = true;
    assert_null(lender_take(lender));
    out_of_memory = false;
    void *object = lender_take(lender);
    assert_non_null(object);
    lender_give(lender, object);
    lender_destroy(lender);
    assert_int_equal(alive, 0);
}

static void the_one_given_back_last_is_lent_next(void **state)
{
    (void)state;
    struct lender *lender = lender_of(3);
    void *a = lender_take(lender), *b = lender_take(lender);
    assert_ptr_not_equal(a, b);
    lender_give(lender, a);
    lender_give(lender, b);
    assert_ptr_equal(lender_take(lender), b);
    lender_give(lender, b);
    assert_int_equal(alive, 2);
    lender_destroy(lender);
    assert_int_equal(alive, 0);
}

static void emptied_it_makes_anew_what_is_wanted(void **state)
{
    (void)state;
    struct lender *lender = lender_of(2);
    void *held = lender_take(lender), *other = lender_take(lender);
    lender_give(lender, other);
    lender_empty(lender);
    assert_int_equal(alive, 1); /* what is held stays */
    other = lender_take(lender);
    assert_non_null(other);
    assert_int_equal(alive, 2);
    lender_give(lender, held);
    lender_give(lender, other);
    lender_destroy(lender);
    assert_int_equal(alive, 0);
}

static _Atomic unsigned holders, most;

static void borrow(void *argument)
{
    for (int i = 0; i < 200; i++) {
        void *object = lender_take(argument);
        unsigned now = ++holders, seen = most;
        while (now > seen && !__atomic_compare_exchange_n((unsigned *)&most, &seen, now, false, 5, 5))
            ;
        holders--;
        lender_give(argument, object);
    }
}

static void no_more_than_its_number_are_lent_at_once(void **state)
{
    (void)state;
    struct lender *lender = lender_of(2);
    struct thread threads[6];
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(thread_start(&threads[i], "borrow", borrow, lender), ERROR_NONE);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        thread_join(&threads[i]);
    assert_in_range(most, 1, 2);
    assert_in_range(alive, 1, 2);
    lender_destroy(lender);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(out_of_memory_with_nothing_lent_is_null),
        cmocka_unit_test(the_one_given_back_last_is_lent_next),
        cmocka_unit_test(emptied_it_makes_anew_what_is_wanted),
        cmocka_unit_test(no_more_than_its_number_are_lent_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
