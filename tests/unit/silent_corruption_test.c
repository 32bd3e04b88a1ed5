/*
 * Bits and bytes that change on the device without a word, anywhere in what is stored: each is found, and nothing is
 * ever returned as good data that is not. A pool is filled; then, a set of them at a time, stored blocks of the device
 * are corrupted (units of data, nodes of maps, pages of tables, in one copy of what has two), the pool is opened, all
 * is read, the checker runs, and the device is put back as it was.
 *
 * Exactly those blocks of objects fail that lie in a corrupted unit or below a corrupted leaf; of all that is no data
 * the checker names the place. By hand, with more of both:
 *
 *   silent_corruption_test [BLOCKS [MIB [SEED]]]
 */
#include "tests/unit/check_fixture.h"
#include "tests/unit/truth_fixture.h"

#define SET_BLOCKS 400 /* corrupted together */
#define TRIES      10000

/* An item on the device: `size` bytes of it that its tag covers for certain. */
struct stored {
    uint64_t at, size;
    uint64_t begin; /* in the sum of all sizes */
    uint32_t twin;  /* index + 1 of the other copy; 0: none */
    bool is_data, hit;
};

struct corruption {
    uint64_t offset;
    uint8_t before[64];
    size_t size;
};

static uint64_t blocks_wanted = 300, data_mib = 24;
static struct dice dice = {1};
static struct truth truths[2];
static uint32_t *unit_of[2], *leaf_of[2]; /* index + 1 by block, by leaf; 0: none */
static struct stored *stored;
static size_t stored_count, stored_capacity;
static uint64_t stored_bytes;
static char path[128];
static uint64_t found_bad, found_other;

/* ---- what is stored ---------------------------------------------------------------------------------------------- */

static uint32_t stored_enter(uint64_t serial, uint32_t offset, uint32_t length, bool is_data)
{
    struct segments *segments = &pool->group->segments;
    if (stored_count == stored_capacity) {
        stored_capacity = stored_capacity ? 2 * stored_capacity : 4096;
        stored = realloc(stored, stored_capacity * sizeof *stored);
        assert_non_null(stored);
    }
    uint32_t index = segment_find(segments, serial);
    assert_int_not_equal(index, SEGMENT_NONE);
    assert_true(length > 2);
    stored[stored_count] = (struct stored){
        .at = segment_offset(segments, index) + (uint64_t)offset * GRAIN_SIZE,
        .size = (uint64_t)(length - 1) * GRAIN_SIZE, /* the last grain may be padding */
        .begin = stored_bytes,
        .is_data = is_data,
    };
    stored_bytes += stored[stored_count].size;
    return (uint32_t)++stored_count;
}

static uint32_t node_enter(const struct node_pointer *pointer)
{
    struct map_entry first = pointer->first;
    uint32_t one = stored_enter(entry_serial(first), entry_offset(first), entry_length(first), false);
    if (pointer->second_serial) {
        uint32_t two = stored_enter(pointer->second_serial, pointer->second_offset, entry_length(first), false);
        stored[one - 1].twin = two;
        stored[two - 1].twin = one;
    }
    return one;
}

static enum error table_visit(void *context, const struct walk_node *node)
{
    (void)context;
    (void)node_enter(&node->pointer);
    return ERROR_NONE;
}

/* Units that several blocks refer to are entered once: by the address that stands in their entries. */
struct known_unit {
    struct map_entry entry;
    uint32_t index;
};
static struct known_unit *known;
static size_t known_mask;

static uint32_t unit_enter(struct map_entry entry)
{
    uint64_t hash = (entry_serial(entry) << 27 | entry_offset(entry)) * UINT64_C(0x9e3779b97f4a7c15);
    size_t i = (size_t)(hash >> 32) & known_mask;
    while (known[i].index && !entry_same_unit(known[i].entry, entry))
        i = (i + 1) & known_mask;
    if (!known[i].index)
        known[i] = (struct known_unit){
            entry, stored_enter(entry_serial(entry), entry_offset(entry), entry_length(entry), true)};
    return known[i].index;
}

