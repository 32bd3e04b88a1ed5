/*
 * libcoffer: the store, as the server, the bench and the offline commands see it.
 *
 * A pool is opened from its pool directory. An opened pool may be *locked* (no key yet): then only status, unlock and
 * close work. Objects are virtual disks; a *volume* is an opened object, on which batches of requests run.
 *
 * Threads: every function may be called from any thread unless it says otherwise. Strings are UTF-8. Results go out
 * through trailing pointers, written only on success; error_sentence() has the sentence for a person.
 *
 * Errors that are named nowhere below: ERROR_NO_MEMORY of all; ERROR_LOCKED of all but pool_status() and
 * pool_scrub_status() where there is no key; of what changes anything ERROR_READ_ONLY where the pool was opened so,
 * ERROR_FENCED where the disk group is out of service, ERROR_IO where it goes out of service by this, and ERROR_NO_SPACE.
 */
#ifndef COFFER_ENGINE_COFFER_H
#define COFFER_ENGINE_COFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"

#define COFFER_VERSION "0.1.0"
#define COFFER_BLOCK 4096
#define OBJECT_SIZE_MAX (UINT64_C(64) << 40)
#define OBJECT_NAME_MAX 255   /* bytes of UTF-8 */
#define VERSION_NAME_MAX (2 * OBJECT_NAME_MAX + 1) /* bytes of NAME@SNAPSHOT */
#define OBJECT_HOSTS_MAX 67   /* "kms:" and the name of a provider */
#define OBJECTS_MAX 10000     /* snapshots do not count */
#define SNAPSHOT_OBJECTS_MAX 32 /* of which a snapshot is made at one moment */
#define GROUP_NAME_MAX 63
#define GROUP_DEVICES_MAX 64
#define REQUEST_BYTES_MAX (32u << 20) /* of one read or write */
#define BATCH_REQUESTS_MAX 64
#define BATCH_BYTES_MAX (1u << 20)    /* a batch of several requests; a single larger request is its own batch */

struct pool;
struct volume;
struct device;

/* ---- creating ------------------------------------------------------------------------------------------------ */

enum fingerprint_choice { POOL_FINGERPRINT_XXH3 = 1, POOL_FINGERPRINT_HMAC_SHA256 = 2 };
enum codec_choice { POOL_CODEC_AUTO, POOL_CODEC_NONE, POOL_CODEC_LZ4, POOL_CODEC_ZSTD };

/* The servers that keep the key, as coffer.conf names them. */
struct pool_create_kmip {
    const char *const *servers; /* HOST, HOST:PORT or [IPV6]:PORT */
    size_t server_count;
    const char *ca, *certificate, *key; /* files in PEM */
    uint64_t timeout;                   /* seconds, of each step; 0: the default */
    bool separate;                      /* they do not share their keys: each is given the new one */
};

struct pool_create_options {
    const char *directory;
    const char *group_name;            /* NULL: "g1" */
    const char *const *device_paths;   /* existing devices or files, or NULL: one sparse file of `size` */
    size_t device_count;
    uint64_t size;                     /* of the sparse file, where device_paths is NULL */
    bool encryption;
    enum fingerprint_choice fingerprint;
    const char *seal;                  /* "file", "passphrase" or "tpm"; NULL with `kmip` */
    const struct pool_create_kmip *kmip; /* NULL: the native provider */
    const char *passphrase;            /* for "passphrase"; for "tpm" the PIN, or NULL: none */
    size_t passphrase_size;
    const char *tcti;                  /* for "tpm": how it is reached; NULL: /dev/tpmrm0 */
    uint32_t pcrs;                     /* for "tpm": bit n binds the key to PCR n */
    const char *copy;                  /* NULL, or a file to be made that holds the key too, sealed by copy_passphrase */
    const char *copy_passphrase;
    size_t copy_passphrase_size;
    const char *const *overwrite;      /* device paths whose contents may be destroyed (--overwrite DEV) */
    size_t overwrite_count;
    bool dry_run;                      /* all checks, nothing written */
};

/* Makes the pool directory, keys, superblocks and the empty pool. Leaves nothing behind where it fails. ERROR_INVALID,
 * ERROR_TOO_LARGE: options that make no pool; ERROR_EXISTS: the directory; ERROR_NOT_EMPTY, ERROR_IN_USE: a device;
 * ERROR_AGAIN: one became smaller meanwhile; ERROR_ACCESS, ERROR_IO: of the file system or a device. */
enum error pool_create(const struct pool_create_options *options) CHECKED;

/* ---- opening ------------------------------------------------------------------------------------------------- */

/* A server may keep a part of the conf's `memory`, at most one of so many, and open the pool with the rest; where an
 * open says how much it needs, that is counted in. */
#define POOL_MEMORY_SERVER_SHARE 16

