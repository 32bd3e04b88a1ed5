/*
 * The data generator.
 *
 * It must not be what a run measures, so a chunk is a copy of one of 256 prepared ones (1 MiB, which stays in the
 * processor's cache) with a stamp over its first bytes: about 0.1 microseconds, where compressing it takes ten. That
 * prepared bytes recur is invisible to what is measured: deduplication sees whole chunks, and a unit is too short to
 * hold two chunks of one origin.
 *
 * Mixing is the finaliser of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014), a
 * bijection, hence different numbers give different stamps.
 */
#include "bench/generator.h"

#include <string.h>

#include "base/endian.h"
#include "base/memory.h"

#define PREPARED    256
#define PATTERN     16
#define NUMBER_BITS 56 /* of a chunk's number, for the position; the stream stands above */

_Static_assert(GENERATOR_STREAMS_MAX <= 1 << (64 - NUMBER_BITS), "a stream fits above the position");

struct stamp {
    le64 mixed;
    le64 number;
};

struct generator {
    struct generator_options options;
    uint64_t seed_mixed;
    uint8_t (*prepared)[GENERATOR_CHUNK];
};

uint64_t generator_mix(uint64_t value)
{
    value += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

static void chunk_prepare(uint8_t *chunk, uint64_t seed, size_t random_bytes)
{
    for (size_t i = 0; i < random_bytes; i += sizeof(le64)) {
        le64 word = le64_make(generator_mix(seed + i));
        memcpy(chunk + i, &word, sizeof word);
    }
    for (size_t i = random_bytes; i < GENERATOR_CHUNK; i++)
        chunk[i] = (uint8_t)generator_mix(seed + GENERATOR_CHUNK + i % PATTERN);
}

enum error generator_create(const struct generator_options *options, struct generator **generator)
{
    if (options->compress_percent > 100 || options->duplicate_percent > 100)
        return error_explain(ERROR_INVALID, "a share of data is between 0 and 100 percent");
    struct generator *made = memory_zeroed(1, sizeof *made);
    if (!made)
        return ERROR_NO_MEMORY;
    made->prepared = memory_aligned(PREPARED * GENERATOR_CHUNK);
    if (!made->prepared) {
        free(made);
        return ERROR_NO_MEMORY;
    }
    made->options = *options;
    made->seed_mixed = generator_mix(options->seed);
    size_t random_bytes = ROUND_DOWN((100 - options->compress_percent) * GENERATOR_CHUNK / 100, sizeof(le64));
    for (uint64_t i = 0; i < PREPARED; i++)
        chunk_prepare(made->prepared[i], generator_mix(made->seed_mixed ^ i), random_bytes);
    *generator = made;
    return ERROR_NONE;
}

void generator_destroy(struct generator *generator)
{
    if (!generator)
        return;
    free(generator->prepared);
    free(generator);
}

static uint64_t run_dice(const struct generator *generator, unsigned stream, uint64_t run)
{
    return generator_mix(generator->seed_mixed ^ ((uint64_t)stream << NUMBER_BITS | run));
}

/* An earlier run may be a duplicate itself; following it always goes back, so it ends, at run 0 at the latest. */
static uint64_t run_origin(const struct generator *generator, unsigned stream, uint64_t run)
{
    while (run > 0) {
        uint64_t dice = run_dice(generator, stream, run);
        if (dice % 100 >= generator->options.duplicate_percent)
            break;
        run = (dice / 100) % run;
    }
    return run;
}

uint64_t generator_number(const struct generator *generator, unsigned stream, uint64_t position)
{
    ASSERT(stream < GENERATOR_STREAMS_MAX && position < UINT64_C(1) << NUMBER_BITS);
    if (generator->options.duplicate_percent) {
        uint64_t run = run_origin(generator, stream, position / GENERATOR_RUN);
        position = run * GENERATOR_RUN + position % GENERATOR_RUN;
    }
    return (uint64_t)stream << NUMBER_BITS | position;
}

static struct stamp stamp_of(const struct generator *generator, uint64_t number)
{
    return (struct stamp){le64_make(generator_mix(number ^ generator->seed_mixed)), le64_make(number)};
}

void generator_make(const struct generator *generator, uint64_t number, void *out)
{
    struct stamp stamp = stamp_of(generator, number);
    memcpy(out, generator->prepared[number % PREPARED], GENERATOR_CHUNK);
    memcpy(out, &stamp, sizeof stamp);
}

bool generator_recognise(const struct generator *generator, const void *bytes, uint64_t *number)
{
    struct stamp stamp;
    memcpy(&stamp, bytes, sizeof stamp);
    uint64_t stated = le64_get(stamp.number);
    struct stamp expected = stamp_of(generator, stated);
    if (memcmp(&stamp, &expected, sizeof stamp) != 0 ||
        memcmp((const uint8_t *)bytes + sizeof stamp, generator->prepared[stated % PREPARED] + sizeof stamp,
               GENERATOR_CHUNK - sizeof stamp) != 0)
        return false;
    *number = stated;
    return true;
}

void generator_fill(const struct generator *generator, unsigned stream, uint64_t position, void *out, size_t count)
{
    uint8_t *chunk = out;
    for (size_t i = 0; i < count; i++, chunk += GENERATOR_CHUNK)
        generator_make(generator, generator_number(generator, stream, position + i), chunk);
}
