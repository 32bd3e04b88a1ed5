/* A document with tables of structs, against the structs. FORMAT_DOCUMENT is its path. */
#ifndef COFFER_TESTS_UNIT_DOCUMENT_TABLES_H
#define COFFER_TESTS_UNIT_DOCUMENT_TABLES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

struct expected {
    const char *structure, *field; /* field NULL: the struct itself */
    size_t offset, size;
};
#define STRUCT(s)                                                                                                      \
    {                                                                                                                  \
#s, NULL, 0, sizeof(struct s)                                                                                  \
    }
#define FIELD(s, field)                                                                                                \
    {                                                                                                                  \
#s, #field, offsetof(struct s, field), sizeof(((struct s *)NULL)->field)                                       \
    }

static char *lines[2000];
static size_t line_count;

static inline int setup(void **state)
{
    (void)state;
    char line[4096];
    FILE *file = fopen(FORMAT_DOCUMENT, "re");
    if (!file)
        return -1;
    while (line_count < COUNT_OF(lines) && fgets(line, sizeof line, file))
        lines[line_count++] = strdup(line);
    fclose(file);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    while (line_count)
        free(lines[--line_count]);
    return 0;
}

/* The line of the table's head, two below the one that names the struct; 0 where there is none. */
static inline size_t table_of(const char *structure, size_t *size)
{
    char wanted[80];
    snprintf(wanted, sizeof wanted, "`struct %s`, ", structure);
    for (size_t i = 0; i + 2 < line_count; i++)
        if (strncmp(lines[i], wanted, strlen(wanted)) == 0) {
            *size = strtoul(lines[i] + strlen(wanted), NULL, 10);
            return strncmp(lines[i + 2], "| offset | size | field |", 25) == 0 ? i + 2 : 0;
        }
    return 0;
}

static inline bool row_take(const char *line, size_t *offset, size_t *size, char field[64])
{
    return sscanf(line, "| %zu | %zu | `%63[a-z0-9_]` |", offset, size, field) == 3;
}

/* For each struct its table, for each field its row, in order and without a gap. */
static inline void assert_fields_are_told(const struct expected *expectations, size_t count)
{
    size_t row = 0, end = 0, whole = 0;
    const char *structure = "";
    for (size_t i = 0; i < count; i++) {
        const struct expected *expected = &expectations[i];
        size_t offset, size;
        char field[64];
        if (!expected->field) {
            structure = expected->structure;
            row = table_of(structure, &whole);
            if (!row || whole != expected->size)
                fail_msg("the document must have a table of `struct %s`, %zu bytes", structure, expected->size);
            row += 2;
            end = 0;
            continue;
        }
        if (!row_take(lines[row], &offset, &size, field) || strcmp(field, expected->field) != 0 ||
            offset != expected->offset || size != expected->size)
            fail_msg("`struct %s` must have the row | %zu | %zu | `%s` |, not: %s", structure, expected->offset,
                     expected->size, expected->field, lines[row]);
        if (offset != end)
            fail_msg("`struct %s` has a gap or a field that is not tested before `%s`", structure, field);
        end = offset + size;
        row++;
        bool last = i + 1 == count || !expectations[i + 1].field;
        if (last && (end != whole || row_take(lines[row], &offset, &size, field)))
            fail_msg("the table of `struct %s` does not end with it", structure);
    }
}

static inline void assert_tables_are_of_structs(const struct expected *expectations, size_t count)
{
    for (size_t i = 0; i < line_count; i++) {
        char name[80];
        bool known = false;
        if (sscanf(lines[i], "`struct %79[a-z0-9_]`, ", name) != 1)
            continue;
        for (size_t n = 0; n < count; n++)
            known |= !expectations[n].field && strcmp(expectations[n].structure, name) == 0;
        if (!known)
            fail_msg("the document has a table of `struct %s`, which is not tested", name);
    }
}

static inline bool document_says(const char *words)
{
    for (size_t i = 0; i < line_count; i++)
        if (strstr(lines[i], words))
            return true;
    return false;
}

static inline void assert_version_is_told(const char *heading, int version)
{
    char row[16];
    size_t history = 0;
    snprintf(row, sizeof row, "| %d | ", version);
    while (history < line_count && strncmp(lines[history], heading, strlen(heading)) != 0)
        history++;
    while (history < line_count && strncmp(lines[history], row, strlen(row)) != 0)
        history++;
    assert_true(history < line_count);
}

#endif
