/* Summaries of a segment: nothing that was changed is missing, and they stay small whatever was. */
#include "tests/unit/group_fixture.h"
#include "engine/group/summary.h"

static struct summary summary;
static struct record back;
static uint8_t bytes[SUMMARY_FRAME_BYTES_MAX];
static uint64_t seed = 5;

static bool covers(const struct summary_range *ranges, uint64_t count, uint64_t component, uint64_t block)
{
    for (uint64_t i = 0; i < count; i++)
        if (ranges[i].component == component && ranges[i].first <= block && block < ranges[i].end)
            return true;
    return false;
}

static void encode_and_decode(void)
{
    struct byte_writer out = {bytes, bytes + sizeof bytes, false};
    summary_encode(&summary, &out);
    assert_false(out.overflow);
    struct byte_reader in = {bytes + sizeof(struct frame_format), out.next, false};
    assert_int_equal(record_decode(&in, &back), ERROR_NONE);
    assert_ptr_equal(in.next, in.end);
}

static void scattered_blocks_are_all_covered(void **state)
{
    (void)state;
    static uint64_t blocks[20000];
    summary_begin(&summary, 3);
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        blocks[i] = fixture_below(&seed, RECORD_BLOCKS_MAX);
        summary_add(&summary, 1 + i % 2, blocks[i], blocks[i] + 1);
    }
    encode_and_decode();
    assert_true(back.count <= SUMMARY_RANGES_MAX && back.flags == 0);
    for (size_t i = 0; i < COUNT_OF(blocks); i++)
        assert_true(covers(back.ranges, back.count, 1 + i % 2, blocks[i]));
}

static void only_the_nearest_ranges_become_one(void **state)
{
    (void)state;
    summary_begin(&summary, 3);
    for (uint64_t i = 0; i < SUMMARY_RANGES_MAX; i++) /* pairs: a gap of 1, then one of 1000 */
        summary_add(&summary, 1, i / 2 * 1002 + i % 2 * 2, i / 2 * 1002 + i % 2 * 2 + 1);
    summary_coalesce(&summary, SUMMARY_RANGES_MAX);
    assert_int_equal(summary.count, SUMMARY_RANGES_MAX);
    summary_coalesce(&summary, SUMMARY_RANGES_MAX - 3);
    assert_int_equal(summary.count, SUMMARY_RANGES_MAX - 3);
    for (size_t i = 0; i < summary.count; i++)
        assert_true(summary.ranges[i].end - summary.ranges[i].first <= 3);
    assert_false(summary.incomplete);
}

static void what_touches_is_one_range(void **state)
{
    (void)state;
    summary_begin(&summary, 3);
    for (uint64_t i = 0; i < 5000; i++)
        summary_add(&summary, 1, i, i + 1);
    for (uint64_t i = 0; i < 5000; i++)
        summary_add(&summary, 2, 10000 - i, 10001 - i);
    assert_int_equal(summary.count, 2);
    encode_and_decode();
    assert_true(back.count == 2 && back.ranges[0].first == 0 && back.ranges[0].end == 5000);
    assert_true(back.ranges[1].first == 5001 && back.ranges[1].end == 10001);
}

static void more_components_than_ranges_are_said_to_be_more(void **state)
{
    (void)state;
    summary_begin(&summary, SERIAL_MAX);
    summary.first_sequence = summary.last_sequence = UINT64_MAX;
    for (uint64_t i = 0; i < 3000; i++) /* and each as long as a varint gets */
        summary_add(&summary, CID_MAX - i, RECORD_BLOCKS_MAX / 2, RECORD_BLOCKS_MAX);
    encode_and_decode();
    assert_int_equal(back.count, SUMMARY_RANGES_MAX);
    assert_int_equal(back.flags, RECORD_SUMMARY_INCOMPLETE);
    summary_begin(&summary, 4);
    encode_and_decode();
    assert_true(back.count == 0 && back.flags == 0 && back.serial == 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scattered_blocks_are_all_covered),
        cmocka_unit_test(only_the_nearest_ranges_become_one),
        cmocka_unit_test(what_touches_is_one_range),
        cmocka_unit_test(more_components_than_ranges_are_said_to_be_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
