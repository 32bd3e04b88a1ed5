/*
 * The checkpoint record: where everything is, in one block, in the clear (numbers and places only), closed by an HMAC
 * under K_log over pool, group, device, own position and number. Four positions a device, two at each end, taken in
 * turn: a record is written once at each end, over the last but one, on every device of the group. The newest valid one
 * on any of them counts, since all devices were flushed before the first was written. A crash while one is written
 * leaves the one before; damage at one end leaves the other.
 */
#ifndef COFFER_ENGINE_GROUP_CHECKPOINT_H
#define COFFER_ENGINE_GROUP_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/device/device.h"
#include "engine/group/entry.h"
#include "engine/group/format.h"
#include "engine/group/keyring.h"
#include "engine/group/superblock.h"

struct joint {
    uint8_t tag[16];
    struct place next;
};

struct root {
    struct node_pointer pointer;
    uint8_t height;
};

/* How far the pool's audit had come (engine/pool/audit.h): its entries, and the seal of the last. */
struct audit_anchor {
    uint64_t count;
    uint8_t head[32];
};

struct checkpoint {
    bool unread; /* not stored: a position could not be read, and may hold a newer one */
    uint64_t number;
    uint64_t sequence;
    uint64_t epoch;
    uint64_t serial_lease, component_lease, cid_end;
    uint64_t time;
    struct root roots[TABLE_LAST]; /* by table number less one */
    uint64_t release_end;          /* entries of the release list */
    uint64_t chunks_live, blocks_mapped;
    bool families;                 /* some components share nodes, or did */
    struct place start;
    uint8_t start_tag[16];
    unsigned joint_count;
    struct joint joints[JOINTS_MAX];
    unsigned table_segment_count;
    struct segment_reference table_segments[TABLE_SEGMENTS_MAX];
    struct audit_anchor audit;
};

/* Where the journal goes on behind the append with this tag, if a joint tells; NULL. Of two with one tag the later counts. */
const struct place *checkpoint_joint(const struct checkpoint *checkpoint, const uint8_t tag[16]);

/* Encode and decode one record; decode checks magic, version, own position, identity, MAC (the key by its number; not
 * below superblock->log_key_demanded), bounds of all counts, reserved bytes. Errors: NOT_FOUND (no magic), NEWER_FORMAT,
 * FOREIGN, FORGED (MAC), CORRUPT. */
enum error checkpoint_encode(const struct checkpoint *checkpoint, const struct superblock *superblock,
                             const struct keyring *keyring, uint32_t copy, struct checkpoint_format *out) CHECKED;
enum error checkpoint_decode(const struct checkpoint_format *in, const struct superblock *superblock,
                             const struct keyring *keyring, uint32_t copy, struct checkpoint *checkpoint) CHECKED;

/* The newest valid record of one device; ERROR_CORRUPT where none is. It says whether a position could not be read. */
enum error checkpoint_read(struct device *device, const struct superblock *superblock, const struct keyring *keyring,
                           struct checkpoint *checkpoint) CHECKED;
#define CHECKPOINT_ENDS 2
/* Where a copy stands on its device, and the copy that a number takes its turn in at an end (0: head, 1: tail). */
uint64_t checkpoint_offset(const struct superblock *superblock, uint32_t copy);
uint32_t checkpoint_copy(uint64_t number, unsigned end);
/* Writes the record at both positions of its number; no flush. */
enum error checkpoint_write(struct device *device, const struct superblock *superblock, const struct keyring *keyring,
                            const struct checkpoint *checkpoint) CHECKED;

#endif
