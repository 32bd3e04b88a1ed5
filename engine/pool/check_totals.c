/*
 * Sums that the merge keeps up to date by differences, against what was counted: live bytes of segments, statistics of
 * components, totals of the checkpoint record. Where part of the trees could not be read the sums would only repeat
 * that, so they are not compared.
 */
#include "engine/pool/check.h"

#include <inttypes.h>

#include "base/memory.h"

static void segment_compare(struct check *check, uint32_t index)
{
    const struct segments *segments = &check->group->segments;
    const struct segment *segment = &segments->table[index];
    const char *path = check->group->devices[segment_device(segments, index)]->path;
    uint32_t slot = segment_slot(segments, index);
    bool may_be_more = check->live_least[index] || check->live_least_all;
    if (may_be_more ? segment->live < check->live[index] : segment->live != check->live[index])
        check_find(check,
                   "%s: segment %" PRIu64 " in slot %" PRIu32 " counts %" PRIu32 " live bytes, %" PRIu64 " are in it",
                   path, segment->serial, slot, segment->live, check->live[index]);
    if (segment->pages != check->pages[index])
        check_find(check,
                   "%s: segment %" PRIu64 " in slot %" PRIu32 " counts %" PRIu32
                   " bytes of pages of the segment table, %" PRIu64 " are in it",
                   path, segment->serial, slot, segment->pages, check->pages[index]);
}

/* The record names every segment with pages of the segment table, else an open could not begin. */
static void holders_compare(struct check *check)
{
    const struct checkpoint *checkpoint = &check->group->checkpoint;
    const struct segments *segments = &check->group->segments;
    unsigned holders = 0;
    for (uint32_t i = 0; i < segments->count; i++)
        holders += check->pages[i] != 0;
    for (unsigned i = 0; i < checkpoint->table_segment_count; i++) {
        uint32_t index = segment_find(segments, checkpoint->table_segments[i].serial);
        if (index == SEGMENT_NONE || check->pages[index] == 0)
            check_find(check,
                       "checkpoint record: segment %" PRIu64 " is named for pages of the segment table and has none",
                       checkpoint->table_segments[i].serial);
    }
    if (holders != checkpoint->table_segment_count)
        check_find(check, "checkpoint record: it names %u segments with pages of the segment table, there are %u",
                   checkpoint->table_segment_count, holders);
}

static void component_compare(struct check *check, uint32_t index)
{
    const struct check_component *component = &check->components[index];
    uint64_t mapped = le64_get(component->format.mapped), random = le64_get(component->format.random);
    uint64_t stored = le64_get(component->format.stored);
    char name[CHECK_TEXT];
    if (component->incomplete || component->gone ||
        (mapped == component->mapped && random == component->random && stored == component->stored))
        return;
    check_find(check,
               "%s: the component table counts %" PRIu64 " blocks, %" PRIu64 " of them incompressible, %" PRIu64
               " bytes stored; its map has %" PRIu64 ", %" PRIu64 " and %" PRIu64,
               check_component_name(check, index, name), mapped, random, stored, component->mapped, component->random,
               component->stored);
}

static void checkpoint_compare(struct check *check)
{
    const struct checkpoint *checkpoint = &check->group->checkpoint;
    uint64_t mapped = 0;
    for (size_t i = 0; i < check->component_count; i++)
        mapped += check->components[i].blocks;
    if (checkpoint->blocks_mapped != mapped)
        check_find(check, "checkpoint record: it counts %" PRIu64 " mapped blocks, there are %" PRIu64,
                   checkpoint->blocks_mapped, mapped);
    if (checkpoint->chunks_live != check->chunks_live && !check->counts_stuck)
        check_find(check, "checkpoint record: it counts %" PRIu64 " living data chunks, there are %" PRIu64,
                   checkpoint->chunks_live, check->chunks_live);
}

void check_totals(struct check *check)
{
    for (uint32_t i = 0; i < check->component_count; i++)
        component_compare(check, i);
    if (check->unexplained)
        check_find(check,
                   "%" PRIu64 " chunks are counted more often than the readable maps explain: the unreadable parts "
                   "refer to them",
                   check->unexplained);
    if (check->counts_stuck)
        check_find(check, "chunk table, counts: those of %" PRIu64 " chunks stick, since a page of them was lost: what they "
                          "hold is not freed", check->counts_stuck);
    if (check->places_lost)
        check_find(check, "chunk table, places: those of %" PRIu64 " chunks are not known, since a page of them was lost",
                   check->places_lost);
    if (check->maps_incomplete || check->tables_incomplete)
        return;
    for (uint32_t i = 0; i < check->group->segments.count; i++)
        segment_compare(check, i);
    holders_compare(check);
    checkpoint_compare(check);
}
