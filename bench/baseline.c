/*
 * The baseline of an image.
 *
 * Equal blocks are recognised by 128 bits of XXH3, kept in an open-addressed table that doubles when it is half full:
 * 32 bytes a unique block at most. A collision among the blocks of one image would need about 2^64 of them.
 */
#include "bench/baseline.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>
#include <zstd.h>

#include "base/memory.h"

#define BLOCK          4096
#define PIECE          (4 * BLOCK)
#define READ_BYTES     (1u << 20)
#define SEEN_SLOTS_MIN (1u << 16)

struct seen {
    XXH128_hash_t *slots; /* of zero bytes: free */
    uint64_t capacity, count;
};

struct state {
    struct baseline *baseline;
    struct seen seen;
    ZSTD_CCtx *compressor;
    int level;
    size_t filled;
    uint8_t piece[PIECE], out[PIECE];
};

static bool slots_enter(XXH128_hash_t *slots, uint64_t capacity, XXH128_hash_t hash)
{
    static const XXH128_hash_t none;
    uint64_t place = hash.low64 & (capacity - 1);
    while (!XXH128_isEqual(slots[place], none)) {
        if (XXH128_isEqual(slots[place], hash))
            return false;
        place = (place + 1) & (capacity - 1);
    }
    slots[place] = hash;
    return true;
}

static enum error seen_grow(struct seen *seen)
{
    uint64_t capacity = seen->capacity ? 2 * seen->capacity : SEEN_SLOTS_MIN;
    XXH128_hash_t *slots = memory_zeroed(capacity, sizeof *slots);
    if (!slots)
        return ERROR_NO_MEMORY;
    for (uint64_t i = 0; i < seen->capacity; i++)
        if (seen->slots[i].low64 || seen->slots[i].high64)
            (void)slots_enter(slots, capacity, seen->slots[i]);
    free(seen->slots);
    seen->slots = slots;
    seen->capacity = capacity;
    return ERROR_NONE;
}

static void piece_finish(struct state *state)
{
    if (!state->filled)
        return;
    size_t made = ZSTD_compressCCtx(state->compressor, state->out, PIECE, state->piece, state->filled, state->level);
    state->baseline->compressed_bytes += ZSTD_isError(made) ? state->filled : MIN(made, state->filled);
    state->filled = 0;
}

static bool block_is_zero(const uint8_t *block)
{
    return block[0] == 0 && memcmp(block, block + 1, BLOCK - 1) == 0;
}

static enum error block_take(struct state *state, const uint8_t *block)
{
    state->baseline->blocks++;
    if (block_is_zero(block)) {
        state->baseline->zero_blocks++;
        return ERROR_NONE;
    }
    if (2 * state->seen.count >= state->seen.capacity)
        TRY(seen_grow(&state->seen));
    if (!slots_enter(state->seen.slots, state->seen.capacity, XXH3_128bits(block, BLOCK)))
        return ERROR_NONE;
    state->seen.count++;
    state->baseline->unique_blocks++;
    memcpy(state->piece + state->filled, block, BLOCK);
    state->filled += BLOCK;
    if (state->filled == PIECE)
        piece_finish(state);
    return ERROR_NONE;
}

/* A last block that is cut short goes on with zeros, as it does when it is copied to a disk. */
static enum error file_take(struct state *state, int file, const char *path, uint8_t *buffer)
{
    ssize_t got;
    uint64_t offset = 0;
    while ((got = pread(file, buffer, READ_BYTES, (off_t)offset)) > 0) {
        size_t size = ROUND_UP((size_t)got, BLOCK);
        memset(buffer + got, 0, size - (size_t)got);
        for (size_t i = 0; i < size; i += BLOCK)
            TRY(block_take(state, buffer + i));
        offset += (uint64_t)got;
    }
    if (got < 0)
        return error_from_errno(errno, "read %s", path);
    piece_finish(state);
    return ERROR_NONE;
}

enum error baseline_compute(const char *path, int level, struct baseline *baseline)
{
    AUTO_FREE uint8_t *buffer = memory_aligned(READ_BYTES);
    AUTO_FREE struct state *state = memory_zeroed(1, sizeof *state);
    struct baseline found = {0};
    if (!buffer || !state)
        return ERROR_NO_MEMORY;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return error_from_errno(errno, "open %s", path);
    state->baseline = &found;
    state->level = level;
    state->compressor = ZSTD_createCCtx();
    enum error error = state->compressor ? file_take(state, file, path, buffer) : ERROR_NO_MEMORY;
    ZSTD_freeCCtx(state->compressor);
    free(state->seen.slots);
    close(file);
    if (!error)
        *baseline = found;
    return error;
}
