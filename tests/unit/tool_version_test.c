/* `coffer object` and snapshots, against an engine in memory. */
#include "tests/unit/tool_fixture.h"

static void words_that_make_no_snapshot_are_refused(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    fake_add(fixture->pool, "a", 4096);
    assert_int_equal(RUN("object", "snapshot"), EXIT_USAGE);
    assert_int_equal(RUN("object", "snapshot", "a", "--locked-until", "soon"), EXIT_USAGE);
    assert_said(fixture->err, "is no date");
    assert_int_equal(RUN("object", "snapshot", "a", "--locked-until", "2001-01-01"), EXIT_USAGE);
    assert_said(fixture->err, "is past");
    assert_int_equal(RUN("object", "list", "a"), EXIT_USAGE);
    assert_int_equal(RUN("object", "protect", "a@s"), EXIT_USAGE);
    assert_int_equal(RUN("object", "protect", "a@s", "--hold", "--no-hold"), EXIT_USAGE);
    assert_int_equal(RUN("object", "rollback", "a@s"), EXIT_FAILED);
    assert_int_equal(RUN("object", "clone", "a"), EXIT_USAGE);
    assert_int_equal(fixture->pool->snapshot_count, 0);
}

static void snapshots_are_made_listed_kept_and_deleted(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    fake_add(fixture->pool, "a", 4096);
    fake_add(fixture->pool, "b", 4096);
    assert_int_equal(RUN("object", "list", "--snapshots"), EXIT_DONE);
    assert_said(fixture->out, "No snapshots");
    assert_int_equal(RUN("object", "snapshot", "a", "b", "--name", "s", "--locked-until", "30d"), EXIT_DONE);
    assert_string_equal(fixture->out, "Made 'a@s'.\nMade 'b@s'.\n");
    assert_int_equal(RUN("object", "snapshot", "a"), EXIT_DONE);
    assert_said(fixture->out, "Made 'a@20");
    assert_int_equal(RUN("object", "list", "--snapshots", "b"), EXIT_DONE);
    assert_said(fixture->out, "b@s");
    assert_said(fixture->out, "until 20");
    assert_int_equal(RUN("object", "protect", "b@s", "--hold"), EXIT_DONE);
    assert_string_equal(fixture->out, "'b@s' is kept: held.\n");
    assert_int_equal(RUN("object", "delete", "b@s"), EXIT_REFUSED);
    assert_int_equal(RUN("object", "protect", "b@s", "--no-hold"), EXIT_DONE);
    assert_string_equal(fixture->out, "'b@s' can be deleted.\n");
    assert_int_equal(RUN("object", "clone", "b@s", "c"), EXIT_DONE);
    assert_said(fixture->out, "Created 'c'");
    assert_int_equal(RUN("object", "rollback", "b@s"), EXIT_DONE);
    assert_string_equal(fixture->out, "'b' is as it was then.\n");
    assert_int_equal(RUN("object", "delete", "b@s"), EXIT_DONE);
    assert_said(fixture->out, "'b@s' is gone");
    assert_int_equal(RUN("--json", "object", "list", "--snapshots"), EXIT_DONE);
    json_t *json = output(fixture);
    assert_int_equal(json_array_size(json), 2);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(words_that_make_no_snapshot_are_refused),
        TEST(snapshots_are_made_listed_kept_and_deleted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
