/*
 * A deep rekey brings a new K_log: behind its end the old one verifies no header and no checkpoint record, all data is there, and
 * it is kept for the tags of its time alone, as long as there are any; also where it is cut short, or a superblock is lost.
 */
#define BLOCKS 2560 /* 10 MiB */

#include "crypto/kdf.h"
#include "engine/group/checkpoint.h"
#include "tests/unit/reencrypt_fixture.h"

#define SLOW (UINT64_C(1) << 20) /* bytes a second by the fast clock */

/* ---- looks ----------------------------------------------------------------------------------------------------------- */

/* What somebody took who had the keys at that moment. */
static struct keyring *taken[DEVICES];

static void keyrings_take(void)
{
    for (uint32_t d = 0; d < DEVICES; d++) {
        size_t size = sizeof *taken[d] + pool->group->keyrings[d]->count * sizeof taken[d]->slots[0];
        free(taken[d]);
        taken[d] = malloc(size);
        assert_non_null(taken[d]);
        memcpy(taken[d], pool->group->keyrings[d], size);
    }
}

static bool verifies(const struct keyring *keyring, const void *block)
{
    const uint8_t *mac = (const uint8_t *)block + BLOCK_SIZE - 32;
    uint8_t made[32];
    bool any = false;
    for (size_t i = 0; i < keyring->count; i++) {
        assert_fine(hmac_sha256(keyring->slots[i].key, block, BLOCK_SIZE - 32, made));
        any |= memcmp(made, mac, sizeof made) == 0;
    }
    return any;
}

/* How many of the blocks that are there a keyring verifies, which are told apart by their magic; and whether it is all. */
struct looked { unsigned headers, headers_good, records, records_good; };

static void block_look(const struct keyring *keyring, const uint8_t *block, struct looked *looked)
{
    bool header = memcmp(block, SEGMENT_MAGIC, 8) == 0, record = memcmp(block, CHECKPOINT_MAGIC, 8) == 0;
    bool good = (header || record) && verifies(keyring, block);
    looked->headers += header;
    looked->headers_good += header && good;
    looked->records += record;
    looked->records_good += record && good;
}

/* Headers of segments that are there: what a free slot holds is of a life before. */
static bool is_there(uint32_t index, const uint8_t *block)
{
    const struct segment_format *header = (const struct segment_format *)block;
    mutex_lock(&pool->group->lock);
    const struct segment *segment = &pool->group->segments.table[index];
    bool there = segment->state != SLOT_FREE && segment->serial == le64_get(header->serial);
    mutex_unlock(&pool->group->lock);
    return there;
}

static struct looked look_with(struct keyring *const *keyrings)
{
    struct segments *segments = &pool->group->segments;
    struct looked looked = {0};
    uint8_t block[BLOCK_SIZE];
    for (uint32_t d = 0; d < DEVICES; d++) {
        int descriptor = open(paths[d], O_RDONLY | O_CLOEXEC);
        for (uint32_t copy = 0; copy < CHECKPOINT_COPIES; copy++) {
            off_t offset = (off_t)checkpoint_offset(&pool->group->superblocks[d], copy);
            assert_int_equal(pread(descriptor, block, BLOCK_SIZE, offset), BLOCK_SIZE);
            block_look(keyrings[d], block, &looked);
        }
        for (uint32_t i = segments->slot_first[d]; i < segments->slot_first[d] + segments->slot_count[d]; i++) {
            assert_int_equal(pread(descriptor, block, BLOCK_SIZE, (off_t)segment_offset(segments, i)), BLOCK_SIZE);
            if (is_there(i, block))
                block_look(keyrings[d], block, &looked);
        }
        close(descriptor);
    }
    return looked;
}

static void assert_taken_is_good_for_nothing(void)
{
    struct looked old = look_with(taken), now = look_with(pool->group->keyrings);
    assert_true(old.headers > 3 && old.records == CHECKPOINT_COPIES * DEVICES);
    assert_int_equal(old.headers_good, 0);
    assert_int_equal(old.records_good, 0);
    assert_int_equal(now.headers_good, now.headers);
    assert_int_equal(now.records_good, now.records);
}

static void assert_demanded(uint8_t number)
{
    for (uint32_t d = 0; d < DEVICES; d++) {
        assert_int_equal(pool->group->superblocks[d].log_key_demanded, number);
        assert_true(keyring_current(pool->group->keyrings[d], KEY_KIND_LOG)->number >= number);
    }
}

static bool has_log_key(uint32_t number)
{
    return keyring_find(pool->group->keyrings[0], KEY_KIND_LOG, number) || keyring_find(pool->group->keyrings[1], KEY_KIND_LOG, number);
}

static uint64_t segments_under(uint32_t number)
{
    AUTO_FREE struct key_slot_info *keys = NULL;
    uint64_t segments = 0;
    size_t count;
    assert_fine(pool_log_keys(pool, &keys, &count));
    for (size_t i = 0; i < count; i++)
        segments += keys[i].slot == number ? keys[i].segments : 0;
    return segments;
}

/* ---- what it does ---------------------------------------------------------------------------------------------------- */

