/*
 * Swaps of key providers: afterwards the new provider's key alone opens the pool, also where the old one is gone; whatever
 * fails on the way, the pool opens with the key that the witness names, and with all data. Nobody but the witness says whose
 * key is asked for, and nobody but the conf who may be.
 */
#include "tests/unit/failing_directory.h"
#include "tests/unit/rekey_fixture.h"

#include "base/conf.h"
#include "base/file.h"
#include "engine/pool/conf_edit.h"
#include "engine/pool/providers.h"

static char second_path[300], third_path[300];

static void add(const char *name, const char *seal, const char *path, struct uuid *id)
{
    struct provider_config provider = {.id = uuid_random(), .type = "native", .seal = seal, .path = path};
    int lock;
    snprintf(provider.name, sizeof provider.name, "%s", name);
    assert_fine(conf_edit_begin(fixture_directory, &lock));
    assert_fine(conf_edit_add(fixture_directory, &provider));
    conf_edit_end(lock);
    *id = provider.id;
}

static struct uuid second_id, third_id;

/* "native" is in force; "second" keeps its key in a file too, "third" under a passphrase. */
static int setup_three(void **context)
{
    setup(context);
    snprintf(second_path, sizeof second_path, "%s/second.key", fixture_root);
    snprintf(third_path, sizeof third_path, "%s/third.key", fixture_root);
    add("second", "file", second_path, &second_id);
    add("third", "passphrase", third_path, &third_id);
    return 0;
}

static enum error swap_with(const char *name, const char *present, const char *new, bool dry_run)
{
    error_forget();
    return pool_rekey(pool, &(struct pool_rekey_options){.provider = name,
                                                         .passphrase = present,
                                                         .passphrase_size = present ? strlen(present) : 0,
                                                         .new_passphrase = new,
                                                         .new_passphrase_size = new ? strlen(new) : 0,
                                                         .dry_run = dry_run});
}

static enum error swap(const char *name) { return swap_with(name, NULL, NULL, false); }

/* By the witness, the superblocks, and the line of the conf. */
static void assert_in_force(const char *name, uint64_t number)
{
    struct pool_key_status status;
    struct pool_conf *conf;
    assert_fine(pool_key_status(pool, &status));
    assert_string_equal(status.provider, name);
    assert_under_one_key(number);
    for (uint32_t d = 0; d < DEVICES; d++)
        assert_true(uuid_equal(pool->group->superblocks[d].wrapping.provider, status.provider_id));
    assert_fine(pool_conf_read(fixture_directory, &conf));
    assert_string_equal(conf->provider->name, name);
    pool_conf_destroy(conf);
}

static void close_pool(void)
{
    assert_fine(pool_close(pool));
    pool = NULL;
}

/* ---- what it does ---------------------------------------------------------------------------------------------------- */

static void the_other_provider_is_in_force_and_the_old_one_is_not_needed(void **context)
{
    (void)context;
    assert_fine(swap("second"));
    assert_in_force("second", 2);
    assert_int_equal(access(key_path, F_OK), 0);
    assert_int_equal(unlink(key_path), 0);
    reopen();
    assert_in_force("second", 2);
    assert_data_is_intact();
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){.new_root = true}));
    assert_in_force("second", 3);
    assert_fine(swap("native"));
    assert_in_force("native", 4);
    assert_int_equal(unlink(second_path), 0);
    assert_fine(pool_lock(pool));
    assert_fine(pool_unlock(pool, NULL, 0));
    assert_in_force("native", 4);
    assert_data_is_intact();
}

static void a_swap_there_and_back_makes_the_file_of_before_useless(void **context)
{
    uint8_t old[KEY_BYTES], now[KEY_BYTES];
    (void)context;
    size_t size = file_bytes(key_path, old);
    assert_fine(swap("second"));
    assert_fine(swap("native"));
    assert_int_equal(file_bytes(key_path, now), size);
    assert_true(memcmp(now, old, size) != 0);
    close_pool();
    put_file(key_path, old, size);
    assert_refused(try_open(), ERROR_WRONG_KEY, "key 3 of provider native is another than the one in force");
    put_file(key_path, now, size);
    assert_fine(try_open());
}

