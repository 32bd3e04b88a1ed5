/* The progress line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tools/progress.h"

static void nothing_known_yet_divides_by_nothing(void **state)
{
    (void)state;
    char line[256];
    progress_render("checking", 0, 0, 0, line, sizeof(line));
    assert_non_null(strstr(line, "  0 %"));
    assert_null(strstr(line, "left"));
}

static void more_than_everything_is_everything(void **state)
{
    (void)state;
    char line[256];
    progress_render("checking", 200, 100, CLOCK_SECOND, line, sizeof(line));
    assert_non_null(strstr(line, "100 %"));
}

static void a_share_so_small_that_the_end_is_years_away_is_shown(void **state)
{
    (void)state;
    char line[256];
    progress_render("checking", 1, UINT64_MAX, UINT64_MAX / 2, line, sizeof(line));
    assert_non_null(strstr(line, "left"));
}

static void rate_and_time_left_are_shown(void **state)
{
    (void)state;
    char line[256];
    progress_render("checking", UINT64_C(1) << 30, UINT64_C(4) << 30, 10 * CLOCK_SECOND, line, sizeof(line));
    assert_non_null(strstr(line, "[######..................]  25 %"));
    assert_non_null(strstr(line, "102 MiB/s"));
    assert_non_null(strstr(line, "30"));
    assert_non_null(strstr(line, "left"));
}

static void nothing_is_drawn_where_nobody_watches(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size;
    struct tool tool = {.err = tmpfile(), .out = open_memstream(&text, &size)};
    struct progress progress;
    progress_start(&progress, &tool, "checking");
    progress_update(&progress, 1, 2);
    progress_clear(&progress);
    assert_int_equal(ftell(tool.err), 0);
    fclose(tool.err);
    fclose(tool.out);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_known_yet_divides_by_nothing),
        cmocka_unit_test(more_than_everything_is_everything),
        cmocka_unit_test(a_share_so_small_that_the_end_is_years_away_is_shown),
        cmocka_unit_test(rate_and_time_left_are_shown),
        cmocka_unit_test(nothing_is_drawn_where_nobody_watches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
