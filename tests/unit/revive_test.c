/*
 * A device that lost all copies of its superblock: revived from a peer where it proves to be the right one and a person
 * asked for it; else nothing is written and the sentence says what is wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/random.h"
#include "engine/device/kind.h"
#include "engine/group/checkpoint.h"
#include "engine/group/superblock_image.h"
#include "tests/unit/pool_fixture.h"

#define DEVICES 3

static char paths[DEVICES][160];
static size_t device_count;

static int setup_pool(size_t count, bool encrypted, const char *sealed)
{
    const char *parent = getenv("TMPDIR"), *given[DEVICES];
    snprintf(fixture_root, sizeof fixture_root, "%.40s/coffer-XXXXXX", parent != NULL ? parent : "/tmp");
    assert_non_null(mkdtemp(fixture_root));
    snprintf(fixture_directory, sizeof fixture_directory, "%s/pool", fixture_root);
    device_count = count;
    for (size_t i = 0; i < count; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/disk%zu", fixture_root, i);
        assert_fine(device_create_file(paths[i], FIXTURE_SIZE + i * 4096));
        given[i] = paths[i];
    }
    assert_fine(pool_create(&(struct pool_create_options){.directory = fixture_directory,
                                                          .device_paths = given,
                                                          .device_count = count,
                                                          .encryption = encrypted,
                                                          .fingerprint = POOL_FINGERPRINT_XXH3,
                                                          .seal = sealed}));
    assert_fine(pool_try_open());
    make("disk", GIB);
    for (unsigned i = 1; i < 64; i++)
        write_block("disk", (uint64_t)i * COFFER_BLOCK, i);
    assert_fine(pool_close(pool));
    pool = NULL;
    return 0;
}

static int setup(void **context) { (void)context; return setup_pool(DEVICES, true, "file"); }
static int setup_plain(void **context) { (void)context; return setup_pool(DEVICES, false, NULL); }
static int setup_one(void **context) { (void)context; return setup_pool(1, true, "file"); }

static void write_at(const char *path, uint64_t offset, const void *bytes, size_t size)
{
    int descriptor = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(descriptor, bytes, size, (off_t)offset), size);
    close(descriptor);
}

static void read_at(const char *path, uint64_t offset, void *bytes, size_t size)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(pread(descriptor, bytes, size, (off_t)offset), size);
    close(descriptor);
}

static void spoil_superblocks(size_t i)
{
    AUTO_FREE uint8_t *noise = malloc(SUPERBLOCK_SIZE);
    for (uint32_t copy = 0; copy < SUPERBLOCK_COPIES; copy++) {
        random_bytes(noise, SUPERBLOCK_SIZE);
        write_at(paths[i], superblock_offset(FIXTURE_SIZE + i * 4096, copy), noise, SUPERBLOCK_SIZE);
    }
}

/* Both areas of each device: what an open may write before its group begins. */
static uint8_t *areas_read(void)
{
    uint8_t *areas = malloc(device_count * 2 * AREA_SIZE);
    for (size_t i = 0; i < device_count; i++) {
        read_at(paths[i], 0, areas + 2 * i * AREA_SIZE, AREA_SIZE);
        read_at(paths[i], FIXTURE_SIZE + i * 4096 - AREA_SIZE, areas + (2 * i + 1) * AREA_SIZE, AREA_SIZE);
    }
    return areas;
}

static void assert_areas(const uint8_t *before)
{
    AUTO_FREE uint8_t *now = areas_read();
    assert_memory_equal(now, before, device_count * 2 * AREA_SIZE);
}

static enum error repair(void)
{
    struct pool_open_options options = {.memory = FIXTURE_MEMORY};
    error_forget();
    return pool_repair(fixture_directory, &options, NULL);
}

static void assert_data_is_intact(void)
{
    assert_fine(pool_try_open());
    for (unsigned i = 1; i < 64; i++)
        assert_block("disk", (uint64_t)i * COFFER_BLOCK, i);
    pool_close_checked();
}

