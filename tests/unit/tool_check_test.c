/* `coffer check --repair` and the evidence that it keeps; the check itself is in tool_test.c. */
#include "tests/unit/tool_fixture.h"
#include "tools/command.h"

static void a_repair_tells_what_it_kept(void **state)
{
    struct fixture *fixture = *state;
    fake_offline.repaired.kept_count = 1;
    fake_offline.repaired.kept[0].bytes = 8192;
    snprintf(fake_offline.repaired.kept[0].path, EVIDENCE_PATH_MAX, "/p/evidence-0123456789abcdef");
    assert_int_equal(RUN("--json", "check", "/p", "--repair", "--evidence", "/q"), EXIT_DONE);
    assert_string_equal(fake_offline.evidence, "/q");
    json_t *json = output(fixture), *file = json_array_get(json_object_get(json, "evidence"), 0);
    assert_string_equal(json_string_value(json_object_get(file, "path")), "/p/evidence-0123456789abcdef");
    assert_int_equal(json_integer_value(json_object_get(file, "bytes")), 8192);
    json_decref(json);
    assert_int_equal(RUN("check", "/p", "--repair", "--discard-evidence"), EXIT_DONE);
    assert_true(fake_offline.discarded);
    unsigned checks = fake_offline.checks;
    assert_int_equal(RUN("check", "/p", "--discard-evidence"), EXIT_USAGE);
    assert_said(fixture->err, "goes with --repair");
    assert_int_equal(RUN("check", "/p", "--repair", "--evidence", "/q", "--discard-evidence"), EXIT_USAGE);
    assert_int_equal(fake_offline.checks, checks);
}


int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_repair_tells_what_it_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
