/* The dates of a key: their file, and what health says of them at any time. */
#include "base/message.h"
#include "crypto/provider.h"
#include "engine/pool/witness.h"
#include "tests/unit/key_dates_fixture.h"

static int set_up(void **state)
{
    (void)state;
    directory_make(KEY_DATES_NAME);
    status.encryption = true;
    facts = (struct health_facts){.status = &status, .self = "coffer", .care = {.known = true, .now = BEGIN, .period = 365 * DAY}};
    facts.care.present = (struct key_present){.known = true, .kcv_known = true, .key = {{{7}}, 3, {1, 2, 3}}};
    facts.care.dates.change = (struct key_date){facts.care.present.key, BEGIN};
    return 0;
}

static void dates_come_back_as_they_were(void **state)
{
    (void)state;
    struct key_dates dates = {.change = {{{{1}}, UINT64_MAX, {0xff, 1}}, 5}, .backup = {{{{2}}, 1, {2}}, UINT64_MAX},
                              .drill = {{{{3}}, 2, {3}}, 7}, .recovery = {{{{4}}, 3, {4}}, 8}}, found;
    char text[2048];
    size_t size;
    assert_int_equal(key_dates_encode(&dates, text, sizeof text, &size), ERROR_NONE);
    assert_int_equal(key_dates_decode(text, size, &found), ERROR_NONE);
    assert_memory_equal(&found, &dates, sizeof found);
    for (size_t cut = 0; cut < size - 1; cut++)
        assert_int_equal(key_dates_decode(text, cut, &found), ERROR_CORRUPT);
    *strchr(text, '1') = '2';
    assert_int_equal(key_dates_decode(text, size, &found), ERROR_NEWER_FORMAT);
    *strchr(text, '2') = '1';
    memcpy(strstr(text, "drill"), "Drill", 5);
    assert_int_equal(key_dates_decode(text, size, &found), ERROR_CORRUPT);
}

static void what_happens_is_recorded_one_by_one(void **state)
{
    (void)state;
    struct key_name key = {{{5}}, 9, {6}}, other = {{{5}}, 10, {7}};
    struct key_dates dates;
    uint64_t before = clock_seconds();
    assert_int_equal(key_dates_load(directory, &dates), ERROR_NONE);
    assert_true(memory_is_zero(&dates, sizeof dates));
    assert_int_equal(key_dates_record(directory, KEY_BACKED_UP, &key), ERROR_NONE);
    assert_int_equal(key_dates_record(directory, KEY_DRILLED, &other), ERROR_NONE);
    assert_int_equal(key_dates_load(directory, &dates), ERROR_NONE);
    assert_memory_equal(&dates.backup.key, &key, sizeof key);
    assert_memory_equal(&dates.drill.key, &other, sizeof key);
    assert_true(dates.backup.seconds >= before && dates.backup.seconds <= clock_seconds());
    assert_int_equal(dates.recovery.seconds, 0);
    assert_int_equal(truncate(path, 20), 0);
    assert_int_equal(key_dates_load(directory, &dates), ERROR_CORRUPT);
    assert_int_equal(key_dates_record(directory, KEY_RECOVERY_MADE, &key), ERROR_NONE);
    assert_int_equal(key_dates_load(directory, &dates), ERROR_NONE);
    assert_true(dates.recovery.seconds >= before && dates.backup.seconds == 0);
}

static void a_key_that_was_never_backed_up_is_told(void **state)
{
    (void)state;
    assert_string_equal(severity(check_backup), "warning");
    assert_non_null(strstr(finding.evidence, "never backed up by `key backup`"));
    assert_string_equal(finding.command, "coffer key backup FILE.p12");
    assert_string_equal(severity(check_drill), "ok");
    facts.care.dates.backup = (struct key_date){facts.care.present.key, BEGIN};
    assert_string_equal(severity(check_backup), "ok");
}

/* By its check value where there is a root key, by its number where servers keep KEKs. */
static void a_backup_of_another_key_is_none(void **state)
{
    (void)state;
    struct key_date *backup = &facts.care.dates.backup;
    *backup = (struct key_date){facts.care.present.key, BEGIN};
    backup->key.number = 2;
    assert_string_equal(severity(check_backup), "ok");
    backup->key.kcv[0] ^= 1;
    assert_string_equal(severity(check_backup), "warning");
    assert_non_null(strstr(finding.evidence, "another key"));
    facts.care.present.kcv_known = false; /* the key file is away: nothing can be compared */
    assert_string_equal(severity(check_backup), "ok");
    facts.care.present.keeps_keks = true;
    assert_string_equal(severity(check_backup), "warning");
    backup->key.number = 3;
    assert_string_equal(severity(check_backup), "ok");
    backup->key.provider.bytes[0] ^= 1;
    assert_string_equal(severity(check_backup), "warning");
}

static void a_drill_is_due_after_half_a_year(void **state)
{
    (void)state;
    facts.care.dates.backup = (struct key_date){facts.care.present.key, BEGIN};
    facts.care.now = BEGIN + 180 * DAY;
    assert_string_equal(severity(check_drill), "ok");
    facts.care.now++;
    assert_string_equal(severity(check_drill), "warning");
    assert_non_null(strstr(finding.evidence, "180 days ago"));
    assert_string_equal(finding.command, "coffer key drill FILE.p12");
    facts.care.dates.drill = (struct key_date){facts.care.present.key, BEGIN + DAY};
    assert_string_equal(severity(check_drill), "ok");
    facts.care.now += DAY;
    assert_string_equal(severity(check_drill), "warning");
    facts.care.dates.drill.key.kcv[0] ^= 1; /* of a key of before */
    facts.care.dates.drill.seconds = facts.care.now;
    assert_string_equal(severity(check_drill), "warning");
    facts.care.now = BEGIN - 1; /* a clock that was set back */
    assert_string_equal(severity(check_drill), "ok");
}

