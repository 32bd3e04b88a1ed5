/*
 * Deep rekey: afterwards every segment is under the new data key and another salt, the old key opens nothing, and all data is
 * there; also after crashes in between, and in a full pool. Crashes at each of its writes are the simulator's; devices that
 * fail reencrypt_damage_test's.
 */
#define BLOCKS 10048 /* 39 MiB in some ten segments */

#include "engine/group/append.h"
#include "tests/unit/reencrypt_fixture.h"

#define SECTOR_SIZE 512u
#define SLOW (UINT64_C(1) << 20) /* bytes a second by the fast clock */

/* ---- looks ----------------------------------------------------------------------------------------------------------- */

/* What the sealed segments are, by slot, and their bytes as they lie on the devices. */
struct picture {
    uint32_t count;
    uint64_t *hashes, serials[2048], salts[2048];
    size_t hash_count, segment_count;
};

static int hash_order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static uint64_t sector_hash(const uint8_t *sector)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < SECTOR_SIZE; i += 8)
        hash = hash * UINT64_C(0x9e3779b97f4a7c15) + le64_get(*(const le64 *)(sector + i));
    return hash;
}

/* Of all sectors of sealed segments that hold anything, headers included. Zeros, of what was never written, are left out. */
static void picture_take(struct picture *picture)
{
    const struct segments *segments = &pool->group->segments;
    uint32_t sectors = segment_blocks(segments) * (BLOCK_SIZE / SECTOR_SIZE);
    AUTO_FREE uint8_t *bytes = malloc(segment_size(segments));
    *picture = (struct picture){.hashes = malloc((size_t)segments->count * sectors * 8)};
    assert_non_null(picture->hashes);
    for (uint32_t i = 0; i < segments->count; i++) {
        const struct segment *segment = &segments->table[i];
        if (segment->state != SLOT_SEALED || segment->live == 0)
            continue;
        picture->serials[picture->segment_count] = segment->serial;
        picture->salts[picture->segment_count++] = segment->salt;
        int descriptor = open(paths[segment_device(segments, i)], O_RDONLY | O_CLOEXEC);
        ssize_t size = (ssize_t)segment_size(segments);
        assert_int_equal(pread(descriptor, bytes, (size_t)size, (off_t)segment_offset(segments, i)), size);
        close(descriptor);
        for (uint32_t sector = 0; sector < sectors; sector++)
            if (!memory_is_zero(bytes + (size_t)sector * SECTOR_SIZE, SECTOR_SIZE))
                picture->hashes[picture->hash_count++] = sector_hash(bytes + (size_t)sector * SECTOR_SIZE);
    }
    qsort(picture->hashes, picture->hash_count, sizeof picture->hashes[0], hash_order);
}

static void assert_disjoint(const struct picture *a, const struct picture *b)
{
    assert_true(a->hash_count > BLOCKS * 4 && b->hash_count > BLOCKS * 4);
    for (size_t i = 0; i < a->hash_count; i++)
        assert_null(bsearch(&a->hashes[i], b->hashes, b->hash_count, sizeof a->hashes[0], hash_order));
    for (size_t i = 0; i < a->segment_count; i++)
        for (size_t j = 0; j < b->segment_count; j++)
            assert_true(a->salts[i] != b->salts[j]);
}

/* Segments of both pictures: they were not cleaned, but encrypted anew. */
static size_t serials_kept(const struct picture *a, const struct picture *b)
{
    size_t kept = 0;
    for (size_t i = 0; i < a->segment_count; i++)
        for (size_t j = 0; j < b->segment_count; j++)
            kept += a->serials[i] == b->serials[j];
    return kept;
}

struct old_keys { uint8_t dek[DEVICES][KEY_SIZE]; };

static void old_keys_take(struct old_keys *keys)
{
    for (uint32_t d = 0; d < DEVICES; d++)
        memcpy(keys->dek[d], keyring_current(pool->group->keyrings[d], KEY_KIND_DEK)->key, KEY_SIZE);
}

