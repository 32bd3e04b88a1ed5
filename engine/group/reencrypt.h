/*
 * Re-encryption in place: a sealed segment is written again, under the current key of its device and a new salt, into another
 * slot of that device, with the same serial (ENGINE 6). reencrypt.c tells how, and why a crash is harmless.
 *
 * One thread copies (reencrypt_segment); the merge makes what is copied take the old one's place (reencrypt_enter).
 */
#ifndef COFFER_ENGINE_GROUP_REENCRYPT_H
#define COFFER_ENGINE_GROUP_REENCRYPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/device/device.h"
#include "engine/group/segment.h"

struct group;

#define REENCRYPTED_MAX 64 /* that wait for a publish: half a second of a fast device */
#define REENCRYPT_WINDOW (4u << 20) /* what is verified at a time: no append is longer */
#define REENCRYPT_PIECE (256u << 10) /* of one read or write: others wait for no longer */
#define REENCRYPT_PIECES (REENCRYPT_WINDOW / REENCRYPT_PIECE)
#define REENCRYPT_TROUBLES 64

/* One segment on its way. */
struct reencrypted {
    uint64_t serial, salt;
    uint32_t from, to; /* indices */
    uint32_t key_slot;
    bool ready;        /* it is on the device, all of it */
};

/* In the group, under its lock. */
struct reencrypted_list {
    struct reencrypted items[REENCRYPTED_MAX];
    size_t count;
    bool wanted; /* a publish is: for those that are ready */
    uint64_t lacking; /* devices (a bit for each) without a free slot for what they have left: the cleaner is asked for some */
    bool folds;  /* one is that folds the table in, whatever is in it */
};

/* A copy that is begun: its place in the list, and where it comes from. */
struct reencrypt_copy {
    struct reencrypted move;
    struct segment_identity old, new;
    struct device *device;
    uint64_t from, to; /* offsets on the device */
    uint8_t kind, window;
    bool last_try;
};

struct reencrypt_window {
    uint8_t *bytes;
    struct device_io reads[REENCRYPT_PIECES], writes[REENCRYPT_PIECES];
    size_t read_count, write_count; /* that nobody waited for yet; reads of a segment whose turn has not come */
};

/* A segment that could not be read, or was left alone. */
struct reencrypt_trouble {
    uint64_t serial, again; /* clock_monotonic */
    unsigned tries;
    bool unread;
};

/* Of the thread that copies. */
struct reencrypt {
    struct group *group;
    /* Called with what was written since `since`, and nothing held; ERROR_INTERRUPTED: leave it as it is. */
    enum error (*breathe)(void *context, uint64_t bytes, uint64_t since);
    /* Called with blocks of a segment that are given up, and nothing held. */
    void (*lost)(void *context, uint64_t serial, uint32_t first, uint32_t end);
    void *context;
    bool gently;          /* others work: one piece at a time; `breathe` says so */
    uint64_t blocks_lost; /* that could not be read */
    uint32_t segment_lost, first_lost; /* of the segment that is read */
    bool silent;                       /* nothing of its device could be read */
    uint64_t asked;                    /* clock_monotonic: the cleaner was, for slots */
    uint32_t cursor, forgotten; /* where the choice goes on; slots before this one name no old key, */
    bool waits;                 /* but for some that will be free */
    struct reencrypt_window windows[3]; /* of the segment at work, of the one before, which is being written, of the next */
    uint8_t turn;                       /* the window that was given out last */
    uint8_t *again;                     /* a piece that is read once more */
    uint32_t last_block;                /* at which the last window of the segment begins */
    struct reencrypt_copy before;       /* whose last writes are in flight */
    struct reencrypt_copy next;         /* whose first reads are */
    bool in_flight, has_next;
    struct reencrypt_trouble troubles[REENCRYPT_TROUBLES];
    size_t trouble_count;
};

enum error reencrypt_init(struct reencrypt *reencrypt, struct group *group) CHECKED;
void reencrypt_deinit(struct reencrypt *reencrypt);

/*
 * Copies the next segment that is under an old key. ERROR_NOT_FOUND: there is none that could be moved now, though there may be
 * one later; ERROR_AGAIN: no slot is to be had, or too many wait for a publish; ERROR_INTERRUPTED: `breathe` said so;
 * ERROR_FENCED. What cannot be read is passed over twice; then the blocks that still cannot are zeros, told, and counted. A
 * try of which the device read nothing at all, wherever, says nothing, and does not count.
 */
enum error reencrypt_segment(struct reencrypt *reencrypt) CHECKED;

