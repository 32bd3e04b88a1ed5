/* `coffer key` against an engine in memory. */
#include "engine/pool/k_pools.h"
#include "engine/pool/witness.h"
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
    assert_int_equal(RUN("--json", "key", "audit"), EXIT_FAILED);
    assert_said(fixture->out, "\"proved\": true");
    assert_said(fixture->out, "\"proved\": false");
    assert_said(fixture->out, "\"offline\": true"); /* also where nobody can read when */
    assert_said(fixture->out, "\"made\": 0");
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

#define POOL_CONF                                                                                                              \
    "[pool]\nuuid = 11111111-1111-4111-8111-111111111111\nprovider = native\n[provider native]\n"                              \
    "id = 22222222-2222-4222-8222-222222222222\ntype = native\nseal = file\npath = native.key\n"                               \
    "[group g1]\nuuid = 33333333-3333-4333-8333-333333333333\ndevices = disk\n"                                                \
    "device-ids = 44444444-4444-4444-8444-444444444444\n"

/* The daemon of the fixture is found by its directory. */
#define RUN_AT(...) RUN("-C", fixture->directory, __VA_ARGS__)

static void a_provider_is_added_used_and_removed(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    write_file(fixture->conf, POOL_CONF);
    assert_int_equal(RUN_AT("key", "provider", "add", "words", "--type", "native", "--seal", "passphrase"), EXIT_DONE);
    assert_int_equal(RUN_AT("key", "provider", "list"), EXIT_DONE);
    assert_said(fixture->out, "words");
    write_file(fixture->secret, "battery staple\n");
    assert_int_equal(RUN_AT("key", "provider", "use", "words", "--dry-run", "--new-passphrase-file", fixture->secret),
                     EXIT_DONE);
    assert_said(fixture->out, "would work");
    assert_int_equal(fixture->pool->dry_runs, 1);
    assert_int_equal(RUN_AT("key", "provider", "use", "words", "--new-passphrase-file", fixture->secret), EXIT_DONE);
    assert_string_equal(fixture->pool->used, "words");
    assert_string_equal(fixture->pool->new_passphrase, "battery staple");
    assert_int_equal(fixture->pool->kek_number, 1);
    fixture->pool->passphrase = "battery staple"; /* both secrets, and the right one of them is the proof */
    char new[128];
    snprintf(new, sizeof new, "%s/coffer.passphrase", fixture->directory);
    write_file(new, "new one\n");
    assert_int_equal(RUN_AT("key", "provider", "reseal", "--passphrase-file", new, "--new-passphrase-file", fixture->secret),
                     EXIT_REFUSED);
    assert_int_equal(fixture->pool->kek_number, 1);
    assert_int_equal(RUN_AT("key", "provider", "reseal", "--passphrase-file", fixture->secret, "--new-passphrase-file", new),
                     EXIT_DONE);
    unlink(new);
    assert_string_equal(fixture->pool->new_passphrase, "new one");
    assert_int_equal(fixture->pool->roots, 1);
    fixture->pool->passphrase = NULL;
    assert_int_equal(RUN_AT("key", "provider", "remove", "native"), EXIT_REFUSED); /* the fake one wrote no witness */
    assert_said(fixture->err, "in force");
}

static void witness_write(const char *directory, const char *provider, uint64_t number)
{
    static const struct k_pools keys = {1, 1, 1, {{1, {1}}}};
    struct witness *witness;
    struct uuid pool;
    assert_int_equal(uuid_parse("11111111-1111-4111-8111-111111111111", &pool), ERROR_NONE);
    assert_int_equal(witness_create(directory, pool, &keys, &witness), ERROR_NONE);
    assert_int_equal(uuid_parse(provider, &witness->provider), ERROR_NONE);
    witness->kek_number = number;
    assert_int_equal(witness_save(witness), ERROR_NONE);
    witness_destroy(witness);
}