static void a_passphrase_comes_and_goes_and_changes(void **context)
{
    (void)context;
    assert_refused(swap("third"), ERROR_INVALID, "needs a passphrase");
    assert_in_force("native", 1);
    assert_fine(swap_with("third", NULL, "correct horse", false));
    assert_in_force("third", 2);
    close_pool();
    assert_refused(try_open(), ERROR_LOCKED, "passphrase");
    passphrase_given = "correct horse";
    assert_fine(try_open());
    assert_refused(swap("native"), ERROR_LOCKED, "needs a passphrase");
    assert_refused(swap_with("native", "correct house", NULL, false), ERROR_WRONG_KEY, "wrong passphrase");
    assert_in_force("third", 2);
    struct pool_rekey_options reseal = {.passphrase = "correct horse", .passphrase_size = 13, .new_root = true,
                                        .new_passphrase = "battery staple", .new_passphrase_size = 14};
    assert_fine(pool_rekey(pool, &reseal));
    assert_in_force("third", 3);
    close_pool();
    assert_refused(try_open(), ERROR_WRONG_KEY, "wrong passphrase");
    passphrase_given = "battery staple";
    assert_fine(try_open());
    assert_fine(swap_with("native", "battery staple", NULL, false));
    passphrase_given = NULL;
    reopen();
    assert_in_force("native", 4);
    assert_data_is_intact();
}

static void a_rehearsal_leaves_nothing(void **context)
{
    char next[320];
    uint64_t epoch = pool->witness->epoch;
    (void)context;
    assert_fine(swap_with("second", NULL, NULL, true));
    assert_fine(swap_with("third", NULL, "correct horse", true));
    assert_in_force("native", 1);
    assert_int_equal(pool->witness->epoch, epoch);
    snprintf(next, sizeof next, "%s.next-2", second_path);
    assert_int_equal(access(second_path, F_OK), -1);
    assert_int_equal(access(next, F_OK), -1);
    assert_int_equal(access(third_path, F_OK), -1);
    assert_refused(swap_with("third", NULL, NULL, true), ERROR_INVALID, "needs a passphrase");
}

static void a_provider_that_was_added_while_the_pool_is_open_can_be_used(void **context)
{
    struct uuid id;
    char path[320];
    (void)context;
    snprintf(path, sizeof path, "%s/fourth.key", fixture_root);
    assert_refused(swap("fourth"), ERROR_NOT_FOUND, "it has native, second, third");
    add("fourth", "file", path, &id);
    assert_fine(swap("fourth"));
    assert_in_force("fourth", 2);
    assert_refused(swap("fourth"), ERROR_EXISTS, "already");
}

static void the_old_key_is_listed_until_its_provider_is_used_again(void **context)
{
    struct pool_key_status status;
    (void)context;
    assert_fine(swap("second"));
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){0}));
    reopen();
    assert_fine(pool_key_status(pool, &status));
    assert_int_equal(status.retained_count, 1);
    assert_string_equal(status.retained[0].provider, "native");
    assert_int_equal(status.retained[0].kek_number, 1);
    assert_false(status.half_done);
    assert_fine(swap("native"));
    assert_fine(pool_key_status(pool, &status));
    assert_int_equal(status.retained_count, 1);
    assert_string_equal(status.retained[0].provider, "second");
    assert_int_equal(status.retained[0].kek_number, 3);
}

/* ---- old keys -------------------------------------------------------------------------------------------------------- */

static enum error retire(const char *provider, uint64_t number, bool destroy, uint64_t *count)
{
    error_forget();
    return pool_key_retire(pool, &(struct pool_retire_options){provider, number, destroy, NULL}, count);
}

static enum error retire_file(const char *provider, const char *file, uint64_t *count)
{
    error_forget();
    return pool_key_retire(pool, &(struct pool_retire_options){.provider = provider, .destroy = true, .key_file = file}, count);
}

