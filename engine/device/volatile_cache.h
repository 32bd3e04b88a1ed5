/*
 * The journal of unflushed operations of a volatile device: a file mapped into memory, which outlives the process that
 * writes to it by SIGKILL. Not thread-safe: its device locks.
 */
#ifndef COFFER_ENGINE_DEVICE_VOLATILE_CACHE_H
#define COFFER_ENGINE_DEVICE_VOLATILE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum cache_entry_kind { CACHE_WRITE = 1, CACHE_WRITE_DURABLE, CACHE_DISCARD };

struct cache_entry {
    uint64_t offset; /* bytes on the device */
    uint64_t size;
    uint64_t first; /* of a write: the first of its blocks in the cache */
    uint64_t kind;
};

struct cache;

enum error cache_open(const char *path, struct cache **cache) CHECKED;
void cache_close(struct cache *cache);

uint64_t cache_blocks_max(const struct cache *cache);
uint64_t cache_entries(const struct cache *cache);
const struct cache_entry *cache_entry(const struct cache *cache, uint64_t index);
/* The bytes of a block of the cache. */
unsigned char *cache_block(const struct cache *cache, uint64_t block);

/* Adds an operation at the end, whole or not at all, wherever the process is killed. False where there is no room.
 * `entry->first` is set. */
bool cache_append(struct cache *cache, struct cache_entry *entry, const void *data);
void cache_empty(struct cache *cache);

/* Applies `size` bytes of an entry, `from` bytes into it, to a file; 0 or an errno. */
int cache_apply_part(const struct cache *cache, const struct cache_entry *entry, uint64_t from, uint64_t size,
                     int file);
int cache_apply(const struct cache *cache, const struct cache_entry *entry, int file);

#endif