static void all_copies_of_any_one_device_come_back(void **context)
{
    char command[192];
    (void)context;
    snprintf(command, sizeof command, "`coffer -C %s check --repair`", fixture_directory);
    for (size_t i = 0; i < device_count; i++) {
        spoil_superblocks(i);
        AUTO_FREE uint8_t *before = areas_read();
        enum error error = pool_try_open();
        assert_refused(error, ERROR_NOT_FOUND, paths[i]);
        assert_refused(error, ERROR_NOT_FOUND, command);
        assert_areas(before);
        assert_fine(repair());
        assert_data_is_intact();
    }
}

static void two_lost_devices_come_back_from_the_third(void **context)
{
    (void)context;
    spoil_superblocks(0);
    spoil_superblocks(2);
    assert_fine(repair());
    assert_data_is_intact();
    spoil_superblocks(1); /* the revived ones hold its keys */
    assert_fine(repair());
    assert_data_is_intact();
}

/* Each time its superblock is younger than those of the others, and the witness knows. */
static void a_device_comes_back_again_and_again(void **context)
{
    (void)context;
    for (unsigned i = 0; i < 3; i++) {
        spoil_superblocks(2);
        assert_fine(repair());
        assert_data_is_intact();
    }
}

/* A device that takes no writes to its head area any more, as one does whose spare sectors are used up. */
static struct {
    struct device_operations operations;
    const struct device_operations *real;
    unsigned refused;
} head;

static void head_submit(struct device_io **ios, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (ios[i]->operation != DEVICE_WRITE || ios[i]->offset >= AREA_SIZE) {
            head.real->submit(&ios[i], 1);
            continue;
        }
        head.refused++;
        device_fence(ios[i], EIO);
        io_complete(ios[i], ERROR_IO, EIO);
    }
}

static enum error open_without_head(const char *path, unsigned flags, void *context, struct device **device)
{
    (void)context;
    TRY(device_open_file(path, flags, device));
    head.real = (*device)->operations;
    head.operations = *head.real;
    head.operations.submit = head_submit;
    head.operations.run = NULL;
    head.refused = 0;
    (*device)->operations = &head.operations;
    return ERROR_NONE;
}

static void a_superblock_end_that_cannot_be_written_stops_the_open(void **context)
{
    struct pool_open_options options = {.memory = FIXTURE_MEMORY, .open_device = open_without_head};
    struct check_report report;
    (void)context;
    write_at(paths[0], superblock_offset(FIXTURE_SIZE, 1), "!", 1);
    AUTO_FREE uint8_t *before = areas_read();
    for (unsigned i = 0; i < 2; i++) {
        assert_refused(pool_open(fixture_directory, &options, &pool), ERROR_IO, "copy it to another one");
        assert_int_equal(head.refused, 1); /* and nothing after it */
        assert_areas(before);
    }
    pool = NULL;
    options.read_only = true;
    assert_fine(pool_check(fixture_directory, &options, &(struct check_listener){.found = fixture_found}, &report));
    assert_int_equal(report.errors, 1); /* that copy; the rest can be read */
    assert_data_is_intact();            /* as a copy of the device would be */
}

/* A device of which two records, of one number, cannot be read. */
static struct {
    struct device_operations operations;
    const struct device_operations *real;
    uint32_t copy; /* and the one at the other end */
} mute;

static void mute_submit(struct device_io **ios, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t one = CHECKPOINT_OFFSET + mute.copy * CHECKPOINT_STRIDE, other = FIXTURE_SIZE - AREA_SIZE + one;
        if (ios[i]->operation == DEVICE_READ && (ios[i]->offset == one || ios[i]->offset == other))
            io_complete(ios[i], ERROR_IO, EIO);
        else
            mute.real->submit(&ios[i], 1);
    }
}

