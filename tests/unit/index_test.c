/*
 * The dedup index against simulated images: whatever it holds is a hint, so the tests ask how much of a second pass it
 * finds when each hit makes the 256 CIDs around it known, as the engine does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "dedup/index.h"

#define PIECE_CHUNKS 16
#define BATCH_CHUNKS 256
#define CID_FIRST    1000
#define IMAGE_CHUNKS (UINT64_C(1) << 18)
#define CID_MAX      ((UINT64_C(1) << 40) - 1)

static uint64_t mix(uint64_t n)
{
    n += UINT64_C(0x9e3779b97f4a7c15);
    n = (n ^ n >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    n = (n ^ n >> 27) * UINT64_C(0x94d049bb133111eb);
    return n ^ n >> 31;
}

static struct fingerprint fingerprint_of(uint64_t content)
{
    uint64_t words[2] = {mix(content * 2), mix(content * 2 + 1)};
    struct fingerprint fingerprint;

    memcpy(fingerprint.bytes, words, sizeof fingerprint);
    return fingerprint;
}

static struct index *index_new(size_t bytes)
{
    struct index *index;

    assert_int_equal(index_create(bytes, &index), ERROR_NONE);
    return index;
}

/* 0.78 bytes a chunk. */
static size_t bytes_for(uint64_t chunks)
{
    return chunks * 78 / 100;
}

static void write_image(struct index *index, uint64_t first, uint64_t chunks)
{
    for (uint64_t i = 0; i < chunks; i++)
        index_insert(index, fingerprint_of(first + i), CID_FIRST + first + i, i);
}

/* How many of `count` chunks lie in pages that looking all of them up makes known. */
static uint64_t found_in_piece(struct index *index, uint64_t start, uint64_t count)
{
    uint64_t first_page = (CID_FIRST + start) / INDEX_PAGE_CIDS;
    bool known[BATCH_CHUNKS / INDEX_PAGE_CIDS + 2] = {false};
    uint64_t found = 0;

    for (uint64_t i = start; i < start + count; i++) {
        uint64_t cids[INDEX_CANDIDATES_MAX];
        uint64_t page = (CID_FIRST + i) / INDEX_PAGE_CIDS;
        size_t candidates = index_lookup(index, fingerprint_of(i), cids);

        for (size_t k = 0; k < candidates; k++)
            known[page - first_page] |= cids[k] == (page * INDEX_PAGE_CIDS | INDEX_PAGE_HINT);
    }
    for (uint64_t i = start; i < start + count; i++)
        found += known[(CID_FIRST + i) / INDEX_PAGE_CIDS - first_page];
    return found;
}

static uint64_t found_in_order(struct index *index, uint64_t chunks, uint64_t batch)
{
    uint64_t found = 0;

    for (uint64_t start = 0; start + batch <= chunks; start += batch)
        found += found_in_piece(index, start, batch);
    return found;
}

static uint64_t found_in_random_pieces(struct index *index, uint64_t chunks, uint64_t pieces)
{
    uint64_t found = 0;

    for (uint64_t i = 0; i < pieces; i++)
        found += found_in_piece(index, mix(i) % (chunks - PIECE_CHUNKS), PIECE_CHUNKS);
    return found;
}

static bool is_candidate(struct index *index, struct fingerprint fingerprint, uint64_t cid)
{
    uint64_t cids[INDEX_CANDIDATES_MAX];
    size_t count = index_lookup(index, fingerprint, cids);

    for (size_t i = 0; i < count; i++) {
        if (cids[i] == (ROUND_DOWN(cid, INDEX_PAGE_CIDS) | INDEX_PAGE_HINT))
            return true;
    }
    return false;
}

static void too_little_memory_is_refused(void **state)
{
    struct index *index = NULL;

    (void)state;
    assert_int_equal(index_create(0, &index), ERROR_INVALID);
    assert_int_equal(index_create(INDEX_BYTES_MIN - 1, &index), ERROR_INVALID);
    assert_null(index);
}

static void impossible_memory_is_an_error(void **state)
{
    struct index *index = NULL;

    (void)state;
    assert_int_equal(index_create(SIZE_MAX / 4, &index), ERROR_NO_MEMORY);
    assert_null(index);
}

static void an_odd_size_is_used_up_to_whole_pages(void **state)
{
    struct index *index = index_new(INDEX_BYTES_MIN + 5000);
    struct index_stats stats;

    (void)state;
    index_stats(index, &stats);
    assert_int_equal(stats.slots, 17 * 64 * 12);
    index_destroy(index);
    index_destroy(NULL);
}

static void an_empty_index_finds_nothing(void **state)
{
    struct index *index = index_new(INDEX_BYTES_MIN);
    uint64_t cids[INDEX_CANDIDATES_MAX];
    struct fingerprint zeros = {{0}};

    (void)state;
    assert_int_equal(index_lookup(index, zeros, cids), 0);
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_equal(index_lookup(index, fingerprint_of(i), cids), 0);
    index_remove(index, zeros, 1);
    index_remove(index, zeros, CID_MAX);
    index_destroy(index);
}

