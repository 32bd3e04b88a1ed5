/* What a run tells: a few lines for people, or one JSON object for programs. */
#ifndef COFFER_BENCH_REPORT_H
#define COFFER_BENCH_REPORT_H

#include <stdbool.h>

#include "bench/raw.h"
#include "bench/runs.h"
#include "bench/workload.h"

struct report {
    const struct bench_options *options;
    const struct measure *run;          /* NULL: limits only */
    const struct calls_result *calls;   /* NULL: none; then the others are */
    const struct engine_result *engine; /* NULL: not the engine in this process */
    const struct measure *primitives;   /* NULL: not measured */
    const struct raw_limits *raw;       /* NULL: not measured */
    const struct raw_limits *raw_at_read_size; /* reads of the engine's own size; NULL: not measured */
};

enum error report_print(const struct report *report) CHECKED;

/* Bytes a second of reads and writes together. */
double measure_rate(const struct measure *measure);

/* Bytes of an average read of the devices, in whole blocks of 4 KiB; 0 where there were none. */
uint64_t report_read_size(const struct engine_result *engine);

#endif
