/*
 * What happens between two steps of a scrub is made to happen there: each test runs something in the middle of it, in
 * its own thread, where it holds nothing.
 */
#include <errno.h>

#include "tests/unit/failing_devices.h"
#include "tests/unit/scrub_fixture.h"

enum error __real_scrub_confirm(struct scrub *scrub, const struct scrub_job *job);
enum error __wrap_scrub_confirm(struct scrub *scrub, const struct scrub_job *job);
enum error __real_scrub_breathe(struct scrub *scrub, const struct scrub_job *job, uint64_t bytes, uint64_t since);
enum error __wrap_scrub_breathe(struct scrub *scrub, const struct scrub_job *job, uint64_t bytes, uint64_t since);

static void (*hook)(void);
static enum scrub_step hook_step;
static struct map_entry watched;
static uint64_t watched_component;

enum error __wrap_scrub_breathe(struct scrub *scrub, const struct scrub_job *job, uint64_t bytes, uint64_t since)
{
    void (*run)(void) = hook;
    if (run && job->step == hook_step) {
        hook = NULL;
        run();
    }
    return __real_scrub_breathe(scrub, job, bytes, since);
}

static _Atomic bool order_comes; /* when all steps are done, and the end of the pass is not told yet */

enum error __wrap_scrub_confirm(struct scrub *scrub, const struct scrub_job *job)
{
    enum error error = __real_scrub_confirm(scrub, job);
    if (!error && atomic_exchange(&order_comes, false)) {
        assert_fine(pool_scrub_cancel(pool));
        assert_fine(pool_scrub_start(pool, 0));
    }
    return error;
}

static void scrub_with(enum scrub_step step, void (*run)(void))
{
    hook_step = step;
    hook = run;
    scrub();
    assert_null(hook);
}

static void fill_with_noise(const char *name, unsigned mebibytes)
{
    static uint8_t noise[MIB];
    struct volume *volume;
    make(name, GIB);
    assert_fine(volume_open(pool, name, false, &volume));
    for (unsigned i = 0; i < mebibytes; i++) {
        noise_fill(noise, sizeof noise);
        struct request write = {.type = REQUEST_WRITE, .offset = i * MIB, .length = MIB, .data = noise};
        volume_execute(volume, &write, 1, fixture_answer, NULL);
        assert_fine(write.error);
    }
    volume_close(volume);
    publish();
}

static bool is_gone(struct map_entry entry)
{
    mutex_lock(&pool->group->lock);
    bool gone = segment_find(&pool->group->segments, entry_serial(entry)) == SEGMENT_NONE;
    mutex_unlock(&pool->group->lock);
    return gone;
}

static void all_is_freed_and_written_over(void)
{
    struct object_info info;
    assert_fine(object_find(pool, "big", &info));
    assert_fine(object_delete(pool, "big", true));
    await_gone(info.uuid);
    for (unsigned i = 0; i < 20 && !is_gone(watched); i++)
        publish();
    assert_true(is_gone(watched));
    fill_with_noise("new", 8);
}

/* The places were read, then the segments went: most of their slots are punched by now, others may be in use. */
static void segments_that_go_between_places_and_units_are_no_damage(void **context)
{
    (void)context;
    fill();
    fill_with_noise("big", 24);
    watched = entry_of("big", 1500);
    scrub_with(SCRUB_CHUNKS, all_is_freed_and_written_over);
    assert_no_damage();
    assert_true(is_gone(watched));
}

static void entry_is_planted(void)
{
    const uint64_t unborn = entry_cid(watched) + 200; /* nothing says where it went */
    mutex_lock(&pool->group->lock);
    recent_enter(pool->group->view->active, watched_component, 9,
                 entry_make(unborn, 999999, entry_offset(watched), entry_length(watched), 0, 1));
    mutex_unlock(&pool->group->lock);
}

static void a_block_whose_segment_is_gone_is_named(void **context)
{
    (void)context;
    fill();
    watched = entry_of("one", 1);
    watched_component = component_of("two");
    scrub_with(SCRUB_CHUNKS, entry_is_planted);
    damage_with("object two: 4096 bytes at 36864 are damaged (segment 999999 is gone)");
    assert_int_equal(info_count, 1);
    pool_crash();
}

static void block_is_overwritten(void)
{
    write_block("one", 3 * COFFER_BLOCK, 55);
}

/* Damage was found by its place; before the maps are walked one of two blocks is written anew. */
static void a_block_written_before_the_maps_are_walked_is_not_named(void **context)
{
    (void)context;
    fill();
    struct map_entry entry = entry_of("one", 3);
    struct spot spot = address_spot(entry_serial(entry), entry_offset(entry));
    flip(&spot);
    scrub_with(SCRUB_CHUNKS, block_is_overwritten);
    damage_with("object two: 4096 bytes at 12288 are damaged");
    assert_int_equal(info_count, 1);
    assert_block("one", 3 * COFFER_BLOCK, 55);
}

