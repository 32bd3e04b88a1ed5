/*
 * The checker, as its files share it. check.c tells the story; the others are its steps:
 *
 *   check_roots.c   superblock copies, checkpoint records, segment headers
 *   check_tables.c  the pages of all tables, and which components there are
 *   check_maps.c    the maps of components, and what waits on the release list: nodes, entries, statistics
 *   check_window.c  references against counts, addresses against places, a stretch of CIDs at a time; recent tables
 *   check_units.c   the bytes: every unit, every fingerprint; and which blocks of which object a damaged one concerns
 *   check_totals.c  live bytes of segments, totals of components and of the checkpoint
 *   check_losses.c  what of which object is lost
 *   check_finding.c sentences
 *
 * Offline and in one thread: the pool was opened read-only, so nothing changes and no lock is taken.
 */
#ifndef COFFER_ENGINE_POOL_CHECK_H
#define COFFER_ENGINE_POOL_CHECK_H

#include "base/error.h"
#include "engine/group/evidence.h"
#include "engine/group/release_list.h"
#include "engine/group/view.h"
#include "engine/group/walk.h"
#include "engine/pool/pool.h"

#define CHECK_WINDOW_CHUNKS 1179648u /* of a window at least: 63 MiB; a multiple of the CIDs in a page of counts */
#define CHECK_SENTENCES_MAX 10000    /* findings told one by one; the rest is only counted */
#define CHECK_BAD_MAX       65536    /* damaged chunks whose blocks are looked up */

/* A component of the table or of the recent tables. */
struct check_component {
    uint64_t id;
    struct component_format format;
    uint32_t domain; /* index */
    bool in_table;
    bool gone;                       /* only the release list still knows it */
    bool incomplete;                 /* part of its map could not be read */
    uint64_t blocks;                 /* counted: all that refer to a chunk, */
    uint64_t mapped, random, stored; /* and what the figures in the table are of */
};

struct check_domain {
    struct uuid id;
    struct fingerprint_key *key; /* in the arena; NULL: not asked for yet */
};

enum check_chunk_flags {
    CHUNK_PLACE_UNKNOWN = 1, /* the page that says it cannot be read */
    CHUNK_FINGERPRINT_UNKNOWN = 2,
    CHUNK_COUNT_UNKNOWN = 4,
    CHUNK_IS_NODE = 8,
    CHUNK_IS_DATA = 16,
    CHUNK_RECENT = 32, /* born in a recent table, or one refers to it */
    CHUNK_DOMAINS_TOLD = 64,
    CHUNK_FINGERPRINT_MADE = 128, /* for a repair */
};

/* What is known of one CID of the window. */
struct check_chunk {
    struct map_entry place;
    struct fingerprint fingerprint;
    uint32_t count, references;
    uint32_t owner; /* index + 1 of a component that refers to it; 0: none found */
    uint8_t flags;
    uint8_t reserved[3];
};

/* CIDs of a window where a test wants many: a multiple of 1024; 0: as many as there is memory for. */
extern uint64_t check_window_chunks;

struct check_window {
    uint64_t size; /* CIDs of each, but the last */
    uint64_t first, end; /* CIDs */
    struct check_chunk *chunks;
    uint32_t *order;
};

/* What can be wrong with the data of a range of blocks. */
enum check_fault {
    FAULT_NONE,
    FAULT_IMPOSSIBLE, /* the entry itself */
    FAULT_GONE,       /* its segment is not there */
    FAULT_UNKNOWN,    /* no chunk of this number exists */
    FAULT_MISPLACED,  /* the chunk table says another place */
    FAULT_KIND,       /* the number is a map node's */
    FAULT_DOMAINS,    /* shared by two dedup domains */
    FAULT_UNREADABLE, /* the device fails */
    FAULT_DAMAGED,    /* tag, compression or descriptors do not fit */
    FAULT_FALSE,      /* the fingerprint does not fit the bytes */
    FAULT_ANONYMOUS,  /* no fingerprint, outside of the catalog */
};

/* What refers to a block's chunk. */
enum check_source { SOURCE_MAP, SOURCE_JOURNAL, SOURCE_RELEASES };

/* Neighbouring blocks with one fault become one sentence. */
struct check_range {
    enum check_fault fault;
    uint32_t component; /* index */
    uint64_t first, end;
    struct map_entry entry;
    enum check_source source;
};

struct check_bad {
    struct map_entry entry;
    enum check_fault fault;
    bool named;
};

struct check_recent {
    const struct recent *table;
    const struct sheaf **points, **births;
    size_t point_count, birth_count;
};

struct check_losses;
struct check_repair;

struct check {
    struct pool *pool;
    struct group *group;
    const struct check_listener *listener;
    struct check_report report;
    uint64_t done, total;

    struct check_recent recents[2]; /* the older first */
    size_t recent_count;
    struct check_component *components; /* by rising id */
    size_t component_count, component_capacity;
    struct check_domain *domains;
    size_t domain_count, domain_capacity;
    uint64_t cid_end;
    uint64_t birth_max;                 /* of a pointer */
    struct check_window window;
    uint64_t **seen;      /* of families: a bit for each node that the pass has met, NODES_SEEN_BITS in a piece */
    bool shared_loss;     /* something of a map is lost that components may share */
    bool first_pass; /* nodes of maps are judged in the first window's walk only */

    uint64_t *live, *pages; /* counted bytes by index of segment */
    uint64_t chunks_live;
    bool catalog_incomplete;
    bool components_incomplete; /* some components could not be seen, so their maps were not walked */
    uint64_t releases;      /* live entries of the release list that were found */
    bool maps_incomplete;   /* some references could not be seen */
    bool tables_incomplete; /* some counts or places could not be seen */
    enum error failed;      /* of the checker itself: it cannot go on */
    uint64_t unexplained;   /* counts above their references while maps are incomplete */

