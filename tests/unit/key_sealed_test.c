/* When the watch asks the TPM that sealed a key, and what it remembers of the answers: by a clock and a TPM that the test is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "crypto/provider_look.h"
#include "server/key_sealed.h"

#define LOOK   (30 * CLOCK_SECOND) /* of the watch */
#define MINUTE (60 * CLOCK_SECOND)

static uint64_t now;
static unsigned looks, takes;
static enum error answer;
static bool has_pin;
static struct key_sealed sealed;
static struct provider_config config = {.name = "main", .type = "native", .seal = "tpm", .id = {{7}}};
static struct kek_expected expected;

uint64_t __wrap_clock_monotonic(void);
uint64_t __wrap_clock_monotonic(void) { return now; }

enum error __wrap_provider_root_tpm(const struct provider_config *provider, uint64_t number, bool unseal, bool *pin);
enum error __wrap_provider_root_tpm(const struct provider_config *provider, uint64_t number, bool unseal, bool *pin)
{
    assert_ptr_equal(provider, &config);
    assert_int_equal(number, expected.number);
    *pin = has_pin;
    *(unseal && !has_pin ? &takes : &looks) += 1;
    return answer == ERROR_NONE ? ERROR_NONE : error_explain(answer, "no TPM answers");
}

static int set_up(void **state)
{
    (void)state;
    now = 1000 * MINUTE;
    looks = takes = 0;
    answer = ERROR_NONE;
    has_pin = false;
    sealed = (struct key_sealed){0};
    expected = (struct kek_expected){.provider = &config, .number = 3, .in_force = true};
    return 0;
}

/* The watch's looks for that long. */
static void pass(uint64_t time, enum error expect)
{
    for (uint64_t end = now + time; now < end; now += LOOK)
        assert_int_equal(key_sealed_look(&sealed, &expected, false), expect);
}

static void the_key_is_taken_out_at_first_and_once_a_day(void **state)
{
    (void)state;
    assert_true(key_sealed_is(&expected));
    assert_int_equal(key_sealed_look(&sealed, &expected, false), ERROR_NONE);
    assert_int_equal(takes, 1);
    assert_true(sealed.time_taken > 0);
    pass(60 * MINUTE, ERROR_NONE);
    assert_int_equal(takes, 1);
    assert_in_range(looks, 10, 13);
    pass(3 * 24 * 60 * MINUTE, ERROR_NONE);
    assert_int_equal(takes, 4);
}

static void what_failed_is_asked_at_each_look_until_it_is_well(void **state)
{
    (void)state;
    pass(LOOK, ERROR_NONE);
    answer = ERROR_KEY_ABSENT;
    assert_int_equal(key_sealed_look(&sealed, &expected, true), ERROR_KEY_ABSENT);
    assert_non_null(strstr(error_sentence(ERROR_KEY_ABSENT), "no TPM answers"));
    unsigned before = takes;
    pass(10 * LOOK, ERROR_KEY_ABSENT);
    assert_int_equal(takes, before + 10);
    answer = ERROR_NONE;
    pass(LOOK, ERROR_NONE);
    assert_int_equal(takes, before + 11);
    pass(5 * LOOK, ERROR_NONE);
    assert_int_equal(takes, before + 11);
}

static void a_fault_between_two_days_shows_within_minutes(void **state)
{
    (void)state;
    pass(MINUTE, ERROR_NONE);
    answer = ERROR_UNCONFIRMED;
    for (uint64_t end = now + 6 * MINUTE; now < end; now += LOOK)
        if (key_sealed_look(&sealed, &expected, false) == ERROR_UNCONFIRMED)
            return;
    fail();
}

static void another_key_and_whoever_unlocks_is_not_kept_waiting(void **state)
{
    (void)state;
    pass(MINUTE, ERROR_NONE);
    assert_int_equal(takes, 1);
    assert_int_equal(key_sealed_look(&sealed, &expected, true), ERROR_NONE);
    assert_int_equal(takes, 2);
    expected.number = 4;
    assert_int_equal(key_sealed_look(&sealed, &expected, false), ERROR_NONE);
    assert_int_equal(takes, 3);
}

static void a_key_with_a_pin_is_never_taken_out(void **state)
{
    (void)state;
    has_pin = true;
    pass(2 * 24 * 60 * MINUTE, ERROR_NONE);
    assert_int_equal(takes, 0);
    assert_in_range(looks, 2 * 24 * 10, 2 * 24 * 12 + 1);
    assert_true(sealed.pin);
    assert_int_equal(sealed.time_taken, 0);
}

static void what_no_tpm_sealed_is_not_asked_for(void **state)
{
    (void)state;
    struct provider_config file = config, kms = config;
    file.seal = "file";
    kms.seal = NULL;
    assert_false(key_sealed_is(&(struct kek_expected){.provider = &file}));
    assert_false(key_sealed_is(&(struct kek_expected){.provider = &kms}));
    assert_false(key_sealed_is(&(struct kek_expected){0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_key_is_taken_out_at_first_and_once_a_day, set_up),
        cmocka_unit_test_setup(what_failed_is_asked_at_each_look_until_it_is_well, set_up),
        cmocka_unit_test_setup(a_fault_between_two_days_shows_within_minutes, set_up),
        cmocka_unit_test_setup(another_key_and_whoever_unlocks_is_not_kept_waiting, set_up),
        cmocka_unit_test_setup(a_key_with_a_pin_is_never_taken_out, set_up),
        cmocka_unit_test_setup(what_no_tpm_sealed_is_not_asked_for, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
