/* Backups of a key: what is in them opens the pool, also a pool in use; what contradicts itself is refused. */
#include <fcntl.h>
#include <unistd.h>

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

/* ---- what lies on the device may be anybody's word ---- */

static void area_move(uint64_t offset, void *bytes, size_t size, bool read)
{
    int descriptor = open(conf->groups[0].devices[0].path, O_RDWR | O_CLOEXEC);
    assert_true(descriptor >= 0);
    assert_int_equal(read ? pread(descriptor, bytes, size, (off_t)offset) : pwrite(descriptor, bytes, size, (off_t)offset), size);
    close(descriptor);
}

/* As superblock_image.c has it: over all behind it, the MACs taken as zero. */
static uint32_t crc_of(const struct superblock_format *fixed)
{
    struct superblock_format copy = *fixed;
    uint32_t crc = UINT32_MAX;
    memset(copy.mac, 0, sizeof copy.mac);
    for (size_t i = offsetof(struct superblock_format, mac); i < sizeof copy; i++)
        for (unsigned bit = 0, byte = ((const uint8_t *)&copy)[i]; bit < 8; bit++, byte >>= 1)
            crc = (crc ^ byte) & 1 ? crc >> 1 ^ UINT32_C(0xedb88320) : crc >> 1;
    return ~crc;
}

enum forgery { FOREIGN_POOL, OTHER_DEVICE, NOT_ENCRYPTED, OTHER_NUMBER, OTHER_SALT, OTHER_PROVIDER, FORGERIES };

/* The first copy, said to be newer than any. */
static void forge(const struct superblock_format *good, enum forgery forgery)
{
    struct superblock_format bad = *good;
    bad.epoch = le64_make(le64_get(good->epoch) + 1000);
    if (forgery == FOREIGN_POOL)
        bad.pool[3] ^= 1;
    else if (forgery == OTHER_DEVICE)
        bad.device[3] ^= 1;
    else if (forgery == NOT_ENCRYPTED)
        bad.encryption = 0;
    else if (forgery == OTHER_NUMBER)
        bad.wrappings[0].kek_number = le64_make(7);
    else if (forgery == OTHER_SALT)
        bad.wrappings[0].kek_salt = le64_make(7);
    else
        bad.wrappings[0].provider[3] ^= 1;
    bad.crc = le32_make(crc_of(&bad));
    area_move(superblock_offset(FIXTURE_SIZE, 0), &bad, sizeof bad, false);
}

static void a_forged_copy_of_a_superblock_outdates_no_backup(void **context)
{
    (void)context;
    struct superblock_format good;
    struct key_backup_proof proof;
    struct uuid device;
    struct key_backup *backup = backup_make();
    area_move(superblock_offset(FIXTURE_SIZE, 0), &good, sizeof good, true);
    assert_int_equal(crc_of(&good), le32_get(good.crc));
    for (enum forgery forgery = 0; forgery < FORGERIES; forgery++) {
        forge(&good, forgery);
        assert_fine(key_backup_prove(backup, conf, &proof));
        assert_int_equal(proof.slots, 3);
        assert_fine(key_backup_identify(backup, conf->groups[0].devices[0].path, &device));
        assert_true(uuid_equal(device, conf->groups[0].devices[0].id));
        struct key_backup *again = backup_make();
        assert_true(again->kek_number == backup->kek_number && again->kek_salt == backup->kek_salt);
        assert_memory_equal(again->devices[0].slots, backup->devices[0].slots, 3 * sizeof(struct key_slot_format));
        key_backup_destroy(again);
    }
    area_move(superblock_offset(FIXTURE_SIZE, 0), &good, sizeof good, false);
    key_backup_destroy(backup);
}

/* Made of it a backup would hold a key that is in force no more. */
static void no_backup_is_made_of_a_disk_that_was_rolled_back(void **context)
{
    (void)context;
    AUTO_FREE uint8_t *old = malloc(SUPERBLOCK_COPIES * SUPERBLOCK_SIZE);
    AUTO_FREE uint8_t *now = malloc(SUPERBLOCK_COPIES * SUPERBLOCK_SIZE);
    struct key_backup *backup;
    for (uint32_t copy = 0; copy < SUPERBLOCK_COPIES; copy++)
        area_move(superblock_offset(FIXTURE_SIZE, copy), old + copy * SUPERBLOCK_SIZE, SUPERBLOCK_SIZE, true);
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){0}));
    for (uint32_t copy = 0; copy < SUPERBLOCK_COPIES; copy++) {
        area_move(superblock_offset(FIXTURE_SIZE, copy), now + copy * SUPERBLOCK_SIZE, SUPERBLOCK_SIZE, true);
        area_move(superblock_offset(FIXTURE_SIZE, copy), old + copy * SUPERBLOCK_SIZE, SUPERBLOCK_SIZE, false);
    }
    assert_int_equal(key_backup_make(conf, NULL, &backup), ERROR_FOREIGN);
    assert_non_null(strstr(error_sentence(ERROR_FOREIGN), "key number 2"));
    for (uint32_t copy = 0; copy < SUPERBLOCK_COPIES; copy++)
        area_move(superblock_offset(FIXTURE_SIZE, copy), now + copy * SUPERBLOCK_SIZE, SUPERBLOCK_SIZE, false);
    backup = backup_make();
    assert_int_equal(backup->kek_number, 2);
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
        cmocka_unit_test_setup_teardown(a_forged_copy_of_a_superblock_outdates_no_backup, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_backup_is_made_of_a_disk_that_was_rolled_back, set_up, tear_down),
        cmocka_unit_test(texts_that_contradict_themselves_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