static enum error open_mute(const char *path, unsigned flags, void *context, struct device **device)
{
    (void)context;
    TRY(device_open_file(path, flags, device));
    mute.real = (*device)->operations;
    mute.operations = *mute.real;
    mute.operations.submit = mute_submit;
    mute.operations.run = NULL;
    (*device)->operations = &mute.operations;
    return ERROR_NONE;
}

/* Else a person would be told to accept a roll-back, and lose what a better cable brings back. */
static void a_newest_record_that_cannot_be_read_is_no_roll_back(void **context)
{
    struct pool_open_options options = {.memory = FIXTURE_MEMORY, .open_device = open_mute};
    enum error error = ERROR_NONE;
    (void)context;
    for (unsigned tries = 0; tries < 4 && !error; tries++) {
        mute.copy = tries / 2; /* whatever an open and a close add to the number */
        error = pool_open(fixture_directory, &options, &pool);
        if (!error)
            assert_fine(pool_close(pool));
    }
    assert_refused(error, ERROR_IO, "cannot be read");
    options.accept_rollback = true;
    assert_refused(pool_open(fixture_directory, &options, &pool), ERROR_IO, "cannot be read");
    pool = NULL;
    assert_data_is_intact();
}

/* The key opens the other devices, so no other key is to be looked for. */
static void key_slots_that_were_altered_are_no_wrong_key(void **context)
{
    struct pool_open_options options = {.memory = FIXTURE_MEMORY, .start_locked = true};
    uint8_t noise[4096];
    (void)context;
    random_bytes(noise, sizeof noise);
    for (uint32_t copy = 0; copy < SUPERBLOCK_COPIES; copy++)
        write_at(paths[0], superblock_offset(FIXTURE_SIZE, copy) + SUPERBLOCK_SLOTS_OFFSET, noise, sizeof noise);
    assert_refused(pool_open(fixture_directory, &options, &pool), ERROR_WRONG_KEY, "--repair");
    pool = NULL;
    assert_fine(repair());
    assert_data_is_intact();
}

static void copies_altered_behind_their_fixed_part_are_lost_too(void **context)
{
    (void)context;
    for (uint32_t copy = 0; copy < SUPERBLOCK_COPIES; copy++)
        write_at(paths[1], superblock_offset(FIXTURE_SIZE + 4096, copy) + SUPERBLOCK_BINARY_SIZE, "!", 1);
    assert_refused(pool_try_open(), ERROR_FORGED, "--repair");
    assert_fine(repair());
    assert_data_is_intact();
}

static void all_devices_lost_is_an_error_and_nothing_is_written(void **context)
{
    (void)context;
    for (size_t i = 0; i < device_count; i++)
        spoil_superblocks(i);
    AUTO_FREE uint8_t *before = areas_read();
    assert_refused(pool_try_open(), ERROR_NOT_FOUND, "carries no Coffer superblock");
    assert_null(strstr(error_sentence(ERROR_NOT_FOUND), "--repair"));
    assert_refused(repair(), ERROR_NOT_FOUND, "carries no Coffer superblock");
    assert_areas(before);
}

static void a_blank_disk_in_its_place_is_never_written(void **context)
{
    (void)context;
    assert_int_equal(truncate(paths[1], 0), 0);
    assert_int_equal(truncate(paths[1], FIXTURE_SIZE + 4096), 0);
    AUTO_FREE uint8_t *before = areas_read();
    assert_refused(pool_try_open(), ERROR_NOT_FOUND, "checkpoint record");
    assert_refused(repair(), ERROR_NOT_FOUND, "checkpoint record");
    assert_areas(before);
}

