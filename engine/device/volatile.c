/*
 * A device with a volatile write cache, for crash tests.
 *
 * Writes and discards go to the cache (volatile_cache.c), reads look there first, a flush moves everything to the file.
 * When the cache is full it is moved early: a real disk may write back whenever it likes. A durable write goes to the
 * cache as well, marked, and survives every crash. The file is never synced: it must outlive the process, not the
 * machine.
 *
 * Invariants: the map holds, for each cached block of the device, the newest place in the cache, or that it was
 * discarded; an empty cache has an empty map. A process killed while it moves the cache leaves some of it in the file,
 * as a disk that loses power inside a flush does; the cache is emptied after the last of it.
 *
 * Locks: volatile_device->lock (RANK_DEVICE), held for a whole operation, file I/O included: order is what this device
 * is about, and its file lies in the page cache. Everything is complete when device_submit() returns.
 */
#include "engine/device/volatile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/thread.h"
#include "engine/device/exclusive.h"
#include "engine/device/kind.h"
#include "engine/device/volatile_cache.h"

#define PLACE_DISCARDED UINT32_MAX
#define MAP_FILL        2 /* slots per block that the map may hold */

struct place {
    uint64_t block;
    uint32_t life; /* the slot is empty where this is not the life of the map */
    uint32_t cached;
};

struct volatile_device {
    struct device device;
    int file;
    struct mutex lock;
    struct cache *cache GUARDED_BY(&lock);
    struct place *places GUARDED_BY(&lock);
    uint64_t slots; /* a power of two */
    uint64_t places_max;
    uint64_t places_used GUARDED_BY(&lock);
    uint32_t life GUARDED_BY(&lock);
};

/* ---- where the newest bytes of a block are -------------------------------------------------------------------- */

static struct place *place_slot(struct volatile_device *device, uint64_t block) REQUIRES(&device->lock);
static struct place *place_slot(struct volatile_device *device, uint64_t block)
{
    uint64_t slot = (block * UINT64_C(0x9e3779b97f4a7c15)) >> 20;
    for (;; slot++) {
        struct place *place = &device->places[slot & (device->slots - 1)];
        if (place->life != device->life || place->block == block)
            return place;
    }
}

static void place_set(struct volatile_device *device, uint64_t block, uint32_t cached) REQUIRES(&device->lock);
static void place_set(struct volatile_device *device, uint64_t block, uint32_t cached)
{
    struct place *place = place_slot(device, block);
    if (place->life != device->life)
        device->places_used++;
    *place = (struct place){.block = block, .life = device->life, .cached = cached};
}

static void places_set(struct volatile_device *device, const struct cache_entry *entry) REQUIRES(&device->lock);
static void places_set(struct volatile_device *device, const struct cache_entry *entry)
{
    for (uint64_t i = 0; i < entry->size / DEVICE_BLOCK; i++)
        place_set(device, entry->offset / DEVICE_BLOCK + i,
                  entry->kind == CACHE_DISCARD ? PLACE_DISCARDED : (uint32_t)(entry->first + i));
}

static void places_empty(struct volatile_device *device) REQUIRES(&device->lock);
static void places_empty(struct volatile_device *device)
{
    device->places_used = 0;
    if (++device->life != 0)
        return;
    memset(device->places, 0, device->slots * sizeof(*device->places));
    device->life = 1;
}

/* ---- operations ----------------------------------------------------------------------------------------------- */

/* Moves the cache to the file; 0 or an errno. */
static int write_back(struct volatile_device *device) REQUIRES(&device->lock);
static int write_back(struct volatile_device *device)
{
    uint64_t count = cache_entries(device->cache);
    for (uint64_t i = 0; i < count; i++) {
        int number = cache_apply(device->cache, cache_entry(device->cache, i), device->file);
        if (number != 0)
            return number;
    }
    cache_empty(device->cache);
    places_empty(device);
    return 0;
}

/* An operation that is larger than the whole cache goes through it in pieces. */
static int change_piece(struct volatile_device *device, struct cache_entry *entry, const void *data)
    REQUIRES(&device->lock);
static int change_piece(struct volatile_device *device, struct cache_entry *entry, const void *data)
{
    bool fits = entry->size / DEVICE_BLOCK <= device->places_max - device->places_used;
    if (!fits || !cache_append(device->cache, entry, data)) {
        int number = write_back(device);
        if (number != 0)
            return number;
        ASSERT(cache_append(device->cache, entry, data));
    }
    places_set(device, entry);
    return 0;
}

static int change(struct volatile_device *device, const struct device_io *io) REQUIRES(&device->lock);
static int change(struct volatile_device *device, const struct device_io *io)
{
    uint64_t kind = CACHE_DISCARD, piece = cache_blocks_max(device->cache) * DEVICE_BLOCK;
    if (io->operation == DEVICE_WRITE)
        kind = (io->flags & DEVICE_DURABLE) != 0 ? CACHE_WRITE_DURABLE : CACHE_WRITE;
    int number = 0;
    for (uint64_t done = 0; done < io->size && number == 0; done += piece) {
        struct cache_entry entry = {.offset = io->offset + done, .size = MIN(io->size - done, piece), .kind = kind};
        number = change_piece(device, &entry, io->buffer != NULL ? (const char *)io->buffer + done : NULL);
    }
    return number;
}

