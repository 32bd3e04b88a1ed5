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
#include "crypto/provider_native.h"
#include "crypto/sealed_key.h"

static char directory[64], path[96];
static struct provider_config config;
static const struct provider_secret right = {"correct horse battery staple", 28};
static const struct provider_secret wrong = {"correct horse battery stapler", 29};
static uint8_t kdk[KEY_SIZE], again[KEY_SIZE];
static const uint8_t untouched[KEY_SIZE];

static int set_up(void **state)
{
    (void)state;
    snprintf(directory, sizeof(directory), "%.40s/coffer-XXXXXX", getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    if (mkdtemp(directory) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/main.key", directory);
    config = (struct provider_config){.name = "main", .type = "native", .path = path};
    for (size_t i = 0; i < sizeof(config.id.bytes); i++)
        config.id.bytes[i] = (uint8_t)(0x10 + i);
    memset(kdk, 0, sizeof(kdk));
    memset(again, 0, sizeof(again));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(directory);
}

static void text_write(const char *text)
{
    assert_int_equal(file_replace(path, text, strlen(text)), ERROR_NONE);
}

/* A sealed file of today's format, made by Python's hashlib and hmac: it must stay readable. */
#define PYTHON_PASSPHRASE(log2_n, wrapped, checksum)                                                                   \
    "{\"version\":1,\"provider\":\"10111213-1415-1617-1819-1a1b1c1d1e1f\",\"seal\":\"passphrase\","                    \
    "\"kcv\":\"2e76afca35c24b52\",\"scrypt_log2_n\":" log2_n ",\"scrypt_r\":8,\"scrypt_p\":1,"                         \
    "\"salt\":\"ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=\",\"wrapped\":\"" wrapped "\",\"checksum\":\"" checksum   \
    "\"}"
#define PYTHON_WRAPPED "gtkxZ2hYxHxC0JiQFCP8qse4AO1aE3tTjfMhzZjs8oOGdcJvb+cB+w=="
#define PYTHON_FILE(kdk)                                                                                               \
    "{\"version\":1,\"provider\":\"10111213-1415-1617-1819-1a1b1c1d1e1f\",\"seal\":\"file\","                          \
    "\"kcv\":\"2e76afca35c24b52\",\"kdk\":\"" kdk "\",\"checksum\":\"6e2a62ebc4a6c51e\"}"

static void assert_python_key(const uint8_t *key)
{
    for (size_t i = 0; i < KEY_SIZE; i++)
        assert_int_equal(key[i], 0xc0 + i);
}

static void a_missing_file_is_not_found(void **state)
{
    (void)state;
    assert_int_equal(provider_native_file.open(&config, NULL, kdk), ERROR_NOT_FOUND);
    assert_int_equal(provider_native_passphrase.open(&config, &right, kdk), ERROR_NOT_FOUND);
}

static void garbage_in_the_file_is_damage(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "garbage", "{\"version\": 1}", "{}", PYTHON_FILE("")};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        text_write(texts[i]);
        assert_int_equal(provider_native_file.open(&config, NULL, kdk), ERROR_CORRUPT);
        assert_non_null(strstr(error_sentence(ERROR_CORRUPT), path));
        assert_non_null(strstr(error_sentence(ERROR_CORRUPT), "is damaged: put its copy back"));
    }
}