#define SECOND "[provider second]\nid = 55555555-5555-4555-8555-555555555555\ntype = native\nseal = file\npath = second.key\n"

static bool swaps; /* another administrator, who was quicker */

enum error __real_conf_edit_begin(const char *directory, int *lock);
enum error __wrap_conf_edit_begin(const char *directory, int *lock);
enum error __wrap_conf_edit_begin(const char *directory, int *lock)
{
    if (swaps)
        witness_write(directory, "55555555-5555-4555-8555-555555555555", 2);
    return __real_conf_edit_begin(directory, lock);
}

static void a_provider_whose_key_just_came_into_force_is_not_removed(void **state)
{
    struct fixture *fixture = *state;
    char witness[96];
    snprintf(witness, sizeof witness, "%s/witness", fixture->directory);
    write_file(fixture->conf, POOL_CONF SECOND);
    witness_write(fixture->directory, "22222222-2222-4222-8222-222222222222", 1);
    swaps = true;
    assert_int_equal(RUN_AT("key", "provider", "remove", "second"), EXIT_REFUSED);
    swaps = false;
    assert_said(fixture->err, "provider second has the key in force");
    assert_int_equal(RUN_AT("key", "provider", "list"), EXIT_DONE);
    assert_said(fixture->out, "key 2 in force");
    witness_write(fixture->directory, "22222222-2222-4222-8222-222222222222", 1);
    assert_int_equal(RUN_AT("key", "provider", "remove", "second"), EXIT_DONE);
    unlink(witness);
}

static void secrets_that_nothing_is_sealed_by_are_usage(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    write_file(fixture->conf, POOL_CONF SECOND);
    write_file(fixture->secret, "any\n");
    assert_int_equal(RUN_AT("key", "provider", "use", "second", "--new-passphrase-file", fixture->secret), EXIT_USAGE);
    assert_said(fixture->err, "leave out --new-passphrase-file");
    assert_int_equal(RUN_AT("key", "provider", "use", "second", "--passphrase-file", fixture->secret), EXIT_USAGE);
    assert_said(fixture->err, "leave out --passphrase-file");
    assert_int_equal(RUN_AT("key", "provider", "reseal", "--new-passphrase-file", fixture->secret), EXIT_USAGE);
    assert_int_equal(RUN_AT("key", "provider", "use"), EXIT_USAGE);
    assert_int_equal(RUN_AT("key", "provider", "use", "second", "--keep-keys"), EXIT_USAGE);
    assert_said(fixture->err, "--keep-keys is not for key provider use");
    assert_int_equal(fixture->pool->kek_number, 0);
}

static void a_provider_that_says_too_little_is_usage(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    write_file(fixture->conf, POOL_CONF);
    assert_int_equal(RUN_AT("key", "provider", "add", "one"), EXIT_USAGE);
    assert_said(fixture->err, "--type");
    assert_int_equal(RUN_AT("key", "provider", "add", "one", "--type", "native"), EXIT_USAGE);
    assert_said(fixture->err, "--seal");
    assert_int_equal(RUN_AT("key", "provider", "add", "one", "--type", "native", "--seal", "file", "--pcrs", "7"), EXIT_USAGE);
    assert_int_equal(RUN_AT("key", "provider", "add", "one", "--type", "kmip"), EXIT_USAGE);
    assert_said(fixture->err, "--servers");
    assert_int_equal(RUN_AT("key", "provider", "add", "o n e", "--type", "native", "--seal", "file"), EXIT_USAGE);
    assert_int_equal(RUN_AT("key", "provider", "add", "one", "--type", "native", "--seal", "file", "--id", "1"), EXIT_USAGE);
}

