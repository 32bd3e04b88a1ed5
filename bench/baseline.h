/*
 * What zstd alone makes of an image: the measure that stored bytes are held against. Zero blocks are left out, equal
 * blocks counted once, and the rest, in the order of the image, compressed in pieces of four.
 */
#ifndef COFFER_BENCH_BASELINE_H
#define COFFER_BENCH_BASELINE_H

#include <stdint.h>

#include "base/error.h"

struct baseline {
    uint64_t blocks, zero_blocks, unique_blocks;
    uint64_t compressed_bytes; /* a piece that does not shrink counts as it is */
};

enum error baseline_compute(const char *path, int level, struct baseline *baseline) CHECKED;

#endif
