/* The witness: lost, changed, foreign or newer files are refused, and so is whatever is older than what was seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/message.h"
#include "engine/pool/witness.h"

static const struct k_pools k_pools = {1, 1, 1, {{1, {1}}}}, other_k_pools = {1, 1, 1, {{1, {2}}}};
static char directory[64], path[128];
static struct uuid pool, group, device;
static struct witness *witness;

static int setup(void **context)
{
    (void)context;
    const char *parent = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%.40s/coffer-XXXXXX", parent != NULL ? parent : "/tmp");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/%s", directory, WITNESS_NAME);
    message_level_set(MESSAGE_ERROR);
    pool = uuid_random();
    group = uuid_random();
    device = uuid_random();
    assert_int_equal(witness_create(directory, pool, &k_pools, &witness), ERROR_NONE);
    witness->encryption_floor = true;
    witness->provider = uuid_random();
    witness->kek_number = 1;
    struct witness_device seen = {device, true, 5, 70};
    assert_int_equal(witness_device_raise(witness, &seen), ERROR_NONE);
    assert_int_equal(witness_group_raise(witness, group, true, UINT64_MAX), ERROR_NONE);
    assert_int_equal(witness_save(witness), ERROR_NONE);
    return 0;
}

static int teardown(void **context)
{
    (void)context;
    witness_destroy(witness);
    unlink(path);
    rmdir(directory);
    return 0;
}

static enum error load_and_verify(const struct k_pools *keys)
{
    struct witness *loaded;
    TRY(witness_load(directory, pool, &loaded));
    enum error error = witness_verify(loaded, keys);
    witness_destroy(loaded);
    return error;
}

/* The error that follows when `from` in the file becomes `to`. */
static enum error changed(const char *from, const char *to)
{
    AUTO_FREE void *text = NULL;
    AUTO_FREE char *edited = NULL;
    size_t size;
    assert_int_equal(file_read(path, 1 << 20, &text, &size), ERROR_NONE);
    const char *at = strstr(text, from);
    assert_non_null(at);
    int before = (int)(at - (const char *)text);
    assert_true(asprintf(&edited, "%.*s%s%s", before, (const char *)text, to, at + strlen(from)) > 0);
    assert_int_equal(file_replace(path, edited, strlen(edited)), ERROR_NONE);
    enum error error = load_and_verify(&k_pools);
    assert_int_equal(file_replace(path, text, size), ERROR_NONE);
    assert_int_equal(load_and_verify(&k_pools), ERROR_NONE);
    return error;
}

static void a_lost_witness_is_said_so(void **context)
{
    (void)context;
    assert_int_equal(unlink(path), 0);
    assert_int_equal(load_and_verify(&k_pools), ERROR_NOT_FOUND);
    assert_non_null(strstr(error_sentence(ERROR_NOT_FOUND), "lost"));
    assert_non_null(strstr(error_sentence(ERROR_NOT_FOUND), path));
}

static void another_key_does_not_verify(void **context)
{
    (void)context;
    assert_int_equal(load_and_verify(&other_k_pools), ERROR_FORGED);
}

static bool file_has(const char *words)
{
    AUTO_FREE void *text = NULL;
    size_t size;
    assert_int_equal(file_read(path, 1 << 20, &text, &size), ERROR_NONE);
    return strstr(text, words) != NULL;
}

/* A deep rekey made key 2. Until the superblocks demand it the file of before is taken, and is under 2 from the next save on. */
static void a_replaced_key_is_taken_until_another_is_demanded(void **context)
{
    (void)context;
    struct k_pools two = {1, 2, 2, {{1, {1}}, {2, {3}}}}, only_two = {1, 2, 1, {{2, {3}}}};
    struct witness *loaded;
    two.demanded = 2;
    assert_int_equal(load_and_verify(&two), ERROR_FORGED);
    assert_non_null(strstr(error_sentence(ERROR_FORGED), "which a deep rekey replaced"));
    assert_int_equal(load_and_verify(&only_two), ERROR_FORGED);
    assert_non_null(strstr(error_sentence(ERROR_FORGED), "which no device holds"));
    two.demanded = 1;
    assert_int_equal(witness_load(directory, pool, &loaded), ERROR_NONE);
    assert_int_equal(witness_verify(loaded, &two), ERROR_NONE);
    assert_int_equal(witness_save(loaded), ERROR_NONE);
    witness_destroy(loaded);
    assert_true(file_has("\"pool_key\": 2"));
    two.demanded = 2;
    assert_int_equal(load_and_verify(&two), ERROR_NONE);
    two.keys[1].key[0] ^= 1;
    assert_int_equal(load_and_verify(&two), ERROR_FORGED);
}

