/* The bench's data: repeatable, unique unless asked otherwise, and as compressible as asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zstd.h>

#include "base/memory.h"
#include "bench/generator.h"

#define MANY 4096

static struct generator *made(uint64_t seed, unsigned compress, unsigned duplicate)
{
    struct generator_options options = {seed, compress, duplicate};
    struct generator *generator;
    assert_int_equal(generator_create(&options, &generator), ERROR_NONE);
    return generator;
}

static void a_share_above_100_percent_is_refused(void **state)
{
    (void)state;
    struct generator *generator = NULL;
    struct generator_options compress = {1, 101, 0}, duplicate = {1, 0, 101};
    assert_int_equal(generator_create(&compress, &generator), ERROR_INVALID);
    assert_int_equal(generator_create(&duplicate, &generator), ERROR_INVALID);
    assert_null(generator);
    generator_destroy(NULL);
}

static void the_same_seed_gives_the_same_data_in_any_order(void **state)
{
    (void)state;
    struct generator *first = made(7, 50, 30), *second = made(7, 50, 30);
    AUTO_FREE uint8_t *together = memory_aligned(64 * GENERATOR_CHUNK);
    uint8_t single[GENERATOR_CHUNK];
    generator_fill(first, 3, 0, together, 64);
    for (size_t i = 64; i-- > 0;) {
        generator_fill(second, 3, i, single, 1);
        assert_memory_equal(single, together + i * GENERATOR_CHUNK, GENERATOR_CHUNK);
    }
    generator_destroy(first);
    generator_destroy(second);
}

static void another_seed_or_stream_gives_other_data(void **state)
{
    (void)state;
    struct generator *first = made(7, 50, 0), *second = made(8, 50, 0);
    uint8_t a[GENERATOR_CHUNK], b[GENERATOR_CHUNK];
    generator_fill(first, 0, 5, a, 1);
    generator_fill(second, 0, 5, b, 1);
    assert_memory_not_equal(a, b, GENERATOR_CHUNK);
    generator_fill(first, 1, 5, b, 1);
    assert_memory_not_equal(a, b, GENERATOR_CHUNK);
    generator_destroy(first);
    generator_destroy(second);
}

static int chunks_compare(const void *a, const void *b)
{
    return memcmp(a, b, GENERATOR_CHUNK);
}

static size_t distinct_chunks(const struct generator *generator, size_t count)
{
    AUTO_FREE uint8_t *data = memory_aligned(count * GENERATOR_CHUNK);
    size_t distinct = 1;
    generator_fill(generator, 0, 0, data, count);
    qsort(data, count, GENERATOR_CHUNK, chunks_compare);
    for (size_t i = 1; i < count; i++)
        distinct += memcmp(data + (i - 1) * GENERATOR_CHUNK, data + i * GENERATOR_CHUNK, GENERATOR_CHUNK) != 0;
    return distinct;
}

static void without_duplicates_no_chunk_repeats_even_where_all_is_compressible(void **state)
{
    (void)state;
    struct generator *half = made(1, 50, 0), *whole = made(1, 100, 0);
    assert_int_equal(distinct_chunks(half, MANY), MANY);
    assert_int_equal(distinct_chunks(whole, MANY), MANY);
    generator_destroy(half);
    generator_destroy(whole);
}

static void with_only_duplicates_one_run_repeats(void **state)
{
    (void)state;
    struct generator *generator = made(1, 50, 100);
    assert_int_equal(distinct_chunks(generator, MANY), GENERATOR_RUN);
    generator_destroy(generator);
}

static void about_the_asked_share_of_chunks_repeats(void **state)
{
    (void)state;
    struct generator *generator = made(1, 50, 25);
    size_t distinct = distinct_chunks(generator, MANY);
    assert_in_range(distinct, MANY * 65 / 100, MANY * 85 / 100);
    generator_destroy(generator);
}

static void a_duplicate_repeats_what_its_stream_had_before(void **state)
{
    (void)state;
    struct generator *generator = made(9, 50, 60);
    for (uint64_t position = 0; position < MANY; position++)
        assert_true((generator_number(generator, 2, position) & UINT64_C(0xffffffffff)) <= position);
    generator_destroy(generator);
}

static size_t compressed_percent(unsigned compress)
{
    struct generator *generator = made(1, compress, 0);
    uint8_t unit[4 * GENERATOR_CHUNK], out[2 * sizeof unit];
    size_t sum = 0;
    for (uint64_t i = 0; i < 32; i++) {
        generator_fill(generator, 0, i * 4, unit, 4);
        sum += ZSTD_compress(out, sizeof out, unit, sizeof unit, 1);
    }
    generator_destroy(generator);
    return sum * 100 / (32 * sizeof unit);
}

static void data_is_as_compressible_as_asked(void **state)
{
    (void)state;
    assert_in_range(compressed_percent(0), 99, 101);
    assert_in_range(compressed_percent(50), 48, 54);
    assert_in_range(compressed_percent(75), 24, 29);
    assert_in_range(compressed_percent(100), 0, 4);
}

static void a_chunk_is_never_zero(void **state)
{
    (void)state;
    struct generator *generator = made(0, 100, 0);
    uint8_t chunk[GENERATOR_CHUNK], zeros[GENERATOR_CHUNK] = {0};
    for (uint64_t i = 0; i < MANY; i++) {
        generator_fill(generator, 0, i, chunk, 1);
        assert_memory_not_equal(chunk, zeros, GENERATOR_CHUNK);
    }
    generator_destroy(generator);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_share_above_100_percent_is_refused),
        cmocka_unit_test(the_same_seed_gives_the_same_data_in_any_order),
        cmocka_unit_test(another_seed_or_stream_gives_other_data),
        cmocka_unit_test(without_duplicates_no_chunk_repeats_even_where_all_is_compressible),
        cmocka_unit_test(with_only_duplicates_one_run_repeats),
        cmocka_unit_test(about_the_asked_share_of_chunks_repeats),
        cmocka_unit_test(a_duplicate_repeats_what_its_stream_had_before),
        cmocka_unit_test(data_is_as_compressible_as_asked),
        cmocka_unit_test(a_chunk_is_never_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
