/* The model at the beginning: everything reads as zeros. One thread, before any process is forked. */
#include <stdio.h>
#include <sys/mman.h>

#include "tests/crash/content.h"
#include "tests/crash/session.h"

static void settle(struct session *session, struct cell *cells, size_t count, uint64_t hash)
{
    for (size_t i = 0; i < count; i++)
        cell_settle(&cells[i], &session->clock, hash);
}

static void *map_shared(size_t size)
{
    void *start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        fail("no memory for the model");
    return start;
}

struct session *session_make(const struct settings *settings)
{
    static const unsigned char zeros[BLOCK];
    struct session *session = map_shared(sizeof(*session));
    session->settings = *settings;
    if (session->settings.lives_pause == 0)
        session->settings.lives_pause = 4;
    if (session->settings.stripe_blocks == 0)
        session->settings.stripe_blocks = STRIPE_BLOCKS;
    snprintf(session->pool, sizeof(session->pool), "%s/pool", settings->directory);
    if (settings->keep_written)
        session->clock.written = map_shared(WRITTEN_SLOTS * sizeof(*session->clock.written));
    uint64_t block = content_hash(zeros, BLOCK), quarter = content_hash(zeros, QUARTER);
    for (unsigned v = 0; v < VOLUMES; v++) {
        settle(session, (struct cell *)session->volumes[v].stripes, (size_t)WORKERS_MAX * STRIPE_BLOCKS, block);
        settle(session, session->volumes[v].shared, SHARED_BLOCKS, block);
        settle(session, (struct cell *)session->volumes[v].split, (size_t)SPLIT_BLOCKS * QUARTERS, quarter);
    }
    for (unsigned i = 0; i < LIVES; i++)
        settle(session, session->lives[i].cells, LIFE_BLOCKS, block);
    session->grown.blocks_least = session->grown.blocks_most = 1;
    return session;
}
