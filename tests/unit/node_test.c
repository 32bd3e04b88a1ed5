/* Nodes and pages: every stored form comes back, the second copy serves for the first, and none is taken for another.
 */
#include "tests/unit/group_fixture.h"

#include "engine/group/merge.h"
#include "engine/group/node.h"

static uint8_t node[BLOCK_SIZE];
static uint64_t seed;

static int setup(void **state)
{
    seed = 11;
    memset(node, 0, sizeof node);
    return fixture_setup_two(state);
}

static void fill_leaf(unsigned entries)
{
    for (unsigned i = 0; i < entries; i++) {
        struct map_entry entry =
            entry_make(1 + fixture_below(&seed, CID_MAX), 1 + fixture_below(&seed, SERIAL_MAX),
                       (uint32_t)fixture_below(&seed, 1 << 27), 1 + (uint32_t)fixture_below(&seed, 8191), 0, 1);
        entry_encode(entry, (struct map_entry_format *)node + fixture_below(&seed, MAP_LEAF_ENTRIES));
    }
}

static void fill_random(void)
{
    for (size_t i = 0; i < sizeof node; i += 8) {
        uint64_t word = fixture_random(&seed);
        memcpy(node + i, &word, 8);
    }
}

static struct node_read write_node(struct fixture *f, struct node_identity identity, bool twice)
{
    struct merge merge = {.group = f->group, .birth = 512};
    struct node_read read = {.identity = identity};
    uint64_t cid = 0;
    if (identity.kind == ITEM_NODE) {
        mutex_lock(&f->group->lock);
        cid = cids_take_node(&f->group->cids, twice);
        mutex_unlock(&f->group->lock);
    }
    assert_int_equal(node_write(&merge, identity, node, twice, cid, &read.pointer), ERROR_NONE);
    assert_int_equal(read.pointer.second_serial != 0, twice);
    assert_int_equal(entry_cid(read.pointer.first), cid);
    assert_int_equal(read.pointer.birth, 512);
    return read;
}

/* Nodes are written with the next close of their logs; what is read then comes from the devices. */
static void write_out(struct fixture *f)
{
    struct log *logs[] = {&f->group->meta, &f->group->twin};
    for (size_t i = 0; i < COUNT_OF(logs); i++) {
        if (!logs[i]->open)
            continue;
        assert_int_equal(log_prepare(logs[i]), ERROR_NONE);
        mutex_lock(&f->group->lock);
        uint64_t ticket = log_close(logs[i], false);
        mutex_unlock(&f->group->lock);
        assert_int_equal(log_advance(logs[i]), ERROR_NONE);
        assert_int_equal(log_wait(logs[i], ticket), ERROR_NONE);
    }
    fixture_forget_cached(f);
}

static void expect(struct fixture *f, struct node_read read)
{
    assert_int_equal(nodes_read(f->group, &read, 1), ERROR_NONE);
    assert_memory_equal(cache_bytes(read.block), node, BLOCK_SIZE);
    nodes_put(f->group, &read, 1);
}

static void flip_copy(struct fixture *f, const struct node_read *read, bool second)
{
    uint64_t serial = second ? read->pointer.second_serial : entry_serial(read->pointer.first);
    uint32_t offset = second ? read->pointer.second_offset : entry_offset(read->pointer.first);
    fixture_flip(f, fixture_device(f, serial), fixture_offset(f, serial, offset) + 50);
}

static const struct node_identity leaf = {ITEM_NODE, 7, 99, 0}, inner = {ITEM_NODE, 7, 3, 2},
                                  places = {ITEM_PAGE, TABLE_PLACES, 5, 0}, counts = {ITEM_PAGE, TABLE_COUNTS, 5, 0},
                                  components = {ITEM_PAGE, TABLE_COMPONENTS, 1, 0};

static void a_node_with_one_copy_that_is_damaged_is_lost(void **state)
{
    struct fixture *f = *state;
    fill_leaf(100);
    struct node_read read = write_node(f, leaf, false);
    write_out(f);
    expect(f, read);
    fixture_forget_cached(f);
    flip_copy(f, &read, false);
    assert_int_equal(nodes_read(f->group, &read, 1), ERROR_CORRUPT);
    assert_null(read.block);
}

static void the_second_copy_serves_for_the_first(void **state)
{
    struct fixture *f = *state;
    const struct node_identity doubled[] = {inner, components};
    for (size_t i = 0; i < COUNT_OF(doubled); i++) {
        fill_random();
        struct node_read read = write_node(f, doubled[i], true);
        write_out(f);
        flip_copy(f, &read, false);
        expect(f, read);
        fixture_forget_cached(f);
        flip_copy(f, &read, true);
        assert_int_equal(nodes_read(f->group, &read, 1), ERROR_CORRUPT);
    }
}

