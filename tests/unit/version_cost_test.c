/*
 * What versions cost: bytes of metadata are held against their limits. Times are the machine's: they are measured and
 * printed, by hand, where VERSION_COST_TIMES is set. VERSION_COST_BLOCKS: of the object, 16384 otherwise.
 */
#include "tests/unit/pool_fixture.h"

#include <unistd.h>

static uint64_t blocks = 16384;
static uint64_t state = 88172645463325252;

static uint64_t below(uint64_t end)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % end;
}

/* Random blocks of random content, 64 a batch. */
static void write_random(const char *name, uint64_t count)
{
    struct volume *volume;
    struct request requests[64];
    uint64_t *bytes = malloc(64 * COFFER_BLOCK);
    assert_fine(volume_open(pool, name, false, &volume));
    for (uint64_t done = 0; done < count; done += 64) {
        for (size_t i = 0; i < 64 * COFFER_BLOCK / 8; i++)
            bytes[i] = below(UINT64_MAX);
        for (unsigned i = 0; i < 64; i++)
            requests[i] = (struct request){.type = REQUEST_WRITE,
                                           .offset = below(blocks) * COFFER_BLOCK,
                                           .length = COFFER_BLOCK,
                                           .data = (uint8_t *)bytes + (size_t)i * COFFER_BLOCK};
        volume_execute(volume, requests, 64, fixture_answer, NULL);
        for (unsigned i = 0; i < 64; i++)
            assert_fine(requests[i].error);
    }
    volume_close(volume);
    free(bytes);
}

/* Written to meta and twin so far. */
static uint64_t metadata_bytes(void)
{
    publish();
    mutex_lock(&pool->group->lock);
    uint64_t bytes = pool->group->meta.bytes + pool->group->twin.bytes;
    mutex_unlock(&pool->group->lock);
    return bytes;
}

static uint64_t chunks_written(void)
{
    struct pool_status status;
    assert_fine(pool_status(pool, &status));
    return status.chunks_written;
}

static uint64_t overwrite_cost(uint64_t count)
{
    uint64_t before = metadata_bytes();
    write_random("a", count);
    return metadata_bytes() - before;
}

static void snapshot(const char *name)
{
    const char *names[] = {"a"};
    assert_fine(object_snapshot(pool, names, 1, name, false, 0));
}

static void compare(uint64_t count, const char *name)
{
    uint64_t alone = overwrite_cost(count), chunks = chunks_written();
    snapshot(name);
    uint64_t shared = overwrite_cost(count);
    print_message("%8llu random overwrites: %llu KiB of metadata, behind a snapshot %llu KiB (x %.2f)\n",
                  (unsigned long long)count, (unsigned long long)alone >> 10, (unsigned long long)shared >> 10,
                  (double)shared / (double)alone);
    assert_true(shared * 2 <= alone * 3);
    assert_true(chunks_written() - chunks <= count + 2); /* the documents besides: no data is copied */
}

static void an_overwrite_behind_a_snapshot_writes_half_as_much_metadata_more_at_most(void **context)
{
    (void)context;
    make("a", blocks * COFFER_BLOCK);
    write_random("a", 3 * blocks);
    compare(blocks / 64, "s1");
    compare(blocks / 8, "s2");
    compare(blocks, "s3");
}

/* ---- times ---------------------------------------------------------------------------------------------------------- */

static int time_order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Of a file in the pool's directory, as often. */
static void syncs_time(uint64_t *times, size_t count)
{
    char path[160];
    static const uint8_t block[8192];
    snprintf(path, sizeof path, "%s/probe", fixture_root);
    FILE *file = fopen(path, "w+");
    assert_non_null(file);
    for (size_t i = 0; i < count; i++) {
        uint64_t begin = clock_monotonic();
        assert_int_equal(pwrite(fileno(file), block, sizeof block, (off_t)(i * sizeof block)), sizeof block);
        assert_int_equal(fdatasync(fileno(file)), 0);
        times[i] = clock_monotonic() - begin;
    }
    fclose(file);
    qsort(times, count, sizeof *times, time_order);
}

static void a_thousand_snapshots_take_a_sync_each(void **context)
{
    static uint64_t times[1000], syncs[200];
    char name[16];
    (void)context;
    make("a", blocks * COFFER_BLOCK);
    write_random("a", 4096);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "s%u", i);
        write_random("a", 64);
        uint64_t begin = clock_monotonic();
        snapshot(name);
        times[i] = clock_monotonic() - begin;
    }
    uint64_t last[100];
    memcpy(last, times + 900, sizeof last);
    qsort(times, 1000, sizeof times[0], time_order);
    qsort(last, 100, sizeof last[0], time_order);
    syncs_time(syncs, 200);
    print_message("1000 snapshots: median %.2f ms, 99th %.2f ms, longest %.2f ms; the last 100: median %.2f ms, longest "
                      "%.2f ms; a write and fdatasync: median %.2f ms, 99th %.2f ms\n",
                      (double)times[500] / 1e6, (double)times[990] / 1e6, (double)times[999] / 1e6, (double)last[50] / 1e6,
                      (double)last[99] / 1e6, (double)syncs[100] / 1e6, (double)syncs[198] / 1e6);
}

static uint64_t read_time(const char *name)
{
    struct volume *volume;
    struct request requests[64];
    uint8_t *bytes = malloc(64 * COFFER_BLOCK);
    assert_fine(volume_open(pool, name, true, &volume));
    uint64_t begin = clock_monotonic();
    for (unsigned n = 0; n < 200; n++) {
        for (unsigned i = 0; i < 64; i++)
            requests[i] = (struct request){.type = REQUEST_READ,
                                           .offset = below(blocks) * COFFER_BLOCK,
                                           .length = COFFER_BLOCK,
                                           .data = bytes + (size_t)i * COFFER_BLOCK};
        volume_execute(volume, requests, 64, fixture_answer, NULL);
    }
    uint64_t time = clock_monotonic() - begin;
    volume_close(volume);
    free(bytes);
    return time;
}

static void a_chain_of_a_thousand_clones_reads_like_its_base(void **context)
{
    char name[16] = "a", next[16];
    struct uuid uuid;
    (void)context;
    make("a", blocks * COFFER_BLOCK);
    write_random("a", 2 * blocks);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(next, sizeof next, "c%u", i);
        assert_fine(object_clone(pool, name, next, &uuid));
        memcpy(name, next, sizeof name);
    }
    publish();
    uint64_t base = UINT64_MAX, last = UINT64_MAX;
    for (unsigned n = 0; n < 15; n++) {
        base = MIN(base, read_time("a"));
        last = MIN(last, read_time(name));
    }
    print_message("12800 random reads of the base %.2f ms, of the thousandth clone %.2f ms (x %.3f)\n",
                      (double)base / 1e6, (double)last / 1e6, (double)last / (double)base);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pool_setup, pool_teardown)

int main(void)
{
    const char *given = getenv("VERSION_COST_BLOCKS");
    const struct CMUnitTest costs[] = {TEST(an_overwrite_behind_a_snapshot_writes_half_as_much_metadata_more_at_most)};
    const struct CMUnitTest times[] = {
        TEST(a_thousand_snapshots_take_a_sync_each),
        TEST(a_chain_of_a_thousand_clones_reads_like_its_base),
    };
    if (given)
        blocks = strtoull(given, NULL, 10);
    fixture_size = MAX(UINT64_C(1) << 30, 16 * blocks * COFFER_BLOCK);
    if (getenv("VERSION_COST_TIMES"))
        return cmocka_run_group_tests(times, NULL, NULL);
    return cmocka_run_group_tests(costs, NULL, NULL);
}
