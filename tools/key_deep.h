/* `coffer key` where a deep rekey is concerned, for key.c. */
#ifndef COFFER_TOOLS_KEY_DEEP_H
#define COFFER_TOOLS_KEY_DEEP_H

#include <jansson.h>

#include "tools/arguments.h"
#include "tools/table.h"
#include "tools/tool.h"

/* `key rekey --deep`, with what else was given. */
enum error key_deep_rekey(struct tool *tool, const struct arguments *arguments) CHECKED;
/* The new key that is in force, and of a new root what became useless (key.c). */
enum error key_print_rekeyed(struct tool *tool, const json_t *status) CHECKED;
enum error key_print_rekeyed_root(struct tool *tool, const json_t *status) CHECKED;
/* Lines on data keys, and on a deep rekey where there is something to tell. */
void key_deep_show(struct table *table, const json_t *status);
/* "32M", or "max" for no limit. */
enum error key_deep_rate(const char *text, uint64_t *rate) CHECKED;

#endif
