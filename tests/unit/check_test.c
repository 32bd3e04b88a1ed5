/*
 * The checker finds nothing in whole pools, however they were left, and names what was planted: bits flipped in the
 * device under the closed pool, and numbers falsified in the memory of an open one just before a publish writes them.
 */
#include <fcntl.h>
#include <unistd.h>

#include "engine/group/superblock_image.h"
#include "engine/pool/check.h"
#include "pool_fixture.h"

#define FOUND_BYTES (1u << 20)

static char found_text[FOUND_BYTES];
static unsigned found_count;
static uint64_t progress_done, progress_total;
static struct check_report report;

static void found(const char *sentence, void *context)
{
    (void)context;
    size_t used = strlen(found_text);
    snprintf(found_text + used, FOUND_BYTES - used, "%s\n", sentence);
    found_count++;
}

static void progress(uint64_t done, uint64_t total, void *context)
{
    (void)context;
    assert_true(done >= progress_done && done <= total);
    progress_done = done;
    progress_total = total;
}

static enum error check(void)
{
    struct pool_open_options options = {.memory = FIXTURE_MEMORY};
    found_text[0] = 0;
    found_count = 0;
    progress_done = 0;
    error_forget();
    return pool_check(fixture_directory, &options, found, progress, NULL, &report);
}

static void close_pool(bool crash)
{
    if (crash)
        pool_crash();
    else
        assert_fine(pool_close(pool));
    pool = NULL;
}

static void assert_clean(void)
{
    assert_fine(check());
    if (found_count || report.errors)
        fail_msg("%s", found_text);
    assert_int_equal(progress_done, progress_total);
}

static void assert_found(const char *words)
{
    if (strstr(found_text, words) == NULL)
        fail_msg("\"%s\" is not in:\n%s", words, found_text);
    assert_int_equal(report.errors, found_count);
}

static void check_finds(const char *words)
{
    assert_fine(check());
    assert_found(words);
}

/* ---- planting -----------------------------------------------------------------------------------------------------
 */

struct spot {
    char path[128];
    uint64_t offset;
};

static void flip(const struct spot *spot)
{
    uint8_t byte;
    int descriptor = open(spot->path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(descriptor, &byte, 1, (off_t)spot->offset), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(descriptor, &byte, 1, (off_t)spot->offset), 1);
    close(descriptor);
}

static struct spot device_spot(uint64_t offset)
{
    struct spot spot = {.offset = offset};
    snprintf(spot.path, sizeof spot.path, "%s", pool->group->devices[0]->path);
    return spot;
}

/* A byte in the stored bytes of what stands at an address. */
static struct spot address_spot(uint64_t serial, uint32_t offset)
{
    struct segments *segments = &pool->group->segments;
    mutex_lock(&pool->group->lock);
    uint32_t index = segment_find(segments, serial);
    assert_int_not_equal(index, SEGMENT_NONE);
    uint64_t at = segment_offset(segments, index) + (uint64_t)offset * GRAIN_SIZE + 48;
    mutex_unlock(&pool->group->lock);
    return device_spot(at);
}

static struct map_entry entry_of(const char *name, uint64_t block)
{
    struct map_entry entry;
    struct view *view;
    assert_fine(view_lookup(pool->group, component_of(name), &block, &entry, 1, &view));
    view_put(pool->group, view);
    return entry;
}

static struct view *view_take(void)
{
    mutex_lock(&pool->group->lock);
    struct view *view = view_get(pool->group);
    mutex_unlock(&pool->group->lock);
    return view;
}

static struct tree table_tree(enum table table)
{
    struct view *view = view_take();
    struct tree tree = tree_of_table(table, view_root(view, table));
    view_put(pool->group, view);
    return tree;
}

static struct tree map_tree(const char *name)
{
    struct component_format format;
    struct view *view = view_take();
    uint64_t component = component_of(name);
    assert_fine(view_component(pool->group, view, component, &format));
    view_put(pool->group, view);
    return (struct tree){ITEM_NODE, component, {pointer_decode(&format.root), format.height}};
}

