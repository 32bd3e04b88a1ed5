/*
 * The cleaner: segments of which little is alive come back, and what was alive in them is read as before, by whoever
 * still has its old name. What cannot be emptied whole stays as it is.
 */
#include <errno.h>

#include "base/clock.h"
#include "base/message.h"
#include "engine/device/kind.h"
#include "engine/group/follow.h"
#include "engine/group/merge.h"
#include "engine/group/moved.h"
#include "engine/group/verify.h"
#include "tests/unit/group_truth.h"

#define SMALL  (((uint64_t)48 << SEGMENT_SHIFT_MIN) + 2 * AREA_SIZE)
#define UNITS  4000u /* half of them are overwritten */

static struct fixture *begin(uint32_t devices)
{
    return fixture_begin(devices, SMALL, true);
}

static int setup(void **state)
{
    *state = begin(1);
    return 0;
}

static int setup_two(void **state)
{
    *state = begin(2);
    return 0;
}

static void unit_write(struct fixture *f, uint64_t unit, uint64_t seed)
{
    uint64_t seeds[UNIT_CHUNKS] = {seed, seed + 1, seed + 2, seed + 3};
    assert_int_equal(fixture_try_write(f, COMPONENT, unit * UNIT_CHUNKS, seeds, UNIT_CHUNKS, NULL), ERROR_NONE);
}

static uint64_t seed_of(uint64_t unit, bool again) { return 1 + unit * UNIT_CHUNKS + (again ? UINT64_C(1) << 32 : 0); }

static void write_all(struct fixture *f, uint64_t units)
{
    for (uint64_t unit = 0; unit < units; unit++)
        unit_write(f, unit, seed_of(unit, false));
    assert_int_equal(group_publish(f->group), ERROR_NONE);
}

/* Every segment is dead in part then. */
static void overwrite_odd(struct fixture *f, uint64_t units)
{
    for (uint64_t unit = 1; unit < units; unit += 2)
        unit_write(f, unit, seed_of(unit, true));
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    assert_int_equal(group_publish(f->group), ERROR_NONE);
}

static void expect_all(struct fixture *f, uint64_t units, uint64_t step)
{
    fixture_forget_cached(f);
    for (uint64_t unit = 0; unit < units; unit += step)
        for (unsigned i = 0; i < UNIT_CHUNKS; i++)
            fixture_expect(f, COMPONENT, unit * UNIT_CHUNKS + i, seed_of(unit, unit % 2) + i);
}

static uint64_t cleaned(struct fixture *f) { return atomic_load(&f->group->totals.segments_cleaned); }

static unsigned stuck(struct fixture *f)
{
    unsigned count = 0;
    mutex_lock(&f->group->lock);
    for (uint32_t i = 0; i < f->group->segments.count; i++)
        count += f->group->segments.table[i].stuck;
    mutex_unlock(&f->group->lock);
    return count;
}

/* Publishes until the cleaner has nothing to do. */
static void clean_on(struct fixture *f)
{
    for (uint64_t before = UINT64_MAX; before != cleaned(f);) {
        before = cleaned(f);
        assert_int_equal(group_publish(f->group), ERROR_NONE);
        assert_int_equal(group_publish(f->group), ERROR_NONE);
    }
}

/* A unit is written, else there is no merge. */
static void clean_once(struct fixture *f, uint64_t unit)
{
    atomic_store(&clean_always, true);
    unit_write(f, unit, seed_of(unit, false));
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    atomic_store(&clean_always, false);
}

/* Fresh units until space is short; returns one past the last. */
static uint64_t fill_until_cleaning(struct fixture *f, uint64_t unit)
{
    uint64_t before = cleaned(f);
    while (cleaned(f) == before) {
        for (unsigned i = 0; i < 64; i++, unit++)
            unit_write(f, unit, seed_of(unit, unit % 2));
        assert_int_equal(group_publish(f->group), ERROR_NONE);
    }
    return unit;
}