/* Half of a deep rekey: the devices that lack a key do not make the witness fall back to the one before. */
static void a_later_key_than_that_of_all_devices_stays(void **context)
{
    (void)context;
    struct k_pools two = {1, 2, 2, {{1, {1}}, {2, {3}}}};
    struct witness *loaded;
    assert_int_equal(witness_rekey(witness, &two), ERROR_NONE);
    assert_int_equal(witness_save(witness), ERROR_NONE);
    two.current = 1;
    assert_int_equal(witness_load(directory, pool, &loaded), ERROR_NONE);
    assert_int_equal(witness_verify(loaded, &two), ERROR_NONE);
    assert_int_equal(witness_save(loaded), ERROR_NONE);
    witness_destroy(loaded);
    assert_true(file_has("\"pool_key\": 2"));
    assert_int_equal(load_and_verify(&k_pools), ERROR_ROLLED_BACK);
    assert_non_null(strstr(error_sentence(ERROR_ROLLED_BACK), "--accept-rollback"));
}

static void another_pools_witness_is_foreign(void **context)
{
    (void)context;
    pool = uuid_random();
    assert_int_equal(load_and_verify(&k_pools), ERROR_FOREIGN);
}

static void changed_facts_are_forged(void **context)
{
    (void)context;
    assert_int_equal(changed("\"epoch\": 5", "\"epoch\": 4"), ERROR_FORGED);
    assert_int_equal(changed("\"encryption_floor\": true", "\"encryption_floor\": false"), ERROR_FORGED);
    assert_int_equal(changed("ffffffffffffffff", "fffffffffffffffe"), ERROR_FORGED);
    assert_int_equal(changed("\"active\": true", "\"active\": false"), ERROR_FORGED);
}

static void what_is_no_witness_is_corrupt(void **context)
{
    (void)context;
    assert_int_equal(changed("{", ""), ERROR_CORRUPT);
    assert_int_equal(changed("\"kek_number\": 1", "\"kek_number\": -1"), ERROR_CORRUPT);
    assert_int_equal(changed("\"kek_number\": 1", "\"kek_number\": \"1\""), ERROR_CORRUPT);
    assert_int_equal(changed("\"kek_number\": 1", "\"kek\": 1"), ERROR_CORRUPT);
    assert_int_equal(changed("\"kek_number\": 1", "\"kek_number\": 1, \"more\": 1"), ERROR_CORRUPT);
    assert_int_equal(changed("\"kek_number\": 1", "\"kek_number\": 1, \"kek_number\": 1"), ERROR_CORRUPT);
    assert_int_equal(changed("\"encrypted\": true", "\"encrypted\": 1"), ERROR_CORRUPT);
    assert_int_equal(changed("\"checkpoint\": 70", "\"checkpoint\": 70, \"x\": 1"), ERROR_CORRUPT);
    assert_int_equal(changed("\"pool_key\": 1", "\"pool_key\": 0"), ERROR_CORRUPT);
    assert_int_equal(changed("\"pool_key\": 1", "\"pool_key\": 256"), ERROR_CORRUPT);
    assert_int_equal(changed("\"pool_key\": 1,", ""), ERROR_CORRUPT);
    assert_int_equal(changed("\"mac\": \"", "\"mac\": \"0"), ERROR_CORRUPT);
    assert_int_equal(changed("\"mac\"", "\"tag\""), ERROR_CORRUPT);
    assert_int_equal(changed("ffffffffffffffff", "ffffffffffffffF"), ERROR_CORRUPT);
    assert_int_equal(changed("\"version\": 1", "\"version\": 0"), ERROR_CORRUPT);
}

static void garbage_is_corrupt(void **context)
{
    (void)context;
    static const char *const texts[] = {"", "{}", "[]", "null", "\xff\xfe", "{\"version\": 1}", "{\"version\": []}"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        assert_int_equal(file_replace(path, texts[i], strlen(texts[i])), ERROR_NONE);
        assert_int_equal(load_and_verify(&k_pools), ERROR_CORRUPT);
        assert_non_null(strstr(error_sentence(ERROR_CORRUPT), path));
    }
    char deep[20001];
    memset(deep, '[', sizeof deep - 1);
    deep[sizeof deep - 1] = 0;
    assert_int_equal(file_replace(path, deep, strlen(deep)), ERROR_NONE);
    assert_int_equal(load_and_verify(&k_pools), ERROR_CORRUPT);
}

