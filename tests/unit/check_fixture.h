/*
 * What the tests of the checker share: a check whose sentences are kept, faults planted into the device under the
 * closed pool, and into the memory of an open one just before a publish writes it.
 */
#ifndef COFFER_TESTS_UNIT_CHECK_FIXTURE_H
#define COFFER_TESTS_UNIT_CHECK_FIXTURE_H

#include <fcntl.h>
#include <unistd.h>

#include "engine/group/superblock_image.h"
#include "engine/group/walk.h"
#include "engine/pool/check.h"
#include "tests/unit/pool_fixture.h"

#define FOUND_BYTES (1u << 20)

static char found_text[FOUND_BYTES];
static unsigned found_count;
static struct check_loss losses[1024];
static size_t lost_count;
static uint64_t progress_done, progress_total;
static struct check_report report;

static inline void found(const char *sentence, void *context)
{
    (void)context;
    size_t used = strlen(found_text);
    snprintf(found_text + used, FOUND_BYTES - used, "%s\n", sentence);
    found_count++;
}

/* What is lost, as the report has it. */
static inline void lost(const struct check_loss *loss, void *context)
{
    (void)context;
    assert_true(lost_count < COUNT_OF(losses));
    losses[lost_count++] = *loss;
}

static inline void progress(uint64_t done, uint64_t total, void *context)
{
    (void)context;
    assert_true(done >= progress_done && done <= total);
    progress_done = done;
    progress_total = total;
}

static inline enum error check(void)
{
    struct pool_open_options options = {.memory = FIXTURE_MEMORY};
    found_text[0] = 0;
    found_count = 0;
    lost_count = 0;
    progress_done = 0;
    error_forget();
    return pool_check(fixture_directory, &options, &(struct check_listener){found, lost, progress, NULL}, &report);
}

static inline void close_pool(bool crash)
{
    if (crash)
        pool_crash();
    else
        assert_fine(pool_close(pool));
    pool = NULL;
}

static inline void assert_clean(void)
{
    assert_fine(check());
    if (found_count || report.errors)
        fail_msg("%s", found_text);
    assert_int_equal(progress_done, progress_total);
}

static inline void assert_found(const char *words)
{
    if (strstr(found_text, words) == NULL)
        fail_msg("\"%s\" is not in:\n%s", words, found_text);
    assert_int_equal(report.errors, found_count);
}

static inline void check_finds(const char *words)
{
    assert_fine(check());
    assert_found(words);
}

/* ---- planting ------------------------------------------------------------------------------------------------- */

struct spot {
    char path[128];
    uint64_t offset;
};

static inline void flip(const struct spot *spot)
{
    uint8_t byte;
    int descriptor = open(spot->path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(descriptor, &byte, 1, (off_t)spot->offset), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(descriptor, &byte, 1, (off_t)spot->offset), 1);
    close(descriptor);
}

static inline struct spot device_spot(uint64_t offset)
{
    struct spot spot = {.offset = offset};
    snprintf(spot.path, sizeof spot.path, "%s", pool->group->devices[0]->path);
    return spot;
}

/* A byte in the stored bytes of what stands at an address. */
static inline struct spot address_spot(uint64_t serial, uint32_t offset)
{
    struct segments *segments = &pool->group->segments;
    mutex_lock(&pool->group->lock);
    uint32_t index = segment_find(segments, serial);
    assert_int_not_equal(index, SEGMENT_NONE);
    uint64_t at = segment_offset(segments, index) + (uint64_t)offset * GRAIN_SIZE + 48;
    mutex_unlock(&pool->group->lock);
    return device_spot(at);
}

static inline struct map_entry entry_of(const char *name, uint64_t block)
{
    struct map_entry entry;
    struct view *view;
    assert_fine(view_lookup(pool->group, component_of(name), &block, &entry, 1, &view));
    view_put(pool->group, view);
    return entry;
}

static inline struct tree table_tree(enum table table)
{
    struct view *view = view_take(pool->group);
    struct tree tree = tree_of_table(table, view_root(view, table));
    view_put(pool->group, view);
    return tree;
}

static inline struct tree map_tree(const char *name)
{
    struct component_format format;
    struct view *view = view_take(pool->group);
    uint64_t component = component_of(name);
    assert_fine(view_component(pool->group, view, component, &format));
    view_put(pool->group, view);
    return (struct tree){ITEM_NODE, component, {pointer_decode(&format.root), format.height}};
}

static inline struct spot root_spot(const struct tree *tree, bool second)
{
    const struct node_pointer *root = &tree->root.pointer;
    return second ? address_spot(root->second_serial, root->second_offset)
                  : address_spot(entry_serial(root->first), entry_offset(root->first));
}

struct wanted {
    unsigned level;
    struct node_pointer pointer;
};

static inline enum error node_seek(void *context, const struct walk_node *node)
{
    struct wanted *wanted = context;
    if (node->identity.level == wanted->level)
        wanted->pointer = node->pointer; /* the last one */
    return ERROR_NONE;
}

/* Of the last node of a level. */
static inline struct spot tree_spot(const struct tree *tree, unsigned level, bool second)
{
    struct wanted wanted = {.level = level};
    assert_fine(tree_walk(pool->group, tree, 0, UINT64_MAX, WALK_ONE_COPY, node_seek, &wanted));
    struct tree below = {.root = {.pointer = wanted.pointer}};
    assert_false(entry_is_hole(wanted.pointer.first));
    return root_spot(&below, second);
}

/* "wide" of 16 TiB, with a block at each end: where the two copies of its map's root stand. */
static inline void wide_make(struct spot roots[2])
{
    make("wide", 16 * TIB);
    write_block("wide", 0, 1);
    write_block("wide", 16 * TIB - COFFER_BLOCK, 2);
    publish();
    struct tree tree = map_tree("wide");
    for (size_t i = 0; i < 2; i++)
        roots[i] = root_spot(&tree, i == 1);
}

/* The cached bytes of a leaf, from which the next merge makes the new ones. */
static inline uint8_t *leaf_bytes(struct tree tree, uint64_t number, struct cache_block **block)
{
    assert_fine(tree_leaves(pool->group, &tree, &number, block, 1));
    assert_non_null(*block);
    return (uint8_t *)cache_bytes(*block);
}

#endif
