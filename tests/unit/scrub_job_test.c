/*
 * The scrub as a job: who may start one, that it goes on where it was after a restart and a crash, and that it obeys.
 * And the ledger from the side of readers: what a failed read enters, and what takes it out again.
 */
#include "tests/unit/scrub_fixture.h"
#include "tests/unit/truth_fixture.h"

#define SLOW SCRUB_RATE_MIN /* the superblocks alone then take seconds */

/* Starts one that is held up by its throttle behind the superblocks. */
static struct scrub_status start_slow(void)
{
    assert_fine(pool_scrub_start(pool, SLOW));
    for (unsigned i = 0; i < 4000; i++) {
        mutex_lock(&pool->scrub->mutex);
        bool held_up = pool->scrub->job.step > SCRUB_SUPERBLOCKS;
        mutex_unlock(&pool->scrub->mutex);
        if (held_up)
            return scrub_look();
        clock_sleep(5 * CLOCK_MILLISECOND);
    }
    fail_msg("the scrub did not begin");
    return scrub_look();
}

static void a_locked_pool_has_no_scrub(void **context)
{
    (void)context;
    struct scrub_status status;
    assert_fine(pool_lock(pool));
    assert_refused(pool_scrub_start(pool, 0), ERROR_LOCKED, "unlock");
    assert_refused(pool_scrub_status(pool, &status), ERROR_LOCKED, "unlock");
    assert_refused(pool_scrub_cancel(pool), ERROR_LOCKED, "unlock");
    assert_refused(pool_damages(pool, &infos, &info_count, &info_more), ERROR_LOCKED, "unlock");
    assert_fine(pool_unlock(pool, NULL, 0));
    assert_int_equal(scrub_look().state, SCRUB_NEVER);
}

static void a_second_one_is_refused_and_says_what_to_type(void **context)
{
    (void)context;
    fill();
    start_slow();
    assert_refused(pool_scrub_start(pool, 0), ERROR_BUSY, "a scrub runs already: `coffer");
    assert_fine(pool_scrub_pause(pool));
    assert_refused(pool_scrub_start(pool, 0), ERROR_BUSY, "a scrub is paused: `coffer");
    assert_refused(pool_scrub_pause(pool), ERROR_NOT_FOUND, "no scrub runs");
    assert_fine(pool_scrub_cancel(pool));
    assert_refused(pool_scrub_cancel(pool), ERROR_NOT_FOUND, "no scrub runs");
    assert_refused(pool_scrub_resume(pool), ERROR_NOT_FOUND, "no scrub is paused");
}

static void impossible_rates_are_refused(void **context)
{
    (void)context;
    assert_refused(pool_scrub_start(pool, SCRUB_RATE_MIN - 1), ERROR_INVALID, "64K or more");
    assert_refused(pool_scrub_throttle(pool, 1), ERROR_INVALID, "64K or more");
    assert_int_equal(scrub_look().state, SCRUB_NEVER);
    assert_int_equal(scrub_look().rate, SCRUB_RATE_DEFAULT);
}

static void a_throttle_holds_up_and_lets_go_at_once(void **context)
{
    (void)context;
    fill();
    struct scrub_status slow = start_slow();
    assert_int_equal(slow.rate, SLOW);
    assert_int_equal(slow.state, SCRUB_RUNNING);
    assert_true(slow.bytes_expected > slow.bytes_verified);
    assert_fine(pool_scrub_throttle(pool, 0));
    await_scrub(SCRUB_COMPLETE);
    /* The next one keeps the rate. */
    assert_fine(pool_scrub_start(pool, SCRUB_RATE_KEEP));
    await_scrub(SCRUB_COMPLETE);
    assert_int_equal(scrub_look().rate, 0);
}

/* What is left at the speed so far; nothing where there is none yet, or nothing runs. */
static void the_time_left_follows_from_the_speed_so_far(void **context)
{
    struct truth truth;
    (void)context;
    truth_make(&truth, "disk", 1024);
    truth_write(&truth, 0, 1024, (UINT64_C(1) << 42) + 1);
    publish();
    assert_int_equal(scrub_look().seconds_left, 0);
    start_slow();
    assert_fine(pool_scrub_pause(pool));
    for (unsigned i = 0; i < 4000 && scrub_look().bytes_verified == 0; i++)
        clock_sleep(CLOCK_MILLISECOND);
    assert_int_equal(scrub_look().seconds_left, 0);
    assert_fine(pool_scrub_resume(pool));
    struct scrub_status slow = scrub_look(); /* half a minute before it comes to its end */
    double left = (double)(slow.bytes_expected - slow.bytes_verified);
    double speed = (double)slow.bytes_verified * CLOCK_SECOND / (double)slow.nanoseconds;
    assert_true(slow.bytes_verified > 0 && left > (double)MIB);
    assert_true((double)slow.seconds_left > left / speed && (double)slow.seconds_left < left / speed + 1.001);
    assert_fine(pool_scrub_throttle(pool, 0));
    await_scrub(SCRUB_COMPLETE);
    assert_int_equal(scrub_look().seconds_left, 0);
    truth_free(&truth);
}

static void a_cancelled_one_ends_and_the_next_begins_anew(void **context)
{
    (void)context;
    fill();
    start_slow();
    assert_fine(pool_scrub_cancel(pool));
    struct scrub_status status = scrub_look();
    assert_int_equal(status.state, SCRUB_CANCELLED);
    assert_int_equal(status.completed, 0);
    scrub();
    assert_true(scrub_look().bytes_verified > 4 * SUPERBLOCK_SIZE);
}

