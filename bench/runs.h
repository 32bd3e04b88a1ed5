/* The runs that are measured: the engine in this process, its rare calls, and an NBD export. */
#ifndef COFFER_BENCH_RUNS_H
#define COFFER_BENCH_RUNS_H

#include "bench/timed.h"
#include "bench/workload.h"
#include "engine/coffer.h"

struct engine_result {
    struct measure measure;
    struct pool_status before, after; /* around the measured part */
    struct timed_longest longest;     /* in it; zeros where devices are not files */
};

/* In the pool directory `directory`. An object of that name is used as it is, if it has options->size at least; where
 * there is none it is created, filled if so asked, and, in a pool that is not temporary, deleted afterwards. */
enum error engine_run(const struct bench_options *options, const char *directory, struct engine_result *result) CHECKED;

/* Of each call so many in options->directory; nanoseconds. */
#define CALLS 10
struct calls_result {
    uint64_t opening, index_filling, closing;
    struct histogram times[CALLS];
};
const char *call_name(size_t call);
enum error calls_run(const struct bench_options *options, struct calls_result *result) CHECKED;

/* options->subject is the URI. options->size is cut down to the export's. */
enum error nbd_run(struct bench_options *options, struct measure *measure) CHECKED;

#endif