static void an_old_key_file_is_overwritten_and_the_one_in_force_is_not(void **context)
{
    uint8_t old[KEY_BYTES], now[KEY_BYTES];
    uint64_t count;
    (void)context;
    assert_refused(retire(NULL, 0, true, &count), ERROR_NOT_FOUND, "key status");
    assert_refused(retire(NULL, 1, true, &count), ERROR_BUSY, "in force");
    assert_refused(retire("native", 0, true, &count), ERROR_NOT_FOUND, "no such old key");
    assert_fine(swap("second"));
    size_t size = file_bytes(key_path, old);
    int descriptor = open(key_path, O_RDONLY | O_CLOEXEC);
    assert_refused(retire(NULL, 0, false, &count), ERROR_INVALID, "cannot be revoked");
    assert_refused(retire("third", 0, true, &count), ERROR_NOT_FOUND, "no such old key");
    assert_refused(retire("fourth", 0, true, &count), ERROR_NOT_FOUND, "no [provider fourth]");
    assert_refused(retire(NULL, 2, true, &count), ERROR_BUSY, "in force");
    assert_refused(retire(NULL, 3, true, &count), ERROR_NOT_FOUND, "no such old key");
    assert_int_equal(file_bytes(key_path, now), size);
    assert_fine(retire("native", 1, true, &count));
    assert_int_equal(count, 1);
    assert_int_equal(access(key_path, F_OK), -1);
    assert_int_equal(read(descriptor, now, size), size);
    close(descriptor);
    assert_true(memory_is_zero(now, size));
    assert_refused(retire(NULL, 0, true, &count), ERROR_NOT_FOUND, "no such old key");
    reopen();
    assert_in_force("second", 2);
    assert_data_is_intact();
}

/* The zeros of the retirement before, which a crash ended ahead of the name's; and what it left of files beside it. */
static void an_old_key_file_that_was_overwritten_goes_when_it_is_retired_again(void **context)
{
    uint8_t bytes[KEY_BYTES];
    char beside[320];
    uint64_t count;
    (void)context;
    assert_fine(swap("second"));
    size_t size = file_bytes(key_path, bytes);
    snprintf(beside, sizeof beside, "%s.next-5.new", key_path); /* of a command that sealed it anew */
    put_file(beside, bytes, size);
    memset(bytes, 0, size);
    put_file(key_path, bytes, size);
    assert_fine(retire("native", 1, true, &count));
    assert_int_equal(access(key_path, F_OK), -1);
    assert_int_equal(access(beside, F_OK), -1);
    assert_refused(retire(NULL, 0, true, &count), ERROR_NOT_FOUND, "no such old key");
    assert_data_is_intact();
}

static void no_key_is_ended_while_devices_may_need_it(void **context)
{
    uint64_t count;
    (void)context;
    assert_fine(swap("second"));
    superblocks_only = true;
    atomic_store(&countdown, 4 * DEVICES + 2); /* behind the commit */
    assert_true(swap("native") != ERROR_NONE);
    atomic_store(&countdown, 0);
    assert_int_equal(kek_number(), 3);
    mutex_lock(&pool->witness_lock);
    uint64_t rewriting = pool->witness->rewriting;
    mutex_unlock(&pool->witness_lock);
    assert_true(rewriting != 0);
    assert_true(retire("second", 0, true, &count) != ERROR_NONE); /* the group is out of service, or the change half done */
    assert_int_equal(access(second_path, F_OK), 0);
    assert_true(pool_close(pool) != ERROR_NONE);
    pool = NULL;
    assert_fine(try_open());
    assert_in_force("native", 3);
    mutex_lock(&pool->witness_lock);
    pool->witness->rewriting = pool->witness->epoch;
    mutex_unlock(&pool->witness_lock);
    assert_refused(retire("second", 0, true, &count), ERROR_BUSY, "is not complete");
    assert_int_equal(access(second_path, F_OK), 0);
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){0}));
    assert_fine(retire_file("second", second_path, &count));
    assert_int_equal(access(second_path, F_OK), -1);
}

