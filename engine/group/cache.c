/*
 * CLOCK over an array of blocks, a chained hash over their numbers. All memory is taken at creation.
 *
 * Invariants: a block is in the hash exactly while it is `used`; a pinned block is never evicted. A crash loses
 * nothing: the cache holds copies.
 */
#include "engine/group/cache.h"

#include <string.h>

#include "base/memory.h"
#include "base/thread.h"

#define CACHE_BLOCK_SIZE 4096
#define CACHE_PROBES_MAX 256 /* blocks that an insert looks at before it takes one that was just used */

struct cache_block {
    struct cache_key key;
    uint32_t next; /* in the hash chain, number + 1; 0: end */
    uint32_t pins;
    bool used, referenced;
    uint8_t *bytes;
};

struct cache {
    struct mutex mutex;
    size_t count;
    uint32_t mask;
    uint32_t hand;
    uint32_t *heads;
    struct cache_block *blocks;
    uint8_t *bytes;
};

static uint32_t key_hash(const struct cache *cache, struct cache_key key)
{
    uint64_t h = key.serial * UINT64_C(0x9e3779b97f4a7c15) ^ ((uint64_t)key.offset << 8 | key.index);
    h *= UINT64_C(0xff51afd7ed558ccd);
    return (uint32_t)(h >> 32) & cache->mask;
}

static bool key_equal(struct cache_key a, struct cache_key b)
{
    return a.serial == b.serial && a.offset == b.offset && a.index == b.index;
}

enum error cache_create(size_t bytes, struct cache **out)
{
    size_t count = MAX(bytes / (CACHE_BLOCK_SIZE + sizeof(struct cache_block) + 8), CACHE_BLOCKS_MIN);
    struct cache *cache = memory_zeroed(1, sizeof *cache);
    if (!cache)
        return ERROR_NO_MEMORY;
    uint32_t heads = 1;
    while (heads < count)
        heads *= 2;
    cache->count = count;
    cache->mask = heads - 1;
    cache->heads = memory_zeroed(heads, sizeof *cache->heads);
    cache->blocks = memory_zeroed(count, sizeof *cache->blocks);
    cache->bytes = memory_map(count * CACHE_BLOCK_SIZE);
    mutex_init(&cache->mutex, RANK_CACHE);
    if (!cache->heads || !cache->blocks || !cache->bytes) {
        cache_destroy(cache);
        return ERROR_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++)
        cache->blocks[i].bytes = cache->bytes + i * CACHE_BLOCK_SIZE;
    *out = cache;
    return ERROR_NONE;
}

void cache_destroy(struct cache *cache)
{
    if (!cache)
        return;
    mutex_deinit(&cache->mutex);
    free(cache->heads);
    free(cache->blocks);
    if (cache->bytes)
        memory_unmap(cache->bytes, cache->count * CACHE_BLOCK_SIZE);
    free(cache);
}

static struct cache_block *find(struct cache *cache, struct cache_key key) REQUIRES(cache->mutex)
{
    for (uint32_t n = cache->heads[key_hash(cache, key)]; n; n = cache->blocks[n - 1].next)
        if (key_equal(cache->blocks[n - 1].key, key))
            return &cache->blocks[n - 1];
    return NULL;
}

static void unlink_block(struct cache *cache, struct cache_block *block) REQUIRES(cache->mutex)
{
    uint32_t number = (uint32_t)(block - cache->blocks) + 1;
    uint32_t *link = &cache->heads[key_hash(cache, block->key)];
    while (*link != number)
        link = &cache->blocks[*link - 1].next;
    *link = block->next;
    block->used = false;
}

/* After CACHE_PROBES_MAX the first one that was just used has to go; NULL only where all are pinned. */
static struct cache_block *evict(struct cache *cache) REQUIRES(cache->mutex)
{
    struct cache_block *candidate = NULL;
    for (size_t probes = 0; probes < cache->count && (!candidate || probes < CACHE_PROBES_MAX); probes++) {
        struct cache_block *block = &cache->blocks[cache->hand];
        cache->hand = cache->hand + 1 == cache->count ? 0 : cache->hand + 1;
        if (block->pins)
            continue;
        if (!block->used || !block->referenced) {
            candidate = block;
            break;
        }
        block->referenced = false;
        if (!candidate)
            candidate = block;
    }
    if (candidate && candidate->used)
        unlink_block(cache, candidate);
    return candidate;
}

struct cache_block *cache_find(struct cache *cache, struct cache_key key)
{
    mutex_lock(&cache->mutex);
    struct cache_block *block = find(cache, key);
    if (block) {
        block->pins++;
        block->referenced = true;
    }
    mutex_unlock(&cache->mutex);
    return block;
}

struct cache_block *cache_insert(struct cache *cache, struct cache_key key, const void *bytes)
{
    mutex_lock(&cache->mutex);
    struct cache_block *block = find(cache, key);
    if (!block && (block = evict(cache))) {
        uint32_t *head = &cache->heads[key_hash(cache, key)];
        memcpy(block->bytes, bytes, CACHE_BLOCK_SIZE);
        block->key = key;
        block->used = true;
        block->referenced = false;
        block->next = *head;
        *head = (uint32_t)(block - cache->blocks) + 1;
    }
    if (block)
        block->pins++;
    mutex_unlock(&cache->mutex);
    return block;
}

void cache_add(struct cache *cache, struct cache_key key, const void *bytes)
{
    struct cache_block *block = cache_insert(cache, key, bytes);
    if (block)
        cache_unpin(cache, block);
}

bool cache_copy(struct cache *cache, struct cache_key key, void *bytes)
{
    struct cache_block *block = cache_find(cache, key);
    if (!block)
        return false;
    memcpy(bytes, block->bytes, CACHE_BLOCK_SIZE);
    cache_unpin(cache, block);
    return true;
}

const uint8_t *cache_bytes(const struct cache_block *block) { return block->bytes; }

void cache_unpin(struct cache *cache, struct cache_block *block)
{
    mutex_lock(&cache->mutex);
    ASSERT(block->pins > 0);
    block->pins--;
    mutex_unlock(&cache->mutex);
}
