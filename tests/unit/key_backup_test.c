/* Backups of a key: what is in them opens the pool, also a pool in use; what contradicts itself is refused. */
#include "crypto/pkcs12.h"
#include "engine/group/superblock_image.h"
#include "engine/pool/key_backup.h"
#include "tests/unit/pool_fixture.h"

static const struct provider_secret password = {"correct horse", 13};
static struct pool_conf *conf;

static int set_up(void **context)
{
    int result = pool_setup(context);
    return result != 0 ? result : pool_conf_read(fixture_directory, &conf) == ERROR_NONE ? 0 : -1;
}

static int tear_down(void **context)
{
    pool_conf_destroy(conf);
    return pool_teardown(context);
}

static struct key_backup *backup_make(void)
{
    struct key_backup *backup;
    assert_fine(key_backup_make(conf, NULL, &backup));
    return backup;
}

static struct key_backup *through_a_file(const struct key_backup *backup, bool brief)
{
    struct key_backup *again;
    uint8_t *data;
    size_t size;
    assert_fine(key_backup_encode(backup, brief, &password, &data, &size));
    assert_fine(key_backup_decode(data, size, &password, &again));
    free(data);
    return again;
}

static void a_backup_of_a_pool_in_use_opens_all_its_slots(void **context)
{
    (void)context;
    struct key_backup_proof proof;
    struct key_backup *backup = backup_make(), *again = through_a_file(backup, false);
    assert_memory_equal(again->key, backup->key, KEY_SIZE);
    assert_string_equal(again->conf, backup->conf);
    assert_int_equal(again->device_count, 1);
    assert_int_equal(again->devices[0].slot_count, 3);
    assert_memory_equal(again->devices[0].slots, backup->devices[0].slots, 3 * sizeof(struct key_slot_format));
    assert_true(again->kek_number == 1 && again->kek_salt == backup->kek_salt && again->made == backup->made);
    assert_fine(key_backup_prove(again, conf, &proof));
    assert_true(proof.devices == 1 && proof.slots == 3);
    key_backup_destroy(backup);
    key_backup_destroy(again);
}

/* The wrapped keys are those that lie on the device: KWP has no randomness. */
static void its_slots_are_those_of_the_superblock(void **context)
{
    (void)context;
    struct key_backup *backup = backup_make();
    uint8_t *image = memory_aligned(SUPERBLOCK_SIZE);
    assert_fine(device_read(pool->group->devices[0], superblock_offset(0, 0), image, SUPERBLOCK_SIZE));
    for (uint32_t i = 0; i < backup->devices[0].slot_count; i++)
        assert_non_null(memmem(image, SUPERBLOCK_SIZE, backup->devices[0].slots[i].wrapped[0], WRAPPED_KEY_SIZE));
    free(image);
    key_backup_destroy(backup);
}

static void a_pool_opens_by_the_key_alone(void **context)
{
    (void)context;
    struct key_backup *backup = backup_make(), *brief = through_a_file(backup, true);
    assert_true(brief->device_count == 0 && brief->conf == NULL);
    assert_fine(pool_lock(pool));
    char away[256];
    snprintf(away, sizeof away, "%s.away", conf->provider->path);
    assert_int_equal(rename(conf->provider->path, away), 0);
    assert_int_equal(pool_unlock(pool, NULL, 0), ERROR_KEY_ABSENT);
    brief->key[0] ^= 1;
    assert_int_equal(pool_unlock_by_key(pool, brief->key), ERROR_WRONG_KEY);
    brief->key[0] ^= 1;
    assert_fine(pool_unlock_by_key(pool, brief->key));
    assert_int_equal(rename(away, conf->provider->path), 0);
    key_backup_destroy(backup);
    key_backup_destroy(brief);
}

static void slots_that_were_altered_are_found(void **context)
{
    (void)context;
    struct key_backup_proof proof;
    struct key_backup *backup = backup_make();
    backup->devices[0].slots[1].wrapped[0][5] ^= 1;
    assert_int_equal(key_backup_prove(backup, conf, &proof), ERROR_WRONG_KEY);
    assert_non_null(strstr(error_sentence(ERROR_WRONG_KEY), "the key slots in the backup, of device 1"));
    backup->devices[0].slots[1].wrapped[0][5] ^= 1;
    backup->pool.bytes[0] ^= 1;
    assert_int_equal(key_backup_prove(backup, conf, &proof), ERROR_FOREIGN);
    key_backup_destroy(backup);
}

