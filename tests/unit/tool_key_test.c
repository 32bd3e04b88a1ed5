/* `coffer key` against an engine in memory. */
#include "tests/unit/tool_fixture.h"

static void without_a_daemon_it_says_what_to_type(void **state)
{
    struct fixture *fixture = *state;
    write_file(fixture->conf, "[pool]\n");
    assert_int_equal(RUN("-C", fixture->directory, "key", "status"), EXIT_FAILED);
    assert_said(fixture->err, "cofferd ");
}

static void a_rekey_that_does_not_say_which_is_usage(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    assert_int_equal(RUN("key", "rekey"), EXIT_USAGE);
    assert_said(fixture->err, "--shallow");
    assert_int_equal(RUN("key", "rekey", "--new-root"), EXIT_USAGE);
    assert_int_equal(fixture->pool->kek_number, 0);
}

static void a_locked_pool_is_refused_and_says_what_to_type(void **state)
{
    struct fixture *fixture = *state;
    fixture->pool->status.locked = true;
    serve(fixture);
    assert_int_equal(RUN("key", "rekey", "--shallow"), EXIT_REFUSED);
    assert_said(fixture->err, "unlock");
    assert_int_equal(RUN("key", "status"), EXIT_DONE);
    assert_said(fixture->out, "locked");
}

static void a_wrong_passphrase_changes_no_key(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    fixture->pool->passphrase = "right one";
    write_file(fixture->secret, "wrong\n");
    assert_int_equal(RUN("key", "rekey", "--shallow", "--passphrase-file", fixture->secret), EXIT_REFUSED);
    assert_int_equal(fixture->pool->kek_number, 0);
    write_file(fixture->secret, "right one\n");
    assert_int_equal(RUN("key", "rekey", "--shallow", "--passphrase-file", fixture->secret), EXIT_DONE);
    assert_int_equal(fixture->pool->kek_number, 1);
    assert_int_equal(fixture->pool->roots, 0);
    assert_int_equal(RUN("key", "rekey", "--shallow", "--new-root", "--passphrase-file", fixture->secret), EXIT_DONE);
    assert_int_equal(fixture->pool->roots, 1);
}

static void a_passphrase_for_a_key_that_has_none_is_usage(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    write_file(fixture->secret, "any\n");
    assert_int_equal(RUN("key", "rekey", "--shallow", "--passphrase-file", fixture->secret), EXIT_USAGE);
    assert_said(fixture->err, "leave out --passphrase-file");
    assert_int_equal(fixture->pool->kek_number, 0);
}

static void the_audit_names_its_caller_and_what_is_wrong_with_it(void **state)
{
    struct fixture *fixture = *state;
    char pid[32];
    serve(fixture);
    assert_int_equal(RUN("key", "audit"), EXIT_DONE);
    snprintf(pid, sizeof(pid), "%u/%d", (unsigned)getuid(), (int)getpid());
    assert_said(fixture->out, pid);
    assert_said(fixture->out, "key.rekey");
    assert_said(fixture->out, "All 2 entries are as they were written");
    fixture->pool->audit_fault = "entry 2 was changed";
    assert_int_equal(RUN("key", "audit"), EXIT_FAILED);
    assert_said(fixture->out, "not whole: entry 2 was changed");
    fixture->pool->status.locked = true;
    assert_int_equal(RUN("key", "audit"), EXIT_REFUSED);
    assert_said(fixture->err, "unlocked");
}

static void a_key_in_a_file_is_its_own_proof(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    assert_int_equal(RUN("key", "rekey", "--shallow"), EXIT_DONE);
    assert_said(fixture->out, "Key number 2 of provider native is in force");
    assert_null(strstr(fixture->out, "copies of the old one"));
    assert_int_equal(RUN("key", "rekey", "--shallow", "--new-root"), EXIT_DONE);
    assert_said(fixture->out, "copies of the old one open this pool no more");
    assert_int_equal(RUN("key", "status"), EXIT_DONE);
    assert_said(fixture->out, "number 3");
}

/* Whether there is one the daemon knows, and so it is asked first. It is given like a passphrase. */
static void a_pin_is_asked_for_where_the_tpm_has_one(void **state)
{
    struct fixture *fixture = *state;
    char credential[128];
    snprintf(credential, sizeof credential, "%s/coffer.passphrase", fixture->directory);
    fixture->pool->seal = "tpm";
    serve(fixture);
    assert_int_equal(RUN("key", "rekey", "--shallow"), EXIT_DONE);
    assert_null(strstr(fixture->out, "copy under a passphrase"));
    fixture->pool->passphrase = "2580";
    write_file(credential, "2580\n");
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", fixture->directory, 1), 0);
    assert_int_equal(RUN("key", "rekey", "--shallow", "--new-root"), EXIT_DONE);
    assert_said(fixture->out, "key tpm copy --to FILE");
    assert_int_equal(fixture->pool->kek_number, 2);
    write_file(credential, "0852\n");
    assert_int_equal(RUN("key", "rekey", "--shallow"), EXIT_REFUSED);
    fixture->pool->status.locked = true;
    assert_int_equal(RUN("key", "rekey", "--shallow"), EXIT_REFUSED);
    assert_said(fixture->err, "unlock");
    assert_int_equal(fixture->pool->kek_number, 2);
    unsetenv("CREDENTIALS_DIRECTORY");
    unlink(credential);
}

static void a_pool_without_encryption_has_no_key(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    fixture->pool->status.encryption = false;
    assert_int_equal(RUN("key", "status"), EXIT_DONE);
    assert_said(fixture->out, "not encrypted");
}

static void json_has_the_keys_of_the_method(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    assert_int_equal(RUN("--json", "key", "rekey", "--shallow"), EXIT_DONE);
    json_t *json = json_loads(fixture->out, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(json, "kek_number")), 2);
    assert_string_equal(json_string_value(json_object_get(json, "provider")), "native");
    assert_true(json_is_integer(json_object_get(json, "nanoseconds")));
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_a_daemon_it_says_what_to_type),
        TEST(a_rekey_that_does_not_say_which_is_usage),
        TEST(a_locked_pool_is_refused_and_says_what_to_type),
        TEST(a_wrong_passphrase_changes_no_key),
        TEST(a_passphrase_for_a_key_that_has_none_is_usage),
        TEST(the_audit_names_its_caller_and_what_is_wrong_with_it),
        TEST(a_key_in_a_file_is_its_own_proof),
        TEST(a_pin_is_asked_for_where_the_tpm_has_one),
        TEST(a_pool_without_encryption_has_no_key),
        TEST(json_has_the_keys_of_the_method),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
