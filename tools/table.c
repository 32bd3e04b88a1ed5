/*
 * Tables by libsmartcols. What fails is remembered and reported once, by table_print(), so that building a table reads
 * as a list. The tree is drawn with ASCII where the locale has no other characters. No locks.
 */
#include "tools/table.h"

#include <libsmartcols/libsmartcols.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/memory.h"

struct table {
    struct libscols_table *lines;
    size_t columns;
    bool failed;
};

static int column_flags(enum table_style style)
{
    switch (style) {
    case TABLE_RIGHT:
        return SCOLS_FL_RIGHT;
    case TABLE_LINES:
        return SCOLS_FL_WRAP;
    case TABLE_TREE:
        return SCOLS_FL_TREE;
    default:
        return 0;
    }
}

/* Broken at line breaks and nowhere else. */
static int lines_set_up(struct libscols_column *column)
{
    return scols_column_set_wrapfunc(column, scols_wrapnl_chunksize, scols_wrapnl_nextchunk, NULL) |
           scols_column_set_safechars(column, "\n");
}

struct table *table_create(const struct table_column *columns, size_t count)
{
    struct table *table = memory_zeroed(1, sizeof(*table));
    if (table == NULL)
        return NULL;
    table->lines = scols_new_table();
    table->columns = count;
    if (table->lines == NULL) {
        free(table);
        return NULL;
    }
    scols_table_enable_noheadings(table->lines, columns[0].name == NULL);
    scols_table_enable_ascii(table->lines, MB_CUR_MAX == 1);
    for (size_t i = 0; i < count; i++) {
        const char *name = columns[i].name == NULL ? "" : columns[i].name;
        struct libscols_column *column =
            scols_table_new_column(table->lines, name, 0, column_flags(columns[i].style));
        if (column == NULL || (columns[i].style == TABLE_LINES && lines_set_up(column) != 0))
            table->failed = true;
    }
    return table;
}

void table_destroy(struct table *table)
{
    if (table == NULL)
        return;
    scols_unref_table(table->lines);
    free(table);
}

struct table_row *table_add(struct table *table, struct table_row *parent, const char *const *cells)
{
    if (table == NULL)
        return NULL;
    struct libscols_line *line = scols_table_new_line(table->lines, (struct libscols_line *)parent);
    for (size_t i = 0; line != NULL && i < table->columns; i++) {
        if (cells[i] != NULL && scols_line_set_data(line, i, cells[i]) != 0)
            table->failed = true;
    }
    table->failed |= line == NULL;
    return (struct table_row *)line;
}

enum error table_print(struct table *table, FILE *out)
{
    if (table == NULL || table->failed)
        return ERROR_NO_MEMORY;
    scols_table_set_stream(table->lines, out);
    if (scols_print_table(table->lines) != 0)
        return error_explain(ERROR_IO, "cannot print a table");
    return ERROR_NONE;
}
