/* Units: garbage first, then what must come back as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>

#include "base/memory.h"
#include "dedup/unit.h"

#define WHOLE(count) ((count) * (size_t)CHUNK_SIZE)

static const enum codec codecs[] = {CODEC_LZ4, CODEC_ZSTD};

struct sample {
    uint8_t bytes[UNIT_CHUNKS_MAX][CHUNK_SIZE];
    const void *chunks[UNIT_CHUNKS_MAX];
    uint8_t stored[UNIT_CHUNKS_MAX * CHUNK_SIZE];
    uint8_t back[UNIT_CHUNKS_MAX * CHUNK_SIZE];
    size_t size;
    enum codec used;
};

static uint32_t random_next(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static void fill_random(void *out, size_t size, uint32_t seed)
{
    uint32_t state = seed * 2654435761u + 1;

    for (size_t i = 0; i < size; i++)
        ((uint8_t *)out)[i] = (uint8_t)(random_next(&state) >> 16);
}

/* Words of a small vocabulary, as text has. */
static void fill_text(void *out, size_t size, uint32_t seed)
{
    static const char words[] = "block segment chunk index journal append merge freeze unit serial ";
    uint32_t state = seed * 2654435761u + 1;
    size_t i = 0;

    while (i < size) {
        size_t from = random_next(&state) % (sizeof words - 9);

        for (size_t k = 0; k < 8 && i < size; k++)
            ((uint8_t *)out)[i++] = (uint8_t)words[from + k];
    }
}

static struct sample *sample_of(void (*fill)(void *, size_t, uint32_t))
{
    static struct sample sample;

    memset(&sample, 0, sizeof sample);
    fill(sample.bytes, sizeof sample.bytes, 7);
    for (size_t i = 0; i < UNIT_CHUNKS_MAX; i++)
        sample.chunks[i] = sample.bytes[i];
    return &sample;
}

static void sample_compress(struct sample *sample, enum codec codec, int level, size_t count)
{
    assert_int_equal(
        unit_compress(codec, level, sample->chunks, count, sample->stored, WHOLE(count), &sample->size, &sample->used),
        ERROR_NONE);
}

static enum error sample_decompress(struct sample *sample, size_t count)
{
    return unit_decompress(sample->used, sample->stored, sample->size, sample->back, count);
}

static void an_impossible_length_is_damage(void **state)
{
    struct sample *sample = sample_of(fill_text);

    (void)state;
    for (enum codec codec = CODEC_RAW; codec <= CODEC_ZSTD; codec++) {
        assert_int_equal(unit_decompress(codec, sample->stored, 0, sample->back, 1), ERROR_CORRUPT);
        assert_int_equal(unit_decompress(codec, sample->stored, WHOLE(1) + 1, sample->back, 1), ERROR_CORRUPT);
        assert_int_equal(unit_decompress(codec, sample->stored, 100, sample->back, 0), ERROR_CORRUPT);
        assert_int_equal(unit_decompress(codec, sample->stored, 100, sample->back, UNIT_CHUNKS_MAX + 1), ERROR_CORRUPT);
        assert_int_equal(unit_decompress(codec, sample->stored, 100, sample->back, SIZE_MAX), ERROR_CORRUPT);
    }
}

static void an_unknown_codec_is_damage(void **state)
{
    struct sample *sample = sample_of(fill_text);

    (void)state;
    assert_int_equal(unit_decompress((enum codec)3, sample->stored, 100, sample->back, 1), ERROR_CORRUPT);
    assert_int_equal(unit_decompress((enum codec)255, sample->stored, 100, sample->back, 1), ERROR_CORRUPT);
}

static void a_raw_unit_of_another_length_is_damage(void **state)
{
    struct sample *sample = sample_of(fill_random);

    (void)state;
    assert_int_equal(unit_decompress(CODEC_RAW, sample->stored, WHOLE(2) - 1, sample->back, 2), ERROR_CORRUPT);
    assert_int_equal(unit_decompress(CODEC_RAW, sample->stored, WHOLE(1), sample->back, 2), ERROR_CORRUPT);
}

static void every_truncation_is_damage(void **state)
{
    struct sample *sample = sample_of(fill_text);

    (void)state;
    for (size_t k = 0; k < COUNT_OF(codecs); k++) {
        sample_compress(sample, codecs[k], 1, 4);
        assert_int_equal(sample->used, codecs[k]);
        for (size_t whole = sample->size; sample->size > 0; sample->size -= MIN(sample->size, 1 + whole / 200)) {
            if (sample->size < whole)
                assert_int_equal(sample_decompress(sample, 4), ERROR_CORRUPT);
        }
    }
}

