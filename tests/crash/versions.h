/*
 * Versions of families, for the files that change them or look at them: families.c, families_compare.c, guards.c,
 * differences.c and imports.c.
 * All of it belongs to the thread of families.
 */
#ifndef COFFER_TESTS_CRASH_VERSIONS_H
#define COFFER_TESTS_CRASH_VERSIONS_H

#include "tests/crash/random.h"
#include "tests/crash/session.h"

#define VERSION_NAME_SIZE 64
#define OBJECT            0 /* the version that can be written; behind it are snapshots */
#define FAMILY_HOSTS      "kms:elsewhere" /* of what some objects are the disk */

struct version_state *version_of(struct session *session, unsigned family, unsigned version);
/* The object and the snapshots that it may have. */
unsigned family_versions(const struct session *session);
void version_name(unsigned family, unsigned version, char out[VERSION_NAME_SIZE]);
/* One of the snapshots that exist; 0: there is none. */
unsigned draw_snapshot(struct session *session, unsigned family, struct dice *dice);
/* A family whose object does not exist; FAMILIES: all do. */
unsigned draw_absent(struct session *session, struct dice *dice);

/* What a call is about to make of a version, to be filled in; then the call is begun, and ended by what it came to: ERROR_BUSY
 * or ERROR_NO_SPACE where it was refused and did nothing. */
struct version_state *family_change_add(struct session *session, unsigned *count, unsigned family, unsigned version);
void family_changes_begin(struct session *session, unsigned count);
void family_changes_end(struct session *session, unsigned count, enum error error, const char *what);
/* They came about: with them, all that was answered before is durable. An object is what its newest snapshot is, if nothing
 * else is said of it. */
void family_changes_apply(struct session *session, unsigned count);
/* What a reader may see of the blocks that both have; zeros behind them. */
void state_copy(struct session *session, struct version_state *to, const struct version_state *from, uint64_t blocks);

/* A write or trim somewhere, to a family's object or to what becomes one; what it came to. */
enum error blocks_change(struct session *session, struct volume *volume, unsigned family, struct version_state *object,
                         struct dice *dice);
/* Hashes of all blocks of an object or snapshot; false where it cannot be read. */
bool version_hashes(struct session *session, struct pool *pool, const char *name, uint64_t blocks, bool restarted,
                    uint64_t hashes[FAMILY_BLOCKS]);
/* `began`: of the read; 0: it was the first after a restart. */
void judge_block(struct session *session, struct version_state *state, const char *name, uint64_t block, uint64_t hash,
                 uint64_t began);
void object_go_back(struct session *session, struct pool *pool, unsigned family, unsigned version);

/* ---- guards.c: holds, locks and the clock ------------------------------------------------------------------------- */

struct guard {
    bool hold;
    uint64_t locked_until;
};
/* Of a snapshot that is made: mostly none. */
struct guard guard_draw(struct session *session, struct dice *dice);
/* Whether that may be why it was refused: its time came too soon. */
bool guard_refuses(struct session *session, const struct guard *guard, enum error error);

/* Versions that are about to be deleted together: the call must be refused where one of them is guarded, and only there. */
struct guarded {
    struct session *session;
    uint64_t least; /* the time when it began */
    uint64_t last;  /* of all locks */
    bool held;
};
struct guarded guarded_begin(struct session *session);
void guarded_add(struct guarded *guarded, const struct version_state *version);
void guarded_end(const struct guarded *guarded, enum error error, const char *name);
/* Holds a snapshot, lets it go, locks it; or sets the clock. */
void guard_change(struct session *session, struct pool *pool, unsigned family, struct dice *dice);

/* ---- differences.c ------------------------------------------------------------------------------------------------ */

/* Asks what changed from a snapshot to another version, and reads both. */
void difference_look(struct session *session, struct pool *pool, unsigned family, struct dice *dice);

/* ---- exports.c ---------------------------------------------------------------------------------------------------- */

/* Makes a stream of a snapshot, whole or since another one, reads it and compares. */
void export_look(struct session *session, struct pool *pool, unsigned family, struct dice *dice);

/* ---- imports.c ---------------------------------------------------------------------------------------------------- */

/* Begins an import, goes on with one, finishes or leaves it. */
void import_step(struct session *session, struct pool *pool, unsigned family, struct dice *dice);
/* After a restart, once it is known what became of families. */
bool imports_compare(struct session *session, struct pool *pool);

#endif
