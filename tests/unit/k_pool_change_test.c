/*
 * A deep rekey makes a new K_pool: afterwards witness, file of the scrub and entries of the audit that are made with the old one are
 * refused, fingerprints are as they were, and a crash at each step leaves devices and files that fit each other.
 */
#define BLOCKS 640

#include "base/file.h"
#include "base/hex.h"
#include "crypto/arena.h"
#include "engine/pool/audit.h"
#include "engine/pool/audit_pending.h"
#include "engine/pool/key_backup.h"
#include "engine/pool/scrub.h"
#include "tests/unit/reencrypt_fixture.h"

#define SLOW        (UINT64_C(64) << 10)
#define ALL_COPIES  (DEVICES * SUPERBLOCK_COPIES)

/* ---- looks ----------------------------------------------------------------------------------------------------------- */

static void path_of(const char *name, char path[320])
{
    snprintf(path, 320, "%s/%s", fixture_directory, name);
}

static char *text_read(const char *name)
{
    char path[320];
    void *text = NULL;
    size_t size;
    path_of(name, path);
    assert_fine(file_read(path, 1 << 20, &text, &size));
    return text;
}

static void text_write(const char *name, const char *words)
{
    char path[320];
    path_of(name, path);
    assert_fine(file_replace(path, words, strlen(words)));
}

static bool file_has(const char *name, const char *words)
{
    AUTO_FREE char *text = text_read(name);
    return strstr(text, words) != NULL;
}

static void await_file(const char *name, const char *words)
{
    for (unsigned i = 0; i < PATIENCE && !file_has(name, words); i++)
        clock_sleep(10 * CLOCK_MILLISECOND);
    assert_true(file_has(name, words));
}

static const uint8_t *k_pool(uint32_t number)
{
    const uint8_t *key = keyring_find(pool->group->keyrings[0], KEY_KIND_POOL, number);
    assert_non_null(key);
    return key;
}

static void assert_witness_under(uint32_t number)
{
    char words[32];
    snprintf(words, sizeof words, "\"pool_key\": %u,", (unsigned)number);
    assert_true(file_has(WITNESS_NAME, words));
}

/* All devices have the same ones, from 1 to this, and demand the last, as the files do. */
static void assert_k_pools(uint32_t last)
{
    for (uint32_t d = 0; d < DEVICES; d++) {
        const struct keyring *keyring = pool->group->keyrings[d];
        assert_int_equal(keyring_count(keyring, KEY_KIND_POOL), last);
        assert_int_equal(keyring_current(keyring, KEY_KIND_POOL)->number, last);
        assert_int_equal(pool->group->superblocks[d].pool_key_demanded, last);
        for (uint32_t n = 1; n <= last; n++)
            assert_memory_equal(keyring_find(keyring, KEY_KIND_POOL, n), k_pool(n), KEY_SIZE);
    }
    assert_witness_under(last);
}

static void visit(void *context, const struct pool_audit_entry *entry, bool follows)
{
    (void)context, (void)entry, (void)follows;
}

static struct pool_audit_verdict audit_verdict(void)
{
    struct pool_audit_verdict verdict;
    assert_fine(pool_audit_read(pool, visit, NULL, &verdict));
    return verdict;
}

static void close_pool(void)
{
    assert_fine(pool_close(pool));
    pool = NULL;
}

/* ---- what who has a K_pool makes ---------------------------------------------------------------------------------------- */

/* The witness as it is, under another key; of a pool that is closed. */
static void witness_seal(struct uuid id, const uint8_t key[KEY_SIZE], uint32_t number)
{
    struct witness *witness;
    assert_fine(witness_load(fixture_directory, id, &witness));
    witness->key = arena_allocate(KEY_SIZE);
    assert_non_null(witness->key);
    assert_fine(floor_key_derive(key, id, witness->key));
    witness->pool_key = number;
    assert_fine(witness_save(witness));
    witness_destroy(witness);
}

