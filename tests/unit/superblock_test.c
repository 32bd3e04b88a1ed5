/*
 * Superblocks on devices: whatever one copy suffers the others serve; what is nobody's, another's, cut off, newer,
 * damaged, forged or under another key is refused, each with its own error.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/memory.h"
#include "engine/group/superblock.h"
#include "engine/group/superblock_image.h"
#include "tests/unit/failing_devices.h"

#define DEVICE_SIZE  (UINT64_C(200) << 20)
#define SMALLER_SIZE (UINT64_C(180) << 20)
#define TAIL         (SUPERBLOCK_COPIES / 2)

static const uint8_t kek[KEY_SIZE] = {7, 7, 7}, other_kek[KEY_SIZE] = {7, 7, 8};
static const uint8_t k_pool[KEY_SIZE] = {9};
static char directory[64], path[128];
static struct superblock written;
static struct keyring *keys;

static struct device *device_opened(void)
{
    struct device *device;
    assert_int_equal(device_open_file(path, 0, &device), ERROR_NONE);
    return device;
}

static void write_superblock(void)
{
    struct device *device = device_opened();
    assert_int_equal(superblock_write(device, &written, keys, kek), ERROR_NONE);
    device_close(device);
}

static int setup(void **context)
{
    (void)context;
    const char *parent = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%.40s/coffer-XXXXXX", parent != NULL ? parent : "/tmp");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/device", directory);
    assert_int_equal(device_create_file(path, DEVICE_SIZE), ERROR_NONE);
    written = (struct superblock){
        .pool = uuid_random(),
        .group = uuid_random(),
        .device = uuid_random(),
        .epoch = 5,
        .device_size = DEVICE_SIZE,
        .device_index = 1,
        .device_count = 3,
        .features_compatible = 0,
        .wrapping = {uuid_random(), 3, 0x1234567890abcdef},
        .encryption = true,
        .fingerprint = 1,
        .log_key_demanded = 1,
        .pool_key_demanded = 1,
        .json = (char *)"{\"a\": 1}",
    };
    assert_int_equal(superblock_geometry(DEVICE_SIZE, &written.segment_shift, &written.slot_count), ERROR_NONE);
    assert_int_equal(keyring_create(true, k_pool, &keys), ERROR_NONE);
    write_superblock();
    return 0;
}

static int teardown(void **context)
{
    (void)context;
    keyring_destroy(keys);
    unlink(path);
    rmdir(directory);
    return 0;
}

static enum error probe(struct superblock_probe *found)
{
    struct device *device = device_opened();
    enum error error = superblock_probe(device, found);
    device_close(device);
    return error;
}

/* Probes and opens; on success checks the keys and forgets what was opened, but for `bad` and `epoch`. */
static enum error open_under(const uint8_t key[KEY_SIZE], unsigned *bad, uint64_t *epoch)
{
    struct superblock_probe found;
    struct superblock superblock;
    struct keyring *keyring;
    struct device *device = device_opened();
    enum error error = superblock_probe(device, &found);
    if (error == ERROR_NONE)
        error = superblock_open(device, &found, key, &superblock, &keyring, bad);
    device_close(device);
    if (error != ERROR_NONE)
        return error;
    *epoch = superblock.epoch;
    assert_memory_equal(keyring_find(keyring, KEY_KIND_POOL, 1), k_pool, KEY_SIZE);
    assert_memory_equal(keyring_find(keyring, KEY_KIND_DEK, 1), keyring_find(keys, KEY_KIND_DEK, 1), KEY_SIZE);
    keyring_destroy(keyring);
    superblock_forget(&superblock);
    return ERROR_NONE;
}

static void assert_opens(unsigned bad_expected)
{
    unsigned bad = 99;
    uint64_t epoch;
    assert_int_equal(open_under(kek, &bad, &epoch), ERROR_NONE);
    assert_int_equal(bad, bad_expected);
    assert_int_equal(epoch, written.epoch);
}

static void assert_fails(enum error expected, const char *words)
{
    unsigned bad;
    uint64_t epoch;
    error_forget();
    enum error error = open_under(kek, &bad, &epoch);
    assert_string_equal(error_name(error), error_name(expected));
    assert_non_null(strstr(error_sentence(error), words));
    assert_non_null(strstr(error_sentence(error), path));
}

static void flip(uint64_t offset)
{
    uint8_t byte;
    int descriptor = open(path, O_RDWR);
    assert_int_equal(pread(descriptor, &byte, 1, (off_t)offset), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(descriptor, &byte, 1, (off_t)offset), 1);
    close(descriptor);
}

