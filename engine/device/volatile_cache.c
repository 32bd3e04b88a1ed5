/*
 * The journal of a volatile device, and what a crash makes of it.
 *
 * The file: a head, a table of entries, blocks. It is memory that happens to have a name: byte order is the machine's,
 * and it lives only as long as a test.
 *
 * Invariants: the number of entries is the one truth, stored last, so a process killed inside an append leaves the
 * journal as it was before. Entries stand in the order in which they were submitted; blocks follow each other in the
 * same order. What is in the journal was answered (or is about to be) but not flushed, except for durable writes, which
 * every crash keeps: they stand here as well so that no older write, kept by the crash, overwrites them.
 */
#include "engine/device/volatile_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "engine/device/volatile.h"

#define CACHE_MAGIC      UINT64_C(0x6568636163726663) /* any number that a foreign file does not begin with */
#define CACHE_BLOCKS_MAX (UINT64_C(1) << 24)          /* 64 GiB: more is a mistake in a test */
#define SECTOR           512

struct cache_head {
    uint64_t magic;
    uint64_t blocks_max;
    _Atomic uint64_t entries;
};

struct cache {
    struct cache_head *head;
    struct cache_entry *table;
    unsigned char *blocks;
    size_t mapped;
};

static size_t table_bytes(uint64_t blocks_max)
{
    return ROUND_UP((size_t)blocks_max * sizeof(struct cache_entry), (size_t)DEVICE_BLOCK);
}

static size_t file_bytes(uint64_t blocks_max)
{
    return DEVICE_BLOCK + table_bytes(blocks_max) + (size_t)blocks_max * DEVICE_BLOCK;
}

enum error volatile_cache_create(const char *cache_path, uint64_t capacity)
{
    struct cache_head head = {.magic = CACHE_MAGIC, .blocks_max = capacity / DEVICE_BLOCK};
    if (head.blocks_max == 0 || head.blocks_max > CACHE_BLOCKS_MAX)
        return error_explain(ERROR_INVALID, "%s: a cache cannot have %llu bytes", cache_path,
                             (unsigned long long)capacity);
    int file = open(cache_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0)
        return error_from_errno(errno, "create %s", cache_path);
    int number = 0;
    if (ftruncate(file, (off_t)file_bytes(head.blocks_max)) != 0 ||
        pwrite(file, &head, sizeof(head), 0) != (ssize_t)sizeof(head))
        number = errno;
    close(file);
    if (number == 0)
        return ERROR_NONE;
    unlink(cache_path);
    return error_from_errno(number, "create %s", cache_path);
}

static enum error read_head(const char *path, int file, struct cache_head *head)
{
    struct stat status;
    if (pread(file, head, sizeof(*head), 0) != (ssize_t)sizeof(*head) || fstat(file, &status) != 0 ||
        head->magic != CACHE_MAGIC || head->blocks_max == 0 || head->blocks_max > CACHE_BLOCKS_MAX ||
        (uint64_t)status.st_size != file_bytes(head->blocks_max))
        return error_explain(ERROR_CORRUPT, "%s is not the cache of a volatile device", path);
    return ERROR_NONE;
}

static enum error cache_map(const char *path, int file, struct cache **cache)
{
    struct cache_head head;
    TRY(read_head(path, file, &head));
    struct cache *made = memory_zeroed(1, sizeof(*made));
    if (made == NULL)
        return ERROR_NO_MEMORY;
    made->mapped = file_bytes(head.blocks_max);
    unsigned char *start = mmap(NULL, made->mapped, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (start == MAP_FAILED) {
        free(made);
        return error_from_errno(errno, "map %s", path);
    }
    made->head = (struct cache_head *)start;
    made->table = (struct cache_entry *)(start + DEVICE_BLOCK);
    made->blocks = start + DEVICE_BLOCK + table_bytes(head.blocks_max);
    *cache = made;
    return ERROR_NONE;
}

uint64_t cache_blocks_max(const struct cache *cache)
{
    return cache->head->blocks_max;
}

uint64_t cache_entries(const struct cache *cache)
{
    return atomic_load_explicit(&cache->head->entries, memory_order_acquire);
}

const struct cache_entry *cache_entry(const struct cache *cache, uint64_t index)
{
    return &cache->table[index];
}

unsigned char *cache_block(const struct cache *cache, uint64_t block)
{
    return cache->blocks + block * DEVICE_BLOCK;
}

static uint64_t blocks_of(const struct cache_entry *entry)
{
    return entry->kind == CACHE_DISCARD ? 0 : entry->size / DEVICE_BLOCK;
}

/* A damaged journal is refused rather than followed. */
static bool journal_is_sound(const struct cache *cache)
{
    uint64_t count = cache_entries(cache), blocks_max = cache_blocks_max(cache), next = 0;
    if (count > blocks_max)
        return false;
    for (uint64_t i = 0; i < count; i++) {
        const struct cache_entry *entry = cache_entry(cache, i);
        if (entry->size == 0 || entry->size % DEVICE_BLOCK != 0 || entry->offset % DEVICE_BLOCK != 0 ||
            entry->kind < CACHE_WRITE || entry->kind > CACHE_DISCARD || entry->first != next ||
            blocks_of(entry) > blocks_max - next)
            return false;
        next += blocks_of(entry);
    }
    return true;
}

enum error cache_open(const char *path, struct cache **cache)
{
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return error_from_errno(errno, "open %s", path);
    struct cache *mapped = NULL;
    enum error error = cache_map(path, file, &mapped);
    close(file);
    if (error != ERROR_NONE)
        return error;
    if (!journal_is_sound(mapped)) {
        cache_close(mapped);
        return error_explain(ERROR_CORRUPT, "%s is damaged: its journal makes no sense", path);
    }
    *cache = mapped;
    return ERROR_NONE;
}

void cache_close(struct cache *cache)
{
    munmap(cache->head, cache->mapped);
    free(cache);
}

bool cache_append(struct cache *cache, struct cache_entry *entry, const void *data)
{
    uint64_t count = cache_entries(cache);
    entry->first = count == 0 ? 0 : cache->table[count - 1].first + blocks_of(&cache->table[count - 1]);
    if (count == cache_blocks_max(cache) || blocks_of(entry) > cache_blocks_max(cache) - entry->first)
        return false;
    if (entry->kind != CACHE_DISCARD)
        memcpy(cache_block(cache, entry->first), data, entry->size);
    cache->table[count] = *entry;
    atomic_store_explicit(&cache->head->entries, count + 1, memory_order_release);
    return true;
}

void cache_empty(struct cache *cache)
{
    atomic_store_explicit(&cache->head->entries, 0, memory_order_release);
}

/* ---- applying ------------------------------------------------------------------------------------------------- */

static int write_whole(int file, const unsigned char *data, uint64_t size, uint64_t offset)
{
    while (size > 0) {
        ssize_t written = pwrite(file, data, size, (off_t)offset);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return written < 0 ? errno : EIO;
        data += written;
        offset += (uint64_t)written;
        size -= (uint64_t)written;
    }
    return 0;
}

/* Where holes cannot be punched the old contents stay: after a discard they are undefined. */
static int discard_range(int file, uint64_t offset, uint64_t size)
{
    if (fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size) == 0)
        return 0;
    return errno == EOPNOTSUPP ? 0 : errno;
}