/* The file of the scrub as it is, likewise. Its members stand in the order of their names, "mac" is none of the last. */
static void scrub_seal(struct uuid id, const uint8_t k_pool_given[KEY_SIZE], unsigned number)
{
    uint8_t key[KEY_SIZE], mac[32];
    char digits[HEX_TEXT_SIZE(32)];
    char *text = text_read(SCRUB_FILE), *rest, *sealed, *whole;
    char *at = strstr(text, "\"mac\":\""), *named = strstr(text, "\"pool_key\":");
    assert_true(at && named && at < named);
    const char *between = at + strlen("\"mac\":\"") + 64 + strlen("\","), *behind = strchr(named, ',');
    assert_true(asprintf(&rest, "%.*s\"pool_key\":%u%s", (int)(named - between), between, number, behind) > 0);
    assert_true(asprintf(&sealed, "%.*s%s", (int)(at - text), text, rest) > 0);
    assert_fine(scrub_key_derive(k_pool_given, id, key));
    assert_fine(hmac_sha256(key, sealed, strlen(sealed), mac));
    hex_format(mac, 32, digits);
    assert_true(asprintf(&whole, "%.*s\"mac\":\"%s\",%s", (int)(at - text), text, digits, rest) > 0);
    text_write(SCRUB_FILE, whole);
    free(whole);
    free(sealed);
    free(rest);
    free(text);
}

/* What an open would say of the file of the scrub. */
static enum error scrub_try(void)
{
    char path[320];
    struct scrub scrub = {.pool = pool, .path = path};
    path_of(SCRUB_FILE, path);
    error_forget();
    return scrub_load(&scrub);
}

/* An entry behind the last of the file. */
static void audit_append(struct uuid id, const uint8_t key_given[KEY_SIZE], unsigned number)
{
    struct audit_line line, last;
    uint8_t key[KEY_SIZE];
    AUTO_FREE char *text = text_read(AUDIT_NAME), *made = NULL, *all = NULL;
    size_t end = strlen(text) - 1, begin = end;
    while (begin > 0 && text[begin - 1] != '\n')
        begin--;
    assert_fine(audit_line_decode(text + begin, end - begin, &last));
    line = last;
    line.entry.number++;
    line.entry.pool_key = number;
    assert_fine(audit_key_derive(key_given, id, key));
    assert_fine(audit_seal(key, last.seal, &line.entry, line.seal));
    assert_fine(audit_line_encode(&line, &made));
    assert_true(asprintf(&all, "%s%s", text, made) > 0);
    text_write(AUDIT_NAME, all);
}

static void scrub_once(void)
{
    struct scrub_status status;
    assert_fine(pool_scrub_start(pool, 0));
    for (unsigned i = 0; i < PATIENCE; i++, clock_sleep(10 * CLOCK_MILLISECOND)) {
        assert_fine(pool_scrub_status(pool, &status));
        if (status.state == SCRUB_COMPLETE)
            break;
    }
    await_file(SCRUB_FILE, "\"pool_key\":");
}

static void who_kept_the_old_key_of_the_pool_makes_nothing_with_it(void **context)
{
    uint8_t old[KEY_SIZE], new[KEY_SIZE];
    struct uuid id = pool->conf->pool;
    (void)context;
    scrub_once();
    assert_true(file_has(SCRUB_FILE, "\"pool_key\":1,"));
    memcpy(old, k_pool(1), KEY_SIZE);
    assert_fine(deep(0));
    await_complete();
    memcpy(new, k_pool(2), KEY_SIZE);
    assert_memory_not_equal(old, new, KEY_SIZE);
    assert_k_pools(2);
    assert_true(file_has(SCRUB_FILE, "\"pool_key\":2,"));
    assert_int_equal(audit_verdict().faults, 0);

    scrub_seal(id, new, 2);
    assert_fine(scrub_try());
    scrub_seal(id, old, 1);
    assert_refused(scrub_try(), ERROR_FORGED, "which a deep rekey replaced by key 2");
    scrub_seal(id, old, 2);
    assert_refused(scrub_try(), ERROR_FORGED, "its seal does not fit");

    AUTO_FREE char *audit = text_read(AUDIT_NAME);
    audit_append(id, new, 2);
    assert_int_equal(audit_verdict().faults, 0);
    text_write(AUDIT_NAME, audit);
    audit_append(id, old, 1);
    struct pool_audit_verdict verdict = audit_verdict();
    assert_int_equal(verdict.faults, 1);
    assert_non_null(strstr(verdict.sentence, "sealed under key 1 of the pool, which a deep rekey had replaced"));
    text_write(AUDIT_NAME, audit);

    close_pool();
    witness_seal(id, old, 1);
    assert_refused(try_open(), ERROR_FORGED, "which a deep rekey replaced by key 2");
    witness_seal(id, old, 2);
    assert_refused(try_open(), ERROR_FORGED, "its seal does not fit");
    witness_seal(id, new, 2);
    assert_fine(try_open());
    assert_k_pools(2);
    assert_int_equal(assert_all(0, BLOCKS, 0), 0);
}

