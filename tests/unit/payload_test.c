/* Payload memory: its bound and who gets what of it when it is scarce, first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/memory.h"
#include "server/nbd/payload.h"

#define NEVER  (1000 * CLOCK_SECOND)
#define BLOCKS PAYLOAD_BLOCKS_MIN
#define SMALL  4096

/* As many users as there are blocks, and a few more. */
struct fixture {
    struct payload_pool pool;
    struct payload_user users[BLOCKS + 2];
    struct payload_lease leases[BLOCKS + 2];
    atomic_uint evictions;
    struct payload_user *evicted;
};

static struct fixture fixture;

static void evict(void *context)
{
    fixture.evictions++;
    fixture.evicted = context;
}

static void begin(uint64_t wait_max, uint64_t patience)
{
    memset(&fixture, 0, sizeof(fixture));
    payload_init(&fixture.pool, 0, wait_max, patience);
    for (size_t i = 0; i < COUNT_OF(fixture.users); i++)
        payload_join(&fixture.pool, &fixture.users[i], evict, &fixture.users[i]);
}

static void end(void)
{
    for (size_t i = 0; i < COUNT_OF(fixture.users); i++) {
        payload_put(&fixture.leases[i]);
        payload_leave(&fixture.users[i]);
    }
    payload_deinit(&fixture.pool);
}

static void expect_place(struct payload_user *user, size_t size, bool pieces, struct payload_lease *lease,
                         enum payload_place place)
{
    assert_int_equal(payload_get(user, size, pieces, lease), ERROR_NONE);
    assert_int_equal(lease->place, place);
    assert_true(lease->size >= MIN(size, PAYLOAD_OWN_SIZE));
    memset(lease->data, 1, lease->size);
}

static void take_all_blocks(void)
{
    for (size_t i = 0; i < BLOCKS; i++)
        expect_place(&fixture.users[i], SMALL, false, &fixture.leases[i], PAYLOAD_BLOCK);
}

/* ---- scarcity -------------------------------------------------------------------------------------------------- */

static void a_small_request_never_waits_for_the_blocks_of_others(void **state)
{
    (void)state;
    begin(NEVER, NEVER);
    take_all_blocks();
    expect_place(&fixture.users[BLOCKS], SMALL, false, &fixture.leases[BLOCKS], PAYLOAD_OWN);
    expect_place(&fixture.users[BLOCKS + 1], PAYLOAD_OWN_SIZE, false, &fixture.leases[BLOCKS + 1], PAYLOAD_OWN);
    end();
}

static void a_large_request_goes_on_in_small_pieces(void **state)
{
    (void)state;
    begin(NEVER, NEVER);
    take_all_blocks();
    expect_place(&fixture.users[BLOCKS], REQUEST_BYTES_MAX, true, &fixture.leases[BLOCKS], PAYLOAD_OWN);
    end();
}

static void a_wait_for_memory_ends_with_an_error_and_takes_nothing(void **state)
{
    (void)state;
    begin(CLOCK_MILLISECOND, NEVER);
    take_all_blocks();
    struct payload_lease *lease = &fixture.leases[BLOCKS], other = {.place = PAYLOAD_NONE};
    assert_int_equal(payload_get(&fixture.users[BLOCKS], 1 << 20, false, lease), ERROR_NO_MEMORY);
    assert_int_equal(lease->place, PAYLOAD_NONE);
    expect_place(&fixture.users[0], 32 << 20, false, lease, PAYLOAD_LARGE);
    assert_int_equal(payload_get(&fixture.users[1], 32 << 20, false, &other), ERROR_NO_MEMORY);
    payload_put(lease);
    expect_place(&fixture.users[BLOCKS], SMALL, false, lease, PAYLOAD_OWN);
    assert_int_equal(payload_get(&fixture.users[BLOCKS], SMALL, false, &other), ERROR_NO_MEMORY);
    assert_int_equal(fixture.evictions, 0);
    end();
}

static void who_holds_a_block_leaves_half_of_them_to_others(void **state)
{
    (void)state;
    struct payload_lease more[BLOCKS] = {{.place = PAYLOAD_NONE}};
    begin(NEVER, NEVER);
    for (size_t i = 0; i < BLOCKS / 2; i++)
        expect_place(&fixture.users[0], SMALL, false, &more[i], PAYLOAD_BLOCK);
    expect_place(&fixture.users[0], SMALL, false, &more[BLOCKS - 1], PAYLOAD_OWN);
    for (size_t i = 1; i <= BLOCKS / 2; i++)
        expect_place(&fixture.users[i], SMALL, false, &fixture.leases[i], PAYLOAD_BLOCK);
    for (size_t i = 0; i < COUNT_OF(more); i++)
        payload_put(&more[i]);
    end();
}

