/*
 * Noise over any one segment: the pool opens, `check` names the ranges of objects that are lost, and just those cannot
 * be read; all else is right, can be written, merged and read again after that. Of the journal behind the checkpoint it
 * is refused, with what is missing. Noise over both superblock copies at one end changes nothing.
 *
 * Each case begins from the same image, kept in memory. By hand, with more data and sessions (each has segments of its
 * own): lost_segment_test [SESSIONS [BLOCKS]]
 */
#include "tests/unit/check_fixture.h"
#include "tests/unit/truth_fixture.h"

#define POOL_BYTES    (UINT64_C(140) << 20)
#define SEGMENT_BYTES (UINT64_C(4) << 20)
#define OBJECTS       3 /* and, where the cleaner is at work, a snapshot and a clone */
#define VERSIONS      5
#define SNAPSHOT      3

static unsigned sessions = 2;
static size_t unused_most = 2; /* segments that hold nothing, of which each is like the others */
static uint64_t session_blocks = 120;
static struct truth truths[VERSIONS];
static uint64_t components[VERSIONS];
static struct uuid uuids[VERSIONS];
static const char *const names[VERSIONS] = {"one", "two", "three", "one@a", "copy"};
static unsigned versions = OBJECTS;

/* ---- the image -----------------------------------------------------------------------------------------------------
 */

static char device_path[128], witness_path[192];
static int device = -1;
static uint8_t *image, witness[65536];
static size_t witness_size;

static size_t file_read(const char *path, uint8_t *bytes, size_t size)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = read(file, bytes, size);
    assert_true(file >= 0 && got > 0 && (size_t)got < size);
    close(file);
    return (size_t)got;
}

/* Closes what was opened by a crash: a clean end would write. */
static void image_take(void)
{
    snprintf(device_path, sizeof device_path, "%s", pool->group->devices[0]->path);
    close_pool(true);
    snprintf(witness_path, sizeof witness_path, "%.128s/%s", fixture_directory, WITNESS_NAME);
    witness_size = file_read(witness_path, witness, sizeof witness);
    device = open(device_path, O_RDWR | O_CLOEXEC);
    image = memory_aligned(POOL_BYTES);
    assert_true(device >= 0 && image != NULL);
    assert_int_equal(pread(device, image, POOL_BYTES, 0), POOL_BYTES);
}

static void range_restore(uint64_t at, size_t size)
{
    AUTO_FREE uint8_t *piece = memory_aligned(size);
    assert_non_null(piece);
    assert_int_equal(pread(device, piece, size, (off_t)at), size);
    if (memcmp(piece, image + at, size) == 0)
        return;
    if (memory_is_zero(image + at, size))
        assert_int_equal(fallocate(device, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)size), 0);
    else
        assert_int_equal(pwrite(device, image + at, size, (off_t)at), size);
}