/* A command at work while no daemon is, or beside it. */
static void what_is_done_beside_the_daemon_is_sealed_under_the_new_one(void **context)
{
    struct pool_audit_entry entry = {.operation = "key.backup", .target = "x", .key = "x/1", .result = "ok"};
    struct pool_conf *conf;
    struct key_backup *backup;
    struct key_backup_proof proof;
    struct k_pool key;
    (void)context;
    assert_fine(deep(0));
    await_complete();
    close_pool();
    assert_fine(pool_conf_read(fixture_directory, &conf));
    assert_fine(key_backup_make(conf, NULL, &backup));
    assert_fine(key_backup_prove(backup, conf, &proof));
    assert_int_equal(proof.slots, DEVICES * 5); /* a DEK, two K_logs, two K_pools */
    assert_fine(key_backup_audit_key(backup, conf, &key));
    assert_int_equal(key.number, 2);
    assert_fine(audit_pending_add(fixture_directory, &key, &entry));
    key_backup_destroy(backup);
    pool_conf_destroy(conf);
    assert_fine(try_open());
    assert_int_equal(audit_verdict().faults, 0);
    assert_true(file_has(AUDIT_NAME, "\"result\":\"ok; offline, 2"));
    assert_false(file_has(AUDIT_NAME, "unproven"));
}

static void a_lost_witness_is_made_under_the_new_one(void **context)
{
    char path[320];
    (void)context;
    assert_fine(deep(0));
    await_complete();
    close_pool();
    path_of(WITNESS_NAME, path);
    assert_int_equal(unlink(path), 0);
    assert_refused(try_open(), ERROR_NOT_FOUND, "lost");
    struct pool_open_options options = {.memory = FIXTURE_MEMORY, .open_device = open_failing, .accept_rollback = true};
    error_forget();
    assert_fine(pool_open(fixture_directory, &options, &pool));
    assert_k_pools(2);
    assert_int_equal(audit_verdict().faults, 0);
}

/* ---- fingerprints ------------------------------------------------------------------------------------------------------ */

static void assert_hits(const char *name)
{
    struct pool_status before, after;
    struct volume *volume;
    make(name, GIB);
    do
        assert_fine(pool_status(pool, &before));
    while (!before.index_full);
    assert_fine(volume_open(pool, name, false, &volume));
    for (uint64_t block = 0; block < BLOCKS; block += FILL_BLOCKS)
        assert_fine(noise_write(volume, block, 1, FILL_BLOCKS, block));
    volume_close(volume);
    assert_fine(pool_status(pool, &after));
    assert_int_equal(after.chunks_hit - before.chunks_hit, BLOCKS);
}

static void what_was_stored_before_is_found_again(void **context)
{
    (void)context;
    assert_hits("before");
    assert_fine(deep(0));
    assert_hits("meanwhile");
    await_complete();
    assert_hits("behind");
    reopen(false);
    assert_hits("after a restart");
    reopen(true);
    assert_hits("after a crash");
    close_pool();
    struct pool_open_options options = {.memory = FIXTURE_MEMORY};
    struct check_report report;
    assert_fine(pool_check(fixture_directory, &options, &(struct check_listener){.found = fixture_found}, &report));
    assert_int_equal(report.errors, 0);
    assert_fine(try_open());
}