static void a_block_whose_segment_was_cleaned_reads_as_before(void **state)
{
    struct fixture *f = *state;
    write_all(f, UNITS);
    struct map_entry before[UNIT_CHUNKS];
    for (unsigned i = 0; i < UNIT_CHUNKS; i++)
        before[i] = fixture_entry(f, COMPONENT, i);
    overwrite_odd(f, UNITS);
    uint64_t end = fill_until_cleaning(f, UNITS);
    clean_on(f);
    assert_true(cleaned(f) > 0);
    expect_all(f, end, 1);
    struct map_entry now = entry_follow(f->group, before[0]);
    assert_int_equal(entry_cid(now), entry_cid(before[0]));
    assert_int_not_equal(entry_serial(now), entry_serial(before[0]));
    truth_expect(f, 1);
}

static void what_was_moved_survives_a_crash_and_a_restart(void **state)
{
    struct fixture *f = *state;
    write_all(f, UNITS);
    overwrite_odd(f, UNITS);
    uint64_t end = fill_until_cleaning(f, UNITS);
    assert_int_equal(group_sync(f->group), ERROR_NONE);
    fixture_crash(f);
    fixture_open(f);
    expect_all(f, end, 3);
    clean_on(f);
    truth_expect(f, 1);
    fixture_close(f);
    fixture_open(f);
    expect_all(f, end, 1);
    truth_expect(f, 1);
}

/* Moved chunks are counted where they are now, not where their map says that they were. */
static void a_moved_chunk_that_dies_leaves_the_segment_that_it_is_in(void **state)
{
    struct fixture *f = *state;
    write_all(f, UNITS);
    overwrite_odd(f, UNITS);
    uint64_t end = fill_until_cleaning(f, UNITS);
    clean_on(f);
    fixture_holes(f, COMPONENT, 0, UNITS * UNIT_CHUNKS / 2);
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    truth_expect(f, 1);
    fixture_holes(f, COMPONENT, 0, end * UNIT_CHUNKS);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(group_publish(f->group), ERROR_NONE);
    assert_int_equal(f->group->checkpoint.chunks_live, 0);
    truth_expect(f, 1);
    assert_true(f->group->segments.free_total + 10 > f->group->segments.count);
}

/* Of each unit one chunk is left. */
static void what_is_left_of_units_is_packed_anew(void **state)
{
    struct fixture *f = *state;
    write_all(f, UNITS);
    for (uint64_t unit = 0; unit < UNITS; unit++)
        fixture_holes(f, COMPONENT, unit * UNIT_CHUNKS + 1, unit * UNIT_CHUNKS + UNIT_CHUNKS);
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    uint64_t end = fill_until_cleaning(f, UNITS);
    clean_on(f);
    fixture_forget_cached(f);
    for (uint64_t unit = 0; unit < UNITS; unit++)
        fixture_expect(f, COMPONENT, unit * UNIT_CHUNKS, seed_of(unit, false));
    struct map_entry place = entry_follow(f->group, fixture_entry(f, COMPONENT, 0));
    assert_int_equal(entry_count(place), 1);
    assert_true(end > UNITS);
    truth_expect(f, 1);
}

/* Its number may be given to another chunk, and the unit be moved once more after that one: who looks for what moved by
 * what units say of themselves would take this for the other. */
static void a_dead_chunk_is_not_named_where_its_unit_went(void **state)
{
    struct fixture *f = *state;
    struct moved *moved;
    struct map_entry place;
    write_all(f, UNITS);
    struct map_entry alive = fixture_entry(f, COMPONENT, 0), dead = fixture_entry(f, COMPONENT, 1);
    uint64_t page = entry_cid(dead) / MAP_LEAF_ENTRIES;
    assert_int_equal(entry_cid(alive) / MAP_LEAF_ENTRIES, page);
    for (uint64_t unit = 0; unit < UNITS; unit++)
        fixture_holes(f, COMPONENT, unit * UNIT_CHUNKS + 1, unit * UNIT_CHUNKS + 2);
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    clean_once(f, UNITS);
    assert_int_equal(entry_count(entry_follow(f->group, alive)), UNIT_CHUNKS); /* as it was stored */
    assert_int_equal(moved_find(f->group, &page, 1, &moved), ERROR_NONE);
    assert_true(moved_place(moved, entry_cid(alive), &place));
    assert_false(moved_place(moved, entry_cid(dead), &place));
    moved_destroy(moved);
}

