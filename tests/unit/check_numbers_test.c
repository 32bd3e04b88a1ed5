/*
 * Numbers that are authentic and wrong: counts, references, places, fingerprints, live bytes, totals. They are
 * falsified in memory, and a publish makes them the pool's.
 */
#include "tests/unit/check_fixture.h"

/* Falsifies a leaf of a table and makes a merge that rewrites it. */
static uint8_t *falsify_begin(enum table table, uint64_t leaf, struct cache_block **block)
{
    fill();
    return leaf_bytes(table_tree(table), leaf, block);
}

static void falsify_end(struct cache_block **block)
{
    tree_put(pool->group, block, 1);
    write_block("two", 40 * COFFER_BLOCK, 150);
    publish();
    close_pool(true);
}

static void count_falsified(int by, const char *words)
{
    struct cache_block *block;
    fill();
    uint64_t cid = entry_cid(entry_of("one", 1));
    le32 *counts = (le32 *)leaf_bytes(table_tree(TABLE_COUNTS), cid / 1024, &block);
    uint32_t count = le32_get(counts[cid % 1024]);
    assert_int_equal(count, 2);
    counts[cid % 1024] = le32_make(count + (uint32_t)by);
    falsify_end(&block);
    check_finds(words);
    assert_found("one of them by object one");
    assert_int_equal(found_count, 1);
}

static void a_count_that_is_too_high_is_found(void **context)
{
    (void)context;
    count_falsified(+1, "has the count 3 and 2 references");
}

static void a_count_that_is_too_low_is_found(void **context)
{
    (void)context;
    count_falsified(-1, "has the count 1 and 2 references");
}

static void a_count_without_a_reference_is_found(void **context)
{
    (void)context;
    struct cache_block *block;
    le32 *counts = (le32 *)falsify_begin(TABLE_COUNTS, 0, &block);
    counts[1000] = le32_make(1);
    falsify_end(&block);
    check_finds("chunk 1000 has the count 1 and nothing refers to it");
}

static void a_false_fingerprint_is_found(void **context)
{
    (void)context;
    struct cache_block *block;
    fill();
    uint64_t cid = entry_cid(entry_of("one", 300));
    uint8_t *fingerprints = leaf_bytes(table_tree(TABLE_FINGERPRINTS), cid / 256, &block);
    fingerprints[cid % 256 * FINGERPRINT_SIZE] ^= 1;
    falsify_end(&block);
    check_finds("object one, blocks 300 to 300: the fingerprint does not fit the data");
    assert_int_equal(found_count, 1);
}

static void a_missing_fingerprint_is_found(void **context)
{
    (void)context;
    struct cache_block *block;
    fill();
    uint64_t cid = entry_cid(entry_of("one", 300));
    uint8_t *fingerprints = leaf_bytes(table_tree(TABLE_FINGERPRINTS), cid / 256, &block);
    memset(fingerprints + cid % 256 * FINGERPRINT_SIZE, 0, FINGERPRINT_SIZE);
    falsify_end(&block);
    check_finds("object one, blocks 300 to 300: the chunk has no fingerprint");
}

static void a_false_place_is_found(void **context)
{
    (void)context;
    struct cache_block *block;
    fill();
    struct map_entry one = entry_of("one", 300);
    uint64_t cid = entry_cid(one);
    struct map_entry_format *places =
        (struct map_entry_format *)leaf_bytes(table_tree(TABLE_PLACES), cid / 256, &block);
    struct map_entry moved = entry_make(cid, entry_serial(one), entry_offset(one) + 1, entry_length(one), 0, 1);
    entry_encode(moved, &places[cid % 256]);
    falsify_end(&block);
    check_finds("object one, blocks 300 to 300: map and chunk table name different places");
}

/* A block of an object comes to refer to what another block has, and nobody counts it. */
static void map_falsified(struct map_entry entry)
{
    struct cache_block *block;
    struct map_entry_format *entries = (struct map_entry_format *)leaf_bytes(map_tree("two"), 0, &block);
    entry_encode(entry, &entries[10]);
    falsify_end(&block);
}

static void a_reference_that_is_not_counted_is_found(void **context)
{
    (void)context;
    fill();
    map_falsified(entry_of("one", 5));
    check_finds("has the count 1 and 2 references");
    assert_found("object two: the component table counts");
    assert_found("checkpoint record: it counts");
}

static void a_reference_to_what_never_was_is_found(void **context)
{
    (void)context;
    fill();
    struct map_entry one = entry_of("one", 5);
    map_falsified(entry_make(900, entry_serial(one), entry_offset(one), entry_length(one), 0, 1));
    check_finds("object two, blocks 10 to 10:");
}

static void a_reference_into_a_segment_that_is_gone_is_found(void **context)
{
    (void)context;
    fill();
    struct map_entry one = entry_of("one", 5);
    map_falsified(entry_make(entry_cid(one) + 200, 60000, /* no chunk yet: nothing says where it went */
                             entry_offset(one), entry_length(one), 0, 1));
    check_finds("object two, blocks 10 to 10: the data is in a segment that is gone");
}

