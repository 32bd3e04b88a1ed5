/*
 * Replay: what a flush covered is found again or its loss is told; what no flush covered may end the journal; and the
 * journal goes on after any number of crashes.
 */
#include "tests/unit/group_fixture.h"

#include "base/clock.h"
#include "engine/group/replay.h"

/* Writes the open buffer without a flush of the device. */
static void write_out(struct fixture *f)
{
    assert_int_equal(fixture_enter(f, false), ERROR_NONE);
    uint64_t ticket = log_close(&f->group->journal, false);
    fixture_leave(f);
    assert_int_equal(log_advance(&f->group->journal), ERROR_NONE);
    assert_int_equal(log_wait(&f->group->journal, ticket), ERROR_NONE);
}

static void flush(struct fixture *f)
{
    assert_int_equal(group_sync(f->group), ERROR_NONE);
}

struct spot {
    uint32_t device;
    uint64_t offset;
};

static struct spot spot_of(struct fixture *f, struct map_entry entry)
{
    return (struct spot){fixture_device(f, entry_serial(entry)),
                         fixture_offset(f, entry_serial(entry), entry_offset(entry))};
}

/* The header of the append that begins with this unit. */
static struct spot append_of(struct spot unit)
{
    return (struct spot){unit.device, unit.offset / BLOCK_SIZE * BLOCK_SIZE};
}

static void flip(struct fixture *f, struct spot spot)
{
    fixture_flip(f, spot.device, spot.offset + 40);
}

static void expect_refused(struct fixture *f, enum error expected, const char *words)
{
    assert_int_equal(fixture_try_open(f), expected);
    if (!strstr(error_sentence(expected), words))
        fail_msg("'%s' does not say '%s'", error_sentence(expected), words);
}

static void a_damaged_header_before_the_last_flush_is_not_cut_off(void **state)
{
    struct fixture *f = *state;
    struct spot first = spot_of(f, fixture_write(f, COMPONENT, 1, 1));
    flush(f);
    fixture_write(f, COMPONENT, 2, 2);
    flush(f);
    fixture_crash(f);
    flip(f, append_of(first));
    expect_refused(f, ERROR_CORRUPT, "damaged");
    expect_refused(f, ERROR_CORRUPT, "Nothing was changed");
    flip(f, append_of(first));
    fixture_open(f);
    fixture_expect(f, COMPONENT, 1, 1);
    fixture_expect(f, COMPONENT, 2, 2);
}

static void a_damaged_unit_before_the_last_flush_is_damage_of_that_unit(void **state)
{
    struct fixture *f = *state;
    uint8_t bytes[CHUNK_SIZE];
    struct spot first = spot_of(f, fixture_write(f, COMPONENT, 1, 1));
    flush(f);
    fixture_write(f, COMPONENT, 2, 2);
    flush(f);
    fixture_crash(f);
    fixture_flip(f, first.device, first.offset + 200);
    fixture_open(f);
    assert_int_equal(fixture_read(f, COMPONENT, 1, bytes), ERROR_CORRUPT);
    fixture_expect(f, COMPONENT, 2, 2);
    fixture_write(f, COMPONENT, 1, 3);
    fixture_expect(f, COMPONENT, 1, 3);
}

static void a_torn_tail_is_cut_off_and_never_comes_back(void **state)
{
    struct fixture *f = *state;
    fixture_write(f, COMPONENT, 1, 1);
    flush(f);
    struct spot torn = spot_of(f, fixture_write(f, COMPONENT, 1, 2));
    write_out(f);
    fixture_write(f, COMPONENT, 2, 3);
    write_out(f);
    fixture_crash(f);
    fixture_flip(f, torn.device, torn.offset + 200);
    fixture_open(f);
    fixture_expect(f, COMPONENT, 1, 1);
    fixture_expect(f, COMPONENT, 2, 0);
    fixture_write(f, COMPONENT, 5, 5);
    flush(f);
    fixture_crash(f);
    fixture_flip(f, torn.device, torn.offset + 200); /* whole again, and yet not part of the chain */
    fixture_open(f);
    fixture_expect(f, COMPONENT, 1, 1);
    fixture_expect(f, COMPONENT, 2, 0);
    fixture_expect(f, COMPONENT, 5, 5);
}

