/*
 * What the threads of a run do: which requests come next, with what data, until when; and what was measured. It is
 * one for the engine, an NBD export, the raw device and the bare primitives, so that all get the same requests.
 *
 * A *driver* is the loop that carries requests to one of those. workload_run() runs it on every thread and adds up.
 */
#ifndef COFFER_BENCH_WORKLOAD_H
#define COFFER_BENCH_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "bench/generator.h"
#include "bench/histogram.h"
#include "bench/options.h"

enum operation_kind { OPERATION_READ, OPERATION_WRITE, OPERATION_FLUSH, OPERATION_KINDS };

struct operation {
    enum operation_kind kind;
    uint64_t offset, length;
    void *data;       /* the slot's buffer: `length` bytes, rounded up to 4 KiB, aligned to 4096 */
    uint64_t started; /* clock_monotonic */
};

struct measure {
    uint64_t nanoseconds; /* from the first request to the end of the closing flush */
    uint64_t counts[OPERATION_KINDS], bytes[OPERATION_KINDS];
    struct histogram latencies[OPERATION_KINDS]; /* nanoseconds */
};

struct workload;
typedef void driver_loop(struct workload *workload);
struct driver {
    driver_loop *loop;
    enum error (*finish)(void *driver); /* the closing flush of a run that wrote; NULL: none */
};

/* Draws 0 with the highest probability, i with one in proportion to 1 / (i + 1)^0.99. */
struct zipf {
    uint64_t count;
    double zeta, alpha, eta;
};
void zipf_init(struct zipf *zipf, uint64_t count);
/* `fraction`: uniform in [0, 1). */
uint64_t zipf_draw(const struct zipf *zipf, double fraction);

/* One thread's part. Drivers read `options`, `thread` and `driver`, and set `error`. */
struct workload {
    const struct bench_options *options;
    const struct generator *generator;
    unsigned thread;
    driver_loop *loop;
    void *driver; /* the caller's of workload_run() */
    enum error error;
    char sentence[512]; /* of `error`, which another thread reports */
    struct measure measure;
    /* the stream of requests; workload.c's own */
    uint64_t first, blocks, done, left, position, dice, deadline, writes_unflushed;
    struct zipf zipf;
};

/* Makes the next operation into `operation->data`'s buffer and starts its clock; false when this thread is done. */
bool workload_next(struct workload *workload, struct operation *operation);
/* Takes note of a completed operation; the first error ends the thread's stream. */
void workload_done(struct workload *workload, const struct operation *operation, enum error error);
/* Ends this thread's stream with an error of the driver's own; the thread's sentence is kept. */
void workload_fail(struct workload *workload, enum error error);

/* `count` buffers for operations of these options in one allocation, filled with something: free(). NULL when out of
 * memory. */
void *workload_buffers(const struct bench_options *options, size_t count, size_t *stride) CHECKED;

#define WORKLOAD_MEASURED 2 /* the phase of what is measured */

/* What a run of that seed and phase writes, but for what its options say of compression and duplicates. */
struct generator_options workload_data(uint64_t seed, unsigned phase);

/* Runs driver->loop on options->threads threads. `phase` (0 to 3) keeps the contents of several runs apart. */
enum error workload_run(const struct bench_options *options, unsigned phase, const struct driver *driver, void *context,
                        struct measure *measure) CHECKED;

/* Ends all runs soon, from a signal handler. */
void workload_interrupt(void);

/* The `index`th of `count` in a random order that visits each once. */
uint64_t workload_shuffle(uint64_t index, uint64_t count, uint64_t seed);

#endif