static void false_live_bytes_are_found(void **context)
{
    (void)context;
    fill();
    struct map_entry entry = entry_of("one", 0);
    mutex_lock(&pool->group->lock);
    uint32_t index = segment_find(&pool->group->segments, entry_serial(entry));
    assert_fine(segment_live_add(&pool->group->segments, index, 160));
    mutex_unlock(&pool->group->lock);
    write_block("two", 0, 150);
    publish();
    close_pool(true);
    check_finds("live bytes");
    assert_int_equal(found_count, 1);
}

static void false_totals_are_found(void **context)
{
    (void)context;
    fill();
    mutex_lock(&pool->group->lock);
    pool->group->checkpoint.chunks_live += 5;
    pool->group->checkpoint.blocks_mapped -= 1;
    mutex_unlock(&pool->group->lock);
    write_block("two", 0, 150);
    publish();
    close_pool(true);
    check_finds("living data chunks");
    assert_found("mapped blocks");
    assert_int_equal(found_count, 2);
}

static void false_statistics_of_a_component_are_found(void **context)
{
    (void)context;
    struct cache_block *block;
    uint8_t *page = falsify_begin(TABLE_COMPONENTS, 0, &block);
    struct component_format *format = (struct component_format *)page + component_of("one");
    format->stored = le64_make(le64_get(format->stored) + 16);
    falsify_end(&block);
    check_finds("object one: the component table counts");
    assert_int_equal(found_count, 1);
}

static void a_component_of_no_object_is_found(void **context)
{
    (void)context;
    struct cache_block *block;
    uint8_t *page = falsify_begin(TABLE_COMPONENTS, 0, &block);
    struct component_format *format = (struct component_format *)page + 20;
    memset(format->object, 7, sizeof format->object);
    format->state = COMPONENT_LIVE;
    format->birth = le64_make(pool->epoch << SEQUENCE_EPOCH_SHIFT);
    falsify_end(&block);
    check_finds("component 20 belongs to no object of the catalog");
    assert_int_equal(found_count, 1);
}

static void a_component_that_was_deleted_without_its_map_is_found(void **context)
{
    (void)context;
    struct cache_block *block;
    uint8_t *page = falsify_begin(TABLE_COMPONENTS, 0, &block);
    struct component_format *format = (struct component_format *)page + 20;
    memset(format->object, 7, sizeof format->object);
    format->state = COMPONENT_DELETED;
    format->birth = le64_make(pool->epoch << SEQUENCE_EPOCH_SHIFT);
    falsify_end(&block);
    check_finds("component table: component 20 was deleted, and its map never");
    assert_int_equal(found_count, 1);
}

/* ---- lineage and identity of components ------------------------------------------------------------------------ */

static void component_falsified(void (*change)(struct component_format *format))
{
    struct cache_block *block;
    uint8_t *page = falsify_begin(TABLE_COMPONENTS, 0, &block);
    change((struct component_format *)page + component_of("one"));
    falsify_end(&block);
}

static void birth_zero(struct component_format *format) { format->birth = le64_make(0); }
static void birth_to_come(struct component_format *format)
{
    format->birth = le64_make((pool->epoch + 1) << SEQUENCE_EPOCH_SHIFT);
}
static void base_later(struct component_format *format)
{
    format->base = le64_make(1);
    format->birth = le64_make(1);
}
static void family_some(struct component_format *format)
{
    format->family = 1;
    format->own = le64_make(1);
}
static void own_of_no_family(struct component_format *format) { format->own = le64_make(1); }
static void own_to_come(struct component_format *format)
{
    format->family = 1;
    format->own = le64_make(pool->group->checkpoint.serial_lease + 1);
}
static void object_other(struct component_format *format) { format->object[3] ^= 1; }
static void domain_other(struct component_format *format) { format->domain[3] ^= 1; }
static void root_never(struct component_format *format)
{
    memset(format->root.birth, 0, sizeof format->root.birth);
}
static void root_younger(struct component_format *format)
{
    format->root.birth[sizeof format->root.birth - 1] ^= 0x40;
}
static void root_older(struct component_format *format)
{
    struct node_pointer root = pointer_decode(&format->root);
    root.birth = 256;
    pointer_encode(&root, &format->root);
}

static void height_impossible(struct component_format *format) { format->height = 200; }

static void a_map_higher_than_any_is_damage_of_its_object_alone(void **context)
{
    (void)context;
    struct volume *volume;
    uint8_t block[COFFER_BLOCK];
    component_falsified(height_impossible);
    check_finds("component table: component 2 has impossible fields");
    assert_fine(pool_try_open());
    assert_fine(volume_open(pool, "one", true, &volume));
    assert_refused(block_io(volume, REQUEST_READ, 300 * COFFER_BLOCK, block), ERROR_CORRUPT, "impossible fields");
    volume_close(volume);
    assert_block("two", 3 * COFFER_BLOCK, 103);
    close_pool(true);
}

static void a_component_that_was_never_born_is_found(void **context)
{
    (void)context;
    component_falsified(birth_zero);
    check_finds("object one: its component cannot have been made at sequence 0");
    assert_int_equal(found_count, 1);
}

