/* The methods of the control socket on an engine in memory: refusals first, then what they answer. */
#include <sys/stat.h>
#include <unistd.h>

#include "server/health.h"
#include "tests/unit/methods_fixture.h"

static void unknown_methods_are_errors(void **state)
{
    assert_fails(*state, "pool.explode", "{}", -32601, "UNSUPPORTED");
    assert_fails(*state, "", "{}", -32601, "UNSUPPORTED");
}

static void unknown_missing_and_mistyped_parameters_are_errors(void **state)
{
    assert_fails(*state, "pool.status", "{\"verbose\":true}", -32602, "INVALID");
    assert_fails(*state, "object.create", "{\"name\":\"a\"}", -32602, "INVALID");
    assert_fails(*state, "object.create", "{\"name\":1,\"size\":4096}", -32602, "INVALID");
    assert_fails(*state, "object.create", "{\"name\":\"a\",\"size\":\"4096\"}", -32602, "INVALID");
    assert_fails(*state, "object.create", "{\"name\":\"a\",\"size\":4096.5}", -32602, "INVALID");
    assert_fails(*state, "object.delete", "{\"name\":\"a\",\"now\":1}", -32602, "INVALID");
    assert_fails(*state, "object.show", "{}", -32602, "INVALID");
}

static void a_method_needs_its_role(void **state)
{
    assert_fails_as(*state, ROLE_OBSERVE, "object.create", "{\"name\":\"a\",\"size\":4096}", -32000, "ACCESS");
    assert_fails_as(*state, ROLE_OBSERVE | ROLE_OPERATE, "pool.lock", "{}", -32000, "ACCESS");
    assert_fails_as(*state, 0, "pool.status", "{}", -32000, "ACCESS");
    assert_non_null(json_object_get(call_as(*state, ROLE_OBSERVE, "pool.status", "{}"), "result"));
}

static void every_method_has_a_role_and_a_name_of_two_words(void **state)
{
    (void)state;
    for (const struct method *method = methods_table(); method->name != NULL; method++) {
        assert_non_null(strchr(method->name, '.'));
        assert_true(method->role == ROLE_OBSERVE || method->role == ROLE_OPERATE || method->role == ROLE_KEYS);
    }
}

static void negative_sizes_are_refused(void **state)
{
    struct fixture *fixture = *state;
    fake_add(fixture->pool, "a", 4096);
    assert_fails(fixture, "object.create", "{\"name\":\"b\",\"size\":-4096}", -32000, "INVALID");
    assert_fails(fixture, "object.resize", "{\"name\":\"a\",\"size\":-1}", -32000, "INVALID");
}

static void errors_of_the_engine_carry_name_and_sentence(void **state)
{
    assert_fails(*state, "object.show", "{\"name\":\"missing\"}", -32000, "NOT_FOUND");
    struct fixture *fixture = *state;
    json_t *error = json_object_get(fixture->answer, "error");
    assert_string_equal(json_string_value(json_object_get(error, "message")), "there is no object 'missing'");
}

static void a_sentence_of_one_request_does_not_reach_the_next(void **state)
{
    struct fixture *fixture = *state;
    assert_fails(fixture, "object.show", "{\"name\":\"missing\"}", -32000, "NOT_FOUND");
    fixture->pool->status.locked = true;
    assert_fails(fixture, "object.list", "{}", -32000, "LOCKED");
    json_t *error = json_object_get(fixture->answer, "error");
    assert_non_null(strstr(json_string_value(json_object_get(error, "message")), "coffer -C '/srv/a pool' unlock"));
}

static void what_is_in_the_trash_cannot_be_deleted_resized_or_renamed(void **state)
{
    struct fixture *fixture = *state;
    fake_add(fixture->pool, "a", 4096);
    call(fixture, "object.delete", "{\"name\":\"a\"}");
    assert_fails(fixture, "object.delete", "{\"name\":\"a\",\"now\":true}", -32000, "NOT_FOUND");
    assert_fails(fixture, "object.resize", "{\"name\":\"a\",\"size\":8192}", -32000, "NOT_FOUND");
    assert_fails(fixture, "object.rename", "{\"name\":\"a\",\"new_name\":\"b\"}", -32000, "NOT_FOUND");
    assert_false(fixture->pool->objects[0].deleting);
}