static struct spot root_spot(const struct tree *tree, bool second)
{
    const struct node_pointer *root = &tree->root.pointer;
    return second ? address_spot(root->second_serial, root->second_offset)
                  : address_spot(entry_serial(root->first), entry_offset(root->first));
}

/* The cached bytes of a leaf, from which the next merge makes the new ones. */
static uint8_t *leaf_bytes(struct tree tree, uint64_t number, struct cache_block **block)
{
    assert_fine(tree_leaves(pool->group, &tree, &number, block, 1));
    assert_non_null(*block);
    return (uint8_t *)cache_bytes(*block);
}

static void publish(void)
{
    assert_fine(group_publish(pool->group));
}

/* Two objects with data of every kind: units, duplicates, holes, more than one leaf. */
static void fill(void)
{
    make("one", GIB);
    make("two", GIB);
    for (unsigned i = 0; i < 8; i++)
        write_block("one", i * COFFER_BLOCK, 100 + i);
    write_block("one", 300 * COFFER_BLOCK, 200);
    for (unsigned i = 0; i < 4; i++)
        write_block("two", i * COFFER_BLOCK, 100 + i);
    publish();
}

/* ---- refused ------------------------------------------------------------------------------------------------------
 */

static void a_pool_that_is_not_there_is_refused(void **context)
{
    (void)context;
    struct pool_open_options options = {0};
    char none[200];
    snprintf(none, sizeof none, "%s/none", fixture_root);
    assert_int_equal(pool_check(none, &options, found, NULL, NULL, &report), ERROR_NOT_FOUND);
}

static void a_pool_in_use_is_refused(void **context)
{
    (void)context;
    assert_int_equal(check(), ERROR_IN_USE);
}

/* ---- clean --------------------------------------------------------------------------------------------------------
 */

static void a_new_pool_is_clean(void **context)
{
    (void)context;
    close_pool(false);
    assert_clean();
}

static void a_pool_with_data_is_clean(void **context)
{
    (void)context;
    fill();
    close_pool(false);
    assert_clean();
    assert_true(report.chunks >= 9 && report.units >= 3 && report.nodes >= 4 && report.references >= 13);
    assert_true(report.bytes_read > 0 && report.segments > 0 && report.pages > 0);
}

static void a_crashed_pool_is_clean(void **context)
{
    (void)context;
    fill();
    write_block("two", 17 * COFFER_BLOCK, 103);
    write_block("two", 18 * COFFER_BLOCK, 7);
    write_block("one", 0, 8);
    assert_fine(group_sync(pool->group));
    close_pool(true);
    assert_clean();
    assert_fine(pool_try_open());
    close_pool(true);
    assert_clean();
}

static void what_was_deleted_and_overwritten_leaves_a_clean_pool(void **context)
{
    (void)context;
    fill();
    struct uuid one = look("one").uuid;
    for (unsigned i = 0; i < 4; i++)
        write_block("two", i * COFFER_BLOCK, 50 + i);
    publish();
    assert_fine(object_delete(pool, "one", true));
    await_gone(one);
    close_pool(false);
    assert_clean();
}

static void checking_twice_changes_nothing(void **context)
{
    (void)context;
    fill();
    write_block("one", 0, 9);
    assert_fine(group_sync(pool->group));
    close_pool(true);
    assert_clean();
    struct check_report before = report;
    assert_clean();
    assert_memory_equal(&before, &report, sizeof report);
    assert_fine(pool_try_open());
    assert_block("one", 0, 9);
}

static uint64_t seed;

static uint64_t below(uint64_t end)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (seed >> 33) % end;
}

/* Half of it compresses; every tenth not at all. */
static void random_block(uint8_t *block, uint64_t number)
{
    uint64_t state = number * UINT64_C(0x9e3779b97f4a7c15) + 1;
    memset(block, (int)number, COFFER_BLOCK);
    for (unsigned i = 0; i < (number % 10 ? COFFER_BLOCK / 2 : COFFER_BLOCK); i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        block[i] = (uint8_t)(state >> 56);
    }
}

