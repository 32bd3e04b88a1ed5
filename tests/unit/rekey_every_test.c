/*
 * rekey-every: at any time, upon a real pool. A key that is old enough is changed as a person would, with an entry in the audit
 * that says so; what fails is told and tried again, ever later; what a person has to type is not tried.
 */
#include "tests/unit/rekey_fixture.h"

#include "base/file.h"
#include "crypto/arena.h"
#include "engine/pool/key_ages.h"
#include "engine/pool/key_dates.h"
#include "server/health_check.h"
#include "server/key_age.h"
#include "server/key_care.h"

#define DAY UINT64_C(86400)

static struct rekey_every_facts every;
static uint64_t now;
static unsigned wakes; /* of the watch, which caches the new key */

void __wrap_key_watch_wake(void);
void __wrap_key_watch_wake(void) { wakes++; }

static void conf_append(const char *line)
{
    char path[300];
    AUTO_FREE void *text = NULL;
    AUTO_FREE char *made = NULL;
    size_t size;
    snprintf(path, sizeof path, "%s/%s", fixture_directory, POOL_CONF_NAME);
    assert_fine(file_read(path, 65536, &text, &size));
    char *head = memmem(text, size, "[pool]\n", 7);
    assert_non_null(head);
    size_t before = (size_t)(head + 7 - (char *)text);
    assert_true(asprintf(&made, "%.*s%s\n%.*s", (int)before, (char *)text, line, (int)(size - before), (char *)text + before) > 0);
    assert_fine(file_replace(path, made, strlen(made)));
}

static int set_up(void **context)
{
    setup(context);
    every = (struct rekey_every_facts){0};
    now = clock_seconds();
    key_care_note_change(fixture_directory);
    return 0;
}

static int set_up_passphrase(void **context)
{
    setup_passphrase(context);
    every = (struct rekey_every_facts){0};
    now = clock_seconds();
    key_care_note_change(fixture_directory);
    return 0;
}

static void step(uint64_t days) { rekey_every_step(pool, NULL, NULL, now + days * DAY, &every); }

static const char *health(struct finding *finding)
{
    static struct pool_status status;
    struct health_facts facts = {.self = "coffer", .status = &status, .every = every};
    assert_fine(pool_status(pool, &status));
    *finding = (struct finding){.severity = "ok"};
    check_rekey_due(&facts, finding);
    return finding->severity;
}

static void without_it_nothing_changes(void **context)
{
    struct finding finding;
    (void)context;
    step(100000);
    assert_int_equal(kek_number(), 1);
    assert_string_equal(health(&finding), "ok");
    assert_non_null(strstr(finding.evidence, "not set"));
}

/* What health gathers before the thread's first look, and after the setting was changed. */
static void a_setting_is_known_before_the_first_look(void **context)
{
    static struct health_facts facts;
    static struct pool_status status = {.encryption = true};
    struct finding finding = {.severity = "ok"};
    (void)context;
    conf_append("rekey-every = 90d");
    facts = (struct health_facts){.self = "coffer", .status = &status};
    health_facts_gather(&facts, fixture_directory);
    check_rekey_due(&facts, &finding);
    assert_string_equal(finding.severity, "ok");
    assert_non_null(strstr(finding.evidence, "rekey-every is set; "));
}

static char last_target[128], last_operation[32];
static void entry_take(void *context, const struct pool_audit_entry *entry, bool follows)
{
    (void)context;
    assert_true(follows);
    snprintf(last_target, sizeof last_target, "%s", entry->target);
    snprintf(last_operation, sizeof last_operation, "%s", entry->operation);
}

static void an_old_key_is_changed_once_and_the_audit_says_why(void **context)
{
    struct pool_audit_verdict verdict;
    struct finding finding;
    (void)context;
    conf_append("rekey-every = 90d");
    step(89);
    assert_int_equal(kek_number(), 1);
    assert_int_equal(every.due / DAY, (now + 90 * DAY) / DAY);
    assert_int_equal(wakes, 0);
    step(91);
    assert_under_one_key(2);
    assert_int_equal(wakes, 1);
    assert_string_equal(health(&finding), "ok");
    assert_fine(pool_audit_read(pool, entry_take, NULL, &verdict));
    assert_string_equal(last_operation, "key.rekey");
    assert_string_equal(last_target, "provider native, by rekey-every");
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){0}));
    assert_fine(pool_audit_read(pool, entry_take, NULL, &verdict));
    assert_string_equal(last_target, "provider native");
    key_care_note_change(fixture_directory);
    step(89); /* the date is of the change, by the real clock */
    assert_int_equal(kek_number(), 3);
    reopen();
    assert_data_is_intact();
}