static void image_restore(void)
{
    for (uint64_t at = 0; at < POOL_BYTES; at += SEGMENT_BYTES)
        range_restore(at, (size_t)MIN(SEGMENT_BYTES, POOL_BYTES - at));
    int file = open(witness_path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_int_equal(write(file, witness, witness_size), witness_size);
    close(file);
}

static void image_forget(void)
{
    close(device);
    free(image);
}

static void noise_write(uint64_t offset, uint64_t size)
{
    struct dice dice = {offset};
    AUTO_FREE uint64_t *noise = memory_aligned(size);
    assert_non_null(noise);
    for (uint64_t i = 0; i < size / sizeof *noise; i++)
        noise[i] = dice_throw(&dice);
    assert_int_equal(pwrite(device, noise, size, (off_t)offset), size);
}

static enum error open_read_only(void)
{
    struct pool_open_options options = {.memory = FIXTURE_MEMORY, .read_only = true};
    error_forget();
    return pool_open(fixture_directory, &options, &pool);
}

/* ---- what the pool has ----------------------------------------------------------------------------------------------
 */

/* Blocks of the object in a few leaves, some of them what another object has, some trimmed again. */
static void session_write(unsigned session)
{
    for (unsigned i = 0; i < OBJECTS; i++) {
        uint64_t seed = (UINT64_C(1) << 40) + session * 100000 + (i == 2 ? 0 : i * 10000); /* one and three share */
        uint64_t first = (session * 530 + i * 13) % (truths[i].blocks - session_blocks);
        truth_write(&truths[i], first, session_blocks, seed);
        truth_write(&truths[i], first + session_blocks / 2, 5, 0);
    }
    publish();
}

static void objects_make(void)
{
    for (unsigned i = 0; i < OBJECTS; i++) {
        truth_make(&truths[i], names[i], 1300 + 200 * i);
        components[i] = component_of(names[i]);
        uuids[i] = look(names[i]).uuid;
    }
    publish();
}

static void pool_fill(void)
{
    objects_make();
    for (unsigned session = 0; session < sessions; session++) {
        session_write(session);
        pool_reopen(session % 2 == 1);
    }
}

/* An object that the catalog has lost is read by its component. */
static void component_truth_read(unsigned i)
{
    uint8_t block[COFFER_BLOCK];
    for (uint64_t n = 0; n < truths[i].blocks; n++) {
        truths[i].bad[n] = component_read(pool, components[i], n, 1, block) != ERROR_NONE;
        if (!truths[i].bad[n])
            block_judge(&truths[i], n, block);
    }
}

static uint64_t all_read(void)
{
    uint64_t bad = 0;
    struct object_info info;
    for (unsigned i = 0; i < versions; i++) {
        if (object_find(pool, names[i], &info) == ERROR_NONE)
            (void)truth_read(&truths[i]);
        else
            component_truth_read(i);
        for (uint64_t n = 0; n < truths[i].blocks; n++)
            bad += truths[i].bad[n];
    }
    return bad;
}

/* ---- what check says
 * ------------------------------------------------------------------------------------------------- */

static bool is_said(unsigned i, uint64_t block)
{
    for (size_t l = 0; l < lost_count; l++)
        if (uuid_equal(losses[l].uuid, uuids[i]) && block * COFFER_BLOCK >= losses[l].offset &&
            block * COFFER_BLOCK < losses[l].offset + losses[l].length)
            return true;
    return false;
}

static void losses_compare(uint64_t serial)
{
    for (unsigned i = 0; i < versions; i++)
        for (uint64_t block = 0; block < truths[i].blocks; block++)
            if (truths[i].bad[block] != is_said(i, block))
                fail_msg("segment %llu: block %llu of %s %s", (unsigned long long)serial, (unsigned long long)block,
                         names[i], truths[i].bad[block] ? "is lost and not named" : "is named and not lost");
    for (size_t l = 1; l < lost_count; l++)
        assert_true(!uuid_equal(losses[l].uuid, losses[l - 1].uuid) ||
                    losses[l].offset > losses[l - 1].offset + losses[l - 1].length);
}

/* ---- and that it goes on
 * ------------------------------------------------------------------------------------------------ */

/* Blocks in every leaf, of which some were there and some not, in a session of its own; twice, so that what the first
 * merge made of the loss is read by a second. */
static void goes_on(uint64_t serial)
{
    struct object_info info;
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < versions; i++)
            for (uint64_t block = round; i != SNAPSHOT &&
                 object_find(pool, names[i], &info) == ERROR_NONE && block + 4 < truths[i].blocks; block += 97)
                truth_write(&truths[i], block, 3, block % 2 ? (UINT64_C(1) << 41) + block : 0);
        publish();
        assert_false(group_is_fenced(pool->group));
    }
    (void)all_read();
    close_pool(false);
    assert_fine(check());
    losses_compare(serial);
}

struct seen {
    uint64_t serial, offset;
    unsigned kind;
    bool used, replayed;
};

static size_t segments_see(struct seen *seen, size_t capacity)
{
    assert_fine(open_read_only());
    const struct segments *segments = &pool->group->segments;
    assert_true(segments->count <= capacity);
    for (uint32_t i = 0; i < segments->count; i++)
        seen[i] = (struct seen){segments->table[i].serial, segment_offset(segments, i), segments->table[i].kind,
                                segments->table[i].live || segments->table[i].pages,
                                segments->table[i].generation == GENERATION_REPLAYED};
    size_t count = segments->count;
    close_pool(false);
    return count;
}

static uint64_t *seeds_copy(void)
{
    uint64_t all = 0, *copy;
    for (unsigned i = 0; i < versions; i++)
        all += truths[i].blocks;
    copy = malloc(all * sizeof *copy);
    assert_non_null(copy);
    return copy;
}

static void seeds_move(uint64_t *copy, bool back)
{
    for (unsigned i = 0; i < versions; copy += truths[i].blocks, i++)
        memcpy(back ? truths[i].seeds : copy, back ? copy : truths[i].seeds, truths[i].blocks * sizeof *copy);
}