    uint64_t counts_stuck, places_lost; /* chunks of which a page was lost before, see group/page_loss.c */
    bool *live_least; /* by index of segment: live bytes may be more than was counted */
    bool live_least_all;

    uint32_t tables_below; /* recent tables as old as what is looked at now, or older */
    struct check_losses *losses;
    struct check_repair *repair; /* NULL: nothing is gathered for one */
    struct check_range range;
    struct check_bad *bad;
    size_t bad_count;
};

/* ---- check.c -------------------------------------------------------------------------------------------------- */

/* pool_check(), which calls `then` (or NULL) at its end, with the pool still open for reading; also where it ends for damage. */
enum error check_opened(const char *directory, const struct pool_open_options *options, const struct check_listener *listener,
                        struct check_report *report, enum error (*then)(struct check *check, void *context),
                        void *context) CHECKED;
/* Checks a pool that is open for a repair, of which nothing is in the recent tables, and calls `apply` at the end. */
enum error check_mend(struct pool *pool, const struct pool_open_options *options, const struct check_listener *listener,
                      struct check_repair *repair, enum error (*apply)(struct check *check)) CHECKED;

/* ---- check_finding.c ------------------------------------------------------------------------------------------ */

void check_find(struct check *check, const char *format, ...) PRINTF(2, 3);
void check_progress(struct check *check, uint64_t bytes);
#define CHECK_TEXT 512
/* "object disk1", "the catalog", "component 7 (no object)"; where an entry stands. Both return `text`. */
const char *check_component_name(const struct check *check, uint32_t component, char text[CHECK_TEXT]);
const char *check_place_text(const struct check *check, uint64_t serial, uint32_t offset, char text[CHECK_TEXT]);
/* A fault of one block; told when a block comes that does not continue it, or by check_range_end(). */
void check_range_add(struct check *check, enum check_fault fault, uint32_t component, uint64_t block,
                     struct map_entry entry, enum check_source source);
void check_range_end(struct check *check);
/* "map of blocks 0 to 255 (level 0)", "page 3 of level 0". */
const char *check_node_text(const struct walk_node *node, char text[CHECK_TEXT]);
/* A node changed after what it belongs to was made (`born`; 0: unknown), not after its parent did (what is younger is
 * skipped by who walks for changes), and not after the newest checkpoint. */
void check_node_birth(struct check *check, const char *what, const struct walk_node *node, uint64_t born);
/* What is wrong with the copies of a node or page; `what` names the tree. True where it cannot be read at all. */
bool check_node_judge(struct check *check, const char *what, const struct walk_node *node);

/* ---- check_roots.c -------------------------------------------------------------------------------------------- */

enum error check_superblocks(struct check *check, const struct pool_open_options *options) CHECKED;
enum error check_records(struct check *check) CHECKED;
enum error check_headers(struct check *check) CHECKED;

/* ---- check_tables.c ------------------------------------------------------------------------------------------- */

/* Walks every table; fills the components, the bytes of pages and cid_end. */
enum error check_tables(struct check *check) CHECKED;
/* Index of a component; false where there is none, or only its remains on the release list. */
bool check_component_find(const struct check *check, uint64_t id, uint32_t *index);
/* The same, its remains included. */
bool check_component_find_any(const struct check *check, uint64_t id, uint32_t *index);
/* Whether entry `index` of the release list is live, and what it says; false where it makes no sense, too. */
bool check_release(const struct check *check, const struct walk_node *page, unsigned index, struct release *release);
void check_catalog(struct check *check);

/* ---- check_maps.c --------------------------------------------------------------------------------------------- */

/* Walks the maps of all components, and what is on the release list, for the window; the first time judges every node as
 * well. */
enum error check_maps(struct check *check) CHECKED;
/* What is lost of a map is lost for all that share it: each is looked at by itself. */
enum error check_maps_losses(struct check *check) CHECKED;
struct tree check_map(const struct check_component *component);
void check_maps_forget(struct check *check);
/* FAULT_NONE, or what is wrong with an entry by itself. */
enum check_fault check_entry_judge(const struct check *check, struct map_entry entry);
/* The entries of a leaf of a map, that was read, with what the cleaner moved where it is now. */
void check_leaf_places(const struct check *check, const struct walk_node *leaf, struct map_entry *places);

/* ---- check_window.c ------------------------------------------------------------------------------------------- */

/* CIDs of a window: by `memory`, of which it has what an index would have, for a check makes none. */
uint64_t check_window_size(uint64_t memory);
enum error check_window_load(struct check *check, uint64_t first) CHECKED;
/* A reference that the trees hold; of a block, or of a node. Nothing where the CID is outside of the window. */
void check_reference_data(struct check *check, uint32_t component, uint64_t block, struct map_entry entry,
                          enum check_source source);
void check_reference_node(struct check *check, uint32_t component, const struct walk_node *node);
void check_window_compare(struct check *check);
void check_window_recent(struct check *check);

/* ---- check_units.c -------------------------------------------------------------------------------------------- */

enum error check_units(struct check *check) CHECKED;
/* Tells which blocks the damaged chunks concern. */
enum error check_bad_name(struct check *check) CHECKED;

/* ---- check_losses.c ------------------------------------------------------------------------------------------- */

/* Blocks that cannot be read by what the map says, or the recent table at hand (tables_below). */
void check_loss_add(struct check *check, uint32_t component, uint64_t first, uint64_t end);
enum error check_losses_tell(struct check *check) CHECKED;
void check_losses_forget(struct check *check);

/* ---- check_totals.c ------------------------------------------------------------------------------------------- */

void check_totals(struct check *check);

#endif
