/*
 * The arena: mappings of CHUNK_SIZE that are locked, kept out of cores and wiped in a forked child, cut into blocks
 * of fixed size classes (four to a doubling, so that at most a fifth of a block is waste). What is larger than the
 * largest class gets a mapping of its own and gives it back; the scratch memory of scrypt is the one large case.
 *
 * Invariant: every byte behind the header of a free block is zero except the link to the next one, because a block is
 * wiped whole when it is freed and a fresh mapping is zero. So allocation need not clear, and nothing stays behind.
 * Every block begins with a header that tells where it came from, so that memory from before arena_start() is freed
 * as what it is, and a wild or doubled free stops the process.
 *
 * The lock is a plain mutex and not one of base/thread.h: OpenSSL allocates while its callers hold locks of any rank,
 * and nothing is taken or waited for while this one is held. A child of fork() sees zeros instead of the arena: it may
 * exec or _exit, nothing else.
 *
 * What the arena cannot hold are registers. A program that binds its symbols lazily saves vector registers on the stack
 * at the first call of each function, and with them the key that was copied last (seen: half the runs left a KDK
 * there). The build therefore links with -z now; tests/unit/arena_test.c checks it.
 */
#include "crypto/arena.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/memory.h"

#define CHUNK_SIZE     (256u << 10)
#define BLOCK_SMALLEST 32u
#define LINEAR_MAX     128u /* up to here a class every 16 bytes, above four to a doubling */
#define LINEAR_CLASSES ((LINEAR_MAX - BLOCK_SMALLEST) / 16 + 1)
#define LINEAR_SHIFT   7 /* LINEAR_MAX as a power of two */
#define DOUBLINGS      8
#define CLASS_COUNT    (LINEAR_CLASSES + 4 * DOUBLINGS)
#define BLOCK_LARGEST  (LINEAR_MAX << DOUBLINGS)
#define PAGE           4096

enum origin {
    ORIGIN_HEAP = 0x48656170,
    ORIGIN_CLASS = 0x436c6173,
    ORIGIN_MAPPING = 0x4d617070,
    ORIGIN_FREE = 0x46726565
};

struct block {
    uint64_t size;     /* with this header */
    uint32_t origin;   /* also the mark by which a wild pointer is recognised */
    uint32_t unlocked; /* of a mapping: mlock() had failed */
};
_Static_assert(sizeof(struct block) == 16, "data must keep the alignment of malloc");

struct free_block {
    struct block header;
    struct free_block *next;
};
_Static_assert(sizeof(struct free_block) <= BLOCK_SMALLEST, "a free block holds its link");

static pthread_mutex_t arena_lock = PTHREAD_MUTEX_INITIALIZER;
static struct free_block *free_blocks[CLASS_COUNT]; /* these three under arena_lock */
static uint8_t *chunk_next;
static size_t chunk_left;
static _Atomic size_t unlocked_bytes;
static bool arena_started; /* set once, before there is a second thread */

static size_t class_of(size_t size)
{
    if (size <= BLOCK_SMALLEST)
        return 0;
    if (size <= LINEAR_MAX)
        return (size - BLOCK_SMALLEST + 15) / 16;
    unsigned shift = 63 - (unsigned)__builtin_clzll(size - 1);
    size_t quarter = (size - 1 - ((size_t)1 << shift)) >> (shift - 2);
    return LINEAR_CLASSES + 4 * (shift - LINEAR_SHIFT) + quarter;
}

static size_t class_size(size_t class)
{
    if (class < LINEAR_CLASSES)
        return BLOCK_SMALLEST + 16 * class;
    size_t power = (size_t)1 << (LINEAR_SHIFT + (class - LINEAR_CLASSES) / 4);
    return power + power / 4 * ((class - LINEAR_CLASSES) % 4 + 1);
}

/* NULL where the kernel has no memory, or cannot keep it out of cores and children. */
static void *mapping_create(size_t size, bool *locked)
{
    void *start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        return NULL;
    if (madvise(start, size, MADV_DONTDUMP) != 0 || madvise(start, size, MADV_WIPEONFORK) != 0) {
        munmap(start, size);
        return NULL;
    }
    *locked = mlock(start, size) == 0;
    if (!*locked)
        unlocked_bytes += size;
    return start;
}

static void class_give(size_t class, void *memory)
{
    struct free_block *block = memory;
    block->header = (struct block){.size = class_size(class), .origin = ORIGIN_FREE};
    block->next = free_blocks[class];
    free_blocks[class] = block;
}

/* Cuts what is left of the chunk into blocks, so that a new chunk wastes nothing of the old one. */
static void chunk_use_up(void)
{
    while (chunk_left >= BLOCK_SMALLEST) {
        size_t class = class_of(MIN(chunk_left, (size_t)BLOCK_LARGEST));
        if (class_size(class) > chunk_left)
            class --;
        class_give(class, chunk_next);
        chunk_next += class_size(class);
        chunk_left -= class_size(class);
    }
}

