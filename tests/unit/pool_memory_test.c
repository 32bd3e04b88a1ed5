/* What an open that is refused for its `memory` says about it. */
#include "tests/unit/pool_fixture.h"

static enum error open_with(uint64_t memory)
{
    struct pool_open_options options = {.memory = memory};
    error_forget();
    return pool_open(fixture_directory, &options, &pool);
}

static void the_memory_that_a_refusal_names_is_enough_beside_a_server(void **state)
{
    (void)state;
    const char *words = "it needs ";
    assert_fine(pool_close(pool));
    pool = NULL;
    assert_int_equal(open_with(16 * MIB), ERROR_NO_MEMORY);
    const char *said = strstr(error_sentence(ERROR_NO_MEMORY), words);
    if (!said)
        fail_msg("'%s' does not say '%s'", error_sentence(ERROR_NO_MEMORY), words);
    uint64_t setting = strtoull(said + strlen(words), NULL, 10) * MIB;
    assert_fine(open_with(setting - setting / POOL_MEMORY_SERVER_SHARE));
    assert_fine(pool_close(pool));
    pool = NULL;
    assert_int_equal(open_with(setting * 3 / 4), ERROR_NO_MEMORY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_memory_that_a_refusal_names_is_enough_beside_a_server, pool_setup,
                                        pool_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
