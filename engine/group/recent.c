/*
 * Sheaves in an arena, found by a chained hash of (component, leaf) or page. A sheaf that is full moves to one of twice
 * the capacity; the old one goes to a free list of its size. References are arena offsets in units of 16 bytes.
 *
 * A crash here is harmless: replay enters the same records again.
 */
#include "engine/group/recent.h"

#include <string.h>

#include "base/memory.h"

#define ARENA_UNIT    16
#define SHEAF_SHIFTS  9    /* capacities 1 to 256 */
#define LEAVES_CHAINS 4096 /* that recent_leaves() goes through in a call: well below a millisecond */

#define ASKED_PART 4 /* of as many leaves as there are chains: a range asks for so many before it goes through those */

#define REGION_SHIFT 10     /* leaves of a region: 1 GiB */
#define REGION_BITS  65536u /* as many as the largest object has regions */
#define LARGEST_LEAVES ((uint64_t)REGION_BITS << REGION_SHIFT) /* of the largest object, 64 TiB */

struct link {
    uint64_t component, base;
    uint32_t depth; /* links from here on in this table */
};

/* A component that has, or had, points or ranges. */
struct owner {
    uint64_t component;
    uint64_t sheaves; /* of points, that it has now */
};

struct recent {
    uint8_t *arena;
    size_t size, used;
    size_t freed; /* bytes in the free lists */
    uint32_t free_lists[2][SHEAF_SHIFTS];
    uint32_t *heads;
    uint32_t mask;
    size_t range_count, component_count;
    struct hole_range *ranges; /* sorted by (component, first), disjoint, not touching */
    struct component_change *components;
    size_t link_count, owner_count;
    struct link *links;  /* by rising component; no more than components */
    struct owner *owners;      /* by rising component */
    struct owner *owner_last;  /* entered last; NULL where it is not told apart */
    uint64_t range_asked;
    uint32_t link_depth;
    uint64_t points, sheaves, birth_pages;
    uint64_t drops_max;
    uint64_t regions[REGION_BITS / 64]; /* a bit is set where a region of its hash may have a sheaf of points */
};

static size_t sheaf_bytes(bool births, unsigned shift)
{
    size_t item = births ? sizeof(struct birth) : sizeof(struct map_entry);
    return ROUND_UP(sizeof(struct sheaf) + ((item + 1) << shift), ARENA_UNIT);
}

static struct sheaf *at(const struct recent *recent, uint32_t reference)
{
    return (struct sheaf *)(recent->arena + (size_t)reference * ARENA_UNIT);
}

static uint32_t *head_of(const struct recent *recent, uint64_t owner, uint64_t number)
{
    uint64_t h = (number ^ owner << 40 ^ owner >> 24) * UINT64_C(0x9e3779b97f4a7c15);
    return &recent->heads[(uint32_t)(h >> 32) & recent->mask];
}

static uint32_t heads_for(size_t bytes)
{
    uint32_t heads = 1024;
    while ((size_t)heads * 64 < bytes)
        heads *= 2;
    return heads;
}

/* With heads that are zero already, as memory from the system is. */
static void begin_empty(struct recent *recent)
{
    memset(recent->free_lists, 0, sizeof recent->free_lists);
    recent->used = ARENA_UNIT; /* reference 0 is nobody */
    recent->freed = 0;
    recent->range_count = recent->component_count = 0;
    recent->link_count = recent->owner_count = 0;
    recent->owner_last = NULL;
    recent->range_asked = 0;
    recent->link_depth = 0;
    recent->points = recent->sheaves = recent->birth_pages = recent->drops_max = 0;
    memset(recent->regions, 0, sizeof recent->regions);
}

enum error recent_create(size_t bytes, struct recent **out)
{
    struct recent *recent = memory_zeroed(1, sizeof *recent);
    if (!recent)
        return ERROR_NO_MEMORY;
    uint32_t heads = heads_for(bytes);
    recent->size = bytes - (size_t)heads * sizeof(uint32_t);
    recent->mask = heads - 1;
    recent->arena = memory_map_unset(recent->size);
    recent->heads = memory_map((size_t)heads * sizeof(uint32_t));
    recent->ranges = memory_map_unset(RECENT_RANGES_MAX * sizeof *recent->ranges);
    recent->components = memory_map_unset(RECENT_COMPONENTS_MAX * sizeof *recent->components);
    recent->links = memory_map_unset(RECENT_COMPONENTS_MAX * sizeof *recent->links);
    recent->owners = memory_map_unset(RECENT_OWNERS_MAX * sizeof *recent->owners);
    if (!recent->arena || !recent->heads || !recent->ranges || !recent->components || !recent->links ||
        !recent->owners) {
        recent_destroy(recent);
        return ERROR_NO_MEMORY;
    }
    begin_empty(recent);
    *out = recent;
    return ERROR_NONE;
}

