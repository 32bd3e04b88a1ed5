/*
 * What the processes of a crash test share: the settings, the model, and how far the running one has come. It lies in
 * memory that was mapped before they were forked, so it outlives a kill.
 *
 * Two volumes, one dense and one spread over 64 TiB, are cut alike: a stripe for each thread, which alone changes it
 * and so knows its content exactly; blocks that all threads write, whole; blocks of which each of four threads owns a
 * quarter, so that partial writes to one block race; blocks of which all threads write quarters or the whole. Besides,
 * *lives*: objects that are created, resized, renamed and deleted all the time; and *families*: objects with snapshots
 * and clones. What else a session has to do is its *work*.
 */
#ifndef COFFER_TESTS_CRASH_SESSION_H
#define COFFER_TESTS_CRASH_SESSION_H

#include <stddef.h>

#include "base/error.h"
#include "base/uuid.h"
#include "engine/coffer.h"
#include "tests/crash/model.h"

#define BLOCK         COFFER_BLOCK
#define VOLUMES       2
#define WORKERS_MAX   8
#define STRIPE_BLOCKS 320 /* more than a batch, so that single larger requests are cut */
#define SHARED_BLOCKS 40
#define SPLIT_BLOCKS  16
#define QUARTERS      4
#define QUARTER       (BLOCK / QUARTERS)
#define LIVES         10
#define LIFE_BLOCKS   48
#define LIFE_NAMES    3
#define FAMILIES      5
#define FAMILY_VERSIONS      44 /* an object and its snapshots, where there is WORK_DEEP */
#define FAMILY_VERSIONS_FEW  4
#define FAMILY_CHANGES  FAMILY_VERSIONS
#define FAMILY_BLOCKS   20
#define IMPORTS         2
#define DEVICES_MAX   8
#define PATH_SIZE     256

enum phase { PHASE_NONE, PHASE_OPENING, PHASE_COMPARING, PHASE_WORKING, PHASE_CLOSING, PHASE_CLOSED, PHASES };

enum plant { PLANT_NONE, PLANT_LOST_FLUSH, PLANT_EARLY_ANSWER };

/* Beside what every session does: a bit for each. */
enum work {
    WORK_NONE = 0,
    WORK_DEEP = 1,        /* families have many snapshots, made in series */
    WORK_GUARDS = 2,      /* which are held and locked, while the clock is set (guards.c) */
    WORK_DIFFERENCES = 4, /* what changed between two of them is asked (differences.c) */
    WORK_IMPORTS = 8,     /* streams become snapshots of families (imports.c) */
    WORK_RESERVES = 16,   /* objects of families have space reserved */
    WORK_SCRUBS = 32,     /* (scrubs.c) */
    WORK_CROWDS = 64,     /* workers meet in a few blocks most of the time */
    WORK_REPEATS = 128,   /* contents come again and again */
    WORK_ALL = 255,
    WORK_REKEYS = 512,    /* keys change (rekeys.h) */
    WORK_HASTE = 256,     /* merges run while all is compared; what a crash left half done is gone on with at once */
    WORK_KEEPS = 1024,    /* rollbacks keep what was; objects are made with space, and as disks of key providers */
    WORK_LOCKS = 2048,    /* the pool is locked and unlocked (locks.c) */
    WORK_EXPORTS = 4096,  /* snapshots become streams, which are read (exports.c) */
    WORK_EXPIRES = 8192,  /* the clock is set by weeks, and the trash empties itself */
    WORK_RECORDS = 16384, /* audit and known damage are read (records.c) */
    WORK_APART = 32768,   /* each worker has volumes of its own */
    WORK_MOMENTS = 65536, /* the volumes have snapshots while they are written to (moments.c) */
    WORK_GROWS = 131072,  /* an object grows while it is written to (grown.c) */
    WORK_REWRITES = 262144, /* workers write again what they wrote last, and blocks of one length */
    WORK_LATER = WORK_KEEPS | WORK_LOCKS | WORK_EXPORTS | WORK_EXPIRES | WORK_RECORDS | WORK_APART
};

struct settings {
    uint64_t seed, size, memory;
    unsigned rounds, devices, workers, milliseconds, check_percent;
    int64_t size_step;        /* bytes by which each device is larger than the one before it; may be negative */
    unsigned stripe_blocks;   /* of those that a stripe has room for; 0: all */
    unsigned lives_pause;     /* milliseconds between two calls on objects, which each flush, at most; 0: 4 */
    unsigned sparing_percent; /* of flushes and FUA that the workers leave out */
    int crash;                /* an enum volatile_crash, or -1: any */
    enum fingerprint_choice fingerprint;
    bool encryption, verbose, keep;
    bool awaits_deep; /* a deep rekey is awaited to its end, also where the session is told to stop */
    bool fills; /* the pool is filled again and again (filler.h) */
    unsigned work; /* enum work */
    enum plant plant;
    bool keep_written; /* the model keeps all that was ever written: one thread of the system only */
    char directory[PATH_SIZE - 64];
    /* In place of volatile devices over files; NULL: those. The context is the session. */
    enum error (*open_device)(const char *path, unsigned flags, void *context, struct device **device);
};