static void a_component_that_is_not_born_yet_is_found(void **context)
{
    (void)context;
    component_falsified(birth_to_come);
    check_finds("object one: its component cannot have been made at sequence");
    assert_found("object one, map of blocks"); /* which would be older than the component */
}

static void a_base_that_was_made_later_is_found(void **context)
{
    (void)context;
    component_falsified(base_later);
    check_finds("object one: its component was not made after component 1, on which it is based");
    assert_int_equal(found_count, 1);
}

static void a_family_of_which_the_record_knows_nothing_is_found(void **context)
{
    (void)context;
    component_falsified(family_some);
    check_finds("object one: its component shares its map, which no component does");
    assert_int_equal(found_count, 1);
}

static void figures_of_no_family_that_begin_anew_are_found(void **context)
{
    (void)context;
    component_falsified(own_of_no_family);
    check_finds("component table: component 2 has impossible fields");
}

static void figures_that_begin_in_segments_to_come_are_found(void **context)
{
    (void)context;
    component_falsified(own_to_come);
    check_finds("component table: component 2 has impossible fields");
}

static void a_component_of_another_object_is_found(void **context)
{
    (void)context;
    component_falsified(object_other);
    check_finds("object one: its component 2 is another object's");
    assert_int_equal(found_count, 1);
}

static void a_component_of_another_domain_is_found(void **context)
{
    (void)context;
    component_falsified(domain_other);
    check_finds("object one: its component 2 is of another dedup domain");
}

static void a_map_without_birth_is_found(void **context)
{
    (void)context;
    component_falsified(root_never);
    check_finds("cannot have changed last at sequence 0");
}

static void a_map_younger_than_the_checkpoint_is_found(void **context)
{
    (void)context;
    component_falsified(root_younger);
    check_finds("object one, map of blocks 0 to");
    assert_found("cannot have changed last at sequence");
    assert_int_equal(found_count, 1);
}

static void a_map_older_than_its_parent_or_component_is_found(void **context)
{
    (void)context;
    component_falsified(root_older);
    check_finds("(level 1) cannot have changed last at sequence 256");
    assert_found("(level 0) cannot have changed last at sequence"); /* its children are younger than it */
}

static uint64_t birth_of(uint64_t component, uint8_t *state)
{
    struct component_format format;
    publish();
    struct view *view = view_take(pool->group);
    assert_fine(view_component(pool->group, view, component, &format));
    view_put(pool->group, view);
    *state = format.state;
    assert_int_equal(le64_get(format.base), 0);
    return le64_get(format.birth);
}

static void a_component_is_born_in_its_commit_and_stays_so(void **context)
{
    (void)context;
    uint64_t births[2], component;
    uint8_t state;
    for (int crash = 0; crash < 2; crash++) {
        const char *name = crash ? "one" : "two";
        make(name, GIB);
        births[crash] = pool->section.sequence;
        write_block(name, 0, 100);
        pool_reopen(crash);
        assert_int_equal(birth_of(component_of(name), &state), births[crash]);
    }
    assert_true(births[1] > births[0]);
    component = component_of("one");
    struct component_change gone = {.id = component, .state = COMPONENT_DELETED};
    assert_fine(component_trim(pool, component, 0, 0, &gone));
    assert_fine(group_sync(pool->group));
    pool_reopen(true);
    assert_int_equal(birth_of(component, &state), births[1]);
    assert_int_equal(state, COMPONENT_DELETED);
    close_pool(false); /* the catalog still has it: the checker would say so */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pool_setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_count_that_is_too_high_is_found),
        TEST(a_count_that_is_too_low_is_found),
        TEST(a_count_without_a_reference_is_found),
        TEST(a_false_fingerprint_is_found),
        TEST(a_missing_fingerprint_is_found),
        TEST(a_false_place_is_found),
        TEST(a_reference_that_is_not_counted_is_found),
        TEST(a_reference_to_what_never_was_is_found),
        TEST(a_reference_into_a_segment_that_is_gone_is_found),
        TEST(false_live_bytes_are_found),
        TEST(false_totals_are_found),
        TEST(false_statistics_of_a_component_are_found),
        TEST(a_component_of_no_object_is_found),
        TEST(a_component_that_was_deleted_without_its_map_is_found),
        TEST(a_map_higher_than_any_is_damage_of_its_object_alone),
        TEST(a_component_that_was_never_born_is_found),
        TEST(a_component_that_is_not_born_yet_is_found),
        TEST(a_base_that_was_made_later_is_found),
        TEST(a_family_of_which_the_record_knows_nothing_is_found),
        TEST(figures_of_no_family_that_begin_anew_are_found),
        TEST(figures_that_begin_in_segments_to_come_are_found),
        TEST(a_component_of_another_object_is_found),
        TEST(a_component_of_another_domain_is_found),
        TEST(a_map_without_birth_is_found),
        TEST(a_map_younger_than_the_checkpoint_is_found),
        TEST(a_map_older_than_its_parent_or_component_is_found),
        TEST(a_component_is_born_in_its_commit_and_stays_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