void recent_destroy(struct recent *recent)
{
    if (!recent)
        return;
    memory_unmap(recent->arena, recent->size);
    memory_unmap(recent->heads, ((size_t)recent->mask + 1) * sizeof(uint32_t));
    memory_unmap(recent->ranges, RECENT_RANGES_MAX * sizeof *recent->ranges);
    memory_unmap(recent->components, RECENT_COMPONENTS_MAX * sizeof *recent->components);
    memory_unmap(recent->links, RECENT_COMPONENTS_MAX * sizeof *recent->links);
    memory_unmap(recent->owners, RECENT_OWNERS_MAX * sizeof *recent->owners);
    free(recent);
}

void recent_clear(struct recent *recent)
{
    memset(recent->heads, 0, ((size_t)recent->mask + 1) * sizeof(uint32_t));
    begin_empty(recent);
}

bool recent_is_empty(const struct recent *recent)
{
    return recent->sheaves == 0 && recent->range_count == 0 && recent->component_count == 0;
}

size_t recent_capacity(const struct recent *recent)
{
    return recent->size;
}

size_t recent_used(const struct recent *recent)
{
    return recent->used;
}

bool recent_is_at_limit(const struct recent *recent)
{
    return recent->range_count + 64 > RECENT_RANGES_MAX || recent->component_count + 64 > RECENT_COMPONENTS_MAX ||
           recent->drops_max >= RECENT_DROPS_MAX;
}

/* A last sheaf of births that grows to its full size must always fit. */
static size_t last_sheaf_bytes(void)
{
    return 2 * sheaf_bytes(true, SHEAF_SHIFTS - 1);
}

size_t recent_usable(size_t bytes, size_t room)
{
    size_t kept = (size_t)heads_for(bytes) * sizeof(uint32_t) + last_sheaf_bytes() + room;
    return bytes > kept ? bytes - kept : 0;
}

size_t recent_room(const struct recent *recent)
{
    if (recent_is_at_limit(recent))
        return 0;
    size_t last = last_sheaf_bytes();
    size_t left = recent->size - recent->used;
    return left > last ? left - last : 0;
}

bool recent_takes_record(const struct recent *recent)
{
    return recent->range_count < RECENT_RANGES_MAX && recent->component_count < RECENT_COMPONENTS_MAX &&
           recent->size - recent->used > last_sheaf_bytes() + RECENT_RECORD_ROOM;
}

static uint32_t sheaf_allocate(struct recent *recent, bool births, unsigned shift)
{
    size_t bytes = sheaf_bytes(births, shift);
    uint32_t reference = recent->free_lists[births][shift];
    if (reference) {
        recent->free_lists[births][shift] = at(recent, reference)->next;
        recent->freed -= bytes;
    } else {
        ASSERT(recent->used + bytes <= recent->size);
        reference = (uint32_t)(recent->used / ARENA_UNIT);
        recent->used += bytes;
    }
    struct sheaf *sheaf = at(recent, reference);
    *sheaf = (struct sheaf){.shift = (uint8_t)shift, .births = births};
    return reference;
}

static void sheaf_release(struct recent *recent, uint32_t reference)
{
    struct sheaf *sheaf = at(recent, reference);
    sheaf->next = recent->free_lists[sheaf->births][sheaf->shift];
    recent->free_lists[sheaf->births][sheaf->shift] = reference;
    recent->freed += sheaf_bytes(sheaf->births, sheaf->shift);
}

/* The link that holds the sheaf's reference, or the end of its chain. Births have owner 0, which no component has. */
static uint32_t *sheaf_link(const struct recent *recent, uint64_t owner, uint64_t number)
{
    uint32_t *link = head_of(recent, owner, number);
    while (*link) {
        struct sheaf *sheaf = at(recent, *link);
        if (sheaf->number == number && sheaf->owner == owner)
            break;
        link = &sheaf->next;
    }
    return link;
}

