/* Encoding and decoding of records: pure functions. The decoder checks every field against its range; whether a CID or
 * an offset makes sense where it stands is replay's to say. */
#include "engine/group/record.h"

void record_write_encode(struct byte_writer *out, const struct record *record)
{
    write_byte(out, RECORD_WRITE);
    write_varint(out, record->component);
    write_varint(out, record->block);
    write_varint(out, record->mask);
    write_varint(out, record->flags);
    write_varint(out, record->offset);
    write_varint(out, record->length);
    write_varint(out, record->cid);
    if (!(record->flags & RECORD_UNIT_ANONYMOUS))
        write_bytes(out, record->fingerprints, record->chunks * sizeof record->fingerprints[0]);
}

void record_reference_encode(struct byte_writer *out, uint64_t component, uint64_t block, const struct map_entry *entries,
                             size_t count)
{
    uint8_t runs[256 * 24];
    size_t size = entry_runs_encode(entries, count, runs, sizeof runs);
    ASSERT(size > 0);
    write_byte(out, RECORD_REFERENCE);
    write_varint(out, component);
    write_varint(out, block);
    write_varint(out, count);
    write_varint(out, size);
    write_bytes(out, runs, size);
}

void record_holes_encode(struct byte_writer *out, uint64_t component, uint64_t block, uint64_t count)
{
    write_byte(out, RECORD_HOLES);
    write_varint(out, component);
    write_varint(out, block);
    write_varint(out, count);
}

void record_component_encode(struct byte_writer *out, const struct component_change *change)
{
    write_byte(out, RECORD_COMPONENT);
    write_varint(out, change->id);
    write_varint(out, change->state);
    write_varint(out, change->base);
    write_varint(out, change->birth);
    write_bytes(out, change->object.bytes, sizeof change->object.bytes);
    write_bytes(out, change->domain.bytes, sizeof change->domain.bytes);
}

void record_summary_encode(struct byte_writer *out, const struct record *record)
{
    write_byte(out, RECORD_SUMMARY);
    write_varint(out, record->serial);
    write_varint(out, record->first_sequence);
    write_varint(out, record->last_sequence);
    write_varint(out, record->flags);
    write_varint(out, record->count);
    for (uint64_t i = 0; i < record->count; i++) {
        const struct summary_range *range = &record->ranges[i];
        write_varint(out, range->component);
        write_varint(out, range->first);
        write_varint(out, range->end - range->first);
    }
}

static bool decode_write(struct byte_reader *in, struct record *r)
{
    uint64_t mask, flags, offset, length;
    r->component = read_varint(in);
    r->block = read_varint(in);
    mask = read_varint(in);
    flags = read_varint(in);
    offset = read_varint(in);
    length = read_varint(in);
    r->cid = read_varint(in);
    if (mask == 0 || mask >= 1u << UNIT_CHUNKS_MAX || flags > 3 || offset >= 1u << 27 || length == 0 || length >= 1u << 13)
        return false;
    r->mask = (uint32_t)mask;
    r->flags = (unsigned)flags;
    r->offset = (uint32_t)offset;
    r->length = (uint32_t)length;
    r->chunks = (unsigned)__builtin_popcount(r->mask);
    r->count = 0;
    memset(r->fingerprints, 0, sizeof r->fingerprints);
    if (!(flags & RECORD_UNIT_ANONYMOUS)) {
        const uint8_t *bytes = read_bytes(in, r->chunks * sizeof r->fingerprints[0]);
        if (bytes)
            memcpy(r->fingerprints, bytes, r->chunks * sizeof r->fingerprints[0]);
    }
    return r->component != 0 && r->component <= CID_MAX && r->block < RECORD_BLOCKS_MAX && r->cid != 0 &&
           r->cid <= CID_MAX - (r->chunks - 1);
}