static void date_of_change_set(uint64_t seconds)
{
    struct key_dates dates;
    char text[2048], path[300];
    size_t size;
    assert_fine(key_dates_load(fixture_directory, &dates));
    dates.change.seconds = seconds;
    assert_fine(key_dates_encode(&dates, text, sizeof text, &size));
    snprintf(path, sizeof path, "%s/%s", fixture_directory, KEY_DATES_NAME);
    assert_fine(file_replace(path, text, size));
}

static void step_after(uint64_t seconds) { rekey_every_step(pool, NULL, NULL, now + seconds, &every); }

static void a_key_of_a_clock_that_was_ahead_is_changed_once_that_is_sure(void **context)
{
    (void)context;
    conf_append("rekey-every = 90d");
    date_of_change_set(now + 20 * 365 * DAY);
    step_after(0);
    step_after(3500);
    assert_int_equal(kek_number(), 1);
    step_after(3600);
    assert_under_one_key(2);
    step_after(7200 + 3600);
    assert_under_one_key(2);
}

/* As that of a machine without a clock of its own is, until it is set. */
static void a_clock_that_is_behind_for_a_while_changes_no_key(void **context)
{
    (void)context;
    conf_append("rekey-every = 90d");
    for (uint64_t second = 60; second < 600; second += 60)
        rekey_every_step(pool, NULL, NULL, second, &every);
    step_after(60);
    rekey_every_step(pool, NULL, NULL, 3600 + 60, &every);
    step_after(120);
    assert_int_equal(kek_number(), 1);
    assert_int_equal(every.failures, 0);
    assert_int_equal(every.due / DAY, (now + 90 * DAY) / DAY);
}

static void what_fails_is_told_and_tried_again_ever_later(void **context)
{
    struct finding finding;
    char away[300];
    (void)context;
    conf_append("rekey-every = 90d");
    snprintf(away, sizeof away, "%s.away", key_path);
    assert_int_equal(rename(key_path, away), 0);
    step(91);
    assert_int_equal(every.failures, 1);
    assert_string_equal(health(&finding), "warning");
    assert_non_null(strstr(finding.evidence, "failed 1 time:"));
    assert_string_equal(finding.command, "coffer key rekey --shallow");
    uint64_t first = every.again - (now + 91 * DAY);
    rekey_every_step(pool, NULL, NULL, every.again - 1, &every);
    assert_int_equal(every.failures, 1);
    uint64_t before = every.again;
    rekey_every_step(pool, NULL, NULL, every.again, &every);
    assert_int_equal(every.failures, 2);
    assert_int_equal(every.again - before, 2 * first);
    for (int i = 0; i < 40; i++)
        rekey_every_step(pool, NULL, NULL, before = every.again, &every);
    assert_true(every.again - before <= DAY && every.again > before);
    assert_int_equal(kek_number(), 1);
    assert_int_equal(rename(away, key_path), 0);
    rekey_every_step(pool, NULL, NULL, every.again, &every);
    assert_int_equal(every.failures, 0);
    assert_under_one_key(2);
    assert_string_equal(health(&finding), "ok");
}

static enum error give_passphrase(void *context, char **passphrase, size_t *size)
{
    const char *text = context;
    *size = strlen(text);
    *passphrase = arena_allocate(*size);
    memcpy(*passphrase, text, *size);
    return ERROR_NONE;
}

static void a_passphrase_has_to_be_there(void **context)
{
    struct finding finding;
    struct pool_audit_state before, after;
    (void)context;
    conf_append("rekey-every = 90d");
    pool_audit_state(pool, &before);
    step(91);
    assert_string_equal(health(&finding), "warning");
    assert_non_null(strstr(finding.evidence, "has to be typed"));
    pool_audit_state(pool, &after);
    assert_int_equal(before.entries, after.entries); /* not tried */
    /* One that the daemon has is the proof, like one that is typed (rekey_test): here it is a wrong one, which costs less. */
    rekey_every_step(pool, give_passphrase, (void *)"wrong horse", every.again, &every);
    assert_int_equal(every.failures, 2);
    assert_string_equal(health(&finding), "warning");
    assert_non_null(strstr(finding.evidence, "passphrase"));
    assert_null(strstr(finding.evidence, "has to be typed"));
    pool_audit_state(pool, &after);
    assert_int_equal(before.entries + 1, after.entries);
}