static const struct sheaf *sheaf_find(const struct recent *recent, uint64_t owner, uint64_t number)
{
    uint32_t reference = *sheaf_link(recent, owner, number);
    return reference ? at(recent, reference) : NULL;
}

/* The position of `index` in the sheaf, or -1. */
static int sheaf_position(const struct sheaf *sheaf, uint8_t index)
{
    const uint8_t *indices = sheaf_indices(sheaf);
    const uint8_t *found = memchr(indices, index, sheaf->count);
    return found ? (int)(found - indices) : -1;
}

static uint32_t sheaf_grow(struct recent *recent, uint32_t reference)
{
    struct sheaf *old = at(recent, reference);
    uint32_t grown = sheaf_allocate(recent, old->births, old->shift + 1u);
    struct sheaf *sheaf = at(recent, grown);
    size_t item = old->births ? sizeof(struct birth) : sizeof(struct map_entry);
    sheaf->next = old->next;
    sheaf->count = old->count;
    sheaf->owner = old->owner;
    sheaf->number = old->number;
    memcpy(sheaf + 1, old + 1, item * old->count);
    memcpy((uint8_t *)sheaf_indices(sheaf), sheaf_indices(old), old->count);
    sheaf_release(recent, reference);
    return grown;
}

static uint32_t region_bit(uint64_t component, uint64_t leaf)
{
    return (uint32_t)((leaf >> REGION_SHIFT) + component * UINT64_C(0x9e3779b97f4a7c15) / REGION_BITS) % REGION_BITS;
}

static bool region_may_have(const struct recent *recent, uint64_t component, uint64_t leaf)
{
    uint32_t bit = region_bit(component, leaf);
    return recent->regions[bit / 64] >> (bit % 64) & 1;
}

uint64_t recent_leaf_next(const struct recent *recent, uint64_t component, uint64_t first, uint64_t end)
{
    for (uint64_t leaf = first; leaf < end;) {
        if (!region_may_have(recent, component, leaf))
            leaf = ((leaf >> REGION_SHIFT) + 1) << REGION_SHIFT;
        else if (sheaf_find(recent, component, leaf))
            return leaf;
        else
            leaf++;
    }
    return end;
}

/* Its place among the owners, or where that would be. */
static struct owner *owner_place(const struct recent *recent, uint64_t component)
{
    size_t low = 0, high = recent->owner_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (recent->owners[middle].component < component)
            low = middle + 1;
        else
            high = middle;
    }
    return &recent->owners[low];
}

/* NULL: nothing of it was entered, or it is not told apart. */
static struct owner *owner_find(const struct recent *recent, uint64_t component)
{
    struct owner *place = owner_place(recent, component);
    bool known = place < recent->owners + recent->owner_count && place->component == component;
    return known ? place : NULL;
}

/* Counts the component where it is new. NULL where there are too many to tell it apart. */
static struct owner *owner_enter(struct recent *recent, uint64_t component)
{
    if (recent->owner_last && recent->owner_last->component == component)
        return recent->owner_last;
    struct owner *place = owner_place(recent, component), *end = recent->owners + recent->owner_count;
    if (place == end || place->component != component) {
        if (recent->owner_count == RECENT_OWNERS_MAX)
            return NULL;
        memmove(place + 1, place, (size_t)(end - place) * sizeof *place);
        *place = (struct owner){.component = component};
        recent->owner_count++;
    }
    recent->owner_last = place;
    return place;
}

/* The place of an item in its sheaf, which is made or grown where needed. */
static void *sheaf_enter(struct recent *recent, bool births, uint64_t owner, uint64_t number, uint8_t index)
{
    uint32_t *link = sheaf_link(recent, owner, number);
    if (!*link) {
        uint32_t made = sheaf_allocate(recent, births, births ? 2 : 0);
        at(recent, made)->owner = owner;
        at(recent, made)->number = number;
        *link = made;
        recent->sheaves++;
        recent->birth_pages += births;
        if (!births) {
            recent->regions[region_bit(owner, number) / 64] |= UINT64_C(1) << region_bit(owner, number) % 64;
            struct owner *entered = owner_enter(recent, owner);
            if (entered)
                entered->sheaves++;
        }
    }
    struct sheaf *sheaf = at(recent, *link);
    int position = sheaf_position(sheaf, index);
    if (position < 0) {
        recent->points += !births;
        if (sheaf->count == 1u << sheaf->shift) {
            *link = sheaf_grow(recent, *link);
            sheaf = at(recent, *link);
        }
        position = sheaf->count++;
        ((uint8_t *)sheaf_indices(sheaf))[position] = index;
    }
    size_t item = births ? sizeof(struct birth) : sizeof(struct map_entry);
    return (uint8_t *)(sheaf + 1) + item * (size_t)position;
}

