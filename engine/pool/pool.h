/*
 * A pool as engine/pool's files share it.
 *
 * Locks, outermost first: pool->lock (state, objects, volumes; held across catalog writes, never taken by the data
 * path), the commit section, a group's lock. The data path touches a volume, its object's immutable fields, atomics,
 * the section and the group.
 */
#ifndef COFFER_ENGINE_POOL_POOL_H
#define COFFER_ENGINE_POOL_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/thread.h"
#include "dedup/fingerprint.h"
#include "dedup/unit.h"
#include "engine/coffer.h"
#include "engine/group/group.h"
#include "engine/pool/conf.h"
#include "engine/pool/document.h"
#include "engine/pool/steady.h"
#include "engine/pool/witness.h"

#define OBJECT_SLOT_BLOCKS 256              /* a catalog document begins at slot x 1 MiB */

/* An object, from its catalog document. */
struct object {
    struct object *next, *previous; /* in pool->objects, unordered */
    struct object *name_next, *uuid_next; /* in the chains of pool->table */
    uint64_t slot;                /* of the catalog, 1 and up */
    struct uuid uuid, domain;
    char name[OBJECT_NAME_MAX + 1];
    /* On the group. A snapshot moves the object's writes to another one: changed under pool->lock and in the commit
     * section, where a commit asks it again. */
    _Atomic uint64_t component;
    struct uuid origin_uuid;      /* of a snapshot: the object's; zero: an object of its own */
    struct object *origin;        /* the same; NULL also while the catalog is being read */
    struct object *snapshots, *snapshot_next; /* of an object; in its list */
    bool hold;                    /* of a snapshot: nobody deletes it */
    uint64_t locked_until;        /* … before this; seconds since 1970, by pool_clock(); 0: not locked */
    struct uuid identity;         /* of an imported snapshot: where it was made; zero: its own UUID */
    struct uuid import_stream;    /* of what is being imported; zero: it is not */
    uint64_t import_position;     /* bytes: all that the stream brings before there is in it */
    char *hosts;                  /* what it is the disk of (hosts.h); malloc'ed; NULL: not told */
    uint64_t created, deleted;    /* seconds since 1970 */
    bool deleting;
    uint64_t cut;                 /* bytes: what is beyond the size, below this, is still to be freed; 0: nothing */
    bool cutting;                 /* a thread is at it, without pool->lock: the object stays in memory */
    uint64_t retry_at;            /* clock_monotonic; 0: the janitor has not failed with it */
    unsigned open_count;
    uint64_t revision;            /* raised by each opening for writing and each change of the document; from 0 at an open */
    _Atomic uint64_t size;
    uint64_t reserve;               /* bytes that are reserved for it */
    struct reservation reservation; /* the same, as the group holds it; under the group's lock */
    const struct fingerprint_key *key; /* of its dedup domain; in the arena, shared by all objects of the domain */
};

struct volume {
    struct pool *pool;
    struct object *object;
    unsigned *count; /* of the pool, in which it is: volume_count, or group_users of who only looks; under pool->lock */
    bool read_only;
};

/* A range of blocks that a batch with partial blocks is about to read and then change. Under the section's mutex. */
struct latch {
    struct latch *next;
    const void *owner;
    const void *target; /* where the object's component stands, which may change; NULL: it has none */
    uint64_t component, first, end;
};

/* What batches are lent for (batch.h). */
enum batch_kind {
    BATCH_WRITES,    /* of clients, and all that has parts of blocks */
    BATCH_DOCUMENTS, /* of the catalog */
    BATCH_TRIMS,     /* of clients: ranges of whole blocks, no data */
    BATCH_REMAINS,   /* of what was deleted or cut off, which nobody writes any more */
    BATCH_KINDS
};

struct pool_totals {
    _Atomic uint64_t user_read_bytes, user_write_bytes, user_reads, user_writes, user_flushes;
};

struct pool {
    char *directory;
    char *command;                 /* pool_command() */
    struct pool_conf *conf;
    struct pool_conf *providers;   /* coffer.conf as it was read last for its providers: `conf`, or a later one; pool->lock */
    const struct provider_config *provider; /* of them, the one in force (providers.h); NULL: a plaintext pool; pool->lock */
    struct pool_open_options options;
    struct witness *witness;       /* under witness_lock */
    struct mutex witness_lock;
    bool witness_is_new;           /* the file was lost */
    struct mutex superblocks_lock; /* held while one of the group's superblocks is written, or a copy read */
    uint64_t epoch;
    struct steady clock;           /* since the pool was opened: pool_clock() */
    bool read_only;
    bool no_index;
    _Atomic int kek_state;         /* enum kek_state: of the key that opened it last */
    _Atomic int locked;            /* no key: only status, unlock and close work */
    _Atomic bool looks_ended;      /* the pool is about to be closed: pool_looks_end() */
    bool awaits_key;  /* opened locked, for want of a key that opens it, which may come; under pool->lock */
    char *why_locked; /* the sentence on that key; NULL: locked by a person, or not; under pool->lock */
    bool changing;                 /* an unlock, a lock or a rekey is at work; under pool->lock */
    bool trying_awaited;           /* that is pool_unlock_awaited(); under pool->lock */
    struct k_pools *k_pools;       /* in the arena; NULL while locked */
    bool keys_half_written;        /* superblocks may hold keys that the group does not know, until it is opened again */
    struct audit *audit;

