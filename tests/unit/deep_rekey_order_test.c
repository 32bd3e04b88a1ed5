/*
 * Orders to a deep rekey: a pause and a rate last over a clean restart, a crash and a lock; those of one job mean nothing to
 * the next, they are there before the key that they are for, and a file that cannot be understood costs them alone. That a job that is told to go on comes to its end, and
 * takes its orders away.
 */
#include <unistd.h>

#include "base/file.h"
#include "tests/unit/fill_fixture.h"

#define BLOCKS   1024
#define SLOW     (UINT64_C(64) << 10)
#define PATIENCE 6000 /* looks, a hundredth of a second apart */

static int setup(void **context)
{
    uint64_t block = 0;
    pool_setup(context);
    make("disk", GIB);
    assert_int_equal(fill_some("disk", &block, 1, BLOCKS), BLOCKS);
    assert_fine(group_publish(pool->group));
    return 0;
}

static struct deep_rekey_status look_at(void)
{
    struct deep_rekey_status status;
    assert_fine(pool_deep_rekey_status(pool, &status));
    return status;
}

static void assert_is(enum deep_rekey_state state, uint64_t rate)
{
    struct deep_rekey_status status = look_at();
    assert_int_equal(status.state, state);
    assert_int_equal(status.rate, rate);
}

static void await_complete(void)
{
    for (unsigned i = 0; i < PATIENCE && look_at().state != DEEP_REKEY_COMPLETE; i++)
        clock_sleep(10 * CLOCK_MILLISECOND);
    assert_int_equal(look_at().state, DEEP_REKEY_COMPLETE);
}

static const char *file_path(void)
{
    static char path[160];
    snprintf(path, sizeof path, "%s/%s", fixture_directory, DEEP_REKEY_NAME);
    return path;
}

static void begin(uint64_t rate)
{
    assert_fine(pool_deep_rekey(pool, &(struct pool_rekey_options){0}, rate));
}

static void orders_last_over_a_restart(void **context)
{
    (void)context;
    begin(SLOW);
    pool_reopen(false);
    assert_is(DEEP_REKEY_RUNNING, SLOW);
    assert_fine(pool_deep_rekey_throttle(pool, 2 * SLOW));
    assert_fine(pool_deep_rekey_pause(pool));
    pool_reopen(true);
    assert_is(DEEP_REKEY_PAUSED, 2 * SLOW);
    assert_fine(pool_deep_rekey_throttle(pool, 0));
    pool_reopen(false);
    assert_is(DEEP_REKEY_PAUSED, 0);
    assert_fine(pool_deep_rekey_resume(pool));
    pool_reopen(true);
    assert_true(look_at().state != DEEP_REKEY_PAUSED);
    if (look_at().state != DEEP_REKEY_NONE)
        await_complete();
    assert_int_not_equal(access(file_path(), F_OK), 0);
}

static void orders_of_one_job_are_none_of_the_next(void **context)
{
    struct deep_rekey_orders orders;
    (void)context;
    begin(SLOW);
    assert_fine(pool_deep_rekey_pause(pool));
    assert_true(deep_rekey_orders_load(fixture_directory, 2, &orders));
    assert_true(orders.paused && orders.rate == SLOW);
    assert_false(deep_rekey_orders_load(fixture_directory, 3, &orders));
    assert_fine(pool_deep_rekey_throttle(pool, 0));
    assert_fine(pool_deep_rekey_resume(pool));
    await_complete();
    /* As if the job had ended just when somebody spoke to it. */
    assert_fine(deep_rekey_orders_save(fixture_directory, &(struct deep_rekey_orders){2, SLOW, true}));
    begin(0);
    assert_int_not_equal(access(file_path(), F_OK), 0);
    await_complete();
}

static const struct device_operations *honest;
static struct device_operations watching;
static unsigned superblocks_written;
static bool orders_stood;
static struct deep_rekey_orders orders_at_first;

/* What a power failure at the first superblock of the new key would leave. */
static void submit_watching(struct device_io **ios, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ios[i]->operation == DEVICE_WRITE && ios[i]->offset == 0 && superblocks_written++ == 0)
            orders_stood = deep_rekey_orders_load(fixture_directory, 2, &orders_at_first);
    honest->submit(ios, count);
}

static void watch(void)
{
    honest = pool->group->devices[0]->operations;
    watching = *honest;
    watching.submit = submit_watching;
    watching.run = NULL;
    pool->group->devices[0]->operations = &watching;
    superblocks_written = 0;
}

static void unwatch(void)
{
    pool->group->devices[0]->operations = honest;
    assert_true(superblocks_written > 0);
}

static void a_crash_at_the_begin_keeps_the_rate(void **context)
{
    (void)context;
    watch();
    begin(SLOW);
    unwatch();
    assert_true(orders_stood && orders_at_first.rate == SLOW && !orders_at_first.paused);
    pool_reopen(true);
    assert_is(DEEP_REKEY_RUNNING, SLOW);
}

/* Of one that crashed before its superblocks: the next brings the same key. */
static void orders_of_a_job_that_never_was_are_not_obeyed(void **context)
{
    struct deep_rekey_orders orders;
    (void)context;
    assert_fine(deep_rekey_orders_save(fixture_directory, &(struct deep_rekey_orders){2, SLOW, true}));
    pool_reopen(true);
    assert_is(DEEP_REKEY_NONE, 0);
    watch();
    begin(0);
    unwatch();
    assert_true(!orders_stood || (orders_at_first.rate == 0 && !orders_at_first.paused));
    assert_false(deep_rekey_orders_load(fixture_directory, 2, &orders));
    await_complete();
}

static void a_file_that_is_no_order_costs_nothing_else(void **context)
{
    static const char *const texts[] = {
        "",
        "{}",
        "{\"version\": 2, \"data_key\": \"00000002\", \"rate\": \"0000000000000000\", \"paused\": 1}",
        "{\"version\": 1, \"data_key\": \"00000002\", \"rate\": \"0000000000000001\", \"paused\": 1}",
        "{\"version\": 1, \"data_key\": \"2\", \"rate\": \"0000000000000000\", \"paused\": 1}",
        "{\"version\": 1, \"data_key\": \"00000002\", \"rate\": \"0000000000000000\", \"paused\": 1, \"more\": 1}",
        "{\"version\": 1, \"data_key\": \"0000000g\", \"rate\": \"0000000000000000\", \"paused\": 1}",
    };
    struct deep_rekey_orders orders;
    (void)context;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        assert_fine(file_replace(file_path(), texts[i], strlen(texts[i])));
        assert_false(deep_rekey_orders_load(fixture_directory, 2, &orders));
    }
    begin(SLOW);
    assert_fine(file_replace(file_path(), "{", 1));
    pool_reopen(true);
    await_complete();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(orders_last_over_a_restart, setup, pool_teardown),
        cmocka_unit_test_setup_teardown(orders_of_one_job_are_none_of_the_next, setup, pool_teardown),
        cmocka_unit_test_setup_teardown(a_crash_at_the_begin_keeps_the_rate, setup, pool_teardown),
        cmocka_unit_test_setup_teardown(orders_of_a_job_that_never_was_are_not_obeyed, setup, pool_teardown),
        cmocka_unit_test_setup_teardown(a_file_that_is_no_order_costs_nothing_else, setup, pool_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