static void what_is_alive_cannot_be_purged_or_restored(void **state)
{
    struct fixture *fixture = *state;
    fake_add(fixture->pool, "a", 4096);
    assert_fails(fixture, "trash.purge", "{\"name\":\"a\"}", -32000, "NOT_FOUND");
    assert_fails(fixture, "trash.restore", "{\"name\":\"a\"}", -32000, "NOT_FOUND");
    assert_int_equal(fixture->pool->objects[0].deleted, 0);
}

static void purging_by_name_spares_a_living_object_of_that_name(void **state)
{
    struct fixture *fixture = *state;
    fake_add(fixture->pool, "a", 4096)->deleted = 1700000000;
    fake_add(fixture->pool, "a", 8192);
    assert_fails(fixture, "trash.purge", "{\"name\":\"a\"}", -32000, "NOT_FOUND");
    assert_int_equal(fixture->pool->objects[1].deleted, 0);
}

static void what_is_being_freed_cannot_come_back(void **state)
{
    struct fixture *fixture = *state;
    fake_add(fixture->pool, "a", 4096);
    call(fixture, "object.delete", "{\"name\":\"a\",\"now\":true}");
    assert_fails(fixture, "trash.restore", "{\"name\":\"a\"}", -32000, "NOT_FOUND");
}

static void an_open_object_is_not_deleted(void **state)
{
    struct fixture *fixture = *state;
    fake_add(fixture->pool, "a", 4096)->open_count = 1;
    assert_fails(fixture, "object.delete", "{\"name\":\"a\"}", -32000, "BUSY");
}

static void a_wrong_passphrase_is_refused(void **state)
{
    struct fixture *fixture = *state;
    fixture->pool->passphrase = "secret";
    fixture->pool->status.locked = true;
    assert_fails(fixture, "pool.unlock", "{}", -32000, "LOCKED");
    assert_fails(fixture, "pool.unlock", "{\"passphrase_hex\":\"00\"}", -32000, "WRONG_KEY");
    assert_fails(fixture, "pool.unlock", "{\"passphrase_hex\":\"0x\"}", -32000, "INVALID");
    assert_true(fixture->pool->status.locked);
}

static void the_right_passphrase_unlocks(void **state)
{
    struct fixture *fixture = *state;
    fixture->pool->passphrase = "secret";
    fixture->pool->status.locked = true;
    json_t *status = call(fixture, "pool.unlock", "{\"passphrase_hex\":\"736563726574\"}");
    assert_true(json_is_false(json_object_get(status, "locked")));
}

static void a_key_changes_with_its_passphrase_alone(void **state)
{
    struct fixture *fixture = *state;
    fixture->pool->passphrase = "secret";
    assert_fails(fixture, "key.rekey", "{}", -32000, "LOCKED");
    assert_fails(fixture, "key.rekey", "{\"passphrase_hex\":\"00\"}", -32000, "WRONG_KEY");
    assert_fails(fixture, "key.rekey", "{\"passphrase_hex\":\"0x\"}", -32000, "INVALID");
    assert_int_equal(fixture->pool->kek_number, 0);
    json_t *status = call(fixture, "key.rekey", "{\"new_root\":true,\"passphrase_hex\":\"736563726574\"}");
    assert_int_equal(json_integer_value(json_object_get(status, "kek_number")), 2);
    assert_int_equal(fixture->pool->roots, 1);
}

static void a_key_that_was_changed_is_told_though_somebody_locks_behind_it(void **state)
{
    struct fixture *fixture = *state;
    fixture->pool->slots_error = ERROR_LOCKED;
    json_t *status = call(fixture, "key.rekey", "{}");
    assert_int_equal(json_integer_value(json_object_get(status, "kek_number")), 2);
    assert_null(json_object_get(status, "data_keys"));
    assert_null(json_object_get(status, "deep_rekey"));
}

