#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "crypto/provider_native.h"
#include "crypto/sealed_key.h"
#include "tests/unit/swtpm.h"

static struct swtpm tpm;
static char directory[64], path[96], copy[96];
static struct provider_config config;
static const struct provider_secret pin = {"2580", 4}, wrong_pin = {"2581", 4}, passphrase = {"correct horse", 13};
static uint8_t kdk[KEY_SIZE], again[KEY_SIZE];

static int set_up(void **state)
{
    (void)state;
    swtpm_make(&tpm, 0);
    swtpm_start(&tpm);
    snprintf(directory, sizeof(directory), "%.40s/coffer-XXXXXX", getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/native.key", directory);
    snprintf(copy, sizeof(copy), "%s/copy.key", directory);
    config = (struct provider_config){.name = "main", .type = "native", .seal = "tpm", .path = path, .tcti = tpm.tcti,
                                      .id = {{7, 7}}};
    memset(again, 0, sizeof(again));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(tpm.pid == 0 ? 0 : swtpm_slots_filled(&tpm), 0);
    swtpm_remove(&tpm);
    unlink(path);
    unlink(copy);
    return rmdir(directory);
}

static void assert_opens(const struct provider_secret *secret)
{
    memset(again, 0, sizeof(again));
    assert_int_equal(provider_native_tpm.open(&config, secret, again), ERROR_NONE);
    assert_memory_equal(again, kdk, KEY_SIZE);
}

static void what_the_tpm_sealed_opens_without_a_person(void **state)
{
    (void)state;
    struct stat status;
    assert_int_equal(provider_native_tpm.check(&config), ERROR_NONE);
    assert_int_equal(provider_native_tpm.create(&config, NULL, kdk), ERROR_NONE);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_opens(NULL);
    assert_opens(&pin); /* one that is not needed harms nothing */
}

static void the_file_does_not_hold_the_key(void **state)
{
    (void)state;
    void *text;
    size_t size;
    struct sealed_key sealed;
    static const uint8_t nothing[KEY_SIZE];
    assert_int_equal(provider_native_tpm.create(&config, NULL, kdk), ERROR_NONE);
    assert_int_equal(file_read(path, SEALED_KEY_TEXT_MAX, &text, &size), ERROR_NONE);
    assert_int_equal(sealed_key_decode(text, size, &sealed), ERROR_NONE);
    assert_int_equal(sealed.seal, SEAL_TPM);
    assert_memory_equal(sealed.kdk, nothing, KEY_SIZE);
    assert_null(memmem(&sealed, sizeof(sealed), kdk, 8));
    free(text);
}

static void a_pin_is_asked_for_and_a_wrong_one_told(void **state)
{
    (void)state;
    assert_int_equal(provider_native_tpm.create(&config, &pin, kdk), ERROR_NONE);
    assert_int_equal(provider_native_tpm.open(&config, NULL, again), ERROR_LOCKED);
    assert_int_equal(provider_native_tpm.open(&config, &wrong_pin, again), ERROR_WRONG_KEY);
    assert_opens(&pin);
}

static void without_a_tpm_nothing_is_made_and_nothing_opens(void **state)
{
    (void)state;
    assert_int_equal(provider_native_tpm.create(&config, NULL, kdk), ERROR_NONE);
    swtpm_kill(&tpm);
    assert_int_equal(provider_native_tpm.open(&config, NULL, again), ERROR_KEY_ABSENT);
    assert_int_equal(provider_native_tpm.check(&config), ERROR_KEY_ABSENT);
    config.path = copy;
    assert_int_equal(provider_native_tpm.create(&config, NULL, again), ERROR_KEY_ABSENT);
    assert_int_equal(access(copy, F_OK), -1);
    config.path = path;
    swtpm_start(&tpm);
    assert_opens(NULL);
}

static void a_key_that_is_not_the_one_of_the_check_value_is_damage(void **state)
{
    (void)state;
    void *text;
    char changed[SEALED_KEY_TEXT_MAX];
    size_t size;
    struct sealed_key sealed;
    assert_int_equal(provider_native_tpm.create(&config, NULL, kdk), ERROR_NONE);
    assert_int_equal(file_read(path, SEALED_KEY_TEXT_MAX, &text, &size), ERROR_NONE);
    assert_int_equal(sealed_key_decode(text, size, &sealed), ERROR_NONE);
    free(text);
    sealed.kcv[0] ^= 1;
    assert_int_equal(sealed_key_encode(&sealed, changed, &size), ERROR_NONE);
    assert_int_equal(file_replace(path, changed, size), ERROR_NONE);
    assert_int_equal(provider_native_tpm.open(&config, NULL, again), ERROR_CORRUPT);
}

static void the_copy_opens_without_the_tpm(void **state)
{
    (void)state;
    static const struct provider_secret none = {NULL, 0};
    assert_int_equal(provider_native_tpm.create(&config, NULL, kdk), ERROR_NONE);
    assert_int_equal(provider_copy_create(&config, copy, &none, kdk), ERROR_INVALID);
    assert_int_equal(provider_copy_create(&config, copy, &passphrase, kdk), ERROR_NONE);
    assert_int_equal(provider_copy_create(&config, copy, &passphrase, kdk), ERROR_EXISTS);
    swtpm_kill(&tpm);
    config.path = copy;
    config.seal = "passphrase";
    assert_int_equal(provider_native_passphrase.open(&config, &passphrase, again), ERROR_NONE);
    assert_memory_equal(again, kdk, KEY_SIZE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_the_tpm_sealed_opens_without_a_person),
        TEST(the_file_does_not_hold_the_key),
        TEST(a_pin_is_asked_for_and_a_wrong_one_told),
        TEST(without_a_tpm_nothing_is_made_and_nothing_opens),
        TEST(a_key_that_is_not_the_one_of_the_check_value_is_damage),
        TEST(the_copy_opens_without_the_tpm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
