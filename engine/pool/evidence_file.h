/* Keeping what a repair would let go of, before it writes anything. See evidence_file.c. */
#ifndef COFFER_ENGINE_POOL_EVIDENCE_FILE_H
#define COFFER_ENGINE_POOL_EVIDENCE_FILE_H

#include "engine/coffer.h"
#include "engine/device/device.h"
#include "engine/group/evidence.h"
#include "engine/group/superblock.h"

/* For the rows of what is kept; the rest is the caller's options'. */
struct evidence_source {
    const char *directory; /* of the pool */
    struct device *const *devices;
    const struct superblock *superblocks;
};

/* Bytes that a directory is taken to have free at most: for tests. */
extern _Atomic uint64_t evidence_room;

/*
 * Makes DIR/evidence-HASH of the pieces, durable and whole or not at all, and says so; nothing where there are none, or where
 * a file holds the same already. With `discard_evidence` nothing is made, and that is said. What it did goes onto `report`.
 * ERROR_NO_SPACE: there is no room; the sentence says how much is needed, and what else can be typed.
 */
enum error evidence_save(struct evidence *evidence, const struct evidence_source *source,
                         const struct pool_open_options *options, struct pool_repair_report *report) CHECKED;

/* Whether the directory that was named, if one was, can be written to and has any room. */
enum error evidence_directory_check(const struct pool_open_options *options) CHECKED;

#endif