struct pool_open_options {
    const char *passphrase;    /* NULL: not given */
    size_t passphrase_size;
    const uint8_t *key;        /* the provider's key itself, from a backup (32 bytes): the provider is not asked; or NULL */
    bool read_only;            /* shared locks, nothing written (check, dump) */
    bool start_locked;         /* locked where the key is absent, wrong or cannot be used; what is wrong with disks fails */
    bool accept_rollback;
    bool no_index;             /* bench: fingerprint everything, look nothing up */
    bool no_catalog;           /* the checker: objects are not read; it does that, and goes on where it fails */
    bool repair;               /* the repair: the journal ends where it is damaged, merges run where it asks for one */
    struct evidence *evidence; /* the repair's look: what it would let go of is gathered there; else NULL */
    const struct evidence_end *journal_end; /* the repair: where its look saw the journal end; else NULL */
    bool discard_evidence;     /* pool_repair(): that is not kept, */
    const char *evidence_directory; /* or kept there. NULL: in the pool directory */
    const struct check_listener *repair_listener; /* pool_repair(): its progress alone, of a look, then of mending; or NULL */
    uint64_t memory;           /* 0: the conf's */
    /* Tests and bench: opens the device of a path by something else than device_open_file. NULL: the file device. */
    enum error (*open_device)(const char *path, unsigned flags, void *context, struct device **device);
    void *open_device_context;
};
/* Of the conf: ERROR_NOT_FOUND, ERROR_INVALID, ERROR_UNSUPPORTED. Of the key: ERROR_KEY_ABSENT, ERROR_ACCESS, ERROR_WRONG_KEY,
 * ERROR_LOCKED (a passphrase is needed). Of devices and witness: ERROR_NOT_FOUND, ERROR_IN_USE, ERROR_FOREIGN, ERROR_FORGED,
 * ERROR_CORRUPT, ERROR_ROLLED_BACK, ERROR_NEWER_FORMAT, ERROR_IO. ERROR_TOO_LARGE: `memory` is too small. */
enum error pool_open(const char *directory, const struct pool_open_options *options, struct pool **pool) CHECKED;
/* Flushes, publishes a checkpoint and writes the witness; every volume must be closed before. The pool is gone in any case;
 * ERROR_FENCED, ERROR_IO: what no flush covered may be lost. */
enum error pool_close(struct pool *pool) CHECKED;
/* Before that: who looks at whole disks, by object_usage() or volume_changes(), is soon answered with ERROR_CLOSED. */
void pool_looks_end(struct pool *pool);
/* Offline: writes superblocks anew of which copies are damaged, also all copies of a device, where another device holds its keys
 * and its checkpoint records prove it to be the right one (all or nothing is authenticated before); then nodes and pages of which
 * one copy is damaged, and lost pages of the chunk table. A damaged journal ends where it is. What was done, and what was given
 * up, is a message; what it would let go of is kept in a file first (pool/evidence_file.c). Without damage nothing is written.
 * Needs as long as two checks. *report, or NULL, is also of a repair that failed. Errors as those of pool_open(); ERROR_CORRUPT:
 * there is damage that it cannot mend; ERROR_NO_SPACE: also where that file finds no room. */
#define EVIDENCE_PREFIX "evidence-" /* and 16 digits, perhaps -2 to -9, in the pool directory */
enum { EVIDENCE_PATH_MAX = 4096, EVIDENCE_FILES_MAX = 2 /* of the superblocks; of all else */ };
struct pool_repair_report {
    struct pool_evidence {
        char path[EVIDENCE_PATH_MAX];
        uint64_t bytes, unread; /* but for zeros; of those that could not be read */
    } kept[EVIDENCE_FILES_MAX];
    size_t kept_count;
    uint64_t discarded; /* bytes that were not kept (discard_evidence) */
};
enum error pool_repair(const char *directory, const struct pool_open_options *options, struct pool_repair_report *report) CHECKED;
struct pool_erase_options {
    const char *passphrase;
    size_t passphrase_size, key_file_count;
    bool without_key; /* the key is lost: devices are known by the ids in their superblocks */
    const char *const *key_files; /* outside of the pool directory, to be destroyed too; others there are left */
};
/* Offline: destroys what the pool is encrypted under, on all devices and in key files, and discards the devices (erase.c).
 * *certificate: JSON, malloc'ed. Errors as those of pool_open(), before which nothing was changed unless the sentence says so. */
enum error pool_erase(const char *directory, const struct pool_erase_options *options, char **certificate) CHECKED;
/* A device that is to go, while it is locked, before anything of it is changed. */
struct stat;
struct pool_device_told {
    const struct stat *status; /* what fstat(2) says of it, whatever has its path by now */
    bool known;                /* the ids in its superblock, which no key proved; else no copy is whole */
    struct uuid pool, device;
    uint64_t begun; /* when an erase of it began that has no certificate yet, seconds since 1970; 0: there is none */
};
struct pool_device_caller {
    enum error (*check)(void *context, const struct pool_device_told *told); /* whether it may go */
    enum error (*keep)(void *context, const char *certificate);              /* JSON; what failed here can be asked for again */
    void *context;
};
/* The same of one device that is of no pool any more (device_erase.c), by no key; that no conf names it is the caller's to see, by
 * `check`, which hears of no earlier erase while a superblock is whole. What a crash cut short is ended by another run.
 * ERROR_IN_USE: a pool, or something else, has it open; ERROR_FOREIGN: it is none of Coffer's. */
enum error pool_device_erase(const char *path, const struct pool_device_caller *caller) CHECKED;
/* Takes the key of a locked pool and opens it, after what pool_unlock_awaited() tries meanwhile. Errors as of pool_open();
 * ERROR_EXISTS: it is open; ERROR_BUSY: somebody else locks or unlocks it, or that did not end within UNLOCK_PATIENCE. */
enum error pool_unlock(struct pool *pool, const char *passphrase, size_t passphrase_size) CHECKED;
/* The same by the provider's key itself (32 bytes), from a backup of it: the provider is not asked. */
enum error pool_unlock_by_key(struct pool *pool, const uint8_t *key) CHECKED;
/* The same for a pool that was opened without its key (pool_status.awaits_key) and that nobody unlocked since; else
 * ERROR_EXISTS. Where it fails, *again tells whether that may pass: the key file is not there, cannot be read, is
 * damaged (half copied) or another one, devices are in use. Where it may not, the key is awaited no more. */