static void flip_in_copy(uint32_t copy, uint64_t offset)
{
    flip(superblock_offset(DEVICE_SIZE, copy) + offset);
}

static void flip_in_all(uint64_t offset)
{
    for (uint32_t copy = 0; copy < SUPERBLOCK_COPIES; copy++)
        flip_in_copy(copy, offset);
}

static const size_t parts_of_a_copy[] = {
    0,                                           /* magic */
    offsetof(struct superblock_format, version), /* a newer one */
    offsetof(struct superblock_format, crc),
    offsetof(struct superblock_format, mac),
    offsetof(struct superblock_format, epoch),
    offsetof(struct superblock_format, reserved) + 3000,
    SUPERBLOCK_SLOTS_OFFSET + 20, /* a wrapped key */
    SUPERBLOCK_BINARY_SIZE - 1,
    SUPERBLOCK_BINARY_SIZE + 3, /* the JSON */
    SUPERBLOCK_SIZE - 1,
};

static void one_damaged_copy_does_not_matter(void **context)
{
    (void)context;
    assert_opens(0);
    for (size_t i = 0; i < COUNT_OF(parts_of_a_copy); i++)
        for (uint32_t copy = 0; copy < SUPERBLOCK_COPIES; copy++) {
            flip_in_copy(copy, parts_of_a_copy[i]);
            assert_opens(1);
            flip_in_copy(copy, parts_of_a_copy[i]);
        }
}

static void any_one_whole_copy_suffices(void **context)
{
    (void)context;
    for (uint32_t copy = 0; copy < SUPERBLOCK_COPIES; copy++) {
        flip_in_all(offsetof(struct superblock_format, epoch));
        flip_in_copy(copy, offsetof(struct superblock_format, epoch));
        assert_opens(3);
        flip_in_all(offsetof(struct superblock_format, epoch));
        flip_in_copy(copy, offsetof(struct superblock_format, epoch));
    }
    assert_opens(0);
}

static void four_damaged_copies_are_corrupt(void **context)
{
    (void)context;
    flip_in_all(offsetof(struct superblock_format, group));
    assert_fails(ERROR_CORRUPT, "damaged");
}

static void damage_behind_the_fixed_part_of_all_is_not_a_wrong_key(void **context)
{
    (void)context;
    flip_in_all(SUPERBLOCK_BINARY_SIZE + 3);
    assert_fails(ERROR_FORGED, "the key fits");
}

static void one_unwrapping_slot_tells_damage_from_a_wrong_key(void **context)
{
    (void)context;
    flip_in_all(SUPERBLOCK_SLOTS_OFFSET + 20);
    assert_fails(ERROR_FORGED, "the key fits");
}

static void a_wrong_key_is_said_so(void **context)
{
    (void)context;
    unsigned bad;
    uint64_t epoch;
    assert_int_equal(open_under(other_kek, &bad, &epoch), ERROR_WRONG_KEY);
    assert_non_null(strstr(error_sentence(ERROR_WRONG_KEY), path));
    assert_int_equal(open_under(kek_public, &bad, &epoch), ERROR_WRONG_KEY);
}

static void a_device_of_zeros_is_nobodys(void **context)
{
    (void)context;
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(truncate(path, DEVICE_SIZE), 0);
    assert_fails(ERROR_NOT_FOUND, "no Coffer superblock");
}

static void a_tiny_device_is_nobodys(void **context)
{
    (void)context;
    assert_int_equal(truncate(path, 0), 0);
    for (off_t size = 4096; size < 4 << 20; size = size * 3 / 4096 * 4096) {
        assert_int_equal(truncate(path, size), 0);
        assert_fails(ERROR_NOT_FOUND, "no Coffer superblock");
    }
}

static void a_truncated_device_is_said_so(void **context)
{
    (void)context;
    assert_int_equal(truncate(path, DEVICE_SIZE - 4096), 0);
    assert_fails(ERROR_CORRUPT, "truncated");
    assert_int_equal(truncate(path, 4096), 0);
    assert_fails(ERROR_CORRUPT, "truncated");
}

static void a_device_that_grew_opens_with_all_copies(void **context)
{
    (void)context;
    assert_int_equal(truncate(path, DEVICE_SIZE + (UINT64_C(10) << 20)), 0);
    assert_opens(0);
}

