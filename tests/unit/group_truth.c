/*
 * Every node and every entry that a component, or an entry of the release list, leads to is a reference; nothing else is.
 */
#include "tests/unit/group_truth.h"

#include "base/clock.h"
#include "engine/group/follow.h"
#include "engine/group/release_list.h"
#include "engine/group/tree.h"

#define CHUNKS_MAX (1 << 18)

struct truth {
    uint32_t counts[CHUNKS_MAX];
    struct map_entry entries[CHUNKS_MAX];
    uint64_t mapped;          /* in all */
    uint64_t mapped_of[16];   /* of components, from COMPONENT on, in segments from own_of[] on */
    uint64_t own_of[16];
};

uint32_t truth_table_count(struct fixture *f, const struct view *view, uint64_t cid)
{
    struct tree tree = tree_of_table(TABLE_COUNTS, view_root(view, TABLE_COUNTS));
    uint64_t number = cid / 1024;
    struct cache_block *block;
    assert_int_equal(tree_leaves(f->group, &tree, &number, &block, 1), ERROR_NONE);
    uint32_t count = block ? le32_get(((const le32 *)cache_bytes(block))[cid % 1024]) : 0;
    tree_put(f->group, &block, 1);
    return count;
}

static struct map_entry table_place(struct fixture *f, const struct view *view, uint64_t cid)
{
    struct tree tree = tree_of_table(TABLE_PLACES, view_root(view, TABLE_PLACES));
    uint64_t number = cid / 256;
    struct cache_block *block;
    assert_int_equal(tree_leaves(f->group, &tree, &number, &block, 1), ERROR_NONE);
    struct map_entry entry = {0};
    if (block)
        entry = entry_decode((const struct map_entry_format *)cache_bytes(block) + cid % 256);
    tree_put(f->group, &block, 1);
    return entry;
}

/* Tells how often it was referred to before. */
static uint32_t truth_add(struct fixture *f, struct truth *truth, struct map_entry entry)
{
    entry = entry_follow(f->group, entry);
    assert_true(entry_cid(entry) < COUNT_OF(truth->counts));
    truth->entries[entry_cid(entry)] = entry;
    return truth->counts[entry_cid(entry)]++;
}

static void block_add(struct fixture *f, struct truth *truth, uint64_t component, struct map_entry entry)
{
    truth_add(f, truth, entry);
    truth->mapped++;
    uint64_t index = component - COMPONENT;
    if (index < COUNT_OF(truth->mapped_of) && entry_serial(entry) >= truth->own_of[index])
        truth->mapped_of[index]++;
}

static void node_walk(struct fixture *f, struct truth *truth, uint64_t component, struct node_pointer pointer,
                      unsigned level, uint64_t number)
{
    struct node_read read = {.pointer = pointer, .identity = {ITEM_NODE, component, number, (uint8_t)level}};
    assert_int_equal(nodes_read(f->group, &read, 1), ERROR_NONE);
    assert_int_equal(pointer.second_serial != 0, level > 0);
    assert_int_equal(pointer.birth % 256, 0);
    bool known = truth_add(f, truth, pointer.first) > 0; /* shared: its references count once */
    if (level > 0)
        truth_add(f, truth, pointer_second(&pointer));
    for (unsigned i = 0; i < NODE_FANOUT && level > 0 && !known; i++) {
        struct node_pointer child = pointer_decode((const struct node_pointer_format *)cache_bytes(read.block) + i);
        assert_true(child.birth <= pointer.birth);
        if (!entry_is_hole(child.first))
            node_walk(f, truth, component, child, level - 1, number * NODE_FANOUT + i);
    }
    for (unsigned i = 0; i < MAP_LEAF_ENTRIES && level == 0 && !known; i++) {
        struct map_entry entry = entry_decode((const struct map_entry_format *)cache_bytes(read.block) + i);
        if (!entry_is_hole(entry))
            block_add(f, truth, component, entry);
    }
    nodes_put(f->group, &read, 1);
}

static void owns_gather(struct fixture *f, const struct view *view, unsigned components, struct truth *truth)
{
    struct component_format format;
    for (unsigned c = 0; c < components; c++)
        if (view_component(f->group, view, COMPONENT + c, &format) == ERROR_NONE)
            truth->own_of[c] = le64_get(format.own);
}

static void maps_gather(struct fixture *f, const struct view *view, unsigned components, struct truth *truth)
{
    for (unsigned c = 0; c < components; c++) {
        struct component_format format;
        if (view_component(f->group, view, COMPONENT + c, &format) != ERROR_NONE)
            continue;
        struct node_pointer root = pointer_decode(&format.root);
        if (!entry_is_hole(root.first))
            node_walk(f, truth, COMPONENT + c, root, format.height, 0);
    }
}