static void another_number_of_chunks_is_damage(void **state)
{
    struct sample *sample = sample_of(fill_text);

    (void)state;
    for (size_t k = 0; k < COUNT_OF(codecs); k++) {
        sample_compress(sample, codecs[k], 1, 3);
        assert_int_equal(sample_decompress(sample, 2), ERROR_CORRUPT);
        assert_int_equal(sample_decompress(sample, 4), ERROR_CORRUPT);
        assert_int_equal(sample_decompress(sample, 3), ERROR_NONE);
    }
}

static void flipped_bytes_never_reach_beyond_the_buffer(void **state)
{
    struct sample *sample = sample_of(fill_text);
    uint8_t *out = malloc(WHOLE(2)); /* the sanitizer watches its ends */
    uint32_t random = 99;

    (void)state;
    assert_non_null(out);
    for (size_t k = 0; k < COUNT_OF(codecs); k++) {
        sample_compress(sample, codecs[k], 1, 2);
        for (unsigned round = 0; round < 3000; round++) {
            size_t at = random_next(&random) % sample->size;
            uint8_t before = sample->stored[at];
            enum error error;

            sample->stored[at] = (uint8_t)random_next(&random);
            error = unit_decompress(sample->used, sample->stored, sample->size, out, 2);
            assert_true(error == ERROR_NONE || error == ERROR_CORRUPT);
            sample->stored[at] = before;
        }
        assert_int_equal(sample_decompress(sample, 2), ERROR_NONE);
        assert_memory_equal(sample->back, sample->bytes, WHOLE(2));
    }
    free(out);
}

static void noise_is_damage_and_never_more(void **state)
{
    struct sample *sample = sample_of(fill_random);

    (void)state;
    for (uint32_t round = 0; round < 3000; round++) {
        enum codec codec = codecs[round % COUNT_OF(codecs)];
        size_t size = 1 + round % 700;
        enum error error;

        fill_random(sample->stored, size, round);
        error = unit_decompress(codec, sample->stored, size, sample->back, 1 + round % UNIT_CHUNKS_MAX);
        assert_true(error == ERROR_NONE || error == ERROR_CORRUPT);
    }
}

static void random_data_is_stored_raw(void **state)
{
    struct sample *sample = sample_of(fill_random);

    (void)state;
    for (size_t k = 0; k < COUNT_OF(codecs); k++) {
        sample_compress(sample, codecs[k], 1, 4);
        assert_int_equal(sample->used, CODEC_RAW);
        assert_int_equal(sample->size, WHOLE(4));
        assert_memory_equal(sample->stored, sample->bytes, WHOLE(4));
        assert_int_equal(sample_decompress(sample, 4), ERROR_NONE);
        assert_memory_equal(sample->back, sample->bytes, WHOLE(4));
    }
}

static void data_that_deceives_the_look_is_stored_raw_all_the_same(void **state)
{
    struct sample *sample = sample_of(fill_random);

    (void)state;
    memset(sample->bytes[0], 0, 64);
    assert_false(chunk_looks_random(sample->bytes[0]));
    for (size_t k = 0; k < COUNT_OF(codecs); k++) {
        sample_compress(sample, codecs[k], 1, 1);
        assert_int_equal(sample->used, CODEC_RAW);
        assert_memory_equal(sample->stored, sample->bytes, WHOLE(1));
    }
}

static void a_saving_of_a_thirty_second_is_taken_and_less_is_not(void **state)
{
    (void)state;
    for (size_t zeros = 0; zeros <= 1024; zeros += 16) {
        struct sample *sample = sample_of(fill_random);

        memset(sample->bytes[0], 0, zeros);
        sample_compress(sample, CODEC_ZSTD, 1, 1);
        assert_true(sample->used == CODEC_RAW ? sample->size == WHOLE(1) : sample->size <= WHOLE(1) - WHOLE(1) / 32);
        if (zeros < 128)
            assert_int_equal(sample->used, CODEC_RAW);
        if (zeros >= 256)
            assert_int_equal(sample->used, CODEC_ZSTD);
    }
}