static void case_run(const struct seen *seen, uint64_t *bad_by_kind, uint64_t *seeds)
{
    noise_write(seen->offset, SEGMENT_BYTES);
    assert_fine(check());
    assert_fine(seen->used ? pool_try_open() : open_read_only());
    bad_by_kind[seen->kind] += all_read();
    losses_compare(seen->serial);
    if (seen->used) {
        assert_int_not_equal(found_count, 0);
        seeds_move(seeds, false);
        goes_on(seen->serial);
        seeds_move(seeds, true);
        image_restore();
    } else {
        close_pool(false);
        range_restore(seen->offset, SEGMENT_BYTES); /* nothing else was written */
    }
}

static void noise_over_any_segment_loses_just_what_check_names(void **context)
{
    struct seen seen[64];
    uint64_t bad[SEGMENT_COLD + 1] = {0}, *seeds;
    (void)context;
    truth_quiet();
    pool_fill();
    close_pool(false);
    assert_fine(open_read_only());
    image_take();
    size_t count = segments_see(seen, COUNT_OF(seen));
    seeds = seeds_copy();
    for (size_t i = 0, unused = 0; i < count; i++)
        if (seen[i].used || unused++ < unused_most)
            case_run(&seen[i], bad, seeds);
    free(seeds);
    image_forget();
    assert_true(bad[SEGMENT_JOURNAL] + bad[SEGMENT_COLD] > 0); /* what is left alone for long is moved, and compressed harder */
    assert_true(bad[SEGMENT_META] > 0);
    assert_int_equal(bad[SEGMENT_TWIN], 0);
    assert_int_equal(bad[0], 0);
    assert_clean();
}

/* ---- what the cleaner moved
 * ------------------------------------------------------------------------------------------------ */

static void version_take(unsigned i, unsigned of)
{
    truths[i] = (struct truth){names[i], truths[of].blocks, malloc(truths[of].blocks * sizeof *truths[i].seeds),
                               memory_zeroed(truths[of].blocks, 1)};
    assert_true(truths[i].seeds && truths[i].bad);
    memcpy(truths[i].seeds, truths[of].seeds, truths[of].blocks * sizeof *truths[i].seeds);
    uuids[i] = look(names[i]).uuid;
}

/* Data that a snapshot, a clone and the object itself share, beside what died or went on: the cleaner moves it. */
static void cold_make(void)
{
    struct uuid uuid;
    assert_fine(object_snapshot(pool, &names[0], 1, "a", false, 0));
    assert_fine(object_clone(pool, names[SNAPSHOT], names[4], &uuid));
    publish();
    version_take(SNAPSHOT, 0);
    version_take(4, SNAPSHOT);
    versions = VERSIONS;
    truth_write(&truths[4], 40, 20, (UINT64_C(1) << 44) + 1);
    for (unsigned i = 0; i < 2; i++)
        for (uint64_t block = 0; block + 16 < truths[i].blocks; block += 32)
            truth_write(&truths[i], block, 16, block % 64 ? (UINT64_C(1) << 45) + (i << 20) + block : 0);
    publish();
    atomic_store(&clean_always, true);
    for (unsigned n = 0; n < 12; n++) {
        truth_write(&truths[2], 500 + n, 1, (UINT64_C(1) << 46) + n);
        publish();
    }
    atomic_store(&clean_always, false);
    assert_true(atomic_load(&pool->group->totals.segments_cleaned) > 0);
    for (unsigned i = 0; i < versions; i++)
        components[i] = component_of(names[i]);
}

/* Damaged blocks of each version are counted apart. */
static void noise_over_what_the_cleaner_moved_loses_just_what_check_names(void **context)
{
    struct seen seen[64];
    uint64_t bad[SEGMENT_COLD + 1] = {0}, lost_of[VERSIONS] = {0}, *seeds;
    (void)context;
    truth_quiet();
    pool_fill();
    cold_make();
    close_pool(false);
    assert_fine(open_read_only());
    image_take();
    size_t count = segments_see(seen, COUNT_OF(seen));
    seeds = seeds_copy();
    for (size_t i = 0; i < count; i++) {
        if (!seen[i].used || seen[i].kind != SEGMENT_COLD)
            continue;
        case_run(&seen[i], bad, seeds);
        for (unsigned v = 0; v < versions; v++)
            for (uint64_t block = 0; block < truths[v].blocks; block++)
                lost_of[v] += truths[v].bad[block];
    }
    free(seeds);
    image_forget();
    assert_true(bad[SEGMENT_COLD] > 0);
    assert_true(lost_of[0] > 0 && lost_of[1] > 0 && lost_of[SNAPSHOT] > 0 && lost_of[4] > 0);
    assert_clean();
}

/* ---- superblocks
 * ------------------------------------------------------------------------------------------------------- */