static bool decode_reference(struct byte_reader *in, struct record *r)
{
    r->component = read_varint(in);
    r->block = read_varint(in);
    r->count = read_varint(in);
    uint64_t size = read_varint(in);
    if (r->count == 0 || r->count > 256 || size > sizeof r->entries * 2)
        return false;
    const uint8_t *runs = read_bytes(in, size);
    return runs && r->component != 0 && r->component <= CID_MAX && r->block < RECORD_BLOCKS_MAX &&
           entry_runs_decode(runs, size, r->entries, r->count) == ERROR_NONE;
}

static bool decode_holes(struct byte_reader *in, struct record *r)
{
    r->component = read_varint(in);
    r->block = read_varint(in);
    r->count = read_varint(in);
    return r->component != 0 && r->component <= CID_MAX && r->count > 0 && r->block < RECORD_BLOCKS_MAX &&
           r->count <= RECORD_BLOCKS_MAX - r->block;
}

static bool decode_component(struct byte_reader *in, struct record *r)
{
    r->change.id = read_varint(in);
    uint64_t state = read_varint(in);
    r->change.base = read_varint(in);
    r->change.birth = read_varint(in);
    const uint8_t *object = read_bytes(in, sizeof r->change.object.bytes);
    const uint8_t *domain = read_bytes(in, sizeof r->change.domain.bytes);
    if (!object || !domain)
        return false;
    memcpy(r->change.object.bytes, object, sizeof r->change.object.bytes);
    memcpy(r->change.domain.bytes, domain, sizeof r->change.domain.bytes);
    r->change.state = (uint8_t)state;
    return r->change.id != 0 && r->change.id <= CID_MAX && r->change.base <= CID_MAX &&
           (state == COMPONENT_LIVE || state == COMPONENT_DELETED);
}

static bool decode_summary(struct byte_reader *in, struct record *r)
{
    r->serial = read_varint(in);
    r->first_sequence = read_varint(in);
    r->last_sequence = read_varint(in);
    uint64_t flags = read_varint(in);
    r->count = read_varint(in);
    if (r->serial == 0 || r->serial > SERIAL_MAX || flags > 1 || r->count > SUMMARY_RANGES_MAX)
        return false;
    r->flags = (unsigned)flags;
    for (uint64_t i = 0; i < r->count; i++) {
        struct summary_range *range = &r->ranges[i];
        range->component = read_varint(in);
        range->first = read_varint(in);
        uint64_t count = read_varint(in);
        if (range->component == 0 || range->component > CID_MAX || range->first >= RECORD_BLOCKS_MAX ||
            count > RECORD_BLOCKS_MAX - range->first)
            return false;
        range->end = range->first + count;
    }
    return true;
}

enum error record_frame_next(struct byte_reader *in, uint64_t *sequence, struct byte_reader *records)
{
    struct frame_format frame;
    if (in->next == in->end)
        return ERROR_NOT_FOUND;
    const uint8_t *header = read_bytes(in, sizeof frame);
    if (!header)
        return ERROR_CORRUPT;
    memcpy(&frame, header, sizeof frame);
    const uint8_t *body = read_bytes(in, le32_get(frame.size));
    if (!body)
        return ERROR_CORRUPT;
    *sequence = le64_get(frame.sequence);
    *records = (struct byte_reader){body, body + le32_get(frame.size), false};
    return ERROR_NONE;
}

enum error record_decode(struct byte_reader *in, struct record *record)
{
    if (in->next == in->end)
        return ERROR_NOT_FOUND;
    record->type = read_byte(in);
    bool sound = false;
    switch (record->type) {
    case RECORD_WRITE:
        sound = decode_write(in, record);
        break;
    case RECORD_REFERENCE:
        sound = decode_reference(in, record);
        break;
    case RECORD_HOLES:
        sound = decode_holes(in, record);
        break;
    case RECORD_COMPONENT:
        sound = decode_component(in, record);
        break;
    case RECORD_SUMMARY:
        sound = decode_summary(in, record);
        break;
    }
    return sound && !in->overrun ? ERROR_NONE : ERROR_CORRUPT;
}