/* A copy of this pool has the same path and the same provider in its conf. */
static void a_key_file_outside_of_the_pool_directory_is_to_be_named(void **context)
{
    uint8_t old[KEY_BYTES], now[KEY_BYTES];
    uint64_t count;
    (void)context;
    assert_fine(swap("second"));
    assert_fine(swap("native"));
    size_t size = file_bytes(second_path, old);
    assert_refused(retire(NULL, 0, true, &count), ERROR_UNCONFIRMED, "--key-file");
    assert_refused(retire_file(NULL, key_path, &count), ERROR_UNCONFIRMED, second_path);
    assert_int_equal(file_bytes(second_path, now), size);
    assert_memory_equal(now, old, size);
    assert_fine(retire_file(NULL, second_path, &count));
    assert_int_equal(count, 1);
    assert_int_equal(access(second_path, F_OK), -1);
    assert_fine(swap("second"));
    assert_fine(swap("native"));
    assert_int_equal(unlink(second_path), 0); /* by hand: then the list is all that knows it */
    assert_fine(retire(NULL, 0, true, &count));
    assert_int_equal(count, 1);
}

/* ---- the line of the conf -------------------------------------------------------------------------------------------- */

static void set_line(const char *name)
{
    int lock;
    assert_fine(conf_edit_begin(fixture_directory, &lock));
    assert_fine(conf_edit_use(fixture_directory, name));
    conf_edit_end(lock);
}

/* As a crash leaves it that came behind the commit, or who changed it by hand. */
static void the_line_follows_the_witness_at_the_next_open(void **context)
{
    (void)context;
    assert_fine(swap("second"));
    close_pool();
    set_line("native");
    assert_fine(try_open());
    assert_in_force("second", 2);
    assert_data_is_intact();
    close_pool();
    set_line("third");
    assert_fine(try_open());
    assert_in_force("second", 2);
}

static void a_conf_that_cannot_be_written_does_not_stop_the_change(void **context)
{
    char blocked[300];
    (void)context;
    snprintf(blocked, sizeof blocked, "%s/coffer.conf.new", fixture_directory);
    assert_int_equal(mkdir(blocked, 0700), 0);
    assert_fine(swap("second"));
    assert_under_one_key(2);
    reopen();
    assert_under_one_key(2);
    assert_int_equal(rmdir(blocked), 0);
    reopen();
    assert_in_force("second", 2);
}

static void a_provider_that_went_meanwhile_does_not_come_into_force(void **context)
{
    (void)context;
    assert_fine(swap_with("second", NULL, NULL, true)); /* it is known to the pool */
    int lock;
    assert_fine(conf_edit_begin(fixture_directory, &lock));
    assert_fine(conf_edit_remove(fixture_directory, "second"));
    conf_edit_end(lock);
    assert_refused(swap("second"), ERROR_NOT_FOUND, "no [provider second]");
    assert_in_force("native", 1);
}

static void a_conf_without_the_provider_in_force_stops_a_change(void **context)
{
    void *text;
    size_t size;
    char path[300];
    int lock;
    (void)context;
    snprintf(path, sizeof path, "%s/coffer.conf", fixture_directory);
    assert_fine(swap("second"));
    assert_fine(file_read(path, CONF_SIZE_MAX, &text, &size));
    set_line("native");
    assert_fine(conf_edit_begin(fixture_directory, &lock));
    assert_fine(conf_edit_remove(fixture_directory, "second"));
    conf_edit_end(lock);
    assert_refused(swap("third"), ERROR_NOT_FOUND, "put its section back");
    assert_int_equal(kek_number(), 2);
    assert_fine(file_replace(path, text, size));
    free(text);
    assert_fine(pool_lock(pool));
    assert_fine(pool_unlock(pool, NULL, 0));
    assert_in_force("second", 2);
}

/* ---- what it refuses ------------------------------------------------------------------------------------------------- */

