/* Reading what the daemon answered, and showing it. A key that is missing, because the daemon is of another version,
 * reads as nothing: a table with a "?" helps more than none. */
#ifndef COFFER_TOOLS_ANSWER_H
#define COFFER_TOOLS_ANSWER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "tools/table.h"
#include "tools/tool.h"

static inline const char *answer_word(const json_t *json, const char *key)
{
    const char *value = json_string_value(json_object_get(json, key));
    return value == NULL ? "?" : value;
}

static inline uint64_t answer_figure(const json_t *json, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(json, key));
}

static inline bool answer_flag(const json_t *json, const char *key)
{
    return json_is_true(json_object_get(json, key));
}

/* Prints an answer as JSON where that was asked for, else by `print`; the answer is taken over. */
enum error answer_show(struct tool *tool, json_t *answer,
                       enum error (*print)(struct tool *tool, const json_t *answer)) CHECKED;

/* Prints a table with a row for each element of a list. */
enum error answer_table(struct tool *tool, const json_t *list, const struct table_column *columns, size_t count,
                        void (*add_row)(struct table *table, const json_t *element)) CHECKED;

#endif