enum error pool_unlock_awaited(struct pool *pool, const char *passphrase, size_t passphrase_size, bool *again) CHECKED;
/* Flushes and forgets every key. ERROR_BUSY while volumes are open, and as pool_unlock(); ERROR_LOCKED: it is. ERROR_FENCED,
 * ERROR_IO: it is locked, and what no flush covered may be lost. */
enum error pool_lock(struct pool *pool) CHECKED;

struct pool_rekey_options {
    const char *passphrase; /* of the present key, where it has one; else NULL */
    size_t passphrase_size;
    const uint8_t *key; /* the provider's present key itself, of a backup or a recovery key: then it is the proof; or NULL */
    bool new_root; /* a new KDK too, sealed as the present one is: who has the old one cannot follow */
    const char *provider; /* the conf's, that is to be in force; NULL: the one that is */
    const char *new_passphrase; /* by which the new key is to be sealed; NULL: by none, or, of the same provider, as it was */
    size_t new_passphrase_size;
    bool dry_run; /* the new key is made, fetched, tried and taken back; nothing else changes */
    bool accept_cycle; /* also where a disk of the pool is tagged as that provider's; else ERROR_UNCONFIRMED */
};
/*
 * Shallow rekey (rekey.c): a new key encryption key for all devices, while everything goes on; no stored data changes. The
 * present key is asked for as a proof, of its provider or, where that cannot give it any more, of what was kept of it. With that
 * proof a provider that keeps a KDK needs a new root, or is left for another. ERROR_LOCKED: the pool is, or a passphrase is needed; ERROR_WRONG_KEY; ERROR_BUSY: it
 * is being locked or rekeyed; ERROR_INVALID: the pool is not encrypted; ERROR_NOT_FOUND: the conf names no such provider;
 * ERROR_EXISTS: it is in force; and the providers', the devices' and the witness's. The sentence says which key is in force
 * after an error.
 */
enum error pool_rekey(struct pool *pool, const struct pool_rekey_options *options) CHECKED;

struct pool_retire_options {
    const char *provider; /* NULL: of any provider */
    uint64_t number;      /* 0: all */
    bool destroy;         /* else they are only revoked, which a key file cannot be */
    const char *key_file; /* outside of the pool directory, to be destroyed all the same; NULL: none */
};
/* Ends keys that were in force and that nothing needs (retire.c); the one in force never. *count: how many, also where it
 * fails. ERROR_NOT_FOUND: there are none; ERROR_BUSY: the key is in force, or a change of keys is not complete; ERROR_LOCKED;
 * ERROR_UNCONFIRMED: a key file lies outside of the pool directory and was not named; and the providers'. */
enum error pool_key_retire(struct pool *pool, const struct pool_retire_options *options, uint64_t *count) CHECKED;

/* A key that was in force and that its provider may still keep; the name is empty where the conf names it no more. */
struct pool_key_retained {
    char provider[64];
    struct uuid provider_id;
    uint64_t kek_number;
};
#define POOL_RETAINED_MAX 64
struct pool_key_status {
    bool encryption; /* false: the rest is empty */
    char provider[64], type[16], seal[16];
    struct uuid provider_id;
    uint64_t kek_number; /* of the KEK in force; 0: the pool is locked, and the rest is empty */
    size_t key_slots;    /* of a device */
    bool half_done;      /* a change of keys is under way, or was cut short: superblocks may be under two keys */
    size_t retained_count;
    struct pool_key_retained retained[POOL_RETAINED_MAX];
};
enum error pool_key_status(struct pool *pool, struct pool_key_status *status) CHECKED;
/* ---- the audit: who did what with the keys ----------------------------------------------------------------------- */

#define AUDIT_SENTENCE_MAX 256

struct pool_audit_entry {
    uint64_t number; /* from 1; one more each time */
    uint64_t time;   /* seconds since 1970 */
    uint32_t uid, pid;
    char operation[32]; /* "pool.unlock", "key.rekey", … */
    char target[128];   /* the provider, as a rule */
    char key[64];       /* PROVIDER-ID/NUMBER of the key that is in force behind it; "": none */
    char result[128];   /* "ok", or the name of the error and its sentence as far as there is room */
    uint32_t pool_key;  /* number of the K_pool that seals it; 0: nothing does */
};
/* On whose behalf the calling thread works from now on: entries name him. Without it, this process. */
void pool_audit_actor(uint32_t uid, uint32_t pid);
void pool_audit_actor_forget(void);
/* By what the calling thread works, in entries behind the target: "rekey-every"; static. NULL: no more. */
void pool_audit_reason(const char *by);

struct pool_audit_verdict {
    uint64_t entries;  /* that were read */
    uint64_t anchored; /* the last entry of which witness and devices know number and seal */
    uint64_t faults;
    char sentence[AUDIT_SENTENCE_MAX]; /* the first fault, a begin that is missing only where it is the one */
    uint64_t whole_from, whole_to;     /* of the last entries those that follow from one another; 0: the last does not, or is missing */
};
/* `follows`: its seal stands upon the entry before it; else nothing proves it. */
typedef void pool_audit_visit(void *context, const struct pool_audit_entry *entry, bool follows);
/* Reads the whole file, verifies each entry and the anchors, and tells each entry, also behind a fault. ERROR_LOCKED;
 * ERROR_INVALID: the pool is not encrypted; ERROR_IO. */
enum error pool_audit_read(struct pool *pool, pool_audit_visit *visit, void *context, struct pool_audit_verdict *verdict) CHECKED;

/* Has the anchor of the audit written to every device, where it moved since it was there last: each change of keys does, and once a
 * day somebody should for all else. Does nothing while the pool is locked or its keys are being changed. */
void pool_audit_publish(struct pool *pool);

