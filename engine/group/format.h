/*
 * Everything that engine/group writes to a device, version 1. docs/format.md describes the same bytes; a test compares
 * the two. Little-endian, alignment 1, reserved bytes are zero and checked.
 *
 *   device:  head area (1 MiB) | slots of one segment each | tail area (1 MiB, the last of the device)
 *   area:    superblock copy | superblock copy | checkpoint record | checkpoint record | unused
 *   segment: header (one block, in the clear) | append | append | … (XTS)
 *   append:  header | items at 16-byte grain | records | zeros up to a block
 *   item:    a data unit, a map node or a table page, authenticated at its address
 *
 * Version history: 1 — the first.
 */
#ifndef COFFER_ENGINE_GROUP_FORMAT_H
#define COFFER_ENGINE_GROUP_FORMAT_H

#include <stdint.h>

#include "base/endian.h"
#include "base/uuid.h"
#include "crypto/hierarchy.h"

#define FORMAT_VERSION 1
#define BLOCK_SIZE 4096u
#define GRAIN_SIZE 16u
#define BLOCK_GRAINS (BLOCK_SIZE / GRAIN_SIZE)

/* ---- areas ---------------------------------------------------------------------------------------------------- */

#define AREA_SIZE (UINT64_C(1) << 20)
#define SUPERBLOCK_BINARY_SIZE 65536u
#define SUPERBLOCK_JSON_SIZE 65536u
#define SUPERBLOCK_SIZE (SUPERBLOCK_BINARY_SIZE + SUPERBLOCK_JSON_SIZE)
#define SUPERBLOCK_COPIES 4 /* 0, 1 in the head area, 2, 3 in the tail area */
#define CHECKPOINT_COPIES 4
#define CHECKPOINT_OFFSET (2u * SUPERBLOCK_SIZE)   /* of the first record within an area */
#define CHECKPOINT_STRIDE 65536u

#define SEGMENT_SHIFT_MIN 22 /* 4 MiB; more in a group of large devices, or of many: geometry.h */
#define SEGMENT_SHIFT_MAX 30
#define SLOTS_MAX (1u << 17)
#define DEVICE_SLOTS_MIN 32  /* a device of less than this many segments is too small */

/* ---- superblock -------------------------------------------------------------------------------------------------- */

#define SUPERBLOCK_MAGIC "COFFERSB"
#define KEY_SLOTS_MAX 256
#define PEER_DEVICES_MAX 64
#define PEER_SLOTS_MAX 32 /* of a device; where there are many devices the bytes are fewer: group_slots_fit() */
#define LOG_KEY_NUMBER_MAX UINT8_MAX /* of a K_log: segment headers name it in a byte */
#define POOL_KEYS_MAX 64 /* K_pools of a device: all that there ever were */
#define WRAPPINGS 2 /* the present KEK's and, during a rotation, the next one's */

/* Which KEK a wrapping is made under. */
struct wrapping_format {
    uint8_t provider[16]; /* UUID of the provider; zero: no such wrapping */
    le64 kek_number;
    le64 kek_salt;
};
_Static_assert(sizeof(struct wrapping_format) == 32, "wrapping_format");

struct key_slot_format {
    uint8_t kind;  /* enum key_kind; 0: unused */
    uint8_t state; /* enum key_slot_state */
    uint8_t reserved[2];
    le32 number;   /* DEK: the key slot that segments name, from 1; K_log, K_pool: its number, 1 to 255 */
    uint8_t wrapped[WRAPPINGS][WRAPPED_KEY_SIZE];
};
_Static_assert(sizeof(struct key_slot_format) == 136, "key_slot_format");
enum key_slot_state { KEY_SLOT_CURRENT = 1, KEY_SLOT_OLD = 2 };

/* A key slot of another device of the pool, so that a device whose copies are all damaged can be revived. None of a K_pool: the
 * holder has the same ones in its own slots. */
