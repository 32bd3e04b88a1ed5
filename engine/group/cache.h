/*
 * A cache of 4 KiB blocks keyed by address (serial, grain offset) and index: decoded map nodes and table pages, or
 * chunks of units. An address has one content for ever, so nothing is ever invalidated; a block ages out (CLOCK), or is dropped
 * by who knows that its address is not asked for any more.
 *
 * Locks: its own, inside. A pinned block stays in place until it is unpinned; its bytes are read without the lock.
 */
#ifndef COFFER_ENGINE_GROUP_CACHE_H
#define COFFER_ENGINE_GROUP_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct cache;
struct cache_block;

struct cache_key {
    uint64_t serial;
    uint32_t offset; /* grains */
    uint32_t index;  /* of the chunk in its unit; 0 for nodes and pages */
};

#define CACHE_BLOCKS_MIN 1024

/* `bytes` in all, at least CACHE_BLOCKS_MIN blocks. */
enum error cache_create(size_t bytes, struct cache **cache) CHECKED;
void cache_destroy(struct cache *cache);
/* The block, pinned, or NULL. */
struct cache_block *cache_find(struct cache *cache, struct cache_key key);
/* Enters a copy of 4096 bytes and returns it pinned; where the key is there already, that block. Where every candidate
 * is pinned it is a block of the caller's own. NULL: out of memory. */
struct cache_block *cache_insert(struct cache *cache, struct cache_key key, const void *bytes);
/* The same without a pin. */
void cache_add(struct cache *cache, struct cache_key key, const void *bytes);
/* Drops the block, unless somebody has it pinned: nobody will ask for its address again. Its place is the next one taken. */
void cache_drop(struct cache *cache, struct cache_key key);
/* Copies the block out; false where it is not there. */
bool cache_copy(struct cache *cache, struct cache_key key, void *bytes);
const uint8_t *cache_bytes(const struct cache_block *block);
void cache_unpin(struct cache *cache, struct cache_block *block);

/* Drops all that nobody has pinned: for who wants to see what a device says. */
void cache_forget(struct cache *cache);

#endif
