/*
 * Checkpoint records: the newest whole one counts, an older one serves where it is damaged, and none of another place,
 * device, group, pool, key or version is taken.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/memory.h"
#include "base/random.h"
#include "engine/device/kind.h"
#include "engine/group/checkpoint.h"

#define DEVICE_SIZE (UINT64_C(200) << 20)

static const uint8_t k_pool[KEY_SIZE] = {9};
static char directory[64], path[128];
static struct superblock superblock;
static struct keyring *keys;
static struct device *device;
static struct checkpoint checkpoint;
static struct checkpoint_format record;

static void fill_checkpoint(void)
{
    checkpoint = (struct checkpoint){
        .number = 77,
        .sequence = UINT64_MAX - 1,
        .epoch = 12,
        .serial_lease = SERIAL_MAX + 1,
        .component_lease = 5,
        .cid_end = CID_MAX + 1,
        .time = 1234567,
        .release_end = 4,
        .chunks_live = 5,
        .blocks_mapped = 6,
        .start = {.serial = 9, .device = 2, .slot = 7, .offset = 1},
        .joint_count = JOINTS_MAX,
        .table_segment_count = TABLE_SEGMENTS_MAX,
    };
    memset(checkpoint.start_tag, 0xa5, sizeof checkpoint.start_tag);
    for (unsigned i = 0; i < JOINTS_MAX; i++) {
        random_bytes(checkpoint.joints[i].tag, 16);
        checkpoint.joints[i].next = (struct place){.serial = i + 1, .device = i % 3, .slot = i, .offset = i * 9};
    }
    for (unsigned i = 0; i < TABLE_SEGMENTS_MAX; i++)
        checkpoint.table_segments[i] = (struct segment_reference){i + 1, i % 3, i * 3, i, random_u64(), 8, 1};
    for (unsigned i = 0; i < TABLE_LAST; i++)
        checkpoint.roots[i] = (struct root){
            .pointer = {entry_make(i + 1, 2, 3, 4, 0, 1), .second_serial = i, .second_offset = 44, .birth = 256 * i},
            .height = (uint8_t)i,
        };
}

static int setup(void **context)
{
    (void)context;
    const char *parent = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%.40s/coffer-XXXXXX", parent != NULL ? parent : "/tmp");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/device", directory);
    assert_int_equal(device_create_file(path, DEVICE_SIZE), ERROR_NONE);
    assert_int_equal(device_open_file(path, 0, &device), ERROR_NONE);
    superblock = (struct superblock){
        .pool = uuid_random(),
        .group = uuid_random(),
        .device = uuid_random(),
        .device_size = DEVICE_SIZE,
        .device_count = 3,
        .log_key_demanded = 1,
        .pool_key_demanded = 1,
    };
    assert_int_equal(keyring_create(true, k_pool, &keys), ERROR_NONE);
    fill_checkpoint();
    assert_int_equal(checkpoint_encode(&checkpoint, &superblock, keys, 2, &record), ERROR_NONE);
    return 0;
}

static int teardown(void **context)
{
    (void)context;
    device_close(device);
    keyring_destroy(keys);
    unlink(path);
    rmdir(directory);
    return 0;
}

static enum error decode(void)
{
    struct checkpoint back;
    return checkpoint_decode(&record, &superblock, keys, 2, &back);
}

static void assert_same(const struct checkpoint *a, const struct checkpoint *b)
{
    struct checkpoint_format one, other;
    assert_int_equal(checkpoint_encode(a, &superblock, keys, 0, &one), ERROR_NONE);
    assert_int_equal(checkpoint_encode(b, &superblock, keys, 0, &other), ERROR_NONE);
    assert_memory_equal(&one, &other, sizeof one);
}

static void a_record_survives(void **context)
{
    (void)context;
    struct checkpoint back;
    assert_int_equal(checkpoint_decode(&record, &superblock, keys, 2, &back), ERROR_NONE);
    assert_same(&back, &checkpoint);
    assert_true(back.number == 77 && back.sequence == UINT64_MAX - 1 && back.joint_count == JOINTS_MAX);
    assert_true(back.start.device == 2 && back.table_segments[47].serial == 48 && back.roots[5].height == 5);
}

static void no_bit_can_change_unseen(void **context)
{
    (void)context;
    for (size_t i = 0; i < sizeof record; i++) {
        ((uint8_t *)&record)[i] ^= (uint8_t)(1 << i % 8);
        assert_int_not_equal(decode(), ERROR_NONE);
        ((uint8_t *)&record)[i] ^= (uint8_t)(1 << i % 8);
    }
    assert_int_equal(decode(), ERROR_NONE);
}

static void each_mismatch_has_its_own_error(void **context)
{
    (void)context;
    struct checkpoint back;
    assert_int_equal(checkpoint_decode(&record, &superblock, keys, 3, &back), ERROR_CORRUPT);
    record.magic[0] ^= 1;
    assert_int_equal(decode(), ERROR_NOT_FOUND);
    record.magic[0] ^= 1;
    record.version = le32_make(FORMAT_VERSION + 1);
    assert_int_equal(decode(), ERROR_NEWER_FORMAT);
    record.version = le32_make(FORMAT_VERSION);
    record.mac[31] ^= 1;
    assert_int_equal(decode(), ERROR_FORGED);
    record.mac[31] ^= 1;
    struct uuid *ids[] = {&superblock.pool, &superblock.group, &superblock.device};
    for (unsigned i = 0; i < COUNT_OF(ids); i++) {
        ids[i]->bytes[3] ^= 1;
        assert_int_equal(decode(), ERROR_FOREIGN);
        ids[i]->bytes[3] ^= 1;
    }
    assert_int_equal(decode(), ERROR_NONE);
}

static void a_log_key_below_the_one_demanded_is_forged(void **context)
{
    (void)context;
    superblock.log_key_demanded = 2;
    assert_int_equal(decode(), ERROR_FORGED);
}

static void another_devices_log_key_is_forged(void **context)
{
    (void)context;
    struct checkpoint back;
    struct keyring *other;
    assert_int_equal(keyring_create(true, k_pool, &other), ERROR_NONE);
    assert_int_equal(checkpoint_decode(&record, &superblock, other, 2, &back), ERROR_FORGED);
    keyring_destroy(other);
}

/* Signs what a test changed. */
static enum error decode_signed(void)
{
    assert_int_equal(hmac_sha256(keyring_current(keys, KEY_KIND_LOG)->key, &record,
                                 offsetof(struct checkpoint_format, mac), record.mac),
                     ERROR_NONE);
    return decode();
}