/* What the segments that cannot be emptied have besides what is alive: nobody gets it. */
static uint64_t kept_by_stuck(struct fixture *f)
{
    const struct segments *segments = &f->group->segments;
    uint64_t kept = 0;
    for (uint32_t i = 0; i < segments->count; i++)
        kept += segments->table[i].stuck ? segment_size(segments) - segments->table[i].live : 0;
    return kept;
}

static void expect_kept_is_used(struct fixture *f)
{
    struct group *group = f->group;
    mutex_lock(&group->lock);
    uint64_t journal = group->journal.bytes + (group->journal.open ? group->journal.open->items_end : 0);
    uint64_t wanted = group->segments.live_total + group->frozen_bytes + journal + kept_by_stuck(f), used = group_used(group);
    mutex_unlock(&group->lock);
    assert_int_equal(used, wanted);
}

/* A unit that is damaged keeps its segment; the others are cleaned, and only that unit is lost. */
static void a_segment_with_damage_stays_as_it_is(void **state)
{
    struct fixture *f = *state;
    write_all(f, UNITS);
    struct map_entry bad = fixture_entry(f, COMPONENT, 40 * UNIT_CHUNKS);
    overwrite_odd(f, UNITS);
    fixture_flip(f, fixture_device(f, entry_serial(bad)), fixture_offset(f, entry_serial(bad), entry_offset(bad)) + 100);
    uint64_t end = fill_until_cleaning(f, UNITS);
    clean_on(f);
    fixture_forget_cached(f);
    uint8_t bytes[BLOCK_SIZE];
    assert_int_equal(fixture_read(f, COMPONENT, 40 * UNIT_CHUNKS, bytes), ERROR_CORRUPT);
    assert_int_not_equal(segment_find(&f->group->segments, entry_serial(bad)), SEGMENT_NONE);
    for (uint64_t unit = 0; unit < end; unit += 7)
        if (unit != 40)
            fixture_expect(f, COMPONENT, unit * UNIT_CHUNKS, seed_of(unit, unit % 2));
    truth_expect(f, 1);
    assert_true(kept_by_stuck(f) > 0);
    expect_kept_is_used(f);
    overwrite_odd(f, UNITS); /* what is alive in it changes */
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    expect_kept_is_used(f);
}

/* Second copies go to the twin log: a pair never meets in one segment. */
static void pairs_of_nodes_stay_apart(void **state)
{
    struct fixture *f = *state;
    for (uint64_t round = 0; round < 6; round++) {
        for (uint64_t i = 0; i < 400; i++)
            fixture_write(f, COMPONENT, (i * 2 + round % 2) * MAP_LEAF_ENTRIES * NODE_FANOUT, 1 + i + round * 1000);
        assert_int_equal(group_publish(f->group), ERROR_NONE);
    }
    atomic_store(&clean_always, true);
    for (uint64_t i = 0; i < 4; i++) {
        fixture_write(f, COMPONENT, UINT64_C(1) << 32, i + 1); /* else there is no merge */
        assert_int_equal(group_publish(f->group), ERROR_NONE);
    }
    atomic_store(&clean_always, false);
    assert_true(cleaned(f) > 0);
    truth_expect(f, 1);
    fixture_forget_cached(f);
    for (uint64_t i = 0; i < 400; i++)
        fixture_expect(f, COMPONENT, (i * 2 + 1) * MAP_LEAF_ENTRIES * NODE_FANOUT, 1 + i + 5000);
}

struct alive {
    uint64_t serials[64];
    uint64_t bytes[64];
    size_t count;
};