static void a_lost_head_is_served_by_the_tail(void **context)
{
    (void)context;
    void *zeros = memory_zeroed(1, AREA_SIZE);
    int descriptor = open(path, O_RDWR);
    assert_int_equal(pwrite(descriptor, zeros, AREA_SIZE, 0), AREA_SIZE);
    close(descriptor);
    free(zeros);
    assert_opens(2);
}

/* Another device's, as it was written there, over so many of the head copies here: nothing of it verifies. */
static void copies_of_a_smaller_device_put(uint32_t count)
{
    char own[sizeof path];
    uint8_t head[TAIL * SUPERBLOCK_SIZE];
    struct superblock other = written;
    memcpy(own, path, sizeof own);
    snprintf(path, sizeof path, "%s/smaller", directory);
    assert_int_equal(device_create_file(path, SMALLER_SIZE), ERROR_NONE);
    other.device = uuid_random();
    other.epoch++;
    other.device_size = SMALLER_SIZE;
    assert_int_equal(superblock_geometry(other.device_size, &other.segment_shift, &other.slot_count), ERROR_NONE);
    struct device *device = device_opened();
    assert_int_equal(superblock_write(device, &other, keys, other_kek), ERROR_NONE);
    device_close(device);
    int from = open(path, O_RDONLY), to = open(own, O_WRONLY);
    assert_int_equal(pread(from, head, count * SUPERBLOCK_SIZE, 0), count * SUPERBLOCK_SIZE);
    assert_int_equal(pwrite(to, head, count * SUPERBLOCK_SIZE, 0), count * SUPERBLOCK_SIZE);
    close(from);
    close(to);
    unlink(path);
    memcpy(path, own, sizeof own);
}

/* `dd` of a smaller disk of a pool that was stopped in time. */
static void a_head_of_a_smaller_device_does_not_hide_the_tail(void **context)
{
    (void)context;
    copies_of_a_smaller_device_put(TAIL);
    assert_opens(2);
}

static void a_copy_of_a_smaller_device_does_not_hide_the_tail_of_one_that_grew(void **context)
{
    (void)context;
    assert_int_equal(truncate(path, DEVICE_SIZE + (UINT64_C(10) << 20)), 0);
    copies_of_a_smaller_device_put(1);
    assert_opens(1);
}

static void a_newer_format_is_said_so(void **context)
{
    (void)context;
    flip_in_all(offsetof(struct superblock_format, version));
    assert_fails(ERROR_NEWER_FORMAT, "later one");
    struct superblock_probe found;
    memset(&found, 1, sizeof found);
    assert_int_equal(probe(&found), ERROR_NEWER_FORMAT);
}

static void an_unknown_feature_is_a_newer_format(void **context)
{
    (void)context;
    written.features_incompatible = 1;
    write_superblock();
    assert_fails(ERROR_NEWER_FORMAT, "features");
    written.features_incompatible = 0;
    written.features_read_only = 1;
    write_superblock();
    assert_fails(ERROR_NEWER_FORMAT, "only be read");
    struct superblock_probe found;
    struct superblock back;
    struct keyring *keyring;
    struct device *device;
    unsigned bad;
    assert_int_equal(device_open_file(path, DEVICE_OPEN_READ_ONLY, &device), ERROR_NONE);
    assert_int_equal(superblock_probe(device, &found), ERROR_NONE);
    assert_int_equal(superblock_open(device, &found, kek, &back, &keyring, &bad), ERROR_NONE);
    assert_int_equal(back.features_read_only, 1);
    device_close(device);
    keyring_destroy(keyring);
    superblock_forget(&back);
    written.features_read_only = 0;
    written.features_compatible = 1;
    write_superblock();
    assert_opens(0);
}

static void copies_in_each_others_place_are_refused(void **context)
{
    (void)context;
    uint8_t *image = memory_zeroed(1, SUPERBLOCK_SIZE);
    int descriptor = open(path, O_RDWR);
    assert_int_equal(pread(descriptor, image, SUPERBLOCK_SIZE, 0), SUPERBLOCK_SIZE);
    for (uint32_t copy = 1; copy < SUPERBLOCK_COPIES; copy++)
        assert_int_equal(pwrite(descriptor, image, SUPERBLOCK_SIZE, (off_t)superblock_offset(DEVICE_SIZE, copy)),
                         SUPERBLOCK_SIZE);
    close(descriptor);
    free(image);
    assert_opens(3);
}

