/*
 * One disk group: the unit of failure, dedup and keys. This header is what engine/pool uses, and the state that the
 * files of engine/group share.
 *
 * Locks, outermost first: the pool's commit section; group->lock (recent tables, views, segment table, reserving in
 * logs, CIDs); a log's mutex; leaves. None is held across I/O, compression or encryption.
 */
#ifndef COFFER_ENGINE_GROUP_GROUP_H
#define COFFER_ENGINE_GROUP_GROUP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/lender.h"
#include "base/thread.h"
#include "dedup/index.h"
#include "engine/device/device.h"
#include "engine/group/cache.h"
#include "engine/group/checkpoint.h"
#include "engine/group/cid.h"
#include "engine/group/keyring.h"
#include "engine/group/log.h"
#include "engine/group/recent.h"
#include "engine/group/reencrypt.h"
#include "engine/group/reservation.h"
#include "engine/group/section.h"
#include "engine/group/segment.h"
#include "engine/group/superblock.h"

#define RECENT_BATCH_ROOM (2u << 20) /* room in the recent table that one commit can need at most */
#define JOURNAL_BYTES_MAX (UINT64_C(512) << 20)
#define COMPONENT_CATALOG 1
/* Look-ups go along links, under the group's lock: with so many from one to the next a merge is due; with four times as
 * many nobody makes another. */
#define LINK_DEPTH_DUE 64
/* Of the active table after an open: journal segments that replay walked are covered once it is published. Where replay
 * filled both tables, the frozen one is the generation before. */
#define GENERATION_REPLAYED 2

#define GROUP_DEVICES 64
#define GROUP_THREADS 4 /* keeper, syncer, sealer, merge; the index thread comes and goes */

struct view;
struct group_repair;
struct moved;
struct evidence;
struct evidence_end;

#define SCRATCH_BYTES (1u << 20)
#define CHANGES_BYTES (5u << 20) /* of the merge's list of changes, and of what it adds */

struct group_config {
    struct section *section;
    char name[64];
    uint64_t memory;           /* of the pool's setting: this group's share */
    uint64_t (*memory_setting)(uint64_t memory); /* that gives this much to the group, for messages; NULL: the same */
    uint64_t index_memory;
    uint64_t epoch;            /* of this open */
    uint64_t checkpoint_seen;  /* the number that was held against the witness: an older one is not taken now */
    bool read_only;
    bool no_index;
    bool by_hand;              /* merges only where one is asked for (repair) */
    int recompress;            /* level of zstd for what LZ4 compressed, while nobody writes; 0: none */
    bool cut_journal;          /* what is damaged ends it, and is told (repair) */
    struct evidence *evidence; /* what follows the cut goes onto it; NULL: nothing is gathered */
    const struct evidence_end *journal_end; /* replay ends there or fails (repair); NULL: anywhere */
    /* Called by the merge after a checkpoint is durable: what the witness may now have seen. May be NULL. */
    void (*published)(void *context, uint64_t checkpoint, uint64_t sequence);
    void *context;
};

struct group_totals { /* counted since the open */
    _Atomic uint64_t unit_bytes_in, unit_bytes_out;
    _Atomic uint64_t chunks_written, chunks_zero, chunks_hit, chunks_false_hit, chunks_random;
    _Atomic uint64_t chunks_replaced; /* in a buffer, before they were written */
    _Atomic uint64_t checkpoints, read_errors;
    _Atomic uint64_t segments_cleaned, bytes_moved; /* by the cleaner */
    _Atomic uint64_t data_written, meta_written;    /* bytes of appends, as they are on the device */
};

/* throttle.c. Under the group's lock. */
struct pace {
    uint64_t reached, taken; /* the line: bytes from its beginning, where it is now, and behind the last place in it */
    uint64_t since;          /* clock_monotonic at which it was there */
    uint64_t clean_rate;     /* bytes a second that the cleaner frees; 0: it never had to */
    uint64_t gained, time;   /* since the last freeze: bytes by the cleaner, nanoseconds of merging */
    uint32_t emptied;        /* segments, by the merge that runs */
    uint32_t freeing;        /* segments that are to be free once they are published and no view needs them */
};

