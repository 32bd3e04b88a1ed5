/*
 * One bit that flips in what an open or a replay begins with is refused, or proven harmless: what the decoder makes of
 * it, encoded again, is the very bytes that were there before. Superblocks (all copies), checkpoint records (all
 * copies), segment headers, headers and records of appends.
 *
 * Each byte of these gets one flip of a bit by the seed, but for the key slots and the JSON of superblocks, which are
 * long and under one MAC: they get the flips that are spread. More of those, also over everything else, by hand:
 *
 *   bit_flip_test [FLIPS [SEED]]
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/memory.h"
#include "engine/group/append.h"
#include "engine/group/group.h"
#include "engine/group/log.h"
#include "engine/group/superblock_image.h"
#include "engine/group/superblock_peer.h"
#include "tests/crash/random.h"

#define DEVICES        2
#define SIZE           (UINT64_C(200) << 20)
#define SERIAL         UINT64_C(70)
#define SLOT           9
#define PLACE          5
#define SEGMENT_BLOCKS 1024
#define ITEMS          4096
#define RECORDS        700

static const uint8_t kek[KEY_SIZE] = {7, 1, 2};
static const struct segment_keys append_keys = {.id = 1, .tag = {1}};
static char json[] = "{\"devices\":[]}";
static struct group group;
static uint64_t flips = 2000; /* of each kind, spread */
static struct dice dice = {1};

/* ERROR_NONE where it is taken; then *same tells whether what was taken is what was there. */
typedef enum error decode(uint8_t *bytes, uint32_t copy, const uint8_t *valid, bool *same);

struct kind {
    decode *decode;
    const uint8_t *valid;
    uint32_t copy;
    size_t size, covered; /* bytes from the begin on that are flipped one by one */
};

static uint64_t refused, harmless;

static void flip_one(const struct kind *kind, uint8_t *bytes, size_t byte, unsigned bit)
{
    bool same = false;
    bytes[byte] ^= (uint8_t)(1u << bit);
    enum error error = kind->decode(bytes, kind->copy, kind->valid, &same);
    if (!error && !same)
        fail_msg("bit %u of byte %zu flipped, and it is taken as something else", bit, byte);
    refused += error != ERROR_NONE;
    harmless += error == ERROR_NONE;
    bytes[byte] ^= (uint8_t)(1u << bit);
    assert_int_equal(bytes[byte], kind->valid[byte]);
}

static void flip_all(const struct kind *kind)
{
    AUTO_FREE uint8_t *bytes = memory_aligned(ROUND_UP(kind->size, BLOCK_SIZE));
    bool same = false;
    assert_non_null(bytes);
    memcpy(bytes, kind->valid, kind->size);
    assert_int_equal(kind->decode(bytes, kind->copy, kind->valid, &same), ERROR_NONE);
    assert_true(same);
    for (size_t byte = 0; byte < kind->covered; byte++)
        flip_one(kind, bytes, byte, (unsigned)dice_below(&dice, 8));
    for (uint64_t i = 0; i < flips; i++)
        flip_one(kind, bytes, dice_below(&dice, kind->size), (unsigned)dice_below(&dice, 8));
}

static int counts_print(void **context)
{
    (void)context;
    print_message("%llu bits flipped: %llu refused, %llu harmless\n", (unsigned long long)(refused + harmless),
                  (unsigned long long)refused, (unsigned long long)harmless);
    refused = harmless = 0;
    return 0;
}

/* ---- superblocks ------------------------------------------------------------------------------------------------- */

static enum error superblock_decode(uint8_t *bytes, uint32_t copy, const uint8_t *valid, bool *same)
{
    struct superblock found;
    struct keyring *keyring;
    unsigned wrapping;
    TRY(superblock_fixed_decode((const struct superblock_format *)bytes, copy, superblock_offset(SIZE, copy), &found));
    TRY(superblock_image_verify(bytes, &found, kek, &wrapping));
    TRY(superblock_image_open(bytes, &found, kek, wrapping, &keyring));
    AUTO_FREE uint8_t *again = memory_aligned(SUPERBLOCK_SIZE);
    assert_non_null(again);
    assert_int_equal(superblock_image_build(&found, keyring, kek, NULL, again), ERROR_NONE);
    assert_int_equal(superblock_image_seal(again, &found, kek, NULL, copy), ERROR_NONE);
    *same = memcmp(again, valid, SUPERBLOCK_SIZE) == 0;
    keyring_destroy(keyring);
    superblock_forget(&found);
    return ERROR_NONE;
}

