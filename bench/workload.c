/*
 * The stream of requests and the threads that carry it out.
 *
 * Sequential: each thread has a range of its own and goes round in it. Random: all threads draw from the whole range.
 * Zipf: the same, but ranks are drawn (Gray and others: Quickly generating billion-record synthetic databases, 1994), and
 * a permutation says which block has which rank.
 * Shuffled: thread t takes every T-th element of one permutation of the range, so that together they meet each block
 * once. A thread's writes take their contents from a stream of its own (generator.h), one position for each 4 KiB.
 *
 * Time runs from before the first thread starts until the closing flush has returned: what was only promised is not
 * counted as written. Making the data is inside the time, of the bare primitives' run as well.
 *
 * Locks: none. A thread's workload is its own until it is joined; the stop mark is atomic.
 */
#include "bench/workload.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"

#define PHASE_SEED     UINT64_C(0x100000001)
#define SHUFFLE_ROUNDS 4
#define ZIPF_EXPONENT 0.99
#define ZIPF_SUMMED (UINT64_C(1) << 20) /* terms of the sum; the rest is as good as its integral */

static atomic_bool interrupted;

void workload_interrupt(void)
{
    atomic_store(&interrupted, true);
}

static unsigned bits_of(uint64_t count)
{
    return count < 2 ? 1 : 64 - (unsigned)__builtin_clzll(count - 1);
}

/* A Feistel network over an even number of bits is a permutation of a power of four; what falls outside of `count` is
 * permuted again until it falls inside (cycle walking: Black, Rogaway: Ciphers with arbitrary finite domains, 2002). */
static uint64_t feistel(uint64_t value, unsigned half, uint64_t seed)
{
    uint64_t mask = (UINT64_C(1) << half) - 1;
    uint64_t left = value >> half, right = value & mask;
    for (unsigned round = 0; round < SHUFFLE_ROUNDS; round++) {
        uint64_t next = left ^ (generator_mix(right ^ generator_mix(seed + round)) & mask);
        left = right;
        right = next;
    }
    return left << half | right;
}

uint64_t workload_shuffle(uint64_t index, uint64_t count, uint64_t seed)
{
    ASSERT(index < count && count <= UINT64_C(1) << 62);
    unsigned half = (bits_of(count) + 1) / 2;
    do
        index = feistel(index, half, seed);
    while (index >= count);
    return index;
}

static uint64_t workload_dice(struct workload *workload)
{
    return generator_mix(workload->dice++);
}

static double zeta(uint64_t count)
{
    double sum = 0;
    for (uint64_t i = 1; i <= MIN(count, ZIPF_SUMMED); i++)
        sum += pow((double)i, -ZIPF_EXPONENT);
    if (count > ZIPF_SUMMED)
        sum += (pow((double)count, 1 - ZIPF_EXPONENT) - pow((double)ZIPF_SUMMED, 1 - ZIPF_EXPONENT)) / (1 - ZIPF_EXPONENT);
    return sum;
}

void zipf_init(struct zipf *zipf, uint64_t count)
{
    zipf->count = count;
    zipf->zeta = zeta(count);
    zipf->alpha = 1 / (1 - ZIPF_EXPONENT);
    zipf->eta = count > 2 ? (1 - pow(2.0 / (double)count, 1 - ZIPF_EXPONENT)) / (1 - zeta(2) / zipf->zeta) : 1;
}

uint64_t zipf_draw(const struct zipf *zipf, double fraction)
{
    double share = fraction * zipf->zeta;
    if (share < 1)
        return 0;
    if (share < 1 + pow(0.5, ZIPF_EXPONENT))
        return MIN(UINT64_C(1), zipf->count - 1);
    double rank = (double)zipf->count * pow(zipf->eta * fraction - zipf->eta + 1, zipf->alpha);
    return MIN((uint64_t)rank, zipf->count - 1);
}

/* The least block that this request may go to, in blocks of block_size. */
static uint64_t block_choose(struct workload *workload)
{
    const struct bench_options *options = workload->options;
    uint64_t all = options->size / options->block_size;
    switch (options->pattern) {
    case PATTERN_SEQUENTIAL:
        return workload->first + workload->done % workload->blocks;
    case PATTERN_RANDOM:
        return workload_dice(workload) % all;
    case PATTERN_SHUFFLED:
        return workload_shuffle((workload->done * options->threads + workload->thread) % all, all, options->seed);
    case PATTERN_ZIPF:
        return workload_shuffle(zipf_draw(&workload->zipf, (double)(workload_dice(workload) >> 11) * 0x1p-53), all,
                                options->seed);
    }
    ASSERT(!"a pattern");
    return 0;
}

static bool flush_is_due(const struct workload *workload)
{
    return workload->options->flush_interval && workload->writes_unflushed >= workload->options->flush_interval;
}

static bool workload_is_over(const struct workload *workload)
{
    return workload->error || workload->left == 0 || atomic_load_explicit(&interrupted, memory_order_relaxed) ||
           (workload->deadline && clock_monotonic() >= workload->deadline);
}

static void operation_fill(struct workload *workload, struct operation *operation)
{
    size_t chunks = ROUND_UP(operation->length, GENERATOR_CHUNK) / GENERATOR_CHUNK;
    generator_fill(workload->generator, workload->thread, workload->position, operation->data, chunks);
    workload->position += chunks;
    workload->writes_unflushed++;
}

