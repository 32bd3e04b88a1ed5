/*
 * A deep rekey of a pool of which 95 % is taken, while all that is in it is overwritten here and there: no write is refused for
 * want of space, the rekey comes to its end, and everything is there. (`reencrypt_test` has one that takes no byte more.)
 */
#include "tests/unit/fill_fixture.h"

#define LEVEL    95 /* percent */
#define PATIENCE 6000
#define STEP     UINT64_C(7919) /* from one overwrite to the next, in requests */
#define REWRITES 120 /* requests: a tenth of the pool, more than what is free */

static uint64_t blocks, *versions; /* of each request's blocks */

static uint64_t seed_of(uint64_t block)
{
    return versions[block / FILL_BLOCKS] << 48 | block;
}

static uint64_t percent_taken(void)
{
    struct pool_status status;
    assert_fine(pool_status(pool, &status));
    return status.used_bytes * 100 / status.capacity_bytes;
}

static void write_at(struct volume *volume, uint64_t block)
{
    assert_fine(noise_write(volume, block, 1, FILL_BLOCKS, seed_of(block)));
}

static void append_one(struct volume *volume)
{
    versions = realloc(versions, (blocks / FILL_BLOCKS + 1) * sizeof *versions);
    assert_non_null(versions);
    versions[blocks / FILL_BLOCKS] = 1;
    write_at(volume, blocks);
    blocks += FILL_BLOCKS;
}

/* What is committed counts for more than it takes, until a merge has counted it. */
static void fill_to_level(struct volume *volume)
{
    do {
        while (percent_taken() < LEVEL)
            append_one(volume);
        publish();
    } while (percent_taken() < LEVEL);
}

static enum deep_rekey_state state_now(void)
{
    struct deep_rekey_status status;
    assert_fine(pool_deep_rekey_status(pool, &status));
    return status.state;
}

/* Returns how many of them the rekey was still at work behind. */
static unsigned overwrite_some(struct volume *volume)
{
    unsigned beside = 0;
    for (uint64_t n = 0; n < REWRITES; n++) {
        uint64_t request = n * STEP % (blocks / FILL_BLOCKS);
        versions[request]++;
        write_at(volume, request * FILL_BLOCKS);
        beside += state_now() == DEEP_REKEY_RUNNING;
    }
    return beside;
}

static void await_complete(void)
{
    for (unsigned i = 0; i < PATIENCE && state_now() != DEEP_REKEY_COMPLETE; i++)
        clock_sleep(10 * CLOCK_MILLISECOND);
    assert_int_equal(state_now(), DEEP_REKEY_COMPLETE);
}

static void assert_one_key(uint32_t number)
{
    AUTO_FREE struct key_slot_info *slots = NULL;
    size_t count;
    assert_fine(pool_key_slots(pool, &slots, &count));
    assert_int_equal(count, 1);
    assert_int_equal(slots[0].slot, number);
}

static void assert_all(void)
{
    static uint8_t block[COFFER_BLOCK], expected[COFFER_BLOCK];
    struct volume *volume;
    assert_fine(volume_open(pool, "disk", true, &volume));
    for (uint64_t i = 0; i < blocks; i++) {
        noise_fill(expected, (versions[i / FILL_BLOCKS] << 48 | i / FILL_BLOCKS * FILL_BLOCKS) + i % FILL_BLOCKS);
        assert_fine(block_io(volume, REQUEST_READ, i * COFFER_BLOCK, block));
        assert_memory_equal(block, expected, COFFER_BLOCK);
    }
    volume_close(volume);
}

static int setup(void **context)
{
    fixture_size = GIB / 2; /* of a smaller one most is reserve */
    return pool_setup(context);
}

static void a_pool_that_is_95_percent_full_is_encrypted_anew_and_overwritten(void **context)
{
    struct volume *volume;
    (void)context;
    make("disk", GIB);
    assert_fine(volume_open(pool, "disk", false, &volume));
    fill_to_level(volume);
    assert_fine(pool_deep_rekey(pool, &(struct pool_rekey_options){0}, 0));
    assert_true(overwrite_some(volume) > 0);
    await_complete();
    volume_close(volume);
    assert_one_key(2);
    pool_reopen(false);
    assert_all();
}

static int teardown(void **context)
{
    free(versions);
    return pool_teardown(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_pool_that_is_95_percent_full_is_encrypted_anew_and_overwritten, setup, teardown),
    };
    assert_fine(arena_start());
    return cmocka_run_group_tests(tests, NULL, NULL);
}