static void a_flipped_bit_of_a_superblock_is_refused_or_harmless(void **context)
{
    AUTO_FREE uint8_t *image = memory_aligned(SUPERBLOCK_SIZE);
    (void)context;
    assert_non_null(image);
    assert_int_equal(superblock_peers_make(group.superblocks, group.keyrings, DEVICES, 0, kek, &group.superblocks[0]),
                     ERROR_NONE);
    assert_int_equal(superblock_image_build(&group.superblocks[0], group.keyrings[0], kek, NULL, image), ERROR_NONE);
    for (uint32_t copy = 0; copy < SUPERBLOCK_COPIES; copy++) {
        assert_int_equal(superblock_image_seal(image, &group.superblocks[0], kek, NULL, copy), ERROR_NONE);
        flip_all(&(struct kind){superblock_decode, image, copy, SUPERBLOCK_SIZE, sizeof(struct superblock_format)});
    }
    superblock_forget(&(struct superblock){.peers = group.superblocks[0].peers});
    group.superblocks[0].peers = NULL;
    group.superblocks[0].peer_count = 0;
}

/* ---- checkpoint records -------------------------------------------------------------------------------------------
 */

static enum error record_decode_again(uint8_t *bytes, uint32_t copy, const uint8_t *valid, bool *same)
{
    struct checkpoint checkpoint;
    struct checkpoint_format again;
    TRY(checkpoint_decode((const struct checkpoint_format *)bytes, &group.superblocks[0], group.keyrings[0], copy,
                          &checkpoint));
    assert_int_equal(checkpoint_encode(&checkpoint, &group.superblocks[0], group.keyrings[0], copy, &again),
                     ERROR_NONE);
    *same = memcmp(&again, valid, sizeof again) == 0;
    return ERROR_NONE;
}

static void a_flipped_bit_of_a_checkpoint_record_is_refused(void **context)
{
    struct checkpoint checkpoint = {.number = 9,
                                    .sequence = 5 << 8,
                                    .epoch = 3,
                                    .serial_lease = 100,
                                    .component_lease = 100,
                                    .cid_end = 4096,
                                    .start = {.serial = 4, .offset = 1},
                                    .joint_count = 1,
                                    .joints = {{{1}, {.serial = 5, .offset = 1}}}};
    struct checkpoint_format record;
    (void)context;
    for (uint32_t copy = 0; copy < CHECKPOINT_COPIES; copy++) {
        assert_int_equal(checkpoint_encode(&checkpoint, &group.superblocks[0], group.keyrings[0], copy, &record),
                         ERROR_NONE);
        flip_all(&(struct kind){record_decode_again, (uint8_t *)&record, copy, sizeof record, sizeof record});
    }
    assert_int_equal(harmless, 0);
}

/* ---- headers of segments ------------------------------------------------------------------------------------------
 */

static enum error header_decode(uint8_t *bytes, uint32_t copy, const uint8_t *valid, bool *same)
{
    struct segment_header header;
    struct segment_format again;
    (void)copy;
    TRY(segment_header_decode(&group, 0, SLOT, SERIAL, bytes, &header));
    assert_int_equal(segment_header_encode(&group, &header, &again), ERROR_NONE);
    *same = memcmp(&again, valid, sizeof again) == 0;
    return ERROR_NONE;
}

/* Of one whose tags are under an older K_log than its MAC: no bit of either number makes it another good one. */
static void a_flipped_bit_of_a_segment_header_is_refused(void **context)
{
    struct segment_header header = {
        .segment = {.serial = SERIAL, .salt = 5, .birth_salt = 6, .key_slot = 1, .kind = SEGMENT_JOURNAL, .log_key = 1},
        .slot = SLOT,
        .predecessor = {69, 0, 8, 0},
        .successor = {71, 0, 10, 1}};
    struct segment_format block;
    struct keyring *before = group.keyrings[0];
    (void)context;
    assert_int_equal(keyring_with_new(before, &(struct keyring_new){.log_key = 3}, &group.keyrings[0]), ERROR_NONE);
    assert_int_equal(segment_header_encode(&group, &header, &block), ERROR_NONE);
    assert_true(block.log_key == 1 && block.header_key == 3);
    flip_all(&(struct kind){header_decode, (uint8_t *)&block, 0, sizeof block, sizeof block});
    assert_int_equal(harmless, 0);
    keyring_destroy(group.keyrings[0]);
    group.keyrings[0] = before;
}