static void a_provider_that_the_conf_does_not_name_is_foreign(void **context)
{
    char *text;
    size_t size;
    char path[300];
    (void)context;
    assert_fine(swap("second"));
    close_pool();
    snprintf(path, sizeof path, "%s/coffer.conf", fixture_directory);
    assert_fine(file_read(path, CONF_SIZE_MAX, (void **)&text, &size));
    set_line("native");
    int lock;
    assert_fine(conf_edit_begin(fixture_directory, &lock));
    assert_fine(conf_edit_remove(fixture_directory, "second"));
    conf_edit_end(lock);
    assert_refused(try_open(), ERROR_FOREIGN, "names no such one");
    assert_fine(file_replace(path, text, size));
    free(text);
    assert_fine(try_open());
    assert_in_force("second", 2);
}

static uint8_t area[SUPERBLOCK_COPIES * SUPERBLOCK_SIZE];

/* All copies of a device's superblock: those of the head, then those of the tail. */
static void copies_move(size_t device, bool read)
{
    int descriptor = open(paths[device], O_RDWR | O_CLOEXEC);
    off_t at[] = {0, (off_t)FIXTURE_SIZE - AREA_SIZE};
    for (size_t i = 0; i < 2; i++) {
        uint8_t *bytes = &area[i * 2 * SUPERBLOCK_SIZE];
        assert_int_equal(read ? pread(descriptor, bytes, 2 * SUPERBLOCK_SIZE, at[i])
                              : pwrite(descriptor, bytes, 2 * SUPERBLOCK_SIZE, at[i]),
                         2 * SUPERBLOCK_SIZE);
    }
    close(descriptor);
}

/* The wrappings of before the swap are put back: the old provider is not even asked, whether it has its key or not. */
static void old_wrappings_that_are_put_back_are_refused(void **context)
{
    (void)context;
    close_pool();
    copies_move(1, true);
    assert_fine(try_open());
    assert_fine(swap("second"));
    close_pool();
    copies_move(1, false);
    assert_refused(try_open(), ERROR_ROLLED_BACK, "but the witness names key 2");
    assert_int_equal(unlink(key_path), 0);
    assert_refused(try_open(), ERROR_ROLLED_BACK, "but the witness names key 2");
}

/* A superblock under the key of a provider of the conf, on the device of another one. */
static void wrappings_of_another_device_are_refused(void **context)
{
    (void)context;
    assert_fine(swap("second"));
    close_pool();
    copies_move(0, true);
    copies_move(1, false);
    assert_refused(try_open(), ERROR_FOREIGN, "another device");
}

static void the_file_of_another_provider_is_not_written_over(void **context)
{
    uint8_t old[KEY_BYTES], now[KEY_BYTES];
    (void)context;
    size_t size = file_bytes(key_path, old);
    put_file(second_path, old, size);
    assert_refused(swap("second"), ERROR_FOREIGN, "is to be moved away");
    assert_int_equal(file_bytes(second_path, now), size);
    assert_memory_equal(now, old, size);
    assert_in_force("native", 1);
}

/* ---- what fails on its way ------------------------------------------------------------------------------------------- */

/* Each write and flush of it, one after the other. */
static void whatever_write_fails_the_key_that_the_witness_names_opens(void **context)
{
    (void)context;
    static const char *const names[] = {"native", "second"};
    uint64_t number = 1;
    unsigned in_force = 0, changes = 0;
    bool failed = true;
    for (int n = 1; failed; n++) {
        atomic_store(&countdown, n);
        enum error error = swap(names[!in_force]);
        failed = atomic_exchange(&countdown, 0) == 0;
        assert_true(error ? failed : !failed || group_is_fenced(pool->group)); /* at last by the anchor of the audit */
        enum error closed = pool_close(pool);
        assert_true(closed == ERROR_NONE || failed);
        pool = NULL;
        assert_fine(try_open());
        if (kek_number() != number) {
            in_force = !in_force;
            number++;
            changes++;
        }
        assert_in_force(names[in_force], number);
        assert_data_is_intact();
    }
    assert_true(changes > 1); /* some failed behind the commit, and the last did not */
}

