/*
 * CLOCK over an array of blocks, a chained hash over their numbers, in shards that each have a lock: a key belongs to
 * one shard. All memory is taken at creation, but for the block of an insert that finds every candidate pinned: that
 * one is the caller's alone and goes with its last pin.
 *
 * Invariants: a block is in the hash exactly while it is `used`; a pinned block is never evicted or dropped; what was dropped is
 * taken before the hand moves. A crash loses
 * nothing: the cache holds copies.
 */
#include "engine/group/cache.h"

#include <string.h>

#include "base/memory.h"
#include "base/thread.h"

#define CACHE_BLOCK_SIZE 4096
#define CACHE_PROBES_MAX 256 /* blocks that an insert looks at before it takes one that was just used */
#define CACHE_SHARDS 8       /* so that threads that read seldom meet */

struct cache_block {
    struct cache_key key;
    uint32_t next; /* in its chain, of the hash or of what was dropped, number + 1; 0: end */
    uint32_t pins;
    bool used, referenced;
    bool loose;    /* not of the array: freed with its last pin */
    uint8_t *bytes;
};

struct shard {
    struct mutex mutex;
    size_t count;
    uint32_t mask;
    uint32_t hand;
    uint32_t dropped; /* a chain, number + 1 */
    uint32_t *heads;
    struct cache_block *blocks;
    uint8_t *bytes;
};

struct cache {
    struct shard shards[CACHE_SHARDS];
};

static uint64_t key_hash(struct cache_key key)
{
    uint64_t h = key.serial * UINT64_C(0x9e3779b97f4a7c15) ^ ((uint64_t)key.offset << 8 | key.index);
    return (h ^ h >> 29) * UINT64_C(0xff51afd7ed558ccd);
}

static struct shard *shard_of(struct cache *cache, struct cache_key key)
{
    return &cache->shards[key_hash(key) >> 61];
}

static uint32_t *head_of(const struct shard *shard, struct cache_key key)
{
    return &shard->heads[(uint32_t)(key_hash(key) >> 24) & shard->mask];
}

static bool key_equal(struct cache_key a, struct cache_key b)
{
    return a.serial == b.serial && a.offset == b.offset && a.index == b.index;
}

static enum error shard_init(struct shard *shard, size_t count)
{
    uint32_t heads = 1;
    while (heads < count)
        heads *= 2;
    shard->count = count;
    shard->mask = heads - 1;
    shard->heads = memory_zeroed(heads, sizeof *shard->heads);
    shard->blocks = memory_zeroed(count, sizeof *shard->blocks);
    shard->bytes = memory_map_unset(count * CACHE_BLOCK_SIZE);
    mutex_init(&shard->mutex, RANK_CACHE);
    if (!shard->heads || !shard->blocks || !shard->bytes)
        return ERROR_NO_MEMORY;
    for (size_t i = 0; i < count; i++)
        shard->blocks[i].bytes = shard->bytes + i * CACHE_BLOCK_SIZE;
    return ERROR_NONE;
}

static void shard_deinit(struct shard *shard)
{
    if (!shard->count)
        return;
    mutex_deinit(&shard->mutex);
    free(shard->heads);
    free(shard->blocks);
    if (shard->bytes)
        memory_unmap(shard->bytes, shard->count * CACHE_BLOCK_SIZE);
}

enum error cache_create(size_t bytes, struct cache **out)
{
    size_t count = MAX(bytes / (CACHE_BLOCK_SIZE + sizeof(struct cache_block) + 8), CACHE_BLOCKS_MIN);
    struct cache *cache = memory_zeroed(1, sizeof *cache);
    enum error error = cache ? ERROR_NONE : ERROR_NO_MEMORY;
    for (unsigned i = 0; i < CACHE_SHARDS && !error; i++)
        error = shard_init(&cache->shards[i], count / CACHE_SHARDS);
    if (error)
        cache_destroy(cache);
    else
        *out = cache;
    return error;
}

void cache_destroy(struct cache *cache)
{
    for (unsigned i = 0; cache && i < CACHE_SHARDS; i++)
        shard_deinit(&cache->shards[i]);
    free(cache);
}

static struct cache_block *find(struct shard *shard, struct cache_key key) REQUIRES(shard->mutex)
{
    for (uint32_t n = *head_of(shard, key); n; n = shard->blocks[n - 1].next)
        if (key_equal(shard->blocks[n - 1].key, key))
            return &shard->blocks[n - 1];
    return NULL;
}

