/*
 * The scrub, as its files share it. scrub.c tells the story and has the thread; the others are its steps:
 *
 *   scrub_roots.c   superblock copies, the newest checkpoint record, headers of segments
 *   scrub_chunks.c  pages of tables; and all units and map nodes, by the table of places
 *   scrub_maps.c    the maps of objects: nodes in all copies, and to whom the damage that was found belongs
 *   scrub_confirm.c at the end, known damage is looked at once more
 *   scrub_file.c    what is saved
 *   scrub_order.c   start, pause, resume, cancel, throttle; status
 */
#ifndef COFFER_ENGINE_POOL_SCRUB_H
#define COFFER_ENGINE_POOL_SCRUB_H

#include "engine/group/view.h"
#include "engine/group/walk.h"
#include "engine/pool/damage.h"

enum scrub_step {
    SCRUB_BEGIN,       /* all that was committed goes into the trees */
    SCRUB_SUPERBLOCKS, /* … and checkpoint records */
    SCRUB_HEADERS,     /* at: index of the segment */
    SCRUB_TABLES,      /* part: table, at: leaf */
    SCRUB_CHUNKS,      /* at: page of the table of places */
    SCRUB_MAPS,        /* part: component, at: leaf */
    SCRUB_CONFIRM,     /* rows that were known before */
    SCRUB_STEPS,
};

/* What is saved, beside the ledger. */
struct scrub_job {
    enum scrub_state state;
    enum scrub_step step;
    uint64_t part, at;
    uint64_t pass, started, rate;
    uint64_t bytes; /* verified in this pass */
    uint64_t bytes_before_chunks;
    uint64_t nanoseconds; /* of work and of waiting for the throttle */
    uint64_t completed, completed_bytes, completed_seconds, completed_damages;
};

struct scrub {
    struct pool *pool;
    struct thread thread;
    uint8_t *key; /* of the file's seal; in the arena; under the mutex, as the two numbers */
    uint32_t pool_key; /* number of the K_pool that it is of */
    uint32_t file_key; /* of the one that the file may be under yet; 0: there is no file */
    char *path;
    struct mutex mutex; /* RANK_LEAF */
    struct condition wake;
    struct scrub_job job; /* under the mutex */
    uint64_t chunk_pages; /* of the table of places, as of the last look; likewise */
    bool stopping;        /* likewise */
    bool unsaved;         /* the job changed by a person's word; likewise */
    /* the thread's own */
    uint64_t saved_at, saved_changes, user_requests;
    enum error holdup; /* that the last try of a step met */
    bool save_failed; /* the thread's, but written under the mutex */
};

/* ---- scrub.c: for the steps ------------------------------------------------------------------------------------ */

/* The slice that `job` stands at is done: its pass goes on from here. */
void scrub_advance(struct scrub *scrub, const struct scrub_job *job, enum scrub_step step, uint64_t part, uint64_t at);
/* Counts what was verified since `since` (clock_monotonic), saves now and then, waits as the throttle and other load
 * ask for. ERROR_INTERRUPTED where the slice is to be left as it is: paused, cancelled, stopped. Holding nothing. */
enum error scrub_breathe(struct scrub *scrub, const struct scrub_job *job, uint64_t bytes, uint64_t since) CHECKED;
/* What says nothing about the stored bytes, neither good nor bad: a step that meets it ends with it, and is done again. */
static inline bool scrub_learns_nothing(enum error error)
{
    return error == ERROR_NO_MEMORY || error == ERROR_FENCED;
}

/* What a walk found of a page or a node with its copies (`kind`: DAMAGE_PAGE or DAMAGE_NODE); adds the bytes that were read. */
enum error scrub_node(struct scrub *scrub, enum damage_kind kind, const struct walk_node *node, uint64_t *bytes) CHECKED;

/* One slice each, from where `job` says; then scrub_advance(). ERROR_INTERRUPTED: left as it is. Another error: again
 * later. */
enum error scrub_superblocks(struct scrub *scrub, const struct scrub_job *job) CHECKED;
enum error scrub_headers(struct scrub *scrub, const struct scrub_job *job) CHECKED;
enum error scrub_tables(struct scrub *scrub, const struct scrub_job *job) CHECKED;
enum error scrub_chunks(struct scrub *scrub, const struct scrub_job *job) CHECKED;
enum error scrub_maps(struct scrub *scrub, const struct scrub_job *job) CHECKED;
enum error scrub_confirm(struct scrub *scrub, const struct scrub_job *job) CHECKED;

/* Another K_pool is the current one: the file is written anew under it, by the thread. */
enum error scrub_rekey(struct scrub *scrub, const struct k_pools *k_pools) CHECKED;
/* ERROR_AGAIN: it is not yet; ERROR_IO: it could not be. */
enum error scrub_rekey_check(struct scrub *scrub) CHECKED;

const char *scrub_step_name(enum scrub_step step); /* for people */

/* ---- scrub_file.c ---------------------------------------------------------------------------------------------- */

#define SCRUB_FILE "scrub"
/* Fills the job and the ledger; ERROR_NOT_FOUND: there is no file; ERROR_CORRUPT, ERROR_FORGED, …: it says nothing. */
enum error scrub_load(struct scrub *scrub) CHECKED;
enum error scrub_save(struct scrub *scrub, const struct scrub_job *job) CHECKED;

#endif
