/*
 * A device over another file that keeps writes in memory until a flush: what a volatile write cache does at a power
 * loss. The journal of unflushed writes lies in shared memory (an mmap'ed file), so that a test can kill the process
 * that writes and then, from another process, drop all, none, or any subset of what was not flushed, or tear a write
 * at any 512-byte boundary. DEVICE_DURABLE makes only its own write durable.
 */
#ifndef COFFER_ENGINE_DEVICE_VOLATILE_H
#define COFFER_ENGINE_DEVICE_VOLATILE_H

#include "engine/device/device.h"

/* Opens `path` (must exist; not locked by O_EXCL) with its cache in `cache_path`, a file created by
 * volatile_cache_create(). */
enum error device_open_volatile(const char *path, const char *cache_path, struct device **device) CHECKED;
enum error volatile_cache_create(const char *cache_path, uint64_t capacity) CHECKED;

enum volatile_crash { VOLATILE_DROP_ALL, VOLATILE_KEEP_ALL, VOLATILE_SUBSET, VOLATILE_SUBSET_TORN };
/* After the writing process is gone: applies what the crash keeps to `path`, empties the cache. `seed` decides the
 * subset; writes of several devices are decided apart. */
enum error volatile_crash_apply(const char *path, const char *cache_path, enum volatile_crash kind, uint64_t seed) CHECKED;

#endif
