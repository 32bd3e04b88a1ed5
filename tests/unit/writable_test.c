/* What a status calls safe to write can be written, to the last block, and is not much less than what fits. */
#include "tests/unit/fill_fixture.h"

static uint64_t writable(void)
{
    struct pool_status status;
    assert_fine(pool_status(pool, &status));
    assert_true(status.writable_bytes <= status.free_bytes);
    assert_int_equal(status.used_bytes + status.reserved_bytes + status.free_bytes, status.capacity_bytes);
    return status.writable_bytes;
}

static void what_is_safe_to_write_fits_and_little_more(uint64_t stride)
{
    uint64_t block = 0;
    make("filler", 64 * GIB);
    fill_some("filler", &block, stride, 8 * MIB / COFFER_BLOCK);
    while (writable() > 32 * MIB) {
        uint64_t safe = writable() / COFFER_BLOCK;
        assert_int_equal(fill_some("filler", &block, stride, safe / 2), safe / 2);
    }
    publish(); /* what a merge has not put into the trees yet counts for the most that it may come to */
    uint64_t safe = writable() / COFFER_BLOCK;
    assert_int_equal(fill_some("filler", &block, stride, safe), safe);
    uint64_t more = fill_until_full("filler", &block, stride);
    assert_true(more < 16 * MIB / COFFER_BLOCK);
}

static void what_is_safe_to_write_in_one_go_fits(void **context)
{
    (void)context;
    what_is_safe_to_write_fits_and_little_more(1);
}

static void what_is_safe_to_write_in_scattered_blocks_fits(void **context)
{
    (void)context;
    what_is_safe_to_write_fits_and_little_more(37);
}

static void a_full_pool_has_nothing_safe_to_write(void **context)
{
    uint64_t block = 0;
    (void)context;
    make("filler", 64 * GIB);
    fill_until_full("filler", &block, 1);
    assert_true(writable() < 2 * MIB);
}

static uint64_t used(void)
{
    struct pool_status status;
    assert_fine(pool_status(pool, &status));
    return status.used_bytes;
}

static void flush(const char *name)
{
    struct volume *volume;
    struct request request = {.type = REQUEST_FLUSH};
    assert_fine(volume_open(pool, name, false, &volume));
    volume_execute(volume, &request, 1, fixture_answer, NULL);
    volume_close(volume);
    assert_fine(request.error);
}

/* It is in the journal, and no merge has counted it: neither before the crash nor behind it is it free. */
static void what_was_flushed_before_a_crash_is_used_after_it(void **context)
{
    uint64_t block = 0;
    (void)context;
    make("filler", 64 * GIB);
    fill_some("filler", &block, 1, 32 * MIB / COFFER_BLOCK);
    publish();
    fill_some("filler", &block, 1, 12 * MIB / COFFER_BLOCK);
    flush("filler");
    uint64_t before = used();
    for (unsigned crash = 0; crash < 3; crash++) {
        pool_reopen(true);
        assert_in_range(used(), before, before + MIB);
    }
    publish();
    assert_in_range(used(), before - MIB, before);
}

#define POOL_TEST(f) cmocka_unit_test_setup_teardown(f, pool_setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOL_TEST(what_is_safe_to_write_in_one_go_fits),
        POOL_TEST(what_is_safe_to_write_in_scattered_blocks_fits),
        POOL_TEST(what_was_flushed_before_a_crash_is_used_after_it),
        POOL_TEST(a_full_pool_has_nothing_safe_to_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