enum life_kind { LIFE_ABSENT, LIFE_ALIVE, LIFE_TRASHED };

struct life_state {
    enum life_kind kind;
    unsigned name;
    uint64_t blocks;
};

struct life {
    struct life_state states[2];
    /* Of one in the trash, seconds since 1970: when it is purged, at the earliest; the latest time since it came there. */
    uint64_t purge_at, latest;
    _Atomic unsigned current; /* index of the state, and LIFE_PENDING where the other may have come about */
    struct cell cells[LIFE_BLOCKS];
};
#define LIFE_PENDING 2u

/* An object with snapshots, some of them clones of each other (families.h). */
struct version_state {
    bool exists, hold, hosts;
    uint64_t blocks, reserved; /* of it */
    uint64_t locked_until;     /* seconds since 1970; 0: not */
    uint64_t age;      /* of a snapshot: rises in the order in which they were made */
    uint64_t same_age; /* of an object: the snapshot from which nothing changed since; 0: none */
    struct uuid identity; /* of a snapshot that was imported; zero: it was made here */
    struct cell cells[FAMILY_BLOCKS];
};

struct families {
    struct version_state versions[FAMILIES][FAMILY_VERSIONS];
    struct family_change {
        unsigned family, version;
        struct version_state next;
    } changes[FAMILY_CHANGES];
    _Atomic unsigned changes_count; /* of a call under way: all of them come about, or none */
    uint64_t ages;
    unsigned sources[FAMILIES]; /* a bit for each family of which it is, or once was, a clone or a clone's clone */
};

enum import_phase { IMPORT_NONE, IMPORT_BEGINNING, IMPORT_OPEN, IMPORT_FINISHING, IMPORT_LEAVING };

/* A stream that is written to an object of its own before it becomes a snapshot of a family (imports.h). */
struct import_model {
    _Atomic int phase;
    unsigned family, version;            /* what it becomes */
    struct uuid stream, base, identity;  /* base zero: it is whole by itself */
    struct uuid made;                    /* what it is written to */
    uint64_t base_age;
    uint64_t marked, marking;            /* bytes; what a call under way may have made of it */
    struct version_state state;          /* of what it is written to */
};

/* When the pool was opened, within bounds: by the clock that can be set, in seconds, and by the other. */
struct opening_time {
    uint64_t wall_most, begin;
    int64_t ahead_least; /* seconds, of all that was noted */
    bool noted;
};

struct scrub_model {
    unsigned possible; /* a bit for each state that a restart may find; 0: any */
    uint64_t damages;  /* that were known when the pool was opened */
};

/* What the audit had, at least. */
struct audit_model {
    uint64_t entries;
};

/* Snapshots of both volumes (moments.c). */
struct moment_model {
    _Atomic bool known; /* those of this number are there, and hold this */
    unsigned number;
    uint64_t hashes[VOLUMES];
    uint64_t least[VOLUMES], most[VOLUMES]; /* of the stamps of the volumes, what a restart may find */
};

/* What grows while it is written to (grown.c). */
#define GROWN_BLOCKS 96
struct grown_model {
    _Atomic unsigned name;
    _Atomic bool renaming;
    _Atomic uint64_t blocks_least, blocks_most;
    uint64_t number, least[GROWN_BLOCKS], most[GROWN_BLOCKS]; /* of each block, what a restart may find */
};

/* Of the key in force, what a restart may find; 0: any. */
struct key_model {
    uint64_t least, most;
    unsigned provider_of_least, provider_of_most; /* whose these are, as rekeys.c counts providers */
    unsigned deep_possible; /* a bit for each state of a deep rekey that a restart may find; 0: any */
    int doing;    /* an enum key_work */
    bool whole;   /* the last change was answered well, or an open ended it: no other key opens anything */
    bool one_dek; /* likewise of the last deep rekey: each device has one data key */
    uint64_t deep_ends;
};
enum key_work { KEYS_STAND, KEYS_SHALLOW, KEYS_ROOT, KEYS_SWAP, KEYS_DEEP, KEY_WORKS };

struct volume_model {
    struct cell stripes[WORKERS_MAX][STRIPE_BLOCKS];
    struct cell shared[SHARED_BLOCKS];
    struct cell split[SPLIT_BLOCKS][QUARTERS];
    /* As the last restart read them: where the owners begin. */
    unsigned char stripe_contents[WORKERS_MAX][STRIPE_BLOCKS][BLOCK];
    unsigned char split_contents[SPLIT_BLOCKS][BLOCK];
    unsigned char shared_contents[SHARED_BLOCKS][BLOCK];
};

/* What not every session does, counted so that it is seen to be done. */
enum done {
    DONE_LOCKS, DONE_EXPORTS, DONE_EXPIRED, DONE_KEPT, DONE_TAGS, DONE_RECORDS, DONE_ORDERS, DONE_RETIRED, DONE_MOMENTS,
    DONE_GROWN, DONE_REPLACED, /* units in their buffer; counted where the engine is simulated */
    DONE_FULL, DONE_BUSY, /* answers that there is no space, and that something is busy */
    DONES
};