#define REFUSED(statement)                                                                                             \
    do {                                                                                                               \
        struct checkpoint_format before = record;                                                                      \
        statement;                                                                                                     \
        assert_int_equal(decode_signed(), ERROR_CORRUPT);                                                              \
        record = before;                                                                                               \
    } while (0)

static void numbers_out_of_bounds_are_refused_with_a_good_mac(void **context)
{
    (void)context;
    REFUSED(record.version = le32_make(0));
    REFUSED(record.number = le64_make(0));
    REFUSED(record.number = le64_make(UINT64_MAX));
    REFUSED(record.serial_lease = le64_make(0));
    REFUSED(record.serial_lease = le64_make(SERIAL_MAX + 2));
    REFUSED(record.component_lease = le64_make(0));
    REFUSED(record.cid_end = le64_make(CID_MAX + 2));
    REFUSED(record.release_reserved = le64_make(1));
    REFUSED(record.release_end = le64_make((UINT64_C(1) << 40) + 1));
    REFUSED(record.start.device = 3);
    REFUSED(record.start.slot = le32_make(SLOTS_MAX));
    REFUSED(record.start.offset = le32_make(UINT32_MAX));
    REFUSED(record.roots[3].height = NODE_LEVELS_MAX);
    REFUSED(record.roots[3].reserved[6] = 1);
    REFUSED(record.joint_count = JOINTS_MAX + 1);
    REFUSED(record.joint_count = JOINTS_MAX - 1); /* the last is not zero */
    REFUSED(record.joints[15].next.device = 3);
    REFUSED(record.joints[0].next.slot = le32_make(UINT32_MAX));
    REFUSED(record.table_segment_count = TABLE_SEGMENTS_MAX + 1);
    REFUSED(record.table_segment_count = TABLE_SEGMENTS_MAX - 1);
    REFUSED(record.table_segments[0].serial = le40_make(0));
    REFUSED(record.table_segments[0].device = 3);
    REFUSED(record.table_segments[0].slot = le32_make(SLOTS_MAX));
    REFUSED(record.families = 2);
    REFUSED(record.reserved2[1629] = 1);
    assert_int_equal(decode_signed(), ERROR_NONE);
}

/* ---- on a device --- */

static void write_number(uint64_t number)
{
    checkpoint.number = number;
    assert_int_equal(checkpoint_write(device, &superblock, keys, &checkpoint), ERROR_NONE);
}

static void assert_reads(uint64_t number)
{
    struct checkpoint back;
    assert_int_equal(checkpoint_read(device, &superblock, keys, &back), ERROR_NONE);
    assert_int_equal(back.number, number);
}

