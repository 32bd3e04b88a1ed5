/*
 * Reading what the logs hold: items by address, in batches; nodes and pages, decoded and cached; chunks of units.
 *
 * You are in the read path: recent table -> tree -> ITEMS: log buffer or device -> decrypt -> tag -> decompress.
 *
 * The caller holds a view, so that no slot that it can name is given out again. An item is checked against the address
 * that was asked for before anything in it is used; what fails is ERROR_CORRUPT for that item only.
 */
#ifndef COFFER_ENGINE_GROUP_ITEM_H
#define COFFER_ENGINE_GROUP_ITEM_H

#include <stdbool.h>

#include "base/error.h"
#include "engine/device/device.h"
#include "engine/group/cache.h"
#include "engine/group/entry.h"

struct group;
struct segment_keys;

struct item_read {
    uint64_t serial;
    uint32_t offset, length; /* grains */
    enum item_kind kind;     /* ITEM_NONE: a unit or a node, whichever it says that it is */
    uint64_t cid;            /* of the node, or of any chunk of the unit that is counted; 0: a page */
    void *owner;
    enum error error;
    bool moved;              /* the cleaner moved it: serial, offset and length are where it was found (follow.h) */
    /* valid in the callback */
    const struct item_format *header;
    const uint8_t *descriptors, *stored;
    uint32_t stored_size;
    bool settled;            /* its content stays; else no cache may keep it */
    /* private */
    struct device_io io;
    const struct segment_keys *keys;
    uint64_t first_block; /* of what is read, within the segment */
    uint32_t device;
    bool from_buffer;
};

/* Reads and verifies `count` items; calls `done` for each, with its error; what the item points to is valid only in
 * there. `done` must not read items itself. */
void items_read(struct group *group, struct item_read *reads, size_t count, void (*done)(struct item_read *read, void *context),
                void *context);

/* Whether `bytes` (read->length grains, decrypted) are the item that was asked for: address, kind, bounds, tag under
 * read->keys. ERROR_CORRUPT. */
enum error item_verify(const struct item_read *read, const uint8_t *bytes) CHECKED;
/* The chunks of a unit that was read (in the callback of items_read), into UNIT_CHUNKS_MAX x 4096 bytes; *count: how many. */
enum error item_unit_decode(const struct item_read *read, uint8_t *out, unsigned *count) CHECKED;
/* Where the unit, of `count` chunks, has the entry's chunk: as the entry says, else ERROR_CORRUPT; anywhere in a unit that
 * moved, for it may have left dead neighbours behind. */
enum error item_unit_find(const struct item_read *read, unsigned count, struct map_entry entry, unsigned *index) CHECKED;
/* Bytes of descriptors behind an item's header; 0 where kind or count is impossible. */
size_t item_descriptors_size(const struct item_format *header);

struct chunk_read {
    struct map_entry entry; /* not a hole */
    void *out;              /* 4096 bytes */
    enum error error;
};
/* Chunks that stand in one unit should be neighbours in `reads`: the unit is then read once. Returns the first error. */
enum error chunks_read(struct group *group, struct chunk_read *reads, size_t count);

/* What a node or page must say it is. */
struct node_identity {
    enum item_kind kind;  /* ITEM_NODE or ITEM_PAGE */
    uint64_t owner;       /* component or table */
    uint64_t number;      /* of the node in its level */
    uint8_t level;
};
/* Whether it is written twice: every inner node, and the leaves of tables whose loss would spread; only the table of places
 * knows where chunks are that were moved. */
static inline bool node_is_doubled(enum item_kind kind, uint64_t owner, unsigned level)
{
    bool spreads = owner == TABLE_PLACES || (owner >= TABLE_COMPONENTS && owner <= TABLE_LAST);
    return level > 0 || (kind == ITEM_PAGE && spreads);
}
struct node_read {
    struct node_pointer pointer; /* not a hole */
    struct node_identity identity;
    struct cache_block *block;   /* pinned; NULL where error */
    enum error error;
};
/* Blocks come back pinned: nodes_put() each. Where the first copy fails and there is a second, that is taken. */
enum error nodes_read(struct group *group, struct node_read *reads, size_t count);
void nodes_put(struct group *group, struct node_read *reads, size_t count);

#endif