static void a_client_that_is_waited_for_too_long_is_evicted_when_others_go_without(void **state)
{
    (void)state;
    begin(NEVER, CLOCK_MILLISECOND);
    take_all_blocks();
    payload_stall_begin(&fixture.leases[3]);
    clock_sleep(2 * CLOCK_MILLISECOND);
    assert_int_equal(fixture.evictions, 0);
    expect_place(&fixture.users[BLOCKS], SMALL, false, &fixture.leases[BLOCKS], PAYLOAD_OWN);
    assert_int_equal(fixture.evictions, 1);
    assert_ptr_equal(fixture.evicted, &fixture.users[3]);
    payload_stall_end(&fixture.leases[3]);
    expect_place(&fixture.users[BLOCKS + 1], SMALL, false, &fixture.leases[BLOCKS + 1], PAYLOAD_OWN);
    assert_int_equal(fixture.evictions, 1);
    end();
}

/* ---- waiting --------------------------------------------------------------------------------------------------- */

struct taker {
    struct payload_user *user;
    size_t size;
    atomic_bool took;
};

static void take_and_put(void *argument)
{
    struct taker *taker = argument;
    struct payload_lease lease = {.place = PAYLOAD_NONE};
    if (payload_get(taker->user, taker->size, false, &lease) != ERROR_NONE)
        return;
    taker->took = true;
    payload_put(&lease);
}

static void expect_waits_for(size_t size, struct payload_lease *held)
{
    struct taker taker = {.user = &fixture.users[BLOCKS], .size = size};
    struct thread thread;
    assert_int_equal(thread_start(&thread, "taker", take_and_put, &taker), ERROR_NONE);
    clock_sleep(20 * CLOCK_MILLISECOND);
    assert_false(taker.took);
    payload_put(held);
    thread_join(&thread);
    assert_true(taker.took);
}

static void a_request_too_large_for_the_own_memory_waits_for_a_block(void **state)
{
    (void)state;
    begin(NEVER, NEVER);
    take_all_blocks();
    expect_waits_for(1 << 20, &fixture.leases[0]);
    end();
}

static void there_is_one_larger_place_and_it_takes_no_blocks(void **state)
{
    (void)state;
    begin(NEVER, NEVER);
    take_all_blocks();
    expect_place(&fixture.users[BLOCKS + 1], REQUEST_BYTES_MAX, false, &fixture.leases[BLOCKS + 1], PAYLOAD_LARGE);
    expect_waits_for(REQUEST_BYTES_MAX, &fixture.leases[BLOCKS + 1]);
    end();
}

/* ---- plenty ---------------------------------------------------------------------------------------------------- */

static void a_block_that_was_put_back_is_given_out_again(void **state)
{
    (void)state;
    begin(NEVER, NEVER);
    expect_place(&fixture.users[0], PAYLOAD_BLOCK_SIZE, false, &fixture.leases[0], PAYLOAD_BLOCK);
    uint8_t *first = fixture.leases[0].data;
    payload_put(&fixture.leases[0]);
    expect_place(&fixture.users[1], SMALL, true, &fixture.leases[1], PAYLOAD_BLOCK);
    assert_ptr_equal(first, fixture.leases[1].data);
    end();
}

static void nothing_is_kept_when_the_last_user_left(void **state)
{
    (void)state;
    begin(NEVER, NEVER);
    take_all_blocks();
    for (size_t i = 0; i < BLOCKS; i++)
        payload_put(&fixture.leases[i]);
    for (size_t i = 0; i + 1 < COUNT_OF(fixture.users); i++)
        payload_leave(&fixture.users[i]);
    assert_non_null(fixture.pool.free);
    payload_leave(&fixture.users[COUNT_OF(fixture.users) - 1]);
    assert_null(fixture.pool.free);
    payload_deinit(&fixture.pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_request_never_waits_for_the_blocks_of_others),
        cmocka_unit_test(a_large_request_goes_on_in_small_pieces),
        cmocka_unit_test(a_wait_for_memory_ends_with_an_error_and_takes_nothing),
        cmocka_unit_test(who_holds_a_block_leaves_half_of_them_to_others),
        cmocka_unit_test(a_client_that_is_waited_for_too_long_is_evicted_when_others_go_without),
        cmocka_unit_test(a_request_too_large_for_the_own_memory_waits_for_a_block),
        cmocka_unit_test(there_is_one_larger_place_and_it_takes_no_blocks),
        cmocka_unit_test(a_block_that_was_put_back_is_given_out_again),
        cmocka_unit_test(nothing_is_kept_when_the_last_user_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