static struct alive alive_look(struct fixture *f)
{
    struct segments *segments = &f->group->segments;
    struct alive alive = {.count = 0};
    assert_true(segments->count <= COUNT_OF(alive.serials));
    mutex_lock(&f->group->lock);
    for (uint32_t i = 0; i < segments->count; i++)
        if (segments->table[i].state == SLOT_SEALED) {
            alive.serials[alive.count] = segments->table[i].serial;
            alive.bytes[alive.count++] = segments->table[i].live + segments->table[i].pages;
        }
    mutex_unlock(&f->group->lock);
    return alive;
}

/* What was alive in those that are gone now. */
static uint64_t alive_gone(struct fixture *f, const struct alive *before)
{
    uint64_t bytes = 0;
    mutex_lock(&f->group->lock);
    for (size_t i = 0; i < before->count; i++)
        if (segment_is_left(&f->group->segments, before->serials[i]))
            bytes += before->bytes[i];
    mutex_unlock(&f->group->lock);
    return bytes;
}

/* The pace of commits is that at which space is gained: what a table's page takes elsewhere is none. */
static void pages_of_tables_that_are_moved_are_no_gain(void **state)
{
    struct fixture *f = *state;
    write_all(f, UNITS);
    fixture_holes(f, COMPONENT, 0, UNITS * UNIT_CHUNKS); /* what is left is the chunk table */
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(group_publish(f->group), ERROR_NONE);
    fixture_close(f);
    fixture_open(f);
    struct alive before = alive_look(f);
    uint64_t size = segment_size(&f->group->segments);
    clean_once(f, 0);
    uint64_t alive = alive_gone(f, &before), emptied = cleaned(f) * size;
    mutex_lock(&f->group->lock);
    uint64_t gained = f->group->pace.gained;
    mutex_unlock(&f->group->lock);
    assert_true(alive > size / 64 && gained > 0);
    assert_true(gained <= emptied - alive / 2); /* some pages that merge wrote anew by itself */
}

/* A reader that began before the merge that cleaned: what that merge found dead is still there for it, whatever came to
 * lie in its place in the chunk table. */
static void an_older_view_reads_what_the_cleaning_merge_found_dead(void **state)
{
    struct fixture *f = *state;
    write_all(f, UNITS);
    overwrite_odd(f, UNITS);
    uint64_t before = cleaned(f), block = 0;
    struct map_entry old;
    struct view *view = NULL;
    for (uint64_t unit = UNITS; cleaned(f) == before;) {
        if (view)
            view_put(f->group, view);
        for (unsigned i = 0; i < 64; i++, unit++)
            unit_write(f, unit, seed_of(unit, unit % 2));
        block += 2 * UNIT_CHUNKS;
        assert_true(block < UNITS * UNIT_CHUNKS);
        assert_int_equal(view_lookup(f->group, COMPONENT, &block, &old, 1, &view), ERROR_NONE);
        fixture_holes(f, COMPONENT, block, block + 1);
        /* Where a merge came by itself meanwhile, the next one waits for the view. */
        enum error error = group_publish_within(f->group, CLOCK_SECOND);
        assert_true(error == ERROR_NONE || error == ERROR_TIMED_OUT);
        if (error == ERROR_TIMED_OUT)
            before = cleaned(f);
    }
    fixture_forget_cached(f);
    uint8_t bytes[BLOCK_SIZE], expected[BLOCK_SIZE];
    struct chunk_read read = {.entry = old, .out = bytes};
    assert_int_equal(chunks_read(f->group, &read, 1), ERROR_NONE);
    fixture_chunk(seed_of(block / UNIT_CHUNKS, false), expected);
    assert_memory_equal(bytes, expected, BLOCK_SIZE);
    view_put(f->group, view);
}

static bool is_left(struct fixture *f, struct map_entry entry)
{
    mutex_lock(&f->group->lock);
    bool left = segment_is_left(&f->group->segments, entry_serial(entry));
    mutex_unlock(&f->group->lock);
    return left;
}

