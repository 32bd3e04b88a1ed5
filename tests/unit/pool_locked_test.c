/*
 * What keeps a pool locked that is opened without the right key, and what of it is waited for. A person's key file is
 * in some state at each moment; disks are not.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/thread.h"
#include "tests/unit/pool_fixture.h"

#define KEY_BYTES_MAX 4096

static char key_path[256];
static uint8_t key[KEY_BYTES_MAX];
static size_t key_size;

static enum error start(const char *passphrase)
{
    struct pool_open_options options = {
        .memory = FIXTURE_MEMORY,
        .start_locked = true,
        .passphrase = passphrase,
        .passphrase_size = passphrase != NULL ? strlen(passphrase) : 0,
    };
    error_forget();
    return pool_open(fixture_directory, &options, &pool);
}

static void key_write(const void *bytes, size_t size)
{
    int descriptor = open(key_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(write(descriptor, bytes, size), size);
    close(descriptor);
}

/* A pool of one object, closed; its key file is in memory. */
static int key_setup(void **context)
{
    assert_int_equal(pool_setup(context), 0);
    make("a", GIB);
    snprintf(key_path, sizeof key_path, "%s", pool->conf->provider->path);
    assert_fine(pool_close(pool));
    pool = NULL;
    int descriptor = open(key_path, O_RDONLY | O_CLOEXEC);
    key_size = (size_t)read(descriptor, key, sizeof key);
    assert_in_range(key_size, 100, sizeof key - 1);
    close(descriptor);
    return 0;
}

static int key_teardown(void **context)
{
    if (pool == NULL)
        assert_fine(pool_try_open());
    return pool_teardown(context);
}

static void assert_locked(const char *words, bool awaited)
{
    struct pool_status status;
    assert_fine(start(NULL));
    assert_fine(pool_status(pool, &status));
    assert_true(status.locked);
    assert_int_equal(status.awaits_key, awaited);
    if (strstr(status.why_locked, words) == NULL)
        fail_msg("\"%s\" is not in: %s", words, status.why_locked);
}

/* As key_wait.c does it. */
static void assert_opens_when_the_key_is_right(const char *words)
{
    struct pool_status status;
    bool again;
    assert_locked(words, true);
    assert_int_not_equal(pool_unlock_awaited(pool, NULL, 0, &again), ERROR_NONE);
    assert_true(again);
    unlink(key_path);
    key_write(key, key_size);
    assert_fine(pool_unlock_awaited(pool, NULL, 0, &again));
    assert_fine(pool_status(pool, &status));
    assert_false(status.locked || status.awaits_key);
    assert_string_equal(status.why_locked, "");
    assert_int_equal(look("a").size, GIB);
    assert_fine(pool_close(pool));
    pool = NULL;
}

static void a_key_file_that_is_not_there_is_waited_for(void **context)
{
    (void)context;
    unlink(key_path);
    assert_opens_when_the_key_is_right("there is no ");
}

static void a_key_file_that_cannot_be_used_is_waited_for(void **context)
{
    static uint8_t large[1u << 20];
    (void)context;
    key_write(key, key_size / 2);
    assert_opens_when_the_key_is_right("damaged");
    key_write("", 0);
    assert_opens_when_the_key_is_right("damaged");
    key_write(large, sizeof large);
    assert_opens_when_the_key_is_right("at most");
    assert_int_equal(chmod(key_path, 0640), 0);
    assert_opens_when_the_key_is_right("chmod go= ");
    unlink(key_path);
    assert_int_equal(mkfifo(key_path, 0600), 0);
    assert_opens_when_the_key_is_right("not a regular file");
}

static void a_key_file_of_another_pool_is_waited_for(void **context)
{
    struct provider_config other = {
        .name = "other", .id = uuid_random(), .type = "native", .seal = "file", .path = key_path};
    const struct provider_ops *operations;
    uint8_t kdk[KEY_SIZE];
    (void)context;
    assert_fine(provider_find(&other, &operations));
    unlink(key_path);
    assert_fine(operations->create(&other, NULL, kdk));
    assert_opens_when_the_key_is_right("is the key of another pool");
}