/*
 * Overwrites the headers of free slots that still name an old key: behind it an old key opens nothing, whatever a slot holds. Once
 * group_has_no_old_share() says so; goes on where it was. ERROR_AGAIN: no slot is to be had, or one is to be free soon, by
 * a merge that folds; ERROR_INTERRUPTED; ERROR_FENCED. From the first slot again, where there was an old share meanwhile.
 */
enum error reencrypt_forget(struct reencrypt *reencrypt) CHECKED;
void reencrypt_forget_anew(struct reencrypt *reencrypt);

/* Whether a free slot may be taken for a moment. Under the group's lock. */
bool reencrypt_has_room(const struct group *group);

/* How many segments could not be read when that was last tried, and are still under an old key. Under no lock. */
size_t reencrypt_unread(struct reencrypt *reencrypt);

/* reencrypt_copy.c, for reencrypt_segment(): the first pieces of a segment are read from now on, and left in flight; waits for
 * them; all of a segment is read and decrypted, of one that is longer than a window all but
 * the last of them written too; that one is written, which may be left in flight; waits for that. */
void reencrypt_read_ahead(struct reencrypt *reencrypt, const struct reencrypt_copy *copy);
void reencrypt_read_forget(struct reencrypt *reencrypt, const struct reencrypt_copy *copy);
enum error reencrypt_read(struct reencrypt *reencrypt, const struct reencrypt_copy *copy) CHECKED;
enum error reencrypt_write(struct reencrypt *reencrypt, const struct reencrypt_copy *copy) CHECKED;
enum error reencrypt_writes_end(struct reencrypt *reencrypt, const struct reencrypt_copy *copy) CHECKED;

/* Segments that are ready take the place of the old ones; the slots of those are appended to `freed`. By the merge, before
 * it writes the segment table, under the group's lock. */
void reencrypt_enter(struct group *group, uint32_t *freed, size_t *count);
/* Has what is ready published, soon, by a merge that folds nothing in. Under no lock. */
void reencrypt_publish(struct group *group);
/* How many are ready. Under no lock. */
size_t reencrypt_ready(struct group *group);
/* Has a merge made as if there were something to fold in: what was sealed before is not needed by replay any more then, and
 * logs of merges leave segments that are under an old key. Nobody waits for it; the number is asked for until it is over, of
 * one merge at a time. Under no lock. */
uint64_t reencrypt_fold_begin(struct group *group);
bool reencrypt_fold_is_over(struct group *group, uint64_t number);
/* Whether a publish, or a merge, is wanted; under the group's lock. */
bool reencrypt_is_due(const struct group *group);
bool reencrypt_folds(const struct group *group);

/* ---- keys ------------------------------------------------------------------------------------------------------- */

struct keyring;
struct keyring_needs;

/* From now on these are the keys of the devices, which the superblocks have already: new segments are under the current DEK
 * and K_log at once, but for those that a header is written for. A new K_log comes only together with a new DEK. Those that were
 * are kept until the group closes, but for keys that are in none of the new ones any more: these are wiped. Under no lock. */
enum error group_keyrings_exchange(struct group *group, struct keyring *const *keyrings) CHECKED;

/* The K_logs of a device that cannot be destroyed: those from `demanded` on, which headers and records may be under, and those of
 * the tags of a segment, or of a slot that a view may still read. What is not needed never is again. Under no lock. */
void group_log_keys_needed(struct group *group, uint32_t device, uint8_t demanded, struct keyring_needs *needs);

/* How much of a device is under one of its DEKs, or has its tags under one of its K_logs. */
struct key_share {
    uint32_t device, number;
    bool current;
    uint32_t segments; /* slots that hold, or held until a view is gone, something under it */
    uint64_t bytes;    /* that are alive in them */
};
/* Of every DEK, or K_log, of every device, by device and number, into at most `capacity`; returns how many there are. Under no
 * lock. */
size_t group_key_shares(struct group *group, enum key_kind kind, struct key_share *shares, size_t capacity);
/* Whether nothing is under an old DEK: not a segment, nor a slot that a view may still read. Then no header is under an old K_log
 * either, since the two come together, and nobody makes a header for an old DEK and an old K_log anew. Checkpoint records are
 * judged apart: none is under an old K_log, at any of its positions. */
bool group_has_no_old_share(struct group *group);
/* Whether what is under an old DEK waits for a merge that folds: written still, needed by replay, or dead; or a record does. */
bool reencrypt_needs_fold(struct group *group);
/* Leaves the journal's segment, and the next, where they are under an old key. *left: they are not, or not any more.
 * Under no lock. */
enum error group_leave_journal(struct group *group, bool *left) CHECKED;

#endif
