/*
 * `check --repair` destroys no evidence: what it lets go of is in a file before it writes, and stays there whatever is written
 * to the pool afterwards; where there is no room for the file nothing is changed, unless somebody types that it may go.
 */
#include "engine/pool/evidence_file.h"
#include "tests/unit/evidence_fixture.h"

#define POOL_BYTES  (UINT64_C(140) << 20)
#define DISK_BLOCKS (UINT64_C(10) << 10) /* 40 MiB */

static struct pool_repair_report *kept;

static enum error repair_with(struct pool_open_options options)
{
    options.memory = FIXTURE_MEMORY;
    error_forget();
    return pool_repair(fixture_directory, &options, kept);
}

static enum error repair(void) { return repair_with((struct pool_open_options){0}); }

/* More bytes than the pool has, none of them twice; what the objects had is dropped by and by. */
static void pools_worth_write(void)
{
    struct truth truth;
    assert_fine(pool_try_open());
    truth_make(&truth, "much", DISK_BLOCKS);
    for (uint64_t round = 0; round < POOL_BYTES / (DISK_BLOCKS * COFFER_BLOCK) + 1; round++) {
        truth_write(&truth, 0, DISK_BLOCKS, (UINT64_C(1) << 43) + (round << 32) + 1);
        publish();
    }
    assert_int_equal(truth_read(&truth), 0);
    truth_free(&truth);
    close_pool(false);
}

static void all_is_kept(const char *directory, const struct cut_journal *journal)
{
    for (size_t i = 0; i < journal->count; i++)
        if (!evidence_files(directory, &journal->rows[i]))
            fail_msg("block %zu behind the cut is in no file", i);
}

static size_t left_on_device(const struct cut_journal *journal)
{
    size_t left = 0;
    for (size_t i = 0; i < journal->count; i++)
        left += device_has(&journal->rows[i]);
    return left;
}

static void cut_make(struct cut_journal *journal, unsigned rounds)
{
    struct truth truth;
    truth_quiet();
    fill();
    truth_make(&truth, "disk", 4096);
    publish();
    cut_journal_make(journal, &truth, rounds);
    truth_free(&truth);
}

static void what_follows_a_cut_of_the_journal_is_kept(void **context)
{
    struct cut_journal journal;
    (void)context;
    cut_make(&journal, 50); /* three segments */
    assert_fine(repair());
    assert_int_equal(kept->kept_count, 1);
    assert_true(kept->kept[0].bytes > 8 * MIB && kept->kept[0].unread == 0);
    assert_int_equal(evidence_files(fixture_directory, NULL), 1);
    all_is_kept(fixture_directory, &journal);
    assert_clean();
    pools_worth_write();
    assert_true(left_on_device(&journal) < journal.count); /* else this proved nothing */
    all_is_kept(fixture_directory, &journal);
    assert_int_equal(unlink(kept->kept[0].path), 0); /* what it says to type */
    assert_clean();
    kept_free(&journal);
}

/* What is damaged and cannot be made again stays; the copy that was made anew is in the file. */
static void a_damaged_unit_stays_and_a_damaged_copy_is_kept(void **context)
{
    struct truth truth;
    (void)context;
    truth_quiet();
    fill();
    truth_make(&truth, "keep", 8);
    truth_write(&truth, 0, 8, (UINT64_C(1) << 42) + 1);
    publish();
    struct map_entry entry = entry_of("keep", 4);
    struct spot unit = address_spot(entry_serial(entry), entry_offset(entry));
    struct tree tree = table_tree(TABLE_COMPONENTS);
    struct spot page = root_spot(&tree, true);
    close_pool(true);
    flip(&unit);
    flip(&page);
    struct kept unit_bytes = kept_take(unit.path, unit.offset / BLOCK_SIZE * BLOCK_SIZE, BLOCK_SIZE);
    struct kept page_bytes = kept_take(page.path, page.offset / BLOCK_SIZE * BLOCK_SIZE, BLOCK_SIZE);
    assert_fine(repair());
    assert_fine(check());
    assert_int_equal(lost_count, 1);
    assert_int_equal(evidence_files(fixture_directory, &unit_bytes), 0);
    assert_int_equal(evidence_files(fixture_directory, &page_bytes), 1);
    pools_worth_write();
    assert_true(device_has(&unit_bytes));
    assert_fine(check());
    assert_int_equal(lost_count, 1);
    free(unit_bytes.bytes);
    free(page_bytes.bytes);
    truth_free(&truth);
}