static void a_paused_one_goes_on_where_it_was(void **context)
{
    (void)context;
    fill();
    scrub();
    uint64_t whole = scrub_look().bytes_verified;
    start_slow();
    assert_fine(pool_scrub_pause(pool));
    for (unsigned i = 0; i < 4000 && scrub_look().bytes_verified == 0; i++)
        clock_sleep(CLOCK_MILLISECOND);
    assert_int_equal(scrub_look().bytes_verified, 4 * SUPERBLOCK_SIZE + 2 * BLOCK_SIZE);
    assert_fine(pool_scrub_throttle(pool, 0));
    assert_int_equal(scrub_look().state, SCRUB_PAUSED);
    assert_fine(pool_scrub_resume(pool));
    await_scrub(SCRUB_COMPLETE);
    assert_int_equal(scrub_look().bytes_verified, whole);
}

static void the_position_survives_a_restart(void **context)
{
    (void)context;
    fill();
    scrub();
    uint64_t whole = scrub_look().bytes_verified;
    struct scrub_status before = start_slow();
    pool_reopen(false);
    struct scrub_status after = scrub_look();
    assert_int_equal(after.state, SCRUB_RUNNING);
    assert_int_equal(after.started, before.started);
    assert_int_equal(after.rate, SLOW);
    assert_true(after.bytes_verified >= 4 * SUPERBLOCK_SIZE);
    assert_fine(pool_scrub_throttle(pool, 0));
    await_scrub(SCRUB_COMPLETE);
    /* The superblocks were not read again; tables may have changed with the restart. */
    assert_true(scrub_look().bytes_verified < whole + 2 * SUPERBLOCK_SIZE);
    assert_no_damage();
}

static void a_kill_repeats_what_was_not_saved_and_loses_no_scrub(void **context)
{
    (void)context;
    fill();
    start_slow();
    assert_fine(pool_scrub_pause(pool)); /* saves */
    for (unsigned i = 0; i < 4000 && scrub_look().bytes_verified == 0; i++)
        clock_sleep(CLOCK_MILLISECOND);
    assert_fine(pool_scrub_resume(pool));
    clock_sleep(50 * CLOCK_MILLISECOND);
    pool_reopen(true);
    assert_int_not_equal(scrub_look().state, SCRUB_NEVER);
    if (scrub_look().state == SCRUB_PAUSED)
        assert_fine(pool_scrub_resume(pool));
    assert_fine(pool_scrub_throttle(pool, 0));
    await_scrub(SCRUB_COMPLETE);
    pool_reopen(true);
    assert_no_damage();
}

static void a_lock_interrupts_and_an_unlock_goes_on(void **context)
{
    (void)context;
    fill();
    start_slow();
    assert_fine(pool_lock(pool));
    assert_fine(pool_unlock(pool, NULL, 0));
    assert_int_equal(scrub_look().state, SCRUB_RUNNING);
    assert_fine(pool_scrub_throttle(pool, 0));
    await_scrub(SCRUB_COMPLETE);
}

/* ---- the file ------------------------------------------------------------------------------------------------- */

static void file_path(char path[160])
{
    snprintf(path, 160, "%s/" SCRUB_FILE, fixture_directory);
}

static void a_spoilt_file_begins_anew(void **context)
{
    (void)context;
    const char *contents[] = {"", "{", "[]", "{\"version\":1}", "{\"version\":99,\"mac\":\"00\"}"};
    char path[160];
    file_path(path);
    for (size_t i = 0; i < COUNT_OF(contents); i++) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        assert_true(fputs(contents[i], file) >= 0);
        assert_int_equal(fclose(file), 0);
        pool_reopen(true);
        assert_int_equal(scrub_look().state, SCRUB_NEVER);
    }
    scrub();
    pool_reopen(false);
    assert_int_equal(scrub_look().state, SCRUB_COMPLETE);
}

static void any_changed_byte_of_the_file_is_refused(void **context)
{
    (void)context;
    char path[160];
    file_path(path);
    scrub();
    assert_fine(pool_close(pool));
    pool = NULL;
    for (unsigned at = 3; at < 300; at += 37) {
        struct spot spot = {.offset = at};
        snprintf(spot.path, sizeof spot.path, "%.100s/" SCRUB_FILE, fixture_directory);
        flip(&spot);
        assert_fine(pool_try_open());
        assert_int_equal(scrub_look().state, SCRUB_NEVER);
        pool_crash();
        flip(&spot);
    }
    assert_fine(pool_try_open());
    assert_int_equal(scrub_look().state, SCRUB_COMPLETE);
}

static void a_lost_file_begins_anew(void **context)
{
    (void)context;
    char path[160];
    file_path(path);
    scrub();
    pool_crash();
    assert_int_equal(remove(path), 0);
    assert_fine(pool_try_open());
    assert_int_equal(scrub_look().state, SCRUB_NEVER);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pool_setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_locked_pool_has_no_scrub),
        TEST(a_second_one_is_refused_and_says_what_to_type),
        TEST(impossible_rates_are_refused),
        TEST(a_throttle_holds_up_and_lets_go_at_once),
        TEST(the_time_left_follows_from_the_speed_so_far),
        TEST(a_cancelled_one_ends_and_the_next_begins_anew),
        TEST(a_paused_one_goes_on_where_it_was),
        TEST(the_position_survives_a_restart),
        TEST(a_kill_repeats_what_was_not_saved_and_loses_no_scrub),
        TEST(a_lock_interrupts_and_an_unlock_goes_on),
        TEST(a_spoilt_file_begins_anew),
        TEST(any_changed_byte_of_the_file_is_refused),
        TEST(a_lost_file_begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
