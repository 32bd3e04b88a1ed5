/*
 * What a segment of the journal changed: its sequences, its components and their ranges of blocks, coalesced so that it
 * always fits into one small record. The first append of the next segment carries it (RECORD_SUMMARY), for the message
 * should the segment be damaged; nothing else depends on it.
 *
 * It is gathered when appends are sealed, outside of the commit section. Locks: the caller's. A crash loses the summary
 * of the segment that was being written; its records are there.
 */
#ifndef COFFER_ENGINE_GROUP_SUMMARY_H
#define COFFER_ENGINE_GROUP_SUMMARY_H

#include "base/varint.h"
#include "engine/group/format.h"
#include "engine/group/record.h"

#define SUMMARY_GATHERED        1024 /* ranges kept before they are coalesced */
/* Of the frame with the record: components have at most 6 bytes as varints, blocks 5, counts 6. */
#define SUMMARY_FRAME_BYTES_MAX (sizeof(struct frame_format) + 64 + SUMMARY_RANGES_MAX * 17)

struct summary {
    uint64_t serial;                        /* of the segment */
    uint64_t first_sequence, last_sequence; /* of its frames; first 0: it has none */
    bool incomplete;                        /* not all ranges are in it */
    size_t count;
    struct summary_range ranges[SUMMARY_GATHERED];
    struct record record; /* the one at hand */
};

void summary_begin(struct summary *summary, uint64_t serial);
/* Blocks `first` to `end` (the same: none, the component as such) of a component. */
void summary_add(struct summary *summary, uint64_t component, uint64_t first, uint64_t end);
/* What a record changes; of another summary, its ranges. */
void summary_add_record(struct summary *summary, const struct record *record);
/* What the frames of an append change, as they were entered. */
void summary_add_frames(struct summary *summary, const void *frames, size_t size);
/* Leaves at most `count` ranges, sorted and disjoint: those of one component that lie nearest become one. Where there
 * are more components than that the last ones go, and it is incomplete. */
void summary_coalesce(struct summary *summary, size_t count);
/* A frame with the record; at most SUMMARY_FRAME_BYTES_MAX bytes. */
void summary_encode(struct summary *summary, struct byte_writer *out);

#endif
