/*
 * The data that a run writes: 4 KiB chunks that are a pure function of seed and number. Every number has a content of
 * its own, so nothing deduplicates by accident; what shall deduplicate repeats the number of an earlier chunk.
 *
 * A chunk begins with a stamp, goes on with random bytes and ends with a short pattern repeated: `compress` percent of
 * it. A *stream* is one writer's numbers in the order in which it writes them; duplicates come in runs, as files do.
 *
 * Threads: immutable after generator_create(); any thread may fill.
 */
#ifndef COFFER_BENCH_GENERATOR_H
#define COFFER_BENCH_GENERATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define GENERATOR_CHUNK       4096
#define GENERATOR_RUN         16 /* chunks of a run of duplicates: 64 KiB */
#define GENERATOR_STREAMS_MAX 256

struct generator_options {
    uint64_t seed;
    unsigned compress_percent;  /* 0 to 100: share of each chunk that repeats */
    unsigned duplicate_percent; /* 0 to 100: share of chunks that repeat an earlier one of their stream */
};

struct generator;

enum error generator_create(const struct generator_options *options, struct generator **generator) CHECKED;
void generator_destroy(struct generator *generator);

/* The number of the chunk that is the `position`th of a stream; equal numbers are equal chunks. */
uint64_t generator_number(const struct generator *generator, unsigned stream, uint64_t position);

/* Writes `count` chunks to `out`: those of `stream` from `position` on. */
void generator_fill(const struct generator *generator, unsigned stream, uint64_t position, void *out, size_t count);

/* Whether the chunk at `bytes` is one of this generator's, whatever its stream; then *number is its number. */
bool generator_recognise(const struct generator *generator, const void *bytes, uint64_t *number);
/* Writes the chunk of that number. */
void generator_make(const struct generator *generator, uint64_t number, void *out);

/* A well mixed number from another; different inputs give different outputs. */
uint64_t generator_mix(uint64_t value);

#endif