/* Texts as another writer might make them, in a file whose password is right. */
static enum error decode_text(const char *text)
{
    struct pkcs12 content = {.name = "coffer x", .key = {1}, .text = (char *)text, .text_size = strlen(text)};
    struct uuid provider = {{2}};
    struct key_backup *backup;
    uint8_t *data;
    size_t size;
    assert_fine(kcv_derive(content.key, provider, content.kcv));
    assert_fine(pkcs12_encode(&content, password.passphrase, password.passphrase_size, &data, &size));
    enum error error = key_backup_decode(data, size, &password, &backup);
    free(data);
    if (error == ERROR_NONE)
        key_backup_destroy(backup);
    return error;
}

#define NUMBER "0000000000000001"
#define TEXT(version, pool, provider, name, key, number, devices, more)                                                   \
    "{\"version\":" version ",\"pool\":\"" pool "\",\"provider\":\"" provider "\",\"provider_name\":\"" name "\",\"key\":\"" key  \
    "\",\"kek_number\":\"" number "\",\"kek_salt\":\"" NUMBER "\",\"made\":\"" NUMBER "\",\"devices\":" devices ",\"conf\":\"\"" more "}"
#define POOL "01000000-0000-0000-0000-000000000000"
#define PROVIDER "02000000-0000-0000-0000-000000000000"

static void texts_that_contradict_themselves_are_refused(void **context)
{
    (void)context;
    static const char slot[] = "[{\"device\":\"" POOL "\",\"slots\":[{\"kind\":1,\"state\":1,\"number\":1,\"wrapped\":\"AAAA\"}]}]";
    char bad[1024];
    snprintf(bad, sizeof bad, TEXT("1", POOL, PROVIDER, "main", "kdk", NUMBER, "%s", ""), slot);
    assert_int_equal(decode_text(TEXT("1", POOL, PROVIDER, "main", "kdk", NUMBER, "[]", "")), ERROR_NONE);
    assert_int_equal(decode_text(TEXT("1", POOL, PROVIDER, "main", "kek", NUMBER, "[]", "")), ERROR_NONE);
    assert_int_equal(decode_text(TEXT("2", POOL, PROVIDER, "main", "kdk", NUMBER, "[]", "")), ERROR_NEWER_FORMAT);
    const char *const texts[] = {
        "",
        "[]",
        "{\"version\":1}",
        bad,
        TEXT("0", POOL, PROVIDER, "main", "kdk", NUMBER, "[]", ""),
        TEXT("1", "x", PROVIDER, "main", "kdk", NUMBER, "[]", ""),
        TEXT("1", POOL, POOL, "main", "kdk", NUMBER, "[]", ""), /* the KCV is for another provider */
        TEXT("1", POOL, PROVIDER, "../main", "kdk", NUMBER, "[]", ""),
        TEXT("1", POOL, PROVIDER, "main", "dek", NUMBER, "[]", ""),
        TEXT("1", POOL, PROVIDER, "main", "kdk", "1", "[]", ""),
        TEXT("1", POOL, PROVIDER, "main", "kdk", NUMBER, "{}", ""),
        TEXT("1", POOL, PROVIDER, "main", "kdk", NUMBER, "[{}]", ""),
        TEXT("1", POOL, PROVIDER, "main", "kdk", NUMBER, "[{\"device\":\"" POOL "\",\"slots\":[]}]", ""),
        TEXT("1", POOL, PROVIDER, "main", "kdk", NUMBER, "[]", ",\"more\":1"),
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        assert_int_equal(decode_text(texts[i]), ERROR_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_backup_of_a_pool_in_use_opens_all_its_slots, set_up, tear_down),
        cmocka_unit_test_setup_teardown(its_slots_are_those_of_the_superblock, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_pool_opens_by_the_key_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(slots_that_were_altered_are_found, set_up, tear_down),
        cmocka_unit_test(texts_that_contradict_themselves_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
