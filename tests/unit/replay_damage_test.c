/* What the message on a damaged journal says of the stretch that is lost. */
#include "tests/unit/group_fixture.h"

static void component_make(struct fixture *f, uint64_t component)
{
    fixture_component(f, component, COMPONENT_LIVE);
}

/* Writes to a component until the journal is in another segment than it was; returns the first new entry. */
static struct map_entry write_into_next_segment(struct fixture *f, uint64_t component, uint64_t block)
{
    uint64_t serial = 0;
    for (uint64_t i = 0;; i++) {
        struct map_entry entry = fixture_write(f, component, block + i % 50, i + 1);
        if (serial && entry_serial(entry) != serial)
            return entry;
        serial = entry_serial(entry);
    }
}

static void sync_group(struct fixture *f)
{
    assert_int_equal(group_sync(f->group), ERROR_NONE);
}

static void flip_header_of_append(struct fixture *f, struct map_entry entry)
{
    uint64_t offset = fixture_offset(f, entry_serial(entry), entry_offset(entry)) / BLOCK_SIZE * BLOCK_SIZE;
    uint32_t device = fixture_device(f, entry_serial(entry));
    fixture_crash(f);
    fixture_flip(f, device, offset + 40);
}

static void expect_said(struct fixture *f, const char *words)
{
    assert_int_equal(fixture_try_open(f), ERROR_CORRUPT);
    if (!strstr(error_sentence(ERROR_CORRUPT), words))
        fail_msg("'%s' does not say '%s'", error_sentence(ERROR_CORRUPT), words);
}

static void expect_not_said(struct fixture *f, const char *words)
{
    assert_int_equal(fixture_try_open(f), ERROR_CORRUPT);
    if (strstr(error_sentence(ERROR_CORRUPT), words))
        fail_msg("'%s' says '%s'", error_sentence(ERROR_CORRUPT), words);
}

static void damage_names_the_components_and_blocks_that_a_later_segment_tells_of(void **state)
{
    struct fixture *f = *state;
    component_make(f, 7);
    component_make(f, 9);
    sync_group(f);
    struct map_entry first = write_into_next_segment(f, COMPONENT, 1000);
    (void)write_into_next_segment(f, 7, 300);
    fixture_write(f, 9, 5, 5);
    sync_group(f);
    fixture_write(f, 9, 6, 6);
    sync_group(f);
    flip_header_of_append(f, first);
    expect_said(f, "component 2, blocks 10"); /* by the summary alone: all of it was in the damaged append */
    expect_said(f, "component 7, blocks 300 to 349");
    expect_said(f, "component 9, blocks 5 to ");
    expect_not_said(f, "perhaps more");
    expect_not_said(f, "component 3");
}

static void damage_in_the_last_segment_names_what_can_be_read_and_says_that_there_may_be_more(void **state)
{
    struct fixture *f = *state;
    component_make(f, 7);
    sync_group(f);
    struct map_entry lost = fixture_write(f, COMPONENT, 1, 1);
    sync_group(f);
    fixture_write(f, 7, 33, 2);
    sync_group(f);
    fixture_write(f, 7, 34, 3);
    sync_group(f);
    flip_header_of_append(f, lost);
    expect_said(f, "component 7, blocks 33 to 34; perhaps more");
    expect_not_said(f, "component 2");
}

static void a_lost_segment_header_hides_no_name(void **state)
{
    struct fixture *f = *state;
    component_make(f, 7);
    sync_group(f);
    struct map_entry first = write_into_next_segment(f, COMPONENT, 1000);
    (void)write_into_next_segment(f, 7, 300);
    sync_group(f);
    fixture_write(f, 7, 1, 6);
    sync_group(f);
    uint64_t offset = fixture_offset(f, entry_serial(first), 0);
    uint32_t device = fixture_device(f, entry_serial(first));
    fixture_crash(f);
    fixture_flip(f, device, offset + 40);
    expect_said(f, "component 7, blocks 300 to 349");
    fixture_flip(f, device, offset + 40);
    fixture_open(f);
    fixture_expect(f, 7, 1, 6);
}

static void a_segment_that_changed_everything_is_followed_by_one_that_opens(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = 1;
    for (uint64_t i = 0; i < 3000; i++) { /* several segments, more scattered than a summary has ranges */
        uint64_t seeds[4] = {4 * i + 1, 4 * i + 2, 4 * i + 3, 4 * i + 4};
        assert_int_equal(fixture_try_write(f, 2 + i % 300, fixture_below(&seed, UINT64_C(1) << 30), seeds, 4, NULL),
                         ERROR_NONE);
    }
    fixture_write(f, COMPONENT, 8, 8);
    sync_group(f);
    fixture_crash(f);
    fixture_open(f);
    fixture_expect(f, COMPONENT, 8, 8);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(damage_names_the_components_and_blocks_that_a_later_segment_tells_of),
        TEST(damage_in_the_last_segment_names_what_can_be_read_and_says_that_there_may_be_more),
        TEST(a_lost_segment_header_hides_no_name),
        TEST(a_segment_that_changed_everything_is_followed_by_one_that_opens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