/* ---- crashes ----------------------------------------------------------------------------------------------------------- */

static void settle_and_judge(uint32_t last)
{
    if (look_at().state != DEEP_REKEY_NONE)
        await_complete();
    assert_k_pools(last);
    assert_one_key(last);
    assert_int_equal(assert_all(0, BLOCKS, 0), 0);
    assert_int_equal(audit_verdict().faults, 0);
}

/* What a device has is taken back where that can be written; where it cannot (it was its writing that failed, and not the first copy
 * of it) all get it, the same. */
static void a_crash_in_the_first_writing_leaves_all_devices_with_it_or_none(void **context)
{
    uint32_t last = 1;
    (void)context;
    for (int n = 1; n <= ALL_COPIES; n++) {
        atomic_store(&countdown, n);
        assert_true(deep(0) != ERROR_NONE);
        reopen(true);
        bool begun = look_at().state != DEEP_REKEY_NONE;
        assert_true(begun == (n % SUPERBLOCK_COPIES != 1));
        last += begun;
        settle_and_judge(last);
    }
}

/* What was written could not be taken back: another try would draw another key of the same number. */
static void what_half_the_devices_may_have_is_not_drawn_again(void **context)
{
    (void)context;
    pool->keys_half_written = true;
    assert_refused(deep(0), ERROR_BUSY, "some devices may have its keys");
    reopen(false);
    assert_fine(deep(0));
    await_complete();
    settle_and_judge(2);
}

static void a_crash_in_the_last_writing_is_made_good(void **context)
{
    (void)context;
    for (int n = 1; n <= ALL_COPIES; n++) {
        assert_fine(deep(SLOW));
        assert_witness_under((uint32_t)n + 1);
        atomic_store(&countdown, n);
        assert_fine(pool_deep_rekey_throttle(pool, 0));
        for (unsigned i = 0; i < PATIENCE && atomic_load(&countdown) > 0; i++)
            clock_sleep(10 * CLOCK_MILLISECOND);
        assert_int_equal(atomic_load(&countdown), 0);
        reopen(true);
        settle_and_judge((uint32_t)n + 1);
    }
}

/* Behind the superblocks, before the witness: it is under the old one, and so is the file of the scrub. */
static void a_crash_before_the_witness_is_under_it_costs_nothing(void **context)
{
    uint8_t old[KEY_SIZE];
    struct uuid id = pool->conf->pool;
    (void)context;
    scrub_once();
    memcpy(old, k_pool(1), KEY_SIZE);
    assert_fine(deep(SLOW));
    assert_fine(pool_deep_rekey_pause(pool));
    await_file(SCRUB_FILE, "\"pool_key\":2,");
    pool_crash();
    witness_seal(id, old, 1);
    scrub_seal(id, old, 1);
    assert_fine(try_open());
    assert_int_equal(pool->group->superblocks[0].pool_key_demanded, 1);
    assert_witness_under(2);
    struct scrub_status status;
    assert_fine(pool_scrub_status(pool, &status));
    assert_int_equal(status.state, SCRUB_COMPLETE); /* the file was taken */
    await_file(SCRUB_FILE, "\"pool_key\":2,");
    if (look_at().state == DEEP_REKEY_PAUSED)
        assert_fine(pool_deep_rekey_resume(pool));
    assert_fine(pool_deep_rekey_throttle(pool, 0));
    settle_and_judge(2);
    assert_true(file_has(SCRUB_FILE, "\"pool_key\":2,"));
}