static void old_keys_are_listed_and_retired(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    assert_int_equal(RUN("key", "retire"), EXIT_DONE);
    assert_said(fixture->out, "0 old keys");
    fixture->pool->kek_number = 2;
    assert_int_equal(RUN("key", "status"), EXIT_DONE);
    assert_said(fixture->out, "number 1 of provider kmip");
    assert_int_equal(RUN("key", "retire", "1", "kmip", "--destroy"), EXIT_DONE);
    assert_said(fixture->out, "1 old key is destroyed");
    assert_string_equal(fixture->pool->retired_provider, "kmip");
    assert_true(fixture->pool->destroyed);
    assert_int_equal(RUN("key", "retire", "0"), EXIT_USAGE);
    assert_int_equal(RUN("key", "retire", "9"), EXIT_FAILED);
    assert_said(fixture->err, "no such old key");
}

static void a_retirement_that_is_not_understood_retires_nothing(void **state)
{
    struct fixture *fixture = *state;
    fixture->pool->kek_number = 2;
    serve(fixture);
    assert_int_equal(RUN("key", "retire", "--destroy", "native\xa0"), EXIT_USAGE);
    assert_said(fixture->err, "UTF-8");
    assert_int_equal(RUN("key", "retire", "--destroy", "native", "--key-file", "/media/\xa0"), EXIT_USAGE);
    assert_said(fixture->err, "UTF-8");
    assert_int_equal(RUN("key", "retire", "--destroy", "1", "2"), EXIT_USAGE);
    assert_said(fixture->err, "'2' is too much");
    assert_int_equal(RUN("key", "retire", "--destroy", "kmip", "native"), EXIT_USAGE);
    assert_said(fixture->err, "'native' is too much");
    assert_false(fixture->pool->destroyed);
    assert_int_equal(RUN("key", "retire", "--destroy", "kmip", "1"), EXIT_DONE);
    assert_true(fixture->pool->destroyed);
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

static void a_deep_rekey_shows_how_far_it_is(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    assert_int_equal(RUN("key", "rekey", "--deep", "--rate", "nonsense"), EXIT_USAGE);
    assert_int_equal(RUN("key", "rekey", "--shallow", "--watch"), EXIT_USAGE);
    assert_int_equal(RUN("key", "resume"), EXIT_FAILED);
    assert_int_equal(RUN("key", "rekey", "--deep", "--new-root", "--rate", "8M"), EXIT_DONE);
    assert_int_equal(fixture->pool->roots, 1);
    assert_int_equal(fixture->pool->deep.rate, 8 << 20);
    assert_said(fixture->out, "running: 25.0 %, 3 MiB of 4 MiB are under old keys, 1 MiB/s, 3");
    assert_said(fixture->out, "slot 1 (old), 75.0 %");
    assert_said(fixture->out, "slot 1 (old), tags of 3 segments");
    assert_said(fixture->out, "slot 2, tags of 1 segments");
    assert_null(strstr(fixture->out, "no new one"));
    assert_int_equal(RUN("key", "rekey", "--deep"), EXIT_REFUSED);
    assert_said(fixture->err, "under way");
    assert_int_equal(RUN("key", "pause"), EXIT_DONE);
    assert_said(fixture->out, "paused");
    assert_int_equal(RUN("key", "throttle", "max"), EXIT_DONE);
    assert_int_equal(fixture->pool->deep.rate, 0);
    fixture->pool->deep.log_key_stays = true;
    assert_int_equal(RUN("key", "status"), EXIT_DONE);
    assert_said(fixture->out, "no new one: there is no room beside the old ones");
    fixture->pool->stopped = true;
    assert_int_equal(RUN("key", "resume", "--watch"), EXIT_FAILED); /* somebody pauses it again */
    assert_said(fixture->out, "paused");
    fixture->pool->stopped = false;
    fixture->pool->deep_steps = 3;
    fixture->pool->deep_lost = 7;
    assert_int_equal(RUN("key", "resume", "--watch"), EXIT_DONE);
    assert_said(fixture->out, "complete");
    assert_said(fixture->out, "7 blocks of devices could not be read");
    assert_int_equal(RUN("--json", "key", "status"), EXIT_DONE);
    json_t *json = json_loads(fixture->out, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(json_object_get(json, "deep_rekey"), "state")), "complete");
    assert_int_equal(json_array_size(json_object_get(json, "data_keys")), 1);
    assert_int_equal(json_array_size(json_object_get(json, "tag_keys")), 2);
    assert_true(json_is_false(json_object_get(json_object_get(json, "deep_rekey"), "tag_key_stays")));
    json_decref(json);
}