    struct section section;
    struct latch *latches;
    struct group *group;           /* NULL while locked */
    _Atomic unsigned batches;      /* running now: the load that chooses the codec */
    struct lender *batch_lenders[BATCH_KINDS];

    struct mutex lock;
    struct object *objects;
    uint64_t created;              /* seconds since 1970, by the catalog's slot 0; 0: not read */
    uint64_t slots_end;            /* catalog slots from here on were never used; 0: there is no catalog yet */
    struct object_table *table;    /* the same objects by name, UUID and slot; NULL while locked */
    struct domain_key *domain_keys;
    unsigned volume_count;
    unsigned group_users;          /* threads that use the group without pool->lock: it stays open */
    struct condition group_left;   /* with pool->lock */
    struct condition tried_awaited; /* with pool->lock */
    struct thread janitor;         /* empties the trash and walks deletions */
    bool janitor_running;
    _Atomic bool janitor_stopping; /* set under pool->lock */
    struct condition janitor_wake; /* with pool->lock */
    struct damages *damages;       /* what is known to be damaged (damage.h) */
    struct scrub *scrub;           /* NULL while locked or read-only; changes under pool->lock */
    struct deep_rekey *deep_rekey; /* NULL: none ran since the open; changes under pool->lock */

    struct pool_totals totals;
};

/* ---- audit_note.c ---------------------------------------------------------------------------------------------------- */

/* From here on entries are written; the group is open. Not of a plaintext pool, nor of one that is only read. */
enum error pool_audit_begin(struct pool *pool) CHECKED;
/* An entry, and its anchor in the witness and the next checkpoint record, where the pool is unlocked. The caller keeps others
 * from locking or unlocking it: it is changing, or the group is in use. Keeps the thread's sentence. */
void pool_audit(struct pool *pool, const char *operation, enum error error);
/* The same, and its entry says by what it was proved; NULL: by what proves it as a rule. */
void pool_audit_by(struct pool *pool, const char *operation, const char *by, enum error error);
/* At the end of what was done with a key: the anchor goes to all devices now. The group is there, and stays; under no lock. */
void pool_audit_anchor(struct pool *pool);

/* ---- write.c: the story of a write ---------------------------------------------------------------------------------- */

struct block_range { uint64_t first, end; };

/* Who asked for a write, and may have given it up since. */
struct asker {
    request_wanted *wanted; /* NULL: he waits for it */
    void *context;
    uint64_t since; /* clock_monotonic() */
};

/*
 * Runs writes, zeroes and trims of one batch (of one volume, in array order, none of them empty) and sets each error.
 * Durable only after group_sync().
 */
void write_execute(struct volume *volume, struct request **requests, size_t count, const struct asker *asker);

/* Documents into slots of the catalog, components that are created or deleted, and objects whose writes go to another
 * component from then on. */
struct catalog_document {
    uint64_t slot;
    const void *bytes;
    size_t size; /* 0 empties the slot */
};
struct component_move {
    _Atomic uint64_t *target; /* an object's `component` */
    uint64_t component;
};
struct catalog_changes {
    const struct catalog_document *documents;
    size_t document_count; /* of at most a block each where there are several; at most CATALOG_DOCUMENTS_MAX */
    const struct component_change *changes;
    size_t change_count;
    const struct component_move *moves;
    size_t move_count;
    bool frees;   /* on the whole, though it makes a component: it may use what is kept for that */
    bool at_once; /* ERROR_NO_SPACE where there is no room, with nothing changed; else that is waited for */
};
#define CATALOG_DOCUMENTS_MAX 64 /* 256 KiB in one append */

/* All of it is one commit in one append, durable when it returns. Under pool->lock. */
enum error catalog_commit_all(struct pool *pool, const struct catalog_changes *changes) CHECKED;
/* Writes a document into a slot of the catalog: its length and JSON, holes behind it, in one commit of one append;
 * together with the components that it creates or deletes (may be NULL, 0). Durable when it returns. `size` 0 empties
 * the slot. */
enum error catalog_commit(struct pool *pool, uint64_t slot, const void *document, size_t size,
                          const struct component_change *changes, size_t change_count) CHECKED;

