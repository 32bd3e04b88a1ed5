/* Numbers in a superblock are bounded even where the MAC is right, since anybody can make that of a plaintext pool. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/memory.h"
#include "base/random.h"
#include "engine/group/superblock_image.h"

static const uint8_t k_pool[KEY_SIZE] = {9};
static struct superblock superblock;
static struct keyring *keys;
static uint8_t *image;
static struct superblock_format *fixed;
static struct key_slot_format *slots;

static int setup(void **context)
{
    (void)context;
    superblock = (struct superblock){
        .pool = uuid_random(),
        .device = uuid_random(),
        .device_size = UINT64_C(200) << 20,
        .device_count = 1,
        .fingerprint = 1,
        .log_key_demanded = 1,
        .pool_key_demanded = 1,
        .json = (char *)"{}",
    };
    assert_int_equal(superblock_geometry(superblock.device_size, &superblock.segment_shift, &superblock.slot_count),
                     ERROR_NONE);
    assert_int_equal(keyring_create(false, k_pool, &keys), ERROR_NONE);
    image = memory_aligned(SUPERBLOCK_SIZE);
    assert_non_null(image);
    assert_int_equal(superblock_image_build(&superblock, keys, kek_public, NULL, image), ERROR_NONE);
    fixed = (struct superblock_format *)image;
    slots = (struct key_slot_format *)(image + SUPERBLOCK_SLOTS_OFFSET);
    return 0;
}

static int teardown(void **context)
{
    (void)context;
    keyring_destroy(keys);
    free(image);
    return 0;
}

/* Seals what a test changed, as a forger would, and opens it. */
static enum error reopen(void)
{
    struct superblock back;
    struct keyring *keyring;
    unsigned wrapping;
    assert_int_equal(superblock_image_seal(image, &superblock, kek_public, NULL, 2), ERROR_NONE);
    TRY(superblock_fixed_decode(fixed, 2, superblock_offset(superblock.device_size, 2), &back));
    TRY(superblock_image_verify(image, &back, kek_public, &wrapping));
    TRY(superblock_image_open(image, &back, kek_public, wrapping, &keyring));
    keyring_destroy(keyring);
    superblock_forget(&back);
    return ERROR_NONE;
}

#define REFUSED(statement)                                                                                             \
    do {                                                                                                               \
        uint8_t *before = memory_aligned(SUPERBLOCK_SIZE);                                                             \
        assert_non_null(before);                                                                                       \
        memcpy(before, image, SUPERBLOCK_SIZE);                                                                        \
        statement;                                                                                                     \
        assert_int_not_equal(reopen(), ERROR_NONE);                                                                    \
        memcpy(image, before, SUPERBLOCK_SIZE);                                                                        \
        free(before);                                                                                                  \
        assert_int_equal(reopen(), ERROR_NONE);                                                                        \
    } while (0)

static void numbers_out_of_bounds_are_refused(void **context)
{
    (void)context;
    REFUSED(fixed->version = le32_make(0));
    REFUSED(fixed->version = le32_make(FORMAT_VERSION + 1));
    REFUSED(fixed->json_size = le32_make(SUPERBLOCK_JSON_SIZE + 1));
    REFUSED(fixed->json_size = le32_make(UINT32_MAX));
    REFUSED(fixed->key_slot_count = le32_make(KEY_SLOTS_MAX + 1));
    REFUSED(fixed->key_slot_count = le32_make(UINT32_MAX));
    REFUSED(fixed->key_slot_count = le32_make(0));
    REFUSED(fixed->peer_slot_count = le32_make(PEER_DEVICES_MAX * PEER_SLOTS_MAX + 1));
    REFUSED(fixed->peer_slot_count = le32_make(UINT32_MAX));
    REFUSED(fixed->key_slot_count = le32_make(KEY_SLOTS_MAX); fixed->peer_slot_count = le32_make(256));
    REFUSED(fixed->segment_shift = le32_make(SEGMENT_SHIFT_MIN - 1));
    REFUSED(fixed->segment_shift = le32_make(UINT32_MAX));
    REFUSED(fixed->slot_count = le32_make(0));
    REFUSED(fixed->slot_count = le32_make(SLOTS_MAX + 1));
    REFUSED(fixed->slot_count = le32_make(superblock.slot_count + 1));
    REFUSED(fixed->device_size = le64_make(superblock.device_size + 4096));
    REFUSED(fixed->device_size = le64_make(UINT64_MAX));
    REFUSED(fixed->device_size = le64_make(0));
    REFUSED(fixed->epoch = le64_make(1 << 24));
    REFUSED(fixed->device_count = le32_make(0));
    REFUSED(fixed->device_count = le32_make(65));
    REFUSED(fixed->device_index = le32_make(1));
    REFUSED(fixed->encryption = 2);
    REFUSED(fixed->encryption = 1); /* and no DEK */
    REFUSED(fixed->fingerprint = 0);
    REFUSED(fixed->fingerprint = 3);
    REFUSED(fixed->log_key_demanded = 0);
    REFUSED(fixed->log_key_demanded = 2);
    REFUSED(fixed->pool_key_demanded = 0);
    REFUSED(fixed->pool_key_demanded = 2);
}

static void bytes_that_must_be_zero_are_refused(void **context)
{
    (void)context;
    REFUSED(fixed->reserved[0] = 1);
    REFUSED(fixed->reserved[sizeof fixed->reserved - 1] = 1);
    REFUSED(image[SUPERBLOCK_BINARY_SIZE - 1] = 1);
    REFUSED(image[SUPERBLOCK_SIZE - 1] = 1);
    REFUSED(image[SUPERBLOCK_BINARY_SIZE] = 0);
}

