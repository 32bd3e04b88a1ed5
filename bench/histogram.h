/*
 * Latencies in buckets whose width grows with the value: 32 to each power of two, so that a percentile is at most
 * 1/32 too high whatever its magnitude, in a fixed 15 KiB and without keeping samples.
 *
 * Threads: one thread fills one histogram; they are merged afterwards.
 */
#ifndef COFFER_BENCH_HISTOGRAM_H
#define COFFER_BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_FINE_BITS 5
#define HISTOGRAM_FINE      (1u << HISTOGRAM_FINE_BITS)
#define HISTOGRAM_BUCKETS   ((64 - HISTOGRAM_FINE_BITS + 1) * HISTOGRAM_FINE)

struct histogram {
    uint64_t count;
    uint64_t value_max;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* A histogram of zero bytes is empty. */
void histogram_add(struct histogram *histogram, uint64_t value);
void histogram_merge(struct histogram *histogram, const struct histogram *other);

/* The smallest bucket's upper end that `share` (in hundred-thousandths: 99900 is p99.9) of the values do not exceed;
 * never above the largest value; 0 where there is none. */
#define HISTOGRAM_WHOLE 100000
uint64_t histogram_percentile(const struct histogram *histogram, unsigned share);

/* The pure mapping, for tests: every value lies in exactly one bucket and not above that bucket's end. */
unsigned histogram_bucket(uint64_t value);
uint64_t histogram_bucket_end(unsigned bucket);

#endif