static void a_damaged_record_and_superblock_are_kept(void **context)
{
    struct kept rows[3];
    (void)context;
    truth_quiet();
    fill();
    struct spot spots[3] = {device_spot(superblock_offset(POOL_BYTES, 1) + 100), device_spot(superblock_offset(POOL_BYTES, 3) + 9000),
                            device_spot(0)};
    close_pool(false); /* the witness has seen its record */
    assert_fine(pool_open(fixture_directory, &(struct pool_open_options){.memory = FIXTURE_MEMORY, .read_only = true}, &pool));
    spots[2].offset =
        checkpoint_offset(&pool->group->superblocks[0], checkpoint_copy(pool->group->checkpoint.number, 1)) + 200;
    close_pool(false);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        flip(&spots[i]);
        rows[i] = kept_take(spots[i].path, spots[i].offset / BLOCK_SIZE * BLOCK_SIZE, BLOCK_SIZE);
    }
    assert_fine(repair());
    assert_clean();
    assert_int_equal(kept->kept_count, 2); /* of superblocks, and of all else */
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(evidence_files(fixture_directory, &rows[i]), 1);
        assert_true(i == 2 || !device_has(&rows[i]));
        free(rows[i].bytes);
    }
}

/* CRC-32 of the fixed part from byte 16 on, its MACs taken as zero. */
static uint32_t crc_of(const uint8_t *fixed)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 16; i < sizeof(struct superblock_format); i++) {
        crc ^= i < 16 + 64 ? 0 : fixed[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ UINT32_C(0xedb88320) : crc >> 1;
    }
    return ~crc;
}

/* What is in the clear of a copy is anybody's to write. */
static void an_altered_superblock_that_says_it_is_old_is_kept(void **context)
{
    struct superblock_format fixed;
    (void)context;
    truth_quiet();
    fill();
    struct spot spot = device_spot(superblock_offset(POOL_BYTES, 1));
    close_pool(false);
    assert_fine(pool_try_open());
    close_pool(false);
    int device = open(spot.path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(device, &fixed, sizeof fixed, (off_t)spot.offset), sizeof fixed);
    assert_int_equal(crc_of((const uint8_t *)&fixed), le32_get(fixed.crc));
    assert_true(le64_get(fixed.epoch) > 0);
    fixed.epoch = le64_make(le64_get(fixed.epoch) - 1);
    fixed.crc = le32_make(crc_of((const uint8_t *)&fixed));
    assert_int_equal(pwrite(device, &fixed, sizeof fixed, (off_t)spot.offset), sizeof fixed);
    close(device);
    struct kept altered = kept_take(spot.path, spot.offset, BLOCK_SIZE);
    assert_fine(repair());
    assert_int_equal(evidence_files(fixture_directory, &altered), 1);
    assert_false(device_has(&altered));
    assert_clean();
    free(altered.bytes);
}

static void nothing_is_changed(const struct cut_journal *journal)
{
    assert_int_equal(left_on_device(journal), journal->count);
    assert_int_equal(evidence_files(fixture_directory, NULL), 0);
    assert_refused(pool_try_open(), ERROR_CORRUPT, "the journal is damaged");
    pool = NULL;
}

static void without_room_nothing_is_changed(void **context)
{
    struct cut_journal journal;
    (void)context;
    cut_make(&journal, 3);
    atomic_store(&evidence_room, 1000);
    assert_refused(repair(), ERROR_NO_SPACE, "--discard-evidence");
    nothing_is_changed(&journal);
    atomic_store(&evidence_room, 1000 * MIB); /* others need the rest of the pool directory's file system */
    assert_refused(repair(), ERROR_NO_SPACE, "are to stay free");
    nothing_is_changed(&journal);
    assert_int_equal(repair_with((struct pool_open_options){.evidence_directory = "/nowhere"}), ERROR_NOT_FOUND);
    nothing_is_changed(&journal);
    assert_fine(repair_with((struct pool_open_options){.evidence_directory = fixture_root}));
    atomic_store(&evidence_room, UINT64_MAX);
    assert_int_equal(evidence_files(fixture_directory, NULL), 0);
    all_is_kept(fixture_root, &journal);
    assert_clean();
    kept_free(&journal);
}

