/*
 * One large block that is kept (tests/fuzz/CMakeLists.txt, WRAP): AddressSanitizer maps blocks above 128 KiB anew each time, of
 * which each page comes from the kernel when it is touched, which cost more than what was tested. Between two uses its begin
 * and its end are poisoned, so that who holds on to it is found. Of one thread only.
 */
#include <sanitizer/asan_interface.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define KEPT_MIN  ((size_t)128 << 10)
#define GUARD     ((size_t)4096) /* of the block's begin, and behind its end */

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void __real_free(void *block);
void __wrap_free(void *block);
void *__real_memory_zeroed(size_t count, size_t size);
void *__wrap_memory_zeroed(size_t count, size_t size);

static struct { uint8_t *block; size_t size; bool used; } kept;

void *__wrap_malloc(size_t size)
{
    if (size < KEPT_MIN || kept.used || (kept.block != NULL && kept.size != size))
        return __real_malloc(size);
    if (kept.block == NULL && (kept.block = __real_malloc(size + GUARD)) == NULL)
        return NULL;
    kept.size = size;
    kept.used = true;
    ASAN_UNPOISON_MEMORY_REGION(kept.block, GUARD);
    ASAN_POISON_MEMORY_REGION(kept.block + ROUND_UP(size, 8), GUARD - 8);
    return kept.block;
}

void __wrap_free(void *block)
{
    if (block == NULL || block != kept.block) {
        __real_free(block);
        return;
    }
    ASSERT(kept.used);
    kept.used = false;
    ASAN_POISON_MEMORY_REGION(kept.block, GUARD);
}

void *__wrap_memory_zeroed(size_t count, size_t size)
{
    if (count != 1 || size < KEPT_MIN)
        return __real_memory_zeroed(count, size);
    void *block = __wrap_malloc(size);
    return block == NULL ? NULL : memset(block, 0, size);
}