static void noise_over_the_superblocks_at_one_end_loses_nothing(void **context)
{
    (void)context;
    truth_quiet();
    pool_fill();
    close_pool(false);
    assert_fine(open_read_only());
    image_take();
    for (uint32_t end = 0; end < 2; end++) {
        noise_write(superblock_offset(POOL_BYTES, 2 * end), 2 * SUPERBLOCK_SIZE);
        assert_fine(check());
        assert_int_equal(lost_count, 0);
        assert_int_equal(found_count, 2);
        assert_fine(pool_try_open());
        assert_int_equal(all_read(), 0);
        close_pool(false);
        assert_clean();
        image_restore();
    }
    image_forget();
}

/* ---- behind the checkpoint
 * ------------------------------------------------------------------------------------------------ */

/* Segments of writes that each were flushed, and in the last one only the newest append. */
static void journal_fill(void)
{
    uint64_t first = 0, serial = 0;
    for (unsigned segments = 0, n = 0; segments < 3; n++) {
        truth_write(&truths[n % OBJECTS], first, 60, (UINT64_C(1) << 42) + n * 1000);
        assert_fine(group_sync(pool->group));
        uint64_t now = entry_serial(entry_of(names[n % OBJECTS], first + 59));
        segments += serial != 0 && now != serial;
        serial = now;
        first = (first + 61) % (truths[0].blocks - 100);
    }
}

static void says(const char *words)
{
    if (strstr(error_sentence(ERROR_CORRUPT), words) == NULL)
        fail_msg("'%s' does not say '%s'", error_sentence(ERROR_CORRUPT), words);
}

/* Those that are prepared ahead stand in the table then, as segments that nothing was written to. */
static void all_ahead_publish(void)
{
    struct group *group = pool->group;
    for (unsigned ahead = 0, tries = 0; ahead < LOG_FURTHER_MAX; tries++) {
        assert_true(tries < 1000);
        clock_sleep(10 * CLOCK_MILLISECOND);
        mutex_lock(&group->lock);
        ahead = group->journal.further_count;
        mutex_unlock(&group->lock);
    }
    session_write(1);
    assert_fine(group_publish(group));
}

static void journal_noise(bool published)
{
    struct seen seen[64];
    unsigned refused = 0, opened = 0;
    uint64_t newest = 0;
    truth_quiet();
    objects_make();
    session_write(0);
    pool_reopen(false);
    if (published)
        all_ahead_publish();
    journal_fill();
    newest = pool->group->segments.table[pool->group->journal.segment].serial;
    image_take();
    size_t count = segments_see(seen, COUNT_OF(seen));
    for (size_t i = 0; i < count; i++) {
        if (!seen[i].replayed)
            continue;
        noise_write(seen[i].offset, SEGMENT_BYTES);
        enum error error = open_read_only();
        if (error) {
            assert_int_equal(error, ERROR_CORRUPT);
            says("the journal is damaged at segment");
            says("what was flushed between sequence");
            says("It may concern component");
            refused++;
        } else {
            assert_true(seen[i].serial >= newest); /* nothing but the newest append was in it, or nothing yet */
            opened++;
            close_pool(false);
        }
        image_restore();
    }
    image_forget();
    assert_true(refused >= 2);
    assert_true(opened <= 2 + LOG_FURTHER_MAX);
    assert_fine(pool_try_open());
    assert_int_equal(all_read(), 0);
}

static void noise_over_the_journal_is_refused_with_what_is_missing(void **context)
{
    (void)context;
    journal_noise(false);
}

static void noise_over_what_was_prepared_before_a_publish_is_refused(void **context)
{
    (void)context;
    journal_noise(true);
}

static int setup(void **context)
{
    fixture_size = POOL_BYTES;
    return pool_setup(context);
}

static int teardown(void **context)
{
    for (unsigned i = 0; i < versions; i++)
        truth_free(&truths[i]);
    versions = OBJECTS;
    return pool_teardown(context);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        TEST(noise_over_any_segment_loses_just_what_check_names),
        TEST(noise_over_what_the_cleaner_moved_loses_just_what_check_names),
        TEST(noise_over_the_superblocks_at_one_end_loses_nothing),
        TEST(noise_over_the_journal_is_refused_with_what_is_missing),
        TEST(noise_over_what_was_prepared_before_a_publish_is_refused),
    };
    if (count > 1)
        unused_most = SIZE_MAX;
    if (count > 1)
        sessions = (unsigned)strtoul(arguments[1], NULL, 10);
    if (count > 2)
        session_blocks = strtoull(arguments[2], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
