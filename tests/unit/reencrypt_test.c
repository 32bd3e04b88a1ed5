/*
 * Deep rekey: afterwards every segment is under the new data key and another salt, the old key opens nothing, and all data is
 * there; also after crashes in between, on a device that cannot be read everywhere, and in a full pool. Crashes at each
 * of its writes are the simulator's.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "engine/device/kind.h"
#include "engine/group/append.h"
#include "engine/group/superblock_image.h"
#include "engine/pool/damage.h"
#include "engine/pool/deep_rekey.h"
#include "tests/unit/fill_fixture.h"

#define DEVICES  2
#define BLOCKS   10048 /* 39 MiB in some ten segments */
#define SLOW     (UINT64_C(4) << 20)
#define PATIENCE 6000 /* looks, a hundredth of a second apart */

static char paths[DEVICES][160];
static const struct device_operations *honest;
static struct device_operations failing;
static _Atomic uint64_t bad_block, bad_end; /* bytes of the first device whose reads fail */
static _Atomic bool one_copy_bad;           /* of the superblock of the first device: it cannot be read */
static _Atomic int bad_reads;               /* so many reads of one block more, and all longer ones meanwhile */
static _Atomic bool silent;                 /* from the first of them on, as long as they fail, superblocks do, too */
static int bad_total;
static _Atomic uint64_t misread; /* a byte of the first device that is read wrong the next time; 0: none */
static _Atomic int countdown;               /* of writes of superblocks, to the one that fails; 0: none */

/* A read over a place of the first device that gives something else there, once. */
static bool misreads(struct device_io *io)
{
    uint64_t at = atomic_load(&misread);
    if (at == 0 || io->operation != DEVICE_READ || strcmp(io->device->path, paths[0]) != 0 || at < io->offset ||
        at >= io->offset + io->size || !atomic_compare_exchange_strong(&misread, &at, 0))
        return false;
    int descriptor = open(paths[0], O_RDONLY | O_CLOEXEC);
    ssize_t got = pread(descriptor, io->buffer, io->size, (off_t)io->offset);
    close(descriptor);
    ((uint8_t *)io->buffer)[at - io->offset] ^= 0x10;
    io_complete(io, got == (ssize_t)io->size ? ERROR_NONE : ERROR_IO, 0);
    return true;
}

static bool is_superblock(const struct device_io *io)
{
    for (uint32_t copy = 0; copy < SUPERBLOCK_COPIES; copy++)
        if (io->offset == superblock_offset(io->device->size, copy))
            return strcmp(io->device->path, paths[0]) == 0;
    return false;
}

static bool fails(const struct device_io *io)
{
    bool hit = strcmp(io->device->path, paths[0]) == 0 && io->offset < atomic_load(&bad_end) &&
               io->offset + io->size > atomic_load(&bad_block);
    if (hit && io->operation == DEVICE_WRITE)
        atomic_store(&bad_reads, 0); /* the disk has another sector for it */
    if (hit && io->operation == DEVICE_READ && atomic_load(&bad_reads) > 0) {
        atomic_fetch_sub(&bad_reads, io->size == BLOCK_SIZE);
        return true;
    }
    int left = atomic_load(&bad_reads);
    if (atomic_load(&one_copy_bad) && io->operation == DEVICE_READ && is_superblock(io) && io->offset != 0)
        return true;
    return atomic_load(&silent) && left > 0 && left < bad_total && io->operation == DEVICE_READ && is_superblock(io);
}

static void submit_failing(struct device_io **ios, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool counts = ios[i]->operation == DEVICE_WRITE && ios[i]->size == SUPERBLOCK_SIZE;
        if (fails(ios[i])) {
            io_complete(ios[i], ERROR_IO, EIO);
        } else if (misreads(ios[i])) {
            continue;
        } else if (counts && atomic_load(&countdown) > 0 && atomic_fetch_sub(&countdown, 1) == 1) {
            device_fence(ios[i], EIO);
            io_complete(ios[i], ERROR_IO, EIO);
        } else {
            honest->submit(&ios[i], 1);
        }
    }
}

static enum error open_failing(const char *path, unsigned flags, void *context, struct device **device)
{
    (void)context;
    TRY(device_open_file(path, flags, device));
    honest = (*device)->operations;
    failing = *honest;
    failing.submit = submit_failing;
    failing.run = NULL;
    (*device)->operations = &failing;
    return ERROR_NONE;
}