/* A peer's image, its superblocks lost: its records verify, but as the peer's. */
static void a_copy_of_a_peer_in_its_place_is_never_written(void **context)
{
    (void)context;
    AUTO_FREE uint8_t *area = malloc(AREA_SIZE);
    read_at(paths[0], 0, area, AREA_SIZE);
    write_at(paths[1], 0, area, AREA_SIZE);
    read_at(paths[0], FIXTURE_SIZE - AREA_SIZE, area, AREA_SIZE);
    write_at(paths[1], FIXTURE_SIZE + 4096 - AREA_SIZE, area, AREA_SIZE);
    spoil_superblocks(1);
    AUTO_FREE uint8_t *before = areas_read();
    assert_refused(repair(), ERROR_NOT_FOUND, "checkpoint record");
    assert_areas(before);
}

static void a_truncated_device_is_not_revived(void **context)
{
    (void)context;
    spoil_superblocks(1);
    assert_int_equal(truncate(paths[1], FIXTURE_SIZE - MIB), 0);
    assert_refused(repair(), ERROR_NOT_FOUND, "truncated");
    struct stat status;
    assert_int_equal(stat(paths[1], &status), 0);
    assert_int_equal(status.st_size, FIXTURE_SIZE - MIB);
}

static void a_device_that_grew_is_revived_at_its_old_size(void **context)
{
    (void)context;
    spoil_superblocks(1);
    assert_int_equal(truncate(paths[1], FIXTURE_SIZE + 8 * MIB), 0);
    assert_fine(repair());
    assert_data_is_intact();
}

static void a_rolled_back_device_stays_refused(void **context)
{
    (void)context;
    AUTO_FREE uint8_t *older = areas_read();
    assert_fine(pool_try_open());
    write_block("disk", 0, 99);
    assert_fine(pool_close(pool));
    pool = NULL;
    write_at(paths[1], 0, older + 2 * AREA_SIZE, AREA_SIZE);
    write_at(paths[1], FIXTURE_SIZE + 4096 - AREA_SIZE, older + 3 * AREA_SIZE, AREA_SIZE);
    spoil_superblocks(1);
    AUTO_FREE uint8_t *before = areas_read();
    assert_refused(repair(), ERROR_ROLLED_BACK, paths[1]);
    assert_areas(before);
}

static void peers_that_are_not_there_are_written_at_the_next_open(void **context)
{
    (void)context;
    assert_fine(pool_try_open());
    struct group *group = pool->group;
    uint8_t kek[KEY_SIZE];
    memcpy(kek, kek_public, KEY_SIZE);
    struct superblock *superblock = &group->superblocks[2];
    superblock->peer_count = 1; /* as if one device had other keys by now */
    assert_fine(superblock_write(group->devices[2], superblock, group->keyrings[2], kek));
    assert_fine(pool_close(pool));
    assert_fine(pool_try_open());
    assert_int_equal(pool->group->superblocks[2].peer_count, DEVICES - 1);
    assert_true(pool->group->superblocks[2].epoch > pool->group->superblocks[1].epoch);
    pool_close_checked();
    spoil_superblocks(0);
    spoil_superblocks(1);
    assert_fine(repair());
    assert_data_is_intact();
}

/* A superblock takes an epoch of its own, which no checkpoint record states: it too must not be handed out again. */
static void a_witness_older_than_a_revived_superblock_is_refused(void **context)
{
    (void)context;
    char path[160];
    AUTO_FREE char *witness = calloc(1, 65536);
    snprintf(path, sizeof path, "%s/witness", fixture_directory);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = read(descriptor, witness, 65536);
    close(descriptor);
    spoil_superblocks(1);
    assert_fine(repair());
    descriptor = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_int_equal(write(descriptor, witness, (size_t)size), size);
    close(descriptor);
    assert_refused(pool_try_open(), ERROR_ROLLED_BACK, "older than the disks");
    assert_int_equal(unlink(path), 0);
    struct pool_open_options options = {.memory = FIXTURE_MEMORY, .accept_rollback = true};
    assert_fine(pool_open(fixture_directory, &options, &pool));
    assert_true(pool->epoch > pool->group->superblocks[1].epoch);
    pool_close_checked();
}