struct pool_audit_state {
    uint64_t entries;
    size_t waiting;  /* that could not be written yet: the pool is locked, or as `failure` says */
    uint64_t lost;   /* for which there was no room */
    char fault[AUDIT_SENTENCE_MAX];   /* found in the file when the pool was opened */
    char failure[AUDIT_SENTENCE_MAX]; /* of the last write */
};
void pool_audit_state(struct pool *pool, struct pool_audit_state *state);

/*
 * Deep rekey (deep_rekey.c): new data keys for all devices. What is written from then on is under them; what is stored is
 * encrypted anew by a job in the background, which survives pool_close(), pool_lock() and a crash. Where nothing is under the
 * old ones any more they are destroyed. New keys of tags come with them: see pool_log_keys(). Errors as pool_rekey()'s; ERROR_BUSY
 * also while one is under way. new_root means nothing. `rate`: bytes a second at most, DEEP_REKEY_RATE_MIN and more; 0: any. */
#define DEEP_REKEY_RATE_MIN (UINT64_C(64) << 10)
enum error pool_deep_rekey(struct pool *pool, const struct pool_rekey_options *options, uint64_t rate) CHECKED;
/* ERROR_NOT_FOUND where none runs; is paused; is under way. A restart obeys them too. */
enum error pool_deep_rekey_pause(struct pool *pool) CHECKED;
enum error pool_deep_rekey_resume(struct pool *pool) CHECKED;
enum error pool_deep_rekey_throttle(struct pool *pool, uint64_t rate) CHECKED;
enum deep_rekey_state { DEEP_REKEY_NONE, DEEP_REKEY_RUNNING, DEEP_REKEY_PAUSED, DEEP_REKEY_COMPLETE };
struct deep_rekey_status {
    enum deep_rekey_state state;     /* NONE: none ran since the open */
    enum error waits;                /* what it waits for that somebody has to mend; ERROR_NONE: nothing */
    uint64_t rate, started;          /* as it was given; seconds since 1970 */
    uint64_t bytes_moved, nanoseconds; /* since the open or the begin */
    uint64_t bytes_left, bytes_total; /* of segments under old keys, and under any */
    uint64_t seconds_left, blocks_lost; /* estimated, 0: unknown; that could not be read, since the last start */
    bool log_key_stays;              /* it brings no new key of tags, for which there is no room */
};
enum error pool_deep_rekey_status(struct pool *pool, struct deep_rekey_status *status) CHECKED;

/* A data key of a device, and what is under it. */
struct key_slot_info {
    char device[256]; /* path */
    uint32_t slot;
    bool current;
    uint64_t segments, segment_bytes, live_bytes;
};
/* *infos is the caller's (free). Empty where the pool is not encrypted. */
enum error pool_key_slots(struct pool *pool, struct key_slot_info **infos, size_t *count) CHECKED;
/* The same of the keys of tags (K_log): the current one of a device is that of all headers and records, too, but for the time of
 * a deep rekey; an old one stays as long as there is a segment that was begun under it. Never empty. */
enum error pool_log_keys(struct pool *pool, struct key_slot_info **infos, size_t *count) CHECKED;

/* The keys that devices hold, by name, and what they are wrapped under. */
struct pool_key {
    uint32_t device; /* index in `devices` */
    unsigned kind;   /* as enum key_kind: 1 of data, 2 of tags and records, 3 of fingerprints, witness and audit */
    uint32_t slot;
    bool current;
    uint8_t kcv[8]; /* its check value for the id of the device */
};
struct pool_key_device {
    char path[256];
    struct uuid id;
    uint64_t epoch; /* of its superblock */
    struct uuid provider, other_provider; /* the latter during a change of keys, or one that was cut short; else zero */
    uint64_t kek_number, other_kek_number;
};
struct pool_key_list {
    uint64_t created; /* when the pool was; seconds since 1970; 0: not known */
    size_t key_count, device_count;
    struct pool_key *keys;           /* free() */
    struct pool_key_device *devices; /* free() */
};
/* ERROR_BUSY during a change of keys. */
enum error pool_key_list(struct pool *pool, struct pool_key_list *list) CHECKED;

/* The calling thread forgets what it keeps of keys and of objects' contents (contexts, buffers). Threads that end do it by
 * themselves; one that lives on calls it when it has done something that may need them, since the pool may be locked. */
void pool_thread_end(void);
/* How a person calls `coffer` for this pool, for sentences that say what to type: "coffer -C DIR", quoted for a shell. */
const char *pool_command(const struct pool *pool);
/* As pool_open() was given it. */
const char *pool_directory(const struct pool *pool);

/* ---- objects ------------------------------------------------------------------------------------------------- */

struct object_info {
    struct uuid uuid;
    char name[VERSION_NAME_MAX + 1]; /* NAME@SNAPSHOT of a snapshot */
    bool snapshot;           /* it is one: read-only */
    uint64_t size;
    uint64_t created;        /* seconds since 1970 */
    uint64_t deleted;        /* 0, or when it went into the trash */
    uint64_t purge_at;       /* 0, or when the trash frees it */
    bool deleting;           /* being freed in the background */
    unsigned open_count;
    uint64_t snapshots;      /* of an object */
    bool kept;               /* one of them is held or locked: it is not freed, whatever purge_at says */
    uint64_t reserved;         /* bytes of it that are reserved */
    uint64_t reserved_missing; /* what the pool holds for that, beside what the object stores */
    bool hold;               /* of a snapshot, as in snapshot_info */
    uint64_t locked_until;
    bool importing;          /* it is being imported: what it holds is not whole yet */
    uint64_t import_position; /* bytes: all that the stream brings before there is in it */
    char hosts[OBJECT_HOSTS_MAX + 1]; /* "kms:NAME", of which it is the disk; empty: not told */
};

