/* Tables for people, as they come out of a pipe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tools/table.h"

static char *print(struct table *table)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_int_equal(table_print(table, out), ERROR_NONE);
    fclose(out);
    table_destroy(table);
    return text;
}

static void no_memory_is_reported_when_printed(void **state)
{
    (void)state;
    assert_null(table_add(NULL, NULL, (const char *const[]){"x"}));
    assert_int_equal(table_print(NULL, stdout), ERROR_NO_MEMORY);
    table_destroy(NULL);
}

static void control_characters_in_a_cell_do_not_reach_the_terminal(void **state)
{
    (void)state;
    static const struct table_column columns[] = {{"NAME", TABLE_LEFT}};
    struct table *table = table_create(columns, 1);
    table_add(table, NULL, (const char *const[]){"a\033[31mb"});
    char *text = print(table);
    assert_null(strchr(text, '\033'));
    free(text);
}

static void figures_stand_to_the_right(void **state)
{
    (void)state;
    static const struct table_column columns[] = {{"NAME", TABLE_LEFT}, {"SIZE", TABLE_RIGHT}};
    struct table *table = table_create(columns, 2);
    table_add(table, NULL, (const char *const[]){"a", "1 GiB"});
    table_add(table, NULL, (const char *const[]){"long name", "20 GiB"});
    char *text = print(table);
    assert_string_equal(text, "NAME        SIZE\na          1 GiB\nlong name 20 GiB\n");
    free(text);
}

static void empty_cells_keep_their_place(void **state)
{
    (void)state;
    static const struct table_column columns[] = {{"A", TABLE_LEFT}, {"B", TABLE_LEFT}, {"C", TABLE_LEFT}};
    struct table *table = table_create(columns, 3);
    table_add(table, NULL, (const char *const[]){"1", NULL, "3"});
    char *text = print(table);
    assert_string_equal(text, "A B C\n1   3\n");
    free(text);
}

static void a_tree_is_drawn_with_ascii_where_the_locale_has_nothing_else(void **state)
{
    (void)state;
    static const struct table_column columns[] = {{"GROUP", TABLE_TREE}};
    struct table *table = table_create(columns, 1);
    struct table_row *group = table_add(table, NULL, (const char *const[]){"g1"});
    table_add(table, group, (const char *const[]){"disk0"});
    table_add(table, group, (const char *const[]){"disk1"});
    char *text = print(table);
    assert_string_equal(text, "GROUP\ng1\n|-disk0\n`-disk1\n");
    free(text);
}

static void without_names_there_is_no_heading(void **state)
{
    (void)state;
    static const struct table_column columns[] = {{NULL, TABLE_LEFT}, {NULL, TABLE_LEFT}};
    struct table *table = table_create(columns, 2);
    table_add(table, NULL, (const char *const[]){"Pool", "x"});
    char *text = print(table);
    assert_string_equal(text, "Pool x\n");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_memory_is_reported_when_printed),
        cmocka_unit_test(control_characters_in_a_cell_do_not_reach_the_terminal),
        cmocka_unit_test(figures_stand_to_the_right),
        cmocka_unit_test(empty_cells_keep_their_place),
        cmocka_unit_test(a_tree_is_drawn_with_ascii_where_the_locale_has_nothing_else),
        cmocka_unit_test(without_names_there_is_no_heading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