/* What a crash between the two ends leaves, either way round. */
static void of_two_epochs_the_newer_counts(void **context)
{
    (void)context;
    uint8_t *head = memory_zeroed(1, AREA_SIZE);
    int descriptor = open(path, O_RDWR);
    assert_int_equal(pread(descriptor, head, AREA_SIZE, 0), AREA_SIZE);
    written.epoch = 6;
    write_superblock();
    assert_int_equal(pwrite(descriptor, head, AREA_SIZE, 0), AREA_SIZE);
    close(descriptor);
    free(head);
    assert_opens(2);
    flip_in_copy(2, SUPERBLOCK_SIZE - 1);
    assert_opens(3);
    flip_in_copy(3, SUPERBLOCK_SIZE - 1);
    written.epoch = 5;
    assert_opens(2);
}

static void everything_written_comes_back(void **context)
{
    (void)context;
    struct superblock_probe found;
    struct superblock back;
    struct keyring *keyring;
    unsigned bad;
    struct device *device = device_opened();
    assert_int_equal(superblock_probe(device, &found), ERROR_NONE);
    assert_int_equal(found.magic_seen, SUPERBLOCK_COPIES);
    assert_int_equal(superblock_open(device, &found, kek, &back, &keyring, &bad), ERROR_NONE);
    device_close(device);
    assert_true(uuid_equal(back.pool, written.pool) && uuid_equal(back.group, written.group));
    assert_true(uuid_equal(back.device, written.device) &&
                uuid_equal(back.wrapping.provider, written.wrapping.provider));
    assert_true(back.wrapping.kek_number == 3 && back.wrapping.kek_salt == 0x1234567890abcdef);
    assert_true(back.device_size == DEVICE_SIZE && back.device_index == 1 && back.device_count == 3);
    assert_true(back.segment_shift == written.segment_shift && back.slot_count == written.slot_count);
    assert_true(back.encryption && back.fingerprint == 1 && back.log_key_demanded == 1);
    assert_string_equal(back.json, "{\"a\": 1}");
    assert_int_equal(keyring->count, 3);
    assert_true(keyring->encrypted);
    keyring_destroy(keyring);
    superblock_forget(&back);
}

static void json_may_fill_its_room_and_no_more(void **context)
{
    (void)context;
    char *json = memory_zeroed(1, SUPERBLOCK_JSON_SIZE + 2);
    memset(json, 'j', SUPERBLOCK_JSON_SIZE);
    written.json = json;
    write_superblock();
    assert_opens(0);
    json[SUPERBLOCK_JSON_SIZE] = 'j';
    struct device *device = device_opened();
    assert_int_equal(superblock_write(device, &written, keys, kek), ERROR_TOO_LARGE);
    device_close(device);
    assert_opens(0);
    free(json);
}

static void geometry_refuses_the_small_and_bounds_the_large(void **context)
{
    (void)context;
    uint32_t shift, slots;
    uint64_t least = 2 * AREA_SIZE + (UINT64_C(32) << 22);
    assert_int_equal(superblock_geometry(0, &shift, &slots), ERROR_INVALID);
    assert_int_equal(superblock_geometry(least - 1, &shift, &slots), ERROR_INVALID);
    assert_non_null(strstr(error_sentence(ERROR_INVALID), "130 MiB"));
    assert_int_equal(superblock_geometry(least, &shift, &slots), ERROR_NONE);
    assert_true(shift == 22 && slots == 32);
    for (unsigned power = 28; power < 62; power++) {
        assert_int_equal(superblock_geometry(UINT64_C(1) << power, &shift, &slots), ERROR_NONE);
        assert_true(shift >= SEGMENT_SHIFT_MIN && shift <= SEGMENT_SHIFT_MAX && slots <= SLOTS_MAX);
        assert_true(2 * AREA_SIZE + ((uint64_t)slots << shift) <= UINT64_C(1) << power);
    }
}

static void flip_at(uint64_t offset)
{
    uint8_t byte;
    int descriptor = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(descriptor, &byte, 1, (off_t)offset), 1);
    byte ^= 4;
    assert_int_equal(pwrite(descriptor, &byte, 1, (off_t)offset), 1);
    close(descriptor);
}