struct turning {
    struct spot spot;
    unsigned opens, turns_at;
};

static enum error open_turning(const char *path, unsigned flags, void *context, struct device **device)
{
    struct turning *turning = context;
    if (++turning->opens == turning->turns_at)
        flip(&turning->spot);
    return device_open_file(path, flags, device);
}

/* The repair opens the device for its superblocks, for its look, and for what it writes. */
static void a_journal_that_changes_behind_the_look_is_not_cut(void **context)
{
    struct cut_journal journal;
    (void)context;
    cut_make(&journal, 3);
    struct turning turning = {.spot = journal.good, .turns_at = 3};
    struct pool_open_options options = {.open_device = open_turning, .open_device_context = &turning};
    assert_refused(repair_with(options), ERROR_CORRUPT, "a moment ago it did not");
    assert_int_equal(turning.opens, 3);
    assert_int_equal(left_on_device(&journal), journal.count);
    flip(&journal.good);
    assert_fine(repair());
    all_is_kept(fixture_directory, &journal);
    assert_clean();
    kept_free(&journal);
}

static uint64_t size_of(const char *path)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    return (uint64_t)status.st_size;
}

static void byte_turn(const char *path, uint64_t offset)
{
    struct spot spot = {.offset = offset};
    snprintf(spot.path, sizeof spot.path, "%.120s", path);
    flip(&spot);
}

/* As after a repair that was cut short behind its file. */
static void copy_back(const struct kept *device)
{
    int file = open(device->path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(file, device->bytes, device->size, (off_t)device->offset), device->size);
    close(file);
}

/* Once more with what lay there, and a file under its name that is another. */
static void a_file_under_the_name_counts_only_if_it_is_the_same(void **context)
{
    struct cut_journal journal;
    (void)context;
    cut_make(&journal, 3);
    struct kept device = kept_take(journal.rows[0].path, 0, POOL_BYTES);
    assert_fine(repair());
    AUTO_FREE char *first = strdup(kept->kept[0].path);
    for (unsigned names = 1; names <= 4; names++) {
        char second[EVIDENCE_PATH_MAX + 8];
        snprintf(second, sizeof second, "%s-2", first);
        if (names == 2)
            byte_turn(first, 5); /* of the line */
        if (names == 3) {
            byte_turn(first, 5);
            byte_turn(first, size_of(first) - 5000);
        }
        if (names == 4)
            assert_true(unlink(first) == 0 && symlink(second, first) == 0);
        copy_back(&device);
        assert_fine(repair_with((struct pool_open_options){.accept_rollback = true}));
        assert_int_equal(kept->kept_count, 1);
        assert_string_equal(kept->kept[0].path, names == 1 ? first : second);
        assert_int_equal(access(second, F_OK) == 0, names > 1);
    }
    free(device.bytes);
    kept_free(&journal);
}

/* That is told at once, and not behind a check that takes hours. */
static void the_directory_that_is_named_is_looked_at_first(void **context)
{
    struct turning opened = {.turns_at = 100};
    struct pool_open_options options = {.open_device = open_turning, .open_device_context = &opened};
    (void)context;
    fill();
    close_pool(false);
    options.evidence_directory = "/nowhere";
    assert_int_equal(repair_with(options), ERROR_NOT_FOUND);
    options.evidence_directory = "/proc/self/status";
    assert_int_equal(repair_with(options), ERROR_INVALID);
    options.evidence_directory = fixture_root;
    atomic_store(&evidence_room, 1000);
    assert_refused(repair_with(options), ERROR_NO_SPACE, "is full");
    atomic_store(&evidence_room, UINT64_MAX);
    assert_int_equal(opened.opens, 0);
    assert_fine(repair_with(options));
    assert_true(opened.opens > 0);
}

