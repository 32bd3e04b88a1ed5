/* What a segment is read by in windows: an append that lies across two is read a second time, and may then be anything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/memory.h"
#include "engine/group/append.h"
#include "engine/group/log.h"
#include "engine/group/segment_walk.h"

#define SERIAL         UINT64_C(6)
#define SEGMENT_BLOCKS 2048u
#define FIRST          1u /* an append of one block, */
#define SECOND         2u /* and one across the first window, */
#define SECOND_BLOCKS  6u
#define THIRD          (SECOND + SECOND_BLOCKS) /* and one more */
#define WINDOW         4u

static const struct segment_keys keys = {.id = 1, .tag = {1}};
static uint8_t segment[64 * BLOCK_SIZE] __attribute__((aligned(16)));
static uint8_t window[16 * BLOCK_SIZE] __attribute__((aligned(16)));
static unsigned reads, items;
static size_t wrong_at; /* of the second append, the second time; 0: it is right */

static void append_put(uint32_t block, uint32_t blocks)
{
    struct append_format *append = (struct append_format *)(segment + (size_t)block * BLOCK_SIZE);
    struct item_format *item = (struct item_format *)(append + 1);
    const uint32_t stored = 100, size = ROUND_UP(sizeof *item + sizeof(le40) + stored, GRAIN_SIZE);
    uint8_t nonce[TAG_NONCE_SIZE];
    memset(append, 0, (size_t)blocks * BLOCK_SIZE);
    append->serial = le40_make(SERIAL);
    append->offset = le32_make(block);
    append->blocks = le32_make(blocks);
    append->kind = SEGMENT_JOURNAL;
    append->items_size = le32_make(size);
    append->records_offset = le32_make((uint32_t)sizeof *append + size);
    item->serial = le40_make(SERIAL);
    item->offset = le32_make(block * BLOCK_GRAINS + (uint32_t)sizeof *append / GRAIN_SIZE);
    item->kind = ITEM_UNIT;
    item->count = 1;
    item->stored_size = le32_make(stored);
    struct bulk_part part = {(uint8_t *)append + TAG_SIZE, sizeof *append - TAG_SIZE};
    log_nonce((uint64_t)block * BLOCK_GRAINS, ITEM_APPEND, nonce);
    assert_int_equal(bulk_tag(&keys, nonce, &part, 1, append->tag), ERROR_NONE);
}

/* A short one first, then a long one. */
static enum error read_window(void *context, uint32_t block, const uint8_t **bytes, uint32_t *blocks)
{
    (void)context;
    *blocks = ++reads == 1 ? WINDOW : (uint32_t)(sizeof window / BLOCK_SIZE);
    memcpy(window, segment + (size_t)block * BLOCK_SIZE, (size_t)*blocks * BLOCK_SIZE);
    if (block == SECOND && wrong_at)
        window[wrong_at] = 0x40;
    *bytes = window;
    return ERROR_NONE;
}

static enum error item_count(void *context, const struct item_read *read)
{
    (void)context, (void)read;
    items++;
    return ERROR_NONE;
}

static enum error walk(size_t wrong)
{
    struct segment_walk walk = {SEGMENT_JOURNAL, SERIAL, SEGMENT_BLOCKS, &keys, read_window, item_count, NULL};
    reads = items = 0;
    wrong_at = wrong;
    return segment_walk_items(&walk);
}

static void an_append_across_two_windows_is_read_once_more(void **state)
{
    (void)state;
    assert_int_equal(walk(0), ERROR_NONE);
    assert_int_equal(items, 3);
    assert_int_equal(reads, 2);
}

/* It ends the walk, as what does not follow does. */
static void lengths_that_are_others_the_second_time_are_bounded_again(void **state)
{
    (void)state;
    const size_t highest_bytes[] = {offsetof(struct append_format, records_offset) + 3,
                                    offsetof(struct append_format, records_size) + 3,
                                    offsetof(struct append_format, items_size) + 3,
                                    offsetof(struct append_format, blocks) + 3};
    for (unsigned i = 0; i < COUNT_OF(highest_bytes); i++) {
        assert_int_equal(walk(highest_bytes[i]), ERROR_NONE);
        assert_int_equal(items, 1);
    }
}

/* It is possible in a segment, and no window holds it. */
static void an_append_that_no_window_holds_is_damage(void **state)
{
    (void)state;
    assert_int_equal(walk(offsetof(struct append_format, blocks)), ERROR_CORRUPT);
    assert_int_equal(items, 1);
}

int main(void)
{
    append_put(FIRST, 1);
    append_put(SECOND, SECOND_BLOCKS);
    append_put(THIRD, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_append_across_two_windows_is_read_once_more),
        cmocka_unit_test(lengths_that_are_others_the_second_time_are_bounded_again),
        cmocka_unit_test(an_append_that_no_window_holds_is_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
