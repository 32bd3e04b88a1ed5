/*
 * Summaries of segments, gathered from any records: what comes out is small, sorted and disjoint, is taken by the
 * decoder, and covers all that went in, unless it says that it does not.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/group/summary.h"

#define ADDED_MAX 4096

static struct summary_range added[ADDED_MAX];
static size_t added_count;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void note(uint64_t component, uint64_t first, uint64_t end)
{
    if (added_count < ADDED_MAX)
        added[added_count++] = (struct summary_range){component, first, MIN(end, RECORD_BLOCKS_MAX)};
}

static void note_record(const struct record *r)
{
    switch (r->type) {
    case RECORD_WRITE:
        for (unsigned bit = 0; bit < UNIT_CHUNKS_MAX; bit++)
            if (r->mask >> bit & 1)
                note(r->component, r->block + bit, r->block + bit + 1);
        break;
    case RECORD_REFERENCE:
    case RECORD_HOLES:
        note(r->component, r->block, r->block + r->count);
        break;
    case RECORD_COMPONENT:
        note(r->change.id, 0, 0);
        break;
    case RECORD_SUMMARY:
        for (uint64_t i = 0; i < r->count; i++)
            note(r->ranges[i].component, r->ranges[i].first, r->ranges[i].end);
    }
}

/* They are sorted and disjoint: none but the last that begins no later can have it. */
static bool is_covered(const struct record *r, const struct summary_range *range)
{
    uint64_t low = 0, high = r->count;
    while (low < high) {
        const struct summary_range *middle = &r->ranges[(low + high) / 2];
        if (middle->component < range->component ||
            (middle->component == range->component && middle->first <= range->first))
            low = (low + high) / 2 + 1;
        else
            high = (low + high) / 2;
    }
    if (low > 0 && r->ranges[low - 1].component == range->component && range->end <= r->ranges[low - 1].end)
        return true;
    return range->first >= RECORD_BLOCKS_MAX; /* of a record that reaches beyond the last block */
}

static void check(struct summary *summary)
{
    static uint8_t bytes[SUMMARY_FRAME_BYTES_MAX];
    static struct record back;
    struct byte_writer out = {bytes, bytes + sizeof bytes, false};
    uint64_t sequence;
    summary_encode(summary, &out);
    ASSERT(!out.overflow);
    struct byte_reader in = {bytes, out.next, false}, records;
    ASSERT(record_frame_next(&in, &sequence, &records) == ERROR_NONE && in.next == in.end);
    ASSERT(record_decode(&records, &back) == ERROR_NONE && records.next == records.end);
    for (uint64_t i = 1; i < back.count; i++) {
        const struct summary_range *before = &back.ranges[i - 1], *range = &back.ranges[i];
        ASSERT(before->component < range->component ||
               (before->component == range->component && before->end < range->first));
    }
    for (size_t i = 0; i < added_count && !(back.flags & RECORD_SUMMARY_INCOMPLETE); i++)
        ASSERT(is_covered(&back, &added[i]));
}

/* Into frames of at most so many records, so that those of an append are read as well. */
static void frames_run(const uint8_t *data, size_t size)
{
    static struct summary summary;
    static struct record record;
    struct byte_reader in = {data, data + size, false};
    struct frame_format frame = {.sequence = le64_make(1)};
    added_count = 0;
    summary_begin(&summary, 1);
    while (record_decode(&in, &record) == ERROR_NONE)
        note_record(&record);
    size_t whole = 0;
    for (in = (struct byte_reader){data, data + size, false}; record_decode(&in, &record) == ERROR_NONE;)
        whole = (size_t)(in.next - data);
    uint8_t *bytes = malloc(sizeof frame + whole);
    ASSERT(bytes != NULL);
    frame.size = le32_make((uint32_t)whole);
    memcpy(bytes, &frame, sizeof frame);
    memcpy(bytes + sizeof frame, data, whole);
    summary_add_frames(&summary, bytes, sizeof frame + whole);
    free(bytes);
    check(&summary);
}

/* Ranges without records around them: 8 bytes each, so that a small input has more than a summary keeps. */
static void ranges_run(const uint8_t *data, size_t size)
{
    static struct summary summary;
    added_count = 0;
    summary_begin(&summary, 1);
    for (; size >= 4; data += 4, size -= 4) {
        uint64_t component = 1 + data[0] % 4, first = (uint64_t)data[1] << 8 | data[2], end = first + data[3] % 8;
        if (data[0] & 0x80)
            component += first;
        note(component, first, end);
        summary_add(&summary, component, first, end);
    }
    check(&summary);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] & 1)
        ranges_run(data + 1, size - 1);
    else
        frames_run(data + 1, size - 1);
    return 0;
}