/* What the superblocks demand is there before they do: a file that cannot be written holds the end up. */
static void nothing_is_demanded_before_the_files_are_under_it(void **context)
{
    char path[320], aside[328];
    (void)context;
    scrub_once();
    path_of(SCRUB_FILE, path);
    snprintf(aside, sizeof aside, "%s.aside", path);
    assert_int_equal(rename(path, aside), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_fine(deep(0));
    for (unsigned i = 0; i < PATIENCE && look_at().bytes_left != 0; i++)
        clock_sleep(10 * CLOCK_MILLISECOND);
    assert_int_equal(look_at().bytes_left, 0);
    clock_sleep(FAST_CLOCK * 300 * CLOCK_MILLISECOND);
    assert_int_equal(look_at().state, DEEP_REKEY_RUNNING);
    assert_int_equal(pool->group->superblocks[0].pool_key_demanded, 1);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rename(aside, path), 0);
    await_complete();
    assert_k_pools(2);
    assert_true(file_has(SCRUB_FILE, "\"pool_key\":2,"));
}

/* ---- devices of before ------------------------------------------------------------------------------------------------- */

static void file_copy(const char *from, const char *to)
{
    AUTO_FREE uint8_t *bytes = malloc(1 << 20);
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ssize_t size;
    assert_true(bytes && in >= 0 && out >= 0);
    while ((size = read(in, bytes, 1 << 20)) > 0)
        assert_int_equal(write(out, bytes, (size_t)size), size);
    close(in);
    close(out);
}

static void devices_of_before_are_rolled_back_and_can_be_accepted(void **context)
{
    char kept[DEVICES][180];
    (void)context;
    close_pool();
    for (int d = 0; d < DEVICES; d++) {
        snprintf(kept[d], sizeof kept[d], "%s.kept", paths[d]);
        file_copy(paths[d], kept[d]);
    }
    assert_fine(try_open());
    assert_fine(deep(0));
    await_complete();
    close_pool();
    for (int d = 0; d < DEVICES; d++)
        file_copy(kept[d], paths[d]);
    assert_refused(try_open(), ERROR_ROLLED_BACK, "before a deep rekey");
    struct pool_open_options options = {.memory = FIXTURE_MEMORY, .open_device = open_failing, .accept_rollback = true};
    assert_fine(pool_open(fixture_directory, &options, &pool));
    assert_k_pools(1);
    assert_int_equal(assert_all(0, BLOCKS, 0), 0);
    assert_fine(deep(0));
    await_complete();
    assert_k_pools(2);
}

static void more_than_superblocks_have_room_for_are_not_made(void **context)
{
    AUTO_FREE struct k_pools *many = calloc(1, sizeof *many);
    struct pool fake = {.directory = fixture_directory, .k_pools = many};
    struct k_pools *next;
    (void)context;
    for (uint32_t n = 1; n <= POOL_KEYS_MAX; n++)
        k_pools_add(many, n, k_pool(1));
    assert_fine(k_pool_next(&fake, true, &next));
    assert_int_equal(next->count, POOL_KEYS_MAX);
    arena_free(next);
    many->count--;
    assert_fine(k_pool_next(&fake, true, &next));
    assert_int_equal(next->count, POOL_KEYS_MAX);
    assert_memory_not_equal(next->keys[POOL_KEYS_MAX - 1].key, k_pool(1), KEY_SIZE);
    arena_free(next);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_kept_the_old_key_of_the_pool_makes_nothing_with_it),
        TEST(what_is_done_beside_the_daemon_is_sealed_under_the_new_one),
        TEST(a_lost_witness_is_made_under_the_new_one),
        TEST(what_was_stored_before_is_found_again),
        TEST(a_crash_in_the_first_writing_leaves_all_devices_with_it_or_none),
        TEST(what_half_the_devices_may_have_is_not_drawn_again),
        TEST(a_crash_in_the_last_writing_is_made_good),
        TEST(a_crash_before_the_witness_is_under_it_costs_nothing),
        TEST(nothing_is_demanded_before_the_files_are_under_it),
        TEST(devices_of_before_are_rolled_back_and_can_be_accepted),
        TEST(more_than_superblocks_have_room_for_are_not_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
