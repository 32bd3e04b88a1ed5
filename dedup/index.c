/*
 * The table behind index.h; layout and tiers are told there.
 *
 * Invariants: the used slots of a bucket are the first ones, the newest at 0, so that age needs no clock and the tier
 * word tells how many there are. Tags have the same number of bits throughout the table. `used` and `sparse` are what
 * a count over all buckets would give.
 *
 * Two buckets to choose from, the emptier one taken, keep the fill even: with one, a table in which sparse entries take
 * 85 % would lose a twentieth of them to full buckets. They share a page of memory, so that a look-up costs one miss of
 * the address translation and its two cache misses run side by side.
 *
 * A second entry under one tag is either out of date (its chunk died, its count is full, or it was stored again) or,
 * rarely, of another fingerprint; keeping the newest alone keeps the dead out at the price of the few.
 *
 * Locks: the caller's. A crash loses the table, and with it nothing but dedup hits until it is rebuilt.
 */
#include "dedup/index.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define CID_BITS        40
#define CID_PAGE_SHIFT  8
#define SLOT_BITS       40
#define PAGE_BITS_MIN   24
#define PAGE_BYTES      3
#define TAG_BITS_MAX    (SLOT_BITS - PAGE_BITS_MIN)
#define BUCKET_SLOTS    12
#define BUCKET_THIN_MAX (BUCKET_SLOTS / 3)
#define SHELF_BUCKETS   64 /* a page of memory */
#define CHOICES         2

enum tier { TIER_EMPTY = 0, TIER_DENSE = 1, TIER_SPARSE = 2, TIER_THIN = 3 };

#define TIER_BITS 2
#define TIER_MASK UINT32_C(3)
#define TIER_ONES UINT32_C(0x555555) /* the low bit of each of the twelve */

/* A slot is a tag above the number of a page, of 16 and 24 bits or, once that has more, fewer and more: the upper 16 bits
 * and the lower 24 lie apart, so that all tags are compared at once. */
struct bucket {
    uint16_t upper[BUCKET_SLOTS];
    uint8_t lower[BUCKET_SLOTS][PAGE_BYTES];
    uint32_t tiers;
};
_Static_assert(sizeof(struct bucket) == 64, "a bucket is a cache line");
_Static_assert(1 << CID_PAGE_SHIFT == INDEX_PAGE_CIDS, "a slot names a page");
_Static_assert(TAG_BITS_MAX == 16, "the tag is read as 16 bits");

struct index {
    struct bucket *buckets;
    size_t bytes;
    uint64_t shelves;
    unsigned page_bits; /* the others of a slot are the tag */
    struct index_stats stats;
};

/* Where a fingerprint may be, and under which tag. */
struct location {
    struct bucket *buckets[CHOICES];
    uint64_t tag;
};

static uint64_t slot_get(const struct bucket *bucket, unsigned position)
{
    const uint8_t *lower = bucket->lower[position];

    return (uint64_t)bucket->upper[position] << PAGE_BITS_MIN | (uint64_t)lower[2] << 16 | (uint64_t)lower[1] << 8 | lower[0];
}

static void slot_set(struct bucket *bucket, unsigned position, uint64_t slot)
{
    uint8_t *lower = bucket->lower[position];

    bucket->upper[position] = (uint16_t)(slot >> PAGE_BITS_MIN);
    lower[2] = (uint8_t)(slot >> 16);
    lower[1] = (uint8_t)(slot >> 8);
    lower[0] = (uint8_t)slot;
}

static enum tier slot_tier(const struct bucket *bucket, unsigned position)
{
    return bucket->tiers >> position * TIER_BITS & TIER_MASK;
}

static unsigned bucket_count(const struct bucket *bucket)
{
    if (bucket->tiers == 0)
        return 0;
    return (31 - (unsigned)__builtin_clz(bucket->tiers)) / TIER_BITS + 1;
}

/* One bit, at TIER_BITS times its position, for each slot of that tier. */
static uint32_t bucket_tier_mask(const struct bucket *bucket, enum tier tier)
{
    uint32_t differs = bucket->tiers ^ tier * TIER_ONES;

    return ~(differs | differs >> 1) & TIER_ONES;
}

