/*
 * Which key an open takes for the one in force where the witness is lost, or says other than the devices: the one behind the
 * commit of a change that was cut short. Afterwards every device is under it alone, and nothing need be accepted again.
 */
#include "tests/unit/rekey_fixture.h"

#define COPIES_HALF (SUPERBLOCK_COPIES / 2)
#define TAIL        (FIXTURE_SIZE - AREA_SIZE)

static enum error accept(void)
{
    struct pool_open_options options = {.memory = FIXTURE_MEMORY, .open_device = open_failing, .accept_rollback = true};
    error_forget();
    return pool_open(fixture_directory, &options, &pool);
}

static void close_pool(void)
{
    assert_fine(pool_close(pool));
    pool = NULL;
}

static const char *witness_path(void)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/witness", fixture_directory);
    return path;
}

/* As a crash leaves it: `superblocks` copies were written, four of a device each time, and no more. */
static void change_cut_short(int superblocks)
{
    superblocks_only = true;
    atomic_store(&countdown, superblocks + 1);
    assert_true(pool_rekey(pool, &(struct pool_rekey_options){0}) != ERROR_NONE);
    assert_true(pool_close(pool) != ERROR_NONE);
    pool = NULL;
    atomic_store(&countdown, 0);
    superblocks_only = false;
}

/* What it takes to be rid of --accept-rollback, and to change keys again. */
static void assert_settled(uint64_t number)
{
    assert_under_one_key(number);
    struct witness_kcv kcv = pool->witness->kek_kcv;
    close_pool();
    assert_fine(try_open());
    assert_under_one_key(number);
    assert_data_is_intact();
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){0}));
    assert_under_one_key(number + 1);
    assert_true(kcv.known && memcmp(kcv.bytes, pool->witness->kek_kcv.bytes, KCV_SIZE) != 0);
    reopen();
    assert_data_is_intact();
}

struct image {
    uint8_t head[COPIES_HALF * SUPERBLOCK_SIZE], tail[COPIES_HALF * SUPERBLOCK_SIZE];
};

static void superblocks_read(const char *path, struct image *image)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(pread(descriptor, image->head, sizeof image->head, 0), sizeof image->head);
    assert_int_equal(pread(descriptor, image->tail, sizeof image->tail, (off_t)TAIL), sizeof image->tail);
    close(descriptor);
}

static void superblocks_put(const char *path, const struct image *image)
{
    int descriptor = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(descriptor, image->head, sizeof image->head, 0), sizeof image->head);
    assert_int_equal(pwrite(descriptor, image->tail, sizeof image->tail, (off_t)TAIL), sizeof image->tail);
    close(descriptor);
}

/* Under both, and under the old one alone: it did not happen. */
static void a_change_cut_short_before_its_commit_did_not_happen(void **context)
{
    (void)context;
    change_cut_short(SUPERBLOCK_COPIES);
    assert_int_equal(unlink(witness_path()), 0);
    assert_fine(accept());
    assert_settled(1);
}

/* Under the new one alone, and under both: what is under both must not fall back. */
static void a_change_cut_short_behind_its_commit_ends_without_the_witness(void **context)
{
    (void)context;
    change_cut_short((DEVICES + 1) * SUPERBLOCK_COPIES);
    assert_int_equal(unlink(witness_path()), 0);
    assert_fine(accept());
    assert_settled(2);
}

/* As a power failure leaves a sector of a hard disk: the head of the copy is new, and another sector of it is neither. */
static void a_copy_that_was_torn_does_not_hide_those_of_before(void **context)
{
    (void)context;
    change_cut_short(1);
    atomic_store(&torn, true);
    assert_fine(try_open());
    assert_settled(1);
}