static void everything_is_found_while_there_is_room(void **state)
{
    struct index *index = index_new(INDEX_BYTES_MIN);
    struct index_stats stats;
    uint64_t chunks, found = 0;

    (void)state;
    index_stats(index, &stats);
    chunks = stats.slots * 7 / 10;
    for (uint64_t i = 0; i < chunks; i++)
        index_insert(index, fingerprint_of(i), i + 1, i);
    index_stats(index, &stats);
    assert_int_equal(stats.evicted, 0);
    for (uint64_t i = 0; i < chunks; i++)
        found += is_candidate(index, fingerprint_of(i), i + 1);
    assert_in_range(found, chunks * 999 / 1000, chunks);
    index_destroy(index);
}

static void a_removed_entry_is_gone_and_its_neighbours_stay(void **state)
{
    struct index *index = index_new(INDEX_BYTES_MIN);
    struct index_stats stats;

    (void)state;
    write_image(index, 0, 4096);
    for (uint64_t i = 0; i < 4096; i += 2)
        index_remove(index, fingerprint_of(i), (CID_FIRST + i) | (i % 4 == 0 ? INDEX_PAGE_HINT : 0));
    for (uint64_t i = 0; i < 4096; i++)
        assert_int_equal(is_candidate(index, fingerprint_of(i), CID_FIRST + i), i % 2);
    index_stats(index, &stats);
    assert_int_equal(stats.used, 2048);
    assert_int_equal(stats.sparse, 0);
    index_destroy(index);
}

static void removing_another_cid_of_the_fingerprint_changes_nothing(void **state)
{
    struct index *index = index_new(INDEX_BYTES_MIN);

    (void)state;
    index_insert(index, fingerprint_of(1), 5000, 1);
    index_remove(index, fingerprint_of(1), 5000 + INDEX_PAGE_CIDS);
    assert_true(is_candidate(index, fingerprint_of(1), 5000));
    index_destroy(index);
}

static void the_newest_cid_of_a_fingerprint_replaces_the_older(void **state)
{
    struct index *index = index_new(INDEX_BYTES_MIN);
    struct index_stats stats;

    (void)state;
    index_insert(index, fingerprint_of(1), 5000, 8);
    index_insert(index, fingerprint_of(1), 5000, 9);
    index_stats(index, &stats);
    assert_int_equal(stats.used, 1);
    assert_int_equal(stats.sparse, 1);
    index_insert(index, fingerprint_of(1), 9000, 9);
    index_stats(index, &stats);
    assert_int_equal(stats.used, 1);
    assert_int_equal(stats.sparse, 0);
    assert_true(is_candidate(index, fingerprint_of(1), 9000));
    assert_false(is_candidate(index, fingerprint_of(1), 5000));
    index_destroy(index);
}

static void cids_of_forty_bits_are_known_together_with_small_ones(void **state)
{
    struct index *index = index_new(INDEX_BYTES_MIN);

    (void)state;
    write_image(index, 0, 3000);
    for (unsigned bits = 30; bits <= 40; bits++) {
        uint64_t cid = (UINT64_C(1) << bits) - 1;

        index_insert(index, fingerprint_of(1000000 + bits), cid, 0);
        assert_true(is_candidate(index, fingerprint_of(1000000 + bits), cid));
    }
    assert_true(is_candidate(index, fingerprint_of(1000000 + 30), (UINT64_C(1) << 30) - 1));
    assert_in_range(found_in_order(index, 3000, 1), 2900, 3000);
    index_remove(index, fingerprint_of(1000000 + 40), CID_MAX);
    assert_false(is_candidate(index, fingerprint_of(1000000 + 40), CID_MAX));
    index_destroy(index);
}

static void clear_forgets_everything(void **state)
{
    struct index *index = index_new(INDEX_BYTES_MIN);
    struct index_stats stats;

    (void)state;
    index_insert(index, fingerprint_of(1), CID_MAX, 0);
    write_image(index, 2, 50000);
    index_clear(index);
    index_stats(index, &stats);
    assert_int_equal(stats.used, 0);
    assert_int_equal(stats.sparse, 0);
    assert_int_equal(found_in_order(index, 50000, 1), 0);
    index_destroy(index);
}

static void the_counts_of_a_full_table_stay_true(void **state)
{
    struct index *index = index_new(INDEX_BYTES_MIN);
    struct index_stats stats;

    (void)state;
    write_image(index, 0, 300000);
    index_stats(index, &stats);
    assert_in_range(stats.used, stats.slots - 2, stats.slots);
    assert_in_range(stats.sparse, stats.slots * 99 / 100, stats.used);
    for (uint64_t i = 0; i < 300000; i++)
        index_remove(index, fingerprint_of(i), CID_FIRST + i);
    index_stats(index, &stats);
    assert_int_equal(stats.used, 0);
    assert_int_equal(stats.sparse, 0);
    index_destroy(index);
}

