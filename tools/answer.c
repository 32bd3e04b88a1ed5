/* Showing answers. No state. */
#include "tools/answer.h"

enum error answer_show(struct tool *tool, json_t *answer, enum error (*print)(struct tool *tool, const json_t *answer))
{
    enum error error = tool->json ? tool_print_json(tool, answer) : print(tool, answer);
    json_decref(answer);
    return error;
}

enum error answer_table(struct tool *tool, const json_t *list, const struct table_column *columns, size_t count,
                        void (*add_row)(struct table *table, const json_t *element))
{
    struct table *table = table_create(columns, count);
    size_t i;
    json_t *element;
    json_array_foreach(list, i, element) add_row(table, element);
    enum error error = table_print(table, tool->out);
    table_destroy(table);
    return error;
}
