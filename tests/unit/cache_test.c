/* The cache of blocks: never the bytes of another key, never without its pinned blocks, and no refusal but where all
 * blocks are pinned. */
#include "tests/unit/group_fixture.h"

#include "base/memory.h"
#include "base/thread.h"

static struct cache *cache;

static struct cache_key key_of(uint64_t number)
{
    return (struct cache_key){1 + number % 7, (uint32_t)(number / 7 % 1000), (uint32_t)(number / 7000)};
}

static const uint8_t *bytes_of(uint64_t number, uint8_t bytes[4096])
{
    for (size_t i = 0; i < 4096; i += 8)
        memcpy(bytes + i, &(uint64_t){number * 1000003 + i}, 8);
    return bytes;
}

static void expect(const struct cache_block *block, uint64_t number)
{
    uint8_t bytes[4096];
    assert_memory_equal(cache_bytes(block), bytes_of(number, bytes), sizeof bytes);
}

static struct cache_block *insert(uint64_t number)
{
    uint8_t bytes[4096];
    return cache_insert(cache, key_of(number), bytes_of(number, bytes));
}

static int setup(void **state)
{
    (void)state;
    return cache_create(0, &cache) == ERROR_NONE ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    cache_destroy(cache);
    return 0;
}

static void an_empty_cache_has_nothing(void **state)
{
    (void)state;
    uint8_t bytes[4096];
    assert_null(cache_find(cache, (struct cache_key){0}));
    assert_null(cache_find(cache, key_of(1)));
    assert_false(cache_copy(cache, key_of(1), bytes));
}

static void where_all_are_pinned_a_block_is_the_callers_own(void **state)
{
    (void)state;
    static struct cache_block *blocks[4 * CACHE_BLOCKS_MIN];
    for (unsigned i = 0; i < COUNT_OF(blocks); i++)
        assert_non_null(blocks[i] = insert(i));
    for (unsigned i = 0; i < COUNT_OF(blocks); i++)
        expect(blocks[i], i);
    unsigned found = 0;
    for (unsigned i = 0; i < COUNT_OF(blocks); i++) {
        struct cache_block *block = cache_find(cache, key_of(i));
        found += block != NULL;
        if (block)
            cache_unpin(cache, block);
    }
    assert_int_equal(found, CACHE_BLOCKS_MIN);
    for (unsigned i = 0; i < COUNT_OF(blocks); i++)
        cache_unpin(cache, blocks[i]);
}

static void blocks_that_were_all_just_used_make_room_all_the_same(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4 * CACHE_BLOCKS_MIN; i++) {
        struct cache_block *block = insert(i);
        assert_non_null(block);
        cache_unpin(cache, block);
        assert_non_null(block = cache_find(cache, key_of(i)));
        expect(block, i);
        cache_unpin(cache, block);
    }
}

static void a_key_is_entered_once(void **state)
{
    (void)state;
    uint8_t other[4096] = {1};
    struct cache_block *first = insert(5), *second = cache_insert(cache, key_of(5), other);
    assert_ptr_equal(first, second);
    expect(second, 5);
    cache_unpin(cache, first);
    cache_unpin(cache, second);
}

static void each_part_of_a_key_tells(void **state)
{
    (void)state;
    uint8_t bytes[4096] = {0};
    struct cache_key key = {1, 2, 3};
    cache_add(cache, key, bytes);
    assert_true(cache_copy(cache, key, bytes));
    assert_false(cache_copy(cache, (struct cache_key){2, 2, 3}, bytes));
    assert_false(cache_copy(cache, (struct cache_key){1, 3, 3}, bytes));
    assert_false(cache_copy(cache, (struct cache_key){1, 2, 4}, bytes));
}

static void what_is_used_stays_longer(void **state)
{
    (void)state;
    cache_unpin(cache, insert(0));
    unsigned found = 0;
    for (uint64_t i = 1; i < 4 * CACHE_BLOCKS_MIN; i++) {
        cache_unpin(cache, insert(i));
        struct cache_block *block = cache_find(cache, key_of(0));
        found += block != NULL;
        if (block)
            cache_unpin(cache, block);
    }
    assert_int_equal(found, 4 * CACHE_BLOCKS_MIN - 1);
}

static void what_was_dropped_is_gone_and_its_place_is_the_next(void **state)
{
    (void)state;
    uint8_t bytes[4096];
    for (uint64_t i = 0; i < 4 * CACHE_BLOCKS_MIN; i++)
        cache_unpin(cache, insert(i));
    uint64_t there = 4 * CACHE_BLOCKS_MIN - 1, before = 0, after = 0;
    cache_drop(cache, key_of(there));
    cache_drop(cache, key_of(there));
    assert_false(cache_copy(cache, key_of(there), bytes));
    for (uint64_t i = 0; i < there; i++)
        before += cache_copy(cache, key_of(i), bytes);
    cache_unpin(cache, insert(there)); /* of the same shard: it takes the place that is free, and nobody else's */
    for (uint64_t i = 0; i < there; i++)
        after += cache_copy(cache, key_of(i), bytes);
    assert_int_equal(before, CACHE_BLOCKS_MIN - 1);
    assert_int_equal(after, before);
    assert_true(cache_copy(cache, key_of(there), bytes));
}

static void what_is_pinned_is_not_dropped(void **state)
{
    (void)state;
    struct cache_block *block = insert(1);
    cache_drop(cache, key_of(1));
    expect(block, 1);
    struct cache_block *again = cache_find(cache, key_of(1));
    assert_ptr_equal(again, block);
    cache_unpin(cache, again);
    cache_unpin(cache, block);
    cache_drop(cache, key_of(1));
    assert_null(cache_find(cache, key_of(1)));
}

static void random_use(void *argument)
{
    uint64_t random = *(const uint64_t *)argument;
    struct cache_block *pinned[20] = {0};
    uint64_t numbers[20];
    for (unsigned i = 0; i < 20000; i++) {
        size_t at = fixture_below(&random, COUNT_OF(pinned));
        if (pinned[at]) {
            expect(pinned[at], numbers[at]);
            cache_unpin(cache, pinned[at]);
        }
        numbers[at] = fixture_below(&random, 3 * CACHE_BLOCKS_MIN);
        cache_drop(cache, key_of(fixture_below(&random, 3 * CACHE_BLOCKS_MIN)));
        pinned[at] = fixture_below(&random, 2) ? insert(numbers[at]) : cache_find(cache, key_of(numbers[at]));
        if (pinned[at])
            expect(pinned[at], numbers[at]);
    }
    for (size_t at = 0; at < COUNT_OF(pinned); at++)
        if (pinned[at])
            cache_unpin(cache, pinned[at]);
}

static void pinned_blocks_hold_under_several_threads(void **state)
{
    (void)state;
    struct thread threads[3];
    uint64_t seeds[3] = {1, 2, 3};
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(thread_start(&threads[i], "cache", random_use, &seeds[i]), ERROR_NONE);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        thread_join(&threads[i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_empty_cache_has_nothing),
        TEST(where_all_are_pinned_a_block_is_the_callers_own),
        TEST(blocks_that_were_all_just_used_make_room_all_the_same),
        TEST(a_key_is_entered_once),
        TEST(each_part_of_a_key_tells),
        TEST(what_is_used_stays_longer),
        TEST(what_was_dropped_is_gone_and_its_place_is_the_next),
        TEST(what_is_pinned_is_not_dropped),
        TEST(pinned_blocks_hold_under_several_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