/* Who waits for a key must not be told of another disk by a copy that nobody vouched for. */
static void a_key_that_is_not_there_is_told_before_a_copy_of_another_device(void **context)
{
    uint8_t key[KEY_BYTES];
    struct image own, other;
    (void)context;
    close_pool();
    superblocks_read(paths[0], &own);
    superblocks_read(paths[1], &other);
    memcpy(own.head, other.head, sizeof own.head);
    superblocks_put(paths[0], &own);
    size_t size = file_bytes(key_path, key);
    assert_int_equal(unlink(key_path), 0);
    assert_refused(try_open(), ERROR_KEY_ABSENT, key_path);
    put_file(key_path, key, size);
    assert_fine(try_open());
    assert_settled(1);
}

/* Half of a device's copies are under the new one alone. */
static void a_change_cut_short_between_the_ends_of_a_device_ends_without_the_witness(void **context)
{
    (void)context;
    change_cut_short(DEVICES * SUPERBLOCK_COPIES + COPIES_HALF);
    assert_int_equal(unlink(witness_path()), 0);
    assert_fine(accept());
    assert_settled(2);
}

static void a_change_cut_short_behind_its_commit_ends_with_an_older_witness(void **context)
{
    uint8_t bytes[KEY_BYTES];
    (void)context;
    size_t size = file_bytes(witness_path(), bytes);
    change_cut_short((DEVICES + 1) * SUPERBLOCK_COPIES);
    put_file(witness_path(), bytes, size);
    assert_refused(try_open(), ERROR_ROLLED_BACK, "--accept-rollback");
    assert_fine(accept());
    assert_settled(2);
}

/* With nothing wrong but the age of the disks the witness decides as ever. */
static void the_witness_decides_also_where_a_rollback_is_accepted(void **context)
{
    (void)context;
    change_cut_short(DEVICES * SUPERBLOCK_COPIES);
    assert_fine(accept());
    assert_settled(2);
}

/* One device as it was before the change, whichever of them, with the witness and without. */
static void a_device_from_before_a_change_is_taken_to_the_key_in_force(void **context)
{
    struct image image;
    (void)context;
    for (unsigned i = 0; i < 2 * DEVICES; i++) {
        uint64_t number = kek_number() + 1;
        close_pool();
        superblocks_read(paths[i % DEVICES], &image);
        assert_fine(try_open());
        assert_fine(pool_rekey(pool, &(struct pool_rekey_options){0}));
        close_pool();
        superblocks_put(paths[i % DEVICES], &image);
        assert_refused(try_open(), ERROR_ROLLED_BACK, "--accept-rollback");
        if (i >= DEVICES)
            assert_int_equal(unlink(witness_path()), 0);
        assert_fine(accept());
        assert_settled(number);
    }
}

/* All of them: then that key is the one in force. */
static void devices_from_before_a_change_keep_their_key(void **context)
{
    struct image images[DEVICES];
    (void)context;
    close_pool();
    for (unsigned d = 0; d < DEVICES; d++)
        superblocks_read(paths[d], &images[d]);
    assert_fine(try_open());
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){0}));
    close_pool();
    for (unsigned d = 0; d < DEVICES; d++)
        superblocks_put(paths[d], &images[d]);
    assert_refused(try_open(), ERROR_ROLLED_BACK, "--accept-rollback");
    assert_fine(accept());
    assert_settled(1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_change_cut_short_before_its_commit_did_not_happen),
        TEST(a_change_cut_short_behind_its_commit_ends_without_the_witness),
        TEST(a_copy_that_was_torn_does_not_hide_those_of_before),
        TEST(a_key_that_is_not_there_is_told_before_a_copy_of_another_device),
        TEST(a_change_cut_short_between_the_ends_of_a_device_ends_without_the_witness),
        TEST(a_change_cut_short_behind_its_commit_ends_with_an_older_witness),
        TEST(the_witness_decides_also_where_a_rollback_is_accepted),
        TEST(a_device_from_before_a_change_is_taken_to_the_key_in_force),
        TEST(devices_from_before_a_change_keep_their_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
