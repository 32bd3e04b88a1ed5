/*
 * The recent table: what commits did since the last freeze and no tree knows yet. Points (block -> entry) grouped by
 * leaf, ranges of holes in whole leaves, births (CID -> entry and fingerprint) grouped by page of 256 CIDs, and changes
 * of components.
 *
 * Entering a range removes the points in it; afterwards a point beats a range. Births are never removed: also a chunk
 * that nobody refers to any more has a place and a count.
 *
 * All memory is one arena of fixed size; recent_room() says what is left, and an entry that was asked room for cannot
 * fail. Locks: the caller's: an active table changes under the group's lock, a frozen one does not change.
 */
#ifndef COFFER_ENGINE_GROUP_RECENT_H
#define COFFER_ENGINE_GROUP_RECENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "dedup/fingerprint.h"
#include "engine/group/entry.h"

#define SHEAF_ITEMS 256
#define RECENT_POINT_BYTES_MAX 96  /* most that one point or birth takes from the room, growth of its sheaf included */
#define RECENT_BIRTH_BYTES_MAX 160
#define RECENT_RECORD_ROOM (64u << 10) /* a record enters 510 points at most: the ends of a range of holes */
#define RECENT_RANGES_MAX 65536
#define RECENT_DROPS_MAX 65536 /* what one merge enters into the release list is bounded */
#define RANGE_DROPS_MAX 1016 /* nodes that a range takes out of a map: beside two edges, 127 a level, on four levels */
#define WHOLE_DROPS_MAX 32 /* that one over a whole object takes out: its top, or what is below one that could have more */
#define RECENT_COMPONENTS_MAX 16384
#define RECENT_OWNERS_MAX 16384 /* components that are told apart */

struct birth {
    struct map_entry entry;
    struct fingerprint fingerprint;
};

/* The points of one leaf, or the births of one page: a sparse array of up to 256 items. */
struct sheaf {
    uint32_t next;     /* in its hash chain, or free list: arena reference, 0: end */
    uint16_t count;
    uint8_t shift;     /* capacity = 1 << shift */
    uint8_t births;    /* items are births, else entries */
    uint64_t owner;    /* component; 0 for births */
    uint64_t number;   /* leaf or page */
    /* `capacity` items, then `capacity` index bytes */
};

struct hole_range { uint64_t component, first, end; }; /* leaves */

struct component_change {
    uint64_t id;
    struct uuid object, domain;
    uint64_t base, birth; /* of a creation; a deletion leaves them as they are, and has 0 here */
    uint8_t state;  /* enum component_state */
    bool published; /* a creation that the trees below the table know already: its base is asked for nothing any more */
    uint32_t order; /* of entry; the merge's own */
};

struct recent;

enum error recent_create(size_t bytes, struct recent **recent) CHECKED;
void recent_destroy(struct recent *recent);
void recent_clear(struct recent *recent);
bool recent_is_empty(const struct recent *recent);
/* Bytes left for points and births; 0 also where ranges, what they drop or components are at their limit. */
size_t recent_room(const struct recent *recent);
/* Whether one more record of the journal surely fits, whatever it is. Replay asks this: it sees records where the writer
 * asked recent_room() for whole commits, and must never be stricter. */
bool recent_takes_record(const struct recent *recent);
size_t recent_capacity(const struct recent *recent);
/* Bytes that points and births take. */
size_t recent_used(const struct recent *recent);
/* Whether ranges, what they drop or components are at their limit: more memory would not make room. */
bool recent_is_at_limit(const struct recent *recent);
/* Bytes that points and births can take in a table made of `bytes` before recent_room() is below `room`. */
size_t recent_usable(size_t bytes, size_t room);

/* True where the table knows the block; a hole is an all-zero entry. */
bool recent_find(const struct recent *recent, uint64_t component, uint64_t block, struct map_entry *entry);
bool recent_find_birth(const struct recent *recent, uint64_t cid, struct birth *birth);
/* The births of the page of 256 that holds `cid`; NULL where there are none. */
const struct sheaf *recent_birth_page(const struct recent *recent, uint64_t cid);
/* The first leaf of [first, end) that may have points; `end` where none has. Regions of 1 GiB that have none cost a bit
 * each. */
uint64_t recent_leaf_next(const struct recent *recent, uint64_t component, uint64_t first, uint64_t end);
/* The first leaf of [first, end) of which the table says anything, points or holes; `end` where there is none. */
uint64_t recent_told_next(const struct recent *recent, uint64_t component, uint64_t first, uint64_t end);
/* The end of the range of holes that holds the leaf; `leaf` itself where none does. */
uint64_t recent_range_end(const struct recent *recent, uint64_t component, uint64_t leaf);

void recent_enter(struct recent *recent, uint64_t component, uint64_t block, struct map_entry entry);
/* Blocks first to end become holes: whole leaves as a range, the rest as points (at most 510). */
void recent_enter_holes(struct recent *recent, uint64_t component, uint64_t first, uint64_t end);
/* Leaves and chains that ranges went through for points to remove, since the table was empty. */
uint64_t recent_range_asked(const struct recent *recent);
void recent_enter_birth(struct recent *recent, struct map_entry entry, struct fingerprint fingerprint);
void recent_enter_component(struct recent *recent, const struct component_change *change);

/* Links: a component that was created in this table on a base has no tree yet. What is not known of it is what is known
 * of its base, which does not change as long as the link is there. False where there is none. */
bool recent_base(const struct recent *recent, uint64_t component, uint64_t *base);
/* Whether a link leads to the component. Walks all of them. */
bool recent_has_heirs(const struct recent *recent, uint64_t component);
/* Links that lead from one to the next, at most; links in all; components that have points or ranges (at most
 * RECENT_OWNERS_MAX are told apart). */
uint32_t recent_link_depth(const struct recent *recent);
uint64_t recent_links_count(const struct recent *recent);
uint64_t recent_owners_count(const struct recent *recent);

/* For the merge: all sheaves of points sorted by (component, leaf), or of births by page; the array is the caller's. */
enum error recent_sorted(const struct recent *recent, bool births, const struct sheaf ***sheaves, size_t *count) CHECKED;
/* Ranges sorted by (component, first); component changes in order of entry. */
const struct hole_range *recent_ranges(const struct recent *recent, size_t *count);
const struct component_change *recent_components(const struct recent *recent, size_t *count);
/* One past the last block of the component that the table has a point of (its leaf's end); 0: none. Walks the table. */
uint64_t recent_component_end(const struct recent *recent, uint64_t component);
uint64_t recent_points_count(const struct recent *recent);
uint64_t recent_sheaves_count(const struct recent *recent); /* of points and of births */
uint64_t recent_birth_pages_count(const struct recent *recent);
uint64_t recent_drops_max(const struct recent *recent); /* nodes that ranges take out of maps at most */

/* The leaves of a component that have points, each once, in no order, and a part of the table at a time, so that the
 * caller's lock need not be held long: *cursor begins at 0. False once the end was reached. What is entered meanwhile
 * may be missed. */
bool recent_leaves(const struct recent *recent, uint64_t component, uint32_t *cursor,
                   void (*leaf)(void *context, uint64_t number), void *context);

static inline const uint8_t *sheaf_indices(const struct sheaf *s)
{
    return (const uint8_t *)(s + 1) + ((size_t)(s->births ? sizeof(struct birth) : sizeof(struct map_entry)) << s->shift);
}
static inline const struct map_entry *sheaf_entries(const struct sheaf *s) { return (const struct map_entry *)(s + 1); }
static inline const struct birth *sheaf_births(const struct sheaf *s) { return (const struct birth *)(s + 1); }

#endif
