/*
 * The superblock of a device: identity, key slots with their wrappings, a JSON part. Four copies, two at each end of
 * the device, written one after the other with a flush between the ends, so that a crash leaves a whole one; the
 * newest copy that verifies counts. Rewritten only by key, format and set changes.
 *
 * Opening is in two steps, because nothing on a disk is interpreted before it is authenticated (SECURITY 4):
 * superblock_probe() takes ids, epoch and lengths from the fixed parts (magic, version, own location, bounds, CRC);
 * superblock_open() verifies the MAC over the whole with a KEK and unwraps the key slots.
 */
#ifndef COFFER_ENGINE_GROUP_SUPERBLOCK_H
#define COFFER_ENGINE_GROUP_SUPERBLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "engine/device/device.h"
#include "engine/group/format.h"
#include "engine/group/keyring.h"

#define FEATURES_INCOMPATIBLE_KNOWN UINT64_C(0)
#define FEATURES_READ_ONLY_KNOWN UINT64_C(0)

/* Which KEK the key slots are wrapped under. */
struct wrapping {
    struct uuid provider;
    uint64_t kek_number, kek_salt;
};

/* What the fixed part says, decoded. */
struct superblock {
    struct uuid pool, group, device;
    uint64_t epoch;
    uint64_t device_size;
    uint32_t segment_shift, slot_count;
    uint32_t device_index, device_count;
    uint64_t features_incompatible, features_read_only, features_compatible;
    uint64_t plaintext_serial_limit;
    struct wrapping wrapping; /* the first; once opened, the one that the KEK fits */
    struct wrapping other;    /* during a change of keys; provider zero: there is none */
    bool encryption;
    uint8_t fingerprint;
    uint8_t log_key_demanded;  /* while the group is in use: superblock_log_key_demanded(), since a deep rekey raises it */
    uint8_t pool_key_demanded; /* of all devices the highest counts */
    char *json; /* malloc'ed, zero-terminated, after superblock_open(); superblock_forget() */
    struct peer_slot_format *peers; /* of the other devices, still wrapped; likewise */
    uint32_t peer_count;
    /* HMACs of the copies as they were verified or written, under a constant: whether a copy is still the same can be told
     * without the KEK, which nobody keeps. Zero: of a copy that was not good. */
    uint8_t marks[SUPERBLOCK_COPIES][32];
};

/* From any thread. */
static inline uint8_t superblock_log_key_demanded(const struct superblock *superblock)
{
    return __atomic_load_n(&superblock->log_key_demanded, __ATOMIC_RELAXED);
}

/* Frees what superblock_open(), superblock_peers_make() and superblock_revive() allocated in it. */
void superblock_forget(struct superblock *superblock);

struct superblock_probe {
    struct superblock copies[SUPERBLOCK_COPIES]; /* json NULL */
    bool plausible[SUPERBLOCK_COPIES];           /* passed magic, version, location, bounds, CRC */
    bool newer_format;                           /* some copy is of a newer incompatible version */
    uint32_t newer_version;
    unsigned magic_seen;                         /* copies that begin with the magic at all */
};

/* Segment size and slots of a device of `size` bytes that is a group by itself (geometry.h); ERROR_INVALID where it is too small,
 * saying how large it must be. */
enum error superblock_geometry(uint64_t size, uint32_t *segment_shift, uint32_t *slot_count) CHECKED;

/* Reads all copies. ERROR_NOT_FOUND: not Coffer's; ERROR_NEWER_FORMAT; ERROR_CORRUPT: magic seen, no copy whole. The
 * tail copies are looked for at the ends that head copies state, then at that of the device as it is now, until there
 * is one; ERROR_CORRUPT "truncated" where a head copy states more bytes than the device has, and nothing else is there. */
enum error superblock_probe(struct device *device, struct superblock_probe *probe) CHECKED;

/* The plausible copy of the highest epoch; NULL where there is none. Not authenticated. */
const struct superblock *superblock_newest(const struct superblock_probe *probe);

/* The copies of a probe that state the same identity and wrappings as `one` of them; nobody vouched for any of them yet. An
 * altered copy may state any epoch, so the newest is only where a search for the newest that verifies begins. */
struct superblock_probe superblock_copies_alike(const struct superblock_probe *probe, const struct superblock *one);

/* Authenticates the plausible copies under `kek` (the public one of a plaintext pool included) and takes the newest
 * that verifies; unwraps its key slots. ERROR_WRONG_KEY: no copy verifies and no key slot unwraps; ERROR_FORGED: slots
 * unwrap but no MAC verifies. `*copies_bad` tells how many copies should be rewritten from the good one. */
enum error superblock_open(struct device *device, const struct superblock_probe *probe, const uint8_t kek[KEY_SIZE],
                           struct superblock *superblock, struct keyring **keyring, unsigned *copies_bad) CHECKED;

/* Reads a copy and compares it with its mark. ERROR_CORRUPT where it is another; ERROR_IO. */
enum error superblock_copy_check(struct device *device, const struct superblock *superblock, uint32_t copy) CHECKED;

/* Writes all copies under `wrapping` alone, the head's first, flush, the tail's, flush (the tail's first where its marks say that
 * no copy there is whole and as new as the head's); sets their marks. `json` at most
 * SUPERBLOCK_JSON_SIZE bytes; ERROR_TOO_LARGE where it, or key slots and peers together, have no room. */
enum error superblock_write(struct device *device, struct superblock *superblock, const struct keyring *keyring,
                            const uint8_t kek[KEY_SIZE]) CHECKED;
/* The same under `wrapping` and `other`, whose KEKs these are: either opens it. */
enum error superblock_write_both(struct device *device, struct superblock *superblock, const struct keyring *keyring,
                                 const uint8_t kek[KEY_SIZE], const uint8_t other_kek[KEY_SIZE]) CHECKED;

#endif
