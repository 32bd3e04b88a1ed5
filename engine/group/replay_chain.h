/*
 * What the files of replay share: replay.c follows the chain, replay_read.c gets its appends, replay_apply.c enters
 * their records, replay_headers.c looks for segments that nothing names, replay_behind.c looks behind its end,
 * replay_damage.c says what is lost, replay_evidence.c where what is given up lies.
 */
#ifndef COFFER_ENGINE_GROUP_REPLAY_CHAIN_H
#define COFFER_ENGINE_GROUP_REPLAY_CHAIN_H

#include "engine/group/record.h"
#include "engine/group/replay.h"
#include "engine/group/replay_window.h"

/* Chunks between the prefetch of their place in the index and their entry: a few cache misses. */
#define INDEX_DELAY 32

struct replay {
    struct group *group;
    const struct checkpoint *checkpoint;
    struct replay_windows *windows;
    struct record *record; /* the one at hand */
    void *head;            /* a block: where the header of a segment was read last */
    struct place place;    /* of the next append */
    uint8_t tag[16];       /* of the last one */
    uint64_t last_sequence, durable_seen;
    unsigned joints_met;   /* of the record's, those before the one that was followed last, and that one */
    uint32_t passed;       /* of the slots before this one, counted over all devices in turn, those that are free and cannot be
                            * read were passed over (repair) */
    uint64_t overflow; /* bytes of records that found both tables full: only counted, the group does not open */
    struct index_entry {
        struct fingerprint fingerprint;
        uint64_t cid;
    } delayed[INDEX_DELAY]; /* a ring */
    uint64_t delayed_first, delayed_end;
};

/* An append whose own tag fits; good until the next one is read. */
struct replay_append {
    const struct append_format *append; /* where none is: what stands there, or where the header of its segment should be;
                                         * NULL: the place is none */
    size_t size;                        /* of it, as far as it was looked at */
    const struct segment_keys *keys;
    bool sound; /* the tags of all its units fit; false: were not compared, or do not */
};
/* The append at a place; ERROR_NOT_FOUND where there is none. Enters its segment into the table. */
enum error replay_append_read(struct replay *replay, const struct place *place, struct replay_append *read) CHECKED;
/* Behind the end of the chain no append leads to the next, so every block from a place to the end of its segment is asked
 * whether one begins there. An error ends the walk. */
typedef void replay_visit(struct replay *replay, const struct append_format *append, void *context);
enum error replay_segment_walk(struct replay *replay, struct place place, replay_visit *visit, void *context) CHECKED;
/* The header of a segment: read ahead, or read now. */
enum error replay_header_read(struct replay *replay, const struct place *place, struct segment_header *header) CHECKED;
/* Reads the headers of all slots, or of those that the table calls free, many at a time. `found` gets each once: what
 * segment_header_read() would say of it, and where that is ERROR_NONE its header. An error of `found` ends it. */
typedef enum error replay_header_found(struct replay *replay, uint32_t index, enum error error,
                                       const struct segment_header *header, void *context);
enum error replay_headers_read(struct replay *replay, bool free_only, replay_header_found *found, void *context) CHECKED;
/* Compares the tags of its units where that was not done: from now on `sound` says how they are. */
enum error replay_append_judge(struct replay_append *read) CHECKED;

/* Enters what the frames behind the checkpoint say. Where both tables are full the rest is counted only. */
enum error replay_append_apply(struct replay *replay, const struct append_format *append) CHECKED;
/* At the end: ERROR_NO_MEMORY where not all of it found room; the sentence says how much is needed. */
enum error replay_room_check(const struct replay *replay) CHECKED;

/* Enters what is not in the index yet. */
void replay_index_finish(struct replay *replay);

/* Whether something that an earlier open has read must still follow: it made it durable before it recorded a joint. */
static inline bool replay_has_more(const struct replay *replay)
{
    return replay->joints_met < replay->checkpoint->joint_count;
}

/* The highest `durable` stated behind the end of the chain: in the rest of its segment and in those after, as far as they were
 * used. */
enum error replay_durable_behind(struct replay *replay, uint64_t *durable) CHECKED;
/* The journal ends before a `durable` sequence: says what is lost. ERROR_CORRUPT. */
enum error replay_damage(struct replay *replay, uint64_t durable);
/* The end is noted for the repair; in it, one that is not the look's is ERROR_CORRUPT. */
enum error replay_end_agree(const struct replay *replay, bool cut) CHECKED;
/* Of a journal that is cut: all that may hold something of what follows, onto the group's list. */
void replay_evidence(struct replay *replay);

#endif