/* A whole key file of this very provider, with another key in it. */
static void a_key_that_fits_no_device_is_waited_for(void **context)
{
    const struct provider_ops *operations;
    struct pool_conf *conf;
    uint8_t kdk[KEY_SIZE];
    (void)context;
    assert_fine(pool_conf_read(fixture_directory, &conf));
    assert_fine(provider_find(conf->provider, &operations));
    unlink(key_path);
    assert_fine(operations->create(conf->provider, NULL, kdk));
    pool_conf_destroy(conf);
    assert_opens_when_the_key_is_right("key 1 of provider native is another than the one in force");
}

static void what_a_person_does_ends_the_waiting(void **context)
{
    struct pool_status status;
    bool again;
    (void)context;
    key_write(key, key_size / 2);
    assert_locked("damaged", true);
    assert_int_equal(pool_unlock(pool, NULL, 0), ERROR_CORRUPT);
    assert_fine(pool_status(pool, &status));
    assert_true(status.awaits_key);
    key_write(key, key_size);
    assert_fine(pool_unlock(pool, NULL, 0));
    assert_fine(pool_lock(pool));
    assert_fine(pool_status(pool, &status));
    assert_true(status.locked && !status.awaits_key);
    assert_string_equal(status.why_locked, "");
    assert_int_equal(pool_unlock_awaited(pool, NULL, 0, &again), ERROR_EXISTS);
    assert_false(again);
}

static _Atomic bool looked_enough;

static void look_for_the_key(void *unused)
{
    bool again = true;
    (void)unused;
    while (!looked_enough && again)
        if (pool_unlock_awaited(pool, NULL, 0, &again) == ERROR_NONE)
            break;
    error_forget();
}

static void a_person_is_not_sent_away_by_what_the_daemon_tries(void **context)
{
    struct thread daemon;
    (void)context;
    key_write(key, key_size / 2);
    assert_locked("damaged", true);
    looked_enough = false;
    assert_fine(thread_start(&daemon, "look", look_for_the_key, NULL));
    unsigned refused = 0;
    for (unsigned i = 0; i < 200; i++)
        refused += pool_unlock(pool, NULL, 0) == ERROR_BUSY;
    looked_enough = true;
    thread_join(&daemon);
    key_write(key, key_size);
    assert_fine(pool_unlock(pool, NULL, 0));
    assert_int_equal(refused, 0);
}

static void nobody_waits_where_the_disks_or_the_conf_are_at_fault(void **context)
{
    char path[160];
    (void)context;
    snprintf(path, sizeof path, "%s/witness", fixture_directory);
    char away[200];
    snprintf(away, sizeof away, "%s.away", path);
    assert_int_equal(rename(path, away), 0);
    assert_int_not_equal(start(NULL), ERROR_NONE);
    pool = NULL;
    unlink(key_path);
    assert_int_not_equal(start(NULL), ERROR_NONE); /* said first: the key would not help */
    pool = NULL;
    key_write(key, key_size);
    assert_int_equal(rename(away, path), 0);
}

static void without_start_locked_every_key_that_is_wrong_refuses(void **context)
{
    (void)context;
    key_write(key, key_size / 2);
    assert_refused(pool_try_open(), ERROR_CORRUPT, "damaged");
    unlink(key_path);
    assert_refused(pool_try_open(), ERROR_KEY_ABSENT, "there is no");
    pool = NULL;
    key_write(key, key_size);
}

/* ---- passphrases ------------------------------------------------------------------------------------------------- */