static void a_newer_version_is_said_so(void **context)
{
    (void)context;
    assert_int_equal(changed("\"version\": 1", "\"version\": 2"), ERROR_NEWER_FORMAT);
}

static void blanks_do_not_matter(void **context)
{
    (void)context;
    assert_int_equal(changed("\"version\": 1", "\"version\"   :   1"), ERROR_NONE);
}

static void everything_saved_comes_back(void **context)
{
    (void)context;
    struct witness *loaded;
    assert_int_equal(witness_load(directory, pool, &loaded), ERROR_NONE);
    assert_int_equal(witness_verify(loaded, &k_pools), ERROR_NONE);
    assert_true(loaded->encryption_floor && uuid_equal(loaded->provider, witness->provider));
    assert_true(loaded->kek_number == 1 && loaded->epoch == 1);
    assert_true(loaded->group_count == 1 && loaded->groups[0].active && loaded->groups[0].sequence == UINT64_MAX);
    assert_true(loaded->device_count == 1 && loaded->devices[0].encrypted);
    assert_true(loaded->devices[0].epoch == 5 && loaded->devices[0].checkpoint == 70);
    assert_int_equal(witness_save(loaded), ERROR_NONE);
    witness_destroy(loaded);
    assert_int_equal(load_and_verify(&k_pools), ERROR_NONE);
}

static void an_epoch_is_saved_before_it_is_handed_out(void **context)
{
    (void)context;
    uint64_t epoch, again;
    struct witness *loaded;
    assert_int_equal(witness_epoch_reserve(witness, &epoch), ERROR_NONE);
    assert_int_equal(epoch, 6); /* above the device's */
    assert_int_equal(witness_load(directory, pool, &loaded), ERROR_NONE);
    assert_int_equal(witness_verify(loaded, &k_pools), ERROR_NONE);
    assert_int_equal(loaded->epoch, 6);
    assert_int_equal(witness_epoch_reserve(loaded, &again), ERROR_NONE);
    assert_int_equal(again, 7);
    witness_destroy(loaded);
}

static void an_epoch_that_cannot_be_saved_is_not_handed_out(void **context)
{
    (void)context;
    uint64_t epoch = 99;
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(directory), 0);
    assert_int_not_equal(witness_epoch_reserve(witness, &epoch), ERROR_NONE);
    assert_int_equal(epoch, 99);
    assert_int_equal(witness->epoch, 1);
    assert_int_equal(mkdir(directory, 0700), 0);
    assert_int_equal(witness_epoch_reserve(witness, &epoch), ERROR_NONE);
    assert_int_equal(epoch, 6);
}

static void superblocks_that_are_being_written_are_remembered_until_they_are(void **context)
{
    (void)context;
    uint64_t epoch;
    struct witness *loaded;
    assert_false(witness_is_rewriting(witness, device));
    assert_int_equal(witness_epoch_for_superblocks(witness, &epoch), ERROR_NONE);
    assert_int_equal(witness_load(directory, pool, &loaded), ERROR_NONE);
    assert_int_equal(witness_verify(loaded, &k_pools), ERROR_NONE);
    assert_int_equal(loaded->rewriting, epoch);
    assert_true(witness_is_rewriting(loaded, device));
    struct witness_device written = {device, true, epoch, 70};
    assert_int_equal(witness_device_raise(loaded, &written), ERROR_NONE);
    assert_false(witness_is_rewriting(loaded, device));
    assert_true(witness_is_rewriting(loaded, uuid_random()));
    loaded->rewriting = 0;
    assert_int_equal(witness_save(loaded), ERROR_NONE);
    witness_destroy(loaded);
    assert_int_equal(witness_load(directory, pool, &loaded), ERROR_NONE);
    assert_int_equal(loaded->rewriting, 0);
    witness_destroy(loaded);
}

static void epochs_end_before_they_repeat(void **context)
{
    (void)context;
    uint64_t epoch;
    witness->epoch = (1 << 24) - 2;
    assert_int_equal(witness_epoch_reserve(witness, &epoch), ERROR_NONE);
    assert_int_equal(witness_epoch_reserve(witness, &epoch), ERROR_UNSUPPORTED);
}

