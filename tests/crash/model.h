/*
 * What a crash may leave: the model of the crash tests, in memory that outlives the process that is killed.
 *
 * A cell is the smallest piece with a content of its own: a block, or a quarter of one that four threads share. It has
 * versions, each begun before its write was handed to the engine and answered when the engine said so. Of two versions
 * the later is the one that began after the other was answered; where they overlap in time there is no order. After a
 * crash a cell may hold any version but those older than a durable one. A version is durable when it was answered with
 * FUA, was answered before the beginning of a flush that was answered, or was read after a restart. One whose write
 * failed may be there or not: it hides none, and is hidden by those that began after its answer.
 *
 * Kill-safe: every change is one store that takes effect, or weakens the model where it is missing. A cell is changed
 * by one thread at a time: its owner, or under the lock of the shared ones.
 */
#ifndef COFFER_TESTS_CRASH_MODEL_H
#define COFFER_TESTS_CRASH_MODEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define CELL_VERSIONS_MAX 20

struct version {
    uint64_t hash;
    uint64_t began;
    _Atomic uint64_t answered; /* 0: not yet */
    _Atomic bool used, durable, failed;
};

struct cell {
    struct version versions[CELL_VERSIONS_MAX];
};

/* Every content that was ever written to a cell, as a set of hashes of both: what damaged devices may still give. */
#define WRITTEN_SLOTS (1u << 20)

struct model_clock {
    _Atomic uint64_t now;
    _Atomic uint64_t durable;  /* what was answered before this survives */
    _Atomic uint64_t *written; /* WRITTEN_SLOTS; NULL: it is not kept */
    _Atomic uint64_t written_count;
};

uint64_t clock_tick(struct model_clock *clock);

/* Makes a cell that holds one durable content. Also after a restart, when it has been read. */
void cell_settle(struct cell *cell, struct model_clock *clock, uint64_t hash);
/* Whether the cell can take one more version; a flush makes room. */
bool cell_has_room(struct cell *cell, const struct model_clock *clock);
/* A write is about to be handed over; the cell has room. */
struct version *cell_begin(struct cell *cell, struct model_clock *clock, uint64_t hash);
void version_answer(struct version *version, uint64_t answered, bool durable);
/* The write was answered by an error: it happened, or not. */
void version_fail(struct version *version, uint64_t answered);
/* The write failed and changed nothing. */
void version_drop(struct version *version);

/* What a reader may see of it now, as the durable content of another cell: one of these, whichever. */
void cell_copy(struct cell *to, const struct cell *from, struct model_clock *clock);

/* Everything answered is durable now. */
void cell_flush(struct cell *cell);

/* Whether a crash may leave this content. */
bool cell_survives(const struct cell *cell, const struct model_clock *clock, uint64_t hash);
/* Whether a read that began at `began` may return it. */
bool cell_reads(const struct cell *cell, uint64_t began, uint64_t hash);
/* Where the clock keeps what was ever written: it was written to the cell; whether it was. */
void cell_note(const struct cell *cell, struct model_clock *clock, uint64_t hash);
bool cell_wrote(const struct cell *cell, const struct model_clock *clock, uint64_t hash);
void cell_print(const struct cell *cell, const struct model_clock *clock);

uint64_t flush_begin(struct model_clock *clock);
void flush_answer(struct model_clock *clock, uint64_t began);

#endif
