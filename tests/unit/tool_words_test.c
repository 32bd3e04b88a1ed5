/* Where the options for every command may stand, and that what they say counts. */
#include "tests/unit/tool_fixture.h"
#include "tools/command.h"

static void options_for_every_command_stand_anywhere(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    assert_int_equal(RUN("object", "--json", "list"), EXIT_DONE);
    json_decref(output(fixture));
    assert_int_equal(RUN("object", "-C", fixture->directory, "--json", "list"), EXIT_DONE);
    json_decref(output(fixture));
    assert_int_equal(RUN("-C", "/nowhere", "object", "-C", fixture->directory, "list"), EXIT_USAGE);
    assert_int_equal(RUN("object", "--now", "delete", "x"), EXIT_USAGE);
    assert_said(fixture->err, "there is no option '--now'");
    assert_int_equal(RUN("object", "--json"), EXIT_USAGE);
    assert_said(fixture->err, "say what to do with 'object'");
    assert_int_equal(RUN("object", "--json", "--help"), EXIT_DONE);
    assert_said(fixture->out, "coffer object VERB --help");
}

static void an_error_of_usage_is_json_wherever_that_is_asked_for(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(RUN("status", "--foo", "--json"), EXIT_USAGE);
    json_decref(output(fixture));
    assert_int_equal(RUN("object", "show", "--now", "x", "--json"), EXIT_USAGE);
    json_decref(output(fixture));
    assert_int_equal(RUN("status", "--foo", "--", "--json"), EXIT_USAGE);
    assert_string_equal(fixture->out, "");
}

static void who_asks_for_help_runs_nothing(void **state)
{
    struct fixture *fixture = *state;
    unsigned creates = fake_offline.creates;
    assert_int_equal(RUN("--help", "create", "/p", "--no-encryption"), EXIT_DONE);
    assert_said(fixture->out, "Makes a pool directory");
    assert_int_equal(RUN("-h", "object"), EXIT_DONE);
    assert_said(fixture->out, "coffer object VERB --help");
    assert_int_equal(RUN("object", "-h", "create"), EXIT_DONE);
    assert_said(fixture->out, "usage: coffer");
    assert_int_equal(fake_offline.creates, creates);
}

static void a_check_of_two_pools_is_refused(void **state)
{
    struct fixture *fixture = *state;
    char same[200];
    unsigned checks = fake_offline.checks;
    assert_int_equal(RUN("-C", "/somewhere", "check", fixture->directory), EXIT_USAGE);
    assert_said(fixture->err, "/somewhere");
    assert_int_equal(fake_offline.checks, checks);
    snprintf(same, sizeof same, "%s/.", fixture->directory);
    assert_int_equal(RUN("-C", same, "check", fixture->directory), EXIT_DONE);
    assert_int_equal(fake_offline.checks, checks + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(options_for_every_command_stand_anywhere),
        TEST(an_error_of_usage_is_json_wherever_that_is_asked_for),
        TEST(who_asks_for_help_runs_nothing),
        TEST(a_check_of_two_pools_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