static enum error try_open(void)
{
    struct pool_open_options options = {.memory = FIXTURE_MEMORY, .open_device = open_failing};
    error_forget();
    return pool_open(fixture_directory, &options, &pool);
}

static void write_all(uint64_t from, uint64_t count, uint64_t seed)
{
    struct volume *volume;
    assert_fine(volume_open(pool, "disk", false, &volume));
    for (uint64_t block = from; block < from + count; block += FILL_BLOCKS)
        assert_fine(noise_write(volume, block, 1, FILL_BLOCKS, seed + block));
    volume_close(volume);
}

/* Reads past the caches: those are new after an open. Returns the blocks that could not be read; what can is right. */
static unsigned assert_all(uint64_t from, uint64_t count, uint64_t seed)
{
    struct volume *volume;
    uint8_t block[COFFER_BLOCK], expected[COFFER_BLOCK];
    unsigned bad = 0;
    assert_fine(volume_open(pool, "disk", true, &volume));
    for (uint64_t i = from; i < from + count; i++) {
        noise_fill(expected, seed + i);
        enum error error = block_io(volume, REQUEST_READ, i * COFFER_BLOCK, block);
        if (error == ERROR_NONE)
            assert_memory_equal(block, expected, COFFER_BLOCK);
        bad += error != ERROR_NONE;
    }
    volume_close(volume);
    error_forget();
    return bad;
}

static int setup_encrypted(bool encrypted)
{
    const char *parent = getenv("TMPDIR"), *given[DEVICES];
    snprintf(fixture_root, sizeof fixture_root, "%.40s/coffer-XXXXXX", parent != NULL ? parent : "/tmp");
    assert_non_null(mkdtemp(fixture_root));
    snprintf(fixture_directory, sizeof fixture_directory, "%s/pool", fixture_root);
    for (size_t i = 0; i < DEVICES; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/disk%zu", fixture_root, i);
        assert_fine(device_create_file(paths[i], FIXTURE_SIZE));
        given[i] = paths[i];
    }
    assert_fine(pool_create(&(struct pool_create_options){.directory = fixture_directory,
                                                          .device_paths = given,
                                                          .device_count = DEVICES,
                                                          .encryption = encrypted,
                                                          .fingerprint = POOL_FINGERPRINT_XXH3,
                                                          .seal = encrypted ? "file" : NULL}));
    assert_fine(try_open());
    make("disk", GIB);
    write_all(0, BLOCKS, 0);
    publish();
    return 0;
}

static int setup(void **context) { (void)context; return setup_encrypted(true); }
static int setup_plain(void **context) { (void)context; return setup_encrypted(false); }

static int teardown(void **context)
{
    (void)context;
    atomic_store(&bad_reads, 0);
    atomic_store(&silent, false);
    atomic_store(&one_copy_bad, false);
    atomic_store(&misread, 0);
    atomic_store(&countdown, 0);
    if (pool != NULL)
        assert_fine(pool_close(pool));
    pool = NULL;
    return nftw(fixture_root, fixture_remove, 8, FTW_DEPTH | FTW_PHYS);
}

static void reopen(bool crash)
{
    if (crash)
        pool_crash();
    else
        assert_fine(pool_close(pool));
    pool = NULL;
    assert_fine(try_open());
}

/* ---- looks ----------------------------------------------------------------------------------------------------------- */

static struct deep_rekey_status look_at(void)
{
    struct deep_rekey_status status;
    assert_fine(pool_deep_rekey_status(pool, &status));
    return status;
}

static void await_complete(void)
{
    for (unsigned i = 0; i < PATIENCE; i++) {
        if (look_at().state == DEEP_REKEY_COMPLETE)
            return;
        clock_sleep(10 * CLOCK_MILLISECOND);
    }
    fail_msg("%llu bytes are left", (unsigned long long)look_at().bytes_left);
}

/* A device has one data key, of this number, in memory and in its superblock, and no segment names another. */
static void assert_one_key(uint32_t number)
{
    AUTO_FREE struct key_slot_info *slots = NULL;
    size_t count;
    assert_fine(pool_key_slots(pool, &slots, &count));
    assert_int_equal(count, DEVICES);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(slots[i].slot, number);
        assert_true(slots[i].current);
        assert_true(slots[i].segments > 0);
    }
    const struct segments *segments = &pool->group->segments;
    unsigned others = 0;
    mutex_lock(&pool->group->lock);
    for (uint32_t i = 0; i < segments->count; i++)
        others += segments->table[i].state != SLOT_FREE && segments->table[i].key_slot != number;
    mutex_unlock(&pool->group->lock);
    assert_int_equal(others, 0);
}

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

