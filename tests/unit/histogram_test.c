/* The latency histogram: no value lost or understated, at any magnitude. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "bench/histogram.h"

static void an_empty_histogram_has_only_zeros(void **state)
{
    (void)state;
    struct histogram histogram = {0};
    assert_int_equal(histogram_percentile(&histogram, 50000), 0);
    assert_int_equal(histogram_percentile(&histogram, 0), 0);
    assert_int_equal(histogram_percentile(&histogram, HISTOGRAM_WHOLE), 0);
}

static void the_largest_number_has_the_last_bucket(void **state)
{
    (void)state;
    assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
    assert_true(histogram_bucket_end(HISTOGRAM_BUCKETS - 1) == UINT64_MAX);
}

static void buckets_follow_each_other_without_gap_or_overlap(void **state)
{
    (void)state;
    for (unsigned bucket = 0; bucket + 1 < HISTOGRAM_BUCKETS; bucket++) {
        uint64_t end = histogram_bucket_end(bucket);
        assert_int_equal(histogram_bucket(end), bucket);
        assert_int_equal(histogram_bucket(end + 1), bucket + 1);
    }
}

static void a_bucket_end_is_at_most_a_32nd_above_its_values(void **state)
{
    (void)state;
    for (unsigned shift = 0; shift < 64; shift++) {
        uint64_t value = UINT64_C(1) << shift;
        uint64_t end = histogram_bucket_end(histogram_bucket(value));
        assert_true(end >= value);
        assert_true(end - value <= value / HISTOGRAM_FINE);
    }
}

static void one_value_is_every_percentile(void **state)
{
    (void)state;
    struct histogram histogram = {0};
    histogram_add(&histogram, 123456789);
    assert_int_equal(histogram_percentile(&histogram, 0), 123456789);
    assert_int_equal(histogram_percentile(&histogram, 99900), 123456789);
    assert_int_equal(histogram_percentile(&histogram, HISTOGRAM_WHOLE), 123456789);
}

static void the_median_of_small_numbers_is_exact(void **state)
{
    (void)state;
    struct histogram histogram = {0};
    for (uint64_t value = 1; value <= 9; value++)
        histogram_add(&histogram, value);
    assert_int_equal(histogram_percentile(&histogram, 50000), 5);
    assert_int_equal(histogram_percentile(&histogram, HISTOGRAM_WHOLE), 9);
}

static void one_slow_request_of_a_thousand_is_beyond_the_99_9th_percentile(void **state)
{
    (void)state;
    struct histogram histogram = {0};
    for (unsigned i = 0; i < 999; i++)
        histogram_add(&histogram, 10);
    histogram_add(&histogram, 1000000);
    assert_int_equal(histogram_percentile(&histogram, 99900), 10);
    assert_int_equal(histogram_percentile(&histogram, 99901), 1000000);
    assert_int_equal(histogram.value_max, 1000000);
}

static void a_merge_is_what_one_histogram_would_have_counted(void **state)
{
    (void)state;
    struct histogram whole = {0}, even = {0}, odd = {0};
    for (uint64_t value = 0; value < 5000; value++) {
        histogram_add(&whole, value * value);
        histogram_add(value % 2 ? &odd : &even, value * value);
    }
    histogram_merge(&even, &odd);
    assert_memory_equal(&even, &whole, sizeof whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_histogram_has_only_zeros),
        cmocka_unit_test(the_largest_number_has_the_last_bucket),
        cmocka_unit_test(buckets_follow_each_other_without_gap_or_overlap),
        cmocka_unit_test(a_bucket_end_is_at_most_a_32nd_above_its_values),
        cmocka_unit_test(one_value_is_every_percentile),
        cmocka_unit_test(the_median_of_small_numbers_is_exact),
        cmocka_unit_test(one_slow_request_of_a_thousand_is_beyond_the_99_9th_percentile),
        cmocka_unit_test(a_merge_is_what_one_histogram_would_have_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