static void what_was_seen_never_sinks(void **context)
{
    (void)context;
    struct witness_device lower = {device, false, 4, 69}, higher = {device, false, 6, 71};
    assert_int_equal(witness_device_raise(witness, &lower), ERROR_NONE);
    assert_true(witness->devices[0].encrypted && witness->devices[0].epoch == 5);
    assert_int_equal(witness->devices[0].checkpoint, 70);
    assert_int_equal(witness_device_raise(witness, &higher), ERROR_NONE);
    assert_true(witness->devices[0].epoch == 6 && witness->devices[0].checkpoint == 71);
    assert_int_equal(witness_group_raise(witness, group, false, 3), ERROR_NONE);
    assert_true(!witness->groups[0].active && witness->groups[0].sequence == UINT64_MAX);
    assert_true(witness->device_count == 1 && witness->group_count == 1);
}

static struct superblock found(uint64_t epoch, bool encryption)
{
    return (struct superblock){
        .pool = pool, .group = group, .device = device, .epoch = epoch, .encryption = encryption};
}

static void a_rolled_back_superblock_is_refused_until_accepted(void **context)
{
    (void)context;
    struct superblock old = found(4, true), same = found(5, true), newer = found(6, true);
    assert_int_equal(witness_superblock_check(witness, "/dev/x", &same, false), ERROR_NONE);
    assert_int_equal(witness_superblock_check(witness, "/dev/x", &newer, false), ERROR_NONE);
    assert_int_equal(witness_superblock_check(witness, "/dev/x", &old, false), ERROR_ROLLED_BACK);
    const char *sentence = error_sentence(ERROR_ROLLED_BACK);
    assert_non_null(strstr(sentence, "/dev/x"));
    assert_non_null(strstr(sentence, "is 4, but 5 was seen"));
    assert_non_null(strstr(sentence, "--accept-rollback"));
    assert_int_equal(witness_superblock_check(witness, "/dev/x", &old, true), ERROR_NONE);
    assert_int_equal(witness_superblock_check(witness, "/dev/x", &old, false), ERROR_NONE);
}

static void a_rolled_back_checkpoint_is_refused_until_accepted(void **context)
{
    (void)context;
    assert_int_equal(witness_checkpoint_check(witness, "/dev/x", device, 70, false), ERROR_NONE);
    assert_int_equal(witness_checkpoint_check(witness, "/dev/x", device, 69, false), ERROR_ROLLED_BACK);
    assert_non_null(strstr(error_sentence(ERROR_ROLLED_BACK), "checkpoint is 69, but 70"));
    assert_int_equal(witness_checkpoint_check(witness, "/dev/x", uuid_random(), 1, false), ERROR_NONE);
    assert_int_equal(witness_checkpoint_check(witness, "/dev/x", device, 69, true), ERROR_NONE);
    assert_int_equal(witness_checkpoint_check(witness, "/dev/x", device, 69, false), ERROR_NONE);
}

static void a_rolled_back_group_is_refused_until_accepted(void **context)
{
    (void)context;
    assert_int_equal(witness_sequence_check(witness, "g1", group, UINT64_MAX, false), ERROR_NONE);
    assert_int_equal(witness_sequence_check(witness, "g1", group, 7, false), ERROR_ROLLED_BACK);
    assert_non_null(strstr(error_sentence(ERROR_ROLLED_BACK), "group g1"));
    assert_int_equal(witness_sequence_check(witness, "g1", group, 7, true), ERROR_NONE);
}

static void another_key_than_the_witness_names_is_refused_until_accepted(void **context)
{
    (void)context;
    struct superblock same = found(5, true), older = same, newer = same, other = same, plain = found(5, false);
    witness->kek_number = 3;
    same.wrapping.provider = older.wrapping.provider = newer.wrapping.provider = witness->provider;
    other.wrapping.provider = uuid_random();
    same.wrapping.kek_number = other.wrapping.kek_number = 3;
    older.wrapping.kek_number = 2;
    newer.wrapping.kek_number = 4;
    assert_int_equal(witness_key_check(witness, "/dev/x", &same, false), ERROR_NONE);
    assert_int_equal(witness_key_check(witness, "/dev/x", &plain, false), ERROR_NONE);
    assert_int_equal(witness_key_check(witness, "/dev/x", &older, false), ERROR_ROLLED_BACK);
    assert_non_null(strstr(error_sentence(ERROR_ROLLED_BACK), "/dev/x are under key 2"));
    assert_non_null(strstr(error_sentence(ERROR_ROLLED_BACK), "names key 3"));
    assert_non_null(strstr(error_sentence(ERROR_ROLLED_BACK), "older than the last change of keys"));
    assert_int_equal(witness_key_check(witness, "/dev/x", &newer, false), ERROR_ROLLED_BACK);
    assert_non_null(strstr(error_sentence(ERROR_ROLLED_BACK), "witness was restored"));
    assert_int_equal(witness_key_check(witness, "/dev/x", &other, false), ERROR_ROLLED_BACK);
    assert_int_equal(witness_key_check(witness, "/dev/x", &newer, true), ERROR_NONE);
    assert_int_equal(witness->kek_number, 4);
    assert_int_equal(witness_key_check(witness, "/dev/x", &newer, false), ERROR_NONE);
}