int cache_apply_part(const struct cache *cache, const struct cache_entry *entry, uint64_t from, uint64_t size, int file)
{
    if (entry->kind == CACHE_DISCARD)
        return discard_range(file, entry->offset + from, size);
    return write_whole(file, cache_block(cache, entry->first) + from, size, entry->offset + from);
}

int cache_apply(const struct cache *cache, const struct cache_entry *entry, int file)
{
    return cache_apply_part(cache, entry, 0, entry->size, file);
}

/* ---- the crash ------------------------------------------------------------------------------------------------ */

struct crash {
    const struct cache *cache;
    int file;
    enum volatile_crash kind;
    uint64_t random;     /* state of the generator */
    uint64_t kept_share; /* of 256: some crashes keep nearly all, some nearly nothing */
};

/* SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014). */
static uint64_t crash_random(struct crash *crash)
{
    uint64_t z = crash->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Devices are told apart by the name of their cache, without its folder, so that a seed means the same in any folder.
 */
static uint64_t name_hash(const char *path)
{
    const char *slash = strrchr(path, '/');
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (const char *c = slash != NULL ? slash + 1 : path; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    return hash;
}

static bool crash_keeps(struct crash *crash)
{
    return crash_random(crash) % 256 < crash->kept_share;
}

static int apply_some_sectors(struct crash *crash, const struct cache_entry *entry)
{
    int number = 0;
    for (uint64_t from = 0; from < entry->size && number == 0; from += SECTOR)
        if (crash_random(crash) % 2 == 0)
            number = cache_apply_part(crash->cache, entry, from, SECTOR, crash->file);
    return number;
}

/* Whole, its beginning, its end, or any of its sectors. */
static int apply_torn(struct crash *crash, const struct cache_entry *entry)
{
    uint64_t cut = crash_random(crash) % (entry->size / SECTOR + 1) * SECTOR;
    if (entry->kind == CACHE_DISCARD)
        return cache_apply(crash->cache, entry, crash->file);
    switch (crash_random(crash) % 4) {
    case 0:
        return cache_apply(crash->cache, entry, crash->file);
    case 1:
        return cache_apply_part(crash->cache, entry, 0, cut, crash->file);
    case 2:
        return cache_apply_part(crash->cache, entry, cut, entry->size - cut, crash->file);
    default:
        return apply_some_sectors(crash, entry);
    }
}

static int crash_entry(struct crash *crash, const struct cache_entry *entry)
{
    if (entry->kind == CACHE_WRITE_DURABLE || crash->kind == VOLATILE_KEEP_ALL)
        return cache_apply(crash->cache, entry, crash->file);
    if (crash->kind == VOLATILE_DROP_ALL || !crash_keeps(crash))
        return 0;
    if (crash->kind == VOLATILE_SUBSET)
        return cache_apply(crash->cache, entry, crash->file);
    return apply_torn(crash, entry);
}

static int crash_run(struct cache *cache, int file, enum volatile_crash kind, uint64_t seed)
{
    struct crash crash = {.cache = cache, .file = file, .kind = kind, .random = seed};
    crash.kept_share = crash_random(&crash) % 257;
    for (uint64_t i = 0; i < cache_entries(cache); i++) {
        int number = crash_entry(&crash, cache_entry(cache, i));
        if (number != 0)
            return number;
    }
    cache_empty(cache);
    return 0;
}

enum error volatile_crash_apply(const char *path, const char *cache_path, enum volatile_crash kind, uint64_t seed)
{
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return error_from_errno(errno, "open %s", path);
    enum error error;
    struct cache *cache = NULL;
    if (flock(file, LOCK_EX | LOCK_NB) != 0)
        error = error_explain(ERROR_IN_USE, "%s is open: a crash needs its writer gone", path);
    else
        error = cache_open(cache_path, &cache);
    if (error == ERROR_NONE) {
        int number = crash_run(cache, file, kind, seed ^ name_hash(cache_path));
        cache_close(cache);
        if (number != 0)
            error = error_from_errno(number, "apply the cache %s to %s", cache_path, path);
    }
    close(file);
    return error;
}