static void what_was_done_to_keys_is_told_though_the_answer_fails(void **state)
{
    static const struct {
        const char *method, *parameters, *sentence;
    } done[] = {
        {"key.rekey", "{}", "the new key is in force, but "},
        {"key.use", "{\"provider\":\"other\"}", "the new key is in force, but "},
        {"key.use", "{\"provider\":\"other\",\"dry_run\":true}", "the rehearsal succeeded, but "},
        {"key.rekey_deep", "{}", "the deep rekey runs, but "},
        {"key.throttle", "{\"rate\":1}", "the deep rekey has another rate, but "},
        {"key.pause", "{}", "the deep rekey pauses, but "},
        {"key.resume", "{}", "the deep rekey goes on, but "},
    };
    struct fixture *fixture = *state;
    fixture->pool->slots_error = ERROR_NO_MEMORY;
    for (size_t i = 0; i < COUNT_OF(done); i++) {
        assert_fails(fixture, done[i].method, done[i].parameters, -32000, "NO_MEMORY");
        const json_t *error = json_object_get(fixture->answer, "error");
        assert_non_null(strstr(json_string_value(json_object_get(error, "message")), done[i].sentence));
    }
}

static void create_answers_with_the_object(void **state)
{
    json_t *object = call(*state, "object.create", "{\"name\":\"disk ä\",\"size\":33554432}");
    assert_string_equal(json_string_value(json_object_get(object, "name")), "disk ä");
    assert_int_equal(json_integer_value(json_object_get(object, "size")), 33554432);
    assert_int_equal(json_string_length(json_object_get(object, "uuid")), 36);
}

static void a_name_that_two_in_the_trash_have_is_refused_and_a_uuid_is_not(void **state)
{
    struct fixture *fixture = *state;
    char uuid[UUID_TEXT_SIZE], parameters[128];
    fake_add(fixture->pool, "a", 4096);
    snprintf(uuid, sizeof(uuid), "%s",
             json_string_value(json_object_get(call(fixture, "object.delete", "{\"name\":\"a\"}"), "uuid")));
    fake_add(fixture->pool, "a", 8192);
    call(fixture, "object.delete", "{\"name\":\"a\"}");
    assert_fails(fixture, "trash.purge", "{\"name\":\"a\"}", -32000, "INVALID");
    assert_fails(fixture, "trash.restore", "{\"name\":\"a\"}", -32000, "INVALID");
    assert_int_equal(json_array_size(call(fixture, "trash.list", "{}")), 2);
    snprintf(parameters, sizeof(parameters), "{\"name\":\"%s\"}", uuid);
    json_t *restored = call(fixture, "trash.restore", parameters);
    assert_int_equal(json_integer_value(json_object_get(restored, "size")), 4096);
    call(fixture, "object.delete", parameters);
    call(fixture, "trash.purge", parameters);
    call(fixture, "trash.restore", "{\"name\":\"a\"}"); /* the other one: the name is its own again */
}

static void delete_tells_until_when_and_restore_brings_back(void **state)
{
    struct fixture *fixture = *state;
    fake_add(fixture->pool, "a", 4096);
    json_t *object = call(fixture, "object.delete", "{\"name\":\"a\"}");
    assert_int_equal(json_integer_value(json_object_get(object, "purge_at")) -
                         json_integer_value(json_object_get(object, "deleted")),
                     FAKE_TRASH_SECONDS);
    assert_int_equal(json_array_size(call(fixture, "object.list", "{}")), 0);
    assert_int_equal(json_array_size(call(fixture, "trash.list", "{}")), 1);
    object = call(fixture, "trash.restore", "{\"name\":\"a\",\"new_name\":\"b\"}");
    assert_string_equal(json_string_value(json_object_get(object, "name")), "b");
    assert_int_equal(json_array_size(call(fixture, "object.list", "{}")), 1);
}

static void a_deletion_is_answered_where_nothing_is_left_to_be_looked_up(void **state)
{
    struct fixture *fixture = *state;
    fake_add(fixture->pool, "a", 4096);
    fixture->pool->trash_keeps_nothing = true;
    json_t *object = call(fixture, "object.delete", "{\"name\":\"a\"}");
    assert_string_equal(json_string_value(json_object_get(object, "name")), "a");
    assert_true(json_is_true(json_object_get(object, "deleting")));
}