/* A window serves several segments, one after the other; the first one of a replay begins behind the header. */
static void a_torn_tail_is_cut_off_where_a_window_held_sound_appends_before(void **state)
{
    struct fixture *f = *state;
    struct map_entry entry = fixture_write(f, COMPONENT, 0, 1);
    uint64_t blocks = 1;
    for (unsigned segments = 1; segments < 5; blocks++) { /* up to the first unit of the fifth, whose window the second had */
        uint64_t serial = entry_serial(entry);
        entry = fixture_write(f, COMPONENT, blocks, blocks + 1);
        segments += entry_serial(entry) != serial;
    }
    struct spot torn = spot_of(f, entry);
    write_out(f);
    fixture_crash(f);
    fixture_flip(f, torn.device, torn.offset + 200);
    fixture_open(f);
    fixture_expect(f, COMPONENT, blocks - 2, blocks - 1);
    fixture_expect(f, COMPONENT, blocks - 1, 0);
}

static void a_damaged_header_of_a_segment_does_not_hide_the_ones_behind_it(void **state)
{
    struct fixture *f = *state;
    struct spot headers[3] = {0};
    uint64_t serial = 0;
    for (uint64_t i = 0, n = 0; n < COUNT_OF(headers); i++) {
        struct map_entry entry = fixture_write(f, COMPONENT, i % 500, i + 1);
        if (entry_serial(entry) != serial)
            headers[n++] =
                (struct spot){fixture_device(f, entry_serial(entry)), fixture_offset(f, entry_serial(entry), 0)};
        serial = entry_serial(entry);
    }
    flush(f);
    fixture_write(f, COMPONENT, 501, 1);
    flush(f);
    fixture_crash(f);
    flip(f, headers[1]);
    expect_refused(f, ERROR_CORRUPT, "damaged");
    flip(f, headers[1]);
    fixture_open(f);
    fixture_expect(f, COMPONENT, 501, 1);
}

static void cut_off(struct fixture *f)
{
    assert_int_equal(truncate(f->paths[0], (off_t)f->cut), 0);
}

static void a_device_that_cannot_be_read_is_not_the_end(void **state)
{
    struct fixture *f = *state;
    struct spot unit = spot_of(f, fixture_write(f, COMPONENT, 1, 1));
    flush(f);
    fixture_crash(f);
    f->cut = append_of(unit).offset;
    f->devices_opened = cut_off;
    assert_int_equal(fixture_try_open(f), ERROR_IO);
}

/* In MiB, as the open that is refused says it. */
static uint64_t memory_needed(struct fixture *f)
{
    expect_refused(f, ERROR_NO_MEMORY, "memory = ");
    expect_refused(f, ERROR_NO_MEMORY, "Nothing was changed");
    return strtoull(strstr(error_sentence(ERROR_NO_MEMORY), "memory = ") + strlen("memory = "), NULL, 10);
}

static void a_journal_that_does_not_fit_into_memory_says_how_much_it_needs(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    f->memory = UINT64_C(256) << 20;
    fixture_open(f);
    fixture_write(f, COMPONENT, 5000 * MAP_LEAF_ENTRIES, 9);
    for (uint64_t leaf = 0; leaf < 4500; leaf++)
        fixture_holes(f, COMPONENT, leaf * MAP_LEAF_ENTRIES, leaf * MAP_LEAF_ENTRIES + 255);
    fixture_write(f, COMPONENT, 7, 7);
    flush(f);
    fixture_crash(f);
    f->memory = UINT64_C(72) << 20;
    uint64_t needed = memory_needed(f);
    f->memory = (needed - 12) << 20; /* it says not much more than it needs */
    assert_true(memory_needed(f) <= needed + 1);
    f->memory = needed << 20; /* both tables are filled, the first is merged by the open */
    for (unsigned round = 0; round < 2; round++) {
        fixture_open(f);
        fixture_expect(f, COMPONENT, 7, 7);
        fixture_expect(f, COMPONENT, 5000 * MAP_LEAF_ENTRIES, 9);
        fixture_crash(f);
    }
    fixture_open(f);
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    fixture_expect(f, COMPONENT, 7, 7);
}

