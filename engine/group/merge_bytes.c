/*
 * What a merge can write at most, so that admission lets in no commit whose merge would not find its segments.
 *
 * Every item is counted at its full size where its own size is not known, and every node on the way to a changed leaf
 * as if no two leaves had one in common. Only where that says nothing it is held against what there is: inner nodes
 * against the live bytes of the second copies (each inner node has one there, and grows by no more than the pointers
 * that it gets), pages of counts against their number. Counts are applied in rounds of CHANGES_MAX, and each round may
 * write the same pages again. What is released is bounded by what there is, and by what the merge lets itself release.
 *
 * Pure but for what it reads of the group, under the group's lock: a commit asks it each time, so it walks nothing.
 */
#include "base/memory.h"
#include "engine/group/merge.h"
#include "engine/group/view.h"

#define PAGE_BYTES    (BLOCK_SIZE + 64u) /* an item that did not compress, with its header and descriptor */
#define INNER_LEVELS  (NODE_LEVELS_MAX - 1u)
#define INNER_FRESH   160u /* of an inner node with one child: zeros compress */
#define POINTER_BYTES 48u  /* that one more pointer, or another one, adds to an inner node that compresses */
#define INNER_SMALL   64u  /* less than an inner node ever takes */
#define PATH_NODES    (1 + 2 * INNER_LEVELS) /* a leaf, and the inner nodes above it twice */
#define FIXED_PAGES   64u  /* components, and what is too small to be counted */
#define LEAF_BYTES    80u  /* of a leaf beside its entries */
#define ENTRY_BYTES   24u  /* of an entry in a leaf that compresses, with the hole before it (entry.c) */
#define SEGMENTS_PASSES 3u /* pages of the segment table that its own writing changes are written again */
#define SEGMENTS_PER_PAGE (BLOCK_SIZE / sizeof(struct segment_entry_format))

_Static_assert((UINT64_C(1) << 26) / (NODE_FANOUT * NODE_FANOUT * NODE_FANOUT) == WHOLE_DROPS_MAX, "the leaves of 64 TiB");
_Static_assert(RANGE_DROPS_MAX == 2 * (NODE_FANOUT - 1) * 4, "both edges of a range, in a map of five levels");

/* What one table brings, after `before` (which may be NULL) was merged. */
struct load {
    uint64_t sheaves, points, births; /* births: pages of them */
    uint64_t mapped;
    uint64_t cut;         /* inner nodes at the ends of ranges */
    uint64_t nodes;       /* that may be written */
    uint64_t entered;     /* into the release list, */
    uint64_t listed;      /* which then has so many entries, */
    uint64_t released;    /* and loses so many references */
    uint64_t second_live; /* bytes of second copies before the merge */
    uint64_t copies;      /* of one leaf, or inner node, that may come of it: 1 where nothing is shared */
    uint64_t links;       /* components that take over the map of a base */
    bool shares;
};

static uint64_t inner_growth(uint64_t sheaves)
{
    return sheaves * INNER_LEVELS * (INNER_FRESH + POINTER_BYTES);
}

static uint64_t sheaves_of(const struct recent *recent)
{
    return recent ? recent_sheaves_count(recent) - recent_birth_pages_count(recent) : 0;
}

static uint64_t ranges_of(const struct recent *recent)
{
    size_t ranges = 0;
    if (recent)
        (void)recent_ranges(recent, &ranges);
    return ranges;
}

/* The last node that is released, and the last leaf, may go beyond what was let. */
static uint64_t released_of(const struct load *load, uint64_t releases)
{
    uint64_t all = load->mapped * (1 + PATH_NODES), added = load->points + load->nodes;
    return load->listed ? MIN(releases + added + MAP_LEAF_ENTRIES + 1, all) : 0;
}

static bool is_sharing(const struct group *group)
{
    const struct view *view = group->view;
    return group->checkpoint.families || recent_links_count(view->active) ||
           (view->frozen && recent_links_count(view->frozen));
}

/* What is shared is copied for each component that changes it. */
static uint64_t copies_of(const struct recent *recent)
{
    uint64_t owners = recent ? recent_owners_count(recent) : 1;
    return owners < RECENT_OWNERS_MAX ? MAX(owners, 1) : MAX(recent_sheaves_count(recent) + ranges_of(recent), owners);
}

/* … and is there once more for the next merge. */
static void copies_count_in(struct load *load, const struct recent *recent, const struct recent *before)
{
    load->shares = true;
    load->copies = copies_of(recent);
    load->links = recent ? recent_links_count(recent) : 0;
    if (!before)
        return;
    uint64_t inner = sheaves_of(before) * INNER_LEVELS * PAGE_BYTES;
    load->mapped += MIN(sheaves_of(before) * MAP_LEAF_ENTRIES, load->mapped * copies_of(before));
    load->second_live += MIN(inner, load->second_live * copies_of(before));
}

