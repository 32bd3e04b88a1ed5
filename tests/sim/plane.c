/*
 * Planes copy and clear only blocks that hold something, and an heir only those that changed here or there since it was
 * made as its origin is: a branch of the world costs what it changes. One thread.
 */
#include "tests/sim/plane.h"

#include <string.h>
#include <sys/mman.h>

#include "base/memory.h"
#include "tests/sim/world.h"

#define HUGE_PAGE (UINT64_C(2) << 20)

struct plane *plane_create(uint64_t size)
{
    struct plane *plane = world_map(sizeof(*plane));
    unsigned char *start = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED)
        fail("no memory for a device of %llu bytes", (unsigned long long)size);
    ASSERT(size <= PLANE_WORDS * 64 * BLOCK);
    plane->bytes = (unsigned char *)ROUND_UP((uintptr_t)start, HUGE_PAGE);
    plane->size = size;

    return plane;
}

struct plane *plane_heir(struct plane *origin)
{
    struct plane *heir = plane_create(origin->size);
    memcpy(heir->stale, origin->filled, sizeof(heir->stale));
    for (unsigned i = 0; i < PLANE_HEIRS; i++)
        if (origin->heirs[i] == NULL) {
            origin->heirs[i] = heir;
            return heir;
        }
    fail("a plane has too many heirs");
}

/* Calls it for each bit that is set in `bits`, with the offset of the block. */
#define EACH_BLOCK(bits, word, at) \
    for (uint64_t word = 0; word < PLANE_WORDS; word++) \
        for (uint64_t left = (bits), at; left != 0 && (at = (word * 64 + (uint64_t)__builtin_ctzll(left)) * BLOCK, true); \
             left &= left - 1)

static void mark(uint64_t *bits, uint64_t first, uint64_t end)
{
    for (uint64_t word = first / 64; word <= (end - 1) / 64; word++) {
        uint64_t from = word == first / 64 ? first % 64 : 0, to = word == end / 64 ? end % 64 : 64;
        bits[word] |= (to == 64 ? UINT64_MAX : (UINT64_C(1) << to) - 1) & ~((UINT64_C(1) << from) - 1);
    }
}

static void mark_stale(struct plane *plane, uint64_t first, uint64_t end)
{
    mark(plane->stale, first, end);
    for (unsigned i = 0; i < PLANE_HEIRS && plane->heirs[i] != NULL; i++)
        mark(plane->heirs[i]->stale, first, end);
}

static bool is_filled(const struct plane *plane, uint64_t block)
{
    return (plane->filled[block / 64] >> block % 64 & 1) != 0;
}

static void block_follow(struct plane *to, const struct plane *from, uint64_t at)
{
    uint64_t bit = UINT64_C(1) << at / BLOCK % 64;
    if (is_filled(from, at / BLOCK)) {
        memcpy(to->bytes + at, from->bytes + at, BLOCK);
        to->filled[at / BLOCK / 64] |= bit;
    } else if (is_filled(to, at / BLOCK)) {
        memset(to->bytes + at, 0, BLOCK);
        to->filled[at / BLOCK / 64] &= ~bit;
    }
}

void plane_follow(struct plane *heir, const struct plane *origin)
{
    EACH_BLOCK(heir->stale[word], word, at)
        block_follow(heir, origin, at);
    for (unsigned i = 0; i < PLANE_HEIRS && heir->heirs[i] != NULL; i++)
        for (uint64_t word = 0; word < PLANE_WORDS; word++)
            heir->heirs[i]->stale[word] |= heir->stale[word];
    memset(heir->stale, 0, sizeof(heir->stale));
}

void plane_copy(struct plane *to, const struct plane *from)
{
    EACH_BLOCK(to->filled[word] | from->filled[word], word, at) {
        mark_stale(to, at / BLOCK, at / BLOCK + 1);
        block_follow(to, from, at);
    }
}

void plane_touch(struct plane *plane, uint64_t offset, uint64_t size)
{
    uint64_t first = offset / BLOCK, end = ROUND_UP(offset + size, (uint64_t)BLOCK) / BLOCK;
    if (size == 0)
        return;
    mark(plane->filled, first, end);
    mark_stale(plane, first, end);
}

void plane_write(struct plane *plane, uint64_t offset, const void *data, uint64_t size)
{
    plane_touch(plane, offset, size);
    memcpy(plane->bytes + offset, data, size);
}

void plane_fill(struct plane *plane, uint64_t offset, unsigned char byte, uint64_t size)
{
    plane_touch(plane, offset, size);
    memset(plane->bytes + offset, byte, size);
}

void plane_zero(struct plane *plane, uint64_t offset, uint64_t size)
{
    for (uint64_t end = offset + size, part; offset < end; offset += part) {
        part = MIN(BLOCK - offset % BLOCK, end - offset);
        if (!is_filled(plane, offset / BLOCK))
            continue;
        mark_stale(plane, offset / BLOCK, offset / BLOCK + 1);
        memset(plane->bytes + offset, 0, part);
        if (part == BLOCK)
            plane->filled[offset / BLOCK / 64] &= ~(UINT64_C(1) << offset / BLOCK % 64);
    }
}

void plane_take(struct plane *to, const struct plane *from, uint64_t offset, uint64_t size)
{
    for (uint64_t end = offset + size, part; offset < end; offset += part) {
        part = MIN(BLOCK - offset % BLOCK, end - offset);
        if (is_filled(from, offset / BLOCK))
            plane_write(to, offset, from->bytes + offset, part);
        else
            plane_zero(to, offset, part);
    }
}
