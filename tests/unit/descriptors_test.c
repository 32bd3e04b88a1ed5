/* The descriptors that the daemon takes, and the connections for which they are enough. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/resource.h>

#include "server/descriptors.h"
#include "server/nbd/nbd.h"

static void all_that_there_may_be_are_taken(void **state)
{
    struct rlimit limit;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max / 2;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_true(descriptors_take() == limit.rlim_max);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_true(limit.rlim_cur == limit.rlim_max);
}

static void connections_leave_descriptors_for_the_rest(void **state)
{
    (void)state;
    for (uint64_t all = DESCRIPTORS_KEPT + 5; all < 4096; all++)
        assert_true(descriptors_connections(all) * UINT64_C(5) + DESCRIPTORS_KEPT <= all);
}

static void enough_descriptors_bound_nothing(void **state)
{
    (void)state;
    assert_int_equal(descriptors_connections(DESCRIPTORS_KEPT + 5 * NBD_CONNECTIONS_DEFAULT), NBD_CONNECTIONS_DEFAULT);
    assert_int_equal(descriptors_connections(RLIM_INFINITY), NBD_CONNECTIONS_DEFAULT);
}

static void somebody_is_served_in_any_case(void **state)
{
    (void)state;
    assert_int_equal(descriptors_connections(0), 1);
    assert_int_equal(descriptors_connections(DESCRIPTORS_KEPT), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_there_may_be_are_taken),
        cmocka_unit_test(connections_leave_descriptors_for_the_rest),
        cmocka_unit_test(enough_descriptors_bound_nothing),
        cmocka_unit_test(somebody_is_served_in_any_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
