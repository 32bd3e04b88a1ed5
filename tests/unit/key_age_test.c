/* The ages of keys: their file, and what health says of them. Its clock is fast (fast_clock.h): locks are awaited. */
#include <fcntl.h>
#include <sys/file.h>

#include "engine/pool/key_ages.h"
#include "tests/unit/pool_fixture.h" /* first: it has parameters that are named as globals of the other */

#include "tests/unit/key_dates_fixture.h"

static struct key_ages ages, found;

static int set_up(void **state)
{
    (void)state;
    directory_make(KEY_AGES_NAME);
    ages = (struct key_ages){.count = KEY_AGE_KINDS,
                             .items = {{KEY_AGE_ROOT, {{1}}, UINT64_MAX, BEGIN},
                                       {KEY_AGE_KEK, {{1}}, 7, BEGIN + DAY},
                                       {KEY_AGE_DATA, {{2}}, 1, BEGIN},
                                       {KEY_AGE_LOG, {{2}}, 2, BEGIN},
                                       {KEY_AGE_POOL, {{3}}, 2, BEGIN}}};
    return 0;
}

static void assert_same(void)
{
    assert_int_equal(found.count, ages.count);
    for (size_t i = 0; i < ages.count; i++) {
        assert_int_equal(found.items[i].kind, ages.items[i].kind);
        assert_true(uuid_equal(found.items[i].id, ages.items[i].id));
        assert_int_equal(found.items[i].number, ages.items[i].number);
        assert_int_equal(found.items[i].seconds, ages.items[i].seconds);
    }
}

static void ages_come_back_as_they_were(void **state)
{
    AUTO_FREE char *text = NULL;
    (void)state;
    assert_int_equal(key_ages_encode(&ages, &text), ERROR_NONE);
    assert_int_equal(key_ages_decode(text, strlen(text), &found), ERROR_NONE);
    assert_same();
    size_t head = strlen("coffer key ages 1\n");
    for (size_t cut = 0; cut < strlen(text); cut++) { /* only whole lines are any */
        bool whole = cut >= head && text[cut - 1] == '\n';
        assert_int_equal(key_ages_decode(text, cut, &found) == ERROR_NONE, whole);
    }
    text[head - 2] = '2';
    assert_int_equal(key_ages_decode(text, strlen(text), &found), ERROR_NEWER_FORMAT);
}

static void what_is_no_age_is_refused(void **state)
{
    static const char *const bad[] = {"", "coffer", "coffer key ages 1\nkek 1 2\n", "coffer key ages 1\n\n",
                                      "coffer key ages 1\nkey 01000000-0000-0000-0000-000000000000 1 2\n",
                                      "coffer key ages 1\nkek 01000000-0000-0000-0000-00000000000 1 2\n",
                                      "coffer key ages 1\nkek 01000000-0000-0000-0000-000000000000 1 2 \n"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_int_equal(key_ages_decode(bad[i], strlen(bad[i]), &found), ERROR_CORRUPT);
    size_t room = 96 * (KEY_AGES_MAX + 3);
    AUTO_FREE char *many = malloc(room);
    size_t used = (size_t)snprintf(many, room, "coffer key ages 1\n");
    for (int i = 0; i <= KEY_AGES_MAX; i++)
        used += (size_t)snprintf(many + used, room - used, "kek 01000000-0000-0000-0000-000000000000 %x 2\n", i);
    assert_int_equal(key_ages_decode(many, used, &found), ERROR_CORRUPT);
}

/* Where there is no file a key is as old as the caller says; one that comes later is of then; one that goes is forgotten. */
static void what_there_is_is_noted(void **state)
{
    struct stat before, after;
    uint64_t now = clock_seconds();
    (void)state;
    assert_int_equal(key_ages_load(directory, &found), ERROR_NONE);
    assert_int_equal(found.count, 0);
    assert_int_equal(key_ages_note(directory, &ages), ERROR_NONE);
    assert_int_equal(key_ages_load(directory, &found), ERROR_NONE);
    assert_same();
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(before.st_mode & 0777, 0600);
    assert_int_equal(key_ages_note(directory, &ages), ERROR_NONE); /* nothing new: not written */
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);

    ages.items[1].number = 8;
    ages.items[1].seconds = ages.items[2].seconds = 5;
    assert_int_equal(key_ages_note(directory, &ages), ERROR_NONE);
    assert_true(ages.items[1].seconds >= now);
    assert_int_equal(ages.items[2].seconds, BEGIN);
    assert_int_equal(key_ages_load(directory, &found), ERROR_NONE);
    assert_same();
    assert_null(key_age_find(&found, KEY_AGE_KEK, (struct uuid){{1}}, 7));

    assert_int_equal(truncate(path, 30), 0);
    assert_int_equal(key_ages_load(directory, &found), ERROR_CORRUPT);
    ages.items[1].seconds = 9;
    assert_int_equal(key_ages_note(directory, &ages), ERROR_NONE);
    assert_int_equal(ages.items[1].seconds, 9);
}

