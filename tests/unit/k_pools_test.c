/* The K_pools of a pool, from keyrings that a crash left different. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/pool/k_pools.h"

#define DEVICES 3

static const uint8_t keys[4][KEY_SIZE] = {{0}, {1}, {2}, {3}};
static struct superblock superblocks[DEVICES];
static struct keyring *keyrings[DEVICES];
static struct k_pools k_pools;

static void give(uint32_t device, uint32_t number)
{
    struct keyring *with;
    assert_int_equal(keyring_with_new(keyrings[device], &(struct keyring_new){.pool_key = number, .k_pool = keys[number]}, &with), ERROR_NONE);
    keyring_destroy(keyrings[device]);
    keyrings[device] = with;
}

static enum error gather(void)
{
    error_forget();
    return k_pools_gather(superblocks, keyrings, DEVICES, &k_pools);
}

static int setup(void **context)
{
    (void)context;
    for (uint32_t d = 0; d < DEVICES; d++) {
        superblocks[d] = (struct superblock){.pool_key_demanded = 1};
        assert_int_equal(keyring_create(true, keys[1], &keyrings[d]), ERROR_NONE);
    }
    return 0;
}

static int teardown(void **context)
{
    (void)context;
    for (uint32_t d = 0; d < DEVICES; d++)
        keyring_destroy(keyrings[d]);
    return 0;
}

static void what_one_device_lacks_is_known_and_not_sealed_with(void **context)
{
    (void)context;
    give(0, 2);
    give(2, 2);
    assert_int_equal(gather(), ERROR_NONE);
    assert_true(k_pools.count == 2 && k_pools.current == 1 && k_pools.demanded == 1);
    assert_memory_equal(k_pools_current(&k_pools), keys[1], KEY_SIZE);
    assert_memory_equal(k_pools_find(&k_pools, 2), keys[2], KEY_SIZE);
    assert_int_equal(k_pools_highest(&k_pools), 2);
    give(1, 2);
    assert_int_equal(gather(), ERROR_NONE);
    assert_int_equal(k_pools.current, 2);
    assert_memory_equal(k_pools_first(&k_pools), keys[1], KEY_SIZE);
}

/* A crash in the middle of the last step. */
static void the_highest_demand_counts(void **context)
{
    (void)context;
    for (uint32_t d = 0; d < DEVICES; d++)
        give(d, 2);
    superblocks[1].pool_key_demanded = 2;
    assert_int_equal(gather(), ERROR_NONE);
    assert_int_equal(k_pools.demanded, 2);
    assert_null(k_pools_taken(&k_pools, 1));
    assert_memory_equal(k_pools_taken(&k_pools, 2), keys[2], KEY_SIZE);
    assert_null(k_pools_taken(&k_pools, 3));
    assert_memory_equal(k_pools_find(&k_pools, 1), keys[1], KEY_SIZE);
    assert_int_equal(k_pools_explain(&k_pools, "f", 1), ERROR_FORGED);
    assert_non_null(strstr(error_sentence(ERROR_FORGED), "replaced by key 2"));
    assert_int_equal(k_pools_explain(&k_pools, "f", 3), ERROR_FORGED);
    assert_non_null(strstr(error_sentence(ERROR_FORGED), "no device holds"));
}

/* A device that was put back: nothing is sealed under what is demanded no more. */
static void what_is_demanded_is_sealed_with_though_a_device_lacks_it(void **context)
{
    (void)context;
    give(0, 2);
    give(0, 3);
    give(1, 2);
    superblocks[0].pool_key_demanded = 3;
    assert_int_equal(gather(), ERROR_NONE);
    assert_true(k_pools.count == 3 && k_pools.current == 3);
}

static void devices_that_hold_different_ones_of_a_number_are_refused(void **context)
{
    (void)context;
    give(0, 2);
    give(1, 2);
    for (size_t i = 0; i < keyrings[1]->count; i++)
        keyrings[1]->slots[i].key[31] ^= keyrings[1]->slots[i].kind == KEY_KIND_POOL && keyrings[1]->slots[i].number == 2;
    assert_int_equal(gather(), ERROR_CORRUPT);
    assert_non_null(strstr(error_sentence(ERROR_CORRUPT), "number 2"));
}

static void more_than_there_can_be_are_refused(void **context)
{
    (void)context;
    for (uint32_t d = 0; d < DEVICES; d++)
        for (uint32_t n = 2; n <= POOL_KEYS_MAX / 2; n++) {
            struct keyring *with;
            const struct keyring_new new = {.pool_key = n + d * POOL_KEYS_MAX / 2, .k_pool = keys[1]};
            if (keyring_find(keyrings[d], KEY_KIND_POOL, new.pool_key))
                continue;
            assert_int_equal(keyring_with_new(keyrings[d], &new, &with), ERROR_NONE);
            keyring_destroy(keyrings[d]);
            keyrings[d] = with;
        }
    assert_int_equal(gather(), ERROR_CORRUPT);
    assert_non_null(strstr(error_sentence(ERROR_CORRUPT), "more than 64"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_one_device_lacks_is_known_and_not_sealed_with),
        TEST(the_highest_demand_counts),
        TEST(what_is_demanded_is_sealed_with_though_a_device_lacks_it),
        TEST(devices_that_hold_different_ones_of_a_number_are_refused),
        TEST(more_than_there_can_be_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