static void rename_and_resize_answer_with_the_object_as_it_is(void **state)
{
    struct fixture *fixture = *state;
    fake_add(fixture->pool, "a", 8192);
    json_t *object = call(fixture, "object.rename", "{\"name\":\"a\",\"new_name\":\"b\"}");
    assert_string_equal(json_string_value(json_object_get(object, "name")), "b");
    object = call(fixture, "object.resize", "{\"name\":\"b\",\"size\":4096,\"shrink\":true}");
    assert_int_equal(json_integer_value(json_object_get(object, "size")), 4096);
}

static void usage_tells_all_its_figures(void **state)
{
    struct fixture *fixture = *state;
    fake_add(fixture->pool, "a", 4096);
    json_t *usage = call(fixture, "object.usage", "{\"name\":\"a\"}");
    assert_int_equal(json_integer_value(json_object_get(usage, "stored_bytes")), 400000);
    assert_int_equal(json_object_size(usage), 6);
}

static void status_has_groups_with_their_devices(void **state)
{
    json_t *status = call(*state, "pool.status", "{}");
    json_t *group = json_array_get(json_object_get(status, "groups"), 0);
    assert_string_equal(json_string_value(json_object_get(group, "name")), "g1");
    assert_int_equal(json_array_size(json_object_get(group, "devices")), 2);
    assert_int_equal(json_integer_value(json_object_get(status, "logical_bytes")), INT64_C(4096) << 20);
    assert_int_equal(json_array_size(call(*state, "device.list", "{}")), 2);
}

static const char *check_word(const json_t *checks, const char *id, const char *key)
{
    size_t i;
    json_t *check;
    json_array_foreach(checks, i, check)
    {
        if (strcmp(json_string_value(json_object_get(check, "id")), id) == 0)
            return json_string_value(json_object_get(check, key));
    }
    return NULL;
}

static const char *severity(const json_t *checks, const char *id)
{
    return check_word(checks, id, "severity");
}

static const char *evidence(const json_t *checks, const char *id)
{
    return check_word(checks, id, "evidence");
}

static void health_reports_good_checks_too(void **state)
{
    json_t *checks = call(*state, "pool.health", "{}");
    assert_string_equal(severity(checks, "LOCKED"), "ok");
    assert_string_equal(severity(checks, "SPACE"), "ok");
    assert_string_equal(severity(checks, "FENCED"), "ok");
}

static void health_finds_what_is_wrong(void **state)
{
    struct fixture *fixture = *state;
    fixture->pool->status.free_bytes = UINT64_C(100) << 20;
    fixture->pool->status.fenced = fixture->pool->status.devices[1].fenced = true;
    fixture->pool->status.read_errors = 3;
    fixture->pool->status.chunks_random = 1 << 20;
    fixture->pool->status.unit_bytes_in = UINT64_C(4096) << 20;
    json_t *checks = call(fixture, "pool.health", "{}");
    assert_string_equal(severity(checks, "SPACE"), "error");
    assert_string_equal(severity(checks, "FENCED"), "error");
    assert_string_equal(severity(checks, "READ_ERRORS"), "error");
    assert_string_equal(severity(checks, "DOUBLE_ENCRYPTION"), "note");
}

static void health_warns_of_a_filling_pool_step_by_step(void **state)
{
    static const struct {
        uint64_t percent;
        const char *severity;
    } steps[] = {{0, "ok"}, {69, "ok"}, {70, "note"}, {79, "note"}, {80, "warning"}, {90, "error"}, {100, "error"}};
    struct fixture *fixture = *state;
    struct pool_status *status = &fixture->pool->status;
    struct health_facts facts = {.status = status, .self = "coffer"};
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        status->free_bytes = status->capacity_bytes / 100 * (100 - steps[i].percent);
        json_t *checks = health_json(&facts);
        assert_string_equal(severity(checks, "SPACE"), steps[i].severity);
        assert_int_equal(strstr(evidence(checks, "SPACE"), "fstrim") != NULL, steps[i].percent >= 80);
        json_decref(checks);
    }
}

