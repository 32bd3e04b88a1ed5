/*
 * Entries, places and pointers between disk and memory, and the run coder.
 *
 * A row of runs is a sequence of operations that must fill exactly the entries asked for from exactly the bytes given:
 *
 *   hole   0x80 | 0x40 where the expected CID moves on by the run's length | length - 1 (0 to 62), or 63 and then
 *          varint(length - 64). CIDs move on in a page of places, where a free CID leaves a hole; in a leaf they do
 * not. unit   count - 1 of the unit (0 to 6), or 7 and then a byte of count - 8 at the end of the operation | 0x08
 * zigzag(CID - expected), else the CID is the one after the last | 0x10  zigzag(serial - last serial), else the serial
 * is the last one | 0x20  zigzag(offset - expected), else the unit begins where the last one ended | 0x40  a byte:
 * index of the first chunk << 4 | run - 1, else the run is the whole unit these in this order, each only where its bit
 * is set; then varint(length in grains), then the count's byte
 *
 * A unit operation stands for `run` entries whose index and CID rise by one. A row begins with CID, serial, offset and
 * length 0. Varints are LEB128; zigzag as in the same. So a unit that was written after its neighbour costs one byte
 * beside its length.
 *
 * Invariant: what the decoder accepts satisfies entry_is_sound(), which the encoder asserts, so nothing goes to a disk
 * that could not be read back. There may be several encodings of one row; no caller compares encoded rows. After a
 * failed decode the entries hold what was decoded before the fault. Pure functions: no locks, no I/O.
 */
#include "engine/group/entry.h"

#include "base/memory.h"

#define OFFSET_LIMIT    (UINT32_C(1) << 27)
#define LENGTH_LIMIT    (UINT32_C(1) << 13)
#define ROW_ENTRIES_MAX 256
#define VARINT_BYTES_MAX 10

#define OPERATION_HOLE   0x80
#define HOLE_CIDS_MOVE   0x40
#define HOLE_LENGTH_LONG 63
#define UNIT_COUNT_LONG  7
#define UNIT_CID         0x08
#define UNIT_SERIAL      0x10
#define UNIT_OFFSET      0x20
#define UNIT_PART        0x40

uint32_t entry_share_bytes(struct map_entry entry)
{
    uint32_t bytes = entry_length(entry) * GRAIN_SIZE;
    unsigned count = entry_count(entry);
    return bytes / count + (entry_index(entry) == 0 ? bytes % count : 0);
}

struct place place_decode(const struct place_format *in)
{
    return (struct place){
        .serial = le40_get(in->serial),
        .device = in->device,
        .slot = le32_get(in->slot),
        .offset = le32_get(in->offset),
    };
}

bool place_is_sound(const struct place *place, uint32_t device_count)
{
    return place->device < device_count && place->slot < SLOTS_MAX && place->offset <= (1u << SEGMENT_SHIFT_MAX) / BLOCK_SIZE;
}

void place_encode(const struct place *place, struct place_format *out)
{
    ASSERT(place->serial <= SERIAL_MAX && place->device <= UINT8_MAX);
    out->slot = le32_make(place->slot);
    out->device = (uint8_t)place->device;
    out->serial = le40_make(place->serial);
    out->offset = le32_make(place->offset);
}

void segment_reference_decode(const struct segment_reference_format *in, struct segment_reference *out)
{
    *out = (struct segment_reference){
        .serial = le40_get(in->serial),
        .device = in->device,
        .slot = le32_get(in->slot),
        .key_slot = le32_get(in->key_slot),
        .salt = le64_get(in->salt),
        .birth_salt = le64_get(in->birth_salt),
        .log_key = in->log_key,
    };
}

void segment_reference_encode(const struct segment_reference *in, struct segment_reference_format *out)
{
    ASSERT(in->serial <= SERIAL_MAX && in->device <= UINT8_MAX);
    out->device = (uint8_t)in->device;
    out->slot = le32_make(in->slot);
    out->serial = le40_make(in->serial);
    out->key_slot = le32_make(in->key_slot);
    out->salt = le64_make(in->salt);
    out->birth_salt = le64_make(in->birth_salt);
    out->log_key = in->log_key;
}

/* The second address: serial in bytes 0 to 4, offset in bytes 5 to 8 below five zero bits. */
struct node_pointer pointer_decode(const struct node_pointer_format *in)
{
    le40 serial;
    le32 offset;
    le64 birth = {{0}};
    memcpy(serial.bytes, in->second, 5);
    memcpy(offset.bytes, in->second + 5, 4);
    memcpy(birth.bytes + 1, in->birth, 7);
    return (struct node_pointer){
        .first = entry_decode(&in->first),
        .second_serial = le40_get(serial),
        .second_offset = le32_get(offset) & (OFFSET_LIMIT - 1),
        .birth = le64_get(birth),
    };
}