static void everything_flushed_is_there_after_a_crash(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 0; i < 3000; i++)
        fixture_write(f, COMPONENT, i % 2000, i + 1);
    fixture_holes(f, COMPONENT, 10, 700);
    flush(f);
    fixture_crash(f);
    fixture_open(f);
    for (uint64_t block = 0; block < 2000; block++)
        fixture_expect(f, COMPONENT, block, block >= 10 && block < 700 ? 0 : block + (block < 1000 ? 2001 : 1));
    assert_true(f->group->replay_bytes > 0);
}

static void a_component_made_before_a_crash_is_there(void **state)
{
    struct fixture *f = *state;
    fixture_component(f, 77, COMPONENT_LIVE);
    fixture_write(f, 77, 3, 33);
    flush(f);
    fixture_crash(f);
    fixture_open(f);
    fixture_expect(f, 77, 3, 33);
    assert_true(f->group->component_next > 77);
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    fixture_expect(f, 77, 3, 33);
}

static void replay_begins_behind_the_last_publish(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 0; i < 500; i++)
        fixture_write(f, COMPONENT, i, i + 1);
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    fixture_write(f, COMPONENT, 1, 1000);
    flush(f);
    fixture_crash(f);
    fixture_open(f);
    assert_int_equal(recent_points_count(f->group->view->active), 1);
    fixture_expect(f, COMPONENT, 1, 1000);
    fixture_expect(f, COMPONENT, 2, 3);
}

static void more_crashes_than_a_record_has_joints_are_survived(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 0; i < 2 * JOINTS_MAX + 3; i++) {
        fixture_write(f, COMPONENT, i, i + 1);
        flush(f);
        fixture_crash(f);
        fixture_open(f);
        for (uint64_t block = 0; block <= i; block++)
            fixture_expect(f, COMPONENT, block, block + 1);
    }
}

static void opens_without_a_write_between_them_lose_nothing(void **state)
{
    struct fixture *f = *state;
    fixture_write(f, COMPONENT, 9, 9);
    flush(f);
    for (unsigned i = 0; i < JOINTS_MAX + 4; i++) {
        fixture_crash(f);
        fixture_open(f);
    }
    fixture_expect(f, COMPONENT, 9, 9);
    fixture_write(f, COMPONENT, 10, 10);
    flush(f);
    fixture_crash(f);
    fixture_open(f);
    fixture_expect(f, COMPONENT, 9, 9);
    fixture_expect(f, COMPONENT, 10, 10);
}

static void no_cid_and_no_serial_that_replay_saw_is_given_again(void **state)
{
    struct fixture *f = *state;
    struct map_entry before = fixture_write(f, COMPONENT, 1, 1);
    uint64_t serial = f->group->segments.serial_next;
    flush(f);
    fixture_crash(f);
    fixture_open(f);
    struct map_entry after = fixture_write(f, COMPONENT, 2, 2);
    assert_true(entry_cid(after) > entry_cid(before));
    assert_true(entry_serial(after) >= serial);
}

/* The counter carries into the epoch; the epochs that follow are below what was given. */
static void more_commits_than_the_counter_has_in_one_opening_lose_nothing(void **state)
{
    struct fixture *f = *state;
    mutex_lock(&f->section.mutex);
    f->section.sequence += (UINT64_C(1) << SEQUENCE_EPOCH_SHIFT) - 3;
    mutex_unlock(&f->section.mutex);
    for (uint64_t i = 0; i < 10; i++) {
        fixture_write(f, COMPONENT, i, i + 1);
        flush(f); /* one sequence for each */
    }
    fixture_close(f);
    fixture_open(f);
    fixture_write(f, COMPONENT, 10, 11);
    flush(f);
    fixture_crash(f); /* before the first publish of this opening */
    fixture_open(f);
    for (uint64_t i = 0; i <= 10; i++)
        fixture_expect(f, COMPONENT, i, i + 1);
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    fixture_write(f, COMPONENT, 11, 12);
    flush(f);
    fixture_crash(f);
    fixture_open(f);
    for (uint64_t i = 0; i <= 11; i++)
        fixture_expect(f, COMPONENT, i, i + 1);
}

