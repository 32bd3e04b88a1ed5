/*
 * The server's payload memory. Blocks are never given back to the kernel while the server runs: fresh pages cost more
 * than the copying of what they hold, and the bound counts them anyway. The block used last is used next, while it is
 * in the processor's cache.
 *
 * `lock` guards the list and the counts and is a leaf; it is not held while memory is allocated. Nothing on disk.
 */
#include "server/nbd/payload.h"

#include "base/memory.h"

struct payload_block {
    struct payload_block *next;
};

void payload_init(struct payload_pool *pool, size_t bytes_max)
{
    *pool = (struct payload_pool){.blocks_max = MAX(bytes_max / PAYLOAD_BLOCK_SIZE, PAYLOAD_BLOCKS_MIN)};
    mutex_init(&pool->lock, RANK_LEAF);
    condition_init(&pool->returned);
}

void payload_deinit(struct payload_pool *pool)
{
    mutex_lock(&pool->lock);
    while (pool->free) {
        struct payload_block *block = pool->free;
        pool->free = block->next;
        free(block);
        pool->blocks--;
    }
    ASSERT(pool->blocks == 0 && !pool->large_taken);
    mutex_unlock(&pool->lock);
    condition_deinit(&pool->returned);
    mutex_deinit(&pool->lock);
}

/* A kept block, or NULL where the caller may allocate one: it is counted already. */
static void *block_take(struct payload_pool *pool)
{
    mutex_lock(&pool->lock);
    while (!pool->free && pool->blocks == pool->blocks_max)
        condition_wait(&pool->returned, &pool->lock);
    struct payload_block *block = pool->free;
    if (block)
        pool->free = block->next;
    else
        pool->blocks++;
    mutex_unlock(&pool->lock);
    return block;
}

static void block_uncount(struct payload_pool *pool)
{
    mutex_lock(&pool->lock);
    pool->blocks--;
    condition_broadcast(&pool->returned);
    mutex_unlock(&pool->lock);
}

static enum error block_get(struct payload_pool *pool, void **payload)
{
    void *block = block_take(pool);
    if (!block)
        block = memory_aligned(PAYLOAD_BLOCK_SIZE);
    if (!block) {
        block_uncount(pool);
        return ERROR_NO_MEMORY;
    }
    *payload = block;
    return ERROR_NONE;
}

static void large_release(struct payload_pool *pool)
{
    mutex_lock(&pool->lock);
    pool->large_taken = false;
    condition_broadcast(&pool->returned);
    mutex_unlock(&pool->lock);
}

static enum error large_get(struct payload_pool *pool, size_t size, void **payload)
{
    mutex_lock(&pool->lock);
    while (pool->large_taken)
        condition_wait(&pool->returned, &pool->lock);
    pool->large_taken = true;
    mutex_unlock(&pool->lock);
    void *large = memory_aligned(ROUND_UP(size, COFFER_BLOCK));
    if (!large) {
        large_release(pool);
        return ERROR_NO_MEMORY;
    }
    *payload = large;
    return ERROR_NONE;
}

enum error payload_get(struct payload_pool *pool, size_t size, void **payload)
{
    return size <= PAYLOAD_BLOCK_SIZE ? block_get(pool, payload) : large_get(pool, size, payload);
}

void payload_put(struct payload_pool *pool, void *payload, size_t size)
{
    if (size > PAYLOAD_BLOCK_SIZE) {
        free(payload);
        large_release(pool);
        return;
    }
    struct payload_block *block = payload;
    mutex_lock(&pool->lock);
    block->next = pool->free;
    pool->free = block;
    condition_broadcast(&pool->returned);
    mutex_unlock(&pool->lock);
}