/* Any byte counts, the MACs' own too, and no key is asked for. */
static void a_copy_that_changed_after_the_open_is_told_from_its_mark(void **context)
{
    (void)context;
    const uint32_t spots[] = {20, 30, 200, 4100, SUPERBLOCK_SIZE - 1};
    struct superblock_probe found;
    struct superblock back;
    struct keyring *keyring;
    unsigned bad;
    write_superblock();
    struct device *device = device_opened();
    assert_int_equal(superblock_probe(device, &found), ERROR_NONE);
    assert_int_equal(superblock_open(device, &found, kek, &back, &keyring, &bad), ERROR_NONE);
    for (uint32_t copy = 0; copy < SUPERBLOCK_COPIES; copy++) {
        uint32_t spot = spots[copy];
        assert_int_equal(superblock_copy_check(device, &back, copy), ERROR_NONE);
        assert_int_equal(superblock_copy_check(device, &written, copy), ERROR_NONE);
        flip_at(superblock_offset(back.device_size, copy) + spot);
        assert_int_equal(superblock_copy_check(device, &back, copy), ERROR_CORRUPT);
        flip_at(superblock_offset(back.device_size, copy) + spot);
    }
    flip_at(superblock_offset(back.device_size, 3) + spots[4]);
    assert_int_equal(superblock_copy_check(device, &back, 3), ERROR_CORRUPT);
    device_close(device);
    keyring_destroy(keyring);
    superblock_forget(&back);
}

static void assert_opens_under(const uint8_t key[KEY_SIZE], enum error expected)
{
    unsigned bad;
    uint64_t epoch;
    assert_int_equal(open_under(key, &bad, &epoch), expected);
}

static void write_both(void)
{
    struct device *device = device_opened();
    written.epoch++;
    written.other = (struct wrapping){uuid_random(), 4, 99};
    assert_int_equal(superblock_write_both(device, &written, keys, kek, other_kek), ERROR_NONE);
    device_close(device);
}

static void during_a_change_of_keys_either_kek_opens(void **context)
{
    (void)context;
    assert_opens_under(other_kek, ERROR_WRONG_KEY);
    write_both();
    assert_opens_under(kek, ERROR_NONE);
    assert_opens_under(other_kek, ERROR_NONE);
    flip_in_all(offsetof(struct superblock_format, wrappings[1].kek_salt));
    assert_opens_under(kek, ERROR_CORRUPT); /* its CRC */
}

static void what_opens_says_which_kek_it_was_and_which_is_the_other(void **context)
{
    struct superblock_probe found;
    struct superblock back;
    struct keyring *keyring;
    unsigned bad;
    (void)context;
    write_both();
    struct device *device = device_opened();
    assert_int_equal(superblock_probe(device, &found), ERROR_NONE);
    assert_memory_equal(&superblock_newest(&found)->other, &written.other, sizeof written.other);
    assert_int_equal(superblock_open(device, &found, other_kek, &back, &keyring, &bad), ERROR_NONE);
    assert_memory_equal(&back.wrapping, &written.other, sizeof back.wrapping);
    assert_memory_equal(&back.other, &written.wrapping, sizeof back.other);
    device_close(device);
    keyring_destroy(keyring);
    superblock_forget(&back);
}

static void nothing_of_the_old_kek_is_left_after_a_change_of_keys(void **context)
{
    (void)context;
    write_both();
    struct device *device = device_opened();
    written.epoch++;
    written.wrapping = written.other;
    assert_int_equal(superblock_write(device, &written, keys, other_kek), ERROR_NONE);
    device_close(device);
    assert_opens_under(other_kek, ERROR_NONE);
    assert_opens_under(kek, ERROR_WRONG_KEY);
}

/* The power goes before some flush is complete: all that was written since the one before is torn. */
static struct {
    unsigned flushes; /* that are left before it; 0: it went */
    uint64_t offsets[SUPERBLOCK_COPIES];
    unsigned count;
} power;

static void tear(void)
{
    static const uint8_t noise[SUPERBLOCK_SIZE / 2] = {1, 2, 3};
    int descriptor = open(path, O_RDWR | O_CLOEXEC);
    for (unsigned i = 0; i < power.count; i++)
        assert_int_equal(pwrite(descriptor, noise, sizeof noise, (off_t)power.offsets[i]), sizeof noise);
    close(descriptor);
}

static void submit_failing(struct device_io **ios, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct device_io *io = ios[i];
        if (io->operation == DEVICE_WRITE)
            power.offsets[power.count++] = io->offset;
        if (io->operation != DEVICE_FLUSH || --power.flushes > 0) {
            power.count = io->operation == DEVICE_FLUSH ? 0 : power.count;
            honest->submit(&ios[i], 1);
            continue;
        }
        tear();
        io_complete(io, ERROR_IO, EIO);
    }
}

