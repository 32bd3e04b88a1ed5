/* Lists with commas in coffer.conf. No locks, no state, nothing on disk: a text goes in, its items come out. */
#include "engine/pool/conf_list.h"

#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "engine/coffer.h"

_Static_assert(CONF_LIST_MAX >= GROUP_DEVICES_MAX, "a group's devices are such a list");

void conf_list_free(struct conf_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
}

static enum error add(struct conf_list *list, const char *begin, const char *end)
{
    while (begin < end && (*begin == ' ' || *begin == '\t'))
        begin++;
    while (end > begin && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    char **grown = reallocarray(list->items, list->count + 1, sizeof *grown);
    if (grown == NULL)
        return ERROR_NO_MEMORY;
    list->items = grown;
    grown[list->count] = strndup(begin, (size_t)(end - begin));
    return grown[list->count++] == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
}

enum error conf_list_fill(struct conf_list *list, const struct conf *conf, const char *section, const char *name)
{
    for (size_t i = 0; i < conf_count(conf, section, name); i++) {
        const char *begin = conf_text_at(conf, section, name, i), *end;
        for (; begin != NULL; begin = *end == ',' ? end + 1 : NULL) {
            end = strchrnul(begin, ',');
            TRY(add(list, begin, end));
            if (list->items[list->count - 1][0] == 0)
                return conf_complain(conf, section, name, "there is nothing between two commas");
            if (list->count > CONF_LIST_MAX)
                return conf_complain(conf, section, name, "more than %d are given", CONF_LIST_MAX);
        }
    }
    return list->count > 0 ? ERROR_NONE : conf_complain(conf, section, name, "is missing");
}
