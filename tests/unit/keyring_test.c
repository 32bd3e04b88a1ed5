/* A keyring holds what it was made with, says which slot is current, and gives nothing for what it does not hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "engine/group/format.h"
#include "engine/group/keyring.h"

static const uint8_t k_pool[KEY_SIZE] = {1, 2, 3};

static void a_plaintext_keyring_has_no_dek(void **context)
{
    (void)context;
    struct keyring *keyring;
    assert_int_equal(keyring_create(false, k_pool, &keyring), ERROR_NONE);
    assert_false(keyring->encrypted);
    assert_null(keyring_current(keyring, KEY_KIND_DEK));
    assert_null(keyring_find(keyring, KEY_KIND_DEK, 1));
    assert_non_null(keyring_find(keyring, KEY_KIND_LOG, 1));
    keyring_destroy(keyring);
}

static void an_encrypted_keyring_has_three_first_keys(void **context)
{
    (void)context;
    struct keyring *keyring;
    assert_int_equal(keyring_create(true, k_pool, &keyring), ERROR_NONE);
    assert_true(keyring->encrypted);
    assert_int_equal(keyring->count, 3);
    for (enum key_kind kind = KEY_KIND_DEK; kind <= KEY_KIND_POOL; kind++) {
        const struct keyring_slot *slot = keyring_current(keyring, kind);
        assert_non_null(slot);
        assert_int_equal(slot->number, 1);
        assert_ptr_equal(keyring_find(keyring, kind, 1), slot->key);
        assert_null(keyring_find(keyring, kind, 0));
        assert_null(keyring_find(keyring, kind, 2));
    }
    assert_memory_equal(keyring_find(keyring, KEY_KIND_POOL, 1), k_pool, KEY_SIZE);
    keyring_destroy(keyring);
}

static void two_keyrings_share_nothing_but_the_pools_key(void **context)
{
    (void)context;
    struct keyring *a, *b;
    assert_int_equal(keyring_create(true, k_pool, &a), ERROR_NONE);
    assert_int_equal(keyring_create(true, k_pool, &b), ERROR_NONE);
    assert_memory_not_equal(keyring_find(a, KEY_KIND_DEK, 1), keyring_find(b, KEY_KIND_DEK, 1), KEY_SIZE);
    assert_memory_not_equal(keyring_find(a, KEY_KIND_LOG, 1), keyring_find(b, KEY_KIND_LOG, 1), KEY_SIZE);
    assert_memory_not_equal(keyring_find(a, KEY_KIND_LOG, 1), keyring_find(a, KEY_KIND_DEK, 1), KEY_SIZE);
    keyring_destroy(a);
    keyring_destroy(b);
}

static void new_keys_become_the_current_ones_of_their_kinds_alone(void **context)
{
    (void)context;
    struct keyring *before, *after;
    assert_int_equal(keyring_create(true, k_pool, &before), ERROR_NONE);
    assert_int_equal(keyring_with_new(before, &(struct keyring_new){.data_key = 2, .log_key = 5}, &after), ERROR_NONE);
    assert_int_equal(after->count, 5);
    assert_int_equal(keyring_current(after, KEY_KIND_DEK)->number, 2);
    assert_int_equal(keyring_current(after, KEY_KIND_LOG)->number, 5);
    assert_int_equal(keyring_current(after, KEY_KIND_POOL)->number, 1);
    assert_memory_equal(keyring_find(after, KEY_KIND_LOG, 1), keyring_find(before, KEY_KIND_LOG, 1), KEY_SIZE);
    assert_memory_not_equal(keyring_find(after, KEY_KIND_LOG, 5), keyring_find(before, KEY_KIND_LOG, 1), KEY_SIZE);
    keyring_destroy(before);
    keyring_destroy(after);
}

static void what_has_no_slot_left_is_refused_as_a_whole(void **context)
{
    (void)context;
    struct keyring *keyring, *with;
    assert_int_equal(keyring_create(true, k_pool, &keyring), ERROR_NONE);
    while (keyring->count < KEY_SLOTS_MAX - 1) {
        const struct keyring_new one = {.data_key = keyring_current(keyring, KEY_KIND_DEK)->number + 1};
        assert_int_equal(keyring_with_new(keyring, &one, &with), ERROR_NONE);
        keyring_destroy(keyring);
        keyring = with;
    }
    assert_int_equal(keyring_with_new(keyring, &(struct keyring_new){.data_key = 1000, .log_key = 2}, &with), ERROR_TOO_LARGE);
    assert_int_equal(keyring_with_new(keyring, &(struct keyring_new){.log_key = 2}, &with), ERROR_NONE);
    keyring_destroy(with);
    keyring_destroy(keyring);
}

static void what_is_neither_current_nor_needed_goes(void **context)
{
    (void)context;
    struct keyring *keyring, *with, *without;
    assert_int_equal(keyring_create(true, k_pool, &keyring), ERROR_NONE);
    for (uint32_t number = 2; number <= 4; number++) {
        assert_int_equal(keyring_with_new(keyring, &(struct keyring_new){.data_key = number, .log_key = number}, &with), ERROR_NONE);
        keyring_destroy(keyring);
        keyring = with;
    }
    for (int old = 0; old < 2; old++) {
        const struct keyring_needs needs = {.data_keys = old, .log_keys[2] = true};
        assert_int_equal(keyring_without_old(keyring, &needs, &without), ERROR_NONE);
        assert_int_equal(without->count, old ? 7 : 4);
        for (uint32_t number = 1; number <= 4; number++) {
            assert_true((keyring_find(without, KEY_KIND_DEK, number) != NULL) == (old || number == 4));
            assert_true((keyring_find(without, KEY_KIND_LOG, number) != NULL) == (number == 2 || number == 4));
        }
        assert_int_equal(keyring_current(without, KEY_KIND_DEK)->number, 4);
        assert_int_equal(keyring_current(without, KEY_KIND_LOG)->number, 4);
        assert_true(keyring_has_old(without) == old);
        keyring_destroy(without);
    }
    keyring_destroy(keyring);
}

static void destroying_none_is_allowed(void **context)
{
    (void)context;
    keyring_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plaintext_keyring_has_no_dek),
        cmocka_unit_test(an_encrypted_keyring_has_three_first_keys),
        cmocka_unit_test(two_keyrings_share_nothing_but_the_pools_key),
        cmocka_unit_test(new_keys_become_the_current_ones_of_their_kinds_alone),
        cmocka_unit_test(what_has_no_slot_left_is_refused_as_a_whole),
        cmocka_unit_test(what_is_neither_current_nor_needed_goes),
        cmocka_unit_test(destroying_none_is_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