struct session {
    struct settings settings;
    char pool[PATH_SIZE]; /* its directory */
    unsigned round;
    struct model_clock clock;
    _Atomic uint64_t promises; /* answers that say something of what is durable */
    _Atomic int phase;
    _Atomic bool stop, ample; /* ample: the pool is less than half full, and nobody fills it */
    _Atomic bool over;        /* the group is out of service: who works comes back, and the pool is opened again */
    _Atomic bool locking;     /* … or it is to be locked: then that is why `over` is set */
    bool faulty;              /* requests may fail for other reasons than a full pool */
    _Atomic uint64_t requests, flushes, full, objects;
    _Atomic uint64_t calls, fillings; /* on objects and versions; until a write found no space */
    _Atomic uint64_t done[DONES];
    _Atomic uint64_t checkpoints_open;  /* since the pool was opened */
    uint64_t checkpoints, replayed_max; /* of all rounds */
    struct moment_model moments;
    struct grown_model grown;
    struct volume_model volumes[VOLUMES];
    struct life lives[LIVES];
    struct import_model imports[IMPORTS];
    struct scrub_model scrub;
    struct audit_model audit;
    struct key_model keys;
    struct opening_time opened;
    struct families families;
};

extern const char *const volume_names[VOLUMES];

/* Byte offsets in a volume. */
uint64_t stripe_offset(unsigned volume, unsigned worker);
uint64_t shared_offset(const struct session *session, unsigned volume);
uint64_t split_offset(const struct session *session, unsigned volume);
/* Where there is WORK_MOMENTS, a block. */
uint64_t stamp_offset(const struct session *session, unsigned volume);
uint64_t volume_bytes(const struct session *session, unsigned volume);

/* In memory that processes forked later share. */
struct session *session_make(const struct settings *settings);

/* Says what is wrong and ends the process: the parent tells the seed. */
_Noreturn void fail(const char *format, ...) PRINTF(1, 2);
/* … and calls this before it ends. */
extern void (*session_fails)(void);
void succeed(enum error error, const char *what);

/* Whether a fault that the test made itself may have led to this error; at first none can. What is not excused fails
 * the test. */
extern bool (*session_excuses)(enum error error);
/* Faults so far; whether one since then may have led to this error of a request: what was over before excuses nothing. */
extern uint64_t (*session_moment)(void);
extern bool (*session_excuses_since)(enum error error, uint64_t moment);
/* Whether nothing went wrong since then but what fails again as long as nobody writes to it. */
extern bool (*session_lasts_since)(uint64_t moment);
/* The pool is opened anew: what went wrong before excuses nothing any more. */
extern void (*session_opens)(void);

/* Sets the clock to so many seconds from what it would be; NULL: nobody can. */
extern void (*session_clock_set)(int64_t seconds);
/* Whether a fault of that kind happened since the pool was opened. */
enum trouble { TROUBLE_SPACE, /* below a device */ TROUBLE_READS, TROUBLE_MEMORY };
extern bool (*session_met)(enum trouble trouble);
/* The pool was opened with that key in force; `one_dek`: and no deep rekey is under way. At first nobody looks closer. */
extern void (*session_keys_judge)(struct pool *pool, const struct pool_key_status *status, bool one_dek);

static inline bool session_works(const struct session *session, enum work work)
{
    return (session->settings.work & work) != 0;
}

/* Zeroed memory for the test itself, which never fails; free() it. */
void *session_take(size_t size);
/* It is being taken; volatile, since compilers know that calloc() reads nothing. */
extern _Thread_local volatile bool session_takes;

/* False where a fault excuses the error; `over` is set where the group is out of service. */
bool succeeds(struct session *session, enum error error, const char *what);
bool succeeds_since(struct session *session, enum error error, uint64_t moment, const char *what);
/* Whether it is for want of space. Fails the test where most of the pool is free, nobody fills it, and there is space below. */
bool session_is_full(struct session *session, enum error error, const char *what);
/* Whether it is that or BUSY, which something that is still being freed, or open, may give; both are counted. */
bool session_refuses(struct session *session, enum error error, const char *what);
/* Whether to call again what came to this error: a fault excuses it, and the group is in service. */
bool session_again(struct session *session, enum error error, const char *what);

/* object_list(), snapshot_list() and snapshot_find(), until they succeed; false where the group went out of service. */
bool session_objects(struct session *session, struct pool *pool, struct object_info **infos, size_t *count);
bool session_snapshots(struct session *session, struct pool *pool, struct snapshot_info **infos, size_t *count);
bool session_snapshot(struct session *session, struct pool *pool, const char *name, struct snapshot_info *info);

/* One request. False where a fault kept it from being read. */
bool read_all(struct session *session, struct volume *volume, uint64_t offset, void *out, uint64_t length);
/* Until it is read; false where the group went out of service. */
bool read_stubbornly(struct session *session, struct volume *volume, uint64_t offset, void *out, uint64_t length);

#endif