struct keyring_left {
    uint32_t device;
    struct keyring *keyring;
};

struct group {
    struct section *section;
    struct group_config config;
    uint32_t device_count;
    struct device *devices[GROUP_DEVICES];
    struct superblock superblocks[GROUP_DEVICES];
    struct keyring *keyrings[GROUP_DEVICES]; /* see group_keyring(); a deep rekey exchanges them */
    struct keyring_left *keyrings_left;      /* those that were: somebody may still look into one */
    size_t keyrings_left_count;
    struct segment_key_cache *segment_keys;
    struct cache *nodes;                   /* map nodes and table pages */
    struct cache *chunks;                  /* chunks of units */
    struct lender *scratch;                /* SCRATCH_BYTES each, for what a stage reads */
    uint64_t memory_used;

    struct mutex lock;
    struct segments segments;
    struct log journal, meta, twin, cold;
    struct reencrypted_list reencrypted;
    struct view *view;                     /* the newest */
    struct view *view_oldest;
    struct condition view_gone;            /* one that is not the newest is held by nobody any more */
    struct recent *tables[2];              /* the arenas: one active, the other frozen or empty */
    bool table_ready;                      /* the one that is not active is empty */
    struct index *index;                   /* has a lock of its own */
    struct mutex index_lock;
    struct cids cids;
    uint64_t generation;                   /* of the active table */
    uint64_t published_generation;
    uint64_t second_live;                  /* live bytes of second copies, as of the last publish */
    uint64_t frozen_bytes;                 /* of the journal, that belong to the frozen table */
    uint64_t release_allowed;              /* references that the merge that runs will yet release at most */
    uint64_t component_next, component_lease;
    uint64_t active_since;                 /* clock_monotonic at the last freeze */
    struct checkpoint checkpoint;          /* the published one; changed by the merge thread only, under the lock */
    uint64_t checkpoint_found;             /* time of the record that the open began with, seconds since 1970 */
    struct audit_anchor audit;             /* of the pool, for the next record */
    uint64_t audit_wanted;                 /* a record with so many entries is (anchor.h) */
    bool record_lags[GROUP_DEVICES];       /* at the open: its newest record is older than that */
    /* Number of the K_log of the records that were written since, by their place at an end; 0: none was. */
    uint8_t record_keys[GROUP_DEVICES][CHECKPOINT_COPIES / CHECKPOINT_ENDS];

    /* syncing */
    struct mutex sync_lock;
    struct condition sync_changed;
    bool syncing;
    uint64_t sync_started, sync_done;      /* numbers of syncs */
    _Atomic uint64_t durable;              /* last sequence that a completed sync covers */
    _Atomic bool written[GROUP_DEVICES];   /* since the device's last flush */
    _Atomic uint64_t unflushed;            /* bytes of appends that were complete after the last flush began */
    uint64_t synced_at;                    /* clock_monotonic */

    _Atomic int fenced;                    /* enum error; 0: in service */

    /* threads */
    struct thread threads[GROUP_THREADS], index_thread;
    unsigned threads_running;
    bool index_running;
    _Atomic bool closing; /* nothing is begun, or gone on with, that a close would wait for */
    _Atomic bool index_full; /* it has seen every fingerprint that was there at the open */
    struct mutex thread_lock;
    struct condition keeper_wake, syncer_wake, sealer_wake, merge_wake, merge_done;
    _Atomic bool stopping; /* changed under thread_lock; nobody waits for a merge any more */
    _Atomic bool keeper_needed;
    bool sealer_needed;
    uint64_t freezes_wanted, freezes_published; /* numbers: a freeze that was wanted at n is published when published >= n */
    _Atomic uint64_t merge_progress, merge_work; /* of the merge that runs, for the throttle */
    bool opening;              /* merges before there are threads */
    struct pace pace;          /* of commits, where the cleaner makes the space for them */
    uint32_t *clean_left;      /* segments that the last freeze made victims and that are not emptied yet, the best first; */
    size_t clean_left_count;   /* of the merge's thread alone, as the next two */
    struct clean_reader *clean_reader; /* NULL: none was needed lately */
    bool cleaned_last;         /* the last publish freed what was emptied for space */
    bool merge_is_patient;     /* of the merge's thread alone: it can wait for the file system below */
    _Atomic bool merge_waits;  /* … and does */

