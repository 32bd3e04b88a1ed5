/*
 * Whatever a power loss keeps of the writes that were not flushed, in any subset and torn at 512 bytes, on two devices
 * apart: the checker finds nothing, before and after the pool was opened again. The release list is worked through in
 * small pieces, so that crashes find it in all states.
 */
#include <signal.h>
#include <sys/wait.h>

#include "engine/device/volatile.h"
#include "tests/unit/check_fixture.h"

#define DEVICES     2
#define ROUNDS      12
#define CACHE_BYTES (UINT64_C(128) << 20)

static char disks[DEVICES][128], caches[DEVICES][128];
static uint64_t seed;

static uint64_t below(uint64_t end)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (seed >> 33) % end;
}

static int crash_setup(void **context)
{
    const char *paths[DEVICES];
    assert_int_equal(pool_setup(context), 0);
    close_pool(false);
    snprintf(fixture_directory, sizeof fixture_directory, "%s/other", fixture_root);
    for (unsigned i = 0; i < DEVICES; i++) {
        snprintf(disks[i], sizeof disks[i], "%s/disk%u", fixture_root, i);
        snprintf(caches[i], sizeof caches[i], "%s/cache%u", fixture_root, i);
        assert_fine(device_create_file(disks[i], FIXTURE_SIZE));
        assert_fine(volatile_cache_create(caches[i], CACHE_BYTES));
        paths[i] = disks[i];
    }
    struct pool_create_options options = {.directory = fixture_directory,
                                          .device_paths = paths,
                                          .device_count = DEVICES,
                                          .encryption = true,
                                          .fingerprint = POOL_FINGERPRINT_XXH3,
                                          .seal = "file"};
    assert_fine(pool_create(&options));
    assert_fine(pool_try_open());
    make("one", GIB);
    close_pool(false);
    return 0;
}

static enum error open_volatile(const char *path, unsigned flags, void *context, struct device **device)
{
    (void)flags, (void)context;
    size_t index = strcmp(path, disks[0]) == 0 ? 0 : 1;
    return device_open_volatile(disks[index], caches[index], device);
}

static void work(struct volume *volume)
{
    uint8_t data[16 * COFFER_BLOCK];
    for (size_t i = 0; i < 16; i++)
        block_fill(data + i * COFFER_BLOCK, 1 + (unsigned)below(1000));
    struct request request = {
        .type = below(5)   ? REQUEST_WRITE
                : below(2) ? REQUEST_TRIM
                           : REQUEST_FLUSH,
        .offset = below(4096) * COFFER_BLOCK,
        .length = (1 + below(16)) * COFFER_BLOCK,
        .data = data,
    };
    if (request.type == REQUEST_TRIM && below(4) == 0)
        request.length = (1 + below(4096)) * COFFER_BLOCK;
    volume_execute(volume, &request, 1, fixture_answer, NULL);
    if (request.error)
        _exit(1);
}

/* What exists already, or does not, or is still being freed, is left as it is. */
static void objects_change(void)
{
    char name[16];
    struct uuid uuid;
    snprintf(name, sizeof name, "other%u", (unsigned)below(5));
    if (below(2))
        (void)!object_delete(pool, name, true);
    else if (object_create(pool, name, GIB, &uuid) == ERROR_NONE)
        write_block(name, below(1000) * COFFER_BLOCK, 1 + (unsigned)below(1000));
}

/* In a process of its own, which ends by SIGKILL. */
static _Noreturn void work_and_die(uint64_t round)
{
    struct pool_open_options options = {.memory = FIXTURE_MEMORY, .open_device = open_volatile};
    struct volume *volume;
    seed = round;
    atomic_store(&release_references, 20); /* something waits on the release list at most crashes */
    if (pool_open(fixture_directory, &options, &pool) || volume_open(pool, "one", false, &volume))
        _exit(2);
    for (uint64_t i = 0, end = 20 + below(150); i < end; i++) {
        work(volume);
        if (below(20) == 0)
            objects_change();
        if (below(40) == 0 && group_publish(pool->group))
            _exit(3);
    }
    kill(getpid(), SIGKILL);
    _exit(4);
}

static bool has_releases(void)
{
    struct pool_open_options options = {.memory = FIXTURE_MEMORY, .read_only = true};
    assert_fine(pool_open(fixture_directory, &options, &pool));
    bool found = pool->group->checkpoint.release_end > 0;
    assert_fine(pool_close(pool));
    pool = NULL;
    return found;
}

static void any_power_loss_leaves_a_clean_pool(void **context)
{
    bool had_releases = false;
    (void)context;
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        int status;
        pid_t child = fork();
        if (child == 0)
            work_and_die(round);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        for (unsigned i = 0; i < DEVICES; i++)
            assert_fine(volatile_crash_apply(disks[i], caches[i], VOLATILE_SUBSET_TORN, round * DEVICES + i));
        assert_clean();
        had_releases |= has_releases();
    }
    assert_true(had_releases);
    assert_fine(pool_try_open());
    close_pool(false);
    assert_clean();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(any_power_loss_leaves_a_clean_pool, crash_setup, pool_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
