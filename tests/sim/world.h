/*
 * The simulated world: all that a run is made of beside the engine's code, in memory that outlives each life.
 *
 * Everything that happens is drawn from `dice`, and everything drawn or done goes into `trace`: two runs with one seed
 * have one trace.
 */
#ifndef COFFER_TESTS_SIM_WORLD_H
#define COFFER_TESTS_SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>

#include "tests/crash/random.h"
#include "tests/crash/session.h"

#define PENDING_MAX   16384
#define PENDING_BYTES (UINT64_C(192) << 20)

enum sim_plant {
    SIM_PLANT_NONE,
    SIM_PLANT_FLUSH,     /* flushes are answered and not made */
    SIM_PLANT_ANSWER,    /* the workload takes for a flush what is none: an answer before durable */
    SIM_PLANT_FORGET,    /* one flush in four is answered and not made */
    SIM_PLANT_LOST,      /* now and then a write is answered and does not happen */
    SIM_PLANT_SILENT,    /* a failed write or flush is answered as if it had happened */
    SIM_PLANT_MISDIRECT, /* now and then a write goes one block further */
    SIM_PLANTS
};

/* A write or discard that a crash may undo. In order of submission; two that overlap were never in flight together. */
struct pending {
    uint64_t number;                /* rises; 0: settled, about to leave the list */
    uint64_t offset, size, data;    /* data: where its bytes begin */
    uint64_t hash;                  /* of all that it does */
    uint64_t completed;             /* event at which it was complete; 0: in flight */
    uint64_t keep_start, keep_size; /* what a crash keeps of it; size 0: nothing */
    uint64_t gap_start, gap_size;   /* … but for this part, within; size 0: all of it */
    unsigned device;
    bool discard, durable;
    bool doomed; /* a flush that failed gave it up: reads see it, no flush writes it */
};

#define SPACE_GRAIN (UINT64_C(64) << 10)
#define SPACE_BITS  (UINT64_C(1) << 14) /* devices up to 1 GiB */

struct image {
    struct plane *durable, *current; /* what a crash leaves at least; what a read sees */
    uint64_t size;
    uint64_t space[SPACE_BITS / 64]; /* what has space in the file system below, in grains */
};

enum fault {
    FAULT_SLOW,
    FAULT_STUCK,
    FAULT_READ,   /* once */
    FAULT_SECTOR, /* until it is written */
    FAULT_WRITE,
    FAULT_FLUSH,
    FAULT_GONE,   /* a device, for a while, with all that its cache had */
    FAULT_FULL,   /* the file system below, for a while */
    FAULT_ALLOCATION,
    FAULT_ROT,     /* until it is written */
    FAULT_MISREAD, /* once: other bits, or those of another place */
    FAULT_LOST,    /* a write that was answered and is not there */
    FAULT_ASTRAY,  /* … and is elsewhere */
    FAULT_COPY,    /* while the pool is opened: what mostly has a second copy cannot be read at first */
    FAULTS
};

struct faults {
    unsigned ppm[FAULTS];              /* of the seed */
    bool at_work;                      /* in this life */
    unsigned excuses;                  /* asked for since somebody worked */
    uint64_t full_end;                 /* virtual: until then the file system below has no space */
    uint64_t departures[DEVICES_MAX];  /* so often it went away */
    uint64_t back[DEVICES_MAX];        /* virtual: when it can be opened again */
};

#define FILES_MAX      48
#define FILE_NAME_SIZE 64

struct file_names {
    size_t count;
    struct file_name {
        char name[FILE_NAME_SIZE];
        uint64_t inode;
    } items[FILES_MAX];
};

/* The pool directory (files.c). */
struct files {
    bool begun, chosen;
    struct file_names durable, now; /* now: when it was looked at last */
    size_t chosen_count;
    struct file_choice {
        char name[FILE_NAME_SIZE], from[FILE_NAME_SIZE]; /* from: who has the bytes now; "": what was synced of it */
        uint64_t inode, size;
    } choices[2 * FILES_MAX];
};

struct world {
    struct session *session;
    struct dice dice;
    uint64_t trace;
    uint64_t now; /* nanoseconds of virtual time */
    bool refuses_memory; /* malloc() and its kin fail too, where the engine asks */
    int64_t clock_offset; /* seconds: of the clock that can be set */

    /* drawn for the run */
    uint64_t switch_chance;   /* a point is a switch one time in so many */
    uint64_t step_max;        /* virtual nanoseconds that a point takes */
    uint64_t latency_max;     /* of an operation of a device */
    unsigned spurious_chance; /* a wait wakes for nothing one time in so many; 0: never */
    enum sim_plant plant;

    /* drawn for the life */
    int phase, crash_phase;
    uint64_t hit;      /* since the pool was opened: a bit for each fault that the engine may tell */
    bool meta_failed;  /* likewise: a read of what the engine itself needs failed, or brought something else */
    uint64_t hit_count, hit_at[FAULTS], cures; /* of all faults and writes over what lasts; at which count each last came */
    bool flush_failed; /* likewise: what it did not write is lost */
    struct faults faults;
    /* Of devices: submissions and completions; by phase, which may come several times. */
    uint64_t events, phase_events[PHASES], stop_event, stop_total, crash_event;
    uint64_t crash_promise; /* of the session: the power goes at the first event after it; UINT64_MAX: no */
    void (*at_event)(void); /* before each event; NULL: nothing */
    bool at_superblock;     /* whether that is one of a write of a superblock, or of a flush */

    /* counts of the run */
    uint64_t points, switches, operations, torn, lost, opens, both_tables;
    uint64_t faults_done[FAULTS];
    uint64_t until;    /* the power goes before that operation of all lives; UINT64_MAX: never */
    uint64_t *reached; /* operations, for who waits for the run */

    struct image images[DEVICES_MAX];
    unsigned images_count;
    unsigned branches;    /* within each other */
    bool images_united;   /* the durable image is the current one, since no crash will come */
    uint64_t images_hash; /* of all that became durable, in order */
    struct files files;
    size_t pending_count;
    uint64_t pending_number;
    uint64_t data_used;
    unsigned char *data; /* PENDING_BYTES */
    struct pending pending[PENDING_MAX];
};

extern struct world *world;

/* Memory that no episode undoes, and that processes forked later share. */
void *world_map(size_t size);
/* Begins to note what is encrypted and tagged under each key (uses.c). */
void uses_begin(void);
/* Begins to keep MACs (macs.c). */
void macs_begin(void);
/* Makes `world`, empty. */
void world_create(void);

/* World and model as they are now, for an episode that is to leave no trace of itself. */
void world_keep(void);
void world_give_back(void);
/* Nothing is pending any more, and what comes is kept apart from what was. */
void world_data_renew(void);

static inline uint64_t hash_mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * UINT64_C(0x9fb21c651e98df25);
    return hash ^ hash >> 29;
}

static inline void trace(uint64_t value)
{
    world->trace = hash_mix(world->trace, value);
}

/* A number from 0 to `end` less one, on the trace. */
static inline uint64_t world_below(uint64_t end)
{
    uint64_t drawn = dice_below(&world->dice, end);
    trace(drawn);
    return drawn;
}

static inline bool world_percent(unsigned percent)
{
    return world_below(100) < percent;
}

#endif