static int read_file(const struct volatile_device *device, const struct device_io *io)
{
    for (size_t done = 0; done < io->size;) {
        ssize_t count = pread(device->file, (char *)io->buffer + done, io->size - done, (off_t)(io->offset + done));
        if (count == 0)
            return ENODATA;
        if (count < 0 && errno != EINTR)
            return errno;
        done += count > 0 ? (size_t)count : 0;
    }
    return 0;
}

static void read_cached_block(struct volatile_device *device, uint64_t block, void *out) REQUIRES(&device->lock);
static void read_cached_block(struct volatile_device *device, uint64_t block, void *out)
{
    const struct place *place = place_slot(device, block);
    if (place->life != device->life)
        return;
    if (place->cached == PLACE_DISCARDED)
        memset(out, 0, DEVICE_BLOCK);
    else
        memcpy(out, cache_block(device->cache, place->cached), DEVICE_BLOCK);
}

static int read_through(struct volatile_device *device, const struct device_io *io) REQUIRES(&device->lock);
static int read_through(struct volatile_device *device, const struct device_io *io)
{
    int number = read_file(device, io);
    if (number != 0 || device->places_used == 0)
        return number;
    for (size_t done = 0; done < io->size; done += DEVICE_BLOCK)
        read_cached_block(device, (io->offset + done) / DEVICE_BLOCK, (char *)io->buffer + done);
    return 0;
}

static void execute(struct device_io *io)
{
    struct volatile_device *device = (struct volatile_device *)io->device;
    int number;
    mutex_lock(&device->lock);
    if (io->operation == DEVICE_READ)
        number = read_through(device, io);
    else if (io->operation == DEVICE_FLUSH)
        number = write_back(device);
    else
        number = change(device, io);
    mutex_unlock(&device->lock);
    if (number != 0 && io->operation != DEVICE_READ)
        device_fence(io, number);
    io_complete(io, number == 0 ? ERROR_NONE : ERROR_IO, number);
}

static void volatile_submit(struct device_io **ios, size_t count)
{
    for (size_t i = 0; i < count; i++)
        execute(ios[i]);
}

/* Only a caller that was never answered would wait here. */
static void volatile_wait(struct device_io *io)
{
    ASSERT(io_is_complete(io));
}

/* ---- opening and closing -------------------------------------------------------------------------------------- */

static void volatile_free(struct volatile_device *device) NO_THREAD_SAFETY_ANALYSIS;
static void volatile_free(struct volatile_device *device)
{
    if (device->cache != NULL)
        cache_close(device->cache);
    if (device->places != NULL)
        memory_unmap(device->places, device->slots * sizeof(*device->places));
    mutex_deinit(&device->lock);
    close(device->file);
    device_deinit(&device->device);
    free(device);
}

/* As a disk does: what is in the cache stays there, for the next open or for a crash. */
static void volatile_close(struct device *device)
{
    volatile_free((struct volatile_device *)device);
}

static const struct device_operations volatile_operations = {
    .kind = "volatile",
    .submit = volatile_submit,
    .wait = volatile_wait,
    .close = volatile_close,
};

/* The places of what an earlier process left in the cache. */
static enum error volatile_fill(struct volatile_device *device, const char *cache_path) NO_THREAD_SAFETY_ANALYSIS;
static enum error volatile_fill(struct volatile_device *device, const char *cache_path)
{
    TRY(cache_open(cache_path, &device->cache));
    device->places_max = 2 * cache_blocks_max(device->cache);
    for (device->slots = 1; device->slots < MAP_FILL * device->places_max;)
        device->slots *= 2;
    device->places = memory_map(device->slots * sizeof(*device->places));
    if (device->places == NULL)
        return ERROR_NO_MEMORY;
    device->life = 1;
    for (uint64_t i = 0; i < cache_entries(device->cache); i++)
        places_set(device, cache_entry(device->cache, i));
    return ERROR_NONE;
}

static enum error volatile_make(const char *path, const struct opened_file *opened, struct volatile_device **device)
{
    struct volatile_device *made = memory_zeroed(1, sizeof(*made));
    if (made == NULL)
        return ERROR_NO_MEMORY;
    uint64_t size = ROUND_DOWN(opened->size, DEVICE_BLOCK);
    enum error error = device_init(&made->device, &volatile_operations, path, size, false);
    if (error != ERROR_NONE) {
        free(made);
        return error;
    }
    mutex_init(&made->lock, RANK_DEVICE);
    made->file = opened->file;
    *device = made;
    return ERROR_NONE;
}

enum error device_open_volatile(const char *path, const char *cache_path, struct device **device)
{
    struct opened_file opened;
    TRY(exclusive_open(path, O_RDWR, &opened));
    struct volatile_device *made;
    enum error error = volatile_make(path, &opened, &made);
    if (error != ERROR_NONE) {
        close(opened.file);
        return error;
    }
    error = volatile_fill(made, cache_path);
    if (error != ERROR_NONE) {
        volatile_free(made);
        return error;
    }
    *device = &made->device;
    return ERROR_NONE;
}