    const struct group_repair *repair;     /* for the next merge; under the lock */
    const struct moved *moved;             /* by a repair, which runs alone; NULL */

    struct group_totals totals;
    struct reservations reservations;
    unsigned space_waiters;  /* in group_wait_space() */
    uint64_t hopeless_since; /* clock_monotonic at which waiting for space gained nothing; 0: it did */
    int hopeless_class;      /* enum commit_class, of who waited: those that need less may still gain */
    uint64_t replay_bytes, replay_nanoseconds;
};

/* ---- opening and closing ----------------------------------------------------------------------------------------- */

/* Devices, superblocks and keyrings become the group's (also when it fails). Replays, records the joint, starts the
 * threads. */
enum error group_open(struct device **devices, struct superblock *superblocks, struct keyring **keyrings,
                      uint32_t device_count, const struct group_config *config, struct group **group) CHECKED;
/* Its threads are to end. Under no lock. */
bool group_is_stopping(struct group *group);
/* Publishes everything and stops; with `crash` just stops (for tests and after a fence). */
enum error group_close(struct group *group, bool crash) CHECKED;
void group_drain(struct group *group);

/* ---- state --------------------------------------------------------------------------------------------------------- */

/* The keys of a device as they are now, from any thread. */
static inline const struct keyring *group_keyring(const struct group *group, uint32_t device)
{
    return __atomic_load_n(&group->keyrings[device], __ATOMIC_ACQUIRE);
}
static inline bool group_is_fenced(const struct group *group) { return atomic_load(&group->fenced) != ERROR_NONE; }
/* Takes the group out of service: from now on everything answers ERROR_FENCED. Returns the error. */
enum error group_fence(struct group *group, enum error error);
static inline uint64_t group_durable(struct group *group) { return atomic_load(&group->durable); }
/* The generation to which a segment of this kind belongs that is sealed now. Under the lock. */
uint64_t group_generation(struct group *group, enum segment_kind kind);
/* A reserved slot with the current keys of its device; SEGMENT_NONE. Under the lock. */
uint32_t group_take_segment(struct group *group, enum segment_kind kind, uint64_t avoid);
/* Gives that to one that segment_take_unnamed() took; false: there is no serial. Under the lock. */
bool group_name_segment(struct group *group, uint32_t index, enum segment_kind kind) CHECKED;
struct place group_place(struct group *group, uint32_t segment, uint32_t block);
void group_device_written(struct group *group, uint32_t device);
/* An append of so many bytes is complete: with enough of them the syncer flushes the devices. Under no lock. */
void group_append_written(struct group *group, uint32_t device, size_t bytes);
/* So many; fewer for tests, in which a life writes little. */
extern _Atomic uint64_t flush_ahead_bytes;
/* Nanoseconds after which an open buffer is written; likewise. */
extern _Atomic uint64_t write_age;
/* Room may have come back: wakes writers that wait. Under no lock. */
void group_room_changed(struct group *group);
void group_keeper_wake(struct group *group);
/* A buffer of a log that only the merge writes is closed and filled: it is sealed by another thread. Under no lock. */
void group_sealer_wake(struct group *group);
/* Where links make a merge due, it begins. Under no lock. */
void group_links_changed(struct group *group);
/* Waits until fewer than `most` links lead from one to the next in the active table, and where a merge is due a little in
 * any case. Under no lock of the group. */