static void releases_gather(struct fixture *f, const struct view *view, struct truth *truth)
{
    struct tree tree = tree_of_table(TABLE_RELEASES, view_root(view, TABLE_RELEASES));
    const struct checkpoint *checkpoint = &f->group->checkpoint;
    for (uint64_t entry = 0; entry < checkpoint->release_end; entry++) {
        uint64_t page = entry / RELEASES_PER_PAGE;
        struct cache_block *block;
        struct release release;
        assert_int_equal(tree_leaves(f->group, &tree, &page, &block, 1), ERROR_NONE);
        assert_non_null(block);
        assert_true(release_decode((const struct release_format *)cache_bytes(block) + entry % RELEASES_PER_PAGE, &release));
        tree_put(f->group, &block, 1);
        node_walk(f, truth, release.component, release.node, release.level, release.number);
    }
}

static void statistics_expect(struct fixture *f, const struct view *view, unsigned components, const struct truth *truth)
{
    for (unsigned c = 0; c < components; c++) {
        struct component_format format;
        if (view_component(f->group, view, COMPONENT + c, &format) == ERROR_NONE)
            assert_int_equal(le64_get(format.mapped), truth->mapped_of[c]);
    }
    assert_int_equal(f->group->checkpoint.blocks_mapped, truth->mapped);
}

static bool is_data(const struct segment *segment)
{
    return segment->kind == SEGMENT_JOURNAL || segment->kind == SEGMENT_COLD;
}

/* Live bytes that chunks account for, a slot each; pages of tables come on top of them in meta segments. */
static void live_expect(struct fixture *f, const struct truth *truth)
{
    uint64_t *live = memory_zeroed(f->group->segments.count, sizeof *live);
    assert_non_null(live);
    for (uint64_t cid = 0; cid < COUNT_OF(truth->counts); cid++) {
        if (!truth->counts[cid])
            continue;
        uint32_t index = segment_find(&f->group->segments, entry_serial(truth->entries[cid]));
        assert_int_not_equal(index, SEGMENT_NONE);
        live[index] += entry_share_bytes(truth->entries[cid]);
    }
    for (uint32_t i = 0; i < f->group->segments.count; i++) {
        const struct segment *segment = &f->group->segments.table[i];
        if (is_data(segment))
            assert_int_equal(segment->live, live[i]);
        else
            assert_true(segment->live >= live[i]);
    }
    free(live);
}

static void counts_expect(struct fixture *f, const struct view *view, const struct truth *truth)
{
    uint64_t data = 0;
    for (uint64_t cid = 0; cid < COUNT_OF(truth->counts) && cid < f->group->cids.end; cid++) {
        uint32_t count = truth_table_count(f, view, cid);
        if (count != truth->counts[cid])
            fail_msg("chunk %llu has the count %u and %u references", (unsigned long long)cid, count,
                     truth->counts[cid]);
        if (count)
            assert_true(entry_equal(table_place(f, view, cid), truth->entries[cid]));
        data += count &&
                is_data(&f->group->segments.table[segment_find(&f->group->segments, entry_serial(truth->entries[cid]))]);
    }
    assert_int_equal(f->group->checkpoint.chunks_live, data);
}

/* Waits for the merge that runs; the next cannot freeze before the section's mutex is given back. */
static void merges_keep_out(struct fixture *f) NO_THREAD_SAFETY_ANALYSIS
{
    for (;;) {
        mutex_lock(&f->group->section->mutex);
        mutex_lock(&f->group->lock);
        bool merging = f->group->view->frozen != NULL;
        mutex_unlock(&f->group->lock);
        if (!merging)
            return;
        mutex_unlock(&f->group->section->mutex);
        clock_sleep(CLOCK_MILLISECOND);
    }
}

static void merges_let_in(struct fixture *f) NO_THREAD_SAFETY_ANALYSIS
{
    mutex_unlock(&f->group->section->mutex);
}

void truth_expect(struct fixture *f, unsigned components)
{
    struct truth *truth = memory_zeroed(1, sizeof *truth);
    assert_non_null(truth);
    assert_true(components <= COUNT_OF(truth->mapped_of));
    merges_keep_out(f);
    struct view *view = view_take(f->group);
    owns_gather(f, view, components, truth);
    maps_gather(f, view, components, truth);
    releases_gather(f, view, truth);
    statistics_expect(f, view, components, truth);
    counts_expect(f, view, truth);
    live_expect(f, truth);
    view_put(f->group, view);
    merges_let_in(f);
    free(truth);
}

uint64_t truth_releases(struct fixture *f)
{
    mutex_lock(&f->group->lock);
    uint64_t count = f->group->checkpoint.release_end;
    mutex_unlock(&f->group->lock);
    return count;
}