static bool chunk_create(void)
{
    bool locked;
    void *start = mapping_create(CHUNK_SIZE, &locked);
    if (start == NULL)
        return false;
    chunk_use_up();
    chunk_next = start;
    chunk_left = CHUNK_SIZE;
    return true;
}

static struct block *class_take(size_t class)
{
    struct free_block *block = free_blocks[class];
    if (block != NULL) {
        free_blocks[class] = block->next;
        block->next = NULL;
        return &block->header;
    }
    size_t size = class_size(class);
    if (chunk_left < size && !chunk_create())
        return NULL;
    struct block *fresh = (struct block *)chunk_next;
    chunk_next += size;
    chunk_left -= size;
    return fresh;
}

static struct block *small_take(size_t size)
{
    size_t class = class_of(size);
    pthread_mutex_lock(&arena_lock);
    struct block *block = class_take(class);
    pthread_mutex_unlock(&arena_lock);
    if (block != NULL)
        *block = (struct block){.size = class_size(class), .origin = ORIGIN_CLASS};
    return block;
}

/* Without the lock: to lock pages takes milliseconds where there are many. */
static struct block *mapping_take(size_t size)
{
    bool locked;
    size_t whole = ROUND_UP(size, PAGE);
    struct block *block = mapping_create(whole, &locked);
    if (block != NULL)
        *block = (struct block){.size = whole, .origin = ORIGIN_MAPPING, .unlocked = !locked};
    return block;
}

static struct block *heap_take(size_t size)
{
    struct block *block = memory_zeroed(1, size);
    if (block != NULL)
        *block = (struct block){.size = size, .origin = ORIGIN_HEAP};
    return block;
}

static void class_return(struct block *block)
{
    size_t class = class_of(block->size);
    pthread_mutex_lock(&arena_lock);
    class_give(class, block);
    pthread_mutex_unlock(&arena_lock);
}

static void mapping_return(struct block *block)
{
    if (block->unlocked)
        unlocked_bytes -= block->size;
    munmap(block, block->size);
}

static struct block *block_of(void *secret)
{
    struct block *block = (struct block *)((uint8_t *)secret - sizeof(struct block));
    ASSERT(block->origin == ORIGIN_HEAP || block->origin == ORIGIN_CLASS || block->origin == ORIGIN_MAPPING);
    return block;
}

void *arena_allocate(size_t size)
{
    if (size == 0 || size > PTRDIFF_MAX - PAGE)
        return NULL;
    size_t whole = size + sizeof(struct block);
    struct block *block = !arena_started           ? heap_take(whole)
                          : whole <= BLOCK_LARGEST ? small_take(whole)
                                                   : mapping_take(whole);
    return block == NULL ? NULL : block + 1;
}

void arena_free(void *secret)
{
    if (secret == NULL)
        return;
    struct block *block = block_of(secret);
    memory_cleanse(block + 1, block->size - sizeof(struct block));
    if (block->origin == ORIGIN_CLASS)
        class_return(block);
    else if (block->origin == ORIGIN_MAPPING)
        mapping_return(block);
    else
        free(block);
}

static void *openssl_allocate(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return arena_allocate(size);
}

static void openssl_free(void *memory, const char *file, int line)
{
    (void)file;
    (void)line;
    arena_free(memory);
}

static void *openssl_reallocate(void *memory, size_t size, const char *file, int line)
{
    if (memory == NULL || size == 0) {
        openssl_free(memory, file, line);
        return openssl_allocate(size, file, line);
    }
    size_t room = block_of(memory)->size - sizeof(struct block);
    if (size <= room)
        return memory;
    void *larger = arena_allocate(size);
    if (larger == NULL)
        return NULL;
    memcpy(larger, memory, room);
    arena_free(memory);
    return larger;
}

static enum error process_hide(void)
{
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return error_from_errno(errno, "forbid core dumps of this process");
    struct rlimit none = {0};
    if (setrlimit(RLIMIT_CORE, &none) != 0)
        return error_from_errno(errno, "set the limit of core dumps");
    return ERROR_NONE;
}

enum error arena_start(void)
{
    ASSERT(!arena_started);
    TRY(process_hide());
    pthread_mutex_lock(&arena_lock);
    bool mapped = chunk_create();
    pthread_mutex_unlock(&arena_lock);
    if (!mapped)
        return error_explain(ERROR_NO_MEMORY, "no memory that can be kept out of core dumps and child processes");
    arena_started = true;
    if (CRYPTO_set_mem_functions(openssl_allocate, openssl_reallocate, openssl_free) == 1)
        return ERROR_NONE;
    return error_explain(ERROR_BUG, "OpenSSL had allocated memory before the arena was started");
}

bool arena_is_locked(void)
{
    return arena_started && unlocked_bytes == 0;
}
