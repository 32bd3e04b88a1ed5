/*
 * A pool of two devices for tests of changes of keys: any of its writes and flushes may fail, its key file can be looked at,
 * and all its data compared.
 */
#ifndef COFFER_TESTS_UNIT_REKEY_FIXTURE_H
#define COFFER_TESTS_UNIT_REKEY_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/devices_fixture.h"
#include "tests/unit/failing_devices.h"

#define KEY_BYTES 4096
#define BLOCKS    32

static char key_path[256], other_path[300];
static _Atomic int countdown; /* of writes and flushes, to the one that fails; 0: none */
static _Atomic bool superblocks_only; /* counted are their writes alone, four of a device each time */

static _Atomic bool slow_flushes; /* each takes a while, and is counted */
static _Atomic int flushes, flushes_at_once;

static inline bool flush_slowly(struct device_io *io)
{
    if (io->operation != DEVICE_FLUSH || !atomic_load(&slow_flushes))
        return false;
    int others = atomic_fetch_add(&flushes, 1);
    if (others > 0)
        atomic_store(&flushes_at_once, others + 1);
    clock_sleep(2 * CLOCK_MILLISECOND);
    honest->submit(&io, 1);
    honest->wait(io);
    atomic_fetch_sub(&flushes, 1);
    return true;
}

static _Atomic bool torn; /* of copy 0 of each superblock what stands behind its fixed part cannot be read, until it is written */

static inline bool is_torn(const struct device_io *io)
{
    if (io->offset != 0 || io->size != SUPERBLOCK_SIZE || !atomic_load(&torn))
        return false;
    if (io->operation == DEVICE_WRITE)
        atomic_store(&torn, false);
    return io->operation == DEVICE_READ;
}

static inline void submit_failing(struct device_io **ios, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (flush_slowly(ios[i]))
            continue;
        if (is_torn(ios[i])) {
            io_complete(ios[i], ERROR_IO, EIO);
            continue;
        }
        bool write = ios[i]->operation == DEVICE_WRITE;
        bool counts = superblocks_only ? write && ios[i]->size == SUPERBLOCK_SIZE : write || ios[i]->operation == DEVICE_FLUSH;
        if (counts && atomic_load(&countdown) > 0 && atomic_fetch_sub(&countdown, 1) == 1) {
            device_fence(ios[i], EIO);
            io_complete(ios[i], ERROR_IO, EIO);
        } else {
            honest->submit(&ios[i], 1);
        }
    }
}

static const char *passphrase_given;

static inline enum error try_open(void)
{
    struct pool_open_options options = {.memory = FIXTURE_MEMORY,
                                        .open_device = open_failing,
                                        .passphrase = passphrase_given,
                                        .passphrase_size = passphrase_given ? strlen(passphrase_given) : 0};
    error_forget();
    return pool_open(fixture_directory, &options, &pool);
}

static inline int setup_pool(const char *seal, const char *passphrase)
{
    passphrase_given = passphrase;
    devices_setup(seal, passphrase);
    assert_fine(try_open());
    if (seal != NULL)
        snprintf(key_path, sizeof key_path, "%s", pool->conf->provider->path);
    snprintf(other_path, sizeof other_path, "%s.next-2", key_path);
    make("disk", GIB);
    for (unsigned i = 1; i < BLOCKS; i++)
        write_block("disk", (uint64_t)i * COFFER_BLOCK, i);
    return 0;
}

static inline int setup(void **context) { (void)context; return setup_pool("file", NULL); }
static inline int setup_passphrase(void **context) { (void)context; return setup_pool("passphrase", "correct horse"); }
static inline int setup_plain(void **context) { (void)context; return setup_pool(NULL, NULL); }

static inline int teardown(void **context)
{
    atomic_store(&countdown, 0);
    atomic_store(&torn, false);
    superblocks_only = false;
    return devices_teardown(context);
}

static inline void assert_data_is_intact(void)
{
    for (unsigned i = 1; i < BLOCKS; i++)
        assert_block("disk", (uint64_t)i * COFFER_BLOCK, i);
}

static inline uint64_t kek_number(void)
{
    struct pool_key_status status;
    assert_fine(pool_key_status(pool, &status));
    return status.kek_number;
}

static inline void assert_under_one_key(uint64_t number)
{
    for (uint32_t d = 0; d < DEVICES; d++) {
        assert_int_equal(pool->group->superblocks[d].wrapping.kek_number, number);
        assert_true(uuid_is_zero(pool->group->superblocks[d].other.provider));
    }
    assert_int_equal(kek_number(), number);
}

/* Of a change that stopped: the old one and the next, whichever comes first. */
static inline void assert_under_both_keys(uint64_t old)
{
    for (uint32_t d = 0; d < DEVICES; d++) {
        const struct superblock *superblock = &pool->group->superblocks[d];
        assert_int_equal(superblock->wrapping.kek_number, old);
        assert_int_equal(superblock->other.kek_number, old + 1);
        assert_false(uuid_is_zero(superblock->other.provider));
    }
    assert_int_equal(kek_number(), old);
}

static inline void reopen(void)
{
    assert_fine(pool_close(pool));
    pool = NULL;
    assert_fine(try_open());
}

static inline size_t file_bytes(const char *path, uint8_t bytes[KEY_BYTES])
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = read(descriptor, bytes, KEY_BYTES);
    close(descriptor);
    return size < 0 ? 0 : (size_t)size;
}

static inline void put_file(const char *path, const uint8_t *bytes, size_t size)
{
    int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(write(descriptor, bytes, size), size);
    close(descriptor);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
