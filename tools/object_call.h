/* Methods about one object that a person named. */
#ifndef COFFER_TOOLS_OBJECT_CALL_H
#define COFFER_TOOLS_OBJECT_CALL_H

#include <jansson.h>

#include "tools/tool.h"

/* client_ask() of a method that names objects or snapshots. Where there is none of a name, the sentence ends with a near
 * one that lives. `parameters` is taken over; NULL means that a name could not be put into JSON. */
enum error object_ask(struct tool *tool, const char *method, json_t *parameters, json_t **result) CHECKED;
/* All snapshots of one object, or of all (NULL), as cofferd tells them, some at a time. */
enum error snapshots_ask(struct tool *tool, const char *object, json_t **rows) CHECKED;
/* Of a method that looks for `name` in the trash: `error`, and where it is ERROR_NOT_FOUND what lies there and is near. */
enum error object_suggest_trashed(struct tool *tool, const char *name, enum error error) CHECKED;

#endif