/* Makes a range of blocks of the component holes that an object writes to when it is committed. Not durable by itself. */
enum error object_trim(struct pool *pool, struct object *object, uint64_t first, uint64_t end) CHECKED;
/* Makes a range of blocks of a component holes, `last` marks the component deleted as well. Not durable by itself. */
enum error component_trim(struct pool *pool, uint64_t component, uint64_t first, uint64_t end,
                          const struct component_change *last) CHECKED;

/* ---- read.c ---------------------------------------------------------------------------------------------------------- */

/* Runs reads (and cache requests) of one batch and sets each error. */
void read_execute(struct volume *volume, struct request **requests, size_t count);
/* Reads whole blocks of a component; an unreadable block gives its error through the return value. */
enum error component_read(struct pool *pool, uint64_t component, uint64_t first, size_t count, void *out) CHECKED;

/* ---- lookup.c: which chunks are there already ---------------------------------------------------------------------------- */

struct chunk_lookup {
    const uint8_t *data;
    struct fingerprint fingerprint;
    struct map_entry hit; /* hole: none */
};
/* Fills `hit` of each chunk (at most 256) that the group has. Compares byte for byte where the fingerprint is not
 * collision-resistant, in `compare` (count x 4096 bytes). A hit must be checked again at the commit
 * (lookup_still_good, and log_was_replaced() since *unsettled). */
void lookup_chunks(struct pool *pool, const struct fingerprint_key *key, struct chunk_lookup *chunks, size_t count,
                   uint8_t *compare, struct log_unsettled *unsettled);
/* Under the group's lock: the hit's segment is there and no victim, and its bytes are not known to be damaged. */
bool lookup_still_good(struct pool *pool, struct map_entry hit);

/* ---- catalog.c: documents of objects -------------------------------------------------------------------------------------- */

/* Reads all documents into pool->objects. */
enum error catalog_load(struct pool *pool) CHECKED;
void catalog_unload(struct pool *pool);
/* Makes the catalog of a new pool. */
enum error catalog_create(struct pool *pool) CHECKED;
/* By name ("NAME@SNAPSHOT" of a snapshot) or UUID; NULL. Under pool->lock. */
struct object *catalog_find(struct pool *pool, const char *name);
/* Writes a document of what is there already. Under pool->lock. */
enum error catalog_store(struct pool *pool, uint64_t slot, const struct object_document *document) CHECKED;
/* Frees the slot and, in the same commit, marks the emptied component deleted; the object is gone. Under pool->lock. */
enum error catalog_remove(struct pool *pool, struct object *object) CHECKED;
/* The document that says what the object's fields say, and back: what is stored is made from a copy first, so that a
 * store that fails changes nothing. Under pool->lock. */
void object_describe(struct pool *pool, const struct object *object, struct object_document *document);
void object_adopt(struct pool *pool, struct object *object, const struct object_document *document);
/* Allocates an object with its key and enters it. Under pool->lock. */
enum error catalog_enter(struct pool *pool, uint64_t slot, const struct object_document *document) CHECKED;
/* Forgets and frees an object, in memory only. Under pool->lock. */
void catalog_leave(struct pool *pool, struct object *object);

/* Of an object, or "NAME@SNAPSHOT". Returns `text`. Under pool->lock. */
const char *object_text(const struct object *object, char text[VERSION_NAME_MAX + 1]);
static inline bool object_is_snapshot(const struct object *object) { return !uuid_is_zero(object->origin_uuid); }
/* Of a snapshot. */
static inline struct uuid object_identity(const struct object *snapshot)
{
    return uuid_is_zero(snapshot->identity) ? snapshot->uuid : snapshot->identity;
}

/* ---- version.c ------------------------------------------------------------------------------------------------------------- */

/* Seconds since 1970 by the clock that trash and locks go by (steady.h). */
uint64_t pool_clock(struct pool *pool);
/* Whether something keeps an object, or a snapshot of it, from being deleted for good: then ERROR_BUSY says what. Under
 * pool->lock. */
enum error version_check_deletable(struct pool *pool, const struct object *object) CHECKED;
/* claim.c: ERROR_BUSY where a document that cannot be read may be that of a snapshot of the object. Under pool->lock. */
enum error object_check_claimed(struct pool *pool, const struct object *object) CHECKED;

/* ---- object.c ---------------------------------------------------------------------------------------------------------------- */