/* A run of blocks, some of them known already, or a trim of them. */
static void random_request(struct volume *volume)
{
    static uint8_t data[64 * COFFER_BLOCK];
    size_t count = 1 + below(64);
    for (size_t i = 0; i < count; i++)
        random_block(data + i * COFFER_BLOCK, below(5000));
    struct request request = {
        .type = below(6) ? REQUEST_WRITE : REQUEST_TRIM,
        .offset = below(4096) * COFFER_BLOCK,
        .length = count * COFFER_BLOCK,
        .data = data,
    };
    volume_execute(volume, &request, 1, fixture_answer, NULL);
    assert_fine(request.error);
}

static void random_work(const char *name, unsigned requests)
{
    struct volume *volume;
    assert_fine(volume_open(pool, name, false, &volume));
    for (unsigned i = 0; i < requests; i++) {
        random_request(volume);
        if (below(20) == 0)
            publish();
    }
    volume_close(volume);
}

static void random_work_leaves_a_clean_pool_however_it_ends(void **context)
{
    (void)context;
    seed = 1;
    make("one", GIB);
    make("two", GIB);
    for (unsigned round = 0; round < 4; round++) {
        random_work("one", 30);
        random_work("two", 30);
        close_pool(round % 2);
        assert_clean();
        assert_fine(pool_try_open());
    }
}

static void small_windows_find_the_same(void **context)
{
    (void)context;
    seed = 2;
    make("one", GIB);
    random_work("one", 120);
    uint64_t block = 0;
    struct map_entry entry = {0};
    while (entry_is_hole(entry))
        entry = entry_of("one", block++);
    struct spot spot = address_spot(entry_serial(entry), entry_offset(entry));
    assert_true(pool->group->cids.end > 2 * 1024);
    close_pool(true);
    assert_clean();
    struct check_report one_window = report;
    check_window_chunks = 1024;
    assert_clean();
    assert_int_equal(report.chunks, one_window.chunks);
    assert_int_equal(report.units, one_window.units);
    assert_int_equal(report.references, one_window.references);
    assert_int_equal(report.nodes, one_window.nodes);
    flip(&spot);
    check_finds("object one, blocks");
    check_window_chunks = CHECK_WINDOW_CHUNKS;
}

/* ---- other pools ----------------------------------------------------------------------------------------------- */

static void pool_of(unsigned devices, bool encryption, enum fingerprint_choice fingerprint)
{
    char paths[3][128];
    const char *path_list[3] = {paths[0], paths[1], paths[2]};
    close_pool(false);
    snprintf(fixture_directory, sizeof fixture_directory, "%s/other", fixture_root);
    for (unsigned i = 0; i < devices; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/disk%u", fixture_root, i);
        assert_fine(device_create_file(paths[i], FIXTURE_SIZE));
    }
    struct pool_create_options options = {.directory = fixture_directory,
                                          .device_paths = path_list,
                                          .device_count = devices,
                                          .encryption = encryption,
                                          .fingerprint = fingerprint,
                                          .seal = "file"};
    assert_fine(pool_create(&options));
    assert_fine(pool_try_open());
    seed = devices;
    make("one", GIB);
    random_work("one", 40);
    close_pool(true);
    assert_clean();
    assert_fine(pool_try_open());
    close_pool(false);
    assert_clean();
}

static void a_pool_of_several_devices_is_clean(void **context)
{
    (void)context;
    pool_of(3, true, POOL_FINGERPRINT_XXH3);
}

static void a_plaintext_pool_is_clean(void **context)
{
    (void)context;
    pool_of(1, false, POOL_FINGERPRINT_XXH3);
}

static void a_pool_with_the_other_fingerprint_is_clean(void **context)
{
    (void)context;
    pool_of(2, true, POOL_FINGERPRINT_HMAC_SHA256);
}