struct peer_slot_format {
    uint8_t device[16];
    struct key_slot_format slot;
};
_Static_assert(sizeof(struct peer_slot_format) == 152, "peer_slot_format");

/* The fixed part: before authentication only magic, version, location, bounds, CRC, ids, epoch and lengths are used. */
struct superblock_format {
    uint8_t magic[8];
    le32 version;
    le32 crc;               /* CRC-32 (IEEE 802.3) of bytes 16 to 4095 less the two MACs (taken as zero) */
    /* HMAC-SHA-256 under K_super of each wrapping, over the whole superblock with crc and MACs zero. */
    uint8_t mac[WRAPPINGS][32];
    uint8_t pool[16];
    uint8_t group[16];
    uint8_t device[16];
    le64 epoch;
    le64 device_size;       /* bytes used of the device */
    le64 offset;            /* own location */
    le32 copy;              /* 0 to 3 */
    le32 segment_shift;
    le32 slot_count;
    le32 device_index;      /* within the group, 0 to 63 */
    le32 device_count;      /* of the group */
    le32 json_size;         /* bytes of JSON; zeros follow */
    le32 key_slot_count;
    le32 peer_slot_count;
    le64 features_incompatible;
    le64 features_read_only;
    le64 features_compatible;
    le64 plaintext_serial_limit; /* conversion in progress: key slot 0 is good below it; 0 otherwise */
    struct wrapping_format wrappings[WRAPPINGS];
    uint8_t encryption;     /* 0 off, 1 on */
    uint8_t fingerprint;    /* enum fingerprint_kind */
    uint8_t log_key_demanded; /* number of the K_log under which headers and records must be made */
    uint8_t pool_key_demanded; /* likewise of the K_pool under which the witness and the file of the scrub must be */
    uint8_t reserved[3812];
};
_Static_assert(sizeof(struct superblock_format) == 4096, "superblock_format");
/* At 4096: struct key_slot_format[KEY_SLOTS_MAX] packed to key_slot_count; behind them peer_slot_format[]. */
#define SUPERBLOCK_SLOTS_OFFSET 4096u
_Static_assert(SUPERBLOCK_SLOTS_OFFSET + KEY_SLOTS_MAX * sizeof(struct key_slot_format) <= SUPERBLOCK_BINARY_SIZE, "slots fit");

/* ---- places ------------------------------------------------------------------------------------------------------ */

/* A physical place, for where the segment table cannot help. Serial 0: none. */
struct place_format {
    le32 slot;
    uint8_t device; /* index within the group */
    le40 serial;
    le32 offset;    /* blocks within the segment */
};
_Static_assert(sizeof(struct place_format) == 14, "place_format");

/* A segment as something outside the segment table must know it. */
struct segment_reference_format {
    uint8_t device;
    le32 slot;
    le40 serial;
    le32 key_slot; /* 0: plaintext */
    le64 salt;
    le64 birth_salt;
    uint8_t log_key;
};
_Static_assert(sizeof(struct segment_reference_format) == 31, "segment_reference_format");

/* One entry of an object's map, of the places table, or the address half of a pointer: CID 40 bits, serial 40, offset
 * 27, length 13 (both in grains), index 4, chunks of the unit less one 4. All zero: a hole. See entry.h. */
struct map_entry_format {
    uint8_t bits[16];
};
_Static_assert(sizeof(struct map_entry_format) == 16, "map_entry_format");

/* ---- nodes and pages ----------------------------------------------------------------------------------------------- */

#define MAP_LEAF_ENTRIES 256u
#define NODE_FANOUT 128u
#define NODE_LEVELS_MAX 7

/* A child in an inner node. Maps: `first` is the child's entry with its CID (an inner child is a pair, `first` names
 * the even CID), `second` where its twin stood when it was written. Tables: `first` and `second` are the two addresses
 * (CID 0); second all zero: not doubled. */