static void another_groups_segments_are_not_replayed(void **state)
{
    struct fixture *f = *state;
    fixture_write(f, COMPONENT, 1, 1);
    flush(f);
    fixture_crash(f);
    /* Without its K_log nothing on the device is this group's, not even the checkpoint record. */
    uint8_t *key = (uint8_t *)keyring_find(f->keyrings[0], KEY_KIND_LOG, 1);
    key[0] ^= 1;
    assert_int_equal(fixture_try_open(f), ERROR_CORRUPT);
    key[0] ^= 1;
    fixture_open(f);
    fixture_expect(f, COMPONENT, 1, 1);
}

#define TEST(name)     cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
#define TEST_TWO(name) cmocka_unit_test_setup_teardown(name, fixture_setup_two, fixture_teardown)

/* The limits of a table are asked for once for a whole commit by who writes, and must not be asked for more often here.
 */
static void a_commit_of_many_large_trims_is_replayed(void **state)
{
    struct fixture *f = *state;
    const uint64_t piece = UINT64_C(4096) * MAP_LEAF_ENTRIES;
    struct log_commit commit = {.section = &f->section};
    fixture_write(f, COMPONENT, 5, 50);
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    assert_int_equal(fixture_enter(f, true), ERROR_NONE);
    for (uint64_t i = 0; i < 130; i++) {
        uint8_t bytes[RECORD_SMALL_BYTES_MAX];
        struct byte_writer out = {bytes, bytes + sizeof bytes, false};
        struct log_item none;
        record_holes_encode(&out, COMPONENT, 2 * i * piece, piece);
        log_reserve(&f->group->journal, 0, (size_t)(out.next - bytes), &none);
        log_record(&f->group->journal, &commit, bytes, (size_t)(out.next - bytes));
        recent_enter_holes(f->group->view->active, COMPONENT, 2 * i * piece, (2 * i + 1) * piece);
    }
    assert_true(recent_drops_max(f->group->view->active) > 2 * RECENT_DROPS_MAX);
    fixture_leave(f);
    assert_int_equal(group_sync(f->group), ERROR_NONE);
    fixture_crash(f);
    fixture_open(f);
    fixture_expect(f, COMPONENT, 5, 0);
}

/* A file system below one device that has no space for what has none yet, while it is asked so often. */
static const struct device_operations *real_operations;
static struct device_operations full_operations;
static uint32_t full_device;
static _Atomic unsigned full_times;
static _Atomic unsigned full_skip; /* so many slots, asked for one by one, have space before that */
static _Atomic uint64_t full_before = UINT64_MAX; /* slots from this offset on have space */

static enum error allocate_nothing(struct device *device, uint64_t offset, uint64_t size)
{
    if (full_times == 0 || offset >= full_before)
        return real_operations->allocate(device, offset, size);
    if (full_skip > 0 && size == UINT64_C(1) << SEGMENT_SHIFT_MIN) {
        full_skip--;
        return real_operations->allocate(device, offset, size);
    }
    full_times--;
    return error_explain(ERROR_NO_SPACE, "%s: no space below", device->path);
}

static enum error open_full(struct fixture *f, uint32_t index, struct device **device)
{
    TRY(device_open_file(f->paths[index], 0, device));
    if (index != full_device)
        return ERROR_NONE;
    real_operations = (*device)->operations;
    full_operations = *real_operations;
    full_operations.allocate = allocate_nothing;
    (*device)->operations = &full_operations;
    return ERROR_NONE;
}

/* The joint names the place before there is anything: it must be one that can be written. */
static void the_journal_begins_where_the_joint_says_though_one_file_system_is_full(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 0; i < 16; i++)
        fixture_write(f, COMPONENT, i, i + 1);
    assert_int_equal(group_sync(f->group), ERROR_NONE);
    f->open_device = open_full;
    for (uint64_t i = 0; i < 16; i++) {
        full_device = i % 2;
        full_times = 1 + (unsigned)i / 2;
        fixture_crash(f);
        fixture_open(f);
        for (uint64_t block = 0; block < 16; block++)
            fixture_expect(f, COMPONENT, block, block < i ? 0 : block + 1);
        fixture_holes(f, COMPONENT, i, i + 1);
        assert_int_equal(group_sync(f->group), ERROR_NONE);
    }
}