static void one_compressible_chunk_saves_a_unit_from_being_raw(void **state)
{
    struct sample *sample = sample_of(fill_random);

    (void)state;
    fill_text(sample->bytes[3], CHUNK_SIZE, 3);
    for (size_t k = 0; k < COUNT_OF(codecs); k++) {
        sample_compress(sample, codecs[k], 1, 4);
        assert_int_equal(sample->used, codecs[k]);
        assert_true(sample->size < WHOLE(4) - WHOLE(1) / 4);
        assert_int_equal(sample_decompress(sample, 4), ERROR_NONE);
        assert_memory_equal(sample->back, sample->bytes, WHOLE(4));
    }
}

static void raw_is_raw_where_it_is_asked_for(void **state)
{
    struct sample *sample = sample_of(fill_text);

    (void)state;
    sample_compress(sample, CODEC_RAW, 0, 2);
    assert_int_equal(sample->used, CODEC_RAW);
    assert_memory_equal(sample->stored, sample->bytes, WHOLE(2));
}

static void every_codec_level_and_count_gives_the_chunks_back(void **state)
{
    static const int levels[] = {1, 3, -1, 9, 1};
    struct sample *sample = sample_of(fill_text);

    (void)state;
    for (size_t k = 0; k < COUNT_OF(codecs); k++) {
        for (size_t l = 0; l < COUNT_OF(levels); l++) {
            for (size_t count = 1; count <= UNIT_CHUNKS_MAX; count++) {
                sample_compress(sample, codecs[k], levels[l], count);
                assert_int_equal(sample->used, codecs[k]);
                assert_true(sample->size < WHOLE(count) / 2);
                assert_int_equal(sample_decompress(sample, count), ERROR_NONE);
                assert_memory_equal(sample->back, sample->bytes, WHOLE(count));
            }
        }
    }
}

static void scattered_chunks_are_stored_like_contiguous_ones(void **state)
{
    struct sample *sample = sample_of(fill_text);
    static uint8_t scattered[4][CHUNK_SIZE];
    static uint8_t expected[4 * CHUNK_SIZE];

    (void)state;
    for (size_t k = 0; k < COUNT_OF(codecs); k++) {
        size_t size;

        sample_compress(sample, codecs[k], 1, 4);
        size = sample->size;
        memcpy(expected, sample->stored, size);
        for (size_t i = 0; i < 4; i++) {
            memcpy(scattered[3 - i], sample->bytes[i], CHUNK_SIZE);
            sample->chunks[i] = scattered[3 - i];
        }
        sample_compress(sample, codecs[k], 1, 4);
        assert_int_equal(sample->size, size);
        assert_memory_equal(sample->stored, expected, size);
        for (size_t i = 0; i < 4; i++)
            sample->chunks[i] = sample->bytes[i];
    }
}

static void the_result_does_not_depend_on_what_came_before(void **state)
{
    struct sample *sample = sample_of(fill_text);
    static uint8_t expected[4 * CHUNK_SIZE];

    (void)state;
    for (size_t k = 0; k < COUNT_OF(codecs); k++) {
        size_t size;

        unit_thread_end();
        sample_compress(sample, codecs[k], 1, 4);
        size = sample->size;
        memcpy(expected, sample->stored, size);
        sample_compress(sample, codecs[k], 3, UNIT_CHUNKS_MAX);
        sample_compress(sample, codecs[k], 1, 4);
        assert_int_equal(sample->size, size);
        assert_memory_equal(sample->stored, expected, size);
    }
}

static void zstd_spends_no_bytes_on_what_the_descriptor_knows(void **state)
{
    struct sample *sample = sample_of(fill_text);
    static const uint8_t magic[4] = {0x28, 0xb5, 0x2f, 0xfd};

    (void)state;
    memset(sample->bytes, 0, sizeof sample->bytes);
    sample_compress(sample, CODEC_ZSTD, 1, 4);
    assert_memory_not_equal(sample->stored, magic, sizeof magic);
    assert_in_range(sample->size, 1, 16);
    assert_int_equal(sample_decompress(sample, 4), ERROR_NONE);
}

static void ending_a_thread_twice_does_no_harm(void **state)
{
    struct sample *sample = sample_of(fill_text);

    (void)state;
    unit_thread_end();
    unit_thread_end();
    sample_compress(sample, CODEC_ZSTD, 1, 1);
    unit_thread_end();
    assert_int_equal(sample_decompress(sample, 1), ERROR_NONE);
}