static int passphrase_setup(void **context)
{
    struct pool_create_options options = {.directory = fixture_directory,
                                          .size = FIXTURE_SIZE,
                                          .encryption = true,
                                          .fingerprint = POOL_FINGERPRINT_XXH3,
                                          .seal = "passphrase",
                                          .passphrase = "correct horse",
                                          .passphrase_size = strlen("correct horse")};
    assert_int_equal(pool_setup(context), 0);
    assert_fine(pool_close(pool));
    pool = NULL;
    snprintf(fixture_directory, sizeof fixture_directory, "%s/sealed", fixture_root);
    assert_fine(pool_create(&options));
    return 0;
}

static int passphrase_teardown(void **context)
{
    (void)context;
    assert_fine(pool_close(pool));
    return nftw(fixture_root, fixture_remove, 8, FTW_DEPTH | FTW_PHYS);
}

static void a_wrong_passphrase_is_a_persons_to_mend(void **context)
{
    struct pool_status status;
    (void)context;
    assert_fine(start("battery staple"));
    assert_fine(pool_status(pool, &status));
    assert_true(status.locked && !status.awaits_key);
    assert_non_null(strstr(status.why_locked, "wrong passphrase"));
    assert_null(strstr(status.why_locked, "battery"));
    assert_int_equal(pool_unlock(pool, "battery", 7), ERROR_WRONG_KEY);
    assert_fine(pool_unlock(pool, "correct horse", strlen("correct horse")));
    assert_fine(pool_status(pool, &status));
    assert_string_equal(status.why_locked, "");
}

static void a_passphrase_that_is_missing_is_a_persons_to_give(void **context)
{
    (void)context;
    assert_locked("needs a passphrase", false);
    assert_fine(pool_unlock(pool, "correct horse", strlen("correct horse")));
}

static void trying(bool on)
{
    mutex_lock(&pool->lock);
    pool->changing = pool->trying_awaited = on;
    mutex_unlock(&pool->lock);
}

/* As while a long journal is replayed: sixteen who wait would have all control connections. */
static void a_person_waits_for_what_the_daemon_tries_for_a_while_only(void **context)
{
    struct pool_status status;
    (void)context;
    key_write(key, key_size / 2);
    assert_locked("damaged", true);
    key_write(key, key_size);
    atomic_store(&unlock_patience, 50 * CLOCK_MILLISECOND);
    trying(true);
    enum error unlock = pool_unlock(pool, NULL, 0);
    atomic_store(&unlock_patience, UNLOCK_PATIENCE);
    assert_refused(unlock, ERROR_BUSY, "trying the key that it waited for");
    assert_fine(pool_status(pool, &status));
    assert_true(status.locked && status.trying);
    trying(false);
    assert_fine(pool_status(pool, &status));
    assert_true(status.locked && !status.trying);
    assert_fine(pool_unlock(pool, NULL, 0));
}

#define KEY_TEST(f)        cmocka_unit_test_setup_teardown(f, key_setup, key_teardown)
#define PASSPHRASE_TEST(f) cmocka_unit_test_setup_teardown(f, passphrase_setup, passphrase_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        KEY_TEST(nobody_waits_where_the_disks_or_the_conf_are_at_fault),
        KEY_TEST(without_start_locked_every_key_that_is_wrong_refuses),
        KEY_TEST(a_key_file_that_is_not_there_is_waited_for),
        KEY_TEST(a_key_file_that_cannot_be_used_is_waited_for),
        KEY_TEST(a_key_file_of_another_pool_is_waited_for),
        KEY_TEST(a_key_that_fits_no_device_is_waited_for),
        KEY_TEST(what_a_person_does_ends_the_waiting),
        KEY_TEST(a_person_is_not_sent_away_by_what_the_daemon_tries),
        KEY_TEST(a_person_waits_for_what_the_daemon_tries_for_a_while_only),
        PASSPHRASE_TEST(a_wrong_passphrase_is_a_persons_to_mend),
        PASSPHRASE_TEST(a_passphrase_that_is_missing_is_a_persons_to_give),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