/* Bytes of one object, from a walk over its map: they cost time and stand for the moment `taken`. */
struct object_usage {
    uint64_t logical_bytes;    /* mapped blocks x 4096 */
    uint64_t unique_bytes;     /* distinct chunks of this object x 4096 */
    uint64_t stored_bytes;     /* their share of units as stored, headers included */
    uint64_t random_bytes;     /* of them in chunks that compression could not shrink */
    uint64_t map_bytes;        /* leaves and inner nodes */
    uint64_t taken;            /* seconds since 1970 */
};

/* Names: 1 to OBJECT_NAME_MAX bytes of UTF-8 without control characters, '@' or '/'. Sizes: multiples of COFFER_BLOCK up to
 * OBJECT_SIZE_MAX. Each of these is durable when it returns. ERROR_INVALID, ERROR_TOO_LARGE: another name or size, or there
 * are too many; ERROR_NOT_FOUND: there is no such object, or it is in the trash; ERROR_EXISTS: a new name is taken. */
enum error object_create(struct pool *pool, const char *name, uint64_t size, struct uuid *uuid) CHECKED;
/* The same, with so much of it reserved (object_reserve()) from the beginning. */
enum error object_create_reserved(struct pool *pool, const char *name, uint64_t size, uint64_t reserve,
                                  struct uuid *uuid) CHECKED;
/* The same, with what it is the disk of: "kms:NAME", the key provider NAME; NULL: nothing that is to be told. ERROR_ACCESS where
 * the key of that provider is the one in force: neither could start without the other. ERROR_BUSY during a change of keys. */
enum error object_create_hosting(struct pool *pool, const char *name, uint64_t size, uint64_t reserve, const char *hosts,
                                 struct uuid *uuid) CHECKED;
/* Tells it of an object that there is; NULL: it is the disk of nothing. Errors likewise. Snapshots and clones have none. */
enum error object_set_hosts(struct pool *pool, const char *name, const char *hosts) CHECKED;
/* Reserves `bytes` (a multiple of COFFER_BLOCK, at most its size; 0: none; OBJECT_RESERVE_FULL: all) for an object: so
 * much of it can be written whatever others write, what it stores included. ERROR_NO_SPACE says how much fits. */
#define OBJECT_RESERVE_FULL UINT64_MAX
enum error object_reserve(struct pool *pool, const char *name, uint64_t bytes) CHECKED;
/* `name` may be a name or a UUID in text; trashed ones by UUID, or by name where no living one has it. ERROR_NOT_FOUND. */
enum error object_find(struct pool *pool, const char *name, struct object_info *info) CHECKED;
/* One in the trash that can come back: by UUID, or by a name, whether or not a living object has it too, as long as only
 * one in the trash has it. Where several do, ERROR_INVALID and a sentence that lists them; so does what acts upon one. */
enum error object_find_trashed(struct pool *pool, const char *name, struct object_info *info) CHECKED;
/* All objects, without their snapshots, sorted by name; *infos is the caller's (free). */
enum error object_list(struct pool *pool, struct object_info **infos, size_t *count) CHECKED;
enum error object_rename(struct pool *pool, const char *name, const char *new_name) CHECKED;
/* Growing works while it is open; shrinking needs `shrink` (ERROR_UNCONFIRMED) and a closed object (ERROR_BUSY), and frees
 * what is cut. What is being imported has the size of its stream: ERROR_BUSY. */
enum error object_resize(struct pool *pool, const char *name, uint64_t size, bool shrink) CHECKED;
/* Into the trash, or, with `now`, away: the space comes back in the background. ERROR_BUSY while it is open. */
enum error object_delete(struct pool *pool, const char *name, bool now) CHECKED;
/* Out of the trash; `new_name` NULL keeps the name. Found, or refused, as by object_find_trashed(). */
enum error object_restore(struct pool *pool, const char *name, const char *new_name) CHECKED;
/* ERROR_CORRUPT, ERROR_IO: a part of its map cannot be read; ERROR_AGAIN: it changed too often meanwhile. */
enum error object_usage(struct pool *pool, const char *name, struct object_usage *usage) CHECKED;

/* ---- snapshots and clones ---------------------------------------------------------------------------------------- */

/*
 * A snapshot is what an object held at one moment: read-only, found as "NAME@SNAPSHOT" wherever an object may be looked
 * at or opened. It takes no time and no space but for what is written afterwards. Names are as those of objects. Each of
 * these is durable when it returns, and a crash leaves all of it or nothing. Errors as those of objects; ERROR_INVALID
 * also where a snapshot is meant and the name is an object's, or the other way round.
 */
struct snapshot_info {
    struct uuid uuid, object_uuid;
    struct uuid identity;             /* its UUID where it was made: what it was imported as, else `uuid` */
    char name[VERSION_NAME_MAX + 1];  /* NAME@SNAPSHOT */
    char object[OBJECT_NAME_MAX + 1], snapshot[OBJECT_NAME_MAX + 1];
    uint64_t size;
    uint64_t created;      /* seconds since 1970 */
    bool hold;             /* it cannot be deleted, until that is taken back */
    uint64_t locked_until; /* it cannot be deleted before; seconds since 1970, 0: not locked */
    bool trashed;          /* its object is in the trash */
    bool deleting;         /* being freed in the background */
    unsigned open_count;
};

/* Makes a snapshot of each of `count` (1 to SNAPSHOT_OBJECTS_MAX) different objects at one moment, all of this name.
 * `hold` and `locked_until` (0: not) as in snapshot_info. ERROR_EXISTS: one has a snapshot of that name; ERROR_BUSY: what
 * was cut off one by a shrink is still being freed; ERROR_NO_SPACE also where what is reserved does not fit once more. */