struct node_pointer_format {
    struct map_entry_format first;
    uint8_t second[9]; /* serial 40 bits, offset 27; its length is the first's */
    uint8_t birth[7];  /* sequence at which the subtree last changed, without its lowest 8 bits (rounded up) */
};
_Static_assert(sizeof(struct node_pointer_format) == 32, "node_pointer_format");

#define COUNTS_PER_PAGE 1024u
#define COUNT_STUCK UINT32_MAX /* a count that reached its end: never freed */
#define COMPONENTS_PER_PAGE 32u

enum table {
    TABLE_PLACES = 1,       /* by CID: struct map_entry_format, 256 a page; written twice whole */
    TABLE_FINGERPRINTS = 2, /* by CID: 16 bytes, 256 a page */
    TABLE_COUNTS = 3,       /* by CID: le32, 1024 a page */
    TABLE_COMPONENTS = 4,   /* by component id: struct component_format, 32 a page; written twice whole */
    TABLE_SEGMENTS = 5,     /* by device x SLOTS_MAX + slot: struct segment_entry_format, 128 a page; twice whole */
    TABLE_RELEASES = 6,     /* list of map nodes that left their maps: struct release_format, 85 a page; twice whole */
    TABLE_LAST = TABLE_RELEASES,
};

struct component_format {
    uint8_t object[16];     /* UUID; zero: unused */
    uint8_t domain[16];     /* dedup domain */
    le64 birth;             /* sequence of the commit that created it */
    le64 base;              /* component id that it falls back to, lower than its own; 0: none */
    struct node_pointer_format root; /* all zero: empty */
    uint8_t height;         /* of the tree: 0 is a leaf as root */
    uint8_t state;          /* enum component_state */
    uint8_t family;         /* 1: it shares nodes of its map with other components, or did */
    uint8_t reserved[5];
    le64 mapped;            /* blocks that refer to a chunk; this and the next two of what is in segments from `own` on */
    le64 random;            /* of them in units that compression could not shrink */
    le64 stored;            /* bytes: each block's share of its unit */
    le64 own;               /* serial; what the map has in older segments may be shared. 0 outside of families */
    uint8_t reserved2[8];
};
_Static_assert(sizeof(struct component_format) == 128, "component_format");
enum component_state { COMPONENT_LIVE = 1, COMPONENT_DELETED = 2 };

/* States that recovery can meet; freeing ones are not on disk: a free segment's entry is all zero. */
enum segment_kind { SEGMENT_JOURNAL = 1, SEGMENT_META = 2, SEGMENT_TWIN = 3, SEGMENT_COLD = 4 };
enum segment_state { SEGMENT_FREE = 0, SEGMENT_OPEN = 1, SEGMENT_SEALED = 2, SEGMENT_WIPE = 3 };

struct segment_entry_format {
    le40 serial;
    le32 live;       /* bytes */
    uint8_t kind_state; /* kind << 4 | state */
    le32 key_slot;
    le64 salt;
    le64 birth_salt;
    uint8_t log_key;
    uint8_t settled;    /* 1: nothing in it can be compressed harder */
};
_Static_assert(sizeof(struct segment_entry_format) == 32, "segment_entry_format");

struct release_format {
    struct node_pointer_format node;
    le40 component;      /* of whose map it was */
    le40 number;         /* of the node in its level */
    uint8_t level;       /* 0: a leaf */
    uint8_t used;        /* 1 */
    uint8_t reserved[4];
};
_Static_assert(sizeof(struct release_format) == 48, "release_format");
#define RELEASES_PER_PAGE 85u
_Static_assert(RELEASES_PER_PAGE == BLOCK_SIZE / sizeof(struct release_format), "releases of a page");

/* ---- segments, appends, items ---------------------------------------------------------------------------------------- */

#define SEGMENT_MAGIC "COFFERSG"

