/* Gathering and coalescing of ranges. See summary.h. */
#include "engine/group/summary.h"

#include <stdlib.h>

#include "base/memory.h"
#include "base/order.h"

void summary_begin(struct summary *summary, uint64_t serial)
{
    summary->serial = serial;
    summary->first_sequence = 0;
    summary->incomplete = false;
    summary->count = 0;
}

static bool touches(const struct summary_range *range, uint64_t component, uint64_t first, uint64_t end)
{
    return range->component == component && first <= range->end && end >= range->first;
}

void summary_add(struct summary *summary, uint64_t component, uint64_t first, uint64_t end)
{
    end = MIN(end, RECORD_BLOCKS_MAX);
    struct summary_range *last = summary->count ? &summary->ranges[summary->count - 1] : NULL;
    if (last && touches(last, component, first, end)) {
        last->first = MIN(last->first, first);
        last->end = MAX(last->end, end);
        return;
    }
    if (summary->count == SUMMARY_GATHERED)
        summary_coalesce(summary, SUMMARY_RANGES_MAX);
    summary->ranges[summary->count++] = (struct summary_range){component, first, end};
}

void summary_add_record(struct summary *summary, const struct record *r)
{
    switch (r->type) {
    case RECORD_WRITE:
        summary_add(summary, r->component, r->block, r->block + 32 - (unsigned)__builtin_clz(r->mask));
        break;
    case RECORD_REFERENCE:
    case RECORD_HOLES:
        summary_add(summary, r->component, r->block, r->block + r->count);
        break;
    case RECORD_COMPONENT:
        summary_add(summary, r->change.id, 0, 0);
        break;
    case RECORD_SUMMARY:
        for (uint64_t i = 0; i < r->count; i++)
            summary_add(summary, r->ranges[i].component, r->ranges[i].first, r->ranges[i].end);
        summary->incomplete |= r->flags & RECORD_SUMMARY_INCOMPLETE;
        break;
    }
}

void summary_add_frames(struct summary *summary, const void *frames, size_t size)
{
    struct byte_reader in = {frames, (const uint8_t *)frames + size, false}, records;
    uint64_t sequence;
    enum error error;
    while (!(error = record_frame_next(&in, &sequence, &records))) {
        while ((error = record_decode(&records, &summary->record)) == ERROR_NONE)
            summary_add_record(summary, &summary->record);
        ASSERT(error == ERROR_NOT_FOUND);
        if (!summary->first_sequence)
            summary->first_sequence = sequence;
        summary->last_sequence = sequence;
    }
    ASSERT(error == ERROR_NOT_FOUND);
}

static int range_order(const void *a, const void *b)
{
    const struct summary_range *x = a, *y = b;
    if (x->component != y->component)
        return x->component < y->component ? -1 : 1;
    return x->first < y->first ? -1 : x->first > y->first;
}

/* Of sorted ranges, those of one component with at most `gap` blocks between them become one, but at most `most` times.
 */
static void gaps_close(struct summary *summary, uint64_t gap, size_t most)
{
    size_t kept = 0;
    for (size_t i = 1; i < summary->count; i++) {
        struct summary_range *last = &summary->ranges[kept], *range = &summary->ranges[i];
        if (most && last->component == range->component && range->first <= last->end + gap) {
            last->end = MAX(last->end, range->end);
            most--;
        } else {
            summary->ranges[++kept] = *range;
        }
    }
    summary->count = summary->count ? kept + 1 : 0;
}

/* The largest gap that has to be closed so that `excess` are; of disjoint, sorted ranges. */
static uint64_t gap_of(const struct summary *summary, size_t excess)
{
    uint64_t gaps[SUMMARY_GATHERED];
    size_t count = 0;
    for (size_t i = 1; i < summary->count; i++)
        if (summary->ranges[i].component == summary->ranges[i - 1].component)
            gaps[count++] = summary->ranges[i].first - summary->ranges[i - 1].end;
    qsort(gaps, count, sizeof gaps[0], number_order);
    return count ? gaps[MIN(excess, count) - 1] : 0;
}

void summary_coalesce(struct summary *summary, size_t count)
{
    qsort(summary->ranges, summary->count, sizeof summary->ranges[0], range_order);
    gaps_close(summary, 0, SIZE_MAX);
    if (summary->count <= count)
        return;
    uint64_t gap = gap_of(summary, summary->count - count);
    if (gap)
        gaps_close(summary, gap - 1, SIZE_MAX);
    if (summary->count > count)
        gaps_close(summary, gap, summary->count - count);
    if (summary->count > count) {
        summary->count = count;
        summary->incomplete = true;
    }
}

void summary_encode(struct summary *summary, struct byte_writer *out)
{
    struct record *r = &summary->record;
    summary_coalesce(summary, SUMMARY_RANGES_MAX);
    r->type = RECORD_SUMMARY;
    r->serial = summary->serial;
    r->first_sequence = summary->first_sequence;
    r->last_sequence = summary->last_sequence;
    r->flags = summary->incomplete ? RECORD_SUMMARY_INCOMPLETE : 0;
    r->count = summary->count;
    memcpy(r->ranges, summary->ranges, summary->count * sizeof r->ranges[0]);
    struct frame_format frame = {.sequence = le64_make(summary->last_sequence)};
    uint8_t *begin = out->next;
    write_bytes(out, &frame, sizeof frame);
    record_summary_encode(out, r);
    frame.size = le32_make((uint32_t)(out->next - begin - sizeof frame));
    if (!out->overflow)
        memcpy(begin, &frame, sizeof frame);
}