/* Segments whose first append a DEK opens, with what their headers say. */
static unsigned opened_by(const struct old_keys *keys, bool current)
{
    const struct segments *segments = &pool->group->segments;
    AUTO_FREE uint8_t *bytes = memory_aligned(2 * BLOCK_SIZE);
    unsigned opened = 0;
    for (uint32_t i = 0; i < segments->count; i++) {
        const struct segment_format *header = (const struct segment_format *)bytes;
        uint32_t d = segment_device(segments, i);
        struct segment_keys derived = {.id = bulk_keys_id(), .encrypted = true};
        const struct keyring *keyring = pool->group->keyrings[d];
        const uint8_t *dek = current ? keyring_current(keyring, KEY_KIND_DEK)->key : keys->dek[d];
        if (segments->table[i].state != SLOT_SEALED || segments->table[i].live == 0)
            continue;
        int descriptor = open(paths[d], O_RDONLY | O_CLOEXEC);
        assert_int_equal(pread(descriptor, bytes, 2 * BLOCK_SIZE, (off_t)segment_offset(segments, i)), 2 * BLOCK_SIZE);
        close(descriptor);
        assert_int_equal(le64_get(header->serial), segments->table[i].serial);
        assert_fine(segment_xts_key_derive(dek, pool->group->superblocks[d].device, le64_get(header->serial),
                                           le64_get(header->salt), derived.xts));
        assert_fine(segment_tag_key_derive(keyring_find(keyring, KEY_KIND_LOG, header->log_key),
                                           pool->group->superblocks[d].device, le64_get(header->serial),
                                           le64_get(header->birth_salt), derived.tag));
        assert_fine(bulk_decrypt(&derived, 1, bytes + BLOCK_SIZE, bytes + BLOCK_SIZE, BLOCK_SIZE));
        const struct append_format *append = (const void *)(bytes + BLOCK_SIZE);
        opened += le40_get(append->serial) == le64_get(header->serial) && le32_get(append->offset) == 1;
    }
    return opened;
}

/* Headers, in whatever slot, that name another key slot than the current one: what lies behind them an old key still opens. */
static unsigned headers_of_old_keys(void)
{
    const struct segments *segments = &pool->group->segments;
    AUTO_FREE uint8_t *bytes = memory_aligned(BLOCK_SIZE);
    unsigned old = 0;
    for (uint32_t i = 0; i < segments->count; i++) {
        const struct segment_format *header = (const struct segment_format *)bytes;
        uint32_t d = segment_device(segments, i);
        int descriptor = open(paths[d], O_RDONLY | O_CLOEXEC);
        assert_int_equal(pread(descriptor, bytes, BLOCK_SIZE, (off_t)segment_offset(segments, i)), BLOCK_SIZE);
        close(descriptor);
        old += memcmp(header->magic, SEGMENT_MAGIC, sizeof header->magic) == 0 &&
               le32_get(header->key_slot) != keyring_current(pool->group->keyrings[d], KEY_KIND_DEK)->number;
    }
    return old;
}

/* ---- what it does ---------------------------------------------------------------------------------------------------- */

static void all_that_is_stored_gets_another_key(void **context)
{
    struct picture before, after;
    struct old_keys old;
    (void)context;
    picture_take(&before);
    old_keys_take(&old);
    assert_true(opened_by(&old, false) > 5);
    assert_fine(deep(0));
    await_complete();
    assert_one_key(2);
    publish();
    picture_take(&after);
    assert_disjoint(&before, &after);
    assert_true(serials_kept(&before, &after) > 5);
    assert_true(opened_by(&old, true) > 5);
    assert_int_equal(opened_by(&old, false), 0);
    assert_int_equal(headers_of_old_keys(), 0);
    assert_int_equal(assert_all(0, BLOCKS, 0), 0);
    reopen(false);
    assert_one_key(2);
    assert_int_equal(look_at().state, DEEP_REKEY_NONE);
    assert_int_equal(assert_all(0, BLOCKS, 0), 0);
    assert_fine(deep(0));
    await_complete();
    assert_one_key(3);
    reopen(true);
    assert_one_key(3);
    assert_int_equal(assert_all(0, BLOCKS, 0), 0);
    free(before.hashes);
    free(after.hashes);
}

/* On a disk that knows no discards each slot that was left holds what it held. */
static void no_slot_that_was_left_tells_what_an_old_key_opens(void **context)
{
    uint64_t half = BLOCKS / 2 / FILL_BLOCKS * FILL_BLOCKS;
    (void)context;
    atomic_store(&no_discards, true);
    write_all(0, half, 1);
    publish();
    assert_fine(deep(0));
    await_complete();
    assert_one_key(2);
    assert_int_equal(headers_of_old_keys(), 0);
    assert_int_equal(assert_all(0, half, 1), 0);
    assert_int_equal(assert_all(half, BLOCKS - half, 0), 0);
    pool_close_checked();
}

