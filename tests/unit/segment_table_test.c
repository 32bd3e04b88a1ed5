/* The segment table of a large group: an open finds what was stored in each of its pages. */
#include "tests/unit/pool_fixture.h"

#define LARGE           (90 * GIB) /* pages below two inner nodes, of which the first has more than are read together */
#define SEGMENT_EVERY   100        /* slots, of 128 in a page */
#define SEGMENT_LIVE(i) ((i) % 4000 * 16 + 16)

static int large_setup(void **context)
{
    fixture_size = LARGE;
    return pool_setup(context);
}

/* As if something had been written there long ago. */
static void segments_enter(struct segments *segments)
{
    for (uint32_t i = SEGMENT_EVERY; i < segments->count; i += SEGMENT_EVERY) {
        struct segment segment = {.serial = segments->serial_next++,
                                  .salt = segments->serial_next * 3,
                                  .live = SEGMENT_LIVE(i),
                                  .kind = SEGMENT_JOURNAL,
                                  .state = SLOT_SEALED,
                                  .settled = true};
        assert_int_equal(segment_adopt(segments, 0, i, &segment), ERROR_NONE);
        segment_dirty(segments, i);
    }
}

static void segments_of_all_pages_are_there_after_a_crash(void **context)
{
    uint32_t count;
    (void)context;
    mutex_lock(&pool->group->lock);
    struct segments *segments = &pool->group->segments;
    count = segments->count;
    assert_true(segments->pages_of_device > NODE_FANOUT);
    segments_enter(segments);
    uint64_t first = segments->table[SEGMENT_EVERY].serial, total = segments->live_total;
    mutex_unlock(&pool->group->lock);
    assert_fine(group_publish(pool->group));
    pool_crash();
    assert_fine(pool_try_open());
    mutex_lock(&pool->group->lock);
    segments = &pool->group->segments;
    assert_int_equal(segments->count, count);
    for (uint32_t i = SEGMENT_EVERY; i < count; i += SEGMENT_EVERY) {
        const struct segment *segment = &segments->table[i];
        assert_int_equal(segment->serial, first + i / SEGMENT_EVERY - 1);
        assert_int_equal(segment->live, SEGMENT_LIVE(i));
        assert_int_equal(segment->state, SLOT_SEALED);
        assert_int_equal(segment_find(segments, segment->serial), i);
    }
    assert_true(segments->live_total >= total);
    mutex_unlock(&pool->group->lock);
    pool_crash(); /* nothing stands in them: the checker would say so */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(segments_of_all_pages_are_there_after_a_crash, large_setup, pool_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
