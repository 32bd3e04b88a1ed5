/*
 * Operations on versions in a full pool: what frees on the whole goes on, the rest waits and keeps nobody out meanwhile.
 */
#include "tests/unit/pool_fixture.h"

/* A pool that is full for whom `full` says: nothing but what frees is let in. */
static _Atomic bool full;
static unsigned waits;
enum error __real_group_room(struct group *group, struct commit_need need);
enum error __wrap_group_room(struct group *group, struct commit_need need);
enum error __real_group_wait_space(struct group *group, struct commit_need need);
enum error __wrap_group_wait_space(struct group *group, struct commit_need need);

enum error __wrap_group_room(struct group *group, struct commit_need need)
{
    return full && need.class != COMMIT_FREES ? ERROR_NO_SPACE : __real_group_room(group, need);
}

/* Space comes by the wait, in which others look at objects: with the lock held that would fail an assertion. */
enum error __wrap_group_wait_space(struct group *group, struct commit_need need)
{
    struct object_info info;
    if (!full)
        return __real_group_wait_space(group, need);
    assert_fine(object_find(pool, "a", &info));
    full = false;
    waits++;
    return ERROR_NONE;
}

static void snapshot(const char *name, const char *snapshot)
{
    assert_fine(object_snapshot(pool, &name, 1, snapshot, false, 0));
}

static void a_roll_back_goes_on_in_a_full_pool(void **context)
{
    (void)context;
    make("a", GIB);
    write_block("a", 0, 1);
    snapshot("a", "s");
    write_block("a", 0, 2);
    full = true;
    assert_fine(object_rollback(pool, "a@s", NULL, true));
    full = false;
    assert_int_equal(waits, 0);
    assert_block("a", 0, 1);
}

static void others_go_on_while_an_operation_waits_for_space(void **context)
{
    struct pool_status status;
    struct uuid uuid;
    (void)context;
    make("a", GIB);
    full = true;
    snapshot("a", "s");
    full = true;
    assert_fine(object_create(pool, "b", GIB, &uuid));
    full = true;
    assert_fine(object_clone(pool, "a@s", "c", &uuid));
    assert_int_equal(waits, 3);
    assert_fine(pool_status(pool, &status));
    assert_int_equal(status.snapshots, 1);
    waits = 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pool_setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_roll_back_goes_on_in_a_full_pool),
        TEST(others_go_on_while_an_operation_waits_for_space),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