bool workload_next(struct workload *workload, struct operation *operation)
{
    if (workload_is_over(workload))
        return false;
    if (flush_is_due(workload)) {
        workload->writes_unflushed = 0;
        operation->kind = OPERATION_FLUSH;
        operation->offset = operation->length = 0;
    } else {
        const struct bench_options *options = workload->options;
        unsigned read_percent = options->read_percent;
        bool reads = read_percent == 100 || (read_percent && workload_dice(workload) % 100 < read_percent);
        operation->kind = reads ? OPERATION_READ : OPERATION_WRITE;
        operation->offset = block_choose(workload) * options->block_size;
        operation->length = options->block_size;
        if (!reads)
            operation_fill(workload, operation);
        workload->done++;
        workload->left--;
    }
    operation->started = clock_monotonic();
    return true;
}

void workload_fail(struct workload *workload, enum error error)
{
    if (workload->error)
        return;
    workload->error = error;
    snprintf(workload->sentence, sizeof workload->sentence, "%s", error_sentence(error));
}

void workload_done(struct workload *workload, const struct operation *operation, enum error error)
{
    if (error) {
        workload_fail(workload, error);
        return;
    }
    workload->measure.counts[operation->kind]++;
    workload->measure.bytes[operation->kind] += operation->length;
    histogram_add(&workload->measure.latencies[operation->kind], clock_monotonic() - operation->started);
}

void *workload_buffers(const struct bench_options *options, size_t count, size_t *stride)
{
    *stride = ROUND_UP(options->block_size, GENERATOR_CHUNK);
    void *buffers = memory_aligned(count * *stride);
    if (buffers)
        memset(buffers, 0x55, count * *stride);
    return buffers;
}

static void workload_init(struct workload *workload, const struct bench_options *options,
                          const struct generator *generator, unsigned thread, unsigned phase)
{
    uint64_t blocks = options->size / options->block_size;
    workload->options = options;
    workload->generator = generator;
    workload->thread = thread;
    workload->blocks = blocks / options->threads;
    workload->first = workload->blocks * thread;
    workload->dice = generator_mix(options->seed + phase * PHASE_SEED + ((uint64_t)thread << 40));
    workload->left = UINT64_MAX;
    if (options->pattern == PATTERN_ZIPF)
        zipf_init(&workload->zipf, blocks);
    if (options->bytes) {
        uint64_t requests = MAX(options->bytes / options->block_size, 1);
        workload->left = requests / options->threads + (thread < requests % options->threads);
    }
}

static void thread_run(void *argument)
{
    struct workload *workload = argument;
    workload->loop(workload);
}

static void measure_add(struct measure *sum, const struct measure *part)
{
    for (unsigned kind = 0; kind < OPERATION_KINDS; kind++) {
        sum->counts[kind] += part->counts[kind];
        sum->bytes[kind] += part->bytes[kind];
        histogram_merge(&sum->latencies[kind], &part->latencies[kind]);
    }
}

static enum error threads_run(struct workload *workloads, unsigned count)
{
    struct thread threads[BENCH_THREADS_MAX];
    enum error error = ERROR_NONE;
    unsigned started = 0;
    while (started < count && !error) {
        error = thread_start(&threads[started], "bench", thread_run, &workloads[started]);
        started += !error;
    }
    if (error)
        workload_interrupt();
    for (unsigned i = 0; i < started; i++)
        thread_join(&threads[i]);
    for (unsigned i = 0; i < started && !error; i++)
        if (workloads[i].error)
            error = error_explain(workloads[i].error, "%s", workloads[i].sentence);
    return error;
}

struct generator_options workload_data(uint64_t seed, unsigned phase)
{
    return (struct generator_options){.seed = seed + phase * PHASE_SEED};
}

enum error workload_run(const struct bench_options *options, unsigned phase, const struct driver *driver, void *context,
                        struct measure *measure)
{
    struct generator_options data = workload_data(options->seed, phase);
    data.compress_percent = options->compress_percent;
    data.duplicate_percent = options->duplicate_percent;
    unsigned threads = (unsigned)options->threads;
    struct generator *generator;
    TRY(generator_create(&data, &generator));
    AUTO_FREE struct workload *workloads = memory_zeroed(threads, sizeof *workloads);
    if (!workloads) {
        generator_destroy(generator);
        return ERROR_NO_MEMORY;
    }
    uint64_t start = clock_monotonic();
    for (unsigned i = 0; i < threads; i++) {
        workload_init(&workloads[i], options, generator, i, phase);
        workloads[i].deadline = options->seconds ? start + options->seconds * CLOCK_SECOND : 0;
        workloads[i].loop = driver->loop;
        workloads[i].driver = context;
    }
    enum error error = threads_run(workloads, threads);
    memset(measure, 0, sizeof *measure);
    for (unsigned i = 0; i < threads; i++)
        measure_add(measure, &workloads[i].measure);
    if (!error && driver->finish && measure->counts[OPERATION_WRITE])
        error = driver->finish(context);
    measure->nanoseconds = MAX(clock_monotonic() - start, 1);
    generator_destroy(generator);
    if (!error && atomic_load(&interrupted))
        error = error_explain(ERROR_INTERRUPTED, "interrupted");
    return error;
}