/* Flips a bit of a record at the given ends (1 head, 2 tail, 3 both); fails where it is not there. */
static void damage_at(uint64_t number, unsigned ends)
{
    struct checkpoint_format found;
    int descriptor = open(path, O_RDWR);
    uint64_t areas[] = {0, DEVICE_SIZE - AREA_SIZE};
    unsigned found_at = 0;
    for (unsigned i = 0; i < CHECKPOINT_COPIES; i++) {
        uint64_t offset = areas[i / 2] + CHECKPOINT_OFFSET + i % 2 * CHECKPOINT_STRIDE;
        assert_int_equal(pread(descriptor, &found, sizeof found, (off_t)offset), sizeof found);
        if (le64_get(found.number) != number || !(ends >> i / 2 & 1))
            continue;
        found_at |= 1u << i / 2;
        found.time.bytes[0] ^= 1;
        assert_int_equal(pwrite(descriptor, &found, sizeof found, (off_t)offset), sizeof found);
    }
    close(descriptor);
    assert_int_equal(found_at, ends);
}

static void damage(uint64_t number) { damage_at(number, 3); }

static void a_device_without_records_is_corrupt(void **context)
{
    (void)context;
    struct checkpoint back;
    assert_int_equal(checkpoint_read(device, &superblock, keys, &back), ERROR_CORRUPT);
    assert_non_null(strstr(error_sentence(ERROR_CORRUPT), path));
}

static void the_newest_record_counts(void **context)
{
    (void)context;
    for (uint64_t number = 1; number < 12; number++) {
        write_number(number);
        assert_reads(number);
    }
}

static void damaged_records_uncover_the_one_before(void **context)
{
    (void)context;
    struct checkpoint back;
    for (uint64_t number = 1; number <= 9; number++)
        write_number(number);
    damage(9);
    assert_reads(8);
    damage(8);
    assert_int_equal(checkpoint_read(device, &superblock, keys, &back), ERROR_CORRUPT);
}

static void damage_at_one_end_loses_nothing(void **context)
{
    (void)context;
    for (uint64_t number = 1; number <= 8; number++) {
        write_number(number);
        damage_at(number, 1 + number % 2);
        assert_reads(number);
        write_number(number);
    }
}

static void records_of_a_newer_version_alone_are_said_so(void **context)
{
    (void)context;
    struct checkpoint back;
    struct checkpoint_format *newer = memory_aligned(sizeof *newer);
    assert_int_equal(checkpoint_encode(&checkpoint, &superblock, keys, 0, newer), ERROR_NONE);
    newer->version = le32_make(FORMAT_VERSION + 1);
    assert_int_equal(device_write(device, CHECKPOINT_OFFSET, newer, sizeof *newer, 0), ERROR_NONE);
    free(newer);
    assert_int_equal(checkpoint_read(device, &superblock, keys, &back), ERROR_NEWER_FORMAT);
}

static const struct device_operations *honest;
static uint64_t starved; /* the read there finds no memory */

static void submit_starved(struct device_io **ios, size_t count)
{
    ASSERT(count == 1);
    if (ios[0]->operation == DEVICE_READ && ios[0]->offset == starved)
        io_complete(ios[0], ERROR_NO_MEMORY, 0);
    else
        honest->submit(ios, count);
}

/* An older record in the place of the newest would look like a roll-back. */
static void a_record_for_which_memory_lacks_is_not_passed_over(void **context)
{
    (void)context;
    struct device_operations hungry = *device->operations;
    struct checkpoint back;
    write_number(1);
    write_number(2);
    honest = device->operations;
    hungry.submit = submit_starved;
    hungry.run = NULL;
    device->operations = &hungry;
    for (uint32_t copy = 0; copy < CHECKPOINT_COPIES; copy++) {
        starved = checkpoint_offset(&superblock, copy);
        assert_int_equal(checkpoint_read(device, &superblock, keys, &back), ERROR_NO_MEMORY);
    }
    device->operations = honest;
    assert_reads(2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_mismatch_has_its_own_error),
        TEST(no_bit_can_change_unseen),
        TEST(a_log_key_below_the_one_demanded_is_forged),
        TEST(another_devices_log_key_is_forged),
        TEST(numbers_out_of_bounds_are_refused_with_a_good_mac),
        TEST(a_record_survives),
        TEST(a_device_without_records_is_corrupt),
        TEST(the_newest_record_counts),
        TEST(damaged_records_uncover_the_one_before),
        TEST(damage_at_one_end_loses_nothing),
        TEST(records_of_a_newer_version_alone_are_said_so),
        TEST(a_record_for_which_memory_lacks_is_not_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
