/* Loading the catalog from a device that does not always read. */
#include "tests/unit/pool_fixture.h"

#include "engine/group/item.h"

static unsigned refusals; /* of the next reads of chunks */

enum error __real_chunks_read(struct group *group, struct chunk_read *reads, size_t count);
enum error __wrap_chunks_read(struct group *group, struct chunk_read *reads, size_t count);

enum error __wrap_chunks_read(struct group *group, struct chunk_read *reads, size_t count)
{
    if (refusals == 0 || count == 0)
        return __real_chunks_read(group, reads, count);
    refusals--;
    for (size_t i = 0; i < count; i++)
        reads[i].error = ERROR_IO;
    return ERROR_IO;
}

/* An object that is not served is a disk less for its users: one refused read must not do that. */
static void an_object_whose_document_a_device_refuses_for_a_moment_is_served(void **context)
{
    struct object_info info;
    struct uuid uuid;
    (void)context;
    assert_fine(object_create(pool, "one", MIB, &uuid));
    assert_fine(object_create(pool, "two", MIB, &uuid));
    assert_fine(pool_close(pool));
    for (unsigned times = 1; times <= 4; times++) {
        refusals = times;
        assert_fine(pool_try_open());
        assert_int_equal(refusals, 0);
        assert_fine(object_find(pool, "one", &info));
        assert_fine(object_find(pool, "two", &info));
        assert_fine(pool_close(pool));
    }
    assert_fine(pool_try_open());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_object_whose_document_a_device_refuses_for_a_moment_is_served, pool_setup,
                                        pool_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
