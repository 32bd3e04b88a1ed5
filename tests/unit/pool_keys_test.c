/* From conf, witness and secret to the KEK: a disk never chooses a provider, and plaintext needs everybody's word. */
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
#include "crypto/hierarchy.h"
#include "engine/pool/keys.h"

static char directory[64], key_path[128];
static uint8_t kdk[KEY_SIZE], kek[KEY_SIZE];
static struct provider_config provider;
static struct pool_conf_device devices[2] = {{.path = (char *)"/dev/a"}, {.path = (char *)"/dev/b"}};
static struct pool_conf_group group;
static struct pool_conf conf;
static struct witness witness;
static struct superblock_probe probe;

static int setup_sealed(const char *seal, const struct provider_secret *secret)
{
    const struct provider_ops *operations;
    const char *parent = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%.40s/coffer-XXXXXX", parent != NULL ? parent : "/tmp");
    assert_non_null(mkdtemp(directory));
    snprintf(key_path, sizeof key_path, "%s/native.key", directory);
    provider = (struct provider_config){
        .name = "native", .id = uuid_random(), .type = "native", .seal = seal, .path = key_path};
    assert_int_equal(provider_find(&provider, &operations), ERROR_NONE);
    assert_int_equal(operations->create(&provider, secret, kdk), ERROR_NONE);
    for (size_t i = 0; i < COUNT_OF(devices); i++)
        devices[i].id = uuid_random();
    group = (struct pool_conf_group){.name = "g1", .id = uuid_random(), .device_count = 2, .devices = devices};
    conf = (struct pool_conf){
        .directory = directory, .pool = uuid_random(), .provider = &provider, .providers = &provider, .provider_count = 1};
    witness = (struct witness){.pool = conf.pool, .encryption_floor = true};
    probe = (struct superblock_probe){.plausible[2] = true};
    probe.copies[2] = (struct superblock){
        .pool = conf.pool,
        .group = group.id,
        .device = devices[1].id,
        .device_index = 1,
        .device_count = 2,
        .encryption = true,
        .wrapping = {provider.id, 4, 99},
    };
    return 0;
}

static int setup(void **context)
{
    (void)context;
    return setup_sealed("file", NULL);
}

static int teardown(void **context)
{
    (void)context;
    unlink(key_path);
    rmdir(directory);
    return 0;
}

static enum error open_keys(const struct provider_secret *secret)
{
    memset(kek, 0, sizeof kek);
    return pool_keys_open(&conf, &witness, superblock_newest(&probe), secret, kek, &(enum kek_state){KEK_ACTIVE});
}

static void the_kek_is_that_of_number_and_salt(void **context)
{
    (void)context;
    uint8_t expected[KEY_SIZE];
    assert_int_equal(open_keys(NULL), ERROR_NONE);
    assert_int_equal(kek_derive(kdk, conf.pool, 4, 99, expected), ERROR_NONE);
    assert_memory_equal(kek, expected, KEY_SIZE);
}

static void another_pools_device_is_foreign(void **context)
{
    (void)context;
    conf.pool = uuid_random();
    assert_int_equal(open_keys(NULL), ERROR_FOREIGN);
}

static void a_device_under_another_provider_is_foreign(void **context)
{
    (void)context;
    probe.copies[2].wrapping.provider = uuid_random();
    assert_int_equal(open_keys(NULL), ERROR_FOREIGN);
    assert_non_null(strstr(error_sentence(ERROR_FOREIGN), "native"));
}

static void a_conf_that_denies_the_encryption_is_refused(void **context)
{
    (void)context;
    conf.encryption = POOL_ENCRYPTION_OFF;
    conf.provider = NULL;
    assert_int_equal(open_keys(NULL), ERROR_INVALID);
    assert_non_null(strstr(error_sentence(ERROR_INVALID), "encryption = off"));
}

static void plaintext_is_taken_only_where_conf_and_witness_agree(void **context)
{
    (void)context;
    static const uint8_t nothing[KEY_SIZE];
    probe.copies[2].encryption = false;
    assert_int_equal(open_keys(NULL), ERROR_FORGED);
    assert_memory_equal(kek, nothing, KEY_SIZE);
    conf.encryption = POOL_ENCRYPTION_REQUIRED;
    assert_int_equal(open_keys(NULL), ERROR_FORGED);
    conf.encryption = POOL_ENCRYPTION_OFF;
    assert_int_equal(open_keys(NULL), ERROR_FORGED);
    assert_memory_equal(kek, nothing, KEY_SIZE);
    conf.encryption = POOL_ENCRYPTION_ON;
    witness.encryption_floor = false;
    assert_int_equal(open_keys(NULL), ERROR_FORGED);
    conf.encryption = POOL_ENCRYPTION_OFF;
    assert_int_equal(open_keys(NULL), ERROR_NONE);
    assert_memory_equal(kek, kek_public, KEY_SIZE);
}

static void a_lost_or_foreign_key_file_is_told(void **context)
{
    (void)context;
    provider.id = uuid_random();
    probe.copies[2].wrapping.provider = provider.id;
    assert_int_equal(open_keys(NULL), ERROR_FOREIGN);
    unlink(key_path);
    assert_int_equal(open_keys(NULL), ERROR_KEY_ABSENT);
    assert_non_null(strstr(error_sentence(ERROR_KEY_ABSENT), key_path));
}

static void an_unknown_seal_is_unsupported(void **context)
{
    (void)context;
    provider.seal = "none";
    assert_int_equal(open_keys(NULL), ERROR_UNSUPPORTED);
}

static void a_passphrase_is_asked_for_and_checked(void **context)
{
    (void)context;
    teardown(context);
    struct provider_secret right = {"open sesame", 11}, wrong = {"open barley", 11};
    setup_sealed("passphrase", &right);
    assert_int_equal(open_keys(NULL), ERROR_LOCKED);
    assert_int_equal(open_keys(&wrong), ERROR_WRONG_KEY);
    assert_int_equal(open_keys(&right), ERROR_NONE);
}

static void only_the_device_named_by_the_conf_passes(void **context)
{
    (void)context;
    struct superblock *found = &probe.copies[2];
    assert_int_equal(pool_device_check(&conf, &group, 1, &probe), ERROR_NONE);
    struct uuid *ids[] = {&found->pool, &found->group, &found->device};
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        ids[i]->bytes[0] ^= 1;
        assert_int_equal(pool_device_check(&conf, &group, 1, &probe), ERROR_FOREIGN);
        assert_non_null(strstr(error_sentence(ERROR_FOREIGN), "/dev/b"));
        ids[i]->bytes[0] ^= 1;
    }
    found->device_index = 0;
    assert_int_equal(pool_device_check(&conf, &group, 1, &probe), ERROR_INVALID);
    found->device_index = 1;
    found->device_count = 3;
    assert_int_equal(pool_device_check(&conf, &group, 1, &probe), ERROR_INVALID);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(another_pools_device_is_foreign),
        TEST(a_device_under_another_provider_is_foreign),
        TEST(a_conf_that_denies_the_encryption_is_refused),
        TEST(plaintext_is_taken_only_where_conf_and_witness_agree),
        TEST(a_lost_or_foreign_key_file_is_told),
        TEST(an_unknown_seal_is_unsupported),
        TEST(a_passphrase_is_asked_for_and_checked),
        TEST(only_the_device_named_by_the_conf_passes),
        TEST(the_kek_is_that_of_number_and_salt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