/* It comes before the deep rekey, and stays whatever becomes of that. */
static void a_new_root_beside_a_deep_rekey_is_told(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    assert_int_equal(RUN("key", "rekey", "--deep", "--new-root", "--rate", "1K"), EXIT_USAGE);
    assert_int_equal(fixture->pool->roots, 0);
    fixture->pool->deep_refusal = "there is no room for a slot";
    assert_int_equal(RUN("key", "rekey", "--deep", "--new-root"), EXIT_FAILED);
    assert_said(fixture->err, "the new key 2 is in force; the deep rekey did not begin: there is no room for a slot");
    assert_said(fixture->out, "copies of the old one open this pool no more");
    assert_int_equal(fixture->pool->roots, 1);
    fixture->pool->deep_refusal = NULL;
    assert_int_equal(RUN("key", "rekey", "--deep", "--new-root"), EXIT_DONE);
    assert_said(fixture->out, "Key number 3 of provider native is in force");
    assert_said(fixture->out, "copies of the old one open this pool no more");
    assert_int_equal(fixture->pool->roots, 2);
    for (enum deep_rekey_state under_way = DEEP_REKEY_RUNNING; under_way <= DEEP_REKEY_PAUSED; under_way++) {
        fixture->pool->deep.state = under_way;
        assert_int_equal(RUN("key", "rekey", "--deep", "--new-root"), EXIT_REFUSED);
        assert_said(fixture->err, "under way already, and nothing was changed");
        assert_int_equal(RUN("key", "rekey", "--deep", "--shallow"), EXIT_REFUSED);
    }
    assert_int_equal(fixture->pool->roots, 2);
    assert_int_equal(fixture->pool->kek_number, 2);
    fixture->pool->deep.state = DEEP_REKEY_NONE;
    assert_int_equal(RUN("--json", "key", "rekey", "--deep", "--new-root"), EXIT_DONE);
    json_t *json = json_loads(fixture->out, 0, NULL);
    assert_non_null(json);
    assert_int_equal(json_integer_value(json_object_get(json, "kek_number")), 4);
    json_decref(json);
}

static void a_deep_rekey_takes_the_passphrase_as_a_proof(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    fixture->pool->passphrase = "right one";
    write_file(fixture->secret, "right one\n");
    assert_int_equal(RUN("key", "rekey", "--deep", "--shallow", "--passphrase-file", fixture->secret), EXIT_DONE);
    assert_int_equal(fixture->pool->kek_number, 1);
    assert_int_equal(fixture->pool->deep.state, DEEP_REKEY_RUNNING);
    fixture->pool->status.locked = true;
    assert_int_equal(RUN("key", "rekey", "--deep"), EXIT_REFUSED);
    assert_said(fixture->err, "unlock");
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
        TEST(a_provider_that_says_too_little_is_usage),
        TEST(secrets_that_nothing_is_sealed_by_are_usage),
        TEST(a_provider_is_added_used_and_removed),
        TEST(a_provider_whose_key_just_came_into_force_is_not_removed),
        TEST(old_keys_are_listed_and_retired),
        TEST(a_retirement_that_is_not_understood_retires_nothing),
        TEST(a_pin_is_asked_for_where_the_tpm_has_one),
        TEST(a_deep_rekey_shows_how_far_it_is),
        TEST(a_deep_rekey_takes_the_passphrase_as_a_proof),
        TEST(a_new_root_beside_a_deep_rekey_is_told),
        TEST(a_pool_without_encryption_has_no_key),
        TEST(json_has_the_keys_of_the_method),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