/* A view from before the merge that cleaned the segment of a unit of which only the first chunk was left. */
static struct view *view_of_a_split_unit(struct fixture *f, uint64_t *unit, struct map_entry *old)
{
    uint64_t blocks[UNIT_CHUNKS];
    struct view *view;
    for (*unit = 0; *unit < UNITS; *unit += 2) {
        for (unsigned i = 0; i < UNIT_CHUNKS; i++)
            blocks[i] = *unit * UNIT_CHUNKS + i;
        assert_int_equal(view_lookup(f->group, COMPONENT, blocks, old, UNIT_CHUNKS, &view), ERROR_NONE);
        if (!is_left(f, old[0])) {
            fixture_holes(f, COMPONENT, blocks[1], blocks[0] + UNIT_CHUNKS);
            enum error error = group_publish_within(f->group, CLOCK_SECOND);
            assert_true(error == ERROR_NONE || error == ERROR_TIMED_OUT);
            if (is_left(f, old[0]) && entry_count(entry_follow(f->group, old[0])) == 1) /* not by a merge before */
                return view;
        }
        view_put(f->group, view);
    }
    fail_msg("no such segment was cleaned");
    return NULL;
}

/* What is alive of a unit was packed anew elsewhere, without what an older view still sees in it. */
static void an_older_view_reads_all_of_a_unit_that_was_packed_anew(void **state)
{
    struct fixture *f = *state;
    struct map_entry old[UNIT_CHUNKS];
    struct chunk_read reads[UNIT_CHUNKS];
    struct chunk_verify verifies[UNIT_CHUNKS];
    uint8_t bytes[UNIT_CHUNKS][BLOCK_SIZE], expected[BLOCK_SIZE];
    uint64_t unit;
    write_all(f, UNITS);
    overwrite_odd(f, UNITS);
    atomic_store(&clean_always, true);
    struct view *view = view_of_a_split_unit(f, &unit, old);
    atomic_store(&clean_always, false);
    for (unsigned i = 0; i < UNIT_CHUNKS; i++) {
        reads[i] = (struct chunk_read){.entry = old[i], .out = bytes[i]};
        verifies[i] = (struct chunk_verify){.entry = old[i]};
    }
    fixture_forget_cached(f);
    (void)chunks_read(f->group, reads, UNIT_CHUNKS);
    chunks_verify(f->group, ITEM_UNIT, verifies, UNIT_CHUNKS);
    for (unsigned i = 0; i < UNIT_CHUNKS; i++) {
        fixture_chunk(seed_of(unit, false) + i, expected);
        assert_int_equal(reads[i].error, ERROR_NONE);
        assert_memory_equal(bytes[i], expected, BLOCK_SIZE);
        assert_int_equal(verifies[i].error, ERROR_NONE);
    }
    view_put(f->group, view);
}

/* ---- while segments are read ------------------------------------------------------------------------------------------ */

/* A device that tells of each segment that the cleaner's reader begins to read, which reads nothing else in so large pieces,
 * and of each write to what is moved to. */
static struct {
    struct device_operations operations;
    const struct device_operations *real;
    struct fixture *fixture;
    void (*seen)(struct fixture *fixture, unsigned count);
    void (*moved)(struct fixture *fixture, unsigned count);
    _Atomic uint32_t first; /* segment, of those that are read */
    _Atomic unsigned count, moves;
    _Atomic uint64_t cleaned; /* segments, at the last publish */
} watch;

static uint32_t watched_segment(const struct device_io *io)
{
    return (uint32_t)((io->offset - AREA_SIZE) / segment_size(&watch.fixture->group->segments));
}

static bool is_moved(const struct device_io *io)
{
    struct group *group = watch.fixture->group;
    if (io->operation != DEVICE_WRITE || io->offset < AREA_SIZE || watched_segment(io) >= group->segments.count)
        return false;
    mutex_lock(&group->lock);
    bool cold = group->segments.table[watched_segment(io)].kind == SEGMENT_COLD;
    mutex_unlock(&group->lock);
    return cold;
}

