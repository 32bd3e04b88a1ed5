/*
 * Shallow rekey: afterwards the new key alone opens the pool; whatever fails in it, the pool opens with the key that the
 * witness names, and with all data. Crashes at each of its steps are the simulator's.
 */
#include "crypto/provider_native.h"
#include "engine/pool/rewrap.h"
#include "tests/unit/failing_directory.h"
#include "tests/unit/rekey_fixture.h"

#define STEP CHECKPOINT_STRIDE

static bool is_rewritten(uint64_t at)
{
    uint64_t place = at < FIXTURE_SIZE - AREA_SIZE ? at : at - (FIXTURE_SIZE - AREA_SIZE);
    return place < CHECKPOINT_OFFSET + CHECKPOINT_COPIES / 2 * CHECKPOINT_STRIDE;
}

/* Of all devices, whole, but for the copies of superblocks and checkpoint records at both ends. */
static uint64_t devices_sum(void)
{
    uint8_t bytes[STEP];
    uint64_t sum = 0;
    for (size_t i = 0; i < DEVICES; i++) {
        int descriptor = open(paths[i], O_RDONLY | O_CLOEXEC);
        for (uint64_t at = 0; at < FIXTURE_SIZE; at += STEP) {
            if (is_rewritten(at))
                continue;
            assert_int_equal(pread(descriptor, bytes, STEP, (off_t)at), STEP);
            for (size_t b = 0; b < STEP; b += 8)
                sum = sum * 31 + le64_get(*(const le64 *)(bytes + b));
        }
        close(descriptor);
    }
    return sum;
}

/* ---- what it does ---------------------------------------------------------------------------------------------------- */

static void a_new_key_is_in_force_afterwards(void **context)
{
    (void)context;
    for (uint64_t number = 2; number < 5; number++) {
        assert_fine(pool_rekey(pool, &(struct pool_rekey_options){0}));
        assert_under_one_key(number);
        assert_data_is_intact();
        if (number % 2)
            reopen();
        assert_under_one_key(number);
        assert_data_is_intact();
    }
}

/* The pool writes by itself now and then (a publish, what `durable` says after some idle seconds), so one time without is
 * enough: what a change of keys writes it would write each time. */
static void no_stored_byte_changes(void **context)
{
    (void)context;
    uint64_t before = 0, after = 1;
    for (unsigned tries = 0; tries < 5 && after != before; tries++) {
        assert_fine(group_publish(pool->group));
        before = devices_sum();
        assert_fine(pool_rekey(pool, &(struct pool_rekey_options){0}));
        assert_fine(pool_rekey(pool, &(struct pool_rekey_options){.new_root = true}));
        after = devices_sum();
    }
    assert_true(after == before);
    int descriptor = open(paths[0], O_WRONLY | O_CLOEXEC); /* it would show */
    assert_int_equal(pwrite(descriptor, "x", 1, FIXTURE_SIZE - 1), 1);
    close(descriptor);
    assert_true(devices_sum() != before);
}

static void a_new_root_leaves_the_old_key_file_useless(void **context)
{
    uint8_t old[KEY_BYTES], new[KEY_BYTES];
    (void)context;
    size_t old_size = file_bytes(key_path, old);
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){.new_root = true}));
    assert_under_one_key(2);
    assert_int_equal(access(other_path, F_OK), -1);
    size_t new_size = file_bytes(key_path, new);
    assert_true(new_size != old_size || memcmp(old, new, old_size) != 0);
    reopen();
    assert_data_is_intact();
    assert_fine(pool_close(pool));
    pool = NULL;
    put_file(key_path, old, old_size);
    assert_refused(try_open(), ERROR_WRONG_KEY, "key 2 of provider native is another than the one in force");
    put_file(key_path, new, new_size);
    assert_fine(try_open());
}

static void a_new_root_takes_the_place_of_the_old_one_at_the_next_open(void **context)
{
    uint8_t bytes[KEY_BYTES], old[KEY_BYTES];
    (void)context;
    size_t old_size = file_bytes(key_path, old);
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){.new_root = true}));
    assert_fine(pool_close(pool));
    pool = NULL;
    size_t size = file_bytes(key_path, bytes); /* as a crash leaves it that came before the renaming */
    put_file(other_path, bytes, size);
    put_file(key_path, old, old_size);
    assert_fine(try_open());
    assert_int_equal(access(other_path, F_OK), -1);
    uint8_t now[KEY_BYTES];
    assert_int_equal(file_bytes(key_path, now), size);
    assert_memory_equal(now, bytes, size);
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){0}));
    reopen();
    assert_under_one_key(3);
}