static void a_crash_costs_nothing_but_time(void **context)
{
    (void)context;
    assert_fine(deep(SLOW));
    for (unsigned round = 0; round < 6; round++) {
        write_all(BLOCKS + round * 640, 640, 0);
        clock_sleep(700 * CLOCK_MILLISECOND);
        uint64_t left = look_at().bytes_left;
        reopen(round % 3 != 2);
        assert_true(left == 0 || look_at().state != DEEP_REKEY_NONE);
        if (look_at().state == DEEP_REKEY_RUNNING)
            assert_fine(pool_deep_rekey_throttle(pool, SLOW));
        assert_int_equal(assert_all(0, BLOCKS, 0), 0);
    }
    if (look_at().state == DEEP_REKEY_RUNNING)
        assert_fine(pool_deep_rekey_throttle(pool, 0));
    if (look_at().state != DEEP_REKEY_NONE)
        await_complete();
    assert_one_key(2);
    reopen(true);
    assert_int_equal(assert_all(0, BLOCKS, 0), 0);
    pool_close_checked();
}

static void a_pool_that_is_full_is_encrypted_anew(void **context)
{
    uint64_t block = BLOCKS;
    (void)context;
    fill_until_full("disk", &block, 1);
    assert_fine(deep(0));
    await_complete();
    assert_one_key(2);
    assert_int_equal(headers_of_old_keys(), 0);
    assert_int_equal(assert_all(0, BLOCKS, 0), 0);
    reopen(false);
    assert_int_equal(assert_all(0, BLOCKS, 0), 0);
    pool_close_checked();
}

/* ---- a small device beside a large one ------------------------------------------------------------------------------- */

static int setup_unequal(void **context)
{
    (void)context;
    device_sizes[0] = 512 * MIB;
    device_sizes[1] = 132 * MIB; /* 32 segments */
    setup_sealed("file");
    device_sizes[0] = device_sizes[1] = FIXTURE_SIZE;
    return 0;
}

static uint32_t free_of_the_small_device(void)
{
    mutex_lock(&pool->group->lock);
    uint32_t count = pool->group->segments.free_count[1];
    mutex_unlock(&pool->group->lock);
    return count;
}

/* Which else would never come to its end: a copy needs a slot of the same device. */
static void a_small_device_has_slots_for_a_deep_rekey_until_its_group_is_full(void **context)
{
    (void)context;
    write_all(BLOCKS, 5 * BLOCKS, 0);
    publish();
    assert_true(free_of_the_small_device() > 0);
    assert_fine(deep(0));
    await_complete();
    assert_one_key(2);
    assert_int_equal(assert_all(0, 6 * BLOCKS, 0), 0);
}

static void slots_take(uint32_t *taken, uint32_t *count)
{
    mutex_lock(&pool->group->lock);
    for (uint32_t index; (index = segment_take_slot(&pool->group->segments, 1)) != SEGMENT_NONE;)
        taken[(*count)++] = index;
    mutex_unlock(&pool->group->lock);
}

/* As an earlier build filled it; what logs leave at the begin is taken as well. */
static void the_cleaner_makes_slots_where_a_device_has_none_for_a_deep_rekey(void **context)
{
    struct segments *segments = &pool->group->segments;
    uint32_t taken[32], count = 0;
    (void)context;
    slots_take(taken, &count);
    assert_fine(deep(0));
    for (unsigned i = 0; i < 2000 && look_at().state != DEEP_REKEY_COMPLETE; i++) {
        slots_take(taken, &count);
        clock_sleep(10 * CLOCK_MILLISECOND);
    }
    await_complete();
    mutex_lock(&pool->group->lock);
    for (uint32_t i = 0; i < count; i++)
        segment_free(segments, taken[i], false);
    mutex_unlock(&pool->group->lock);
    assert_int_equal(assert_all(0, BLOCKS, 0), 0);
}

static enum error breathe(void *context, uint64_t bytes, uint64_t began)
{
    (void)context, (void)bytes, (void)began;
    return ERROR_NONE;
}

static void what_a_crash_could_uncover_is_flushed_before_an_old_key_goes(void **context)
{
    struct reencrypt r;
    (void)context;
    assert_fine(reencrypt_init(&r, pool->group));
    r.breathe = breathe;
    group_device_written(pool->group, 0); /* a header that a log began its segment with */
    assert_fine(reencrypt_forget(&r));
    assert_false(atomic_load(&pool->group->written[0]));
    reencrypt_deinit(&r);
}