static unsigned bucket_tier_count(const struct bucket *bucket, enum tier tier)
{
    return (unsigned)__builtin_popcount(bucket_tier_mask(bucket, tier));
}

/* Slots of `tier` and those above it. */
static unsigned bucket_count_from(const struct bucket *bucket, enum tier tier)
{
    unsigned count = 0;

    for (; tier <= TIER_THIN; tier++)
        count += bucket_tier_count(bucket, tier);
    return count;
}

typedef uint16_t tag_vector __attribute__((vector_size(16)));

/* False: no slot carries the tag. Look-ups of new data end here, so all are compared together. */
static bool bucket_may_match(const struct bucket *bucket, uint16_t tag, unsigned lost)
{
    enum { LANES = sizeof(tag_vector) / sizeof(uint16_t) };
    tag_vector first, last;
    uint64_t halves[2];

    memcpy(&first, bucket->upper, sizeof first);
    memcpy(&last, bucket->upper + BUCKET_SLOTS - LANES, sizeof last);
    first = (tag_vector)(first >> lost == tag) | (tag_vector)(last >> lost == tag);
    memcpy(halves, &first, sizeof halves);
    return (halves[0] | halves[1]) != 0;
}

/* Bit i set: slot i carries the tag. */
static uint32_t bucket_match(const struct bucket *bucket, uint64_t tag, unsigned page_bits)
{
    uint32_t matches = 0;

    if (!bucket_may_match(bucket, (uint16_t)tag, page_bits - PAGE_BITS_MIN))
        return 0;
    for (unsigned i = 0; i < BUCKET_SLOTS; i++)
        matches |= (uint32_t)(slot_get(bucket, i) >> page_bits == tag) << i;
    return matches & ((UINT32_C(1) << bucket_count(bucket)) - 1);
}

static void slots_move(struct bucket *bucket, unsigned to, unsigned from, unsigned count)
{
    memmove(bucket->upper + to, bucket->upper + from, count * sizeof bucket->upper[0]);
    memmove(bucket->lower + to, bucket->lower + from, count * sizeof bucket->lower[0]);
}

/* Makes `position` free, at the front, and lets those before it age by one. */
static void bucket_push(struct bucket *bucket, unsigned position, uint64_t slot, enum tier tier)
{
    uint32_t younger = (UINT32_C(1) << position * TIER_BITS) - 1;
    uint32_t older = ~(younger << TIER_BITS | TIER_MASK);

    slots_move(bucket, 1, 0, position);
    slot_set(bucket, 0, slot);
    bucket->tiers = (bucket->tiers & older) | (bucket->tiers & younger) << TIER_BITS | tier;
}

static void bucket_remove(struct bucket *bucket, unsigned position)
{
    uint32_t younger = (UINT32_C(1) << position * TIER_BITS) - 1;

    slots_move(bucket, position, position + 1, BUCKET_SLOTS - 1 - position);
    bucket->tiers = (bucket->tiers & younger) | (bucket->tiers >> TIER_BITS & ~younger);
}

static unsigned bucket_oldest(const struct bucket *bucket, enum tier tier)
{
    return (31 - (unsigned)__builtin_clz(bucket_tier_mask(bucket, tier))) / TIER_BITS;
}

/* The tier that a full bucket gives up first. */
static enum tier bucket_victim(const struct bucket *bucket)
{
    if (bucket_tier_count(bucket, TIER_DENSE) > 0)
        return TIER_DENSE;
    return bucket_tier_count(bucket, TIER_THIN) > BUCKET_THIN_MAX ? TIER_THIN : TIER_SPARSE;
}

static enum tier tier_of_block(uint64_t block)
{
    if (block % INDEX_THIN_INTERVAL == 0)
        return TIER_THIN;
    return block % INDEX_SPARSE_INTERVAL == 0 ? TIER_SPARSE : TIER_DENSE;
}