static void a_root_of_a_change_that_did_not_happen_is_not_taken(void **context)
{
    uint8_t bytes[KEY_BYTES];
    (void)context;
    put_file(other_path, bytes, file_bytes(key_path, bytes) / 2);
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){0}));
    assert_int_equal(access(other_path, F_OK), -1);
    reopen();
    assert_under_one_key(2);
}

/* Its name comes back behind a power loss, where it lies outside of the pool directory. */
static void a_root_that_was_overwritten_is_not_the_one_in_force(void **context)
{
    static const uint8_t zeros[600];
    (void)context;
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){0}));
    assert_fine(pool_close(pool));
    pool = NULL;
    put_file(other_path, zeros, sizeof zeros);
    assert_fine(try_open());
    assert_int_equal(access(other_path, F_OK), -1);
    assert_under_one_key(2);
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){.new_root = true}));
    reopen();
    assert_under_one_key(3);
}

static void a_backup_that_is_another_name_of_the_key_file_is_left_whole(void **context)
{
    char backup[300];
    uint8_t old[KEY_BYTES], now[KEY_BYTES];
    (void)context;
    size_t size = file_bytes(key_path, old);
    snprintf(backup, sizeof backup, "%s.backup", key_path);
    assert_int_equal(link(key_path, backup), 0);
    assert_int_equal(link(key_path, other_path), 0);
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){0}));
    assert_int_equal(file_bytes(backup, now), size);
    assert_memory_equal(now, old, size);
    assert_int_equal(file_bytes(key_path, now), size);
    assert_memory_equal(now, old, size);
    reopen();
    assert_under_one_key(2);
}

static void a_key_file_that_only_may_be_read_is_overwritten_too(void **context)
{
    uint8_t old[KEY_BYTES], now[KEY_BYTES];
    (void)context;
    size_t size = file_bytes(key_path, old);
    assert_int_equal(chmod(key_path, 0400), 0);
    int descriptor = open(key_path, O_RDONLY | O_CLOEXEC);
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){.new_root = true}));
    assert_int_equal(read(descriptor, now, size), size);
    close(descriptor);
    assert_true(memory_is_zero(now, size));
    reopen();
}

/* ---- files of others --------------------------------------------------------------------------------------------------- */

static uint8_t kept[KEY_SIZE]; /* the root in force, as a backup has it */

static void backup(void)
{
    assert_fine(provider_native_file.open(pool->conf->provider, NULL, kept));
}

/* In the place of the key file, of that provider or of another one. */
static size_t make_other_key(bool same_provider, uint8_t bytes[KEY_BYTES])
{
    uint8_t kdk[KEY_SIZE];
    struct provider_config other = *pool->conf->provider;
    other.id.bytes[0] ^= !same_provider;
    unlink(key_path);
    assert_fine(provider_native_file.create(&other, NULL, kdk));
    return file_bytes(key_path, bytes);
}

static void assert_file(const char *path, const uint8_t *bytes, size_t size)
{
    uint8_t now[KEY_BYTES];
    assert_int_equal(file_bytes(path, now), size);
    assert_memory_equal(now, bytes, size);
}

static enum error rekey_by_backup(void)
{
    error_forget();
    return pool_rekey(pool, &(struct pool_rekey_options){.key = kept, .new_root = true});
}

/* Its stick is at the place of this one's, which is lost. */
static void the_key_of_another_pool_is_not_replaced(void **context)
{
    uint8_t foreign[KEY_BYTES];
    (void)context;
    backup();
    size_t size = make_other_key(false, foreign);
    assert_refused(rekey_by_backup(), ERROR_FOREIGN, "is to be moved away");
    assert_file(key_path, foreign, size);
    assert_int_equal(access(other_path, F_OK), -1);
    assert_under_one_key(1);
    assert_int_equal(unlink(key_path), 0);
    assert_fine(rekey_by_backup());
    reopen();
    assert_under_one_key(2);
}

