/*
 * A pool of two devices for tests of deep rekeys: reads of the first, and writes of superblocks, may fail; all data can be compared.
 * Its clock is fast (fast_clock.h): what a deep rekey cannot read is tried again seconds later.
 * Who includes it says how many BLOCKS of the disk are written.
 */
#ifndef COFFER_TESTS_UNIT_REENCRYPT_FIXTURE_H
#define COFFER_TESTS_UNIT_REENCRYPT_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "engine/group/superblock_image.h"
#include "engine/pool/deep_rekey.h"
#include "tests/unit/devices_fixture.h"
#include "tests/unit/failing_devices.h"
#include "tests/unit/fast_clock.h"
#include "tests/unit/fill_fixture.h"

#define PATIENCE (6000 * FAST_CLOCK) /* looks, a hundredth of a second apart by the fast clock */

static _Atomic uint64_t bad_block, bad_end; /* bytes of the first device whose reads fail */
static _Atomic bool one_copy_bad;           /* of the superblock of the first device: it cannot be read */
static _Atomic int bad_reads;               /* so many reads of one block more, and all longer ones meanwhile */
static _Atomic bool silent;                 /* from the first of them on, as long as they fail, superblocks do, too */
static int bad_total;
static _Atomic uint64_t misread; /* a byte of the first device that is read wrong the next time; 0: none */
static _Atomic bool misread_as_zeros; /* then, the whole of what is read */
static _Atomic bool no_discards; /* they do nothing, as on a disk that knows none */
static _Atomic int countdown;               /* of writes of superblocks, to the one that fails; 0: none */

/* A read over a place of the first device that gives something else there, once. */
static inline bool misreads(struct device_io *io)
{
    uint64_t at = atomic_load(&misread);
    if (at == 0 || io->operation != DEVICE_READ || strcmp(io->device->path, paths[0]) != 0 || at < io->offset ||
        at >= io->offset + io->size || !atomic_compare_exchange_strong(&misread, &at, 0))
        return false;
    int descriptor = open(paths[0], O_RDONLY | O_CLOEXEC);
    ssize_t got = pread(descriptor, io->buffer, io->size, (off_t)io->offset);
    close(descriptor);
    ((uint8_t *)io->buffer)[at - io->offset] ^= 0x10;
    if (atomic_load(&misread_as_zeros))
        memset(io->buffer, 0, io->size);
    io_complete(io, got == (ssize_t)io->size ? ERROR_NONE : ERROR_IO, 0);
    return true;
}

static inline bool is_superblock(const struct device_io *io)
{
    for (uint32_t copy = 0; copy < SUPERBLOCK_COPIES; copy++)
        if (io->offset == superblock_offset(io->device->size, copy))
            return strcmp(io->device->path, paths[0]) == 0;
    return false;
}

static inline bool fails(const struct device_io *io)
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

static inline void submit_failing(struct device_io **ios, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool counts = ios[i]->operation == DEVICE_WRITE && ios[i]->size == SUPERBLOCK_SIZE;
        if (fails(ios[i])) {
            io_complete(ios[i], ERROR_IO, EIO);
        } else if (ios[i]->operation == DEVICE_DISCARD && atomic_load(&no_discards)) {
            io_complete(ios[i], ERROR_NONE, 0);
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

static inline enum error try_open(void)
{
    struct pool_open_options options = {.memory = FIXTURE_MEMORY, .open_device = open_failing};
    error_forget();
    return pool_open(fixture_directory, &options, &pool);
}

static inline void write_all(uint64_t from, uint64_t count, uint64_t seed)
{
    struct volume *volume;
    assert_fine(volume_open(pool, "disk", false, &volume));
    for (uint64_t block = from; block < from + count; block += FILL_BLOCKS)
        assert_fine(noise_write(volume, block, 1, FILL_BLOCKS, seed + block));
    volume_close(volume);
}

/* Reads past the caches: those are new after an open. Returns the blocks that could not be read; what can is right. */
static inline unsigned assert_all(uint64_t from, uint64_t count, uint64_t seed)
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

static inline int setup_sealed(const char *seal)
{
    devices_setup(seal, NULL);
    assert_fine(try_open());
    make("disk", GIB);
    write_all(0, BLOCKS, 0);
    publish();
    return 0;
}

static inline int setup(void **context) { (void)context; return setup_sealed("file"); }
static inline int setup_plain(void **context) { (void)context; return setup_sealed(NULL); }

static inline int teardown(void **context)
{
    atomic_store(&bad_reads, 0);
    atomic_store(&silent, false);
    atomic_store(&one_copy_bad, false);
    atomic_store(&misread, 0);
    atomic_store(&misread_as_zeros, false);
    atomic_store(&countdown, 0);
    atomic_store(&no_discards, false);
    return devices_teardown(context);
}

static inline void reopen(bool crash)
{
    if (crash)
        pool_crash();
    else
        assert_fine(pool_close(pool));
    pool = NULL;
    assert_fine(try_open());
}

/* ---- looks ----------------------------------------------------------------------------------------------------------- */

static inline struct deep_rekey_status look_at(void)
{
    struct deep_rekey_status status;
    assert_fine(pool_deep_rekey_status(pool, &status));
    return status;
}

static inline void await_complete(void)
{
    for (unsigned i = 0; i < PATIENCE; i++) {
        if (look_at().state == DEEP_REKEY_COMPLETE)
            return;
        clock_sleep(10 * CLOCK_MILLISECOND);
    }
    fail_msg("%llu bytes are left", (unsigned long long)look_at().bytes_left);
}

/* A device has one data key, of this number, in memory and in its superblock, and no segment names another. */
static inline void assert_one_key(uint32_t number)
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

static inline enum error deep(uint64_t rate)
{
    error_forget();
    return pool_deep_rekey(pool, &(struct pool_rekey_options){0}, rate);
}

#endif