struct segment_format {
    uint8_t magic[8];
    le32 version;
    uint8_t kind;       /* enum segment_kind */
    uint8_t log_key;    /* number of the K_log of the tags in the segment: the current one at its birth */
    uint8_t device_index;
    uint8_t header_key; /* number of the K_log of the MAC: the current one when this header was made */
    uint8_t pool[16];
    uint8_t group[16];
    uint8_t device[16];
    le64 serial;
    le64 salt;
    le64 birth_salt;
    le32 slot;
    le32 key_slot;      /* 0: plaintext */
    struct place_format predecessor; /* journal: the segment before; serial 0: none */
    struct place_format successor;   /* journal: the segment after, reserved with this one */
    uint8_t reserved2[3940];
    uint8_t mac[32];    /* HMAC-SHA-256 under the K_log of `header_key` over the bytes before */
};
_Static_assert(sizeof(struct segment_format) == 4096, "segment_format");

/* The nonce of a tag: where in the segment, and of what. */
struct tag_nonce_format {
    le64 offset; /* grains */
    uint8_t kind; /* enum item_kind */
    uint8_t zero[3];
};
_Static_assert(sizeof(struct tag_nonce_format) == 12, "tag_nonce_format");

enum item_kind { ITEM_NONE = 0, ITEM_APPEND = 1, ITEM_UNIT = 2, ITEM_NODE = 3, ITEM_PAGE = 4 };

struct append_format {
    uint8_t tag[16];      /* over the rest of this header and the records */
    le40 serial;          /* own address */
    le32 offset;          /* blocks */
    le32 blocks;          /* of the whole append */
    le32 records_offset;  /* bytes from the append's begin */
    le32 records_size;    /* bytes; 0: none */
    le32 items_size;      /* bytes of items, from the end of this header */
    uint8_t kind;         /* enum segment_kind */
    uint8_t reserved[6];
    uint8_t previous[16]; /* tag of the append before */
    struct place_format next;
    uint8_t reserved2[2];
    le64 agreed;          /* sequence that all active groups have made durable */
    le64 durable;         /* last sequence of this log that a completed flush covers */
    le64 last_sequence;   /* of its frames, or of those before it where it has none */
    uint8_t reserved3[8];
};
_Static_assert(sizeof(struct append_format) == 112, "append_format");

enum codec_format { STORED_RAW = 0, STORED_LZ4 = 1, STORED_ZSTD = 2, STORED_RUNS = 3 };

/* Followed by its descriptors and by stored_size bytes; the whole is padded with zeros to a grain. */
struct item_format {
    uint8_t tag[16];   /* over the rest of the header, descriptors and stored bytes */
    le40 serial;       /* own address */
    le32 offset;       /* grains */
    uint8_t kind;      /* enum item_kind; written last into a log buffer */
    uint8_t codec;     /* enum codec_format */
    uint8_t count;     /* unit: chunks, each with a le40 CID (or 0) as descriptor; node: 1 CID; page: 1 */
    le32 stored_size;  /* bytes */
};
_Static_assert(sizeof(struct item_format) == 32, "item_format");

/* The descriptor of a node: its CID, the component and the first block that it maps, its level. */
struct node_descriptor_format {
    le40 cid;
    le40 component;
    le40 number;    /* first block / blocks that a node of this level maps */
    uint8_t level;
};
_Static_assert(sizeof(struct node_descriptor_format) == 16, "node_descriptor_format");
struct page_descriptor_format {
    uint8_t table;  /* enum table */
    uint8_t level;
    le40 number;
    uint8_t second; /* 1: the second copy */
};
_Static_assert(sizeof(struct page_descriptor_format) == 8, "page_descriptor_format");

/* ---- records: what a commit did, replayed in order --------------------------------------------------------------------- */

/* An append's records are frames: le64 sequence, le32 size, then `size` bytes of records, each a type byte followed by
 * varints (LEB128) and raw bytes as records.c says. */
struct frame_format {
    le64 sequence;
    le32 size;
};
_Static_assert(sizeof(struct frame_format) == 12, "frame_format");