static uint64_t block_hash(const uint8_t *block)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < BLOCK_SIZE; i += 8)
        hash = hash * UINT64_C(0x9e3779b97f4a7c15) + le64_get(*(const le64 *)(block + i));
    return hash;
}

/* Of the blocks behind the headers of sealed segments that hold anything. Zeros, of what was never written, are left out. */
static void picture_take(struct picture *picture)
{
    const struct segments *segments = &pool->group->segments;
    uint32_t blocks = segment_blocks(segments);
    AUTO_FREE uint8_t *bytes = malloc(segment_size(segments));
    *picture = (struct picture){.hashes = malloc((size_t)segments->count * blocks * 8)};
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
        for (uint32_t block = 1; block < blocks; block++)
            if (!memory_is_zero(bytes + (size_t)block * BLOCK_SIZE, BLOCK_SIZE))
                picture->hashes[picture->hash_count++] = block_hash(bytes + (size_t)block * BLOCK_SIZE);
    }
    qsort(picture->hashes, picture->hash_count, sizeof picture->hashes[0], hash_order);
}

static void assert_disjoint(const struct picture *a, const struct picture *b)
{
    assert_true(a->hash_count > BLOCKS / 2 && b->hash_count > BLOCKS / 2);
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

static enum error deep(uint64_t rate)
{
    error_forget();
    return pool_deep_rekey(pool, &(struct pool_rekey_options){0}, rate);
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
    assert_int_equal(assert_all(0, BLOCKS, 0), 0);
    reopen(false);
    assert_int_equal(assert_all(0, BLOCKS, 0), 0);
    pool_close_checked();
}

/* ---- damage ---------------------------------------------------------------------------------------------------------- */

/* A full segment of the first device. */
static uint32_t full_index(void)
{
    const struct segments *segments = &pool->group->segments;
    for (uint32_t i = 0; i < segments->slot_count[0]; i++)
        if (segments->table[i].state == SLOT_SEALED && segments->table[i].live > segment_size(segments) / 2 &&
            segment_has_units(&segments->table[i]))
            return i;
    fail_msg("no segment is full");
    return 0;
}

static uint64_t full_segment(void) { return segment_offset(&pool->group->segments, full_index()); }
static uint64_t full_serial(void) { return pool->group->segments.table[full_index()].serial; }

static void spoil_range(uint64_t first, uint64_t size, int reads)
{
    atomic_store(&bad_block, first);
    atomic_store(&bad_end, first + size);
    bad_total = reads;
    atomic_store(&bad_reads, reads);
}

/* A block in the middle of an append. */
static void spoil(int reads)
{
    spoil_range(full_segment() + segment_size(&pool->group->segments) * 3 / 8, BLOCK_SIZE, reads);
}

/* Rows of the ledger that hold the place, whoever made them. */
static size_t ledger_rows(uint64_t serial, uint64_t block)
{
    AUTO_FREE struct damage *rows = NULL;
    size_t count, found = 0;
    bool more;
    assert_fine(damages_copy(pool->damages, true, &rows, &count, &more));
    for (size_t i = 0; i < count; i++)
        found += rows[i].kind == DAMAGE_STORED && rows[i].owner == serial && rows[i].first <= block * BLOCK_GRAINS &&
                 rows[i].end >= (block + 1) * BLOCK_GRAINS;
    return found;
}

static void a_block_that_cannot_be_read_is_lost_and_no_other(void **context)
{
    (void)context;
    spoil(INT32_MAX);
    uint32_t block = segment_blocks(&pool->group->segments) * 3 / 8;
    uint64_t serial = full_serial();
    assert_int_equal(ledger_rows(serial, block), 0);
    assert_fine(deep(0));
    await_complete();
    assert_int_equal(look_at().blocks_lost, 1);
    assert_one_key(2);
    atomic_store(&bad_reads, 0);
    assert_int_equal(ledger_rows(serial, block), 1);
    reopen(false);
    assert_int_equal(ledger_rows(serial, block), 1);
    unsigned bad = assert_all(0, BLOCKS, 0);
    if (bad < 1 || bad > 8) /* units of four that lie in it */
        fail_msg("%u blocks are lost", bad);
}

static void a_read_that_fails_for_a_while_loses_nothing(void **context)
{
    (void)context;
    spoil(2); /* the block, twice */
    assert_fine(deep(0));
    await_complete();
    assert_int_equal(atomic_load(&bad_reads), 0);
    assert_int_equal(look_at().blocks_lost, 0);
    reopen(false);
    assert_int_equal(assert_all(0, BLOCKS, 0), 0);
}

/* The third look at the first blocks of a segment begins in the outage and ends behind it. */
static void assert_outage_is_survived(bool all)
{
    spoil_range(full_segment(), segment_size(&pool->group->segments), 2 * REENCRYPT_PIECE / BLOCK_SIZE + 40);
    atomic_store(&silent, all);
    assert_fine(deep(0));
    await_complete();
    assert_int_equal(atomic_load(&bad_reads), 0);
    assert_int_equal(look_at().blocks_lost, 0);
    reopen(false);
    assert_int_equal(assert_all(0, BLOCKS, 0), 0);
}

static void a_region_that_comes_back_within_the_last_try_loses_nothing(void **context)
{
    (void)context;
    assert_outage_is_survived(false);
}

static void a_device_that_comes_back_within_the_last_try_loses_nothing(void **context)
{
    (void)context;
    assert_outage_is_survived(true);
}

static void a_whole_piece_that_cannot_be_read_does_not_keep_the_old_key(void **context)
{
    bool waited = false;
    (void)context;
    spoil_range(full_segment() + 4 * REENCRYPT_PIECE, REENCRYPT_PIECE, INT32_MAX);
    assert_fine(deep(0));
    for (unsigned i = 0; i < PATIENCE / 4 && look_at().state != DEEP_REKEY_COMPLETE; i++) {
        waited |= look_at().waits == ERROR_IO;
        clock_sleep(10 * CLOCK_MILLISECOND);
    }
    assert_int_equal(look_at().state, DEEP_REKEY_COMPLETE);
    assert_true(waited);
    assert_int_equal(look_at().waits, ERROR_NONE);
    assert_int_equal(look_at().blocks_lost, REENCRYPT_PIECE / BLOCK_SIZE);
    assert_one_key(2);
    atomic_store(&bad_reads, 0);
    reopen(false);
    size_t bad = assert_all(0, BLOCKS, 0);
    if (bad < 1 || bad > REENCRYPT_PIECE / BLOCK_SIZE + 8)
        fail_msg("%zu blocks are lost", bad);
}

static void block_spoil_on_disk(uint64_t offset)
{
    uint8_t noise[BLOCK_SIZE];
    noise_fill(noise, offset);
    int descriptor = open(paths[0], O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(descriptor, noise, sizeof noise, (off_t)offset), sizeof noise);
    assert_int_equal(fsync(descriptor), 0);
    close(descriptor);
}

static void what_is_behind_a_damaged_append_is_read_twice(void **context)
{
    (void)context;
    uint64_t segment = full_segment();
    block_spoil_on_disk(segment + BLOCK_SIZE);
    reopen(false);
    unsigned bad = assert_all(0, BLOCKS, 0);
    assert_true(bad < 8);
    atomic_store(&misread, segment + segment_size(&pool->group->segments) * 3 / 8 + 5);
    assert_fine(deep(0));
    await_complete();
    assert_int_equal(atomic_load(&misread), 0);
    reopen(false);
    assert_int_equal(assert_all(0, BLOCKS, 0), bad);
}

static unsigned tries_made(void)
{
    unsigned most = 0;
    const struct reencrypt *r = &pool->deep_rekey->reencrypt;
    for (size_t i = 0; i < r->trouble_count; i++)
        most = MAX(most, r->troubles[i].tries);
    return most;
}

static void a_device_that_reads_nothing_uses_up_no_tries(void **context)
{
    const int enough = 1 << 20;
    (void)context;
    spoil_range(full_segment(), segment_size(&pool->group->segments), enough);
    atomic_store(&silent, true);
    assert_fine(deep(0));
    for (unsigned i = 0; i < PATIENCE && atomic_load(&bad_reads) > enough - 200; i++)
        clock_sleep(10 * CLOCK_MILLISECOND);
    assert_true(atomic_load(&bad_reads) <= enough - 200);
    assert_fine(pool_deep_rekey_pause(pool));
    clock_sleep(500 * CLOCK_MILLISECOND);
    assert_int_equal(look_at().waits, ERROR_IO);
    assert_int_equal(tries_made(), 0);
    assert_fine(pool_deep_rekey_resume(pool));
    atomic_store(&bad_reads, 0);
    await_complete();
    assert_int_equal(look_at().blocks_lost, 0);
}

static void a_superblock_that_cannot_be_written_leaves_all_data_readable(void **context)
{
    (void)context;
    for (int n = 1; n <= 4 * DEVICES; n++) {
        atomic_store(&countdown, n);
        assert_refused(deep(0), ERROR_IO, "no data key was changed");
        atomic_store(&countdown, 0);
        (void)!pool_close(pool);
        pool = NULL;
        assert_fine(try_open());
        if (look_at().state != DEEP_REKEY_NONE) /* one of them had got the new slot */
            await_complete();
        AUTO_FREE struct key_slot_info *slots = NULL;
        size_t count;
        assert_fine(pool_key_slots(pool, &slots, &count));
        assert_int_equal(count, DEVICES);
        assert_int_equal(slots[0].slot, slots[1].slot);
        assert_int_equal(assert_all(0, BLOCKS, 0), 0);
    }
}

static uint64_t epoch_now(void)
{
    mutex_lock(&pool->witness_lock);
    uint64_t epoch = pool->witness->epoch;
    mutex_unlock(&pool->witness_lock);
    return epoch;
}

/* A try each second would be nine of them; with pauses that double there are four. */
static void superblocks_that_fail_are_written_ever_less_often(void **context)
{
    (void)context;
    assert_fine(deep(0));
    uint64_t begun = epoch_now();
    atomic_store(&one_copy_bad, true);
    for (unsigned i = 0; i < PATIENCE && epoch_now() == begun; i++)
        clock_sleep(10 * CLOCK_MILLISECOND);
    assert_true(epoch_now() > begun);
    clock_sleep(9 * CLOCK_SECOND);
    uint64_t used = epoch_now();
    assert_true(used <= begun + 5);
    assert_int_equal(look_at().waits, ERROR_IO);
    assert_int_equal(look_at().state, DEEP_REKEY_RUNNING);
    atomic_store(&one_copy_bad, false);
    assert_fine(pool_deep_rekey_pause(pool));
    assert_fine(pool_deep_rekey_resume(pool));
    await_complete();
    assert_one_key(2);
}

/* ---- orders ---------------------------------------------------------------------------------------------------------- */

static void a_second_one_waits_for_the_end_of_the_first(void **context)
{
    (void)context;
    assert_fine(deep(SLOW));
    assert_refused(deep(0), ERROR_BUSY, "under way");
    assert_fine(pool_deep_rekey_pause(pool));
    assert_refused(pool_deep_rekey_pause(pool), ERROR_NOT_FOUND, "no deep rekey runs");
    clock_sleep(500 * CLOCK_MILLISECOND);
    uint64_t left = look_at().bytes_left;
    assert_true(left > 0);
    clock_sleep(500 * CLOCK_MILLISECOND);
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
        cmocka_unit_test_setup_teardown(a_crash_costs_nothing_but_time, setup, teardown),
        cmocka_unit_test_setup_teardown(a_pool_that_is_full_is_encrypted_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(a_block_that_cannot_be_read_is_lost_and_no_other, setup, teardown),
        cmocka_unit_test_setup_teardown(a_read_that_fails_for_a_while_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_region_that_comes_back_within_the_last_try_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_device_that_comes_back_within_the_last_try_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_device_that_reads_nothing_uses_up_no_tries, setup, teardown),
        cmocka_unit_test_setup_teardown(a_whole_piece_that_cannot_be_read_does_not_keep_the_old_key, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_behind_a_damaged_append_is_read_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(a_superblock_that_cannot_be_written_leaves_all_data_readable, setup, teardown),
        cmocka_unit_test_setup_teardown(superblocks_that_fail_are_written_ever_less_often, setup, teardown),
        cmocka_unit_test_setup_teardown(a_second_one_waits_for_the_end_of_the_first, setup, teardown),
        cmocka_unit_test_setup_teardown(a_pool_without_encryption_has_no_key_to_change, setup_plain, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