static void new_data_rarely_has_a_candidate_in_a_full_table(void **state)
{
    static const unsigned cid_bits[] = {32, 36};
    static const uint64_t candidates_max[] = {100, 1000}; /* of 100,000 look-ups: 0.1 % and 1 % */

    (void)state;
    for (size_t k = 0; k < COUNT_OF(cid_bits); k++) {
        struct index *index = index_new(INDEX_BYTES_MIN);
        struct index_stats stats;

        index_insert(index, fingerprint_of(UINT64_MAX / 4), (UINT64_C(1) << cid_bits[k]) - 1, 0);
        write_image(index, 0, 300000);
        for (uint64_t i = 0; i < 100000; i++) {
            uint64_t cids[INDEX_CANDIDATES_MAX];

            index_lookup(index, fingerprint_of(1000000 + i), cids);
        }
        index_stats(index, &stats);
        assert_int_equal(stats.lookups, 100000);
        assert_in_range(stats.candidates, 0, candidates_max[k]);
        index_destroy(index);
    }
}

static void an_image_at_0_78_bytes_a_chunk_is_found_in_order_and_in_random_pieces(void **state)
{
    struct index *index = index_new(bytes_for(IMAGE_CHUNKS));
    uint64_t pieces = 5000;

    (void)state;
    write_image(index, 0, IMAGE_CHUNKS);
    assert_true(found_in_order(index, IMAGE_CHUNKS, BATCH_CHUNKS) >= IMAGE_CHUNKS * 99 / 100);
    assert_true(found_in_order(index, IMAGE_CHUNKS, PIECE_CHUNKS) >= IMAGE_CHUNKS * 98 / 100);
    assert_true(found_in_random_pieces(index, IMAGE_CHUNKS, pieces) >= pieces * PIECE_CHUNKS * 95 / 100);
    index_destroy(index);
}

static void an_image_four_times_too_large_is_still_found_in_order(void **state)
{
    struct index *index = index_new(bytes_for(IMAGE_CHUNKS));
    uint64_t chunks = 4 * IMAGE_CHUNKS;

    (void)state;
    write_image(index, 0, chunks);
    assert_true(found_in_order(index, chunks, BATCH_CHUNKS) >= chunks * 99 / 100);
    index_destroy(index);
}

static void an_image_that_is_read_outlives_data_that_is_only_written(void **state)
{
    struct index *index = index_new(bytes_for(IMAGE_CHUNKS));
    uint64_t image = IMAGE_CHUNKS / 8, written = IMAGE_CHUNKS;
    uint64_t pieces = 1000;

    (void)state;
    write_image(index, 0, image);
    for (unsigned round = 0; round < 24; round++, written += IMAGE_CHUNKS / 8) {
        write_image(index, written, IMAGE_CHUNKS / 8);
        found_in_order(index, image, BATCH_CHUNKS);
    }
    assert_true(found_in_random_pieces(index, image, pieces) >= pieces * PIECE_CHUNKS * 95 / 100);
    index_destroy(index);
}

static void the_same_calls_give_the_same_answers(void **state)
{
    struct index *one = index_new(INDEX_BYTES_MIN), *other = index_new(INDEX_BYTES_MIN);

    (void)state;
    write_image(one, 0, 60000);
    write_image(other, 0, 60000);
    for (uint64_t i = 0; i < 60000; i++) {
        uint64_t ones[INDEX_CANDIDATES_MAX] = {0}, others[INDEX_CANDIDATES_MAX] = {0};

        index_prefetch(one, fingerprint_of(i));
        assert_int_equal(index_lookup(one, fingerprint_of(i), ones), index_lookup(other, fingerprint_of(i), others));
        assert_memory_equal(ones, others, sizeof ones);
    }
    index_destroy(one);
    index_destroy(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_little_memory_is_refused),
        cmocka_unit_test(impossible_memory_is_an_error),
        cmocka_unit_test(an_odd_size_is_used_up_to_whole_pages),
        cmocka_unit_test(an_empty_index_finds_nothing),
        cmocka_unit_test(everything_is_found_while_there_is_room),
        cmocka_unit_test(a_removed_entry_is_gone_and_its_neighbours_stay),
        cmocka_unit_test(removing_another_cid_of_the_fingerprint_changes_nothing),
        cmocka_unit_test(the_newest_cid_of_a_fingerprint_replaces_the_older),
        cmocka_unit_test(cids_of_forty_bits_are_known_together_with_small_ones),
        cmocka_unit_test(clear_forgets_everything),
        cmocka_unit_test(the_counts_of_a_full_table_stay_true),
        cmocka_unit_test(new_data_rarely_has_a_candidate_in_a_full_table),
        cmocka_unit_test(an_image_at_0_78_bytes_a_chunk_is_found_in_order_and_in_random_pieces),
        cmocka_unit_test(an_image_four_times_too_large_is_still_found_in_order),
        cmocka_unit_test(an_image_that_is_read_outlives_data_that_is_only_written),
        cmocka_unit_test(the_same_calls_give_the_same_answers),
    };

    return cmocka_run_group_tests_name("index", tests, NULL, NULL);
}
