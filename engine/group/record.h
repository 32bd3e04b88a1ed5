/*
 * Records: what a commit did, as replay does it again. A record is a type byte and fields as varints or raw bytes:
 *
 *   WRITE      component, block, mask, flags, offset, length, CID, then the fingerprints (16 bytes each)
 *              a new unit of as many chunks as the mask has bits: bit i says that block + i refers to the next chunk.
 *              offset and length in grains, in the append's own segment; CIDs rise by one from the first. flags: 1 =
 *              compression could not shrink it, 2 = the chunks have no fingerprints (and none follow)
 *   REFERENCE  component, block, count, size, then `size` bytes of runs (entry.h)
 *   HOLES      component, block, count
 *   COMPONENT  id, state, base, birth, object and domain (16 bytes each); birth is the sequence of the record's own
 *              frame; a deletion has base and birth 0
 *   SUMMARY    serial, first and last sequence, flags, count, then component, first block and count of each
 *              what the segment before changed; flags: 1 = not all of it. A count of 0 names the component as such
 */
#ifndef COFFER_ENGINE_GROUP_RECORD_H
#define COFFER_ENGINE_GROUP_RECORD_H

#include "base/varint.h"
#include "dedup/fingerprint.h"
#include "dedup/unit.h"
#include "engine/group/entry.h"
#include "engine/group/recent.h"

#define RECORD_WRITE_BYTES_MAX (1 + 7 * VARINT_BYTES_MAX + UNIT_CHUNKS_MAX * FINGERPRINT_SIZE)
#define RECORD_REFERENCE_BYTES_MAX (1 + 4 * VARINT_BYTES_MAX + 256 * 24)
#define RECORD_SMALL_BYTES_MAX 96

#define RECORD_BLOCKS_MAX (UINT64_C(1) << 35) /* of one component: 128 TiB */
#define SUMMARY_RANGES_MAX 256 /* of a summary record */

enum { RECORD_UNIT_RANDOM = 1, RECORD_UNIT_ANONYMOUS = 2 };
enum { RECORD_SUMMARY_INCOMPLETE = 1 };

struct summary_range { uint64_t component, first, end; }; /* blocks */

struct record {
    enum record_type type;
    uint64_t component, block, count;
    /* WRITE */
    uint32_t mask, offset, length;
    unsigned flags, chunks;
    uint64_t cid;
    struct fingerprint fingerprints[UNIT_CHUNKS_MAX];
    /* REFERENCE */
    struct map_entry entries[256];
    /* COMPONENT */
    struct component_change change;
    /* SUMMARY: `flags`, and of `ranges` there are `count` */
    uint64_t serial, first_sequence, last_sequence;
    struct summary_range ranges[SUMMARY_RANGES_MAX];
};

void record_write_encode(struct byte_writer *out, const struct record *record);
void record_reference_encode(struct byte_writer *out, uint64_t component, uint64_t block, const struct map_entry *entries,
                             size_t count);
void record_holes_encode(struct byte_writer *out, uint64_t component, uint64_t block, uint64_t count);
void record_component_encode(struct byte_writer *out, const struct component_change *change);
void record_summary_encode(struct byte_writer *out, const struct record *record);

/* Takes the next frame of an append: its sequence, and its records as a reader of their own. ERROR_NOT_FOUND at the end,
 * ERROR_CORRUPT where it does not lie within. Safe for any input. */
enum error record_frame_next(struct byte_reader *in, uint64_t *sequence, struct byte_reader *records) CHECKED;
/* Takes the next record; ERROR_NOT_FOUND at the end, ERROR_CORRUPT for anything malformed. Safe for any input. */
enum error record_decode(struct byte_reader *in, struct record *record) CHECKED;

#endif