static struct spot bad_leaf;

static void leaf_is_overwritten(void)
{
    trim_blocks("two", 0, GIB / COFFER_BLOCK);
    publish();
}

/* The whole range of a lost leaf is entered; what was trimmed since leaves it again at the end. */
static void a_lost_range_that_is_trimmed_meanwhile_is_confirmed_as_good(void **context)
{
    (void)context;
    fill();
    struct tree tree = map_tree("two");
    bad_leaf = root_spot(&tree, false);
    flip(&bad_leaf);
    scrub_with(SCRUB_MAPS, leaf_is_overwritten);
    assert_true(info_count <= 1); /* the leaf's own bytes, while its segment lives */
    for (size_t i = 0; i < info_count; i++)
        assert_string_equal(infos[i].kind, "unit");
}

/* What the second pass finds is its own, and stays. */
static void one_that_is_begun_anew_at_its_very_end_keeps_what_it_finds(void **context)
{
    (void)context;
    fill();
    struct map_entry entry = entry_of("one", 3);
    struct spot spot = address_spot(entry_serial(entry), entry_offset(entry));
    flip(&spot);
    atomic_store(&order_comes, true);
    scrub();
    assert_false(atomic_load(&order_comes));
    damage_with("object one: 4096 bytes at 12288 are damaged");
    assert_int_equal(scrub_look().damages, info_count);
}

/* ---- a device that goes out of service -------------------------------------------------------------------------- */

static _Atomic uint64_t fatal; /* who reads there finds that a write has failed meanwhile; 0: nobody */

static inline void submit_failing(struct device_io **ios, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t at = atomic_load(&fatal);
        if (at && ios[i]->operation == DEVICE_READ && ios[i]->offset <= at && at - ios[i]->offset < ios[i]->size) {
            device_fence(ios[i], EIO);
            io_complete(ios[i], ERROR_FENCED, 0);
        } else {
            honest->submit(&ios[i], 1);
        }
    }
}

static void open_to_fail(void)
{
    struct pool_open_options options = {.memory = FIXTURE_MEMORY, .open_device = open_failing};
    assert_fine(pool_close(pool));
    assert_fine(pool_open(fixture_directory, &options, &pool));
}

static void damage_fatally(struct spot spot)
{
    flip(&spot);
    atomic_store(&fatal, spot.offset);
}

static void damage_a_page(void) { damage_fatally(page_spot(TABLE_COUNTS, 0)); }

static void damage_a_header(void) { damage_fatally(address_spot(entry_serial(entry_of("one", 0)), 0)); }

/* The scrub meets the fence in the midst of the slice behind `step`; in the next opening it goes on. */
static void scrub_over_a_fence(enum scrub_step step, void (*damage)(void))
{
    open_to_fail();
    hook_step = step;
    hook = damage;
    assert_fine(pool_scrub_start(pool, 0));
    while (!group_is_fenced(pool->group))
        clock_sleep(CLOCK_MILLISECOND);
    (void)!pool_close(pool);
    pool = NULL;
    atomic_store(&fatal, 0);
    assert_fine(pool_try_open());
    await_scrub(SCRUB_COMPLETE);
    damages_look();
    assert_int_equal(info_count, 1);
}

static void a_page_that_a_fence_kept_from_being_read_is_not_passed_over(void **context)
{
    (void)context;
    fill();
    scrub_over_a_fence(SCRUB_HEADERS, damage_a_page);
    damage_with("chunk table, counts, node 0 of level 0: it is damaged");
}

static void a_header_that_a_fence_kept_from_being_read_is_not_passed_over(void **context)
{
    (void)context;
    fill();
    scrub_over_a_fence(SCRUB_SUPERBLOCKS, damage_a_header);
    damage_with("the header of segment");
}

#define SPOILT(name) cmocka_unit_test_setup_teardown(name, pool_setup, scrub_teardown)
#define TEST(name)   cmocka_unit_test_setup_teardown(name, pool_setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(segments_that_go_between_places_and_units_are_no_damage),
        SPOILT(a_block_whose_segment_is_gone_is_named),
        SPOILT(a_block_written_before_the_maps_are_walked_is_not_named),
        SPOILT(one_that_is_begun_anew_at_its_very_end_keeps_what_it_finds),
        SPOILT(a_page_that_a_fence_kept_from_being_read_is_not_passed_over),
        SPOILT(a_header_that_a_fence_kept_from_being_read_is_not_passed_over),
        SPOILT(a_lost_range_that_is_trimmed_meanwhile_is_confirmed_as_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