/* As if its keys were on servers, where old ones stay. */
static const char *old_keys(uint64_t count, const char *type)
{
    struct provider_config *provider = (struct provider_config *)pool->provider;
    const char *before = provider->type;
    pool->witness->retained_count = 0;
    for (uint64_t number = 100; number < 100 + count; number++)
        witness_retain(pool->witness, provider->id, number);
    provider->type = type;
    return before;
}

static void no_old_key_is_pushed_out_of_the_list(void **context)
{
    struct finding finding;
    struct pool_key_status status;
    (void)context;
    conf_append("rekey-every = 90d");
    const char *native = old_keys(POOL_RETAINED_MAX, "kmip");
    step(91);
    assert_int_equal(every.failures, 1);
    assert_string_equal(health(&finding), "warning");
    assert_non_null(strstr(finding.evidence, "end old ones first, `coffer key retire`"));
    assert_string_equal(finding.command, "coffer key retire");
    assert_fine(pool_key_status(pool, &status));
    assert_int_equal(status.kek_number, 1);
    assert_int_equal(status.retained_count, POOL_RETAINED_MAX);
    assert_int_equal(status.retained[0].kek_number, 100);
    old_keys(POOL_RETAINED_MAX, native); /* the key of a file leaves none behind */
    rekey_every_step(pool, NULL, NULL, every.again, &every);
    assert_int_equal(every.failures, 0);
    assert_under_one_key(2);
}

static void with_room_for_one_more_old_key_it_is_changed(void **context)
{
    (void)context;
    conf_append("rekey-every = 90d");
    old_keys(POOL_RETAINED_MAX - 1, "kmip");
    step(91);
    assert_int_equal(every.failures, 0);
    assert_under_one_key(2);
}

static void a_change_by_hand_ends_the_trouble(void **context)
{
    struct finding finding;
    struct key_dates dates;
    (void)context;
    conf_append("rekey-every = 90d");
    every.failures = 3;
    every.period = 90 * DAY;
    every.since = 5; /* of the key before */
    step(1);
    assert_string_equal(health(&finding), "ok");
    assert_fine(key_dates_load(fixture_directory, &dates));
    assert_int_equal(every.since, dates.change.seconds);
    assert_int_equal(kek_number(), 1);
}

/* Data keys, root key and KEKs of a pool get ages by themselves, and new ones new ages. */
static void keys_get_ages(void **context)
{
    struct key_ages ages;
    (void)context;
    key_age_note(pool);
    assert_fine(key_ages_load(fixture_directory, &ages));
    assert_int_equal(ages.count, DEVICES + 2);
    assert_non_null(key_age_find(&ages, KEY_AGE_DATA, pool->group->superblocks[1].device, 1));
    assert_non_null(key_age_find(&ages, KEY_AGE_KEK, pool->conf->provider->id, 1));
    for (size_t i = 0; i < ages.count; i++)
        assert_true(ages.items[i].seconds <= clock_seconds() && ages.items[i].seconds + 600 > clock_seconds());
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){.new_root = true}));
    key_age_note(pool);
    assert_fine(key_ages_load(fixture_directory, &ages));
    assert_int_equal(ages.count, DEVICES + 2);
    assert_null(key_age_find(&ages, KEY_AGE_KEK, pool->conf->provider->id, 1));
    assert_non_null(key_age_find(&ages, KEY_AGE_KEK, pool->conf->provider->id, 2));
}

#define OF_FILE(name)       cmocka_unit_test_setup_teardown(name, set_up, teardown)
#define OF_PASSPHRASE(name) cmocka_unit_test_setup_teardown(name, set_up_passphrase, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OF_FILE(a_setting_is_known_before_the_first_look),
        OF_FILE(without_it_nothing_changes),
        OF_FILE(an_old_key_is_changed_once_and_the_audit_says_why),
        OF_FILE(a_key_of_a_clock_that_was_ahead_is_changed_once_that_is_sure),
        OF_FILE(a_clock_that_is_behind_for_a_while_changes_no_key),
        OF_FILE(what_fails_is_told_and_tried_again_ever_later),
        OF_FILE(no_old_key_is_pushed_out_of_the_list),
        OF_FILE(with_room_for_one_more_old_key_it_is_changed),
        OF_FILE(a_change_by_hand_ends_the_trouble),
        OF_FILE(keys_get_ages),
        OF_PASSPHRASE(a_passphrase_has_to_be_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