static void a_root_that_a_copy_of_the_pool_may_have_is_not_replaced(void **context)
{
    uint8_t other[KEY_BYTES];
    (void)context;
    backup();
    size_t size = make_other_key(true, other);
    assert_refused(rekey_by_backup(), ERROR_WRONG_KEY, "another key than the one in force");
    assert_file(key_path, other, size);
    assert_under_one_key(1);
}

static void assert_known_root_is_kept(void)
{
    uint8_t kcv[KCV_SIZE];
    assert_fine(kcv_derive(kept, pool->provider->id, kcv));
    mutex_lock(&pool->witness_lock);
    struct witness_kcv known = pool->witness->root_kcv;
    mutex_unlock(&pool->witness_lock);
    assert_true(known.known);
    assert_memory_equal(known.bytes, kcv, KCV_SIZE);
}

static void open_by_backup_without_witness(void)
{
    char witness[300];
    struct pool_open_options options = {.memory = FIXTURE_MEMORY, .key = kept, .accept_rollback = true};
    snprintf(witness, sizeof witness, "%s/witness", fixture_directory);
    assert_int_equal(unlink(witness), 0);
    assert_fine(pool_open(fixture_directory, &options, &pool));
}

static void a_backup_that_opens_the_pool_says_which_root_is_in_force_whatever_lies_there(void **context)
{
    uint8_t other[KEY_BYTES];
    (void)context;
    backup();
    size_t size = make_other_key(true, other);
    assert_fine(pool_close(pool));
    pool = NULL;
    open_by_backup_without_witness();
    assert_known_root_is_kept();
    assert_refused(rekey_by_backup(), ERROR_WRONG_KEY, "another key than the one in force");
    assert_file(key_path, other, size);
    assert_under_one_key(1);
}

/* As one that an earlier version wrote. */
static void a_witness_that_has_another_root_learns_the_one_that_opens_the_pool(void **context)
{
    (void)context;
    backup();
    mutex_lock(&pool->witness_lock);
    pool->witness->root_kcv.bytes[0] ^= 1;
    assert_fine(witness_save(pool->witness));
    mutex_unlock(&pool->witness_lock);
    reopen();
    assert_known_root_is_kept();
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){.new_root = true}));
    assert_under_one_key(2);
}

/* As a crash before the renaming leaves it, with `old` in the place of the old key. */
static void crash_before_the_renaming(const uint8_t *old, size_t old_size)
{
    uint8_t bytes[KEY_BYTES];
    assert_fine(pool_close(pool));
    pool = NULL;
    put_file(other_path, bytes, file_bytes(key_path, bytes));
    assert_int_equal(unlink(key_path), 0);
    put_file(key_path, old, old_size);
    assert_fine(try_open());
}

static void a_new_root_waits_until_what_is_in_its_way_is_moved(void **context)
{
    uint8_t foreign[KEY_BYTES], new[KEY_BYTES];
    (void)context;
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){.new_root = true}));
    size_t new_size = file_bytes(key_path, new), size = make_other_key(false, foreign);
    put_file(key_path, new, new_size);
    crash_before_the_renaming(foreign, size);
    assert_file(key_path, foreign, size);
    assert_file(other_path, new, new_size);
    assert_refused(pool_rekey(pool, &(struct pool_rekey_options){0}), ERROR_FOREIGN, "until that file is moved away");
    assert_int_equal(unlink(key_path), 0);
    reopen();
    assert_file(key_path, new, new_size);
    assert_int_equal(access(other_path, F_OK), -1);
    assert_under_one_key(2);
}

/* The disk may write the first of its sectors, or the last, or none. */
static void a_key_that_was_half_overwritten_does_not_hold_the_new_one_up(void **context)
{
    uint8_t old[KEY_BYTES] = {0}, new[KEY_BYTES];
    (void)context;
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){.new_root = true}));
    size_t new_size = file_bytes(key_path, new);
    memset(old + 512, 'x', 100);
    crash_before_the_renaming(old, 612);
    assert_file(key_path, new, new_size);
    memset(old, 'x', 512); /* and half a file of somebody's stays */
    crash_before_the_renaming(old, 612);
    assert_file(key_path, old, 612);
    assert_file(other_path, new, new_size);
}