static void a_file_that_is_too_long_is_refused(void **state)
{
    (void)state;
    char text[SEALED_KEY_TEXT_MAX + 2];
    memset(text, ' ', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    text_write(text);
    assert_int_equal(provider_native_file.open(&config, NULL, kdk), ERROR_TOO_LARGE);
}

static void a_file_that_others_may_read_is_refused(void **state)
{
    (void)state;
    assert_int_equal(provider_native_file.create(&config, NULL, kdk), ERROR_NONE);
    static const mode_t modes[] = {0640, 0604, 0620};
    for (size_t i = 0; i < COUNT_OF(modes); i++) {
        assert_int_equal(chmod(path, modes[i]), 0);
        assert_int_equal(provider_native_file.open(&config, NULL, again), ERROR_ACCESS);
    }
    assert_int_equal(chmod(path, 0400), 0);
    assert_int_equal(provider_native_file.open(&config, NULL, again), ERROR_NONE);
}

static void a_file_of_another_user_is_refused(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(provider_native_file.create(&config, NULL, kdk), ERROR_NONE);
    assert_int_equal(chown(path, 65534, (gid_t)-1), 0);
    assert_int_equal(provider_native_file.open(&config, NULL, again), ERROR_ACCESS);
    assert_memory_equal(again, untouched, KEY_SIZE);
}

static void a_file_of_another_provider_is_foreign(void **state)
{
    (void)state;
    assert_int_equal(provider_native_file.create(&config, NULL, kdk), ERROR_NONE);
    config.id.bytes[15] ^= 1;
    assert_int_equal(provider_native_file.open(&config, NULL, again), ERROR_FOREIGN);
    assert_memory_equal(again, untouched, KEY_SIZE);
}

static void the_conf_chooses_the_seal_not_the_file(void **state)
{
    (void)state;
    assert_int_equal(provider_native_file.create(&config, NULL, kdk), ERROR_NONE);
    assert_int_equal(provider_native_passphrase.open(&config, &right, again), ERROR_INVALID);
    assert_memory_equal(again, untouched, KEY_SIZE);
}

static void a_changed_key_is_damage(void **state)
{
    (void)state;
    text_write(PYTHON_FILE("wMHCw8TFxsfIycrLzM3Oz9DR0tPU1dbX2Nna29zd3t4="));
    assert_int_equal(provider_native_file.open(&config, NULL, kdk), ERROR_CORRUPT);
    assert_memory_equal(kdk, untouched, KEY_SIZE);
}

static void an_existing_file_is_never_overwritten(void **state)
{
    (void)state;
    assert_int_equal(provider_native_file.create(&config, NULL, kdk), ERROR_NONE);
    assert_int_equal(provider_native_file.create(&config, NULL, again), ERROR_EXISTS);
    assert_memory_equal(again, untouched, KEY_SIZE);
    assert_int_equal(provider_native_file.open(&config, NULL, again), ERROR_NONE);
    assert_memory_equal(again, kdk, KEY_SIZE);
}

static void a_directory_that_is_missing_gives_no_key(void **state)
{
    (void)state;
    config.path = "/nonexistent/main.key";
    assert_int_not_equal(provider_native_file.create(&config, NULL, kdk), ERROR_NONE);
    assert_memory_equal(kdk, untouched, KEY_SIZE);
}

static void no_passphrase_is_locked_and_a_bad_one_a_bad_request(void **state)
{
    (void)state;
    static char long_text[PASSPHRASE_MAX + 1];
    const struct provider_secret none = {NULL, 0}, empty = {"", 0}, long_one = {long_text, sizeof(long_text)};
    text_write(PYTHON_PASSPHRASE("14", PYTHON_WRAPPED, "b5a58eb5f0fd2f54"));
    assert_int_equal(provider_native_passphrase.open(&config, NULL, kdk), ERROR_LOCKED);
    assert_int_equal(provider_native_passphrase.open(&config, &none, kdk), ERROR_LOCKED);
    assert_int_equal(provider_native_passphrase.open(&config, &empty, kdk), ERROR_INVALID);
    assert_int_equal(provider_native_passphrase.open(&config, &long_one, kdk), ERROR_TOO_LARGE);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(provider_native_passphrase.create(&config, NULL, kdk), ERROR_INVALID);
    assert_int_equal(provider_native_passphrase.create(&config, &empty, kdk), ERROR_INVALID);
    assert_int_equal(provider_native_passphrase.create(&config, &long_one, kdk), ERROR_TOO_LARGE);
    assert_int_equal(access(path, F_OK), -1);
}

static void a_wrong_passphrase_is_a_wrong_key(void **state)
{
    (void)state;
    text_write(PYTHON_PASSPHRASE("14", PYTHON_WRAPPED, "b5a58eb5f0fd2f54"));
    assert_int_equal(provider_native_passphrase.open(&config, &wrong, kdk), ERROR_WRONG_KEY);
    assert_memory_equal(kdk, untouched, KEY_SIZE);
}

static void a_damaged_wrapping_is_not_called_a_wrong_passphrase(void **state)
{
    (void)state;
    text_write(PYTHON_PASSPHRASE("14",
                                 "A"
                                 "tkxZ2hYxHxC0JiQFCP8qse4AO1aE3tTjfMhzZjs8oOGdcJvb+cB+w==",
                                 "b5a58eb5f0fd2f54"));
    assert_int_equal(provider_native_passphrase.open(&config, &right, kdk), ERROR_CORRUPT);
}

/* Of the same passphrase, with a checksum that fits. */
static void a_wrapping_of_another_key_is_damage(void **state)
{
    (void)state;
    struct sealed_key sealed;
    char text[SEALED_KEY_TEXT_MAX];
    size_t size;
    static const char python[] = PYTHON_PASSPHRASE("14", PYTHON_WRAPPED, "b5a58eb5f0fd2f54");
    assert_int_equal(sealed_key_decode(python, sizeof(python) - 1, &sealed), ERROR_NONE);
    sealed.kcv[0] ^= 1;
    assert_int_equal(sealed_key_encode(&sealed, text, &size), ERROR_NONE);
    assert_int_equal(file_replace(path, text, size), ERROR_NONE);
    assert_int_equal(provider_native_passphrase.open(&config, &right, kdk), ERROR_CORRUPT);
    assert_memory_equal(kdk, untouched, KEY_SIZE);
}

/* The checksum is right, as a forger would make it. */
static void costs_outside_the_limits_are_refused_before_any_work(void **state)
{
    (void)state;
    static const uint32_t costs[][3] = {{SCRYPT_LOG2_N_FLOOR - 1, 8, 1},
                                        {SCRYPT_LOG2_N_CEILING + 1, 8, 1},
                                        {0, 8, 1},
                                        {999999999, 8, 1},
                                        {14, 9, 1},
                                        {14, 0, 1},
                                        {14, 8, 2},
                                        {14, 8, 0}};
    for (size_t i = 0; i < COUNT_OF(costs); i++) {
        struct sealed_key sealed = {.seal = SEAL_PASSPHRASE,
                                    .provider = config.id,
                                    .scrypt_log2_n = costs[i][0],
                                    .scrypt_r = costs[i][1],
                                    .scrypt_p = costs[i][2]};
        char text[SEALED_KEY_TEXT_MAX];
        size_t size;
        assert_int_equal(sealed_key_encode(&sealed, text, &size), ERROR_NONE);
        assert_int_equal(file_replace(path, text, size), ERROR_NONE);
        assert_int_equal(provider_native_passphrase.open(&config, &right, kdk), ERROR_UNSUPPORTED);
    }
}

static void files_of_this_format_stay_readable(void **state)
{
    (void)state;
    text_write(PYTHON_PASSPHRASE("14", PYTHON_WRAPPED, "b5a58eb5f0fd2f54"));
    assert_int_equal(provider_native_passphrase.open(&config, &right, kdk), ERROR_NONE);
    assert_python_key(kdk);
    text_write(PYTHON_FILE("wMHCw8TFxsfIycrLzM3Oz9DR0tPU1dbX2Nna29zd3t8="));
    assert_int_equal(provider_native_file.open(&config, NULL, again), ERROR_NONE);
    assert_python_key(again);
}

static void a_passphrase_opens_what_it_sealed(void **state)
{
    (void)state;
    struct stat status;
    assert_int_equal(provider_native_passphrase.create(&config, &right, kdk), ERROR_NONE);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(provider_native_passphrase.open(&config, &right, again), ERROR_NONE);
    assert_memory_equal(again, kdk, KEY_SIZE);
    assert_memory_not_equal(kdk, untouched, KEY_SIZE);
}

/* Whoever has the disk looks for what nobody can open by name any more. */
static void a_key_that_is_taken_back_leaves_no_bytes(void **state)
{
    uint8_t kek[KEY_SIZE], bytes[4096];
    struct provider_kek which = {.number = 1};
    (void)state;
    config.seal = "file";
    assert_int_equal(provider_kek_create(&config, NULL, &which, kek), ERROR_NONE);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    provider_kek_withdraw(&config, &which, kek);
    assert_int_equal(access(path, F_OK), -1);
    ssize_t size = read(descriptor, bytes, sizeof bytes);
    assert_true(size > 0 && memory_is_zero(bytes, (size_t)size));
    close(descriptor);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_missing_file_is_not_found),
        TEST(garbage_in_the_file_is_damage),
        TEST(a_file_that_is_too_long_is_refused),
        TEST(a_file_that_others_may_read_is_refused),
        TEST(a_file_of_another_user_is_refused),
        TEST(a_file_of_another_provider_is_foreign),
        TEST(the_conf_chooses_the_seal_not_the_file),
        TEST(a_changed_key_is_damage),
        TEST(an_existing_file_is_never_overwritten),
        TEST(a_directory_that_is_missing_gives_no_key),
        TEST(no_passphrase_is_locked_and_a_bad_one_a_bad_request),
        TEST(a_wrong_passphrase_is_a_wrong_key),
        TEST(a_damaged_wrapping_is_not_called_a_wrong_passphrase),
        TEST(a_wrapping_of_another_key_is_damage),
        TEST(costs_outside_the_limits_are_refused_before_any_work),
        TEST(files_of_this_format_stay_readable),
        TEST(a_passphrase_opens_what_it_sealed),
        TEST(a_key_that_is_taken_back_leaves_no_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
