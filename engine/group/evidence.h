/*
 * What a repair would let go of, by place: gathered by replay and by the check, kept in a file before anything is written
 * (pool/evidence_file.c).
 */
#ifndef COFFER_ENGINE_GROUP_EVIDENCE_H
#define COFFER_ENGINE_GROUP_EVIDENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whole blocks of a device. */
struct evidence_piece {
    const char *what; /* a word or two, of a constant */
    uint32_t device;
    uint64_t offset, length; /* bytes */
};

/* Where a replay ended. */
struct evidence_end {
    bool known;
    bool cut;        /* before what was flushed */
    uint32_t block;  /* of the segment */
    uint64_t serial; /* of it */
    uint64_t last_sequence;
};

struct evidence {
    struct evidence_piece *pieces;
    size_t count, capacity;
    struct evidence_end end;
    bool incomplete; /* there was no memory for all of it */
};

/* Rounded to whole blocks. Nothing where `evidence` is NULL. */
void evidence_add(struct evidence *evidence, uint32_t device, uint64_t offset, uint64_t length, const char *what);
/* By device and offset; what touches or overlaps, and is the same, becomes one piece. */
void evidence_order(struct evidence *evidence);
void evidence_forget(struct evidence *evidence);

#endif
