/* Tables for people, by libsmartcols: columns as wide as needed, sizes to the right, trees. */
#ifndef COFFER_TOOLS_TABLE_H
#define COFFER_TOOLS_TABLE_H

#include <stddef.h>
#include <stdio.h>

#include "base/error.h"

enum table_style {
    TABLE_LEFT,
    TABLE_RIGHT, /* figures */
    TABLE_LINES, /* cells may have line breaks (text_wrap) */
    TABLE_TREE,  /* children are drawn under their parents */
};

struct table_column {
    const char *name;
    enum table_style style;
};

struct table;
struct table_row;

/* NULL when out of memory; every other function takes that, and table_print() reports it. Without names no heading is
 * printed. */
struct table *table_create(const struct table_column *columns, size_t count) __attribute__((warn_unused_result));
void table_destroy(struct table *table);

/* Adds a row of as many cells as there are columns (copied; NULL: empty) below `parent` (NULL: at the top). */
struct table_row *table_add(struct table *table, struct table_row *parent, const char *const *cells);

enum error table_print(struct table *table, FILE *out) CHECKED;

#endif