/* The first is saved with the epoch of the superblocks, the second with the key. */
static void a_witness_of_the_new_key_that_is_not_saved_leaves_both_keys_good(void **context)
{
    (void)context;
    atomic_store(&witness_renames, 2);
    assert_true(swap("second") != ERROR_NONE);
    assert_int_equal(atomic_load(&witness_renames), 0);
    assert_under_both_keys(1);
    pool_crash();
    assert_fine(try_open());
    assert_in_force("native", 1);
    assert_fine(swap("second"));
    reopen();
    assert_in_force("second", 2);
    assert_data_is_intact();
}

static char blocked[300]; /* "": not yet */

enum error __real_conf_edit_begin(const char *directory, int *lock);
enum error __wrap_conf_edit_begin(const char *directory, int *lock);
enum error __wrap_conf_edit_begin(const char *directory, int *lock)
{
    if (blocked[0] != '\0')
        assert_int_equal(mkdir(blocked, 0700), 0);
    return __real_conf_edit_begin(directory, lock);
}

/* The witness cannot be saved where it is to name the new key: the next start may have to take either. */
static void a_rehearsal_leaves_the_root_of_a_change_that_is_not_decided(void **context)
{
    uint8_t root[KEY_BYTES], now[KEY_BYTES];
    (void)context;
    snprintf(blocked, sizeof blocked, "%s/witness.new", fixture_directory);
    assert_refused(pool_rekey(pool, &(struct pool_rekey_options){.new_root = true}), ERROR_INVALID, "decided at the next start");
    size_t size = file_bytes(other_path, root);
    assert_true(size > 0);
    assert_refused(swap_with("second", NULL, NULL, true), ERROR_BUSY, "is not complete");
    assert_int_equal(file_bytes(other_path, now), size);
    assert_memory_equal(now, root, size);
    assert_int_equal(rmdir(blocked), 0);
    blocked[0] = '\0';
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){0}));
    assert_fine(swap_with("second", NULL, NULL, true));
    assert_in_force("native", 2);
}

/* What was renamed is there when the power has gone, though the directory said that it is not durable. */
static void whatever_sync_of_the_directory_fails_the_key_that_the_witness_names_opens(void **context)
{
    (void)context;
    static const char *const names[] = {"native", "second"};
    uint64_t number = 1;
    unsigned in_force = 0, changed = 0;
    bool failed = true;
    for (int n = 1; failed; n++) {
        atomic_store(&directory_syncs, n);
        enum error error = swap(names[!in_force]);
        pool_crash();
        failed = directory_mend();
        assert_fine(try_open());
        assert_true(error || kek_number() == number + 1);
        changed += error && kek_number() == number + 1;
        if (kek_number() != number) {
            in_force = !in_force;
            number++;
        }
        assert_in_force(names[in_force], number);
        assert_data_is_intact();
    }
    assert_true(changed > 0); /* some failed when the witness had its new name */
}

/* ---- the witness ----------------------------------------------------------------------------------------------------- */

static void a_witness_without_check_values_gains_them(void **context)
{
    (void)context;
    struct witness *witness;
    mutex_lock(&pool->witness_lock);
    pool->witness->kek_kcv.known = pool->witness->root_kcv.known = false;
    assert_fine(witness_save(pool->witness));
    mutex_unlock(&pool->witness_lock);
    assert_fine(witness_load(fixture_directory, pool->conf->pool, &witness));
    assert_false(witness->kek_kcv.known || witness->root_kcv.known);
    witness_destroy(witness);
    pool_crash();
    assert_fine(try_open());
    assert_fine(witness_load(fixture_directory, pool->conf->pool, &witness));
    assert_true(witness->kek_kcv.known && witness->root_kcv.known);
    struct witness_kcv before = witness->kek_kcv, root = witness->root_kcv;
    witness_destroy(witness);
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){0}));
    assert_true(memcmp(before.bytes, pool->witness->kek_kcv.bytes, KCV_SIZE) != 0);
    assert_memory_equal(root.bytes, pool->witness->root_kcv.bytes, KCV_SIZE);
    assert_fine(swap("second"));
    assert_true(memcmp(root.bytes, pool->witness->root_kcv.bytes, KCV_SIZE) != 0);
}

