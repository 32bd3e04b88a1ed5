/*
 * Latches: a batch with a partial block reads before it writes, so nobody else may change those blocks between its view
 * and its commit. They live in the commit section; a commit that meets another's latch leaves the section and waits.
 */
#include "engine/group/view.h"
#include "engine/pool/batch.h"

/* An object may have got another component meanwhile: it is known by where that stands. */
static bool is_of_same(const struct latch *latch, const struct batch *batch)
{
    return latch->target || batch->target ? latch->target == batch->target : latch->component == batch->component;
}

static bool overlaps(const struct pool *pool, const struct batch *batch, uint64_t first, uint64_t end)
{
    for (const struct latch *latch = pool->latches; latch; latch = latch->next)
        if (latch->owner != batch && is_of_same(latch, batch) && latch->first < end && first < latch->end)
            return true;
    return false;
}

bool latch_conflicts(const struct pool *pool, const struct batch *batch)
{
    if (!pool->latches)
        return false;
    for (size_t i = 0; i < batch->count; i++)
        if (overlaps(pool, batch, batch->blocks[i].block, batch->blocks[i].block + 1))
            return true;
    for (size_t i = 0; i < batch->range_count; i++)
        if (overlaps(pool, batch, batch->ranges[i].first, batch->ranges[i].end))
            return true;
    return false;
}

static void latch_add(struct batch *batch, uint64_t first, uint64_t end)
{
    struct latch *last = batch->latch_count ? &batch->latch[batch->latch_count - 1] : NULL;
    if (last && last->end == first) {
        last->end = end;
        return;
    }
    struct latch *latch = &batch->latch[batch->latch_count++];
    *latch = (struct latch){batch->pool->latches, batch, batch->target, batch->component, first, end};
    batch->pool->latches = latch;
}

void batch_aim(struct batch *batch)
{
    if (batch->target)
        batch->component = atomic_load(batch->target);
}

void latch_take(struct batch *batch)
{
    batch_aim(batch);
    for (size_t i = 0; i < batch->count; i++)
        latch_add(batch, batch->blocks[i].block, batch->blocks[i].block + 1);
    for (size_t i = 0; i < batch->range_count; i++)
        latch_add(batch, batch->ranges[i].first, batch->ranges[i].end);
}

void latch_release(struct batch *batch)
{
    for (size_t i = 0; i < batch->latch_count; i++) {
        struct latch **link = &batch->pool->latches;
        while (*link != &batch->latch[i])
            link = &(*link)->next;
        *link = batch->latch[i].next;
    }
    if (batch->latch_count)
        condition_broadcast(&batch->pool->section.changed);
    batch->latch_count = 0;
}