enum error object_snapshot(struct pool *pool, const char *const *names, size_t count, const char *snapshot, bool hold,
                           uint64_t locked_until) CHECKED;
/* There may be very many, so a server, whose memory is bounded, asks for a part of them. */
struct snapshot_part {
    const char *after; /* those behind this one, NAME@SNAPSHOT or UUID; NULL: from the first on */
    size_t most;       /* of these the first so many; 0: all */
    bool newest;       /* … the last so many */
};
/* Snapshots of one object, also of one in the trash, or of all that live (NULL), by object and age; *infos is the caller's
 * (free). `part` NULL: all. ERROR_NOT_FOUND also where the one behind which the list was to go on is gone. */
enum error snapshot_list(struct pool *pool, const char *object, const struct snapshot_part *part, struct snapshot_info **infos,
                         size_t *count) CHECKED;
/* One, by NAME@SNAPSHOT or UUID, also of an object in the trash. */
enum error snapshot_find(struct pool *pool, const char *name, struct snapshot_info *info) CHECKED;
/* Its space comes back in the background. ERROR_BUSY while it is open, held or locked. */
enum error snapshot_delete(struct pool *pool, const char *name) CHECKED;
#define SNAPSHOT_LOCK_MAX (UINT64_C(100) * 366 * 86400) /* seconds, from now on */
enum snapshot_hold { SNAPSHOT_HOLD_KEEP, SNAPSHOT_HOLD_SET, SNAPSHOT_HOLD_CLEAR };
/* Sets or takes back the hold, and locks until then: a lock cannot be shortened or taken back (`locked_until` 0: as it
 * is). Also of an object in the trash, which is not freed as long as one of its snapshots is kept. ERROR_INVALID: a lock
 * that is past, or longer than SNAPSHOT_LOCK_MAX; ERROR_ACCESS: one that would become shorter. */
enum error snapshot_protect(struct pool *pool, const char *name, enum snapshot_hold hold, uint64_t locked_until) CHECKED;
/* Makes an object what its snapshot `name` is, its size included. What it held becomes a snapshot `keep`; with NULL it is
 * gone, and where no snapshot holds the same that needs `discard`, else ERROR_UNCONFIRMED. ERROR_BUSY: open, or imported. */
enum error object_rollback(struct pool *pool, const char *name, const char *keep, bool discard) CHECKED;
/* Makes a new object of what a snapshot, or an object at this moment, holds; both can be written from then on. Errors as
 * those of object_create() and object_snapshot(). */
enum error object_clone(struct pool *pool, const char *name, const char *new_name, struct uuid *uuid) CHECKED;

/* ---- imports ----------------------------------------------------------------------------------------------------- */

/*
 * A stream (stream/, which the engine knows nothing of) becomes a snapshot. What it holds is written to an object of its own,
 * IMPORT_NAME_PREFIX and what tells the stream, which is opened like any other; only when all is there it is adopted, in one
 * commit, so that the target is what it was or what it becomes. Each of these is durable when it returns.
 */
#define IMPORT_NAME_PREFIX "import-"
struct import_request {
    struct uuid stream;   /* what tells it from others (stream_reader_import()) */
    const char *object;   /* the target: made where the stream is whole by itself, else gone on with */
    struct uuid base;     /* identity of the snapshot on which the stream stands; zero: it is whole */
    uint64_t size;        /* of the object in the snapshot */
    const char *snapshot; /* that is made */
    struct uuid identity; /* of it */
    uint64_t created;     /* when it was made; seconds since 1970 */
};
struct import_info {
    struct uuid uuid;  /* of the object that is written to */
    uint64_t position; /* bytes: all that the stream brings before there is in it */
    bool found;        /* it was begun before */
};
/* Begins, or finds, what the stream is written to. ERROR_EXISTS: the target is there, or has the snapshot; ERROR_FOREIGN: its
 * newest snapshot is not the base, or it was written since; ERROR_BUSY. */
enum error import_begin(struct pool *pool, const struct import_request *request, struct import_info *info) CHECKED;
/* All that the stream brings before this byte of the object is in it, and durable. `import`: import_info.uuid; of a stream
 * that came out of the trash there may be several. ERROR_NOT_FOUND: it was finished or deleted; ERROR_INVALID: it is shorter. */
enum error import_mark(struct pool *pool, struct uuid import, uint64_t position) CHECKED;
/* The target becomes it, with the snapshot. Checks, and refuses, what import_begin() did; *object is the target's UUID.
 * ERROR_NOT_FOUND as above; ERROR_BUSY: it is open; ERROR_INVALID: it was changed by somebody. */
enum error import_finish(struct pool *pool, const struct import_request *request, struct uuid import,
                         struct uuid *object) CHECKED;

/* ---- volumes: the data path ----------------------------------------------------------------------------------- */

/* An object or snapshot. ERROR_NOT_FOUND: there is none, or it is in the trash; ERROR_READ_ONLY: a snapshot, or a pool that
 * is only read, was to be written. */
enum error volume_open(struct pool *pool, const char *name, bool read_only, struct volume **volume) CHECKED;
/* The same, to read: pool_lock() waits for its close, which is due as soon as what is asked of it ends with ERROR_LOCKED. */
enum error volume_look(struct pool *pool, const char *name, struct volume **volume) CHECKED;
/* The last close of an object flushes it. */
void volume_close(struct volume *volume);
uint64_t volume_size(const struct volume *volume); /* grows when the object grows */
struct uuid volume_uuid(const struct volume *volume);

