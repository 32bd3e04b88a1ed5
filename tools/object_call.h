/* Methods about one object that a person named. */
#ifndef COFFER_TOOLS_OBJECT_CALL_H
#define COFFER_TOOLS_OBJECT_CALL_H

#include <jansson.h>

#include "tools/tool.h"

/* client_ask() of a method with the parameter `name`. Where no object has that name, the sentence ends with a near one
 * that lives. `parameters` is taken over; NULL means that a name could not be put into JSON. */
enum error object_ask(struct tool *tool, const char *method, json_t *parameters, json_t **result) CHECKED;

#endif