static void watched_submit(struct device_io **ios, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (ios[i]->operation == DEVICE_READ && ios[i]->size > UINT64_C(3) << 20) {
            unsigned number = atomic_fetch_add(&watch.count, 1) + 1;
            if (number == 1)
                atomic_store(&watch.first, watched_segment(ios[i]));
            if (watch.seen)
                watch.seen(watch.fixture, number);
        }
        if (watch.moved && is_moved(ios[i]))
            watch.moved(watch.fixture, atomic_fetch_add(&watch.moves, 1) + 1);
        watch.real->submit(&ios[i], 1);
    }
}

static void cleaned_note(void *context, uint64_t checkpoint, uint64_t sequence)
{
    struct fixture *f = context;
    (void)checkpoint, (void)sequence;
    atomic_store(&watch.cleaned, cleaned(f));
}

static void watch_cleaning(struct fixture *f, void (*seen)(struct fixture *fixture, unsigned count),
                           void (*moved)(struct fixture *fixture, unsigned count))
{
    struct device *device = f->group->devices[0];
    watch.real = device->operations;
    watch.operations = *device->operations;
    watch.operations.submit = watched_submit;
    watch.operations.run = NULL;
    watch.fixture = f;
    watch.seen = seen;
    watch.moved = moved;
    atomic_store(&watch.count, 0);
    atomic_store(&watch.moves, 0);
    f->group->config.published = cleaned_note;
    f->group->config.context = f;
    device->operations = &watch.operations;
}

/* As a page does that is lost while it is moved: its space stays counted. What is written first is the header of the segment
 * that the first unit is moved to. */
static void first_is_pinned(struct fixture *f, unsigned count)
{
    mutex_lock(&f->group->lock);
    if (count == 1)
        (void)!segment_live_add(&f->group->segments, watch.first, GRAIN_SIZE);
    mutex_unlock(&f->group->lock);
}

static void a_segment_that_keeps_something_is_not_published_as_emptied(void **state)
{
    struct fixture *f = *state;
    write_all(f, UNITS);
    overwrite_odd(f, UNITS);
    watch_cleaning(f, NULL, first_is_pinned);
    clean_once(f, 0);
    assert_true(atomic_load(&watch.count) >= 2);
    assert_true(atomic_load(&watch.moves) >= 2);
    assert_int_equal(cleaned(f), 0);
    assert_int_equal(stuck(f), 1);
    expect_all(f, UNITS, 3);
    truth_expect(f, 1);
    clean_once(f, 0); /* the others */
    assert_true(cleaned(f) > 0);
    expect_all(f, UNITS, 3);
    fixture_holes(f, COMPONENT, 0, UNITS * UNIT_CHUNKS);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(group_publish(f->group), ERROR_NONE);
    truth_expect(f, 1);
    expect_kept_is_used(f);
}

/* A batch of references is quickly entered, and needs much of the table. */
static void table_fills(struct fixture *f, unsigned count)
{
    struct map_entry entry = fixture_entry(f, COMPONENT, 0);
    for (uint64_t i = 0; count == 1; i++) {
        mutex_lock(&f->group->lock);
        bool half = recent_room(f->group->view->active) < recent_capacity(f->group->view->active) / 2;
        mutex_unlock(&f->group->lock);
        if (half)
            return;
        fixture_refer(f, COMPONENT, UINT64_C(1) << 30 | i, entry);
    }
}

static void cleaning_ends_early_where_the_table_fills(void **state)
{
    struct fixture *f = *state;
    write_all(f, UNITS);
    overwrite_odd(f, UNITS);
    watch_cleaning(f, table_fills, NULL);
    clean_once(f, 0);
    assert_int_equal(cleaned(f), 1);
    truth_expect(f, 1);
}

static void group_stops(struct fixture *f, unsigned count)
{
    while (count == 1 && !atomic_load(&f->group->closing))
        clock_sleep(CLOCK_MILLISECOND);
}

