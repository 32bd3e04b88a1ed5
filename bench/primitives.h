/*
 * The bare primitives: what the processor can do where nothing is stored. A write is hashed, compressed in units of
 * neighbouring chunks and encrypted; a read is decrypted and decompressed. Straight calls of xxHash, OpenSSL, zstd and
 * lz4, not of the engine's own folders: a slow wrapper there must not lower the limit that it is measured against.
 */
#ifndef COFFER_BENCH_PRIMITIVES_H
#define COFFER_BENCH_PRIMITIVES_H

#include "bench/workload.h"

/* The same requests on the same threads. The codec `auto` is measured as lz4, the faster one. */
enum error primitives_run(const struct bench_options *options, struct measure *measure) CHECKED;

#endif