static void a_key_gets_old(void **state)
{
    (void)state;
    facts.care.now = BEGIN + 365 * DAY;
    assert_string_equal(severity(check_key_age), "ok");
    facts.care.now++;
    assert_string_equal(severity(check_key_age), "warning");
    assert_non_null(strstr(finding.evidence, "allows 365"));
    assert_string_equal(finding.command, "coffer key rekey --shallow");
    facts.care.period = 366 * DAY;
    assert_string_equal(severity(check_key_age), "ok");
    facts.care.period = 0;
    facts.care.now = UINT64_MAX;
    assert_string_equal(severity(check_key_age), "ok");
}

static void a_key_that_is_of_a_time_to_come_is_told(void **state)
{
    (void)state;
    facts.care.now = BEGIN - 3600; /* a clock that was set back */
    assert_string_equal(severity(check_key_age), "ok");
    facts.care.now--;
    assert_string_equal(severity(check_key_age), "warning");
    assert_non_null(strstr(finding.evidence, "still to come"));
    assert_string_equal(finding.command, "coffer key rekey --shallow");
    facts.care.period = 0;
    assert_string_equal(severity(check_key_age), "ok");
}

static void a_recovery_key_of_before_is_told(void **state)
{
    (void)state;
    assert_string_equal(severity(check_recovery), "ok");
    facts.care.recovery = facts.care.recovery_fits = true;
    assert_string_equal(severity(check_recovery), "ok");
    facts.care.recovery_fits = false;
    assert_string_equal(severity(check_recovery), "warning");
    assert_string_equal(finding.command, "coffer key recovery --to print");
}

static void without_a_key_there_is_nothing_to_care_for(void **state)
{
    (void)state;
    facts.care.now = UINT64_MAX;
    status.encryption = false;
    assert_string_equal(severity(check_backup), "ok");
    assert_non_null(strstr(finding.evidence, "not encrypted"));
    assert_string_equal(severity(check_key_age), "ok");
    status.encryption = true;
    facts.care.known = false;
    assert_string_equal(severity(check_backup), "ok");
    assert_non_null(strstr(finding.evidence, "unknown"));
}

static struct witness *pool_make(struct pool_conf *conf, struct provider_config *provider, uint8_t kcv[KCV_SIZE])
{
    static char key_path[128];
    static const struct k_pools k_pools = {1, 1, 1, {{1, {1}}}};
    const struct provider_ops *operations;
    struct witness *witness;
    uint8_t kdk[KEY_SIZE];
    snprintf(key_path, sizeof key_path, "%s/native.key", directory);
    *provider = (struct provider_config){.name = "native", .id = {{9}}, .type = "native", .seal = "file", .path = key_path};
    *conf = (struct pool_conf){.directory = directory, .pool = {{8}}, .provider = provider, .key_period = 5};
    assert_int_equal(provider_find(provider, &operations), ERROR_NONE);
    assert_int_equal(operations->create(provider, NULL, kdk), ERROR_NONE);
    assert_int_equal(kcv_derive(kdk, provider->id, kcv), ERROR_NONE);
    assert_int_equal(witness_create(directory, conf->pool, &k_pools, &witness), ERROR_NONE);
    witness->provider = provider->id;
    witness->kek_number = 4;
    assert_int_equal(witness_save(witness), ERROR_NONE);
    return witness;
}

static void the_key_in_force_is_found_in_files(void **state)
{
    (void)state;
    struct pool_conf conf;
    struct provider_config provider;
    struct key_care_facts care;
    uint8_t kcv[KCV_SIZE];
    struct witness *witness = pool_make(&conf, &provider, kcv);
    assert_int_equal(key_dates_note_change(directory, &conf), ERROR_NONE);
    key_care_look(&conf, &care);
    assert_true(care.known && care.present.kcv_known && !care.present.keeps_keks && care.period == 5);
    assert_int_equal(care.present.key.number, 4);
    assert_memory_equal(care.present.key.kcv, kcv, KCV_SIZE);
    uint64_t since = care.dates.change.seconds;
    assert_true(since != 0 && care.dates.change.key.number == 4);
    assert_int_equal(key_dates_note_change(directory, &conf), ERROR_NONE); /* the same key: its date stays */
    witness->kek_number = 5;
    assert_int_equal(witness_save(witness), ERROR_NONE);
    assert_int_equal(key_dates_note_change(directory, &conf), ERROR_NONE);
    unlink(provider.path);
    key_care_look(&conf, &care);
    assert_true(care.known && !care.present.kcv_known && care.dates.change.key.number == 5);
    witness_destroy(witness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(dates_come_back_as_they_were, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_happens_is_recorded_one_by_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_key_that_was_never_backed_up_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_backup_of_another_key_is_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_drill_is_due_after_half_a_year, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_key_gets_old, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_key_that_is_of_a_time_to_come_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_recovery_key_of_before_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_key_there_is_nothing_to_care_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_key_in_force_is_found_in_files, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
