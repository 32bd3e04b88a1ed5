/* The items of a key of coffer.conf that may be given several times, each time as a list with commas. */
#ifndef COFFER_ENGINE_POOL_CONF_LIST_H
#define COFFER_ENGINE_POOL_CONF_LIST_H

#include <stddef.h>

#include "base/error.h"

#define CONF_LIST_MAX 64 /* devices of a group are the most that is needed */

struct conf;

struct conf_list {
    char **items; /* without blanks at their ends, none is empty */
    size_t count;
};

/* All items, in the order of the file; at least one. What failed half way is freed as well (conf_list_free). */
enum error conf_list_fill(struct conf_list *list, const struct conf *conf, const char *section, const char *name) CHECKED;
void conf_list_free(struct conf_list *list);

#endif