static void *round_trip_in_thread(void *argument)
{
    struct sample *sample = argument;

    for (unsigned round = 0; round < 20; round++) {
        if (unit_compress(codecs[round % 2], 1, sample->chunks, 4, sample->stored, sizeof sample->stored, &sample->size,
                          &sample->used) != ERROR_NONE ||
            sample_decompress(sample, 4) != ERROR_NONE || memcmp(sample->back, sample->bytes, WHOLE(4)) != 0)
            return NULL;
    }
    return argument;
}

static void threads_have_contexts_of_their_own(void **state)
{
    static struct sample samples[3];
    pthread_t threads[3];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        fill_text(samples[i].bytes, sizeof samples[i].bytes, (uint32_t)i);
        for (size_t k = 0; k < UNIT_CHUNKS_MAX; k++)
            samples[i].chunks[k] = samples[i].bytes[k];
        assert_int_equal(pthread_create(&threads[i], NULL, round_trip_in_thread, &samples[i]), 0);
    }
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        void *result;

        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_ptr_equal(result, &samples[i]);
    }
}

static void random_chunks_look_random(void **state)
{
    uint8_t chunk[CHUNK_SIZE];

    (void)state;
    for (uint32_t seed = 1; seed <= 2000; seed++) {
        fill_random(chunk, sizeof chunk, seed);
        assert_true(chunk_looks_random(chunk));
    }
}

static void text_zeros_and_counters_do_not_look_random(void **state)
{
    uint8_t chunk[CHUNK_SIZE] = {0};

    (void)state;
    assert_false(chunk_looks_random(chunk));
    fill_text(chunk, sizeof chunk, 1);
    assert_false(chunk_looks_random(chunk));
    for (size_t i = 0; i < sizeof chunk; i++)
        chunk[i] = (uint8_t)i;
    assert_false(chunk_looks_random(chunk));
    for (size_t i = 0; i < sizeof chunk; i++)
        chunk[i] = (uint8_t)(i / 8 * 37 + i);
    assert_false(chunk_looks_random(chunk));
}

static void a_chunk_that_is_random_in_part_or_repeats_does_not_look_random(void **state)
{
    uint8_t chunk[CHUNK_SIZE];

    (void)state;
    fill_random(chunk, sizeof chunk, 1);
    memset(chunk + CHUNK_SIZE / 2, 0, CHUNK_SIZE / 2);
    assert_false(chunk_looks_random(chunk));
    fill_random(chunk, sizeof chunk, 2);
    for (size_t i = 512; i < sizeof chunk; i++)
        chunk[i] = chunk[i - 512];
    assert_false(chunk_looks_random(chunk));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_impossible_length_is_damage),
        cmocka_unit_test(an_unknown_codec_is_damage),
        cmocka_unit_test(a_raw_unit_of_another_length_is_damage),
        cmocka_unit_test(every_truncation_is_damage),
        cmocka_unit_test(another_number_of_chunks_is_damage),
        cmocka_unit_test(flipped_bytes_never_reach_beyond_the_buffer),
        cmocka_unit_test(noise_is_damage_and_never_more),
        cmocka_unit_test(random_data_is_stored_raw),
        cmocka_unit_test(data_that_deceives_the_look_is_stored_raw_all_the_same),
        cmocka_unit_test(a_saving_of_a_thirty_second_is_taken_and_less_is_not),
        cmocka_unit_test(one_compressible_chunk_saves_a_unit_from_being_raw),
        cmocka_unit_test(raw_is_raw_where_it_is_asked_for),
        cmocka_unit_test(every_codec_level_and_count_gives_the_chunks_back),
        cmocka_unit_test(scattered_chunks_are_stored_like_contiguous_ones),
        cmocka_unit_test(the_result_does_not_depend_on_what_came_before),
        cmocka_unit_test(zstd_spends_no_bytes_on_what_the_descriptor_knows),
        cmocka_unit_test(ending_a_thread_twice_does_no_harm),
        cmocka_unit_test(threads_have_contexts_of_their_own),
        cmocka_unit_test(random_chunks_look_random),
        cmocka_unit_test(text_zeros_and_counters_do_not_look_random),
        cmocka_unit_test(a_chunk_that_is_random_in_part_or_repeats_does_not_look_random),
    };

    return cmocka_run_group_tests_name("unit", tests, NULL, NULL);
}
