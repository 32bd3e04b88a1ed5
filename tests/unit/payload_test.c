/* Payload memory: its bound first. */
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

struct taker {
    struct payload_pool *pool;
    size_t size;
    atomic_bool took;
};

static void take_and_put(void *argument)
{
    struct taker *taker = argument;
    void *payload;
    if (payload_get(taker->pool, taker->size, &payload) != ERROR_NONE)
        return;
    taker->took = true;
    payload_put(taker->pool, payload, taker->size);
}

static void expect_waits_for(struct payload_pool *pool, size_t size, void *held)
{
    struct taker taker = {.pool = pool, .size = size};
    struct thread thread;
    assert_int_equal(thread_start(&thread, "taker", take_and_put, &taker), ERROR_NONE);
    clock_sleep(20 * CLOCK_MILLISECOND);
    assert_false(taker.took);
    payload_put(pool, held, size);
    thread_join(&thread);
    assert_true(taker.took);
}

static void blocks_beyond_the_bound_are_waited_for(void **state)
{
    (void)state;
    struct payload_pool pool;
    void *blocks[PAYLOAD_BLOCKS_MIN];
    payload_init(&pool, 0);
    for (size_t i = 0; i < COUNT_OF(blocks); i++)
        assert_int_equal(payload_get(&pool, PAYLOAD_BLOCK_SIZE, &blocks[i]), ERROR_NONE);
    expect_waits_for(&pool, PAYLOAD_BLOCK_SIZE, blocks[0]);
    for (size_t i = 1; i < COUNT_OF(blocks); i++)
        payload_put(&pool, blocks[i], PAYLOAD_BLOCK_SIZE);
    payload_deinit(&pool);
}

static void there_is_one_larger_place_and_it_takes_no_blocks(void **state)
{
    (void)state;
    struct payload_pool pool;
    void *large, *block;
    payload_init(&pool, 0);
    assert_int_equal(payload_get(&pool, REQUEST_BYTES_MAX, &large), ERROR_NONE);
    memset(large, 1, REQUEST_BYTES_MAX);
    assert_int_equal(payload_get(&pool, 1, &block), ERROR_NONE);
    payload_put(&pool, block, 1);
    expect_waits_for(&pool, REQUEST_BYTES_MAX, large);
    payload_deinit(&pool);
}

static void a_block_that_was_put_back_is_given_out_again(void **state)
{
    (void)state;
    struct payload_pool pool;
    void *first, *second;
    payload_init(&pool, 64u << 20);
    assert_int_equal(payload_get(&pool, PAYLOAD_BLOCK_SIZE, &first), ERROR_NONE);
    memset(first, 1, PAYLOAD_BLOCK_SIZE);
    payload_put(&pool, first, PAYLOAD_BLOCK_SIZE);
    assert_int_equal(payload_get(&pool, 4096, &second), ERROR_NONE);
    assert_ptr_equal(first, second);
    payload_put(&pool, second, 4096);
    payload_deinit(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_beyond_the_bound_are_waited_for),
        cmocka_unit_test(there_is_one_larger_place_and_it_takes_no_blocks),
        cmocka_unit_test(a_block_that_was_put_back_is_given_out_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