/* Reads only what never changes, so that it needs no lock. */
static void index_choices(const struct index *index, struct fingerprint fingerprint, struct bucket *choices[CHOICES])
{
    unsigned first, distance;
    struct bucket *shelf;
    uint64_t place;

    memcpy(&place, fingerprint.bytes, sizeof place);
    place = le64toh(place);
    shelf = index->buckets + ((place >> 32) * index->shelves >> 32) * SHELF_BUCKETS;
    first = place % SHELF_BUCKETS;
    distance = 1 + (place >> 16 & 0xffff) % (SHELF_BUCKETS - 1);
    choices[0] = shelf + first;
    choices[1] = shelf + (first ^ distance);
}

static struct location index_locate(const struct index *index, struct fingerprint fingerprint)
{
    struct location location;
    uint16_t tag;

    index_choices(index, fingerprint, location.buckets);
    __builtin_prefetch(location.buckets[CHOICES - 1], 1); /* on its way while the first is searched */
    memcpy(&tag, fingerprint.bytes + sizeof(uint64_t), sizeof tag);
    location.tag = le16toh(tag) >> (index->page_bits - PAGE_BITS_MIN);
    return location;
}

enum error index_create(size_t bytes, struct index **index)
{
    struct index *created;

    if (bytes < INDEX_BYTES_MIN)
        return error_explain(ERROR_INVALID, "a dedup index needs at least %d bytes, not %zu", INDEX_BYTES_MIN, bytes);
    created = memory_zeroed(1, sizeof *created);
    if (created == NULL)
        return error_explain(ERROR_NO_MEMORY, "no memory for a dedup index");
    created->shelves = bytes / (SHELF_BUCKETS * sizeof(struct bucket));
    created->bytes = created->shelves * SHELF_BUCKETS * sizeof(struct bucket);
    created->buckets = memory_map(created->bytes);
    if (created->buckets == NULL) {
        free(created);
        return error_explain(ERROR_NO_MEMORY, "no memory for a dedup index of %zu bytes", bytes);
    }
    created->page_bits = PAGE_BITS_MIN;
    created->stats.slots = created->shelves * SHELF_BUCKETS * BUCKET_SLOTS;
    *index = created;
    return ERROR_NONE;
}

void index_destroy(struct index *index)
{
    if (index == NULL)
        return;
    memory_unmap(index->buckets, index->bytes);
    free(index);
}

void index_clear(struct index *index)
{
    memset(index->buckets, 0, index->bytes);
    index->page_bits = PAGE_BITS_MIN;
    index->stats.used = 0;
    index->stats.sparse = 0;
}

void index_prefetch(const struct index *index, struct fingerprint fingerprint)
{
    struct bucket *choices[CHOICES];

    index_choices(index, fingerprint, choices);
    for (unsigned i = 0; i < CHOICES; i++)
        __builtin_prefetch(choices[i], 1);
}

/* Gives the page number more bits, taken from the low end of the tags. */
static void index_widen(struct index *index, unsigned page_bits)
{
    uint64_t page_mask = (UINT64_C(1) << index->page_bits) - 1;
    unsigned lost = page_bits - index->page_bits;

    for (size_t i = 0; i < index->shelves * SHELF_BUCKETS; i++) {
        struct bucket *bucket = &index->buckets[i];

        for (unsigned position = 0; position < bucket_count(bucket); position++) {
            uint64_t slot = slot_get(bucket, position);
            uint64_t tag = slot >> index->page_bits >> lost;

            slot_set(bucket, position, tag << page_bits | (slot & page_mask));
        }
    }
    index->page_bits = page_bits;
}

static void index_fit(struct index *index, uint64_t page)
{
    unsigned page_bits = 64 - (unsigned)__builtin_clzll(page | 1);

    if (page_bits > index->page_bits)
        index_widen(index, page_bits);
}

