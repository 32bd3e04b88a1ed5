/*
 * Entries, pointers and places, decoded. An entry says which chunk (CID) and where its unit stands; it is enough to
 * read the chunk without any table.
 *
 * The run coder stores a row of entries of consecutive blocks (or CIDs) in a few bytes where neighbours stand together:
 * what a leaf, a page of places and a record of references share. See entry.c for its grammar.
 */
#ifndef COFFER_ENGINE_GROUP_ENTRY_H
#define COFFER_ENGINE_GROUP_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/group/format.h"

#define CID_MAX ((UINT64_C(1) << 40) - 1)
#define ENTRY_COUNT_MAX 16u /* chunks of a unit, as the format has it */
#define SERIAL_MAX ((UINT64_C(1) << 40) - 1)

/* A hole is all zero. */
struct map_entry {
    uint64_t low;  /* CID 40 | serial, low 24 */
    uint64_t high; /* serial, high 16 | offset 27 | length 13 | index 4 | count less one 4 */
};

static inline bool entry_is_hole(struct map_entry e) { return (e.low | e.high) == 0; }
static inline bool entry_equal(struct map_entry a, struct map_entry b) { return a.low == b.low && a.high == b.high; }
static inline uint64_t entry_cid(struct map_entry e) { return e.low & CID_MAX; }
static inline uint64_t entry_serial(struct map_entry e) { return e.low >> 40 | (e.high & 0xffff) << 24; }
static inline uint32_t entry_offset(struct map_entry e) { return (uint32_t)(e.high >> 16 & 0x7ffffff); } /* grains */
static inline uint32_t entry_length(struct map_entry e) { return (uint32_t)(e.high >> 43 & 0x1fff); }    /* grains */
static inline unsigned entry_index(struct map_entry e) { return (unsigned)(e.high >> 56 & 0xf); }
static inline unsigned entry_count(struct map_entry e) { return (unsigned)(e.high >> 60) + 1; }

static inline struct map_entry entry_make(uint64_t cid, uint64_t serial, uint32_t offset, uint32_t length,
                                          unsigned index, unsigned count)
{
    return (struct map_entry){
        .low = cid | serial << 40,
        .high = serial >> 24 | (uint64_t)offset << 16 | (uint64_t)length << 43 | (uint64_t)index << 56 |
                (uint64_t)(count - 1) << 60,
    };
}

/* Compression could not shrink its unit: data that looks encrypted. */
static inline bool entry_is_random(struct map_entry e) { return entry_length(e) * GRAIN_SIZE >= entry_count(e) * BLOCK_SIZE; }
/* Of what is no hole: nothing is 0 that cannot be, and the index is one of the unit. Runs hold no others. */
bool entry_is_sound(struct map_entry entry);
static inline bool entry_same_unit(struct map_entry a, struct map_entry b)
{
    return entry_serial(a) == entry_serial(b) && entry_offset(a) == entry_offset(b);
}

/* In the table of places: unknown, since the page that said it was lost, which stood at `page`. The last of a unit of
 * sixteen in a segment that holds no units. */
static inline struct map_entry entry_place_unknown(uint64_t cid, struct map_entry page)
{
    return entry_make(cid, entry_serial(page), entry_offset(page), entry_length(page), ENTRY_COUNT_MAX - 1,
                      ENTRY_COUNT_MAX);
}

static inline bool entry_place_is_unknown(struct map_entry e)
{
    return entry_count(e) == ENTRY_COUNT_MAX && entry_index(e) == ENTRY_COUNT_MAX - 1;
}

/* A chunk's share of its unit's stored bytes: length / count, the rest on index 0. */
uint32_t entry_share_bytes(struct map_entry entry);

static inline struct map_entry entry_decode(const struct map_entry_format *in)
{
    struct map_entry e;
    memcpy(&e.low, in->bits, 8);
    memcpy(&e.high, in->bits + 8, 8);
    e.low = le64toh(e.low);
    e.high = le64toh(e.high);
    return e;
}
static inline void entry_encode(struct map_entry e, struct map_entry_format *out)
{
    e.low = htole64(e.low);
    e.high = htole64(e.high);
    memcpy(out->bits, &e.low, 8);
    memcpy(out->bits + 8, &e.high, 8);
}

/* Serial 0: none. */
struct place {
    uint64_t serial;
    uint32_t device, slot, offset; /* offset in blocks */
};
struct place place_decode(const struct place_format *in);
void place_encode(const struct place *place, struct place_format *out);
/* Within the largest device of a group of so many; whether that one is as large says the segment table. */
bool place_is_sound(const struct place *place, uint32_t device_count);

struct segment_reference {
    uint64_t serial;
    uint32_t device, slot, key_slot;
    uint64_t salt, birth_salt;
    uint8_t log_key;
};
void segment_reference_decode(const struct segment_reference_format *in, struct segment_reference *out);
void segment_reference_encode(const struct segment_reference *in, struct segment_reference_format *out);

struct node_pointer {
    struct map_entry first;  /* hole: no child */
    uint64_t second_serial;  /* 0: not doubled */
    uint32_t second_offset;  /* grains */
    uint64_t birth;          /* sequence, a multiple of 256 */
};
struct node_pointer pointer_decode(const struct node_pointer_format *in);
void pointer_encode(const struct node_pointer *pointer, struct node_pointer_format *out);
/* The address of the second copy of a map node, which is there: a chunk of its own, with the CID after the first's. */
static inline struct map_entry pointer_second(const struct node_pointer *pointer)
{
    return entry_make(entry_cid(pointer->first) + 1, pointer->second_serial, pointer->second_offset,
                      entry_length(pointer->first), 0, 1);
}

/* Stores `count` (1 to 256) entries as runs; returns the bytes written, or 0 where they do not fit into `capacity`. */
size_t entry_runs_encode(const struct map_entry *entries, size_t count, uint8_t *out, size_t capacity);
/* Exactly `count` entries from exactly `size` bytes, else ERROR_CORRUPT. Safe for any input. */
enum error entry_runs_decode(const uint8_t *in, size_t size, struct map_entry *entries, size_t count) CHECKED;

#endif