static void behind_the_end_the_old_one_is_good_for_tags_alone(void **context)
{
    (void)context;
    keyrings_take();
    struct looked before = look_with(taken);
    assert_true(before.headers > 3 && before.headers_good == before.headers && before.records_good > 0);
    assert_fine(deep(0));
    assert_false(look_at().log_key_stays);
    await_complete();
    assert_one_key(2);
    assert_demanded(2);
    assert_taken_is_good_for_nothing();
    assert_true(has_log_key(1) && segments_under(1) > 0 && segments_under(2) > 0);
    assert_int_equal(assert_all(0, BLOCKS, 0), 0);
    for (unsigned crash = 0; crash < 2; crash++) {
        reopen(crash);
        assert_demanded(2);
        assert_int_equal(look_at().state, DEEP_REKEY_NONE);
        assert_taken_is_good_for_nothing();
        assert_int_equal(assert_all(0, BLOCKS, 0), 0);
    }
    pool_close_checked();
}

static void a_second_one_right_behind_the_first_brings_another(void **context)
{
    (void)context;
    assert_fine(deep(0));
    await_complete();
    keyrings_take();
    assert_fine(deep(0));
    await_complete();
    assert_one_key(3);
    assert_demanded(3);
    for (uint32_t d = 0; d < DEVICES; d++) /* of these the first two are kept for tags */
        for (size_t i = 0; i < taken[d]->count; i++)
            if (taken[d]->slots[i].kind == KEY_KIND_DEK)
                assert_null(keyring_find(pool->group->keyrings[d], KEY_KIND_DEK, taken[d]->slots[i].number));
    assert_taken_is_good_for_nothing();
    assert_int_equal(assert_all(0, BLOCKS, 0), 0);
    pool_close_checked();
}

/* As if K_logs had come until this one, of which headers may be under any. In one go, so that no segment is begun in between. */
static void log_keys_gather(uint32_t first, uint32_t last)
{
    struct keyring *keyrings[GROUP_DEVICES], *with;
    for (uint32_t d = 0; d < DEVICES; d++) {
        keyrings[d] = pool->group->keyrings[d];
        for (uint32_t number = first; number <= last; number++) {
            assert_fine(keyring_with_new(keyrings[d], &(struct keyring_new){.log_key = number}, &with));
            if (keyrings[d] != pool->group->keyrings[d])
                keyring_destroy(keyrings[d]);
            keyrings[d] = with;
        }
    }
    assert_fine(group_keyrings_exchange(pool->group, keyrings));
}

/* Of K_log 2 there is none, of the first there are some. */
static void an_old_one_goes_where_no_segment_is_of_its_time(void **context)
{
    (void)context;
    log_keys_gather(2, 3);
    assert_int_equal(segments_under(2), 0);
    assert_fine(deep(0));
    assert_true(has_log_key(1) && has_log_key(2) && has_log_key(4)); /* a header may be under it */
    await_complete();
    assert_demanded(4);
    assert_true(has_log_key(1) && !has_log_key(2) && has_log_key(4));
    reopen(true);
    assert_true(has_log_key(1) && !has_log_key(2) && has_log_key(4));
    assert_true(segments_under(1) > 0);
    assert_int_equal(assert_all(0, BLOCKS, 0), 0);
    pool_close_checked();
}

static void fold(void)
{
    uint64_t wanted = reencrypt_fold_begin(pool->group);
    for (unsigned i = 0; i < PATIENCE && !reencrypt_fold_is_over(pool->group, wanted); i++)
        clock_sleep(10 * CLOCK_MILLISECOND);
}

static uint64_t record_number(void)
{
    mutex_lock(&pool->group->lock);
    uint64_t number = pool->group->checkpoint.number;
    mutex_unlock(&pool->group->lock);
    return number;
}

/* An end of a device has two records, the newest and the one before: the end waits for both, though no segment does. */
static void the_end_waits_for_every_record(void **context)
{
    (void)context;
    fold();
    fold();
    assert_true(group_has_no_old_share(pool->group));
    log_keys_gather(2, 2);
    for (uint64_t begun = record_number(), number = begun; number < begun + 2; number = record_number()) {
        bool over = group_has_no_old_share(pool->group), needs = reencrypt_needs_fold(pool->group);
        if (record_number() == number)
            assert_true(!over && needs);
        fold();
    }
    assert_true(group_has_no_old_share(pool->group));
    assert_false(reencrypt_needs_fold(pool->group));
}

/* Until the end of the job headers and records may be under either. */
static void in_the_midst_of_it_both_are_good(void **context)
{
    (void)context;
    assert_fine(deep(SLOW));
    for (unsigned round = 0; round < 4; round++) {
        write_all(BLOCKS, 64, round);
        clock_sleep(300 * CLOCK_MILLISECOND);
        assert_demanded(look_at().state == DEEP_REKEY_COMPLETE ? 2 : 1);
        reopen(round % 2 == 0);
        assert_int_equal(assert_all(0, BLOCKS, 0), 0);
        assert_int_equal(assert_all(BLOCKS, 64, round), 0);
    }
    if (look_at().state == DEEP_REKEY_RUNNING)
        assert_fine(pool_deep_rekey_throttle(pool, 0));
    if (look_at().state != DEEP_REKEY_NONE)
        await_complete();
    assert_demanded(2);
    pool_close_checked();
}