static void a_pool_without_damage_is_not_touched_by_a_repair(void **context)
{
    (void)context;
    AUTO_FREE uint8_t *before = areas_read();
    assert_fine(repair());
    assert_areas(before);
}

static void superblock_rewrite(uint64_t incompatible, uint64_t read_only)
{
    assert_fine(pool_try_open());
    struct superblock *superblock = &pool->group->superblocks[0];
    superblock->features_incompatible = incompatible;
    superblock->features_read_only = read_only;
    assert_fine(superblock_write(pool->group->devices[0], superblock, pool->group->keyrings[0], kek_public));
    assert_fine(pool_close(pool));
    pool = NULL;
}

static void an_unknown_read_only_feature_forbids_writing_alone(void **context)
{
    (void)context;
    struct pool_open_options options = {.memory = FIXTURE_MEMORY, .read_only = true};
    superblock_rewrite(0, UINT64_C(1) << 40);
    AUTO_FREE uint8_t *before = areas_read();
    assert_refused(pool_try_open(), ERROR_NEWER_FORMAT, "can only be read");
    assert_refused(repair(), ERROR_NEWER_FORMAT, "can only be read");
    assert_fine(pool_open(fixture_directory, &options, &pool));
    assert_block("disk", COFFER_BLOCK, 1);
    pool_close_checked();
    assert_areas(before);
}

static void an_unknown_incompatible_feature_forbids_reading_too(void **context)
{
    (void)context;
    struct pool_open_options options = {.memory = FIXTURE_MEMORY, .read_only = true};
    struct check_report report;
    superblock_rewrite(UINT64_C(1) << 40, 0);
    assert_refused(pool_try_open(), ERROR_NEWER_FORMAT, "features that this Coffer does not know");
    assert_refused(pool_open(fixture_directory, &options, &pool), ERROR_NEWER_FORMAT, "features");
    enum error error = pool_check(fixture_directory, &options, &(struct check_listener){.found = fixture_found}, &report);
    assert_refused(error, ERROR_NEWER_FORMAT, "features");
}

static void a_single_device_has_nobody_to_revive_it(void **context)
{
    (void)context;
    spoil_superblocks(0);
    AUTO_FREE uint8_t *before = areas_read();
    assert_refused(pool_try_open(), ERROR_NOT_FOUND, "carries no Coffer superblock");
    assert_refused(repair(), ERROR_NOT_FOUND, "carries no Coffer superblock");
    assert_areas(before);
}

#define TEST(name, begin) cmocka_unit_test_setup_teardown(name, begin, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_copies_of_any_one_device_come_back, setup),
        TEST(two_lost_devices_come_back_from_the_third, setup),
        TEST(a_device_comes_back_again_and_again, setup),
        TEST(a_superblock_end_that_cannot_be_written_stops_the_open, setup_one),
        TEST(a_newest_record_that_cannot_be_read_is_no_roll_back, setup_one),
        TEST(key_slots_that_were_altered_are_no_wrong_key, setup),
        TEST(copies_altered_behind_their_fixed_part_are_lost_too, setup),
        TEST(all_devices_lost_is_an_error_and_nothing_is_written, setup),
        TEST(a_blank_disk_in_its_place_is_never_written, setup),
        TEST(a_copy_of_a_peer_in_its_place_is_never_written, setup),
        TEST(a_truncated_device_is_not_revived, setup),
        TEST(a_device_that_grew_is_revived_at_its_old_size, setup),
        TEST(a_rolled_back_device_stays_refused, setup),
        TEST(peers_that_are_not_there_are_written_at_the_next_open, setup_plain),
        TEST(a_witness_older_than_a_revived_superblock_is_refused, setup),
        TEST(a_pool_without_damage_is_not_touched_by_a_repair, setup),
        TEST(an_unknown_read_only_feature_forbids_writing_alone, setup_plain),
        TEST(an_unknown_incompatible_feature_forbids_reading_too, setup_plain),
        TEST(a_single_device_has_nobody_to_revive_it, setup_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