enum error group_links_await(struct group *group, uint32_t most) CHECKED;
/* The setting under which both recent tables together take this many bytes. */
uint64_t group_memory_for_tables(const struct group *group, uint64_t bytes);
/* Where the memory of a config does not suffice for a group of so many segments the setting that would, whole MiB; else 0. */
uint64_t group_memory_needed(const struct group_config *config, uint32_t segments);
/* ERROR_NO_MEMORY, explained, where it does not. */
enum error group_memory_check(const struct group_config *config, uint32_t segments) CHECKED;
const char *group_name(const struct group *group); /* for messages */
struct group_figures {
    uint64_t segment_bytes, segments, segments_free;
    uint64_t capacity_bytes, used_bytes; /* see group_capacity(), group_used() */
    uint64_t writable_bytes;             /* see group_writable() */
    uint64_t reserved_bytes;             /* see reservations_held() */
    uint64_t live_data_bytes, live_meta_bytes;
    uint64_t chunks_live, blocks_mapped;
    uint64_t journal_bytes, checkpoint_time;
    uint64_t memory_used;
    bool below_full;
};
void group_figures(struct group *group, struct group_figures *figures);

/* ---- durability ---------------------------------------------------------------------------------------------------- */

/* Everything committed before the call is durable when it returns. Concurrent calls share flushes. */
enum error group_sync(struct group *group) CHECKED;
/* Everything whose write was complete when the call began is durable when it returns. Concurrent calls share flushes. */
enum error group_flush_devices(struct group *group) CHECKED;
/* Between the two the calling thread alone flushes devices. Under no lock; short, since every flush waits for it. */
void group_flush_hold(struct group *group);
void group_flush_release(struct group *group);

/* ---- committing: all within the commit section and group->lock ------------------------------------------------------- */

/* What a commit does to what is stored, in the end: what needs most comes first. */
enum commit_class {
    COMMIT_GROWS,
    COMMIT_OVERWRITES, /* blocks that are mapped already */
    COMMIT_FREES,      /* trims, deletions */
};

/* What a commit needs space for; the reservation that it is within (NULL: none); and whether it is little: of so many blocks at
 * most, and no more than that. */
#define COMMIT_BLOCKS_LITTLE 64u
struct commit_need {
    enum commit_class class;
    const struct reservation *own;
    bool little;
};

/* ERROR_NONE where a commit of at most COMMIT_BLOCKS_MAX blocks can be made now; ERROR_AGAIN where group_wait_room() is needed
 * first; ERROR_NO_SPACE; ERROR_FENCED. */
enum error group_room(struct group *group, struct commit_need need) CHECKED;
/* Under no lock: waits for what group_room() lacked. */
enum error group_wait_room(struct group *group) CHECKED;
/* Under no lock, after ERROR_NO_SPACE: publishes what may free something; ERROR_NO_SPACE where nothing came of it. */
enum error group_wait_space(struct group *group, struct commit_need need) CHECKED;
/* Whether free segments cover the merge of all that is in the tables, and what is kept beyond that, and what is stored
 * does not exceed the capacity. Under the lock. */
bool group_has_space(const struct group *group, struct commit_need need);
/* Bytes that may be stored, and that are: live ones, and all that was committed and is not merged yet. Under the lock. */
uint64_t group_capacity(const struct group *group);
uint64_t group_used(const struct group *group);
/* How much of what overwrites may exceed the capacity by is used, and of as much below it, of 1000. Under the lock. */
uint64_t group_over_capacity(const struct group *group);
/* A chunk that neither compresses nor is there already takes so much at most, where many are written: a unit of its own;
 * in the tables its place twice, fingerprint and count; an entry of a map. */
#define CHUNK_COST (CHUNK_SIZE + 144u)
/* Bytes of such chunks that can be stored now. Under the lock. */
uint64_t group_writable(const struct group *group);
/* Free segments beyond what the merge of all that is in the tables can need, and what ordinary commits leave: what the
 * cleaner may write to. Under the lock. */
uint64_t group_clean_room(const struct group *group);
/* Free segments below which the cleaner begins; of them, those beyond what merges need and ordinary commits leave. Under
 * the lock. */
#define CLEAN_BEGIN 2.0 /* times the latter */
uint64_t group_clean_target(const struct group *group);
uint64_t group_clean_ahead(const struct group *group);
/* Segments of journal that are worth to be folded in: each fold writes most leaves anew, whatever it has of them. Under the
 * lock. */