/* The first range that ends behind (component, leaf). */
static size_t range_after(const struct recent *recent, uint64_t component, uint64_t leaf)
{
    size_t low = 0, high = recent->range_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct hole_range *range = &recent->ranges[middle];
        if (range->component < component || (range->component == component && range->end <= leaf))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint64_t recent_told_next(const struct recent *recent, uint64_t component, uint64_t first, uint64_t end)
{
    size_t n = range_after(recent, component, first);
    if (n < recent->range_count && recent->ranges[n].component == component)
        end = MIN(end, MAX(recent->ranges[n].first, first));
    return recent_leaf_next(recent, component, first, end);
}

uint64_t recent_range_end(const struct recent *recent, uint64_t component, uint64_t leaf)
{
    size_t n = range_after(recent, component, leaf);
    bool inside =
        n < recent->range_count && recent->ranges[n].component == component && recent->ranges[n].first <= leaf;
    return inside ? recent->ranges[n].end : leaf;
}

bool recent_find(const struct recent *recent, uint64_t component, uint64_t block, struct map_entry *entry)
{
    bool may_have = region_may_have(recent, component, block / SHEAF_ITEMS);
    const struct sheaf *sheaf = may_have ? sheaf_find(recent, component, block / SHEAF_ITEMS) : NULL;
    if (sheaf) {
        int position = sheaf_position(sheaf, (uint8_t)(block % SHEAF_ITEMS));
        if (position >= 0) {
            *entry = sheaf_entries(sheaf)[position];
            return true;
        }
    }
    size_t n = range_after(recent, component, block / SHEAF_ITEMS);
    if (n < recent->range_count && recent->ranges[n].component == component &&
        recent->ranges[n].first <= block / SHEAF_ITEMS) {
        *entry = (struct map_entry){0};
        return true;
    }
    return false;
}

const struct sheaf *recent_birth_page(const struct recent *recent, uint64_t cid)
{
    return sheaf_find(recent, 0, cid / SHEAF_ITEMS);
}

bool recent_find_birth(const struct recent *recent, uint64_t cid, struct birth *birth)
{
    const struct sheaf *sheaf = recent_birth_page(recent, cid);
    int position = sheaf ? sheaf_position(sheaf, (uint8_t)(cid % SHEAF_ITEMS)) : -1;
    if (position < 0)
        return false;
    *birth = sheaf_births(sheaf)[position];
    return true;
}

void recent_enter(struct recent *recent, uint64_t component, uint64_t block, struct map_entry entry)
{
    ASSERT(component != 0);
    struct map_entry *item = sheaf_enter(recent, false, component, block / SHEAF_ITEMS, (uint8_t)(block % SHEAF_ITEMS));
    *item = entry;
}

void recent_enter_birth(struct recent *recent, struct map_entry entry, struct fingerprint fingerprint)
{
    uint64_t cid = entry_cid(entry);
    struct birth *item = sheaf_enter(recent, true, 0, cid / SHEAF_ITEMS, (uint8_t)(cid % SHEAF_ITEMS));
    *item = (struct birth){.entry = entry, .fingerprint = fingerprint};
}

static void points_remove_leaf(struct recent *recent, uint32_t *link, uint64_t *left)
{
    struct sheaf *sheaf = at(recent, *link);
    uint32_t reference = *link;
    recent->points -= sheaf->count;
    recent->sheaves--;
    --*left;
    *link = sheaf->next;
    sheaf_release(recent, reference);
}

/* Leaves from `first` on, of regions that may have points. Who wrote to an object mostly did so near its begin, which is found
 * long before as many leaves are asked as there are chains. Returns the first leaf that was not asked. */
static uint64_t points_remove_ahead(struct recent *recent, uint64_t component, uint64_t first, uint64_t end, uint64_t *left)
{
    uint64_t asked = 0;
    while (first < end && *left && asked <= recent->mask / ASKED_PART) {
        uint64_t region_end = MIN(end, ((first >> REGION_SHIFT) + 1) << REGION_SHIFT);
        asked += region_may_have(recent, component, first) ? region_end - first : 0;
        for (; *left && (first = recent_leaf_next(recent, component, first, region_end)) < region_end; first++)
            points_remove_leaf(recent, sheaf_link(recent, component, first), left);
    }
    recent->range_asked += asked;
    return first;
}

/* What is left of them is looked for in all chains. */
static void points_remove_behind(struct recent *recent, uint64_t component, uint64_t first, uint64_t end, uint64_t *left)
{
    for (uint32_t h = 0; h <= recent->mask && *left; h++) {
        uint32_t *link = &recent->heads[h];
        recent->range_asked++;
        while (*link) {
            struct sheaf *sheaf = at(recent, *link);
            if (sheaf->owner == component && sheaf->number >= first && sheaf->number < end)
                points_remove_leaf(recent, link, left);
            else
                link = &sheaf->next;
        }
    }
}

/* Under locks that all commits take, however large the table and the range are: it ends with the last sheaf that the component
 * has, and one that has none costs nothing. */
static void points_remove(struct recent *recent, uint64_t component, uint64_t first, uint64_t end)
{
    uint64_t unknown = UINT64_MAX;
    struct owner *owner = owner_find(recent, component);
    if (!owner && recent->owner_count < RECENT_OWNERS_MAX)
        return;
    uint64_t *left = owner ? &owner->sheaves : &unknown;
    first = points_remove_ahead(recent, component, first, end, left);
    if (first < end && *left)
        points_remove_behind(recent, component, first, end, left);
}

/* Where it covers more leaves, whole subtrees are among them; where all, the top. */
static uint64_t range_drops(uint64_t first, uint64_t end)
{
    bool whole = first == 0 && end >= LARGEST_LEAVES;
    return MIN(end - first, whole ? (uint64_t)WHOLE_DROPS_MAX : (uint64_t)RANGE_DROPS_MAX);
}

static void range_enter(struct recent *recent, uint64_t component, uint64_t first, uint64_t end)
{
    /* All ranges of the component that overlap or touch [first, end) become one. */
    size_t n = range_after(recent, component, first ? first - 1 : 0);
    size_t stop = n;
    while (stop < recent->range_count && recent->ranges[stop].component == component && recent->ranges[stop].first <= end) {
        first = MIN(first, recent->ranges[stop].first);
        end = MAX(end, recent->ranges[stop].end);
        recent->drops_max -= range_drops(recent->ranges[stop].first, recent->ranges[stop].end);
        stop++;
    }
    ASSERT(stop > n || recent->range_count < RECENT_RANGES_MAX);
    memmove(&recent->ranges[n + 1], &recent->ranges[stop], (recent->range_count - stop) * sizeof *recent->ranges);
    recent->range_count = recent->range_count - stop + n + 1;
    recent->ranges[n] = (struct hole_range){component, first, end};
    recent->drops_max += range_drops(first, end);
    (void)owner_enter(recent, component);
}

uint64_t recent_range_asked(const struct recent *recent)
{
    return recent->range_asked;
}

void recent_enter_holes(struct recent *recent, uint64_t component, uint64_t first, uint64_t end)
{
    uint64_t leaf_first = (first + SHEAF_ITEMS - 1) / SHEAF_ITEMS, leaf_end = end / SHEAF_ITEMS;
    struct map_entry hole = {0};
    if (leaf_first >= leaf_end) {
        for (uint64_t block = first; block < end; block++)
            recent_enter(recent, component, block, hole);
        return;
    }
    points_remove(recent, component, leaf_first, leaf_end);
    range_enter(recent, component, leaf_first, leaf_end);
    for (uint64_t block = first; block < leaf_first * SHEAF_ITEMS; block++)
        recent_enter(recent, component, block, hole);
    for (uint64_t block = leaf_end * SHEAF_ITEMS; block < end; block++)
        recent_enter(recent, component, block, hole);
}

/* ---- links ---------------------------------------------------------------------------------------------------------- */

/* The first link of this component or a later one. */
static size_t link_after(const struct recent *recent, uint64_t component)
{
    size_t low = 0, high = recent->link_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (recent->links[middle].component < component)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct link *link_find(const struct recent *recent, uint64_t component)
{
    size_t n = link_after(recent, component);
    return n < recent->link_count && recent->links[n].component == component ? &recent->links[n] : NULL;
}

static void link_enter(struct recent *recent, uint64_t component, uint64_t base)
{
    const struct link *below = link_find(recent, base);
    uint32_t depth = below ? below->depth + 1 : 1;
    size_t n = link_after(recent, component);
    memmove(&recent->links[n + 1], &recent->links[n], (recent->link_count - n) * sizeof *recent->links);
    recent->links[n] = (struct link){component, base, depth};
    recent->link_count++;
    recent->link_depth = MAX(recent->link_depth, depth);
}

bool recent_base(const struct recent *recent, uint64_t component, uint64_t *base)
{
    const struct link *link = recent->link_count ? link_find(recent, component) : NULL;
    if (!link)
        return false;
    *base = link->base;
    return true;
}

bool recent_has_heirs(const struct recent *recent, uint64_t component)
{
    for (size_t i = 0; i < recent->link_count; i++)
        if (recent->links[i].base == component)
            return true;
    return false;
}

uint32_t recent_link_depth(const struct recent *recent)
{
    return recent->link_depth;
}

uint64_t recent_links_count(const struct recent *recent)
{
    return recent->link_count;
}

uint64_t recent_owners_count(const struct recent *recent)
{
    return recent->owner_count;
}

void recent_enter_component(struct recent *recent, const struct component_change *change)
{
    ASSERT(recent->component_count < RECENT_COMPONENTS_MAX);
    recent->components[recent->component_count++] = *change;
    if (change->state == COMPONENT_LIVE && change->base && !change->published)
        link_enter(recent, change->id, change->base);
}

static int sheaf_order(const void *a, const void *b)
{
    const struct sheaf *x = *(const struct sheaf *const *)a, *y = *(const struct sheaf *const *)b;
    if (x->owner != y->owner)
        return x->owner < y->owner ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

enum error recent_sorted(const struct recent *recent, bool births, const struct sheaf ***out, size_t *out_count)
{
    size_t count = 0;
    const struct sheaf **sheaves = malloc((recent->sheaves + 1) * sizeof *sheaves);
    if (!sheaves)
        return ERROR_NO_MEMORY;
    for (uint32_t h = 0; h <= recent->mask; h++)
        for (uint32_t r = recent->heads[h]; r; r = at(recent, r)->next)
            if (at(recent, r)->births == births)
                sheaves[count++] = at(recent, r);
    qsort(sheaves, count, sizeof *sheaves, sheaf_order);
    *out = sheaves;
    *out_count = count;
    return ERROR_NONE;
}

bool recent_leaves(const struct recent *recent, uint64_t component, uint32_t *cursor,
                   void (*leaf)(void *context, uint64_t number), void *context)
{
    uint32_t end = MIN(recent->mask + 1, *cursor + LEAVES_CHAINS);
    for (; *cursor < end; ++*cursor)
        for (uint32_t r = recent->heads[*cursor]; r; r = at(recent, r)->next)
            if (at(recent, r)->owner == component)
                leaf(context, at(recent, r)->number);
    return end <= recent->mask;
}

const struct hole_range *recent_ranges(const struct recent *recent, size_t *count)
{
    *count = recent->range_count;
    return recent->ranges;
}

const struct component_change *recent_components(const struct recent *recent, size_t *count)
{
    *count = recent->component_count;
    return recent->components;
}

uint64_t recent_component_end(const struct recent *recent, uint64_t component)
{
    uint64_t end = 0;
    for (uint32_t h = 0; h <= recent->mask; h++)
        for (uint32_t r = recent->heads[h]; r; r = at(recent, r)->next)
            if (at(recent, r)->owner == component)
                end = MAX(end, (at(recent, r)->number + 1) * SHEAF_ITEMS);
    return end;
}

uint64_t recent_points_count(const struct recent *recent)
{
    return recent->points;
}
uint64_t recent_sheaves_count(const struct recent *recent)
{
    return recent->sheaves;
}
uint64_t recent_birth_pages_count(const struct recent *recent)
{
    return recent->birth_pages;
}
uint64_t recent_drops_max(const struct recent *recent)
{
    return recent->drops_max;
}