/* It may hold users' plaintext. */
static void a_file_in_a_directory_that_is_named_is_not_its_owners(void **context)
{
    struct cut_journal journal;
    struct stat status;
    (void)context;
    if (geteuid() != 0)
        skip();
    cut_make(&journal, 3);
    assert_int_equal(chown(fixture_root, 65534, 65534), 0);
    enum error error = repair_with((struct pool_open_options){.evidence_directory = fixture_root});
    assert_int_equal(chown(fixture_root, 0, 0), 0);
    assert_fine(error);
    assert_int_equal(stat(kept->kept[0].path, &status), 0);
    assert_int_equal(status.st_uid, 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    kept_free(&journal);
}

static void what_may_go_is_not_kept(void **context)
{
    struct cut_journal journal;
    (void)context;
    cut_make(&journal, 3);
    atomic_store(&evidence_room, 1000);
    assert_fine(repair_with((struct pool_open_options){.discard_evidence = true}));
    atomic_store(&evidence_room, UINT64_MAX);
    assert_int_equal(kept->kept_count, 0);
    assert_true(kept->discarded > 0);
    assert_int_equal(evidence_files(fixture_directory, NULL), 0);
    assert_clean();
    kept_free(&journal);
}

/* There was no memory for the first piece. */
static void a_list_without_memory_is_not_an_empty_one(void **context)
{
    struct evidence none = {0}, unknown = {.incomplete = true};
    const struct evidence_source source = {.directory = fixture_directory};
    struct pool_open_options options = {0};
    (void)context;
    assert_fine(evidence_save(&none, &source, &options, kept));
    assert_int_equal(evidence_save(&unknown, &source, &options, kept), ERROR_NO_MEMORY);
    options.discard_evidence = true;
    assert_fine(evidence_save(&unknown, &source, &options, kept));
}

static void pieces_that_touch_keep_their_words(void **context)
{
    static const uint64_t places[][2] = {{0, 1}, {1, 1}, {2, 2}, {3, 2}, {9, 1}};
    static const char *const words[] = {"superblock", "superblock", "record", "record", "record"};
    struct evidence evidence = {0};
    (void)context;
    for (size_t i = COUNT_OF(places); i-- > 0;)
        evidence_add(&evidence, 0, places[i][0] * BLOCK_SIZE, places[i][1] * BLOCK_SIZE, words[i]);
    evidence_order(&evidence);
    assert_int_equal(evidence.count, 3);
    assert_int_equal(evidence.pieces[0].length, 2 * BLOCK_SIZE);
    assert_string_equal(evidence.pieces[0].what, "superblock");
    assert_int_equal(evidence.pieces[1].offset, 2 * BLOCK_SIZE);
    assert_int_equal(evidence.pieces[1].length, 3 * BLOCK_SIZE);
    assert_string_equal(evidence.pieces[1].what, "record");
    evidence_forget(&evidence);
}

static void a_whole_pool_leaves_no_file(void **context)
{
    (void)context;
    fill();
    close_pool(false);
    assert_fine(repair());
    assert_int_equal(kept->kept_count, 0);
    assert_int_equal(evidence_files(fixture_directory, NULL), 0);
}

static int setup(void **context)
{
    kept = memory_zeroed(1, sizeof *kept);
    fixture_size = POOL_BYTES;
    return kept ? pool_setup(context) : -1;
}

static int teardown(void **context)
{
    free(kept);
    return pool_teardown(context);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_follows_a_cut_of_the_journal_is_kept),
        TEST(a_damaged_unit_stays_and_a_damaged_copy_is_kept),
        TEST(a_damaged_record_and_superblock_are_kept),
        TEST(without_room_nothing_is_changed),
        TEST(an_altered_superblock_that_says_it_is_old_is_kept),
        TEST(a_file_under_the_name_counts_only_if_it_is_the_same),
        TEST(a_journal_that_changes_behind_the_look_is_not_cut),
        TEST(the_directory_that_is_named_is_looked_at_first),
        TEST(a_file_in_a_directory_that_is_named_is_not_its_owners),
        TEST(what_may_go_is_not_kept),
        TEST(a_list_without_memory_is_not_an_empty_one),
        TEST(pieces_that_touch_keep_their_words),
        TEST(a_whole_pool_leaves_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