enum request_type {
    REQUEST_READ,
    REQUEST_WRITE,
    REQUEST_ZERO,  /* the range reads as zeros and takes no space */
    REQUEST_TRIM,  /* the same: discarded blocks read as zeros */
    REQUEST_FLUSH, /* everything answered before, on any volume of the pool, survives a crash */
    REQUEST_CACHE, /* read ahead, best effort */
};
enum { REQUEST_FUA = 1 }; /* of write, zero, trim: durable when answered */

struct request {
    enum request_type type;
    unsigned flags;
    uint64_t offset; /* bytes, any alignment (aligned to COFFER_BLOCK is faster) */
    uint64_t length; /* reads and writes: 1 to REQUEST_BYTES_MAX */
    void *data;      /* read: filled; write: taken from; must stay untouched until answered */
    enum error error;
    void *context;   /* the caller's */
};

/* Told once for each request when it is complete (request->error set), from the calling thread, in any order, before
 * volume_execute() returns. What is done is answered before the batch waits for a device. */
typedef void request_answer(struct request *request, void *context);

/*
 * Runs a batch to its end. Overlapping writes of one batch take effect in array order; a read sees every write that
 * was answered before the call. Errors are per request: OUT_OF_RANGE, INVALID, READ_ONLY, NO_SPACE (nothing of that
 * request's batch part was changed), CORRUPT (those blocks only), IO, FENCED.
 */
void volume_execute(struct volume *volume, struct request *requests, size_t count, request_answer *answer, void *context);
/* The same for who may give a request up and send it again: what changes data and had to wait asks `wanted` (NULL: it is) right
 * before it is entered, in order with all else, and enters nothing where it is not: ERROR_CLOSED. So it overwrites nothing that
 * was sent after it was given up. Asked by the calling thread, under locks: it neither waits nor calls the engine. */
typedef bool request_wanted(void *context);
void volume_execute_while(struct volume *volume, struct request *requests, size_t count, request_answer *answer,
                          request_wanted *wanted, void *context);

/* Block status for `base:allocation`: runs of the same kind from `offset` on, at most `length` bytes and `capacity`
 * extents, at least one; offset and length are rounded out to blocks. Ends early where more than EXTENT_DATA_MAX bytes
 * had to be looked at block by block; a hole of any size is passed over. ERROR_OUT_OF_RANGE; ERROR_CORRUPT, ERROR_IO: a part
 * of the map cannot be read. */
#define EXTENT_DATA_MAX (UINT64_C(64) << 20)
struct extent { uint64_t length; bool hole; };
enum error volume_extents(struct volume *volume, uint64_t offset, uint64_t length, struct extent *extents,
                          size_t capacity, size_t *count) CHECKED;

/* What is not the same in an object or snapshot as it was in a snapshot, `base`, of the same pool: runs of the same kind from
 * `offset` on, at most `length` bytes and `capacity` extents, at least one; offset and length are rounded out to blocks. What
 * is told as unchanged has the same bytes in both; where `base` ends it is taken for zeros. Costs what changed in a family of
 * versions, and what both hold where they have nothing to do with each other. Ends early where more than CHANGES_LEAVES_MAX
 * MiB had to be looked at block by block. ERROR_INVALID: `base` is no snapshot; else as volume_extents(). */
#define CHANGES_LEAVES_MAX 64
enum change_kind { CHANGE_NONE, CHANGE_DATA, CHANGE_ZERO /* it is a hole now */ };
struct change_extent { uint64_t length; enum change_kind kind; };
enum error volume_changes(struct volume *volume, struct volume *base, uint64_t offset, uint64_t length,
                          struct change_extent *extents, size_t capacity, size_t *count) CHECKED;

/* ---- what it is doing ------------------------------------------------------------------------------------------ */

struct device_info {
    struct uuid uuid;
    char path[256];
    uint64_t size;
    bool fenced;
    uint64_t reads, read_bytes, writes, write_bytes, flushes, discards;
};

struct pool_status {
    struct uuid uuid;
    bool locked, encryption, fenced, read_only;
    bool awaits_key;          /* locked for want of the right key, and pool_unlock_awaited() may still open it */
    bool trying;              /* it does so right now */
    char why_locked[1024];    /* the sentence on that key; empty where it is not locked, or a person did it */
    const char *key_state;    /* of the key that opened it, on its server: "active", "deactivated", "compromised", "unasked", "cached" */
    bool below_full;          /* the file system below has no space: writers get NO_SPACE */
    enum fingerprint_choice fingerprint;
    char group_name[GROUP_NAME_MAX + 1];
    struct uuid group_uuid;
    size_t device_count;
    struct device_info devices[GROUP_DEVICES_MAX];
    uint64_t epoch;
    uint64_t raw_bytes;       /* of all devices */
    uint64_t reserve_bytes;   /* outside every percentage */
    uint64_t capacity_bytes;  /* raw less reserve */
    uint64_t used_bytes;      /* alive, or committed and not counted yet */
    uint64_t reserved_bytes;  /* held for objects, beside what they store */
    uint64_t free_bytes;      /* capacity less used and reserved: what writers can still have */
    uint64_t writable_bytes;  /* new data that surely fits, though it neither compresses nor repeats what is there */
    uint64_t reclaimable_bytes; /* of segments in use, what the cleaner can make free again */
    uint64_t live_bytes;      /* in segments, counted */
    uint64_t chunks_live;     /* distinct data chunks referred to */
    uint64_t blocks_mapped;   /* logical blocks that refer to a chunk; what versions of an object share counts once */
    uint64_t data_stored_bytes; /* live bytes of data units */
    uint64_t meta_stored_bytes; /* live bytes of maps and tables */
    uint64_t objects, objects_trashed, snapshots;
    uint64_t object_bytes, snapshot_bytes; /* their sizes; of objects without those in the trash */
    uint64_t memory_setting, memory_used;
    /* since the open */
    uint64_t user_read_bytes, user_write_bytes, user_reads, user_writes, user_flushes;
    uint64_t chunks_written;                   /* new ones: neither zeros nor hits */
    uint64_t chunks_zero, chunks_hit, chunks_false_hit;
    uint64_t chunks_random;                    /* of unit_bytes_in: what compression could not shrink */
    uint64_t unit_bytes_in, unit_bytes_out;    /* of the compressor; also where a commit then found a hit gone */
    uint64_t data_written_bytes, meta_written_bytes; /* to the devices: journal and what the cleaner moved; maps and tables */
    uint64_t checkpoints, checkpoint_last; /* seconds since 1970 */
    uint64_t journal_bytes;                /* since the last freeze */
    uint64_t replay_bytes, replay_nanoseconds; /* of the last open */
    bool index_full; /* false: fingerprints that were there at the open are still being entered */
    uint64_t read_errors;
};
/* Never fails of a pool that is open, locked or not. */
enum error pool_status(struct pool *pool, struct pool_status *status) CHECKED;

