/*
 * The raw device: the same requests, unaltered, to a plain file on the same disk through engine/device. It is measured
 * twice: in batches, as volume_execute() takes requests (the next begins when the last of them is done), and with the
 * depth kept full, as a client of the device itself would.
 */
#ifndef COFFER_BENCH_RAW_H
#define COFFER_BENCH_RAW_H

#include "bench/workload.h"

struct raw_limits {
    bool measured; /* false: block sizes that a device does not take */
    struct measure batched, full;
};

/* Makes a file in `directory`, of at most options->size, filled beforehand where the run reads, and removes it. */
enum error raw_run(const struct bench_options *options, const char *directory, struct raw_limits *limits) CHECKED;

#endif