static enum error map_visit(void *context, const struct walk_node *node)
{
    size_t object = (size_t)((struct truth *)context - truths);
    uint32_t index = node_enter(&node->pointer);
    if (node->identity.level > 0)
        return ERROR_NONE;
    leaf_of[object][node->identity.number] = index;
    for (unsigned i = 0; i < MAP_LEAF_ENTRIES; i++) {
        struct map_entry entry = entry_decode((const struct map_entry_format *)node->bytes + i);
        if (!entry_is_hole(entry))
            unit_of[object][node->identity.number * MAP_LEAF_ENTRIES + i] = unit_enter(entry);
    }
    return ERROR_NONE;
}

static void stored_gather(void)
{
    known_mask = 1;
    while (known_mask < 2 * (truths[0].blocks + truths[1].blocks))
        known_mask *= 2;
    known = memory_zeroed(known_mask--, sizeof *known);
    assert_non_null(known);
    for (unsigned table = TABLE_PLACES; table <= TABLE_LAST; table++) {
        struct tree tree = table_tree((enum table)table);
        assert_fine(tree_walk(pool->group, &tree, 0, UINT64_MAX, WALK_ONE_COPY, table_visit, NULL));
    }
    for (size_t i = 0; i < 2; i++) {
        struct tree tree = map_tree(truths[i].name);
        uint64_t leaves = truths[i].blocks / MAP_LEAF_ENTRIES + 1;
        unit_of[i] = memory_zeroed(leaves * MAP_LEAF_ENTRIES, sizeof *unit_of[i]);
        leaf_of[i] = memory_zeroed(leaves, sizeof *leaf_of[i]);
        assert_true(unit_of[i] && leaf_of[i]);
        assert_fine(tree_walk(pool->group, &tree, 0, UINT64_MAX, WALK_ONE_COPY, map_visit, &truths[i]));
    }
    free(known);
}

/* ---- corrupting ---------------------------------------------------------------------------------------------------
 */

static struct stored *stored_at(uint64_t sum)
{
    size_t low = 0, high = stored_count;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (stored[middle].begin <= sum)
            low = middle;
        else
            high = middle;
    }
    return &stored[low];
}

/* A bit, or some bytes: within one item and one block of the device. */
static size_t bytes_corrupt(uint8_t *bytes, size_t most)
{
    if (dice_percent(&dice, 50)) {
        bytes[0] ^= (uint8_t)(1u << dice_below(&dice, 8));
        return 1;
    }
    size_t size = 1 + dice_below(&dice, most);
    for (size_t i = 0; i < size; i++)
        bytes[i] ^= (uint8_t)(1 + dice_below(&dice, 255));
    return size;
}

static bool is_taken(const struct corruption *set, size_t count, uint64_t offset)
{
    for (size_t i = 0; i < count; i++)
        if (set[i].offset / BLOCK_SIZE == offset / BLOCK_SIZE)
            return true;
    return false;
}

/* Of all bytes few are no data: one corruption in twenty is of such. */
static void corrupt_one(int device, struct corruption *set, size_t count)
{
    struct stored *hit;
    uint64_t sum, offset;
    unsigned tries = dice_percent(&dice, 5) ? TRIES : 0;
    do {
        sum = dice_below(&dice, stored_bytes);
        hit = stored_at(sum);
        offset = hit->at + (sum - hit->begin);
    } while (hit->hit || (hit->twin && stored[hit->twin - 1].hit) || is_taken(set, count, offset) ||
             (hit->is_data && tries > 0 && --tries > 0));
    uint64_t room = MIN(hit->at + hit->size - offset, BLOCK_SIZE - offset % BLOCK_SIZE);
    struct corruption *made = &set[count];
    uint8_t bytes[sizeof made->before];
    made->offset = offset;
    made->size = (size_t)MIN(room, sizeof bytes);
    assert_int_equal(pread(device, made->before, made->size, (off_t)offset), made->size);
    memcpy(bytes, made->before, made->size);
    (void)bytes_corrupt(bytes, made->size);
    assert_int_equal(pwrite(device, bytes, made->size, (off_t)offset), made->size);
    hit->hit = true;
}

