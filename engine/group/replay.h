/*
 * Replay: from the place in the checkpoint record along the chain of appends, into the recent tables. Nothing is written
 * to the group meanwhile. At its end the journal goes on in a new segment, never behind what was read.
 */
#ifndef COFFER_ENGINE_GROUP_REPLAY_H
#define COFFER_ENGINE_GROUP_REPLAY_H

#include "engine/group/group.h"

struct replay_end {
    uint8_t tag[16];        /* of the last append that counts, or the one stated with the start */
    uint64_t last_sequence; /* of the last frame replayed, or the checkpoint's */
};

/* So much of the first table is filled before the other: for tests, whose journals would fit into one. */
extern _Atomic uint64_t replay_table_bytes;

/*
 * ERROR_IO: a device could not read (a read error is never taken for the end). ERROR_CORRUPT: the journal is damaged
 * before a sequence that a flush had acknowledged; the sentence names the range of sequences. ERROR_NO_MEMORY: the
 * recent tables are too small; the sentence says what `memory` is needed.
 */
enum error replay_run(struct group *group, const struct checkpoint *checkpoint, struct replay_end *end) CHECKED;

#endif