/* Until full_times is 0, where `last` slots have space, and as many others as full_skip says. */
static void reopen_where_slots_have_space(struct fixture *f, uint32_t last)
{
    for (uint64_t i = 0; i < 16; i++)
        fixture_write(f, COMPONENT, i, i + 1);
    assert_int_equal(group_sync(f->group), ERROR_NONE);
    const struct segments *segments = &f->group->segments;
    full_before = AREA_SIZE + (uint64_t)(segments->count - last) * segment_size(segments);
    full_device = 0;
    full_times = UINT32_MAX;
    f->open_device = open_full;
    fixture_crash(f);
    fixture_open(f);
}

static void reopen_on_full_file_system(struct fixture *f)
{
    reopen_where_slots_have_space(f, 3); /* as many as views keep at least (view.c) */
}

/* Free slots that were written before still have their space, and few of them are enough; nobody could read otherwise.
 */
static void a_pool_on_a_full_file_system_opens_while_some_slots_have_space(void **state)
{
    struct fixture *f = *state;
    reopen_on_full_file_system(f);
    for (uint64_t block = 0; block < 16; block++)
        fixture_expect(f, COMPONENT, block, block + 1);
    full_times = 0;
}

/* Who finds that the first has some has not looked at the others. */
static void a_pool_on_a_full_file_system_opens_though_the_slots_with_space_are_apart(void **state)
{
    struct fixture *f = *state;
    full_skip = 1;
    reopen_where_slots_have_space(f, 3);
    assert_int_equal(full_skip, 0);
    mutex_lock(&f->group->lock);
    assert_int_not_equal(f->group->journal.prepared, SEGMENT_NONE);
    mutex_unlock(&f->group->lock);
    full_times = 0;
}

static void a_pool_whose_journal_has_one_segment_and_gets_no_other_can_be_read(void **state)
{
    struct fixture *f = *state;
    full_skip = 1;
    reopen_where_slots_have_space(f, 0);
    for (uint64_t block = 0; block < 16; block++)
        fixture_expect(f, COMPONENT, block, block + 1);
    assert_int_equal(fixture_try_holes(f, COMPONENT, 20, 21), ERROR_NO_SPACE);
    assert_int_equal(group_sync(f->group), ERROR_NONE);
    assert_false(group_is_fenced(f->group));
    full_times = 0;
    while (fixture_try_holes(f, COMPONENT, 20, 21) == ERROR_NO_SPACE) /* until the keeper has asked again */
        clock_sleep(CLOCK_MILLISECOND);
    fixture_write(f, COMPONENT, 20, 21);
    fixture_crash(f);
    fixture_open(f);
    fixture_expect(f, COMPONENT, 5, 6);
}

/* Half a merge cannot be taken back: where the space for it is not there, it comes with the file system's. */
static void a_merge_waits_while_the_file_system_below_is_full(void **state)
{
    struct fixture *f = *state;
    reopen_on_full_file_system(f);
    assert_int_equal(group_publish_within(f->group, 60 * CLOCK_SECOND), ERROR_TIMED_OUT);
    assert_false(group_is_fenced(f->group));
    fixture_expect(f, COMPONENT, 5, 6);
    full_times = 0;
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    fixture_expect(f, COMPONENT, 5, 6);
}

/* Only a publish brings more of them, and who publishes is who waits. */
static void a_merge_that_waits_for_the_file_system_below_uses_up_no_serials(void **state)
{
    struct fixture *f = *state;
    reopen_on_full_file_system(f);
    assert_int_equal(group_publish_within(f->group, CLOCK_SECOND), ERROR_TIMED_OUT);
    mutex_lock(&f->group->lock);
    f->group->segments.serial_lease = f->group->segments.serial_next + 20;
    mutex_unlock(&f->group->lock);
    for (unsigned asked = full_times; asked - full_times < 50;)
        clock_sleep(CLOCK_MILLISECOND);
    full_times = 0;
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    assert_false(group_is_fenced(f->group));
    fixture_expect(f, COMPONENT, 5, 6);
}

/* The linker puts this where others than the log itself call it. */
static _Atomic bool room_is_made;
enum error __real_log_prepare(struct log *log) CHECKED;
enum error __wrap_log_prepare(struct log *log) CHECKED;