/* What was opened is written anew, with another epoch, as far as the power lets it. */
static void rewrite_until(unsigned flushes)
{
    struct superblock_probe found;
    struct superblock back;
    struct keyring *keyring;
    unsigned bad;
    struct device *device;
    power.flushes = flushes;
    power.count = 0;
    assert_int_equal(open_failing(path, 0, NULL, &device), ERROR_NONE);
    assert_int_equal(superblock_probe(device, &found), ERROR_NONE);
    assert_int_equal(superblock_open(device, &found, kek, &back, &keyring, &bad), ERROR_NONE);
    back.epoch += 10;
    assert_int_equal(superblock_write(device, &back, keyring, kek), flushes > 2 ? ERROR_NONE : ERROR_IO);
    device_close(device);
    keyring_destroy(keyring);
    superblock_forget(&back);
}

enum end_before { WHOLE, DAMAGED, OLDER };

static void end_make(uint32_t copy, enum end_before before)
{
    const uint64_t first = superblock_offset(DEVICE_SIZE, copy);
    uint8_t *older = memory_zeroed(1, 2 * SUPERBLOCK_SIZE);
    int descriptor = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(descriptor, older, 2 * SUPERBLOCK_SIZE, (off_t)first), 2 * SUPERBLOCK_SIZE);
    written.epoch++;
    write_superblock();
    if (before == OLDER)
        assert_int_equal(pwrite(descriptor, older, 2 * SUPERBLOCK_SIZE, (off_t)first), 2 * SUPERBLOCK_SIZE);
    close(descriptor);
    free(older);
    if (before != DAMAGED)
        return;
    flip_in_copy(copy, 100);
    flip_in_copy(copy + 1, SUPERBLOCK_SIZE - 1);
}

static void assert_newest_is(uint64_t expected)
{
    unsigned bad;
    uint64_t epoch = 0;
    assert_int_equal(open_under(kek, &bad, &epoch), ERROR_NONE);
    assert_int_equal(epoch, expected);
}

/* That end is written last which is whole and the newest, so that one always is. */
static void whatever_one_end_holds_a_torn_rewrite_leaves_a_newest_one(void **context)
{
    (void)context;
    for (uint32_t end = 0; end < SUPERBLOCK_COPIES; end += SUPERBLOCK_COPIES / 2) {
        for (enum end_before before = WHOLE; before <= OLDER; before++) {
            for (unsigned flushes = 1; flushes <= 3; flushes++) {
                end_make(end, before);
                rewrite_until(flushes);
                written.epoch += flushes == 1 ? 0 : 10; /* it did not happen, or it did */
                assert_newest_is(written.epoch);
                rewrite_until(1); /* what would mend it */
                assert_newest_is(written.epoch);
                written.epoch += 20;
            }
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_damaged_copy_does_not_matter),
        TEST(any_one_whole_copy_suffices),
        TEST(four_damaged_copies_are_corrupt),
        TEST(damage_behind_the_fixed_part_of_all_is_not_a_wrong_key),
        TEST(one_unwrapping_slot_tells_damage_from_a_wrong_key),
        TEST(a_wrong_key_is_said_so),
        TEST(a_device_of_zeros_is_nobodys),
        TEST(a_tiny_device_is_nobodys),
        TEST(a_truncated_device_is_said_so),
        TEST(a_device_that_grew_opens_with_all_copies),
        TEST(a_lost_head_is_served_by_the_tail),
        TEST(a_head_of_a_smaller_device_does_not_hide_the_tail),
        TEST(a_copy_of_a_smaller_device_does_not_hide_the_tail_of_one_that_grew),
        TEST(a_newer_format_is_said_so),
        TEST(an_unknown_feature_is_a_newer_format),
        TEST(copies_in_each_others_place_are_refused),
        TEST(of_two_epochs_the_newer_counts),
        TEST(whatever_one_end_holds_a_torn_rewrite_leaves_a_newest_one),
        TEST(everything_written_comes_back),
        TEST(json_may_fill_its_room_and_no_more),
        TEST(a_copy_that_changed_after_the_open_is_told_from_its_mark),
        TEST(during_a_change_of_keys_either_kek_opens),
        TEST(what_opens_says_which_kek_it_was_and_which_is_the_other),
        TEST(nothing_of_the_old_kek_is_left_after_a_change_of_keys),
        cmocka_unit_test(geometry_refuses_the_small_and_bounds_the_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
