/*
 * The memory of the world. The parent makes it, each life changes it, and a branch (branch.c) takes a copy of its own:
 * a mapping of a file becomes a private one at the same place, anonymous memory is copied.
 */
#include "tests/sim/world.h"

#include <string.h>
#include <sys/mman.h>

#include "base/memory.h"

struct world *world;

void *world_map(size_t size)
{
    void *start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED)
        fail("no memory for the world");
    return start;
}

void world_create(void)
{
    world = world_map(sizeof(*world));
    world->data = world_map(PENDING_BYTES);
    uses_begin();
}

static void *map_over(void *start, size_t size, int flags, int file)
{
    void *mapped = mmap(start, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_NORESERVE | flags | (start != NULL ? MAP_FIXED : 0), file, 0);
    if (mapped == MAP_FAILED)
        fail("no memory for a world of one's own");
    return mapped;
}

static void copy_own(void *start, size_t size, size_t used)
{
    void *copy = map_over(NULL, used, MAP_ANONYMOUS, -1);
    memcpy(copy, start, used);
    map_over(start, size, MAP_ANONYMOUS, -1);
    memcpy(start, copy, used);
    munmap(copy, used);
}

void world_make_own(void)
{
    copy_own(world->data, PENDING_BYTES, ROUND_UP(world->data_used + 1, (uint64_t)BLOCK));
    copy_own(world->session, ROUND_UP(sizeof(*world->session), BLOCK), ROUND_UP(sizeof(*world->session), BLOCK));
    if (world->session->clock.written != NULL)
        copy_own(world->session->clock.written, WRITTEN_SLOTS * sizeof(uint64_t), WRITTEN_SLOTS * sizeof(uint64_t));
    copy_own(world, ROUND_UP(sizeof(*world), BLOCK), ROUND_UP(sizeof(*world), BLOCK));
    for (unsigned i = 0; i < world->images_count; i++) {
        map_over(world->images[i].current, world->images[i].size, 0, world->images[i].current_file);
        map_over(world->images[i].durable, world->images[i].size, 0, world->images[i].durable_file);
    }
    world->own = true;
}

void world_map_own(void *start, size_t size)
{
    map_over(start, size, MAP_ANONYMOUS, -1);
}