/* ---- appends -------------------------------------------------------------------------------------------------------
 */

/* As replay reads it: lengths are bounded, then the tag is compared. Records lie behind the items. */
static enum error append_decode(uint8_t *bytes, uint32_t copy, const uint8_t *valid, bool *same)
{
    static uint8_t whole[ROUND_UP(sizeof(struct append_format) + ITEMS + RECORDS, BLOCK_SIZE)];
    struct append_format *append = (struct append_format *)whole;
    (void)copy;
    memcpy(whole, bytes, sizeof *append);
    memcpy(whole + sizeof *append + ITEMS, bytes + sizeof *append, RECORDS);
    if (!append_is_possible(append, SEGMENT_JOURNAL, SERIAL, PLACE, SEGMENT_BLOCKS) ||
        le32_get(append->blocks) * BLOCK_SIZE > sizeof whole)
        return ERROR_NOT_FOUND;
    TRY(append_check(append, &append_keys));
    *same = memcmp(bytes, valid, sizeof *append + RECORDS) == 0;
    return ERROR_NONE;
}

static void a_flipped_bit_of_an_append_is_refused(void **context)
{
    static uint8_t bytes[sizeof(struct append_format) + RECORDS];
    struct append_format *append = (struct append_format *)bytes;
    uint8_t nonce[TAG_NONCE_SIZE];
    (void)context;
    *append = (struct append_format){.serial = le40_make(SERIAL),
                                     .offset = le32_make(PLACE),
                                     .blocks = le32_make(2),
                                     .items_size = le32_make(ITEMS),
                                     .records_offset = le32_make(sizeof *append + ITEMS),
                                     .records_size = le32_make(RECORDS),
                                     .kind = SEGMENT_JOURNAL,
                                     .durable = le64_make(77),
                                     .last_sequence = le64_make(78)};
    memset(bytes + sizeof *append, 0x5a, RECORDS);
    struct bulk_part parts[] = {{bytes + TAG_SIZE, sizeof *append - TAG_SIZE}, {bytes + sizeof *append, RECORDS}};
    log_nonce((uint64_t)PLACE * BLOCK_GRAINS, ITEM_APPEND, nonce);
    assert_int_equal(bulk_tag(&append_keys, nonce, parts, COUNT_OF(parts), append->tag), ERROR_NONE);
    flip_all(&(struct kind){append_decode, bytes, 0, sizeof bytes, sizeof bytes});
    assert_int_equal(harmless, 0);
}

static int setup(void **context)
{
    static const uint8_t k_pool[KEY_SIZE] = {9};
    (void)context;
    group.device_count = DEVICES;
    for (uint32_t i = 0; i < DEVICES; i++) {
        group.superblocks[i] = (struct superblock){.pool = {{1}},
                                                   .group = {{2}},
                                                   .device = {{(uint8_t)(3 + i)}},
                                                   .epoch = 5,
                                                   .device_size = SIZE,
                                                   .device_index = i,
                                                   .device_count = DEVICES,
                                                   .encryption = true,
                                                   .fingerprint = 1,
                                                   .log_key_demanded = 1,
                                                   .pool_key_demanded = 1,
                                                   .json = json};
        assert_int_equal(
            superblock_geometry(SIZE, &group.superblocks[i].segment_shift, &group.superblocks[i].slot_count),
            ERROR_NONE);
        assert_int_equal(keyring_create(true, k_pool, &group.keyrings[i]), ERROR_NONE);
    }
    return 0;
}

static int teardown(void **context)
{
    (void)context;
    for (uint32_t i = 0; i < DEVICES; i++)
        keyring_destroy(group.keyrings[i]);
    return 0;
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_flipped_bit_of_a_superblock_is_refused_or_harmless, counts_print),
        cmocka_unit_test_teardown(a_flipped_bit_of_a_checkpoint_record_is_refused, counts_print),
        cmocka_unit_test_teardown(a_flipped_bit_of_a_segment_header_is_refused, counts_print),
        cmocka_unit_test_teardown(a_flipped_bit_of_an_append_is_refused, counts_print),
    };
    if (count > 1) /* over the ten of which each is flipped so often */
        flips = strtoull(arguments[1], NULL, 10) / (SUPERBLOCK_COPIES + CHECKPOINT_COPIES + 2) + 1;
    if (count > 2)
        dice.state = strtoull(arguments[2], NULL, 10);
    return cmocka_run_group_tests(tests, setup, teardown);
}
