/* Filling a pool with blocks that neither compress nor repeat, up to the end. */
#ifndef COFFER_TESTS_UNIT_FILL_FIXTURE_H
#define COFFER_TESTS_UNIT_FILL_FIXTURE_H

#include "tests/unit/pool_fixture.h"

#define FILL_BLOCKS 64 /* of one request */

/* The content of a block, from its number and a version: noise. */
static inline void noise_fill(uint8_t *bytes, uint64_t seed)
{
    uint64_t x = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
    for (size_t i = 0; i < COFFER_BLOCK; i += sizeof x) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(bytes + i, &x, sizeof x);
    }
}

/* Writes noise to `count` blocks of an open volume, from `block` on, `stride` apart. */
static inline enum error noise_write(struct volume *volume, uint64_t block, uint64_t stride, uint64_t count, uint64_t seed)
{
    static uint8_t bytes[FILL_BLOCKS * COFFER_BLOCK];
    static struct request requests[FILL_BLOCKS];
    size_t n = stride == 1 ? 1 : (size_t)count;
    for (uint64_t i = 0; i < count; i++)
        noise_fill(bytes + i * COFFER_BLOCK, seed + i);
    for (size_t i = 0; i < n; i++)
        requests[i] = (struct request){.type = REQUEST_WRITE,
                                       .offset = (block + i * stride) * COFFER_BLOCK,
                                       .length = stride == 1 ? count * COFFER_BLOCK : COFFER_BLOCK,
                                       .data = bytes + i * COFFER_BLOCK};
    volume_execute(volume, requests, n, fixture_answer, NULL);
    enum error error = ERROR_NONE;
    for (size_t i = 0; i < n && !error; i++)
        error = requests[i].error;
    return error;
}

/* Fresh blocks, `count` at most; tells how many were taken before there was no space. *block is the next. */
static inline uint64_t fill_some(const char *name, uint64_t *block, uint64_t stride, uint64_t count)
{
    struct volume *volume;
    uint64_t done = 0;
    enum error error = ERROR_NONE;
    assert_fine(volume_open(pool, name, false, &volume));
    while (done < count && !error) {
        uint64_t n = MIN(count - done, (uint64_t)FILL_BLOCKS);
        error = noise_write(volume, *block, stride, n, component_of(name) << 40 | *block);
        if (error == ERROR_NO_SPACE)
            break;
        assert_fine(error);
        done += n;
        *block += n * stride;
    }
    volume_close(volume);
    return done;
}

static inline uint64_t fill_until_full(const char *name, uint64_t *block, uint64_t stride)
{
    return fill_some(name, block, stride, UINT64_MAX);
}

#endif
