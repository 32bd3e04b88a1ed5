/*
 * Segments: the table of all slots of a group in memory, serial -> slot, states, live bytes, keys.
 *
 * A slot is FREE, RESERVED (named as the successor of a journal segment), OPEN (a log writes it), SEALED, or FREEING
 * (the published checkpoint does not name it any more; views, discard or wipe still do). A serial is given when a slot
 * is reserved or opened, from a lease, and never again. Most have space below them first: a full file system uses up none.
 *
 * A segment sealed while generation g of the recent table was active (or merged) is covered once freeze g is
 * published: every birth in it is in the chunk table and replay needs it no more. Only covered segments become victims.
 *
 * A slot that re-encryption took (reencrypt.h), or that a log asks space for, has no serial yet, one that re-encryption
 * left has none any more: no look-up finds it.
 *
 * Locks: all of it under the group's lock, but segment_keys_get()/put(), which have a lock of their own.
 */
#ifndef COFFER_ENGINE_GROUP_SEGMENT_H
#define COFFER_ENGINE_GROUP_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/thread.h"
#include "crypto/bulk.h"
#include "engine/group/entry.h"
#include "engine/group/format.h"

struct group;

enum slot_state { SLOT_FREE, SLOT_RESERVED, SLOT_OPEN, SLOT_SEALED, SLOT_FREEING };

#define SERIAL_LEASE 65536u
#define SEGMENT_NONE UINT32_MAX

struct segment {
    uint64_t serial, salt, birth_salt;
    uint64_t generation; /* at which it was sealed */
    uint64_t order;      /* as serials are, without the leaps between them: see segments_order() */
    uint32_t live;       /* bytes, as of the last publish and the merge that runs */
    uint32_t key_slot;
    uint32_t next;       /* in the chain of its serial's hash, index + 1 */
    uint32_t pages;      /* bytes of pages of the segment table itself, which that table does not count */
    uint8_t kind, state, log_key;
    bool victim;         /* emptied by the merge that runs, or empty; nothing may refer to what is in it */
    bool stuck;          /* the cleaner could not empty it, and does not try again before the next open */
    bool settled;        /* nothing in it can be compressed harder (recompress.c) */
    bool allocated;      /* the device below has space for it; kept while the slot is free */
};

struct segments {
    uint32_t device_count, segment_shift;
    uint32_t slot_count[64];
    uint32_t slot_first[64];  /* index of a device's slot 0 */
    uint32_t count;           /* slots of all devices */
    uint32_t free_count[64], free_total;
    uint32_t free_allocated; /* of them, with space below */
    uint32_t free_allocated_of[64];
    uint64_t full;           /* devices, a bit for each, that may have no space below: see segments_set_full() */
    uint32_t cursor[64];
    uint64_t live_total; /* bytes, of all segments */
    uint64_t kept_total; /* bytes that are not alive, of stuck segments: nobody gains them before the next open */
    uint64_t serial_next, serial_lease;
    uint64_t order_next;
    struct segment *table;
    uint32_t *heads;
    uint32_t mask;
    uint8_t *dirty;           /* by page of 128 entries of TABLE_SEGMENTS, see segment_page_of() */
    uint32_t pages_of_device;
};

enum error segments_init(struct segments *segments, uint32_t device_count, const uint32_t *slot_counts,
                         uint32_t segment_shift) CHECKED;
void segments_deinit(struct segments *segments);

static inline uint64_t segment_size(const struct segments *s) { return UINT64_C(1) << s->segment_shift; }
static inline uint32_t segment_blocks(const struct segments *s) { return 1u << (s->segment_shift - 12); }
/* Units stand in these, nodes and pages in the others. */
static inline bool segment_has_units(const struct segment *segment)
{
    return segment->kind == SEGMENT_JOURNAL || segment->kind == SEGMENT_COLD;
}

/* Takes a free slot of a device that is not in `avoid` (a bit for each) where there is one, the device with the
 * most free slots first; gives it a serial; the caller sets its key slot. SEGMENT_NONE where nothing is free or the lease is
 * used up. */
uint32_t segment_take(struct segments *segments, enum segment_kind kind, enum slot_state state, uint64_t avoid);
/* The same in two steps: a slot that nobody may find by a serial yet, RESERVED, which segment_free() gives back; its serial.
 * False: the lease is used up. */
uint32_t segment_take_unnamed(struct segments *segments, uint64_t avoid);
bool segment_name(struct segments *segments, uint32_t index, enum segment_kind kind) CHECKED;
/* Whether a slot is free, and there is a serial for it. */
bool segments_have_next(const struct segments *segments);
/* The devices (a bit for each) that the journal keeps off in the segment behind one on `device`: that one, so that devices take
 * turns, and all that have less free than a fair part of what the group has, where others have more. So a small device is
 * not full before the group is, and others have their turns at it until then. */
