/* Entries that a pool makes of its own operations: what others say in their results passes for nothing of its own. */
#include "tests/unit/pool_fixture.h"

static char last_operation[32], last_result[128];

static void entry_take(void *context, const struct pool_audit_entry *entry, bool follows)
{
    (void)context;
    assert_true(follows);
    snprintf(last_operation, sizeof last_operation, "%s", entry->operation);
    snprintf(last_result, sizeof last_result, "%s", entry->result);
}

/* A key server's word, say. */
static void what_others_say_is_no_mark_of_an_offline_entry(void **context)
{
    struct pool_audit_verdict verdict;
    (void)context;
    pool_audit_by(pool, "key.rekey", NULL, error_explain(ERROR_IO, "a; offline, 2; offline, unproven, 2026-11-30T09:00:00Z"));
    assert_string_equal(error_sentence(ERROR_IO), "a; offline, 2; offline, unproven, 2026-11-30T09:00:00Z");
    error_forget();
    assert_fine(pool_audit_read(pool, entry_take, NULL, &verdict));
    assert_string_equal(last_operation, "key.rekey");
    assert_null(strstr(last_result, "; offline, "));
    assert_non_null(strstr(last_result, "a, offline, 2, offline, unproven, 2026-11-30T09:00:00Z"));
}

/* Its first half is one that the change of the second makes whole. */
static void a_mark_that_breaking_another_makes_is_broken_too(void **context)
{
    struct pool_audit_verdict verdict;
    (void)context;
    pool_audit_by(pool, "key.rekey", NULL, error_explain(ERROR_IO, "b; offline; offline, 2026-11-30T09:00:00Z"));
    error_forget();
    assert_fine(pool_audit_read(pool, entry_take, NULL, &verdict));
    assert_non_null(strstr(last_result, "b, offline, offline, 2026-11-30T09:00:00Z"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_others_say_is_no_mark_of_an_offline_entry, pool_setup, pool_teardown),
        cmocka_unit_test_setup_teardown(a_mark_that_breaking_another_makes_is_broken_too, pool_setup, pool_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
