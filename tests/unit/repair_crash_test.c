/*
 * A power loss in each step of a repair, with what was not flushed lost, or any subset of it kept and torn: what the repair was
 * to let go of is on the device or in a file, and the next repair comes to the same end as one that was not disturbed.
 *
 * The pool has all at once: a cut journal, a damaged copy of a node and of a superblock, lost pages of the chunk table.
 */
#include <signal.h>
#include <sys/wait.h>

#include "engine/device/kind.h"
#include "engine/device/volatile.h"
#include "tests/unit/evidence_fixture.h"

#define POOL_BYTES  (UINT64_C(140) << 20)
#define CACHE_BYTES (UINT64_C(64) << 20)
#define ROUNDS      3

static char disk[128], cache[128], saved[128];
static struct {
    struct device_operations operations;
    const struct device_operations *real;
    _Atomic int steps_left;
} power;

/* The power goes before an operation that changes the device. */
static void power_submit(struct device_io **ios, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (ios[i]->operation != DEVICE_READ && atomic_fetch_sub(&power.steps_left, 1) <= 0)
            kill(getpid(), SIGKILL);
        power.real->submit(&ios[i], 1);
    }
}

static enum error power_open(const char *path, unsigned flags, void *context, struct device **device)
{
    (void)flags, (void)context;
    TRY(device_open_volatile(path, cache, device));
    power.real = (*device)->operations;
    power.operations = *power.real;
    power.operations.submit = power_submit;
    power.operations.run = NULL;
    (*device)->operations = &power.operations;
    return ERROR_NONE;
}

/* ---- the damaged pool, again and again ---------------------------------------------------------------------------------- */

static uint8_t witness[65536];
static ssize_t witness_size;

static void file_copy(const char *from, const char *to)
{
    AUTO_FREE uint8_t *bytes = malloc(MIB);
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(bytes && in >= 0 && out >= 0);
    off_t size = lseek(in, 0, SEEK_END);
    assert_int_equal(ftruncate(out, size), 0);
    for (off_t at = lseek(in, 0, SEEK_DATA); at >= 0 && at < size; at = lseek(in, at, SEEK_DATA)) {
        ssize_t got = pread(in, bytes, MIB, at);
        assert_true(got > 0);
        assert_int_equal(pwrite(out, bytes, (size_t)got, at), got);
        at += got;
    }
    close(in);
    close(out);
}

static void witness_move(bool back)
{
    char path[192];
    snprintf(path, sizeof path, "%.128s/%s", fixture_directory, WITNESS_NAME);
    int file = open(path, back ? O_WRONLY | O_TRUNC | O_CLOEXEC : O_RDONLY | O_CLOEXEC);
    if (back)
        assert_int_equal(write(file, witness, (size_t)witness_size), witness_size);
    else
        witness_size = read(file, witness, sizeof witness);
    assert_true(file >= 0 && witness_size > 0);
    close(file);
}

static void evidence_remove(void)
{
    DIR *listing = opendir(fixture_directory);
    assert_non_null(listing);
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;)
        if (strncmp(entry->d_name, EVIDENCE_PREFIX, strlen(EVIDENCE_PREFIX)) == 0)
            assert_int_equal(unlinkat(dirfd(listing), entry->d_name, 0), 0);
    closedir(listing);
}

static void again(void)
{
    file_copy(saved, disk);
    witness_move(true);
    evidence_remove();
}

