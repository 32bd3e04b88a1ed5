/* What health says of keys on servers and of the audit. The checks that a daemon answers stand in methods_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "server/health.h"

static const char *field(const json_t *checks, const char *id, const char *name)
{
    size_t i;
    json_t *row;
    json_array_foreach(checks, i, row)
    {
        if (strcmp(json_string_value(json_object_get(row, "id")), id) == 0)
            return json_string_value(json_object_get(row, name));
    }
    fail_msg("there is no check %s", id);
    return NULL;
}

static const char *severity(const json_t *checks, const char *id)
{
    return field(checks, id, "severity");
}

static const char *evidence(const json_t *checks, const char *id)
{
    return field(checks, id, "evidence");
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fputs(text, file) < 0, 0);
    fclose(file);
}

static void health_tells_of_the_key_on_its_servers(void **state)
{
    (void)state;
    struct pool_status *status = test_calloc(1, sizeof(*status));
    status->encryption = true;
    static const struct { const char *key_state, *severity, *words; } states[] = {
        {"active", "ok", "may open the pool"},
        {"deactivated", "warning", "the key server calls the key deactivated"},
        {"compromised", "error", "the key server calls the key compromised"},
        {"unasked", "warning", "no key server was asked"},
        {"cached", "note", "came from the cache in the TPM"}};
    for (size_t i = 0; i < COUNT_OF(states); i++) {
        struct health_facts facts = {.status = status, .self = "coffer"};
        status->key_state = states[i].key_state;
        json_t *checks = health_json(&facts);
        assert_string_equal(severity(checks, "KEY_STATE"), states[i].severity);
        assert_non_null(strstr(evidence(checks, "KEY_STATE"), states[i].words));
        assert_string_equal(severity(checks, "UNLOCK_READY"), "note");
        assert_non_null(strstr(evidence(checks, "UNLOCK_READY"), "not looked at yet"));
        json_decref(checks);
    }
    static const struct { unsigned ready; const char *sentences, *severity, *words; } looks[] = {
        {2, "", "ok", "each of 2 key servers"},
        {1, "kms1: cannot connect", "warning", "not every key server would give the key now: kms1: cannot connect"},
        {0, "kms1: gone; kms2: gone", "error", "could not be opened again now: kms1: gone"},
        {2, "kms2: the key is Deactivated there", "warning", "kms2: the key is Deactivated there"},
    };
    for (size_t i = 0; i < COUNT_OF(looks); i++) {
        struct health_facts facts = {.status = status, .self = "coffer",
                                     .unlock = {.looked = true, .servers = 2, .ready = looks[i].ready}};
        snprintf(facts.unlock.sentences, sizeof(facts.unlock.sentences), "%s", looks[i].sentences);
        json_t *checks = health_json(&facts);
        assert_string_equal(severity(checks, "UNLOCK_READY"), looks[i].severity);
        assert_non_null(strstr(evidence(checks, "UNLOCK_READY"), looks[i].words));
        json_decref(checks);
        snprintf(facts.unlock.devices, sizeof(facts.unlock.devices), "/dev/a, /dev/b");
        checks = health_json(&facts);
        assert_true((strstr(evidence(checks, "UNLOCK_READY"), "the key of /dev/a, /dev/b is gone from its servers") != NULL) ==
                    (looks[i].sentences[0] != '\0'));
        json_decref(checks);
        status->locked = true;
        checks = health_json(&facts);
        assert_string_equal(severity(checks, "UNLOCK_READY"), "ok");
        json_decref(checks);
        status->locked = false;
    }
    test_free(status);
}

static void health_says_nothing_of_a_group_that_is_not_open(void **state)
{
    (void)state;
    struct pool_status *status = test_calloc(1, sizeof(*status));
    status->locked = true;
    json_t *checks = health_json(&(struct health_facts){.status = status, .self = "coffer"});
    assert_string_equal(evidence(checks, "FENCED"), "unknown while the pool is locked");
    json_decref(checks);
    test_free(status);
}

static void health_tells_of_the_key_in_the_cache(void **state)
{
    (void)state;
    struct pool_status *status = test_calloc(1, sizeof(*status));
    status->encryption = true;
    static const struct {
        const char *key_state;
        bool on, present;
        const char *failure, *severity, *words, *ready;
    } cases[] = {
        {"active", false, false, "", "ok", "no key is cached", "error"},
        {"active", true, true, "", "ok", "it opens the pool until", "warning"},
        {"active", true, false, "", "note", "is not cached in the TPM: for a reason", "error"},
        {"active", true, true, "no TPM", "warning", "cannot be cached in the TPM: no TPM; what is cached opens", "warning"},
        {"active", true, false, "no TPM", "warning", "cannot be cached in the TPM: no TPM", "error"},
        {"cached", true, true, "", "warning", "was opened by the key that is cached", "warning"},
        {"cached", true, false, "", "warning", "that key is cached no more", "error"},
        {"cached", false, false, "", "warning", "that key is cached no more", "error"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct health_facts facts = {.status = status, .self = "coffer", .unlock = {.looked = true, .servers = 1},
                                     .cached = {.on = cases[i].on, .present = cases[i].present, .fetched = 1800000000,
                                                .until = 1800086400, .why_not = "for a reason"}};
        snprintf(facts.unlock.sentences, sizeof(facts.unlock.sentences), "kms1: gone");
        snprintf(facts.unlock.cache_failure, sizeof(facts.unlock.cache_failure), "%s", cases[i].failure);
        status->key_state = cases[i].key_state;
        json_t *checks = health_json(&facts);
        assert_string_equal(severity(checks, "KEY_FROM_CACHE"), cases[i].severity);
        assert_non_null(strstr(evidence(checks, "KEY_FROM_CACHE"), cases[i].words));
        assert_string_equal(severity(checks, "UNLOCK_READY"), cases[i].ready);
        json_decref(checks);
    }
    test_free(status);
}

/* What opens it, or opened it last, is in use no more. */
static void health_says_what_the_cache_is_worth_while_the_pool_is_locked(void **state)
{
    (void)state;
    struct pool_status *status = test_calloc(1, sizeof(*status));
    status->encryption = status->locked = true;
    static const struct {
        bool on, present;
        const char *severity, *words;
    } cases[] = {
        {true, true, "note", "the pool is locked, and no key is in use; the one that is cached in the TPM would open it until"},
        {true, false, "note", "no key is cached in the TPM that would open it: for a reason"},
        {false, false, "ok", "the pool is locked"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct health_facts facts = {.status = status, .self = "coffer", .unlock = {.looked = true, .servers = 1},
                                     .cached = {.on = cases[i].on, .present = cases[i].present, .until = 1800086400,
                                                .why_not = "for a reason"}};
        snprintf(facts.unlock.cache_failure, sizeof(facts.unlock.cache_failure), "of before");
        json_t *checks = health_json(&facts);
        assert_string_equal(severity(checks, "KEY_FROM_CACHE"), cases[i].severity);
        assert_non_null(strstr(evidence(checks, "KEY_FROM_CACHE"), cases[i].words));
        assert_null(strstr(evidence(checks, "KEY_FROM_CACHE"), "of before"));
        json_decref(checks);
    }
    test_free(status);
}

/* KMIP has neither seal nor path, which the other checks look at. */
static void health_looks_at_a_pool_whose_key_is_on_servers(void **state)
{
    (void)state;
    char directory[] = "/tmp/coffer-health-XXXXXX", path[96];
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/coffer.conf", directory);
    write_file(path,
               "[pool]\nuuid = 11111111-1111-4111-8111-111111111111\nprovider = kms\n[provider kms]\n"
               "id = 22222222-2222-4222-8222-222222222222\ntype = kmip\nservers = kms1\nca = ca\ncertificate = c\n"
               "key = host.key\n[group g1]\nuuid = 33333333-3333-4333-8333-333333333333\ndevices = disk\n"
               "device-ids = 44444444-4444-4444-8444-444444444444\n");
    AUTO_FREE char *key = NULL;
    assert_true(asprintf(&key, "%s/host.key", directory) > 0);
    write_file(key, "key");
    assert_int_equal(chmod(key, 0644), 0);
    struct health_facts facts = {.self = "coffer"};
    health_facts_gather(&facts, directory);
    assert_true(facts.looked);
    assert_false(facts.key_beside_data);
    assert_string_equal(facts.key_file, "");
    assert_true(facts.modes.key);
    unlink(key);
    unlink(path);
    rmdir(directory);
}

static void health_tells_of_a_pool_whose_path_is_no_utf8(void **state)
{
    (void)state;
    struct pool_status status = {.locked = true, .encryption = true};
    struct health_facts facts = {.status = &status, .self = "coffer -C '/srv/p\xe4l'"};
    json_t *checks = health_json(&facts);
    assert_non_null(checks);
    assert_string_equal(severity(checks, "LOCKED"), "error");
    assert_string_equal(field(checks, "LOCKED", "command"), "(it holds a path that is not UTF-8)");
    json_decref(checks);
}

static void a_long_path_of_a_key_file_is_not_cut(void **state)
{
    (void)state;
    char directory[] = "/tmp/coffer-health-XXXXXX", path[96], key[601], text[1200];
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/coffer.conf", directory);
    memset(key, 'k', sizeof(key) - 1);
    key[0] = key[200] = key[400] = '/';
    key[600] = '\0';
    snprintf(text, sizeof(text),
             "[pool]\nuuid = 11111111-1111-4111-8111-111111111111\nprovider = native\n[provider native]\n"
             "id = 22222222-2222-4222-8222-222222222222\ntype = native\nseal = file\npath = %s\n[group g1]\n"
             "uuid = 33333333-3333-4333-8333-333333333333\ndevices = disk\n"
             "device-ids = 44444444-4444-4444-8444-444444444444\n", key);
    write_file(path, text);
    struct health_facts facts = {.self = "coffer"};
    health_facts_gather(&facts, directory);
    assert_true(facts.looked);
    assert_string_equal(facts.key_file, key);
    unlink(path);
    rmdir(directory);
}

static void health_names_what_repairs_kept(void **state)
{
    (void)state;
    char directory[] = "/tmp/coffer-health-XXXXXX", path[96], words[128];
    struct pool_status status = {.encryption = true};
    struct health_facts facts = {.status = &status, .self = "coffer"};
    assert_non_null(mkdtemp(directory));
    health_facts_gather(&facts, directory);
    json_t *checks = health_json(&facts);
    assert_string_equal(severity(checks, "EVIDENCE"), "ok");
    json_decref(checks);
    snprintf(path, sizeof(path), "%s/evidence-0123456789abcdef", directory);
    snprintf(words, sizeof(words), "rm %s", path);
    write_file(path, "bytes");
    health_facts_gather(&facts, directory);
    checks = health_json(&facts);
    assert_string_equal(severity(checks, "EVIDENCE"), "note");
    assert_non_null(strstr(evidence(checks, "EVIDENCE"), "1 file of what repairs let go of"));
    assert_non_null(strstr(evidence(checks, "EVIDENCE"), "wrapped keys"));
    assert_string_equal(field(checks, "EVIDENCE", "command"), words);
    json_decref(checks);
    unlink(path);
    rmdir(directory);
}

static void health_says_what_is_wrong_with_the_audit(void **state)
{
    (void)state;
    struct pool_status status = {.encryption = true};
    struct health_facts facts = {.status = &status, .self = "coffer"};
    json_t *checks = health_json(&facts);
    assert_string_equal(severity(checks, "AUDIT"), "ok");
    json_decref(checks);
    snprintf(facts.audit.failure, sizeof facts.audit.failure, "no space");
    facts.audit.waiting = 3;
    checks = health_json(&facts);
    assert_string_equal(severity(checks, "AUDIT"), "warning");
    assert_non_null(strstr(evidence(checks, "AUDIT"), "3 entries"));
    json_decref(checks);
    snprintf(facts.audit.fault, sizeof facts.audit.fault, "entries 4 to 5 are missing");
    checks = health_json(&facts);
    assert_string_equal(severity(checks, "AUDIT"), "error");
    assert_non_null(strstr(evidence(checks, "AUDIT"), "4 to 5"));
    json_decref(checks);
}

static void health_tells_of_a_deep_rekey_that_is_paused(void **state)
{
    (void)state;
    struct pool_status status = {.encryption = true};
    struct health_facts facts = {.status = &status, .self = "coffer",
                                 .deep = {.state = DEEP_REKEY_RUNNING, .bytes_left = 1, .bytes_total = 900}};
    json_t *checks = health_json(&facts);
    assert_string_equal(severity(checks, "REKEY_PAUSED"), "ok");
    json_decref(checks);
    facts.deep.state = DEEP_REKEY_PAUSED;
    checks = health_json(&facts);
    assert_string_equal(severity(checks, "REKEY_PAUSED"), "warning");
    assert_string_equal(evidence(checks, "REKEY_PAUSED"), "a deep rekey is paused, 1 % under old keys");
    assert_string_equal(field(checks, "REKEY_PAUSED", "command"), "coffer key resume");
    json_decref(checks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(health_tells_of_the_key_on_its_servers),
        cmocka_unit_test(health_says_nothing_of_a_group_that_is_not_open),
        cmocka_unit_test(health_tells_of_the_key_in_the_cache),
        cmocka_unit_test(health_says_what_the_cache_is_worth_while_the_pool_is_locked),
        cmocka_unit_test(health_looks_at_a_pool_whose_key_is_on_servers),
        cmocka_unit_test(health_tells_of_a_pool_whose_path_is_no_utf8),
        cmocka_unit_test(a_long_path_of_a_key_file_is_not_cut),
        cmocka_unit_test(health_names_what_repairs_kept),
        cmocka_unit_test(health_says_what_is_wrong_with_the_audit),
        cmocka_unit_test(health_tells_of_a_deep_rekey_that_is_paused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
