/*
 * The checker refuses what it cannot check, and finds nothing in whole pools, however they were left and whatever they
 * are made of.
 */
#include "tests/unit/check_fixture.h"

/* ---- refused -------------------------------------------------------------------------------------------------- */

static void a_pool_that_is_not_there_is_refused(void **context)
{
    (void)context;
    struct pool_open_options options = {0};
    char none[200];
    snprintf(none, sizeof none, "%s/none", fixture_root);
    assert_int_equal(pool_check(none, &options, &(struct check_listener){.found = found}, &report), ERROR_NOT_FOUND);
}

static void a_pool_in_use_is_refused(void **context)
{
    (void)context;
    assert_int_equal(check(), ERROR_IN_USE);
}

/* ---- clean ---------------------------------------------------------------------------------------------------- */

static void a_new_pool_is_clean(void **context)
{
    (void)context;
    close_pool(false);
    assert_clean();
}

static void a_pool_that_was_never_opened_is_clean(void **context)
{
    (void)context;
    struct pool_create_options options = {.directory = fixture_directory,
                                          .size = FIXTURE_SIZE,
                                          .encryption = true,
                                          .fingerprint = POOL_FINGERPRINT_XXH3,
                                          .seal = "file"};
    close_pool(false);
    snprintf(fixture_directory, sizeof fixture_directory, "%s/other", fixture_root);
    assert_fine(pool_create(&options));
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
    check_window_chunks = 0;
}

static enum error window_see(struct check *check, void *context)
{
    *(struct check_window *)context = check->window;
    return ERROR_NONE;
}

/* Each window is a walk over all maps: at 64 GiB a pool of 100 TB has 90, not 23,000. */
static void windows_are_as_large_as_the_memory_of_the_pool_allows(void **context)
{
    struct check_window window;
    (void)context;
    close_pool(false);
    for (uint64_t memory = FIXTURE_MEMORY; memory <= 4 * GIB; memory *= 4) {
        struct pool_open_options options = {.memory = memory};
        assert_fine(check_opened(fixture_directory, &options, &(struct check_listener){.found = found}, &report, window_see, &window));
        uint64_t bytes = window.size * (sizeof *window.chunks + sizeof *window.order);
        assert_int_equal(window.size % COUNTS_PER_PAGE, 0);
        assert_true(window.size >= CHECK_WINDOW_CHUNKS && bytes >= memory / 5);
        assert_true(window.size == CHECK_WINDOW_CHUNKS || bytes <= memory / 4);
    }
}

/* ---- other pools ---------------------------------------------------------------------------------------------- */

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

#define TEST(name) cmocka_unit_test_setup_teardown(name, pool_setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_pool_that_is_not_there_is_refused),
        TEST(a_pool_in_use_is_refused),
        TEST(a_new_pool_is_clean),
        TEST(a_pool_that_was_never_opened_is_clean),
        TEST(a_pool_with_data_is_clean),
        TEST(a_crashed_pool_is_clean),
        TEST(what_was_deleted_and_overwritten_leaves_a_clean_pool),
        TEST(checking_twice_changes_nothing),
        TEST(random_work_leaves_a_clean_pool_however_it_ends),
        TEST(small_windows_find_the_same),
        TEST(windows_are_as_large_as_the_memory_of_the_pool_allows),
        TEST(a_pool_of_several_devices_is_clean),
        TEST(a_plaintext_pool_is_clean),
        TEST(a_pool_with_the_other_fingerprint_is_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