static void a_node_is_not_taken_for_another(void **state)
{
    struct fixture *f = *state;
    fill_leaf(10);
    struct node_read node_read = write_node(f, leaf, false), page_read = write_node(f, places, false);
    write_out(f);
    struct node_read wrong[] = {node_read, node_read, node_read, node_read, node_read,
                                page_read, page_read, page_read, page_read};
    wrong[0].identity.owner--; /* a later one could share it */
    wrong[1].identity.number++;
    wrong[2].identity.level++;
    wrong[3].identity.kind = ITEM_PAGE;
    wrong[4].pointer.first.low++; /* another CID */
    wrong[5].identity.owner = TABLE_COUNTS;
    wrong[6].identity.number++;
    wrong[7].identity.level++;
    wrong[8].identity.kind = ITEM_NODE;
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        assert_int_equal(nodes_read(f->group, &wrong[i], 1), ERROR_CORRUPT);
        assert_null(wrong[i].block);
    }
    expect(f, node_read);
}

static void one_bad_node_does_not_spoil_its_batch(void **state)
{
    struct fixture *f = *state;
    struct node_read reads[300];
    for (unsigned i = 0; i < COUNT_OF(reads); i++) {
        memset(node, 0, sizeof node);
        node[5] = (uint8_t)i;
        reads[i] = write_node(f, (struct node_identity){ITEM_PAGE, TABLE_COUNTS, i, 0}, false);
    }
    write_out(f);
    flip_copy(f, &reads[150], false);
    assert_int_equal(nodes_read(f->group, reads, COUNT_OF(reads)), ERROR_CORRUPT);
    for (unsigned i = 0; i < COUNT_OF(reads); i++) {
        assert_int_equal(reads[i].block == NULL, reads[i].error != ERROR_NONE);
        if (reads[i].block)
            assert_int_equal(cache_bytes(reads[i].block)[5], (uint8_t)i);
    }
    assert_int_equal(reads[150].error, ERROR_CORRUPT);
    nodes_put(f->group, reads, COUNT_OF(reads));
}

/* A leaf as anybody could tag it in a plaintext pool: read, its entries would go beyond their unit, and a merge would
 * find a bug in it. */
static void a_row_of_impossible_entries_is_no_leaf(void **state)
{
    const struct map_entry bad[] = {entry_make(0, 4, 300, 20, 0, 1), entry_make(6, 0, 300, 20, 0, 1),
                                    entry_make(6, 4, 300, 0, 0, 1), entry_make(6, 4, 300, 20, 1, 1),
                                    entry_make(6, 4, 300, 20, 15, 4)};
    const struct item_format header = {.codec = STORED_RAW, .count = 1};
    const struct node_descriptor_format of_leaf = {le40_make(6), le40_make(leaf.owner), le40_make(leaf.number), 0};
    const struct page_descriptor_format of_places = {TABLE_PLACES, 0, le40_make(places.number), 0};
    const struct node_read reads[] = {{.pointer.first = entry_make(6, 4, 300, 20, 0, 1), .identity = leaf},
                                      {.identity = places}};
    uint8_t out[BLOCK_SIZE];
    (void)state;
    for (size_t i = 0; i < COUNT_OF(reads); i++) {
        struct item_read item = {.header = &header, .stored = node, .stored_size = BLOCK_SIZE,
                                 .descriptors = i ? (const uint8_t *)&of_places : (const uint8_t *)&of_leaf};
        for (size_t b = 0; b < COUNT_OF(bad); b++) {
            entry_encode(bad[b], (struct map_entry_format *)node + 200);
            assert_int_equal(node_accept(&reads[i], &item, out), ERROR_CORRUPT);
        }
        entry_encode(entry_make(6, 4, 300, 20, 3, 4), (struct map_entry_format *)node + 200);
        assert_int_equal(node_accept(&reads[i], &item, out), ERROR_NONE);
    }
}

static void every_stored_form_comes_back(void **state)
{
    struct fixture *f = *state;
    const struct node_identity identities[] = {leaf, inner, places, counts, components};
    uint8_t stored[BLOCK_SIZE];
    size_t size;
    for (size_t i = 0; i < COUNT_OF(identities); i++)
        for (unsigned fill = 0; fill < 4; fill++) {
            bool entries = i == 0 || i == 2;
            memset(node, 0, sizeof node);
            if (fill > 0 && entries)
                fill_leaf(fill == 3 ? 4000 : fill * 20);
            else if (fill == 3)
                fill_random();
            else
                memset(node, (int)fill, 100);
            if (fill == 0)
                memset(node, 0, sizeof node);
            uint8_t codec = node_store(identities[i], node, stored, &size);
            assert_true(size > 0 && size <= BLOCK_SIZE);
            if (fill == 3)
                assert_int_equal(codec, STORED_RAW);
            else
                assert_int_equal(codec, entries ? STORED_RUNS : STORED_LZ4);
            struct node_read read = write_node(f, identities[i], identities[i].level > 0);
            write_out(f);
            expect(f, read);
        }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_node_with_one_copy_that_is_damaged_is_lost),
        TEST(the_second_copy_serves_for_the_first),
        TEST(a_node_is_not_taken_for_another),
        TEST(one_bad_node_does_not_spoil_its_batch),
        TEST(a_row_of_impossible_entries_is_no_leaf),
        TEST(every_stored_form_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