static void damage(struct cut_journal *rows, struct truth *truth)
{
    fill();
    truth_make(truth, "disk", 512);
    publish();
    struct tree counts = table_tree(TABLE_COUNTS), places = table_tree(TABLE_PLACES), map = map_tree("one");
    struct spot spots[] = {tree_spot(&counts, 0, false), tree_spot(&places, 0, false), tree_spot(&places, 0, true), tree_spot(&map, 1, true),
                           device_spot(superblock_offset(POOL_BYTES, 2) + 100)};
    snprintf(disk, sizeof disk, "%s", pool->group->devices[0]->path);
    cut_journal_make(rows, truth, ROUNDS);
    for (size_t i = 0; i < COUNT_OF(spots); i++)
        flip(&spots[i]);
    for (size_t i = 3; i < COUNT_OF(spots); i++)
        rows->rows[rows->count++] = kept_take(spots[i].path, spots[i].offset / BLOCK_SIZE * BLOCK_SIZE, BLOCK_SIZE);
    snprintf(saved, sizeof saved, "%s/saved", fixture_root);
    snprintf(cache, sizeof cache, "%s/cache", fixture_root);
    assert_fine(volatile_cache_create(cache, CACHE_BYTES));
    file_copy(disk, saved);
    witness_move(false);
}

/* ---- what is to hold ------------------------------------------------------------------------------------------------------ */

static void nothing_is_gone(const struct cut_journal *rows, int step)
{
    for (size_t i = 0; i < rows->count; i++)
        if (!device_has(&rows->rows[i]) && !evidence_files(fixture_directory, &rows->rows[i]))
            fail_msg("power loss at step %d: row %zu is gone", step, i);
}

static void same_end(const struct cut_journal *rows, struct truth *truth)
{
    struct pool_open_options options = {.memory = FIXTURE_MEMORY};
    assert_fine(pool_repair(fixture_directory, &options, NULL));
    assert_clean();
    for (size_t i = 0; i < rows->count; i++)
        assert_true(evidence_files(fixture_directory, &rows->rows[i]) >= 1);
    assert_true(evidence_files(fixture_directory, NULL) <= 3); /* what a crash left to do may be kept once more */
    assert_fine(pool_try_open());
    for (unsigned i = 0; i < 8; i++)
        assert_block("one", i * COFFER_BLOCK, 100 + i);
    for (unsigned i = 0; i < 4; i++)
        assert_block("two", i * COFFER_BLOCK, 100 + i);
    assert_block("one", 300 * COFFER_BLOCK, 200);
    assert_block("one", CUT_GOOD_BLOCK * COFFER_BLOCK, 50);
    assert_block("one", (CUT_GOOD_BLOCK + 1) * COFFER_BLOCK, 0);
    assert_int_equal(truth_read(truth), 0); /* zeros: all of it was behind the cut */
    close_pool(true);
}

static bool repair_with_power_for(int steps)
{
    struct pool_open_options options = {.memory = FIXTURE_MEMORY, .open_device = power_open};
    int status;
    pid_t child = fork();
    if (child == 0) {
        atomic_store(&power.steps_left, steps);
        _exit(pool_repair(fixture_directory, &options, NULL) ? 1 : 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status))
        assert_int_equal(WEXITSTATUS(status), 0);
    else
        assert_int_equal(WTERMSIG(status), SIGKILL);
    return WIFEXITED(status);
}

static void power_losses(enum volatile_crash kind, int stride)
{
    struct cut_journal rows;
    struct truth truth;
    bool finished = false;
    int step = 0;
    truth_quiet();
    damage(&rows, &truth);
    memset(truth.seeds, 0, truth.blocks * sizeof *truth.seeds);
    for (; !finished; step += stride) {
        again();
        finished = repair_with_power_for(step);
        assert_fine(volatile_crash_apply(disk, cache, kind, (uint64_t)step));
        nothing_is_gone(&rows, step);
        same_end(&rows, &truth);
    }
    assert_true(step > 20);
    kept_free(&rows);
    truth_free(&truth);
}

static void a_power_loss_that_keeps_nothing(void **context)
{
    (void)context;
    power_losses(VOLATILE_DROP_ALL, 1);
}

static void a_power_loss_that_keeps_and_tears_any(void **context)
{
    (void)context;
    power_losses(VOLATILE_SUBSET_TORN, 5);
}

static int setup(void **context)
{
    fixture_size = POOL_BYTES;
    return pool_setup(context);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_power_loss_that_keeps_nothing),
        TEST(a_power_loss_that_keeps_and_tears_any),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
