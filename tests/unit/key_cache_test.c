#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "crypto/key_cache.h"
#include "tests/unit/swtpm.h"

#define NOW UINT64_C(1800000000)
#define DAY UINT64_C(86400)

static struct swtpm tpm;
static char directory[64], path[96];
static struct provider_config config;
static struct provider_kek which;
static struct cached_key cached;
static const uint8_t kek[KEY_SIZE] = "the key that the servers hold it";
static uint8_t found[KEY_SIZE];

static int set_up(void **state)
{
    (void)state;
    swtpm_make(&tpm, 0);
    swtpm_start(&tpm);
    snprintf(directory, sizeof(directory), "%.40s/coffer-XXXXXX", getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/kms.cache", directory);
    config = (struct provider_config){.name = "kms", .type = "kmip", .id = {{7, 7}}, .tcti = tpm.tcti, .cache = path,
                                      .cache_seconds = 7 * DAY};
    which = (struct provider_kek){.pool = {{1}}, .number = 1};
    memset(found, 0, sizeof(found));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(tpm.pid == 0 ? 0 : swtpm_slots_filled(&tpm), 0);
    swtpm_remove(&tpm);
    unlink(path);
    return rmdir(directory);
}

static void assert_stored(uint64_t now)
{
    assert_int_equal(key_cache_store(&config, &which, "17", now, kek), ERROR_NONE);
}

static enum error opens(uint64_t now)
{
    return key_cache_open(&config, &which, now, found, &cached);
}

static bool is_there(void)
{
    return access(path, F_OK) == 0;
}

static void what_is_cached_opens_until_it_is_too_old(void **state)
{
    (void)state;
    struct stat status;
    assert_int_equal(opens(NOW), ERROR_NOT_FOUND);
    assert_stored(NOW);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(opens(NOW), ERROR_NONE);
    assert_memory_equal(found, kek, KEY_SIZE);
    assert_string_equal(cached.key_id, "17");
    assert_int_equal(cached.fetched, NOW);
    assert_int_equal(opens(NOW + 7 * DAY - 1), ERROR_NONE);
    assert_int_equal(opens(NOW + 7 * DAY), ERROR_TIMED_OUT);
    assert_non_null(strstr(error_sentence(ERROR_TIMED_OUT), "7 days ago"));
    assert_int_equal(opens(NOW - 1), ERROR_ROLLED_BACK);
    config.cache_seconds = DAY; /* the conf was changed since */
    assert_int_equal(opens(NOW + 2 * DAY), ERROR_TIMED_OUT);
    swtpm_kill(&tpm);
    swtpm_start(&tpm);
    assert_int_equal(opens(NOW + 1), ERROR_NONE);
}

static void the_file_does_not_hold_the_key(void **state)
{
    (void)state;
    void *text;
    size_t size;
    assert_stored(NOW);
    assert_int_equal(file_read(path, CACHED_KEY_TEXT_MAX, &text, &size), ERROR_NONE);
    assert_int_equal(cached_key_decode(text, size, &cached), ERROR_NONE);
    for (size_t i = 0; i + 8 <= KEY_SIZE; i += 8)
        assert_null(memmem(&cached, sizeof(cached), kek + i, 8));
    free(text);
}

/* A checksum that fits is anybody's to make. */
static void a_cache_that_was_made_younger_is_forged(void **state)
{
    (void)state;
    char text[CACHED_KEY_TEXT_MAX];
    size_t size;
    assert_stored(NOW);
    assert_int_equal(key_cache_look(&config, which.pool, &cached), ERROR_NONE);
    cached.fetched += 7 * DAY;
    assert_int_equal(cached_key_encode(&cached, text, &size), ERROR_NONE);
    assert_int_equal(file_replace(path, text, size), ERROR_NONE);
    assert_int_equal(opens(NOW + 8 * DAY), ERROR_FORGED);
    assert_memory_equal(found, (uint8_t[KEY_SIZE]){0}, KEY_SIZE);
}

static void another_tpm_does_not_open_it(void **state)
{
    (void)state;
    struct swtpm other;
    assert_stored(NOW);
    swtpm_make(&other, 1);
    swtpm_start(&other);
    config.tcti = other.tcti;
    assert_int_equal(opens(NOW), ERROR_FOREIGN);
    swtpm_kill(&other);
    assert_int_equal(opens(NOW), ERROR_KEY_ABSENT);
    swtpm_remove(&other);
    assert_true(is_there());
}

static void another_key_pool_or_provider_is_not_taken_for_it(void **state)
{
    (void)state;
    assert_stored(NOW);
    which.number = 2;
    assert_int_equal(opens(NOW), ERROR_KEY_ABSENT);
    which = (struct provider_kek){.pool = {{2}}, .number = 1};
    assert_int_equal(opens(NOW), ERROR_FOREIGN);
    which.pool = (struct uuid){{1}};
    config.id = (struct uuid){{8}};
    assert_int_equal(opens(NOW), ERROR_FOREIGN);
    config.id = (struct uuid){{7, 7}};
    snprintf(config.name, sizeof(config.name), "other");
    assert_int_equal(opens(NOW), ERROR_FOREIGN);
}

static void a_file_that_is_cut_or_wide_is_refused(void **state)
{
    (void)state;
    struct stat status;
    assert_stored(NOW);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(opens(NOW), ERROR_ACCESS);
    assert_stored(NOW); /* and does not lend its mode */
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(truncate(path, status.st_size / 2), 0);
    assert_int_equal(opens(NOW), ERROR_CORRUPT);
    assert_non_null(strstr(error_sentence(ERROR_CORRUPT), "kms.cache is damaged"));
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(opens(NOW), ERROR_CORRUPT);
    assert_stored(NOW);
    assert_int_equal(opens(NOW), ERROR_NONE);
}

/* By a descriptor that was opened before: the name is gone by then. */
static void the_file_of_before_is_overwritten(void **state)
{
    (void)state;
    char byte;
    assert_stored(NOW);
    int before = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(before >= 0);
    assert_stored(NOW + 1);
    assert_int_equal(opens(NOW + 1), ERROR_NONE);
    for (off_t at = 0; pread(before, &byte, 1, at) == 1; at++)
        assert_int_equal(byte, 0);
    close(before);
    before = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(key_cache_drop(&config, which.pool, "the test says so"), ERROR_NONE);
    assert_false(is_there());
    assert_int_equal(pread(before, &byte, 1, 0), 1);
    assert_int_equal(byte, 0);
    close(before);
    assert_int_equal(opens(NOW + 1), ERROR_NOT_FOUND);
    assert_int_equal(key_cache_drop(&config, which.pool, "there is none, and nothing is told"), ERROR_NONE);
}

static void only_the_key_that_ended_is_dropped(void **state)
{
    (void)state;
    struct provider_kek other = {.pool = {{1}}, .number = 2};
    assert_stored(NOW);
    key_cache_end(&config, &other, "another one ended");
    assert_true(is_there());
    key_cache_end(&config, &which, "it ended");
    assert_false(is_there());
}

static void without_a_tpm_nothing_is_cached_and_what_is_stays(void **state)
{
    (void)state;
    assert_stored(NOW);
    swtpm_kill(&tpm);
    assert_int_equal(key_cache_store(&config, &which, "17", NOW + 1, kek), ERROR_KEY_ABSENT);
    assert_true(is_there());
    swtpm_start(&tpm);
    assert_int_equal(opens(NOW), ERROR_NONE);
}

/* Cut anywhere, or overwritten in part. */
static void what_a_crash_left_goes_with_it(void **state)
{
    (void)state;
    static char zeros[CACHED_KEY_TEXT_MAX];
    char unfinished[128];
    AUTO_FREE void *text = NULL;
    size_t size;
    bool was;
    assert_stored(NOW);
    assert_int_equal(file_read(path, CACHED_KEY_TEXT_MAX, &text, &size), ERROR_NONE);
    assert_int_equal(key_cache_destroy(&config, which.pool, &was), ERROR_NONE);
    assert_true(was);
    snprintf(unfinished, sizeof(unfinished), "%s.new", path);
    for (size_t cut = 0; cut <= size; cut += cut < 100 ? 1 : 97) {
        assert_int_equal(file_create(unfinished, text, cut), ERROR_NONE);
        assert_int_equal(key_cache_destroy(&config, which.pool, &was), ERROR_NONE);
        assert_false(was);
        assert_int_not_equal(access(unfinished, F_OK), 0);
        assert_int_equal(file_create(path, text, cut), ERROR_NONE);
        assert_int_equal(key_cache_destroy(&config, which.pool, &was), ERROR_NONE);
        assert_true(was);
        assert_false(is_there());
    }
    assert_int_equal(file_create(path, zeros, size), ERROR_NONE);
    assert_int_equal(file_create(unfinished, text, size / 2), ERROR_NONE);
    assert_stored(NOW);
    assert_int_equal(opens(NOW), ERROR_NONE);
    assert_int_not_equal(access(unfinished, F_OK), 0);
}

static void assert_left_alone(const char *name, const void *text, size_t size)
{
    AUTO_FREE void *back = NULL;
    size_t back_size;
    bool was;
    assert_int_equal(file_create(name, text, size), ERROR_NONE);
    assert_int_equal(key_cache_destroy(&config, which.pool, &was), ERROR_FOREIGN);
    assert_non_null(strstr(error_sentence(ERROR_FOREIGN), name));
    assert_non_null(strstr(error_sentence(ERROR_FOREIGN), "is left alone"));
    assert_int_equal(key_cache_drop(&config, which.pool, "the test says so"), ERROR_FOREIGN);
    key_cache_end(&config, &which, "the test says so");
    assert_int_equal(key_cache_store(&config, &which, "17", NOW, kek), ERROR_FOREIGN);
    assert_int_equal(file_read(name, 1 << 20, &back, &back_size), ERROR_NONE);
    assert_int_equal(back_size, size);
    assert_memory_equal(back, text, size);
    assert_int_equal(unlink(name), 0);
}

/* A key file, a disk, another pool's cache: whatever somebody gave the name of the cache. */
static void what_is_no_cache_of_this_pool_is_left_alone(void **state)
{
    (void)state;
    static const char key[] = "{\n  \"version\": 1,\n  \"provider\": \"22222222-2222-4222-8222-222222222222\",\n  \"seal\": \"file\"\n}\n";
    static uint8_t disk[65536];
    char unfinished[128], target[128];
    AUTO_FREE void *text = NULL;
    size_t size;
    snprintf(unfinished, sizeof(unfinished), "%s.new", path);
    snprintf(target, sizeof(target), "%s.target", path);
    which.pool = (struct uuid){{2}};
    assert_stored(NOW);
    assert_int_equal(file_read(path, CACHED_KEY_TEXT_MAX, &text, &size), ERROR_NONE);
    assert_int_equal(unlink(path), 0);
    which.pool = (struct uuid){{1}};
    const char *names[] = {path, unfinished};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        assert_left_alone(names[i], text, size);
        assert_left_alone(names[i], text, size / 2);
        assert_left_alone(names[i], key, sizeof(key) - 1);
        assert_left_alone(names[i], "k", 1);
        assert_left_alone(names[i], disk, sizeof(disk)); /* of zeros, and too large */
    }
    assert_stored(NOW);
    assert_int_equal(rename(path, target), 0);
    assert_int_equal(symlink(target, path), 0);
    assert_int_equal(key_cache_destroy(&config, which.pool, NULL), ERROR_FOREIGN);
    assert_int_equal(key_cache_store(&config, &which, "17", NOW + 1, kek), ERROR_FOREIGN);
    assert_int_equal(opens(NOW), ERROR_NONE);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(key_cache_destroy(&config, which.pool, NULL), ERROR_FOREIGN);
    assert_true(is_there());
    assert_int_equal(unlink(target), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_cached_opens_until_it_is_too_old, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_file_does_not_hold_the_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_cache_that_was_made_younger_is_forged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_tpm_does_not_open_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_key_pool_or_provider_is_not_taken_for_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_is_cut_or_wide_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_file_of_before_is_overwritten, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_the_key_that_ended_is_dropped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_tpm_nothing_is_cached_and_what_is_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_a_crash_left_goes_with_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_cache_of_this_pool_is_left_alone, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