uint64_t segments_turn(const struct segments *segments, uint32_t device);
/* At an open, before the first is taken: gives all that are there their order. */
enum error segments_order(struct segments *segments) CHECKED;
/* New salts, just before the header is written: a virtual machine that is set back in between draws others. */
void segment_salts_draw(struct segments *segments, uint32_t index);
/* Enters a slot as a table or a header says it is. ERROR_CORRUPT where the slot or serial is taken otherwise. */
enum error segment_adopt(struct segments *segments, uint32_t device, uint32_t slot, const struct segment *segment) CHECKED;
/* `allocated`: the device below still has space for it (it was not discarded). */
void segment_free(struct segments *segments, uint32_t index, bool allocated);
/* Likewise one of a certain device. SEGMENT_NONE. */
uint32_t segment_take_slot(struct segments *segments, uint32_t device);
/* Likewise this very one, which is FREE. */
void segment_take_free(struct segments *segments, uint32_t index);
/* The segment in slot `from` lies in slot `to` from now on, which segment_take_slot() gave, under another salt and key slot.
 * `from` is FREEING: whoever found it there before may still read it. */
void segment_move(struct segments *segments, uint32_t from, uint32_t to, uint64_t salt, uint32_t key_slot);
/* Whether it is free and not known to have space below. */
bool segment_lacks_space(const struct segments *segments, uint32_t index);
/* The first of a run of free slots without space below that stand side by side on a device that is not in `avoid`, at most
 * `count_max` of them, or SEGMENT_NONE; and what is to be said when one has got some. */
uint32_t segment_unallocated(const struct segments *segments, uint64_t avoid, uint32_t count_max, uint32_t *count);
void segment_set_allocated(struct segments *segments, uint32_t index);
/* A device was asked for space below, and has none, or has some. Devices often share a file system: with the first that has
 * none all others are taken for full until they say otherwise. *first: it was not taken for full. */
void segments_set_full(struct segments *segments, uint32_t device, bool *first);
void segments_set_roomy(struct segments *segments, uint32_t device);
/* Free segments that can be written, as far as is known: on devices that are full those that have space below. */
uint32_t segments_writable(const struct segments *segments);
/* SEGMENT_NONE: gone. */
uint32_t segment_find(const struct segments *segments, uint64_t serial);
/* Whether it is gone, or only kept for older views. */
bool segment_is_left(const struct segments *segments, uint64_t serial);
/* ERROR_CORRUPT where the sum is impossible: what is on the disks contradicts itself. */
enum error segment_live_add(struct segments *segments, uint32_t index, int64_t bytes) CHECKED;
/* Sets what a table, or a repair, says. */
void segment_live_set(struct segments *segments, uint32_t index, uint32_t live);
/* It cannot be emptied. */
void segment_stick(struct segments *segments, uint32_t index);
/* Live bytes in segments of a kind. Walks the table. */
uint64_t segments_live(const struct segments *segments, enum segment_kind kind);
void segment_dirty(struct segments *segments, uint32_t index);

uint32_t segment_device(const struct segments *segments, uint32_t index);
uint32_t segment_slot(const struct segments *segments, uint32_t index);
/* Byte offset of the segment on its device. */
uint64_t segment_offset(const struct segments *segments, uint32_t index);

void segment_entry_encode(const struct segment *segment, struct segment_entry_format *out);
/* False where it is free (all zero). ERROR_CORRUPT for impossible fields through *sound. */
bool segment_entry_decode(const struct segment_entry_format *in, struct segment *segment, bool *sound);

/* Keys of a segment, derived on demand and cached by (serial, salt, birth salt); put each get. */
struct segment_key_cache;
enum error segment_key_cache_create(size_t entries, struct segment_key_cache **cache) CHECKED;
void segment_key_cache_destroy(struct segment_key_cache *cache);
struct segment_identity {
    uint32_t device; /* index */
    uint64_t serial, salt, birth_salt;
    uint32_t key_slot;
    uint8_t log_key;
};
enum error segment_keys_get(struct group *group, const struct segment_identity *identity,
                            const struct segment_keys **keys) CHECKED;
void segment_keys_put(struct group *group, const struct segment_keys *keys);
/* Empties the cache. */
void segment_keys_forget(struct group *group);
struct segment_identity segment_identity(const struct segments *segments, uint32_t index);
bool segment_identity_equal(const struct segment_identity *a, const struct segment_identity *b);

/* Makes the header block of a segment / writes it (through the device, waits) / reads and authenticates one. */
struct segment_header {
    struct segment segment;
    uint32_t device, slot;
    struct place predecessor, successor;
};
enum error segment_header_encode(struct group *group, const struct segment_header *header,
                                 struct segment_format *block) CHECKED;
enum error segment_header_write(struct group *group, const struct segment_header *header) CHECKED;
/* ERROR_NOT_FOUND: no header of this pool's life there (unreadable magic, other serial than asked where serial != 0,
 * bad MAC, numbers out of range); ERROR_IO: the device could not read. */
enum error segment_header_read(struct group *group, uint32_t device, uint32_t slot, uint64_t serial,
                               struct segment_header *header) CHECKED;
/* The same into `block` (aligned to 4096), which keeps what was judged; what was in it, where there is no such slot. */
enum error segment_header_read_to(struct group *group, uint32_t device, uint32_t slot, uint64_t serial, void *block,
                                  struct segment_header *header) CHECKED;
/* The same of a block that was read. Only device, slot, keys and device count of the group are looked at: from any thread. */
enum error segment_header_decode(struct group *group, uint32_t device, uint32_t slot, uint64_t serial, const void *block,
                                 struct segment_header *header) CHECKED;
/* Whether a header that was read is the one of the segment in the table. */
bool segment_header_fits(const struct segment *known, const struct segment_header *header);

#endif