static void restore(int device, const struct corruption *set, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_int_equal(pwrite(device, set[i].before, set[i].size, (off_t)set[i].offset), set[i].size);
    for (size_t i = 0; i < stored_count; i++)
        stored[i].hit = false;
}

/* ---- what is found ------------------------------------------------------------------------------------------------
 */

static bool is_hit(uint32_t index)
{
    return index && stored[index - 1].hit;
}

static void blocks_compare(size_t object)
{
    struct truth *truth = &truths[object];
    (void)truth_read(truth);
    for (uint64_t block = 0; block < truth->blocks; block++) {
        bool expected = is_hit(unit_of[object][block]) || is_hit(leaf_of[object][block / MAP_LEAF_ENTRIES]);
        if (truth->bad[block] != expected)
            fail_msg("block %llu of %s: %s", (unsigned long long)block, truth->name,
                     expected ? "what it lies in is corrupted, and nothing said so" : "an error, and it is sound");
    }
}

/* The checker names what is no data by its place; of data every block is known already. */
static void others_compare(void)
{
    assert_fine(check());
    for (size_t i = 0; i < stored_count; i++) {
        char place[64];
        found_bad += stored[i].hit && stored[i].is_data;
        if (!stored[i].hit || stored[i].is_data)
            continue;
        snprintf(place, sizeof place, "byte %llu of the device", (unsigned long long)stored[i].at);
        assert_found(place);
        found_other++;
    }
}

static void set_run(int device, size_t count)
{
    static struct corruption set[SET_BLOCKS];
    struct pool_open_options options = {.memory = FIXTURE_MEMORY, .read_only = true};
    for (size_t i = 0; i < count; i++)
        corrupt_one(device, set, i);
    assert_fine(pool_open(fixture_directory, &options, &pool));
    for (size_t i = 0; i < 2; i++)
        blocks_compare(i);
    close_pool(false);
    others_compare();
    restore(device, set, count);
}

static void what_changes_silently_is_found_and_never_returned_as_data(void **context)
{
    (void)context;
    truth_quiet();
    truth_make(&truths[0], "one", data_mib * MIB / COFFER_BLOCK);
    truth_make(&truths[1], "two", truths[0].blocks / 4);
    truth_write(&truths[0], 0, truths[0].blocks, UINT64_C(1) << 40);
    truth_write(&truths[1], 0, truths[1].blocks, (UINT64_C(1) << 40) + truths[1].blocks); /* duplicates */
    publish();
    stored_gather();
    snprintf(path, sizeof path, "%s", pool->group->devices[0]->path);
    close_pool(true); /* so that nothing moves any more */
    assert_clean();
    int device = open(path, O_RDWR | O_CLOEXEC);
    assert_true(device >= 0);
    for (uint64_t done = 0, now; done < blocks_wanted; done += now)
        set_run(device, (size_t)(now = MIN(blocks_wanted - done, SET_BLOCKS)));
    close(device);
    assert_clean();
    assert_int_equal(found_bad + found_other, blocks_wanted);
    print_message("%llu MiB stored; %llu blocks corrupted: %llu of data, %llu of maps and tables, all found\n",
                  (unsigned long long)(stored_bytes >> 20), (unsigned long long)blocks_wanted,
                  (unsigned long long)found_bad, (unsigned long long)found_other);
}

static int teardown(void **context)
{
    for (size_t i = 0; i < 2; i++) {
        truth_free(&truths[i]);
        free(unit_of[i]);
        free(leaf_of[i]);
    }
    free(stored);
    return pool_teardown(context);
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_changes_silently_is_found_and_never_returned_as_data, pool_setup,
                                        teardown),
    };
    if (count > 1)
        blocks_wanted = strtoull(arguments[1], NULL, 10);
    if (count > 2)
        data_mib = strtoull(arguments[2], NULL, 10);
    if (count > 3)
        dice.state = strtoull(arguments[3], NULL, 10);
    fixture_size = MAX(FIXTURE_SIZE, 3 * data_mib * MIB);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