static void unlink_block(struct shard *shard, struct cache_block *block) REQUIRES(shard->mutex)
{
    uint32_t number = (uint32_t)(block - shard->blocks) + 1;
    uint32_t *link = head_of(shard, block->key);
    while (*link != number)
        link = &shard->blocks[*link - 1].next;
    *link = block->next;
    block->used = false;
}

static struct cache_block *evict(struct shard *shard) REQUIRES(shard->mutex)
{
    if (shard->dropped) {
        struct cache_block *block = &shard->blocks[shard->dropped - 1];
        shard->dropped = block->next;
        return block;
    }
    for (int probes = 0; probes < 2 * CACHE_PROBES_MAX; probes++) {
        struct cache_block *block = &shard->blocks[shard->hand];
        shard->hand = shard->hand + 1 == shard->count ? 0 : shard->hand + 1;
        if (block->pins)
            continue;
        if (block->used && block->referenced && probes < CACHE_PROBES_MAX) {
            block->referenced = false;
            continue;
        }
        if (block->used)
            unlink_block(shard, block);
        return block;
    }
    return NULL;
}

struct cache_block *cache_find(struct cache *cache, struct cache_key key)
{
    struct shard *shard = shard_of(cache, key);
    mutex_lock(&shard->mutex);
    struct cache_block *block = find(shard, key);
    if (block) {
        block->pins++;
        block->referenced = true;
    }
    mutex_unlock(&shard->mutex);
    return block;
}

/* All candidates are pinned: a block of its own, known to nobody else. */
static struct cache_block *loose_make(struct cache_key key, const void *bytes)
{
    struct cache_block *block = memory_zeroed(1, sizeof *block + CACHE_BLOCK_SIZE);
    if (!block)
        return NULL;
    block->key = key;
    block->pins = 1;
    block->loose = true;
    block->bytes = (uint8_t *)(block + 1);
    memcpy(block->bytes, bytes, CACHE_BLOCK_SIZE);
    return block;
}

struct cache_block *cache_insert(struct cache *cache, struct cache_key key, const void *bytes)
{
    struct shard *shard = shard_of(cache, key);
    mutex_lock(&shard->mutex);
    struct cache_block *block = find(shard, key);
    if (!block && (block = evict(shard))) {
        uint32_t *head = head_of(shard, key);
        memcpy(block->bytes, bytes, CACHE_BLOCK_SIZE);
        block->key = key;
        block->used = true;
        block->referenced = false;
        block->next = *head;
        *head = (uint32_t)(block - shard->blocks) + 1;
    }
    if (block)
        block->pins++;
    mutex_unlock(&shard->mutex);
    return block ? block : loose_make(key, bytes);
}

void cache_add(struct cache *cache, struct cache_key key, const void *bytes)
{
    struct cache_block *block = cache_insert(cache, key, bytes);
    if (block)
        cache_unpin(cache, block);
}

void cache_drop(struct cache *cache, struct cache_key key)
{
    struct shard *shard = shard_of(cache, key);
    mutex_lock(&shard->mutex);
    struct cache_block *block = find(shard, key);
    if (block && !block->pins) {
        unlink_block(shard, block);
        block->next = shard->dropped;
        shard->dropped = (uint32_t)(block - shard->blocks) + 1;
    }
    mutex_unlock(&shard->mutex);
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

void cache_forget(struct cache *cache)
{
    for (unsigned i = 0; i < CACHE_SHARDS; i++) {
        struct shard *shard = &cache->shards[i];
        mutex_lock(&shard->mutex);
        for (size_t n = 0; n < shard->count; n++)
            if (shard->blocks[n].used && !shard->blocks[n].pins)
                unlink_block(shard, &shard->blocks[n]);
        mutex_unlock(&shard->mutex);
    }
}

const uint8_t *cache_bytes(const struct cache_block *block) { return block->bytes; }

void cache_unpin(struct cache *cache, struct cache_block *block)
{
    if (block->loose) {
        memory_free_cleansed(block);
        return;
    }
    struct shard *shard = shard_of(cache, block->key);
    mutex_lock(&shard->mutex);
    ASSERT(block->pins > 0);
    block->pins--;
    mutex_unlock(&shard->mutex);
}
