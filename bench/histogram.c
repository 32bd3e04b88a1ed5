/*
 * The histogram of latencies: which bucket a value falls into, and which value a share of them does not exceed.
 *
 * Values below 32 have a bucket each; above, a bucket is a power of two cut into 32 equal parts. The first 32 buckets
 * are thus the "power" below the first real one, and both rules meet without a gap.
 */
#include "bench/histogram.h"

#include "base/error.h"
#include "base/memory.h"

unsigned histogram_bucket(uint64_t value)
{
    if (value < HISTOGRAM_FINE)
        return (unsigned)value;
    unsigned shift = 63 - (unsigned)__builtin_clzll(value) - HISTOGRAM_FINE_BITS;
    return (shift + 1) * HISTOGRAM_FINE + ((unsigned)(value >> shift) & (HISTOGRAM_FINE - 1));
}

uint64_t histogram_bucket_end(unsigned bucket)
{
    ASSERT(bucket < HISTOGRAM_BUCKETS);
    if (bucket < HISTOGRAM_FINE)
        return bucket;
    unsigned shift = bucket / HISTOGRAM_FINE - 1;
    uint64_t next = HISTOGRAM_FINE + bucket % HISTOGRAM_FINE + 1;
    return (next << shift) - 1; /* of the last bucket the shift wraps to 0: its end is the largest number */
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->buckets[histogram_bucket(value)]++;
    histogram->count++;
    histogram->value_max = MAX(histogram->value_max, value);
}

void histogram_merge(struct histogram *histogram, const struct histogram *other)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        histogram->buckets[i] += other->buckets[i];
    histogram->count += other->count;
    histogram->value_max = MAX(histogram->value_max, other->value_max);
}

static uint64_t share_count(uint64_t count, unsigned share)
{
    __extension__ typedef unsigned __int128 wide;
    return (uint64_t)(((wide)count * share + HISTOGRAM_WHOLE - 1) / HISTOGRAM_WHOLE);
}

uint64_t histogram_percentile(const struct histogram *histogram, unsigned share)
{
    ASSERT(share <= HISTOGRAM_WHOLE);
    uint64_t wanted = MAX(share_count(histogram->count, share), 1);
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen >= wanted)
            return MIN(histogram_bucket_end(i), histogram->value_max);
    }
    return histogram->value_max;
}