static void health_tells_what_share_of_new_chunks_looks_random(void **state)
{
    struct fixture *fixture = *state;
    struct pool_status *status = &fixture->pool->status;
    status->chunks_written = 100000;
    status->unit_bytes_in = UINT64_C(4096) * 100000;
    status->chunks_random = 75000;
    status->chunks_hit = status->chunks_zero = 95000; /* duplicates and zeros are no new chunks */
    struct health_facts facts = {.status = status};
    json_t *checks = health_json(&facts);
    assert_string_equal(severity(checks, "DOUBLE_ENCRYPTION"), "note");
    assert_non_null(strstr(evidence(checks, "DOUBLE_ENCRYPTION"), "75 %"));
    json_decref(checks);
    status->chunks_random = 40000;
    checks = health_json(&facts);
    assert_string_equal(severity(checks, "DOUBLE_ENCRYPTION"), "ok");
    json_decref(checks);
}

static void health_says_that_the_file_system_below_is_full(void **state)
{
    struct fixture *fixture = *state;
    struct health_facts facts = {.status = &fixture->pool->status};
    fixture->pool->status.below_full = true;
    json_t *checks = health_json(&facts);
    assert_string_equal(severity(checks, "SPACE"), "error");
    json_decref(checks);
    fixture->pool->status.locked = true;
    checks = health_json(&facts);
    assert_string_equal(severity(checks, "SPACE"), "ok");
    json_decref(checks);
}

static void the_command_for_a_full_file_system_below_is_quoted(void **state)
{
    struct fixture *fixture = *state;
    struct pool_status *status = &fixture->pool->status;
    struct health_facts facts = {.status = status};
    char path[] = "/tmp/coffer's disk XXXXXX", quoted[96];
    int disk = mkstemp(path);
    assert_true(disk >= 0);
    close(disk);
    snprintf(quoted, sizeof(quoted), "df -h '/tmp/coffer'\\''s disk %s'; make room there", strrchr(path, ' ') + 1);
    snprintf(status->devices[0].path, sizeof(status->devices[0].path), "%s", path);
    status->device_count = 1;
    status->below_full = true;
    json_t *checks = health_json(&facts);
    assert_string_equal(check_word(checks, "SPACE", "command"), quoted);
    json_decref(checks);
    unlink(path);
}

static void write_file(const char *directory, const char *name, const char *text)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void write_conf(const char *directory, const char *provider)
{
    char conf[768];
    snprintf(conf, sizeof(conf),
             "[pool]\nuuid = 11111111-1111-4111-8111-111111111111\nprovider = native\n[provider native]\n"
             "id = 22222222-2222-4222-8222-222222222222\ntype = native\n%s"
             "[group g1]\nuuid = 33333333-3333-4333-8333-333333333333\ndevices = disk\n"
             "device-ids = 44444444-4444-4444-8444-444444444444\n",
             provider);
    write_file(directory, "coffer.conf", conf);
}

static bool key_lies_beside_data(const struct fixture *fixture, const char *directory, const char *provider)
{
    struct health_facts facts = {.status = &fixture->pool->status};
    write_conf(directory, provider);
    health_facts_gather(&facts, directory);
    return facts.key_beside_data;
}

/* Wherever its sockets are. */
static void health_looks_into_the_pools_own_directory(void **state)
{
    struct fixture *fixture = *state;
    char directory[] = "/tmp/coffer-methods-XXXXXX", path[96];
    assert_non_null(mkdtemp(directory));
    write_conf(directory, "seal = file\npath = native.key\n");
    snprintf(path, sizeof(path), "%s/coffer.conf", directory);
    assert_int_equal(chmod(path, 0644), 0);
    fixture->pool->directory = directory;
    json_t *checks = call(fixture, "pool.health", "{}");
    assert_string_equal(severity(checks, "WIDE_MODES"), "warning");
    assert_non_null(strstr(evidence(checks, "WIDE_MODES"), path));
    unlink(path);
    rmdir(directory);
}