static void plaintext_after_encryption_is_forged_and_never_accepted(void **context)
{
    (void)context;
    struct superblock plain = found(9, false);
    assert_int_equal(witness_superblock_check(witness, "/dev/x", &plain, true), ERROR_FORGED);
    witness->encryption_floor = false;
    assert_int_equal(witness_superblock_check(witness, "/dev/x", &plain, true), ERROR_FORGED);
    plain.device = uuid_random();
    assert_int_equal(witness_superblock_check(witness, "/dev/x", &plain, false), ERROR_NONE);
}

static void what_it_says_of_keys_reads_back(void **context)
{
    struct uuid one = uuid_random(), other = uuid_random();
    struct witness *loaded;
    (void)context;
    witness->kek_kcv = (struct witness_kcv){true, {1, 2, 3, 4, 5, 6, 7, 0xff}};
    witness_retain(witness, one, 1);
    witness_retain(witness, one, 2);
    witness_retain(witness, other, 3);
    witness_retain(witness, one, 1); /* it is the newest then */
    assert_int_equal(witness_save(witness), ERROR_NONE);
    assert_int_equal(witness_load(directory, pool, &loaded), ERROR_NONE);
    assert_true(loaded->kek_kcv.known && !loaded->root_kcv.known);
    assert_memory_equal(loaded->kek_kcv.bytes, witness->kek_kcv.bytes, KCV_SIZE);
    assert_int_equal(loaded->retained_count, 3);
    assert_true(uuid_equal(loaded->retained[0].provider, one) && loaded->retained[0].kek_number == 2);
    assert_true(uuid_equal(loaded->retained[2].provider, one) && loaded->retained[2].kek_number == 1);
    witness_release(loaded, one, 2);
    assert_int_equal(loaded->retained_count, 2);
    witness_release(loaded, one, 0);
    assert_int_equal(loaded->retained_count, 1);
    assert_true(uuid_equal(loaded->retained[0].provider, other));
    for (uint64_t number = 0; number < WITNESS_RETAINED_MAX; number++)
        witness_retain(loaded, one, 10 + number);
    assert_int_equal(loaded->retained_count, WITNESS_RETAINED_MAX);
    assert_int_equal(loaded->retained[0].kek_number, 10); /* the oldest gave way */
    witness_destroy(loaded);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_lost_witness_is_said_so),
        TEST(another_key_does_not_verify),
        TEST(a_replaced_key_is_taken_until_another_is_demanded),
        TEST(a_later_key_than_that_of_all_devices_stays),
        TEST(what_it_says_of_keys_reads_back),
        TEST(another_pools_witness_is_foreign),
        TEST(changed_facts_are_forged),
        TEST(what_is_no_witness_is_corrupt),
        TEST(garbage_is_corrupt),
        TEST(a_newer_version_is_said_so),
        TEST(blanks_do_not_matter),
        TEST(everything_saved_comes_back),
        TEST(an_epoch_is_saved_before_it_is_handed_out),
        TEST(an_epoch_that_cannot_be_saved_is_not_handed_out),
        TEST(superblocks_that_are_being_written_are_remembered_until_they_are),
        TEST(epochs_end_before_they_repeat),
        TEST(what_was_seen_never_sinks),
        TEST(a_rolled_back_superblock_is_refused_until_accepted),
        TEST(a_rolled_back_checkpoint_is_refused_until_accepted),
        TEST(a_rolled_back_group_is_refused_until_accepted),
        TEST(another_key_than_the_witness_names_is_refused_until_accepted),
        TEST(plaintext_after_encryption_is_forged_and_never_accepted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