enum record_type {
    RECORD_WRITE = 1,     /* a new unit: births of its chunks, and the blocks that refer to them */
    RECORD_REFERENCE = 2, /* blocks that refer to chunks that were there before */
    RECORD_HOLES = 3,     /* a range of blocks becomes holes */
    RECORD_COMPONENT = 4, /* a component is created or changes its state */
    RECORD_SUMMARY = 5,   /* what the segment before changed, for the message should it be damaged */
};

/* ---- checkpoint record ------------------------------------------------------------------------------------------------- */

#define CHECKPOINT_MAGIC "COFFERCP"
#define JOINTS_MAX 16
#define TABLE_SEGMENTS_MAX 48 /* segments that hold pages of the segment table */

struct root_format {
    struct node_pointer_format pointer;
    uint8_t height;
    uint8_t reserved[7];
};
_Static_assert(sizeof(struct root_format) == 40, "root_format");

struct joint_format {
    uint8_t tag[16];           /* of the last append that a replay read, or the one stated with the start */
    struct place_format next;
};
_Static_assert(sizeof(struct joint_format) == 30, "joint_format");

struct checkpoint_format {
    uint8_t magic[8];
    le32 version;
    le32 copy;                 /* own position, 0 to 3 */
    uint8_t pool[16];
    uint8_t group[16];
    uint8_t device[16];
    le64 number;               /* one more for each record written */
    le64 sequence;             /* replay skips frames up to it */
    le64 epoch;                /* of the open that wrote it */
    le64 serial_lease;         /* serials from here on were never handed out */
    le64 component_lease;
    le64 cid_end;              /* CIDs from here on were never handed out at this checkpoint */
    le64 time;                 /* seconds since 1970 */
    struct root_format roots[TABLE_LAST]; /* by table number less one */
    le64 release_reserved;                /* the list begins at entry 0 */
    le64 release_end;                     /* entries of TABLE_RELEASES */
    le64 chunks_live;          /* data chunks with a count above zero */
    le64 blocks_mapped;
    struct place_format start; /* where replay begins */
    uint8_t start_tag[16];     /* of the append before the start */
    uint8_t log_key;           /* number of the K_log of the MAC */
    uint8_t joint_count;
    uint8_t table_segment_count;
    uint8_t families;          /* 1: some components share nodes of their maps, or did */
    struct joint_format joints[JOINTS_MAX];
    struct segment_reference_format table_segments[TABLE_SEGMENTS_MAX];
    le64 audit_count;          /* entries of the audit when it was written, */
    uint8_t audit_head[32];    /* and the seal of the last of them */
    uint8_t reserved2[1630];
    uint8_t mac[32];           /* HMAC-SHA-256 under K_log over the bytes before */
};
_Static_assert(sizeof(struct checkpoint_format) == 4096, "checkpoint_format");

/* ---- note of an erase ------------------------------------------------------------------------------------------------ */

#define ERASE_NOTE_MAGIC "COFFERER"
#define ERASE_KNOWN 1     /* the fields below were stated by a superblock */
#define ERASE_ENCRYPTED 2 /* by the same */

/* What stands at the head of both areas from the first write of `coffer device erase` until its certificate is kept. */
struct erase_note_format {
    uint8_t magic[8];
    le32 version;
    le32 flags;
    le64 offset;               /* own location */
    le64 device_size;          /* of the device itself, whatever a superblock stated */
    uint8_t pool[16];
    uint8_t device[16];
    uint8_t provider[16];
    le64 kek_number;
    le32 device_count;
    le32 end_count;
    le64 begun;                /* seconds since 1970 */
    le64 ends[SUPERBLOCK_COPIES]; /* other sizes that a copy stated, an area before each of which is overwritten, too */
    uint8_t reserved[88];
    uint8_t mac[32];           /* HMAC-SHA-256 under the public KEK over the bytes before */
};
_Static_assert(sizeof(struct erase_note_format) == 256, "erase_note_format");

#endif
