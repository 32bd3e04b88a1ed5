/* When the anchor of the audit comes to the devices: with each change of keys, and once a day where it moved; and nothing else does
 * with it. */
#include "tests/unit/rekey_fixture.h"

#include "engine/group/anchor.h"

static struct checkpoint record(void)
{
    mutex_lock(&pool->group->lock);
    struct checkpoint checkpoint = pool->group->checkpoint;
    mutex_unlock(&pool->group->lock);
    return checkpoint;
}

/* As every device has it; the newest of its own. */
static void assert_on_devices(const struct checkpoint *expected)
{
    for (uint32_t d = 0; d < pool->group->device_count; d++) {
        struct checkpoint found;
        assert_fine(checkpoint_read(pool->group->devices[d], &pool->group->superblocks[d], pool->group->keyrings[d], &found));
        assert_int_equal(found.number, expected->number);
        assert_int_equal(found.audit.count, expected->audit.count);
        assert_memory_equal(found.audit.head, expected->audit.head, sizeof found.audit.head);
    }
}

/* Of all that it says but number, time and anchor. */
static void assert_says_the_same(struct checkpoint one, struct checkpoint other)
{
    assert_true(one.number != other.number && one.audit.count != other.audit.count);
    one.number = other.number;
    one.time = other.time;
    one.audit = other.audit;
    assert_memory_equal(&one, &other, sizeof one);
}

static uint64_t entries(void)
{
    struct pool_audit_state state;
    pool_audit_state(pool, &state);
    return state.entries;
}

static void a_change_of_keys_brings_its_anchor_to_all_devices(void **context)
{
    (void)context;
    assert_fine(group_publish(pool->group));
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){0}));
    struct checkpoint now = record();
    assert_int_equal(now.audit.count, entries());
    assert_on_devices(&now);
    assert_refused(pool_rekey(pool, &(struct pool_rekey_options){.provider = "nobody"}), ERROR_NOT_FOUND, "nobody");
    struct checkpoint then = record();
    assert_int_equal(then.audit.count, now.audit.count + 1); /* what was refused is an entry, too */
    assert_says_the_same(now, then);
    assert_on_devices(&then);
}

static void once_a_day_it_is_written_where_it_moved_and_only_there(void **context)
{
    (void)context;
    assert_fine(group_publish(pool->group));
    pool_audit_publish(pool);
    struct checkpoint before = record();
    assert_int_equal(before.audit.count, entries());
    pool_audit_publish(pool);
    assert_int_equal(record().number, before.number);
    pool_audit(pool, "test.happened", ERROR_NONE);
    assert_int_equal(record().number, before.number);
    pool_audit_publish(pool);
    struct checkpoint after = record();
    assert_says_the_same(before, after);
    assert_int_equal(after.number, before.number + 1);
    assert_int_equal(after.audit.count, entries());
    assert_on_devices(&after);
    reopen();
    assert_data_is_intact();
    assert_fine(pool_lock(pool));
    pool_audit_publish(pool); /* there is nothing to write it with */
}

static void a_device_that_fails_for_it_is_out_of_service(void **context)
{
    (void)context;
    assert_fine(group_publish(pool->group));
    pool_audit_publish(pool);
    pool_audit(pool, "test.happened", ERROR_NONE);
    atomic_store(&countdown, 1);
    pool_audit_publish(pool);
    assert_true(group_is_fenced(pool->group));
    atomic_store(&countdown, 0);
    assert_int_equal(pool_close(pool), ERROR_FENCED);
    pool = NULL;
    assert_fine(try_open());
    assert_data_is_intact();
    pool_audit_publish(pool);
    struct checkpoint now = record();
    assert_int_equal(now.audit.count, entries());
    assert_on_devices(&now);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_change_of_keys_brings_its_anchor_to_all_devices, setup, teardown),
        cmocka_unit_test_setup_teardown(once_a_day_it_is_written_where_it_moved_and_only_there, setup, teardown),
        cmocka_unit_test_setup_teardown(a_device_that_fails_for_it_is_out_of_service, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