/* ---- flipped bits -------------------------------------------------------------------------------------------------
 */

static void a_damaged_unit_is_named_by_object_and_block(void **context)
{
    (void)context;
    fill();
    struct map_entry entry = entry_of("one", 300);
    struct spot spot = address_spot(entry_serial(entry), entry_offset(entry));
    close_pool(false);
    flip(&spot);
    check_finds("object one, blocks 300 to 300: the data is damaged");
    assert_found(spot.path);
    assert_int_equal(found_count, 1);
}

static void a_damaged_shared_unit_names_every_object(void **context)
{
    (void)context;
    fill();
    struct map_entry entry = entry_of("two", 2);
    struct spot spot = address_spot(entry_serial(entry), entry_offset(entry));
    close_pool(false);
    flip(&spot);
    check_finds("object one, blocks 2 to 2: the data is damaged");
    assert_found("object two, blocks 2 to 2: the data is damaged");
}

static void a_damaged_unit_of_the_journal_is_named(void **context)
{
    (void)context;
    fill();
    write_block("one", 5 * MIB, 77);
    assert_fine(group_sync(pool->group));
    write_block("one", 6 * MIB, 78);
    assert_fine(group_sync(pool->group));
    struct map_entry entry = entry_of("one", 5 * MIB / COFFER_BLOCK);
    struct spot spot = address_spot(entry_serial(entry), entry_offset(entry));
    close_pool(true);
    flip(&spot);
    check_finds("object one, blocks 1280 to 1280 (in the journal): the data is damaged");
}

static void a_damaged_leaf_is_named_by_its_blocks(void **context)
{
    (void)context;
    fill();
    struct tree tree = map_tree("two");
    struct spot spot = root_spot(&tree, false);
    close_pool(false);
    flip(&spot);
    check_finds("object two, map of blocks 0 to 255 (level 0), only copy: damaged");
    assert_found("are counted more often than the readable maps explain");
    assert_int_equal(found_count, 2);
}

static void one_damaged_copy_of_an_inner_node_is_found(void **context)
{
    (void)context;
    fill();
    struct tree tree = map_tree("one");
    assert_true(tree.root.height > 0);
    struct spot first = root_spot(&tree, false), second = root_spot(&tree, true);
    close_pool(false);
    flip(&second);
    check_finds("object one, map of blocks 0 to 32767 (level 1), second copy: damaged");
    assert_found("the other copy is whole");
    assert_int_equal(found_count, 1);
    flip(&second);
    flip(&first);
    check_finds("object one, map of blocks 0 to 32767 (level 1), first copy: damaged");
    assert_int_equal(found_count, 1);
    flip(&second);
    check_finds("second copy: damaged");
    flip(&first);
    flip(&second);
    assert_clean();
}

struct wanted_node {
    unsigned level;
    struct node_pointer pointer;
};

static enum error node_found(void *context, const struct walk_node *node)
{
    struct wanted_node *wanted = context;
    if (node->identity.level == wanted->level && entry_is_hole(wanted->pointer.first))
        wanted->pointer = node->pointer;
    return ERROR_NONE;
}

/* The first copy of the first node of a level. */
static struct spot table_spot(enum table table, unsigned level)
{
    struct tree tree = table_tree(table);
    struct wanted_node wanted = {.level = level};
    assert_fine(tree_walk(pool->group, &tree, 0, UINT64_MAX, WALK_ONE_COPY, node_found, &wanted));
    return address_spot(entry_serial(wanted.pointer.first), entry_offset(wanted.pointer.first));
}

