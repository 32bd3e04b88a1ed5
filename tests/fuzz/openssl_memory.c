/*
 * Memory for OpenSSL from lists of what it freed, for targets in which it only seals and hashes: its contexts, a dozen
 * allocations each, cost AddressSanitizer more than what is tested. Not for targets in which OpenSSL parses, and of one thread only.
 */
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define CLASS_SHIFT 4 /* sizes are rounded up to 16 bytes */
#define CLASSES     256

/* What stands before each block: its size, and the next free one of that size while it is free. */
union head {
    struct { size_t size; union head *next; } block;
    max_align_t alignment;
};

static union head *free_blocks[CLASSES];

static void *block_take(size_t size, const char *file, int line)
{
    size_t class = (size + (1 << CLASS_SHIFT) - 1) >> CLASS_SHIFT;
    (void)file, (void)line;
    if (size == 0)
        return NULL;
    union head *head = class < CLASSES ? free_blocks[class] : NULL;
    if (head != NULL)
        free_blocks[class] = head->block.next;
    else if ((head = malloc(sizeof *head + (class << CLASS_SHIFT))) == NULL)
        return NULL;
    head->block.size = class << CLASS_SHIFT;
    head->block.next = NULL;
    return head + 1;
}

static void block_give(void *block, const char *file, int line)
{
    (void)file, (void)line;
    if (block == NULL)
        return;
    union head *head = (union head *)block - 1;
    size_t class = head->block.size >> CLASS_SHIFT;
    if (class >= CLASSES) {
        free(head);
        return;
    }
    head->block.next = free_blocks[class];
    free_blocks[class] = head;
}

static void *block_resize(void *block, size_t size, const char *file, int line)
{
    void *grown = block_take(size, file, line);
    if (block != NULL && grown != NULL)
        memcpy(grown, block, MIN(size, ((union head *)block - 1)->block.size));
    if (grown != NULL || size == 0)
        block_give(block, file, line);
    return grown;
}

/* Before OpenSSL asks for memory the first time. */
__attribute__((constructor)) static void memory_set(void)
{
    ASSERT(CRYPTO_set_mem_functions(block_take, block_resize, block_give) == 1);
}