size_t index_lookup(struct index *index, struct fingerprint fingerprint, uint64_t cids[INDEX_CANDIDATES_MAX])
{
    struct location location = index_locate(index, fingerprint);
    uint64_t page_mask = (UINT64_C(1) << index->page_bits) - 1;
    size_t count = 0;

    for (unsigned i = 0; i < CHOICES; i++) {
        struct bucket *bucket = location.buckets[i];
        uint32_t matches = bucket_match(bucket, location.tag, index->page_bits);
        uint32_t newest = matches & -matches;

        for (; matches != 0 && count < INDEX_CANDIDATES_MAX; matches &= matches - 1) {
            uint64_t page = slot_get(bucket, (unsigned)__builtin_ctz(matches)) & page_mask;

            cids[count++] = page << CID_PAGE_SHIFT | INDEX_PAGE_HINT;
        }
        if (newest > 1) {
            unsigned position = (unsigned)__builtin_ctz(newest);

            bucket_push(bucket, position, slot_get(bucket, position), slot_tier(bucket, position));
        }
    }
    index->stats.lookups++;
    index->stats.candidates += count;
    return count;
}

static void index_count(struct index *index, enum tier tier, int64_t change)
{
    index->stats.used += (uint64_t)change;
    if (tier >= TIER_SPARSE)
        index->stats.sparse += (uint64_t)change;
}

/* Replaces an entry of the same tag; the tier stays where the page does, for then it is the same chunk. */
static bool index_replace(struct index *index, const struct location *location, uint64_t slot, enum tier tier)
{
    for (unsigned i = 0; i < CHOICES; i++) {
        struct bucket *bucket = location->buckets[i];
        uint32_t matches = bucket_match(bucket, location->tag, index->page_bits);
        unsigned position;
        enum tier before;

        if (matches == 0)
            continue;
        position = (unsigned)__builtin_ctz(matches);
        before = slot_tier(bucket, position);
        if (slot_get(bucket, position) == slot)
            tier = before;
        bucket_push(bucket, position, slot, tier);
        index_count(index, before, -1);
        index_count(index, tier, 1);
        return true;
    }
    return false;
}

/* The one with more free slots or, where both are full, with fewer entries that a new one could not displace. */
static struct bucket *location_choose(const struct location *location, enum tier tier)
{
    struct bucket *one = location->buckets[0], *other = location->buckets[1];
    unsigned count = bucket_count(one), count_other = bucket_count(other);

    if (count != count_other)
        return count < count_other ? one : other;
    tier = MAX(tier, TIER_SPARSE);
    return bucket_count_from(other, tier) < bucket_count_from(one, tier) ? other : one;
}

void index_insert(struct index *index, struct fingerprint fingerprint, uint64_t cid, uint64_t block)
{
    enum tier tier = tier_of_block(block);
    uint64_t page = cid >> CID_PAGE_SHIFT;
    struct location location;
    struct bucket *bucket;
    uint64_t slot;
    unsigned position;

    ASSERT(cid >> CID_BITS == 0);
    index_fit(index, page);
    location = index_locate(index, fingerprint);
    slot = location.tag << index->page_bits | page;
    if (index_replace(index, &location, slot, tier)) {
        index->stats.inserted++;
        return;
    }
    bucket = location_choose(&location, tier);
    position = bucket_count(bucket);
    if (position == BUCKET_SLOTS) {
        enum tier victim = bucket_victim(bucket);

        if (tier == TIER_DENSE && victim != TIER_DENSE)
            return;
        position = bucket_oldest(bucket, victim);
        index_count(index, victim, -1);
        index->stats.evicted++;
    }
    bucket_push(bucket, position, slot, tier);
    index_count(index, tier, 1);
    index->stats.inserted++;
}

void index_remove(struct index *index, struct fingerprint fingerprint, uint64_t cid)
{
    struct location location = index_locate(index, fingerprint);
    uint64_t page = (cid & ~INDEX_PAGE_HINT) >> CID_PAGE_SHIFT;

    if (page >> index->page_bits != 0)
        return;
    for (unsigned i = 0; i < CHOICES; i++) {
        struct bucket *bucket = location.buckets[i];

        for (unsigned position = bucket_count(bucket); position-- > 0;) {
            if (slot_get(bucket, position) != (location.tag << index->page_bits | page))
                continue;
            index_count(index, slot_tier(bucket, position), -1);
            bucket_remove(bucket, position);
        }
    }
}

void index_stats(const struct index *index, struct index_stats *stats)
{
    *stats = index->stats;
}