/* What only follows from a page that cannot be read is not told as well. */
static void damaged_pages_of_tables_are_named(void **context)
{
    (void)context;
    static const struct {
        enum table table;
        unsigned level;
        const char *words;
    } cases[] = {
        {TABLE_PLACES, 0, "chunk table, places, page 1 of level 0, only copy: damaged"},
        {TABLE_PLACES, 1, "chunk table, places, page 0 of level 1, first copy: damaged"},
        {TABLE_FINGERPRINTS, 0, "chunk table, fingerprints, page 1 of level 0, only copy: damaged"},
        {TABLE_COUNTS, 0, "chunk table, counts, page 0 of level 0, only copy: damaged"},
        {TABLE_COMPONENTS, 0, "component table, page 0 of level 0, first copy: damaged"},
        {TABLE_SEGMENTS, 0, "segment table, page 0 of level 0, first copy: damaged"},
    };
    fill();
    close_pool(false);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_fine(pool_try_open());
        struct spot spot = table_spot(cases[i].table, cases[i].level);
        close_pool(true);
        flip(&spot);
        check_finds(cases[i].words);
        assert_int_equal(found_count, 1);
        flip(&spot);
        assert_clean();
    }
}

static void a_damaged_superblock_copy_is_named(void **context)
{
    (void)context;
    uint64_t size = pool->group->superblocks[0].device_size;
    struct spot last = device_spot(superblock_offset(size, 3) + 5000),
                first = device_spot(superblock_offset(size, 0) + 100);
    close_pool(false);
    flip(&last);
    check_finds("superblock copy 4 of 4: it is not as it was written");
    flip(&last);
    flip(&first);
    check_finds("superblock copy 1 of 4: it is damaged");
}

static void a_damaged_checkpoint_record_is_named(void **context)
{
    (void)context;
    fill();
    write_block("one", 0, 1);
    publish();
    write_block("one", 0, 2);
    publish();
    uint64_t number = pool->group->checkpoint.number;
    struct spot spot = device_spot(checkpoint_offset(&pool->group->superblocks[0], checkpoint_copy(number - 1)) + 200);
    close_pool(true);
    flip(&spot);
    check_finds("checkpoint record");
    assert_found("it is damaged");
}

static void a_damaged_segment_header_is_named(void **context)
{
    (void)context;
    fill();
    struct map_entry entry = entry_of("one", 0);
    mutex_lock(&pool->group->lock);
    uint64_t offset = segment_offset(&pool->group->segments, segment_find(&pool->group->segments, entry_serial(entry)));
    mutex_unlock(&pool->group->lock);
    struct spot spot = device_spot(offset + 60);
    close_pool(false);
    flip(&spot);
    check_finds("the header of segment");
    assert_int_equal(found_count, 1);
}

/* ---- falsified numbers --------------------------------------------------------------------------------------------
 */

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
    map_falsified(entry_make(entry_cid(one), 60000, entry_offset(one), entry_length(one), 0, 1));
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
    falsify_end(&block);
    check_finds("component 20 belongs to no object of the catalog");
    assert_int_equal(found_count, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pool_setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_pool_that_is_not_there_is_refused),
        TEST(a_pool_in_use_is_refused),
        TEST(a_new_pool_is_clean),
        TEST(a_pool_with_data_is_clean),
        TEST(a_crashed_pool_is_clean),
        TEST(what_was_deleted_and_overwritten_leaves_a_clean_pool),
        TEST(checking_twice_changes_nothing),
        TEST(random_work_leaves_a_clean_pool_however_it_ends),
        TEST(small_windows_find_the_same),
        TEST(a_pool_of_several_devices_is_clean),
        TEST(a_plaintext_pool_is_clean),
        TEST(a_pool_with_the_other_fingerprint_is_clean),
        TEST(a_damaged_unit_is_named_by_object_and_block),
        TEST(a_damaged_shared_unit_names_every_object),
        TEST(a_damaged_unit_of_the_journal_is_named),
        TEST(a_damaged_leaf_is_named_by_its_blocks),
        TEST(one_damaged_copy_of_an_inner_node_is_found),
        TEST(damaged_pages_of_tables_are_named),
        TEST(a_damaged_superblock_copy_is_named),
        TEST(a_damaged_checkpoint_record_is_named),
        TEST(a_damaged_segment_header_is_named),
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