static struct load load_of(const struct group *group, const struct recent *recent, const struct recent *before,
                           uint64_t releases)
{
    struct load load = {
        .sheaves = sheaves_of(recent),
        .points = recent ? recent_points_count(recent) : 0,
        .births = recent ? recent_birth_pages_count(recent) : 0,
        .cut = 2 * ranges_of(recent) * INNER_LEVELS,
        .second_live = group->second_live + (before ? inner_growth(recent_sheaves_count(before)) : 0),
        .copies = 1,
    };
    load.mapped = group->checkpoint.blocks_mapped + load.points + (before ? recent_points_count(before) : 0);
    if (is_sharing(group))
        copies_count_in(&load, recent, before);
    load.nodes = load.sheaves * PATH_NODES + 2 * load.cut;
    load.entered = recent ? MIN(recent_drops_max(recent), load.mapped * INNER_LEVELS) : 0;
    load.listed = group->checkpoint.release_end + load.entered + (before ? recent_drops_max(before) : 0);
    load.released = released_of(&load, releases);
    return load;
}

static uint64_t leaf_bytes(const struct load *load)
{
    return MIN(load->sheaves * PAGE_BYTES, load->sheaves * LEAF_BYTES + load->mapped * load->copies * ENTRY_BYTES);
}

/* Inner nodes of maps: all on the way to the leaves, but not more than there are and come. At the ends of a range that
 * is dropped nodes only lose pointers. */
static uint64_t inner_bytes(const struct load *load)
{
    uint64_t all = (load->sheaves * INNER_LEVELS + load->cut) * PAGE_BYTES;
    uint64_t there = load->second_live + MIN(load->cut, load->second_live / INNER_SMALL) * POINTER_BYTES;
    return 2 * MIN(all, there * load->copies + inner_growth(load->sheaves));
}

/* `changed` of the `all` pages of a table in so many rounds, with the inner ones above them, twice. */
static uint64_t table_bytes(uint64_t changed, uint64_t all, uint64_t rounds)
{
    uint64_t pages = MIN(changed, rounds * all);
    uint64_t inner = MIN(pages * INNER_LEVELS, rounds * (all / (NODE_FANOUT - 1) + INNER_LEVELS));
    return (pages + 2 * inner) * PAGE_BYTES;
}

/* References that copies of leaves and inner nodes take to what they have in common with what they are made of. */
static uint64_t adds_of(const struct load *load)
{
    if (!load->shares)
        return 0;
    uint64_t inner = MIN(load->sheaves * INNER_LEVELS + load->cut, load->second_live * load->copies / INNER_SMALL);
    return MIN(load->sheaves * MAP_LEAF_ENTRIES, load->mapped * load->copies) + 2 * inner * NODE_FANOUT + 2 * load->links;
}

static uint64_t chunk_table_bytes(const struct group *group, const struct load *load)
{
    uint64_t adds = adds_of(load);
    uint64_t changes = 2 * load->points + 2 * load->nodes + load->released + adds;
    uint64_t rounds = (changes - adds + CHANGES_MAX - 1) / CHANGES_MAX;
    if (load->shares)
        rounds += (adds + ADDS_MAX - 1) / ADDS_MAX + load->copies + 1;
    uint64_t cids = group->cids.end + load->nodes;
    uint64_t count_pages = cids / COUNTS_PER_PAGE + 1, cid_pages = cids / CID_PAGE + 1;
    return table_bytes(changes, count_pages, rounds) +                                       /* counts */
           2 * table_bytes(load->nodes / CID_PAGE_NODES_MIN + 2 * rounds, cid_pages, rounds) + /* places of nodes, twice */
           3 * table_bytes(load->births, cid_pages, 1);                                      /* places, fingerprints */
}

/* Each device has pages and inner nodes of its own; all are written twice. */
static uint64_t segment_table_bytes(const struct segments *segments)
{
    uint64_t pages = segments->count / SEGMENTS_PER_PAGE + segments->device_count;
    uint64_t inner = pages / (NODE_FANOUT - 1) + segments->device_count + INNER_LEVELS;
    return SEGMENTS_PASSES * 2 * (pages + inner) * PAGE_BYTES;
}

/* All pages are written twice. What is taken off the list only empties pages, but for the children of a node on each
 * level. Pages of components whose figures change are there already, and hardly change in size. */
static uint64_t release_bytes(const struct group *group, const struct load *load)
{
    if (load->listed == 0)
        return 0;
    uint64_t entries = load->entered + INNER_LEVELS * NODE_FANOUT;
    uint64_t list = entries / RELEASES_PER_PAGE + 2, all = (load->listed + entries) / RELEASES_PER_PAGE + 1;
    uint64_t components = MIN(load->listed, load->mapped), pages = group->component_next / COMPONENTS_PER_PAGE + 1;
    return 2 * table_bytes(list, all, 1) +
           2 * MIN(table_bytes(components, pages, 1), load->second_live + components * POINTER_BYTES);
}

/* Entries of bases and heirs; pages are written twice. */
static uint64_t links_bytes(const struct group *group, const struct load *load)
{
    uint64_t pages = group->component_next / COMPONENTS_PER_PAGE + 1;
    return load->links ? 2 * table_bytes(2 * load->links, pages, 1) : 0;
}

uint64_t group_merge_bytes(const struct group *group, const struct recent *recent, const struct recent *before,
                           uint64_t releases)
{
    struct load load = load_of(group, recent, before, releases);
    uint64_t bytes = leaf_bytes(&load) + inner_bytes(&load) + chunk_table_bytes(group, &load) + links_bytes(group, &load) +
                     release_bytes(group, &load) + segment_table_bytes(&group->segments) + FIXED_PAGES * PAGE_BYTES;
    return bytes * 9 / 8; /* headers and ends of appends, ends of segments */
}