uint64_t group_fold_segments(const struct group *group);
/* Free segments that ordinary commits leave. Under the lock. */
uint64_t group_commit_least(const struct group *group);
/* Free segments that ordinary commits may still take. Under the lock. */
uint64_t group_commit_room(const struct group *group);
/* Bytes that the merge of a table (NULL: of an empty one) can write at most, after `before` (which may be NULL) was
 * merged, where it releases so many references beside those that it adds. Under the lock. */
uint64_t group_merge_bytes(const struct group *group, const struct recent *recent, const struct recent *before,
                           uint64_t releases);
/* References beyond those that it adds which the merge of the frozen table may take off the release list with the space
 * that there is; 0: none. Under the lock. */
uint64_t group_release_budget(const struct group *group);
/* Whether something is on the release list. Under the lock. */
static inline bool group_has_releases(const struct group *group)
{
    return group->checkpoint.release_end != 0;
}
/* … and there is space to take it apart. Under the lock. */
bool group_is_releasing(const struct group *group);
/* Gives `count` slots from `index` on space below, from `offset` of their device on, and remembers how that went (not of
 * several: ERROR_NO_SPACE then says to try one). Under no lock. */
enum error group_allocate(struct group *group, struct device *device, uint64_t offset, uint32_t index,
                          uint32_t count) CHECKED;
/* Which free slots have space below is not known after an open; where the file systems are full, they are asked for one by
 * one. Under no lock, before there is a second thread. */
void group_find_allocated(struct group *group);
/* Keeps enough free slots with space below for the merge of what is in the tables. By the keeper. */
void group_allocate_ahead(struct group *group);
/* Whether no device gets more space below, and what there is may not suffice. Under the group's lock. */
bool group_is_full_below(const struct group *group);
/* Waits a little where the active table fills faster than the frozen one is merged, or free segments go faster than the
 * cleaner makes some. Under no lock, before a commit that stores so many bytes at most. */
void group_throttle(struct group *group, uint64_t bytes);
/* So many of them were not stored. Under no lock. */
void group_throttle_return(struct group *group, uint64_t bytes);
/* At a freeze: whether segments are to be emptied for space. Under the lock. */
void group_pace_begin(struct group *group, bool cleans);

/* ---- merging ------------------------------------------------------------------------------------------------------- */

/* Asks for a freeze and waits until everything committed before is published. */
enum error group_publish(struct group *group) CHECKED;
/* The same, but ERROR_TIMED_OUT after `patience` nanoseconds, and at once where a merge waits for the file system below. */
enum error group_publish_within(struct group *group, uint64_t patience) CHECKED;
/* The same for who needs what a publish brings, and may hold locks that others want: ERROR_NO_SPACE, explained, where the
 * file system below has no space for the merge. A merge that goes on is waited for, however long it takes. */
enum error group_publish_needed(struct group *group) CHECKED;
/* The same, but ERROR_NONE as well as soon as there is enough of what the publish was to bring (that of a piece that is
 * being cleaned may bring it, or readers that give a view back), or of waiting. `enough` is asked under no lock; NULL: never. */
enum error group_publish_unless(struct group *group, bool (*enough)(struct group *group, void *context), void *context) CHECKED;

/* Merges the older of two tables that replay filled; the journal's start stays, so replay would enter it again. */
enum error group_merge_replayed(struct group *group) CHECKED;
/* One freeze, merge and publish, by the calling thread, where no merge thread runs. ERROR_AGAIN: not possible yet. */
enum error group_merge_once(struct group *group) CHECKED;
/* Empties more of what the last freeze made victims, and publishes that. By the same thread. */
enum error group_clean_more(struct group *group) CHECKED;
/* Writes a record to every device, and flushes. */
enum error checkpoint_record(struct group *group, const struct checkpoint *checkpoint) CHECKED;
/* Collects pages of CIDs that are at least half free, ahead of need. By the merge thread, between merges. */
void cids_collect(struct group *group);

void group_merge_thread(void *group);
void group_keeper_thread(void *group);
void group_syncer_thread(void *group);
void group_sealer_thread(void *group);
void group_index_thread(void *group);

#endif