static void what_could_not_be_looked_at_is_not_called_well(void **state)
{
    json_t *checks = call(*state, "pool.health", "{}");
    static const char *const ids[] = {"WIDE_MODES", "KEY_BESIDE_DATA", "ROLES_WRONG"};
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        assert_string_equal(severity(checks, ids[i]), "note");
        assert_non_null(strstr(evidence(checks, ids[i]), "not looked at"));
    }
}

static void a_key_on_the_file_system_of_the_data_is_found(void **state)
{
    struct fixture *fixture = *state;
    char directory[] = "/tmp/coffer-methods-XXXXXX", path[96];
    assert_non_null(mkdtemp(directory));
    write_file(directory, "native.key", "key");
    assert_false(key_lies_beside_data(fixture, directory, "seal = file\npath = native.key\n")); /* no device there */
    write_file(directory, "disk", "data");
    fixture->pool->status.device_count = 0; /* as while it is locked: the conf knows them */
    assert_false(key_lies_beside_data(fixture, directory, "seal = file\n"));
    assert_false(key_lies_beside_data(fixture, directory, "seal = file\npath = absent.key\n"));
    assert_false(key_lies_beside_data(fixture, directory, "seal = passphrase\npath = native.key\n"));
    assert_true(key_lies_beside_data(fixture, directory, "  seal = file\n\tpath = native.key\n"));
    static const char *const names[] = {"native.key", "coffer.conf", "disk"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
        unlink(path);
    }
    rmdir(directory);
}

static void health_knows_keys_beside_data_and_plaintext(void **state)
{
    struct fixture *fixture = *state;
    struct health_facts facts = {
        .status = &fixture->pool->status, .looked = true, .key_beside_data = true, .key_path = "/pool/key"};
    json_t *checks = health_json(&facts);
    assert_string_equal(severity(checks, "KEY_BESIDE_DATA"), "warning");
    json_decref(checks);
    fixture->pool->status.encryption = false;
    checks = health_json(&facts);
    assert_string_equal(severity(checks, "KEY_BESIDE_DATA"), "ok");
    assert_string_equal(severity(checks, "PLAINTEXT"), "warning");
    json_decref(checks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(unknown_methods_are_errors),
        TEST(unknown_missing_and_mistyped_parameters_are_errors),
        TEST(a_method_needs_its_role),
        TEST(every_method_has_a_role_and_a_name_of_two_words),
        TEST(negative_sizes_are_refused),
        TEST(errors_of_the_engine_carry_name_and_sentence),
        TEST(a_sentence_of_one_request_does_not_reach_the_next),
        TEST(what_is_in_the_trash_cannot_be_deleted_resized_or_renamed),
        TEST(what_is_alive_cannot_be_purged_or_restored),
        TEST(purging_by_name_spares_a_living_object_of_that_name),
        TEST(what_is_being_freed_cannot_come_back),
        TEST(an_open_object_is_not_deleted),
        TEST(a_wrong_passphrase_is_refused),
        TEST(the_right_passphrase_unlocks),
        TEST(a_key_changes_with_its_passphrase_alone),
        TEST(a_key_that_was_changed_is_told_though_somebody_locks_behind_it),
        TEST(what_was_done_to_keys_is_told_though_the_answer_fails),
        TEST(create_answers_with_the_object),
        TEST(a_name_that_two_in_the_trash_have_is_refused_and_a_uuid_is_not),
        TEST(delete_tells_until_when_and_restore_brings_back),
        TEST(rename_and_resize_answer_with_the_object_as_it_is),
        TEST(a_deletion_is_answered_where_nothing_is_left_to_be_looked_up),
        TEST(usage_tells_all_its_figures),
        TEST(status_has_groups_with_their_devices),
        TEST(health_reports_good_checks_too),
        TEST(health_finds_what_is_wrong),
        TEST(health_warns_of_a_filling_pool_step_by_step),
        TEST(health_tells_what_share_of_new_chunks_looks_random),
        TEST(health_says_that_the_file_system_below_is_full),
        TEST(the_command_for_a_full_file_system_below_is_quoted),
        TEST(health_looks_into_the_pools_own_directory),
        TEST(what_could_not_be_looked_at_is_not_called_well),
        TEST(a_key_on_the_file_system_of_the_data_is_found),
        TEST(health_knows_keys_beside_data_and_plaintext),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