static void a_new_root_of_another_pool_is_not_forgotten(void **context)
{
    uint8_t own[KEY_BYTES], foreign[KEY_BYTES];
    (void)context;
    size_t own_size = file_bytes(key_path, own), size = make_other_key(false, foreign);
    put_file(key_path, own, own_size);
    put_file(other_path, foreign, size);
    assert_refused(pool_rekey(pool, &(struct pool_rekey_options){0}), ERROR_FOREIGN, "another pool");
    assert_refused(pool_rekey(pool, &(struct pool_rekey_options){.new_root = true}), ERROR_EXISTS, other_path);
    assert_file(other_path, foreign, size);
    assert_file(key_path, own, own_size);
    assert_under_one_key(1);
    assert_int_equal(unlink(other_path), 0);
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){.new_root = true}));
    assert_under_one_key(2);
}

/* ---- what it refuses ------------------------------------------------------------------------------------------------- */

static enum error rekey_with(const char *passphrase)
{
    struct pool_rekey_options options = {passphrase, passphrase ? strlen(passphrase) : 0, false};
    error_forget();
    return pool_rekey(pool, &options);
}

static void the_present_key_must_be_proved(void **context)
{
    (void)context;
    assert_refused(rekey_with(NULL), ERROR_LOCKED, "needs a passphrase");
    assert_refused(rekey_with("correct house"), ERROR_WRONG_KEY, "wrong passphrase");
    assert_under_one_key(1);
    assert_fine(rekey_with("correct horse"));
    assert_under_one_key(2);
    reopen();
    assert_data_is_intact();
}

static void a_pool_without_encryption_has_no_key_to_change(void **context)
{
    (void)context;
    assert_refused(rekey_with(NULL), ERROR_INVALID, "is not encrypted");
    assert_int_equal(kek_number(), 0);
}

static void a_locked_pool_is_not_rekeyed(void **context)
{
    (void)context;
    assert_fine(pool_lock(pool));
    assert_refused(rekey_with(NULL), ERROR_LOCKED, "locked");
    assert_int_equal(kek_number(), 0);
    assert_fine(pool_unlock(pool, NULL, 0));
    assert_int_equal(kek_number(), 1);
}

static void another_key_file_is_no_proof(void **context)
{
    uint8_t bytes[KEY_BYTES];
    (void)context;
    size_t size = file_bytes(key_path, bytes);
    put_file(key_path, (const uint8_t *)"{}", 2);
    assert_refused(rekey_with(NULL), ERROR_CORRUPT, key_path);
    put_file(key_path, bytes, size);
    assert_under_one_key(1);
}

/* ---- what fails on its way ------------------------------------------------------------------------------------------- */

/* Each write and flush of it, one after the other. */
static void whatever_write_fails_the_pool_opens_with_all_data(void **context)
{
    (void)context;
    uint64_t in_force = 1;
    bool failed = true;
    for (int n = 1; failed; n++) {
        atomic_store(&countdown, n);
        enum error error = pool_rekey(pool, &(struct pool_rekey_options){.new_root = n % 2});
        failed = atomic_exchange(&countdown, 0) == 0;
        assert_true(error ? failed : !failed || group_is_fenced(pool->group)); /* at last by the anchor of the audit */
        enum error closed = pool_close(pool);
        assert_true(closed == ERROR_NONE || failed);
        pool = NULL;
        assert_fine(try_open());
        uint64_t now = kek_number();
        assert_true(now == in_force || now == in_force + 1);
        assert_under_one_key(now);
        assert_data_is_intact();
        in_force = now;
    }
    assert_true(in_force > 2); /* some failed behind the commit, and the last did not */
}

/* A directory in the place of PATH.new lets no witness be saved, so that no superblock is written either. */
static void without_a_witness_that_can_be_saved_nothing_changes(void **context)
{
    char blocked[300];
    (void)context;
    snprintf(blocked, sizeof blocked, "%s/witness.new", fixture_directory);
    assert_int_equal(mkdir(blocked, 0700), 0);
    assert_true(pool_rekey(pool, &(struct pool_rekey_options){0}) != ERROR_NONE);
    assert_int_equal(rmdir(blocked), 0);
    assert_under_one_key(1);
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){0}));
    assert_under_one_key(2);
    reopen();
    assert_data_is_intact();
}