static void a_key_beyond_its_cryptoperiod_is_told(void **state)
{
    (void)state;
    facts = (struct health_facts){.status = &status, .self = "coffer", .age = {.now = BEGIN + 730 * DAY, .period = 730 * DAY}};
    assert_string_equal(severity(check_cryptoperiod), "ok");
    facts.age.known = true;
    facts.age.data = facts.age.root = BEGIN;
    assert_string_equal(severity(check_cryptoperiod), "ok");
    facts.age.now++;
    assert_string_equal(severity(check_cryptoperiod), "warning");
    assert_non_null(strstr(finding.evidence, "730 days ago"));
    assert_string_equal(finding.command, "coffer key rekey --deep");
    facts.deep.state = DEEP_REKEY_PAUSED; /* a second one would be refused */
    assert_string_equal(severity(check_cryptoperiod), "warning");
    assert_string_equal(finding.command, "coffer key resume");
    facts.deep.state = DEEP_REKEY_RUNNING;
    assert_string_equal(severity(check_cryptoperiod), "warning");
    assert_string_equal(finding.command, "coffer key status");
    facts.deep.state = DEEP_REKEY_COMPLETE;
    facts.age.data += DAY;
    assert_string_equal(severity(check_cryptoperiod), "warning");
    assert_string_equal(finding.command, "coffer key rekey --shallow --new-root");
    facts.age.root = 0; /* key servers keep KEKs */
    assert_string_equal(severity(check_cryptoperiod), "ok");
    facts.age.data = BEGIN;
    facts.age.period = 0;
    assert_string_equal(severity(check_cryptoperiod), "ok");
    facts.age.period = DAY;
    facts.age.now = BEGIN - 5; /* the clock was set back */
    assert_string_equal(severity(check_cryptoperiod), "ok");
    facts.age.now = BEGIN - DAY; /* or was ahead when the key was made */
    assert_string_equal(severity(check_cryptoperiod), "warning");
    assert_non_null(strstr(finding.evidence, "still to come"));
    assert_string_equal(finding.command, "coffer key rekey --deep");
}

/* During a deep rekey a device has two data keys: the older one counts while something is under it. */
static void the_oldest_key_that_is_in_use_counts(void **state)
{
    struct provider_config provider = {.name = "a"};
    struct pool_conf conf = {.directory = directory, .provider = &provider, .cryptoperiod = 5};
    (void)state;
    ages.items[2] = (struct key_age){KEY_AGE_DATA, {{2}}, 1, BEGIN};
    ages.items[3] = (struct key_age){KEY_AGE_DATA, {{2}}, 2, BEGIN + 3 * DAY};
    ages.items[4] = (struct key_age){KEY_AGE_DATA, {{3}}, 1, BEGIN + 2 * DAY};
    ages.count = 5;
    assert_int_equal(key_ages_note(directory, &ages), ERROR_NONE);
    key_age_look(&conf, &facts.age);
    assert_true(facts.age.known);
    assert_int_equal(facts.age.data, BEGIN);
    assert_int_equal(facts.age.root, BEGIN);
    assert_int_equal(facts.age.period, 5);

    struct pool_key_device devices[2] = {{.path = "/dev/a", .id = {{2}}}, {.path = "/dev/b", .id = {{3}}}};
    struct pool_key_list list = {.device_count = 2, .devices = devices};
    struct key_slot_info slots[] = {{.device = "/dev/a", .slot = 1, .segments = 4},
                                    {.device = "/dev/a", .slot = 2, .current = true, .segments = 1},
                                    {.device = "/dev/b", .slot = 1, .current = true, .segments = 1},
                                    {.device = "/dev/c", .slot = 1, .current = true, .segments = 1}};
    assert_int_equal(key_age_oldest(&ages, &list, slots, 4), BEGIN);
    slots[0].segments = 0; /* it is about to be destroyed */
    assert_int_equal(key_age_oldest(&ages, &list, slots, 4), BEGIN + 2 * DAY);
    slots[2].segments = 0;
    assert_int_equal(key_age_oldest(&ages, &list, slots, 4), BEGIN + 3 * DAY);
    slots[1].segments = 0;
    assert_int_equal(key_age_oldest(&ages, &list, slots, 4), 0);
    conf.provider = NULL;
    key_age_look(&conf, &facts.age);
    assert_false(facts.age.known);
}

/* ---- while somebody holds the lock ---------------------------------------------------------------------------------- */

static int lock_hold(const char *held)
{
    int lock = open(held, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(lock, LOCK_EX), 0);
    return lock;
}

static void who_hangs_with_the_lock_hangs_nobody_else(void **state)
{
    (void)state;
    int lock = lock_hold(directory);
    assert_refused(key_ages_note(directory, &ages), ERROR_BUSY, "another process");
    close(lock);
    assert_int_equal(key_ages_note(directory, &ages), ERROR_NONE);
}

static void ages_that_are_recorded_are_told_meanwhile(void **state)
{
    (void)state;
    key_age_note(pool);
    int lock = lock_hold(fixture_directory);
    json_t *told = json_object();
    key_age_tell(pool, told);
    close(lock);
    assert_true(json_is_integer(json_object_get(told, "kek_made")));
    json_decref(told);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ages_come_back_as_they_were),
        TEST(what_is_no_age_is_refused),
        TEST(what_there_is_is_noted),
        TEST(a_key_beyond_its_cryptoperiod_is_told),
        TEST(the_oldest_key_that_is_in_use_counts),
        TEST(who_hangs_with_the_lock_hangs_nobody_else),
        cmocka_unit_test_setup_teardown(ages_that_are_recorded_are_told_meanwhile, pool_setup, pool_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