/* Into a free slot of the first device, as a log would have left it under another key. Its place. */
static uint64_t old_header_leave(void)
{
    struct segments *segments = &pool->group->segments;
    AUTO_FREE uint8_t *bytes = memory_aligned(BLOCK_SIZE);
    struct segment_format *header = (struct segment_format *)bytes;
    uint32_t slot = 0;
    memset(bytes, 0, BLOCK_SIZE);
    while (segments->table[slot].state != SLOT_FREE || segment_device(segments, slot) != 0)
        slot++;
    memcpy(header->magic, SEGMENT_MAGIC, sizeof header->magic);
    header->device_index = 0;
    header->slot = le32_make(segment_slot(segments, slot));
    header->key_slot = le32_make(77);
    assert_fine(device_write(pool->group->devices[0], segment_offset(segments, slot), bytes, BLOCK_SIZE, DEVICE_DURABLE));
    assert_int_equal(headers_of_old_keys(), 1);
    return segment_offset(segments, slot);
}

static void a_header_that_reads_as_zeros_once_is_overwritten_all_the_same(void **context)
{
    struct reencrypt r;
    (void)context;
    assert_fine(reencrypt_init(&r, pool->group));
    r.breathe = breathe;
    atomic_store(&no_discards, true);
    atomic_store(&misread_as_zeros, true);
    atomic_store(&misread, old_header_leave());
    assert_fine(reencrypt_forget(&r));
    assert_int_equal(atomic_load(&misread), 0);
    assert_int_equal(headers_of_old_keys(), 0);
    reencrypt_deinit(&r);
}

/* ---- orders ---------------------------------------------------------------------------------------------------------- */

static void a_second_one_waits_for_the_end_of_the_first(void **context)
{
    (void)context;
    assert_fine(deep(SLOW));
    assert_refused(deep(0), ERROR_BUSY, "under way");
    assert_fine(pool_deep_rekey_pause(pool));
    assert_refused(pool_deep_rekey_pause(pool), ERROR_NOT_FOUND, "no deep rekey runs");
    clock_sleep(FAST_CLOCK * 500 * CLOCK_MILLISECOND); /* until it rests */
    assert_fine(group_publish(pool->group));           /* gives back segments of the journal that it had left */
    uint64_t left = look_at().bytes_left;
    assert_true(left > 0);
    clock_sleep(8 * CLOCK_SECOND); /* two segments' time */
    assert_int_equal(look_at().bytes_left, left);
    assert_int_equal(look_at().state, DEEP_REKEY_PAUSED);
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){.new_root = true}));
    assert_refused(pool_deep_rekey_throttle(pool, 1), ERROR_INVALID, "64K");
    assert_fine(pool_deep_rekey_throttle(pool, 0));
    assert_fine(pool_deep_rekey_resume(pool));
    assert_refused(pool_deep_rekey_resume(pool), ERROR_NOT_FOUND, "paused");
    await_complete();
    assert_refused(pool_deep_rekey_throttle(pool, 0), ERROR_NOT_FOUND, "under way");
    assert_one_key(2);
    reopen(false);
    assert_one_key(2);
    assert_int_equal(assert_all(0, BLOCKS, 0), 0);
}

static void a_pool_without_encryption_has_no_key_to_change(void **context)
{
    AUTO_FREE struct key_slot_info *slots = NULL;
    size_t count;
    (void)context;
    assert_refused(deep(0), ERROR_INVALID, "not encrypted");
    assert_refused(pool_deep_rekey_resume(pool), ERROR_NOT_FOUND, "paused");
    assert_fine(pool_key_slots(pool, &slots, &count));
    assert_int_equal(count, 0);
    assert_int_equal(look_at().state, DEEP_REKEY_NONE);
    assert_fine(pool_lock(pool));
    assert_refused(deep(0), ERROR_LOCKED, "unlock");
    assert_refused(pool_deep_rekey_pause(pool), ERROR_LOCKED, "unlock");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_that_is_stored_gets_another_key, setup, teardown),
        cmocka_unit_test_setup_teardown(no_slot_that_was_left_tells_what_an_old_key_opens, setup, teardown),
        cmocka_unit_test_setup_teardown(a_header_that_reads_as_zeros_once_is_overwritten_all_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_crash_could_uncover_is_flushed_before_an_old_key_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_crash_costs_nothing_but_time, setup, teardown),
        cmocka_unit_test_setup_teardown(a_pool_that_is_full_is_encrypted_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(a_small_device_has_slots_for_a_deep_rekey_until_its_group_is_full, setup_unequal, teardown),
        cmocka_unit_test_setup_teardown(the_cleaner_makes_slots_where_a_device_has_none_for_a_deep_rekey, setup_unequal, teardown),
        cmocka_unit_test_setup_teardown(a_second_one_waits_for_the_end_of_the_first, setup, teardown),
        cmocka_unit_test_setup_teardown(a_pool_without_encryption_has_no_key_to_change, setup_plain, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
