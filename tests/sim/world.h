/*
 * The simulated world: all that a run is made of beside the engine's code, in memory that outlives each forked life.
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

/* How a life ends, as the parent sees it. */
enum { EXIT_CRASHED = 42, EXIT_FENCED };

enum sim_plant {
    SIM_PLANT_NONE,
    SIM_PLANT_FLUSH,     /* flushes are answered and not made */
    SIM_PLANT_ANSWER,    /* the workload takes for a flush what is none: an answer before durable */
    SIM_PLANT_FORGET,    /* one flush in four is answered and not made */
    SIM_PLANT_LOST,      /* now and then a write is answered and does not happen */
    SIM_PLANT_SILENT,    /* a failed write or flush is answered as if it had happened */
    SIM_PLANT_MISDIRECT, /* now and then a write goes one block further */
};

/* A write or discard that a crash may undo. In order of submission; two that overlap were never in flight together. */
struct pending {
    uint64_t offset, size, data; /* data: where its bytes begin */
    unsigned device;
    bool discard, complete, durable;
};

struct sim_image {
    unsigned char *durable, *current; /* what a crash leaves at least; what a read sees */
    uint64_t size;
};

struct world {
    struct session *session;
    struct dice dice;
    uint64_t trace;
    uint64_t now; /* nanoseconds of virtual time */

    /* drawn for the run */
    uint64_t switch_chance;   /* a point is a switch one time in so many */
    uint64_t step_max;        /* virtual nanoseconds that a point takes */
    uint64_t latency_max;     /* of an operation of a device */
    unsigned stuck_permille;  /* of operations that take very long */
    unsigned spurious_chance; /* a wait wakes for nothing one time in so many; 0: never */
    enum sim_plant plant;

    /* drawn for the life */
    int phase, crash_phase;
    /* Of devices: submissions and completions, in the phase. */
    uint64_t fail_event; /* of the working phase: the next write or flush fails from here on; 0: none */
    bool failed;         /* it did */
    uint64_t events, phase_events, stop_event, crash_event;

    uint64_t points, switches, operations, failures, stuck, torn, lost; /* counts of the run */

    struct sim_image images[DEVICES_MAX];
    unsigned images_count;
    struct pending pending[PENDING_MAX];
    size_t pending_count;
    uint64_t data_used;
    unsigned char *data; /* PENDING_BYTES */
};

extern struct world *world;

static inline void trace(uint64_t value)
{
    world->trace = (world->trace ^ value) * UINT64_C(0x9fb21c651e98df25);
    world->trace ^= world->trace >> 29;
}

/* A number from 0 to `end` less one, on the trace. */
static inline uint64_t world_below(uint64_t end)
{
    uint64_t drawn = dice_below(&world->dice, end);
    trace(drawn);
    return drawn;
}

#endif