void pointer_encode(const struct node_pointer *pointer, struct node_pointer_format *out)
{
    ASSERT(pointer->second_serial <= SERIAL_MAX && pointer->second_offset < OFFSET_LIMIT);
    ASSERT(pointer->birth % 256 == 0);
    le40 serial = le40_make(pointer->second_serial);
    le32 offset = le32_make(pointer->second_offset);
    le64 birth = le64_make(pointer->birth);
    entry_encode(pointer->first, &out->first);
    memcpy(out->second, serial.bytes, 5);
    memcpy(out->second + 5, offset.bytes, 4);
    memcpy(out->birth, birth.bytes + 1, 7);
}

/* ---- the run coder ----------------------------------------------------------------------------------------------- */

/* What both sides know of the entries before. */
struct row {
    uint64_t cid_expected;
    uint64_t serial;
    uint64_t offset_expected;
};

static const struct row row_begin = {.cid_expected = 1};

static void row_advance(struct row *row, struct map_entry first, unsigned run)
{
    row->cid_expected = entry_cid(first) + run;
    row->serial = entry_serial(first);
    row->offset_expected = (uint64_t)entry_offset(first) + entry_length(first);
}

bool entry_is_sound(struct map_entry e)
{
    return entry_cid(e) != 0 && entry_serial(e) != 0 && entry_length(e) != 0 && entry_index(e) < entry_count(e);
}

static struct map_entry entry_successor(struct map_entry e)
{
    return entry_make(entry_cid(e) + 1, entry_serial(e), entry_offset(e), entry_length(e), entry_index(e) + 1,
                      entry_count(e));
}

static uint64_t zigzag(uint64_t difference)
{
    return difference << 1 ^ (uint64_t)((int64_t)difference >> 63);
}

static uint64_t unzigzag(uint64_t n)
{
    return n >> 1 ^ (UINT64_C(0) - (n & 1));
}

/* Bytes on their way out; `full` once something did not fit. */
struct sink {
    uint8_t *next, *end;
    bool full;
};

static void put_byte(struct sink *sink, unsigned byte)
{
    if (sink->next == sink->end) {
        sink->full = true;
        return;
    }
    *sink->next++ = (uint8_t)byte;
}

static void put_varint(struct sink *sink, uint64_t n)
{
    if (sink->end - sink->next >= VARINT_BYTES_MAX) {
        uint8_t *next = sink->next; /* in a register: it is half of what an encoding takes */
        for (; n >= 0x80; n >>= 7)
            *next++ = (uint8_t)(0x80 | n);
        *next++ = (uint8_t)n;
        sink->next = next;
        return;
    }
    for (; n >= 0x80; n >>= 7)
        put_byte(sink, 0x80 | (unsigned)(n & 0x7f));
    put_byte(sink, (unsigned)n);
}

static size_t hole_run(const struct map_entry *entries, size_t count)
{
    size_t run = 1;
    while (run < count && entry_is_hole(entries[run]))
        run++;
    return run;
}

static void put_holes(struct sink *sink, struct row *row, size_t run, const struct map_entry *after)
{
    unsigned control = OPERATION_HOLE;
    if (after != NULL && entry_cid(*after) == row->cid_expected + run) {
        control |= HOLE_CIDS_MOVE;
        row->cid_expected += run;
    }
    put_byte(sink, control | (unsigned)MIN(run - 1, (size_t)HOLE_LENGTH_LONG));
    if (run - 1 >= HOLE_LENGTH_LONG)
        put_varint(sink, run - 1 - HOLE_LENGTH_LONG);
}

static unsigned unit_run(const struct map_entry *entries, size_t count)
{
    unsigned left = entry_count(entries[0]) - entry_index(entries[0]);
    unsigned run = 1;
    while (run < left && run < count && entry_cid(entries[run - 1]) < CID_MAX &&
           entry_equal(entries[run], entry_successor(entries[run - 1])))
        run++;
    return run;
}

static unsigned unit_control(const struct row *row, struct map_entry first, unsigned run)
{
    unsigned control = MIN(entry_count(first) - 1, (unsigned)UNIT_COUNT_LONG);
    if (entry_cid(first) != row->cid_expected)
        control |= UNIT_CID;
    if (entry_serial(first) != row->serial)
        control |= UNIT_SERIAL;
    if (entry_offset(first) != row->offset_expected)
        control |= UNIT_OFFSET;
    if (run != entry_count(first))
        control |= UNIT_PART;
    return control;
}

static void put_unit(struct sink *sink, struct row *row, struct map_entry first, unsigned run)
{
    unsigned control = unit_control(row, first, run);
    put_byte(sink, control);
    if (control & UNIT_CID)
        put_varint(sink, zigzag(entry_cid(first) - row->cid_expected));
    if (control & UNIT_SERIAL)
        put_varint(sink, zigzag(entry_serial(first) - row->serial));
    if (control & UNIT_OFFSET)
        put_varint(sink, zigzag(entry_offset(first) - row->offset_expected));
    if (control & UNIT_PART)
        put_byte(sink, entry_index(first) << 4 | (run - 1));
    put_varint(sink, entry_length(first));
    if ((control & 7) == UNIT_COUNT_LONG)
        put_byte(sink, entry_count(first) - 1 - UNIT_COUNT_LONG);
    row_advance(row, first, run);
}

