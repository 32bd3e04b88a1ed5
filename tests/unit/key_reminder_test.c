/*
 * The word about a key that was never backed up: once a day by the clock of the chores, and never again once it was. The chores are
 * those of the daemon, by a clock that the test moves, upon a real pool.
 */
#include "tests/unit/rekey_fixture.h"

#include <stdarg.h>

#include "base/message.h"
#include "engine/pool/key_dates.h"
#include "server/key_chores.h"

#define MINUTE (60 * CLOCK_SECOND)
#define HOUR   (60 * MINUTE)

static uint64_t now;
static unsigned warnings;

static uint64_t clock_of_test(void) { return now; }

void __wrap_message(enum message_level level, const char *format, ...) PRINTF(2, 3);
void __wrap_message(enum message_level level, const char *format, ...)
{
    char text[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (strstr(text, "never backed up") == NULL)
        return;
    assert_int_equal(level, MESSAGE_WARNING);
    assert_non_null(strstr(text, "key backup FILE.p12"));
    warnings++;
}

/* Rounds come when they are due, and at odd times besides. */
static void pass(struct chores *chores, uint64_t time)
{
    for (uint64_t end = now + time; now < end;) {
        uint64_t next = chores_round(chores);
        now = MIN(MIN(next, now + 7 * MINUTE), end);
    }
}

static void a_key_without_a_backup_is_told_every_24_hours(void **context)
{
    struct chores chores;
    struct pool_conf *conf;
    struct key_present present;
    (void)context;
    now = 5 * HOUR;
    warnings = 0;
    rekey_every_init(pool, NULL, NULL);
    key_chores_init(&chores, pool, clock_of_test);
    pass(&chores, MINUTE);
    assert_int_equal(warnings, 0); /* who started the daemon reads something else first */
    pass(&chores, 24 * HOUR);
    assert_int_equal(warnings, 1);
    pass(&chores, 24 * HOUR);
    assert_int_equal(warnings, 2);
    assert_fine(pool_conf_read(fixture_directory, &conf));
    key_present_look(conf, &present);
    assert_true(present.known);
    assert_fine(key_dates_record(fixture_directory, KEY_BACKED_UP, &present.key));
    pool_conf_destroy(conf);
    pass(&chores, 3 * 24 * HOUR);
    assert_int_equal(warnings, 2);
    chores_deinit(&chores);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(a_key_without_a_backup_is_told_every_24_hours)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