/* ---- scrub and known damage -------------------------------------------------------------------------------------- */

/*
 * A scrub is a job of an open pool: it reads all that is stored, on every device, in the background, and checks it. One
 * at a time; its position survives pool_close(), pool_lock() and a crash (then a little is read again), and the next
 * open goes on with it. Refused on a locked or read-only pool.
 */
enum scrub_state { SCRUB_NEVER, SCRUB_RUNNING, SCRUB_PAUSED, SCRUB_CANCELLED, SCRUB_COMPLETE };
#define SCRUB_RATE_DEFAULT (UINT64_C(32) << 20) /* bytes a second */
#define SCRUB_RATE_MIN     (UINT64_C(64) << 10)
#define SCRUB_RATE_KEEP    UINT64_MAX           /* as it was set last */

struct scrub_status {
    enum scrub_state state;
    const char *step;             /* what it is at, for people; "" where it is at nothing */
    bool fenced;                  /* the disk group is out of service: it will not go on */
    uint64_t rate;                /* bytes a second at most; 0: as fast as the devices read */
    uint64_t started;             /* seconds since 1970; of the one that runs or ran last */
    uint64_t bytes_verified;      /* by it */
    uint64_t bytes_expected;      /* … at its end, estimated */
    uint64_t nanoseconds;         /* that it ran */
    uint64_t seconds_left;        /* estimated; 0: unknown */
    uint64_t completed;           /* seconds since 1970; of the last one that came to its end; 0: none did */
    uint64_t completed_bytes, completed_seconds, completed_damages; /* of that one: rows of known damage at its end */
    uint64_t damages;             /* rows of known damage */
    uint64_t damaged_bytes;       /* … of objects */
};

/* `rate` in bytes a second: 0, SCRUB_RATE_KEEP, or SCRUB_RATE_MIN and more, else ERROR_INVALID. ERROR_BUSY where one runs or is
 * paused. */
enum error pool_scrub_start(struct pool *pool, uint64_t rate) CHECKED;
/* ERROR_NOT_FOUND where none runs; is paused; runs or is paused. */
enum error pool_scrub_pause(struct pool *pool) CHECKED;
enum error pool_scrub_resume(struct pool *pool) CHECKED;
enum error pool_scrub_cancel(struct pool *pool) CHECKED;
/* Also for the next one. */
enum error pool_scrub_throttle(struct pool *pool, uint64_t rate) CHECKED;
enum error pool_scrub_status(struct pool *pool, struct scrub_status *status) CHECKED;

struct damage_info {
    const char *kind;                 /* "data", "unit", "map", "table", "header", "superblock", "checkpoint" */
    char object[VERSION_NAME_MAX + 1]; /* empty: of no object */
    struct uuid uuid;                 /* of it */
    uint64_t offset, length;          /* bytes of the object, for "data" */
    char device[256];                 /* path */
    uint64_t segment, segment_offset; /* bytes within it */
    bool lost;                        /* no other copy serves */
    bool by_scrub;                    /* else by a read */
    uint64_t found;                   /* seconds since 1970 */
    char sentence[1024];              /* all of it, for people */
};
/* What is known to be damaged, by object and offset; *infos is the caller's (free). *more: there is more than the ledger
 * holds. */
enum error pool_damages(struct pool *pool, struct damage_info **infos, size_t *count, bool *more) CHECKED;

/* ---- checking ---------------------------------------------------------------------------------------------------- */

struct check_report {
    uint64_t chunks, units, nodes, pages, segments, bytes_read, references;
    uint64_t errors;
    uint64_t bytes_lost; /* of objects */
    bool losses_unknown; /* more may be lost: catalog or component table have gaps, or not all damage was looked up */
};
/* A range of an object that cannot be read: no more and no less. */
struct check_loss {
    char object[VERSION_NAME_MAX + 1]; /* empty: the catalog does not tell its name any more */
    struct uuid uuid;
    uint64_t offset, length;          /* bytes */
};
struct check_listener {
    void (*found)(const char *sentence, void *context);          /* a finding */
    void (*lost)(const struct check_loss *loss, void *context);  /* by object and rising offset, at the end; or NULL */
    void (*progress)(uint64_t done, uint64_t total, void *context); /* bytes; or NULL */
    void *context;
};
/* Offline: the pool must not be open anywhere. Reads everything: every reference counted, every chunk readable, every
 * fingerprint true, live bytes of every segment right. Returns ERROR_NONE where the check ran to its end, with or
 * without findings; else as pool_open(). */
enum error pool_check(const char *directory, const struct pool_open_options *options,
                      const struct check_listener *listener, struct check_report *report) CHECKED;

#endif
