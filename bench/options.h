/* What a run shall do: the command line of coffer-bench, parsed and checked. */
#ifndef COFFER_BENCH_OPTIONS_H
#define COFFER_BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/coffer.h"

#define BENCH_THREADS_MAX 64
#define BENCH_DEPTH_MAX   1024
#define BENCH_BLOCK_MIN   512                 /* bytes of the smallest request */
#define BENCH_BUFFER_MAX  (UINT64_C(1) << 30) /* depth times block size: what a run keeps in flight */

enum bench_command { BENCH_ENGINE, BENCH_CALLS, BENCH_NBD, BENCH_LIMITS, BENCH_BASELINE, BENCH_HELP, BENCH_VERSION };
enum bench_pattern {
    PATTERN_SEQUENTIAL,
    PATTERN_RANDOM,
    PATTERN_SHUFFLED, /* every block once, in random order */
    PATTERN_ZIPF,     /* random blocks, some far more often than others: exponent 0.99 */
};
enum bench_prepare { PREPARE_AUTO, PREPARE_NONE, PREPARE_SEQUENTIAL, PREPARE_RANDOM };

struct bench_options {
    enum bench_command command;
    const char *subject;   /* URI of nbd, path of baseline */
    const char *directory; /* engine: an existing pool directory; nbd, limits: where the raw device is measured */
    const char *object;
    enum bench_pattern pattern;
    enum bench_prepare prepare;
    unsigned read_percent;
    uint64_t block_size, depth, threads;
    uint64_t size;           /* of the range that requests fall into */
    uint64_t pool_size;      /* of a temporary pool; 0: from `size` */
    uint64_t seconds;        /* 0: until `bytes` are done */
    uint64_t bytes;          /* 0: until `seconds` are over */
    uint64_t flush_interval; /* writes of a thread between flushes; 0: only the closing one */
    unsigned compress_percent, duplicate_percent;
    uint64_t seed;
    uint64_t memory; /* 0: the conf's */
    uint64_t regenerate; /* seed of the data that the device does not store (regenerated.h); 0: it stores all */
    uint64_t rounds;     /* of calls */
    enum fingerprint_choice fingerprint;
    enum codec_choice codec;
    int level; /* of zstd */
    bool no_index, no_encryption, no_limits, json;
};

/* Parses argv[0..count) (argv[0] is the program). Strings are borrowed from argv. */
enum error options_parse(int count, char **arguments, struct bench_options *options) CHECKED;
void options_help(void);

/* "auto", "none", "lz4", "zstd-1": as the conf's `compression` names it. */
#define CODEC_TEXT_SIZE 16
void options_codec_format(enum codec_choice codec, int level, char text[CODEC_TEXT_SIZE]);
const char *options_fingerprint_name(enum fingerprint_choice fingerprint);
const char *options_pattern_name(enum bench_pattern pattern);

/* What fills the range before the run, and the run that does it. */
enum bench_prepare options_prepare_kind(const struct bench_options *options);
void options_prepare(const struct bench_options *options, struct bench_options *prepare);

/* How many requests one thread has in flight, and, where it must hand them over together, in one batch. */
uint64_t options_thread_depth(const struct bench_options *options);
uint64_t options_batch_requests(const struct bench_options *options);

#endif