static void key_slots_that_contradict_each_other_are_refused(void **context)
{
    (void)context;
    REFUSED(slots[0].kind = 0);
    REFUSED(slots[0].kind = 4);
    REFUSED(slots[0].state = 0);
    REFUSED(slots[0].state = 3);
    REFUSED(slots[0].state = KEY_SLOT_OLD);
    REFUSED(slots[0].number = le32_make(0));
    REFUSED(slots[0].number = le32_make(2)); /* wrapped for 1 */
    REFUSED(slots[0].number = le32_make(256));
    REFUSED(slots[1].number = le32_make(256));
    REFUSED(slots[0].reserved[1] = 1);
    REFUSED(slots[0].wrapped[0][5] ^= 1);
    REFUSED(slots[1] = slots[0]);
    REFUSED(slots[2] = slots[0]; fixed->key_slot_count = le32_make(3));
}

/* With as many keys of the pool as there can be, each of its number; one more is refused, and so is a demand above them. */
static void more_keys_of_the_pool_than_there_can_be_are_refused(void **context)
{
    (void)context;
    struct keyring *more;
    for (uint32_t n = 2; n <= POOL_KEYS_MAX + 1; n++) {
        const struct keyring_new new = {.pool_key = n, .k_pool = k_pool};
        assert_int_equal(keyring_with_new(keys, &new, &more), ERROR_NONE);
        keyring_destroy(keys);
        keys = more;
        superblock.pool_key_demanded = (uint8_t)n;
        assert_int_equal(superblock_image_build(&superblock, keys, kek_public, NULL, image), ERROR_NONE);
        assert_int_equal(reopen(), n <= POOL_KEYS_MAX ? ERROR_NONE : ERROR_CORRUPT);
    }
}

static void a_second_wrapping_counts_only_where_it_is_named(void **context)
{
    (void)context;
    struct superblock back;
    unsigned wrapping;
    assert_int_equal(superblock_image_seal(image, &superblock, kek_public, NULL, 0), ERROR_NONE);
    memcpy(fixed->mac[1], fixed->mac[0], 32);
    memset(fixed->mac[0], 0, 32);
    assert_int_equal(superblock_fixed_decode(fixed, 0, 0, &back), ERROR_NONE);
    assert_int_equal(superblock_image_verify(image, &back, kek_public, &wrapping), ERROR_FORGED);
    fixed->wrappings[1].kek_number = le64_make(2);
    assert_int_equal(superblock_image_seal(image, &superblock, kek_public, NULL, 0), ERROR_NONE);
    memcpy(fixed->mac[1], fixed->mac[0], 32);
    memset(fixed->mac[0], 0, 32);
    assert_int_equal(superblock_image_verify(image, &back, kek_public, &wrapping), ERROR_NONE);
    assert_int_equal(wrapping, 1);
}

static void verifying_leaves_the_image_as_it_was(void **context)
{
    (void)context;
    struct superblock back;
    unsigned wrapping;
    AUTO_FREE uint8_t *before = memory_aligned(SUPERBLOCK_SIZE);
    assert_int_equal(superblock_image_seal(image, &superblock, kek_public, NULL, 3), ERROR_NONE);
    memcpy(before, image, SUPERBLOCK_SIZE);
    assert_int_equal(superblock_fixed_decode(fixed, 3, superblock_offset(superblock.device_size, 3), &back),
                     ERROR_NONE);
    assert_int_equal(superblock_image_verify(image, &back, kek_public, &wrapping), ERROR_NONE);
    assert_memory_equal(before, image, SUPERBLOCK_SIZE);
}

static void no_garbage_passes_for_a_fixed_part(void **context)
{
    (void)context;
    struct superblock back;
    for (int round = 0; round < 300; round++) {
        random_bytes(fixed, sizeof *fixed);
        assert_int_equal(superblock_fixed_decode(fixed, 0, 0, &back), ERROR_NOT_FOUND);
        memcpy(fixed->magic, SUPERBLOCK_MAGIC, sizeof fixed->magic);
        fixed->version = le32_make(FORMAT_VERSION);
        fixed->offset = le64_make(0);
        fixed->copy = le32_make(0);
        assert_int_equal(superblock_fixed_decode(fixed, 0, 0, &back), ERROR_CORRUPT);
    }
}

/* The check value of CRC-32 itself is tested through the golden CRC of an all-zero fixed part. */
static void the_crc_is_that_of_ieee_802_3(void **context)
{
    (void)context;
    memset(image, 0, SUPERBLOCK_SIZE);
    superblock.device_size = AREA_SIZE;
    assert_int_equal(superblock_image_seal(image, &superblock, kek_public, NULL, 0), ERROR_NONE);
    assert_int_equal(le32_get(fixed->crc), 0x11ddf14f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(numbers_out_of_bounds_are_refused),
        TEST(bytes_that_must_be_zero_are_refused),
        TEST(key_slots_that_contradict_each_other_are_refused),
        TEST(more_keys_of_the_pool_than_there_can_be_are_refused),
        TEST(a_second_wrapping_counts_only_where_it_is_named),
        TEST(verifying_leaves_the_image_as_it_was),
        TEST(no_garbage_passes_for_a_fixed_part),
        TEST(the_crc_is_that_of_ieee_802_3),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