enum error __wrap_log_prepare(struct log *log)
{
    enum error error = __real_log_prepare(log);
    if (error == ERROR_NO_SPACE && log->kind != SEGMENT_JOURNAL && atomic_exchange(&room_is_made, false)) {
        full_times = 0;
        mutex_lock(&log->group->lock);
        segments_set_roomy(&log->group->segments, 0);
        mutex_unlock(&log->group->lock);
    }
    return error;
}

/* By the keeper, which asks for itself. */
static void room_that_is_made_behind_a_merges_last_try_is_found(void **state)
{
    struct fixture *f = *state;
    reopen_on_full_file_system(f);
    room_is_made = true;
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    assert_false(room_is_made);
    fixture_expect(f, COMPONENT, 5, 6);
}

static void a_group_closes_while_its_merge_waits_for_the_file_system_below(void **state)
{
    struct fixture *f = *state;
    reopen_on_full_file_system(f);
    fixture_close(f);
    full_times = 0;
    fixture_open(f);
    fixture_expect(f, COMPONENT, 5, 6);
}

/* Nothing failed that could not be tried again: no device is to be checked, only space to be made. */
static void an_open_that_must_merge_says_that_the_file_system_below_is_full(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 0; i < 16; i++)
        fixture_write(f, COMPONENT, i, i + 1);
    assert_int_equal(group_sync(f->group), ERROR_NONE);
    const struct segments *segments = &f->group->segments;
    full_before = segment_offset(segments, segments->count - 2); /* the journal's, and one for nodes */
    full_device = 0;
    full_times = UINT32_MAX;
    f->open_device = open_full;
    fixture_crash(f);
    atomic_store(&replay_table_bytes, 1); /* both tables have something */
    enum error error = fixture_try_open(f);
    full_times = 0;
    if (error != ERROR_NONE)
        fixture_open(f);
    atomic_store(&replay_table_bytes, UINT64_MAX);
    assert_string_equal(error_name(error), "NO_SPACE");
    fixture_expect(f, COMPONENT, 5, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_damaged_header_before_the_last_flush_is_not_cut_off),
        TEST(a_damaged_unit_before_the_last_flush_is_damage_of_that_unit),
        TEST(a_damaged_header_of_a_segment_does_not_hide_the_ones_behind_it),
        TEST(a_torn_tail_is_cut_off_and_never_comes_back),
        TEST(a_torn_tail_is_cut_off_where_a_window_held_sound_appends_before),
        TEST(a_device_that_cannot_be_read_is_not_the_end),
        TEST(a_journal_that_does_not_fit_into_memory_says_how_much_it_needs),
        TEST(a_commit_of_many_large_trims_is_replayed),
        TEST(everything_flushed_is_there_after_a_crash),
        TEST_TWO(everything_flushed_is_there_after_a_crash),
        TEST(a_component_made_before_a_crash_is_there),
        TEST(replay_begins_behind_the_last_publish),
        TEST(more_crashes_than_a_record_has_joints_are_survived),
        TEST_TWO(more_crashes_than_a_record_has_joints_are_survived),
        TEST(opens_without_a_write_between_them_lose_nothing),
        TEST(no_cid_and_no_serial_that_replay_saw_is_given_again),
        TEST(more_commits_than_the_counter_has_in_one_opening_lose_nothing),
        TEST(another_groups_segments_are_not_replayed),
        TEST(a_pool_on_a_full_file_system_opens_while_some_slots_have_space),
        TEST(a_pool_on_a_full_file_system_opens_though_the_slots_with_space_are_apart),
        TEST(a_pool_whose_journal_has_one_segment_and_gets_no_other_can_be_read),
        TEST(a_merge_waits_while_the_file_system_below_is_full),
        TEST(a_merge_that_waits_for_the_file_system_below_uses_up_no_serials),
        TEST(room_that_is_made_behind_a_merges_last_try_is_found),
        TEST(a_group_closes_while_its_merge_waits_for_the_file_system_below),
        TEST(an_open_that_must_merge_says_that_the_file_system_below_is_full),
        TEST_TWO(the_journal_begins_where_the_joint_says_though_one_file_system_is_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
