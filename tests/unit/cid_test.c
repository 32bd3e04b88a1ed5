/* The allocator of CIDs: no CID is given twice, a run never leaves its page, CID 0 and page 0 are nobody's. */
#include "tests/unit/group_fixture.h"

#define CIDS 65536

static struct cids cids;
static uint8_t given[CIDS];

static void note(uint64_t cid, unsigned count)
{
    assert_true(cid >= CID_PAGE && cid + count <= CIDS);
    assert_int_equal(cid / CID_PAGE, (cid + count - 1) / CID_PAGE);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(given[cid + i]++, 0);
}

static void begin(uint64_t end)
{
    memset(given, 0, sizeof given);
    cids_init(&cids, end);
}

static void the_end_of_all_cids_is_told(void **state)
{
    (void)state;
    begin(CID_MAX - 2 * CID_PAGE);
    uint64_t last = 0;
    for (uint64_t cid; (cid = cids_take_run(&cids, 16)) != 0;) {
        assert_true(cid > last && cid + 15 <= CID_MAX);
        last = cid;
    }
    assert_int_equal(cids_take_run(&cids, 16), 0);
    assert_int_equal(cids_take_node(&cids, true), 0);
    assert_int_equal(cids_take_node(&cids, false), 0);
}

static void no_more_pages_are_kept_than_there_is_room_for(void **state)
{
    (void)state;
    begin(1 << 20);
    struct cid_page page = {.page = 1, .free = {1}};
    for (unsigned i = 0; i < CID_REFILLS_MAX; i++)
        assert_true(cids_refill(&cids, &page));
    assert_false(cids_refill(&cids, &page));
}

static void page_zero_is_never_given(void **state)
{
    (void)state;
    begin(0);
    assert_int_equal(cids_take_run(&cids, 1), CID_PAGE);
    begin(0);
    assert_int_equal(cids_take_node(&cids, false), CID_PAGE);
}

static void a_pair_begins_at_an_even_cid(void **state)
{
    (void)state;
    begin(256);
    for (unsigned i = 0; i < 600; i++) {
        uint64_t cid = cids_take_node(&cids, i % 3 == 0);
        note(cid, i % 3 == 0 ? 2 : 1);
        assert_true(i % 3 != 0 || cid % 2 == 0);
    }
}

static void data_and_nodes_have_pages_of_their_own(void **state)
{
    (void)state;
    begin(256);
    for (unsigned i = 0; i < 300; i++) {
        uint64_t data = cids_take_run(&cids, 2), node = cids_take_node(&cids, false);
        note(data, 2);
        note(node, 1);
        assert_int_not_equal(data / CID_PAGE, node / CID_PAGE);
    }
}

static void a_collected_page_gives_only_what_is_free(void **state)
{
    (void)state;
    begin(10 * CID_PAGE);
    struct cid_page page = {.page = 3, .free = {UINT64_C(0xf0f0), 0, UINT64_MAX, 1}};
    assert_true(cids_refill(&cids, &page));
    for (uint64_t cid; (cid = cids_take_run(&cids, 4)) / CID_PAGE == 3;) {
        for (unsigned i = 0; i < 4; i++)
            assert_true(page.free[(cid + i) % CID_PAGE / 64] >> (cid + i) % 64 & 1);
        note(cid, 4);
    }
    assert_int_equal(cids.refill_count, 0);
}

static void what_replay_saw_is_not_given(void **state)
{
    (void)state;
    begin(256);
    cids_saw(&cids, 300);
    assert_true(cids_take_run(&cids, 1) >= 512);
    begin(256);
    cids_saw(&cids, 255);
    assert_int_equal(cids_take_run(&cids, 1), 256);
    begin(256);
    cids_saw(&cids, 256);
    assert_int_equal(cids_take_run(&cids, 1), 512);
}

/* Frees random CIDs of pages that are not handed out from, and gives them back as the merge would. */
static void collect(uint64_t *seed)
{
    uint64_t number = 1 + fixture_below(seed, cids.end / CID_PAGE);
    struct cid_page page = {.page = number};
    for (size_t i = 0; i < cids.refill_count; i++)
        if (cids.refills[i].page == number)
            return;
    if (number == cids.end / CID_PAGE || number == cids.data.page || number == cids.nodes.page)
        return;
    for (unsigned i = 0; i < CID_PAGE; i++)
        if (!given[number * CID_PAGE + i] || fixture_below(seed, 2)) {
            given[number * CID_PAGE + i] = 0;
            page.free[i / 64] |= UINT64_C(1) << i % 64;
        }
    (void)cids_refill(&cids, &page);
}

static void no_cid_is_given_twice(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        uint64_t random = seed;
        begin(256);
        for (unsigned i = 0; i < 4000 && cids.end < CIDS - 2 * CID_PAGE; i++) {
            unsigned count = 1 + (unsigned)fixture_below(&random, 16), kind = (unsigned)fixture_below(&random, 8);
            if (kind == 0)
                collect(&random);
            else if (kind < 3)
                note(cids_take_node(&cids, kind == 1), kind == 1 ? 2 : 1);
            else
                note(cids_take_run(&cids, count), count);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_end_of_all_cids_is_told),
        cmocka_unit_test(no_more_pages_are_kept_than_there_is_room_for),
        cmocka_unit_test(page_zero_is_never_given),
        cmocka_unit_test(a_pair_begins_at_an_even_cid),
        cmocka_unit_test(data_and_nodes_have_pages_of_their_own),
        cmocka_unit_test(a_collected_page_gives_only_what_is_free),
        cmocka_unit_test(what_replay_saw_is_not_given),
        cmocka_unit_test(no_cid_is_given_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