/* As behind an accepted roll-back: the list is of a later day than the key in force. */
static void a_key_in_force_is_not_retired_whatever_is_listed(void **context)
{
    (void)context;
    uint64_t count;
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){0}));
    mutex_lock(&pool->witness_lock);
    witness_retain(pool->witness, pool->witness->provider, pool->witness->kek_number);
    witness_retain(pool->witness, pool->witness->provider, 1); /* of a file: the same root */
    mutex_unlock(&pool->witness_lock);
    assert_int_equal(pool_key_retire(pool, &(struct pool_retire_options){.destroy = true}, &count), ERROR_NOT_FOUND);
    error_forget();
    assert_int_equal(access(key_path, F_OK), 0);
    reopen();
    assert_data_is_intact();
}

/* It is in the conf of now, and not in that of the start. */
static void data_keys_change_behind_a_swap_to_a_provider_that_came_later(void **context)
{
    (void)context;
    struct uuid id;
    char path[320];
    struct deep_rekey_status status;
    snprintf(path, sizeof path, "%s/later.key", fixture_root);
    add("later", "file", path, &id);
    assert_fine(swap("later"));
    assert_fine(pool_deep_rekey(pool, &(struct pool_rekey_options){0}, 0));
    for (unsigned tries = 0; tries < 60000; tries++) {
        assert_fine(pool_deep_rekey_status(pool, &status));
        if (status.state == DEEP_REKEY_COMPLETE)
            break;
        clock_sleep(CLOCK_MILLISECOND);
    }
    assert_int_equal(status.state, DEEP_REKEY_COMPLETE);
    assert_data_is_intact();
}

#define TEST_OF_THREE(name) cmocka_unit_test_setup_teardown(name, setup_three, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_OF_THREE(a_provider_that_the_conf_does_not_name_is_foreign),
        TEST_OF_THREE(old_wrappings_that_are_put_back_are_refused),
        TEST_OF_THREE(wrappings_of_another_device_are_refused),
        TEST_OF_THREE(the_file_of_another_provider_is_not_written_over),
        TEST_OF_THREE(a_provider_that_went_meanwhile_does_not_come_into_force),
        TEST_OF_THREE(whatever_write_fails_the_key_that_the_witness_names_opens),
        TEST_OF_THREE(a_witness_of_the_new_key_that_is_not_saved_leaves_both_keys_good),
        TEST_OF_THREE(whatever_sync_of_the_directory_fails_the_key_that_the_witness_names_opens),
        TEST_OF_THREE(a_conf_that_cannot_be_written_does_not_stop_the_change),
        TEST_OF_THREE(the_line_follows_the_witness_at_the_next_open),
        TEST_OF_THREE(a_conf_without_the_provider_in_force_stops_a_change),
        TEST_OF_THREE(no_key_is_ended_while_devices_may_need_it),
        TEST_OF_THREE(a_key_file_outside_of_the_pool_directory_is_to_be_named),
        TEST_OF_THREE(an_old_key_file_is_overwritten_and_the_one_in_force_is_not),
        TEST_OF_THREE(an_old_key_file_that_was_overwritten_goes_when_it_is_retired_again),
        TEST_OF_THREE(a_rehearsal_leaves_nothing),
        TEST_OF_THREE(a_rehearsal_leaves_the_root_of_a_change_that_is_not_decided),
        TEST_OF_THREE(a_provider_that_was_added_while_the_pool_is_open_can_be_used),
        TEST_OF_THREE(the_old_key_is_listed_until_its_provider_is_used_again),
        TEST_OF_THREE(a_passphrase_comes_and_goes_and_changes),
        TEST_OF_THREE(a_swap_there_and_back_makes_the_file_of_before_useless),
        TEST_OF_THREE(a_witness_without_check_values_gains_them),
        TEST_OF_THREE(a_key_in_force_is_not_retired_whatever_is_listed),
        TEST_OF_THREE(data_keys_change_behind_a_swap_to_a_provider_that_came_later),
        TEST_OF_THREE(the_other_provider_is_in_force_and_the_old_one_is_not_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