/* The first is saved with the epoch of the superblocks, the second with the key. */
static void a_witness_of_the_new_key_that_is_not_saved_leaves_both_keys_good(void **context)
{
    (void)context;
    for (unsigned crash = 0; crash < 2; crash++) {
        uint64_t before = kek_number();
        atomic_store(&witness_renames, 2);
        assert_true(pool_rekey(pool, &(struct pool_rekey_options){0}) != ERROR_NONE);
        assert_int_equal(atomic_load(&witness_renames), 0);
        assert_under_both_keys(before);
        if (crash) {
            pool_crash();
            assert_fine(try_open());
            assert_under_one_key(before);
        }
        assert_data_is_intact();
        assert_fine(pool_rekey(pool, &(struct pool_rekey_options){0}));
        assert_under_one_key(before + 1);
    }
    reopen();
    assert_data_is_intact();
}

/* What was renamed is there when the power has gone, though the directory said that it is not durable. */
static void whatever_sync_of_the_directory_fails_the_key_that_the_witness_names_opens(void **context)
{
    (void)context;
    uint64_t in_force = kek_number();
    unsigned changed = 0;
    bool failed = true;
    for (int n = 1; failed; n++) {
        atomic_store(&directory_syncs, n);
        enum error error = pool_rekey(pool, &(struct pool_rekey_options){.new_root = n % 2});
        pool_crash();
        failed = directory_mend();
        assert_fine(try_open());
        uint64_t now = kek_number();
        changed += error && now == in_force + 1;
        assert_true(now == in_force + 1 || (error && now == in_force));
        assert_under_one_key(now);
        assert_data_is_intact();
        in_force = now;
    }
    assert_true(changed > 0); /* some failed when the witness had its new name */
}

static void a_change_that_stopped_is_ended_by_the_next_open(void **context)
{
    (void)context;
    superblocks_only = true;
    for (unsigned step = 0; step < 2; step++) {
        uint64_t before = kek_number();
        atomic_store(&countdown, step == 0 ? 3 : 4 * DEVICES + 1);
        assert_true(pool_rekey(pool, &(struct pool_rekey_options){0}) != ERROR_NONE);
        for (uint32_t d = 0; d < DEVICES; d++) /* what another rekey would take for the present one */
            assert_int_equal(pool->group->superblocks[d].wrapping.kek_number, kek_number());
        assert_true(pool_close(pool) != ERROR_NONE);
        pool = NULL;
        atomic_store(&countdown, 0);
        assert_fine(try_open());
        assert_under_one_key(kek_number());
        assert_int_equal(kek_number(), before + step);
    }
    assert_data_is_intact();
}

static uint64_t check_errors(void)
{
    struct pool_open_options options = {.memory = FIXTURE_MEMORY};
    struct check_report report;
    assert_fine(pool_check(fixture_directory, &options, &(struct check_listener){.found = fixture_found}, &report));
    return report.errors;
}

/* As a publish, or a look at the audit, has the witness know what is written. */
static void epochs_tell(void)
{
    mutex_lock(&pool->witness_lock);
    for (uint32_t d = 0; d < DEVICES; d++)
        assert_fine(witness_device_raise(pool->witness, &(struct witness_device){.id = pool->group->superblocks[d].device,
                                                                                 .encrypted = true,
                                                                                 .epoch = pool->group->superblocks[d].epoch}));
    assert_fine(witness_save(pool->witness));
    mutex_unlock(&pool->witness_lock);
}

static void superblocks_under_two_keys_that_the_witness_knows_are_no_damage(void **context)
{
    bool half_done = false;
    (void)context;
    for (int n = 1; !half_done; n++) {
        atomic_store(&directory_syncs, n);
        enum error error = pool_rekey(pool, &(struct pool_rekey_options){0});
        assert_true(directory_mend() && error != ERROR_NONE); /* else none of them is at the commit */
        half_done = rewrap_is_half_done(pool->group);
        if (half_done)
            epochs_tell();
        pool_crash();
        assert_int_equal(check_errors(), 0);
        assert_fine(try_open());
    }
    assert_under_one_key(kek_number());
    assert_data_is_intact();
}

static void flip_in_a_copy(void)
{
    uint8_t byte;
    int descriptor = open(paths[0], O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(descriptor, &byte, 1, SUPERBLOCK_SIZE + 5000), 1);
    byte ^= 1;
    assert_int_equal(pwrite(descriptor, &byte, 1, SUPERBLOCK_SIZE + 5000), 1);
    close(descriptor);
}

