/*
 * Memory: sizes are checked for overflow here, once, so that callers may multiply what a disk told them. A size of 0
 * gives memory of its own as well: NULL always means that there was none left. No state, no locks.
 */
#include "base/memory.h"

#include <malloc.h>
#include <string.h>
#include <sys/mman.h>

#define ALIGNMENT      4096
#define HUGE_ALIGNMENT ((size_t)2 << 20)

void *memory_zeroed(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > PTRDIFF_MAX)
        return NULL;
    return calloc(1, MAX(bytes, (size_t)1));
}

void *memory_aligned(size_t size)
{
    if (size > PTRDIFF_MAX - ALIGNMENT)
        return NULL;
    return aligned_alloc(ALIGNMENT, ROUND_UP(MAX(size, (size_t)1), ALIGNMENT));
}

/* Mappings carry no header, so what stands before and behind the aligned part is given back at once. */
static void *map_aligned(size_t size, size_t alignment)
{
    size_t whole = size + alignment;
    uint8_t *start = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED)
        return NULL;
    uint8_t *aligned = (uint8_t *)ROUND_UP((uintptr_t)start, alignment);
    uint8_t *end = aligned + ROUND_UP(size, ALIGNMENT);
    if (aligned > start)
        memory_unmap(start, (size_t)(aligned - start));
    if (start + ROUND_UP(whole, ALIGNMENT) > end)
        memory_unmap(end, (size_t)(start + ROUND_UP(whole, ALIGNMENT) - end));
    return aligned;
}

void *memory_map(size_t size)
{
    if (size > PTRDIFF_MAX / 2)
        return NULL;
    void *start = map_aligned(MAX(size, (size_t)1), size < HUGE_ALIGNMENT ? ALIGNMENT : HUGE_ALIGNMENT);
    /* Advice only: where the kernel has no huge pages the table works all the same. */
    if (start != NULL && size >= HUGE_ALIGNMENT)
        (void)madvise(start, ROUND_DOWN(size, HUGE_ALIGNMENT), MADV_HUGEPAGE);
    return start;
}

void *memory_map_unset(size_t size)
{
    return memory_map(size);
}

void memory_unmap(void *start, size_t size)
{
    if (start == NULL)
        return;
    int result = munmap(start, MAX(size, (size_t)1));
    ASSERT(result == 0);
}

void memory_cleanse(void *start, size_t size)
{
    if (size > 0)
        explicit_bzero(start, size);
}

/* The allocator knows the size; what it rounded up is ours as well. */
void memory_free_cleansed(void *start)
{
    memory_cleanse(start, malloc_usable_size(start));
    free(start);
}

bool memory_is_zero(const void *start, size_t size)
{
    const uint8_t *bytes = start;
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0); /* each is like the one before */
}

int memory_compare_constant_time(const void *a, const void *b, size_t size)
{
    const volatile uint8_t *left = a, *right = b;
    uint8_t difference = 0;
    for (size_t i = 0; i < size; i++)
        difference |= left[i] ^ right[i];
    return difference;
}