/* When the trash frees a trashed object; seconds since 1970. */
uint64_t object_purge_time(const struct pool *pool, const struct object *object);
/* ERROR_NONE where objects may be changed: ERROR_LOCKED, ERROR_FENCED, ERROR_READ_ONLY. Under pool->lock. */
enum error object_check_changeable(struct pool *pool) CHECKED;
/* ERROR_BUSY where somebody has it open; `what` is not done with it then ("deleted"). Under pool->lock. */
enum error object_check_closed(const struct object *object, const char *what) CHECKED;
enum error object_check_name_free(struct pool *pool, const char *name) CHECKED;
/* ERROR_BUSY where it is being imported: what its document says is there must not go. Under pool->lock. */
enum error object_check_imported(const struct object *object, const char *what) CHECKED;
/* object_resize() of what `stream` is being imported to; ERROR_NOT_FOUND where that is over. */
enum error object_resize_import(struct pool *pool, const char *name, uint64_t size, struct uuid stream) CHECKED;
/* That an import is over. */
enum error import_is_gone(void);
/* Makes an object of the document, with a component of its own and what it reserves, and commits. Under pool->lock. */
struct operation;
enum error object_make(struct operation *operation, struct object_document *document) CHECKED;
/* A living object or snapshot. Under pool->lock. */
enum error object_find_living(struct pool *pool, const char *name, struct object **object) CHECKED;
/* … or one in the trash, by name where only one there has it. Under pool->lock. */
enum error object_find_stored(struct pool *pool, const char *name, struct object **object) CHECKED;
/* A number that no component ever had. */
enum error object_take_component(struct pool *pool, uint64_t *component) CHECKED;
/* A free slot of the catalog; ERROR_TOO_LARGE. Under pool->lock. */
enum error object_take_slot(struct pool *pool, bool snapshot, uint64_t *slot) CHECKED;
/* Marks an object as deleted for good, durably, and wakes the janitor. Under pool->lock. */
enum error object_doom(struct pool *pool, struct object *object) CHECKED;
/* Frees what a shrink cut off and clears `cut`. Under pool->lock, which it lets go of meanwhile; the object stays. */
enum error object_cut(struct pool *pool, struct object *object) REQUIRES(pool->lock) CHECKED;

/* ---- reserve.c: all under pool->lock ----------------------------------------------------------------------------------------- */

/* Whether so much can be reserved for an object of that size, were there space for it. */
enum error reserve_check(const char *name, uint64_t reserve, uint64_t size) CHECKED;
/* Holds so much for the object, of that size; ERROR_NO_SPACE says how much would fit. */
enum error reserve_hold(struct pool *pool, struct object *object, uint64_t reserve, uint64_t size) CHECKED;
/* Holds all that is reserved once more, since what the object stores is about to be shared. */
enum error reserve_renew(struct pool *pool, struct object *object) CHECKED;
/* The group holds what `reserve` says, from now on. */
void reserve_apply(struct pool *pool, struct object *object);
/* Bytes that are held for the object beside what it stores. */
uint64_t reserve_missing(struct pool *pool, const struct object *object);

/* ---- janitor.c --------------------------------------------------------------------------------------------------------------- */

enum error janitor_start(struct pool *pool) CHECKED;
void janitor_stop(struct pool *pool);

/* ---- scrub.c ------------------------------------------------------------------------------------------------------------------ */

/* Reads what was saved and starts the thread, which goes on with a scrub that was running. */
enum error scrub_start(struct pool *pool) CHECKED;
/* Saves where the scrub is and stops the thread; no matter whether it runs. With `crash` just stops (for tests). */
void scrub_stop(struct pool *pool, bool crash);

/* ---- open.c ------------------------------------------------------------------------------------------------------------------- */

/* The first step of a repair: superblocks, offline. */
/* A pool in memory, by its conf, with nothing opened; and the other way. */
enum error pool_allocate(const char *directory, const struct pool_open_options *options, struct pool **pool) CHECKED;
void pool_free(struct pool *pool);
void keys_forget(struct pool *pool);
enum error pool_repair_superblocks(const char *directory, const struct pool_open_options *options,
                                   struct pool_repair_report *report) CHECKED;
/* How long unlock and lock wait for what pool_unlock_awaited() tries; shorter for tests. */
#define UNLOCK_PATIENCE (10 * CLOCK_SECOND)
extern _Atomic uint64_t unlock_patience;
/* Bytes of `memory` that batches take. */
uint64_t pool_memory_lent(const struct pool *pool);
/* Where these do not suffice for a pool of so many segments the setting of `memory` that would; else 0. */
uint64_t pool_memory_needed(uint64_t setting, uint64_t index_memory, uint32_t segments);
/* ERROR_LOCKED, with the command that unlocks, where there is no key. */
enum error pool_check_unlocked(struct pool *pool) CHECKED;
/* ERROR_NONE where the pool is open with its key and in service: ERROR_LOCKED, ERROR_FENCED. */
enum error pool_check_usable(struct pool *pool) CHECKED;
/* The same, for who only looks: ERROR_CLOSED, too. */
enum error pool_check_look(struct pool *pool) CHECKED;
/* Between them the group is used without pool->lock, and stays open. */
void pool_group_use(struct pool *pool) RELEASE(pool->lock);
void pool_group_leave(struct pool *pool) ACQUIRE(pool->lock);

#endif
