/*
 * Known damage: a bounded ledger of what failed its check, found by a client's read or by a scrub, as ranges of blocks
 * of objects where that is known, with the place on the device.
 *
 * A row of blocks goes when a commit maps them otherwise, or when a scrub verifies them as good; all other rows when a
 * whole scrub does not find them again. The ledger is a memory aid for people and decides one thing only: that nothing
 * new comes to refer to bytes that are known to be damaged (damages_holds), so that the same content, written again
 * from a backup, is stored anew. So it may be lost (a crash forgets what was not saved yet, scrub_file.c) and may be
 * full.
 *
 * Locks: the ledger's own mutex, a leaf. What is noted by a reader is told, as a message, by the scrub thread: names of
 * objects are under pool->lock, which no reader may wait for.
 */
#ifndef COFFER_ENGINE_POOL_DAMAGE_H
#define COFFER_ENGINE_POOL_DAMAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/group/entry.h"
#include "engine/pool/pool.h"

/* Rows: more than a person goes through by hand, little enough to be saved whole (150 KiB) at each change. Neighbours
 * are one row, so a device with noise over whole segments needs one for each run of damaged units. */
#define DAMAGES_MAX 1024

enum damage_kind {
    DAMAGE_BLOCKS = 1, /* owner: component; first, end: blocks that cannot be read */
    DAMAGE_STORED,     /* owner: serial; first, end: grains. Units or nodes: whose they are is not known (yet) */
    DAMAGE_NODE,       /* owner: component; first: number in its level. One copy of a node; the other is whole */
    DAMAGE_PAGE,       /* owner: table; likewise, or of the only copy */
    DAMAGE_HEADER,     /* owner: serial of the segment */
    DAMAGE_SUPERBLOCK, /* owner: device; first: copy */
    DAMAGE_RECORD,     /* owner: device; first: copy. The newest checkpoint record */
    DAMAGE_KINDS,
};

enum damage_fault {
    DAMAGE_CHANGED = 1, /* the bytes are not what was written */
    DAMAGE_UNREADABLE,  /* the device fails to read them */
    DAMAGE_GONE,        /* their segment is not there */
    DAMAGE_MAP,         /* blocks whose leaf, or a node above it, is lost in all copies */
    DAMAGE_FAULTS,
};

struct damage {
    uint8_t kind, fault, level;
    bool lost;     /* no other copy is known to be whole */
    bool by_scrub; /* found by a scrub first; else by a read */
    bool named;    /* DAMAGE_STORED: what refers to it has rows of its own; this one is for damages_holds() only */
    bool told;     /* a message was printed */
    uint64_t owner, first, end;
    uint64_t serial; /* where (the first of) it lies */
    uint32_t offset; /* grains within the segment */
    uint32_t device, slot;
    uint64_t found; /* seconds since 1970 */
    uint64_t pass;  /* of the scrub that ran, or had run last, when it was found or found again */
};

struct damages {
    struct mutex mutex;  /* RANK_LEAF */
    struct damage *rows; /* DAMAGES_MAX, sorted by kind, owner, level, first; NULL until there is one */
    _Atomic size_t count;
    _Atomic size_t stored;    /* of them, of DAMAGE_STORED */
    _Atomic uint64_t changes; /* counts up */
    _Atomic bool untold;
    _Atomic uint64_t pass; /* of the scrub that runs, or ran last */
    _Atomic bool naming;   /* a scrub runs, which will say whose the rows of DAMAGE_STORED are */
    bool more;             /* some found no room */
    _Atomic bool unlisted; /* one of DAMAGE_STORED did not, in the pass `unlisted_pass` at last: it may be anywhere */
    uint64_t unlisted_pass;
};

void damages_init(struct damages *damages);
void damages_deinit(struct damages *damages);
void damages_clear(struct damages *damages);

/* A scrub of this number runs from now on, or `runs` no more; a new one forgets that there was no room. */
void damages_set_pass(struct damages *damages, uint64_t pass, bool runs, bool is_new);
/* Enters a row (all but found, told, pass, which are set here); what was known of the range is kept where it is the
 * same. Where the ledger is full, what is known stays, if need be as a row that is too large. */
void damages_add(struct damages *damages, const struct damage *damage);
/* As it was saved, all fields. False where there is no room. */
bool damages_restore(struct damages *damages, const struct damage *damage);
/* What was saved was not all, of whatever kind. */
void damages_set_more(struct damages *damages);
/* The range is not damaged any more; `level` of nodes and pages. Quick where nothing is known. */
void damages_cut(struct damages *damages, enum damage_kind kind, uint64_t owner, uint8_t level, uint64_t first,
                 uint64_t end);
/* Whether what stands at an address is known to be damaged. Quick where nothing is. A full ledger may not know: then
 * every address is, until a scrub has gone through. */
bool damages_holds(struct damages *damages, uint64_t serial, uint32_t offset);
/* Whether one row has the whole range with the same fault already. */
bool damages_know(struct damages *damages, const struct damage *damage);
/* Whether a person is to be shown the row. */
static inline bool damage_is_shown(const struct damage *damage)
{
    return damage->kind != DAMAGE_STORED || !damage->named;
}
/* Rows of what lies at [first, end) of a segment are named from now on. */
void damages_name(struct damages *damages, uint64_t serial, uint64_t first, uint64_t end);
/* A pass has come to its end: rows that it did not find again go. False, with nothing done, where another was begun meanwhile:
 * what is found since is that one's. */
bool damages_end_pass(struct damages *damages, uint64_t pass);
/* A copy of the rows that were not told yet, which are told from now on; NULL where there are none, or no memory (they
 * stay untold). *rows is the caller's (free). */
struct damage *damages_take_untold(struct damages *damages, size_t *count);
/* A copy of all rows, or of those that are shown; *rows is the caller's (free), NULL where there are none. *more: some
 * found no room. */
enum error damages_copy(struct damages *damages, bool all, struct damage **rows, size_t *count, bool *more) CHECKED;

/* ---- damage_note.c: what readers and writers say --------------------------------------------------------------------
 */

/* Blocks of a component that were read, with what became of each: CORRUPT and IO are noted. entries[i] is a hole where
 * the map could not be asked. Under no lock; not on the way of a read that succeeds. */
void damage_note_read(struct pool *pool, uint64_t component, const uint64_t *blocks, const struct map_entry *entries,
                      const enum error *errors, size_t count);
/* Enters one block of which an entry (not a hole) was found damaged, unless it is mapped otherwise by now. */
void damage_note_block(struct pool *pool, uint64_t component, uint64_t block, struct map_entry entry,
                       enum damage_fault fault, bool by_scrub);
/* Device and slot of damage->serial; the fault becomes DAMAGE_GONE where it has none. */
void damage_place(struct group *group, struct damage *damage);
enum damage_fault damage_fault_of(enum error error);
/* Blocks were committed: from now on they are mapped otherwise. */
static inline void damage_overwritten(struct pool *pool, uint64_t component, uint64_t first, uint64_t end)
{
    damages_cut(pool->damages, DAMAGE_BLOCKS, component, 0, first, end);
}

/* ---- damage_text.c --------------------------------------------------------------------------------------------------
 */

#define DAMAGE_TEXT 768
/* A sentence; `text` is returned. Under pool->lock. */
const char *damage_text(struct pool *pool, const struct damage *damage, char text[DAMAGE_TEXT]) REQUIRES(pool->lock);
/* Prints what was not told yet. Under no lock. */
void damage_tell(struct pool *pool);

#endif
