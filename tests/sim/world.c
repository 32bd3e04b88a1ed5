/*
 * The memory of the world. Each life changes it; of what a branch (branch.c) changes, a copy is kept for each level of
 * episodes, of no more than is in use.
 */
#include "tests/sim/world.h"

#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/crash/versions.h"
#include "tests/sim/appends.h"
#include "tests/sim/episode.h"
#include "tests/sim/heap.h"
#include "tests/sim/keks.h"

struct world *world;

/* Not touched before they are needed. */
static struct kept {
    struct world *world;
    struct session *session;
    unsigned char *data;
} kept[HEAP_LEVELS];

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
    for (unsigned i = 0; i < HEAP_LEVELS; i++)
        kept[i] = (struct kept){world_map(sizeof(struct world)), world_map(sizeof(struct session)), world_map(PENDING_BYTES)};
    uses_begin();
    macs_begin();
    keks_begin();
    appends_begin();
}

static void world_copy(struct world *to, const struct world *from)
{
    memcpy(to, from, offsetof(struct world, pending) + from->pending_count * sizeof(from->pending[0]));
}

static void volume_copy(struct volume_model *to, const struct volume_model *from, const struct settings *settings)
{
    for (unsigned w = 0; w < settings->workers; w++) {
        memcpy(to->stripes[w], from->stripes[w], settings->stripe_blocks * sizeof(from->stripes[w][0]));
        memcpy(to->stripe_contents[w], from->stripe_contents[w], (size_t)settings->stripe_blocks * BLOCK);
    }
    memcpy(to->shared, from->shared, sizeof(from->shared));
    memcpy(to->split, from->split, sizeof(from->split));
    memcpy(to->split_contents, from->split_contents, sizeof(from->split_contents));
    memcpy(to->shared_contents, from->shared_contents, sizeof(from->shared_contents));
}

/* Of most families there are few versions. */
static void families_copy(struct families *to, const struct families *from, unsigned versions)
{
    unsigned changes = atomic_load(&from->changes_count);
    for (unsigned f = 0; f < FAMILIES; f++)
        memcpy(to->versions[f], from->versions[f], versions * sizeof(from->versions[f][0]));
    memcpy(to->changes, from->changes, changes * sizeof(from->changes[0]));
    atomic_store(&to->changes_count, changes);
    to->ages = from->ages;
    memcpy(to->sources, from->sources, sizeof(from->sources));
}

static void session_copy(struct session *to, const struct session *from)
{
    memcpy(to, from, offsetof(struct session, volumes));
    for (unsigned v = 0; v < VOLUMES; v++)
        volume_copy(&to->volumes[v], &from->volumes[v], &from->settings);
    memcpy(to->lives, from->lives, sizeof(from->lives));
    memcpy(to->imports, from->imports, sizeof(from->imports));
    to->scrub = from->scrub;
    to->audit = from->audit;
    to->keys = from->keys;
    to->opened = from->opened;
    families_copy(&to->families, &from->families, family_versions(from));
}

void world_keep(void)
{
    const struct kept *keeps = &kept[episode_level()];
    world_copy(keeps->world, world);
    session_copy(keeps->session, world->session);
}

void world_data_renew(void)
{
    world->data = kept[episode_level()].data;
    world->data_used = 0;
}

void world_give_back(void)
{
    const struct kept *keeps = &kept[episode_level()];
    session_copy(world->session, keeps->session);
    world_copy(world, keeps->world);
}