static void what_a_stopped_change_left_is_no_damage_and_damage_behind_it_is(void **context)
{
    (void)context;
    superblocks_only = true;
    atomic_store(&countdown, 3);
    assert_true(pool_rekey(pool, &(struct pool_rekey_options){0}) != ERROR_NONE);
    assert_true(pool_close(pool) != ERROR_NONE);
    pool = NULL;
    assert_int_equal(check_errors(), 0);
    assert_fine(try_open());
    assert_fine(pool_close(pool));
    pool = NULL;
    assert_int_equal(check_errors(), 0);
    flip_in_a_copy();
    assert_int_equal(check_errors(), 1);
    assert_fine(try_open()); /* which mends it */
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){0}));
    assert_fine(pool_close(pool));
    pool = NULL;
    assert_int_equal(check_errors(), 0);
    flip_in_a_copy();
    assert_int_equal(check_errors(), 1);
    assert_fine(try_open());
}

static _Atomic bool writing;

static void write_and_flush(void *context)
{
    struct volume *volume = context;
    uint8_t block[COFFER_BLOCK];
    for (unsigned i = 0; atomic_load(&writing); i++) {
        struct request flush = {.type = REQUEST_FLUSH};
        block_fill(block, 1000 + i);
        assert_fine(block_io(volume, REQUEST_WRITE, (uint64_t)(BLOCKS + i % BLOCKS) * COFFER_BLOCK, block));
        volume_execute(volume, &flush, 1, fixture_answer, NULL);
        assert_fine(flush.error);
    }
}

/* Of two flushes of one device at a time, one that fails may hide from the other that its writes are lost. */
static void no_other_flush_runs_beside_that_of_a_superblock(void **context)
{
    struct thread thread;
    struct volume *volume;
    (void)context;
    assert_fine(volume_open(pool, "disk", false, &volume));
    atomic_store(&writing, true);
    atomic_store(&slow_flushes, true);
    assert_fine(thread_start(&thread, "writer", write_and_flush, volume));
    for (unsigned i = 0; i < 8; i++)
        assert_fine(pool_rekey(pool, &(struct pool_rekey_options){0}));
    atomic_store(&writing, false);
    thread_join(&thread);
    atomic_store(&slow_flushes, false);
    volume_close(volume);
    assert_int_equal(atomic_load(&flushes_at_once), 0);
    assert_data_is_intact();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_present_key_must_be_proved, setup_passphrase, teardown),
        cmocka_unit_test_setup_teardown(a_pool_without_encryption_has_no_key_to_change, setup_plain, teardown),
        TEST(a_locked_pool_is_not_rekeyed),
        TEST(another_key_file_is_no_proof),
        TEST(whatever_write_fails_the_pool_opens_with_all_data),
        TEST(without_a_witness_that_can_be_saved_nothing_changes),
        TEST(a_witness_of_the_new_key_that_is_not_saved_leaves_both_keys_good),
        TEST(whatever_sync_of_the_directory_fails_the_key_that_the_witness_names_opens),
        TEST(a_change_that_stopped_is_ended_by_the_next_open),
        TEST(superblocks_under_two_keys_that_the_witness_knows_are_no_damage),
        TEST(what_a_stopped_change_left_is_no_damage_and_damage_behind_it_is),
        TEST(a_root_of_a_change_that_did_not_happen_is_not_taken),
        TEST(a_root_that_was_overwritten_is_not_the_one_in_force),
        TEST(a_backup_that_is_another_name_of_the_key_file_is_left_whole),
        TEST(a_key_file_that_only_may_be_read_is_overwritten_too),
        TEST(the_key_of_another_pool_is_not_replaced),
        TEST(a_root_that_a_copy_of_the_pool_may_have_is_not_replaced),
        TEST(a_backup_that_opens_the_pool_says_which_root_is_in_force_whatever_lies_there),
        TEST(a_witness_that_has_another_root_learns_the_one_that_opens_the_pool),
        TEST(a_new_root_waits_until_what_is_in_its_way_is_moved),
        TEST(a_key_that_was_half_overwritten_does_not_hold_the_new_one_up),
        TEST(a_new_root_of_another_pool_is_not_forgotten),
        TEST(a_new_root_takes_the_place_of_the_old_one_at_the_next_open),
        TEST(a_new_root_leaves_the_old_key_file_useless),
        TEST(no_stored_byte_changes),
        TEST(no_other_flush_runs_beside_that_of_a_superblock),
        TEST(a_new_key_is_in_force_afterwards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