static void cleaning_ends_where_the_group_is_closed(void **state)
{
    struct fixture *f = *state;
    write_all(f, UNITS);
    overwrite_odd(f, UNITS);
    watch_cleaning(f, group_stops, NULL);
    atomic_store(&clean_always, true);
    unit_write(f, 0, seed_of(0, false));
    assert_int_equal(group_publish_within(f->group, 100 * CLOCK_MILLISECOND), ERROR_TIMED_OUT);
    fixture_close(f);
    atomic_store(&clean_always, false);
    assert_true(atomic_load(&watch.count) > 1);
    assert_int_equal(atomic_load(&watch.cleaned), 1);
    fixture_open(f);
    truth_expect(f, 1);
}

/* ---- a power failure -------------------------------------------------------------------------------------------------- */

static struct {
    struct device_operations operations;
    const struct device_operations *real;
} torn;

/* Of what is written from now on a block each is kept, and no flush comes to an end. */
static void torn_submit(struct device_io **ios, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (ios[i]->operation == DEVICE_FLUSH) {
            io_complete(ios[i], ERROR_IO, EIO);
            continue;
        }
        if (ios[i]->operation == DEVICE_WRITE)
            ios[i]->size = MIN(ios[i]->size, BLOCK_SIZE);
        torn.real->submit(&ios[i], 1);
    }
}

static void power_fails(struct fixture *f)
{
    struct device *device = f->group->devices[0];
    torn.real = device->operations;
    torn.operations = *device->operations;
    torn.operations.submit = torn_submit;
    torn.operations.run = NULL;
    device->operations = &torn.operations;
}

/* The header of the last append is there, and says that there is more than was kept. */
static void a_segment_with_a_torn_end_is_cleaned(void **state)
{
    struct fixture *f = *state;
    write_all(f, UNITS / 2);
    uint64_t serials[] = {f->group->segments.table[f->group->meta.segment].serial,
                          f->group->segments.table[f->group->twin.segment].serial};
    overwrite_odd(f, UNITS / 4);
    for (uint64_t unit = UNITS / 2; unit < UNITS; unit++)
        unit_write(f, unit, seed_of(unit, false));
    assert_int_equal(group_sync(f->group), ERROR_NONE);
    power_fails(f);
    assert_int_equal(group_publish(f->group), ERROR_FENCED);
    fixture_crash(f);
    fixture_open(f);
    atomic_store(&clean_always, true);
    for (unsigned i = 0; i < 20; i++) {
        unit_write(f, 0, seed_of(0, false));
        assert_int_equal(group_publish(f->group), ERROR_NONE);
    }
    atomic_store(&clean_always, false);
    assert_int_equal(stuck(f), 0);
    for (size_t i = 0; i < COUNT_OF(serials); i++)
        assert_int_equal(segment_find(&f->group->segments, serials[i]), SEGMENT_NONE);
    truth_expect(f, 1);
}

#define TEST(name, setup) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
    message_level_set((enum message_level)0);
    const struct CMUnitTest tests[] = {
        TEST(a_segment_with_damage_stays_as_it_is, setup),
        TEST(a_segment_with_a_torn_end_is_cleaned, setup),
        TEST(a_segment_that_keeps_something_is_not_published_as_emptied, setup),
        TEST(cleaning_ends_early_where_the_table_fills, setup),
        TEST(cleaning_ends_where_the_group_is_closed, setup),
        TEST(a_block_whose_segment_was_cleaned_reads_as_before, setup),
        TEST(what_was_moved_survives_a_crash_and_a_restart, setup),
        TEST(what_was_moved_survives_a_crash_and_a_restart, setup_two),
        TEST(a_moved_chunk_that_dies_leaves_the_segment_that_it_is_in, setup),
        TEST(what_is_left_of_units_is_packed_anew, setup),
        TEST(a_dead_chunk_is_not_named_where_its_unit_went, setup),
        TEST(pairs_of_nodes_stay_apart, setup_two),
        TEST(pages_of_tables_that_are_moved_are_no_gain, setup),
        TEST(an_older_view_reads_what_the_cleaning_merge_found_dead, setup),
        TEST(an_older_view_reads_all_of_a_unit_that_was_packed_anew, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