size_t entry_runs_encode(const struct map_entry *entries, size_t count, uint8_t *out, size_t capacity)
{
    ASSERT(count >= 1 && count <= ROW_ENTRIES_MAX);
    struct sink sink = {.next = out, .end = out + capacity};
    struct row row = row_begin;
    for (size_t i = 0; i < count && !sink.full;) {
        size_t run;
        if (entry_is_hole(entries[i])) {
            run = hole_run(entries + i, count - i);
            put_holes(&sink, &row, run, i + run < count ? &entries[i + run] : NULL);
        } else {
            ASSERT(entry_is_sound(entries[i]));
            run = unit_run(entries + i, count - i);
            put_unit(&sink, &row, entries[i], (unsigned)run);
        }
        i += run;
    }
    return sink.full ? 0 : (size_t)(sink.next - out);
}

/* Bytes on their way in; `short_of` once more was asked for than there is, or a varint was too long. */
struct source {
    const uint8_t *next, *end;
    bool short_of;
};

static unsigned get_byte(struct source *source)
{
    if (source->next == source->end) {
        source->short_of = true;
        return 0;
    }
    return *source->next++;
}

static uint64_t get_varint(struct source *source)
{
    uint64_t n = 0;
    for (unsigned shift = 0; shift < 63; shift += 7) {
        unsigned byte = get_byte(source);
        n |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return n;
    }
    source->short_of = true; /* no field of an entry needs a tenth byte */
    return 0;
}

static bool get_holes(struct source *source, struct row *row, unsigned control, struct map_entry *entries, size_t left,
                      size_t *run)
{
    uint64_t length = (control & 0x3f) + UINT64_C(1);
    if (length > HOLE_LENGTH_LONG)
        length += get_varint(source);
    if (source->short_of || length > left)
        return false;
    if (control & HOLE_CIDS_MOVE)
        row->cid_expected += length;
    memset(entries, 0, length * sizeof *entries);
    *run = length;
    return true;
}

/* What a unit operation says, before its ranges are checked. */
struct unit {
    uint64_t cid, serial, offset, length;
    unsigned index, run, count;
};

static struct unit get_unit_fields(struct source *source, const struct row *row, unsigned control)
{
    struct unit unit = {.cid = row->cid_expected, .serial = row->serial, .offset = row->offset_expected};
    unsigned part = 0;
    if (control & UNIT_CID)
        unit.cid += unzigzag(get_varint(source));
    if (control & UNIT_SERIAL)
        unit.serial += unzigzag(get_varint(source));
    if (control & UNIT_OFFSET)
        unit.offset += unzigzag(get_varint(source));
    if (control & UNIT_PART)
        part = get_byte(source);
    unit.length = get_varint(source);
    unit.count = (control & 7) + 1;
    if (unit.count > UNIT_COUNT_LONG)
        unit.count += get_byte(source);
    unit.index = part >> 4;
    unit.run = control & UNIT_PART ? (part & 0xf) + 1 : unit.count;
    return unit;
}

static bool unit_is_sound(const struct unit *unit, size_t left)
{
    return unit->count <= 16 && unit->run <= left && unit->index + unit->run <= unit->count && unit->cid != 0 &&
           unit->cid <= CID_MAX && CID_MAX - unit->cid >= unit->run - 1 && unit->serial != 0 &&
           unit->serial <= SERIAL_MAX && unit->offset < OFFSET_LIMIT && unit->length != 0 &&
           unit->length < LENGTH_LIMIT;
}

static bool get_unit(struct source *source, struct row *row, unsigned control, struct map_entry *entries, size_t left,
                     size_t *run)
{
    struct unit unit = get_unit_fields(source, row, control);
    if (source->short_of || !unit_is_sound(&unit, left))
        return false;
    for (unsigned i = 0; i < unit.run; i++)
        entries[i] = entry_make(unit.cid + i, unit.serial, (uint32_t)unit.offset, (uint32_t)unit.length, unit.index + i,
                                unit.count);
    row_advance(row, entries[0], unit.run);
    *run = unit.run;
    return true;
}

enum error entry_runs_decode(const uint8_t *in, size_t size, struct map_entry *entries, size_t count)
{
    struct source source = {.next = in, .end = in + size};
    struct row row = row_begin;
    for (size_t i = 0; i < count;) {
        size_t run = 0;
        unsigned control = get_byte(&source);
        bool good = control & OPERATION_HOLE ? get_holes(&source, &row, control, entries + i, count - i, &run)
                                             : get_unit(&source, &row, control, entries + i, count - i, &run);
        if (!good)
            return ERROR_CORRUPT;
        i += run;
    }
    return source.next == source.end ? ERROR_NONE : ERROR_CORRUPT;
}
