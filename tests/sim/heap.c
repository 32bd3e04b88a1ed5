/*
 * malloc() and its kin for the whole process, in regions that are used again and again.
 *
 * Purpose: an engine takes some sixty mebibytes when a pool is opened. From the kernel they would be faulted in page by
 * page for each of hundreds of thousands of opens; here they are there already. Each episode (episode.c) has a region,
 * begun anew with it: what an engine that lost its power had, is gone without being freed. What belongs to the region of
 * an outer episode is not its to free, and stays.
 *
 * A block has its header before it; blocks that were freed wait on lists by size. Beyond `dirty`, which outlives the
 * episodes, a region has never been used and is zero. No locks: one thread.
 */
#include "tests/sim/heap.h"

#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "base/memory.h"

#define REGION_SIZE  (UINT64_C(2) << 30)
#define HEADER_SIZE  16u
#define SMALL_STEPS  64 /* sizes of 16 bytes each */
#define SMALL_MAX    ((uint64_t)SMALL_STEPS * 16)
#define CLASSES      (SMALL_STEPS + 4 * 32)
#define PAGE         4096
#define HUGE_PAGE    (UINT64_C(2) << 20)
#define MARK         UINT32_C(0x68656170)

struct header {
    uint32_t class, mark;
    uint64_t shift; /* from where the block begins to here */
};
_Static_assert(sizeof(struct header) == HEADER_SIZE, "what follows is aligned like it");

struct region {
    unsigned char *start, *next;
    void *lists[CLASSES]; /* of free blocks; the first bytes of one say the next */
};

static struct region regions[HEAP_LEVELS];
static unsigned level;

static uint64_t *dirty_of(const struct region *region)
{
    return (uint64_t *)(void *)region->start;
}

static struct region *region_now(void)
{
    struct region *region = &regions[level];
    if (region->start != NULL)
        return region;
    unsigned char *start = mmap(NULL, REGION_SIZE + HUGE_PAGE, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED)
        __builtin_trap();
    region->start = (unsigned char *)ROUND_UP((uintptr_t)start, HUGE_PAGE);
    region->next = region->start + PAGE;
    (void)!madvise(region->start, REGION_SIZE, MADV_HUGEPAGE);
    return region;
}

void heap_prepare(void)
{
    unsigned kept = level;
    for (level = 0; level < HEAP_LEVELS; level++)
        region_now();
    level = kept;
}

void heap_enter(unsigned entered)
{
    level = entered;
    struct region *region = region_now();
    region->next = region->start + PAGE;
    memset(region->lists, 0, sizeof(region->lists));
}

void heap_used(unsigned of, void **start, size_t *size)
{
    *start = regions[of].start + PAGE;
    *size = (size_t)(regions[of].next - regions[of].start) - PAGE;
}

bool heap_has(const void *memory)
{
    const unsigned char *at = memory;
    for (unsigned i = 0; i < HEAP_LEVELS; i++)
        if (regions[i].start != NULL && at >= regions[i].start && at < regions[i].start + REGION_SIZE)
            return true;
    return false;
}

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

/* Sixteen bytes apart, then four to a doubling. */
static uint32_t class_of(uint64_t size)
{
    if (size <= SMALL_MAX)
        return (uint32_t)((MAX(size, UINT64_C(1)) + 15) / 16 - 1);
    unsigned shift = 63 - (unsigned)__builtin_clzll(size - 1);
    return SMALL_STEPS + 4 * (shift - 10) + (uint32_t)((size - 1 - (UINT64_C(1) << shift)) >> (shift - 2));
}

static uint64_t class_size(uint32_t class)
{
    if (class < SMALL_STEPS)
        return ((uint64_t)class + 1) * 16;
    uint64_t power = UINT64_C(1) << (10 + (class - SMALL_STEPS) / 4);
    return power + power / 4 * ((class - SMALL_STEPS) % 4 + 1);
}

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

static struct header *header_of(const void *memory)
{
    struct header *header = (struct header *)((uintptr_t)memory - HEADER_SIZE);
    ASSERT(header->mark == MARK);
    return header;
}

static uint64_t usable(const void *memory)
{
    const struct header *header = header_of(memory);
    return class_size(header->class) - header->shift;
}

/* *clean: so many bytes at its end were never used. */
static unsigned char *block_take(uint32_t class, uint64_t *clean)
{
    struct region *region = region_now();
    uint64_t size = HEADER_SIZE + class_size(class);
    *clean = 0;
    if (region->lists[class] != NULL) {
        unsigned char *block = region->lists[class];
        memcpy(&region->lists[class], block + HEADER_SIZE, sizeof(void *));
        return block;
    }
    unsigned char *block = region->next;
    if (size > (uint64_t)(region->start + REGION_SIZE - block))
        return NULL;
    region->next += size;
    uint64_t used = (uint64_t)(block - region->start), end = used + size, *dirty = dirty_of(region);
    *clean = end - MIN(MAX(*dirty, used), end);
    *dirty = MAX(*dirty, end);
    return block;
}

static void *take(uint64_t size, uint64_t alignment, bool zero)
{
    uint64_t clean, room = size + (alignment > HEADER_SIZE ? alignment : 0);
    uint32_t class = room > REGION_SIZE / 2 ? CLASSES : class_of(room);
    unsigned char *block = class == CLASSES ? NULL : block_take(class, &clean);
    if (block == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    unsigned char *memory = (unsigned char *)ROUND_UP((uintptr_t)block + HEADER_SIZE, MAX(alignment, HEADER_SIZE));
    struct header header = {class, MARK, (uint64_t)(memory - block) - HEADER_SIZE};
    memcpy(memory - HEADER_SIZE, &header, HEADER_SIZE);
    uint64_t used = HEADER_SIZE + class_size(class) - clean - (uint64_t)(memory - block);
    if (zero && HEADER_SIZE + class_size(class) - clean > (uint64_t)(memory - block))
        memset(memory, 0, MIN(size, used));
    return memory;
}

void *malloc(size_t size)
{
    return take(size, HEADER_SIZE, false);
}

void *calloc(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return take(bytes, HEADER_SIZE, true);
}

void free(void *memory)
{
    const struct region *now = &regions[level];
    unsigned char *at = memory;
    if (memory == NULL || at < now->start || at >= now->start + REGION_SIZE)
        return;
    struct header *header = header_of(memory);
    uint32_t class = header->class;
    unsigned char *block = at - header->shift - HEADER_SIZE;
    header->mark = 0;
    memcpy(block + HEADER_SIZE, &regions[level].lists[class], sizeof(void *));
    regions[level].lists[class] = block;
}

void *realloc(void *memory, size_t size)
{
    if (memory == NULL)
        return malloc(size);
    uint64_t held = usable(memory);
    if (size <= held && size >= held / 4)
        return memory;
    void *grown = malloc(size);
    if (grown == NULL)
        return NULL;
    memcpy(grown, memory, MIN((uint64_t)size, held));
    free(memory);
    return grown;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return take(size, alignment, false);
}

void *memalign(size_t alignment, size_t size)
{
    return take(size, alignment, false);
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
    *memory = take(size, alignment, false);
    return *memory == NULL ? ENOMEM : 0;
}

size_t malloc_usable_size(void *memory)
{
    return memory == NULL ? 0 : usable(memory);
}

void *heap_pages(size_t size, bool zeroed)
{
    return take(size, PAGE, zeroed);
}