/* ---- a superblock that is lost --------------------------------------------------------------------------------------- */

static void superblocks_spoil(uint32_t d)
{
    static const uint8_t zeros[BLOCK_SIZE];
    int descriptor = open(paths[d], O_RDWR | O_CLOEXEC);
    for (uint32_t copy = 0; copy < SUPERBLOCK_COPIES; copy++)
        assert_int_equal(pwrite(descriptor, zeros, sizeof zeros, (off_t)superblock_offset(FIXTURE_SIZE, copy)), BLOCK_SIZE);
    close(descriptor);
}

static void revive(uint32_t d)
{
    struct pool_open_options options = {.memory = FIXTURE_MEMORY};
    superblocks_spoil(d);
    error_forget();
    static struct pool_repair_report report;
    assert_fine(pool_repair(fixture_directory, &options, &report));
    assert_fine(try_open());
}

static void a_superblock_that_is_lost_in_the_midst_of_it_comes_back(void **context)
{
    (void)context;
    assert_fine(deep(SLOW));
    assert_fine(pool_deep_rekey_pause(pool));
    pool_crash();
    for (uint32_t d = 0; d < DEVICES; d++) {
        revive(d);
        assert_demanded(1);
        assert_int_equal(look_at().state, DEEP_REKEY_PAUSED);
        assert_int_equal(assert_all(0, BLOCKS, 0), 0);
        assert_fine(pool_close(pool));
        pool = NULL;
    }
    assert_fine(try_open());
    assert_fine(pool_deep_rekey_resume(pool));
    assert_fine(pool_deep_rekey_throttle(pool, 0));
    await_complete();
    assert_demanded(2);
    assert_fine(pool_close(pool));
    pool = NULL;
    revive(1);
    assert_demanded(2);
    assert_int_equal(assert_all(0, BLOCKS, 0), 0);
}

/* ---- room ------------------------------------------------------------------------------------------------------------ */

static void where_there_is_no_room_for_one_more_none_is_brought(void **context)
{
    struct keyring *keyrings[GROUP_DEVICES];
    (void)context;
    for (uint32_t number = 2; number <= PEER_SLOTS_MAX; number++) {
        bool fits = pool->group->keyrings[0]->count + 1 <= PEER_SLOTS_MAX; /* two more, and no K_pool */
        assert_fine(deep_rekey_keys_with(pool->group, &(struct keyring_new){.data_key = 2, .log_key = number}, pool->k_pools,
                                         keyrings));
        for (uint32_t d = 0; d < DEVICES; d++) {
            assert_int_equal(keyring_current(keyrings[d], KEY_KIND_DEK)->number, 2);
            assert_int_equal(keyring_current(keyrings[d], KEY_KIND_LOG)->number, fits ? number : number - 1);
            assert_non_null(keyring_find(keyrings[d], KEY_KIND_LOG, 1));
        }
        deep_rekey_keys_drop(pool->group, keyrings);
        if (!fits)
            return;
        log_keys_gather(number, number);
    }
    fail_msg("there is room for any number of them");
}

static void where_numbers_end_the_last_one_stays(void **context)
{
    (void)context;
    log_keys_gather(LOG_KEY_NUMBER_MAX - 1, LOG_KEY_NUMBER_MAX - 1);
    assert_fine(deep(0));
    await_complete();
    assert_false(look_at().log_key_stays);
    assert_demanded(LOG_KEY_NUMBER_MAX);
    keyrings_take();
    assert_fine(deep(0));
    assert_true(look_at().log_key_stays);
    await_complete();
    assert_true(look_at().log_key_stays);
    assert_one_key(3);
    assert_demanded(LOG_KEY_NUMBER_MAX);
    assert_int_equal(assert_all(0, BLOCKS, 0), 0);
    reopen(true);
    assert_one_key(3);
    assert_int_equal(assert_all(0, BLOCKS, 0), 0);
}

static int end(void **context)
{
    for (uint32_t d = 0; d < DEVICES; d++) {
        free(taken[d]);
        taken[d] = NULL;
    }
    return teardown(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(behind_the_end_the_old_one_is_good_for_tags_alone, setup, end),
        cmocka_unit_test_setup_teardown(a_second_one_right_behind_the_first_brings_another, setup, end),
        cmocka_unit_test_setup_teardown(an_old_one_goes_where_no_segment_is_of_its_time, setup, end),
        cmocka_unit_test_setup_teardown(the_end_waits_for_every_record, setup, end),
        cmocka_unit_test_setup_teardown(in_the_midst_of_it_both_are_good, setup, end),
        cmocka_unit_test_setup_teardown(a_superblock_that_is_lost_in_the_midst_of_it_comes_back, setup, end),
        cmocka_unit_test_setup_teardown(where_there_is_no_room_for_one_more_none_is_brought, setup, end),
        cmocka_unit_test_setup_teardown(where_numbers_end_the_last_one_stays, setup, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
